//! The laws of the order: cursors first, nobody starves, nobody's number of objects counts.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::Reason;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testkit::{Kit, instance, network, provider, tenant};

fn flat(writes: Writes) -> Vec<Due> {
    let steps = [writes.fabric, writes.cursors, writes.rest];
    steps.into_iter().flatten().collect()
}

/// The changes of a pass over a world in which so many tenants, each with so many machines, are
/// new, and have their namespaces.
fn new_tenants(machines: &[usize]) -> Kit {
    let mut kit = Kit::two_sites();
    for at in 0..machines.len() {
        kit.tenant(&format!("t{at}"));
    }
    while kit.reconcile() > 0 {}
    kit.look();
    for (at, machines) in machines.iter().enumerate() {
        kit.network(
            &format!("t{at}/net"),
            json!({"zones": ["north"], "ipv4": {"prefix": "10.0.0.0/16"}}),
        );
        for machine in 0..*machines {
            kit.machine(&format!("t{at}/m{machine:03}"), "net");
        }
    }
    kit
}

#[test]
fn a_number_waits_for_every_cursor_that_covers_it() {
    let kit = new_tenants(&[2]);
    let writes = kit.writes(&BTreeSet::new());
    let find = |id: &Id| {
        let all = [&writes.fabric, &writes.cursors, &writes.rest];
        let mut all = all.into_iter().flatten();
        all.find(|d| d.change.id == *id)
            .map(|d| (d.must, d.after.clone()))
    };
    let cursors = [provider("c1"), network("t0/net")].into();
    assert_eq!(find(&instance("t0/m000")), Some((true, cursors)));
    assert!(
        writes
            .cursors
            .iter()
            .any(|d| d.change.id == network("t0/net"))
    );
}

#[test]
fn who_is_given_many_identities_keeps_nobody_else_waiting() {
    let mut kit = new_tenants(&[40, 1]);
    kit.settle_networks();
    // The other tenant's machine is at work: what there is to tell of it is no identity.
    kit.machine("t1/lost", "nowhere");
    let writes = kit.writes(&BTreeSet::new());
    let at = |id: &Id| writes.rest.iter().position(|d| d.change.id == *id);
    assert!(writes.rest.iter().filter(|d| d.must).count() > 40);
    assert!(at(&instance("t1/lost")) < Some(4), "{:?}", writes.rest);
}

#[test]
fn without_its_cursor_a_number_is_not_recorded() {
    let mut kit = new_tenants(&[1, 1]);
    let due = kit.writes(&BTreeSet::new());
    let refused = network("t0/net");
    kit.carry_out(due, usize::MAX, |_, due| due.change.id != refused);
    let recorded = |kit: &Kit, name: &str| kit.status(&instance(name), "/providerID").is_string();
    assert!(!recorded(&kit, "t0/m000"));
    assert!(recorded(&kit, "t1/m000"), "the other tenant goes on");
    kit.settle();
    assert!(recorded(&kit, "t0/m000"));
}

#[test]
fn what_is_in_a_namespace_that_is_on_its_way_is_held_alone() {
    let kit = new_tenants(&[1, 1]);
    let writes = kit.writes(&["t0".to_owned()].into());
    assert!(writes.held > 0);
    let left = flat(writes);
    assert!(left.iter().all(|d| namespace(&d.change.id) != Some("t0")));
    assert!(left.iter().any(|d| namespace(&d.change.id) == Some("t1")));
}

#[test]
fn an_identity_is_given_to_so_many_in_a_pass_and_to_each_tenant_alike() {
    let mut kit = new_tenants(&[40, 3]);
    kit.settle_networks();
    kit.most = Some(6);
    let named = |kit: &Kit, tenant: &str| {
        let all = kit.world.instances.iter();
        all.filter(|(key, i)| {
            let status = i.status.as_ref();
            key.namespace == tenant && status.is_some_and(|s| s.provider_id.is_some())
        })
        .count()
    };
    kit.reconcile();
    assert_eq!((named(&kit, "t0"), named(&kit, "t1")), (3, 3));
    let untouched = kit.world.instances.values().filter(|i| i.status.is_none());
    assert_eq!(
        untouched.count(),
        37,
        "what waits for its turn is not written to"
    );
    kit.reconcile();
    assert_eq!((named(&kit, "t0"), named(&kit, "t1")), (9, 3));
}

#[test]
fn what_the_api_does_not_take_is_given_nothing_and_moves_no_cursor() {
    let mut kit = new_tenants(&[2]);
    kit.settle_networks();
    kit.resting = [instance("t0/m000")].into();
    kit.settle();
    assert_eq!(kit.status(&instance("t0/m000"), ""), json!(null));
    assert!(kit.ready(&instance("t0/m001")));
    let next = kit.status(&provider("c1"), "/nextVmid");
    kit.resting = [provider("c1")].into();
    kit.machine("t0/late", "net");
    for _ in 0..5 {
        kit.reconcile();
    }
    assert_eq!(kit.status(&provider("c1"), "/nextVmid"), next);
    assert_eq!(kit.status(&instance("t0/late"), ""), json!(null));
    kit.resting.clear();
    kit.settle();
    assert!(kit.ready(&instance("t0/late")) && kit.ready(&instance("t0/m000")));
}

