//! Turns tenants and networks into the configuration that one router should have.
//!
//! A tenant is a VRF with an L3VNI and a BGP instance that advertises it by EVPN type 5
//! (RFC 9136). A network is a vif in that VRF where one trunk carries it, and a bridge of
//! vifs, joined over routers by VXLAN with EVPN type 2 and 3 (RFC 8365), where several do.
//! Nothing is rendered per instance.

use std::collections::BTreeSet;

use bb_crds::Network;
use bb_crds::ids::{VlanId, Vni};
use bb_crds::provider::ManagementPolicy;
use bb_crds::tenant::Routing;
use kube::ResourceExt;

use crate::resolve::{NetworkR, Resolved, RouterR, TrunkR};
use crate::vyos::plan::mark;
use crate::vyos::{Claim, Desired, Lines, Path, Root, Want};
use crate::world::{Key, World, deleting, paused, uid};

/// The MTU that an interface has where none is set.
const DEFAULT_MTU: u16 = 1500;

/// Renders one router whole.
#[must_use]
pub fn router(world: &World, resolved: &Resolved, name: &str, installation: &str) -> Desired {
    let mut desired = Desired {
        installation: installation.to_owned(),
        ..Desired::default()
    };
    let Some(target) = resolved.routers.get(name) else {
        return desired;
    };
    let at = At {
        world,
        resolved,
        name,
        target,
        installation,
    };
    let mut vrfs_in_use: BTreeSet<&str> = BTreeSet::new();
    for (key, network) in &world.networks {
        let observe = network.spec.management_policy == ManagementPolicy::Observe;
        let held = observe || resolved.guarded.contains_key(name);
        let want = if paused(network.as_ref()) || (held && deleting(network.as_ref())) {
            Want::Untouched
        } else {
            at.network(key).unwrap_or_else(|| {
                desired.coming.insert(key.clone());
                Want::Untouched
            })
        };
        let there = match want {
            // Nothing is put there for what is only observed, the tenant's VRF neither.
            Want::Present { .. } if observe => applied_on(network, name),
            Want::Present { .. } => true,
            Want::Absent => false,
            // Only what was put here before can still be here.
            Want::Untouched => recorded_on(network, name),
        };
        if there {
            vrfs_in_use.insert(&key.namespace);
        }
        let label = format!("network {key}");
        desired.claims.push(Claim {
            owner: uid(network.as_ref()),
            label,
            tenant: key.namespace.clone(),
            want,
            observe,
        });
    }
    for (tenant_name, tenant) in &world.tenants {
        let routing = tenant.status.iter().flat_map(|s| &s.routing);
        let here = routing.into_iter().find(|r| r.region == target.region);
        let want = match here {
            _ if paused(tenant.as_ref()) => Want::Untouched,
            Some(routing) if vrfs_in_use.contains(tenant_name.as_str()) => {
                at.vrf(routing, &uid(tenant.as_ref()), tenant_name)
            }
            // A network that cannot be understood may be in it.
            _ if world.unread.network_in(tenant_name) => Want::Untouched,
            _ => Want::Absent,
        };
        let label = format!("tenant {}", tenant.name_any());
        desired.claims.push(Claim {
            owner: uid(tenant.as_ref()),
            label,
            tenant: tenant_name.clone(),
            want,
            observe: false,
        });
    }
    desired
}

fn applied_on(network: &Network, router: &str) -> bool {
    let mut targets = network.status.iter().flat_map(|s| &s.targets);
    targets.any(|t| t.name == router && t.applied.is_some())
}

fn recorded_on(network: &Network, router: &str) -> bool {
    let status = network.status.iter();
    status.flat_map(|s| &s.vlans).any(|v| v.router == router)
}

struct At<'a> {
    world: &'a World,
    resolved: &'a Resolved,
    name: &'a str,
    target: &'a RouterR,
    installation: &'a str,
}

