//! Turns a line that a router refused into the field that decides it.

use super::plan::{Command, Verb};

/// What each part of a line is made from: the words that lead to it (`*` is any word), and the
/// field. The first that fits is taken.
const FIELDS: [(&str, &str); 25] = [
    ("vrf name * table", "Region.spec.tables"),
    ("vrf name * vni", "Region.spec.vnis"),
    ("vrf name * protocols bgp system-as", "Region.spec.asn"),
    (
        "vrf name * protocols bgp parameters router-id",
        "Provider.spec.vyos.routerId",
    ),
    (
        "vrf name * protocols bgp address-family l2vpn-evpn rd",
        "Provider.spec.vyos.routerId",
    ),
    (
        "vrf name * protocols bgp address-family l2vpn-evpn route-target",
        "Region.spec.asn",
    ),
    ("vrf name * protocols bgp", "Region.spec.asn"),
    ("vrf name *", "Region.spec.tables"),
    ("interfaces vxlan * mtu", "Region.spec.mtu"),
    (
        "interfaces vxlan * source-address",
        "Provider.spec.vyos.routerId",
    ),
    ("interfaces vxlan *", "Region.spec.vnis"),
    ("interfaces bridge * address", "Network.spec.ipv4.prefix"),
    ("interfaces bridge * mtu", "Region.spec.mtu"),
    (
        "interfaces bridge * member",
        "Region.spec.attachments[].vlan.interface",
    ),
    ("interfaces bridge *", "Region.spec.vnis"),
    ("interfaces * * vif * address", "Network.spec.ipv4.prefix"),
    ("interfaces * * vif * mtu", "Region.spec.mtu"),
    (
        "interfaces * * vif *",
        "Region.spec.attachments[].vlan.vlans",
    ),
    ("interfaces * *", "Region.spec.attachments[].vlan.interface"),
    (
        "service dhcp-server shared-network-name * subnet * range",
        "Network.spec.ipv4.dhcp",
    ),
    (
        "service dhcp-server shared-network-name * subnet * option name-server",
        "Network.spec.dns.servers",
    ),
    (
        "service dhcp-server shared-network-name * subnet * option domain-name",
        "Network.spec.dns.domain",
    ),
    (
        "service dhcp-server shared-network-name * subnet *",
        "Network.spec.ipv4.prefix",
    ),
    (
        "service dhcp-server shared-network-name *",
        "Network.spec.ipv4.dhcp",
    ),
    ("service dhcp-server", "Network.spec.ipv4.dhcp"),
];

/// The field that decides a line, as `KIND.PATH`; `None` where none of ours does.
#[must_use]
pub fn field(path: &[String]) -> Option<&'static str> {
    let fits = |pattern: &str| {
        let mut words = path.iter();
        pattern
            .split(' ')
            .all(|want| words.next().is_some_and(|word| want == "*" || want == word))
    };
    let found = FIELDS.iter().find(|(pattern, _)| fits(pattern));
    found.map(|(_, field)| *field)
}

/// The field that a refusal is about: of one object's commands below the node that failed, the
/// one whose value or whose leaf the router's words name.
#[must_use]
pub fn field_of_refusal(sent: &[&Command], node: &[String], words: &str) -> Option<&'static str> {
    let spoken: Vec<String> = words
        .split(|c: char| c.is_whitespace() || "\"'[],!:;()".contains(c))
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty())
        .collect();
    let says = |word: &str| spoken.iter().any(|said| said == &word.to_lowercase());
    let sets = || {
        sent.iter()
            .filter(|c| c.verb == Verb::Set && c.path.starts_with(node))
    };
    let below = |c: &&&Command| c.path.len() > node.len() + 1;
    // Words such as `10.0.0.1/24` are values; `mtu` is a leaf.
    let by_leaf = sets().filter(below).find(|c| {
        let leaf = c.path.get(c.path.len() - 2);
        leaf.is_some_and(|leaf| leaf != "description" && says(leaf))
    });
    // Words that repeat several values, as a kernel's do, are about none of them alone.
    let by_value = || {
        let mut spoken = sets().filter(below).filter(|c| {
            let value = c.path.last();
            value.is_some_and(|v| v.bytes().any(|b| b.is_ascii_digit()) && says(v))
        });
        spoken.next().filter(|_| spoken.next().is_none())
    };
    by_leaf
        .or_else(by_value)
        .map_or_else(|| field(node), |c| field(&c.path))
}

