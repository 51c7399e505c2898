//! Imitates a cluster as far as plans see it: reads are always fresh, and calls take effect at once.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::ids::{VlanId, Vmid};

use super::{Op, Plan, plan};
use crate::proxmox::keys::GuestConfig;
use crate::proxmox::mark;
use crate::proxmox::model::{
    Attachment, ClusterSettings, Desired, DesiredGuest, DesiredNic, DesiredVolume, Fate,
    GuestState, Kind, Power, Source, VolumeState,
};
use crate::proxmox::observed::{ConfigRead, InFlight, Need, Observed, Row, Shape, Storage};
use crate::proxmox::property::Property;

/// A guest of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SimGuest {
    pub(super) kind: Kind,
    pub(super) node: String,
    pub(super) running: bool,
    pub(super) config: BTreeMap<String, String>,
}

impl SimGuest {
    fn shape(&self) -> Option<Shape> {
        let number = |key: &str| self.config.get(key)?.parse::<u64>().ok();
        Some(Shape {
            cores: number("cores")?,
            memory: number("memory")? << 20,
        })
    }
}

/// A cluster of two nodes, a shared storage `ceph` and a `local` one on each node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Sim {
    pub(super) guests: BTreeMap<Vmid, SimGuest>,
    /// Images on `ceph`, with their bytes.
    pub(super) images: BTreeMap<String, u64>,
    /// Sizes that the list shows in place of the configured ones.
    pub(super) shown: BTreeMap<Vmid, Shape>,
}

pub(super) fn vmid(raw: u32) -> Vmid {
    Vmid::try_from(raw).unwrap()
}

pub(super) const HOLDER: u32 = 900;
pub(super) const TEMPLATE: u32 = 9000;

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

impl Sim {
    /// A template, a holder, and a foreign guest at each of `foreign`.
    pub(super) fn new(foreign: &[u32]) -> Self {
        let mut sim = Self::default();
        sim.put(
            TEMPLATE,
            &[
                ("name", "debian"),
                ("scsi0", "ceph:base-9000-disk-0,size=2G"),
                ("ide2", "ceph:vm-9000-cloudinit,media=cdrom"),
            ],
        );
        sim.put(HOLDER, &[("name", "volumes")]);
        for id in foreign {
            let config = [
                ("name", "db"),
                ("description", "mine"),
                ("scsi1", "ceph:vm-7-disk-1"),
            ];
            sim.put(*id, &config);
        }
        sim.images.insert("ceph:vm-7-disk-1".into(), 5 << 30);
        sim
    }

    pub(super) fn put(&mut self, id: u32, config: &[(&str, &str)]) {
        let node = "pve1".to_owned();
        let guest = SimGuest {
            kind: Kind::Vm,
            node,
            running: false,
            config: pairs(config),
        };
        self.guests.insert(vmid(id), guest);
    }

    /// What the two list calls show.
    fn lists(&self) -> Observed {
        let nodes = BTreeSet::from(["pve1", "pve2"].map(String::from));
        let storage = |plugin: &str, shared| Storage {
            plugin: plugin.to_owned(),
            shared,
            nodes: nodes.clone(),
            dark: BTreeSet::new(),
        };
        let row = |guest: &SimGuest| Row {
            kind: guest.kind,
            node: guest.node.clone(),
            name: guest
                .config
                .get("name")
                .or(guest.config.get("hostname"))
                .cloned(),
            running: Some(guest.running),
            lock: None,
            tags: mark::parse_tags(guest.config.get("tags").map_or("", String::as_str)),
            shape: None,
        };
        Observed {
            nodes: nodes.iter().map(|node| (node.clone(), true)).collect(),
            guests: self
                .guests
                .iter()
                .map(|(id, guest)| {
                    let shape = self.shown.get(id).copied().or(guest.shape());
                    (
                        *id,
                        Row {
                            shape,
                            ..row(guest)
                        },
                    )
                })
                .collect(),
            storages: BTreeMap::from([
                ("ceph".to_owned(), storage("rbd", true)),
                ("local".to_owned(), storage("dir", false)),
            ]),
            ..Observed::default()
        }
    }

