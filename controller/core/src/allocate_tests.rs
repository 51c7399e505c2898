//! The laws of what is given out, by property, and its ends, by example.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::Reason;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::allocate::capacity;
use crate::resolve::{Id, resolve};
use crate::testkit::{Kit, instance, network, provider, region};
use crate::world::Key;
use crate::writes::Due;

/// Ranges so small that they end and go round.
const VNIS: (i64, i64) = (10, 19);
const TABLES: (i64, i64) = (100, 102);
const VLANS: (i64, i64) = (2, 6);
const VMIDS: (i64, i64) = (100, 106);

fn range((first, last): (i64, i64)) -> Value {
    json!(format!("{first}-{last}"))
}

/// Two sites with little to give, and three tenants without networks.
fn small() -> Kit {
    let mut kit = Kit::two_sites();
    kit.set(&region("lab"), "vnis", range(VNIS));
    kit.set(&region("lab"), "tables", range(TABLES));
    kit.edit(&region("lab"), |o| {
        for at in 0..2 {
            o["spec"]["attachments"][at]["vlan"]["vlans"] = range(VLANS);
        }
    });
    for cluster in ["c1", "c2"] {
        kit.edit(&provider(cluster), |o| {
            o["spec"]["proxmox"]["vmids"] = range(VMIDS);
        });
    }
    for name in ["a", "b", "c"] {
        kit.tenant(name);
    }
    while kit.reconcile() > 0 {}
    kit.look();
    kit
}

/// What somebody, or the machinery, does to a world.
#[derive(Clone, Debug)]
enum Act {
    Network {
        tenant: usize,
        zones: usize,
    },
    Instance {
        network: usize,
        address: Option<u8>,
        cards: usize,
    },
    /// An object is gone for good.
    Vanish(usize),
    Pass,
    /// A pass that ends after so many writes.
    Crash(usize),
    /// Two controllers decide on the same world; the second writes after so many of the
    /// first's writes.
    Race(usize),
    /// How many are given something in a pass from now on.
    Bound(Option<usize>),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..3usize, 0..3usize).prop_map(|(tenant, zones)| Act::Network { tenant, zones }),
        4 => (0..8usize, proptest::option::weighted(0.3, 0..8u8), 1..3usize)
            .prop_map(|(network, address, cards)| Act::Instance { network, address, cards }),
        2 => (0..20usize).prop_map(Act::Vanish),
        3 => Just(Act::Pass),
        2 => (0..6usize).prop_map(Act::Crash),
        2 => (0..6usize).prop_map(Act::Race),
        1 => proptest::option::of(1..4usize).prop_map(Act::Bound),
    ]
}

impl Act {
    fn go(&self, kit: &mut Kit, serial: usize) {
        match self {
            Self::Network { tenant, zones } => {
                let name = format!("{}/n{serial}", ["a", "b", "c"][*tenant]);
                let zones = [json!([]), json!(["north"]), json!(["south"])][*zones].clone();
                let prefix = format!("10.0.{serial}.0/29");
                kit.network(&name, json!({"zones": zones, "ipv4": {"prefix": prefix}}));
            }
            Self::Instance {
                network,
                address,
                cards,
            } => {
                let networks: Vec<Key> = kit.world.networks.keys().cloned().collect();
                if networks.is_empty() {
                    return;
                }
                let at = &networks[network % networks.len()];
                let prefix =
                    kit.get(&Id::Network(at.clone())).unwrap()["spec"]["ipv4"]["prefix"].clone();
                let prefix = prefix.as_str().unwrap().trim_end_matches("0/29").to_owned();
                let mut nics = Vec::new();
                for card in 0..*cards {
                    let mut nic = json!({"name": format!("n{card}"), "network": at.name});
                    if let (Some(address), 0) = (address, card) {
                        nic["address"] = json!(format!("{prefix}{address}"));
                    }
                    nics.push(nic);
                }
                let name = format!("{}/i{serial}", at.namespace);
                kit.instance(&name, json!({"image": "debian-12", "networks": nics}));
            }
            Self::Vanish(at) => {
                let mut ids = kit.ids();
                ids.retain(|id| matches!(id, Id::Network(_) | Id::Instance(_)));
                if let Some(id) = ids.get(at % ids.len().max(1)).cloned() {
                    // Its network outlives an instance.
                    if let Id::Network(key) = &id
                        && kit.world.users().any(key)
                    {
                        return;
                    }
                    kit.vanish(&id);
                }
            }
            Self::Pass => drop(kit.reconcile()),
            Self::Crash(writes) => {
                let due = kit.writes(&BTreeSet::new());
                kit.carry_out(due, *writes, |_, _| true);
            }
            Self::Race(writes) => {
                let mut decided_on = kit.clone();
                let due = kit.writes(&BTreeSet::new());
                kit.carry_out(due, *writes, |_, _| true);
                // The other counts its passes for itself, and so lets others go first.
                decided_on.passes += 1;
                let due = decided_on.writes(&BTreeSet::new());
                // What is written names the version it was decided on.
                let same = |kit: &Kit, due: &Due| {
                    kit.get(&due.change.id) == decided_on.get(&due.change.id)
                };
                kit.carry_out(due, usize::MAX, same);
            }
            Self::Bound(most) => kit.most = *most,
        }
    }
}

