//! Turns what controllers asked of the API in tests, and what the chart grants, into a verdict:
//! nothing was refused, and nothing is granted that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::{Coming, NAMESPACE, paths};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The user that the controller is to the API in tests.
const CONTROLLER: &str = "bitbuilder-controller";

/// What is granted and is in no audit log, with the reason.
const ASKED_OTHERWISE: [(&str, &str); 10] = [
    (
        "cluster: rbac.authorization.k8s.io clusterroles bind",
        "the API asks for it itself, when a RoleBinding names one of the three roles",
    ),
    (
        "cluster: rbac.authorization.k8s.io rolebindings create",
        "the API asks for it itself, when an apply (a patch) makes what was not there",
    ),
    ("cluster: bitbuilder.cloud regions list", NOT_STREAMED),
    ("cluster: bitbuilder.cloud providers list", NOT_STREAMED),
    ("cluster: bitbuilder.cloud tenants list", NOT_STREAMED),
    ("cluster: bitbuilder.cloud networks list", NOT_STREAMED),
    ("cluster: bitbuilder.cloud instances list", NOT_STREAMED),
    ("cluster: bitbuilder.cloud volumes list", NOT_STREAMED),
    ("cluster: bitbuilder.cloud plans list", NOT_STREAMED),
    ("cluster:  namespaces list", NOT_STREAMED),
];
/// Why lists are granted.
const NOT_STREAMED: &str = "a server that does not stream lists is asked for them page by page";
/// What the API says to whoever would make something in a namespace that goes. That is no matter
/// of rights: the namespace began to go when the request was on its way.
const TOO_LATE: &str = "because it is being terminated";

/// What controllers asked for: `cluster: GROUP RESOURCE VERB`, or `own:` for what was in the
/// controller's own namespace. And what of it was refused, with the path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What was asked for, and how often.
    pub for_: BTreeMap<String, u64>,
    /// What was refused.
    pub refused: BTreeSet<String>,
    /// How much came to a namespace that had begun to go.
    pub late: u64,
    /// How much was refused while an API server that had been ended was coming up: it knows no
    /// rules yet, and forbids everything to everybody.
    pub early: u64,
    /// How often one came up.
    pub comings: u64,
}

impl Asked {
    /// Counts one line of an audit log. `comings` are the times in which the API server was
    /// coming up.
    fn take(&mut self, event: &Value, comings: &[Coming]) {
        let of = |field: &str| event["objectRef"][field].as_str().unwrap_or_default();
        // Who watches is told of twice, when it begins and when it ends.
        let begun = event["stage"] == "ResponseStarted";
        if event["user"]["username"] != CONTROLLER || begun || of("resource").is_empty() {
            return;
        }
        let place = if of("namespace") == NAMESPACE {
            "own"
        } else {
            "cluster"
        };
        let resource = match of("subresource") {
            "" => of("resource").to_owned(),
            sub => format!("{}/{sub}", of("resource")),
        };
        let verb = event["verb"].as_str().unwrap_or_default();
        let what = format!("{place}: {} {resource} {verb}", of("apiGroup"));
        if event["responseStatus"]["code"] == 403 {
            let uri = event["requestURI"].as_str().unwrap_or_default();
            let why = event["responseStatus"]["message"].as_str();
            let why = why.unwrap_or_default();
            if why.contains(TOO_LATE) {
                self.late += 1;
                return;
            }
            if comings.iter().any(|coming| within(event, coming)) {
                self.early += 1;
                return;
            }
            self.refused.insert(format!("{what}: {uri}: {why}"));
        }
        *self.for_.entry(what).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        for (what, count) in other.for_ {
            *self.for_.entry(what).or_default() += count;
        }
        self.refused.extend(other.refused);
        self.late += other.late;
        self.early += other.early;
        self.comings += other.comings;
    }
}

/// Whether a request came while the API server was coming up. One whose time cannot be read did
/// not.
fn within(event: &Value, (from, to): &Coming) -> bool {
    let time = event["requestReceivedTimestamp"].as_str();
    let Some(time) = time.and_then(|text| text.parse::<Timestamp>().ok()) else {
        return false;
    };
    let time = SystemTime::from(time);
    *from <= time && to.is_none_or(|to| time <= to)
}

/// Keeps what controllers asked of one API, when it goes, below `target/audit`.
#[derive(Debug)]
pub struct Witness {
    log: Option<PathBuf>,
    comings: Vec<Coming>,
}

impl Witness {
    /// One who reads the audit log at a path once all is over. None: there is no log of ours.
    #[must_use]
    pub fn of(log: Option<PathBuf>) -> Self {
        Self {
            log,
            comings: Vec::new(),
        }
    }

