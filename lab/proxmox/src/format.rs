//! Turns the named formats of Proxmox's schema (names, tags, nets, disks) into yes or words.

use std::net::IpAddr;

use crate::property::split_list;
use crate::schema::Kind;

type Verdict = Result<(), String>;

/// A guest id: 100 to 999 999 999.
pub(crate) const VMID: Kind = Kind::Words(vmid);
/// A DNS name.
pub(crate) const DNS_NAME: Kind = Kind::Format(dns_name);
/// A list of tags.
pub(crate) const TAGS: Kind = Kind::Format(tags);
/// A pool's name.
pub(crate) const POOL: Kind = Kind::Format(pool);
/// A storage's name.
pub(crate) const STORAGE: Kind = Kind::Format(storage);
/// A snapshot's name.
pub(crate) const CONFIG_ID: Kind = Kind::Format(config_id);
/// A size for resize: an optional plus, a number, an optional unit.
pub(crate) const RESIZE: Kind = Kind::Pattern(resize);
/// A size for the content route: a whole number and an optional M or G.
pub(crate) const ALLOC_SIZE: Kind = Kind::Pattern(alloc_size);
/// A user id.
pub(crate) const USER: Kind = Kind::Format(user);
/// A list of privileges.
pub(crate) const PRIVILEGES: Kind = Kind::Format(privileges);
/// Percent-encoded text.
pub(crate) const URL_ENCODED: Kind = Kind::Format(url_encoded);

fn vmid(_: &str, text: &str) -> Verdict {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return Err(format!("type check ('integer') failed - got '{text}'"));
    }
    let good = text
        .parse()
        .is_ok_and(|n: u64| (100..=999_999_999).contains(&n));
    let text = "invalid format - value does not look like a valid VM ID\n";
    good.then_some(()).ok_or_else(|| text.to_owned())
}

fn dns_name(_: &str, text: &str) -> Verdict {
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let good = !text.is_empty() && text.split('.').all(label);
    good.then_some(())
        .ok_or_else(|| "value does not look like a valid DNS name".to_owned())
}

fn tags(_: &str, text: &str) -> Verdict {
    let tag = |t: &str| {
        let mut chars = t.chars();
        let first = chars
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        first && chars.all(|c| c.is_ascii_alphanumeric() || "_-+.".contains(c))
    };
    let good = split_list(text).all(tag);
    good.then_some(())
        .ok_or_else(|| "invalid characters in tag".to_owned())
}

fn pool(_: &str, text: &str) -> Verdict {
    let part = |p: &str| {
        !p.is_empty()
            && p.chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let good = text.split('/').all(part);
    good.then_some(())
        .ok_or_else(|| format!("pool name '{text}' contains invalid characters"))
}

fn storage(_: &str, text: &str) -> Verdict {
    let good = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() > 1
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    good.then_some(())
        .ok_or_else(|| format!("storage ID '{text}' contains illegal characters"))
}

fn config_id(_: &str, text: &str) -> Verdict {
    let good = text.len() >= 2
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    good.then_some(())
        .ok_or_else(|| format!("invalid configuration ID '{text}'"))
}

fn resize(text: &str) -> bool {
    let text = text.strip_prefix('+').unwrap_or(text);
    crate::size::parse_size(text, 1).is_some()
}

fn alloc_size(text: &str) -> bool {
    let digits = text.strip_suffix(['M', 'G', 'K', 'T']).unwrap_or(text);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

fn user(_: &str, text: &str) -> Verdict {
    let good = text.rsplit_once('@').is_some_and(|(name, realm)| {
        !name.is_empty()
            && !name.contains([' ', ':', '/', '\t'])
            && realm.len() > 1
            && realm
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    });
    good.then_some(())
        .ok_or_else(|| format!("value '{text}' does not look like a valid user name"))
}

fn privileges(_: &str, text: &str) -> Verdict {
    match split_list(text).find(|p| !crate::roles::ALL.contains(p)) {
        None => Ok(()),
        Some(unknown) => Err(format!("invalid privilege '{unknown}'")),
    }
}

fn url_encoded(_: &str, text: &str) -> Verdict {
    let bytes = text.as_bytes();
    let good = bytes.iter().enumerate().all(|(i, b)| match b {
        b'%' => bytes
            .get(i + 1..i + 3)
            .is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)),
        b => b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(b),
    });
    good.then_some(())
        .ok_or_else(|| format!("invalid urlencoded string: {text}"))
}

