//! Turns what became of each object into a line at a time, or into one document at the end.

use serde_json::{Value, json};

use crate::cmd::wait;
use crate::error::{Exit, Failure};
use crate::object::Object;
use crate::out::{Format, Out};
use crate::resource::Target;

/// What became of the objects so far.
#[derive(Debug)]
pub struct Results {
    results: Vec<Value>,
    exit: Exit,
    dry: bool,
}

impl Results {
    /// None yet. `dry` says that nothing is really done.
    #[must_use]
    pub fn new(dry: bool) -> Self {
        Self {
            results: Vec::new(),
            exit: Exit::Ok,
            dry,
        }
    }

    /// Tells what became of an object: one word, such as `created`.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn add(
        &mut self,
        target: &Target,
        word: &str,
        object: Option<&Object>,
        out: &mut Out,
    ) -> Result<(), Failure> {
        let suffix = if self.dry { " (dry run)" } else { "" };
        match out.format() {
            Format::Json | Format::Yaml => self.results.push(wait::result(target, word, object)),
            Format::Name => out.line(&target.full_name())?,
            _ => out.line(&format!("{} {word}{suffix}", target.label()))?,
        }
        out.flush()
    }

    /// Tells why it failed for one object; the others go on.
    pub fn fail(&mut self, failure: &Failure, out: &mut Out) {
        out.report(failure);
        self.exit = self.exit.and(failure.exit);
    }

    /// How all of them ended so far.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Writes the document where one was asked for, and says how all of them ended.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn close(self, out: &mut Out) -> Result<Exit, Failure> {
        if out.is_machine() {
            out.document(&json!({"results": self.results}))?;
        }
        Ok(self.exit)
    }
}
