//! Turns what a cluster found into the status of a Volume.

use bb_crds::condition::Verdict;
use bb_crds::volume::{AttachedTo, ReclaimPolicy};
use bb_crds::{ConditionType, Reason, Volume, VolumeStatus};

use super::{
    Change, FinalizerOp, Known, Look, change as write, cluster_trouble, differs, five,
    follow_drift, guarded, held_back, in_doubt, is_observed, judge, problem_of, recorded,
};
use crate::drift::in_sync;
use crate::proxmox::mark;
use crate::proxmox::model::{VolumeReport, VolumeState};
use crate::resolve::Id;
use crate::world::{Key, deleting, finalized, paused, uid};

pub(super) fn change(known: &Known<'_>, key: &Key, object: &Volume) -> Option<Change> {
    let id = Id::Volume(key.clone());
    let old = object.status.clone().unwrap_or_default();
    if deleting(object) && !finalized(object) {
        return None;
    }
    let report = report(known, object, &old);
    let gone = old.cluster.is_none() || report.is_some_and(|r| r.state == VolumeState::Gone);
    if deleting(object) && gone {
        return write(id, Some(FinalizerOp::Remove), None, None);
    }
    let finalizer = (!finalized(object)).then_some(FinalizerOp::Add);
    let problem = problem_of(known, &id);
    let mut new = old.clone();
    if let Some(grant) = known.grants.volumes.get(key) {
        new.zone = known
            .resolved
            .clusters
            .get(&grant.cluster)
            .map(|c| c.zone.clone());
        new.provider_id = Some(format!(
            "proxmox://{}/{}/pvc-{}",
            grant.cluster,
            grant.storage,
            uid(object)
        ));
        new.storage = Some(grant.storage.clone());
        new.cluster = Some(grant.cluster.clone());
    }
    let programmed = match problem {
        Some(_) => in_doubt(
            &old.conditions,
            object,
            "nothing is made before the Volume is accepted",
        ),
        None => programmed(known, object, &mut new, report),
    };
    let ready = match problem {
        _ if deleting(object) && paused(object) => held_back(),
        _ if deleting(object) => going(known, object, &new, report),
        Some(problem) => Verdict::no(problem.reason, &problem.message),
        None if programmed.holds == Some(true) => Verdict::yes(Reason::Ready, ""),
        None => programmed.clone(),
    };
    let policy = object.spec.management_policy;
    let cluster = new.cluster.clone();
    let outcome = cluster
        .as_ref()
        .and_then(|c| known.outcomes.clusters.get(c));
    let looks = cluster.iter().map(|cluster| Look {
        target: cluster,
        found: outcome.and_then(|outcome| outcome.drift.get(&uid(object))),
        settled: report.is_some_and(|r| matches!(r.state, VolumeState::Settled { .. })),
    });
    let looks: Vec<Look<'_>> = looks.collect();
    let note = follow_drift(known, &mut new.drift, &looks, policy);
    let observed = |target: &str| is_observed(known, policy, target);
    let sync = in_sync(&new.drift, &programmed, observed, &old.conditions);
    let verdicts = five(problem, programmed, ready, sync);
    let event = judge(
        &mut new.conditions,
        &verdicts,
        object.metadata.generation,
        known.now,
    );
    let status = differs(object.status.as_ref(), &new);
    write(id, finalizer, status, event.into_iter().chain(note))
}

fn report<'a>(
    known: &'a Known<'_>,
    object: &Volume,
    old: &VolumeStatus,
) -> Option<&'a VolumeReport> {
    known
        .asked
        .volume(known.outcomes, old.cluster.as_ref()?, &uid(object))
}

fn programmed(
    known: &Known<'_>,
    object: &Volume,
    new: &mut VolumeStatus,
    report: Option<&VolumeReport>,
) -> Verdict {
    if paused(object) {
        return Verdict::unknown(Reason::Paused, "paused by annotation: nothing is changed");
    }
    let Some(report) = report else {
        let seen = new
            .cluster
            .as_ref()
            .and_then(|c| known.outcomes.clusters.get(c))
            .is_some_and(|c| c.looked_at(&uid(object)));
        let kept = recorded(
            &new.conditions,
            ConditionType::Programmed,
            object.metadata.generation,
        );
        return kept
            .filter(|_| !seen)
            .or_else(|| cluster_trouble(known, new.cluster.as_ref()))
            .unwrap_or_else(at_work);
    };
    attach(known, object, new, report);
    match &report.state {
        VolumeState::Settled { size_gib } => {
            new.size = Some(format!("{size_gib}Gi"));
            Verdict::yes(Reason::Programmed, "")
        }
        VolumeState::Held { reason, message } => Verdict::no(*reason, message),
        VolumeState::Working(_) | VolumeState::Gone => at_work(),
    }
}

/// One text for all steps on the way: each would be a write to the API.
fn at_work() -> Verdict {
    Verdict::no(Reason::Pending, "the cluster is at work on it")
}

/// Records who has it: what was seen, or what is recorded while nobody looked.
fn attach(known: &Known<'_>, object: &Volume, new: &mut VolumeStatus, report: &VolumeReport) {
    let uid = uid(object);
    let key = Key::of(object);
    let wanted = known
        .resolved
        .volumes
        .get(&key)
        .and_then(|v| v.user.as_ref());
    match &report.device {
        Some((guest, device)) => {
            new.attached_to = known.by_uid.get(guest).map(|key| AttachedTo {
                instance: key.name.clone(),
                device: device.clone(),
                serial: mark::serial(&uid),
            });
        }
        None if wanted.is_none() => new.attached_to = None,
        None => {}
    }
}

fn going(
    known: &Known<'_>,
    object: &Volume,
    status: &VolumeStatus,
    report: Option<&VolumeReport>,
) -> Verdict {
    if object.spec.reclaim_policy == ReclaimPolicy::Delete
        && let Some(held) = guarded(known, status.cluster.iter())
    {
        return held;
    }
    if let Some(VolumeState::Held { reason, message }) = report.map(|r| &r.state) {
        return Verdict::no(*reason, message);
    }
    if let Some(attached) = &status.attached_to {
        return Verdict::no(
            Reason::Waiting,
            format!(
                "instance {} has it; take it off there first",
                attached.instance
            ),
        );
    }
    cluster_trouble(known, status.cluster.as_ref())
        .unwrap_or_else(|| Verdict::no(Reason::Deleting, "being removed"))
}
