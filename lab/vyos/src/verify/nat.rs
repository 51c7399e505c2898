//! Turns the NAT rules of a candidate into warnings and a verdict.

use super::{Part, Verdict, refuse};
use crate::kernel::Kernel;
use crate::tree::Node;

/// The rules of the NAT script. Its warnings come back with every later commit of it.
pub(super) fn verify(part: &Part<'_>, kernel: &Kernel, warnings: &mut Vec<String>) -> Verdict {
    if part.deleting {
        return Ok(());
    }
    let directions = [
        ("source", "Source", "outbound-interface"),
        ("destination", "Destination", "inbound-interface"),
    ];
    for (direction, title, side) in directions {
        for (rule, config) in part.config().below(&[direction, "rule"]) {
            let error = format!("{title} NAT configuration error in rule {rule}:");
            let name = config.value(&[side, "name"]);
            if name.is_some() && config.get(&[side, "group"]).is_some() {
                return refuse(format!(
                    "{error} cannot specify both interface group and interface name for \
                     {direction} nat rule \"{rule}\""
                ));
            }
            if let Some(name) = name
                && name != "any"
                && !name.contains(['*', '!'])
                && !kernel.exists(name)
            {
                warnings.push(format!(
                    "Interface \"{name}\" for {direction} NAT rule \"{rule}\" does not exist!"
                ));
            }
            verify_translation(config, direction, &error, kernel, warnings)?;
            verify_ports(config, &error)?;
            verify_groups(config, part.new)?;
        }
    }
    Ok(())
}

fn verify_translation(
    config: &Node,
    direction: &str,
    error: &str,
    kernel: &Kernel,
    warnings: &mut Vec<String>,
) -> Verdict {
    let translates = ["address", "port", "redirect"]
        .iter()
        .any(|leaf| config.get(&["translation", leaf]).is_some());
    if !translates && config.get(&["exclude"]).is_none() {
        return refuse(format!("{error} translation requires address and/or port"));
    }
    let address = config.value(&["translation", "address"]);
    if direction == "source"
        && let Some(address) = address.filter(|a| *a != "masquerade" && !a.contains('/'))
    {
        for ip in address.split('-') {
            if !ip.parse().is_ok_and(|ip| kernel.has_address(ip, None)) {
                warnings.push(format!("IP address {ip} does not exist on the system!"));
            }
        }
    }
    Ok(())
}

fn verify_ports(config: &Node, error: &str) -> Verdict {
    let ports = [
        ["destination", "port"],
        ["source", "port"],
        ["translation", "port"],
    ]
    .iter()
    .any(|leaf| config.get(leaf).is_some());
    let carries = ["tcp", "udp", "tcp_udp"];
    if ports
        && !config
            .value(&["protocol"])
            .is_some_and(|p| carries.contains(&p))
    {
        return refuse(format!(
            "{error} ports can only be specified when protocol is either tcp, udp or tcp_udp!"
        ));
    }
    Ok(())
}

fn verify_groups(config: &Node, new: &Node) -> Verdict {
    for side in ["destination", "source"] {
        for (kind, leaf) in config.below(&[side, "group"]) {
            let name = leaf.values.first().map(String::as_str).unwrap_or_default();
            let name = name.strip_prefix('!').unwrap_or(name);
            if new.get(&["firewall", "group", kind, name]).is_none() {
                return refuse(format!("Invalid {kind} \"{name}\" on nat rule"));
            }
        }
    }
    Ok(())
}
