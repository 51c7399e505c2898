//! Turns what has no number or address yet into grants, beside what is already given out.
//!
//! A value once given never moves: what is recorded is never looked at again, only avoided.
//! Every range has a cursor that only moves forward and is written, with a precondition,
//! before any grant is. Two controllers at once can so never give one value twice, and a
//! freed value rests until the cursor has gone all the way round.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bb_crds::instance::NicStatus;
use bb_crds::network::TrunkVlan;
use bb_crds::region::RegionCursor;
use bb_crds::tenant::Routing;
use bb_crds::{ConditionType, Reason};
use sha2::{Digest, Sha256};

use crate::resolve::{Id, InstanceR, NetworkR, Problem, Resolved};
use crate::world::{Key, World, deleting};

/// What is given out in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The cursors of Regions that move. Written before anything below.
    pub regions: BTreeMap<String, RegionCursor>,
    /// The VMID cursors of clusters that move. Written before anything below.
    pub clusters: BTreeMap<String, i64>,
    /// The address cursors of Networks that move. Written before anything of instances.
    pub addresses: BTreeMap<Key, Ipv4Addr>,
    /// A tenant's identity in a Region that it begins to use.
    pub tenants: BTreeMap<String, Vec<Routing>>,
    /// VNI and VLANs of networks.
    pub networks: BTreeMap<Key, NetworkGrant>,
    /// Place, VMID and addresses of instances.
    pub instances: BTreeMap<Key, InstanceGrant>,
    /// Place of volumes.
    pub volumes: BTreeMap<Key, VolumeGrant>,
    /// What could not be given.
    pub exhausted: BTreeMap<Id, Problem>,
}

/// What a network is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkGrant {
    /// The VNI.
    pub vni: u32,
    /// The VLAN of each trunk, those recorded before included.
    pub vlans: Vec<TrunkVlan>,
}

/// What an instance is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceGrant {
    /// The cluster.
    pub cluster: String,
    /// The VMID.
    pub vmid: u32,
    /// Every card's identity.
    pub addresses: Vec<NicStatus>,
}

/// What a volume is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeGrant {
    /// The cluster.
    pub cluster: String,
    /// The storage.
    pub storage: String,
}

/// Gives every accepted object what it lacks.
#[must_use]
pub fn allocate(world: &World, resolved: &Resolved) -> Grants {
    let mut grants = Grants::default();
    let mut fabric = Taken::fabric(world);
    networks(world, resolved, &mut fabric, &mut grants);
    volumes(world, resolved, &mut grants);
    instances(world, resolved, &mut grants);
    grants
}

/// Looks for a value in `range` that is not taken, from `from` on and round once.
fn next_free(range: (u32, u32), from: i64, taken: &BTreeSet<u32>) -> Option<u32> {
    let (first, last) = range;
    let start = u32::try_from(from)
        .ok()
        .filter(|s| (first..=last).contains(s))
        .unwrap_or(first);
    (start..=last)
        .chain(first..start)
        .find(|value| !taken.contains(value))
}

fn exhausted(what: &str, field: &str) -> Problem {
    Problem {
        on: ConditionType::Accepted,
        reason: Reason::Exhausted,
        message: format!("no {what} is left; widen {field}, or delete what is not needed"),
    }
}

/// Numbers in use in the fabric, whoever has them.
#[derive(Default)]
struct Taken {
    vnis: BTreeMap<String, BTreeSet<u32>>,
    tables: BTreeMap<String, BTreeSet<u32>>,
    vlans: BTreeMap<(String, String), BTreeSet<u32>>,
}

