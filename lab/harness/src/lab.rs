//! Turns a folder into a lab: a management cluster, two routers, two hypervisor clusters and the
//! controller; and back into nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Options};
use crate::controller::controller as process;
use crate::node::{self, Node};
use crate::objects::{Facts, lab_objects};
use crate::pki::{random_word, write_private};
use crate::process::Life;
use crate::progress::Progress;
use crate::roster::{Record, Roster, end_marked, is_ours, write_whole};
use crate::standin::{Kind, StandIn, StandInOptions};
use crate::{chart, external, paths};

/// Who plays in the lab: two sites, each with a router and a hypervisor cluster.
const STAND_INS: [(&str, Kind); 4] = [
    ("r1", Kind::Vyos),
    ("r2", Kind::Vyos),
    ("c1", Kind::Proxmox),
    ("c2", Kind::Proxmox),
];
/// The controller's name in the roster.
const CONTROLLER: &str = "bb-controller";
/// The user that the controller is to the API.
pub const CONTROLLER_USER: &str = "bitbuilder-controller";
/// The file in a lab's folder with the Secrets, Providers and the Region that make its routers and
/// clusters known. Where the controller runs in pods, it is to be applied after the chart.
pub const OBJECTS: &str = "objects.json";
/// Whether the lab runs the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithController {
    /// It runs from the binary beside this one.
    Yes,
    /// Someone runs it himself, say in a debugger.
    No,
    /// helm installs it on a node of the lab's. Where the machine can have none, as `Yes`.
    InPods,
}

/// What a lab is brought up with.
#[derive(Clone, Debug)]
pub struct Up {
    /// Holds everything that the lab writes.
    pub dir: PathBuf,
    /// How long things take on the stand-ins, as a share of what the real ones take.
    pub time_scale: f64,
    /// Whether the controller runs.
    pub controller: WithController,
    /// Whether the processes end with us: a test's do, a demo's outlive the command.
    pub life: Life,
    /// Tells how far it is.
    pub progress: Progress,
}

/// Brings a lab up, or what is missing of it, and returns its cluster when everything serves.
///
/// # Errors
/// When a part does not start; what started before it goes on, and is found by the next call.
pub async fn up(wanted: &Up) -> Result<Cluster> {
    let dir = prepared(&wanted.dir)?;
    let _lock = lock(&dir)?;
    let roster = std::sync::Arc::new(Roster::open(&dir, wanted.life)?);
    let controller = possible(wanted)?;
    let mut options = Options::new(&dir);
    options.life = wanted.life;
    options.progress = wanted.progress;
    options.node = controller == WithController::InPods;
    if !options.node {
        options.manifests = chart::manifests()?;
    }
    let cluster = Cluster::start_on(std::sync::Arc::clone(&roster), options).await?;

    let facts = stand_ins(&cluster, wanted).await?;
    match controller {
        WithController::InPods => {
            let node = Node::start(&cluster, &facts.ports()?).await?;
            wanted.progress.say("the node is Ready");
            drop(node);
            // Definitions come with the chart: what is written in their terms is applied after it.
            write_objects(&cluster, &lab_objects(&facts.seen_from_pods()))?;
        }
        WithController::Yes | WithController::No => {
            let objects = write_objects(&cluster, &lab_objects(&facts))?;
            cluster.apply(&[objects])?;
            wanted
                .progress
                .say("objects tell where routers and clusters are");
        }
    }
    if controller == WithController::Yes {
        let kubeconfig = cluster.kubeconfig_for(CONTROLLER_USER)?;
        let record = process(&roster, CONTROLLER, &kubeconfig, &[]).await?;
        wanted
            .progress
            .say(&format!("controller runs as process {}", record.pid));
    }
    write_env(&cluster, &facts, controller)?;
    wanted.progress.say(&format!(
        "the lab is up; source {}",
        dir.join("env").display()
    ));
    Ok(cluster)
}

/// Says who runs the controller on this machine, and tells a person why it is not a pod.
fn possible(wanted: &Up) -> Result<WithController> {
    if wanted.controller == WithController::InPods
        && let Some(reason) = Node::why_not()?
    {
        wanted
            .progress
            .say(&format!("{reason}; the controller runs as a process"));
        return Ok(WithController::Yes);
    }
    Ok(wanted.controller)
}

