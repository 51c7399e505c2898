//! Turns the `interfaces` subtree into schema nodes.

use super::checks::{
    ADDRESS, ADDRESS4, DESCRIPTION, HOST, HOST_OR_DHCP, INTERFACE, KEY, MAC, MTU, PORT, PREFIX,
    VNI, VRF_NAME, number, numbered, program, words,
};
use super::{Def, flag, flags, leaf, multi, node, tag};
use crate::values::{Check, Program, Shape};

const VLAN: Check = number(
    &[Program::Number(0, 4094)],
    "VLAN ID must be between 0 and 4094",
);

pub(super) fn interfaces() -> Def {
    node(
        "interfaces",
        vec![
            bonding(),
            bridge(),
            dummy(),
            ethernet(),
            loopback(),
            vxlan(),
            wireguard(),
        ],
    )
}

fn ip() -> Def {
    let mut below = flags(&[
        "disable-arp-filter",
        "disable-forwarding",
        "enable-directed-broadcast",
        "enable-arp-accept",
        "enable-arp-announce",
        "enable-arp-ignore",
        "enable-proxy-arp",
        "proxy-arp-pvlan",
    ]);
    below.extend([
        leaf(
            "adjust-mss",
            Check {
                shapes: &[Shape::Words(&["clamp-mss-to-pmtu"])],
                programs: &[Program::Number(536, 65535)],
                text: None,
            },
        ),
        leaf(
            "arp-cache-timeout",
            number(
                &[Program::Number(1, 86400)],
                "ARP cache entry timeout must be between 1 and 86400 seconds",
            ),
        ),
        leaf(
            "source-validation",
            words(&[Shape::Words(&["strict", "loose", "disable"])]),
        ),
    ]);
    node("ip", below)
}

fn ipv6() -> Def {
    node(
        "ipv6",
        vec![
            flag("disable-forwarding"),
            node("address", flags(&["autoconf", "no-default-link-local"])),
            leaf(
                "dup-addr-detect-transmits",
                program(&[Program::Number(0, u64::MAX)]),
            ),
        ],
    )
}

/// What every interface has.
fn common(address: Check) -> Vec<Def> {
    vec![
        multi("address", address),
        leaf("description", DESCRIPTION),
        flag("disable"),
        ip(),
        ipv6(),
        node(
            "mirror",
            vec![leaf("ingress", INTERFACE), leaf("egress", INTERFACE)],
        ),
        leaf("redirect", INTERFACE),
        leaf("vrf", VRF_NAME),
    ]
}

fn with(mut common: Vec<Def>, own: Vec<Def>) -> Vec<Def> {
    common.extend(own);
    common
}

fn vif() -> Def {
    let own = vec![
        flag("disable-link-detect"),
        leaf("mac", MAC),
        leaf("mtu", MTU),
    ];
    tag("vif", VLAN, with(common(HOST_OR_DHCP), own))
}

fn bonding() -> Def {
    let mode = words(&[Shape::Words(&[
        "802.3ad",
        "active-backup",
        "broadcast",
        "round-robin",
        "transmit-load-balance",
        "adaptive-load-balance",
        "xor-hash",
    ])]);
    let policy = words(&[Shape::Words(&[
        "layer2", "layer2+3", "layer3+4", "encap2+3", "encap3+4",
    ])]);
    let own = vec![
        leaf("hash-policy", policy),
        leaf("lacp-rate", words(&[Shape::Words(&["slow", "fast"])])),
        leaf("mac", MAC),
        node("member", vec![multi("interface", INTERFACE)]),
        leaf("min-links", program(&[Program::Number(0, 16)])),
        leaf("mode", mode),
        leaf("mtu", MTU),
        leaf("primary", INTERFACE),
        vif(),
    ];
    let name = numbered(
        &[Shape::Numbered(&["bond"])],
        "Bonding interface must be named bondN",
    );
    tag("bonding", name, with(common(HOST_OR_DHCP), own)).owned(320)
}

fn bridge() -> Def {
    let vlan = number(
        &[Program::Number(1, 4094)],
        "VLAN ID must be between 1 and 4094",
    );
    let vlans = number(
        &[Program::NumberRange(1, 4094)],
        "not a valid VLAN ID value or range",
    );
    let member = tag(
        "interface",
        INTERFACE,
        vec![
            leaf("native-vlan", vlan),
            multi("allowed-vlan", vlans),
            leaf("cost", program(&[Program::Number(1, 65535)])),
            leaf("priority", program(&[Program::Number(0, 63)])),
            flag("isolated"),
        ],
    );
    let own = vec![
        leaf("aging", program(&[Program::Number(0, 1_000_000)])),
        flag("disable-link-detect"),
        flag("enable-vlan"),
        leaf("forwarding-delay", program(&[Program::Number(0, 200)])),
        leaf("hello-time", program(&[Program::Number(1, 10)])),
        node("igmp", flags(&["querier", "snooping"])),
        leaf("mac", MAC),
        leaf("max-age", program(&[Program::Number(1, 40)])),
        node("member", vec![member]),
        leaf("mtu", MTU),
        leaf("priority", program(&[Program::Number(0, 65535)])),
        leaf("protocol", words(&[Shape::Words(&["802.1q", "802.1ad"])])),
        flag("stp"),
        vif(),
    ];
    let name = numbered(
        &[Shape::Numbered(&["br"])],
        "Bridge interface must be named brN",
    );
    tag("bridge", name, with(common(HOST_OR_DHCP), own)).owned(310)
}

