//! Turns the `nat` and `firewall` subtrees into schema nodes.

use super::checks::{
    ADDRESS4_OR_RANGE, ANY, DESCRIPTION, GROUP_NAME, MAC, MATCH_INTERFACE, MATCH4, NAME,
    PORT_RANGE, PORTS, PREFIX4, PROTOCOL, number, words,
};
use super::{Def, flag, flags, leaf, multi, node, tag};
use crate::values::{Check, Program, Shape};

const NAT_RULE: Check = number(
    &[Program::Number(1, 999_999)],
    "NAT rule number must be between 1 and 999999",
);
const FIREWALL_RULE: Check = number(
    &[Program::Number(1, 999_999)],
    "Firewall rule number must be between 1 and 999999",
);

fn groups() -> Def {
    node(
        "group",
        [
            "address-group",
            "domain-group",
            "mac-group",
            "network-group",
            "port-group",
        ]
        .map(|name| leaf(name, ANY))
        .into(),
    )
}

fn side(name: &'static str) -> Def {
    node(
        name,
        vec![
            leaf("address", MATCH4),
            leaf("fqdn", ANY),
            groups(),
            leaf("port", PORTS),
        ],
    )
}

fn interface(name: &'static str) -> Def {
    node(
        name,
        vec![leaf("group", ANY), leaf("name", MATCH_INTERFACE)],
    )
}

pub(super) fn nat() -> Def {
    let address = Check {
        shapes: &[Shape::Words(&["masquerade"])],
        programs: &[
            Program::Ipv4Prefix,
            Program::Ipv4Address,
            Program::Ipv4Range,
        ],
        text: None,
    };
    let rule = |own: Vec<Def>| {
        let mut below = vec![
            leaf("description", DESCRIPTION),
            side("destination"),
            flag("disable"),
            flag("exclude"),
            flag("log"),
            leaf("protocol", PROTOCOL),
            side("source"),
        ];
        below.extend(own);
        vec![tag("rule", NAT_RULE, below)]
    };
    let translation = |address| {
        node(
            "translation",
            vec![
                leaf("address", address),
                leaf("port", PORT_RANGE),
                node("redirect", vec![leaf("port", PORT_RANGE)]),
            ],
        )
    };
    let plain = Check {
        shapes: &[],
        ..address
    };
    node(
        "nat",
        vec![
            node(
                "destination",
                rule(vec![interface("inbound-interface"), translation(plain)]),
            ),
            node(
                "source",
                rule(vec![interface("outbound-interface"), translation(address)]),
            ),
        ],
    )
    .owned(220)
}

fn rule() -> Def {
    let action = words(&[Shape::Words(&[
        "accept", "continue", "jump", "reject", "return", "drop", "queue", "offload", "synproxy",
    ])]);
    tag(
        "rule",
        FIREWALL_RULE,
        vec![
            leaf("action", action),
            leaf("description", DESCRIPTION),
            side("destination"),
            flag("disable"),
            interface("inbound-interface"),
            leaf("jump-target", ANY),
            flag("log"),
            interface("outbound-interface"),
            leaf("protocol", PROTOCOL),
            side("source"),
            multi(
                "state",
                words(&[Shape::Words(&["established", "invalid", "new", "related"])]),
            ),
        ],
    )
}

fn chain(name: &'static str, filter: &'static str) -> Def {
    let action = words(&[Shape::Words(&["drop", "accept"])]);
    let below = vec![
        leaf("default-action", action),
        flag("default-log"),
        leaf("description", DESCRIPTION),
        rule(),
    ];
    node(name, vec![node(filter, below)])
}

fn family(name: &'static str) -> Def {
    let action = words(&[Shape::Words(&[
        "drop", "jump", "reject", "return", "accept", "continue",
    ])]);
    let own = tag(
        "name",
        NAME,
        vec![
            leaf("default-action", action),
            leaf("default-jump-target", ANY),
            flag("default-log"),
            leaf("description", DESCRIPTION),
            rule(),
        ],
    );
    node(
        name,
        vec![
            chain("forward", "filter"),
            chain("input", "filter"),
            own,
            chain("output", "filter"),
            chain("prerouting", "raw"),
        ],
    )
}

pub(super) fn firewall() -> Def {
    let group = |name, values| {
        let below = vec![
            leaf("description", DESCRIPTION),
            multi("include", ANY),
            values,
        ];
        tag(name, GROUP_NAME, below)
    };
    let switch = |name| leaf(name, words(&[Shape::Words(&["enable", "disable"])]));
    let state = |name| {
        let action = words(&[Shape::Words(&["accept", "drop", "reject"])]);
        node(name, vec![leaf("action", action), flag("log")])
    };
    let zone = tag(
        "zone",
        NAME,
        vec![
            leaf(
                "default-action",
                words(&[Shape::Words(&["drop", "reject"])]),
            ),
            flag("default-log"),
            leaf("description", DESCRIPTION),
            tag(
                "from",
                ANY,
                vec![node(
                    "firewall",
                    vec![leaf("name", ANY), leaf("ipv6-name", ANY)],
                )],
            ),
            // This build has no `member` below a zone; later ones have nothing else.
            multi("interface", MATCH_INTERFACE),
            flag("local-zone"),
        ],
    );
    node(
        "firewall",
        vec![
            node(
                "global-options",
                vec![
                    switch("all-ping"),
                    switch("send-redirects"),
                    switch("syn-cookies"),
                    node(
                        "state-policy",
                        vec![state("established"), state("invalid"), state("related")],
                    ),
                    node("apply-to-bridged-traffic", flags(&["ipv4", "ipv6"])),
                ],
            ),
            node(
                "group",
                vec![
                    group("address-group", multi("address", ADDRESS4_OR_RANGE)),
                    group("interface-group", multi("interface", MATCH_INTERFACE)),
                    group("mac-group", multi("mac-address", MAC)),
                    group("network-group", multi("network", PREFIX4)),
                    group("port-group", multi("port", PORTS)),
                ],
            ),
            family("ipv4"),
            family("ipv6"),
            zone,
        ],
    )
    .owned(489)
}
