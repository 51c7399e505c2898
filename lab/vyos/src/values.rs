//! Turns a value and what its node asks for into silence or the text VyOS refuses it with.

use std::net::{IpAddr, Ipv4Addr};

/// What a node asks of its values. A value passes when any part of the check accepts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    /// Words and shapes the backend matches itself, without printing anything.
    pub shapes: &'static [Shape],
    /// Programs the backend runs; what each prints is part of the refusal.
    pub programs: &'static [Program],
    /// The node's own text; the backend's `Invalid value` when it has none.
    pub text: Option<&'static str>,
}

/// Something matched without a program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of these prefixes and digits.
    Numbered(&'static [&'static str]),
    /// The name of some interface, a sub-interface included.
    Interface,
    /// An interface name in a rule: may begin with `!` and end with `*`.
    InterfaceMatch,
    /// At most so many characters.
    AtMost(usize),
    /// Letters, digits and `-_.+`, not beginning with `.` or `+`.
    Name,
    /// No blanks, 1 to 100 characters.
    NoBlanks,
}

/// A validator program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// A host address with its prefix length: `10.0.0.1/24`.
    IpHost,
    /// An address without a prefix length.
    IpAddress,
    Ipv4Address,
    /// A network with its prefix length: `10.0.0.0/24`.
    Ipv4Prefix,
    IpPrefix,
    Ipv4Range,
    Number(u64, u64),
    /// A number or two with a hyphen.
    NumberRange(u64, u64),
    Mac,
    VrfName,
    Fqdn,
    /// A route distinguisher or route target: `AS:number` or `address:number`.
    RdRt,
    Base64,
    Port,
    /// Ports, ranges and service names, comma separated.
    PortMulti,
    IpProtocol,
    /// Fails, after trying the value for an excluded form (`!10.0.0.0/24`).
    NotThis(&'static Program),
}

/// The text of the refusal, or nothing when the value passes.
///
/// The layout is what the real backend printed on 1.5 (October 2024): each program's output
/// and a newline, two newlines, the node's text, then the fixed tail.
#[must_use]
pub(crate) fn refusal(check: &Check, value: &str) -> Option<String> {
    if check.shapes.is_empty() && check.programs.is_empty() {
        return None;
    }
    if check.shapes.iter().any(|shape| shape.fits(value)) {
        return None;
    }
    let mut said = String::new();
    // The programs are tried last to first.
    for program in check.programs.iter().rev() {
        match program.complaint(value) {
            None => return None,
            Some(text) => said.push_str(&format!("{text}\n")),
        }
    }
    let text = check.text.unwrap_or("Invalid value");
    Some(format!("{said}\n\n{text}\n{VALIDATION_FAILED}"))
}

const VALIDATION_FAILED: &str = "Value validation failed\n";

/// The refusal of characters no value may hold, whatever its node.
#[must_use]
pub(crate) fn forbidden_character(value: &str) -> Option<String> {
    let named = [
        ('\'', "single quote (')"),
        ('"', "double quote (\")"),
        ('\n', "newline"),
    ];
    named
        .iter()
        .find(|(c, _)| value.contains(*c))
        .map(|(_, name)| {
            format!("Cannot use the {name} character in a value string\n{VALIDATION_FAILED}")
        })
}

const KINDS: &[&str] = &[
    "bond", "br", "dum", "en", "ersp", "eth", "gnv", "ifb", "ipoe", "lan", "l2tp", "l2tpeth",
    "macsec", "peth", "ppp", "pppoe", "pptp", "sstp", "sstpc", "tun", "veth", "vti", "vtun",
    "vxlan", "wg", "wlan", "wwan",
];
/// Prefixes a VRF name may not have. `branch` and `lan-1` fall under them too.
const NO_VRF: &[&str] = &[
    "bond", "br", "dum", "eth", "lan", "eno", "ens", "enp", "enx", "gnv", "ipoe", "l2tp",
    "l2tpeth", "ppp", "pppoe", "peth", "tun", "vti", "vxlan", "wg", "wlan", "wwan",
];

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_interface(name: &str) -> bool {
    name == "lo"
        || KINDS.iter().any(|kind| {
            name.strip_prefix(kind)
                .is_some_and(|rest| match rest.split_once('.') {
                    None => digits(rest),
                    Some((number, vlan)) => digits(number) && digits(vlan),
                })
        })
}

