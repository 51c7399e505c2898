//! Turns a status and a body into data or a class of error, as VyOS 1.5 was seen to answer.
//!
//! Nothing here depends on the `Content-Type`: VyOS labels its JSON `text/html`. nginx in front
//! of the API answers in HTML, the framework behind it with `{"detail": ..}`.

use serde_json::Value;

use crate::error::RouterError;
use crate::op::Op;
use crate::text::{Mask, bound, collapse, unescape};

/// What a request asked for; it decides what a broken answer means.
#[derive(Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// Something that changes nothing.
    Read,
    /// A commit of these.
    Configure(&'a [Op]),
    /// The running configuration on disk.
    Save,
}

/// An answer as it came.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The size of the request's body, in bytes.
    pub(crate) sent: usize,
}

impl Reply {
    /// The `data` of a success, or the class of the failure. `Null` stands for an empty node.
    pub(crate) fn judge(&self, asked: Asked<'_>, mask: &Mask) -> Result<Value, RouterError> {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let success = json.get("success").and_then(Value::as_bool);
        if self.status == 200 && success == Some(true) {
            let data = json.get("data").cloned().unwrap_or_default();
            return match (asked, &data) {
                (Asked::Configure(_), Value::String(text)) if text.contains(BACKGROUND) => {
                    Err(RouterError::Unknown {
                        text: mask.line(text),
                    })
                }
                _ => Ok(data),
            };
        }
        let said = ["error", "detail"]
            .iter()
            .find_map(|field| json.get(field)?.as_str());
        let text = said.map_or_else(
            || page_title(&self.body),
            |text| without_echo(&unescape(text)),
        );
        self.classify(asked, &mask.apply(&text), mask)
    }

    fn classify(&self, asked: Asked<'_>, text: &str, mask: &Mask) -> Result<Value, RouterError> {
        let line = bound(&collapse(text));
        let unexpected = |text| {
            Err(RouterError::Unexpected {
                status: self.status,
                text,
            })
        };
        match (self.status, asked) {
            (401, _) => Err(RouterError::Unauthorized),
            (403, _) => unexpected(format!("{line} (see `service https allow-client`)")),
            (404, _) => unexpected(format!("{line} (is `service https api rest` set?)")),
            (413, _) => {
                let limit = NGINX_BODY_BYTES.min(self.sent.saturating_sub(1));
                Err(RouterError::TooLarge {
                    bytes: self.sent,
                    limit,
                })
            }
            // While another commit is between its first command and its end, a read of the nodes
            // it touches finds marks of the difference, and fails.
            (500 | 502 | 504, Asked::Read) | (502, Asked::Save) | (503, _) => {
                Err(RouterError::Busy {
                    text: format!("{} {line}", self.status),
                })
            }
            // 502 also comes when the API dies with the request in its hands.
            (502 | 504, _) => Err(RouterError::Unknown {
                text: format!("{} {line}", self.status),
            }),
            _ if BUSY.iter().any(|words| line.contains(words)) => {
                Err(RouterError::Busy { text: line })
            }
            (400, Asked::Read) if line.starts_with(EMPTY) => Ok(Value::Null),
            (400, Asked::Configure(ops)) => match verdict(text) {
                Some(Verdict::Commit) => Err(refused(text, ops)),
                Some(Verdict::Command) => Err(invalid(text, ops, mask)),
                None => unexpected(line),
            },
            _ => unexpected(line),
        }
    }
}

/// nginx's default limit; `service https request-body-size-limit` can raise it.
pub(crate) const NGINX_BODY_BYTES: usize = 1 << 20;
/// What a change of the API itself is answered with, and whatever falls into its window: such a
/// list was seen lost without a word.
const BACKGROUND: &str = "commit will be called in the background";
/// A valid path with nothing below it.
const EMPTY: &str = "Configuration under specified path is empty";
/// The commit lock is held; newer builds: the session died and is made anew.
const BUSY: [&str; 3] = [
    "temporarily locked due to another commit",
    "config session unavailable",
    "without config session",
];

/// Who refused a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The commit.
    Commit,
    /// A command on its way into the candidate.
    Command,
}

/// Looks at whole lines, since a value may hold the same words.
fn verdict(text: &str) -> Option<Verdict> {
    let mut found = None;
    for line in text.lines().map(str::trim) {
        match line {
            "Commit failed" => return Some(Verdict::Commit),
            "Set failed" | "Delete failed" | "Value validation failed" => {
                found = Some(Verdict::Command);
            }
            _ if failed_node(line).is_some() => return Some(Verdict::Commit),
            _ if line.starts_with("Cannot delete [") => found = Some(Verdict::Command),
            _ => {}
        }
    }
    found
}

/// `[[vrf]] failed`, `delete [ protocols bgp ] failed`: the node.
fn failed_node(line: &str) -> Option<&str> {
    let node = line.strip_suffix(" failed")?.trim();
    let node = node.strip_prefix("delete ").unwrap_or(node).trim_start();
    let node = node.strip_prefix('[')?.strip_suffix(']')?;
    let inner = node
        .strip_prefix('[')
        .and_then(|node| node.strip_suffix(']'));
    Some(inner.unwrap_or(node).trim())
}

