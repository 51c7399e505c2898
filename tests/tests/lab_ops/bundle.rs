//! The archive for whoever is to help: what is in it for whom, and that no secret is.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use bb_tests::{Site, trace};
use serde_json::{Value, json};

use crate::{BOUND, machine, object, run, site};

/// What stands in objects here and in no archive.
const HIDDEN: [&str; 6] = [
    "key-of-r1",
    "hunter2",
    "swordfish",
    "op-of-the-lab",
    "abc.def.ghi",
    "5f1dc0de-1ab0-4000-a000-0000b17b111d",
];

/// A run of `bbctl support-bundle`: how it ended, what it said, and the files of the archive.
struct Made {
    code: Option<i32>,
    said: String,
    files: BTreeMap<String, String>,
}

fn make(kubeconfig: &Path, folder: &Path, namespace: &str) -> Result<Made> {
    let file = folder.join("bundle.tar.gz");
    let output = Command::new(paths::binary("bbctl")?)
        .args(["support-bundle", "-n", namespace, "--file"])
        .arg(&file)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let mut files = BTreeMap::new();
    if file.exists() {
        let archive = flate2::read::GzDecoder::new(fs::File::open(&file)?);
        for entry in tar::Archive::new(archive).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.display().to_string();
            let (_, name) = path.split_once('/').context("files are in a folder")?;
            let name = name.to_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            files.insert(name, text);
        }
        fs::remove_file(&file)?;
    }
    Ok(Made {
        code: output.status.code(),
        said: String::from_utf8_lossy(&said).into_owned(),
        files,
    })
}

/// What somebody may have put where it does not belong, and what a pod holds.
async fn secrets_in_odd_places(site: &Site) -> Result<()> {
    let mut volume = object("Volume", Some("acme"), "data", &json!({"size": "1Gi"}));
    volume["metadata"]["annotations"] = json!({
        "example.com/note": "the console password=hunter2 is on the desk",
        "kubectl.kubernetes.io/last-applied-configuration": "{\"note\":\"hunter2\"}",
        "example.com/api-token": "swordfish",
    });
    site.apply_value(volume).await?;
    let labels = json!({"app.kubernetes.io/name": "bitbuilder-controller"});
    let container = json!({
        "name": "controller", "image": "example.com/controller:1",
        "args": ["--proxy=http://op:hunter2@proxy.example.com"],
        "env": [
            {"name": "OTEL_EXPORTER_OTLP_HEADERS", "value": "authorization=Bearer abc.def.ghi"},
            {"name": "RUST_LOG", "value": "info"},
        ],
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "bitbuilder-controller", "namespace": "bitbuilder-system", "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    site.apply_value(deployment).await?;
    Ok(())
}

fn no_secret(made: &Made) -> Result<()> {
    for (name, text) in &made.files {
        for secret in HIDDEN {
            ensure!(!text.contains(secret), "{name} shows {secret}");
        }
    }
    Ok(())
}

/// Puts an archive where all that tests leave behind is searched for secrets.
fn leave(made: &Made, whose: &str) -> Result<()> {
    let folder = trace::folder().join(format!("bundle-{}-{whose}", std::process::id()));
    fs::create_dir_all(&folder)?;
    for (name, text) in &made.files {
        fs::write(folder.join(name.replace('/', "_")), text)?;
    }
    Ok(())
}

fn an_operators(made: &Made) -> Result<()> {
    ensure!(made.code == Some(0), "{}", made.said);
    let has = |file: &str, words: &str| -> Result<()> {
        let text = made
            .files
            .get(file)
            .with_context(|| format!("no {file}: {}", made.said))?;
        ensure!(text.contains(words), "{file} has no {words}: {text}");
        Ok(())
    };
    has("versions.yaml", "kubernetes: v1.")?;
    has("definitions.yaml", "instances.bitbuilder.cloud")?;
    has("objects/instances.yaml", "type: Ready")?;
    has("objects/providers.yaml", "secret: r1")?;
    has("objects/volumes.yaml", "password=*** cut by bbctl ***")?;
    has(
        "objects/volumes.yaml",
        "example.com/api-token: \"*** cut by bbctl ***\"",
    )?;
    has("events.yaml", "reason: ")?;
    has("controller/leases.yaml", "holderIdentity: ")?;
    has("controller/deployments.yaml", "name: RUST_LOG")?;
    has("controller/deployments.yaml", "value: info")?;
    has("MANIFEST.txt", "a variable of a container, 1 times")?;
    has("MANIFEST.txt", "a password in an address, 1 times")?;
    has("MANIFEST.txt", "Secrets: they are never read.")?;
    ensure!(
        made.said.contains("Look through it before you pass it on"),
        "{}",
        made.said
    );
    ensure!(
        !made
            .files
            .values()
            .any(|text| text.contains("kind: Secret\n"))
    );
    no_secret(made)
}

fn a_members(made: &Made) -> Result<()> {
    ensure!(made.code == Some(0), "{}", made.said);
    let manifest = made.files.get("MANIFEST.txt").context("a manifest")?;
    for words in [
        "providers: not allowed",
        "instances of other namespaces: not allowed",
        "pods of the controller: not allowed",
        "objects/instances.yaml: objects of the kind Instance (1)",
    ] {
        ensure!(manifest.contains(words), "no {words} in {manifest}");
    }
    no_secret(made)
}

/// Which requests for Secrets somebody but the controllers made.
fn asked_for_secrets(site: &Site) -> Result<Vec<String>> {
    let Some(path) = site.cluster.audit_log() else {
        return Ok(Vec::new());
    };
    let text = fs::read_to_string(path)?;
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = lines.filter(|event| {
        let agent = event["userAgent"].as_str().unwrap_or_default();
        let reads = matches!(event["verb"].as_str(), Some("get" | "list" | "watch"));
        let own = agent.contains("bitbuilder/") || agent.contains("kube-");
        event["objectRef"]["resource"] == "secrets" && reads && !own
    });
    Ok(ours.map(|event| event["requestURI"].to_string()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_has_what_its_maker_may_read_and_no_secret() -> Result<()> {
    let site = site().await?;
    run(&site, "one", &["--leader-elect"], &[("RUST_LOG", "debug")]).await?;
    let members = json!({"members": [{"kind": "User", "name": "tenant-member", "role": "View"}]});
    site.apply_value(object("Tenant", None, "acme", &members))
        .await?;
    site.all_ready(BOUND).await?;
    let lan = json!({"ipv4": {"prefix": "10.20.0.0/23"}});
    site.apply_value(object("Network", Some("acme"), "lan", &lan))
        .await?;
    machine(&site, "www").await?;
    secrets_in_odd_places(&site).await?;
    let folder = tempfile::tempdir()?;
    let before = asked_for_secrets(&site)?;
    let operators = make(site.cluster.kubeconfig(), folder.path(), "default")?;
    an_operators(&operators)?;
    leave(&operators, "operator")?;
    let member = site.cluster.kubeconfig_for("tenant-member")?;
    let members = make(&member, folder.path(), "acme")?;
    a_members(&members)?;
    leave(&members, "member")?;
    // Who may read nothing of ours gets no archive, and is told.
    let nobody = make(&member, folder.path(), "default")?;
    ensure!(
        nobody.code == Some(4) && nobody.files.is_empty(),
        "{}",
        nobody.said
    );
    ensure!(asked_for_secrets(&site)? == before, "Secrets were read");
    site.stop().await
}