impl Shape {
    fn fits(self, value: &str) -> bool {
        match self {
            Self::Words(words) => words.contains(&value),
            Self::Numbered(prefixes) => prefixes
                .iter()
                .any(|p| value.strip_prefix(p).is_some_and(digits)),
            Self::Interface => is_interface(value),
            Self::InterfaceMatch => {
                let name = value.strip_prefix('!').unwrap_or(value);
                name == "lo" || KINDS.iter().any(|kind| name.starts_with(kind))
            }
            Self::AtMost(length) => value.chars().count() <= length,
            Self::Name => {
                value.starts_with(|c: char| c.is_ascii_alphanumeric() || "-_".contains(c))
                    && value
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
            }
            Self::NoBlanks => {
                !value.is_empty() && value.len() <= 100 && !value.contains(char::is_whitespace)
            }
        }
    }
}

/// An address with a prefix length, when it is one.
#[must_use]
pub(crate) fn address_and_length(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length: u8 = digits(length).then(|| length.parse().ok())??;
    (length <= longest).then_some((address, length))
}

fn is_network(address: IpAddr, length: u8) -> bool {
    ipnet::IpNet::new(address, length).is_ok_and(|net| net.network() == address)
}

fn is_range(text: &str) -> bool {
    text.split_once('-').is_some_and(|(from, to)| {
        matches!((from.parse::<Ipv4Addr>(), to.parse::<Ipv4Addr>()), (Ok(a), Ok(b)) if a < b)
    })
}

impl Program {
    /// What the program prints when it refuses; nothing when it accepts.
    fn complaint(self, value: &str) -> Option<String> {
        let not_a = |kind: &str| Some(format!("Error: {value} is not a valid {kind}\n"));
        let silent = Some(String::new());
        match self {
            Self::IpHost => match address_and_length(value) {
                Some((address, length)) => {
                    let tiny = if address.is_ipv4() { 31 } else { 127 };
                    let host = length >= tiny || !is_network(address, length);
                    if host { None } else { not_a("IP host") }
                }
                None => not_a("IP host"),
            },
            Self::IpAddress if value.parse::<IpAddr>().is_ok() => None,
            Self::IpAddress => not_a("IP address"),
            Self::Ipv4Address if value.parse::<Ipv4Addr>().is_ok() => None,
            Self::Ipv4Address => not_a("IPv4 address"),
            Self::Ipv4Prefix => match address_and_length(value) {
                Some((address, length)) if address.is_ipv4() && is_network(address, length) => None,
                _ => not_a("IPv4 prefix"),
            },
            Self::IpPrefix => match address_and_length(value) {
                Some((address, length)) if is_network(address, length) => None,
                _ => not_a("IP prefix"),
            },
            Self::Ipv4Range if is_range(value) => None,
            Self::Ipv4Range => Some(format!(
                "Malformed range {value}: must be a pair of hyphen-separated IPv4 addresses\n\
                 Error: {value} is not a valid IPv4 address range\n"
            )),
            Self::Number(low, high) => number(value, low, high),
            Self::NumberRange(low, high) => match value.split_once('-') {
                None => number(value, low, high),
                Some((from, to)) => number(from, low, high).or_else(|| number(to, low, high)),
            },
            Self::Mac if is_mac(value) => None,
            Self::VrfName if is_vrf_name(value) => None,
            Self::Fqdn if is_fqdn(value) => None,
            Self::Fqdn => Some("\n".to_owned()),
            Self::RdRt if is_rd_or_rt(value) => None,
            Self::Base64 if is_base64(value) => None,
            Self::Port if is_port(value) => None,
            Self::Port => Some(format!(
                "Error: {value} is not a valid port or port range\n"
            )),
            Self::PortMulti if value.split(',').all(is_port_or_service) => None,
            Self::IpProtocol if is_protocol(value) => None,
            Self::NotThis(inner) => match value.strip_prefix('!') {
                Some(rest) => inner.complaint(rest),
                None => silent,
            },
            Self::Mac
            | Self::VrfName
            | Self::RdRt
            | Self::Base64
            | Self::PortMulti
            | Self::IpProtocol => silent,
        }
    }
}

fn number(value: &str, low: u64, high: u64) -> Option<String> {
    if !digits(value) {
        return Some(format!("'{value}' is not a valid number\n"));
    }
    let inside = value
        .parse::<u64>()
        .is_ok_and(|n| (low..=high).contains(&n));
    (!inside).then(|| "Number is not in any of allowed ranges\n".to_owned())
}

