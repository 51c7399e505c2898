//! The files for pipelines, Argo CD and Flux do what the page says, as far as that shows without them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test cannot go on without ends it"
)]
#![allow(clippy::too_many_lines, reason = "a table of objects")]

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bbctl::object::{self, Object};
use bbctl::out::render_yaml;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gitops")
}

fn read(name: &str) -> String {
    let path = folder().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// An object as it may be met, how Argo CD is to name its health, and what Flux is to make of it.
fn objects() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let object = |meta: &Value, ready: Option<(&str, &str, i64)>| {
        let mut object = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
            "metadata": {"name": "web", "generation": 2}, "spec": {}, "status": {}});
        for (field, value) in meta.as_object().unwrap() {
            object["metadata"][field] = value.clone();
        }
        if let Some((status, reason, seen)) = ready {
            object["status"]["conditions"] = json!([
                {"type": "Programmed", "status": "True", "reason": "Programmed",
                    "observedGeneration": seen, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Ready", "status": status, "reason": reason,
                    "observedGeneration": seen, "message": "words", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]);
        }
        object
    };
    let none = &json!({});
    let leaving = &json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    vec![
        ("new", object(none, None), "Progressing", "in progress"),
        (
            "ready",
            object(none, Some(("True", "Ready", 2))),
            "Healthy",
            "current",
        ),
        (
            "ready of an earlier spec",
            object(none, Some(("True", "Ready", 1))),
            "Progressing",
            "in progress",
        ),
        (
            "refused of an earlier spec",
            object(none, Some(("False", "Refused", 1))),
            "Progressing",
            "in progress",
        ),
        (
            "at work",
            object(none, Some(("False", "Pending", 2))),
            "Progressing",
            "in progress",
        ),
        (
            "waiting",
            object(none, Some(("False", "Waiting", 2))),
            "Progressing",
            "in progress",
        ),
        (
            "unknown",
            object(none, Some(("Unknown", "Unreachable", 2))),
            "Progressing",
            "in progress",
        ),
        (
            "refused",
            object(none, Some(("False", "Refused", 2))),
            "Degraded",
            "failed",
        ),
        (
            "stuck",
            object(none, Some(("False", "Stuck", 2))),
            "Degraded",
            "failed",
        ),
        (
            "paused",
            object(none, Some(("False", "Paused", 2))),
            "Suspended",
            "failed",
        ),
        (
            "going",
            object(leaving, Some(("False", "Deleting", 2))),
            "Progressing",
            "in progress",
        ),
        (
            "going, and ready",
            object(leaving, Some(("True", "Ready", 2))),
            "Progressing",
            "terminating",
        ),
        (
            "going, never seen",
            object(leaving, None),
            "Progressing",
            "in progress",
        ),
    ]
}

/// The environment that `scripts/venv.sh` makes.
fn python() -> PathBuf {
    let venv = std::env::var_os("BB_VENV").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/bitbuilder/venv"),
        PathBuf::from,
    );
    let python = venv.join("bin/python3");
    assert!(
        python.exists(),
        "there is no Python environment at {}: run scripts/venv.sh, or say where it is in BB_VENV",
        venv.display()
    );
    python
}

