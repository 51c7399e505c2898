//! What is written to objects through their whole life, and what is not.

use std::sync::LazyLock;

use bb_crds::ConditionType::{Accepted, Authorized, Programmed, Reachable, Ready, ResolvedRefs};
use bb_crds::{ConditionType, Reason};
use serde_json::{Value, json};

use super::FinalizerOp;
use crate::outcome::Contact;
use crate::resolve::Id;
use crate::testkit::{Kit, instance, network, provider, tenant, volume};

mod leaving;

/// All kinds of objects, the volume attached, everything settled.
fn full() -> Kit {
    static KIT: LazyLock<Kit> = LazyLock::new(|| {
        let mut kit = Kit::acme();
        add_guests(&mut kit);
        kit.settle();
        kit
    });
    KIT.clone()
}

fn add_guests(kit: &mut Kit) {
    kit.volume("acme/pgdata", json!({"size": "20Gi", "zone": "north"}));
    kit.instance(
        "acme/pg",
        json!({"image": "debian-12",
            "networks": [{"name": "db", "network": "db"}, {"name": "web", "network": "web"}],
            "volumes": [{"name": "data", "volume": "pgdata"}]}),
    );
    kit.instance(
        "acme/cache",
        json!({"type": "Container", "image": "alpine", "placement": {"zone": "south"},
            "networks": [{"name": "web", "network": "web"}]}),
    );
}

fn types(kit: &Kit, id: &Id) -> Vec<(String, Value)> {
    let conditions = kit.status(id, "/conditions");
    let list = conditions.as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|c| {
            (
                c["type"].as_str().unwrap().to_owned(),
                c["observedGeneration"].clone(),
            )
        })
        .collect()
}

fn assert_says(kit: &Kit, id: &Id, reason: Reason, words: &[&str]) {
    let (found, message) = kit.unready(id);
    assert_eq!(found, reason, "{id:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{id:?}: {message:?} lacks {word:?}");
    }
}

#[test]
fn everything_becomes_ready() {
    let kit = full();
    assert_eq!(kit.ids().len(), 11);
    for id in kit.ids() {
        assert!(kit.ready(&id), "{id:?}: {:?}", kit.condition(&id, "Ready"));
    }
    assert_eq!(
        kit.status(&volume("acme/pgdata"), "/attachedTo/instance"),
        "pg"
    );
}

#[test]
fn every_condition_is_there_on_first_sight() {
    let mut kit = Kit::two_sites();
    kit.tenant("acme");
    kit.network("acme/web", json!({"ipv4": {"prefix": "10.10.0.0/24"}}));
    kit.network("acme/bad", json!({"ipv4": {"prefix": "10.10.0.0/25"}}));
    kit.volume("acme/data", json!({"size": "1Gi", "zone": "north"}));
    kit.machine("acme/www", "web");
    kit.machine("acme/lost", "nowhere");
    for _ in 0..3 {
        // No target is ever looked at.
        kit.reconcile();
    }
    for id in kit.ids() {
        let expected: Vec<ConditionType> = match id {
            Id::Region(_) => vec![Accepted, ResolvedRefs, Ready],
            Id::Provider(_) => vec![Accepted, ResolvedRefs, Reachable, Authorized, Ready],
            _ => vec![
                Accepted,
                ResolvedRefs,
                Programmed,
                Ready,
                ConditionType::InSync,
            ],
        };
        let expected: Vec<(String, Value)> = expected
            .iter()
            .map(|t| (t.as_str().to_owned(), json!(1)))
            .collect();
        assert_eq!(types(&kit, &id), expected, "{id:?}");
    }
}

#[test]
fn settled_objects_are_never_written_again() {
    let mut kit = full();
    kit.writes.clear();
    for _ in 0..10 {
        for target in ["r1", "r2", "c1", "c2"] {
            kit.visit(target);
            assert_eq!(kit.changes(), [], "after a look at {target}");
        }
    }
    assert!(kit.writes.is_empty());
}

#[test]
fn a_restart_writes_nothing() {
    let mut kit = full();
    kit.restart();
    assert_eq!(kit.changes(), []);
    for target in ["c2", "r1", "c1", "r2"] {
        kit.visit(target);
        assert_eq!(kit.changes(), [], "after the first look at {target}");
    }
}

