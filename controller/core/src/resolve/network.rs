//! Turns Networks into prefixes, gateways and the trunks that carry them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use bb_crds::Network;
use bb_crds::ids::{VlanId, Vni};
use ipnet::Ipv4Net;
use kube::ResourceExt;

use super::fabric::{AttachmentR, RegionR, names};
use super::{Id, NetworkR, Problem, Resolved, TrunkKey, TrunkR, allowed, in_force, no_tenant};
use crate::world::{Key, World, deleting, uid};

/// What VXLAN over IPv4 adds to a frame, in bytes (RFC 7348).
const VXLAN_OVERHEAD: u16 = 50;
/// The MTU that guests expect.
const GUEST_MTU: u16 = 1500;

pub(super) fn resolve(world: &World, resolved: &mut Resolved) {
    // Of two that cannot both be, one that is in force as written has the right of way, then
    // the older: what somebody writes today breaks nothing of others.
    let mut by_age: Vec<(&Key, &Arc<Network>)> = world.networks.iter().collect();
    by_age.sort_by_key(|(key, n)| {
        let created = n.creation_timestamp().map(|t| t.0);
        let conditions = n.status.as_ref().map(|s| &s.conditions);
        let in_force = in_force(n.metadata.generation, conditions);
        (!in_force, created, (*key).clone())
    });
    let mut before: Vec<NetworkR> = Vec::new();
    for (key, network) in by_age {
        match network_of(world, resolved, key, network, &before) {
            Ok(network) => {
                before.push(network.clone());
                resolved.networks.insert(key.clone(), network);
            }
            Err(problem) => {
                resolved.problems.insert(Id::Network(key.clone()), problem);
            }
        }
    }
}

fn network_of(
    world: &World,
    resolved: &Resolved,
    key: &Key,
    network: &Network,
    before: &[NetworkR],
) -> Result<NetworkR, Problem> {
    let tenant = world
        .tenant_of(&key.namespace)
        .ok_or_else(|| no_tenant(world, &key.namespace))?;
    let status = network.status.clone().unwrap_or_default();
    let (region_name, region) = region_of(
        resolved,
        network.spec.region.as_ref().or(status.region.as_ref()),
        &tenant.spec.regions,
    )?;
    let ipv4 = Ipv4Side::read(&network.spec.ipv4)?;
    let trunks = trunks_of(resolved, region, &network.spec.zones, &key.namespace);
    let carries = |vlan: &bb_crds::network::TrunkVlan| {
        let on = |t: &TrunkR| t.key.router == vlan.router && t.key.interface == vlan.interface;
        trunks.iter().flatten().any(on)
    };
    if let Some(problem) = resolved.problems.get(&Id::Region(region_name.to_owned()))
        && !status.vlans.iter().all(carries)
    {
        return Err(broken_region(region_name, problem));
    }
    let trunks = trunks?;
    let stretched = trunks.iter().any(|t| t.key.router != trunks[0].key.router);
    let room = if stretched {
        region.mtu.saturating_sub(VXLAN_OVERHEAD)
    } else {
        region.mtu
    };
    let dns = network.spec.dns.clone().unwrap_or_default();
    let understood = NetworkR {
        key: key.clone(),
        uid: uid(network),
        tenant: key.namespace.clone(),
        region: region_name.to_owned(),
        prefix: ipv4.prefix,
        gateway: ipv4.gateway,
        reserved: ipv4.reserved,
        dhcp: ipv4.dhcp,
        dns_servers: dns.servers,
        dns_domain: dns.domain,
        trunks,
        mtu: room.min(GUEST_MTU),
        vni: status
            .vni
            .and_then(|v| u32::try_from(v).ok())
            .and_then(|v| Vni::try_from(v).ok()),
        vlans: status.vlans.iter().filter_map(recorded_vlan).collect(),
    };
    let users = resolved.users.of(key);
    covered(world, &understood, users)?;
    if !deleting(network) {
        pool_is_free(world, &understood, users)?;
        clash(&understood, before)?;
    }
    Ok(understood)
}

/// A Region that lost a way to a router by a slip of the pen takes no network off it.
fn broken_region(name: &str, problem: &Problem) -> Problem {
    Problem::waiting(format!(
        "spec.region: Region `{name}` is not accepted, so nothing is changed; an operator must put it right: {}",
        problem.message
    ))
}

fn recorded_vlan(recorded: &bb_crds::network::TrunkVlan) -> Option<(TrunkKey, VlanId)> {
    let vlan = VlanId::try_from(u32::try_from(recorded.vlan).ok()?).ok()?;
    let key = TrunkKey {
        router: recorded.router.clone(),
        interface: recorded.interface.clone(),
    };
    Some((key, vlan))
}