    fn read(&self, need: &Need, seen: &mut Observed) {
        match need {
            Need::Config(_, _, id) => {
                let read = self.guests.get(id).map_or(ConfigRead::NotThere, |guest| {
                    let current = guest.config.clone();
                    ConfigRead::Found(GuestConfig {
                        current,
                        ..GuestConfig::default()
                    })
                });
                seen.configs.insert(*id, read);
            }
            Need::Live(node, kind) => {
                let there = self
                    .guests
                    .iter()
                    .filter(|(_, g)| g.node == *node && g.kind == *kind);
                seen.live
                    .extend(there.map(|(id, guest)| (*id, guest.running)));
            }
            Need::Images(place) => {
                let here = if place.storage == "ceph" {
                    self.images.clone()
                } else {
                    BTreeMap::new()
                };
                seen.images.insert(place.clone(), here);
            }
            Need::Archives(place) => {
                let found = BTreeSet::from(["local:vztmpl/alpine.tar.zst".to_owned()]);
                let here = if place.node == "pve2" {
                    found
                } else {
                    BTreeSet::new()
                };
                seen.archives.insert(place.clone(), here);
            }
            Need::Free(id) => {
                seen.free.insert(*id, !self.guests.contains_key(id));
            }
            Need::Builds => seen.builds = Some(BTreeMap::new()),
        }
    }

    /// Plans until no read is missing.
    pub(super) fn plan(&self, desired: &Desired, flight: &InFlight) -> (Plan, Observed) {
        let mut seen = self.lists();
        for _ in 0..8 {
            let next = plan(desired, &seen, flight);
            if next.needs.is_empty() {
                return (next, seen);
            }
            for need in &next.needs {
                self.read(need, &mut seen);
            }
        }
        panic!("reads are asked for without end");
    }

    /// Carries a call out; `false` when the cluster would refuse it.
    pub(super) fn apply(&mut self, op: &Op) -> bool {
        match op {
            Op::Clone {
                template,
                vmid,
                name,
                description,
                ..
            } => {
                if self.guests.contains_key(vmid) {
                    return false;
                }
                let mut guest = self.guests[&template.vmid].clone();
                guest.config.insert("name".into(), name.clone());
                guest
                    .config
                    .insert("description".into(), description.clone());
                guest.config.insert(
                    "net0".into(),
                    "virtio=BC:24:11:FF:FF:FF,bridge=vmbr0".into(),
                );
                guest
                    .config
                    .insert("scsi0".into(), format!("ceph:vm-{vmid}-disk-0,size=2G"));
                self.guests.insert(*vmid, guest);
            }
            Op::Build { guest, parameters } => {
                if self.guests.contains_key(&guest.vmid) {
                    return false;
                }
                let mut config = parameters.clone();
                let size = config["rootfs"].rsplit(':').next().unwrap().to_owned();
                config.insert("rootfs".into(), format!("local:x,size={size}G"));
                let node = guest.node.clone();
                let made = SimGuest {
                    kind: guest.kind,
                    node,
                    running: false,
                    config,
                };
                self.guests.insert(guest.vmid, made);
            }
            Op::Configure {
                guest, set, delete, ..
            } => {
                let images = self.images.clone();
                let config = &mut self.guests.get_mut(&guest.vmid).unwrap().config;
                config.retain(|key, _| !delete.contains(key));
                for (key, value) in set {
                    let mut value = value.clone();
                    let head = Property::parse(&value).head;
                    if let Some(bytes) = head.and_then(|volid| images.get(&volid).copied()) {
                        value = format!("{value},size={}G", bytes >> 30);
                    }
                    config.insert(key.clone(), value);
                }
            }
            Op::Resize {
                guest,
                disk,
                size_gib,
                ..
            } => {
                let config = &mut self.guests.get_mut(&guest.vmid).unwrap().config;
                let mut value = Property::parse(&config[disk]);
                value.set("size", format!("{size_gib}G"));
                config.insert(disk.clone(), value.to_string());
                if let Some(bytes) = value.head.and_then(|volid| self.images.get_mut(&volid)) {
                    *bytes = size_gib << 30;
                }
            }
            other => return self.apply_rest(other),
        }
        true
    }

