//! Turns objects, grants and outcomes into what is to be written to each object.

use std::collections::BTreeMap;

use bb_crds::condition::{Verdict, set_condition};
use bb_crds::provider::ManagementPolicy;
use bb_crds::{Condition, ConditionType, Drift, Reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use crate::allocate::Grants;
use crate::drift::{self, Found};
use crate::guard;
use crate::outcome::{Asked, ClaimState, Contact, Outcomes};
use crate::resolve::{Id, Problem, Resolved};
use crate::world::{Key, Uid, World};

mod fabric;
mod instance;
mod network;
mod tenant;
#[cfg(test)]
mod tests;
mod volume;

pub use tenant::namespace_conflict;

/// Everything that one pass knows.
pub struct Known<'a> {
    /// The objects.
    pub world: &'a World,
    /// What they mean.
    pub resolved: &'a Resolved,
    /// What is given out in this pass.
    pub grants: &'a Grants,
    /// What every target is asked for.
    pub asked: &'a Asked,
    /// The instances by UID.
    pub by_uid: &'a BTreeMap<Uid, Key>,
    /// What the targets were found to have.
    pub outcomes: &'a Outcomes,
    /// The time that new transitions carry.
    pub now: &'a Time,
}

/// What is to be written to one object, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The object.
    pub id: Id,
    /// A finalizer to add first, or to take off last.
    pub finalizer: Option<FinalizerOp>,
    /// The whole status, where it differs.
    pub status: Option<Value>,
    /// What happened, where readiness changed or somebody else changed something.
    pub events: Vec<Note>,
}

/// What to do with our finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalizerOp {
    /// Before anything of the object is put anywhere.
    Add,
    /// When nothing of the object is left anywhere.
    Remove,
}

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// It is not as it should be.
    pub warning: bool,
    /// One word.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
}

/// Every write that is due, by kind; [`crate::writes::order`] says in which order. What waits
/// for its turn to be given an identity waits for all: its first write is the one with it.
#[must_use]
pub fn changes(known: &Known<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(
        known
            .world
            .regions
            .iter()
            .filter_map(|(n, o)| fabric::region(known, n, o)),
    );
    changes.extend(
        known
            .world
            .providers
            .iter()
            .filter_map(|(n, o)| fabric::provider(known, n, o)),
    );
    changes.extend(
        known
            .world
            .tenants
            .iter()
            .filter_map(|(n, o)| tenant::change(known, n, o)),
    );
    changes.extend(
        known
            .world
            .networks
            .iter()
            .filter_map(|(k, o)| network::change(known, k, o)),
    );
    changes.extend(
        known
            .world
            .volumes
            .iter()
            .filter_map(|(k, o)| volume::change(known, k, o)),
    );
    changes.extend(
        known
            .world
            .instances
            .iter()
            .filter_map(|(k, o)| instance::change(known, k, o)),
    );
    changes.retain(|change| !known.grants.waiting.contains(&change.id));
    // What is known of them is old: a write decided on it would be refused, or wrong.
    changes.retain(|change| !known.world.unread.has(&change.id));
    changes
}

/// What a router says of one object, where it was looked at since the object last changed.
fn claim_state<'a>(known: &'a Known<'_>, router: &str, uid: &str) -> Option<&'a ClaimState> {
    known.asked.claim(known.outcomes, router, uid)
}

/// Whether it is known what a router has of an object.
fn looked_at(known: &Known<'_>, router: &str, uid: &str) -> bool {
    let outcome = known.outcomes.routers.get(router);
    outcome.is_some_and(|outcome| outcome.looked_at(uid))
}

/// The routers of a Region, understood or not.
fn routers_of<'a>(known: &Known<'a>, region: &'a str) -> impl Iterator<Item = &'a String> {
    let routers = known.world.providers.iter();
    routers
        .filter(move |(_, p)| p.spec.vyos.is_some() && p.spec.region == region)
        .map(|(name, _)| name)
}

/// Why a router that is not done is not.
fn router_trouble(known: &Known<'_>, router: &str) -> Option<(Reason, String)> {
    if !known.resolved.routers.contains_key(router) {
        let message = format!("router {router} has no usable Provider; see its conditions");
        return Some((Reason::NotFound, message));
    }
    match &known.outcomes.routers.get(router)?.contact {
        Contact::Never | Contact::Good => None,
        // The words are on the Provider, once: each object would be written for each of them.
        Contact::Unreachable(_) => Some((
            Reason::Unreachable,
            format!("router {router} does not answer; see Provider {router}"),
        )),
        Contact::Unauthorized(_) => Some((
            Reason::Unauthorized,
            format!("router {router} refuses us; see Provider {router}"),
        )),
    }
}

