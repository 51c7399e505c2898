//! What a plan says of routers, what it hides, and what its hash is about, on worlds of the kit.

use std::collections::BTreeMap;
use std::sync::Arc;

use bb_crds::plan::{Deleted, Manifest, PlanSpec, PlanStatus, PlannedKind};
use serde_json::{Value, json};

use super::*;
use crate::testkit::{HERE, Kit, network, tenant};
use crate::vyos::plan::apply;
use crate::vyos::{Command, Verb};

fn manifest(kind: &str, name: &str, spec: &Value) -> Manifest {
    let value = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(value).unwrap()
}

fn put(kind: &str, name: &str, spec: &Value) -> PlanSpec {
    PlanSpec {
        manifests: vec![manifest(kind, name, spec)],
        deletes: Vec::new(),
    }
}

fn delete(kind: PlannedKind, name: &str) -> PlanSpec {
    let name = name.to_owned();
    PlanSpec {
        manifests: Vec::new(),
        deletes: vec![Deleted { kind, name }],
    }
}

fn look(kit: &Kit, name: &str) -> Look {
    match kit.routers.get(name) {
        Some(router) => Look::Router(Box::new(RouterLook {
            read: kit.now(),
            running: Arc::new(router.running.clone()),
            refusals: Refusals::default(),
            at: Duration::ZERO,
        })),
        None => Look::Unknown("no cluster is played here".to_owned()),
    }
}

fn ask(kit: &Kit, namespace: &str, spec: &PlanSpec) -> Rehearsed {
    let proposals = match parse(namespace, spec) {
        Ok(proposals) => proposals,
        Err(refused) => return Rehearsed::Refused(refused),
    };
    let mut looks = BTreeMap::new();
    for _ in 0..5 {
        let rehearsed = rehearse(&Question {
            installation: HERE,
            namespace,
            proposals: &proposals,
            world: &kit.world,
            outcomes: &kit.outcomes,
            deletes: &kit.deletes,
            now: &kit.now(),
            looks: &looks,
            words: &|op| op.to_string(),
        });
        let Rehearsed::Wants(wants) = rehearsed else {
            return rehearsed;
        };
        looks.extend(
            wants
                .looks
                .into_iter()
                .map(|name| (name.clone(), look(kit, &name))),
        );
    }
    panic!("it never has enough")
}

fn plan(kit: &Kit, namespace: &str, spec: &PlanSpec) -> PlanStatus {
    match ask(kit, namespace, spec) {
        Rehearsed::Answer(status) => *status,
        other => panic!("{other:?}"),
    }
}

fn refusal(kit: &Kit, spec: &PlanSpec) -> String {
    match ask(kit, "acme", spec) {
        Rehearsed::Refused(refused) => {
            format!("{}: {}", refused.reason.as_str(), refused.message)
        }
        other => panic!("{other:?}"),
    }
}

/// The commands of a plan as data.
fn commands(plan: &PlanStatus, router: &str) -> Vec<Command> {
    let target = plan.targets.iter().find(|t| t.name == router);
    let sends = target
        .into_iter()
        .flat_map(|t| &t.steps)
        .flat_map(|s| &s.sends);
    let command = |text: &String| {
        let (verb, rest) = text.split_once(' ').unwrap();
        let mut path = Vec::new();
        for (at, part) in rest.split('\'').enumerate() {
            match at % 2 {
                0 => path.extend(part.split_whitespace().map(str::to_owned)),
                _ => path.push(part.to_owned()),
            }
        }
        Command {
            owner: String::new(),
            verb: if verb == "set" {
                Verb::Set
            } else {
                Verb::Delete
            },
            path,
        }
    };
    sends.map(command).collect()
}

fn back() -> Value {
    json!({"zones": ["north"], "ipv4": {"prefix": "10.10.7.0/24"}})
}

