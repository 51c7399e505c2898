//! When deletes are held, and what lets them go.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testkit::{Kit, instance, provider, tenant};

/// So many machines on the cluster c1, all of them Ready, and a guard that trips above three.
fn machines(count: usize) -> Kit {
    let mut kit = Kit::acme();
    for name in ["c1", "c2", "r1", "r2"] {
        kit.set(
            &provider(name),
            "deleteGuard",
            json!({"objects": 3, "percent": 50, "window": "10m"}),
        );
    }
    for at in 0..count {
        kit.machine(&format!("acme/m{at}"), "db");
    }
    kit.settle();
    kit
}

fn delete(kit: &mut Kit, from: usize, to: usize) {
    for at in from..to {
        kit.delete(&instance(&format!("acme/m{at}")));
    }
}

fn annotate(kit: &mut Kit, value: &str) {
    kit.edit(&provider("c1"), |o| {
        o["metadata"]["annotations"] = json!({ALLOW_DELETES: value});
    });
}

fn guests(kit: &Kit) -> usize {
    kit.clusters["c1"].guests.len()
}

#[test]
fn many_deletes_at_once_are_held_and_say_how_to_confirm_them() {
    let mut kit = machines(6);
    delete(&mut kit, 0, 5);
    kit.settle();
    assert_eq!(guests(&kit), 6, "none is destroyed");
    let (reason, message) = kit.unready(&provider("c1"));
    assert_eq!(reason, Reason::Guarded);
    assert!(message.contains("5 of 6 objects") && message.contains("allow-deletes=5"));
    let (reason, message) = kit.unready(&instance("acme/m0"));
    assert_eq!(reason, Reason::Guarded);
    assert!(message.contains("Provider c1") && message.contains(ALLOW_DELETES));
    // One more is held as well, and no object is written again for it.
    kit.writes.clear();
    kit.settle();
    assert_eq!(kit.writes, BTreeMap::new());
    annotate(&mut kit, "4");
    kit.settle();
    assert_eq!(guests(&kit), 6, "four are not five");
    annotate(&mut kit, "5");
    kit.settle();
    assert_eq!(guests(&kit), 1);
    assert!(kit.ready(&provider("c1")) && kit.gone(&instance("acme/m0")));
}

#[test]
fn a_time_confirms_any_number_until_it_is_over() {
    let mut kit = machines(6);
    annotate(&mut kit, "2020-01-01T00:00:00Z");
    delete(&mut kit, 0, 5);
    kit.settle();
    assert_eq!(guests(&kit), 6, "that time is over");
    annotate(&mut kit, "2100-01-01T00:00:00Z");
    kit.settle();
    assert_eq!(guests(&kit), 1);
}

#[test]
fn neither_time_nor_a_restart_lifts_the_guard_and_a_change_of_the_rule_does() {
    let mut kit = machines(6);
    delete(&mut kit, 0, 5);
    kit.settle();
    kit.wait(24 * 3600);
    kit.restart();
    kit.settle();
    assert_eq!(guests(&kit), 6);
    kit.set(&provider("c1"), "deleteGuard", json!({"percent": 100}));
    kit.settle();
    assert_eq!(guests(&kit), 1);
}

#[test]
fn what_was_deleted_one_by_one_is_added_up_over_the_window() {
    let mut kit = machines(6);
    for at in 0..3 {
        delete(&mut kit, at, at + 1);
        kit.settle();
    }
    assert_eq!(guests(&kit), 3);
    delete(&mut kit, 3, 4);
    kit.settle();
    assert_eq!(guests(&kit), 3, "the fourth of six within ten minutes");
    assert_eq!(kit.unready(&provider("c1")).0, Reason::Guarded);
}

#[test]
fn after_the_window_it_is_as_if_nothing_had_been_deleted() {
    let mut kit = machines(6);
    delete(&mut kit, 0, 3);
    kit.settle();
    kit.wait(601);
    delete(&mut kit, 3, 6);
    kit.settle();
    assert_eq!(guests(&kit), 0);
}

#[test]
fn what_is_orphaned_protected_or_paused_does_not_count() {
    let mut kit = machines(6);
    for at in 0..5 {
        let id = instance(&format!("acme/m{at}"));
        kit.set(&id, "deletionPolicy", json!("Orphan"));
    }
    delete(&mut kit, 0, 5);
    kit.settle();
    assert!(kit.gone(&instance("acme/m0")));
    assert!(kit.ready(&provider("c1")));
}

#[test]
fn a_tenant_with_few_objects_goes_unhindered() {
    let mut kit = Kit::acme();
    for at in 0..20 {
        kit.machine(&format!("acme/m{at}"), "db");
    }
    kit.settle();
    kit.delete(&tenant("acme"));
    kit.settle();
    assert!(kit.gone(&tenant("acme")));
}

proptest! {
    /// The rule is just what it says, whatever the numbers.
    #[test]
    fn the_guard_trips_above_both_bounds_and_never_below_one(
        objects in 0..200_i32, percent in 0..=100_i32, count in 0..400_usize, rest in 0..400_usize,
    ) {
        let guard = DeleteGuard { objects, percent, window: "10m".to_owned() };
        let total = count + rest;
        let share = if total == 0 { 0.0 } else { count as f64 * 100.0 / total as f64 };
        let expected = count as i64 > i64::from(objects) && share > f64::from(percent);
        prop_assert_eq!(trips(&guard, count, total), expected);
        // Once tripped, one more delete does not lift it.
        if expected && rest > 0 {
            prop_assert!(trips(&guard, count + 1, total));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// In any order and at any pace, no more are destroyed than the rule lets pass.
    #[test]
    fn no_more_are_destroyed_than_the_rule_lets_pass(
        batches in proptest::collection::vec(1..4_usize, 1..5),
    ) {
        let mut kit = machines(8);
        let mut at = 0;
        for batch in batches {
            let to = (at + batch).min(8);
            delete(&mut kit, at, to);
            at = to;
            kit.settle();
            let destroyed = 8 - guests(&kit);
            prop_assert!(destroyed <= 4, "{destroyed} of 8 were destroyed");
        }
    }
}
