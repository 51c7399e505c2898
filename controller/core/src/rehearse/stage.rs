//! Turns a world into the one in which nothing is left to do, and remembers what had to be sent.
//!
//! It plays the shell: passes over objects and targets, by the very functions that decide in
//! earnest, on copies. A target that nobody looked at is not played.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bb_crds::FINALIZER;
use bb_crds::provider::ManagementPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::core::object::HasStatus;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cluster::Play;
use super::{Look, Wants};
use crate::allocate::{Grants, allocate};
use crate::guard::Deletes;
use crate::objects::Objects;
use crate::outcome::{
    Asked, ClusterOutcome, Contact, Outcomes, RouterOutcome, guest_asked, volume_asked,
};
use crate::outside::{InUse, Outside};
use crate::proxmox::model;
use crate::proxmox::observed::Need;
use crate::proxmox::plan::{self as guests, Op, Owner};
use crate::render;
use crate::resolve::{Id, Resolved, resolve};
use crate::share::Share;
use crate::status::{Change, FinalizerOp, Known, changes};
use crate::vyos::batch::{Bound, next};
use crate::vyos::cost::Pace;
use crate::vyos::found::found;
use crate::vyos::plan::apply;
use crate::vyos::refusals::{Purpose, Refusals};
use crate::vyos::{Command, Desired, Lines, plan};
use crate::world::{World, uid};
use crate::writes::order;

/// A round is a pass over the objects or one over all targets. A tenant's whole life takes
/// twenty; what has not come to rest after so many never does.
const ROUNDS: usize = 400;
/// The most calls or lists, one after the other, of one pass over a target.
const STEPS: usize = 256;
/// As many slots as anybody can ask for: what waits for a slot only is sent all the same.
const SLOTS: usize = 1 << 20;

/// What one pass over the objects decides.
pub(super) struct Pass {
    pub(super) resolved: Resolved,
    pub(super) grants: Grants,
    pub(super) routers: BTreeMap<String, Desired>,
    pub(super) clusters: BTreeMap<String, model::Desired>,
}

/// A router that is played.
pub(super) struct Router {
    pub(super) running: Lines,
    refusals: Refusals,
    at: std::time::Duration,
    pub(super) sent: Vec<Command>,
}

/// A cluster that is played.
pub(super) struct Cluster {
    pub(super) play: Play,
    pub(super) sent: Vec<(Owner, Op)>,
}

/// Objects and targets, as they become.
pub(super) struct Stage<'a> {
    installation: &'a str,
    now: &'a Time,
    pub(super) world: World,
    pub(super) outcomes: Outcomes,
    deletes: Deletes,
    pub(super) routers: BTreeMap<String, Router>,
    pub(super) clusters: BTreeMap<String, Cluster>,
}

/// Why a stage does not come to rest.
pub(super) enum Stopped {
    /// These reads are missing.
    Wants(Wants),
    /// It goes on and on.
    Restless,
}

impl<'a> Stage<'a> {
    pub(super) fn new(question: &super::Question<'a>) -> Self {
        let mut stage = Self {
            installation: question.installation,
            now: question.now,
            world: question.world.clone(),
            outcomes: question.outcomes.clone(),
            deletes: question.deletes.clone(),
            routers: BTreeMap::new(),
            clusters: BTreeMap::new(),
        };
        for (name, look) in question.looks {
            match look {
                Look::Router(router) => {
                    let mut refusals = router.refusals.clone();
                    // Nobody can say what a search will find.
                    while refusals.group().is_some() {
                        refusals.release();
                    }
                    let router = Router {
                        running: Lines::clone(&router.running),
                        refusals,
                        at: router.at,
                        sent: Vec::new(),
                    };
                    stage.routers.insert(name.clone(), router);
                    stage.outcomes.router(name).contact = Contact::Good;
                }
                Look::Cluster(cluster) => {
                    let mut play = Play {
                        seen: cluster.seen.clone(),
                        flight: cluster.flight.clone(),
                    };
                    play.flight.recheck.clear();
                    let sent = Vec::new();
                    stage.clusters.insert(name.clone(), Cluster { play, sent });
                    stage.outcomes.cluster(name).contact = Contact::Good;
                }
                Look::Unknown(_) => {}
            }
        }
        stage
    }