/// The Region by name; where none is named, the only one that the tenant may use.
pub(super) fn region_of<'a>(
    resolved: &'a Resolved,
    name: Option<&String>,
    tenant_regions: &[String],
) -> Result<(&'a str, &'a RegionR), Problem> {
    let usable: Vec<&String> = resolved
        .regions
        .keys()
        .filter(|r| allowed(tenant_regions, r))
        .collect();
    let name = match (name, usable.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => *only,
        (None, []) => {
            return Err(Problem::not_found(
                "spec.region: there is no Region that this tenant may use; an operator must create one",
            ));
        }
        (None, several) => {
            return Err(Problem::invalid(format!(
                "spec.region: say which Region, one of: {}",
                names(several.iter().copied())
            )));
        }
    };
    if !resolved.regions.contains_key(name)
        && let Some(problem) = resolved.problems.get(&Id::Region(name.clone()))
    {
        return Err(broken_region(name, problem));
    }
    let (name, region) = resolved.regions.get_key_value(name).ok_or_else(|| {
        Problem::not_found(format!(
            "spec.region: there is no Region `{name}`; name one of: {}",
            names(usable.iter().copied())
        ))
    })?;
    if !allowed(tenant_regions, name) {
        return Err(Problem::not_allowed(format!(
            "spec.region: this tenant may not use Region `{name}`; it may use: {}",
            names(usable.iter().copied())
        )));
    }
    Ok((name, region))
}

fn trunks_of(
    resolved: &Resolved,
    region: &RegionR,
    zones: &[String],
    tenant: &str,
) -> Result<Vec<TrunkR>, Problem> {
    let there: BTreeSet<&String> = region.attachments.iter().map(|a| &a.zone).collect();
    if let Some(unknown) = zones.iter().find(|zone| !there.contains(zone)) {
        return Err(Problem::not_found(format!(
            "spec.zones: the Region has no zone `{unknown}`; it has: {}",
            names(there.into_iter())
        )));
    }
    let usable = |a: &&AttachmentR| {
        let cluster = resolved.clusters.get(&a.cluster);
        let router = resolved.routers.get(&a.trunk.router);
        cluster.is_some_and(|c| allowed(&c.tenants, tenant))
            && router.is_some_and(|r| allowed(&r.tenants, tenant))
    };
    let mut trunks: BTreeMap<TrunkKey, TrunkR> = BTreeMap::new();
    let wanted = |a: &&AttachmentR| zones.is_empty() || zones.contains(&a.zone);
    for attachment in region.attachments.iter().filter(wanted).filter(usable) {
        let trunk = trunks
            .entry(attachment.trunk.clone())
            .or_insert_with(|| TrunkR {
                key: attachment.trunk.clone(),
                vlans: attachment.vlans,
                bridges: BTreeMap::new(),
            });
        // A trunk that two clusters share has the VLANs that both may use.
        trunk.vlans.0 = trunk.vlans.0.max(attachment.vlans.0);
        trunk.vlans.1 = trunk.vlans.1.min(attachment.vlans.1);
        trunk
            .bridges
            .insert(attachment.cluster.clone(), attachment.bridge.clone());
    }
    if trunks.is_empty() {
        return Err(Problem::not_allowed(
            "spec.zones: no cluster with a router in these zones may be used by this tenant; an operator must attach one in the Region or allow the tenant in its Providers",
        ));
    }
    Ok(trunks.into_values().collect())
}

struct Ipv4Side {
    prefix: Ipv4Net,
    gateway: Ipv4Addr,
    reserved: Vec<(Ipv4Addr, Ipv4Addr)>,
    dhcp: Option<(Ipv4Addr, Ipv4Addr)>,
}

impl Ipv4Side {
    fn read(spec: &bb_crds::network::Ipv4) -> Result<Self, Problem> {
        let prefix = prefix_of(&spec.prefix)?;
        let host = |field: &str, text: &str| host_in(prefix, field, text);
        let gateway = match &spec.gateway {
            Some(text) => host("gateway", text)?,
            None => Ipv4Addr::from(u32::from(prefix.network()) + 1),
        };
        let range = |field: &str, from: &str, to: &str| {
            let (from, to) = (host(field, from)?, host(field, to)?);
            if from > to {
                return Err(Problem::invalid(format!(
                    "spec.ipv4.{field}: {from} is above {to}; write the lower address first"
                )));
            }
            Ok((from, to))
        };
        let reserved = spec
            .reserved
            .iter()
            .map(|text| {
                let (from, to) = text.split_once('-').unwrap_or((text, text));
                range("reserved", from, to)
            })
            .collect::<Result<_, _>>()?;
        let dhcp = spec
            .dhcp
            .as_ref()
            .map(|pool| range("dhcp", &pool.from, &pool.to))
            .transpose()?;
        if dhcp.is_some_and(|(from, to)| (from..=to).contains(&gateway)) {
            return Err(Problem::invalid(format!(
                "spec.ipv4.dhcp: the pool contains the gateway {gateway}; leave it out"
            )));
        }
        Ok(Self {
            prefix,
            gateway,
            reserved,
            dhcp,
        })
    }
}

