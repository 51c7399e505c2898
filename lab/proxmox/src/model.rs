//! Holds everything a Proxmox cluster knows, as plain data that can be rendered and compared.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::access::Access;
use crate::sdn::Sdn;
use crate::task::Tasks;
use crate::volume::{Content, Kind};

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub online: bool,
    pub bridges: BTreeSet<String>,
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            online: true,
            bridges: ["vmbr0".to_owned()].into(),
            cpus: 8,
            memory: 64 << 30,
        }
    }
}

/// A volume on a storage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub content: Content,
    pub owner: Option<u32>,
    pub format: String,
    /// Bytes the guest sees.
    pub size: u64,
    /// Unix seconds.
    pub ctime: i64,
    /// The name of the volume this one is a linked clone of.
    #[serde(default)]
    pub base: Option<String>,
    /// Which write this volume's data stems from; a clone takes it over, a rollback sets it back.
    #[serde(default)]
    pub data: u64,
    /// Snapshots inside the volume and the data they hold.
    #[serde(default)]
    pub snapshots: BTreeMap<String, u64>,
}

/// A storage as the cluster configures it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    pub kind: Kind,
    pub content: BTreeSet<String>,
    pub shared: bool,
    /// Nodes that have it; empty = all.
    #[serde(default)]
    pub nodes: BTreeSet<String>,
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Bytes.
    pub total: u64,
    /// Where a directory is.
    #[serde(default)]
    pub path: Option<String>,
    /// Set from outside: every write that needs room fails.
    #[serde(default)]
    pub full: bool,
    /// `preallocation=full`: disks take their room at once.
    #[serde(default)]
    pub preallocate: bool,
    /// Set from outside: what is on it cannot be removed.
    #[serde(default)]
    pub keeps: bool,
    /// Place to name to volume; the place is a node's name, or empty for a shared storage.
    #[serde(default)]
    pub volumes: BTreeMap<String, BTreeMap<String, Volume>>,
}

fn enabled() -> bool {
    true
}

/// A virtual machine or a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    Qemu,
    Lxc,
}

impl GuestKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Lxc => "lxc",
        }
    }

    /// The folder below `nodes/N/` the config file is in.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-server",
            Self::Lxc => "lxc",
        }
    }

    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Qemu => "VM",
            Self::Lxc => "CT",
        }
    }
}

/// A change written while the guest runs, waiting for it to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Set(String),
    Drop { force: bool },
}

/// Whether a guest runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    #[default]
    Stopped,
    /// Since when (lab seconds), as which process, and whether it is paused.
    Running { since: f64, pid: u32, paused: bool },
}

/// A snapshot of a guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub time: i64,
    pub description: String,
    pub parent: Option<String>,
    pub config: BTreeMap<String, String>,
}

/// What the status daemon last told the lists about a guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub status: String,
    pub name: String,
    pub cpus: u64,
    pub memory: u64,
    pub disk: u64,
    pub template: bool,
    pub uptime: u64,
}

/// A guest: its config file and its process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    pub kind: GuestKind,
    pub node: String,
    /// The applied config, `lock` and `template` among it.
    pub config: BTreeMap<String, String>,
    #[serde(default)]
    pub pending: BTreeMap<String, Change>,
    #[serde(default)]
    pub snapshots: BTreeMap<String, Snapshot>,
    #[serde(default)]
    pub power: Power,
    #[serde(default)]
    pub seen: Option<Seen>,
}

impl Guest {
    pub(crate) fn new(kind: GuestKind, node: &str) -> Self {
        Self {
            kind,
            node: node.to_owned(),
            config: BTreeMap::new(),
            pending: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            power: Power::Stopped,
            seen: None,
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self.power, Power::Running { .. })
    }

    pub fn is_template(&self) -> bool {
        self.flag("template")
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.config.get(key).is_some_and(|v| v == "1")
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(String::as_str)
    }

