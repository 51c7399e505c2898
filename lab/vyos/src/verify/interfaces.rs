//! Turns one interface of a candidate into a verdict, and into a device.

use super::{Part, Refusal, Verdict, crash, refuse};
use crate::kernel::{KINDS, Kernel};
use crate::tree::Node;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The MTU of a device that has none configured.
const DEFAULT_MTU: u32 = 1500;

/// The rules of the interface scripts.
pub(super) fn verify(
    part: &Part<'_>,
    kind: &str,
    name: &str,
    kernel: &Kernel,
    warnings: &mut Vec<String>,
) -> Verdict {
    if kind == "bridge" {
        detaches_only_what_may_go(part, name)?;
    }
    if part.deleting {
        return match (kind, bridge_of(part.new, name)) {
            ("vxlan" | "wireguard" | "dummy", Some(bridge)) => refuse(format!(
                "Interface \"{name}\" cannot be deleted as it is a member of bridge \"{bridge}\"!"
            )),
            _ => Ok(()),
        };
    }
    let config = part.config();
    match kind {
        "bonding" => verify_bonding(part, name, config, kernel),
        "ethernet" => verify_ethernet(part, name, config, kernel),
        "bridge" => {
            exists_vrf(config, kernel)?;
            verify_bridge(part, name, config)
        }
        "vxlan" => verify_vxlan(part, name, config, kernel, warnings),
        "wireguard" => verify_wireguard(part, name, config, kernel),
        _ => verify_plain(part, name, config, kernel),
    }
}

/// Makes, changes or removes the device.
pub(super) fn apply(part: &Part<'_>, kind: &str, name: &str, kernel: &mut Kernel) -> Verdict {
    if part.deleting {
        kernel.put_link(name, None);
        return Ok(());
    }
    let config = part.config();
    if kind == "vxlan"
        && let Some(vni) = config.value(&["vni"])
        && kernel
            .links
            .iter()
            .any(|(other, link)| other != name && link.vni.as_deref() == Some(vni))
    {
        let local = config.value(&["source-address"]).unwrap_or("any");
        return crash(
            "interfaces_vxlan",
            "apply",
            &format!(
                "FileNotFoundError: [Errno 2] failed to run command: ip link add {name} type vxlan \
                 dstport 4789 local {local} id {vni}\nreturned: \nexit code: 2\n"
            ),
        );
    }
    kernel.put_link(name, Some(config));
    Ok(())
}

fn bridge_of<'a>(config: &'a Node, interface: &str) -> Option<&'a str> {
    config
        .below(&["interfaces", "bridge"])
        .find(|(_, bridge)| bridge.get(&["member", "interface", interface]).is_some())
        .map(|(name, _)| name)
}

/// Finds the configuration of an interface, or of one of its VLANs (`eth1.100`).
fn interface<'a>(config: &'a Node, name: &str) -> Option<&'a Node> {
    let (base, vlan) = name
        .split_once('.')
        .map_or((name, None), |(b, v)| (b, Some(v)));
    let found = KINDS
        .iter()
        .find_map(|kind| config.get(&["interfaces", kind, base]))?;
    match vlan {
        None => Some(found),
        Some(vlan) => found.get(&["vif", vlan]),
    }
}

fn exists_vrf(config: &Node, kernel: &Kernel) -> Verdict {
    match config.value(&["vrf"]) {
        Some(vrf) if !kernel.exists(vrf) => refuse(format!("VRF \"{vrf}\" does not exist!")),
        _ => Ok(()),
    }
}

fn verify_vrf(part: &Part<'_>, name: &str, config: &Node, kernel: &Kernel) -> Verdict {
    exists_vrf(config, kernel)?;
    match (config.value(&["vrf"]), bridge_of(part.new, name)) {
        (Some(vrf), Some(bridge)) => refuse(format!(
            "Interface \"{name}\" cannot be both a member of VRF \"{vrf}\" and bridge \"{bridge}\"!"
        )),
        _ => Ok(()),
    }
}