    /// Forgets what was sent so far: that is due whatever comes next.
    pub(super) fn forget_sent(&mut self) {
        self.routers.values_mut().for_each(|r| r.sent.clear());
        self.clusters.values_mut().for_each(|c| c.sent.clear());
    }

    /// Decides, and writes nothing.
    pub(super) fn pass(&mut self) -> Pass {
        let world = &self.world;
        let mut resolved = resolve(world);
        self.deletes.note(world, self.now);
        resolved.guarded = self.deletes.judge(world, self.now);
        let outside = Outside::of(&self.outcomes, world);
        let share = Share {
            outside: Some(&outside),
            ..Share::everybody()
        };
        let grants = allocate(world, &resolved, &share);
        let (routers, clusters) = render::targets(world, &resolved, &grants, self.installation);
        Pass {
            resolved,
            grants,
            routers,
            clusters,
        }
    }

    /// Goes on until nothing is left to write or to send, and gives the pass that found so.
    pub(super) fn settle(&mut self) -> Result<Pass, Stopped> {
        for _ in 0..ROUNDS {
            let pass = self.pass();
            if self.write(&pass) > 0 {
                continue;
            }
            if !self.visit(&pass)? {
                return Ok(pass);
            }
        }
        Err(Stopped::Restless)
    }

    /// Writes what is due, and says how much that was.
    fn write(&mut self, pass: &Pass) -> usize {
        let asked = Asked::of(&pass.routers, &pass.clusters);
        self.outcomes.note(&asked, |_| true);
        let instances = self.world.instances.iter();
        let by_uid = instances
            .map(|(k, i)| (uid(i.as_ref()), k.clone()))
            .collect();
        let known = Known {
            world: &self.world,
            resolved: &pass.resolved,
            grants: &pass.grants,
            asked: &asked,
            by_uid: &by_uid,
            outcomes: &self.outcomes,
            now: self.now,
        };
        let writes = order(&known, changes(&known), &BTreeSet::new(), 0);
        let due = [writes.fabric, writes.cursors, writes.rest];
        let due: Vec<Change> = due.into_iter().flatten().map(|due| due.change).collect();
        for change in &due {
            put_change(&mut self.world, change);
        }
        due.len()
    }

    /// Lets every target have its pass; whether that was news.
    fn visit(&mut self, pass: &Pass) -> Result<bool, Stopped> {
        let mut news = false;
        let routers: Vec<String> = self.routers.keys().cloned().collect();
        for name in routers {
            if let Some(desired) = pass.routers.get(&name) {
                news |= self.visit_router(&name, desired);
            }
        }
        let mut reads = BTreeMap::new();
        let clusters: Vec<String> = self.clusters.keys().cloned().collect();
        for name in clusters {
            if let Some(desired) = pass.clusters.get(&name) {
                match self.visit_cluster(&name, desired) {
                    Ok(found) => news |= found,
                    Err(needs) => drop(reads.insert(name, needs)),
                }
            }
        }
        if reads.is_empty() {
            return Ok(news);
        }
        Err(Stopped::Wants(Wants {
            reads,
            ..Wants::default()
        }))
    }

    fn visit_router(&mut self, name: &str, desired: &Desired) -> bool {
        let provider = self.world.providers.get(name);
        let may_write =
            provider.is_some_and(|p| p.spec.management_policy == ManagementPolicy::Manage);
        let Some(router) = self.routers.get_mut(name) else {
            return false;
        };
        let mut news = false;
        for _ in 0..STEPS {
            let planned = plan(desired, &router.running);
            router.refusals.note(desired, &planned, &router.running);
            let (bound, pace) = (Bound::default(), Pace::default());
            let list = next(
                desired,
                &planned,
                &router.running,
                &mut router.refusals,
                bound,
                pace,
                router.at,
            );
            // What was refused is told as refused, not as what may be tried again.
            let Some(list) = list.filter(|l| may_write && l.purpose == Purpose::Work) else {
                break;
            };
            router.running = apply(&router.running, &list.commands);
            router.sent.extend(list.commands);
            news = true;
        }
        let last = plan(desired, &router.running);
        let state = found(
            desired,
            &last,
            &router.running,
            &router.refusals,
            may_write,
            None,
        );
        let before = self.outcomes.routers.get(name).cloned().unwrap_or_default();
        let mut outcome = RouterOutcome {
            version: before.version.clone(),
            underlay: before.underlay.clone(),
            drift: before.drift.clone(),
            in_use: InUse::of(&router.running),
            ..state
        };
        outcome.forget_strangers();
        news |= outcome != *before;
        self.outcomes
            .routers
            .insert(name.to_owned(), outcome.into());
        news
    }

