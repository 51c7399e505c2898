//! Plays the shell: passes over objects and targets until nothing is left to do.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::FINALIZER;
use serde_json::json;

use super::{HERE, Kit, remove};
use crate::allocate::{Grants, allocate};
use crate::drift::recorded_on;
use crate::guard::Deletes;
use crate::outcome::{Asked, Outcomes};
use crate::outside::Outside;
use crate::proxmox::model;
use crate::render;
use crate::resolve::{Id, Resolved, resolve};
use crate::share::Share;
use crate::status::{Change, FinalizerOp, Known, changes, namespace_conflict};
use crate::vyos;
use crate::world::{NamespaceView, deleting, finalized, paused, uid};
use crate::writes::{Due, Writes, order};

/// What one pass over a world decides.
pub(crate) struct Pass {
    pub(crate) resolved: Resolved,
    pub(crate) grants: Grants,
    pub(crate) routers: BTreeMap<String, vyos::Desired>,
    pub(crate) clusters: BTreeMap<String, model::Desired>,
}

impl Kit {
    /// Decides, and writes nothing.
    pub(crate) fn pass(&self) -> Pass {
        let world = &self.world;
        let mut resolved = resolve(world);
        resolved.guarded = self.deletes.judge(world, &self.now());
        let outside = Outside::of(&self.outcomes, world);
        let grants = allocate(world, &resolved, &self.share(&outside));
        let (routers, clusters) = render::targets(world, &resolved, &grants, HERE);
        Pass {
            resolved,
            grants,
            routers,
            clusters,
        }
    }