fn judged(script: &str, objects: &[Value]) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/health.py");
    let mut child = Command::new(python())
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = json!({"script": script, "objects": objects}).to_string();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(asked.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn argo_cd_names_the_health_of_an_object_as_bbctl_judges_it() {
    let table = objects();
    let given: Vec<Value> = table.iter().map(|(_, object, ..)| object.clone()).collect();
    let answers = judged(&read("health.lua"), &given);
    assert_eq!(answers.len(), table.len());
    for ((name, value, wanted, _), (status, message)) in table.into_iter().zip(answers) {
        assert_eq!(status, wanted, "{name}: {message}");
        assert!(!message.is_empty(), "{name}");
        let object: Object = serde_json::from_value(value).unwrap();
        let health = object::health(&object);
        assert_eq!(status == "Healthy", health.is_ready(), "{name}");
        let is_stopped = ["Degraded", "Suspended"].contains(&status.as_str());
        assert_eq!(is_stopped, health.is_stopped(), "{name}");
    }
}

#[test]
fn each_kind_has_the_script_and_no_other_kind_is_named() {
    let data = yaml("argocd-cm.yaml")["data"].clone();
    let prefix = "resource.customizations.health.bitbuilder.cloud_";
    let named = data.as_object().unwrap();
    assert_eq!(named.len(), bbctl::kinds::KINDS.len());
    for kind in &bbctl::kinds::KINDS {
        let script = &named[&format!("{prefix}{}", kind.kind)];
        assert_eq!(
            script.as_str().unwrap(),
            read("health.lua"),
            "{}",
            kind.kind
        );
    }
}

/// What an expression says of an object.
fn says(expression: &str, object: &Value) -> bool {
    let program = cel::Program::compile(expression).unwrap();
    let mut context = cel::Context::default();
    for field in ["metadata", "spec", "status"] {
        context.add_variable(field, &object[field]).unwrap();
    }
    match program.execute(&context) {
        Ok(cel::Value::Bool(answer)) => answer,
        other => panic!("{expression}: {other:?}"),
    }
}

#[test]
fn flux_waits_for_the_last_change_and_fails_at_once_where_nothing_will_come_of_it() {
    let checks = yaml("flux.yaml")["spec"]["healthCheckExprs"].clone();
    let checks = checks.as_array().unwrap().clone();
    let kinds: Vec<&str> = checks.iter().filter_map(|c| c["kind"].as_str()).collect();
    let ours: Vec<&str> = bbctl::kinds::KINDS.iter().map(|kind| kind.kind).collect();
    assert_eq!(kinds, ours);
    for check in &checks {
        assert_eq!(check["apiVersion"], "bitbuilder.cloud/v1alpha1");
        for (name, object, _, wanted) in objects() {
            // Flux sees by itself that an object is being deleted, before it asks.
            if wanted == "terminating" {
                continue;
            }
            let failed = says(check["failed"].as_str().unwrap(), &object);
            let current = says(check["current"].as_str().unwrap(), &object);
            let answer = match (failed, current) {
                (true, false) => "failed",
                (false, true) => "current",
                (false, false) => "in progress",
                (true, true) => panic!("{name}: both"),
            };
            assert_eq!(answer, wanted, "{name}");
        }
    }
}

/// Every text in a document.
fn texts(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::String(text) => all.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| texts(value, all)),
        Value::Object(map) => map.values().for_each(|value| texts(value, all)),
        _ => {}
    }
}

/// The command lines of bbctl in a text, without what the shell does with their output.
fn commands(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .map(|line| line.trim().trim_start_matches("$ "));
    let ours = lines.filter(|line| line.starts_with("bbctl "));
    ours.map(|line| line.split(" > ").next().unwrap_or(line).to_owned())
        .collect()
}

#[test]
fn every_command_line_is_one_that_bbctl_understands() {
    let mut found = 0;
    for name in ["github.yaml", "gitlab.yaml"] {
        let mut all = Vec::new();
        texts(&yaml(name), &mut all);
        let lines: Vec<String> = all.iter().flat_map(|text| commands(text)).collect();
        assert!(
            lines.iter().any(|line| line.starts_with("bbctl plan ")),
            "{name}"
        );
        assert!(
            lines.iter().any(|line| line.starts_with("bbctl apply ")),
            "{name}"
        );
        found += lines.len();
        lines.iter().for_each(|line| understood(line));
    }
    let page = read("../gitops.md");
    let lines = commands(&page);
    lines.iter().for_each(|line| understood(line));
    assert!(found + lines.len() > 6, "{found} and {}", lines.len());
}

fn understood(line: &str) {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    if let Err(error) = bbctl::cli::parse(&words, 80) {
        panic!("{line}: {error}");
    }
}

#[test]
fn the_page_shows_the_files_as_they_are() {
    let page = read("../gitops.md");
    for name in ["github.yaml", "gitlab.yaml", "health.lua", "flux.yaml"] {
        let language = name.rsplit('.').next().unwrap();
        let block = format!("```{language}\n{}```\n", read(name));
        assert!(
            page.contains(&block),
            "{name} is not as docs/gitops.md shows it"
        );
    }
    // What is shown is what is parsed elsewhere here; the rest is YAML too.
    render_yaml(&yaml("argocd-cm.yaml")).unwrap();
}
