//! Turns the DHCP server of a candidate into a verdict.

use super::{Part, Verdict, refuse};
use crate::kernel::Kernel;
use crate::tree::Node;
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// What must be unique over the whole server.
#[derive(Default)]
struct Seen<'a> {
    ids: BTreeSet<&'a str>,
    subnets: Vec<(&'a str, Ipv4Net)>,
    connected: bool,
}

/// The rules of the DHCP server script.
pub(super) fn verify(part: &Part<'_>, kernel: &Kernel) -> Verdict {
    let server = part.config();
    if part.deleting || server.get(&["disable"]).is_some() {
        return Ok(());
    }
    if server.get(&["shared-network-name"]).is_none() {
        return refuse(
            "No DHCP shared networks configured. At least one DHCP shared network must be \
             configured.",
        );
    }
    let mut seen = Seen::default();
    for (network, config) in server.below(&["shared-network-name"]) {
        if config.get(&["subnet"]).is_none() {
            return refuse(format!(
                "No subnets defined for {network}. At least one lease subnet must be configured."
            ));
        }
        for (subnet, config) in config.below(&["subnet"]) {
            verify_subnet(network, subnet, config, &mut seen, kernel)?;
        }
    }
    let enabled = |(_, network): (&str, &Node)| network.get(&["disable"]).is_none();
    if !server.below(&["shared-network-name"]).any(enabled) {
        return refuse("At least one shared network must be active!");
    }
    verify_listening(server, seen.connected, kernel)
}

fn verify_subnet<'a>(
    network: &str,
    subnet: &'a str,
    config: &'a Node,
    seen: &mut Seen<'a>,
    kernel: &Kernel,
) -> Verdict {
    let Some(id) = config.value(&["subnet-id"]) else {
        return refuse(format!(
            "Unique subnet ID not specified for subnet \"{subnet}\""
        ));
    };
    if !seen.ids.insert(id) {
        return refuse(format!("Subnet ID for subnet \"{subnet}\" is not unique"));
    }
    let Ok(net) = subnet.parse::<Ipv4Net>() else {
        return refuse(format!(
            "'{subnet}' does not appear to be an IPv4 or IPv6 network"
        ));
    };
    let place = format!("shared-network \"{network}, {subnet}\"!");
    verify_ranges(config, net, &place)?;
    for exclude in config.values(&["exclude"]) {
        if !inside(net, exclude) {
            return refuse(format!(
                "Excluded IP address \"{exclude}\" not within {place}"
            ));
        }
    }
    if config.get(&["range"]).is_none() && config.get(&["static-mapping"]).is_none() {
        return refuse(format!(
            "No DHCP address range or active static-mapping configured within {place}"
        ));
    }
    verify_mappings(config, net, &place)?;
    seen.connected |= kernel.links.values().any(|link| {
        link.hosts()
            .any(|(host, _)| matches!(host, IpAddr::V4(host) if net.contains(&host)))
    });
    if seen.subnets.iter().any(|(held, _)| *held == subnet) {
        return refuse(format!(
            "Configured subnets must be unique! Subnet \"{subnet}\" defined multiple times!"
        ));
    }
    for (held, other) in &seen.subnets {
        if other.contains(&net) || net.contains(other) {
            return refuse(format!(
                "Conflicting subnet ranges: \"{subnet}\" overlaps \"{held}\"!"
            ));
        }
    }
    seen.subnets.push((subnet, net));
    Ok(())
}

fn inside(net: Ipv4Net, address: &str) -> bool {
    address
        .parse::<Ipv4Addr>()
        .is_ok_and(|address| net.contains(&address))
}

fn verify_ranges(config: &Node, net: Ipv4Net, place: &str) -> Verdict {
    let mut taken: Vec<(Ipv4Addr, Ipv4Addr)> = Vec::new();
    for (range, bounds) in config.below(&["range"]) {
        let (Some(start), Some(stop)) = (bounds.value(&["start"]), bounds.value(&["stop"])) else {
            return refuse(format!(
                "DHCP range \"{range}\" start and stop address must be defined!"
            ));
        };
        for (which, address) in [("start", start), ("stop", stop)] {
            if !inside(net, address) {
                return refuse(format!(
                    "DHCP range \"{range}\" {which} address not within {place}"
                ));
            }
        }
        let (Ok(first), Ok(last)) = (start.parse::<Ipv4Addr>(), stop.parse::<Ipv4Addr>()) else {
            continue;
        };
        if last < first {
            return refuse(format!(
                "DHCP range \"{range}\" stop address must be greater or equal to the ranges start \
                 address!"
            ));
        }
        for (which, text, address) in [("start", start, first), ("stop", stop, last)] {
            if taken
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&address))
            {
                return refuse(format!(
                    "Range \"{range}\" {which} address \"{text}\" already part of another range!"
                ));
            }
        }
        taken.push((first, last));
    }
    Ok(())
}

fn verify_mappings(config: &Node, net: Ipv4Net, place: &str) -> Verdict {
    let (mut addresses, mut macs, mut duids) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (mapping, settings) in config.below(&["static-mapping"]) {
        let address = settings.value(&["ip-address"]);
        let (mac, duid) = (settings.value(&["mac"]), settings.value(&["duid"]));
        if let Some(address) = address {
            if !inside(net, address) {
                return refuse(format!(
                    "Configured static lease address for mapping \"{mapping}\" is not within \
                     {place}"
                ));
            }
            if mac.is_some() == duid.is_some() {
                return refuse(format!(
                    "Either MAC address or Client identifier (DUID) is required for static mapping \
                     \"{mapping}\" within {place}"
                ));
            }
        }
        if settings.get(&["disable"]).is_some() {
            continue;
        }
        let used = [
            ("IP address", address, &mut addresses),
            ("MAC address", mac, &mut macs),
            ("DUID", duid, &mut duids),
        ];
        for (what, value, held) in used {
            if value.is_some_and(|value| !held.insert(value)) {
                return refuse(format!(
                    "Configured {what} for static mapping \"{mapping}\" already exists on another \
                     static mapping"
                ));
            }
        }
    }
    Ok(())
}

fn verify_listening(server: &Node, connected: bool, kernel: &Kernel) -> Verdict {
    let addresses = server.values(&["listen-address"]);
    for address in addresses {
        if !address.parse().is_ok_and(|ip| kernel.has_address(ip, None)) {
            return refuse(format!(
                "listen-address \"{address}\" not configured on any interface"
            ));
        }
    }
    if !connected && addresses.is_empty() {
        return refuse(
            "None of the configured subnets have an appropriate primary IP address on any \
             broadcast interface configured, nor was there an explicit listen-address configured \
             for serving DHCP relay packets!",
        );
    }
    let interfaces = server.values(&["listen-interface"]);
    if !addresses.is_empty() && !interfaces.is_empty() {
        return refuse("Cannot define listen-address and listen-interface at the same time");
    }
    match interfaces
        .iter()
        .find(|interface| !kernel.exists(interface))
    {
        Some(interface) => refuse(format!("listen-interface \"{interface}\" does not exist")),
        None => Ok(()),
    }
}
