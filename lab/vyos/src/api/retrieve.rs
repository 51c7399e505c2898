//! Turns `/retrieve` calls into what the shared session shows, a half-made change included.

use super::change::not_an_operation;
use super::{Answer, Api, proxy};
use crate::render;
use crate::schema;
use crate::tree::Node;
use serde_json::Value;

impl Api {
    /// `/retrieve`: showConfig, returnValue, returnValues and exists.
    pub(super) async fn retrieve(&self, call: &Value) -> Answer {
        let words = call.get("path").and_then(Value::as_array);
        let path: Vec<String> = words
            .into_iter()
            .flatten()
            .filter_map(|w| w.as_str().map(str::to_owned))
            .collect();
        let op = call.get("op").and_then(Value::as_str).unwrap_or_default();
        self.router.counters.add("reads", 1);
        self.router
            .spend_read(op == "showConfig" && path.is_empty())
            .await;
        if self.router.state().down {
            return Answer::Other(proxy(502, "Bad Gateway"));
        }
        if op == "exists" && path.is_empty() {
            // The library behind it falls over an empty path, and the server with it.
            self.router.crash();
            return Answer::Other(proxy(502, "Bad Gateway"));
        }
        // The shell in between drops empty words.
        let path: Vec<String> = path.into_iter().filter(|word| !word.is_empty()).collect();
        let (running, session) = {
            let state = self.router.state();
            let session = state
                .candidate
                .clone()
                .unwrap_or_else(|| state.running.clone());
            (state.running.clone(), session)
        };
        match op {
            "exists" => Answer::Data(session.has(&path).into()),
            "returnValue" => Answer::Data(
                session
                    .get(&path)
                    .and_then(|leaf| leaf.values.first().cloned())
                    .into(),
            ),
            "returnValues" => Answer::Data(
                session
                    .get(&path)
                    .map(|leaf| leaf.values.clone())
                    .unwrap_or_default()
                    .into(),
            ),
            "showConfig" => {
                self.router.counters.add("reads_show_config", 1);
                let format = call
                    .get("configFormat")
                    .and_then(Value::as_str)
                    .unwrap_or("json");
                show_config(&path, &running, &session, format)
            }
            other => Answer::Error(400, not_an_operation(other)),
        }
    }
}

fn show_config(path: &[String], running: &Node, session: &Node, format: &str) -> Answer {
    let refused = |text: &str| Answer::Error(400, text.to_owned());
    let either = if session.has(path) { session } else { running };
    if schema::find(path).is_none() && !either.has(path) {
        return refused("Specified configuration path is not valid\n");
    }
    let Some(node) = either.get(path) else {
        // One value of a leaf shows as an empty object when it is there.
        return if either.has(path) {
            Answer::Data(Value::Object(serde_json::Map::new()))
        } else {
            refused("Configuration under specified path is empty\n")
        };
    };
    let mut shown = node.clone();
    if running.get(path) != session.get(path) {
        // What is shown then carries markers for what changes, and rarely parses.
        let (old, new) = (running.get(path), session.get(path));
        match old
            .zip(new)
            .and_then(|(old, new)| marked(&mut path.to_vec(), old, new))
        {
            Some(marked) => shown = marked,
            None => {
                let text = "An internal error occured. Check the logs for details.";
                return Answer::Error(500, text.to_owned());
            }
        }
    }
    if shown.children.is_empty() && shown.values.is_empty() {
        return refused("Configuration under specified path is empty\n");
    }
    match format {
        "raw" => Answer::Data(render::raw(path, &shown, 1).into()),
        "json" => {
            let last = path
                .last()
                .filter(|_| schema::is_tag(path) || !shown.values.is_empty());
            let json = shown.to_json();
            Answer::Data(match last {
                Some(name) => Value::Object([(name.clone(), json)].into_iter().collect()),
                None => json,
            })
        }
        other => Answer::Error(501, format!("this stand-in has no showConfig as {other}")),
    }
}

/// What showConfig makes of a subtree that a change is under way in, when it can be parsed at
/// all: a marker followed by one bare word reads as a leaf named after the marker.
fn marked(path: &mut Vec<String>, old: &Node, new: &Node) -> Option<Node> {
    if old.values != new.values {
        return None;
    }
    let mut node = Node {
        values: old.values.clone(),
        ..Node::default()
    };
    let names: std::collections::BTreeSet<&String> =
        old.children.keys().chain(new.children.keys()).collect();
    for name in names {
        path.push(name.clone());
        let marker = match (old.children.get(name), new.children.get(name)) {
            (Some(old), Some(new)) if old == new => {
                node.children.insert(name.clone(), old.clone());
                None
            }
            (Some(old), Some(new)) => {
                node.children.insert(name.clone(), marked(path, old, new)?);
                None
            }
            (None, Some(_)) if schema::is_flag(path) => Some("+"),
            (Some(_), None) if schema::is_flag(path) => Some("-"),
            _ => return None,
        };
        path.pop();
        if let Some(marker) = marker {
            node.make(&[marker]).values.push(name.clone());
        }
    }
    Some(node)
}