    fn apply_rest(&mut self, op: &Op) -> bool {
        match op {
            Op::Start(guest) => self.guests.get_mut(&guest.vmid).unwrap().running = true,
            Op::Shutdown(guest) => self.guests.get_mut(&guest.vmid).unwrap().running = false,
            Op::Destroy(guest) => {
                if self.guests[&guest.vmid].running {
                    return false;
                }
                self.guests.remove(&guest.vmid);
            }
            Op::Allocate {
                place,
                file,
                size_gib,
                ..
            } => {
                let volid = format!("{}:{file}", place.storage);
                self.images.entry(volid).or_insert(size_gib << 30);
            }
            Op::Park {
                holder,
                slot,
                volid,
                ..
            } => {
                let config = &mut self.guests.get_mut(&holder.vmid).unwrap().config;
                config.insert(slot.clone(), volid.clone());
            }
            Op::Drop {
                holder,
                slot,
                volid,
                ..
            } => {
                let config = &mut self.guests.get_mut(&holder.vmid).unwrap().config;
                assert_eq!(config.remove(slot).as_ref(), Some(volid));
                self.images.remove(volid);
            }
            Op::DeleteImage { volid, .. } => {
                self.images.remove(volid);
            }
            Op::Clone { .. } | Op::Build { .. } | Op::Configure { .. } | Op::Resize { .. } => {
                unreachable!("{op} is carried out elsewhere")
            }
        }
        true
    }

    /// Writes into `desired` what the shell would record after a plan.
    pub(super) fn record(desired: &mut Desired, plan: &Plan) {
        for guest in &mut desired.guests {
            match &plan.report.guests[&guest.uid].state {
                GuestState::Settled { fingerprint } => guest.settled = Some(fingerprint.clone()),
                GuestState::VmidTaken { .. } => guest.vmid = vmid(guest.vmid.get() + 100),
                GuestState::Gone | GuestState::Working(_) | GuestState::Held { .. } => {}
            }
        }
        for volume in &mut desired.volumes {
            if matches!(
                plan.report.volumes[&volume.uid].state,
                VolumeState::Settled { .. }
            ) {
                volume.settled = true;
            }
            volume.placed |= plan.report.volumes[&volume.uid].device.is_some();
        }
    }
}

pub(super) fn cluster() -> ClusterSettings {
    ClusterSettings {
        installation: "c1".into(),
        pool: "tenants".into(),
        holder: Some(vmid(HOLDER)),
        vmids: (5000, 5999),
        clones: 2,
        tasks: 4,
        observe_only: false,
    }
}

/// A virtual machine of the namespace `namespace`, or a container when `id` is odd and it has
/// no volumes.
pub(super) fn guest(namespace: &str, id: u32, volumes: &[&str]) -> DesiredGuest {
    let source = if id % 2 == 1 && volumes.is_empty() {
        let volid = "local:vztmpl/alpine.tar.zst".to_owned();
        Source::Archive {
            volid,
            storage: "local".into(),
            disk_gib: 4,
        }
    } else {
        Source::Template {
            vmid: vmid(TEMPLATE),
            full: false,
            storage: None,
        }
    };
    DesiredGuest {
        uid: format!("guest-{id}"),
        namespace: namespace.to_owned(),
        name: format!("web{id}"),
        vmid: vmid(id),
        source,
        cores: 2,
        memory_mib: 1024,
        disk_gib: Some(8),
        nics: vec![DesiredNic {
            bridge: "vmbr0".into(),
            vlan: VlanId::try_from(100).unwrap(),
            mac: format!("BC:24:11:00:{:02X}:{:02X}", id >> 8 & 0xff, id & 0xff),
            address: [10, 0, u8::try_from(id >> 8 & 0xff).unwrap(), 9].into(),
            prefix_len: 24,
            gateway: Some([10, 0, 0, 1].into()),
            mtu: None,
        }],
        dns_servers: vec!["10.0.0.1".into()],
        dns_domain: None,
        ssh_keys: Vec::new(),
        volumes: volumes.iter().map(|uid| attachment(uid)).collect(),
        power: Power::Running,
        fate: Fate::Keep,
        settled: None,
        observe: false,
        adopt: None,
    }
}

pub(super) fn attachment(uid: &str) -> Attachment {
    Attachment {
        volume_uid: uid.to_owned(),
        volid_name: mark::volume_name(vmid(HOLDER), uid),
        serial: mark::serial(uid),
    }
}

pub(super) fn volume(namespace: &str, uid: &str, attached_to: Option<&str>) -> DesiredVolume {
    DesiredVolume {
        uid: uid.to_owned(),
        namespace: namespace.to_owned(),
        name: format!("data-{uid}"),
        storage: "ceph".into(),
        size_gib: 10,
        fate: Fate::Keep,
        attached_to: attached_to.map(str::to_owned),
        settled: false,
        observe: false,
        placed: attached_to.is_none(),
    }
}
