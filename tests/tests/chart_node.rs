//! Turns the chart into controllers in pods on a real node, and their life into facts: installed,
//! at work, upgraded, rolled back, uninstalled in each way that there is, and nothing left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bb_lab_harness::lab::{self, OBJECTS, Up, WithController};
use bb_lab_harness::{Cluster, Life, NAMESPACE, Node, Progress, chart, journal, paths};
use bb_lab_image::{File, Image};
use bb_tests::trace;
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

    namespace(&cluster).unwrap();
    install(&cluster, &[]).unwrap();
    at_work(&cluster).unwrap();
    a_bundle_has_logs_and_metrics(&cluster).unwrap();
    upgraded_and_rolled_back(&cluster).unwrap();
    refused_nothing(&cluster, "").unwrap();
    taken_up_again(&cluster).unwrap();
    refused_while_objects_are_there(&cluster).unwrap();
    emptied(&cluster).unwrap();
    uninstalled_with_definitions(&cluster).unwrap();
    let_go_of(&cluster).unwrap();
    refused_nothing(&cluster, "leave_").unwrap();

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

fn namespace(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["create", "namespace", NAMESPACE])?;
    // Nothing may ask for more than the strictest standard of Kubernetes allows.
    let strict = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl(&["label", "namespace", NAMESPACE, strict])?;
    Ok(())
}

/// Installs the chart with the image of the test's own, and more values.
fn install(cluster: &Cluster, values: &[&str]) -> Result<()> {
    let chart = chart::dir().display().to_string();
    let repository = format!("image.repository={REPOSITORY}");
    let mut args = vec!["install", chart::RELEASE, &chart, "--wait", WITHIN];
    for value in [&[&*repository, "image.tag=test"], values].concat() {
        args.extend(["--set", value]);
    }
    helm(cluster, &args)?;
    ensure!(ready_pods(cluster)? == 2, "{}", pods(cluster)?);
    Ok(())
}

/// Gives the release another value.
fn upgrade(cluster: &Cluster, value: &str) -> Result<String> {
    let chart = chart::dir().display().to_string();
    let args = ["upgrade", chart::RELEASE, &chart, "--wait", WITHIN];
    let values = ["--reset-then-reuse-values", "--set", value];
    helm(cluster, &[&args[..], &values].concat())
}

/// The example's tenant becomes Ready through the pods.
fn at_work(cluster: &Cluster) -> Result<()> {
    let objects = cluster.dir().join(OBJECTS);
    cluster.kubectl(&["apply", "-f", &objects.display().to_string()])?;
    let example = example();
    cluster.kubectl(&["apply", "-f", &example])?;
    all_ready(cluster)?;
    ensure!(changes(cluster)? > 0, "Ready, and nothing was sent");
    Ok(())
}

/// What the pods log and count is in a bundle, and no secret is.
fn a_bundle_has_logs_and_metrics(cluster: &Cluster) -> Result<()> {
    let file = cluster.dir().join("bundle.tar.gz");
    let mut bbctl = Command::new(paths::binary("bbctl")?);
    bbctl.args(["support-bundle", "--file"]).arg(&file);
    run(bbctl.env("KUBECONFIG", cluster.kubeconfig()))?;
    let folder = trace::folder().join(format!("bundle-{}-pods", std::process::id()));
    fs::create_dir_all(&folder)?;
    let unpacked = Command::new("tar")
        .args(["--strip-components=1", "-xzf"])
        .arg(&file)
        .arg("-C")
        .arg(&folder)
        .status()?;
    ensure!(unpacked.success(), "tar {unpacked}");
    for (part, words) in [("logs", "leads"), ("metrics", "bitbuilder_leader 1")] {
        let below = fs::read_dir(folder.join("controller").join(part))?;
        let files: Vec<_> = below.collect::<std::io::Result<_>>()?;
        ensure!(files.len() == 2, "{} files of {part}", files.len());
        let texts = files.iter().map(|file| fs::read_to_string(file.path()));
        let texts: Vec<String> = texts.collect::<std::io::Result<_>>()?;
        let has = texts.iter().any(|text| text.contains(words));
        ensure!(has, "no {part} says {words}: {texts:?}");
    }
    Ok(())
}