/// Everything that is given out: what kind of value, within what, the value, and to whom.
fn given(kit: &Kit) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    for id in kit.ids() {
        let status = kit.status(&id, "");
        let whose = |part: &str| format!("{id:?} {part}");
        match &id {
            Id::Tenant(_) => {
                for routing in status["routing"].as_array().into_iter().flatten() {
                    all.push(("vni".to_owned(), text(&routing["l3vni"]), whose("l3vni")));
                    all.push(("table".to_owned(), text(&routing["table"]), whose("table")));
                }
            }
            Id::Network(_) => {
                if !status["vni"].is_null() {
                    all.push(("vni".to_owned(), text(&status["vni"]), whose("vni")));
                }
                for vlan in status["vlans"].as_array().into_iter().flatten() {
                    let trunk = text(&vlan["router"]);
                    all.push((
                        format!("vlan on {trunk}"),
                        text(&vlan["vlan"]),
                        whose(&trunk),
                    ));
                }
            }
            Id::Instance(key) => {
                if let Some(vmid) = status["providerID"].as_str() {
                    all.push(("vmid".to_owned(), vmid.to_owned(), whose("vmid")));
                }
                for card in status["addresses"].as_array().into_iter().flatten() {
                    let within = format!("{}/{}", key.namespace, text(&card["network"]));
                    all.push((within, text(&card["address"]), whose(&text(&card["name"]))));
                }
            }
            _ => {}
        }
    }
    all
}

/// Nobody shares anything, and what somebody has stays theirs.
fn check(kit: &Kit, before: &mut BTreeMap<String, (String, String)>) -> Result<(), TestCaseError> {
    let mut taken: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut now = BTreeMap::new();
    for (kind, value, whose) in given(kit) {
        let other = taken.insert((kind.clone(), value.clone()), whose.clone());
        prop_assert_eq!(other, None, "{} {} is also that of {}", kind, value, whose);
        if let Some(had) = before.get(&whose) {
            prop_assert_eq!(had, &(kind.clone(), value.clone()), "it moved: {}", whose);
        }
        now.insert(whose, (kind, value));
    }
    *before = now;
    Ok(())
}

/// The values that a pass gives out of a range are the first free ones from its cursor on, so
/// that a freed one rests until all others had their turn; the cursor stands behind the last.
fn check_cursor(
    (first, last): (i64, i64),
    cursor: i64,
    moved: Option<i64>,
    taken: &BTreeSet<i64>,
    given: &BTreeSet<i64>,
) -> Result<(), TestCaseError> {
    let start = if (first..=last).contains(&cursor) {
        cursor
    } else {
        first
    };
    let round = (start..=last).chain(first..start);
    let free: Vec<i64> = round
        .filter(|v| !taken.contains(v))
        .take(given.len())
        .collect();
    prop_assert_eq!(&free.iter().copied().collect::<BTreeSet<_>>(), given);
    prop_assert_eq!(moved, free.last().map(|v| v + 1));
    Ok(())
}

