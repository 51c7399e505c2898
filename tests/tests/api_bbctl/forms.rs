//! What programs read: every command that reads in every format, and each document as
//! docs/spec/output.md has it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use serde_json::{Value, json};

use crate::around::{
    api, bbctl, bbctl_with, client, good, instance, namespace, network, ours, set_ready,
};

/// The commands that write each form of the page, all of which only read or try.
const FORMS: [(&str, &[&str]); 20] = [
    (
        "Objects",
        &[
            "get network web",
            "networks get web",
            "get networks",
            "networks list",
            "instances list",
            "instances get www",
            "volumes list",
            "volumes get data",
            "tenants list",
            "tenants get formed",
            "providers list",
            "providers get formed-c",
            "regions list",
            "regions get formed",
            "export",
            "networks create more --prefix 10.9.0.0/24 --dry-run=client",
        ],
    ),
    (
        "Explained objects",
        &[
            "describe network web",
            "networks describe web",
            "instances describe www",
            "volumes describe data",
            "tenants describe formed",
            "providers describe formed-c",
            "regions describe formed",
        ],
    ),
    (
        "Results",
        &[
            "apply -f - --dry-run",
            "delete instance odd --dry-run --yes",
            "wait network/web",
            "networks wait web",
            "instances wait www",
            "volumes wait data",
            "tenants wait formed",
            "providers wait formed-c",
            "regions wait formed",
            "instances stop www --dry-run",
        ],
    ),
    ("Status", &["status formed"]),
    ("Tree", &["tree formed"]),
    ("Events", &["events"]),
    ("Differences", &["diff -f -"]),
    (
        "Loads",
        &["top instances", "top tenants -A", "top providers -A"],
    ),
    ("Shares", &["top networks", "top regions"]),
    ("Images", &["images list"]),
    (
        "Image",
        &["images get formed-image", "images describe formed-image"],
    ),
    ("Addresses", &["networks addresses web"]),
    ("Members", &["tenants members formed"]),
    (
        "Checks",
        &[
            "doctor",
            "test-proxmox 127.0.0.1:1 --token-file - --sha256 AB --timeout 1s",
        ],
    ),
    (
        "Checks of a router",
        &["test-vyos --endpoint https://127.0.0.1:1 --key-file - --sha256 AB --timeout 1s"],
    ),
    ("Identity", &["auth whoami"]),
    ("Rights", &["auth can-i list networks"]),
    ("Settings", &["config explain"]),
    ("Your settings", &["config view"]),
    ("Versions", &["version"]),
];

/// Commands whose documents other tests read: they make something, or have pages of their own.
const ELSEWHERE: [&str; 12] = [
    "instances console",
    "instances exec",
    "instances ssh",
    "completion",
    "help",
    "init",
    "launch",
    "man",
    "plan",
    "providers add",
    "support-bundle",
    "ui",
];

/// Verbs that change something and write results.
const WRITES: [&str; 15] = [
    "rebuild",
    "apply",
    "edit",
    "delete",
    "create",
    "start",
    "stop",
    "restart",
    "resize",
    "attach",
    "detach",
    "use",
    "add-member",
    "remove-member",
    "set",
];

/// All commands without commands below, by the pages that are made from them.
fn commands() -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(paths::root().join("docs/cli"))? {
        let text = std::fs::read_to_string(entry?.path())?;
        let heads = text.lines().filter(|line| line.starts_with('#'));
        for head in heads {
            if let Some(words) = head.trim_start_matches('#').trim().strip_prefix("bbctl ") {
                all.insert(words.to_owned());
            }
        }
    }
    let outer: Vec<String> = all
        .iter()
        .filter(|words| {
            all.iter()
                .any(|other| other.starts_with(&format!("{words} ")))
        })
        .cloned()
        .collect();
    all.retain(|words| !outer.contains(words));
    Ok(all)
}

/// A row of the page: the type of a field, and whether it may be lacking.
#[derive(Clone, Debug)]
struct Row {
    is: String,
    met: bool,
}

/// The rows of each part of the page, by field.
fn page() -> Result<BTreeMap<String, BTreeMap<String, Row>>> {
    let path = paths::root().join("docs/spec/output.md");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut parts: BTreeMap<String, BTreeMap<String, Row>> = BTreeMap::new();
    let mut part = String::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("## ") {
            part = head.to_owned();
        }
        let Some(row) = line.strip_prefix("| `") else {
            continue;
        };
        let mut cells = row.split(" | ");
        let field = cells.next().unwrap_or_default().trim_end_matches('`');
        let is = cells.next().context("a row has a type")?;
        let words = cells.next().context("a row has a meaning")?;
        ensure!(
            words.trim_end_matches(" |").len() > 3,
            "{field} means nothing"
        );
        let row = Row {
            is: is.to_owned(),
            met: false,
        };
        parts
            .entry(part.clone())
            .or_default()
            .insert(field.to_owned(), row);
    }
    Ok(parts)
}

