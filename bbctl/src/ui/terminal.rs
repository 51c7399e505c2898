//! Turns the terminal into a screen of our own, and back into what it was, however we end.

use std::fs::File;
use std::io::{self, Stdout, Write, stdout};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A screen of our own. When it is dropped, the terminal is as before.
pub(super) struct Screen {
    /// What is drawn on.
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over. A panic gives it back before it is told.
    pub(super) fn open() -> io::Result<Self> {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            told(panic);
        }));
        take()?;
        let terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(Self { terminal })
    }

    /// Gives the terminal to somebody else for a while.
    pub(super) fn lend(&mut self) {
        give_back();
    }

    /// Takes it back.
    pub(super) fn take_back(&mut self) -> io::Result<()> {
        take()?;
        // A new one knows that nothing is drawn yet. To clear the old one would ask the terminal
        // where its cursor is, and that answer gets lost among keys that were typed meanwhile.
        self.terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(())
    }

    /// Puts a text on the clipboard of whoever looks at the terminal (OSC 52).
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        let coded = base64(text.as_bytes());
        let mut out = stdout();
        write!(out, "\u{1b}]52;c;{coded}\u{7}")?;
        out.flush()
    }
}

/// How a terminal reads and echoes what is typed, kept while somebody else has it: whoever dies
/// there leaves it in any state, and what we find when we take it back is what the shell gets.
pub(super) struct Kept {
    terminal: OwnedFd,
    modes: Termios,
}

impl Kept {
    /// Keeps that of the terminal that keys come from.
    pub(super) fn ours() -> io::Result<Self> {
        let input = rustix::stdio::stdin();
        let terminal = match rustix::termios::isatty(input) {
            true => input.try_clone_to_owned()?,
            false => File::options()
                .read(true)
                .write(true)
                .open("/dev/tty")?
                .into(),
        };
        Self::of(terminal)
    }

    fn of(terminal: OwnedFd) -> io::Result<Self> {
        let modes = tcgetattr(&terminal)?;
        Ok(Self { terminal, modes })
    }

    /// Puts it back. What was typed and not read stays.
    pub(super) fn put_back(&self) -> io::Result<()> {
        Ok(tcsetattr(
            &self.terminal,
            OptionalActions::Now,
            &self.modes,
        )?)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether the terminal is ours. Given back twice, the cursor would jump to where it once was and
/// what was written since, such as a panic, would be overwritten.
static OURS: AtomicBool = AtomicBool::new(false);

fn take() -> io::Result<()> {
    OURS.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)
}

fn give_back() {
    if !OURS.swap(false, Ordering::SeqCst) {
        return;
    }
    // We are on our way out: each step is tried whatever became of the others.
    let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let word = part
            .iter()
            .fold(0u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - part.len()));
        for at in 0..4 {
            if at <= part.len() {
                let letter = (word >> (18 - 6 * at)) & 63;
                text.push(char::from(LETTERS[letter as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    use super::*;

    #[test]
    fn what_somebody_else_left_of_the_terminal_is_put_back() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = std::path::Path::new(name.to_str().unwrap());
        let open = || File::options().read(true).write(true).open(path).unwrap();
        let terminal = open();
        let cooked = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        let modes = || tcgetattr(&terminal).unwrap().local_modes & cooked;
        assert_eq!(modes(), cooked);
        let kept = Kept::of(open().into()).unwrap();
        let mut raw = tcgetattr(&terminal).unwrap();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw).unwrap();
        assert!(modes().is_empty());
        kept.put_back().unwrap();
        assert_eq!(modes(), cooked);
    }

    #[test]
    fn base64_is_as_in_rfc_4648() {
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }
}