fn is_mac(value: &str) -> bool {
    let bytes: Vec<Option<u8>> = value
        .split(':')
        .map(|pair| {
            (pair.len() == 2)
                .then(|| u8::from_str_radix(pair, 16).ok())
                .flatten()
        })
        .collect();
    match bytes.as_slice() {
        // Neither a group address nor all zeroes names a station.
        [Some(first), rest @ ..] if rest.len() == 5 && rest.iter().all(Option::is_some) => {
            first & 1 == 0 && value != "00:00:00:00:00:00"
        }
        _ => false,
    }
}

fn is_vrf_name(value: &str) -> bool {
    (1..=15).contains(&value.len())
        && value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && value != "lo"
        && !NO_VRF.iter().any(|prefix| value.starts_with(prefix))
}

fn is_fqdn(value: &str) -> bool {
    value.len() < 254
        && value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
}

fn is_rd_or_rt(value: &str) -> bool {
    value
        .split_once(':')
        .is_some_and(|(administrator, number)| {
            digits(number) && (digits(administrator) || administrator.parse::<Ipv4Addr>().is_ok())
        })
}

fn is_base64(value: &str) -> bool {
    let body = value.trim_end_matches('=');
    !value.is_empty()
        && value.len().is_multiple_of(4)
        && value.len() - body.len() <= 2
        && body
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+/".contains(c))
}

fn is_port(value: &str) -> bool {
    let one = |text: &str| digits(text) && text.parse::<u16>().is_ok_and(|port| port > 0);
    match value.split_once('-') {
        None => one(value),
        Some((from, to)) => one(from) && one(to),
    }
}

fn is_port_or_service(value: &str) -> bool {
    let value = value.strip_prefix('!').unwrap_or(value);
    let service = value.starts_with(|c: char| c.is_ascii_lowercase())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_port(value) || service
}

fn is_protocol(value: &str) -> bool {
    let value = value.strip_prefix('!').unwrap_or(value);
    digits(value) && value.parse::<u8>().is_ok()
        || [
            "all",
            "ip",
            "icmp",
            "igmp",
            "tcp",
            "udp",
            "tcp_udp",
            "gre",
            "esp",
            "ah",
            "ipv6-icmp",
            "ospf",
            "vrrp",
            "sctp",
            "pim",
            "l2tp",
            "ipencap",
            "ipip",
            "eigrp",
            "udplite",
        ]
        .contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: Check = Check {
        shapes: &[],
        programs: &[Program::Number(68, 16000)],
        text: Some("MTU must be between 68 and 16000"),
    };

    #[test]
    fn a_number_out_of_range_is_refused_in_the_words_of_the_backend() {
        assert_eq!(refusal(&MTU, "1500"), None);
        assert_eq!(
            refusal(&MTU, "99999").unwrap(),
            "Number is not in any of allowed ranges\n\n\n\nMTU must be between 68 and 16000\n\
             Value validation failed\n"
        );
        assert!(
            refusal(&MTU, "abc")
                .unwrap()
                .starts_with("'abc' is not a valid number\n\n\n\n")
        );
    }

    #[test]
    fn a_network_address_is_no_host_but_a_point_to_point_one_is() {
        let accepts = |value: &str| Program::IpHost.complaint(value).is_none();
        assert!(accepts("10.0.0.1/24"));
        assert!(accepts("10.0.0.0/31"));
        assert!(accepts("2001:DB8::1/64"));
        assert!(!accepts("10.0.0.0/24"));
        assert!(!accepts("10.0.0.300/24"));
        assert!(!accepts("10.0.0.1"));
    }

    #[test]
    fn every_program_has_its_say_last_one_first() {
        let check = Check {
            shapes: &[],
            programs: &[Program::Ipv4Address, Program::Ipv4Range],
            text: None,
        };
        let said = refusal(&check, "10.0.0.300").unwrap();
        assert!(said.starts_with("Malformed range 10.0.0.300"));
        assert!(said.ends_with(
            "range\n\nError: 10.0.0.300 is not a valid IPv4 address\n\n\n\nInvalid value\n\
             Value validation failed\n"
        ));
    }

    #[test]
    fn vrf_names_that_look_like_interfaces_are_refused() {
        assert!(is_vrf_name("t-acme"));
        for bad in ["lan-1", "branch", "1a", "lo", "a-name-that-is-too-long"] {
            assert!(!is_vrf_name(bad), "{bad}");
        }
    }

    #[test]
    fn quotes_and_newlines_are_named() {
        assert!(
            forbidden_character("it's")
                .unwrap()
                .starts_with("Cannot use the single quote")
        );
        assert!(
            forbidden_character("a\nb")
                .unwrap()
                .starts_with("Cannot use the newline")
        );
        assert_eq!(forbidden_character("back\\slash; $(x)"), None);
    }
}
