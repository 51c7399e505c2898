//! Turns text that is longer than the screen into a pager that shows it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// The program that is used where `PAGER` names none.
const USUAL: &str = "less";

/// Whether a pager has the terminal.
static OPEN: AtomicBool = AtomicBool::new(false);

/// Whether a pager has the terminal now: Ctrl-C is a key of its own then.
#[must_use]
pub fn is_open() -> bool {
    OPEN.load(Ordering::Relaxed)
}

/// Shows text in a pager, and says whether it did: not where it fits the screen, where `PAGER` is
/// empty or `cat`, or where the program is not there.
#[must_use]
pub fn show(text: &[u8], env: &BTreeMap<String, String>) -> bool {
    let rows = terminal_size::terminal_size().map(|(_, rows)| usize::from(rows.0));
    match (command(env), rows) {
        (Some(pager), Some(rows)) if is_longer(text, rows) => run(pager, text, env),
        _ => false,
    }
}

fn command(env: &BTreeMap<String, String>) -> Option<&str> {
    let dumb = env.get("TERM").is_some_and(|term| term == "dumb");
    match env.get("PAGER").map(|pager| pager.trim()) {
        Some("" | "cat") => None,
        Some(pager) => Some(pager),
        None if dumb => None,
        None => Some(USUAL),
    }
}

/// Whether text and a prompt below it need more rows than there are.
fn is_longer(text: &[u8], rows: usize) -> bool {
    text.iter().filter(|byte| **byte == b'\n').count() >= rows
}

fn run(pager: &str, text: &[u8], env: &BTreeMap<String, String>) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", pager]).stdin(Stdio::piped());
    // Leave at once what fits, pass colours through, and leave the text on the screen.
    if !env.contains_key("LESS") {
        command.env("LESS", "FRX");
    }
    // Before it runs: it may hear of Ctrl-C at once.
    OPEN.store(true, Ordering::Relaxed);
    let Ok(mut child) = command.spawn() else {
        OPEN.store(false, Ordering::Relaxed);
        return false;
    };
    if let Some(mut stdin) = child.stdin.take() {
        // Who leaves the pager early has seen enough.
        let _ = stdin.write_all(text);
    }
    let ended = child.wait();
    OPEN.store(false, Ordering::Relaxed);
    // A shell that finds no such program ends with 127.
    ended.is_ok_and(|status| status.code() != Some(127))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_pager_is_the_users_and_may_be_none() {
        assert_eq!(command(&env(&[])), Some("less"));
        assert_eq!(command(&env(&[("PAGER", "more -s")])), Some("more -s"));
        assert_eq!(command(&env(&[("PAGER", "")])), None);
        assert_eq!(command(&env(&[("PAGER", "cat")])), None);
        assert_eq!(command(&env(&[("TERM", "dumb")])), None);
    }

    #[test]
    fn only_what_does_not_fit_needs_a_pager() {
        assert!(!is_longer(b"a\nb\n", 3));
        assert!(is_longer(b"a\nb\nc\n", 3));
    }
}
