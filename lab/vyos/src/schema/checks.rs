//! Turns the value rules that many nodes share into named checks.

use crate::values::{Check, Program, Shape};

const fn shapes(shapes: &'static [Shape], text: Option<&'static str>) -> Check {
    Check {
        shapes,
        programs: &[],
        text,
    }
}

const fn programs(programs: &'static [Program], text: Option<&'static str>) -> Check {
    Check {
        shapes: &[],
        programs,
        text,
    }
}

pub(super) const fn words(words: &'static [Shape]) -> Check {
    shapes(words, None)
}

pub(super) const fn numbered(shape: &'static [Shape], text: &'static str) -> Check {
    shapes(shape, Some(text))
}

pub(super) const fn number(program: &'static [Program], text: &'static str) -> Check {
    programs(program, Some(text))
}

pub(super) const fn program(program: &'static [Program]) -> Check {
    programs(program, None)
}

pub(super) const ANY: Check = shapes(&[], None);
pub(super) const DESCRIPTION: Check = shapes(
    &[Shape::AtMost(255)],
    Some("Description too long (limit 255 characters)"),
);
pub(super) const INTERFACE: Check = shapes(&[Shape::Interface], None);
pub(super) const NAME: Check = shapes(&[Shape::Name], None);
pub(super) const GROUP_NAME: Check = shapes(
    &[Shape::Name],
    Some(
        "Name of firewall group can only contain alphanumeric letters, hyphen, underscores and dot",
    ),
);
pub(super) const VRF_NAME: Check = programs(
    &[Program::VrfName],
    Some(
        "VRF instance name must be 15 characters or less and can not\nbe named as regular network \
         interfaces.\nA name must starts from a letter.\n",
    ),
);
/// As [`VRF_NAME`], and the table everything is in that is in none.
pub(super) const VRF_OR_DEFAULT: Check = Check {
    shapes: &[Shape::Words(&["default"])],
    programs: &[Program::VrfName],
    text: None,
};
pub(super) const HOST_OR_DHCP: Check = Check {
    shapes: &[Shape::Words(&["dhcp", "dhcpv6"])],
    programs: &[Program::IpHost],
    text: None,
};
pub(super) const HOST: Check = program(&[Program::IpHost]);
pub(super) const ADDRESS: Check = program(&[Program::IpAddress]);
pub(super) const ADDRESS_OR_PREFIX: Check = program(&[Program::IpAddress, Program::IpPrefix]);
pub(super) const ADDRESS_OR_FQDN: Check = program(&[Program::IpAddress, Program::Fqdn]);
pub(super) const ADDRESS4: Check = program(&[Program::Ipv4Address]);
pub(super) const PREFIX4: Check = program(&[Program::Ipv4Prefix]);
pub(super) const PREFIX: Check = program(&[Program::IpPrefix]);
pub(super) const ADDRESS4_OR_RANGE: Check = program(&[Program::Ipv4Address, Program::Ipv4Range]);
/// What a rule may match: an address, a network, a range, or not one of them.
pub(super) const MATCH4: Check = program(&[
    Program::Ipv4Address,
    Program::Ipv4Prefix,
    Program::Ipv4Range,
    Program::NotThis(&Program::Ipv4Address),
    Program::NotThis(&Program::Ipv4Prefix),
    Program::NotThis(&Program::Ipv4Range),
]);
pub(super) const MAC: Check = program(&[Program::Mac]);
pub(super) const FQDN: Check = program(&[Program::Fqdn]);
pub(super) const RD_RT: Check = program(&[Program::RdRt]);
pub(super) const KEY: Check = programs(&[Program::Base64], Some("Key is not base64-encoded"));
pub(super) const MTU: Check = programs(
    &[Program::Number(68, 16000)],
    Some("MTU must be between 68 and 16000"),
);
pub(super) const PORT: Check = programs(
    &[Program::Number(1, 65535)],
    Some("Port number must be in range 1 to 65535"),
);
pub(super) const PORT_RANGE: Check = program(&[Program::Port]);
pub(super) const PORTS: Check = program(&[Program::PortMulti]);
pub(super) const PROTOCOL: Check = program(&[Program::IpProtocol]);
pub(super) const ASN: Check = program(&[Program::Number(1, 4_294_967_294)]);
pub(super) const VNI: Check = program(&[Program::Number(0, 16_777_214)]);
pub(super) const DISTANCE: Check = program(&[Program::Number(1, 255)]);
pub(super) const U32: Check = program(&[Program::Number(0, 4_294_967_295)]);
pub(super) const MATCH_INTERFACE: Check = Check {
    shapes: &[Shape::InterfaceMatch],
    programs: &[Program::VrfName],
    text: None,
};
