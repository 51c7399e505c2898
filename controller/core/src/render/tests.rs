//! What routers and clusters are asked to have, printed for named scenes, and its laws.

use bb_crds::ids::Vni;
use proptest::prelude::*;
use serde_json::json;

use crate::testkit::{Kit, instance, network, region};
use crate::vyos::{Lines, Want, plan};

/// The commands that put everything on an empty router, as they are typed.
fn commands(kit: &Kit, router: &str) -> String {
    let desired = &kit.pass().routers[router];
    let commands = plan(desired, &Lines::default()).commands;
    let lines: Vec<String> = commands.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn attach(kit: &mut Kit, cluster: &str, router: &str, interface: &str, bridge: &str) {
    kit.edit(&region("lab"), |o| {
        let list = o["spec"]["attachments"].as_array_mut().unwrap();
        list.push(
            json!({"name": format!("a{}", list.len()), "cluster": cluster, "vlan":
            {"router": router, "interface": interface, "bridge": bridge, "vlans": "100-3999"}}),
        );
    });
}

fn with_tenant() -> Kit {
    let mut kit = Kit::two_sites();
    kit.tenant("acme");
    kit
}

#[test]
fn a_network_of_one_zone_is_a_vif() {
    let mut kit = with_tenant();
    kit.network(
        "acme/db",
        json!({"zones": ["north"], "ipv4": {"prefix": "10.10.1.0/24"}}),
    );
    kit.settle();
    insta::assert_snapshot!(commands(&kit, "r1"));
    assert_eq!(
        commands(&kit, "r2"),
        "",
        "the other router hears nothing of it"
    );
}

#[test]
fn a_network_of_two_zones_is_a_bridge_with_vxlan_and_one_server() {
    let mut kit = with_tenant();
    kit.network(
        "acme/web",
        json!({
            "ipv4": {"prefix": "10.10.0.0/24", "gateway": "10.10.0.254",
                "dhcp": {"from": "10.10.0.200", "to": "10.10.0.220"}},
            "dns": {"servers": ["9.9.9.9", "1.1.1.1"], "domain": "acme.example"}}),
    );
    kit.settle();
    insta::assert_snapshot!(
        "a_network_of_two_zones_on_its_first_router",
        commands(&kit, "r1")
    );
    insta::assert_snapshot!(
        "a_network_of_two_zones_on_its_second_router",
        commands(&kit, "r2")
    );
}

#[test]
fn two_tenants_with_one_prefix_share_nothing() {
    let mut kit = with_tenant();
    kit.tenant("umbrella");
    for name in ["acme/lan", "umbrella/lan"] {
        kit.network(
            name,
            json!({"zones": ["north"], "ipv4": {"prefix": "10.0.0.0/24"}}),
        );
    }
    kit.settle();
    insta::assert_snapshot!(commands(&kit, "r1"));
}

#[test]
fn two_clusters_on_one_trunk_need_no_bridge() {
    let mut kit = with_tenant();
    kit.cluster("c3", "north");
    attach(&mut kit, "c3", "r1", "eth2", "vmbr7");
    kit.network(
        "acme/lan",
        json!({"zones": ["north"], "ipv4": {"prefix": "10.0.0.0/24"}}),
    );
    kit.settle();
    insta::assert_snapshot!(commands(&kit, "r1"));
}

#[test]
fn two_trunks_of_one_router_are_bridged_without_vxlan() {
    let mut kit = with_tenant();
    kit.cluster("c3", "north");
    attach(&mut kit, "c3", "r1", "eth3", "vmbr1");
    kit.network(
        "acme/lan",
        json!({"zones": ["north"], "ipv4": {"prefix": "10.0.0.0/24"}}),
    );
    kit.settle();
    insta::assert_snapshot!(commands(&kit, "r1"));
}

#[test]
fn an_underlay_of_1500_makes_stretched_networks_smaller() {
    let mut kit = with_tenant();
    kit.set(&region("lab"), "mtu", json!(1500));
    kit.network("acme/wide", json!({"ipv4": {"prefix": "10.0.0.0/24"}}));
    kit.network(
        "acme/near",
        json!({"zones": ["north"], "ipv4": {"prefix": "10.0.1.0/24"}}),
    );
    kit.settle();
    insta::assert_snapshot!(commands(&kit, "r1"));
    assert_eq!(kit.status(&network("acme/wide"), "/mtu"), 1450);
    assert_eq!(kit.status(&network("acme/near"), "/mtu"), 1500);
}

#[test]
fn a_bond_carries_vifs_like_any_interface() {
    let mut kit = with_tenant();
    kit.edit(&region("lab"), |o| {
        o["spec"]["attachments"][0]["vlan"]["interface"] = json!("bond0");
    });
    kit.network(
        "acme/db",
        json!({"zones": ["north"], "ipv4": {"prefix": "10.10.1.0/24"}}),
    );
    kit.settle();
    insta::assert_snapshot!(commands(&kit, "r1"));
}

#[test]
fn a_cluster_is_asked_for_a_machine_with_a_volume_and_a_container() {
    let mut kit = Kit::acme();
    kit.volume("acme/data", json!({"size": "20Gi", "zone": "north"}));
    kit.instance(
        "acme/pg",
        json!({"image": "debian-12", "cpu": 2, "memory": "2Gi", "disk": "10Gi",
            "networks": [{"name": "db", "network": "db"},
                {"name": "web", "network": "web", "address": "10.10.0.10"}],
            "volumes": [{"name": "data", "volume": "data"}],
            "sshKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 alice"]}),
    );
    kit.instance(
        "acme/cache",
        json!({"type": "Container", "image": "alpine", "memory": "256Mi", "power": "Stopped",
            "placement": {"zone": "north"}, "networks": [{"name": "web", "network": "web"}]}),
    );
    kit.settle();
    insta::assert_debug_snapshot!(kit.pass().clusters["c1"]);
}

