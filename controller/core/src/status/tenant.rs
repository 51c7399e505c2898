//! Turns the namespace and what the routers found into the status of a Tenant.

use bb_crds::condition::Verdict;
use bb_crds::provider::ManagementPolicy;
use bb_crds::{ConditionType, Reason, Tenant, TenantStatus};
use itertools::Itertools;

use super::{
    Change, FinalizerOp, Known, accepted_and_resolved, change as write, claim_state, differs,
    follow_drift, held_back, is_observed, judge, kept_by_router, looked_at, looks_at_routers,
    recorded, router_trouble, routers_of,
};
use crate::drift::in_sync;
use crate::outcome::ClaimState;
use crate::resolve::Id;
use crate::world::{deleting, finalized, paused, uid};

pub(super) fn change(known: &Known<'_>, name: &str, object: &Tenant) -> Option<Change> {
    let id = Id::Tenant(name.to_owned());
    let old = object.status.clone().unwrap_or_default();
    if deleting(object) && !finalized(object) {
        return None;
    }
    if deleting(object) && gone(known, name, object, &old) {
        return write(id, Some(FinalizerOp::Remove), None, None);
    }
    let finalizer = (!finalized(object)).then_some(FinalizerOp::Add);
    let mut new = old.clone();
    if let Some(routing) = known.grants.tenants.get(name) {
        new.routing.clone_from(routing);
    }
    let owned = known.world.tenant_of(name).is_some();
    if owned {
        new.namespace = Some(name.to_owned());
    }
    let [mut accepted, resolved] = accepted_and_resolved(None);
    if let Some(conflict) = namespace_conflict(known, name, object) {
        accepted.1 = conflict;
    }
    let programmed = programmed(known, name, object, &old);
    let ready = if deleting(object) && paused(object) {
        held_back()
    } else if deleting(object) {
        going(known, name, &uid(object), &old)
    } else if accepted.1.holds != Some(true) {
        accepted.1.clone()
    } else if !owned {
        Verdict::no(Reason::Pending, format!("namespace {name} is being made"))
    } else if programmed.holds == Some(true) {
        Verdict::yes(Reason::Ready, "")
    } else {
        programmed.clone()
    };
    let policy = ManagementPolicy::Manage;
    let owner = uid(object);
    let routers = known.resolved.routers.keys();
    let routers = routers.filter(|router| known.asked.wanted(router, &owner));
    let looks = looks_at_routers(known, routers, &owner);
    let note = follow_drift(known, &mut new.drift, &looks, policy);
    let observed = |target: &str| is_observed(known, policy, target);
    let sync = in_sync(&new.drift, &programmed, observed, &old.conditions);
    let verdicts = [
        accepted,
        resolved,
        (ConditionType::Programmed, programmed),
        (ConditionType::Ready, ready),
        (ConditionType::InSync, sync),
    ];
    let event = judge(
        &mut new.conditions,
        &verdicts,
        object.metadata.generation,
        known.now,
    );
    let status = differs(object.status.as_ref(), &new);
    write(id, finalizer, status, event.into_iter().chain(note))
}

/// A namespace of the tenant's name that is somebody else's.
#[must_use]
pub fn namespace_conflict(known: &Known<'_>, name: &str, object: &Tenant) -> Option<Verdict> {
    let view = known.world.namespaces.get(name)?;
    let ours = view.owner.as_ref() == Some(&uid(object));
    let offered = view.owner.is_none() && view.tenant.as_deref() == Some(name);
    if ours || offered {
        return None;
    }
    Some(Verdict::no(
        Reason::Conflict,
        format!(
            "namespace {name} exists and is not offered to this tenant; label it {}={name} to let the tenant own it, or choose another name",
            bb_crds::TENANT_LABEL
        ),
    ))
}

fn programmed(known: &Known<'_>, name: &str, object: &Tenant, old: &TenantStatus) -> Verdict {
    let uid = uid(object);
    // A VRF that is given out in this pass is asked of routers in the next.
    // One that gets it once the routers were looked at is not Ready before.
    let unseen = |id: &Id| matches!(id, Id::Network(key) if key.namespace == name);
    let mut waiting =
        known.grants.tenants.contains_key(name) || known.grants.unseen.iter().any(unseen);
    for router in known.resolved.routers.keys() {
        if !known.asked.wanted(router, &uid) {
            continue;
        }
        match claim_state(known, router, &uid) {
            Some(ClaimState::Programmed) => {}
            Some(ClaimState::Held { reason, message }) => return Verdict::no(*reason, message),
            _ => {
                let kept = recorded(
                    &old.conditions,
                    ConditionType::Programmed,
                    object.metadata.generation,
                );
                if kept.is_some() && !looked_at(known, router, &uid) {
                    continue;
                }
                if let Some((reason, message)) = router_trouble(known, router) {
                    return Verdict::no(reason, message);
                }
                waiting = true;
            }
        }
    }
    if waiting {
        // One text however many routers are done: each other would be a write to the API.
        return Verdict::no(Reason::Pending, "its VRF is being put on the routers");
    }
    Verdict::yes(Reason::Programmed, "")
}

/// The namespace and all in it are gone, and no router has anything of it.
fn gone(known: &Known<'_>, name: &str, object: &Tenant, old: &TenantStatus) -> bool {
    let emptied = known.world.tenant_of(name).is_none()
        && !known.world.networks.keys().any(|k| k.namespace == name)
        && !known.world.instances.keys().any(|k| k.namespace == name)
        && !known.world.volumes.keys().any(|k| k.namespace == name)
        && known.world.unread.inside(name).next().is_none();
    let uid = uid(object);
    emptied
        && !paused(object)
        && old
            .routing
            .iter()
            .flat_map(|routing| routers_of(known, &routing.region))
            .all(|router| claim_state(known, router, &uid) == Some(&ClaimState::Absent))
}

fn going(known: &Known<'_>, name: &str, uid: &str, old: &TenantStatus) -> Verdict {
    let world = known.world;
    let instances = world.instances.keys().map(|k| ("instance", k));
    let volumes = world.volumes.keys().map(|k| ("volume", k));
    let networks = world.networks.keys().map(|k| ("network", k));
    let left = instances
        .chain(volumes)
        .chain(networks)
        .filter(|(_, k)| k.namespace == name);
    let unread = world.unread.inside(name).map(crate::unread::words);
    let left = left
        .map(|(kind, k)| format!("{kind} {}", k.name))
        .chain(unread.map(|words| format!("{words}, which cannot be read")))
        .take(5)
        .join(", ");
    if left.is_empty() {
        let mut regions = old.routing.iter();
        let kept = regions.find_map(|r| kept_by_router(known, &r.region, uid));
        return kept.map_or_else(
            || Verdict::no(Reason::Deleting, "its VRF is being taken off the routers"),
            |(reason, message)| Verdict::no(reason, message),
        );
    }
    Verdict::no(Reason::Waiting, format!("still there: {left}"))
}
