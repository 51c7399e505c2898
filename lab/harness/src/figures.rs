//! Turns the journals and the audit log of a lab into the figures that we keep an eye on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bb_lab_kit::journal::Entry;
use serde::{Deserialize, Serialize};

use crate::journal::count;

/// One figure, and what it should not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured.
    pub value: f64,
    /// What it should be at most.
    pub goal: f64,
}

/// What was brought up while the journals were written.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Instances, of either type.
    pub instances: u32,
    /// Networks.
    pub networks: u32,
    /// Objects of any kind of ours that the tenant's manifests hold.
    pub objects: u32,
}

/// A figure's name, its goal, and how it is measured; times are goals for two cores.
const GOALS: [(&str, f64, &str); 9] = [
    (
        "requests per instance",
        25.0,
        "calls to clusters until all is Ready, by instances",
    ),
    (
        "writes per instance",
        6.0,
        "calls that change a cluster, by instances",
    ),
    (
        "commits per network",
        2.0,
        "commits on routers until all is Ready, by networks",
    ),
    (
        "requests per network",
        12.0,
        "calls to routers until all is Ready, by networks",
    ),
    (
        "API writes per object",
        6.0,
        "writes of the controller in the audit log, by objects",
    ),
    (
        "seconds until the API is ready",
        10.0,
        "from no process to /readyz",
    ),
    (
        "seconds until the lab is up",
        30.0,
        "control plane, stand-ins and controller",
    ),
    (
        "seconds until the tenant is Ready",
        120.0,
        "from kubectl apply, stand-ins at a tenth of real time",
    ),
    (
        "seconds until the tenant is gone",
        120.0,
        "from kubectl delete",
    ),
];

/// Computes the figures that journals and the audit log tell.
#[must_use]
pub fn of_run(entries: &[Entry], api_writes: u32, scale: Scale) -> BTreeMap<String, f64> {
    let (mut routers, mut commits, mut clusters, mut writes) = (0, 0, 0, 0);
    for (target, seen) in count(entries) {
        // The lab's names: routers are r1, r2, clusters c1, c2.
        if target.starts_with('r') {
            routers += seen.reads + seen.writes;
            commits += seen.commits;
        } else {
            clusters += seen.reads + seen.writes;
            writes += seen.writes;
        }
    }
    let per = |number: usize, by: u32| {
        f64::from(u32::try_from(number).unwrap_or(u32::MAX)) / f64::from(by.max(1))
    };
    [
        ("requests per instance", per(clusters, scale.instances)),
        ("writes per instance", per(writes, scale.instances)),
        ("commits per network", per(commits, scale.networks)),
        ("requests per network", per(routers, scale.networks)),
        (
            "API writes per object",
            f64::from(api_writes) / f64::from(scale.objects.max(1)),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Counts what a user changed of our kinds, events left out, from an audit log.
///
/// # Errors
/// When the log cannot be read.
pub fn api_writes(audit: &Path, user: &str) -> Result<u32> {
    let text = fs::read_to_string(audit)
        .with_context(|| format!("cannot read the audit log {}", audit.display()))?;
    let writes = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|line| {
            line.pointer("/user/username")
                .is_some_and(|name| name == user)
        })
        .filter(|line| {
            let group = line.pointer("/objectRef/apiGroup");
            group.is_some_and(|group| group == "bitbuilder.cloud")
        })
        .filter(|line| {
            let verb = line.get("verb").and_then(serde_json::Value::as_str);
            matches!(verb, Some("create" | "update" | "patch" | "delete"))
        })
        .count();
    u32::try_from(writes).context("more writes than can be counted")
}

/// Puts each value beside its goal; one without a goal is left out.
#[must_use]
pub fn with_goals(values: &BTreeMap<String, f64>) -> BTreeMap<String, Figure> {
    GOALS
        .iter()
        .filter_map(|(name, goal, _)| {
            let value = (*values.get(*name)? * 100.0).round() / 100.0;
            Some(((*name).to_owned(), Figure { value, goal: *goal }))
        })
        .collect()
}

/// Renders the figures as a table of a page, in the order of the goals.
#[must_use]
pub fn table(figures: &BTreeMap<String, Figure>) -> String {
    let mut text = "| figure | value | goal | how it is measured |\n|---|---|---|---|\n".to_owned();
    for (name, goal, how) in GOALS {
        if let Some(figure) = figures.get(name) {
            text.push_str(&format!(
                "| {name} | {:.1} | at most {goal} | {how} |\n",
                figure.value
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(target: &str, method: &str, path: &str) -> Entry {
        serde_json::from_value(json!({
            "time": "2026-01-01T00:00:00.000Z", "target": target, "caller": "127.0.0.1",
            "method": method, "path": path, "body": null, "status": 200, "duration_ms": 3,
        }))
        .unwrap()
    }

    #[test]
    fn figures_are_per_object_and_beside_their_goals() {
        let entries = [
            entry("r1", "POST", "/retrieve"),
            entry("r1", "POST", "/configure"),
            entry("r1", "COMMIT", ""),
            entry("c1", "GET", "/cluster/resources"),
            entry("c1", "POST", "/nodes/n1/qemu/9000/clone"),
            entry("c1", "PUT", "/nodes/n1/qemu/2001/resize"),
        ];
        let scale = Scale {
            instances: 2,
            networks: 2,
            objects: 4,
        };
        let figures = with_goals(&of_run(&entries, 10, scale));
        assert_eq!(figures["requests per instance"].value, 1.5);
        assert_eq!(figures["writes per instance"].value, 1.0);
        assert_eq!(figures["commits per network"].value, 0.5);
        assert_eq!(figures["API writes per object"].value, 2.5);
        assert!(table(&figures).contains("| commits per network | 0.5 | at most 2 |"));
    }

    #[test]
    fn only_the_controllers_writes_to_our_kinds_count() {
        let line = |user: &str, verb: &str, group: &str| {
            json!({"verb": verb, "user": {"username": user}, "objectRef": {"apiGroup": group}})
                .to_string()
        };
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("audit.jsonl");
        let lines = [
            line("me", "patch", "bitbuilder.cloud"),
            line("me", "get", "bitbuilder.cloud"),
            line("me", "create", "events.k8s.io"),
            line("you", "patch", "bitbuilder.cloud"),
        ];
        fs::write(&log, lines.join("\n")).unwrap();
        assert_eq!(api_writes(&log, "me").unwrap(), 1);
    }
}