/// Compares a value with the rows, and says what the page does not.
fn compare(
    at: &str,
    value: &Value,
    rows: &mut BTreeMap<String, Row>,
    wrong: &mut BTreeSet<String>,
) {
    if let Some(row) = rows.get_mut(at) {
        row.met = true;
        let fits = row.is.split([',', ' ']).any(|word| match (word, value) {
            ("text", Value::String(_))
            | ("number", Value::Number(_))
            | ("boolean", Value::Bool(_))
            | ("object" | "map", Value::Object(_))
            | ("null", Value::Null) => true,
            ("texts", Value::Array(all)) => all.iter().all(Value::is_string),
            ("branches", Value::Array(all)) => all.iter().all(Value::is_object),
            _ => false,
        });
        if !fits {
            wrong.insert(format!("{at} is {value}, the page says {}", row.is));
        }
        return;
    }
    match value {
        Value::Object(fields) => {
            let free = rows.keys().any(|row| row.starts_with(&join(at, "*")));
            for (field, value) in fields {
                let field = if free { "*" } else { field };
                compare(&join(at, field), value, rows, wrong);
            }
        }
        Value::Array(all) => {
            let inside = format!("{at}[]");
            if !rows.keys().any(|row| row.starts_with(&inside)) {
                wrong.insert(format!("{inside} is on no row"));
            }
            for value in all {
                compare(&inside, value, rows, wrong);
            }
        }
        value => {
            wrong.insert(format!("{at} is {value} and on no row"));
        }
    }
}

fn join(at: &str, field: &str) -> String {
    match at {
        "" => field.to_owned(),
        at => format!("{at}.{field}"),
    }
}

/// A tenant with one of each, Ready as the controller leaves them.
#[allow(clippy::too_many_lines, reason = "a table is as long as it is")]
async fn formed() -> Result<String> {
    let region = json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999"});
    let cluster = json!({"region": "formed", "proxmox": {"endpoints": ["https://192.0.2.11:8006"],
        "credentials": {"secret": "c1"}, "tls": {"caSecret": "ca"}, "vmids": "100000-199999",
        "pool": "p", "images": [{"name": "formed-image", "template": 9000}]}});
    let members = json!({"members": [{"name": "alice", "role": "Admin"}]});
    let disk = json!([{"name": "data", "volume": "data"}]);
    let nics = json!([{"name": "a", "network": "web"}]);
    let www = json!({"image": "formed-image", "networks": nics, "volumes": disk});
    let file = [
        namespace("formed"),
        ours("Region", "formed", &region),
        ours("Provider", "formed-c", &cluster),
        ours("Tenant", "formed", &members),
        network("web", "10.0.0.0/24"),
        ours("Volume", "data", &json!({"size": "1Gi"})),
        ours("Instance", "www", &www),
        instance("odd", "web"),
    ]
    .concat();
    good("apply -n formed -f -", &file).await?;
    let client = client().await?;
    let ready = json!({"status": "True"});
    for (kind, name) in [
        ("Region", "formed"),
        ("Provider", "formed-c"),
        ("Tenant", "formed"),
    ] {
        set_ready(&api(&client, kind, ""), name, 1, ready.clone()).await?;
    }
    for (kind, name) in [("Network", "web"), ("Volume", "data"), ("Instance", "www")] {
        set_ready(&api(&client, kind, "formed"), name, 1, ready.clone()).await?;
    }
    let patch = async |kind: &str, namespace: &str, name: &str, status: Value| {
        let patch = json!({"status": status});
        api(&client, kind, namespace)
            .patch_status(name, &Default::default(), &kube::api::Patch::Merge(&patch))
            .await
    };
    let used = json!({"total": 253, "used": 1});
    patch(
        "Network",
        "formed",
        "web",
        json!({"addresses": used, "gateway": "10.0.0.1"}),
    )
    .await?;
    patch(
        "Region",
        "",
        "formed",
        json!({"vnis": used, "tables": used}),
    )
    .await?;
    let version = json!({"version": "9.1.1", "orphanCount": 1, "orphans": ["vm/1"]});
    patch("Provider", "", "formed-c", version).await?;
    let card = json!([{"name": "a", "network": "web", "address": "10.0.0.10", "mac": "02:00:00:00:00:01"}]);
    let drift = json!([{"target": "formed-c", "since": "2026-01-01T00:00:00Z", "lines": ["- a"]}]);
    let status = json!({"addresses": card, "power": "Running", "drift": drift,
        "providerID": "proxmox://formed-c/100001"});
    patch("Instance", "formed", "www", status).await?;
    // Both conditions: a list is written whole.
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": "",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let both = [
        condition("Ready", "True", "Ready"),
        condition("InSync", "False", "Drifted"),
    ];
    patch("Instance", "formed", "www", json!({"conditions": both})).await?;
    let www = api(&client, "Instance", "formed").get("www").await?;
    let uid = www.metadata.uid.context("a uid")?;
    let odd = json!({"status": "False", "reason": "Waiting", "message": "for Network web"});
    set_ready(&api(&client, "Instance", "formed"), "odd", 1, odd).await?;
    let event = json!({"apiVersion": "v1", "kind": "Event", "type": "Warning", "count": 2,
        "metadata": {"name": "www.1", "namespace": "formed"}, "reason": "Refused",
        "message": "no room", "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z", "source": {"component": "bitbuilder"},
        "involvedObject": {"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
            "name": "www", "namespace": "formed", "uid": uid}});
    good("apply -n formed -f -", &event.to_string()).await?;
    Ok(file.replace("\"1Gi\"", "\"2Gi\""))
}