impl Taken {
    fn fabric(world: &World) -> Self {
        let mut taken = Self::default();
        let number = |raw: i64| u32::try_from(raw).ok();
        for status in world.tenants.values().filter_map(|t| t.status.as_ref()) {
            for routing in &status.routing {
                taken
                    .vnis
                    .entry(routing.region.clone())
                    .or_default()
                    .extend(number(routing.l3vni));
                taken
                    .tables
                    .entry(routing.region.clone())
                    .or_default()
                    .extend(number(routing.table));
            }
        }
        for status in world.networks.values().filter_map(|n| n.status.as_ref()) {
            if let Some(region) = &status.region {
                let vni = status.vni.and_then(number);
                taken.vnis.entry(region.clone()).or_default().extend(vni);
            }
            for vlan in &status.vlans {
                let trunk = (vlan.router.clone(), vlan.interface.clone());
                taken
                    .vlans
                    .entry(trunk)
                    .or_default()
                    .extend(number(vlan.vlan));
            }
        }
        taken
    }
}

fn networks(world: &World, resolved: &Resolved, taken: &mut Taken, grants: &mut Grants) {
    for (key, network) in &resolved.networks {
        if world
            .networks
            .get(key)
            .is_some_and(|n| deleting(n.as_ref()))
        {
            continue;
        }
        let result = tenant(world, resolved, network, taken, grants)
            .and_then(|()| network_grant(world, resolved, network, taken, grants));
        if let Err(problem) = result {
            grants.exhausted.insert(Id::Network(key.clone()), problem);
        }
    }
}

/// The cursor of a Region: as moved in this pass, else as recorded.
fn cursor(world: &World, region: &str, grants: &Grants) -> RegionCursor {
    let recorded = || world.regions.get(region)?.status.as_ref()?.next;
    grants
        .regions
        .get(region)
        .copied()
        .or_else(recorded)
        .unwrap_or_default()
}

fn take_vni(
    world: &World,
    resolved: &Resolved,
    region: &str,
    taken: &mut Taken,
    grants: &mut Grants,
) -> Result<u32, Problem> {
    let mut at = cursor(world, region, grants);
    let vnis = taken.vnis.entry(region.to_owned()).or_default();
    let vni = next_free(resolved.regions[region].vnis, at.vni, vnis)
        .ok_or_else(|| exhausted("VNI", "spec.vnis of the Region"))?;
    vnis.insert(vni);
    at.vni = i64::from(vni) + 1;
    grants.regions.insert(region.to_owned(), at);
    Ok(vni)
}

/// Gives a tenant its VRF in the Region of a network, if it has none there.
fn tenant(
    world: &World,
    resolved: &Resolved,
    network: &NetworkR,
    taken: &mut Taken,
    grants: &mut Grants,
) -> Result<(), Problem> {
    let (name, region) = (&network.tenant, &network.region);
    let recorded = world.tenants.get(name).and_then(|t| t.status.as_ref());
    let mut routing = grants
        .tenants
        .get(name)
        .cloned()
        .or_else(|| recorded.map(|s| s.routing.clone()))
        .unwrap_or_default();
    if routing.iter().any(|r| r.region == *region) {
        return Ok(());
    }
    let tables = taken.tables.entry(region.clone()).or_default();
    let mut at = cursor(world, region, grants);
    let table = next_free(resolved.regions[region].tables, at.table, tables)
        .ok_or_else(|| exhausted("VRF table", "spec.tables of the Region"))?;
    tables.insert(table);
    at.table = i64::from(table) + 1;
    grants.regions.insert(region.clone(), at);
    let l3vni = take_vni(world, resolved, region, taken, grants)?;
    routing.push(Routing {
        region: region.clone(),
        vrf: vrf_name(table),
        table: i64::from(table),
        l3vni: i64::from(l3vni),
        route_target: format!("{}:{l3vni}", resolved.regions[region].asn),
    });
    grants.tenants.insert(name.clone(), routing);
    Ok(())
}

/// The VRF's name on routers. VyOS 1.5 takes 15 characters and refuses many beginnings; two
/// letters and the table fit always and never clash.
#[must_use]
pub fn vrf_name(table: u32) -> String {
    format!("bb{table}")
}

