//! Turns instances and volumes into the guests and disks that one cluster should have.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bb_crds::instance::{AdoptMode, DeletionPolicy, Power};
use bb_crds::provider::ManagementPolicy;
use bb_crds::volume::{AttachedTo, ReclaimPolicy};
use bb_crds::{Instance, Volume};

use crate::proxmox::mark;
use crate::proxmox::model::{
    Adoption, Attachment, ClusterSettings, Desired, DesiredGuest, DesiredNic, DesiredVolume, Fate,
    Source,
};
use crate::resolve::{ClusterR, ImageKind, InstanceR, Resolved, recorded_vmid};
use crate::world::{Key, World, deleting, paused, uid};

/// The root disk of a container where none is asked for, in GiB.
const CONTAINER_DISK_GIB: u64 = 4;
/// The MTU that a card has where none is set.
const DEFAULT_MTU: u16 = 1500;

/// Renders one cluster whole. `None` where its Provider cannot be understood.
#[must_use]
pub fn cluster(
    world: &World,
    resolved: &Resolved,
    name: &str,
    installation: &str,
) -> Option<Desired> {
    let target = resolved.clusters.get(name)?;
    let at = At {
        world,
        resolved,
        name,
        target,
    };
    let guests = world
        .instances
        .iter()
        .filter_map(|(key, object)| at.guest(key, object));
    let volumes = world
        .volumes
        .iter()
        .filter_map(|(key, object)| at.volume(key, object));
    Some(Desired {
        cluster: ClusterSettings {
            installation: installation.to_owned(),
            pool: target.pool.clone(),
            holder: target.holder,
            vmids: target.vmids,
            clones: target.clones,
            tasks: target.tasks,
            observe_only: target.observe_only,
        },
        guests: guests.collect(),
        volumes: volumes.collect(),
    })
}

struct At<'a> {
    world: &'a World,
    resolved: &'a Resolved,
    name: &'a str,
    target: &'a ClusterR,
}

