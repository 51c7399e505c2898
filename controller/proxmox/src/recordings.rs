//! Reads recordings of a running Proxmox VE 9.1 with the parsers that read a live one.
//!
//! The recordings are not part of the project: `BB_SHARED` names the folder that has them, else
//! `../shared` beside the repository is looked at. Without them these tests say so and pass.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::calls::{parse_pending, parse_resources};
use crate::error::{Class, ClusterError, classify};
use crate::json::{rows, text_at};
use crate::tasks::{Upid, parse_list};

/// One call and its answer.
struct Step {
    file: String,
    method: String,
    path: String,
    status: u16,
    reason: String,
    body: Value,
}

fn steps() -> Vec<Step> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("BB_SHARED").map_or(beside, PathBuf::from);
    let Ok(folder) = std::fs::read_dir(shared.join("proxmox/transcripts")) else {
        println!("skipped: there are no recordings of Proxmox VE");
        return Vec::new();
    };
    let mut all = Vec::new();
    for entry in folder {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let recording: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        all.extend(rows(&recording["steps"]).iter().map(|step| Step {
            file: format!("{file} {}", step["step"]),
            method: text_at(&step["request"], "method").unwrap_or_default(),
            path: text_at(&step["request"], "path").unwrap_or_default(),
            status: step["reply"]["status"].as_u64().unwrap_or_default() as u16,
            reason: text_at(&step["reply"], "reason").unwrap_or_default(),
            body: step["reply"]["body"].clone(),
        }));
    }
    assert!(all.len() > 1000, "{} steps", all.len());
    all
}

/// Answers to reads of a path that ends so, whole ones only: long ones were cut.
fn answers<'a>(steps: &'a [Step], end: &'a str) -> impl Iterator<Item = (&'a Step, &'a Value)> {
    steps
        .iter()
        .filter(move |step| step.method == "GET" && step.status == 200 && step.path.ends_with(end))
        .filter(|step| step.body["data"].is_array())
        .map(|step| (step, &step.body["data"]))
}

#[test]
fn every_list_of_the_cluster_is_read_whole() {
    let steps = steps();
    for (step, data) in answers(&steps, "/cluster/resources") {
        let seen = parse_resources(data);
        let count = |kinds: &[&str]| {
            let kind = |row: &&Value| kinds.contains(&text_at(row, "type").unwrap().as_str());
            rows(data).iter().filter(kind).count()
        };
        assert_eq!(seen.guests.len(), count(&["qemu", "lxc"]), "{}", step.file);
        assert_eq!(seen.nodes.len(), count(&["node"]), "{}", step.file);
        for (name, storage) in &seen.storages {
            assert!(!storage.plugin.is_empty(), "{}: {name}", step.file);
        }
    }
}

#[test]
fn every_configuration_with_what_is_pending_is_read_whole() {
    let steps = steps();
    let mut with_pending = 0;
    for (step, data) in answers(&steps, "/pending") {
        let config = parse_pending(data);
        assert!(config.digest.is_some(), "{}", step.file);
        let keys = rows(data).len() - 1;
        let read = config.keys().count()
            + config
                .pending
                .values()
                .filter(|next| next.is_none())
                .count();
        assert_eq!(read, keys, "{}", step.file);
        with_pending += usize::from(!config.pending.is_empty());
    }
    assert!(steps.is_empty() || with_pending > 0);
}

#[test]
fn every_task_is_read_and_its_identity_too() {
    let steps = steps();
    for (step, data) in answers(&steps, "/tasks").filter(|(step, _)| step.path.contains("/nodes/"))
    {
        assert_eq!(parse_list(data).len(), rows(data).len(), "{}", step.file);
    }
    for step in steps
        .iter()
        .filter(|step| step.method != "GET" && step.status == 200)
    {
        if let Some(text) = step.body["data"]
            .as_str()
            .filter(|text| text.starts_with("UPID:"))
        {
            assert!(Upid::parse(text).is_some(), "{}: {text}", step.file);
        }
    }
}

#[test]
fn every_refusal_has_the_class_that_its_words_ask_for() {
    let steps = steps();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.status >= 400) {
        let class = if step.method == "GET" {
            Class::Read
        } else {
            Class::Write
        };
        let text = text_at(&step.body, "message").unwrap_or_else(|| step.reason.clone());
        let error = classify(
            "https://pve1:8006",
            class,
            step.status,
            &text,
            BTreeMap::new(),
        );
        let (name, fits) = match &error {
            ClusterError::Unauthorized(_) => ("unauthorized", step.status == 401),
            ClusterError::Forbidden {
                path, privilege, ..
            } => {
                let named = !text.contains("failed (/")
                    || (path.starts_with('/') && privilege.contains('.'));
                ("forbidden", step.status == 403 && named)
            }
            ClusterError::Parameter { .. } => ("parameter", step.status == 400),
            ClusterError::Locked(_) => {
                let words = ["lock", "timeout"];
                ("locked", words.iter().any(|word| text.contains(word)))
            }
            ClusterError::NotReady(_) => (
                "not ready",
                text.contains("RPCEnvironment") || text.contains("quorum"),
            ),
            ClusterError::Moved(_) => ("moved", text.contains("file change")),
            ClusterError::NotThere(_) => (
                "not there",
                text.to_lowercase().contains("configuration file"),
            ),
            ClusterError::Exists(_) => ("exists", text.contains("already exists")),
            ClusterError::Unknown(_) => ("unknown", step.status >= 596 && class == Class::Write),
            ClusterError::Unreachable { .. } => (
                "unreachable",
                step.status >= 595 || text.contains("hostname lookup"),
            ),
            ClusterError::Refused(_) => ("refused", step.status >= 500),
            ClusterError::Setup(_)
            | ClusterError::Untrusted { .. }
            | ClusterError::Answer { .. } => ("other", false),
        };
        assert!(fits, "{}: {} {text}: {error:?}", step.file, step.status);
        *seen.entry(name).or_default() += 1;
    }
    for class in [
        "unauthorized",
        "forbidden",
        "parameter",
        "locked",
        "not there",
        "exists",
        "refused",
    ] {
        assert!(
            steps.is_empty() || seen.contains_key(class),
            "{class}: {seen:?}"
        );
    }
}