/// An instance's life sends nothing to any router.
#[test]
fn instances_come_change_and_go_without_a_word_to_routers() {
    let mut kit = Kit::acme();
    let before = kit.pass().routers;
    let same = |kit: &Kit| assert_eq!(kit.pass().routers, before);
    kit.volume("acme/data", json!({"size": "1Gi", "zone": "north"}));
    kit.machine("acme/one", "web");
    kit.machine("acme/two", "db");
    kit.settle_with(same);
    kit.set(&instance("acme/one"), "memory", json!("4Gi"));
    kit.set(&instance("acme/two"), "cpu", json!(4));
    kit.set(
        &instance("acme/two"),
        "volumes",
        json!([{"name": "d", "volume": "data"}]),
    );
    kit.settle_with(same);
    kit.set(&instance("acme/one"), "power", json!("Stopped"));
    kit.settle_with(same);
    kit.delete(&instance("acme/one"));
    kit.delete(&instance("acme/two"));
    kit.settle_with(same);
    assert!(kit.gone(&instance("acme/one")) && kit.gone(&instance("acme/two")));
}

#[test]
fn the_largest_numbers_fit_a_router() {
    let mut kit = with_tenant();
    kit.edit(&region("lab"), |o| {
        o["spec"]["asn"] = json!(4_294_967_294_u32);
        o["spec"]["vnis"] = json!(format!("{}-{}", Vni::MAX - 4, Vni::MAX));
        o["spec"]["tables"] = json!("65530-65535");
        for at in 0..2 {
            o["spec"]["attachments"][at]["vlan"]["interface"] = json!("bond1000");
            o["spec"]["attachments"][at]["vlan"]["vlans"] = json!("4090-4094");
        }
    });
    kit.network(
        "acme/web",
        json!({"ipv4": {"prefix": "10.0.0.0/24",
        "dhcp": {"from": "10.0.0.8", "to": "10.0.0.9"}}}),
    );
    kit.settle();
    let commands = commands(&kit, "r1");
    let mut seen = 0;
    for line in commands.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            // Linux: 15 characters, the dot and VLAN of a vif among them.
            ["set", "interfaces", _, interface, "vif", vlan, ..] => {
                assert!(format!("{interface}.{vlan}").len() <= 15, "{line}");
            }
            ["set", "interfaces", _, name, ..] | ["set", "vrf", "name", name, ..] => {
                assert!(name.len() <= 15, "{line}");
            }
            _ => {}
        }
        // RFC 4364: an RD of an address has 16 bits for the number, and so has a route target
        // of an AS number of four bytes (RFC 5668).
        if let [.., "rd" | "import" | "export", value] = words.as_slice() {
            let (_, number) = value.split_once(':').unwrap();
            assert!(number.parse::<u16>().is_ok(), "{line}");
            seen += 1;
        }
    }
    assert_eq!(seen, 3, "{commands}");
}

