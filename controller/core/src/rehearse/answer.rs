//! Turns a stage at rest into the answer that a tenant may read.
//!
//! Of other tenants' objects only their number is told.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::plan::{Given, HeldBack, PlanStatus, PlanStep, PlanTarget, TargetType};
use bb_crds::{Condition, ConditionType, Reason};
use kube::ResourceExt;

use super::proposal::{Proposal, label, stand_in_uid};
use super::stage::{Pass, Stage};
use super::{Look, Question, Rest, hash, reach};
use crate::allocate::mac;
use crate::drift;
use crate::proxmox::mark;
use crate::resolve::Id;
use crate::vyos::{Lines, Verb};
use crate::world::{Key, Uid, World, uid};

/// How many objects have something due on each target.
pub(super) fn due(stage: &Stage<'_>) -> BTreeMap<String, usize> {
    let of_router = |commands: &[crate::vyos::Command]| {
        let owners: BTreeSet<&Uid> = commands.iter().map(|c| &c.owner).collect();
        owners.len()
    };
    let routers = stage.routers.iter();
    let routers = routers.map(|(name, router)| (name.clone(), of_router(&router.sent)));
    let clusters = stage.clusters.iter().map(|(name, cluster)| {
        let owners: BTreeSet<&Uid> = cluster.sent.iter().map(|(o, _)| &o.uid).collect();
        (name.clone(), owners.len())
    });
    routers.chain(clusters).collect()
}

/// All that an answer is told from.
pub(super) struct Told<'a, 'q> {
    pub(super) question: &'a Question<'q>,
    /// The objects as they are once nothing is due any more.
    pub(super) world: &'a World,
    /// What routers run then.
    pub(super) running: &'a BTreeMap<String, Lines>,
    /// What is asked of targets then.
    pub(super) before: &'a Pass,
    pub(super) due: &'a BTreeMap<String, usize>,
    pub(super) concerned: &'a BTreeSet<String>,
    /// What comes of the change.
    pub(super) rest: &'a Rest<'q>,
}

impl Told<'_, '_> {
    /// The answer, without time and conditions.
    pub(super) fn status(&self) -> PlanStatus {
        let names = self.names();
        let targets: Vec<PlanTarget> = self
            .concerned
            .iter()
            .map(|name| self.target(name, &names))
            .collect();
        let mut status = PlanStatus {
            summary: None,
            hash: None,
            time: None,
            targets,
            gives: self.gives(),
            held: self.held(),
            reach: Some(reach::reach(self, &names)),
            conditions: Vec::new(),
        };
        status.summary = Some(reach::summary(&status));
        status.hash = Some(hash::of(self, &status));
        status
    }

    /// The objects that may be named, by UID. The tenant itself is one of them.
    fn names(&self) -> BTreeMap<Uid, Id> {
        let mut names = BTreeMap::new();
        let own = self.question.namespace;
        for world in [self.world, &self.rest.stage.world] {
            for (id, uid) in objects(world, own) {
                names.insert(uid, id);
            }
            if let Some(tenant) = world.tenants.get(own) {
                names.insert(uid(tenant.as_ref()), Id::Tenant(own.to_owned()));
            }
        }
        names
    }

