//! Turns the journals of the stand-ins into how much was asked and changed, and what exactly.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bb_lab_kit::journal::Entry;
use serde_json::Value;

/// How often a stand-in was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Calls that change nothing.
    pub reads: usize,
    /// Calls that change something, or try to.
    pub writes: usize,
    /// Commits of a router.
    pub commits: usize,
    /// Calls to change something answered with 400 or more, or not at all. A read that finds
    /// nothing is no refusal.
    pub refused: usize,
}

/// What an entry of a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Read,
    Write,
    Commit,
}

/// Reads every journal of a folder, oldest entry first.
///
/// # Errors
/// When the folder or a file in it cannot be read.
pub fn read(folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let files =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for file in files {
        let path = file
            .with_context(|| format!("cannot list {}", folder.display()))?
            .path();
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // A last line that is still being written is not a line yet.
        entries.extend(
            text.lines()
                .filter_map(|line| serde_json::from_str::<Entry>(line).ok()),
        );
    }
    entries.sort_by(|one, other| one.time.cmp(&other.time));
    Ok(entries)
}

/// Counts the entries of each stand-in.
#[must_use]
pub fn count(entries: &[Entry]) -> BTreeMap<String, Count> {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for entry in entries {
        let count = counts.entry(entry.target.clone()).or_default();
        match sort(entry) {
            Sort::Commit => count.commits += 1,
            Sort::Read => count.reads += 1,
            Sort::Write => count.writes += 1,
        }
        if sort(entry) == Sort::Write && (entry.status == 0 || entry.status >= 400) {
            count.refused += 1;
        }
    }
    counts
}

/// Renders what was sent to change something: a head per call, a line per command or field.
#[must_use]
pub fn writes(entries: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in entries.iter().filter(|entry| sort(entry) == Sort::Write) {
        lines.push(format!(
            "{} {} {} {} -> {} in {} ms",
            entry.time, entry.target, entry.method, entry.path, entry.status, entry.duration_ms
        ));
        lines.extend(
            content(&entry.body)
                .into_iter()
                .map(|line| format!("    {line}")),
        );
    }
    lines
}

/// A router is also read by POST; the path tells.
fn sort(entry: &Entry) -> Sort {
    let last = entry
        .path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    match (entry.method.as_str(), last) {
        ("COMMIT", _) => Sort::Commit,
        ("GET", _) | (_, "retrieve" | "show" | "info" | "ticket") => Sort::Read,
        _ => Sort::Write,
    }
}

/// Renders a router's commands as one would type them, and fields as `name=value`.
fn content(body: &Value) -> Vec<String> {
    match body {
        Value::Array(items) => items.iter().flat_map(content).collect(),
        Value::Object(fields) => {
            if let Some(command) = command(body) {
                return vec![command];
            }
            fields
                .iter()
                .flat_map(|(name, value)| match value {
                    Value::Array(_) | Value::Object(_) => content(value),
                    Value::String(text) => vec![format!("{name}={text}")],
                    other => vec![format!("{name}={other}")],
                })
                .collect()
        }
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

fn command(body: &Value) -> Option<String> {
    let op = body.get("op")?.as_str()?;
    let path = body.get("path")?.as_array()?;
    let words: Vec<&str> = path.iter().filter_map(Value::as_str).collect();
    let value = body
        .get("value")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Some(
        format!("{op} {} {value}", words.join(" "))
            .trim_end()
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(method: &str, path: &str, status: u16, body: &Value) -> Entry {
        serde_json::from_value(json!({
            "time": "2026-01-01T00:00:00.000Z", "target": "r1", "caller": "127.0.0.1",
            "method": method, "path": path, "body": body, "status": status, "duration_ms": 3,
        }))
        .unwrap()
    }

    #[test]
    fn a_post_that_only_reads_is_a_read() {
        let entries = [
            entry(
                "POST",
                "/retrieve",
                200,
                &json!({"op": "showConfig", "path": []}),
            ),
            entry("POST", "/configure", 400, &json!([])),
            entry("COMMIT", "", 200, &json!(null)),
            entry("GET", "/info", 404, &json!(null)),
            entry("GET", "/api2/json/cluster/resources", 200, &json!(null)),
        ];
        let expected = Count {
            reads: 3,
            writes: 1,
            commits: 1,
            refused: 1,
        };
        assert_eq!(count(&entries)["r1"], expected);
    }

    #[test]
    fn commands_read_as_one_would_type_them() {
        let body = json!({"data": [
            {"op": "set", "path": ["vrf", "name", "t1", "table", "1001"]},
            {"op": "delete", "path": ["interfaces", "dummy", "dum0"]},
        ]});
        let lines = writes(&[entry("POST", "/configure", 200, &body)]);
        assert_eq!(lines[1], "    set vrf name t1 table 1001");
        assert_eq!(lines[2], "    delete interfaces dummy dum0");
    }

    #[test]
    fn fields_of_a_form_read_as_name_and_value() {
        let body = json!({"newid": 2001, "name": "www-1"});
        let lines = writes(&[entry("POST", "/nodes/n1/qemu/9000/clone", 200, &body)]);
        assert_eq!(lines[1..], ["    name=www-1", "    newid=2001"]);
    }
}