    fn share<'a>(&'a self, outside: &'a Outside<'a>) -> Share<'a> {
        Share {
            networks: self.most.unwrap_or(usize::MAX),
            instances: self.most.unwrap_or(usize::MAX),
            turn: self.passes,
            resting: &self.resting,
            outside: Some(outside),
        }
    }

    /// What is due to be written now.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.knowing(changes)
    }

    pub(crate) fn knowing<T>(&self, ask: impl FnOnce(&Known<'_>) -> T) -> T {
        let pass = self.pass();
        let instances = self.world.instances.iter();
        let by_uid = instances
            .map(|(k, i)| (uid(i.as_ref()), k.clone()))
            .collect();
        ask(&Known {
            world: &self.world,
            resolved: &pass.resolved,
            grants: &pass.grants,
            asked: &Asked::of(&pass.routers, &pass.clusters),
            by_uid: &by_uid,
            outcomes: &self.outcomes,
            now: &self.now(),
        })
    }

    /// What is due, in the order it is to be written in.
    pub(crate) fn writes(&self, unsettled: &BTreeSet<String>) -> Writes {
        self.knowing(|known| order(known, changes(known), unsettled, self.passes))
    }

    /// One pass of the controller over the objects, and how many writes it made.
    pub(crate) fn reconcile(&mut self) -> usize {
        self.second += 1;
        self.deletes.note(&self.world, &self.now());
        self.passes += 1;
        let decided_on = self.world.clone();
        let unsettled = self.keep_namespaces();
        let kept = std::mem::replace(&mut self.world, decided_on);
        let writes = self.writes(&unsettled);
        self.world = kept;
        let held = writes.held;
        held + self.carry_out(writes, usize::MAX, |_, _| true)
    }

    /// Writes what is due as far as `may` lets it, `most` changes in all, and says how many
    /// writes that made. What could not be written takes what waits for it along.
    pub(crate) fn carry_out(
        &mut self,
        writes: Writes,
        most: usize,
        may: impl Fn(&Self, &Due) -> bool,
    ) -> usize {
        let steps = [writes.fabric, writes.cursors, writes.rest];
        let (mut taken, mut made) = (BTreeSet::new(), 0);
        for due in steps.into_iter().flatten() {
            if taken.len() < most && due.after.is_subset(&taken) && may(self, &due) {
                made += self.write(&due.change);
                taken.insert(due.change.id);
            }
        }
        made
    }

    /// Carries out one change as the API would.
    pub(crate) fn write(&mut self, change: &Change) -> usize {
        let mut made = 0;
        if let Some(op) = change.finalizer {
            made += 1;
            let list = match op {
                FinalizerOp::Add => json!([FINALIZER]),
                FinalizerOp::Remove => json!([]),
            };
            self.edit(&change.id, |o| o["metadata"]["finalizers"] = list);
            let object = self.get(&change.id).unwrap();
            if op == FinalizerOp::Remove && !object["metadata"]["deletionTimestamp"].is_null() {
                remove(&mut self.world, &change.id);
            }
        }
        if let Some(status) = &change.status {
            made += 1;
            self.edit(&change.id, |o| o["status"] = status.clone());
        }
        *self.writes.entry(change.id.clone()).or_default() += made;
        let notes = change.events.iter();
        self.events
            .extend(notes.map(|note| (change.id.clone(), note.clone())));
        made
    }

    /// Makes, owns and removes namespaces, as the shell does.
    fn keep_namespaces(&mut self) -> BTreeSet<String> {
        let mut owned_now = BTreeSet::new();
        let tenants: Vec<_> = self.world.tenants.values().cloned().collect();
        for object in tenants {
            let name = object.metadata.name.clone().unwrap();
            if !finalized(object.as_ref()) || paused(object.as_ref()) {
                continue;
            }
            let view = self.world.namespaces.get(&name).cloned();
            let ours = Some(uid(object.as_ref()));
            let owned = view.as_ref().is_some_and(|v| v.owner == ours);
            if deleting(object.as_ref()) {
                if owned {
                    self.delete_namespace(&name);
                }
                continue;
            }
            let conflict = self
                .knowing(|k| namespace_conflict(k, &name, &object))
                .is_some();
            if owned || conflict || view.is_some_and(|v| v.deleting) {
                continue;
            }
            let view = NamespaceView {
                tenant: Some(name.clone()),
                owner: ours,
                deleting: false,
            };
            self.world.namespaces.insert(name.clone(), view.into());
            owned_now.insert(name);
        }
        owned_now
    }

    /// Deletes everything in a namespace, and itself once it is empty.
    fn delete_namespace(&mut self, name: &str) {
        let view = self.world.namespaces.get_mut(name).unwrap();
        std::sync::Arc::make_mut(view).deleting = true;
        let mut inside = self.ids();
        inside.retain(|id| {
            matches!(id, Id::Network(k) | Id::Volume(k) | Id::Instance(k) if k.namespace == name)
        });
        if inside.is_empty() {
            self.world.namespaces.remove(name);
        }
        for id in inside {
            self.delete(&id);
        }
    }

    /// Lets the next target have its pass, as [`Kit::reconcile`] does for the objects.
    ///
    /// One at a time: that is when objects on several targets are written most often.
    fn next_target(&mut self) {
        let pass = self.pass();
        let names: Vec<String> = pass
            .routers
            .keys()
            .chain(pass.clusters.keys())
            .cloned()
            .collect();
        if names.is_empty() {
            return;
        }
        self.turn += 1;
        let name = names[self.turn % names.len()].clone();
        self.visit_with(&pass, &name);
    }

    /// Lets one target have its pass now.
    pub(crate) fn visit(&mut self, name: &str) {
        let pass = self.pass();
        self.visit_with(&pass, name);
    }

    /// Lets every target have its pass now.
    pub(crate) fn look(&mut self) {
        let pass = self.pass();
        for name in pass.routers.keys().chain(pass.clusters.keys()) {
            self.visit_with(&pass, name);
        }
    }

    fn visit_with(&mut self, pass: &Pass, name: &str) {
        if let Some(desired) = pass.routers.get(name) {
            let now = self.now();
            let recorded = recorded_on(&self.world, name);
            let router = self.routers.get_mut(name).unwrap();
            router.pass(desired, &recorded, self.outcomes.router(name), &now);
        }
        if let Some(desired) = pass.clusters.get(name) {
            let cluster = self.clusters.get_mut(name).unwrap();
            cluster.pass(desired, self.outcomes.cluster(name));
        }
    }

    /// One target's pass and one over the objects, and how many writes that made.
    pub(crate) fn step(&mut self) -> usize {
        self.next_target();
        self.reconcile()
    }

    /// Goes on until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        self.settle_with(|_| {});
    }

    /// As [`Kit::settle`], with a look at every step.
    pub(crate) fn settle_with(&mut self, mut look: impl FnMut(&Self)) {
        let targets = self.routers.len() + self.clusters.len();
        let mut quiet = 0;
        for _ in 0..500 {
            let before = self.outcomes.clone();
            let still = self.step() == 0 && self.outcomes == before;
            look(self);
            quiet = if still { quiet + 1 } else { 0 };
            // Each target has had its turn, and found nothing new.
            if quiet > targets {
                return;
            }
        }
        panic!("it never comes to rest: {:#?}", self.changes());
    }

    /// Goes on until every network has its numbers, and gives nothing to machines meanwhile.
    pub(crate) fn settle_networks(&mut self) {
        let machines = std::mem::take(&mut self.world.instances);
        self.settle();
        self.world.instances = machines;
    }

    /// Forgets what a process that ends forgets.
    pub(crate) fn restart(&mut self) {
        self.outcomes = Outcomes::default();
        self.deletes = Deletes::default();
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, seconds: i64) {
        self.second += seconds;
    }
}