#[test]
fn a_restart_while_a_target_is_silent_makes_nothing_less_ready() {
    let mut kit = full();
    kit.routers.get_mut("r2").unwrap().contact = Contact::Unreachable("no route".to_owned());
    kit.clusters.get_mut("c1").unwrap().contact = Contact::Unreachable("no route".to_owned());
    kit.restart();
    kit.settle();
    for id in kit.ids() {
        let silent = id == provider("r2") || id == provider("c1");
        assert_eq!(
            kit.ready(&id),
            !silent,
            "{id:?}: {:?}",
            kit.condition(&id, "Ready")
        );
    }
}

#[test]
fn a_spec_that_changed_during_a_restart_is_not_called_ready() {
    let mut kit = full();
    kit.set(&network("acme/web"), "dns", json!({"servers": ["9.9.9.9"]}));
    kit.set(&instance("acme/cache"), "memory", json!("2Gi"));
    kit.set(&volume("acme/pgdata"), "size", json!("30Gi"));
    kit.restart();
    kit.reconcile();
    for id in [
        network("acme/web"),
        instance("acme/cache"),
        volume("acme/pgdata"),
    ] {
        assert_says(&kit, &id, Reason::Pending, &[]);
    }
    kit.settle();
    assert!(kit.ids().iter().all(|id| kit.ready(id)));
}

#[test]
fn the_time_of_a_condition_moves_only_with_its_status() {
    let mut kit = full();
    let id = instance("acme/pg");
    let times = |kit: &Kit| -> Vec<(String, Value)> {
        let list = kit.status(&id, "/conditions");
        let list = list.as_array().unwrap().iter();
        list.map(|c| {
            (
                c["type"].as_str().unwrap().to_owned(),
                c["lastTransitionTime"].clone(),
            )
        })
        .collect()
    };
    let before = times(&kit);
    kit.set(&id, "memory", json!("3Gi"));
    kit.settle();
    let after = times(&kit);
    for ((type_, before), (_, after)) in before.iter().zip(&after) {
        let moves = type_ == "Programmed" || type_ == "Ready";
        assert_eq!(before != after, moves, "{type_}");
    }
}

#[test]
fn nothing_of_a_paused_object_changes_until_it_goes_on() {
    for id in [
        network("acme/web"),
        instance("acme/pg"),
        volume("acme/pgdata"),
    ] {
        let mut kit = full();
        let before = kit.on_targets();
        kit.pause(&id);
        kit.edit(&id, |o| match o["kind"].as_str().unwrap() {
            "Network" => o["spec"]["dns"] = json!({"servers": ["9.9.9.9"]}),
            "Instance" => o["spec"]["memory"] = json!("8Gi"),
            _ => o["spec"]["size"] = json!("40Gi"),
        });
        kit.settle();
        assert_eq!(kit.on_targets(), before, "{id:?}");
        let (status, reason, message) = kit.condition(&id, "Ready");
        assert_ne!(status, "True");
        assert_eq!(
            (reason.as_str(), message.contains("annotation")),
            ("Paused", true),
            "{message}"
        );
        kit.resume(&id);
        kit.settle();
        assert!(kit.ready(&id), "{id:?}");
    }
}

#[test]
fn a_silent_target_is_named_with_how_its_silence_shows() {
    let mut kit = Kit::acme();
    for (contact, reason, word) in [
        (
            Contact::Unreachable("no route".to_owned()),
            Reason::Unreachable,
            "no route",
        ),
        (
            Contact::Unauthorized("key refused".to_owned()),
            Reason::Unauthorized,
            "key refused",
        ),
    ] {
        let mut kit = kit.clone();
        kit.routers.get_mut("r1").unwrap().contact = contact.clone();
        kit.clusters.get_mut("c1").unwrap().contact = contact;
        kit.tenant("umbrella");
        kit.network("umbrella/lan", json!({"ipv4": {"prefix": "10.0.0.0/24"}}));
        kit.volume("acme/data", json!({"size": "1Gi", "zone": "north"}));
        kit.machine("acme/www", "db");
        kit.settle();
        // The words are in one place; each object would be written for each of them.
        assert_says(&kit, &provider("r1"), reason, &[word]);
        assert_says(&kit, &provider("c1"), reason, &[word]);
        assert_says(&kit, &tenant("umbrella"), reason, &["see Provider r1"]);
        assert_says(&kit, &network("umbrella/lan"), reason, &["see Provider r1"]);
        assert_says(&kit, &volume("acme/data"), reason, &["see Provider c1"]);
        assert_says(&kit, &instance("acme/www"), reason, &["see Provider c1"]);
        let targets = kit.status(&network("umbrella/lan"), "/targets");
        assert_eq!(
            targets[1]["reason"], "Programmed",
            "the other router is done: {targets}"
        );
        kit.delete(&network("umbrella/lan"));
        kit.delete(&volume("acme/data"));
        kit.delete(&instance("acme/www"));
        kit.settle();
        assert_says(&kit, &network("umbrella/lan"), reason, &["see Provider r1"]);
        assert_says(&kit, &volume("acme/data"), reason, &["see Provider c1"]);
        assert_says(&kit, &instance("acme/www"), reason, &["see Provider c1"]);
    }
    assert_eq!(kit.reconcile(), 0);
}

