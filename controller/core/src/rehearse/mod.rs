//! Turns a question about a change into what the change would send, who would notice, and a hash.
//!
//! The change is carried out on copies, by the very functions that carry it out in earnest: first
//! the world is brought to rest as it is, which says what is due anyway; then the change is laid
//! over it, and all that is sent until it rests again is the answer. Nothing is read or written
//! here: where a read is missing, the answer is which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bb_crds::Reason;
use bb_crds::plan::PlanStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::guard::Deletes;
use crate::outcome::{Contact, Outcomes};
use crate::proxmox::observed::{InFlight, Need, Observed};
use crate::proxmox::plan::Op;
use crate::resolve::Id;
use crate::vyos::refusals::Refusals;
use crate::vyos::{Desired, Lines, Want};
use crate::world::{Uid, World};

mod answer;
mod cluster;
mod hash;
mod proposal;
mod reach;
mod stage;
#[cfg(test)]
mod tests;

pub use proposal::{Proposal, Refused, label, parse, stand_in_uid};
use stage::{Pass, Stage, Stopped};

/// What is asked, and all that there is to answer it from.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The identity of the management cluster, part of every mark.
    pub installation: &'a str,
    /// The namespace of the Plan: nothing of another is shown.
    pub namespace: &'a str,
    /// What would be done.
    pub proposals: &'a [Proposal],
    /// The objects.
    pub world: &'a World,
    /// What the targets were found to have.
    pub outcomes: &'a Outcomes,
    /// What was deleted of late.
    pub deletes: &'a Deletes,
    /// The time.
    pub now: &'a Time,
    /// What was read of targets for this question.
    pub looks: &'a BTreeMap<String, Look>,
    /// How a call is written.
    pub words: &'a dyn Fn(&Op) -> String,
}

/// What was read of a target.
#[derive(Clone, Debug)]
pub enum Look {
    /// A router.
    Router(Box<RouterLook>),
    /// A cluster.
    Cluster(Box<ClusterLook>),
    /// Nothing; the text says why.
    Unknown(String),
}

/// What was read of a router.
#[derive(Clone, Debug)]
pub struct RouterLook {
    /// When.
    pub read: Time,
    /// What it runs.
    pub running: Arc<Lines>,
    /// What it refused.
    pub refusals: Refusals,
    /// The moment of the look, as refusals count time.
    pub at: Duration,
}

/// What was read of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterLook {
    /// When.
    pub read: Time,
    /// What it has.
    pub seen: Observed,
    /// What is under way there.
    pub flight: InFlight,
}

/// What has to be read before there is an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Targets that nobody looked at for this question.
    pub looks: BTreeSet<String>,
    /// Reads of clusters that were looked at.
    pub reads: BTreeMap<String, BTreeSet<Need>>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Rehearsed {
    /// All of the answer but its time and conditions.
    Answer(Box<PlanStatus>),
    /// Make these reads and ask again.
    Wants(Wants),
    /// There is none.
    Refused(Refused),
}

/// A stage at rest.
struct Rest<'a> {
    stage: Stage<'a>,
    pass: Pass,
}

/// Answers a question.
#[must_use]
pub fn rehearse(question: &Question<'_>) -> Rehearsed {
    if let Some(missing) = nothing_to_delete(question) {
        return Rehearsed::Refused(missing);
    }
    if let Some(against) = proposal::judged(question.world, question.proposals) {
        return Rehearsed::Refused(against);
    }
    let mut stage = Stage::new(question);
    let before = match stage.settle() {
        Ok(pass) => pass,
        Err(stopped) => return unsettled(stopped),
    };
    let due = answer::due(&stage);
    let running = stage.routers.iter();
    let running: BTreeMap<String, Lines> = running
        .map(|(name, router)| (name.clone(), router.running.clone()))
        .collect();
    let world = stage.world.clone();
    stage.forget_sent();
    proposal::lay_over(&mut stage.world, question.proposals, question.now);
    let after = match stage.settle() {
        Ok(pass) => pass,
        Err(stopped) => return unsettled(stopped),
    };
    let concerned = concerned(question, &before, &after);
    let looks: BTreeSet<String> = concerned
        .iter()
        .filter(|name| !question.looks.contains_key(*name))
        .cloned()
        .collect();
    if !looks.is_empty() {
        return Rehearsed::Wants(Wants {
            looks,
            ..Wants::default()
        });
    }
    let rest = Rest { stage, pass: after };
    let told = answer::Told {
        question,
        world: &world,
        running: &running,
        before: &before,
        due: &due,
        concerned: &concerned,
        rest: &rest,
    };
    Rehearsed::Answer(Box::new(told.status()))
}