fn dummy() -> Def {
    let name = numbered(
        &[Shape::Numbered(&["dum"])],
        "Dummy interface must be named dumN",
    );
    tag("dummy", name, with(common(HOST), vec![leaf("mtu", MTU)])).owned(300)
}

fn ethernet() -> Def {
    let own = vec![
        flag("disable-flow-control"),
        flag("disable-link-detect"),
        leaf("duplex", words(&[Shape::Words(&["auto", "half", "full"])])),
        leaf("hw-id", MAC),
        leaf("mac", MAC),
        leaf("mtu", MTU),
        node(
            "offload",
            flags(&[
                "gro",
                "gso",
                "hw-tc-offload",
                "lro",
                "rps",
                "rfs",
                "sg",
                "tso",
            ]),
        ),
        leaf(
            "speed",
            words(&[Shape::Words(&[
                "auto", "10", "100", "1000", "2500", "5000", "10000", "25000", "40000", "50000",
                "100000",
            ])]),
        ),
        vif(),
    ];
    let name = numbered(
        &[Shape::Numbered(&["eth", "lan", "ens", "enp", "eno"])],
        "Invalid Ethernet interface name",
    );
    tag("ethernet", name, with(common(HOST_OR_DHCP), own)).owned(318)
}

fn loopback() -> Def {
    let name = numbered(
        &[Shape::Words(&["lo"])],
        "Loopback interface must be named lo",
    );
    tag("loopback", name, common(HOST)).owned(300)
}

fn vxlan() -> Def {
    let vlans = number(
        &[Program::NumberRange(0, 4094)],
        "Not a valid VLAN ID or range, VLAN ID must be between 0 and 4094",
    );
    let own = vec![
        flag("gpe"),
        leaf("group", ADDRESS),
        leaf("mac", MAC),
        leaf(
            "mtu",
            number(
                &[Program::Number(1200, 16000)],
                "MTU must be between 1200 and 16000",
            ),
        ),
        node(
            "parameters",
            flags(&["external", "neighbor-suppress", "nolearning", "vni-filter"]),
        ),
        leaf("port", PORT),
        multi("remote", ADDRESS),
        leaf("source-address", ADDRESS),
        leaf("source-interface", INTERFACE),
        leaf("vni", VNI),
        tag(
            "vlan-to-vni",
            vlans,
            vec![leaf(
                "vni",
                number(
                    &[Program::NumberRange(0, 16_777_214)],
                    "Not a valid VXLAN virtual network ID or range",
                ),
            )],
        ),
    ];
    let name = numbered(
        &[Shape::Numbered(&["vxlan"])],
        "VXLAN interface must be named vxlanN",
    );
    tag("vxlan", name, with(common(HOST), own)).owned(460)
}

fn wireguard() -> Def {
    let alias = numbered(
        &[Shape::NoBlanks],
        "peer alias too long (limit 100 characters)",
    );
    let peer = vec![
        leaf("address", ADDRESS),
        multi("allowed-ips", PREFIX),
        leaf("description", DESCRIPTION),
        flag("disable"),
        leaf(
            "persistent-keepalive",
            program(&[Program::Number(1, 65535)]),
        ),
        leaf("port", PORT),
        leaf("preshared-key", KEY),
        leaf("public-key", KEY),
    ];
    let own = vec![
        leaf("fwmark", program(&[Program::Number(0, 4_294_967_295)])),
        leaf("mtu", MTU),
        tag("peer", alias, peer),
        flag("per-client-thread"),
        leaf("port", PORT),
        leaf("private-key", KEY),
    ];
    let name = numbered(
        &[Shape::Numbered(&["wg"])],
        "WireGuard interface must be named wgN",
    );
    tag("wireguard", name, with(common(HOST), own)).owned(379)
}

/// Kept beside the others: the addresses a rule or an option may name are IPv4 only.
pub(super) fn option_servers(names: &[&'static str]) -> Vec<Def> {
    names.iter().map(|name| multi(name, ADDRESS4)).collect()
}
