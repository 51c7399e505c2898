//! Turns into values what can happen, and what is asked of the world.
//!
//! Everything that changes a screen is an event, in one order; everything that a screen wants done
//! is an effect. So a whole evening at the dashboard is a list.

use jiff::Timestamp;
use ratatui::crossterm::event::KeyEvent;

use crate::gravity::Consequence;
use crate::related::Said;

use super::sheet::Told;
use super::store::{Id, News};

/// What can happen.
pub enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size: columns and lines.
    Size(u16, u16),
    /// Time has passed.
    Tick(Timestamp),
    /// The watch of a kind, by its plural, tells something.
    News(&'static str, News),
    /// The server answers, or does not, and why.
    Server(Result<(), String>),
    /// What was said of an object; none where that may not be read.
    Heard(Id, Result<Option<Vec<Said>>, String>),
    /// What a deletion means was found out.
    Weighed(Result<Vec<Weighed>, String>),
    /// A command has ended.
    Ran(Ran),
    /// The editor was closed: what it left as a manifest, none where nothing was changed.
    Drafted(Draft, Result<Option<String>, String>),
    /// The settings in force were read.
    Explained(Result<Vec<Told>, String>),
    /// Another server is looked at from now on.
    Connected(Place),
    /// The connection that was asked for cannot be had.
    Unconnected(String),
}

/// What the deletion of an object means.
#[derive(Clone, Debug)]
pub struct Weighed {
    /// The object.
    pub id: Id,
    /// Which object of that name.
    pub uid: String,
    /// How it is confirmed, and what goes with it.
    pub consequence: Consequence,
}

/// How a command has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What it was.
    pub command: Command,
    /// How the process ended.
    pub code: i32,
    /// What it wrote, data first.
    pub said: String,
    /// When.
    pub at: Timestamp,
}

/// Which server is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The context of the kubeconfig.
    pub context: String,
    /// All contexts of the kubeconfig.
    pub contexts: Vec<String>,
    /// The server's address.
    pub server: String,
    /// The context's namespace.
    pub namespace: String,
}

/// A command: of this program, or of another one that a user's own key runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// What follows the program's name.
    pub args: Vec<String>,
    /// What it reads.
    pub stdin: Option<String>,
    /// Why it is run.
    pub why: Why,
    /// The program, where it is not this one.
    pub foreign: Option<Foreign>,
}

/// A program that is not this one. It has the terminal while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its name in `PATH`, or where it is.
    pub program: String,
    /// What it wrote stays until a line is entered, even if it ended well.
    pub wait: bool,
}

/// An object in an editor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Which.
    pub id: Id,
    /// How it was when it was opened first, as YAML.
    pub before: String,
    /// What is to be edited.
    pub text: String,
}

/// Why a command is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Why {
    /// To do what was asked for.
    #[default]
    Action,
    /// To let the server judge a manifest.
    Check,
    /// To see what a change would send.
    Plan,
    /// To keep a setting.
    Setting,
}

impl Command {
    /// A command by its words.
    pub fn new(args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            args: args.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// What a person would type.
    #[must_use]
    pub fn line(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@".contains(c);
        let program = match &self.foreign {
            Some(foreign) => &foreign.program,
            None => "bbctl",
        };
        let all = std::iter::once(program).chain(self.args.iter().map(String::as_str));
        let words = all.map(|word| match word {
            word if !word.is_empty() && word.chars().all(plain) => word.to_owned(),
            word => format!("'{}'", word.replace('\'', r"'\''")),
        });
        let words: Vec<String> = words.collect();
        words.join(" ")
    }
}

/// What is asked of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The end.
    Quit,
    /// Read what was said of an object: its uid goes with it.
    Listen(Id, String),
    /// Find out what deletions mean.
    Weigh(Vec<Id>),
    /// Run a command and keep what it writes.
    Run(Command),
    /// Give the terminal to a command until it ends.
    Visit(Command),
    /// Give the terminal to an editor with an object.
    Draft(Draft),
    /// Put a text on the clipboard.
    Copy(String),
    /// Look at the server of another context.
    Connect(String),
    /// List everything anew.
    Relist,
    /// Read the settings in force.
    Explain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_as_it_would_be_typed() {
        let command = Command::new(["delete", "instance", "www-1", "-n", "acme", "--yes"]);
        assert_eq!(command.line(), "bbctl delete instance www-1 -n acme --yes");
        assert_eq!(Command::new(["x", "it's"]).line(), r"bbctl x 'it'\''s'");
    }
}