    fn target(&self, name: &str, names: &BTreeMap<Uid, Id>) -> PlanTarget {
        let stage = &self.rest.stage;
        let is_router = self.rest.pass.routers.contains_key(name);
        let (read, unknown) = match self.question.looks.get(name) {
            Some(Look::Router(look)) => (Some(look.read.clone()), None),
            Some(Look::Cluster(look)) => (Some(look.read.clone()), None),
            Some(Look::Unknown(why)) => (None, Some(why.clone())),
            None => (None, Some("it was not looked at".to_owned())),
        };
        let fill = self.stand_ins();
        let mut steps: Vec<PlanStep> = Vec::new();
        if let Some(router) = stage.routers.get(name) {
            for command in &router.sent {
                if let Some(id) = names.get(&command.owner) {
                    let object = label(id);
                    let verb = match command.verb {
                        Verb::Delete => "delete",
                        Verb::Set => "set",
                    };
                    let text = fill.put(&format!("{verb} {}", drift::words(&command.path)));
                    match steps.last_mut().filter(|last| last.object == object) {
                        Some(last) => last.sends.push(text),
                        None => steps.push(PlanStep {
                            object,
                            sends: vec![text],
                        }),
                    }
                }
            }
        }
        if let Some(cluster) = stage.clusters.get(name) {
            for (owner, op) in &cluster.sent {
                if let Some(id) = names.get(&owner.uid) {
                    let object = label(id);
                    let text = fill.put(&(self.question.words)(op));
                    // Calls for one object wait for each other, those for several do not.
                    match steps.iter_mut().find(|step| step.object == object) {
                        Some(step) => step.sends.push(text),
                        None => steps.push(PlanStep {
                            object,
                            sends: vec![text],
                        }),
                    }
                }
            }
        }
        PlanTarget {
            name: name.to_owned(),
            type_: if is_router {
                TargetType::Router
            } else {
                TargetType::Cluster
            },
            read,
            unknown,
            steps,
            due: number(self.due.get(name).copied().unwrap_or(0)),
        }
    }

    /// What only the API can know of an object that it has not made, and the words for it.
    fn stand_ins(&self) -> StandIns {
        let mut all = Vec::new();
        for proposal in self.question.proposals {
            let id = proposal.id();
            let uid = stand_in_uid(&id);
            let object = label(&id);
            match proposal {
                Proposal::Instance(_, instance) => {
                    let tag = mark::tag(self.question.installation, &uid);
                    all.push((tag, format!("<tag of {object}>")));
                    for nic in &instance.spec.networks {
                        let address = mac(&uid, &nic.name);
                        let word = format!("<MAC of {object} in {}>", nic.name);
                        all.push((address.to_ascii_uppercase(), word.clone()));
                        all.push((address, word));
                    }
                }
                Proposal::Volume(..) => {
                    all.push((mark::serial(&uid), format!("<serial of {object}>")));
                }
                Proposal::Network(..) | Proposal::Delete(_) => {}
            }
            all.push((uid, format!("<UID of {object}>")));
        }
        StandIns(all)
    }

    fn gives(&self) -> Vec<Given> {
        let after = &self.rest.stage.world;
        let own = self.question.namespace;
        let mut gives = Vec::new();
        let mut give = |id: &Id, values: Vec<String>| {
            if !values.is_empty() {
                let object = label(id);
                gives.push(Given { object, values });
            }
        };
        let given = |id: &Id| {
            let had: BTreeSet<String> = identity(self.world, id).into_iter().collect();
            let mut has = identity(after, id);
            has.retain(|value| !had.contains(value));
            has
        };
        let tenant = Id::Tenant(own.to_owned());
        give(&tenant, given(&tenant));
        for (id, _) in objects(after, own) {
            give(&id, given(&id));
        }
        gives
    }

    fn held(&self) -> Vec<HeldBack> {
        let after = &self.rest.stage.world;
        let asked: BTreeSet<Id> = self.question.proposals.iter().map(Proposal::id).collect();
        let mut held = Vec::new();
        for (id, _) in objects(after, self.question.namespace) {
            let ready = ready(after, &id);
            let holds = ready.is_some_and(Condition::holds);
            let was = super::answer::ready(self.world, &id).is_some_and(Condition::holds);
            if holds && !is_deleting(after, &id) || !(asked.contains(&id) || was) {
                continue;
            }
            let unknown = || {
                let text = "nothing can be said of it before a target is looked at".to_owned();
                (Reason::Pending.as_str().to_owned(), text)
            };
            let (reason, message) =
                ready.map_or_else(unknown, |c| (c.reason.to_string(), c.message.to_string()));
            held.push(HeldBack {
                object: label(&id),
                reason,
                message,
            });
        }
        held
    }
}

/// Texts that stand for what nobody can know yet, and the words for them.
struct StandIns(Vec<(String, String)>);

