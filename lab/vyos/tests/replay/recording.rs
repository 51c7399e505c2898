//! Turns recording files into steps.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every leaf and every childless node by its path.
pub(crate) type Flat = BTreeMap<Vec<String>, Value>;

#[derive(Debug, Deserialize)]
pub(crate) struct Recording {
    pub name: String,
    pub category: String,
    pub config_start: Value,
    pub steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Step {
    pub step: u32,
    pub name: String,
    pub kind: String,
    #[serde(default)]
    pub wall_s: f64,
    #[serde(default)]
    pub config_diff: Diff,
    pub request: Option<Request>,
    pub reply: Option<Reply>,
    #[serde(default)]
    pub requests: Vec<Sent>,
    #[serde(default)]
    pub command_inside_router: Vec<String>,
}

/// One of several calls that were under way together.
#[derive(Debug, Deserialize)]
pub(crate) struct Sent {
    pub label: String,
    pub sent_at_s: f64,
    pub request: Request,
    pub reply: Reply,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Request {
    pub endpoint: String,
    pub method: String,
    pub encoding: String,
    #[serde(default)]
    pub ops: Value,
    pub key: Option<String>,
    pub raw_data: Option<String>,
    pub body: Option<String>,
    #[serde(default)]
    pub body_repeat: usize,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reply {
    pub status: u16,
    pub content_type: Option<String>,
    pub json: Option<Value>,
    pub allow: Option<String>,
    pub location: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Diff {
    #[serde(default)]
    added: Vec<(Vec<String>, Value)>,
    #[serde(default)]
    removed: Vec<(Vec<String>, Value)>,
    #[serde(default)]
    changed: Vec<(Vec<String>, Value, Value)>,
}

impl Diff {
    /// Makes `flat` what it was after the step.
    pub(crate) fn apply(&self, flat: &mut Flat) {
        for (path, _) in &self.removed {
            flat.remove(path);
        }
        for (path, value) in &self.added {
            flat.insert(path.clone(), value.clone());
        }
        for (path, _, value) in &self.changed {
            flat.insert(path.clone(), value.clone());
        }
    }
}

/// Every leaf and every childless node of `config`.
pub(crate) fn flatten(config: &Value) -> Flat {
    fn below(path: &mut Vec<String>, value: &Value, flat: &mut Flat) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (name, value) in map {
                    path.push(name.clone());
                    below(path, value, flat);
                    path.pop();
                }
            }
            other => {
                flat.insert(path.clone(), other.clone());
            }
        }
    }
    let mut flat = Flat::new();
    below(&mut Vec::new(), config, &mut flat);
    flat
}

/// Where the recordings are: `$BB_SHARED/vyos/transcripts`, else beside the repository.
pub(crate) fn folder() -> PathBuf {
    let root = std::env::var_os("BB_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    root.join("vyos/transcripts")
}

/// Every recording in `folder`, by name.
pub(crate) fn read(folder: &Path) -> std::io::Result<Vec<Recording>> {
    let mut recordings = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let text = std::fs::read_to_string(&path)?;
            let recording: Recording = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{} is no recording: {error}", path.display()));
            recordings.push(recording);
        }
    }
    recordings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(recordings)
}

/// The call that reads the whole configuration.
pub(crate) fn show_everything() -> Request {
    Request {
        endpoint: "/retrieve".to_owned(),
        method: "POST".to_owned(),
        encoding: "form".to_owned(),
        ops: json!({"op": "showConfig", "path": []}),
        key: Some("test-key".to_owned()),
        ..Request::default()
    }
}