impl At<'_> {
    fn guest(&self, key: &Key, object: &Instance) -> Option<DesiredGuest> {
        let status = object.status.as_ref()?;
        if status.cluster.as_deref() != Some(self.name) {
            return None;
        }
        let vmid = recorded_vmid(status.provider_id.as_deref())?;
        let fate = match (deleting(object), object.spec.deletion()) {
            _ if paused(object) => Fate::Hold,
            (true, _) if object.spec.deletion_protection => Fate::Hold,
            (true, DeletionPolicy::Delete) if self.guarded() => Fate::Hold,
            (true, DeletionPolicy::Delete) => Fate::Destroy,
            (true, DeletionPolicy::Orphan) => Fate::Release,
            (false, _) => Fate::Keep,
        };
        let full = self
            .resolved
            .instances
            .get(key)
            .and_then(|i| self.described(i));
        let mut guest = match full {
            Some(guest) => guest,
            // It cannot be understood just now, or is to go: nothing is changed by it.
            None => DesiredGuest {
                uid: uid(object),
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                vmid,
                source: self.source_of(object),
                cores: 1,
                memory_mib: 64,
                disk_gib: None,
                nics: Vec::new(),
                dns_servers: Vec::new(),
                dns_domain: None,
                ssh_keys: Vec::new(),
                volumes: Vec::new(),
                power: Power::Stopped,
                fate: Fate::Hold,
                settled: None,
                observe: false,
                adopt: None,
            },
        };
        if guest.fate == Fate::Keep || fate != Fate::Keep {
            guest.fate = fate;
        }
        guest.settled = status.applied.clone();
        guest.observe = object.spec.management_policy == ManagementPolicy::Observe;
        guest.adopt = object.spec.adopt.map(|adopt| Adoption {
            confirmed: adopt.mode == AdoptMode::Adopt,
            living: match &status.applied {
                Some(_) => BTreeSet::new(),
                None => self.others(&guest.uid),
            },
        });
        Some(guest)
    }

    /// Nothing is destroyed here before a person confirms it.
    fn guarded(&self) -> bool {
        self.resolved.guarded.contains_key(self.name)
    }

    /// The UIDs of all instances but one, also of those that cannot be understood.
    fn others(&self, but: &str) -> BTreeSet<String> {
        let all = self.world.instances.values().map(|i| uid(i.as_ref()));
        let unread = self
            .world
            .unread
            .0
            .values()
            .map(|object| object.uid.clone());
        all.chain(unread).filter(|other| other != but).collect()
    }

    /// What kind of guest an object that is not understood just now is.
    fn source_of(&self, object: &Instance) -> Source {
        use bb_crds::instance::InstanceType;
        match object.spec.type_ {
            InstanceType::VirtualMachine => Source::Template {
                vmid: recorded_vmid(
                    object
                        .status
                        .as_ref()
                        .and_then(|s| s.provider_id.as_deref()),
                )
                .unwrap_or_else(|| self.target.holder.unwrap_or(lowest_vmid())),
                full: false,
                storage: None,
            },
            InstanceType::Container => Source::Archive {
                volid: String::new(),
                storage: String::new(),
                disk_gib: CONTAINER_DISK_GIB,
            },
        }
    }

    /// Everything of a guest, once all that it names has its numbers.
    fn described(&self, instance: &InstanceR) -> Option<DesiredGuest> {
        let mut nics = Vec::with_capacity(instance.nics.len());
        let mut dns: (Vec<String>, Option<String>) = (Vec::new(), None);
        for (at, nic) in instance.nics.iter().enumerate() {
            let network = self.resolved.networks.get(&nic.network)?;
            let (trunk, bridge) = network
                .trunks
                .iter()
                .find_map(|t| Some((&t.key, t.bridges.get(self.name)?)))?;
            let address: Ipv4Addr = nic.recorded?;
            nics.push(DesiredNic {
                bridge: bridge.clone(),
                vlan: *network.vlans.get(trunk)?,
                mac: crate::allocate::mac(&instance.uid, &nic.name),
                address,
                prefix_len: network.prefix.prefix_len(),
                gateway: (at == 0).then_some(network.gateway),
                mtu: Some(network.mtu).filter(|mtu| *mtu != DEFAULT_MTU),
            });
            if at == 0 {
                dns = (network.dns_servers.clone(), network.dns_domain.clone());
            }
        }
        let mut volumes = Vec::with_capacity(instance.volumes.len());
        for key in &instance.volumes {
            let volume = self.resolved.volumes.get(key)?;
            let recorded = self.world.volumes.get(key)?.status.as_ref()?;
            recorded.cluster.as_ref()?;
            volumes.push(Attachment {
                volume_uid: volume.uid.clone(),
                volid_name: mark::volume_name(self.target.holder?, &volume.uid),
                serial: mark::serial(&volume.uid),
            });
        }
        let source = match &instance.image.kind {
            ImageKind::Template(vmid) => Source::Template {
                vmid: *vmid,
                full: instance.image.clone == bb_crds::provider::CloneMode::Full,
                storage: instance.image.storage.clone(),
            },
            ImageKind::Archive(volid) => Source::Archive {
                volid: volid.clone(),
                storage: instance.image.storage.clone()?,
                disk_gib: instance.disk_gib.unwrap_or(CONTAINER_DISK_GIB),
            },
        };
        Some(DesiredGuest {
            uid: instance.uid.clone(),
            namespace: instance.key.namespace.clone(),
            name: instance.key.name.clone(),
            vmid: instance.vmid?,
            source,
            cores: instance.cores,
            memory_mib: instance.memory_mib,
            disk_gib: instance.disk_gib,
            nics,
            dns_servers: dns.0,
            dns_domain: dns.1,
            ssh_keys: instance.ssh_keys.clone(),
            volumes,
            power: instance.power,
            fate: Fate::Keep,
            settled: None,
            observe: false,
            adopt: None,
        })
    }

    /// Whether an instance has a volume, or can be given it: one that is refused cannot.
    fn may_have(&self, user: &Key, attached: Option<&AttachedTo>) -> bool {
        let recorded = attached.is_some_and(|a| a.instance == user.name);
        recorded || self.resolved.instances.contains_key(user)
    }

    /// Whether an instance has it of which nothing can be understood just now.
    fn of_the_unread(&self, volume: &Key, attached: Option<&AttachedTo>) -> bool {
        let mut unread = self.world.unread.instances(&volume.namespace);
        unread.any(|user| attached.is_some_and(|a| a.instance == user.name))
    }

    fn volume(&self, key: &Key, object: &Volume) -> Option<DesiredVolume> {
        let status = object.status.as_ref()?;
        if status.cluster.as_deref() != Some(self.name) {
            return None;
        }
        let understood = self.resolved.volumes.get(key);
        let user = understood
            .and_then(|v| v.user.as_ref())
            .filter(|user| self.may_have(user, status.attached_to.as_ref()))
            .and_then(|user| self.world.instances.get(user))
            .filter(|instance| !deleting(instance.as_ref()));
        let fate = match (deleting(object), object.spec.reclaim_policy) {
            _ if paused(object) || self.of_the_unread(key, status.attached_to.as_ref()) => {
                Fate::Hold
            }
            (false, _) => understood.map_or(Fate::Hold, |_| Fate::Keep),
            // Somebody still names it: it stays until they do not.
            (true, _) if user.is_some() => Fate::Keep,
            (true, ReclaimPolicy::Delete) if self.guarded() => Fate::Hold,
            (true, ReclaimPolicy::Delete) => Fate::Destroy,
            (true, ReclaimPolicy::Retain) => Fate::Release,
        };
        let size_gib = understood
            .map(|v| v.size_gib)
            .or_else(|| object.spec.size.gibibytes().ok())
            .unwrap_or(1);
        Some(DesiredVolume {
            uid: uid(object),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            storage: status.storage.clone()?,
            size_gib,
            fate,
            placed: user.is_some_and(|instance| {
                let attached = status.attached_to.as_ref();
                attached.is_some_and(|a| Some(&a.instance) == instance.metadata.name.as_ref())
            }),
            attached_to: user.map(|instance| uid(instance.as_ref())),
            settled: status.size.as_deref() == Some(format!("{size_gib}Gi").as_str()),
            observe: object.spec.management_policy == ManagementPolicy::Observe,
        })
    }
}

fn lowest_vmid() -> bb_crds::ids::Vmid {
    bb_crds::ids::Vmid::try_from(bb_crds::ids::Vmid::MIN).expect("the least is within the bounds")
}
