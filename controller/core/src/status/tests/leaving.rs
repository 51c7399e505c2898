//! How objects go: what they wait for, what they leave, and what they never leave.

use std::collections::BTreeSet;

use bb_crds::{FINALIZER, Reason};
use serde_json::json;

use super::{add_guests, assert_says, full};
use crate::resolve::Id;
use crate::testkit::{Kit, instance, network, provider, region, tenant, volume};

/// What holds at every moment: whatever is on a target belongs to an object that cannot go
/// away unnoticed.
fn nothing_is_left_alone(kit: &Kit) {
    let kept: BTreeSet<String> = kit
        .ids()
        .iter()
        .filter(|id| kit.get(id).unwrap()["metadata"]["finalizers"] == json!([FINALIZER]))
        .map(|id| kit.uid(id))
        .collect();
    let there = kit.owners_on_targets();
    assert!(there.is_subset(&kept), "{:?}", there.difference(&kept));
}

#[test]
fn a_finalizer_comes_before_everything_and_goes_after_everything() {
    let mut kit = Kit::two_sites();
    let before = kit.on_targets();
    kit.tenant("acme");
    kit.network("acme/web", json!({"ipv4": {"prefix": "10.10.0.0/24"}}));
    kit.network(
        "acme/db",
        json!({"zones": ["north"], "ipv4": {"prefix": "10.10.1.0/24"}}),
    );
    add_guests(&mut kit);
    kit.settle_with(nothing_is_left_alone);
    assert_eq!(kit.owners_on_targets().len(), 6);
    kit.delete(&tenant("acme"));
    kit.settle_with(nothing_is_left_alone);
    assert_eq!(
        kit.ids().len(),
        5,
        "the fabric alone is left: {:?}",
        kit.ids()
    );
    assert_eq!(kit.on_targets(), before);
    assert_eq!(kit.world.namespaces.len(), 0);
}

#[test]
fn deleting_one_kind_after_the_other_ends_in_nothing_in_any_order() {
    let full = full();
    let mine: Vec<Id> = full.ids().into_iter().skip(5).collect();
    for turn in 0..mine.len() {
        let mut kit = full.clone();
        for at in 0..mine.len() {
            let id = &mine[(at + turn) % mine.len()];
            if !kit.gone(id) {
                kit.delete(id);
            }
            kit.step();
            nothing_is_left_alone(&kit);
        }
        kit.settle_with(nothing_is_left_alone);
        assert_eq!(kit.ids().len(), 5, "{:?}", kit.ids());
        assert_eq!(kit.on_targets(), Kit::two_sites().on_targets());
    }
}

#[test]
fn an_object_that_goes_before_it_was_seen_needs_no_finalizer() {
    let mut kit = Kit::acme();
    kit.machine("acme/www", "web");
    kit.edit(&instance("acme/www"), |o| {
        o["metadata"]["deletionTimestamp"] = o["metadata"]["creationTimestamp"].clone();
        o["metadata"]["finalizers"] = json!(["someone.else/hook"]);
    });
    assert_eq!(kit.changes(), []);
}

#[test]
fn a_protected_guest_stays_until_it_is_no_longer_protected() {
    let mut kit = full();
    let id = instance("acme/pg");
    kit.set(&id, "deletionProtection", json!(true));
    kit.settle();
    let before = kit.on_targets();
    kit.delete(&id);
    kit.settle();
    assert_says(
        &kit,
        &id,
        Reason::Protected,
        &["spec.deletionProtection", "set it to false"],
    );
    assert_eq!(kit.on_targets(), before);
    kit.set(&id, "deletionProtection", json!(false));
    kit.settle();
    assert!(kit.gone(&id));
}

#[test]
fn an_orphaned_guest_stays_on_its_cluster() {
    let mut kit = full();
    let id = instance("acme/pg");
    kit.set(&id, "deletionPolicy", json!("Orphan"));
    kit.settle();
    let before = kit.clusters.clone();
    kit.delete(&id);
    kit.settle();
    assert!(kit.gone(&id));
    assert_eq!(kit.clusters, before);
}

