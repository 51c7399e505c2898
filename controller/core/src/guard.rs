//! Turns deletes that come together into which Providers hold them until a person confirms.
//!
//! Nobody deletes half of what is on a cluster within ten minutes every day; a tool that rendered
//! an empty list does. See docs/design/0016.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::instance::DeletionPolicy;
use bb_crds::provider::{DeleteGuard, ManagementPolicy};
use bb_crds::volume::ReclaimPolicy;
use bb_crds::{ALLOW_DELETES, ConditionType, Provider, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::world::{Uid, World, deleting, paused, uid};

/// Deletes of the near past by Provider: of each object, the second in which it was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletes(BTreeMap<String, BTreeMap<Uid, i64>>);

/// Why a Provider holds deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// So many objects were deleted within the window, or wait to be.
    pub count: usize,
    /// So many of them wait to be.
    pub waiting: usize,
    /// Of so many that were there at its beginning.
    pub total: usize,
    /// For the condition of the Provider: the rule, and how to confirm.
    pub message: String,
}

/// What is on one Provider.
#[derive(Default)]
struct Load {
    total: usize,
    /// What is being deleted and would be destroyed, and since which second.
    going: BTreeMap<Uid, i64>,
}

impl Deletes {
    /// Takes note of what is being deleted, and forgets what is gone and was deleted before the
    /// window.
    pub fn note(&mut self, world: &World, now: &Time) {
        let loads = loads(world);
        for (name, load) in &loads {
            if !load.going.is_empty() {
                let seen = self.0.entry((*name).to_owned()).or_default();
                seen.extend(load.going.iter().map(|(uid, at)| (uid.clone(), *at)));
            }
        }
        self.0.retain(|name, seen| {
            let Some(provider) = world.providers.get(name) else {
                return false;
            };
            let since = now.0.as_second() - window(&provider.spec.delete_guard);
            let going = loads.get(name.as_str()).map(|load| &load.going);
            seen.retain(|uid, at| *at >= since || going.is_some_and(|g| g.contains_key(uid)));
            !seen.is_empty()
        });
    }

    /// The Providers that hold deletes now.
    #[must_use]
    pub fn judge(&self, world: &World, now: &Time) -> BTreeMap<String, Guarded> {
        let loads = loads(world);
        let held = world.providers.iter().filter_map(|(name, provider)| {
            let load = loads.get(name.as_str())?;
            // With nothing left to hold there is nothing to confirm.
            if load.going.is_empty() {
                return None;
            }
            let none = BTreeMap::new();
            let seen = self.0.get(name).unwrap_or(&none);
            let gone = seen.keys().filter(|uid| !load.going.contains_key(*uid));
            let gone = gone.count();
            let (count, total) = (load.going.len() + gone, load.total + gone);
            let guard = &provider.spec.delete_guard;
            let holds = guard.percent < 100
                && (trips(guard, count, total) || was_held(provider))
                && !allowed(provider, count, now);
            holds.then(|| {
                let waiting = load.going.len();
                let message = message(provider, count, total);
                let guarded = Guarded {
                    count,
                    waiting,
                    total,
                    message,
                };
                (name.clone(), guarded)
            })
        });
        held.collect()
    }
}

/// Whether so many deletes are too many.
#[must_use]
pub fn trips(guard: &DeleteGuard, count: usize, total: usize) -> bool {
    let objects = usize::try_from(guard.objects).unwrap_or(0);
    let percent = usize::try_from(guard.percent).unwrap_or(0);
    count > objects && count * 100 > percent * total
}

/// It was held already, by the rule as it is now: neither time nor a restart lifts that.
fn was_held(provider: &Provider) -> bool {
    let conditions = provider.status.iter().flat_map(|s| &s.conditions);
    let mut ready = conditions.filter(|c| c.is(ConditionType::Ready));
    ready.any(|c| {
        c.reason == *Reason::Guarded.as_str()
            && c.observed_generation == provider.metadata.generation
    })
}

/// Whether a person confirmed so many: by a number, or by a time until which any number may go.
fn allowed(provider: &Provider, count: usize, now: &Time) -> bool {
    let Some(text) = provider.annotations().get(ALLOW_DELETES) else {
        return false;
    };
    let text = text.trim();
    match (text.parse::<usize>(), text.parse::<Timestamp>()) {
        (Ok(number), _) => count <= number,
        (_, Ok(until)) => now.0 < until,
        _ => false,
    }
}

fn message(provider: &Provider, count: usize, total: usize) -> String {
    let name = provider.name_any();
    let guard = &provider.spec.delete_guard;
    format!(
        "{count} of {total} objects on it were deleted within {} or wait to be, more than \
         spec.deleteGuard lets pass ({} and {} %), so none of them is destroyed; if it is meant: \
         kubectl annotate --overwrite provider {name} {ALLOW_DELETES}={count}",
        guard.window, guard.objects, guard.percent
    )
}

/// What a held object says. The count is in the Provider: here each change of it would be a
/// write for every object that is held.
#[must_use]
pub fn words(provider: &str, guard: &DeleteGuard) -> String {
    format!(
        "more than {} objects and {} % of those on {provider} are to be deleted, so none of them \
         is destroyed before an operator confirms it with the annotation {ALLOW_DELETES}; see the \
         conditions of Provider {provider}",
        guard.objects, guard.percent
    )
}

/// The window in seconds.
fn window(guard: &DeleteGuard) -> i64 {
    let (number, unit) = guard.window.split_at(guard.window.len().saturating_sub(1));
    let seconds = match unit {
        "h" => 3600,
        "m" => 60,
        _ => 1,
    };
    number.parse::<i64>().map_or(600, |number| number * seconds)
}

/// What is on each Provider.
fn loads(world: &World) -> BTreeMap<&str, Load> {
    let mut loads: BTreeMap<&str, Load> = BTreeMap::new();
    for object in world.instances.values() {
        let spec = &object.spec;
        let kept = spec.deletion() == DeletionPolicy::Orphan
            || spec.deletion_protection
            || spec.management_policy == ManagementPolicy::Observe;
        let cluster = object.status.as_ref().and_then(|s| s.cluster.as_deref());
        add(&mut loads, cluster, object.as_ref(), kept);
    }
    for object in world.volumes.values() {
        let spec = &object.spec;
        let kept = spec.reclaim_policy == ReclaimPolicy::Retain
            || spec.management_policy == ManagementPolicy::Observe;
        let cluster = object.status.as_ref().and_then(|s| s.cluster.as_deref());
        add(&mut loads, cluster, object.as_ref(), kept);
    }
    for object in world.networks.values() {
        let kept = object.spec.management_policy == ManagementPolicy::Observe;
        let vlans = object.status.iter().flat_map(|s| &s.vlans);
        let routers: BTreeSet<&str> = vlans.map(|v| v.router.as_str()).collect();
        for router in routers {
            add(&mut loads, Some(router), object.as_ref(), kept);
        }
    }
    loads
}

fn add<'a>(
    loads: &mut BTreeMap<&'a str, Load>,
    provider: Option<&'a str>,
    object: &impl ResourceExt,
    kept: bool,
) {
    let Some(provider) = provider else {
        return;
    };
    let load = loads.entry(provider).or_default();
    load.total += 1;
    if deleting(object) && !kept && !paused(object) {
        let at = object.meta().deletion_timestamp.as_ref();
        let second = at.map_or(0, |at| at.0.as_second());
        load.going.insert(uid(object), second);
    }
}

#[cfg(test)]
mod tests;