#[test]
fn what_a_plan_says_makes_of_routers_what_applying_makes_of_them() {
    let mut kit = Kit::acme();
    let web = json!({"ipv4": {"prefix": "10.10.0.0/24",
        "dhcp": {"from": "10.10.0.200", "to": "10.10.0.230"}}, "dns": {"servers": ["9.9.9.9"]}});
    let mut spec = put("Network", "web", &web);
    spec.manifests.push(manifest("Network", "back", &back()));
    spec.deletes = delete(PlannedKind::Network, "db").deletes;
    let plan = plan(&kit, "acme", &spec);
    let names: Vec<&str> = plan.targets.iter().map(|t| t.name.as_str()).collect();
    // The pool is served by the first router only.
    assert_eq!(names, ["r1"]);
    let expected: Vec<Lines> = ["r1", "r2"]
        .iter()
        .map(|name| apply(&kit.routers[*name].running, &commands(&plan, name)))
        .collect();
    kit.network("acme/web", web);
    kit.network("acme/back", back());
    kit.delete(&network("acme/db"));
    kit.settle();
    let uid = kit.uid(&network("acme/back"));
    for (name, expected) in ["r1", "r2"].iter().zip(expected) {
        let with_uid = expected.iter().map(|line| {
            let word = |w: &String| w.replace("<UID of network/back>", &uid);
            line.iter().map(word).collect()
        });
        assert_eq!(kit.routers[*name].running, with_uid.collect(), "{name}");
    }
    let gives = &plan.gives;
    assert_eq!((gives.len(), gives[0].object.as_str()), (1, "network/back"));
    let vni = kit.status(&network("acme/back"), "/vni");
    assert_eq!(gives[0].values[0], format!("VNI {vni}"));
    assert_eq!((plan.held, plan.reach.unwrap().tenants), (Vec::new(), 1));
}

#[test]
fn the_same_question_has_the_same_answer_and_nothing_is_asked_of_who_is_not_concerned() {
    let kit = Kit::acme();
    let once = plan(&kit, "acme", &put("Network", "back", &back()));
    assert_eq!(once, plan(&kit, "acme", &put("Network", "back", &back())));
    // It is in one zone only.
    assert_eq!(once.targets.len(), 1);
    // Applied once more as it is.
    let same = kit.get(&network("acme/db")).unwrap()["spec"].clone();
    let none = plan(&kit, "acme", &put("Network", "db", &same));
    assert_eq!(
        (none.targets.len(), none.summary.as_deref()),
        (0, Some("nothing to send"))
    );
}

#[test]
fn what_is_due_anyway_is_a_number_and_of_other_tenants_nothing_else_is_told() {
    let mut kit = Kit::acme();
    kit.tenant("other");
    kit.settle();
    // Accepted by nobody yet.
    kit.network("other/secret-plans", back());
    let plan = plan(&kit, "acme", &put("Network", "back", &back()));
    let r1 = &plan.targets[0];
    // The network, and the VRF of its tenant.
    assert_eq!((r1.name.as_str(), r1.due), ("r1", 2));
    let text = serde_json::to_string(&plan).unwrap();
    assert!(
        !text.contains("other") && !text.contains("secret"),
        "{text}"
    );
    assert!(!text.contains(&kit.uid(&tenant("other"))));
    assert!(!text.contains(&kit.uid(&network("other/secret-plans"))));
}

#[test]
fn the_hash_is_another_where_the_world_moved_below_the_plan_and_only_there() {
    let kit = Kit::acme();
    let spec = delete(PlannedKind::Network, "db");
    let hash = |kit: &Kit, spec: &PlanSpec| plan(kit, "acme", spec).hash.unwrap();
    let before = hash(&kit, &spec);
    assert_eq!(before.len(), 32);
    let vif = |kit: &Kit| {
        let uid = kit.uid(&network("acme/db"));
        let marks = crate::vyos::plan::marks(HERE, &kit.routers["r1"].running);
        let mine = marks.into_iter().find(|(_, owner)| *owner == uid);
        mine.unwrap().0
    };
    // Somebody else changed something else there.
    let mut moved = kit.clone();
    let running = &mut moved.routers.get_mut("r1").unwrap().running;
    running.set(&["system", "host-name", "another"]);
    assert_eq!(hash(&moved, &spec), before);
    // Somebody else changed what goes.
    let mut line = vif(&kit);
    line.extend(["mtu".to_owned(), "1400".to_owned()]);
    let mut moved = kit.clone();
    moved.routers.get_mut("r1").unwrap().running.insert(line);
    assert_ne!(hash(&moved, &spec), before);
    // It was put right, which is told of for a day.
    moved.look();
    moved.settle();
    assert_ne!(hash(&moved, &spec), before);
    // Another tenant takes the number that would be given.
    let spec = put("Network", "back", &back());
    let before = hash(&kit, &spec);
    let mut moved = kit.clone();
    moved.tenant("other");
    moved.network("other/net", back());
    moved.settle();
    assert_ne!(hash(&moved, &spec), before);
    // Another tenant changes what is its own.
    let before = hash(&moved, &spec);
    moved.set(
        &network("other/net"),
        "dns",
        json!({"servers": ["1.1.1.1"]}),
    );
    moved.settle();
    assert_eq!(hash(&moved, &spec), before);
}