fn network_grant(
    world: &World,
    resolved: &Resolved,
    network: &NetworkR,
    taken: &mut Taken,
    grants: &mut Grants,
) -> Result<(), Problem> {
    let complete = network
        .trunks
        .iter()
        .all(|t| network.vlans.contains_key(&t.key));
    if network.vni.is_some() && complete {
        return Ok(());
    }
    let vni = match network.vni {
        Some(vni) => vni.get(),
        None => take_vni(world, resolved, &network.region, taken, grants)?,
    };
    let mut vlans: BTreeMap<_, u32> = network
        .vlans
        .iter()
        .map(|(trunk, vlan)| (trunk.clone(), vlan.get()))
        .collect();
    for trunk in &network.trunks {
        if vlans.contains_key(&trunk.key) {
            continue;
        }
        let key = (trunk.key.router.clone(), trunk.key.interface.clone());
        let used = taken.vlans.entry(key).or_default();
        let (first, last) = trunk.vlans;
        // VLANs follow the VNI's cursor round, so that a freed one rests as well.
        let span = last.saturating_sub(first) + 1;
        let vlan = next_free(trunk.vlans, i64::from(first + vni % span), used)
            .filter(|_| first <= last)
            .ok_or_else(|| {
                exhausted(
                    "VLAN",
                    &format!(
                        "vlans of the attachment on {} {}",
                        trunk.key.router, trunk.key.interface
                    ),
                )
            })?;
        used.insert(vlan);
        vlans.insert(trunk.key.clone(), vlan);
    }
    let vlans = vlans
        .into_iter()
        .map(|(trunk, vlan)| TrunkVlan {
            router: trunk.router,
            interface: trunk.interface,
            vlan: i64::from(vlan),
        })
        .collect();
    grants
        .networks
        .insert(network.key.clone(), NetworkGrant { vni, vlans });
    Ok(())
}

fn volumes(world: &World, resolved: &Resolved, grants: &mut Grants) {
    for (key, volume) in &resolved.volumes {
        let recorded = world
            .volumes
            .get(key)
            .and_then(|v| v.status.as_ref()?.cluster.as_ref());
        if recorded.is_none() && !world.volumes.get(key).is_some_and(|v| deleting(v.as_ref())) {
            let (cluster, storage) = (volume.cluster.clone(), volume.storage.clone());
            grants
                .volumes
                .insert(key.clone(), VolumeGrant { cluster, storage });
        }
    }
}

fn instances(world: &World, resolved: &Resolved, grants: &mut Grants) {
    let mut vmids: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let mut addresses: BTreeMap<Key, BTreeSet<u32>> = BTreeMap::new();
    for (key, instance) in &world.instances {
        let Some(status) = &instance.status else {
            continue;
        };
        let vmid = crate::resolve::recorded_vmid(status.provider_id.as_deref());
        if let (Some(cluster), Some(vmid)) = (&status.cluster, vmid) {
            vmids.entry(cluster.clone()).or_default().insert(vmid.get());
        }
        for nic in &status.addresses {
            let network = Key::new(&key.namespace, &nic.network);
            let address = nic.address.parse::<Ipv4Addr>().ok().map(u32::from);
            addresses.entry(network).or_default().extend(address);
        }
    }
    for instance in resolved.instances.values() {
        for nic in &instance.nics {
            let wanted = nic.wanted.map(u32::from);
            addresses
                .entry(nic.network.clone())
                .or_default()
                .extend(wanted);
        }
    }
    for (key, instance) in &resolved.instances {
        let result = instance_grant(
            world,
            resolved,
            instance,
            &mut vmids,
            &mut addresses,
            grants,
        );
        if let Err(problem) = result {
            grants.exhausted.insert(Id::Instance(key.clone()), problem);
        }
    }
}