/// Why a router of a Region has not let go of an object, where it says so or says nothing.
fn kept_by_router(known: &Known<'_>, region: &str, uid: &str) -> Option<(Reason, String)> {
    routers_of(known, region).find_map(|router| match claim_state(known, router, uid) {
        Some(ClaimState::Absent) => None,
        Some(ClaimState::Held { reason, message }) => {
            Some((*reason, format!("router {router}: {message}")))
        }
        _ => router_trouble(known, router),
    })
}

/// Why a cluster does not get on with what is on it.
fn cluster_trouble(known: &Known<'_>, cluster: Option<&String>) -> Option<Verdict> {
    let cluster = cluster?;
    if !known.resolved.clusters.contains_key(cluster) {
        let message = format!("cluster {cluster} has no usable Provider; bring it back");
        return Some(Verdict::no(Reason::NotFound, message));
    }
    match &known.outcomes.clusters.get(cluster)?.contact {
        Contact::Never | Contact::Good => None,
        Contact::Unreachable(_) => Some(Verdict::no(
            Reason::Unreachable,
            format!("cluster {cluster} does not answer; see Provider {cluster}"),
        )),
        Contact::Unauthorized(_) => Some(Verdict::no(
            Reason::Unauthorized,
            format!("cluster {cluster} refuses us; see Provider {cluster}"),
        )),
    }
}

/// Why an object that is deleted stays on one of its Providers: so much else is, too.
fn guarded<'a>(
    known: &Known<'_>,
    mut providers: impl Iterator<Item = &'a String>,
) -> Option<Verdict> {
    let name = providers.find(|name| known.resolved.guarded.contains_key(*name))?;
    let provider = known.world.providers.get(name)?;
    let words = guard::words(name, &provider.spec.delete_guard);
    Some(Verdict::no(Reason::Guarded, words))
}

/// Why an object that is deleted and paused stays.
fn held_back() -> Verdict {
    Verdict::no(
        Reason::Paused,
        format!(
            "nothing of it is removed while the annotation {} is true; take it off to let it go",
            bb_crds::PAUSED
        ),
    )
}

/// The two conditions that a problem decides.
fn accepted_and_resolved(problem: Option<&Problem>) -> [(ConditionType, Verdict); 2] {
    let accepted = Verdict::yes(Reason::Accepted, "");
    let resolved = Verdict::yes(Reason::Resolved, "");
    match problem {
        None => [
            (ConditionType::Accepted, accepted),
            (ConditionType::ResolvedRefs, resolved),
        ],
        Some(problem) => {
            let no = Verdict::no(problem.reason, &problem.message);
            if problem.on == ConditionType::Accepted {
                let unknown = Verdict::unknown(Reason::Pending, "looked at once the spec is valid");
                [
                    (ConditionType::Accepted, no),
                    (ConditionType::ResolvedRefs, unknown),
                ]
            } else {
                [
                    (ConditionType::Accepted, accepted),
                    (ConditionType::ResolvedRefs, no),
                ]
            }
        }
    }
}

/// What is the matter with an object, as it is written or for want of something to give it.
fn problem_of<'a>(known: &'a Known<'_>, id: &Id) -> Option<&'a Problem> {
    let written = known.resolved.problems.get(id);
    written.or_else(|| known.grants.exhausted.get(id))
}

/// Programmed, while the spec is in doubt: what runs goes on running, what does not waits.
fn in_doubt(conditions: &[Condition], object: &impl ResourceExt, waits: &str) -> Verdict {
    let generation = object.meta().generation;
    recorded(conditions, ConditionType::Programmed, generation)
        .unwrap_or_else(|| Verdict::no(Reason::Pending, waits))
}

/// The five conditions of an object of a tenant.
fn five(
    problem: Option<&Problem>,
    programmed: Verdict,
    ready: Verdict,
    in_sync: Verdict,
) -> [(ConditionType, Verdict); 5] {
    let [accepted, resolved] = accepted_and_resolved(problem);
    let programmed = (ConditionType::Programmed, programmed);
    [
        accepted,
        resolved,
        programmed,
        (ConditionType::Ready, ready),
        (ConditionType::InSync, in_sync),
    ]
}

