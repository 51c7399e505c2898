//! What cannot be: each with the condition that says so, its words, and nothing rendered for it.
//!
//! A row of `tests/*.yaml` is one thing that a person writes and that cannot be: what is there
//! before (`given`), what is written (`do`), the object that then says so (`on`), the condition
//! that is false and its reason (`is`), and parts of its message (`says`): the field and what
//! to do. In every row nothing is asked of any target that was not asked before, and nothing
//! is taken away.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Id;
use crate::proxmox::model::Fate;
use crate::testkit::{Kit, instance, key, network, provider, region, tenant, volume};
use crate::vyos::Want;
use crate::world::{NamespaceView, Uid};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    what: String,
    #[serde(default)]
    given: Vec<Step>,
    #[serde(rename = "do")]
    steps: Vec<Step>,
    on: String,
    is: String,
    says: Vec<String>,
}

/// Something that a person does.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Step {
    Apply {
        apply: String,
        spec: Value,
    },
    /// Puts a value at a JSON pointer; `-` is the end of a list.
    Set {
        set: String,
        at: String,
        to: Value,
    },
    Delete {
        delete: String,
    },
    /// Makes a namespace that is nobody's.
    Namespace {
        namespace: String,
    },
    /// Something larger, by name.
    Include {
        include: String,
    },
}

/// The object that `KIND NAME` names.
fn id(text: &str) -> Id {
    let (kind, name) = text.split_once(' ').unwrap();
    match kind {
        "Region" => region(name),
        "Provider" => provider(name),
        "Tenant" => tenant(name),
        "Network" => Id::Network(key(name)),
        "Volume" => Id::Volume(key(name)),
        "Instance" => Id::Instance(key(name)),
        other => panic!("there is no kind {other}"),
    }
}

impl Step {
    fn go(&self, kit: &mut Kit) {
        match self {
            Self::Apply { apply, spec } => kit.apply(&id(apply), spec.clone()),
            Self::Set { set, at, to } => kit.edit(&id(set), |object| put(object, at, to)),
            Self::Delete { delete } => kit.delete(&id(delete)),
            Self::Namespace { namespace } => {
                let nobodys = NamespaceView::default();
                kit.world
                    .namespaces
                    .insert(namespace.clone(), nobodys.into());
            }
            Self::Include { include } => match include.as_str() {
                "second region" => second_region(kit),
                "another cluster" => kit.cluster("c4", "north"),
                other => panic!("there is no {other}"),
            },
        }
    }
}

fn put(object: &mut Value, at: &str, to: &Value) {
    let (parent, last) = at.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Array(list) if last == "-" => list.push(to.clone()),
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = to.clone(),
        Value::Object(map) if to.is_null() => drop(map.remove(last)),
        Value::Object(map) => drop(map.insert(last.to_owned(), to.clone())),
        other => panic!("{at} is in {other}"),
    }
}

/// A tenant with two networks, a machine with an address of its choice and a volume, and
/// another tenant that has a network with the same prefix.
fn base() -> Kit {
    static KIT: LazyLock<Kit> = LazyLock::new(|| {
        let mut kit = Kit::acme();
        kit.edit(&network("acme/web"), |o| {
            o["spec"]["ipv4"]["reserved"] = json!(["10.10.0.100-10.10.0.110", "10.10.0.5"]);
        });
        kit.volume("acme/data", json!({"size": "20Gi", "zone": "north"}));
        kit.volume("acme/free", json!({"size": "20Gi", "zone": "north"}));
        kit.instance(
            "acme/www",
            json!({"image": "debian-12", "placement": {"zone": "north"},
                "networks": [{"name": "web", "network": "web", "address": "10.10.0.10"}],
                "volumes": [{"name": "data", "volume": "data"}]}),
        );
        kit.machine("acme/auto", "web");
        kit.tenant("umbrella");
        kit.settle();
        let given = kit.status(&instance("acme/auto"), "/addresses/0/address");
        assert_eq!(given, "10.10.0.2");
        kit
    });
    KIT.clone()
}

