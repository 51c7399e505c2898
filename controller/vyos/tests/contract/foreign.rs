//! Turns a thousand changes of ours into none of what is somebody else's on the same router.

use std::collections::BTreeMap;

use bb_core::vyos::plan::marks;
use bb_core::vyos::{Claim, Desired, Lines};
use bb_lab_vyos::Running;
use serde_json::{Value, json};

use crate::claims::{Bench, HERE, absent, desired, plain, stretched, tenant, with_dhcp};
use crate::stand::{lab_with, pruned, router};

/// Some 300 lines of a router that does much else: on the same trunk, the same DHCP server, in
/// VRFs with names and numbers like ours.
fn seed() -> Value {
    let rules: BTreeMap<String, Value> = (1..=70)
        .map(|n| {
            let rule = json!({"action": "accept", "protocol": "tcp", "description": format!("rule {n}"),
                "destination": {"port": format!("{}", 1000 + n)}});
            (n.to_string(), rule)
        })
        .collect();
    json!({
        "interfaces": {
            "dummy": {"dum0": {"address": "10.255.0.1/32"}},
            "bridge": {"br777": {"address": "198.51.100.1/24", "member": {"interface": {"eth3": {}}}}},
            "ethernet": {
                "eth1": {"address": ["10.254.0.0/31", "192.0.2.1/24"], "mtu": "9000"},
                "eth2": {"description": "trunk", "mtu": "9000", "vif": {
                    "99": {"address": "172.16.1.1/24", "vrf": "blue", "description": "printers"},
                    "4000": {"address": "172.16.2.1/24"}}},
            },
        },
        "firewall": {"ipv4": {"forward": {"filter": {"default-action": "accept", "rule": rules}}}},
        "nat": {"source": {"rule": {"10": {"outbound-interface": {"name": "eth1"},
            "source": {"address": "172.16.1.0/24"}, "translation": {"address": "masquerade"}}}}},
        "protocols": {"bgp": {"system-as": "65000", "address-family": {"l2vpn-evpn":
            {"advertise-all-vni": {}}}}},
        "service": {"dhcp-server": {"shared-network-name": {"printers": {"subnet":
            {"172.16.2.0/24": {"subnet-id": "4000", "lease": "60",
                "range": {"all": {"start": "172.16.2.10", "stop": "172.16.2.99"}}}}}}}},
        "system": {"host-name": "edge-1"},
        "vrf": {"name": {
            "blue": {"table": "200", "description": "not of the cloud", "vni": "200",
                "protocols": {"bgp": {"system-as": "65000"}, "static":
                    {"route": {"0.0.0.0/0": {"next-hop": {"172.16.1.254": {}}}}}}},
            "bb77": {"table": "177"},
        }},
    })
}

/// What is not below a mark of ours, as text, one line per line.
fn foreign(lab: &Running) -> String {
    let mut lines = Lines::parse(&pruned(&lab.config()));
    for root in marks(HERE, &lines).keys() {
        lines.remove_below(root);
    }
    let text = lines.iter().map(|line| line.join(" "));
    text.collect::<Vec<_>>().join("\n")
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

const TENANTS: u64 = 3;
const NETWORKS: u64 = 12;

/// A network in one of its forms: gone, plain, stretched, with a pool.
fn form(dice: &mut Dice, n: usize) -> Claim {
    let tenant = n % 3;
    match dice.below(5) {
        0 => absent(&plain(n, tenant)),
        1 => plain(n, tenant),
        2 | 3 => stretched(n, tenant),
        _ => with_dhcp(n, tenant),
    }
}

/// Tenants that have a network have a VRF.
fn whole(networks: &BTreeMap<usize, Claim>) -> Desired {
    let used = |t: usize| {
        let mut mine = networks.iter().filter(|(n, _)| **n % 3 == t);
        mine.any(|(_, c)| c.want != bb_core::vyos::Want::Absent)
    };
    let tenants = (0..3).map(|t| {
        if used(t) {
            tenant(t)
        } else {
            absent(&tenant(t))
        }
    });
    desired(tenants.chain(networks.values().cloned()))
}

#[tokio::test]
async fn what_is_foreign_is_the_same_to_the_byte_after_a_thousand_changes() {
    assert_eq!((TENANTS, NETWORKS), (3, 12));
    let lab = lab_with(|config| config.seed = seed()).await;
    let mut bench = Bench::new(router(&lab));
    let before = foreign(&lab);
    assert!(before.lines().count() >= 300, "{}", before.lines().count());
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut networks = BTreeMap::new();
    let (mut changes, mut steps) = (0, 0);
    while changes < 1000 {
        for _ in 0..=dice.below(7) {
            let n = usize::try_from(dice.below(NETWORKS)).unwrap();
            let next = form(&mut dice, n);
            changes += usize::from(networks.get(&n) != Some(&next));
            networks.insert(n, next);
        }
        steps += 1;
        let want = whole(&networks);
        // Whether ours went through is for other tests; here some of it may be refused.
        for _ in 0..20 {
            let pass = bench.pass(&want).await.unwrap();
            if pass.next != bb_vyos::Next::Now {
                break;
            }
        }
        bench.now += std::time::Duration::from_secs(1000);
        assert_eq!(foreign(&lab), before, "after {changes} changes");
    }
    println!(
        "{changes} changes in {steps} steps, {} commits",
        lab.counters.get("commits")
    );
    assert!(lab.counters.get("commits") > steps / 2);
    for claim in networks.values_mut() {
        *claim = absent(claim);
    }
    bench.settle(&whole(&networks)).await;
    bench.now += std::time::Duration::from_secs(1000);
    bench.settle(&whole(&networks)).await;
    let left = Lines::parse(&pruned(&lab.config()));
    assert_eq!(marks(HERE, &left), BTreeMap::new());
    assert_eq!(foreign(&lab), before);
}