fn verify_address(part: &Part<'_>, name: &str, config: &Node) -> Verdict {
    match bridge_of(part.new, name) {
        Some(bridge) if !config.values(&["address"]).is_empty() => refuse(format!(
            "Cannot assign address to interface \"{name}\" as it is a member of bridge \
             \"{bridge}\"!"
        )),
        _ => Ok(()),
    }
}

fn verify_plain(part: &Part<'_>, name: &str, config: &Node, kernel: &Kernel) -> Verdict {
    verify_vrf(part, name, config, kernel)?;
    verify_address(part, name, config)
}

fn verify_ethernet(part: &Part<'_>, name: &str, config: &Node, kernel: &Kernel) -> Verdict {
    if !kernel.nics.contains(name) {
        let error = "AttributeError: 'Interface' object has no attribute 'iftype'\n";
        return crash("interfaces_ethernet", "verify", error);
    }
    verify_vlans_of(part, name, config, kernel)
}

fn verify_bonding(part: &Part<'_>, name: &str, config: &Node, kernel: &Kernel) -> Verdict {
    for member in config.values(&["member", "interface"]) {
        let cannot = |why: &str| {
            refuse(format!(
                "Can not add interface \"{member}\" to bond, {why}!"
            ))
        };
        if !kernel.exists(member) {
            return refuse(format!("Interface \"{member}\" does not exist!"));
        }
        let Some(found) = interface(part.new, member) else {
            continue;
        };
        if !found.values(&["address"]).is_empty() {
            return cannot("it has an address assigned");
        }
        if found.value(&["vrf"]).is_some() {
            return cannot("it has a VRF assigned");
        }
    }
    verify_vlans_of(part, name, config, kernel)
}

/// The rules of an interface that carries VLANs, and of those.
fn verify_vlans_of(part: &Part<'_>, name: &str, config: &Node, kernel: &Kernel) -> Verdict {
    verify_address(part, name, config)?;
    verify_vrf(part, name, config, kernel)?;
    let mtu = |node: &Node| node.value(&["mtu"]).and_then(|mtu| mtu.parse::<u32>().ok());
    let parent = mtu(config).unwrap_or(DEFAULT_MTU);
    for (vlan, vif) in config.below(&["vif"]) {
        let vlan = format!("{name}.{vlan}");
        verify_address(part, &vlan, vif)?;
        verify_vrf(part, &vlan, vif, kernel)?;
        if let Some(mtu) = mtu(vif).filter(|mtu| *mtu > parent) {
            return refuse(format!(
                "Interface MTU \"{mtu}\" too high, parent interface MTU is \"{parent}\"!"
            ));
        }
    }
    Ok(())
}

fn members(bridge: &Node) -> BTreeSet<&str> {
    bridge
        .below(&["member", "interface"])
        .map(|(name, _)| name)
        .collect()
}

/// A VXLAN with neighbour suppression that stays may not leave its bridge.
fn detaches_only_what_may_go(part: &Part<'_>, name: &str) -> Verdict {
    let Some(old) = part.old.get(&["interfaces", "bridge", name]) else {
        return Ok(());
    };
    let held = members(part.config());
    for gone in members(old)
        .into_iter()
        .filter(|member| !held.contains(member))
    {
        let suppresses = [
            "interfaces",
            "vxlan",
            gone,
            "parameters",
            "neighbor-suppress",
        ];
        if part.new.get(&suppresses).is_some() {
            return refuse(format!(
                "To detach interface {gone} from bridge you must first disable \
                 \"neighbor-suppress\" parameter in the VXLAN interface {gone}"
            ));
        }
    }
    Ok(())
}

