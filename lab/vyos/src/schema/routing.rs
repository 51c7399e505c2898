//! Turns the `vrf` and `protocols` subtrees into schema nodes.

use super::checks::{
    ADDRESS, ADDRESS4, ANY, ASN, DESCRIPTION, DISTANCE, INTERFACE, NAME, PREFIX4, RD_RT, U32, VNI,
    VRF_NAME, VRF_OR_DEFAULT, number, program, words,
};
use super::{Def, flag, flags, leaf, multi, node, tag};
use crate::values::{Check, Program, Shape};

pub(super) fn vrf() -> Def {
    let table = number(
        &[Program::Number(100, 65535)],
        "VRF routing table must be in range from 100 to 65535",
    );
    let name = tag(
        "name",
        // `default` passes here and is refused at commit.
        VRF_NAME,
        vec![
            leaf("description", DESCRIPTION),
            flag("disable"),
            node(
                "ip",
                vec![
                    flag("disable-forwarding"),
                    node("nht", flags(&["no-resolve-via-default"])),
                ],
            ),
            node("ipv6", vec![flag("disable-forwarding")]),
            node(
                "protocols",
                vec![bgp().owned(821), static_routes().owned(481)],
            ),
            leaf("table", table),
            leaf("vni", VNI),
        ],
    );
    node("vrf", vec![flag("bind-to-all"), name]).owned(11)
}

pub(super) fn protocols() -> Def {
    node(
        "protocols",
        vec![
            bgp().owned(820),
            ospf().owned(620),
            static_routes().owned(480),
        ],
    )
}

fn static_routes() -> Def {
    let gone = || {
        vec![
            leaf("distance", DISTANCE),
            leaf("tag", program(&[Program::Number(1, 4_294_967_295)])),
        ]
    };
    let hop = |more: Vec<Def>| {
        let mut below = vec![
            flag("disable"),
            leaf("distance", DISTANCE),
            leaf("vrf", VRF_OR_DEFAULT),
        ];
        below.extend(more);
        below
    };
    let route = tag(
        "route",
        PREFIX4,
        vec![
            node("blackhole", gone()),
            leaf("description", DESCRIPTION),
            tag("interface", INTERFACE, hop(vec![])),
            tag(
                "next-hop",
                ADDRESS4,
                hop(vec![leaf("interface", INTERFACE)]),
            ),
            node("reject", gone()),
        ],
    );
    node("static", vec![route])
}

fn ospf() -> Def {
    let interface = tag(
        "interface",
        INTERFACE,
        vec![
            leaf(
                "area",
                program(&[Program::Number(0, 4_294_967_295), Program::IpAddress]),
            ),
            leaf("cost", program(&[Program::Number(1, 65535)])),
            leaf(
                "network",
                words(&[Shape::Words(&[
                    "broadcast",
                    "non-broadcast",
                    "point-to-multipoint",
                    "point-to-point",
                ])]),
            ),
            node("passive", flags(&["disable"])),
        ],
    );
    node(
        "ospf",
        vec![
            interface,
            node("parameters", vec![leaf("router-id", ADDRESS4)]),
        ],
    )
}

fn route_target() -> Def {
    node(
        "route-target",
        vec![
            multi("both", RD_RT),
            multi("import", RD_RT),
            multi("export", RD_RT),
        ],
    )
}

fn evpn() -> Def {
    let unicast = || node("unicast", vec![leaf("route-map", NAME)]);
    let mut below = flags(&[
        "advertise-all-vni",
        "advertise-default-gw",
        "advertise-svi-ip",
        "rt-auto-derive",
        "disable-ead-evi-rx",
        "disable-ead-evi-tx",
    ]);
    below.extend([
        node(
            "advertise",
            vec![node("ipv4", vec![unicast()]), node("ipv6", vec![unicast()])],
        ),
        node("default-originate", flags(&["ipv4", "ipv6"])),
        node("flooding", flags(&["disable", "head-end-replication"])),
        leaf("rd", RD_RT),
        route_target(),
        tag(
            "vni",
            program(&[Program::Number(1, 16_777_215)]),
            vec![
                flag("advertise-default-gw"),
                flag("advertise-svi-ip"),
                leaf("rd", RD_RT),
                route_target(),
            ],
        ),
    ]);
    node("l2vpn-evpn", below)
}

