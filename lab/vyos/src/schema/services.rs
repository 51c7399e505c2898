//! Turns the `service` and `system` subtrees into schema nodes.

use super::checks::{
    ADDRESS, ADDRESS_OR_FQDN, ADDRESS_OR_PREFIX, ADDRESS4, ANY, DESCRIPTION, FQDN, INTERFACE, MAC,
    NAME, PORT, PREFIX, PREFIX4, U32, VRF_NAME, number, numbered, program, words,
};
use super::interfaces::option_servers;
use super::{Def, flag, flags, leaf, multi, node, tag};
use crate::values::{Check, Program, Shape};

pub(super) fn service() -> Def {
    node(
        "service",
        vec![
            dhcp_server().owned(911),
            dns(),
            https().owned(1001),
            ntp().owned(900),
            ssh().owned(1000),
        ],
    )
}

fn options() -> Def {
    let mut below = option_servers(&[
        "name-server",
        "ntp-server",
        "pop-server",
        "smtp-server",
        "time-server",
        "wins-server",
    ]);
    let domain = number(
        &[Program::Fqdn],
        "Invalid domain name (RFC 1123 section 2).\nMay only contain letters, numbers and .-_",
    );
    below.extend([
        leaf("default-router", ADDRESS4),
        leaf("domain-name", domain),
        multi("domain-search", domain),
        leaf("bootfile-name", ANY),
        leaf(
            "bootfile-server",
            program(&[Program::Ipv4Address, Program::Fqdn]),
        ),
        leaf("server-identifier", ADDRESS4),
        tag("static-route", PREFIX4, vec![leaf("next-hop", ADDRESS)]),
        leaf(
            "tftp-server-name",
            program(&[Program::Ipv4Address, Program::Fqdn]),
        ),
    ]);
    node("option", below)
}

fn dhcp_server() -> Def {
    let range_name = numbered(
        &[Shape::Name],
        "Invalid range name, may only be alphanumeric, dot and hyphen",
    );
    let network_name = numbered(
        &[Shape::Name],
        "Invalid shared network name. May only contain letters, numbers and .-_",
    );
    let mapping = tag(
        "static-mapping",
        number(&[Program::Fqdn], "Invalid static mapping hostname"),
        vec![
            leaf("description", DESCRIPTION),
            flag("disable"),
            leaf("duid", ANY),
            leaf("ip-address", ADDRESS4),
            leaf("mac", MAC),
            options(),
        ],
    );
    let subnet = tag(
        "subnet",
        number(&[Program::Ipv4Prefix], "Invalid IPv4 subnet definition"),
        vec![
            leaf("description", DESCRIPTION),
            flag("disable"),
            multi("exclude", ADDRESS4),
            flag("ignore-client-id"),
            leaf(
                "lease",
                number(
                    &[Program::Number(0, 4_294_967_295)],
                    "DHCP lease time must be between 0 and 4294967295 (49 days)",
                ),
            ),
            options(),
            tag(
                "range",
                range_name,
                vec![options(), leaf("start", ADDRESS4), leaf("stop", ADDRESS4)],
            ),
            mapping,
            leaf("subnet-id", program(&[Program::Number(1, 4_294_967_295)])),
        ],
    );
    let network = tag(
        "shared-network-name",
        network_name,
        vec![
            flag("authoritative"),
            leaf("description", DESCRIPTION),
            flag("disable"),
            options(),
            subnet,
        ],
    );
    node(
        "dhcp-server",
        vec![
            flag("disable"),
            flag("dynamic-dns-update"),
            flag("hostfile-update"),
            multi("listen-address", ADDRESS4),
            multi("listen-interface", INTERFACE),
            network,
        ],
    )
}

