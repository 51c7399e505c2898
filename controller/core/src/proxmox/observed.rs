//! Names what was read from a Proxmox VE cluster, and what is known of work under way.
//!
//! What was not read is absent, and absence is never taken for "not there": the plan says
//! which reads it needs to decide.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::condition::Reason;
use bb_crds::ids::Vmid;

use super::keys::GuestConfig;
use super::model::Kind;

/// What was read in one pass.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Observed {
    /// Nodes, and whether each is online.
    pub nodes: BTreeMap<String, bool>,
    /// Guests in `GET /cluster/resources`. Names and status are up to 18 s late there and go
    /// backwards; id, node, lock and tags are not.
    pub guests: BTreeMap<Vmid, Row>,
    /// Storages in `GET /cluster/resources`, by name.
    pub storages: BTreeMap<String, Storage>,
    /// Whether guests run, from a list that is not late: `GET /nodes/NODE/qemu` or `/lxc`.
    pub live: BTreeMap<Vmid, bool>,
    /// Configurations.
    pub configs: BTreeMap<Vmid, ConfigRead>,
    /// Disk images under the holder by node and storage: volume id to bytes.
    pub images: BTreeMap<Place, BTreeMap<String, u64>>,
    /// Container archives by node and storage.
    pub archives: BTreeMap<Place, BTreeSet<String>>,
    /// Whether a VMID is free in the whole cluster, also where our rights show nothing: `GET
    /// /cluster/nextid?vmid=`.
    pub free: BTreeMap<Vmid, bool>,
    /// Builds of ours in the nodes' task lists by the VMID that they make, `None` when the
    /// lists were not read. A list that names nothing for a VMID proves that we did not make
    /// it lately.
    pub builds: Option<BTreeMap<Vmid, Build>>,
    /// Storages on which our rights let us delete an image by name.
    pub deletable: BTreeSet<String>,
    /// Reads that were tried and refused.
    pub failed: BTreeMap<Need, Rest>,
}

/// A storage as one node has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The node.
    pub node: String,
    /// The storage.
    pub storage: String,
}

/// A guest in the list of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Virtual machine or container.
    pub kind: Kind,
    /// Where it is.
    pub node: String,
    /// Its name; absent for a fresh guest.
    pub name: Option<String>,
    /// Whether it runs; `None` when the list says `unknown`.
    pub running: Option<bool>,
    /// The long lock, such as `clone` or `backup`.
    pub lock: Option<String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Its processors and memory; absent for a fresh guest.
    pub shape: Option<Shape>,
}

/// What the list of the cluster says of the size of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Virtual CPUs.
    pub cores: u64,
    /// Memory in bytes.
    pub memory: u64,
}

/// A storage in the list of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Storage {
    /// The plugin, such as `dir`, `rbd` or `lvmthin`.
    pub plugin: String,
    /// Whether all nodes see the same content.
    pub shared: bool,
    /// The nodes on which it is available.
    pub nodes: BTreeSet<String>,
    /// The nodes that have it and on which it is not available now.
    pub dark: BTreeSet<String>,
}

impl Storage {
    /// The suffix of disk images there: storages that keep files want a format in the name.
    #[must_use]
    pub fn suffix(&self) -> Option<&'static str> {
        match self.plugin.as_str() {
            "dir" | "nfs" | "cifs" | "glusterfs" | "cephfs" => Some("qcow2"),
            "btrfs" => Some("raw"),
            _ => None,
        }
    }
}

/// What reading a guest's configuration gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigRead {
    /// The configuration.
    Found(GuestConfig),
    /// There is no such guest on that node (any more).
    NotThere,
    /// Our rights do not show it: foreign, half made, or out of our pool.
    Forbidden,
}

/// A build of ours in a task list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Build {
    /// It runs.
    Running,
    /// It ended well.
    Done,
    /// It failed and cleaned up, or its worker was killed and did not; with the words.
    Failed(String),
}

/// A read that the plan needs before it can decide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// The configuration of a guest.
    Config(Kind, String, Vmid),
    /// The list of a node's guests of one kind.
    Live(String, Kind),
    /// The disk images under the holder.
    Images(Place),
    /// The container archives.
    Archives(Place),
    /// Whether a VMID is free.
    Free(Vmid),
    /// The builds of ours in the nodes' task lists.
    Builds,
}

/// What is known of work under way, and what was learnt in earlier passes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct InFlight {
    /// Tasks that have not been seen to end.
    pub tasks: Vec<Running>,
    /// Objects for which nothing is written for a while, by UID.
    pub resting: BTreeMap<String, Rest>,
    /// VMIDs whose creation was answered with "already exists".
    pub refused: BTreeSet<Vmid>,
    /// VMIDs for which a creation was sent, and nobody knows whether it took effect.
    pub unknown: BTreeSet<Vmid>,
    /// VMIDs whose creation was sent with other credentials than those of now, which may not be
    /// shown its task.
    pub exchanged: BTreeSet<Vmid>,
    /// VMIDs whose creation was seen to succeed.
    pub made: BTreeSet<Vmid>,
    /// What the configuration was proven to be a moment ago, with no write since: the list of
    /// the cluster may not show it yet.
    pub proven: BTreeMap<Vmid, String>,
    /// Guests whose row shows another size than is asked although their configuration was
    /// proven, and what it shows: people set limits of their own.
    pub odd: BTreeMap<Vmid, Shape>,
    /// VMIDs whose creation was seen to succeed, and whose configuration was never proven since.
    pub fresh: BTreeSet<Vmid>,
    /// Guests that were built and not started since: they are stopped.
    pub unstarted: BTreeSet<Vmid>,
    /// What such a guest was made to be by calls that all ended well and built on a read of
    /// it, with no call since. Its mark is the tag that those calls wrote.
    pub written: BTreeMap<Vmid, String>,
    /// When each namespace last had a turn, as a number that grows with each.
    pub turns: BTreeMap<String, u64>,
    /// Guests that are read although they are settled: the slow look for drift.
    pub recheck: BTreeSet<Vmid>,
}

/// A task that has not been seen to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The UID of the object it is for.
    pub owner: String,
    /// The namespace of that object.
    pub namespace: String,
    /// What it keeps busy.
    pub key: Key,
    /// Whether it counts against the limit of clones.
    pub builds: bool,
    /// What it does, for people.
    pub what: String,
}

/// What takes one write at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A guest, the holder among them.
    Guest(Vmid),
    /// A volume, by its UID, where no guest is concerned.
    Volume(String),
}

/// Why nothing is written for an object for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// One word for the cause; `None` when it will pass by itself.
    pub reason: Option<Reason>,
    /// What happened, in the cluster's words.
    pub message: String,
}
