//! Turns a tenant with two networks into the commands that make and unmake it.

use bb_vyos::Op;

/// Commands as one types them; words with blanks in single quotes.
pub(crate) fn typed(text: &str) -> Vec<Op> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut words = Vec::new();
            for (n, part) in line.split('\'').enumerate() {
                if n % 2 == 1 {
                    words.push(part.to_owned());
                } else {
                    words.extend(part.split_whitespace().map(str::to_owned));
                }
            }
            match words.remove(0).as_str() {
                "set" => Op::set(words),
                "delete" => Op::delete(words),
                other => panic!("no command: {other}"),
            }
        })
        .collect()
}

/// VRF with L3VNI and EVPN, a network that spans sites, and one that stays on this router.
pub(crate) fn made() -> Vec<Op> {
    typed(
        "set vrf name t-acme table 1001
        set vrf name t-acme vni 50001
        set vrf name t-acme description 'tenant acme'
        set vrf name t-acme protocols bgp system-as 65000
        set vrf name t-acme protocols bgp parameters router-id 10.255.0.1
        set vrf name t-acme protocols bgp address-family ipv4-unicast redistribute connected
        set vrf name t-acme protocols bgp address-family l2vpn-evpn advertise ipv4 unicast
        set vrf name t-acme protocols bgp address-family l2vpn-evpn rd 10.255.0.1:50001
        set vrf name t-acme protocols bgp address-family l2vpn-evpn route-target import 65000:50001
        set vrf name t-acme protocols bgp address-family l2vpn-evpn route-target export 65000:50001
        set interfaces vxlan vxlan50001 vni 50001
        set interfaces vxlan vxlan50001 source-address 10.255.0.1
        set interfaces vxlan vxlan50001 parameters nolearning
        set interfaces bridge br50001 member interface vxlan50001
        set interfaces bridge br50001 vrf t-acme
        set interfaces vxlan vxlan10010 vni 10010
        set interfaces vxlan vxlan10010 source-address 10.255.0.1
        set interfaces vxlan vxlan10010 parameters nolearning
        set interfaces vxlan vxlan10010 parameters neighbor-suppress
        set interfaces ethernet eth2 vif 110 description 'net acme/web'
        set interfaces bridge br10010 member interface vxlan10010
        set interfaces bridge br10010 member interface eth2.110
        set interfaces bridge br10010 address 10.10.0.1/24
        set interfaces bridge br10010 mac 02:00:5e:00:01:01
        set interfaces bridge br10010 vrf t-acme
        set interfaces bridge br10010 description 'net acme/web'
        set interfaces ethernet eth2 vif 120 vrf t-acme
        set interfaces ethernet eth2 vif 120 address 10.20.0.1/24
        set interfaces ethernet eth2 vif 120 description 'net acme/db'
        set service dhcp-server listen-interface br10010
        set service dhcp-server shared-network-name acme-web authoritative
        set service dhcp-server shared-network-name acme-web subnet 10.10.0.0/24 subnet-id 10010
        set service dhcp-server shared-network-name acme-web subnet 10.10.0.0/24 lease 3600
        set service dhcp-server shared-network-name acme-web subnet 10.10.0.0/24 option default-router 10.10.0.1
        set service dhcp-server shared-network-name acme-web subnet 10.10.0.0/24 range pool start 10.10.0.100
        set service dhcp-server shared-network-name acme-web subnet 10.10.0.0/24 range pool stop 10.10.0.199",
    )
}

/// The same taken away. The VRF comes first: the router sorts deletes by itself.
pub(crate) fn unmade() -> Vec<Op> {
    typed(
        "delete vrf name t-acme
        delete interfaces vxlan vxlan50001
        delete interfaces bridge br50001
        delete interfaces vxlan vxlan10010
        delete interfaces bridge br10010
        delete interfaces ethernet eth2 vif 110
        delete interfaces ethernet eth2 vif 120
        delete service dhcp-server",
    )
}