/// Controllers come and go; routers and clusters see nothing of it.
fn upgraded_and_rolled_back(cluster: &Cluster) -> Result<()> {
    let before = changes(cluster)?;
    let level = "jsonpath={.spec.template.spec.containers[0].env[?(@.name==\"RUST_LOG\")].value}";
    let value = || cluster.kubectl(&["get", "-n", NAMESPACE, DEPLOYMENT, "-o", level]);
    let old = value()?;
    // The kubelet then asks by TLS whether they live and are ready.
    upgrade(cluster, "log.level=debug,metrics.auth.enabled=true")?;
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
    all_ready(cluster)
}

/// Uninstalled with the definitions kept, objects stay and a delete waits; installed again, the
/// release goes on where it was, and carries the delete out.
fn taken_up_again(cluster: &Cluster) -> Result<()> {
    let before = changes(cluster)?;
    let objects = objects(cluster)?;
    uninstalled(cluster)?;
    let all = bb_crds::crds().len();
    ensure!(definitions(cluster)? == all, "not all definitions are kept");
    ensure!(self::objects(cluster)? == objects, "objects went with it");
    let then = reads(cluster)?;
    install(cluster, &[])?;
    looked_at_since(cluster, &then)?;
    all_ready(cluster)?;
    let after = changes(cluster)?;
    ensure!(
        after == before,
        "{} changes sent by a release that goes on",
        after - before
    );

    uninstalled(cluster)?;
    let gone = ["instance", "www-2", "-n", "acme"];
    cluster.kubectl(&[&["delete", "--wait=false"], &gone[..]].concat())?;
    ensure!(self::objects(cluster)? == objects, "a delete did not wait");
    ensure!(changes(cluster)? == before, "changes were sent by nobody");
    install(cluster, &[])?;
    cluster.kubectl(&[&["wait", "--for=delete", WITHIN], &gone[..]].concat())?;
    ensure!(changes(cluster)? > before, "it went, and its guest is left");
    Ok(())
}

/// Where the definitions would go with the release, it stays while an object is there.
fn refused_while_objects_are_there(cluster: &Cluster) -> Result<()> {
    let (before, objects) = (changes(cluster)?, objects(cluster)?);
    upgrade(cluster, "crds.keep=false")?;
    let error = upgrade(cluster, "crds.install=false").err();
    let words = format!("{:#}", error.context("definitions may go by an upgrade")?);
    ensure!(words.contains("is not kept"), "{words}");
    let error = helm(cluster, &["uninstall", chart::RELEASE, "--wait", WITHIN]).err();
    let words = format!("{:#}", error.context("it is uninstalled with all objects")?);
    for part in [
        "refused",
        "1 Tenant",
        "3 Instances",
        "kubectl delete tenants",
        "crds.keep=true",
    ] {
        ensure!(words.contains(part), "no {part:?} in: {words}");
    }
    ensure!(ready_pods(cluster)? == 2, "{}", pods(cluster)?);
    ensure!(self::objects(cluster)? == objects, "objects were touched");
    ensure!(changes(cluster)? == before, "changes were sent");
    // The way out that the words name: the rollback makes it a release again.
    let revision = words.split("rollback bitbuilder ").nth(1);
    let revision = revision.and_then(|rest| rest.split(' ').next());
    let revision = revision.context("the words name no revision")?;
    helm(
        cluster,
        &["rollback", chart::RELEASE, revision, "--wait", WITHIN],
    )?;
    upgrade(cluster, "crds.keep=true")?;
    upgrade(cluster, "crds.keep=false")?;
    ensure!(self::objects(cluster)? == objects, "objects were touched");
    all_ready(cluster)
}

/// Deletes everything of ours, through the controllers.
fn emptied(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&[
        "delete",
        "-f",
        &example(),
        "--wait",
        "--ignore-not-found",
        WITHIN,
    ])?;
    cluster.kubectl(&["delete", "providers,regions", "--all", WITHIN])?;
    Ok(())
}

/// With nothing left the definitions go with the release, where that is asked for.
fn uninstalled_with_definitions(cluster: &Cluster) -> Result<()> {
    uninstalled(cluster)?;
    until_no_definitions(cluster)
}