    /// Says when the API server was coming up. What it forbade then is no matter of rights.
    pub fn came_up(&mut self, comings: Vec<Coming>) {
        self.comings = comings;
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Some(text) = self.log.take().and_then(|log| fs::read_to_string(log).ok()) else {
            return;
        };
        let mut asked = Asked::default();
        for line in text.lines().filter(|line| line.contains(CONTROLLER)) {
            if let Ok(event) = serde_json::from_str(line) {
                asked.take(&event, &self.comings);
            }
        }
        asked.comings = self.comings.len() as u64;
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = folder();
        // What is not kept is missed by the verdict, which then says what nobody asked for.
        let _ = fs::create_dir_all(&folder);
        let file = folder.join(format!("{process}-{number}.json"));
        let _ = fs::write(file, serde_json::to_vec(&asked).unwrap_or_default());
    }
}

/// Where witnesses keep what they saw.
#[must_use]
pub fn folder() -> PathBuf {
    paths::root().join("target/audit")
}

/// All that witnesses saw.
///
/// # Errors
/// When a file of theirs cannot be read.
pub fn seen(folder: &Path) -> Result<(usize, Asked)> {
    let (mut files, mut all) = (0, Asked::default());
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        all.add(serde_json::from_slice(&fs::read(entry?.path())?)?);
        files += 1;
    }
    Ok((files, all))
}

/// What the controller is granted, in the words of [`Asked`], by the roles in rendered manifests.
///
/// # Errors
/// When a rule grants more than can be listed.
pub fn granted(objects: &[Value]) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for role in objects {
        let place = match role["kind"].as_str() {
            Some("Role") => "own",
            // Those of tenants' members are not the controller's.
            Some("ClusterRole") if role["metadata"]["name"] == CONTROLLER => "cluster",
            _ => continue,
        };
        for rule in role["rules"].as_array().into_iter().flatten() {
            let list = |field: &str| -> Vec<&str> {
                let words = rule[field].as_array();
                words
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect()
            };
            for group in list("apiGroups") {
                for resource in list("resources") {
                    for verb in list("verbs") {
                        let what = format!("{place}: {group} {resource} {verb}");
                        ensure!(!what.contains('*'), "{what} is everything");
                        all.insert(what);
                    }
                }
            }
        }
    }
    Ok(all)
}

/// Grants that nobody asked for, those left out that have a reason.
#[must_use]
pub fn unused<'a>(granted: &'a BTreeSet<String>, asked: &Asked) -> Vec<&'a str> {
    let excused = |what: &str| ASKED_OTHERWISE.iter().any(|(other, _)| *other == what);
    let idle = granted
        .iter()
        .filter(|what| !asked.for_.contains_key(*what));
    idle.map(String::as_str)
        .filter(|what| !excused(what))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn event(user: &str, verb: &str, namespace: &str, code: u16) -> Value {
        json!({
            "stage": "ResponseComplete", "verb": verb, "user": {"username": user},
            "requestURI": "/somewhere", "responseStatus": {"code": code, "message": "no"},
            "objectRef": {"resource": "secrets", "namespace": namespace, "apiVersion": "v1"},
        })
    }

    #[test]
    fn what_is_refused_and_what_nobody_asked_for_is_told() {
        let role = |kind: &str, name: &str, verbs: &[&str]| {
            json!({"kind": kind, "metadata": {"name": name}, "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}]})
        };
        let roles = [
            role("Role", CONTROLLER, &["get", "list"]),
            role("ClusterRole", "bitbuilder-view", &["watch"]),
        ];
        let granted = granted(&roles).unwrap();
        let mut asked = Asked::default();
        asked.take(&event(CONTROLLER, "get", NAMESPACE, 200), &[]);
        asked.take(&event("alice", "list", NAMESPACE, 403), &[]);
        assert_eq!(unused(&granted, &asked), ["own:  secrets list"]);
        assert!(asked.refused.is_empty());
        // In another namespace it is another right.
        asked.take(&event(CONTROLLER, "list", "acme", 403), &[]);
        assert_eq!(unused(&granted, &asked), ["own:  secrets list"]);
        assert_eq!(asked.refused.len(), 1);
        asked.take(&event(CONTROLLER, "list", NAMESPACE, 200), &[]);
        assert!(unused(&granted, &asked).is_empty());
        assert!(super::granted(&[role("Role", CONTROLLER, &["*"])]).is_err());
    }

    #[test]
    fn what_is_refused_is_excused_only_while_the_api_server_comes_up() {
        let at = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let refused = |second: u64| {
            let mut event = event(CONTROLLER, "get", NAMESPACE, 403);
            event["requestReceivedTimestamp"] = json!(format!("1970-01-01T00:00:{second}.500000Z"));
            event
        };
        let comings = [(at(10), Some(at(14))), (at(30), None)];
        let mut asked = Asked::default();
        for second in [10, 13, 30, 59] {
            asked.take(&refused(second), &comings);
        }
        assert_eq!((asked.early, asked.refused.len()), (4, 0));
        // Before it was ended, and after it was ready: the word of an API server that knows.
        asked.take(&refused(20), &comings);
        assert_eq!((asked.early, asked.refused.len()), (4, 1));
        let mut asked = Asked::default();
        asked.take(&event(CONTROLLER, "get", NAMESPACE, 403), &comings);
        assert_eq!((asked.early, asked.refused.len()), (0, 1));
    }
}