#[test]
fn missing_privileges_are_named() {
    let mut kit = Kit::acme();
    let missing = vec!["/storage/ceph: Datastore.AllocateSpace".to_owned()];
    kit.clusters.get_mut("c1").unwrap().missing = missing.clone();
    kit.settle();
    assert_says(
        &kit,
        &provider("c1"),
        Reason::Unauthorized,
        &[&missing[0], "give its user"],
    );
    kit.clusters.get_mut("c1").unwrap().missing.clear();
    kit.settle();
    assert!(kit.ready(&provider("c1")));
}

#[test]
fn a_refusal_holds_up_the_object_that_was_refused_alone() {
    let mut kit = Kit::acme();
    kit.network(
        "acme/dmz",
        json!({"zones": ["north"], "ipv4": {"prefix": "10.10.2.0/24"}}),
    );
    kit.network(
        "acme/lan",
        json!({"zones": ["north"], "ipv4": {"prefix": "10.10.3.0/24"}}),
    );
    let words = "the router refuses it: VLAN is taken".to_owned();
    let uid = kit.uid(&network("acme/dmz"));
    kit.routers
        .get_mut("r1")
        .unwrap()
        .refuses
        .insert(uid, words.clone());
    kit.settle();
    assert_says(&kit, &network("acme/dmz"), Reason::Refused, &[&words]);
    assert!(kit.ready(&network("acme/lan")));
    assert!(kit.ready(&tenant("acme")));
}

#[test]
fn the_namespace_of_another_is_not_taken() {
    let mut kit = Kit::two_sites();
    kit.world.namespaces.insert(
        "acme".to_owned(),
        crate::world::NamespaceView::default().into(),
    );
    kit.tenant("acme");
    kit.network("acme/web", json!({"ipv4": {"prefix": "10.10.0.0/24"}}));
    kit.settle();
    let words = [
        "namespace acme",
        "bitbuilder.cloud/tenant=acme",
        "another name",
    ];
    assert_says(&kit, &tenant("acme"), Reason::Conflict, &words);
    assert_says(
        &kit,
        &network("acme/web"),
        Reason::Waiting,
        &["Tenant `acme` must be Ready"],
    );
    let view = kit.world.namespaces.get_mut("acme").unwrap();
    std::sync::Arc::make_mut(view).tenant = Some("acme".to_owned());
    kit.settle();
    assert!(kit.ready(&network("acme/web")));
}

#[test]
fn a_vmid_of_another_is_left_to_it() {
    let mut kit = Kit::acme();
    kit.clusters
        .get_mut("c1")
        .unwrap()
        .foreign
        .extend([100_000, 100_001]);
    kit.machine("acme/www", "db");
    kit.settle();
    assert_eq!(
        kit.status(&instance("acme/www"), "/providerID"),
        "proxmox://c1/100002"
    );
    assert!(kit.ready(&instance("acme/www")));
}

#[test]
fn few_writes_make_an_object_ready() {
    let mut kit = Kit::two_sites();
    kit.settle();
    // All at once, as a person applies a folder: a finalizer, numbers, done; each router of a
    // network on its own.
    kit.tenant("acme");
    kit.network("acme/web", json!({"ipv4": {"prefix": "10.10.0.0/24"}}));
    kit.volume("acme/data", json!({"size": "20Gi", "zone": "north"}));
    kit.instance(
        "acme/www",
        json!({"image": "debian-12", "networks": [{"name": "web", "network": "web"}],
            "volumes": [{"name": "data", "volume": "data"}]}),
    );
    kit.settle();
    for (id, most) in [
        (tenant("acme"), 4),
        (network("acme/web"), 4),
        (volume("acme/data"), 4),
        (instance("acme/www"), 4),
    ] {
        assert!(kit.ready(&id));
        let made = kit.writes[&id];
        assert!(made <= most, "{id:?}: {made}");
    }
    // Later ones cost their network one write each: an address of it is given out.
    kit.writes.clear();
    kit.machine("acme/more", "web");
    kit.settle();
    assert_eq!(kit.writes[&instance("acme/more")], 3);
    assert_eq!(kit.writes[&network("acme/web")], 1);
    assert_eq!(
        kit.writes.len(),
        3,
        "its cluster's cursor is the third: {:?}",
        kit.writes
    );
}