    pub fn lock(&self) -> Option<&str> {
        self.get("lock")
    }

    /// What lists call the guest.
    pub(crate) fn name(&self, vmid: u32) -> String {
        let key = if self.kind == GuestKind::Qemu {
            "name"
        } else {
            "hostname"
        };
        self.get(key)
            .map_or_else(|| format!("{} {vmid}", self.kind.noun()), str::to_owned)
    }

    /// The digest of the config file; equal content has an equal digest.
    pub fn digest(&self) -> String {
        let text = json!([self.config, self.pending, self.snapshots]).to_string();
        hex(&Sha256::digest(text.as_bytes()))[..40].to_owned()
    }
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    #[serde(default)]
    pub comment: Option<String>,
    #[serde(default)]
    pub guests: BTreeSet<u32>,
    #[serde(default)]
    pub storages: BTreeSet<String>,
}

/// How the world behaves that the API only stands in front of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// Guests answer a shutdown.
    #[serde(default = "enabled")]
    pub answers_shutdown: bool,
    /// Nodes have hardware virtualisation.
    #[serde(default = "enabled")]
    pub kvm: bool,
    /// Nodes have EFI firmware.
    #[serde(default = "enabled")]
    pub efi: bool,
    /// MiB a second that copying a disk makes.
    #[serde(default = "copy_rate")]
    pub copy_mib_per_s: u32,
    /// Guests whose QEMU does not answer a hot-plug.
    #[serde(default)]
    pub hung: BTreeSet<u32>,
    /// The status daemon is dead: lists keep their last values.
    #[serde(default)]
    pub statd_stopped: bool,
    /// Every other list shows the status before the last one.
    #[serde(default)]
    pub lists_go_back: bool,
    /// Most nodes are gone: nothing is written any more.
    #[serde(default)]
    pub no_quorum: bool,
    /// The cluster file system is dead: no call gets past its login.
    #[serde(default)]
    pub pmxcfs_dead: bool,
    /// The API daemon is down: only what the proxy answers by itself is answered.
    #[serde(default)]
    pub daemon_down: bool,
    /// How long tasks take, in place of what they do.
    #[serde(default)]
    pub takes: Takes,
}

/// How long tasks take in seconds of the product; `None` is what their work takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Takes {
    /// A clone of a virtual machine or a container, all its disks together.
    #[serde(default)]
    pub clone: Option<f64>,
    /// The growth of a disk.
    #[serde(default)]
    pub resize: Option<f64>,
    /// A start.
    #[serde(default)]
    pub start: Option<f64>,
}

fn copy_rate() -> u32 {
    1024
}

impl Default for World {
    fn default() -> Self {
        Self {
            answers_shutdown: true,
            kvm: true,
            efi: true,
            copy_mib_per_s: copy_rate(),
            hung: BTreeSet::new(),
            statd_stopped: false,
            lists_go_back: false,
            no_quorum: false,
            pmxcfs_dead: false,
            daemon_down: false,
            takes: Takes::default(),
        }
    }
}

/// How the next task of a kind ends, whatever it should have come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OddEnd {
    /// Such as `qmclone`, `vzcreate`, `qmconfig`, `resize`, `qmstart`, `qmdestroy`.
    pub kind: String,
    /// What it ends with, such as `OK`, `WARNINGS: 1`, `unexpected status` or an error's words.
    pub exit: String,
    /// Whether it does its work.
    pub works: bool,
}