/// Where it is asked for, objects go with the definitions, and what is on routers and clusters
/// stays as it is.
fn let_go_of(cluster: &Cluster) -> Result<()> {
    install(cluster, &["crds.keep=false", "crds.onUninstall=Orphan"])?;
    at_work(cluster)?;
    let before = changes(cluster)?;
    uninstalled(cluster)?;
    until_no_definitions(cluster)?;
    let after = changes(cluster)?;
    ensure!(after == before, "{} changes were sent", after - before);
    let namespace = cluster.kubectl(&["get", "namespace", "acme", "-o", "name"])?;
    ensure!(namespace.contains("acme"), "the tenant's namespace went");
    Ok(())
}

/// The release goes, and its pods.
fn uninstalled(cluster: &Cluster) -> Result<()> {
    helm(cluster, &["uninstall", chart::RELEASE, "--wait", WITHIN])?;
    let wait = ["wait", "pod", "--all", "-n", NAMESPACE, "--for=delete"];
    cluster.kubectl(&[&wait[..], &[WITHIN]].concat())?;
    ensure!(
        pods(cluster)?.is_empty(),
        "pods are left: {}",
        pods(cluster)?
    );
    Ok(())
}

fn definitions(cluster: &Cluster) -> Result<usize> {
    let all = cluster.kubectl(&["get", "crds", "-o", "name"])?;
    Ok(all.matches(".bitbuilder.cloud").count())
}

/// No definition waits for its objects, and no object for a controller.
fn until_no_definitions(cluster: &Cluster) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    while definitions(cluster)? > 0 {
        if Instant::now() > until {
            bail!("objects are stuck: {}", objects(cluster)?);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Every object of ours.
fn objects(cluster: &Cluster) -> Result<String> {
    cluster.kubectl(&["get", "bitbuilder", "--all-namespaces", "-o", "name"])
}

fn all_ready(cluster: &Cluster) -> Result<()> {
    let ready = ["wait", "--for=condition=Ready", KINDS];
    let all = ["--all", "--all-namespaces", WITHIN];
    if let Err(error) = cluster.kubectl(&[ready, all].concat()) {
        let said = cluster.kubectl(&["logs", "-n", NAMESPACE, DEPLOYMENT, "--tail=20"]);
        bail!("{error:#}; {}", said.unwrap_or_default());
    }
    Ok(())
}

/// How often each router and cluster was read.
fn reads(cluster: &Cluster) -> Result<BTreeMap<String, usize>> {
    let entries = journal::read(&cluster.dir().join("journal"))?;
    let counts = journal::count(&entries).into_iter();
    Ok(counts.map(|(name, count)| (name, count.reads)).collect())
}

/// Waits until each router and cluster was read since then: what is to be changed is changed
/// right after that.
fn looked_at_since(cluster: &Cluster, then: &BTreeMap<String, usize>) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    while !reads(cluster)?
        .iter()
        .all(|(name, count)| Some(count) > then.get(name))
    {
        let now = reads(cluster)?;
        ensure!(
            Instant::now() < until,
            "not read: {then:?} then, {now:?} now"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    // A plan follows on its read within milliseconds.
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}

/// What the pods' ServiceAccount asked of the API, it may: all that calls itself by a word. For
/// controllers that holds until the release goes: helm takes the roles away while pods still end.
fn refused_nothing(cluster: &Cluster, agent: &str) -> Result<()> {
    let log = cluster.audit_log().context("the cluster is ours")?;
    let user = format!("system:serviceaccount:{NAMESPACE}:bitbuilder-controller");
    let text = fs::read_to_string(log)?;
    let entries = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut asked = 0;
    for entry in entries.filter(|entry| entry["user"]["username"] == user.as_str()) {
        let own = entry["userAgent"].as_str();
        if !own.unwrap_or_default().contains(agent) {
            continue;
        }
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

fn helm(cluster: &Cluster, args: &[&str]) -> Result<String> {
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let mut all = args.to_vec();
    all.extend(["--namespace", NAMESPACE, "--kubeconfig", &kubeconfig]);
    let output = chart::helm(&all)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let (words, pods) = (words.trim(), pods(cluster)?);
        bail!("helm {} failed: {words}\n{said}\n{pods}", args[0]);
    }
    Ok(said)
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
