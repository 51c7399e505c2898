//! Turns an answer that is long in coming into a line on the terminal, gone when there is more to
//! say.
//!
//! Only a person on a terminal sees it: pipes and files get what they asked for and nothing else.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// After how long without a word a sign is given.
pub const SOON: Duration = Duration::from_millis(50);

/// What goes beside the data, and the sign that something is under way.
#[derive(Clone)]
pub struct Sign(Arc<Mutex<Inner>>);

struct Inner {
    stderr: Box<dyn Write + Send>,
    /// Whether a sign may still be given: a person reads, and nothing was said yet.
    wanted: bool,
    /// Whether the terminal cannot take a line back.
    dumb: bool,
    shown: bool,
    server: Option<String>,
}

impl Sign {
    /// Takes over stderr; `person` says whether somebody reads it as it comes, and `dumb` whether
    /// that terminal can do no more than print.
    #[must_use]
    pub fn new(stderr: Box<dyn Write + Send>, person: bool, dumb: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            stderr,
            wanted: person,
            dumb,
            shown: false,
            server: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked while it held this wrote half a line at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names whose answer is waited for.
    pub fn about(&self, server: &str) {
        self.inner().server = Some(server.to_owned());
    }

    /// Gives the sign, unless something was said before.
    pub fn give(&self) {
        let mut inner = self.inner();
        if !inner.wanted {
            return;
        }
        inner.wanted = false;
        let words = match &inner.server {
            Some(server) => format!("waiting for {server} ..."),
            None => "working ...".to_owned(),
        };
        let end = if inner.dumb { "\n" } else { "" };
        inner.shown = !inner.dumb;
        // Like all that is beside the data, it may get lost.
        let _ = write!(inner.stderr, "{words}{end}");
        let _ = inner.stderr.flush();
    }

    /// Takes the sign back, and gives none from here on.
    pub fn clear(&self) {
        self.inner().clear();
    }

    /// Writes to stderr, the sign taken back first.
    pub fn write(&self, text: &str) {
        let mut inner = self.inner();
        inner.clear();
        // What is said beside the data may get lost, but never ends the program.
        let _ = write!(inner.stderr, "{text}");
        let _ = inner.stderr.flush();
    }
}

impl Inner {
    fn clear(&mut self) {
        self.wanted = false;
        if std::mem::take(&mut self.shown) {
            let _ = write!(self.stderr, "\r\u{1b}[K");
            let _ = self.stderr.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What stands on stderr after some steps.
    fn told(person: bool, dumb: bool, steps: impl Fn(&Sign)) -> String {
        let buffer = Buffer::default();
        steps(&Sign::new(Box::new(buffer.clone()), person, dumb));
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_sign_is_given_once_to_a_person_and_taken_back() {
        let late = |sign: &Sign| {
            sign.about("https://api");
            sign.give();
            sign.give();
            sign.write("error: x\n");
            sign.give();
        };
        let sign = "waiting for https://api ...";
        assert_eq!(
            told(true, false, late),
            format!("{sign}\r\u{1b}[Kerror: x\n")
        );
        assert_eq!(told(true, true, late), format!("{sign}\nerror: x\n"));
        assert_eq!(told(false, false, late), "error: x\n");
        let in_time = |sign: &Sign| {
            sign.write("at once\n");
            sign.give();
        };
        assert_eq!(told(true, false, in_time), "at once\n");
    }
}
