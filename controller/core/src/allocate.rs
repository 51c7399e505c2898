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

use crate::outcome::Outcomes;
use crate::resolve::{Id, NetworkR, Problem, Resolved, TrunkR};
use crate::share::Share;
use crate::world::{Key, World, deleting};

mod guests;

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
    /// Those that cannot be given anything in this pass: nothing is written to them.
    pub waiting: BTreeSet<Id>,
    /// Objects that are given nothing before their targets were looked at.
    pub unseen: BTreeSet<Id>,
    /// Some of them wait for nothing but their turn: another pass is due.
    pub more: bool,
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

/// Gives accepted objects what they lack, as far as it is their turn.
#[must_use]
pub fn allocate(world: &World, resolved: &Resolved, share: &Share<'_>) -> Grants {
    let mut grants = Grants::default();
    let mut fabric = Taken::fabric(world);
    if let Some(outside) = share.outside {
        fabric.outside(resolved, outside.outcomes);
    }
    networks(world, resolved, share, &mut fabric, &mut grants);
    guests::volumes(world, resolved, &mut grants);
    guests::instances(world, resolved, share, &mut grants);
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

fn no_vni() -> Problem {
    exhausted("VNI", "spec.vnis of the Region")
}

fn no_table() -> Problem {
    exhausted("VRF table", "spec.tables of the Region")
}

fn no_vmid() -> Problem {
    exhausted("VMID", "spec.proxmox.vmids of the Provider")
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
        for (_, holds) in world.unread.holds() {
            for (region, vni) in &holds.vnis {
                taken.vnis.entry(region.clone()).or_default().insert(*vni);
            }
            for (region, table) in &holds.tables {
                taken
                    .tables
                    .entry(region.clone())
                    .or_default()
                    .insert(*table);
            }
            for (trunk, vlan) in &holds.vlans {
                taken.vlans.entry(trunk.clone()).or_default().insert(*vlan);
            }
        }
        taken
    }

    /// Adds what routers were seen to use.
    fn outside(&mut self, resolved: &Resolved, outside: &Outcomes) {
        for (name, router) in &resolved.routers {
            let Some(outcome) = outside.routers.get(name) else {
                continue;
            };
            let (region, in_use) = (&router.region, &outcome.in_use);
            let vnis = self.vnis.entry(region.clone()).or_default();
            vnis.extend(&in_use.vnis);
            let tables = self.tables.entry(region.clone()).or_default();
            tables.extend(&in_use.tables);
            for (interface, vlans) in &in_use.vlans {
                let trunk = (name.clone(), interface.clone());
                self.vlans.entry(trunk).or_default().extend(vlans);
            }
        }
    }
}

fn networks(
    world: &World,
    resolved: &Resolved,
    share: &Share<'_>,
    taken: &mut Taken,
    grants: &mut Grants,
) {
    let (lacking, unable) = share.networks(world, resolved);
    grants.waiting.extend(unable.into_iter().map(Id::Network));
    let mut given = 0;
    for key in lacking {
        if world
            .networks
            .get(&key)
            .is_some_and(|n| deleting(n.as_ref()))
        {
            continue;
        }
        if given >= share.networks {
            grants.waiting.insert(Id::Network(key));
            grants.more = true;
            continue;
        }
        let network = &resolved.networks[&key];
        if !share.sees_network(resolved, network) {
            grants.unseen.insert(Id::Network(key));
            continue;
        }
        let result = tenant(world, resolved, network, taken, grants)
            .and_then(|()| network_grant(world, resolved, network, taken, grants));
        match result {
            Ok(()) => given += 1,
            Err(problem) => drop(grants.exhausted.insert(Id::Network(key), problem)),
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
    let ranges = &resolved.regions[region];
    let tables = taken.tables.entry(region.clone()).or_default();
    let vnis = taken.vnis.entry(region.clone()).or_default();
    let mut at = cursor(world, region, grants);
    // Nothing is taken before all is found: a cursor that moves for what is not given would
    // move in every pass.
    let table = next_free(ranges.tables, at.table, tables).ok_or_else(no_table)?;
    let l3vni = next_free(ranges.vnis, at.vni, vnis).ok_or_else(no_vni)?;
    tables.insert(table);
    vnis.insert(l3vni);
    at.table = i64::from(table) + 1;
    at.vni = i64::from(l3vni) + 1;
    grants.regions.insert(region.clone(), at);
    routing.push(Routing {
        region: region.clone(),
        vrf: vrf_name(table),
        table: i64::from(table),
        l3vni: i64::from(l3vni),
        route_target: route_target(ranges.asn, l3vni, table),
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

/// A tenant's route target. An AS number of four bytes leaves 16 bits for the number (RFC 5668),
/// which a VNI may not fit; the table does.
fn route_target(asn: u32, l3vni: u32, table: u32) -> String {
    if u16::try_from(asn).is_ok() {
        format!("{asn}:{l3vni}")
    } else {
        format!("{asn}:{table}")
    }
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
    let mut at = cursor(world, &network.region, grants);
    let range = resolved.regions[&network.region].vnis;
    let vni = match network.vni {
        Some(vni) => vni.get(),
        None => {
            let vnis = taken.vnis.entry(network.region.clone()).or_default();
            next_free(range, at.vni, vnis).ok_or_else(no_vni)?
        }
    };
    let mut vlans: BTreeMap<_, u32> = network
        .vlans
        .iter()
        .map(|(trunk, vlan)| (trunk.clone(), vlan.get()))
        .collect();
    for trunk in &network.trunks {
        if !vlans.contains_key(&trunk.key) {
            vlans.insert(trunk.key.clone(), free_vlan(trunk, vni, taken)?);
        }
    }
    for (trunk, vlan) in &vlans {
        let key = (trunk.router.clone(), trunk.interface.clone());
        taken.vlans.entry(key).or_default().insert(*vlan);
    }
    if network.vni.is_none() {
        let vnis = taken.vnis.entry(network.region.clone()).or_default();
        vnis.insert(vni);
        at.vni = i64::from(vni) + 1;
        grants.regions.insert(network.region.clone(), at);
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

fn free_vlan(trunk: &TrunkR, vni: u32, taken: &Taken) -> Result<u32, Problem> {
    let key = (trunk.key.router.clone(), trunk.key.interface.clone());
    let none = BTreeSet::new();
    let used = taken.vlans.get(&key).unwrap_or(&none);
    let (first, last) = trunk.vlans;
    // VLANs follow the VNI's cursor round, so that a freed one rests as well.
    let span = last.saturating_sub(first) + 1;
    next_free(trunk.vlans, i64::from(first + vni % span), used)
        .filter(|_| first <= last)
        .ok_or_else(|| {
            let (router, interface) = key;
            exhausted(
                "VLAN",
                &format!("vlans of the Region's attachment on {router} {interface}"),
            )
        })
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
    let mut aside: Vec<(u32, u32)> = network
        .dhcp
        .iter()
        .chain(&network.reserved)
        .chain(&[(network.gateway, network.gateway)])
        .map(|(from, to)| (u32::from(*from), u32::from(*to)))
        .collect();
    aside.sort_unstable();
    let mut free = 0;
    // The first address that no range before has.
    let mut next = first;
    for (from, to) in aside {
        free += i64::from(from.saturating_sub(next));
        next = next.max(to + 1);
    }
    free + i64::from((last + 1).saturating_sub(next))
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
