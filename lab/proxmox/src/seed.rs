//! Turns a short description of a cluster into the state a stand-in starts from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::access::{Access, Grant, Token, User};
use crate::model::{Cluster, Guest, GuestKind, Node, Pool, Power, Storage, Volume, World};
use crate::property::Drive;
use crate::sdn::{Objects, Sdn};
use crate::size::{GIB, parse_size};
use crate::task::Tasks;
use crate::volume::{Content, Kind, parse_volid, split_volid};

/// A storage to start with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedStorage {
    pub name: String,
    /// `dir`, `rbd`, `lvmthin`, ...
    #[serde(rename = "type")]
    pub kind: Kind,
    pub content: BTreeSet<String>,
    /// With a unit: `200G`.
    pub size: String,
    #[serde(default)]
    pub shared: bool,
    #[serde(default)]
    pub nodes: BTreeSet<String>,
    #[serde(default)]
    pub path: Option<String>,
    /// Files that belong to no guest: `vztmpl/...`, `iso/...`, `snippets/...`.
    #[serde(default)]
    pub files: BTreeSet<String>,
}

/// A guest to start with. Volumes its config names are made, unless they are there already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedGuest {
    pub vmid: u32,
    #[serde(rename = "type")]
    pub kind: GuestKind,
    pub node: String,
    pub config: BTreeMap<String, String>,
    #[serde(default)]
    pub template: bool,
    #[serde(default)]
    pub running: bool,
    #[serde(default)]
    pub pool: Option<String>,
}

/// A token to start with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedToken {
    pub user: String,
    pub tokenid: String,
    pub secret: String,
    #[serde(default)]
    pub privsep: bool,
}

/// A cluster to start with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seed {
    pub nodes: Vec<String>,
    #[serde(default)]
    pub storages: Vec<SeedStorage>,
    /// User to password.
    #[serde(default)]
    pub users: BTreeMap<String, Option<String>>,
    /// Role to privileges.
    #[serde(default)]
    pub roles: BTreeMap<String, BTreeSet<String>>,
    #[serde(default)]
    pub tokens: Vec<SeedToken>,
    #[serde(default)]
    pub acl: Vec<Grant>,
    #[serde(default)]
    pub pools: BTreeSet<String>,
    #[serde(default)]
    pub guests: Vec<SeedGuest>,
    /// Zones, vnets and subnets that run.
    #[serde(default)]
    pub sdn: Objects,
    #[serde(default)]
    pub world: World,
}

impl Seed {
    /// Two nodes, a template, an archive, a holder of volumes, and a token with the least
    /// rights an automation by pool needs: both its user and the token have them.
    ///
    /// Deleting a volume by the content route needs Datastore.Allocate, which `ssd` grants;
    /// the holder (900) is outside the pool and protected.
    ///
    /// The text is `seeds/example.json`, which shows what a seed may say.
    pub fn example() -> Self {
        serde_json::from_str(include_str!("../seeds/example.json"))
            .expect("the example is a seed: every test starts from it")
    }

    /// The state this describes, at lab second 0.
    ///
    /// # Errors
    /// Names what cannot be: an unknown node or storage, an unreadable volume name.
    pub fn build(&self, name: &str, scale: f64, epoch: i64) -> anyhow::Result<Cluster> {
        let mut cluster = Cluster {
            name: name.to_owned(),
            nodes: self
                .nodes
                .iter()
                .map(|n| (n.clone(), Node::default()))
                .collect(),
            storages: BTreeMap::new(),
            guests: BTreeMap::new(),
            pools: self
                .pools
                .iter()
                .map(|p| (p.clone(), Pool::default()))
                .collect(),
            access: self.access(),
            sdn: Sdn {
                config: self.sdn.clone(),
                running: None,
                lock: None,
            },
            world: self.world.clone(),
            tasks: Tasks::default(),
            now: 0.0,
            scale,
            epoch,
            statd_due: 0.0,
            drawn: 0,
            ticket_key: 0,
            odd_ends: Vec::new(),
            fingerprint: String::new(),
            lists: 0,
            seen_before: BTreeMap::new(),
        };
        if self.sdn != Objects::default() {
            cluster.sdn.running = Some(self.sdn.clone());
        }
        for storage in &self.storages {
            cluster.storages.insert(
                storage.name.clone(),
                make_storage(storage, &self.nodes, epoch),
            );
        }
        for guest in &self.guests {
            add_guest(&mut cluster, guest)?;
        }
        cluster.statd_round();
        let round = cluster.lasting(crate::engine::STATD_ROUND);
        cluster.statd_due = round.max(crate::engine::SHORTEST_ROUND);
        Ok(cluster)
    }

