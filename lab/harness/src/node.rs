//! Turns a control plane into one with a node that runs pods, all of it in namespaces of its own.
//!
//! One process holds the namespaces. When it is killed, for whatever reason, the kernel takes along
//! what is in them: containerd, the kubelet, every container, mounts and addresses.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bb_lab_kit::tls::NODE_ADDRESS;

use crate::cluster::{Cluster, User};
use crate::node_files::{self, Reach};
use crate::parts::INTO_NODE;
use crate::process::Spec;
use crate::roster::Roster;
use crate::{cgroup, paths};

/// The node's name in Kubernetes.
const NAME: &str = "lab";
/// Its processes' names in the roster.
const HOLDER: &str = "node";
const FORWARDER: &str = "node-forward";
/// How long it may take until it is Ready: 5 s on two idle cores.
const READY_WITHIN: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);
/// How long the kernel may take to end what was in the namespaces.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A node of the lab's cluster, running.
#[derive(Clone, Debug)]
pub struct Node {
    roster: Arc<Roster>,
    programs: PathBuf,
    /// The first process in the namespaces, as this machine numbers it.
    init: i32,
}

/// Who the programs of the node are to the API.
pub(crate) fn users() -> Vec<User> {
    node_files::users(NAME).map(|(user, _)| user).into()
}

impl Node {
    /// Tells why no node can run on this machine; none where one can.
    ///
    /// # Errors
    /// When the script that knows cannot be run.
    pub fn why_not() -> Result<Option<String>> {
        let script = paths::root().join("scripts/node.sh");
        let output = Command::new(&script)
            .arg("--check")
            .output()
            .with_context(|| format!("cannot run {}", script.display()))?;
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim().trim_start_matches("node.sh: ");
        Ok((!output.status.success()).then(|| words.to_owned()))
    }

    /// Starts the node of a cluster that was started for one, or finds it running, and waits until
    /// it is Ready. From the node and its pods the API server is reached, and the ports in `also`:
    /// what listens there on this machine's loopback address is found at [`NODE_ADDRESS`].
    ///
    /// # Errors
    /// When the machine cannot have one, or it is not Ready within 90 s.
    pub async fn start(cluster: &Cluster, also: &[u16]) -> Result<Self> {
        let (layout, ports) = cluster.for_node()?;
        let roster = cluster.roster();
        let programs = paths::node_programs()?;
        if roster.running(HOLDER).is_none() {
            end(&roster)?;
            let dir = roster.dir().join("node");
            if dir.exists() {
                // It begins anew, with no container: pods of the one before are to be made again.
                cluster.kubectl(&["delete", "node", NAME, "--ignore-not-found"])?;
            }
            let tokens = layout.tokens_by_user()?;
            let reach = Reach {
                server: format!("https://{NODE_ADDRESS}:{}", ports.api),
                ca: &layout.pki.ca,
                tokens: &tokens,
            };
            node_files::write(roster.dir(), &dir, NAME, &programs, &reach)?;
            cgroup::make(roster.dir())?;
            let env = node_files::variables(&dir, NAME, &programs, &layout.binary, ports.api);
            roster.start(HOLDER, &holder(roster.dir(), env))?;
        }
        let init = until_some(&roster, || first_child(roster.running(HOLDER)?.pid)).await?;
        let node = Self {
            roster,
            programs,
            init,
        };
        let mut out = vec![ports.api];
        out.extend(also);
        node.forward(&out)?;
        node.until_ready(cluster).await?;
        Ok(node)
    }

    /// Carries the ports into the namespaces and the API server's calls out of them.
    fn forward(&self, out: &[u16]) -> Result<()> {
        let mut args = vec![
            "forward".to_owned(),
            format!("--pid={}", self.init),
            format!("--address={NODE_ADDRESS}"),
            format!("--into={INTO_NODE}"),
        ];
        args.extend(out.iter().map(|port| format!("--out={port}")));
        let program = paths::binary("bb-lab")?;
        let old = self.roster.running(FORWARDER);
        if old.is_some_and(|old| old.args == args) && self.roster.is_current(FORWARDER, &program) {
            return Ok(());
        }
        self.roster.end(FORWARDER, Duration::ZERO)?;
        let log = self.roster.dir().join("log").join("node-forward.log");
        let env = std::collections::BTreeMap::new();
        let spec = Spec {
            program,
            args,
            env,
            log,
        };
        self.roster.start(FORWARDER, &spec)?;
        Ok(())
    }