/// Gives the node of the lab in a folder the images in an archive.
///
/// # Errors
/// When there is no lab with a node, or it refuses the archive.
pub fn import(dir: &Path, archive: &Path) -> Result<()> {
    let dir = absolute(dir)?;
    if !is_ours(&dir) {
        bail!("there is no lab in {}", dir.display());
    }
    let roster = Roster::open(&dir, Life::Detached)?;
    Node::of(std::sync::Arc::new(roster))?.import(archive)
}

/// Ends everything that runs in the folder, in order, and removes the folder. A folder that is
/// not there is searched for processes all the same.
///
/// # Errors
/// When a process does not end, or the folder is not a lab's.
pub fn down(dir: &Path, progress: Progress) -> Result<()> {
    let dir = absolute(dir)?;
    if !dir.exists() {
        let ended = end_marked(&dir)?;
        progress.say(&format!(
            "no lab in {}; {ended} processes ended",
            dir.display()
        ));
        return Ok(());
    }
    if !may_be_removed(&dir)? {
        bail!(
            "{} is not the folder of a lab: it is left as it is",
            dir.display()
        );
    }
    let _lock = lock(&dir)?;
    // A list that cannot be read is no reason to leave anything running: marks remain.
    if let Ok(roster) = Roster::open(&dir, Life::Detached) {
        // Before the API server, and with all that pods keep busy.
        if roster.running("node").is_some() {
            node::end(&roster)?;
            progress.say("node ended, and everything on it");
        }
        for (name, grace) in ending_order(&roster) {
            roster.end(&name, grace)?;
            progress.say(&format!("{name} ended"));
        }
    }
    end_marked(&dir)?;
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    progress.say(&format!("{} removed", dir.display()));
    if external::named().is_some() {
        progress.say("the cluster of BB_KUBECONFIG keeps what was applied to it");
    }
    Ok(())
}

/// Returns what belongs to a lab, by name, in the order of the names.
///
/// # Errors
/// When there is no lab in the folder.
pub fn status(dir: &Path) -> Result<BTreeMap<String, Record>> {
    let dir = absolute(dir)?;
    if !is_ours(&dir) {
        bail!("there is no lab in {}", dir.display());
    }
    Ok(Roster::open(&dir, Life::Detached)?.records())
}

/// Names what runs, users of the API before the API, with the time that each may take to end.
fn ending_order(roster: &Roster) -> Vec<(String, Duration)> {
    let rank = |name: &str| match name {
        CONTROLLER => (0, Duration::from_secs(10)),
        "kube-controller-manager" => (2, Duration::ZERO),
        "kube-apiserver" => (3, Duration::ZERO),
        "etcd" => (4, Duration::ZERO),
        _ => (1, Duration::from_secs(5)),
    };
    let mut names: Vec<(i32, String, Duration)> = roster
        .records()
        .into_keys()
        .map(|name| {
            let (rank, grace) = rank(&name);
            (rank, name, grace)
        })
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|(_, name, grace)| (name, grace))
        .collect()
}

async fn stand_ins(cluster: &Cluster, wanted: &Up) -> Result<Facts> {
    let keys = keys(cluster.dir())?;
    let mut facts = Facts::default();
    for (name, kind) in STAND_INS {
        let key = keys
            .get(name)
            .with_context(|| format!("{name} has no key"))?;
        let mut options = StandInOptions::new(kind, name, key);
        options.seed = seed(name)?;
        options.time_scale = wanted.time_scale;
        let stand_in = StandIn::start(cluster.roster(), options).await?;
        let known = (stand_in.ready().clone(), stand_in.credential().to_owned());
        wanted
            .progress
            .say(&format!("{name} serves {}", known.0.api));
        match kind {
            Kind::Vyos => facts.routers.insert(name.to_owned(), known),
            Kind::Proxmox => facts.clusters.insert(name.to_owned(), known),
        };
    }
    Ok(facts)
}

