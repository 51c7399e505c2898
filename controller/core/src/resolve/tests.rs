//! What cannot be: each with the condition that says so, its words, and nothing rendered for it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bb_crds::ConditionType::{self, Accepted, Ready, ResolvedRefs};
use bb_crds::Reason;
use serde_json::{Value, json};

use super::Id;
use crate::proxmox::model::Fate;
use crate::testkit::{Kit, instance, network, region, tenant, volume};
use crate::vyos::Want;
use crate::world::Uid;

mod fabric;
mod guests;
mod networks;

const INVALID: (ConditionType, Reason) = (Accepted, Reason::Invalid);
const NOT_FOUND: (ConditionType, Reason) = (ResolvedRefs, Reason::NotFound);
const NOT_ALLOWED: (ConditionType, Reason) = (ResolvedRefs, Reason::NotAllowed);
const WAITING: (ConditionType, Reason) = (ResolvedRefs, Reason::Waiting);

/// Something that a person writes and that cannot be.
struct Row {
    what: &'static str,
    /// What is there before, and settled.
    given: fn(&mut Kit),
    /// What is written.
    bad: fn(&mut Kit),
    /// The object that says so, the condition that is false and why.
    id: Id,
    is: (ConditionType, Reason),
    /// Parts of the message: the field, and what to do.
    says: &'static [&'static str],
}

fn row(
    what: &'static str,
    bad: fn(&mut Kit),
    id: Id,
    is: (ConditionType, Reason),
    says: &'static [&'static str],
) -> Row {
    Row {
        what,
        given: |_| {},
        bad,
        id,
        is,
        says,
    }
}

impl Row {
    fn given(self, given: fn(&mut Kit)) -> Self {
        Self { given, ..self }
    }
}

/// A tenant with two networks, a machine with an address of its choice and a volume, and
/// another tenant.
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
        assert_eq!(
            kit.status(&instance("acme/auto"), "/addresses/0/address"),
            "10.10.0.2"
        );
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
        kit.edit(&Id::Provider(name.to_owned()), |o| {
            o["spec"]["region"] = json!("west")
        });
    }
}

/// Everything that targets are asked to have, by target and object.
fn asked(kit: &Kit) -> BTreeMap<(String, Uid), String> {
    let pass = kit.pass();
    let mut asked = BTreeMap::new();
    for (name, desired) in &pass.routers {
        for claim in &desired.claims {
            if matches!(claim.want, Want::Present { .. }) {
                let key = (name.clone(), claim.owner.clone());
                asked.insert(key, format!("{:?}", claim.want));
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

/// What is asked to be gone, by target and object.
fn unwanted(kit: &Kit) -> Vec<(String, Uid)> {
    let pass = kit.pass();
    let routers = pass.routers.iter().flat_map(|(name, desired)| {
        let absent = desired.claims.iter().filter(|c| c.want == Want::Absent);
        absent.map(|c| (name.clone(), c.owner.clone()))
    });
    routers.collect()
}

fn check(rows: Vec<Row>) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(format!("{}: {}", row.what, row.wrong()?)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

impl Row {
    /// What is not as the row says.
    fn wrong(&self) -> Option<String> {
        let mut kit = base();
        (self.given)(&mut kit);
        kit.settle();
        let before = asked(&kit);
        (self.bad)(&mut kit);
        let mut passes = 0;
        while kit.reconcile() > 0 {
            passes += 1;
            if passes > 10 {
                return Some(format!("written again and again: {:?}", kit.changes()));
            }
        }
        let (type_, reason) = self.is;
        let (status, found, message) = kit.condition(&self.id, type_);
        if (status.as_str(), found.as_str()) != ("False", reason.as_str()) {
            return Some(format!("{type_:?} is {status} {found}: {message}"));
        }
        if let Some(part) = self.says.iter().find(|part| !message.contains(**part)) {
            return Some(format!("{message:?} lacks {part:?}"));
        }
        if kit.unready(&self.id) != (reason, message) {
            return Some(format!("Ready says {:?}", kit.unready(&self.id)));
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

#[test]
fn the_same_prefix_of_another_tenant_is_fine() {
    let mut kit = base();
    kit.network("umbrella/web", json!({"ipv4": {"prefix": "10.10.0.0/24"}}));
    kit.settle();
    assert!(
        kit.ready(&network("umbrella/web")),
        "{:?}",
        kit.condition(&network("umbrella/web"), Ready)
    );
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
    kit.edit(&Id::Provider("c1".to_owned()), |o| {
        let classes = o["spec"]["proxmox"]["storage"].as_array_mut().unwrap();
        classes.push(json!({"name": "gold", "storage": "gold"}));
    });
    kit.settle();
    assert!(kit.ready(&instance("acme/early")) && kit.ready(&volume("acme/gold")));
}
