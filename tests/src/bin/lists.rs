//! Turns lists of a thousand instances by bbctl and by kubectl into figures; fails when a goal is
//! missed.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::{Cluster, Options, chart, paths};
use bb_tests::site::client_of;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::json;

const INSTANCES: usize = 1000;
/// How many pairs are measured, after one that warms both.
const PAIRS: usize = 15;
/// How much of kubectl's time bbctl may take.
const SHARE: f64 = 0.5;
/// The latest for the first byte of a table.
const FIRST: Duration = Duration::from_millis(100);
/// The largest that the program may be, in bytes.
const SIZE: u64 = 20_000_000;

fn say(words: impl std::fmt::Display) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{words}").context("cannot write")
}

/// Makes instances as they are when they run.
async fn fill(cluster: &Cluster) -> Result<()> {
    let client = client_of(cluster.kubeconfig()).await?;
    let gvk = GroupVersionKind::gvk("bitbuilder.cloud", "v1alpha1", "Instance");
    let api: Api<DynamicObject> =
        Api::namespaced_with(client, "default", &ApiResource::from_gvk(&gvk));
    let make = |n: usize| {
        let api = api.clone();
        async move {
            let name = format!("www-{n:04}");
            let object = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
                "metadata": {"name": name, "labels": {"app": "web"}},
                "spec": {"image": "debian-12", "cpu": 2, "memory": "2Gi",
                    "networks": [{"name": "a", "network": "web"}]}});
            let object: DynamicObject = serde_json::from_value(object)?;
            api.create(&PostParams::default(), &object).await?;
            let condition = |kind: &str| {
                json!({"type": kind, "status": "True", "reason": "Ready", "message": "",
                    "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
            };
            let address = format!("10.{}.{}.10", n / 250, n % 250);
            let status = json!({"status": {"power": "Running", "node": "pve1", "zone": "a",
                "providerID": format!("proxmox://c1/{}", 100_000 + n),
                "addresses": [{"name": "a", "network": "web", "address": address,
                    "mac": "02:00:00:00:00:01"}],
                "conditions": [condition("Programmed"), condition("Ready")]}});
            api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
                .await?;
            anyhow::Ok(())
        }
    };
    for batch in (0..INSTANCES).collect::<Vec<_>>().chunks(40) {
        futures::future::try_join_all(batch.iter().map(|n| make(*n))).await?;
    }
    Ok(())
}

/// One of the two programs, with what it takes to reach the cluster.
struct Program {
    path: PathBuf,
    before: Vec<&'static str>,
    home: PathBuf,
    kubeconfig: PathBuf,
}

impl Program {
    /// Runs it, and says when the first byte came and when it had ended.
    fn run(&self, words: &str) -> Result<(Duration, Duration)> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.before)
            .args(words.split_whitespace())
            .env_clear()
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().context("cannot run it")?;
        let mut stdout = child.stdout.take().context("a pipe")?;
        let mut first = [0; 1];
        stdout.read_exact(&mut first)?;
        let soon = began.elapsed();
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest)?;
        let status = child.wait()?;
        let took = began.elapsed();
        ensure!(status.success(), "{words} ended with {status}");
        let names = rest.windows(4).filter(|four| *four == b"www-").count();
        ensure!(names + 1 >= INSTANCES, "{words} shows {names} instances");
        Ok((soon, took))
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The program that the environment names.
fn named(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let bbctl = named("BBCTL").context("BBCTL names no program: run scripts/lists.sh")?;
    std::fs::create_dir_all(paths::scratch()?)?;
    let dir = tempfile::tempdir_in(paths::scratch()?)?;
    let mut options = Options::new(dir.path().join("k8s"));
    options.manifests = vec![chart::crds()];
    let cluster = Cluster::start(options).await?;
    fill(&cluster).await?;
    let missed = tokio::task::block_in_place(|| measure(&bbctl, &cluster, dir.path()))?;
    cluster.stop()?;
    for words in &missed {
        say(format!("missed: {words}"))?;
    }
    if missed.is_empty() {
        say("every goal is met")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Measures both programs in turn, and says which goals were missed.
fn measure(bbctl: &Path, cluster: &Cluster, dir: &Path) -> Result<Vec<String>> {
    let kubeconfig = cluster.kubeconfig().to_owned();
    let program = |path: PathBuf, before: Vec<&'static str>| Program {
        path,
        before,
        home: dir.to_owned(),
        kubeconfig: kubeconfig.clone(),
    };
    let ours = program(bbctl.to_owned(), vec![]);
    let theirs = match named("KUBECTL") {
        Some(path) => program(path, vec![]),
        None => program(paths::cluster_binary()?, vec!["kubectl"]),
    };
    let mut missed = Vec::new();
    let size = std::fs::metadata(bbctl)?.len();
    say(format!("bbctl: {size} bytes"))?;
    if size > SIZE {
        missed.push(format!("bbctl has {size} bytes, at most {SIZE}"));
    }
    // A document is written when all of it is there.
    for (what, mine, other, soon) in [
        (
            "table",
            "instances list",
            "get instances.bitbuilder.cloud",
            Some(FIRST),
        ),
        (
            "json",
            "instances list -o json",
            "get instances.bitbuilder.cloud -o json",
            None,
        ),
    ] {
        let (mut firsts, mut mines, mut others) = (vec![], vec![], vec![]);
        for pair in 0..=PAIRS {
            let (first, mine) = ours.run(mine)?;
            let (_, other) = theirs.run(other)?;
            // The first pair warms the caches of both.
            if pair > 0 {
                firsts.push(first);
                mines.push(mine);
                others.push(other);
            }
        }
        let (first, mine, other) = (median(firsts), median(mines), median(others));
        let share = mine.as_secs_f64() / other.as_secs_f64();
        say(format!(
            "{what}: bbctl {} ms, first byte after {} ms; kubectl {} ms; {share:.2} of it",
            mine.as_millis(),
            first.as_millis(),
            other.as_millis()
        ))?;
        if share > SHARE {
            missed.push(format!(
                "{what} takes {share:.2} of kubectl's time, at most {SHARE}"
            ));
        }
        if soon.is_some_and(|soon| first > soon) {
            missed.push(format!("{what} begins after {} ms", first.as_millis()));
        }
    }
    Ok(missed)
}
