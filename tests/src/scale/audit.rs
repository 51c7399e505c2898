//! Turns the API server's audit log into what was asked of it since the last look.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bb_lab_harness::Cluster;
use serde_json::Value;

/// The audit log from a place on. The API server begins a new file after 100 MB: the old one is
/// read to its end first.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    file: BufReader<File>,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

/// Requests of one user, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Writes by resource (`instances`, or `instances/status`) and `namespace/name`.
    pub writes: BTreeMap<(String, String), usize>,
    /// Lists from their beginning by resource: a page after the first is no list of its own.
    pub lists: BTreeMap<String, usize>,
    /// Watches that were begun, by resource.
    pub watches: BTreeMap<String, usize>,
    /// Single objects that were read, by resource.
    pub reads: BTreeMap<String, usize>,
    /// Requests that the rules of RBAC do not allow.
    pub forbidden: usize,
}

impl Audit {
    /// The log as it is written from now on.
    ///
    /// # Errors
    /// When the cluster is not ours, or the log cannot be read.
    pub fn of(cluster: &Cluster) -> Result<Self> {
        let path = cluster
            .audit_log()
            .context("a cluster of one's own is needed: unset BB_KUBECONFIG")?;
        let file = open(&path)?;
        let mut audit = Self {
            path,
            file,
            begun: Vec::new(),
        };
        audit.each(|_| {})?;
        Ok(audit)
    }

    /// What a user asked for since the last look.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn since(&mut self, user: &str) -> Result<Requests> {
        let mut requests = Requests::default();
        self.each(|event| {
            if event["user"]["username"] == user {
                requests.count(event);
            }
        })?;
        Ok(requests)
    }

    fn each(&mut self, mut tell: impl FnMut(&Value)) -> Result<()> {
        loop {
            while self
                .file
                .read_until(b'\n', &mut self.begun)
                .context("cannot read the audit log")?
                > 0
            {
                if self.begun.last() != Some(&b'\n') {
                    break;
                }
                if let Ok(event) = serde_json::from_slice(&self.begun) {
                    tell(&event);
                }
                self.begun.clear();
            }
            let held = self.file.get_ref().metadata()?.ino();
            match std::fs::metadata(&self.path) {
                Ok(now) if now.ino() != held => self.file = open(&self.path)?,
                _ => return Ok(()),
            }
        }
    }
}

fn open(path: &std::path::Path) -> Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(BufReader::new(file))
}

impl Requests {
    fn count(&mut self, event: &Value) {
        let word = |key: &str| event["objectRef"][key].as_str().unwrap_or_default();
        let resource = match word("subresource") {
            "" => word("resource").to_owned(),
            sub => format!("{}/{sub}", word("resource")),
        };
        let uri = event["requestURI"].as_str().unwrap_or_default();
        let done = event["stage"] == "ResponseComplete";
        if done && event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
            self.forbidden += 1;
        }
        match event["verb"].as_str().unwrap_or_default() {
            // A watch is told of when it begins, all else when it ends.
            "watch" if !done => {
                *self.watches.entry(resource.clone()).or_default() += 1;
                // A watch that begins with all objects is a list as well.
                if uri.contains("sendInitialEvents=true") {
                    *self.lists.entry(resource).or_default() += 1;
                }
            }
            "watch" => {}
            _ if !done => {}
            "list" if !uri.contains("continue=") => {
                *self.lists.entry(resource).or_default() += 1;
            }
            "list" => {}
            "get" => *self.reads.entry(resource).or_default() += 1,
            _ => {
                let object = format!("{}/{}", word("namespace"), word("name"));
                *self.writes.entry((resource, object)).or_default() += 1;
            }
        }
    }

    /// How many writes there were.
    #[must_use]
    pub fn written(&self) -> usize {
        self.writes.values().sum()
    }

    /// Writes to each object of a resource, those to its status included.
    #[must_use]
    pub fn writes_to(&self, resource: &str) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for ((of, object), count) in &self.writes {
            if of.split('/').next() == Some(resource) {
                *counts.entry(object.as_str()).or_default() += count;
            }
        }
        counts
    }

    /// Adds what another look found.
    pub fn add(&mut self, other: Self) {
        let into = |all: &mut BTreeMap<String, usize>, more: BTreeMap<String, usize>| {
            for (key, count) in more {
                *all.entry(key).or_default() += count;
            }
        };
        into(&mut self.lists, other.lists);
        into(&mut self.watches, other.watches);
        into(&mut self.reads, other.reads);
        self.forbidden += other.forbidden;
        for (key, count) in other.writes {
            *self.writes.entry(key).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(verb: &str, stage: &str, uri: &str, sub: &str) -> Value {
        json!({"verb": verb, "stage": stage, "requestURI": uri,
               "objectRef": {"resource": "instances", "subresource": sub, "namespace": "a", "name": "b"}})
    }

    #[test]
    fn pages_are_one_list_and_a_status_is_the_objects_own() {
        let mut seen = Requests::default();
        seen.count(&event("list", "ResponseComplete", "/x?limit=500", ""));
        seen.count(&event(
            "list",
            "ResponseComplete",
            "/x?limit=500&continue=abc",
            "",
        ));
        seen.count(&event("watch", "ResponseStarted", "/x?watch=true", ""));
        seen.count(&event("watch", "ResponseComplete", "/x?watch=true", ""));
        seen.count(&event("patch", "ResponseComplete", "/x/b", ""));
        seen.count(&event("patch", "ResponseComplete", "/x/b/status", "status"));
        assert_eq!(seen.lists["instances"], 1);
        assert_eq!(seen.watches["instances"], 1);
        assert_eq!(seen.written(), 2);
        assert_eq!(seen.writes_to("instances")["a/b"], 2);
        let initial = "/x?watch=true&sendInitialEvents=true";
        seen.count(&event("watch", "ResponseStarted", initial, ""));
        assert_eq!((seen.lists["instances"], seen.watches["instances"]), (2, 2));
    }
}