impl StandIns {
    fn put(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (stand_in, word) in &self.0 {
            if text.contains(stand_in) {
                text = text.replace(stand_in, word);
            }
        }
        text
    }
}

pub(super) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The objects of a namespace that a Plan may be about, networks first.
fn objects(world: &World, namespace: &str) -> Vec<(Id, Uid)> {
    let here = |key: &&Key| key.namespace == namespace;
    let networks = world.networks.iter().filter(|(key, _)| here(key));
    let networks = networks.map(|(k, o)| (Id::Network(k.clone()), uid(o.as_ref())));
    let volumes = world.volumes.iter().filter(|(key, _)| here(key));
    let volumes = volumes.map(|(k, o)| (Id::Volume(k.clone()), uid(o.as_ref())));
    let instances = world.instances.iter().filter(|(key, _)| here(key));
    let instances = instances.map(|(k, o)| (Id::Instance(k.clone()), uid(o.as_ref())));
    networks.chain(volumes).chain(instances).collect()
}

fn ready<'a>(world: &'a World, id: &Id) -> Option<&'a Condition> {
    let conditions = match id {
        Id::Network(key) => &world.networks.get(key)?.status.as_ref()?.conditions,
        Id::Volume(key) => &world.volumes.get(key)?.status.as_ref()?.conditions,
        Id::Instance(key) => &world.instances.get(key)?.status.as_ref()?.conditions,
        _ => return None,
    };
    conditions.iter().find(|c| c.is(ConditionType::Ready))
}

fn is_deleting(world: &World, id: &Id) -> bool {
    fn goes(object: Option<&impl ResourceExt>) -> bool {
        object.is_some_and(crate::world::deleting)
    }
    match id {
        Id::Network(key) => goes(world.networks.get(key).map(AsRef::as_ref)),
        Id::Volume(key) => goes(world.volumes.get(key).map(AsRef::as_ref)),
        Id::Instance(key) => goes(world.instances.get(key).map(AsRef::as_ref)),
        _ => false,
    }
}

/// Numbers, places and addresses that are on record for an object, in words.
fn identity(world: &World, id: &Id) -> Vec<String> {
    let mut values = Vec::new();
    match id {
        Id::Tenant(name) => {
            let status = world.tenants.get(name).and_then(|t| t.status.as_ref());
            for routing in status.iter().flat_map(|s| &s.routing) {
                values.push(format!(
                    "VRF {} (table {}) with L3VNI {} in region {}",
                    routing.vrf, routing.table, routing.l3vni, routing.region
                ));
            }
        }
        Id::Network(key) => {
            let status = world.networks.get(key).and_then(|n| n.status.as_ref());
            values.extend(status.and_then(|s| s.vni).map(|vni| format!("VNI {vni}")));
            for vlan in status.iter().flat_map(|s| &s.vlans) {
                let (router, interface) = (&vlan.router, &vlan.interface);
                values.push(format!("VLAN {} on {router} {interface}", vlan.vlan));
            }
        }
        Id::Instance(key) => {
            let status = world.instances.get(key).and_then(|i| i.status.as_ref());
            let number = status.and_then(|s| s.provider_id.as_deref());
            if let Some(vmid) = crate::resolve::recorded_vmid(number) {
                let cluster = status.and_then(|s| s.cluster.as_deref());
                values.push(format!("VMID {vmid} on {}", cluster.unwrap_or_default()));
            }
            for nic in status.iter().flat_map(|s| &s.addresses) {
                values.push(format!("{} in {}", nic.address, nic.network));
            }
        }
        Id::Volume(key) => {
            let status = world.volumes.get(key).and_then(|v| v.status.as_ref());
            let storage = status.and_then(|s| s.storage.as_deref());
            if let Some(cluster) = status.and_then(|s| s.cluster.as_deref()) {
                values.push(format!(
                    "storage {} on {cluster}",
                    storage.unwrap_or_default()
                ));
            }
        }
        Id::Region(_) | Id::Provider(_) => {}
    }
    values
}