fn check_grants(kit: &Kit) -> Result<(), TestCaseError> {
    let grants = kit.pass().grants;
    let have = given(kit);
    let taken = |kind: &str| -> BTreeSet<i64> {
        let of_kind = have.iter().filter(|(k, _, _)| k == kind);
        of_kind.map(|(_, v, _)| v.parse().unwrap()).collect()
    };
    let next = kit.status(&region("lab"), "/next");
    let at = |field: &str| next[field].as_i64().unwrap_or(0);
    let known: BTreeSet<(String, i64)> = kit
        .world
        .tenants
        .values()
        .flat_map(|t| {
            let name = t.metadata.name.clone().unwrap();
            let routing = t.status.iter().flat_map(|s| s.routing.clone());
            routing
                .map(move |r| (name.clone(), r.table))
                .collect::<Vec<_>>()
        })
        .collect();
    let new = grants.tenants.iter().flat_map(|(name, list)| {
        list.iter()
            .filter(|r| !known.contains(&(name.clone(), r.table)))
    });
    let (tables, mut vnis): (BTreeSet<i64>, BTreeSet<i64>) =
        new.map(|r| (r.table, r.l3vni)).unzip();
    vnis.extend(grants.networks.iter().filter_map(|(key, grant)| {
        let recorded = kit.world.networks[key].status.as_ref().and_then(|s| s.vni);
        recorded.is_none().then_some(i64::from(grant.vni))
    }));
    let moved = grants.regions.get("lab");
    if !tables.is_empty() {
        check_cursor(
            TABLES,
            at("table"),
            moved.map(|m| m.table),
            &taken("table"),
            &tables,
        )?;
    }
    check_cursor(VNIS, at("vni"), moved.map(|m| m.vni), &taken("vni"), &vnis)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_given_twice_and_nothing_moves(acts in proptest::collection::vec(act(), 1..30)) {
        let mut kit = small();
        let mut before = BTreeMap::new();
        for (serial, act) in acts.iter().enumerate() {
            act.go(&mut kit, serial);
            check(&kit, &mut before)?;
            check_grants(&kit)?;
        }
        let mut passes = 0;
        while kit.reconcile() > 0 {
            check(&kit, &mut before)?;
            passes += 1;
            prop_assert!(passes < 10, "written again and again: {:?}", kit.changes());
        }
    }

    #[test]
    fn the_order_of_objects_does_not_matter(
        acts in proptest::collection::vec(act(), 1..20),
        seed in proptest::collection::vec(any::<u32>(), 40),
    ) {
        let mut kit = small();
        for (serial, act) in acts.iter().enumerate() {
            act.go(&mut kit, serial);
        }
        let mut objects: Vec<(u32, Id)> = seed.into_iter().cycle().zip(kit.ids()).collect();
        objects.sort();
        let mut other = Kit::default();
        other.world.namespaces.clone_from(&kit.world.namespaces);
        (other.most, other.passes) = (kit.most, kit.passes);
        other.outcomes.clone_from(&kit.outcomes);
        for (_, id) in objects {
            other.put(&id, kit.get(&id).unwrap());
        }
        prop_assert_eq!(other.pass().grants, kit.pass().grants);
    }
}