#[test]
fn a_retained_volume_stays_on_its_storage() {
    let mut kit = full();
    kit.volume(
        "acme/old",
        json!({"size": "1Gi", "zone": "north", "reclaimPolicy": "Retain"}),
    );
    kit.settle();
    let before = kit.clusters.clone();
    kit.delete(&volume("acme/old"));
    kit.settle();
    assert!(kit.gone(&volume("acme/old")));
    assert_eq!(kit.clusters, before);
}

#[test]
fn a_network_waits_for_its_instances_and_names_them() {
    let mut kit = full();
    let before = kit.on_targets();
    kit.delete(&network("acme/web"));
    kit.settle();
    assert_says(
        &kit,
        &network("acme/web"),
        Reason::Waiting,
        &["cache, pg", "delete them"],
    );
    assert_eq!(kit.on_targets(), before, "its instances still work");
    kit.delete(&instance("acme/cache"));
    kit.settle();
    let (_, message) = kit.unready(&network("acme/web"));
    assert!(!message.contains("cache"), "{message}");
    // A card can be taken away instead.
    kit.set(
        &instance("acme/pg"),
        "networks",
        json!([{"name": "db", "network": "db"}]),
    );
    kit.settle();
    assert!(kit.gone(&network("acme/web")));
    assert!(kit.ready(&instance("acme/pg")));
}

#[test]
fn a_volume_waits_for_the_instance_that_has_it_and_names_it() {
    let mut kit = full();
    kit.delete(&volume("acme/pgdata"));
    kit.settle();
    assert_says(
        &kit,
        &volume("acme/pgdata"),
        Reason::Waiting,
        &["instance pg", "take it off"],
    );
    kit.set(&instance("acme/pg"), "volumes", json!([]));
    kit.settle();
    assert!(kit.gone(&volume("acme/pgdata")));
    assert!(kit.ready(&instance("acme/pg")));
}

#[test]
fn a_tenant_waits_for_what_is_in_it_and_names_it() {
    let mut kit = full();
    kit.set(&instance("acme/pg"), "deletionProtection", json!(true));
    kit.delete(&tenant("acme"));
    kit.settle();
    let left = ["instance pg", "volume pgdata", "network db", "network web"];
    assert_says(&kit, &tenant("acme"), Reason::Waiting, &left);
    kit.set(&instance("acme/pg"), "deletionProtection", json!(false));
    kit.settle();
    assert!(kit.gone(&tenant("acme")));
}

#[test]
fn a_fabric_that_is_in_use_stays_and_says_by_whom() {
    let mut kit = full();
    for (id, words) in [
        (
            region("lab"),
            vec!["network acme/db", "network acme/web", "provider c1"],
        ),
        (provider("r1"), vec!["network acme/db", "network acme/web"]),
        (
            provider("c1"),
            vec!["instance acme/pg", "volume acme/pgdata"],
        ),
    ] {
        kit.delete(&id);
        kit.settle();
        assert_says(&kit, &id, Reason::Waiting, &words);
    }
    kit.delete(&tenant("acme"));
    kit.settle();
    assert!(kit.gone(&provider("r1")) && kit.gone(&provider("c1")));
    kit.delete(&provider("r2"));
    kit.delete(&provider("c2"));
    kit.settle();
    assert_eq!(kit.ids(), []);
}

#[test]
fn a_paused_object_that_is_deleted_says_that_it_is_paused() {
    for id in [
        tenant("acme"),
        network("acme/db"),
        instance("acme/cache"),
        volume("acme/pgdata"),
    ] {
        let mut kit = full();
        if id != instance("acme/cache") {
            kit.delete(&instance("acme/pg"));
        }
        kit.settle();
        let before = kit.on_targets();
        kit.pause(&id);
        kit.delete(&id);
        kit.settle();
        assert_says(
            &kit,
            &id,
            Reason::Paused,
            &["bitbuilder.cloud/paused", "take it off"],
        );
        assert_eq!(kit.on_targets(), before, "{id:?}");
        kit.resume(&id);
        kit.settle();
        assert!(kit.gone(&id), "{id:?}");
    }
}