/// What a command is given to read.
fn stdin<'a>(words: &str, manifest: &'a str) -> &'a str {
    match words {
        words if words.contains("-file -") => "op@pve!k8s=s3cret\n",
        words if words.contains("-f -") => manifest,
        _ => "",
    }
}

/// What a command may end with: checks of what is not there fail, and something differs.
fn may_end(words: &str) -> Option<i32> {
    let one = ["diff", "doctor", "test-"];
    Some(i32::from(one.iter().any(|verb| words.starts_with(verb))))
}

#[allow(clippy::too_many_lines, reason = "a table is as long as it is")]
#[tokio::test]
async fn every_command_that_reads_takes_every_format_and_is_on_the_page() -> Result<()> {
    let manifest = formed().await?;
    let commands = commands()?;
    let mut page = page()?;
    let mut wrong = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (part, lines) in FORMS {
        let rows = page
            .get_mut(part)
            .with_context(|| format!("no part {part}"))?;
        for words in lines {
            let command = commands
                .iter()
                .filter(|command| words.starts_with(command.as_str()));
            seen.insert(command.max_by_key(|c| c.len()).context(*words)?.clone());
            let run = async |format: &str| {
                let line = format!("{words} -n formed {format}");
                let ran = match words.starts_with("config") {
                    true => bbctl_with(&line, &[("HOME", "/nowhere")]).await?,
                    false => bbctl(&line, stdin(words, &manifest)).await?,
                };
                ensure!(ran.code == may_end(words), "{line}: {ran:?}");
                anyhow::Ok(ran)
            };
            let ran = match run("-o json").await {
                Ok(ran) => ran,
                Err(error) => {
                    wrong.insert(format!("{error:#}"));
                    continue;
                }
            };
            assert!(
                ran.stderr.lines().all(|line| line.starts_with('{')),
                "{words}: {ran:?}"
            );
            let document = ran.json()?;
            let mut said = BTreeSet::new();
            compare("", &document, rows, &mut said);
            wrong.extend(
                said.into_iter()
                    .map(|line| format!("{part}: {words}: {line}")),
            );
            let (synonym, yaml, names, wide, table) = futures::try_join!(
                run("--json"),
                run("-o yaml"),
                run("-o name"),
                run("-o wide"),
                run("-o table")
            )?;
            let (synonym, yaml) = (synonym.json()?, yaml.stdout);
            assert_eq!(synonym.is_object(), document.is_object(), "{words} --json");
            let all: Vec<Value> =
                serde_saphyr::from_multiple(&yaml).with_context(|| yaml.clone())?;
            // What is exported is a file of manifests.
            assert!(
                all.len() == 1 || *words == "export",
                "{words} -o yaml: {yaml}"
            );
            assert!(all.iter().all(Value::is_object), "{words} -o yaml");
            for (format, ran) in [("name", names), ("wide", wide), ("table", table)] {
                assert!(!ran.stdout.contains('\u{1b}'), "{words} -o {format}");
                assert!(!ran.stdout.starts_with('{'), "{words} -o {format}: {ran:?}");
                // Nobody says a width: it is that of a terminal of old.
                let long = ran.stdout.lines().find(|line| line.chars().count() > 80);
                // Manifests, and paths, which are never cut.
                let text = ["diff", "export", "networks create", "config"];
                let whole = format == "wide" || text.iter().any(|verb| words.starts_with(verb));
                if let Some(long) = long.filter(|_| !whole) {
                    wrong.insert(format!("{words} -o {format} is too wide: {long}"));
                }
            }
        }
    }
    let missing: Vec<&String> = commands
        .iter()
        .filter(|words| {
            let verb = words.rsplit(' ').next().unwrap_or_default();
            !seen.contains(*words)
                && !WRITES.contains(&verb)
                && !ELSEWHERE.contains(&words.as_str())
        })
        .collect();
    assert!(
        missing.is_empty(),
        "these read and are in no form: {missing:?}"
    );
    for (part, rows) in &page {
        let ours = FORMS.iter().any(|(name, _)| name == part);
        for (field, row) in rows {
            if ours && !row.met && !row.is.contains("at times") {
                wrong.insert(format!("{part}: {field} is on the page and nowhere else"));
            }
        }
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