/// Reads the parts of a failed commit. Several may fail, in the order in which they ran.
fn refused(text: &str, ops: &[Op]) -> RouterError {
    let (mut nodes, mut said, mut part) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let trimmed = line.trim();
        if let Some(node) = failed_node(trimmed) {
            nodes.push(words(node, ops));
            said.push(bound(&collapse(&message(&part))));
            part.clear();
        } else if trimmed.starts_with("[ ") && trimmed.ends_with(" ]") {
            // What stands before belongs to a part that did not fail.
            part.clear();
        } else {
            part.push(line);
        }
    }
    let whole = if nodes.is_empty() {
        collapse(text)
    } else {
        let parts = nodes
            .iter()
            .zip(&said)
            .map(|(node, said)| format!("{}: {said}", node.join(" ")));
        parts.collect::<Vec<_>>().join("; ")
    };
    RouterError::Refused {
        text: bound(&whole),
        nodes,
        said,
    }
}

/// The words that matter of one part: without the warnings that come first, and without the
/// stack of a Python exception.
fn message(part: &[&str]) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut in_warning = false;
    let mut in_stack = false;
    for line in part {
        let blank = line.trim().is_empty();
        in_warning = line.starts_with("WARNING:") || (in_warning && !blank);
        if line.starts_with("Traceback (") {
            in_stack = true;
            kept.clear();
        } else if in_stack && !blank && !line.starts_with(' ') {
            in_stack = false;
        }
        if !in_warning && !in_stack && !blank {
            kept.push(line);
        }
    }
    kept.join("\n")
}

fn invalid(text: &str, ops: &[Op], mask: &Mask) -> RouterError {
    let noise = [
        "Set failed",
        "Delete failed",
        "Value validation failed",
        "Invalid value",
    ];
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !noise.contains(&line.trim()))
        .collect();
    let mut line = collapse(&kept.join("\n"));
    if line.is_empty() {
        line = collapse(text);
    }
    let path = named(&line, ops).or_else(|| only_candidate(&line, ops));
    let path = path.map(|words| words.iter().map(|word| mask.apply(word)).collect());
    RouterError::Invalid {
        text: bound(&line),
        path,
    }
}

/// The path between brackets, where the reply has one.
fn named(line: &str, ops: &[Op]) -> Option<Vec<String>> {
    const FORMS: [(&str, &str); 3] = [
        ("Configuration path: [", "] is not valid"),
        ("Configuration path: [", "] requires a value"),
        ("Cannot delete [", "]: path/value does not exist"),
    ];
    FORMS.iter().find_map(|(before, after)| {
        let rest = &line[line.find(before)? + before.len()..];
        Some(words(&rest[..rest.rfind(after)?], ops))
    })
}

/// The one command whose value the validator repeats: `Error: 10.0.0.0/24 is not a valid IP host`.
fn only_candidate(line: &str, ops: &[Op]) -> Option<Vec<String>> {
    let value = line
        .split(" is not a valid ")
        .next()
        .filter(|before| before.len() < line.len())?;
    let value = value.rsplit(' ').next()?.trim_matches('\'');
    let mut fitting = ops
        .iter()
        .filter(|op| op.path.last().is_some_and(|last| last == value));
    let one = fitting.next()?;
    fitting.next().is_none().then(|| one.path.clone())
}

/// Splits a path that the router wrote with blanks. Where a command of ours reads the same, its
/// words are taken: a word may hold blanks or be empty.
fn words(text: &str, ops: &[Op]) -> Vec<String> {
    let text = collapse(text);
    let ours = ops.iter().find_map(|op| {
        (1..=op.path.len())
            .map(|n| &op.path[..n])
            .find(|path| collapse(&path.join(" ")) == text)
    });
    ours.map_or_else(
        || text.split(' ').map(str::to_owned).collect(),
        <[String]>::to_vec,
    )
}

/// Takes the request out of a reply that repeats it, whole, with the key in it.
fn without_echo(text: &str) -> String {
    if let Some(rest) = text.strip_prefix("Malformed command '") {
        let reason = rest.rsplit_once("': ").map_or("", |(_, reason)| reason);
        return format!("Malformed command: {reason}");
    }
    if text.starts_with("{'type':") {
        let message = text
            .split("'msg': '")
            .nth(1)
            .and_then(|rest| rest.split("', ").next());
        return format!("Malformed request: {}", message.unwrap_or_default());
    }
    text.to_owned()
}

/// The title of a page of HTML, or the body itself.
fn page_title(body: &str) -> String {
    let title = body
        .split("<title>")
        .nth(1)
        .and_then(|rest| rest.split("</title>").next());
    title.unwrap_or(body).to_owned()
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "reply_recorded.rs"]
mod recorded;
