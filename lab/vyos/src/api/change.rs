//! Turns calls that change something into commands for the router.

use super::{Answer, Api};
use crate::edit::{self, Edit, Verb};
use crate::router::{BOOT_FILE, Outcome};
use serde_json::Value;

fn words(command: &Value) -> Vec<String> {
    let path = command.get("path").and_then(Value::as_array);
    path.into_iter()
        .flatten()
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect()
}

fn commands(call: &Value) -> Vec<&Value> {
    match call.get("commands").and_then(Value::as_array) {
        Some(list) => list.iter().collect(),
        None => vec![call],
    }
}

fn op(command: &Value) -> &str {
    command
        .get("op")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The refusal of an operation the endpoint does not have.
pub(super) fn not_an_operation(op: &str) -> String {
    format!("'{op}' is not a valid operation")
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done(said) => Self::Data(said.map_or(Value::Null, Value::String)),
            Outcome::Refused(text) => Self::Error(400, text),
        }
    }
}

impl Api {
    /// `/configure`: set, delete and comment.
    pub(super) async fn configure(&self, call: &Value, caller: &str) -> Answer {
        self.router.counters.add("changes", 1);
        let edits = commands(call).into_iter().map(|command| {
            let verb = match op(command) {
                "set" => Verb::Set,
                "delete" => Verb::Delete,
                "comment" => Verb::Comment,
                other => return Err(not_an_operation(other)),
            };
            let mut path = words(command);
            // An empty value is no value; an empty last word of the path is one.
            let value = command
                .get("value")
                .and_then(Value::as_str)
                .filter(|v| !v.is_empty());
            path.extend(value.map(str::to_owned));
            Ok(Edit { verb, path })
        });
        let edits = edits.collect();
        self.router.configure(edits, caller).await.into()
    }

    /// `/configure-section`: set merges a section, load replaces what is there by it.
    pub(super) async fn configure_section(&self, call: &Value, caller: &str) -> Answer {
        self.router.counters.add("changes", 1);
        let mut edits = Vec::new();
        for command in commands(call) {
            let path = words(command);
            let Some(section) = command.get("section") else {
                let text = "this stand-in knows sections by path, not by mask and config";
                return Answer::Error(501, text.to_owned());
            };
            let load = match op(command) {
                "set" => false,
                "load" => true,
                other => {
                    edits.push(Err(not_an_operation(other)));
                    continue;
                }
            };
            if load {
                edits.push(Ok(Edit {
                    verb: Verb::Delete,
                    path: path.clone(),
                }));
            }
            let empty = section.as_object().is_some_and(serde_json::Map::is_empty);
            if load && empty {
                continue;
            }
            match edit::section(&path, section) {
                Ok(sets) => edits.extend(sets.into_iter().map(Ok)),
                Err(text) => edits.push(Err(text)),
            }
        }
        self.router.configure(edits, caller).await.into()
    }

    /// `/config-file`: save and load.
    pub(super) async fn config_file(&self, call: &Value, caller: &str) -> Answer {
        let file = call.get("file").and_then(Value::as_str);
        match op(call) {
            "save" => match self.router.save(file.unwrap_or(BOOT_FILE)).await {
                Ok(()) => Answer::Data("".into()),
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "a save was lost");
                    let text = "An internal error occured. Check the logs for details.";
                    Answer::Error(500, text.to_owned())
                }
            },
            "load" => {
                let Some(file) = file else {
                    return Answer::Error(400, "Missing required field \"file\"".to_owned());
                };
                let saved = self.router.state().saved.get(file).cloned();
                match saved {
                    Some(config) => self.router.load(config, caller).await.into(),
                    None => Answer::Error(400, format!("No such file '{file}'\n")),
                }
            }
            other => Answer::Error(400, not_an_operation(other)),
        }
    }
}