    fn access(&self) -> Access {
        let mut access = Access {
            roles: self.roles.clone(),
            ..Access::default()
        };
        for (id, password) in &self.users {
            let user = User {
                password: password.clone(),
                ..User::default()
            };
            access.users.insert(id.clone(), user);
        }
        access.users.entry("root@pam".to_owned()).or_default();
        for t in &self.tokens {
            let token = Token {
                secret: t.secret.clone(),
                privsep: t.privsep,
                expire: 0,
                comment: None,
            };
            let user = access.users.entry(t.user.clone()).or_default();
            user.tokens.insert(t.tokenid.clone(), token);
        }
        access.acl = self.acl.iter().cloned().collect();
        access
    }
}

fn make_storage(seed: &SeedStorage, nodes: &[String], ctime: i64) -> Storage {
    let mut storage = Storage {
        kind: seed.kind,
        content: seed.content.clone(),
        shared: seed.shared,
        nodes: seed.nodes.clone(),
        enabled: true,
        total: parse_size(&seed.size, 1).unwrap_or(100 * GIB),
        path: seed.path.clone(),
        full: false,
        preallocate: false,
        keeps: false,
        volumes: BTreeMap::new(),
    };
    for file in &seed.files {
        let (folder, name) = file.split_once('/').unwrap_or(("", file));
        let (content, format) = match folder {
            "vztmpl" => (
                Content::VzTmpl,
                name.rsplit_once(".tar.").map_or("tgz", |(_, s)| s),
            ),
            "iso" => (Content::Iso, "iso"),
            "import" => (Content::Import, "qcow2"),
            _ => (Content::Snippets, "snippet"),
        };
        let format = match format {
            "gz" => "tgz",
            "zst" => "tzst",
            "xz" => "txz",
            other => other,
        };
        let volume = Volume {
            content,
            owner: None,
            format: format.to_owned(),
            size: if content == Content::Snippets {
                26
            } else {
                3 << 20
            },
            ctime,
            base: None,
            data: 0,
            snapshots: BTreeMap::new(),
        };
        let places: Vec<String> = if seed.shared {
            vec![String::new()]
        } else {
            nodes.to_vec()
        };
        for place in places {
            storage
                .volumes
                .entry(place)
                .or_default()
                .insert(file.clone(), volume.clone());
        }
    }
    storage
}

fn add_guest(cluster: &mut Cluster, seed: &SeedGuest) -> anyhow::Result<()> {
    anyhow::ensure!(
        cluster.nodes.contains_key(&seed.node),
        "no such node: {}",
        seed.node
    );
    let mut guest = Guest::new(seed.kind, &seed.node);
    guest.config.clone_from(&seed.config);
    if seed.template {
        guest.config.insert("template".to_owned(), "1".to_owned());
    }
    if seed.running {
        guest.power = Power::Running {
            since: 0.0,
            pid: 1000 + seed.vmid,
            paused: false,
        };
    }
    for volid in guest.volumes() {
        let Some((sid, rest)) = split_volid(&volid) else {
            continue;
        };
        let ctime = cluster.epoch;
        let storage = cluster.storages.get_mut(sid);
        let storage = storage.ok_or_else(|| anyhow::anyhow!("no such storage: {sid}"))?;
        let id = parse_volid(storage.kind, sid, rest)
            .map_err(|r| anyhow::anyhow!("guest {}: {}", seed.vmid, r.reason))?;
        let line = guest
            .config
            .values()
            .find(|l| Drive::parse(l).file() == volid);
        let size = line.and_then(|l| parse_size(Drive::parse(l).0.get("size")?, 1));
        let lxc = seed.kind == GuestKind::Lxc;
        let place = storage.place(&seed.node).to_owned();
        let format = id
            .name
            .rsplit_once('.')
            .map_or("raw", |(_, suffix)| suffix)
            .to_owned();
        storage
            .volumes
            .entry(place)
            .or_default()
            .entry(id.name)
            .or_insert(Volume {
                content: if lxc {
                    Content::RootDir
                } else {
                    Content::Images
                },
                owner: id.owner,
                format,
                size: size.unwrap_or(crate::drives::CLOUDINIT_SIZE),
                ctime,
                base: id.base,
                data: u64::from(seed.vmid),
                snapshots: BTreeMap::new(),
            });
    }
    if let Some(pool) = &seed.pool {
        cluster
            .pools
            .entry(pool.clone())
            .or_default()
            .guests
            .insert(seed.vmid);
    }
    cluster.guests.insert(seed.vmid, guest);
    Ok(())
}