/// The whole cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub name: String,
    pub nodes: BTreeMap<String, Node>,
    pub storages: BTreeMap<String, Storage>,
    pub guests: BTreeMap<u32, Guest>,
    pub pools: BTreeMap<String, Pool>,
    pub access: Access,
    pub sdn: Sdn,
    pub world: World,
    pub tasks: Tasks,
    /// Lab seconds since start.
    #[serde(default)]
    pub now: f64,
    /// What a second of the product is worth here.
    pub scale: f64,
    /// Unix seconds at lab second 0.
    pub epoch: i64,
    /// When the status daemon comes round next.
    #[serde(default)]
    pub statd_due: f64,
    /// Where made-up ids are drawn from.
    #[serde(default)]
    pub drawn: u64,
    /// How often the key that tickets are signed with was exchanged.
    #[serde(default)]
    pub ticket_key: u64,
    /// Ends that the next tasks of a kind come to.
    #[serde(skip)]
    pub odd_ends: Vec<OddEnd>,
    /// SHA-256 fingerprint of the certificate the API shows.
    #[serde(default)]
    pub fingerprint: String,
    /// How often a list of guests was asked for, for lists that go back.
    #[serde(skip)]
    pub lists: u64,
    /// What lists said one round earlier.
    #[serde(skip)]
    pub seen_before: BTreeMap<u32, Seen>,
}

impl Cluster {
    /// Unix seconds now.
    pub fn unix(&self) -> i64 {
        self.epoch + self.now as i64
    }

    /// Draws hexadecimal digits nobody drew before.
    pub(crate) fn draw(&mut self) -> String {
        self.drawn += 1;
        hex(&Sha256::digest(
            format!("{}/{}", self.name, self.drawn).as_bytes(),
        ))
    }

    /// Draws a UUID.
    pub(crate) fn draw_uuid(&mut self) -> String {
        let d = self.draw();
        format!(
            "{}-{}-4{}-a{}-{}",
            &d[..8],
            &d[8..12],
            &d[13..16],
            &d[17..20],
            &d[20..32]
        )
    }

    /// Draws a MAC address in Proxmox's own range.
    pub(crate) fn draw_mac(&mut self) -> String {
        let d = self.draw().to_uppercase();
        format!("BC:24:11:{}:{}:{}", &d[..2], &d[2..4], &d[4..6])
    }

    /// Seconds that copying takes; `limit` is in KiB a second.
    pub(crate) fn copy_seconds(&self, bytes: u64, limit: Option<i64>) -> f64 {
        let rate = f64::from(self.world.copy_mib_per_s.max(1)) * 1024.0;
        let rate = limit
            .filter(|n| *n > 0)
            .map_or(rate, |n| rate.min(n as f64));
        bytes as f64 / 1024.0 / rate
    }

    /// The pool a guest is in.
    pub fn pool_of(&self, vmid: u32) -> Option<&str> {
        let member = |pool: &&Pool| pool.guests.contains(&vmid);
        self.pools
            .iter()
            .find(|(_, pool)| member(pool))
            .map(|(name, _)| name.as_str())
    }

    /// Everything that lasts, in a stable order: guests, volumes, pools, access, SDN.
    ///
    /// Tasks, times and what lists last showed are left out: two equal states compare equal
    /// byte for byte however they were reached.
    pub fn snapshot(&self) -> Value {
        let guests: BTreeMap<String, Value> = self
            .guests
            .iter()
            .map(|(vmid, g)| {
                let power = match g.power {
                    Power::Stopped => "stopped",
                    Power::Running { paused: true, .. } => "paused",
                    Power::Running { .. } => "running",
                };
                let value = json!({
                    "kind": g.kind, "node": g.node, "config": g.config, "pending": g.pending,
                    "snapshots": g.snapshots, "power": power, "digest": g.digest(),
                });
                (vmid.to_string(), value)
            })
            .collect();
        let users: BTreeMap<&String, Value> = self
            .access
            .users
            .iter()
            .map(|(name, u)| {
                let tokens: Vec<&String> = u.tokens.keys().collect();
                (
                    name,
                    json!({ "enable": u.enable, "expire": u.expire, "tokens": tokens }),
                )
            })
            .collect();
        json!({
            "name": self.name, "nodes": self.nodes, "storages": self.storages, "guests": guests,
            "pools": self.pools, "sdn": self.sdn,
            "access": { "users": users, "roles": self.access.roles, "acl": self.access.acl },
        })
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}
