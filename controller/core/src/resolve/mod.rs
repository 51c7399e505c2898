//! Turns objects into what they mean: parsed, with every reference followed, or a reason why not.
//!
//! After this step nobody reads a spec again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bb_crds::ids::{VlanId, Vmid, Vni};
use bb_crds::instance::{InstanceType, Power};
use bb_crds::{Condition, ConditionType, Reason};
use ipnet::Ipv4Net;

use crate::guard::Guarded;
use crate::world::{Key, Uid, Users, World};

mod fabric;
mod instance;
mod network;
#[cfg(test)]
mod tests;
mod volume;

pub use fabric::{AttachmentR, ClusterR, ImageKind, ImageR, RegionR, RouterR};

/// An object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// A Region.
    Region(String),
    /// A Provider.
    Provider(String),
    /// A Tenant.
    Tenant(String),
    /// A Network.
    Network(Key),
    /// A Volume.
    Volume(Key),
    /// An Instance.
    Instance(Key),
}

/// Why an object cannot be acted on as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The condition that is false.
    pub on: ConditionType,
    /// One word.
    pub reason: Reason,
    /// The field, what is wrong with it, and what to do.
    pub message: String,
}

impl Problem {
    fn invalid(message: impl Into<String>) -> Self {
        Self {
            on: ConditionType::Accepted,
            reason: Reason::Invalid,
            message: message.into(),
        }
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self {
            on: ConditionType::ResolvedRefs,
            reason: Reason::NotFound,
            message: message.into(),
        }
    }

    fn not_allowed(message: impl Into<String>) -> Self {
        Self {
            on: ConditionType::ResolvedRefs,
            reason: Reason::NotAllowed,
            message: message.into(),
        }
    }

    fn conflict(message: impl Into<String>) -> Self {
        Self {
            on: ConditionType::Accepted,
            reason: Reason::Conflict,
            message: message.into(),
        }
    }

    fn waiting(message: impl Into<String>) -> Self {
        Self {
            on: ConditionType::ResolvedRefs,
            reason: Reason::Waiting,
            message: message.into(),
        }
    }
}

/// What all objects mean.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// Regions by name.
    pub regions: BTreeMap<String, RegionR>,
    /// Routers by the name of their Provider.
    pub routers: BTreeMap<String, RouterR>,
    /// Clusters by the name of their Provider.
    pub clusters: BTreeMap<String, ClusterR>,
    /// The instances that use each network.
    pub users: Users,
    /// Networks that can be acted on.
    pub networks: BTreeMap<Key, NetworkR>,
    /// Volumes that can be acted on.
    pub volumes: BTreeMap<Key, VolumeR>,
    /// Volumes that wait for the instance that attaches them to say where.
    unplaced: BTreeMap<Key, volume::Draft>,
    /// Instances that can be acted on.
    pub instances: BTreeMap<Key, InstanceR>,
    /// Why the others cannot.
    pub problems: BTreeMap<Id, Problem>,
    /// The Providers on which nothing is destroyed before a person confirms it.
    pub guarded: BTreeMap<String, Guarded>,
}

/// A Network, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkR {
    /// Namespace and name.
    pub key: Key,
    /// The object's UID.
    pub uid: Uid,
    /// The tenant that owns the namespace.
    pub tenant: String,
    /// The Region that it is in.
    pub region: String,
    /// The prefix, no host bits.
    pub prefix: Ipv4Net,
    /// The router's address in it.
    pub gateway: Ipv4Addr,
    /// Ranges that are never given out.
    pub reserved: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// The pool that the router serves.
    pub dhcp: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Resolvers that guests are told.
    pub dns_servers: Vec<String>,
    /// The search domain that guests are told.
    pub dns_domain: Option<String>,
    /// The trunks that carry it.
    pub trunks: Vec<TrunkR>,
    /// The MTU in force, in bytes.
    pub mtu: u16,
    /// The recorded VNI.
    pub vni: Option<Vni>,
    /// The recorded VLAN of each trunk.
    pub vlans: BTreeMap<TrunkKey, VlanId>,
}

impl NetworkR {
    /// More than one trunk carries it: a bridge joins them on each router, VXLAN the routers.
    #[must_use]
    pub fn bridged(&self) -> bool {
        self.trunks.len() > 1
    }