fn verify_bridge(part: &Part<'_>, name: &str, config: &Node) -> Verdict {
    let aware = config.get(&["enable-vlan"]).is_some();
    for (member, options) in config.below(&["member", "interface"]) {
        if member == "lo" {
            return refuse("Loopback interface \"lo\" can not be added to a bridge");
        }
        let cannot = |why: String| {
            refuse(format!(
                "Can not add interface \"{member}\" to bridge, {why}!"
            ))
        };
        let other = part
            .new
            .below(&["interfaces", "bridge"])
            .find(|(other, bridge)| {
                *other != name && bridge.get(&["member", "interface", member]).is_some()
            });
        if let Some((other, _)) = other {
            return cannot(format!("it is already a member of bridge \"{other}\""));
        }
        let source_of = part
            .new
            .below(&["interfaces", "vxlan"])
            .find(|(_, vxlan)| vxlan.value(&["source-interface"]) == Some(member));
        if let Some((vxlan, _)) = source_of {
            return cannot(format!("it is the source-interface of \"{vxlan}\""));
        }
        if let Some(found) = interface(part.new, member) {
            if !found.values(&["address"]).is_empty() {
                return cannot("it has an address assigned".to_owned());
            }
            if found.value(&["vrf"]).is_some() {
                return cannot("it has a VRF assigned".to_owned());
            }
            if aware && found.get(&["vif"]).is_some() {
                return cannot("it has VLAN subinterface(s) assigned".to_owned());
            }
        }
        if !aware
            && ["allowed-vlan", "native-vlan"]
                .iter()
                .any(|o| options.get(&[o]).is_some())
        {
            return refuse("Can not use VLAN options on non VLAN aware bridge");
        }
    }
    if aware && config.get(&["vif", "1"]).is_some() {
        return refuse(format!(
            "VLAN 1 sub interface cannot be set for VLAN aware bridge {name}, and VLAN 1 is always \
             the parent interface"
        ));
    }
    if !aware && config.get(&["vif"]).is_some() {
        return refuse(format!(
            "You must first activate \"enable-vlan\" of {name} bridge to use \"vif\""
        ));
    }
    Ok(())
}

fn verify_vxlan(
    part: &Part<'_>,
    name: &str,
    config: &Node,
    kernel: &Kernel,
    warnings: &mut Vec<String>,
) -> Verdict {
    let mtu = config
        .value(&["mtu"])
        .and_then(|mtu| mtu.parse().ok())
        .unwrap_or(DEFAULT_MTU);
    if mtu < DEFAULT_MTU {
        warnings.push("RFC7348 recommends VXLAN tunnels preserve a 1500 byte MTU".to_owned());
    }
    let source = config.value(&["source-interface"]);
    if config.get(&["group"]).is_some() && source.is_none() {
        return refuse("Multicast VXLAN requires an underlaying interface");
    }
    let remote = ["group", "remote", "source-address", "source-interface"];
    if !remote.iter().any(|leaf| config.get(&[leaf]).is_some()) {
        return refuse("Group, remote, source-address or source-interface must be configured");
    }
    verify_vni(part, name, config)?;
    if let Some(source) = source {
        verify_underlay(source, mtu, config, kernel)?;
    }
    let bridge = bridge_of(part.new, name);
    if config.get(&["vlan-to-vni"]).is_some() {
        if bridge.is_none() {
            return refuse(
                "VLAN to VNI mapping requires that VXLAN interface is member of a bridge \
                 interface!",
            );
        }
        verify_vlans(config)?;
    }
    if config.get(&["parameters", "neighbor-suppress"]).is_some() && bridge.is_none() {
        return refuse(
            "Neighbor suppression requires that VXLAN interface is member of a bridge interface!",
        );
    }
    verify_address(part, name, config)?;
    exists_vrf(config, kernel)?;
    match (config.value(&["vrf"]), bridge) {
        (Some(_), Some(_)) => refuse(format!(
            "Can not add interface \"{name}\" to bridge, it has a VRF assigned!"
        )),
        _ => Ok(()),
    }
}