/// The object is refused for want of something, by name; nothing is written again and again.
fn exhausted(kit: &mut Kit, id: &Id, says: &[&str]) {
    let mut passes = 0;
    while kit.reconcile() > 0 {
        passes += 1;
        assert!(passes < 10, "written again and again: {:?}", kit.changes());
    }
    let (reason, message) = kit.unready(id);
    assert_eq!(reason, Reason::Exhausted, "{message}");
    for part in says {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

fn lan(kit: &mut Kit, name: &str, third: u8) {
    let prefix = format!("10.0.{third}.0/29");
    kit.network(
        name,
        json!({"zones": ["north"], "ipv4": {"prefix": prefix}}),
    );
}

#[test]
fn a_range_that_is_used_up_is_named() {
    let mut kit = small();
    kit.set(&region("lab"), "vnis", json!("10-11"));
    lan(&mut kit, "a/one", 1);
    lan(&mut kit, "a/two", 2);
    exhausted(
        &mut kit,
        &network("a/two"),
        &["no VNI", "spec.vnis of the Region", "delete"],
    );
    // A tenant that finds a table and no VNI takes neither.
    lan(&mut kit, "b/one", 1);
    exhausted(
        &mut kit,
        &network("b/one"),
        &["no VNI", "spec.vnis of the Region"],
    );
    assert_eq!(kit.status(&region("lab"), "/next/table"), 101);

    let mut kit = small();
    for name in ["a", "b", "c", "d"] {
        kit.tenant(name);
    }
    kit.set(&region("lab"), "tables", json!("100-101"));
    while kit.reconcile() > 0 {}
    for name in ["a/one", "b/one", "c/one"] {
        lan(&mut kit, name, 1);
    }
    exhausted(
        &mut kit,
        &network("c/one"),
        &["no VRF table", "spec.tables of the Region"],
    );

    let mut kit = small();
    kit.edit(&region("lab"), |o| {
        o["spec"]["attachments"][0]["vlan"]["vlans"] = json!("2-2");
    });
    lan(&mut kit, "a/one", 1);
    lan(&mut kit, "a/two", 2);
    exhausted(
        &mut kit,
        &network("a/two"),
        &["no VLAN", "attachment on r1 eth2", "widen vlans"],
    );
    let before = kit.status(&region("lab"), "/next/vni");
    kit.machine("a/www", "two");
    while kit.reconcile() > 0 {}
    let (reason, message) = kit.unready(&instance("a/www"));
    assert_eq!(reason, Reason::Waiting, "{message}");
    assert!(
        message.contains("Network `two` is not accepted"),
        "{message}"
    );
    assert_eq!(kit.status(&region("lab"), "/next/vni"), before);
}

#[test]
fn a_cluster_or_network_that_is_full_is_named() {
    let mut kit = small();
    lan(&mut kit, "a/one", 1);
    lan(&mut kit, "a/two", 2);
    for at in 0..6 {
        kit.machine(&format!("a/www-{at}"), "one");
    }
    let words = [
        "spec.networks[one].network",
        "10.0.1.0/29 of Network one",
        "another Network",
    ];
    exhausted(&mut kit, &instance("a/www-5"), &words);
    let given: BTreeSet<String> = (0..5)
        .map(|at| {
            kit.status(&instance(&format!("a/www-{at}")), "/addresses/0/address")
                .to_string()
        })
        .collect();
    assert_eq!(given.len(), 5);
    // One that finds a VMID and no address takes neither; one that finds neither says so.
    assert_eq!(kit.status(&provider("c1"), "/nextVmid"), 105);
    kit.machine("a/more-1", "two");
    kit.machine("a/more-2", "two");
    kit.machine("a/more-3", "two");
    exhausted(
        &mut kit,
        &instance("a/more-3"),
        &["no VMID", "spec.proxmox.vmids of the Provider"],
    );
    assert_eq!(kit.status(&network("a/two"), "/nextAddress"), "10.0.2.4");
}

#[test]
fn what_is_asked_for_is_given() {
    let mut kit = small();
    lan(&mut kit, "a/one", 1);
    // The first of the prefix but one is the next to be given; who asks for it gets it.
    kit.machine("a/auto", "one");
    kit.instance(
        "a/zz",
        json!({"image": "debian-12",
        "networks": [{"name": "one", "network": "one", "address": "10.0.1.2"}]}),
    );
    while kit.reconcile() > 0 {}
    assert_eq!(
        kit.status(&instance("a/zz"), "/addresses/0/address"),
        "10.0.1.2"
    );
    assert_eq!(
        kit.status(&instance("a/auto"), "/addresses/0/address"),
        "10.0.1.3"
    );
}

#[test]
fn the_vmids_of_holder_and_templates_are_left_to_them() {
    let mut kit = small();
    kit.edit(&provider("c1"), |o| {
        o["spec"]["proxmox"]["holder"] = json!(100);
        o["spec"]["proxmox"]["images"][0]["template"] = json!(101);
    });
    lan(&mut kit, "a/one", 1);
    kit.machine("a/www", "one");
    while kit.reconcile() > 0 {}
    assert_eq!(
        kit.status(&instance("a/www"), "/providerID"),
        "proxmox://c1/102"
    );
}

#[test]
fn what_can_be_given_is_counted_once() {
    let mut kit = small();
    kit.network(
        "a/one",
        json!({"zones": ["north"], "ipv4": {"prefix": "10.0.1.0/24",
        "reserved": ["10.0.1.1-10.0.1.10", "10.0.1.5", "10.0.1.8-10.0.1.20"],
        "dhcp": {"from": "10.0.1.15", "to": "10.0.1.30"}}}),
    );
    let resolved = resolve(&kit.world);
    let understood = resolved.networks.values().next().unwrap();
    // 254 hosts, the first 30 set aside, the gateway among them.
    assert_eq!(capacity(understood), 254 - 30);
}
