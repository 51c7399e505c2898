//! Turns steps done into lines with the seconds they took.

use std::io::Write;
use std::time::Instant;

/// Tells a person how far a long step is, or says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    since: Option<Instant>,
}

impl Progress {
    /// Says nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self { since: None }
    }

    /// Writes a line to standard output for each step, with seconds from now.
    #[must_use]
    pub fn spoken() -> Self {
        Self {
            since: Some(Instant::now()),
        }
    }

    /// Says what has been reached.
    pub fn say(&self, words: &str) {
        let Some(since) = self.since else { return };
        let seconds = since.elapsed().as_secs();
        // A closed terminal must not stop a lab half way.
        let _ = writeln!(std::io::stdout().lock(), "[{seconds:>3}s] {words}");
    }
}