fn unsettled(stopped: Stopped) -> Rehearsed {
    match stopped {
        Stopped::Wants(wants) => Rehearsed::Wants(wants),
        Stopped::Restless => Rehearsed::Refused(Refused {
            reason: Reason::Stuck,
            message:
                "what the change leads to does not come to rest: apply a part of it, and look \
                      at the conditions of its objects"
                    .to_owned(),
        }),
    }
}

/// A delete of what is not there asks about nothing.
fn nothing_to_delete(question: &Question<'_>) -> Option<Refused> {
    let world = question.world;
    let mut deletes = question.proposals.iter().filter_map(|p| match p {
        Proposal::Delete(id) => Some(id),
        _ => None,
    });
    let missing = deletes.find(|id| match id {
        Id::Network(key) => !world.networks.contains_key(key),
        Id::Volume(key) => !world.volumes.contains_key(key),
        Id::Instance(key) => !world.instances.contains_key(key),
        _ => true,
    })?;
    Some(Refused {
        reason: Reason::NotFound,
        message: format!(
            "spec.deletes: {} is not there (any more): leave it out",
            label(missing)
        ),
    })
}

/// The targets that are asked for something else than before, and those of which it cannot be
/// said since nobody ever looked at them.
fn concerned(question: &Question<'_>, before: &Pass, after: &Pass) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, desired) in &after.routers {
        let was = before.routers.get(name).map(claims).unwrap_or_default();
        let known: BTreeSet<&Uid> = was.keys().copied().collect();
        let mut is = claims(desired);
        // Nothing can be there of what is new and asks for nothing yet.
        is.retain(|owner, want| known.contains(owner) || **want != Want::Untouched);
        if was != is {
            names.insert(name.clone());
        }
    }
    for (name, desired) in &after.clusters {
        if before.clusters.get(name) != Some(desired) {
            names.insert(name.clone());
        }
    }
    let asked: BTreeSet<Id> = question.proposals.iter().map(Proposal::id).collect();
    for id in after.grants.unseen.intersection(&asked) {
        names.extend(never_seen(question, after, id));
    }
    names
}

fn claims(desired: &Desired) -> BTreeMap<&Uid, &Want> {
    let claims = desired.claims.iter().map(|c| (&c.owner, &c.want));
    claims.filter(|(_, want)| **want != Want::Absent).collect()
}

/// The targets that have to be looked at before an object is given anything.
fn never_seen(question: &Question<'_>, pass: &Pass, id: &Id) -> BTreeSet<String> {
    let resolved = &pass.resolved;
    let region = match id {
        Id::Network(key) => resolved.networks.get(key).map(|n| &n.region),
        Id::Instance(key) => resolved.instances.get(key).map(|i| &i.region),
        _ => None,
    };
    let routers = resolved.routers.iter();
    let routers = routers
        .filter(|(_, r)| Some(&r.region) == region)
        .map(|(n, _)| n);
    let outcomes = question.outcomes;
    let routers = routers.filter(|name| {
        let known = outcomes.routers.get(*name);
        known.is_none_or(|o| o.contact == Contact::Never)
    });
    let clusters = resolved.clusters.keys().filter(|name| {
        let known = outcomes.clusters.get(*name);
        known.is_none_or(|o| o.contact == Contact::Never)
    });
    routers.chain(clusters).cloned().collect()
}
