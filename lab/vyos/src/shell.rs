//! Turns a command line sent over SSH into what the router says to it.
//!
//! Unlike the HTTP API this was not recorded on a running router; it is stricter than one may be.
//! Who logs in to run a command gets no op-mode words of its own: they are behind a wrapper.

use crate::api::opmode::operate;
use crate::passwords;
use crate::router::Router;
use bb_lab_kit::ssh::{Machine, Said};

/// Runs the words after it as op-mode commands.
const WRAPPER: &str = "/opt/vyatta/bin/vyatta-op-cmd-wrapper";
/// Who is in this group may configure.
const ADMINS: &str = "users adm sudo frrvty vyattacfg";
/// The groups of a user with `operator`.
const OPERATORS: &str = "users frrvty";

/// The shell that users of a router have.
#[derive(Debug)]
pub(crate) struct Shell(pub(crate) Router);

impl Shell {
    /// One value below a user.
    fn value(&self, user: &str, path: &[&str]) -> Option<String> {
        let mut whole = vec!["system", "login", "user", user];
        whole.extend(path);
        let state = self.0.state();
        state.running.value(&whole).map(str::to_owned)
    }

    fn has(&self, path: &[&str]) -> bool {
        self.0.state().running.get(path).is_some()
    }
}

impl Machine for Shell {
    fn listens(&self) -> bool {
        self.has(&["service", "ssh"])
    }

    fn takes_password(&self, user: &str, password: &str) -> bool {
        if self.has(&["service", "ssh", "disable-password-authentication"]) {
            return false;
        }
        // A seed may hold what no commit has hashed yet.
        let plain = self.value(user, &["authentication", "plaintext-password"]);
        let hashed = self.value(user, &["authentication", "encrypted-password"]);
        plain.is_some_and(|plain| !plain.is_empty() && plain == password)
            || hashed.is_some_and(|hashed| passwords::fits(password, &hashed))
    }

    fn takes_key(&self, user: &str, key: &str) -> bool {
        let path = [
            "system",
            "login",
            "user",
            user,
            "authentication",
            "public-keys",
        ];
        let state = self.0.state();
        let mut keys = state.running.below(&path);
        keys.any(|(_, held)| {
            let part = |name| held.value(&[name]).unwrap_or_default();
            format!("{} {}", part("type"), part("key")) == key
        })
    }

    fn run(&self, user: &str, line: &str) -> Said {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["id", "-Gn"] => {
                let operator = self.has(&["system", "login", "user", user, "operator"]);
                Said::well(format!("{}\n", if operator { OPERATORS } else { ADMINS }))
            }
            [WRAPPER, words @ ..] => match operate(words, &self.0) {
                Ok(said) => Said::well(said),
                Err(refused) => Said::failed(1, refused),
            },
            [first, ..] => {
                Said::failed(127, format!("vbash: line 1: {first}: command not found\n"))
            }
            [] => Said::default(),
        }
    }
}