fn instance_grant(
    world: &World,
    resolved: &Resolved,
    instance: &InstanceR,
    vmids: &mut BTreeMap<String, BTreeSet<u32>>,
    addresses: &mut BTreeMap<Key, BTreeSet<u32>>,
    grants: &mut Grants,
) -> Result<(), Problem> {
    if instance.vmid.is_some() && instance.nics.iter().all(|nic| nic.recorded.is_some()) {
        return Ok(());
    }
    let mut cards = Vec::new();
    for nic in &instance.nics {
        let network = &resolved.networks[&nic.network];
        let address = match nic.recorded.or(nic.wanted) {
            Some(address) => address,
            None => take_address(world, network, addresses, grants)?,
        };
        cards.push(NicStatus {
            name: nic.name.clone(),
            network: nic.network.name.clone(),
            address: address.to_string(),
            mac: mac(&instance.uid, &nic.name),
        });
    }
    let cluster = &resolved.clusters[&instance.cluster];
    let vmid = if let Some(vmid) = instance.vmid {
        vmid.get()
    } else {
        let recorded = || {
            world
                .providers
                .get(&instance.cluster)?
                .status
                .as_ref()?
                .next_vmid
        };
        let at = grants
            .clusters
            .get(&instance.cluster)
            .copied()
            .or_else(recorded)
            .unwrap_or(0);
        let used = vmids.entry(instance.cluster.clone()).or_default();
        let vmid = next_free(cluster.vmids, at, used)
            .ok_or_else(|| exhausted("VMID", "spec.proxmox.vmids of the Provider"))?;
        used.insert(vmid);
        grants
            .clusters
            .insert(instance.cluster.clone(), i64::from(vmid) + 1);
        vmid
    };
    let grant = InstanceGrant {
        cluster: instance.cluster.clone(),
        vmid,
        addresses: cards,
    };
    grants.instances.insert(instance.key.clone(), grant);
    Ok(())
}

fn take_address(
    world: &World,
    network: &NetworkR,
    addresses: &mut BTreeMap<Key, BTreeSet<u32>>,
    grants: &mut Grants,
) -> Result<Ipv4Addr, Problem> {
    let recorded = || {
        let next = world
            .networks
            .get(&network.key)?
            .status
            .as_ref()?
            .next_address
            .clone()?;
        next.parse::<Ipv4Addr>().ok()
    };
    let at = grants
        .addresses
        .get(&network.key)
        .copied()
        .or_else(recorded);
    let (first, last) = hosts(network);
    let start = at
        .map(u32::from)
        .filter(|s| (first..=last).contains(s))
        .unwrap_or(first);
    let taken = addresses.entry(network.key.clone()).or_default();
    let free = (start..=last)
        .chain(first..start)
        .find(|raw| !taken.contains(raw) && giveable(network, Ipv4Addr::from(*raw)))
        .ok_or_else(|| {
            exhausted(
                "address",
                &format!(
                    "the prefix: {} of Network {} is full",
                    network.prefix, network.key.name
                ),
            )
        })?;
    taken.insert(free);
    grants
        .addresses
        .insert(network.key.clone(), Ipv4Addr::from(free + 1));
    Ok(Ipv4Addr::from(free))
}

fn hosts(network: &NetworkR) -> (u32, u32) {
    (
        u32::from(network.prefix.network()) + 1,
        u32::from(network.prefix.broadcast()) - 1,
    )
}

fn giveable(network: &NetworkR, address: Ipv4Addr) -> bool {
    let within = |(from, to): &(Ipv4Addr, Ipv4Addr)| (*from..=*to).contains(&address);
    address != network.gateway
        && !network.dhcp.as_ref().is_some_and(within)
        && !network.reserved.iter().any(within)
}

/// How many addresses of a network can be given to instances.
#[must_use]
pub fn capacity(network: &NetworkR) -> i64 {
    let (first, last) = hosts(network);
    let size = |(from, to): &(Ipv4Addr, Ipv4Addr)| i64::from(u32::from(*to) - u32::from(*from)) + 1;
    let set_aside: i64 = network.dhcp.iter().chain(&network.reserved).map(size).sum();
    i64::from(last - first) + 1 - 1 - set_aside
}

/// The MAC address of a card: locally administered (IEEE 802), the same for the same card.
#[must_use]
pub fn mac(uid: &str, nic: &str) -> String {
    let hash = Sha256::digest(format!("{uid}/{nic}"));
    format!(
        "02:bb:{:02x}:{:02x}:{:02x}:{:02x}",
        hash[0], hash[1], hash[2], hash[3]
    )
}
