//! Turns a Plan and the journals of routers and clusters into texts that can be compared.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_core::proxmox::mark;
use bb_crds::{ConditionType, PlanStatus};
use bb_lab_kit::journal::Entry;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use crate::figures::changes_router;
use crate::site::Site;

/// How long an answer may take on two busy cores.
const BOUND: Duration = Duration::from_secs(60);

/// Asks for a plan in a namespace, as `kubectl create` does, and waits for the answer.
///
/// # Errors
/// When it is not taken, or not answered in time.
pub async fn ask(
    site: &Site,
    namespace: &str,
    manifests: &[Value],
    deletes: &[(&str, &str)],
) -> Result<PlanStatus> {
    let api = site.ours("Plan", Some(namespace));
    let deletes: Vec<Value> = deletes
        .iter()
        .map(|(kind, name)| json!({"kind": kind, "name": name}))
        .collect();
    let plan: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Plan",
        "metadata": {"generateName": "test-", "namespace": namespace},
        "spec": {"manifests": manifests, "deletes": deletes},
    }))?;
    let made = api.create(&PostParams::default(), &plan).await?;
    let name = made.metadata.name.context("a plan has a name")?;
    let until = Instant::now() + BOUND;
    loop {
        let plan = api.get(&name).await?;
        if plan.data["status"].is_object() {
            let status: PlanStatus = serde_json::from_value(plan.data["status"].clone())?;
            if status.conditions.iter().any(|c| c.is(ConditionType::Ready)) {
                api.delete(&name, &DeleteParams::default()).await?;
                return Ok(status);
            }
        }
        if Instant::now() > until {
            bail!("no answer within {BOUND:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As [`ask`], where there is an answer.
///
/// # Errors
/// As [`ask`], and when the plan is refused.
pub async fn planned(
    site: &Site,
    namespace: &str,
    manifests: &[Value],
    deletes: &[(&str, &str)],
) -> Result<PlanStatus> {
    let status = ask(site, namespace, manifests, deletes).await?;
    if status.hash.is_none() {
        bail!("refused: {:?}", status.conditions);
    }
    Ok(status)
}

/// What was sent to change something, by target: commands of routers as one types them, calls of
/// clusters as a plan writes them. What a target refused is left out.
#[must_use]
pub fn sent(site: &Site) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for (name, router) in &site.routers {
        let lists = router.journal.entries();
        let lists = lists.iter().filter(|e| changes_router(e) && e.status < 400);
        let commands: Vec<String> = lists.flat_map(commands).collect();
        all.insert(name.clone(), commands);
    }
    for (name, cluster) in &site.clusters {
        let calls = cluster.journal();
        let calls = calls.iter().filter(|e| e.method != "GET" && e.status < 400);
        all.insert(name.clone(), calls.map(call).collect());
    }
    all.retain(|_, sent: &mut Vec<String>| !sent.is_empty());
    all
}

/// Forgets what was sent so far.
pub fn forget_sent(site: &Site) {
    for router in site.routers.values() {
        router.journal.clear_memory();
    }
    for cluster in site.clusters.values() {
        cluster.clear_journal();
    }
}

fn commands(entry: &Entry) -> Vec<String> {
    // A save is no command.
    let list = match &entry.body {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let command = |command: &Value| {
        let op = command["op"]
            .as_str()
            .filter(|op| ["set", "delete"].contains(op))?;
        let path = command["path"].as_array().cloned().unwrap_or_default();
        let words = path.iter().chain(command.get("value"));
        let words = words.filter_map(Value::as_str).map(|word| {
            if word.contains(' ') || word.is_empty() {
                format!("'{word}'")
            } else {
                word.to_owned()
            }
        });
        Some(format!("{op} {}", words.collect::<Vec<_>>().join(" ")))
    };
    list.iter().filter_map(command).collect()
}

fn call(entry: &Entry) -> String {
    let path = entry.path.strip_prefix("/api2/json").unwrap_or(&entry.path);
    let mut text = format!("{} {path}", entry.method);
    let parameters: BTreeMap<String, Value> =
        serde_json::from_value(entry.body.clone()).unwrap_or_default();
    for (key, value) in parameters {
        // The version of a configuration is the cluster's to know, and is sent where it is known.
        if key == "digest" {
            continue;
        }
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let value = value.replace('\n', "\\n");
        if value.contains(' ') {
            text.push_str(&format!(" {key}='{value}'"));
        } else {
            text.push_str(&format!(" {key}={value}"));
        }
    }
    text
}

/// What a plan says would be sent, by target, object after object.
#[must_use]
pub fn said(plan: &PlanStatus) -> BTreeMap<String, Vec<(String, Vec<String>)>> {
    let targets = plan.targets.iter().map(|target| {
        let steps = target.steps.iter().map(|step| {
            let sends = step.sends.iter().map(|s| plain(s));
            (step.object.clone(), sends.collect())
        });
        (target.name.clone(), steps.collect())
    });
    targets.collect()
}

/// A call without the version of a configuration, and with its path as journals write it.
fn plain(call: &str) -> String {
    call.replace(" digest=<digest>", "").replace("%3A", ":")
}

/// What stood for what nobody could know when a plan was made, and what it is now.
///
/// # Errors
/// When the objects cannot be read.
pub async fn filled(
    site: &Site,
    namespace: &str,
    installation: &str,
) -> Result<BTreeMap<String, String>> {
    let mut words = BTreeMap::new();
    for kind in ["Network", "Volume", "Instance"] {
        let api = site.ours(kind, Some(namespace));
        for object in api.list(&ListParams::default()).await? {
            let name = object.metadata.name.clone().unwrap_or_default();
            let uid = object.metadata.uid.clone().unwrap_or_default();
            let label = format!("{}/{name}", kind.to_lowercase());
            words.insert(format!("<serial of {label}>"), mark::serial(&uid));
            words.insert(format!("<tag of {label}>"), mark::tag(installation, &uid));
            let cards = object.data["status"]["addresses"].as_array().cloned();
            for card in cards.unwrap_or_default() {
                let mac = card["mac"].as_str().unwrap_or_default();
                let word = format!(
                    "<MAC of {label} in {}>",
                    card["name"].as_str().unwrap_or("")
                );
                words.insert(word, mac.to_ascii_uppercase());
            }
            words.insert(format!("<UID of {label}>"), uid);
        }
    }
    Ok(words)
}

/// Compares what was said with what was sent: the same calls, and those of one object in the
/// order in which they were said. Gives what differs.
#[must_use]
pub fn differs(
    said: &BTreeMap<String, Vec<(String, Vec<String>)>>,
    sent: &BTreeMap<String, Vec<String>>,
    words: &BTreeMap<String, String>,
) -> Vec<String> {
    let fill = |text: &String| {
        let known = words.iter();
        known.fold(text.clone(), |text, (word, is)| text.replace(word, is))
    };
    let none = Vec::new();
    let mut differences = Vec::new();
    let targets: std::collections::BTreeSet<&String> = said.keys().chain(sent.keys()).collect();
    for target in targets {
        let empty = Vec::new();
        let steps = said.get(target).unwrap_or(&empty);
        let sent = sent.get(target).unwrap_or(&none);
        let mut left = sent.clone();
        for (object, sends) in steps {
            let mut at = 0;
            for text in sends.iter().map(fill) {
                match left.iter().position(|l| *l == text) {
                    Some(place) => drop(left.remove(place)),
                    None => {
                        differences.push(format!("{target} {object} was said, not sent: {text}"));
                    }
                }
                match sent[at.min(sent.len())..].iter().position(|l| *l == text) {
                    Some(place) => at += place,
                    None => differences.push(format!("{target} {object} out of order: {text}")),
                }
            }
        }
        differences.extend(
            left.iter()
                .map(|text| format!("{target} was sent, not said: {text}")),
        );
    }
    differences
}
