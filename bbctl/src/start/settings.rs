//! Turns what was decided, and why, into a table "setting: value (source)".

use serde::Serialize;

use crate::error::Failure;
use crate::out::Out;
use crate::style::tame;

/// One thing that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// What it is called; the flag of the same name changes it.
    pub setting: &'static str,
    /// What it is; empty: none.
    pub value: String,
    /// Where that comes from.
    pub source: String,
}

impl Setting {
    /// Something that was decided.
    pub fn new(setting: &'static str, value: impl Into<String>, source: impl Into<String>) -> Self {
        Self {
            setting,
            value: value.into(),
            source: source.into(),
        }
    }
}

/// The settings, a line each.
#[must_use]
pub fn lines(settings: &[Setting]) -> Vec<String> {
    let shown = |value: &str| match value {
        "" => "none".to_owned(),
        value => tame(value),
    };
    let widest = |of: &dyn Fn(&Setting) -> usize| settings.iter().map(of).max().unwrap_or_default();
    let name = widest(&|s| s.setting.chars().count()) + 1;
    let value = widest(&|s| shown(&s.value).chars().count()).min(40);
    let line = |s: &Setting| {
        let label = format!("{}:", s.setting);
        format!(
            "  {label:<name$} {:<value$}  ({})",
            shown(&s.value),
            tame(&s.source)
        )
    };
    settings.iter().map(line).collect()
}

/// What a person says to a table of settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Go on with these.
    Go,
    /// Change one.
    Change {
        /// The name of the setting, as it was typed.
        setting: String,
        /// What it is to be.
        value: String,
    },
}

/// Shows the settings and asks whether they are right.
///
/// # Errors
/// When nobody can be asked, or the answer is no.
pub async fn ask(settings: &[Setting], what: &str, out: &mut Out) -> Result<Reply, Failure> {
    for line in lines(settings) {
        out.say(&line);
    }
    if !out.can_ask() {
        return Err(Failure::usage(format!(
            "nobody can be asked whether to {what} with these settings"
        ))
        .hint("confirm them with --yes, or change them by the flags of the same names"));
    }
    loop {
        let question = format!("{what} with these? [y, n, or a SETTING to change]");
        let answer = out.ask(&capital(&question)).await?;
        let answer = answer.trim();
        match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(Reply::Go),
            "" | "n" | "no" => {
                let said = format!("not confirmed: nothing was done to {what}");
                return Err(Failure::new(crate::error::Exit::Failure, said));
            }
            word => {
                if !settings.iter().any(|s| s.setting == word) {
                    let names: Vec<&str> = settings.iter().map(|s| s.setting).collect();
                    out.say(&format!("the settings are {}", names.join(", ")));
                    continue;
                }
                let value = out.ask(&format!("{word}:")).await?;
                return Ok(Reply::Change {
                    setting: word.to_owned(),
                    value: value.trim().to_owned(),
                });
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_its_source_beside_it() {
        let all = [
            Setting::new("name", "www-1", "flag"),
            Setting::new("ssh-key", "", "nobody"),
        ];
        assert_eq!(
            lines(&all),
            ["  name:    www-1  (flag)", "  ssh-key: none   (nobody)"]
        );
    }

    fn out(interactive: bool, stdin: &str) -> Out {
        let io = crate::out::Io {
            env: std::collections::BTreeMap::new(),
            stdin: Box::new(std::io::Cursor::new(stdin.as_bytes().to_vec())),
            stdout: Box::new(std::io::sink()),
            stderr: Box::new(std::io::sink()),
            interactive,
            stdout_is_terminal: false,
            stderr_is_terminal: interactive,
            columns: None,
        };
        Out::new(io, crate::out::Look::default())
    }

    #[tokio::test]
    async fn a_person_goes_on_changes_a_row_or_says_no() {
        let all = [Setting::new("memory", "1Gi", "default")];
        let change = Reply::Change {
            setting: "memory".to_owned(),
            value: "2Gi".to_owned(),
        };
        for (typed, wanted) in [
            ("y\n", Some(Reply::Go)),
            ("memory\n2Gi\n", Some(change.clone())),
            ("colour\nmemory\n 2Gi \n", Some(change)),
            ("n\n", None),
            ("\n", None),
            ("", None),
        ] {
            let reply = ask(&all, "launch", &mut out(true, typed)).await;
            assert_eq!(reply.ok(), wanted, "{typed:?}");
        }
        let unasked = ask(&all, "launch", &mut out(false, "y\n"))
            .await
            .unwrap_err();
        assert_eq!(unasked.exit, crate::error::Exit::Usage);
        assert!(unasked.hint.is_some_and(|hint| hint.contains("--yes")));
    }
}
