//! Turns a question into an answer that does not show on the terminal, and a file into a secret.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use bb_vyos::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::place;
use crate::error::{Exit, Failure};
use crate::out::Out;

/// A terminal that shows nothing of what is typed, until it is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that went away needs no mending.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Asks for a secret; what is typed does not show.
///
/// # Errors
/// When nobody can be asked, which `flag` remedies, or the terminal cannot be made quiet.
pub async fn ask(question: &str, flag: &str, out: &mut Out) -> Result<Secret, Failure> {
    if !out.can_ask() || !io::stdin().is_terminal() {
        return Err(
            Failure::usage(format!("nobody can be asked for {question}")).hint(format!(
                "name a file that holds it with {flag}; `-` is standard input"
            )),
        );
    }
    let quiet = Quiet::begin().map_err(|error| {
        let said = format!("cannot keep the terminal from showing {question}: {error}");
        Failure::new(Exit::Failure, said)
    })?;
    let answer = out.ask(&format!("{question}:")).await;
    drop(quiet);
    // The end of the line was not shown either.
    out.say("");
    filled(&answer?, question)
}

/// Reads a secret from a file, or from standard input where that is `-`.
///
/// # Errors
/// When it cannot be read, is empty, or is open to others.
pub async fn read(path: &Path, what: &str, out: &mut Out) -> Result<Secret, Failure> {
    if path.as_os_str() == "-" {
        return filled(&out.read_stdin().await?, what);
    }
    place::private(path)?;
    let text = place::must_read(path)?;
    filled(&text, what)
}

fn filled(text: &str, what: &str) -> Result<Secret, Failure> {
    let text = text.trim_end_matches(['\n', '\r']);
    match text {
        "" => Err(Failure::usage(format!("{what} is empty"))),
        text => Ok(Secret::new(text)),
    }
}