impl At<'_> {
    /// What is asked for a network; `None` while its numbers are on their way.
    fn network(&self, key: &Key) -> Option<Want> {
        let object = &self.world.networks[key];
        if deleting(object.as_ref()) && !self.resolved.users.any(key) {
            return Some(Want::Absent);
        }
        // What cannot be understood just now keeps what it has.
        let Some(network) = self.resolved.networks.get(key) else {
            return Some(Want::Untouched);
        };
        if network.region != self.target.region {
            return Some(Want::Absent);
        }
        let here: Vec<&TrunkR> = network
            .trunks
            .iter()
            .filter(|t| t.key.router == self.name)
            .collect();
        let tenant = self.world.tenants.get(&network.tenant);
        let routing = tenant.and_then(|t| {
            t.status
                .as_ref()?
                .routing
                .iter()
                .find(|r| r.region == network.region)
        });
        let vlans: Option<Vec<VlanId>> = here
            .iter()
            .map(|t| network.vlans.get(&t.key).copied())
            .collect();
        match (network.vni, routing, vlans) {
            _ if here.is_empty() => Some(Want::Absent),
            (Some(vni), Some(routing), Some(vlans)) => {
                Some(self.segment(network, vni, &routing.vrf, &here, &vlans))
            }
            // Numbers are recorded before they are used.
            _ => None,
        }
    }

    fn vrf(&self, routing: &Routing, owner: &str, tenant: &str) -> Want {
        let label = format!("tenant {tenant}");
        let mark = mark(self.installation, owner, &label);
        let id = self.target.router_id.to_string();
        let vni = routing.l3vni.to_string();
        let Some(region) = self.resolved.regions.get(&routing.region) else {
            return Want::Untouched;
        };
        let asn = region.asn.to_string();
        let mut node = Node::new(&["vrf", "name", &routing.vrf]);
        node.set(&["description", &mark]);
        node.set(&["table", &routing.table.to_string()]);
        node.set(&["vni", &vni]);
        node.set(&["protocols", "bgp", "system-as", &asn]);
        node.set(&["protocols", "bgp", "parameters", "router-id", &id]);
        let family = ["protocols", "bgp", "address-family"];
        node.set(&[&family[..], &["ipv4-unicast", "redistribute", "connected"]].concat());
        let evpn = [&family[..], &["l2vpn-evpn"]].concat();
        node.set(&[&evpn[..], &["advertise", "ipv4", "unicast"]].concat());
        // An RD that begins with an address has 16 bits for the number (RFC 4364), which a VNI
        // may not fit; a table does, and is the VRF's alone as well.
        let rd = format!("{id}:{}", routing.table);
        node.set(&[&evpn[..], &["rd", &rd]].concat());
        node.set(
            &[
                &evpn[..],
                &["route-target", "import", &routing.route_target],
            ]
            .concat(),
        );
        node.set(
            &[
                &evpn[..],
                &["route-target", "export", &routing.route_target],
            ]
            .concat(),
        );
        let mtu = region.mtu.saturating_sub(50).min(DEFAULT_MTU);
        let vxlan = self.vxlan(&vni, mtu, &mark);
        let mut bridge = Node::new(&["interfaces", "bridge", &format!("br{vni}")]);
        bridge.set(&["description", &mark]);
        bridge.set(&["member", "interface", &format!("vxlan{vni}")]);
        bridge.set(&["vrf", &routing.vrf]);
        bridge.mtu(mtu);
        present([node, vxlan, bridge])
    }

    fn vxlan(&self, vni: &str, mtu: u16, mark: &str) -> Node {
        let mut vxlan = Node::new(&["interfaces", "vxlan", &format!("vxlan{vni}")]);
        vxlan.set(&["description", mark]);
        vxlan.set(&["vni", vni]);
        vxlan.set(&["source-address", &self.target.router_id.to_string()]);
        vxlan.set(&["parameters", "nolearning"]);
        vxlan.mtu(mtu);
        vxlan
    }

    fn segment(
        &self,
        network: &NetworkR,
        vni: Vni,
        vrf: &str,
        trunks: &[&TrunkR],
        vlans: &[VlanId],
    ) -> Want {
        let mark = mark(
            self.installation,
            &network.uid,
            &format!("network {}", network.key),
        );
        let gateway = format!("{}/{}", network.gateway, network.prefix.prefix_len());
        let mut nodes = Vec::new();
        for (trunk, vlan) in trunks.iter().zip(vlans) {
            let interface = trunk.key.interface.as_str();
            let kind = if interface.starts_with("bond") {
                "bonding"
            } else {
                "ethernet"
            };
            let mut vif = Node::new(&["interfaces", kind, interface, "vif", &vlan.to_string()]);
            vif.set(&["description", &mark]);
            vif.mtu(network.mtu);
            if !network.bridged() {
                vif.set(&["address", &gateway]);
                vif.set(&["vrf", vrf]);
            }
            nodes.push(vif);
        }
        if network.bridged() {
            let mut bridge = Node::new(&["interfaces", "bridge", &format!("br{vni}")]);
            bridge.set(&["description", &mark]);
            bridge.set(&["address", &gateway]);
            bridge.set(&["mac", &gateway_mac(vni)]);
            bridge.set(&["vrf", vrf]);
            // Without it a guest that has not spoken yet is not found from another router.
            bridge.set(&["ip", "enable-arp-accept"]);
            bridge.mtu(network.mtu);
            for (trunk, vlan) in trunks.iter().zip(vlans) {
                bridge.set(&[
                    "member",
                    "interface",
                    &format!("{}.{vlan}", trunk.key.interface),
                ]);
            }
            if network.stretched() {
                bridge.set(&["member", "interface", &format!("vxlan{vni}")]);
                let mut vxlan = self.vxlan(&vni.to_string(), network.mtu, &mark);
                vxlan.set(&["parameters", "neighbor-suppress"]);
                nodes.push(vxlan);
            }
            nodes.push(bridge);
        }
        if network.trunks[0].key.router == self.name {
            nodes.extend(dhcp(network, vni, &mark));
        }
        present(nodes)
    }
}

