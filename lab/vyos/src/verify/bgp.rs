//! Turns BGP and static routes of a candidate into a verdict.

use super::{Part, Verdict, refuse};
use crate::kernel::Kernel;
use crate::tree::Node;
use std::net::IpAddr;

/// The rules of the BGP script, for the default instance or that of a VRF.
pub(super) fn verify(
    part: &Part<'_>,
    vrf: Option<&str>,
    kernel: &Kernel,
    warnings: &mut Vec<String>,
) -> Verdict {
    if part.deleting {
        return if vrf.is_none() {
            nobody_depends(part.new)
        } else {
            Ok(())
        };
    }
    let bgp = part.config();
    if bgp.value(&["system-as"]).is_none() {
        return refuse("BGP system-as number must be defined!");
    }
    for (group, peer) in bgp.below(&["peer-group"]) {
        verify_options(group, peer, bgp)?;
    }
    for (neighbor, peer) in bgp.below(&["neighbor"]) {
        verify_neighbor(neighbor, peer, bgp, vrf, kernel, warnings)?;
    }
    let evpn = bgp.get(&["address-family", "l2vpn-evpn"]);
    let all = evpn.is_some_and(|evpn| evpn.get(&["advertise-all-vni"]).is_some());
    for (_, vni) in evpn.into_iter().flat_map(|evpn| evpn.below(&["vni"])) {
        for what in ["rd", "route-target"] {
            if vni.get(&[what]).is_some() && !all {
                return refuse(format!(
                    "BGP EVPN \"{what}\" requires \"advertise-all-vni\" to be set!"
                ));
            }
        }
    }
    for (prefix, range) in bgp.below(&["listen", "range"]) {
        let Some(group) = range.value(&["peer-group"]) else {
            return refuse(format!(
                "Listen range for prefix \"{prefix}\" has no peer group configured."
            ));
        };
        if bgp.get(&["peer-group", group]).is_none() {
            return refuse(format!(
                "Peer-group \"{group}\" for listen range \"{prefix}\" does not exist!"
            ));
        }
    }
    Ok(())
}

/// The default instance stays while any VRF has an instance or an L3 VNI.
fn nobody_depends(new: &Node) -> Verdict {
    for (_, vrf) in new.below(&["vrf", "name"]) {
        if vrf.get(&["protocols", "bgp"]).is_some() {
            return refuse(
                "Cannot delete default BGP instance, dependent VRF instance(s) exist(s)!",
            );
        }
        if vrf.get(&["vni"]).is_some() {
            return refuse("Cannot delete default BGP instance, dependent L3VNI exists!");
        }
    }
    Ok(())
}

fn verify_options(name: &str, peer: &Node, bgp: &Node) -> Verdict {
    if peer.get(&["ebgp-multihop"]).is_some() && peer.get(&["ttl-security"]).is_some() {
        return refuse("You can not set both ebgp-multihop and ttl-security hops");
    }
    if peer
        .value(&["password"])
        .is_some_and(|password| password.contains(' '))
    {
        return refuse("Whitespace is not allowed in passwords!");
    }
    for (asn, _) in peer.below(&["local-as"]) {
        if bgp.value(&["system-as"]) == Some(asn) {
            return refuse("Cannot have local-as same as system-as number");
        }
        if peer.value(&["remote-as"]) == Some(asn) {
            return refuse(format!(
                "Neighbor \"{name}\" has local-as specified which is the same as remote-as, this \
                 is not allowed!"
            ));
        }
    }
    Ok(())
}

fn verify_neighbor(
    neighbor: &str,
    peer: &Node,
    bgp: &Node,
    vrf: Option<&str>,
    kernel: &Kernel,
    warnings: &mut Vec<String>,
) -> Verdict {
    let group_name = peer.value(&["peer-group"]);
    let group = group_name.and_then(|group| bgp.get(&["peer-group", group]));
    if let (Some(name), None) = (group_name, group) {
        // The real text prints this word in place of the address.
        return refuse(format!(
            "Specified peer-group \"{name}\" for neighbor \"neighbor\" does not exist!"
        ));
    }
    verify_options(neighbor, peer, bgp)?;
    let own = peer.value(&["remote-as"]);
    let of_group = group.and_then(|group| group.value(&["remote-as"]));
    match (own, of_group) {
        (None, None) => return refuse(format!("Neighbor \"{neighbor}\" remote-as must be set!")),
        (Some(_), Some(_)) => {
            return refuse(format!(
                "Peer-group member \"{neighbor}\" cannot override remote-as of peer-group \"{}\"!",
                group_name.unwrap_or_default()
            ));
        }
        _ => {}
    }
    let family = |node: &Node| node.get(&["address-family"]).is_some();
    if !family(peer) && !group.is_some_and(family) {
        warnings.push(format!(
            "BGP neighbor \"{neighbor}\" requires address-family!"
        ));
    }
    if let Ok(address) = neighbor.parse::<IpAddr>()
        && kernel.has_address(address, Some(vrf))
    {
        let place = vrf.map_or_else(
            || " in default VRF!".to_owned(),
            |vrf| format!(" in vrf \"{vrf}\"!"),
        );
        return refuse(format!(
            "Can not configure local address as neighbor \"{neighbor}\"{place}"
        ));
    }
    let internal = |asn: Option<&str>| {
        asn.is_some_and(|asn| asn == "internal" || Some(asn) == bgp.value(&["system-as"]))
    };
    let reflects = |node: &Node| {
        node.below(&["address-family"])
            .any(|(_, f)| f.get(&["route-reflector-client"]).is_some())
    };
    if reflects(peer) && !internal(own.or(of_group)) {
        return refuse("route-reflector-client only supported for iBGP peers");
    }
    Ok(())
}

/// The rules of the script for static routes.
pub(super) fn verify_static(part: &Part<'_>, kernel: &Kernel) -> Verdict {
    for (prefix, route) in part.config().below(&["route"]) {
        for (_, hop) in route
            .below(&["interface"])
            .chain(route.below(&["next-hop"]))
        {
            if let Some(vrf) = hop.value(&["vrf"]).filter(|vrf| *vrf != "default")
                && !kernel.exists(vrf)
            {
                return refuse(format!("VRF \"{vrf}\" does not exist!"));
            }
        }
        if route.get(&["blackhole"]).is_some() && route.get(&["reject"]).is_some() {
            return refuse(format!(
                "Can not use both blackhole and reject for prefix \"{prefix}\"!"
            ));
        }
    }
    Ok(())
}
