//! Turns what a cluster found into the status of an Instance.

use bb_crds::condition::Verdict;
use bb_crds::instance::DeletionPolicy;
use bb_crds::provider::ManagementPolicy;
use bb_crds::{ConditionType, Instance, InstanceStatus, Preview, Reason};

use super::{
    Change, FinalizerOp, Known, Look, change as write, cluster_trouble, differs, five,
    follow_drift, guarded, held_back, in_doubt, is_observed, judge, problem_of, recorded,
};
use crate::drift::in_sync;
use crate::outcome::ClusterOutcome;
use crate::proxmox::model::{GuestReport, GuestState};
use crate::resolve::{Id, InstanceR};
use crate::world::{Key, deleting, finalized, paused, uid};

pub(super) fn change(known: &Known<'_>, key: &Key, object: &Instance) -> Option<Change> {
    let id = Id::Instance(key.clone());
    let old = object.status.clone().unwrap_or_default();
    if deleting(object) && !finalized(object) {
        return None;
    }
    let report = report(known, object, &old);
    if deleting(object) && gone(&old, report) {
        return write(id, Some(FinalizerOp::Remove), None, None);
    }
    let finalizer = (!finalized(object)).then_some(FinalizerOp::Add);
    let problem = problem_of(known, &id);
    let mut new = old.clone();
    describe(known, key, &mut new);
    let programmed = match problem {
        Some(_) => in_doubt(
            &old.conditions,
            object,
            "nothing is made before the Instance is accepted",
        ),
        None => programmed(known, object, &mut new, report),
    };
    let ready = match problem {
        _ if deleting(object) && paused(object) => held_back(),
        _ if deleting(object) => going(known, object, &old, report),
        Some(problem) => Verdict::no(problem.reason, &problem.message),
        None if programmed.holds == Some(true) => networks_ready(known, key),
        None => programmed.clone(),
    };
    let policy = object.spec.management_policy;
    let cluster = new.cluster.clone();
    let looks = cluster.iter().map(|cluster| Look {
        target: cluster,
        found: outcome(known, &old).and_then(|outcome| outcome.drift.get(&uid(object))),
        settled: report.is_some_and(as_asked),
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

fn describe(known: &Known<'_>, key: &Key, new: &mut InstanceStatus) {
    if let Some(grant) = known.grants.instances.get(key) {
        new.provider_id = Some(format!("proxmox://{}/{}", grant.cluster, grant.vmid));
        new.zone = known
            .resolved
            .clusters
            .get(&grant.cluster)
            .map(|c| c.zone.clone());
        new.cluster = Some(grant.cluster.clone());
        new.addresses.clone_from(&grant.addresses);
        return;
    }
    // A card that was taken away gives its address back.
    if let Some(InstanceR { nics, .. }) = known.resolved.instances.get(key) {
        new.addresses
            .retain(|recorded| nics.iter().any(|nic| nic.name == recorded.name));
    }
}

fn outcome<'a>(known: &'a Known<'_>, old: &InstanceStatus) -> Option<&'a ClusterOutcome> {
    known
        .outcomes
        .clusters
        .get(old.cluster.as_ref()?)
        .map(AsRef::as_ref)
}

/// What the cluster said of the guest as it is asked for now.
fn report<'a>(
    known: &'a Known<'_>,
    object: &Instance,
    old: &InstanceStatus,
) -> Option<&'a GuestReport> {
    known
        .asked
        .guest(known.outcomes, old.cluster.as_ref()?, &uid(object))
}

fn as_asked(report: &GuestReport) -> bool {
    matches!(report.state, GuestState::Settled { .. }) && report.drift.is_none()
}

fn gone(old: &InstanceStatus, report: Option<&GuestReport>) -> bool {
    old.provider_id.is_none() || report.is_some_and(|r| r.state == GuestState::Gone)
}

fn programmed(
    known: &Known<'_>,
    object: &Instance,
    new: &mut InstanceStatus,
    report: Option<&GuestReport>,
) -> Verdict {
    if paused(object) {
        return Verdict::unknown(Reason::Paused, "paused by annotation: nothing is changed");
    }
    let Some(report) = report else {
        let seen = outcome(known, new).is_some_and(|c| c.looked_at(&uid(object)));
        let kept = recorded(
            &new.conditions,
            ConditionType::Programmed,
            object.metadata.generation,
        );
        return kept
            .filter(|_| !seen)
            .or_else(|| cluster_trouble(known, new.cluster.as_ref()))
            .unwrap_or_else(|| pending(new));
    };
    if let GuestState::VmidTaken { message } = &report.state {
        let verdict = Verdict::no(Reason::Pending, format!("{message}; another VMID is taken"));
        new.provider_id = None;
        return verdict;
    }
    // On the way to its first run a guest is here and there, stopped and running: each would
    // be a write to the API, and none of it lasts.
    let made = new.applied.is_some() || matches!(report.state, GuestState::Settled { .. });
    if let Some(node) = report.node.as_ref().filter(|_| made) {
        new.node = Some(node.clone());
    }
    if let Some(running) = report.running.filter(|_| made) {
        new.power = Some(if running { "Running" } else { "Stopped" }.to_owned());
    }
    new.pending_changes.clone_from(&report.pending);
    new.preview = report.preview.as_ref().map(Preview::from);
    match &report.state {
        GuestState::Settled { fingerprint } => {
            new.applied = Some(fingerprint.clone());
            Verdict::yes(Reason::Programmed, "")
        }
        GuestState::Held { reason, message } => Verdict::no(*reason, message),
        GuestState::Working(_) | GuestState::Gone | GuestState::VmidTaken { .. } => pending(new),
    }
}

/// One text for all steps on the way: each would be a write to the API.
fn pending(new: &InstanceStatus) -> Verdict {
    match &new.cluster {
        Some(cluster) => Verdict::no(
            Reason::Pending,
            format!("cluster {cluster} is at work on it"),
        ),
        None => Verdict::no(Reason::Pending, "about to be placed"),
    }
}

/// Whether every router of a network runs it. One that is held back does what it did before it
/// was, whatever else is asked of it now.
fn is_in_place(known: &Known<'_>, network: &Key) -> bool {
    let Some(object) = known.world.networks.get(network) else {
        return false;
    };
    let Some(status) = &object.status else {
        return false;
    };
    let mut conditions = status.conditions.iter();
    let held =
        paused(object.as_ref()) || object.spec.management_policy == ManagementPolicy::Observe;
    let ran = !status.targets.is_empty() && status.targets.iter().all(|t| t.applied.is_some());
    conditions.any(|c| c.is(ConditionType::Programmed) && c.holds()) || (held && ran)
}

fn networks_ready(known: &Known<'_>, key: &Key) -> Verdict {
    let nics = known
        .resolved
        .instances
        .get(key)
        .map(|i| i.nics.as_slice())
        .unwrap_or_default();
    let waiting = nics.iter().find(|nic| !is_in_place(known, &nic.network));
    match waiting {
        None => Verdict::yes(Reason::Ready, ""),
        Some(nic) => Verdict::no(
            Reason::Waiting,
            format!(
                "the guest is as asked; Network {} is not programmed yet",
                nic.network.name
            ),
        ),
    }
}

fn going(
    known: &Known<'_>,
    object: &Instance,
    old: &InstanceStatus,
    report: Option<&GuestReport>,
) -> Verdict {
    if object.spec.deletion_protection {
        return Verdict::no(
            Reason::Protected,
            "spec.deletionProtection is true: set it to false to let the guest go",
        );
    }
    if object.spec.deletion() == DeletionPolicy::Delete
        && let Some(held) = guarded(known, old.cluster.iter())
    {
        return held;
    }
    if let Some(GuestState::Held { reason, message }) = report.map(|r| &r.state) {
        return Verdict::no(*reason, message);
    }
    cluster_trouble(known, old.cluster.as_ref())
        .unwrap_or_else(|| Verdict::no(Reason::Deleting, "the guest is being destroyed"))
}
