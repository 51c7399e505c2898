//! Turns Instances into guests of a cluster, with cards in networks and volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use bb_crds::Instance;
use bb_crds::ids::Vmid;
use bb_crds::instance::InstanceType;
use kube::ResourceExt;

use super::fabric::{ImageKind, ImageR, names};
use super::{
    Id, InstanceR, NetworkR, NicR, Problem, Resolved, allowed, no_tenant, recorded_vmid, volume,
};
use crate::world::{Key, World, deleting, uid};

/// Which instance has which address of which network, and on which card.
type Taken = BTreeMap<(Key, Ipv4Addr), (Key, String)>;

/// Which instance has which guest of which cluster.
type Guests = BTreeMap<(String, Vmid), Key>;

pub(super) fn resolve(world: &World, resolved: &mut Resolved) {
    let users = volume::users(world);
    let mut load: BTreeMap<String, usize> = BTreeMap::new();
    let mut taken: Taken = BTreeMap::new();
    let mut guests: Guests = BTreeMap::new();
    for (key, instance) in &world.instances {
        let status = instance.status.as_ref();
        if let Some(cluster) = status.and_then(|s| s.cluster.as_ref()) {
            *load.entry(cluster.clone()).or_default() += 1;
            let vmid = recorded_vmid(status.and_then(|s| s.provider_id.as_deref()));
            guests.extend(vmid.map(|vmid| ((cluster.clone(), vmid), key.clone())));
        }
        for nic in status.iter().flat_map(|s| &s.addresses) {
            if let Ok(address) = nic.address.parse() {
                let network = Key::new(&key.namespace, &nic.network);
                taken
                    .entry((network, address))
                    .or_insert_with(|| (key.clone(), nic.name.clone()));
            }
        }
    }
    for (namespace, holds) in world.unread.holds() {
        for (cluster, vmid) in &holds.vmids {
            let vmid = Vmid::try_from(*vmid).ok();
            let whose = Key::new(namespace, "(one that cannot be understood)");
            guests.extend(vmid.map(|vmid| ((cluster.clone(), vmid), whose)));
        }
    }
    let mut by_age: Vec<(&Key, &Arc<Instance>)> = world.instances.iter().collect();
    by_age.sort_by_key(|(key, i)| (i.creation_timestamp().map(|t| t.0), (*key).clone()));
    for (key, instance) in by_age {
        if deleting(instance.as_ref()) {
            continue;
        }
        let reading = Reading {
            world,
            resolved,
            key,
            instance,
            users: &users,
        };
        match reading.instance(&load, &mut taken, &mut guests) {
            Ok(understood) => {
                if understood.vmid.is_none() {
                    *load.entry(understood.cluster.clone()).or_default() += 1;
                }
                resolved.instances.insert(key.clone(), understood);
            }
            Err(problem) => {
                resolved.problems.insert(Id::Instance(key.clone()), problem);
            }
        }
    }
}

struct Reading<'a> {
    world: &'a World,
    resolved: &'a Resolved,
    key: &'a Key,
    instance: &'a Instance,
    users: &'a BTreeMap<Key, Key>,
}