    /// More than one router carries it.
    #[must_use]
    pub fn stretched(&self) -> bool {
        self.trunks
            .iter()
            .any(|t| t.key.router != self.trunks[0].key.router)
    }
}

/// A trunk: one interface of one router.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrunkKey {
    /// The router's Provider.
    pub router: String,
    /// The router's interface.
    pub interface: String,
}

/// A trunk that carries a network, and the clusters at its other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkR {
    /// Router and interface.
    pub key: TrunkKey,
    /// The VLANs to give out on it.
    pub vlans: (u32, u32),
    /// Each cluster, and the bridge on its nodes.
    pub bridges: BTreeMap<String, String>,
}

/// A Volume, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeR {
    /// Namespace and name.
    pub key: Key,
    /// The object's UID.
    pub uid: Uid,
    /// The size in GiB.
    pub size_gib: u64,
    /// The cluster that it is on, or is to be put on.
    pub cluster: String,
    /// The storage in Proxmox VE.
    pub storage: String,
    /// The instance that should have it.
    pub user: Option<Key>,
}

/// An Instance, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceR {
    /// Namespace and name.
    pub key: Key,
    /// The object's UID.
    pub uid: Uid,
    /// The Region that its networks are in.
    pub region: String,
    /// A machine or a container.
    pub kind: InstanceType,
    /// The cluster that it is on, or is to be put on.
    pub cluster: String,
    /// What it is made from.
    pub image: ImageR,
    /// Virtual CPUs.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Root disk in GiB, where one is asked for.
    pub disk_gib: Option<u64>,
    /// Its cards.
    pub nics: Vec<NicR>,
    /// Its volumes, in order.
    pub volumes: Vec<Key>,
    /// SSH keys.
    pub ssh_keys: Vec<String>,
    /// Whether it should run.
    pub power: Power,
    /// The recorded VMID.
    pub vmid: Option<Vmid>,
    /// The VMID of the guest that it takes over.
    pub adopts: Option<Vmid>,
}

/// A card of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicR {
    /// The card's name.
    pub name: String,
    /// The network that it is in.
    pub network: Key,
    /// The address that the user asks for.
    pub wanted: Option<Ipv4Addr>,
    /// The address that is recorded.
    pub recorded: Option<Ipv4Addr>,
}

/// Follows every reference of every object.
#[must_use]
pub fn resolve(world: &World) -> Resolved {
    let mut resolved = Resolved {
        users: world.users(),
        ..Resolved::default()
    };
    fabric::resolve(world, &mut resolved);
    network::resolve(world, &mut resolved);
    volume::resolve(world, &mut resolved);
    instance::resolve(world, &mut resolved);
    volume::place(&mut resolved);
    resolved
}

/// Reads the VMID of a recorded `proxmox://CLUSTER/VMID`.
#[must_use]
pub fn recorded_vmid(provider_id: Option<&str>) -> Option<Vmid> {
    let (_, number) = provider_id?.strip_prefix("proxmox://")?.split_once('/')?;
    Vmid::try_from(number.parse::<u32>().ok()?).ok()
}

/// Whether an object was accepted as it is written now.
fn in_force(generation: Option<i64>, conditions: Option<&Vec<Condition>>) -> bool {
    let holds = |type_: ConditionType| {
        conditions.into_iter().flatten().any(|c| {
            let same = c.observed_generation == generation;
            c.is(type_) && c.holds() && same
        })
    };
    holds(ConditionType::Accepted) && holds(ConditionType::ResolvedRefs)
}

fn allowed(tenants: &[String], tenant: &str) -> bool {
    tenants.is_empty() || tenants.iter().any(|t| t == tenant)
}

fn no_tenant(world: &World, namespace: &str) -> Problem {
    let message = if world.tenants.contains_key(namespace) {
        format!(
            "namespace {namespace} is not the Tenant's yet: the Tenant `{namespace}` must be Ready first"
        )
    } else {
        format!(
            "namespace {namespace} belongs to no Tenant: create the Tenant `{namespace}`, or move the object to a tenant's namespace"
        )
    };
    Problem::waiting(message)
}