/// Returns the file `examples/lab/NAME.seed.*`, if there is one.
fn seed(name: &str) -> Result<Option<PathBuf>> {
    let folder = paths::root().join("examples/lab");
    let Ok(entries) = fs::read_dir(&folder) else {
        return Ok(None);
    };
    let prefix = format!("{name}.seed.");
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Returns the keys that the stand-ins accept, made once per lab.
fn keys(dir: &Path) -> Result<BTreeMap<String, String>> {
    let file = dir.join("keys.json");
    let old = fs::read(&file).ok();
    let mut keys: BTreeMap<String, String> = match old {
        Some(text) => serde_json::from_slice(&text)
            .with_context(|| format!("cannot understand {}", file.display()))?,
        None => BTreeMap::new(),
    };
    for (name, _) in STAND_INS {
        if !keys.contains_key(name) {
            keys.insert(name.to_owned(), random_word()?);
        }
    }
    write_private(
        &file,
        &serde_json::to_string_pretty(&keys).context("cannot render keys")?,
    )?;
    Ok(keys)
}

/// Writes objects into a file that kubectl applies: [`OBJECTS`] in the lab's folder.
fn write_objects(cluster: &Cluster, objects: &[Value]) -> Result<PathBuf> {
    let file = cluster.dir().join(OBJECTS);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    write_private(&file, &list.to_string())?;
    Ok(file)
}

/// Writes what a shell sources to use the lab, and the programs it then finds.
fn write_env(cluster: &Cluster, facts: &Facts, controller: WithController) -> Result<()> {
    let dir = cluster.dir();
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let programs = paths::cluster_binary()?;
    link(&programs, &bin.join("kubectl"))?;
    link(&programs, &bin.join("helm"))?;
    for name in ["bbctl", "bb-lab"] {
        if let Ok(program) = paths::binary(name) {
            link(&program, &bin.join(name))?;
        }
    }
    let mut lines = vec![
        "# To be sourced by a shell: the lab's kubeconfig, programs, addresses and keys."
            .to_owned(),
        format!(
            "export KUBECONFIG={}",
            quoted(&cluster.kubeconfig().display().to_string())
        ),
        format!(
            "export KUBECACHEDIR={}",
            quoted(&cluster.kubectl_cache().display().to_string())
        ),
        format!(
            "export PATH={}:\"$PATH\"",
            quoted(&bin.display().to_string())
        ),
    ];
    if controller == WithController::InPods {
        lines.push("export BB_LAB_NODE=yes".to_owned());
    }
    for (name, (ready, key)) in facts.routers.iter().chain(&facts.clusters) {
        let ca = dir.join("standin").join(format!("{name}.ca.pem"));
        write_whole(&ca, ready.ca_pem.as_bytes())?;
        let upper = name.to_uppercase();
        for (suffix, value) in [
            ("", ready.api.clone()),
            ("_CONTROL", ready.control.clone()),
            ("_KEY", key.clone()),
            ("_CA", ca.display().to_string()),
        ] {
            lines.push(format!("export BB_{upper}{suffix}={}", quoted(&value)));
        }
    }
    write_private(&dir.join("env"), &(lines.join("\n") + "\n"))
}

/// Puts a link in place of whatever was there.
fn link(target: &Path, name: &Path) -> Result<()> {
    let new = name.with_extension("new");
    let _ = fs::remove_file(&new);
    symlink(target, &new)
        .and_then(|()| fs::rename(&new, name))
        .with_context(|| format!("cannot link {}", name.display()))
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Makes the folder where it is missing; refuses one that holds something else.
fn prepared(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let dir = dir
        .canonicalize()
        .with_context(|| format!("cannot find {}", dir.display()))?;
    if !may_be_removed(&dir)? {
        bail!(
            "{} holds something else; choose another folder with --dir",
            dir.display()
        );
    }
    Ok(dir)
}

/// Tells whether a folder is a lab's, or as empty as one that was only begun.
fn may_be_removed(dir: &Path) -> Result<bool> {
    if is_ours(dir) {
        return Ok(true);
    }
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    Ok(names
        .iter()
        .all(|name| name == LOCK || name == "roster.json.new"))
}

const LOCK: &str = "lock";

/// Keeps others from working on the same lab; the kernel lets go when we end.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!(
            "another bb-lab is at work on {}: wait until it has ended",
            dir.display()
        ),
    }
}

/// Returns an absolute path whose links are resolved as far as it exists, as marks carry it.
fn absolute(dir: &Path) -> Result<PathBuf> {
    if let Ok(dir) = dir.canonicalize() {
        return Ok(dir);
    }
    let dir = std::path::absolute(dir).context("cannot tell where the folder would be")?;
    match (
        dir.parent().and_then(|parent| parent.canonicalize().ok()),
        dir.file_name(),
    ) {
        (Some(parent), Some(name)) => Ok(parent.join(name)),
        _ => Ok(dir),
    }
}