#[cfg(test)]
mod tests {
    use super::super::lines::words;
    use super::*;

    #[test]
    fn every_line_that_we_send_leads_to_a_field() {
        let rows = [
            ("vrf name bb1000 table 1000", "Region.spec.tables"),
            ("vrf name bb1000 vni 10001", "Region.spec.vnis"),
            ("vrf name bb1000 description x", "Region.spec.tables"),
            (
                "vrf name bb1000 protocols bgp system-as 65000",
                "Region.spec.asn",
            ),
            (
                "vrf name bb1000 protocols bgp address-family l2vpn-evpn rd 10.255.0.1:1000",
                "Provider.spec.vyos.routerId",
            ),
            ("interfaces vxlan vxlan10001 mtu 8950", "Region.spec.mtu"),
            ("interfaces vxlan vxlan10001 vni 10001", "Region.spec.vnis"),
            (
                "interfaces vxlan vxlan10001 source-address 10.255.0.1",
                "Provider.spec.vyos.routerId",
            ),
            (
                "interfaces bridge br10001 address 10.0.0.1/24",
                "Network.spec.ipv4.prefix",
            ),
            (
                "interfaces bridge br10001 member interface eth2.101",
                "Region.spec.attachments[].vlan.interface",
            ),
            (
                "interfaces ethernet eth2 vif 101 address 10.0.0.1/24",
                "Network.spec.ipv4.prefix",
            ),
            (
                "interfaces bonding bond0 vif 101 mtu 9000",
                "Region.spec.mtu",
            ),
            (
                "interfaces ethernet eth2 vif 101 description x",
                "Region.spec.attachments[].vlan.vlans",
            ),
            (
                "interfaces ethernet eth2",
                "Region.spec.attachments[].vlan.interface",
            ),
            (
                "service dhcp-server shared-network-name bb10001 subnet 10.0.0.0/24 range pool start 10.0.0.9",
                "Network.spec.ipv4.dhcp",
            ),
            (
                "service dhcp-server shared-network-name bb10001 subnet 10.0.0.0/24 subnet-id 1",
                "Network.spec.ipv4.prefix",
            ),
            (
                "service dhcp-server shared-network-name bb10001 subnet 10.0.0.0/24 option domain-name a",
                "Network.spec.dns.domain",
            ),
        ];
        for (line, wanted) in rows {
            assert_eq!(field(&words(line)), Some(wanted), "{line}");
        }
        assert_eq!(field(&words("system host-name r1")), None);
    }

    fn set(line: &str) -> Command {
        Command {
            owner: "u1".to_owned(),
            verb: Verb::Set,
            path: words(line),
        }
    }

    #[test]
    fn the_words_of_a_refusal_lead_to_the_line_that_they_are_about() {
        let sent = [
            set("interfaces bridge br10001 address 10.0.0.1/24"),
            set("interfaces bridge br10001 mtu 8950"),
            set("interfaces bridge br10001 vrf bb1000"),
            set("interfaces vxlan vxlan10001 vni 10001"),
            set("interfaces vxlan vxlan10001 source-address 10.255.0.1"),
            set("interfaces vxlan vxlan10001 mtu 8950"),
        ];
        let sent: Vec<&Command> = sent.iter().collect();
        let rows = [
            (
                "interfaces vxlan vxlan10001",
                "Underlay MTU is smaller than the interface mtu",
                "Region.spec.mtu",
            ),
            (
                "interfaces vxlan vxlan10001",
                "Group, remote, source-address or source-interface must be configured",
                "Provider.spec.vyos.routerId",
            ),
            (
                "interfaces bridge br10001",
                "Cannot assign \"10.0.0.1/24\" twice",
                "Network.spec.ipv4.prefix",
            ),
            (
                "interfaces vxlan vxlan10001",
                "failed: ip link add vxlan10001 type vxlan local 10.255.0.1 id 10001",
                "Region.spec.vnis",
            ),
            (
                "interfaces vxlan vxlan10001",
                "something else",
                "Region.spec.vnis",
            ),
        ];
        for (node, said, wanted) in rows {
            assert_eq!(
                field_of_refusal(&sent, &words(node), said),
                Some(wanted),
                "{said}"
            );
        }
    }
}
