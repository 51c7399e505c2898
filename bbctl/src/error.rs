//! Turns what went wrong into a message, a hint and an exit code.

use std::io;

use kube::core::Status;
use serde::Serialize;

/// How the program ends. The numbers are a promise to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// It failed, for a reason that has no number of its own.
    Failure,
    /// The command line does not say what it has to.
    Usage,
    /// Something that was named does not exist.
    NotFound,
    /// The server refuses who asks.
    Denied,
    /// Someone else changed or owns what was to be written.
    Conflict,
    /// The time was up before it was done.
    TimedOut,
    /// Only of `diff`, where 1 means that there is a difference: it could not be found out.
    Undecided,
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGTERM or SIGHUP.
    Terminated,
    /// As a command on an instance, or the program that was to run it, ended.
    Command(u8),
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Denied => 4,
            Self::Conflict => 5,
            Self::TimedOut => 6,
            Self::Undecided => 7,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::Command(code) => code as i32,
        }
    }

    /// The same as one word, for errors in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::Failure => "Failure",
            Self::Usage => "Usage",
            Self::NotFound => "NotFound",
            Self::Denied => "Denied",
            Self::Conflict => "Conflict",
            Self::TimedOut => "TimedOut",
            Self::Undecided => "Undecided",
            Self::Interrupted => "Interrupted",
            Self::Terminated => "Terminated",
            Self::Command(_) => "Command",
        }
    }

    /// How a command ends of whose parts one ended so and another so: alike if they agree.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ok, exit) | (exit, Self::Ok) => exit,
            (one, two) if one == two => one,
            _ => Self::Failure,
        }
    }
}

/// What went wrong, in words for the one who typed the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the program ends because of it.
    #[serde(skip)]
    pub exit: Exit,
    /// What was tried and what became of it.
    pub message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// A failure that ends the program in this way.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// The command line does not say what it has to.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do next: the hint, else what helps whoever ends so.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        let usual = match self.exit {
            Exit::NotFound => {
                Some("see what there is with `bbctl get all`, elsewhere with -n or -A")
            }
            Exit::Conflict => Some("read it again and repeat"),
            Exit::TimedOut => Some("give it longer with --timeout"),
            _ => None,
        };
        self.hint.as_deref().or(usual)
    }

    /// The reader of our output went away; nobody is left to be told.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.exit == Exit::Ok
    }

    /// Our output could not be written. A closed pipe ends the program quietly: its reader has
    /// seen enough.
    #[must_use]
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::Ok, ""),
            _ => Self::new(Exit::Failure, format!("cannot write the output: {error}")),
        }
    }

    /// What the API server, or the way to it, said while we were doing something.
    ///
    /// `doing` follows "cannot", as in `list instances in namespace acme`; `server` is its
    /// address.
    #[must_use]
    pub fn api(doing: &str, server: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::answer(doing, status),
            kube::Error::Auth(cause) => Self::new(
                Exit::Denied,
                format!(
                    "cannot {doing}: no credentials for {server}: {}",
                    chain(cause)
                ),
            )
            .hint("log in again, or choose another context with --context"),
            kube::Error::SerdeError(cause) => Self::new(
                Exit::Failure,
                format!("cannot {doing}: {server} answered what we do not understand: {cause}"),
            ),
            other => Self::new(
                Exit::Failure,
                format!("cannot {doing}: cannot reach {server}: {}", chain(other)),
            )
            .hint("check that the server runs and that --context names the one you mean"),
        }
    }

    /// The time was up while we waited for an answer.
    #[must_use]
    pub fn no_answer(doing: &str, server: &str, seconds: f64) -> Self {
        Self::new(
            Exit::TimedOut,
            format!("cannot {doing}: no answer from {server} in {seconds} s"),
        )
        .hint("check that the server runs, or give it longer with --timeout")
    }

    fn answer(doing: &str, status: &Status) -> Self {
        let said = one_line(&status.message);
        match status.code {
            401 => Self::new(
                Exit::Denied,
                format!("cannot {doing}: the server does not know who you are"),
            )
            .hint("log in again, or choose another context with --context"),
            403 => Self::new(Exit::Denied, format!("cannot {doing}: {said}")).hint(
                "ask an admin of the tenant for a role (spec.members of the Tenant), \
                 or choose another namespace with -n",
            ),
            // A kind that the server does not serve answers in plain text, without a reason.
            404 if status.reason != "NotFound" => Self::new(
                Exit::NotFound,
                format!("cannot {doing}: the server has no such kind"),
            )
            .hint(
                "install the custom resource definitions, or choose another cluster \
                         with --context",
            ),
            404 => Self::new(Exit::NotFound, format!("cannot {doing}: {said}")),
            409 if status.reason == "Conflict" && said.starts_with("Apply failed") => {
                Self::new(Exit::Conflict, format!("cannot {doing}: {said}"))
                    .hint("leave those fields out, or take them over with --force-conflicts")
            }
            409 => Self::new(Exit::Conflict, format!("cannot {doing}: {said}"))
                .hint("read it again and repeat"),
            408 | 504 => Self::new(Exit::TimedOut, format!("cannot {doing}: {said}")),
            429 | 503 => Self::new(Exit::Failure, format!("cannot {doing}: {said}"))
                .hint("the server is busy or starting: try again"),
            _ if said.contains("field not declared in schema") => {
                Self::new(Exit::Failure, format!("cannot {doing}: {said}"))
                    .hint("check the spelling; `kubectl explain` lists the fields of a kind")
            }
            _ => Self::new(Exit::Failure, format!("cannot {doing}: {said}")),
        }
    }
}

/// Puts an error and all that caused it into one line, each word said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = one_line(&error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let words = one_line(&cause.to_string());
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, reason: &str, message: &str) -> Failure {
        let status = Status::failure(message, reason).with_code(code);
        Failure::api("do it", "https://api", &kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn every_answer_has_its_exit_code() {
        let table = [
            (400, "BadRequest", 1),
            (401, "Unauthorized", 4),
            (403, "Forbidden", 4),
            (404, "NotFound", 3),
            (404, "Failed to parse error data", 3),
            (408, "Timeout", 6),
            (409, "Conflict", 5),
            (409, "AlreadyExists", 5),
            (422, "Invalid", 1),
            (429, "TooManyRequests", 1),
            (500, "InternalError", 1),
            (503, "ServiceUnavailable", 1),
            (504, "Timeout", 6),
        ];
        for (code, reason, exit) in table {
            assert_eq!(
                api(code, reason, "words").exit.code(),
                exit,
                "{code} {reason}"
            );
        }
        assert_eq!(Failure::usage("x").exit.code(), 2);
        assert_eq!(Failure::no_answer("x", "y", 1.0).exit.code(), 6);
        assert_eq!(Exit::Interrupted.code(), 130);
    }

    #[test]
    fn a_conflict_of_owners_names_the_flag() {
        let failure = api(409, "Conflict", "Apply failed with 1 conflict: .spec.cpu");
        assert!(
            failure
                .hint
                .is_some_and(|hint| hint.contains("--force-conflicts"))
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_silent());
        assert!(!Failure::output(&io::Error::other("disk full")).is_silent());
    }

    #[test]
    fn parts_that_agree_give_the_whole_their_code() {
        assert_eq!(Exit::NotFound.and(Exit::NotFound), Exit::NotFound);
        assert_eq!(Exit::Ok.and(Exit::Denied), Exit::Denied);
        assert_eq!(Exit::NotFound.and(Exit::Denied), Exit::Failure);
    }
}
