//! Turns the chart into controllers in pods on a real node, and their life into facts: installed,
//! at work, upgraded, rolled back, uninstalled, and nothing left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use bb_lab_harness::lab::{self, OBJECTS, Up, WithController};
use bb_lab_harness::{Cluster, Life, NAMESPACE, Node, Progress, chart, journal, paths};
use bb_lab_image::{File, Image};
use serde_json::Value;

/// The image of the test's own, from the program that the tests were built with.
const REPOSITORY: &str = "localhost/bb-controller";
const DEPLOYMENT: &str = "deployment/bitbuilder-controller";
/// How long helm and kubectl wait for a state.
const WITHIN: &str = "--timeout=150s";
/// What the example's tenant is made of.
const KINDS: &str = "tenants,networks,volumes,instances";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_lives_in_pods_and_leaves_nothing() {
    if let Some(reason) = Node::why_not().unwrap() {
        println!("skipped: {reason}");
        return;
    }
    let dir = paths::scratch().unwrap().join("chart_node");
    lab::down(&dir, Progress::silent()).unwrap();
    let lab = Up {
        dir: dir.clone(),
        time_scale: 0.0,
        controller: WithController::InPods,
        life: Life::Tied,
        progress: Progress::silent(),
    };
    let cluster = lab::up(&lab).await.unwrap();
    let node = Node::of(cluster.roster()).unwrap();
    let archive = dir.join("controller.tar");
    pack(&archive).unwrap();
    node.import(&archive).unwrap();

    installed(&cluster).unwrap();
    at_work(&cluster).unwrap();
    upgraded_and_rolled_back(&cluster).unwrap();
    cluster
        .kubectl(&["delete", "-f", &example(), "--wait", WITHIN])
        .unwrap();
    let providers = ["delete", "providers,regions", "--all", WITHIN];
    cluster.kubectl(&providers).unwrap();
    refused_nothing(&cluster).unwrap();
    uninstalled(&cluster).unwrap();

    let group = control_group(&dir).unwrap();
    assert!(hierarchies_with(&group) > 0, "{group}");
    node.end().unwrap();
    assert_eq!(hierarchies_with(&group), 0, "{group}");
    lab::down(&dir, Progress::silent()).unwrap();
    assert!(!dir.exists());
}

/// Packs the program as the tests were built, with the libraries that it looks for: a static one
/// would have to be built anew, with all that it is made of.
fn pack(archive: &Path) -> Result<()> {
    let program = paths::binary("bb-controller")?;
    let stripped = archive.with_extension("stripped");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(&program))?;
    let listed = run(Command::new("ldd").arg(&program))?;
    let libraries = listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let mut files = vec![file("bb-controller", &stripped)?];
    for library in libraries {
        files.push(file(library.trim_start_matches('/'), Path::new(library))?);
    }
    let image = Image {
        name: format!("{REPOSITORY}:test"),
        entrypoint: vec!["/bb-controller".to_owned()],
        user: (65532, 65532),
        labels: BTreeMap::new(),
        files,
    };
    image.write(&mut fs::File::create(archive)?)?;
    Ok(())
}

fn file(path: &str, from: &Path) -> Result<File> {
    Ok(File {
        path: path.to_owned(),
        mode: 0o555,
        bytes: fs::read(from).with_context(|| format!("cannot read {}", from.display()))?,
    })
}

fn installed(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["create", "namespace", NAMESPACE])?;
    // Nothing may ask for more than the strictest standard of Kubernetes allows.
    let strict = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", NAMESPACE, strict])?;
    let chart = chart::dir().display().to_string();
    let repository = format!("image.repository={REPOSITORY}");
    helm(
        cluster,
        &[
            "install",
            chart::RELEASE,
            &chart,
            "--wait",
            WITHIN,
            "--set",
            &repository,
            "--set",
            "image.tag=test",
        ],
    )?;
    ensure!(ready_pods(cluster)? == 2, "{}", pods(cluster)?);
    Ok(())
}

/// The example's tenant becomes Ready through the pods.
fn at_work(cluster: &Cluster) -> Result<()> {
    let objects = cluster.dir().join(OBJECTS);
    cluster.kubectl(&["apply", "-f", &objects.display().to_string()])?;
    let example = example();
    cluster.kubectl(&["apply", "-f", &example])?;
    let wait = [
        "wait",
        "--for=condition=Ready",
        KINDS,
        "--all",
        "--all-namespaces",
        WITHIN,
    ];
    if let Err(error) = cluster.kubectl(&wait) {
        let said = cluster.kubectl(&["logs", "-n", NAMESPACE, DEPLOYMENT, "--tail=20"]);
        bail!("{error:#}; {}", said.unwrap_or_default());
    }
    ensure!(changes(cluster)? > 0, "Ready, and nothing was sent");
    Ok(())
}