/// Networks and tenants at random, all of them given their numbers.
fn scene() -> impl Strategy<Value = Kit> {
    let network = (0..2usize, 0..3usize, any::<bool>());
    proptest::collection::vec(network, 0..6).prop_map(|networks| {
        let mut kit = Kit::two_sites();
        kit.tenant("acme");
        kit.tenant("umbrella");
        for (at, (tenant, zones, dhcp)) in networks.into_iter().enumerate() {
            let name = format!("{}/n{at}", ["acme", "umbrella"][tenant]);
            let zones = [json!([]), json!(["north"]), json!(["south"])][zones].clone();
            let mut ipv4 = json!({"prefix": format!("10.{at}.0.0/24")});
            if dhcp {
                let pool = |last: u8| json!(format!("10.{at}.0.{last}"));
                ipv4["dhcp"] = json!({"from": pool(9), "to": pool(20)});
            }
            kit.network(&name, json!({"zones": zones, "ipv4": ipv4}));
        }
        while kit.reconcile() > 0 {}
        kit
    })
}

fn wanted(kit: &Kit, router: &str) -> Lines {
    let mut all = Lines::default();
    for claim in &kit.pass().routers[router].claims {
        if let Want::Present { lines, .. } = &claim.want {
            all.extend(lines);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_rendered_is_read_back_as_it_is(kit in scene()) {
        for router in ["r1", "r2"] {
            let lines = wanted(&kit, router);
            prop_assert_eq!(Lines::parse(&lines.tree()), lines);
        }
    }

    #[test]
    fn every_line_is_below_a_node_that_bears_its_owners_mark(kit in scene()) {
        for router in ["r1", "r2"] {
            for claim in &kit.pass().routers[router].claims {
                let Want::Present { roots, lines } = &claim.want else { continue };
                for line in lines.iter() {
                    prop_assert!(roots.iter().any(|root| line.starts_with(&root.0)), "{:?}", line);
                }
                for root in roots {
                    let mut leaf = root.0.clone();
                    leaf.push("description".to_owned());
                    let mark = lines.value(&leaf).unwrap_or_default();
                    let ours = format!("bitbuilder here/{} ", claim.owner);
                    prop_assert!(mark.starts_with(&ours), "{:?}: {}", root, mark);
                }
            }
        }
    }

    #[test]
    fn no_two_objects_ask_for_one_line(kit in scene()) {
        for router in ["r1", "r2"] {
            let mut sum = 0;
            for claim in &kit.pass().routers[router].claims {
                if let Want::Present { lines, .. } = &claim.want {
                    sum += lines.len();
                }
            }
            prop_assert_eq!(wanted(&kit, router).len(), sum);
        }
    }
}

#[test]
fn nothing_waits_for_a_network_that_there_is_no_number_for() {
    let mut kit = with_tenant();
    kit.set(&region("lab"), "vnis", json!("10-11"));
    kit.settle();
    let lan = |kit: &mut Kit, name: &str, prefix: &str| {
        kit.network(
            name,
            json!({"zones": ["north"], "ipv4": {"prefix": prefix}}),
        );
    };
    lan(&mut kit, "acme/one", "10.0.1.0/24");
    kit.settle();
    lan(&mut kit, "acme/two", "10.0.2.0/24");
    while kit.reconcile() > 0 {}
    let (reason, _) = kit.unready(&network("acme/two"));
    assert_eq!(reason, bb_crds::Reason::Exhausted);
    let router = &kit.pass().routers["r1"];
    assert!(router.coming.is_empty(), "{:?}", router.coming);
}
