//! Turns the firewall of a candidate into warnings and a verdict.

use super::{Part, Verdict, refuse};
use crate::tree::Node;
use std::collections::BTreeMap;

/// The rules of the firewall script that chains, groups and zones of a tenant can break.
pub(super) fn verify(part: &Part<'_>, warnings: &mut Vec<String>) -> Verdict {
    if part.deleting {
        return Ok(());
    }
    let firewall = part.config();
    for kind in [
        "address-group",
        "network-group",
        "port-group",
        "interface-group",
        "mac-group",
    ] {
        for (_, group) in firewall.below(&["group", kind]) {
            for included in group.values(&["include"]) {
                if firewall.get(&["group", kind, included.as_str()]).is_none() {
                    return refuse(format!("Nested group \"{included}\" does not exist"));
                }
            }
        }
    }
    for family in ["ipv4", "ipv6"] {
        for (hook, chains) in firewall.below(&[family]) {
            for (name, chain) in chains.below(&[]) {
                if hook == "name" {
                    verify_default(firewall, family, name, chain)?;
                }
                for (_, rule) in chain.below(&["rule"]) {
                    verify_rule(firewall, family, rule, warnings)?;
                }
            }
        }
    }
    verify_zones(firewall)
}

fn verify_default(firewall: &Node, family: &str, name: &str, chain: &Node) -> Verdict {
    let jumps = chain.value(&["default-action"]) == Some("jump");
    match (jumps, chain.value(&["default-jump-target"])) {
        (true, None) => refuse("default-action set to jump, but no default-jump-target specified"),
        (false, Some(_)) => refuse(
            "default-jump-target defined, but default-action jump needed and it is not defined",
        ),
        (true, Some(target)) if target == name => refuse("Loop detected on default-jump-target."),
        (true, Some(target)) if firewall.get(&[family, "name", target]).is_none() => refuse(
            format!("Invalid jump-target. Firewall name {target} does not exist on the system"),
        ),
        _ => Ok(()),
    }
}

fn verify_rule(firewall: &Node, family: &str, rule: &Node, warnings: &mut Vec<String>) -> Verdict {
    let Some(action) = rule.value(&["action"]) else {
        return refuse("Rule action must be defined");
    };
    let target = rule.value(&["jump-target"]);
    match (action == "jump", target) {
        (true, None) => return refuse("Action set to jump, but no jump-target specified"),
        (false, Some(_)) => {
            return refuse("jump-target defined, but action jump needed and it is not defined");
        }
        (true, Some(target)) if firewall.get(&[family, "name", target]).is_none() => {
            return refuse(format!(
                "Invalid jump-target. Firewall {family} name {target} does not exist on the system"
            ));
        }
        _ => {}
    }
    let protocol = rule.value(&["protocol"]);
    if protocol == Some("icmp") && family == "ipv6" {
        return refuse("Cannot match IPv4 ICMP protocol on IPv6, use ipv6-icmp");
    }
    for side in ["destination", "source"] {
        let Some(config) = rule.get(&[side]) else {
            continue;
        };
        if config.get(&["address"]).is_some() && config.get(&["fqdn"]).is_some() {
            return refuse("Only one of address, fqdn or geoip can be specified");
        }
        for (kind, leaf) in config.below(&["group"]) {
            verify_group(firewall, kind, leaf, warnings)?;
        }
        let (port, group) = (
            config.get(&["port"]).is_some(),
            config.get(&["group", "port-group"]).is_some(),
        );
        if port && group {
            return refuse(format!("{side} port-group and port cannot both be defined"));
        }
        match protocol {
            None if port || group => {
                return refuse("Protocol must be defined if specifying a port or port-group");
            }
            Some(protocol) if (port || group) && !["tcp", "udp", "tcp_udp"].contains(&protocol) => {
                return refuse(
                    "Protocol must be tcp, udp, or tcp_udp when specifying a port or port-group",
                );
            }
            _ => {}
        }
    }
    for direction in ["inbound-interface", "outbound-interface"] {
        if let Some(group) = rule.value(&[direction, "group"]) {
            let group = group.strip_prefix('!').unwrap_or(group);
            if firewall.get(&["group", "interface-group", group]).is_none() {
                return refuse(format!(
                    "Invalid interface group \"{group}\" on firewall rule"
                ));
            }
        }
    }
    Ok(())
}

fn verify_group(firewall: &Node, kind: &str, leaf: &Node, warnings: &mut Vec<String>) -> Verdict {
    let name = leaf.values.first().map(String::as_str).unwrap_or_default();
    let name = name.strip_prefix('!').unwrap_or(name);
    match firewall.get(&["group", kind, name]) {
        None => return refuse(format!("Invalid {kind} \"{name}\" on firewall rule")),
        Some(group) if group.children.is_empty() => {
            warnings.push(format!("{kind} \"{name}\" has no members!"));
        }
        Some(_) => {}
    }
    Ok(())
}

fn verify_zones(firewall: &Node) -> Verdict {
    let mut zone_of: BTreeMap<&str, &str> = BTreeMap::new();
    for (zone, config) in firewall.below(&["zone"]) {
        let interfaces = config.values(&["interface"]);
        let local = config.get(&["local-zone"]).is_some();
        if !local && interfaces.is_empty() {
            return refuse(format!(
                "Zone \"{zone}\" has no interfaces and is not the local zone"
            ));
        }
        if local && !interfaces.is_empty() {
            return refuse("Local zone cannot have interfaces assigned");
        }
        for interface in interfaces {
            if zone_of.insert(interface, zone).is_some() {
                return refuse("Interfaces cannot be assigned to multiple zones");
            }
        }
        for (from, settings) in config.below(&["from"]) {
            if firewall.get(&["zone", from]).is_none() {
                return refuse(format!(
                    "Zone \"{zone}\" refers to a non-existent or deleted zone \"{from}\""
                ));
            }
            if let Some(name) = settings.value(&["firewall", "name"])
                && firewall.get(&["ipv4", "name", name]).is_none()
            {
                return refuse(format!("Firewall name \"{name}\" does not exist"));
            }
        }
    }
    Ok(())
}