/// A second fabric, with a router and a cluster of its own.
fn second_region(kit: &mut Kit) {
    kit.apply(
        &region("west"),
        json!({"asn": 65001, "vnis": "20000-20999", "tables": "2000-2099", "attachments": [
            {"name": "a", "cluster": "c3", "vlan":
                {"router": "r3", "interface": "eth2", "bridge": "vmbr1", "vlans": "100-200"}}]}),
    );
    kit.router("r3", "docks", "10.255.1.1");
    kit.cluster("c3", "docks");
    for name in ["r3", "c3"] {
        kit.set(&provider(name), "region", json!("west"));
    }
}

/// Everything that targets are asked to have, by target and object.
fn asked(kit: &Kit) -> BTreeMap<(String, Uid), String> {
    let pass = kit.pass();
    let mut asked = BTreeMap::new();
    for (name, desired) in &pass.routers {
        for claim in &desired.claims {
            if matches!(claim.want, Want::Present { .. }) {
                let at = (name.clone(), claim.owner.clone());
                asked.insert(at, format!("{:?}", claim.want));
            }
        }
    }
    for (name, desired) in &pass.clusters {
        for guest in desired.guests.iter().filter(|g| g.fate != Fate::Hold) {
            asked.insert((name.clone(), guest.uid.clone()), format!("{guest:?}"));
        }
        for volume in desired.volumes.iter().filter(|v| v.fate != Fate::Hold) {
            asked.insert((name.clone(), volume.uid.clone()), format!("{volume:?}"));
        }
    }
    asked
}

/// What routers are asked to be without, by router and object.
fn unwanted(kit: &Kit) -> Vec<(String, Uid)> {
    let pass = kit.pass();
    let routers = pass.routers.iter().flat_map(|(name, desired)| {
        let absent = desired.claims.iter().filter(|c| c.want == Want::Absent);
        absent.map(|c| (name.clone(), c.owner.clone()))
    });
    routers.collect()
}

impl Row {
    /// What is not as the row says.
    fn wrong(&self) -> Option<String> {
        let mut kit = base();
        if !self.given.is_empty() {
            self.given.iter().for_each(|step| step.go(&mut kit));
            kit.settle();
        }
        let before = asked(&kit);
        self.steps.iter().for_each(|step| step.go(&mut kit));
        let mut passes = 0;
        while kit.reconcile() > 0 {
            passes += 1;
            if passes > 10 {
                return Some(format!("written again and again: {:?}", kit.changes()));
            }
        }
        let on = id(&self.on);
        let (type_, reason) = self.is.split_once(' ').unwrap();
        let (status, found, message) = kit.condition(&on, type_);
        if (status.as_str(), found.as_str()) != ("False", reason) {
            return Some(format!("{type_} is {status} {found}: {message}"));
        }
        if let Some(part) = self.says.iter().find(|part| !message.contains(*part)) {
            return Some(format!("{message:?} lacks {part:?}"));
        }
        let ready = kit.condition(&on, "Ready");
        if ready != (status, found, message) {
            return Some(format!("Ready says {ready:?}"));
        }
        let mut now = asked(&kit).into_iter();
        if let Some((at, wanted)) = now.find(|(at, wanted)| before.get(at) != Some(wanted)) {
            return Some(format!("something new at {at:?}: {wanted}"));
        }
        let gone = unwanted(&kit)
            .into_iter()
            .find(|at| before.contains_key(at));
        gone.map(|at| format!("something is taken away at {at:?}"))
    }
}