    fn visit_cluster(
        &mut self,
        name: &str,
        desired: &model::Desired,
    ) -> Result<bool, BTreeSet<Need>> {
        let Some(cluster) = self.clusters.get_mut(name) else {
            return Ok(false);
        };
        let mut desired = desired.clone();
        (desired.cluster.clones, desired.cluster.tasks) = (SLOTS, SLOTS);
        let mut news = false;
        let mut report = model::PassReport::default();
        for _ in 0..STEPS {
            let decided = guests::plan(&desired, &cluster.play.seen, &cluster.play.flight);
            if !decided.needs.is_empty() {
                return Err(decided.needs);
            }
            report = decided.report;
            if decided.chains.is_empty() {
                break;
            }
            news = true;
            for chain in decided.chains {
                for op in chain.ops {
                    let done = cluster.play.carry_out(&op);
                    done.map_err(|need| BTreeSet::from([need]))?;
                    cluster.sent.push((chain.owner.clone(), op));
                }
            }
        }
        let before = self
            .outcomes
            .clusters
            .get(name)
            .cloned()
            .unwrap_or_default();
        let mut outcome = outcome(&desired, report, &before);
        outcome.forget_strangers();
        news |= outcome != *before;
        self.outcomes
            .clusters
            .insert(name.to_owned(), outcome.into());
        Ok(news)
    }
}

/// A report, with what it was asked for beside each object.
fn outcome(
    desired: &model::Desired,
    report: model::PassReport,
    before: &ClusterOutcome,
) -> ClusterOutcome {
    let (mut guests, mut volumes) = (report.guests, report.volumes);
    let asked_guests = desired.guests.iter();
    let asked_volumes = desired.volumes.iter();
    ClusterOutcome {
        contact: Contact::Good,
        guests: asked_guests
            .filter_map(|g| Some((g.uid.clone(), (guest_asked(g), guests.remove(&g.uid)?))))
            .collect(),
        volumes: asked_volumes
            .filter_map(|v| Some((v.uid.clone(), (volume_asked(v), volumes.remove(&v.uid)?))))
            .collect(),
        orphans: report.orphans,
        others: crate::outside::Others {
            // Which addresses they have only a driver reads.
            addresses: before.others.addresses.clone(),
            ..report.others
        },
        version: before.version.clone(),
        missing: before.missing.clone(),
        drift: before.drift.clone(),
        left_alone: false,
    }
}

/// Carries out one change as the API would.
fn put_change(world: &mut World, change: &Change) {
    match &change.id {
        Id::Region(name) => put(&mut world.regions, name, change),
        Id::Provider(name) => put(&mut world.providers, name, change),
        Id::Tenant(name) => put(&mut world.tenants, name, change),
        Id::Network(key) => put(&mut world.networks, key, change),
        Id::Volume(key) => put(&mut world.volumes, key, change),
        Id::Instance(key) => put(&mut world.instances, key, change),
    }
}

fn put<K, T>(all: &mut Objects<K, Arc<T>>, key: &K, change: &Change)
where
    K: Ord + Clone,
    T: ResourceExt + HasStatus + Clone,
    T::Status: DeserializeOwned,
{
    let Some(there) = all.get(key) else { return };
    let mut object = there.as_ref().clone();
    if let Some(op) = change.finalizer {
        let finalizers = object.finalizers_mut();
        finalizers.retain(|f| f != FINALIZER);
        if op == FinalizerOp::Add {
            finalizers.push(FINALIZER.to_owned());
        }
        let held = !finalizers.is_empty();
        if !held && object.meta().deletion_timestamp.is_some() {
            all.remove(key);
            return;
        }
    }
    if let Some(status) = &change.status {
        *object.status_mut() = read_status(status);
    }
    all.insert(key.clone(), Arc::new(object));
}

fn read_status<S: DeserializeOwned>(status: &Value) -> Option<S> {
    let read = serde_json::from_value(status.clone());
    Some(read.expect("what a status was written as, it is read from"))
}