/// Words for a part of a property string that nobody defined.
fn unknown_part(key: &str, part: &str) -> String {
    format!(
        "format error\n{key}.{part}: {}",
        crate::refusal::NOT_IN_SCHEMA
    )
}

const NET_OPTIONS: &[&str] = &[
    "bridge",
    "firewall",
    "link_down",
    "mtu",
    "queues",
    "rate",
    "tag",
    "trunks",
    "macaddr",
    "model",
];

/// A net line of a QEMU guest.
pub(crate) fn net(key: &str, text: &str) -> Verdict {
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if crate::property::Nic::parse(part).is_some() {
            if part.contains('=') && !is_unicast_mac(value) {
                return Err(format!(
                    "format error\n{key}.macaddr: invalid format - value does not look like a \
                     valid unicast MAC address\n"
                ));
            }
        } else if !NET_OPTIONS.contains(&name) {
            return Err(unknown_part(key, name));
        }
    }
    match crate::property::Nic::parse(text) {
        Some(_) => Ok(()),
        None => Err(format!(
            "format error\n{key}.model: {}",
            crate::refusal::MISSING
        )),
    }
}

fn is_unicast_mac(text: &str) -> bool {
    let parts: Vec<Option<u8>> = text
        .split(':')
        .map(|p| {
            (p.len() == 2)
                .then(|| u8::from_str_radix(p, 16).ok())
                .flatten()
        })
        .collect();
    parts.len() == 6
        && parts.iter().all(Option::is_some)
        && parts.first().copied().flatten().is_some_and(|b| b & 1 == 0)
}

const DISK_OPTIONS: &[&str] = &[
    "file",
    "aio",
    "backup",
    "bps",
    "cache",
    "cyls",
    "detect_zeroes",
    "discard",
    "format",
    "heads",
    "import-from",
    "iops",
    "iothread",
    "mbps",
    "mbps_rd",
    "mbps_wr",
    "media",
    "model",
    "queues",
    "replicate",
    "rerror",
    "ro",
    "scsiblock",
    "secs",
    "serial",
    "shared",
    "size",
    "snapshot",
    "ssd",
    "trans",
    "werror",
    "wwn",
    "product",
    "vendor",
    "iops_rd",
    "iops_wr",
    "volume",
    "version",
    "efitype",
    "pre-enrolled-keys",
    "ms-cert",
    "version",
    "efitype",
    "pre-enrolled-keys",
    "ms-cert",
];

/// A disk or CD-ROM line of a QEMU guest.
pub(crate) fn disk(key: &str, text: &str) -> Verdict {
    let mut file = false;
    for part in text.split(',').filter(|p| !p.is_empty()) {
        match part.split_once('=') {
            None => file = true,
            Some(("file" | "volume", _)) => file = true,
            Some((name, _)) if DISK_OPTIONS.contains(&name) => {}
            Some((name, _)) => return Err(unknown_part(key, name)),
        }
    }
    if file {
        return Ok(());
    }
    Err(format!(
        "format error\n{key}.file: {}",
        crate::refusal::MISSING
    ))
}