fn check(table: &str) {
    let rows: Vec<Row> = serde_saphyr::from_str(table).unwrap();
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(format!("{}: {}", row.what, row.wrong()?)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn networks_that_cannot_be_are_refused_and_change_nothing() {
    check(include_str!("tests/networks.yaml"));
}

#[test]
fn guests_and_volumes_that_cannot_be_are_refused_and_change_nothing() {
    check(include_str!("tests/guests.yaml"));
}

#[test]
fn a_fabric_that_does_not_hold_together_is_refused_and_changes_nothing() {
    check(include_str!("tests/fabric.yaml"));
}

#[test]
fn an_image_that_cannot_be_spoils_nothing_else() {
    let mut kit = base();
    kit.edit(&provider("c1"), |o| {
        let image = json!({"name": "new", "template": 9001, "class": "gold"});
        put(o, "/spec/proxmox/images/-", &image);
    });
    kit.machine("acme/db", "db");
    kit.settle();
    assert!(!kit.ready(&provider("c1")));
    assert!(kit.ready(&region("lab")) && kit.ready(&network("acme/web")));
    assert!(kit.ready(&instance("acme/www")) && kit.ready(&instance("acme/db")));
}

#[test]
fn a_card_may_take_the_address_of_one_that_it_replaces() {
    let mut kit = base();
    kit.set(
        &instance("acme/www"),
        "networks",
        json!([{"name": "other", "network": "web", "address": "10.10.0.10"}]),
    );
    kit.settle();
    assert!(kit.ready(&instance("acme/www")));
    let addresses = kit.status(&instance("acme/www"), "/addresses");
    assert_eq!(addresses.as_array().unwrap().len(), 1);
    assert_eq!(
        (&addresses[0]["name"], &addresses[0]["address"]),
        (&json!("other"), &json!("10.10.0.10"))
    );
}

#[test]
fn an_address_that_is_reserved_later_stays_with_who_has_it() {
    let mut kit = base();
    kit.edit(&network("acme/web"), |o| {
        o["spec"]["ipv4"]["reserved"] = json!(["10.10.0.2-10.10.0.20"]);
    });
    kit.set(&instance("acme/www"), "cpu", json!(2));
    kit.settle();
    assert!(kit.ready(&instance("acme/www")) && kit.ready(&instance("acme/auto")));
}

#[test]
fn what_is_in_force_is_not_refused_for_a_namesake_of_the_same_second() {
    let mut kit = base();
    kit.network("acme/zz", json!({"ipv4": {"prefix": "10.50.0.0/24"}}));
    kit.settle();
    let born = kit.get(&network("acme/zz")).unwrap()["metadata"]["creationTimestamp"].clone();
    kit.network("acme/aa", json!({"ipv4": {"prefix": "10.50.0.0/24"}}));
    kit.edit(&network("acme/aa"), |o| {
        o["metadata"]["creationTimestamp"] = born;
    });
    kit.settle();
    assert!(kit.ready(&network("acme/zz")) && !kit.ready(&network("acme/aa")));
}

#[test]
fn a_volume_goes_where_volumes_can_be_kept() {
    let mut kit = base();
    kit.edit(&provider("c1"), |o| {
        put(o, "/spec/proxmox/holder", &Value::Null);
    });
    kit.volume("acme/any", json!({"size": "1Gi"}));
    kit.settle();
    assert_eq!(kit.status(&volume("acme/any"), "/cluster"), "c2");
    assert!(kit.ready(&volume("acme/any")));
}

#[test]
fn a_volume_stays_where_it_is_when_its_class_is_gone() {
    let mut kit = base();
    for classes in [json!([{"name": "ssd", "storage": "new"}]), json!([])] {
        kit.edit(&provider("c1"), |o| {
            put(o, "/spec/proxmox/storage", &classes);
            put(o, "/spec/proxmox/images/1/class", &Value::Null);
        });
        kit.settle();
        kit.set(
            &instance("acme/www"),
            "cpu",
            json!(classes.as_array().unwrap().len() + 2),
        );
        kit.settle();
        assert!(kit.ready(&volume("acme/data")) && kit.ready(&instance("acme/www")));
        assert_eq!(kit.status(&volume("acme/data"), "/storage"), "ceph");
    }
}

#[test]
fn the_same_prefix_of_another_tenant_is_fine() {
    let mut kit = base();
    kit.network("umbrella/web", json!({"ipv4": {"prefix": "10.10.0.0/24"}}));
    kit.settle();
    assert!(kit.ready(&network("umbrella/web")));
}

#[test]
fn what_was_wrong_becomes_ready_when_it_is_put_right() {
    let mut kit = base();
    kit.machine("acme/early", "late");
    kit.volume(
        "acme/gold",
        json!({"size": "1Gi", "class": "gold", "zone": "north"}),
    );
    kit.settle();
    assert!(!kit.ready(&instance("acme/early")) && !kit.ready(&volume("acme/gold")));
    kit.network("acme/late", json!({"ipv4": {"prefix": "10.10.9.0/24"}}));
    kit.edit(&provider("c1"), |o| {
        let gold = json!({"name": "gold", "storage": "gold"});
        put(o, "/spec/proxmox/storage/-", &gold);
    });
    kit.settle();
    assert!(kit.ready(&instance("acme/early")) && kit.ready(&volume("acme/gold")));
}