fn dns() -> Def {
    let forwarding = node(
        "forwarding",
        vec![
            multi("allow-from", PREFIX),
            leaf("cache-size", U32),
            tag(
                "domain",
                FQDN,
                vec![tag("name-server", ADDRESS, vec![leaf("port", PORT)])],
            ),
            multi("listen-address", ADDRESS),
            tag("name-server", ADDRESS, vec![leaf("port", PORT)]),
            flag("system"),
        ],
    );
    node("dns", vec![forwarding.owned(918)])
}

fn https() -> Def {
    let keys = node("keys", vec![tag("id", ANY, vec![leaf("key", ANY)])]);
    let graphql = node(
        "graphql",
        vec![
            flag("introspection"),
            node(
                "authentication",
                vec![leaf("type", words(&[Shape::Words(&["key", "token"])]))],
            ),
        ],
    );
    let api = node(
        "api",
        vec![graphql, keys, node("rest", flags(&["strict", "debug"]))],
    );
    node(
        "https",
        vec![
            api,
            node("allow-client", vec![multi("address", ADDRESS_OR_PREFIX)]),
            node(
                "certificates",
                vec![leaf("ca-certificate", ANY), leaf("certificate", ANY)],
            ),
            flag("enable-http-redirect"),
            multi("listen-address", ADDRESS),
            leaf("port", PORT),
            leaf(
                "request-body-size-limit",
                program(&[Program::Number(1, 256)]),
            ),
            multi("tls-version", words(&[Shape::Words(&["1.2", "1.3"])])),
            leaf("vrf", VRF_NAME),
        ],
    )
}

fn ntp() -> Def {
    node(
        "ntp",
        vec![
            node("allow-client", vec![multi("address", ADDRESS_OR_PREFIX)]),
            leaf("interface", INTERFACE),
            multi("listen-address", ADDRESS),
            tag(
                "server",
                ADDRESS_OR_FQDN,
                flags(&["interleave", "noselect", "nts", "pool", "prefer", "ptp"]),
            ),
            leaf("vrf", VRF_NAME),
        ],
    )
}

fn ssh() -> Def {
    node(
        "ssh",
        vec![
            flag("disable-host-validation"),
            flag("disable-password-authentication"),
            multi("listen-address", ADDRESS),
            multi("port", PORT),
            multi("vrf", VRF_NAME),
        ],
    )
}

pub(super) fn system() -> Def {
    let host_name = Check {
        shapes: &[Shape::Name],
        programs: &[],
        text: Some("Host-name must be alphanumeric and can contain hyphens"),
    };
    let login = node(
        "login",
        vec![tag(
            "user",
            NAME,
            vec![
                node(
                    "authentication",
                    vec![
                        leaf("encrypted-password", ANY),
                        leaf("plaintext-password", ANY),
                        tag(
                            "public-keys",
                            ANY,
                            vec![leaf("key", ANY), leaf("type", ANY)],
                        ),
                    ],
                ),
                leaf("full-name", ANY),
            ],
        )],
    );
    let level = leaf(
        "level",
        words(&[Shape::Words(&[
            "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "all",
        ])]),
    );
    node(
        "system",
        vec![
            node(
                "config-management",
                vec![
                    node(
                        "commit-confirm",
                        vec![leaf(
                            "action",
                            words(&[Shape::Words(&["reload", "reboot"])]),
                        )],
                    ),
                    leaf(
                        "commit-revisions",
                        number(
                            &[Program::Number(1, 65535)],
                            "Number of revisions must be between 0 and 65535",
                        ),
                    ),
                ],
            )
            .owned(400),
            leaf("domain-name", FQDN).owned(6),
            leaf("host-name", host_name).owned(5),
            login.owned(400),
            multi("name-server", ADDRESS).owned(400),
            node(
                "option",
                vec![flag("disable-usb-autosuspend"), leaf("performance", ANY)],
            )
            .owned(9999),
            node(
                "syslog",
                vec![node("global", vec![tag("facility", ANY, vec![level])])],
            )
            .owned(400),
            leaf("time-zone", ANY).owned(100),
        ],
    )
}