fn verify_vni(part: &Part<'_>, name: &str, config: &Node) -> Verdict {
    let external = config.get(&["parameters", "external"]).is_some();
    match (config.get(&["vni"]).is_some(), external) {
        (false, false) => {
            return refuse("Must either configure VXLAN \"vni\" or use \"external\" CLI option!");
        }
        (true, true) => return refuse("Can not specify both \"external\" and \"VNI\"!"),
        _ => {}
    }
    let filtered = |vxlan: &Node| vxlan.get(&["parameters", "vni-filter"]).is_some();
    let others: Vec<(&str, &Node)> = part
        .new
        .below(&["interfaces", "vxlan"])
        .filter(|(other, _)| *other != name)
        .collect();
    if external && !others.is_empty() {
        let others_filtered = others.iter().all(|(_, other)| filtered(other));
        if filtered(config) != others_filtered {
            return refuse(
                "Using multiple VXLAN interfaces with \"external\" requires all VXLAN interfaces \
                 to have \"vni-filter\" configured!",
            );
        }
        if !filtered(config) {
            let names: Vec<&str> = others.iter().map(|(other, _)| *other).collect();
            return refuse(format!(
                "Only one VXLAN tunnel is supported when \"external\" CLI option is used and \
                 \"vni-filter\" is unset. Additional tunnels: {}",
                names.join(", ")
            ));
        }
    }
    Ok(())
}

fn verify_underlay(source: &str, mtu: u32, config: &Node, kernel: &Kernel) -> Verdict {
    if !kernel.exists(source) {
        let error = "AttributeError: 'Interface' object has no attribute 'iftype'\n";
        return crash("interfaces_vxlan", "verify", error);
    }
    let six = config
        .values(&["remote"])
        .iter()
        .chain(config.values(&["source-address"]))
        .any(|address| {
            address
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_ipv6())
        });
    let overhead = if six { 70 } else { 50 };
    let lower = kernel
        .links
        .get(source)
        .and_then(|link| link.mtu)
        .unwrap_or(DEFAULT_MTU);
    if lower < mtu + overhead {
        return refuse(format!(
            "Underlaying device MTU is to small ({lower} bytes) for VXLAN overhead ({overhead} \
             bytes!)"
        ));
    }
    Ok(())
}

fn verify_vlans(config: &Node) -> Verdict {
    let mut used = BTreeSet::new();
    for (vlan, mapping) in config.below(&["vlan-to-vni"]) {
        let Some(vni) = mapping.value(&["vni"]) else {
            return refuse(format!("Must define VNI for VLAN \"{vlan}\"!"));
        };
        if !used.insert(vni) {
            return refuse(format!(
                "VNI \"{vni}\" is already assigned to a different VLAN!"
            ));
        }
    }
    Ok(())
}

fn verify_wireguard(part: &Part<'_>, name: &str, config: &Node, kernel: &Kernel) -> Verdict {
    verify_address(part, name, config)?;
    verify_vrf(part, name, config, kernel)?;
    if config.value(&["private-key"]).is_none() {
        return refuse("Wireguard private-key not defined");
    }
    if config
        .get(&["peer"])
        .is_none_or(|peers| peers.children.is_empty())
    {
        return refuse("At least one Wireguard peer is required!");
    }
    let mut keys = BTreeSet::new();
    for (peer, settings) in config.below(&["peer"]) {
        let has = |leaf: &str| settings.get(&[leaf]).is_some();
        if !has("allowed-ips") {
            return refuse(format!(
                "Wireguard allowed-ips required for peer \"{peer}\"!"
            ));
        }
        let Some(key) = settings.value(&["public-key"]) else {
            return refuse(format!(
                "Wireguard public-key required for peer \"{peer}\"!"
            ));
        };
        if has("address") != has("port") {
            return refuse(format!(
                "Both Wireguard port and address must be defined for peer \"{peer}\" if either one \
                 of them is set!"
            ));
        }
        if !keys.insert(key) {
            return Err(Refusal::Config(format!(
                "Duplicate public-key defined on peer \"{peer}\""
            )));
        }
    }
    Ok(())
}