fn unicast(name: &'static str) -> Def {
    let source = |name| node(name, vec![leaf("metric", U32), leaf("route-map", NAME)]);
    node(
        name,
        vec![
            node(
                "redistribute",
                vec![
                    source("connected"),
                    source("kernel"),
                    source("ospf"),
                    source("static"),
                    leaf("table", ANY),
                ],
            ),
            node("export", flags(&["vpn"])),
            node("label", vec![node("vpn", vec![leaf("export", ANY)])]),
            node("rd", vec![node("vpn", vec![leaf("export", RD_RT)])]),
            // Single leaves here: the targets of one stand in one value, blank separated.
            node(
                "route-target",
                vec![node(
                    "vpn",
                    vec![leaf("both", ANY), leaf("export", ANY), leaf("import", ANY)],
                )],
            ),
            node("import", vec![flag("vpn"), multi("vrf", ANY)]),
            tag("network", PREFIX4, vec![leaf("route-map", NAME)]),
            node(
                "maximum-paths",
                vec![leaf("ebgp", DISTANCE), leaf("ibgp", DISTANCE)],
            ),
        ],
    )
}

fn peer_families() -> Def {
    let family = |name| {
        let mut below = flags(&["route-reflector-client", "soft-reconfiguration"]);
        below.extend([
            node("nexthop-self", flags(&["force"])),
            node(
                "attribute-unchanged",
                flags(&["as-path", "med", "next-hop"]),
            ),
            node(
                "route-map",
                vec![leaf("import", NAME), leaf("export", NAME)],
            ),
            node(
                "prefix-list",
                vec![leaf("import", NAME), leaf("export", NAME)],
            ),
            leaf("maximum-prefix", U32),
        ]);
        node(name, below)
    };
    node(
        "address-family",
        vec![
            family("ipv4-unicast"),
            family("ipv6-unicast"),
            family("l2vpn-evpn"),
        ],
    )
}

fn peer() -> Vec<Def> {
    let remote_as = Check {
        shapes: &[Shape::Words(&["internal", "external"])],
        programs: &[Program::Number(1, 4_294_967_294)],
        text: None,
    };
    let source = Check {
        shapes: &[Shape::Interface],
        programs: &[Program::IpAddress],
        text: None,
    };
    vec![
        peer_families(),
        node(
            "bfd",
            vec![flag("check-control-plane-failure"), leaf("profile", NAME)],
        ),
        node("capability", flags(&["dynamic", "extended-nexthop"])),
        leaf("description", DESCRIPTION),
        flag("disable-connected-check"),
        leaf("ebgp-multihop", DISTANCE),
        tag(
            "local-as",
            ASN,
            vec![node("no-prepend", flags(&["replace-as"]))],
        ),
        flag("passive"),
        leaf("password", ANY),
        leaf("remote-as", remote_as),
        flag("shutdown"),
        node(
            "timers",
            vec![
                leaf("connect", program(&[Program::Number(1, 65535)])),
                leaf("holdtime", program(&[Program::Number(1, 65535)])),
                leaf("keepalive", program(&[Program::Number(1, 65535)])),
            ],
        ),
        node(
            "ttl-security",
            vec![leaf("hops", program(&[Program::Number(1, 254)]))],
        ),
        leaf("update-source", source),
    ]
}

fn bgp() -> Def {
    let neighbor = Check {
        shapes: &[Shape::Interface],
        programs: &[Program::IpAddress],
        text: None,
    };
    let mut neighbors = peer();
    neighbors.push(leaf("peer-group", ANY));
    node(
        "bgp",
        vec![
            node(
                "address-family",
                vec![unicast("ipv4-unicast"), unicast("ipv6-unicast"), evpn()],
            ),
            node(
                "listen",
                vec![tag("range", PREFIX4, vec![leaf("peer-group", ANY)])],
            ),
            tag("neighbor", neighbor, neighbors),
            node(
                "parameters",
                vec![
                    node(
                        "bestpath",
                        vec![node("as-path", flags(&["multipath-relax"]))],
                    ),
                    flag("ebgp-requires-policy"),
                    flag("log-neighbor-changes"),
                    flag("network-import-check"),
                    leaf("router-id", ADDRESS4),
                    leaf("cluster-id", ADDRESS),
                ],
            ),
            tag("peer-group", NAME, peer()),
            leaf("system-as", ASN),
            node(
                "timers",
                vec![
                    leaf("holdtime", program(&[Program::Number(1, 65535)])),
                    leaf("keepalive", program(&[Program::Number(1, 65535)])),
                ],
            ),
        ],
    )
}