/// Controllers come and go; routers and clusters see nothing of it.
fn upgraded_and_rolled_back(cluster: &Cluster) -> Result<()> {
    let before = changes(cluster)?;
    let chart = chart::dir().display().to_string();
    let level = "jsonpath={.spec.template.spec.containers[0].env[?(@.name==\"RUST_LOG\")].value}";
    let value = || cluster.kubectl(&["get", "-n", NAMESPACE, DEPLOYMENT, "-o", level]);
    let old = value()?;
    helm(
        cluster,
        &[
            "upgrade",
            chart::RELEASE,
            &chart,
            "--wait",
            WITHIN,
            "--reset-then-reuse-values",
            "--set",
            "log.level=debug",
        ],
    )?;
    ensure!(value()? == "debug", "the Deployment has {}", value()?);
    ensure!(ready_pods(cluster)? == 2, "{}", pods(cluster)?);
    helm(
        cluster,
        &["rollback", chart::RELEASE, "1", "--wait", WITHIN],
    )?;
    ensure!(value()? == old, "the Deployment has {}", value()?);
    ensure!(ready_pods(cluster)? == 2, "{}", pods(cluster)?);
    let after = changes(cluster)?;
    ensure!(
        after == before,
        "{before} changes sent before, {after} after"
    );
    let wait = [
        "wait",
        "--for=condition=Ready",
        KINDS,
        "--all",
        "--all-namespaces",
        WITHIN,
    ];
    cluster.kubectl(&wait)?;
    Ok(())
}

/// Pods are gone, definitions kept, and no object waits for a controller that is not there.
fn uninstalled(cluster: &Cluster) -> Result<()> {
    helm(cluster, &["uninstall", chart::RELEASE, "--wait", WITHIN])?;
    cluster.kubectl(&[
        "wait",
        "pod",
        "--all",
        "-n",
        NAMESPACE,
        "--for=delete",
        WITHIN,
    ])?;
    ensure!(
        pods(cluster)?.is_empty(),
        "pods are left: {}",
        pods(cluster)?
    );
    let definitions = cluster.kubectl(&["get", "crds", "-o", "name"])?;
    let kept = definitions.matches(".bitbuilder.cloud").count();
    ensure!(kept == 6, "{kept} of 6 definitions are kept");
    let left = cluster.kubectl(&["get", "bitbuilder", "--all-namespaces", "-o", "name"])?;
    ensure!(left.is_empty(), "objects are left: {left}");
    Ok(())
}

/// What the pods' ServiceAccount asked of the API, it may. That holds until the release goes: helm
/// takes the roles away while pods still end.
fn refused_nothing(cluster: &Cluster) -> Result<()> {
    let log = cluster.audit_log().context("the cluster is ours")?;
    let user = format!("system:serviceaccount:{NAMESPACE}:bitbuilder-controller");
    let text = fs::read_to_string(log)?;
    let entries = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut asked = 0;
    for entry in entries.filter(|entry| entry["user"]["username"] == user.as_str()) {
        asked += 1;
        // Not the answer's code: it is 403 as well where an event is for a namespace that ends.
        let decision = &entry["annotations"]["authorization.k8s.io/decision"];
        ensure!(
            *decision == "allow",
            "{} {}: {decision}",
            entry["verb"],
            entry["requestURI"]
        );
    }
    ensure!(asked > 0, "{user} asked nothing");
    Ok(())
}

fn helm(cluster: &Cluster, args: &[&str]) -> Result<()> {
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let mut all = args.to_vec();
    all.extend(["--namespace", NAMESPACE, "--kubeconfig", &kubeconfig]);
    let output = chart::helm(&all)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!(
            "helm {} failed: {}\n{}",
            args[0],
            words.trim(),
            pods(cluster)?
        );
    }
    Ok(())
}

fn pods(cluster: &Cluster) -> Result<String> {
    cluster.kubectl(&[
        "get",
        "pods",
        "-n",
        NAMESPACE,
        "--no-headers",
        "--ignore-not-found",
    ])
}

/// Counts pods that are ready and not about to end.
fn ready_pods(cluster: &Cluster) -> Result<usize> {
    Ok(pods(cluster)?
        .lines()
        .filter(|line| line.contains("1/1") && line.contains("Running"))
        .count())
}

/// Counts what was sent to routers and clusters to change something.
fn changes(cluster: &Cluster) -> Result<usize> {
    Ok(journal::writes(&journal::read(&cluster.dir().join("journal"))?).len())
}

/// The name of what no namespace holds, from the kubelet's settings.
fn control_group(dir: &Path) -> Result<String> {
    let settings: Value = serde_json::from_slice(&fs::read(dir.join("node/kubelet.yaml"))?)?;
    let group = settings["cgroupRoot"].as_str().context("no cgroupRoot")?;
    Ok(group.trim_start_matches('/').to_owned())
}

fn hierarchies_with(group: &str) -> usize {
    let root = Path::new("/sys/fs/cgroup");
    let below = fs::read_dir(root).into_iter().flatten().flatten();
    let folders = below.map(|entry| entry.path()).chain([root.to_path_buf()]);
    folders.filter(|folder| folder.join(group).is_dir()).count()
}

fn example() -> String {
    paths::root().join("examples/acme").display().to_string()
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        words.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