#[test]
fn what_is_on_a_router_that_cannot_be_understood_is_not_forgotten() {
    let mut kit = Kit::acme();
    let id = kit.get(&provider("r2")).unwrap()["spec"]["vyos"]["routerId"].clone();
    kit.edit(&provider("r2"), |o| {
        o["spec"]["vyos"]["routerId"] = json!("nonsense");
    });
    kit.settle();
    kit.delete(&tenant("acme"));
    kit.settle_with(nothing_is_left_alone);
    let words = ["router r2 has no usable Provider", "see its conditions"];
    assert_says(&kit, &network("acme/web"), Reason::NotFound, &words);
    kit.edit(&provider("r2"), |o| o["spec"]["vyos"]["routerId"] = id);
    kit.settle_with(nothing_is_left_alone);
    assert!(kit.gone(&tenant("acme")));
    assert_eq!(kit.on_targets(), Kit::two_sites().on_targets());
}

#[test]
fn a_router_that_does_not_let_go_is_named_with_its_words() {
    let mut kit = Kit::acme();
    let db = network("acme/db");
    let refusal = (kit.uid(&db), "the commit failed".to_owned());
    kit.routers.get_mut("r1").unwrap().refuses.extend([refusal]);
    kit.delete(&db);
    kit.settle_with(nothing_is_left_alone);
    assert_says(
        &kit,
        &db,
        Reason::Refused,
        &["router r1: the commit failed"],
    );
    kit.routers.get_mut("r1").unwrap().refuses.clear();
    kit.settle();
    assert!(kit.gone(&db));
    // Somebody put an interface of theirs into the tenant's VRF.
    let theirs = ["interfaces", "ethernet", "eth7", "vrf", "bb1000"];
    kit.routers.get_mut("r2").unwrap().running.set(&theirs);
    kit.delete(&tenant("acme"));
    kit.settle_with(nothing_is_left_alone);
    let words = [
        "router r2",
        "`interfaces ethernet eth7 vrf bb1000`",
        "remove that line",
    ];
    assert_says(&kit, &tenant("acme"), Reason::Waiting, &words);
    // The router's Provider stays as long as something of ours is on it.
    kit.delete(&provider("r2"));
    kit.settle_with(nothing_is_left_alone);
    assert_says(&kit, &provider("r2"), Reason::Waiting, &["tenant acme"]);
    let theirs = theirs.map(str::to_owned).to_vec();
    kit.routers.get_mut("r2").unwrap().running.remove(&theirs);
    kit.settle();
    assert!(kit.gone(&tenant("acme")) && kit.gone(&provider("r2")));
    assert_eq!(kit.on_targets(), Kit::two_sites().on_targets());
}

#[test]
fn a_router_that_a_network_has_left_can_go() {
    let mut kit = Kit::acme();
    let web = network("acme/web");
    assert_eq!(kit.status(&web, "/vlans").as_array().unwrap().len(), 2);
    kit.set(&web, "zones", json!(["north"]));
    kit.settle_with(nothing_is_left_alone);
    assert_eq!(kit.status(&web, "/vlans").as_array().unwrap().len(), 1);
    kit.delete(&provider("r2"));
    kit.settle_with(nothing_is_left_alone);
    assert!(kit.gone(&provider("r2")));
    assert!(kit.ready(&web));
    assert_eq!(
        kit.routers["r2"].running,
        Kit::two_sites().routers["r2"].running
    );
}

#[test]
fn nothing_new_is_put_on_a_cluster_that_is_to_go() {
    let mut kit = full();
    kit.delete(&provider("c1"));
    kit.settle();
    kit.machine("acme/new", "web");
    kit.machine("acme/stays-out", "db");
    kit.volume("acme/new", json!({"size": "1Gi"}));
    kit.settle();
    assert_eq!(kit.status(&instance("acme/new"), "/cluster"), "c2");
    assert_eq!(kit.status(&volume("acme/new"), "/cluster"), "c2");
    let words = ["spec.networks", "cluster c1", "being deleted"];
    assert_says(&kit, &instance("acme/stays-out"), Reason::Waiting, &words);
    assert!(kit.ready(&instance("acme/pg")), "what is there works on");
    for id in [instance("acme/pg"), volume("acme/pgdata")] {
        kit.delete(&id);
    }
    kit.settle_with(nothing_is_left_alone);
    assert!(kit.gone(&provider("c1")));
}