    async fn until_ready(&self, cluster: &Cluster) -> Result<()> {
        let ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        until_some(&self.roster, || {
            let told = cluster.kubectl(&["get", "node", NAME, "-o", ready]);
            told.is_ok_and(|told| told == "True").then_some(())
        })
        .await
    }

    /// Gives the node the images in an archive; what pods name is then there, and nothing is pulled.
    ///
    /// # Errors
    /// When containerd refuses it, with its words.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let file =
            File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
        let output = self
            .command("usr/bin/ctr")
            .args(["-n", "k8s.io", "images", "import", "-"])
            .stdin(file)
            .output()
            .context("cannot run nsenter")?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("cannot import {}: {}", archive.display(), words.trim());
        }
        Ok(())
    }

    /// A program of the node's, to be run in its namespaces.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init))
            .args(["--mount", "--net", "--pid", "--"])
            .arg(self.programs.join(program))
            .stdin(Stdio::null());
        command
    }

    /// Finds the node of a lab that is up.
    ///
    /// # Errors
    /// When it does not run.
    pub fn of(roster: Arc<Roster>) -> Result<Self> {
        let holder = roster.running(HOLDER).context("the lab has no node")?;
        let init = first_child(holder.pid).context("the lab's node is ending")?;
        Ok(Self {
            roster,
            programs: paths::node_programs()?,
            init,
        })
    }

    /// Ends it and everything on it, and returns when nothing of it is left on this machine.
    ///
    /// # Errors
    /// When a process of it does not end.
    pub fn end(self) -> Result<()> {
        end(&self.roster)
    }
}

/// Ends the node of a folder, if there is one, and returns when nothing of it is left.
///
/// # Errors
/// When a process of it does not end.
pub(crate) fn end(roster: &Roster) -> Result<()> {
    let init = roster
        .running(HOLDER)
        .and_then(|holder| first_child(holder.pid));
    let space = init.and_then(pid_space);
    roster.end(FORWARDER, Duration::ZERO)?;
    roster.end(HOLDER, Duration::ZERO)?;
    let until = Instant::now() + GONE_WITHIN;
    while let Some(pid) = space.as_deref().and_then(one_in) {
        if Instant::now() >= until {
            bail!("process {pid} of the node does not end");
        }
        std::thread::sleep(LOOK / 10);
    }
    cgroup::remove(roster.dir())
}

/// The process that holds the namespaces; killed, it takes along the first process in them.
fn holder(lab: &Path, env: std::collections::BTreeMap<String, String>) -> Spec {
    let mut args: Vec<String> = [
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
        "bash",
    ]
    .map(str::to_owned)
    .into();
    let script = paths::root().join("lab/node/init.sh");
    args.push(script.display().to_string());
    Spec {
        program: PathBuf::from("/usr/bin/unshare"),
        args,
        env,
        log: lab.join("log").join("node.log"),
    }
}

async fn until_some<T>(roster: &Roster, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let until = Instant::now() + READY_WITHIN;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        for name in [HOLDER, FORWARDER] {
            let started = roster.records().contains_key(name);
            if started && roster.running(name).is_none() {
                bail!(
                    "{name} ended before the node was ready; {}",
                    roster.tail(name)
                );
            }
        }
        if Instant::now() >= until {
            let (bound, log) = (READY_WITHIN.as_secs(), roster.dir().join("log"));
            bail!(
                "the node is not ready after {bound} s: see node-kubelet.log in {}",
                log.display()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn first_child(pid: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Names the pid namespace of a process.
fn pid_space(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// Finds a process in a pid namespace.
fn one_in(space: &Path) -> Option<i32> {
    let pids = fs::read_dir("/proc").ok()?.flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid| pid_space(*pid).as_deref() == Some(space))
}