fn prefix_of(text: &str) -> Result<Ipv4Net, Problem> {
    let refuse = |what: String| Problem::invalid(format!("spec.ipv4.prefix: {what}"));
    let prefix: Ipv4Net = text.parse().map_err(|_| {
        refuse(format!(
            "`{text}` is not a prefix; write one such as 10.0.0.0/24"
        ))
    })?;
    if !(8..=29).contains(&prefix.prefix_len()) {
        let length = prefix.prefix_len();
        return Err(refuse(format!(
            "/{length} is too much or too little; write a prefix between /8 and /29"
        )));
    }
    if prefix.trunc() != prefix {
        return Err(refuse(format!(
            "{prefix} has host bits; write {}",
            prefix.trunc()
        )));
    }
    // RFC 6890: no host has these as its own on a network.
    let first = prefix.network().octets()[0];
    if first == 0 || first == 127 || first >= 224 {
        return Err(refuse(format!(
            "{prefix} is set aside (RFC 6890); write a private prefix such as 10.0.0.0/24"
        )));
    }
    Ok(prefix)
}

/// An address of a prefix that a host can have.
fn host_in(prefix: Ipv4Net, field: &str, text: &str) -> Result<Ipv4Addr, Problem> {
    let (network, broadcast) = (prefix.network(), prefix.broadcast());
    let refuse = |what: String| {
        let first = Ipv4Addr::from(u32::from(network) + 1);
        let last = Ipv4Addr::from(u32::from(broadcast) - 1);
        Problem::invalid(format!(
            "spec.ipv4.{field}: {what}; choose from {first} to {last}"
        ))
    };
    let address: Ipv4Addr = text
        .parse()
        .map_err(|_| refuse(format!("`{text}` is not an IPv4 address")))?;
    if !prefix.contains(&address) {
        return Err(refuse(format!("{address} is outside {prefix}")));
    }
    if address == network || address == broadcast {
        return Err(refuse(format!(
            "{address} is the network or broadcast address of {prefix}"
        )));
    }
    Ok(address)
}

/// Refuses to leave instances behind: a zone that was taken away, or an attachment that does not
/// hold together just now, must not take the network from guests that run.
fn covered(world: &World, network: &NetworkR, users: &[Key]) -> Result<(), Problem> {
    let reached = |cluster: &String| {
        network
            .trunks
            .iter()
            .any(|t| t.bridges.contains_key(cluster))
    };
    let left: Vec<&String> = users
        .iter()
        .filter(|user| {
            let status = world.instances.get(*user).and_then(|i| i.status.as_ref());
            let cluster = status.and_then(|s| s.cluster.as_ref());
            cluster.is_some_and(|cluster| !reached(cluster))
        })
        .map(|user| &user.name)
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(Problem::waiting(format!(
        "spec.zones: instances {} are where the network would no longer be; delete them or bring the zone back, nothing is changed until then",
        names(left.into_iter())
    )))
}

/// Refuses a pool over addresses that instances have: the server would give them out again.
fn pool_is_free(world: &World, network: &NetworkR, users: &[Key]) -> Result<(), Problem> {
    let Some((from, to)) = network.dhcp else {
        return Ok(());
    };
    let had = |user: &Key| -> Option<Ipv4Addr> {
        let status = world.instances.get(user)?.status.as_ref()?;
        let cards = status.addresses.iter();
        let here = cards.filter(|card| card.network == network.key.name);
        here.filter_map(|card| card.address.parse().ok())
            .find(|address| (from..=to).contains(address))
    };
    let found = users.iter().find_map(|user| Some((user, had(user)?)));
    found.map_or(Ok(()), |(user, address)| {
        Err(Problem::invalid(format!(
            "spec.ipv4.dhcp: the pool contains {address} of instance {}; make the pool smaller",
            user.name
        )))
    })
}

/// Refuses what an older network of the same tenant, or of the same router's DHCP server, has.
fn clash(network: &NetworkR, before: &[NetworkR]) -> Result<(), Problem> {
    let overlaps = |other: &&NetworkR| {
        other.prefix.contains(&network.prefix.network())
            || network.prefix.contains(&other.prefix.network())
    };
    let own = before
        .iter()
        .filter(|o| o.tenant == network.tenant)
        .find(overlaps);
    if let Some(other) = own {
        return Err(Problem::invalid(format!(
            "spec.ipv4.prefix: {} overlaps {} of network {}; networks of one tenant share a VRF, so choose another prefix",
            network.prefix, other.prefix, other.key.name
        )));
    }
    let routers: BTreeSet<&String> = network.trunks.iter().map(|t| &t.key.router).collect();
    let served = before
        .iter()
        .filter(|o| o.dhcp.is_some() && network.dhcp.is_some())
        .filter(overlaps)
        .find(|o| o.trunks.iter().any(|t| routers.contains(&t.key.router)));
    if served.is_some() {
        return Err(Problem::invalid(format!(
            "spec.ipv4.dhcp: a router of this network already serves a pool in {} to another tenant, and VyOS has one DHCP server for all; leave `dhcp` out (instances do not need it) or choose another prefix",
            network.prefix
        )));
    }
    Ok(())
}