#[test]
fn what_a_plan_may_not_be_about_is_refused_with_a_word() {
    let kit = Kit::acme();
    let mut elsewhere = put("Network", "web", &back());
    elsewhere.manifests[0].0["metadata"]["namespace"] = json!("other");
    assert!(refusal(&kit, &elsewhere).contains("NotAllowed: spec.manifests[0]: Network other/web"));
    let tenant = put("Tenant", "mine", &json!({}));
    assert!(refusal(&kit, &tenant).contains("NotAllowed"));
    let mut foreign = put("Network", "web", &back());
    foreign.manifests[0].0["apiVersion"] = json!("v1");
    assert!(refusal(&kit, &foreign).contains("NotAllowed"));
    let mut twice = put("Network", "web", &back());
    twice.deletes = delete(PlannedKind::Network, "web").deletes;
    assert!(refusal(&kit, &twice).contains("twice"));
    let mut wrong = back();
    wrong["colour"] = json!("red");
    assert!(refusal(&kit, &put("Network", "web", &wrong)).contains("Invalid"));
    // A rule of the kind, one about changes, and a bound.
    let prefix = json!({"zones": ["north"], "ipv4": {"prefix": "10.10.9.0/24"}});
    let says = refusal(&kit, &put("Network", "db", &prefix));
    assert!(says.contains("network/db: spec.ipv4"), "{says}");
    let large = put("Volume", "v", &json!({"size": "65Ti"}));
    assert!(refusal(&kit, &large).contains("64Ti"));
    let none = delete(PlannedKind::Volume, "none");
    assert!(refusal(&kit, &none).contains("NotFound: spec.deletes: volume/none"));
    let mut much = put("Network", "web", &back());
    much.manifests[0].0["metadata"]["annotations"] = json!({"a": "x".repeat(300 * 1024)});
    assert!(refusal(&kit, &much).contains("plan a part of them"));
}

#[test]
fn a_target_that_nobody_can_look_at_is_unknown_and_never_without_anything_to_do() {
    let mut kit = Kit::acme();
    let spec = put(
        "Instance",
        "vm",
        &json!({"image": "debian-12", "placement": {"zone": "north"},
        "networks": [{"name": "db", "network": "db"}]}),
    );
    let told = plan(&kit, "acme", &spec);
    let [c1] = told.targets.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((c1.name.as_str(), c1.steps.len()), ("c1", 0));
    assert!(c1.unknown.is_some());
    assert_eq!(told.summary.as_deref(), Some("c1: unknown; 1 held back"));
    assert_eq!(told.held[0].object, "instance/vm");
    // Nothing is given before the targets were looked at, and then it is unknown where it goes.
    kit.restart();
    let told = plan(&kit, "acme", &spec);
    assert!(told.targets.iter().any(|t| t.unknown.is_some()), "{told:?}");
    assert_eq!(told.held.len(), 1, "{told:?}");
}

#[test]
fn what_the_change_breaks_elsewhere_is_held_back_as_well() {
    let kit = Kit::acme();
    let clash = json!({"zones": ["north"], "ipv4": {"prefix": "10.10.1.0/25"}});
    let told = plan(&kit, "acme", &put("Network", "clash", &clash));
    assert!(
        told.held.iter().any(|h| h.object == "network/clash"),
        "{told:?}"
    );
}
