//! Turns a recording's file into steps: what was asked, what came back, what its task did.

use std::path::Path;

use serde_json::Value;

/// One request of a recording.
#[derive(Debug)]
pub(crate) struct Step {
    pub number: u64,
    pub purpose: String,
    pub method: String,
    /// Below `/api2/json`, as it was sent.
    pub path: String,
    pub params: serde_json::Map<String, Value>,
    pub auth: String,
    pub status: u16,
    pub reason: String,
    pub body: Value,
    /// Seconds the request took.
    pub seconds: f64,
    /// Seconds its task took and the text it ended with, when the recorder waited for it.
    pub task: Option<(f64, String)>,
}

/// A recording.
#[derive(Debug)]
pub(crate) struct Recording {
    pub scenario: String,
    pub steps: Vec<Step>,
}

impl Recording {
    /// Reads the file whose name begins with the scenario's number.
    pub(crate) fn read(folder: &Path, scenario: &str) -> Self {
        let prefix = format!("{scenario}-");
        let file = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| {
                path.file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with(&prefix)
            })
            .unwrap_or_else(|| panic!("no recording {scenario}"));
        let text = std::fs::read(&file).unwrap();
        let value: Value = serde_json::from_slice(&text).unwrap();
        let steps = value["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(Step::read)
            .collect();
        Self {
            scenario: scenario.to_owned(),
            steps,
        }
    }

    /// Guests the scenario makes; lists are compared for these only.
    pub(crate) fn guests(&self) -> std::collections::BTreeSet<u64> {
        let mut out = std::collections::BTreeSet::new();
        for step in &self.steps {
            for key in ["vmid", "newid"] {
                if step.method == "POST"
                    && let Some(id) = step.params.get(key).and_then(Value::as_u64)
                {
                    out.insert(id);
                }
            }
        }
        out
    }
}

impl Step {
    fn read(value: &Value) -> Self {
        let (request, reply) = (&value["request"], &value["reply"]);
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let task = value.get("task").and_then(|task| {
            let exit = task["final"]["exitstatus"].as_str()?;
            Some((
                task["seconds"].as_f64().unwrap_or_default(),
                exit.to_owned(),
            ))
        });
        Self {
            number: value["step"].as_u64().unwrap(),
            purpose: text(&value["purpose"]),
            method: text(&request["method"]),
            path: text(&request["path"])
                .trim_start_matches("/api2/json")
                .to_owned(),
            params: request["params"].as_object().cloned().unwrap_or_default(),
            auth: text(&request["auth"]),
            status: reply["status"].as_u64().unwrap() as u16,
            reason: text(&reply["reason"]),
            body: reply["body"].clone(),
            seconds: value["duration_s"].as_f64().unwrap_or_default(),
            task,
        }
    }

    /// The parts of the path, decoded.
    pub(crate) fn parts(&self) -> Vec<String> {
        let decoded = percent_encoding::percent_decode_str(&self.path).decode_utf8_lossy();
        decoded
            .split('/')
            .filter(|p| !p.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Whether our driver makes such a call.
    pub(crate) fn is_driver(&self) -> bool {
        let parts = self.parts();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match self.method.as_str() {
            "POST" => matches!(
                parts.as_slice(),
                ["access", "ticket"]
                    | ["nodes", _, "lxc"]
                    | ["nodes", _, "qemu", _, "clone" | "config"]
                    | [
                        "nodes",
                        _,
                        "qemu" | "lxc",
                        _,
                        "status",
                        "start" | "stop" | "shutdown"
                    ]
                    | ["nodes", _, "storage", _, "content"]
            ),
            "PUT" => matches!(
                parts.as_slice(),
                ["nodes", _, "qemu", _, "resize"] | ["nodes", _, "qemu" | "lxc", _, "config"]
            ),
            "DELETE" => matches!(
                parts.as_slice(),
                ["nodes", _, "qemu" | "lxc", _] | ["nodes", _, "storage", _, "content", ..]
            ),
            "GET" => matches!(
                parts.as_slice(),
                ["version"]
                    | ["access", "permissions"]
                    | ["cluster", "resources" | "nextid"]
                    | ["nodes", _, "tasks"]
                    | ["nodes", _, "tasks", _, "status"]
                    | ["nodes", _, "qemu" | "lxc", _, "config" | "pending"]
                    | ["nodes", _, "qemu" | "lxc", _, "status", "current"]
                    | ["nodes", _, "storage", _, "content", ..]
            ),
            _ => false,
        }
    }
}