/// A net line of a container.
pub(crate) fn lxc_net(key: &str, text: &str) -> Verdict {
    const OPTIONS: &[&str] = &[
        "name",
        "bridge",
        "firewall",
        "gw",
        "gw6",
        "host-managed",
        "hwaddr",
        "ip",
        "ip6",
        "link_down",
        "mtu",
        "rate",
        "tag",
        "trunks",
        "type",
    ];
    let mut named = false;
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name {
            "name" => named = true,
            "ip" if !["dhcp", "manual"].contains(&value) && !is_cidr(value, false) => {
                return Err(bad_network(key, "ip", "ipv4"));
            }
            "ip6" if !["dhcp", "manual", "auto"].contains(&value) && !is_cidr(value, true) => {
                return Err(bad_network(key, "ip6", "ipv6"));
            }
            name if OPTIONS.contains(&name) => {}
            name => return Err(unknown_part(key, name)),
        }
    }
    if named {
        return Ok(());
    }
    Err(format!(
        "format error\n{key}.name: {}",
        crate::refusal::MISSING
    ))
}

/// A mount point of a container.
pub(crate) fn mount_point(key: &str, text: &str) -> Verdict {
    if text.split(',').any(|p| p.starts_with("mp=")) || key == "rootfs" {
        return Ok(());
    }
    Err(format!(
        "format error\n{key}.mp: {}",
        crate::refusal::MISSING
    ))
}

/// The memory of a QEMU guest: at least 16 MiB.
pub(crate) fn memory(_: &str, text: &str) -> Verdict {
    let text = text.strip_prefix("current=").unwrap_or(text);
    match text.parse::<i64>() {
        Ok(n) if n >= 16 => Ok(()),
        Ok(_) => Err("format error\nmemory.current: value must have a minimum value of 16".into()),
        Err(_) => Err(format!(
            "format error\nmemory.current: type check ('integer') failed - got '{text}'"
        )),
    }
}

/// A cloud-init address line.
pub(crate) fn ip_config(key: &str, text: &str) -> Verdict {
    let mut has = std::collections::BTreeSet::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name {
            "ip" if !["dhcp", "manual"].contains(&value) && !is_cidr(value, false) => {
                return Err(bad_network(key, "ip", "ipv4"));
            }
            "ip6" if !["dhcp", "auto", "manual"].contains(&value) && !is_cidr(value, true) => {
                return Err(bad_network(key, "ip6", "ipv6"));
            }
            "ip" | "ip6" | "gw" | "gw6" => {
                has.insert(name);
            }
            _ => return Err(unknown_part(key, name)),
        }
    }
    for (gateway, address) in [("gw", "ip"), ("gw6", "ip6")] {
        if has.contains(gateway) && !has.contains(address) {
            return Err(format!(
                "format error\n{key}.{address}: missing property required by '{key}.{gateway}'"
            ));
        }
    }
    Ok(())
}

fn bad_network(key: &str, part: &str, family: &str) -> String {
    format!(
        "format error\n{key}.{part}: invalid format - value does not look like a valid {family} \
         network configuration\n"
    )
}

fn is_cidr(text: &str, six: bool) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let max = if six { 128 } else { 32 };
    address.is_ipv6() == six && length.parse::<u8>().is_ok_and(|n| n <= max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_once_and_blanks_are_no_plus() {
        assert!(url_encoded("sshkeys", "ssh-ed25519%20AAAA%2Fx%20a%40b").is_ok());
        assert!(url_encoded("sshkeys", "ssh-ed25519+AAAA").is_err());
        assert!(url_encoded("sshkeys", "ssh-ed25519%20AA/x").is_err());
    }

    #[test]
    fn addresses_need_a_prefix_length() {
        assert!(ip_config("ipconfig0", "ip=10.0.0.5/24,gw=10.9.9.1").is_ok());
        assert!(ip_config("ipconfig0", "ip=10.0.0.5").is_err());
        let text = ip_config("ipconfig0", "gw=10.0.0.1").expect_err("no address");
        assert_eq!(
            text,
            "format error\nipconfig0.ip: missing property required by 'ipconfig0.gw'"
        );
    }

    #[test]
    fn names_of_guests_are_dns_names() {
        assert!(dns_name("name", "VM-Upper.Example.Test").is_ok());
        assert!(dns_name("name", "a_b").is_err());
        assert!(dns_name("name", "ab.").is_err());
    }
}
