//! Every example in the help runs, against a server with the objects that examples speak of.
//!
//! What would write is tried by the server and not stored. The examples are read from the pages
//! in `docs/cli`, which a test of bbctl compares with the commands themselves.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use serde_json::json;
use tokio::process::Command;

use crate::around::{BOUND, cluster, good, instance, namespace, network, ours};

/// Examples that do not run here, each with the test that runs the like with what it takes. One
/// that is in no page any more is an error.
const ELSEWHERE: [(&str, &str); 7] = [
    (
        "bbctl instances ssh",
        "guests: it takes a guest that listens",
    ),
    ("bbctl instances exec", "guests: the same"),
    ("bbctl instances console", "guests: it takes a cluster"),
    (
        "bbctl test-vyos r1 --ssh",
        "guests: it takes a router that listens",
    ),
    ("bbctl apply -f examples/acme --plan ", "lab_plan: the same"),
    ("bbctl ui", "lab_ui: it takes a terminal"),
    ("bbctl plan", "lab_plan: it takes a controller that answers"),
];

/// Examples that fail here as they must, where nobody listens on the addresses for documentation
/// and there is no controller: the words that they say then.
const IN_VAIN: [(&str, i32, &str); 4] = [
    ("bbctl test-vyos", 1, "FAIL  reach"),
    ("bbctl test-proxmox", 1, "FAIL  reach"),
    ("bbctl doctor", 1, "FAIL  controller"),
    ("bbctl doctor -n acme --json", 1, "\"controller\""),
];

/// The pages of all commands, in order.
fn pages() -> Result<Vec<std::path::PathBuf>> {
    let folder = paths::root().join("docs/cli");
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name != "README.md") {
            pages.push(path);
        }
    }
    pages.sort();
    Ok(pages)
}

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
        .replace(" --context=lab", "")
        .replace(" /tmp/", " ");
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
    // It would go on and on.
    if line.contains(" --watch") {
        line.push_str(" --timeout=2s");
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
    if !line.contains("--dry-run") && !verb(&["auth"]) {
        if verb(&["create"]) && !command.contains("images") {
            line.push_str(" --dry-run=client");
        } else if verb(&writes) || verb(&["create"]) {
            line.push_str(" --dry-run=server");
        }
    }
    // What is made in the example has a name, and is shown and not made.
    if verb(&["launch"]) {
        line = line.replace(" --yes", "");
        if !line.contains("--dry-run") {
            line.push_str(" --dry-run");
        }
    }
    // A project in a folder decides for what runs there.
    if verb(&["init"]) || line == "bbctl init" {
        let yes = if line.contains("--dry-run") || line.contains("--yes") {
            ""
        } else {
            " --yes"
        };
        line = format!("cd $(mktemp -d -p .) && {line}{yes}");
    }
    // Two within a second would have the same name, and none is written over.
    if line.contains("support-bundle") {
        line = format!("cd $(mktemp -d -p .) && {line}");
    }
    if verb(&["test-vyos", "test-proxmox"]) {
        line.push_str(" --timeout=300ms");
    }
    if line.contains(" --key-file -") || line.contains(" --token-file -") {
        line = format!("echo 'op@pve!k8s=s3cret' | {line}");
    }
    // The two lives of what is added are a test of their own.
    if verb(&["add"]) {
        line = line.replace(" --apply", "") + " --no-apply";
    }
    line
}

/// Whether an example may end so: not every wish of an example suits the objects at hand.
fn may_end(line: &str, done: &std::process::Output) -> bool {
    let stderr = String::from_utf8_lossy(&done.stderr);
    let stdout = String::from_utf8_lossy(&done.stdout);
    let code = done.status.code();
    // What was tried was not kept, and no key lies here.
    if line.contains(" --kept ") || line.contains(" --ssh=") {
        let told = stderr.contains("hint: ") || stdout.contains("FAIL  reach");
        return code != Some(0) && told;
    }
    if let Some((_, must, words)) = in_vain(line) {
        return code == Some(*must) && stdout.contains(words);
    }
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
                || (line.contains(" wait ") && stderr.contains("is not ready"))
        }
        Some(5) => {
            let makes = ["images create", "launch"]
                .iter()
                .any(|verb| line.contains(verb));
            makes && stderr.contains("already")
        }
        Some(6) => line.contains(" wait "),
        _ => false,
    }
}

fn in_vain(line: &str) -> Option<&'static (&'static str, i32, &'static str)> {
    let found = IN_VAIN.iter().filter(|(words, ..)| line.contains(words));
    found.max_by_key(|(words, ..)| words.len())
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
        .env("BBCTL_PASSPHRASE_FILE", dir.join("words"))
        .env("KUBECONFIG", dir.join("kubeconfig"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    Ok(tokio::time::timeout(BOUND, ran).await??)
}

/// What a router's Provider names, where the controller would read it.
fn secrets() -> String {
    let secret = |name: &str, entry: &str| {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {entry: "text"},
            "metadata": {"name": name, "namespace": "bitbuilder-system"}});
        format!("{object}\n---\n")
    };
    let system = namespace("bitbuilder-system");
    [system, secret("r1", "key"), secret("ca", "ca.crt")].concat()
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
        ours("Region", "home", &region),
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
    good("apply -f -", &secrets()).await?;
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
    for (name, text) in [
        ("words", "correct horse battery"),
        ("key", "s3cret"),
        ("r1.key", "s3cret"),
        ("c1.token", "op@pve!k8s=s3cret"),
        (
            "id_ed25519.pub",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHQ1 alice@home",
        ),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("{text}\n"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    }
    for name in ["ca.crt", "ca.pem"] {
        std::fs::write(dir.path().join(name), "no certificate: nobody listens\n")?;
    }
    let used = run("bbctl tenants use acme", dir.path()).await?;
    ensure!(used.status.success(), "{used:?}");
    let (mut ran, mut left, mut failed) = (0, BTreeSet::new(), Vec::new());
    for path in pages()? {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let all = examples(&text);
        ensure!(!all.is_empty(), "{} has none", path.display());
        for example in all {
            let elsewhere = ELSEWHERE.iter().find(|(words, _)| example.contains(words));
            if let Some((words, _)) = elsewhere {
                left.insert(*words);
                continue;
            }
            let line = harmless(&example);
            let done = run(&line, dir.path()).await?;
            if !may_end(&line, &done) {
                failed.push(format!("{line}: {done:?}"));
            }
            ran += 1;
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let listed: BTreeSet<&str> = ELSEWHERE.iter().map(|(words, _)| *words).collect();
    assert_eq!(left, listed, "what is left out is in no page any more");
    ensure!(ran > 120, "only {ran} examples were found");
    Ok(())
}