impl Reading<'_> {
    fn instance(
        &self,
        load: &BTreeMap<String, usize>,
        taken: &mut Taken,
        guests: &mut Guests,
    ) -> Result<InstanceR, Problem> {
        let spec = &self.instance.spec;
        let status = self.instance.status.clone().unwrap_or_default();
        self.world
            .tenant_of(&self.key.namespace)
            .ok_or_else(|| no_tenant(self.world, &self.key.namespace))?;
        let networks = self.networks()?;
        let volumes = self.volumes()?;
        let cluster = self.cluster(&networks, &volumes, load)?;
        let adopts = self.adopts();
        if let Some(vmid) = adopts {
            self.claim(vmid, &cluster, guests)?;
        }
        let image = self.image(&cluster)?;
        let nics = self.nics(&networks, taken)?;
        let memory_mib = spec
            .memory
            .mebibytes()
            .map_err(|error| Problem::invalid(format!("spec.memory: {error}")))?;
        let disk_gib = spec
            .disk
            .as_ref()
            .map(bb_crds::Size::gibibytes)
            .transpose()
            .map_err(|error| Problem::invalid(format!("spec.disk: {error}")))?;
        Ok(InstanceR {
            key: self.key.clone(),
            uid: uid(self.instance),
            region: networks[0].region.clone(),
            kind: spec.type_,
            cluster,
            image,
            cores: u32::try_from(spec.cpu).unwrap_or(1),
            memory_mib,
            disk_gib,
            nics,
            volumes,
            ssh_keys: spec.ssh_keys.clone(),
            power: spec.power,
            vmid: recorded_vmid(status.provider_id.as_deref()),
            adopts,
        })
    }

    fn networks(&self) -> Result<Vec<&NetworkR>, Problem> {
        let mut networks: Vec<&NetworkR> = Vec::new();
        for nic in &self.instance.spec.networks {
            let key = Key::new(&self.key.namespace, &nic.network);
            let Some(network) = self.resolved.networks.get(&key) else {
                let field = format!("spec.networks[{}].network", nic.name);
                return Err(if self.world.networks.contains_key(&key) {
                    Problem::waiting(format!(
                        "{field}: Network `{}` is not accepted; see its conditions",
                        nic.network
                    ))
                } else {
                    let there = self.world.networks.keys();
                    let there = there.filter(|k| k.namespace == self.key.namespace);
                    Problem::not_found(format!(
                        "{field}: there is no Network `{}` in {}; create it, or name one of: {}",
                        nic.network,
                        self.key.namespace,
                        names(there.map(|k| &k.name))
                    ))
                });
            };
            if self
                .world
                .networks
                .get(&key)
                .is_some_and(|n| deleting(n.as_ref()))
            {
                return Err(Problem::waiting(format!(
                    "spec.networks[{}].network: Network `{}` is being deleted; take the card away, or name another",
                    nic.name, nic.network
                )));
            }
            networks.push(network);
        }
        let first = networks
            .first()
            .ok_or_else(|| Problem::invalid("spec.networks: give one"))?;
        if let Some(other) = networks.iter().find(|n| n.region != first.region) {
            return Err(Problem::invalid(format!(
                "spec.networks: {} is in Region {} and {} in {}; an instance is in one Region",
                first.key.name, first.region, other.key.name, other.region
            )));
        }
        Ok(networks)
    }

    fn volumes(&self) -> Result<Vec<Key>, Problem> {
        let mut volumes = Vec::new();
        for used in &self.instance.spec.volumes {
            let field = format!("spec.volumes[{}].volume", used.name);
            let key = Key::new(&self.key.namespace, &used.volume);
            if !self.world.volumes.contains_key(&key) {
                let there = self.world.volumes.keys();
                let there = there.filter(|k| k.namespace == self.key.namespace);
                return Err(Problem::not_found(format!(
                    "{field}: there is no Volume `{}` in {}; create it, or name one of: {}",
                    used.volume,
                    self.key.namespace,
                    names(there.map(|k| &k.name))
                )));
            }
            if let Some(user) = self.users.get(&key).filter(|user| *user != self.key) {
                return Err(Problem::not_allowed(format!(
                    "{field}: Volume `{}` is attached to instance {}; take it off there first",
                    used.volume, user.name
                )));
            }
            let object = &self.world.volumes[&key];
            let status = object.status.as_ref();
            let attached = status.and_then(|s| s.attached_to.as_ref());
            let has = attached.is_some_and(|a| a.instance == self.key.name);
            if deleting(object.as_ref()) && !has {
                return Err(Problem::waiting(format!(
                    "{field}: Volume `{}` is being deleted; take it away, or name another",
                    used.volume
                )));
            }
            let understood = self.resolved.volumes.contains_key(&key)
                || self.resolved.unplaced.contains_key(&key);
            if !understood {
                return Err(Problem::waiting(format!(
                    "{field}: Volume `{}` is not accepted; see its conditions",
                    used.volume
                )));
            }
            volumes.push(key);
        }
        Ok(volumes)
    }

    /// The recorded cluster, or the least loaded one that can see every network and volume.
    fn cluster(
        &self,
        networks: &[&NetworkR],
        volumes: &[Key],
        load: &BTreeMap<String, usize>,
    ) -> Result<String, Problem> {
        let spec = &self.instance.spec;
        let status = self.instance.status.as_ref();
        let zone = spec.placement.as_ref().and_then(|p| p.zone.as_ref());
        let on = |network: &NetworkR, cluster: &String| {
            network
                .trunks
                .iter()
                .any(|t| t.bridges.contains_key(cluster))
        };
        let mut places: BTreeSet<&String> = self
            .resolved
            .clusters
            .iter()
            .filter(|(_, c)| allowed(&c.tenants, &self.key.namespace))
            .map(|(name, _)| name)
            .collect();
        if let Some(recorded) = status.and_then(|s| s.cluster.as_ref()) {
            places.retain(|name| *name == recorded);
            if places.is_empty() {
                return Err(Problem::not_found(format!(
                    "the instance is on cluster `{recorded}`, whose Provider is gone or no longer allows this tenant"
                )));
            }
        }
        for (nic, network) in spec.networks.iter().zip(networks) {
            places.retain(|name| on(network, name));
            if places.is_empty() {
                return Err(Problem::not_allowed(format!(
                    "spec.networks[{}].network: {} is in no zone that its other networks share; add the zone to spec.zones of the Network",
                    nic.name, nic.network
                )));
            }
        }
        if let Some(vmid) = self.adopts() {
            self.where_it_may_adopt(vmid, &mut places)?;
        }
        if status.is_none_or(|s| s.cluster.is_none()) {
            self.without_leaving(&mut places)?;
        }
        if let Some(zone) = zone {
            places.retain(|name| self.resolved.clusters[*name].zone == *zone);
            if places.is_empty() {
                return Err(Problem::not_found(format!(
                    "spec.placement.zone: its networks are not in zone `{zone}`; name another zone, or add it to spec.zones of the Networks"
                )));
            }
        }
        self.with_volumes(volumes, &mut places)?;
        let offering = |name: &&&String| {
            self.resolved.clusters[**name]
                .images
                .contains_key(&spec.image)
        };
        let chosen = places
            .iter()
            .filter(offering)
            .min_by_key(|name| (load.get(**name).copied().unwrap_or(0), (**name).clone()));
        chosen.map(|name| (*name).clone()).ok_or_else(|| {
            let offered: BTreeSet<&String> = places
                .iter()
                .flat_map(|name| self.resolved.clusters[*name].images.keys())
                .collect();
            Problem::not_found(format!(
                "spec.image: there is no image `{}` where this instance can be; there are: {}",
                spec.image,
                names(offered.into_iter())
            ))
        })
    }

    /// Only where every volume is, or can be put.
    fn with_volumes(&self, volumes: &[Key], places: &mut BTreeSet<&String>) -> Result<(), Problem> {
        for key in volumes {
            let at = self
                .resolved
                .volumes
                .get(key)
                .map(|v| vec![v.cluster.clone()]);
            let at = at.or_else(|| self.resolved.unplaced.get(key).map(|d| d.clusters.clone()));
            places.retain(|name| at.as_ref().is_some_and(|at| at.contains(*name)));
            if places.is_empty() {
                return Err(Problem::not_allowed(format!(
                    "spec.volumes: Volume `{}` is on {}, where this instance cannot be; put the instance in its zone, or use another Volume",
                    key.name,
                    names(at.unwrap_or_default().iter())
                )));
            }
        }
        Ok(())
    }

    /// The VMID of the guest that it takes over.
    fn adopts(&self) -> Option<Vmid> {
        let adopt = self.instance.spec.adopt.as_ref()?;
        Vmid::try_from(u32::try_from(adopt.vmid).ok()?).ok()
    }

    /// The one cluster on which an operator lets the tenant take this guest over. Once it was,
    /// it is the Instance's, whatever the Provider says.
    fn where_it_may_adopt(
        &self,
        vmid: Vmid,
        places: &mut BTreeSet<&String>,
    ) -> Result<(), Problem> {
        let status = self.instance.status.as_ref();
        if status.is_some_and(|s| s.applied.is_some()) {
            return Ok(());
        }
        let tenant = &self.key.namespace;
        places.retain(|name| self.resolved.clusters[*name].may_adopt(tenant, vmid));
        let zone = self.instance.spec.placement.as_ref();
        let zone = zone.and_then(|p| p.zone.as_ref());
        let named = |name: &&String| zone.is_none_or(|z| self.resolved.clusters[*name].zone == *z);
        match places.iter().filter(|name| named(name)).count() {
            0 => Err(Problem::not_allowed(format!(
                "spec.adopt.vmid: no cluster here lets this tenant adopt VMID {vmid}; an operator must add it to spec.proxmox.adoptable of the cluster's Provider"
            ))),
            1 => Ok(()),
            _ => Err(Problem::invalid(format!(
                "spec.adopt.vmid: several clusters let this tenant adopt VMID {vmid}; say which by spec.placement.zone"
            ))),
        }
    }

    /// Takes a guest for this instance, if no other has it.
    fn claim(&self, vmid: Vmid, cluster: &str, guests: &mut Guests) -> Result<(), Problem> {
        let first = guests
            .entry((cluster.to_owned(), vmid))
            .or_insert_with(|| self.key.clone());
        if first == self.key {
            return Ok(());
        }
        let whose = if first.namespace == self.key.namespace {
            format!("Instance `{}`'s", first.name)
        } else {
            "another tenant's".to_owned()
        };
        Err(Problem::conflict(format!(
            "spec.adopt.vmid: VMID {vmid} is {whose}; name another guest, or delete that Instance"
        )))
    }

    /// Nothing new is put on a cluster whose Provider is being deleted: it would never go.
    fn without_leaving(&self, places: &mut BTreeSet<&String>) -> Result<(), Problem> {
        let all = places.clone();
        places.retain(|name| !self.resolved.clusters[*name].leaving);
        if places.is_empty() {
            return Err(Problem::waiting(format!(
                "spec.networks: they are on cluster {} only, whose Provider is being deleted; name other networks, or have an operator attach another cluster",
                names(all.into_iter())
            )));
        }
        Ok(())
    }

    fn image(&self, cluster: &str) -> Result<ImageR, Problem> {
        let spec = &self.instance.spec;
        let mut image = self.resolved.clusters[cluster].images[&spec.image].clone();
        match (&image.kind, spec.type_) {
            (ImageKind::Template(_), InstanceType::VirtualMachine) => {}
            (ImageKind::Archive(_), InstanceType::Container) => {
                let first = self.resolved.clusters[cluster]
                    .storage(None)
                    .map(str::to_owned);
                image.storage = image.storage.or(first);
                if image.storage.is_none() {
                    return Err(Problem::not_found(format!(
                        "spec.image: cluster {cluster} has no storage class for a container's root; an operator must add one to spec.proxmox.storage"
                    )));
                }
            }
            (ImageKind::Template(_), InstanceType::Container) => {
                return Err(Problem::invalid(format!(
                    "spec.image: `{}` is a virtual machine's; leave `type` out, or choose a container's image",
                    spec.image
                )));
            }
            (ImageKind::Archive(_), InstanceType::VirtualMachine) => {
                return Err(Problem::invalid(format!(
                    "spec.image: `{}` is a container's; say `type: Container`, or choose a virtual machine's image",
                    spec.image
                )));
            }
        }
        Ok(image)
    }

    fn nics(&self, networks: &[&NetworkR], taken: &mut Taken) -> Result<Vec<NicR>, Problem> {
        let status = self.instance.status.clone().unwrap_or_default();
        let mut nics = Vec::new();
        for (nic, network) in self.instance.spec.networks.iter().zip(networks) {
            let recorded = status
                .addresses
                .iter()
                .find(|a| a.name == nic.name && a.network == nic.network)
                .and_then(|a| a.address.parse().ok());
            let wanted = nic
                .address
                .as_ref()
                .map(|text| self.wanted(&nic.name, text, network, recorded, taken))
                .transpose()?;
            if let Some(address) = wanted {
                let holder = (self.key.clone(), nic.name.clone());
                taken.insert((network.key.clone(), address), holder);
            }
            nics.push(NicR {
                name: nic.name.clone(),
                network: network.key.clone(),
                wanted,
                recorded,
            });
        }
        Ok(nics)
    }

    /// An address that the user asks for, if it can be had.
    fn wanted(
        &self,
        nic: &str,
        text: &str,
        network: &NetworkR,
        recorded: Option<Ipv4Addr>,
        taken: &Taken,
    ) -> Result<Ipv4Addr, Problem> {
        let field = format!("spec.networks[{nic}].address");
        let refuse = |what: String| {
            Problem::invalid(format!("{field}: {what}; choose another, or leave it out"))
        };
        let address: Ipv4Addr = text
            .parse()
            .map_err(|_| refuse(format!("`{text}` is not an IPv4 address")))?;
        // What was given once stays, whatever is set aside since.
        if recorded == Some(address) {
            return Ok(address);
        }
        let within = |(from, to): &(Ipv4Addr, Ipv4Addr)| (*from..=*to).contains(&address);
        if !network.prefix.contains(&address) {
            return Err(refuse(format!(
                "{address} is outside {} of {}",
                network.prefix, network.key.name
            )));
        }
        if address == network.prefix.network() || address == network.prefix.broadcast() {
            return Err(refuse(format!(
                "{address} is the network or broadcast address"
            )));
        }
        if address == network.gateway {
            return Err(refuse(format!("{address} is the gateway")));
        }
        if network.dhcp.as_ref().is_some_and(within) {
            return Err(refuse(format!(
                "{address} is in the pool that DHCP gives out"
            )));
        }
        if network.reserved.iter().any(within) {
            return Err(refuse(format!(
                "{address} is reserved in {}",
                network.key.name
            )));
        }
        // A card that is no longer asked for gives its address to another of the same instance.
        let still_asked = |card: &String| {
            let mut cards = self.instance.spec.networks.iter();
            cards.any(|c| c.name == *card && c.network == network.key.name)
        };
        match taken.get(&(network.key.clone(), address)) {
            Some((other, _)) if other != self.key => {
                Err(refuse(format!("{address} is instance {}'s", other.name)))
            }
            Some((_, card)) if card != nic && still_asked(card) => {
                Err(refuse(format!("{address} is card {card}'s")))
            }
            _ => Ok(address),
        }
    }
}