/// What was found of an object on a target that takes part in it, and whether the target is now
/// as asked.
struct Look<'a> {
    target: &'a str,
    found: Option<&'a Found>,
    settled: bool,
}

/// Brings the record of drift up to what was found, and says what to tell of it.
fn follow_drift(
    known: &Known<'_>,
    recorded: &mut Vec<Drift>,
    looks: &[Look<'_>],
    policy: ManagementPolicy,
) -> Option<Note> {
    let before = recorded.clone();
    // A target that no longer takes part has nothing of it to differ.
    recorded.retain(|drift| looks.iter().any(|look| look.target == drift.target));
    for look in looks {
        drift::record(recorded, look.target, look.found, look.settled, known.now);
    }
    let (reason, message) = drift::news(&before, recorded, |target| {
        is_observed(known, policy, target)
    })?;
    Some(Note {
        warning: reason == Reason::Drifted,
        reason,
        message,
    })
}

/// Whether nothing is put right on a target, by the policy of the object or of the Provider.
fn is_observed(known: &Known<'_>, policy: ManagementPolicy, target: &str) -> bool {
    let provider = known.world.providers.get(target);
    let whole = provider.map(|p| p.spec.management_policy);
    policy == ManagementPolicy::Observe || whole == Some(ManagementPolicy::Observe)
}

/// What routers found of one object.
fn looks_at_routers<'a>(
    known: &'a Known<'_>,
    routers: impl Iterator<Item = &'a String>,
    uid: &str,
) -> Vec<Look<'a>> {
    let look = |router: &'a String| Look {
        target: router,
        found: known
            .outcomes
            .routers
            .get(router)
            .and_then(|r| r.drift.get(uid)),
        settled: claim_state(known, router, uid) == Some(&ClaimState::Programmed),
    };
    routers.map(look).collect()
}

/// What is recorded under a condition that holds, for the time before its target was looked at
/// or while the spec is in doubt: a restart must not make what is Ready look otherwise.
fn recorded(
    conditions: &[Condition],
    type_: ConditionType,
    generation: Option<i64>,
) -> Option<Verdict> {
    let condition = conditions.iter().find(|c| c.is(type_))?;
    let holds = condition.holds() && condition.observed_generation == generation;
    holds.then(|| Verdict::yes(Reason::Programmed, &*condition.message))
}

/// Writes verdicts into a list of conditions, and says what to tell of Ready.
fn judge(
    conditions: &mut Vec<Condition>,
    verdicts: &[(ConditionType, Verdict)],
    generation: Option<i64>,
    now: &Time,
) -> Option<Note> {
    let ready = |list: &[Condition]| {
        let found = list.iter().find(|c| c.is(ConditionType::Ready));
        found.map(|c| (c.status.clone(), c.reason.clone()))
    };
    let before = ready(conditions);
    for (type_, verdict) in verdicts {
        set_condition(conditions, *type_, verdict, generation, now);
    }
    let verdict = verdicts
        .iter()
        .find(|(t, _)| *t == ConditionType::Ready)
        .map(|(_, v)| v)?;
    let after = ready(conditions);
    let quiet = [Reason::Pending, Reason::Waiting, Reason::Deleting];
    let warning = verdict.holds == Some(false) && !quiet.contains(&verdict.reason);
    let was_ready = before
        .as_ref()
        .is_some_and(|(status, _)| *status == *"True");
    // From one kind of not yet to another is no news.
    let news = after != before && (warning || was_ready || verdict.holds == Some(true));
    news.then(|| Note {
        warning,
        reason: verdict.reason,
        message: match verdict.message.as_str() {
            "" => "it is as asked".to_owned(),
            text => text.to_owned(),
        },
    })
}

/// The status as it goes over the wire, where it differs from the recorded one.
fn differs<S: Serialize + PartialEq + Default>(old: Option<&S>, new: &S) -> Option<Value> {
    if old.is_some_and(|old| old == new) {
        return None;
    }
    serde_json::to_value(new).ok()
}

fn change(
    id: Id,
    finalizer: Option<FinalizerOp>,
    status: Option<Value>,
    events: impl IntoIterator<Item = Note>,
) -> Option<Change> {
    if finalizer.is_none() && status.is_none() {
        return None;
    }
    // An event tells of what is written; nothing written, nothing told.
    let events = events.into_iter().filter(|_| status.is_some()).collect();
    Some(Change {
        id,
        finalizer,
        status,
        events,
    })
}