#[test]
fn events_tell_of_news_alone() {
    let mut kit = full();
    let told = |kit: &Kit, id: &Id| -> Vec<&'static str> {
        let events = kit.events.iter().filter(|(of, _)| of == id);
        events.map(|(_, note)| note.reason.as_str()).collect()
    };
    for id in kit.ids() {
        assert_eq!(told(&kit, &id), ["Ready"], "{id:?}");
    }
    kit.events.clear();
    kit.settle();
    assert!(kit.events.is_empty());
}

#[test]
fn a_finalizer_that_somebody_took_away_comes_back() {
    let mut kit = full();
    kit.edit(&network("acme/web"), |o| {
        o["metadata"]["finalizers"] = json!([]);
    });
    let changes = kit.changes();
    let [change] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!(change.finalizer, Some(FinalizerOp::Add));
    assert_eq!(change.status, None);
}

#[test]
fn a_network_that_is_held_back_takes_nothing_from_its_instances() {
    let mut kit = full();
    let machine = instance("acme/pg");
    assert!(kit.ready(&machine));
    kit.pause(&network("acme/web"));
    kit.settle();
    assert!(!kit.ready(&network("acme/web")));
    assert!(
        kit.ready(&machine),
        "{:?}",
        kit.condition(&machine, "Ready")
    );
    kit.restart();
    kit.settle();
    assert!(kit.ready(&machine));
    kit.resume(&network("acme/web"));
    kit.set(&network("acme/web"), "managementPolicy", json!("Observe"));
    kit.settle();
    assert!(kit.ready(&machine) && kit.ready(&network("acme/web")));
    // One that never was on a router does not come to be in place by being held back.
    let web = network("acme/new");
    kit.network(
        "acme/new",
        json!({"ipv4": {"prefix": "10.77.0.0/24"}, "managementPolicy": "Observe"}),
    );
    kit.machine("acme/waits", "new");
    kit.settle();
    assert!(!kit.ready(&web) && !kit.ready(&instance("acme/waits")));
}

#[test]
fn drift_on_a_router_is_recorded_told_and_put_right_and_survives_a_restart() {
    let mut kit = full();
    let id = network("acme/db");
    let vif = |kit: &Kit| {
        let vlan = kit.status(&id, "/vlans/0/vlan").to_string();
        ["interfaces", "ethernet", "eth2", "vif"]
            .into_iter()
            .map(str::to_owned)
            .chain([vlan])
            .collect::<Vec<_>>()
    };
    for restarted in [false, true] {
        let mut line = vif(&kit);
        line.extend(["mtu", "1400"].map(str::to_owned));
        kit.routers
            .get_mut("r1")
            .unwrap()
            .running
            .insert(line.clone());
        if restarted {
            // Nothing but the record tells what was there before.
            kit.restart();
        }
        kit.wait(60);
        kit.events.clear();
        kit.settle();
        assert!(!kit.routers["r1"].running.contains(&line));
        assert_eq!(kit.condition(&id, "InSync").1, "Corrected");
        assert_eq!(
            kit.status(&id, "/drift/0/lines"),
            json!([format!("- {}", line.join(" "))])
        );
        let told = kit.events.iter().filter(|(of, _)| *of == id);
        let told: Vec<Reason> = told.map(|(_, note)| note.reason).collect();
        assert_eq!(told, [Reason::Drifted], "restarted: {restarted}");
        assert!(kit.ready(&id));
    }
}

#[test]
fn orphans_are_named_up_to_a_bound_counted_and_told_of_when_there_are_more() {
    let mut kit = full();
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("vrf name bb{n} (of gone)"))
            .collect()
    };
    kit.visit("r1");
    for (count, told) in [(60, 1), (60, 0), (10, 0), (11, 1)] {
        kit.events.clear();
        kit.outcomes.router("r1").orphans = many(count);
        kit.reconcile();
        assert_eq!(kit.status(&provider("r1"), "/orphanCount"), json!(count));
        let shown = kit.status(&provider("r1"), "/orphans");
        assert_eq!(shown.as_array().unwrap().len(), count.min(50));
        let events = kit.events.iter();
        let of =
            events.filter(|(id, note)| *id == provider("r1") && note.reason == Reason::Orphaned);
        assert_eq!(of.count(), told, "{count}");
    }
}
