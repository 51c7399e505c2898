//! Turns volumes and instances that have no place, VMID or address yet into grants.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use bb_crds::ids::Vmid;
use bb_crds::instance::NicStatus;
use bb_crds::{ConditionType, Reason};

use super::{Grants, InstanceGrant, VolumeGrant, giveable, hosts, mac, next_free, no_vmid};
use crate::outcome::Outcomes;
use crate::resolve::{Id, ImageKind, InstanceR, NetworkR, NicR, Problem, Resolved};
use crate::share::Share;
use crate::world::{Key, World, deleting};

pub(super) fn volumes(world: &World, resolved: &Resolved, grants: &mut Grants) {
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

/// What instances have, and what has nothing left.
#[derive(Default)]
struct Stock {
    vmids: BTreeMap<String, BTreeSet<u32>>,
    addresses: BTreeMap<Key, BTreeSet<u32>>,
    /// Clusters and Networks that were searched in vain: to search the whole of a range once
    /// more for each instance would take seconds.
    used_up: BTreeSet<Id>,
    /// Addresses of guests that are in no object. Which network they are in their card says,
    /// and no more; so they are given in none.
    strangers: BTreeSet<u32>,
}

impl Stock {
    fn of(world: &World, resolved: &Resolved) -> Self {
        let mut stock = Self::default();
        for (key, instance) in &world.instances {
            let Some(status) = &instance.status else {
                continue;
            };
            let vmid = crate::resolve::recorded_vmid(status.provider_id.as_deref());
            if let (Some(cluster), Some(vmid)) = (&status.cluster, vmid) {
                let vmids = stock.vmids.entry(cluster.clone()).or_default();
                vmids.insert(vmid.get());
            }
            for nic in &status.addresses {
                let network = Key::new(&key.namespace, &nic.network);
                let address = nic.address.parse::<Ipv4Addr>().ok().map(u32::from);
                stock.addresses.entry(network).or_default().extend(address);
            }
        }
        for (namespace, holds) in world.unread.holds() {
            for (cluster, vmid) in &holds.vmids {
                stock
                    .vmids
                    .entry(cluster.clone())
                    .or_default()
                    .insert(*vmid);
            }
            for (network, address) in &holds.addresses {
                let network = Key::new(namespace, network);
                let addresses = stock.addresses.entry(network).or_default();
                addresses.insert(u32::from(*address));
            }
        }
        for instance in resolved.instances.values() {
            let adopted = instance.adopts.map(Vmid::get);
            let of_cluster = stock.vmids.entry(instance.cluster.clone()).or_default();
            of_cluster.extend(adopted);
            for nic in &instance.nics {
                let wanted = nic.wanted.map(u32::from);
                let addresses = stock.addresses.entry(nic.network.clone()).or_default();
                addresses.extend(wanted);
            }
        }
        for (name, cluster) in &resolved.clusters {
            let templates = cluster
                .images
                .values()
                .filter_map(|image| match image.kind {
                    ImageKind::Template(vmid) => Some(vmid),
                    ImageKind::Archive(_) => None,
                });
            let own = templates.chain(cluster.holder).map(Vmid::get);
            stock.vmids.entry(name.clone()).or_default().extend(own);
        }
        stock
    }

    /// Adds what clusters were seen to have.
    fn outside(&mut self, outside: &Outcomes) {
        for (name, outcome) in &outside.clusters {
            let vmids = self.vmids.entry(name.clone()).or_default();
            vmids.extend(&outcome.others.vmids);
            let addresses = outcome.others.addresses.iter();
            self.strangers.extend(addresses.map(|a| u32::from(*a)));
        }
    }
}

pub(super) fn instances(
    world: &World,
    resolved: &Resolved,
    share: &Share<'_>,
    grants: &mut Grants,
) {
    let mut stock = Stock::of(world, resolved);
    if let Some(outside) = share.outside {
        stock.outside(outside.outcomes);
    }
    let (lacking, unable) = share.instances(resolved, &grants.waiting);
    grants.waiting.extend(unable.into_iter().map(Id::Instance));
    let mut given = 0;
    for key in lacking {
        if given >= share.instances {
            grants.waiting.insert(Id::Instance(key));
            grants.more = true;
            continue;
        }
        let instance = &resolved.instances[&key];
        let networks = instance.nics.iter();
        let mut networks = networks.map(|nic| Id::Network(nic.network.clone()));
        let unseen = networks.any(|id| grants.unseen.contains(&id));
        if unseen || !share.sees_instance(resolved, instance) {
            grants.unseen.insert(Id::Instance(key));
            continue;
        }
        match instance_grant(world, resolved, instance, &mut stock, grants) {
            Ok(()) => given += 1,
            Err(problem) => drop(grants.exhausted.insert(Id::Instance(key), problem)),
        }
    }
}

fn instance_grant(
    world: &World,
    resolved: &Resolved,
    instance: &InstanceR,
    stock: &mut Stock,
    grants: &mut Grants,
) -> Result<(), Problem> {
    if instance.vmid.is_some() && instance.nics.iter().all(|nic| nic.recorded.is_some()) {
        return Ok(());
    }
    // A network without numbers has no cursor to write either.
    let without = |nic: &&NicR| {
        grants
            .exhausted
            .contains_key(&Id::Network(nic.network.clone()))
    };
    if let Some(nic) = instance.nics.iter().find(without) {
        return Err(Problem {
            on: ConditionType::ResolvedRefs,
            reason: Reason::Waiting,
            message: format!(
                "spec.networks[{}].network: Network `{}` is not accepted; see its conditions",
                nic.name, nic.network.name
            ),
        });
    }
    let vmid = match instance.vmid.or(instance.adopts) {
        Some(vmid) => vmid.get(),
        None => free_vmid(world, resolved, &instance.cluster, stock, grants)?,
    };
    let mut cards = Vec::new();
    let mut given: Vec<(Key, Ipv4Addr)> = Vec::new();
    for nic in &instance.nics {
        let network = &resolved.networks[&nic.network];
        let address = match nic.recorded.or(nic.wanted) {
            Some(address) => address,
            None => {
                let found = free_address(world, network, stock, &given, grants);
                let address = found.ok_or_else(|| full(&nic.name, network))?;
                given.push((nic.network.clone(), address));
                address
            }
        };
        cards.push(NicStatus {
            name: nic.name.clone(),
            network: nic.network.name.clone(),
            address: address.to_string(),
            mac: mac(&instance.uid, &nic.name),
        });
    }
    for (network, address) in given {
        let raw = u32::from(address);
        let addresses = stock.addresses.entry(network.clone()).or_default();
        addresses.insert(raw);
        grants.addresses.insert(network, Ipv4Addr::from(raw + 1));
    }
    if instance.vmid.is_none() {
        let vmids = stock.vmids.entry(instance.cluster.clone()).or_default();
        vmids.insert(vmid);
        let next = i64::from(vmid) + 1;
        grants.clusters.insert(instance.cluster.clone(), next);
    }
    let grant = InstanceGrant {
        cluster: instance.cluster.clone(),
        vmid,
        addresses: cards,
    };
    grants.instances.insert(instance.key.clone(), grant);
    Ok(())
}

fn free_vmid(
    world: &World,
    resolved: &Resolved,
    cluster: &str,
    stock: &mut Stock,
    grants: &Grants,
) -> Result<u32, Problem> {
    let id = Id::Provider(cluster.to_owned());
    if stock.used_up.contains(&id) {
        return Err(no_vmid());
    }
    let recorded = || world.providers.get(cluster)?.status.as_ref()?.next_vmid;
    let moved = grants.clusters.get(cluster).copied();
    let at = moved.or_else(recorded).unwrap_or(0);
    let none = BTreeSet::new();
    let used = stock.vmids.get(cluster).unwrap_or(&none);
    let found = next_free(resolved.clusters[cluster].vmids, at, used);
    if found.is_none() {
        stock.used_up.insert(id);
    }
    found.ok_or_else(no_vmid)
}

/// The next address beside those that are taken and those `given` a moment ago.
fn free_address(
    world: &World,
    network: &NetworkR,
    stock: &mut Stock,
    given: &[(Key, Ipv4Addr)],
    grants: &Grants,
) -> Option<Ipv4Addr> {
    let id = Id::Network(network.key.clone());
    if stock.used_up.contains(&id) {
        return None;
    }
    let recorded = || {
        let object = world.networks.get(&network.key)?;
        let next = object.status.as_ref()?.next_address.as_ref()?;
        next.parse::<Ipv4Addr>().ok().map(u32::from)
    };
    let moved = grants.addresses.get(&network.key).copied().map(u32::from);
    let just = given.iter().rev().find(|(key, _)| *key == network.key);
    let just = just.map(|(_, address)| u32::from(*address) + 1);
    let (first, last) = hosts(network);
    let start = just
        .or(moved)
        .or_else(recorded)
        .filter(|s| (first..=last).contains(s))
        .unwrap_or(first);
    let none = BTreeSet::new();
    let used = stock.addresses.get(&network.key).unwrap_or(&none);
    let found = (start..=last)
        .chain(first..start)
        .filter(|raw| !used.contains(raw) && !stock.strangers.contains(raw))
        .map(Ipv4Addr::from)
        .find(|address| {
            let twice = given.iter().any(|(k, a)| *k == network.key && a == address);
            !twice && giveable(network, *address)
        });
    if found.is_none() && given.is_empty() {
        stock.used_up.insert(id);
    }
    found
}

fn full(nic: &str, network: &NetworkR) -> Problem {
    Problem {
        on: ConditionType::Accepted,
        reason: Reason::Exhausted,
        message: format!(
            "spec.networks[{nic}].network: {} of Network {} has no address left; give one back there, or use another Network",
            network.prefix, network.key.name
        ),
    }
}