#[test]
fn a_failing_object_is_written_once() {
    let mut kit = new_tenants(&[1]);
    for at in 0..20 {
        kit.machine(&format!("t0/lost{at:02}"), "nowhere");
    }
    kit.settle();
    for at in 0..20 {
        let id = instance(&format!("t0/lost{at:02}"));
        assert_eq!(kit.unready(&id).0, Reason::NotFound);
        // The finalizer, and the status.
        assert_eq!(kit.writes[&id], 2, "{id:?}");
    }
}

/// A change that is due again in every pass, or one that is due until it is written.
#[derive(Clone, Debug)]
struct Wish {
    tenant: u8,
    kind: u8,
    weight: Weight,
    hot: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    let weight = prop_oneof![
        Just(Weight::Begins),
        Just(Weight::Turns),
        Just(Weight::Tells)
    ];
    (0..4u8, 0..4u8, weight, any::<bool>()).prop_map(|(tenant, kind, weight, hot)| Wish {
        tenant,
        kind,
        weight,
        hot,
    })
}

fn due_of(at: usize, wish: &Wish) -> (Weight, Due) {
    let key = crate::world::Key::new(format!("t{}", wish.tenant), format!("o{at}"));
    let id = match wish.kind {
        0 => tenant(&key.namespace),
        1 => Id::Network(key),
        2 => Id::Volume(key),
        _ => Id::Instance(key),
    };
    let change = Change {
        id,
        finalizer: None,
        status: None,
        events: Vec::new(),
    };
    let due = Due {
        change,
        after: BTreeSet::new(),
        must: false,
    };
    (wish.weight, due)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nobody_starves_however_little_a_pass_writes(
        wishes in proptest::collection::vec(wish(), 1..40),
        budget in 1..6usize,
        start in 0..1000u64,
    ) {
        let mut waiting: BTreeSet<usize> = (0..wishes.len()).collect();
        // Four tenants; its group is first in one of a few passes; twelve groups; and each
        // object once in those. Once more, since who is due changes meanwhile.
        let bound = 2 * 4 * OTHERS_FIRST * 12 * u64::try_from(wishes.len()).unwrap();
        let starved = |waiting: &BTreeSet<usize>| {
            waiting.iter().filter(|at| wishes[**at].kind != 0).count()
        };
        for turn in start..start + bound {
            if starved(&waiting) == 0 {
                break;
            }
            let all = wishes.iter().enumerate();
            let due = all.filter(|(at, wish)| wish.hot || waiting.contains(at));
            // Tenants are one object each: the name tells which wish it is no more.
            let due: BTreeMap<String, (usize, (Weight, Due))> = due
                .map(|(at, wish)| {
                    let due = due_of(at, wish);
                    (format!("{:?}", due.1.change.id), (at, due))
                })
                .collect();
            let numbers: BTreeMap<String, usize> =
                due.iter().map(|(id, (at, _))| (id.clone(), *at)).collect();
            let ordered = in_turn(due.into_values().map(|(_, due)| due).collect(), turn);
            for due in ordered.iter().take(budget) {
                waiting.remove(&numbers[&format!("{:?}", due.change.id)]);
            }
        }
        prop_assert_eq!(starved(&waiting), 0, "still waiting: {:?}", waiting);
    }

    #[test]
    fn a_tenant_waits_for_no_more_than_one_change_of_each_other(
        wishes in proptest::collection::vec(wish(), 1..60),
        turn in 0..1000u64,
    ) {
        let due: Vec<(Weight, Due)> = wishes
            .iter()
            .enumerate()
            .filter(|(_, wish)| wish.kind != 0)
            .map(|(at, wish)| due_of(at, wish))
            .collect();
        let all: BTreeSet<String> = due.iter().map(|(_, d)| format!("{:?}", d.change.id)).collect();
        let ordered = in_turn(due, turn);
        let written: BTreeSet<String> =
            ordered.iter().map(|d| format!("{:?}", d.change.id)).collect();
        prop_assert_eq!(&all, &written, "nothing is lost");
        prop_assert_eq!(all.len(), ordered.len(), "nothing is doubled");
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, due) in ordered.iter().enumerate() {
            let before = seen.entry(super::tenant(&due.change.id)).or_default();
            // Four tenants: before my n-th change there are at most n of each other.
            prop_assert!(at <= *before * 4 + 3, "{} at {at}", before);
            *before += 1;
        }
    }

    #[test]
    fn no_number_goes_before_its_cursor(
        machines in proptest::collection::vec(0..6usize, 1..4),
        most in proptest::option::of(1..5usize),
        passes in 0..6u64,
    ) {
        let mut kit = new_tenants(&machines);
        kit.most = most;
        for _ in 0..passes {
            kit.reconcile();
        }
        let moved: BTreeSet<Id> = {
            let grants = kit.pass().grants;
            let regions = grants.regions.keys().cloned().map(Id::Region);
            let clusters = grants.clusters.keys().cloned().map(Id::Provider);
            let networks = grants.addresses.keys().cloned().map(Id::Network);
            regions.chain(clusters).chain(networks).collect()
        };
        let mut written = BTreeSet::new();
        let ordered = flat(kit.writes(&BTreeSet::new()));
        let ids: BTreeSet<Id> = ordered.iter().map(|d| d.change.id.clone()).collect();
        prop_assert!(moved.is_subset(&ids), "every cursor that moves is written");
        for due in ordered {
            prop_assert!(due.after.is_subset(&written), "{:?}", due.change.id);
            prop_assert!(due.after.is_subset(&moved));
            written.insert(due.change.id);
        }
    }
}