/// The pool that the first router of a network serves. One router only: two servers would
/// give one address twice.
fn dhcp(network: &NetworkR, vni: Vni, mark: &str) -> Option<Node> {
    let (from, to) = network.dhcp?;
    let mut node = Node::new(&[
        "service",
        "dhcp-server",
        "shared-network-name",
        &format!("bb{vni}"),
    ]);
    node.set(&["description", mark]);
    node.set(&["authoritative"]);
    let prefix = network.prefix.to_string();
    let subnet = ["subnet", prefix.as_str()];
    let mut option = |words: &[&str]| node.set(&[&subnet[..], words].concat());
    option(&["subnet-id", &vni.to_string()]);
    option(&["lease", "3600"]);
    option(&["option", "default-router", &network.gateway.to_string()]);
    for server in &network.dns_servers {
        option(&["option", "name-server", server]);
    }
    if let Some(domain) = &network.dns_domain {
        option(&["option", "domain-name", domain]);
    }
    option(&["range", "pool", "start", &from.to_string()]);
    option(&["range", "pool", "stop", &to.to_string()]);
    Some(node)
}

/// The MAC of a network's gateway, the same on every router, so that a guest that moves keeps
/// its neighbour.
fn gateway_mac(vni: Vni) -> String {
    let [_, a, b, c] = vni.get().to_be_bytes();
    format!("02:bb:00:{a:02x}:{b:02x}:{c:02x}")
}

/// A node that is an object's own, and the lines below it.
struct Node {
    root: Path,
    lines: Lines,
}

impl Node {
    fn new(root: &[&str]) -> Self {
        Self {
            root: root.iter().map(|w| (*w).to_owned()).collect(),
            lines: Lines::default(),
        }
    }

    fn set(&mut self, words: &[&str]) {
        let mut line = self.root.clone();
        line.extend(words.iter().map(|w| (*w).to_owned()));
        self.lines.insert(line);
    }

    fn mtu(&mut self, mtu: u16) {
        if mtu != DEFAULT_MTU {
            self.set(&["mtu", &mtu.to_string()]);
        }
    }
}

fn present(nodes: impl IntoIterator<Item = Node>) -> Want {
    let mut roots = Vec::new();
    let mut lines = Lines::default();
    for node in nodes {
        lines.extend(&node.lines);
        roots.push(Root(node.root));
    }
    Want::Present { roots, lines }
}
