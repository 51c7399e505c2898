//! Every example in the help runs, against a server with the objects that examples speak of.
//!
//! What would write is tried by the server and not stored. The examples are read from the pages
//! in `docs/cli`, which a test of bbctl compares with the commands themselves.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use serde_json::json;
use tokio::process::Command;

use crate::around::{BOUND, cluster, good, instance, namespace, network, ours};

/// Pages whose examples run here. A router, an editor for people, screens and setups are what
/// other tests bring with them.
const PAGES: [&str; 22] = [
    "apply",
    "completion",
    "delete",
    "describe",
    "diff",
    "edit",
    "events",
    "export",
    "get",
    "help",
    "images",
    "instances",
    "man",
    "networks",
    "providers",
    "regions",
    "status",
    "tenants",
    "top",
    "tree",
    "version",
    "volumes",
];

/// The examples of a page, those broken over lines in one.
fn examples(page: &str) -> Vec<String> {
    let page = page.replace("\\\n    ", "");
    let mut all = Vec::new();
    for block in page.split("Examples:\n").skip(1) {
        let lines = block.lines().take_while(|line| line.starts_with("  "));
        all.extend(lines.map(|line| line.trim().to_owned()));
    }
    all
}

/// The example so that it stores nothing and waits for nothing.
fn harmless(line: &str) -> String {
    let mut line = line
        .replace("EDITOR=nano ", "")
        .replace(" --context=lab", "");
    let command = line.rsplit("| ").next().unwrap_or_default().to_owned();
    let verb = |words: &[&str]| {
        words
            .iter()
            .any(|word| command.contains(&format!(" {word} ")))
    };
    if verb(&["wait"]) {
        let words = line
            .split(' ')
            .filter(|word| !word.starts_with("--timeout"));
        line = format!("{} --timeout=0", words.collect::<Vec<_>>().join(" "));
    }
    let writes = [
        "apply",
        "edit",
        "delete",
        "start",
        "stop",
        "restart",
        "resize",
        "rebuild",
        "attach",
        "detach",
        "use",
        "add-member",
        "remove-member",
    ];
    if !line.contains("--dry-run") {
        if verb(&["create"]) && !command.contains("images") {
            line.push_str(" --dry-run=client");
        } else if verb(&writes) || verb(&["create"]) {
            line.push_str(" --dry-run=server");
        }
    }
    line
}

/// Whether an example may end so: not every wish of an example suits the objects at hand.
fn may_end(line: &str, code: Option<i32>, stderr: &str) -> bool {
    match code {
        Some(0) => true,
        // The instances of this test have nobody who makes them.
        Some(1) if line.contains("instances ") => {
            stderr.contains("has no address yet")
                || stderr.contains("is on no node yet")
                || (line.contains(" delete ") && stderr.contains("nothing was deleted"))
        }
        Some(1) => {
            line.contains("bbctl diff")
                || (line.contains(" delete ") && stderr.contains("nothing was deleted"))
        }
        Some(5) => line.contains("images create") && stderr.contains("already"),
        Some(6) => line.contains(" wait "),
        _ => false,
    }
}

async fn run(line: &str, dir: &Path) -> Result<std::process::Output> {
    let program = paths::binary("bbctl")?;
    let folder = program.parent().context("a program is in a folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let ran = Command::new("bash")
        .args(["--norc", "-c", line])
        .current_dir(dir)
        .env_clear()
        .env(
            "PATH",
            format!("{}:{}:{path}", folder.display(), dir.display()),
        )
        .env("HOME", dir)
        .env("EDITOR", "true")
        .env("KUBECONFIG", dir.join("kubeconfig"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    Ok(tokio::time::timeout(BOUND, ran).await??)
}

/// The objects that examples speak of.
fn world() -> String {
    let region = json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999"});
    let tls = json!({"caSecret": "ca"});
    let router = json!({"region": "north", "vyos": {"endpoint": "https://192.0.2.1", "tls": tls,
        "credentials": {"secret": "r1"}, "routerId": "10.255.0.1"}});
    let cluster = json!({"region": "north", "proxmox": {"endpoints": ["https://192.0.2.11:8006"],
        "credentials": {"secret": "c1"}, "tls": tls, "vmids": "100000-199999", "pool": "p",
        "images": [{"name": "debian-12", "template": 9000},
            {"name": "alpine-3.20", "archive": "local:vztmpl/alpine-3.20.tar.zst"}]}});
    let members = json!({"members": [{"name": "alice", "role": "Admin"}, {"name": "bob"}]});
    [
        namespace("acme"),
        ours("Region", "north", &region),
        ours("Provider", "r1", &router),
        ours("Provider", "c1", &cluster),
        ours("Tenant", "acme", &members),
        network("web", "10.10.0.0/24"),
        network("db", "10.10.1.0/24"),
        ours("Volume", "data", &json!({"size": "20Gi"})),
        instance("www-1", "web"),
        instance("www-2", "web"),
    ]
    .concat()
}

/// kubectl, as it is installed in a folder.
pub(crate) fn kubectl(folder: &Path) -> Result<()> {
    let path = folder.join("kubectl");
    let program = paths::cluster_binary()?;
    let script = format!("#!/bin/sh\nexec {} kubectl \"$@\"\n", program.display());
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// A folder that kustomize makes the Network `web` of.
pub(crate) fn overlay(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let list = "resources: [network.yaml]\nnamespace: acme\n";
    std::fs::write(folder.join("kustomization.yaml"), list)?;
    std::fs::write(folder.join("network.yaml"), network("web", "10.10.0.0/24"))?;
    Ok(())
}

#[tokio::test]
async fn every_example_in_the_help_runs() -> Result<()> {
    good("apply -n acme -f -", &world()).await?;
    let dir = tempfile::tempdir()?;
    std::fs::copy(cluster().await?.kubeconfig(), dir.path().join("kubeconfig"))?;
    std::fs::write(
        dir.path().join("network.yaml"),
        network("web", "10.10.0.0/24"),
    )?;
    std::fs::write(dir.path().join("instance.yaml"), instance("www-1", "web"))?;
    for folder in [".zfunc", ".config/fish/completions", "examples"] {
        std::fs::create_dir_all(dir.path().join(folder))?;
    }
    std::os::unix::fs::symlink(
        paths::root().join("examples/acme"),
        dir.path().join("examples/acme"),
    )?;
    overlay(&dir.path().join("overlays/prod"))?;
    kubectl(dir.path())?;
    let used = run("bbctl tenants use acme", dir.path()).await?;
    ensure!(used.status.success(), "{used:?}");
    let mut ran = 0;
    for page in PAGES {
        let path = paths::root().join(format!("docs/cli/{page}.md"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for example in examples(&text) {
            // One asks for a token, the other for a controller: they have tests of their own.
            if example.contains("providers add") || example.contains("--plan ") {
                continue;
            }
            let line = harmless(&example);
            let done = run(&line, dir.path()).await?;
            let stderr = String::from_utf8_lossy(&done.stderr);
            assert!(
                may_end(&line, done.status.code(), &stderr),
                "{line}: {done:?}"
            );
            ran += 1;
        }
    }
    ensure!(ran > 90, "only {ran} examples were found");
    Ok(())
}
