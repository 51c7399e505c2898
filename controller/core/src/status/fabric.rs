//! Turns contact, versions and what is given out into the status of Regions and Providers.

use std::collections::BTreeSet;

use bb_crds::condition::Verdict;
use bb_crds::region::Usage;
use bb_crds::{ConditionType, Provider, ProviderStatus, Reason, Region};
use itertools::Itertools;

use super::{
    Change, FinalizerOp, Known, Note, accepted_and_resolved, change as write, differs, judge,
};
use crate::outcome::{ClaimState, Contact};
use crate::resolve::Id;
use crate::world::{deleting, finalized, uid};

/// So many orphans are named in a status; all are counted.
const ORPHANS: usize = 50;

pub(super) fn region(known: &Known<'_>, name: &str, object: &Region) -> Option<Change> {
    let id = Id::Region(name.to_owned());
    let old = object.status.clone().unwrap_or_default();
    if deleting(object) && !finalized(object) {
        return None;
    }
    let users = region_users(known, name);
    if deleting(object) && users.is_empty() {
        return write(id, Some(FinalizerOp::Remove), None, None);
    }
    let finalizer = (!finalized(object)).then_some(FinalizerOp::Add);
    let mut new = old.clone();
    if let Some(understood) = known.resolved.regions.get(name) {
        let total = |(first, last): (u32, u32)| i64::from(last - first) + 1;
        let (vnis, tables) = used(known, name);
        new.vnis = Some(Usage {
            total: total(understood.vnis),
            used: vnis,
        });
        new.tables = Some(Usage {
            total: total(understood.tables),
            used: tables,
        });
    }
    new.next = known.grants.regions.get(name).copied().or(new.next);
    let problem = known.resolved.problems.get(&id);
    let ready = match problem {
        _ if deleting(object) => Verdict::no(Reason::Waiting, format!("in use by {users}")),
        Some(problem) => Verdict::no(problem.reason, &problem.message),
        None => Verdict::yes(Reason::Ready, ""),
    };
    let [accepted, resolved] = accepted_and_resolved(problem);
    let verdicts = [accepted, resolved, (ConditionType::Ready, ready)];
    let event = judge(
        &mut new.conditions,
        &verdicts,
        object.metadata.generation,
        known.now,
    );
    write(id, finalizer, differs(object.status.as_ref(), &new), event)
}

fn region_users(known: &Known<'_>, name: &str) -> String {
    let networks = known
        .world
        .networks
        .iter()
        .filter(|(_, n)| n.status.as_ref().and_then(|s| s.region.as_deref()) == Some(name));
    let providers = known
        .world
        .providers
        .iter()
        .filter(|(_, p)| p.spec.region == name);
    let networks = networks.map(|(key, _)| format!("network {key}"));
    networks
        .chain(providers.map(|(name, _)| format!("provider {name}")))
        .chain(known.world.unread.anything())
        .take(5)
        .join(", ")
}

/// VNIs and tables in use, with what this pass gives out.
fn used(known: &Known<'_>, name: &str) -> (i64, i64) {
    let mut vnis = 0;
    let mut tables = 0;
    for (tenant, object) in &known.world.tenants {
        let recorded = || object.status.as_ref().map(|s| &s.routing);
        let routing = known.grants.tenants.get(tenant).or_else(recorded);
        let here = routing
            .into_iter()
            .flatten()
            .filter(|r| r.region == name)
            .count();
        vnis += i64::try_from(here).unwrap_or(0);
        tables += i64::try_from(here).unwrap_or(0);
    }
    for (key, network) in &known.world.networks {
        let recorded = network
            .status
            .as_ref()
            .is_some_and(|s| s.vni.is_some() && s.region.as_deref() == Some(name));
        let granted = known.grants.networks.contains_key(key)
            && known
                .resolved
                .networks
                .get(key)
                .is_some_and(|n| n.region == name);
        vnis += i64::from(recorded || granted);
    }
    (vnis, tables)
}

pub(super) fn provider(known: &Known<'_>, name: &str, object: &Provider) -> Option<Change> {
    let id = Id::Provider(name.to_owned());
    let old = object.status.clone().unwrap_or_default();
    if deleting(object) && !finalized(object) {
        return None;
    }
    let users = provider_users(known, name);
    if deleting(object) && users.is_empty() {
        return write(id, Some(FinalizerOp::Remove), None, None);
    }
    let finalizer = (!finalized(object)).then_some(FinalizerOp::Add);
    let mut new = old.clone();
    new.next_vmid = known.grants.clusters.get(name).copied().or(new.next_vmid);
    let router = known.outcomes.routers.get(name);
    let cluster = known.outcomes.clusters.get(name);
    let contact = router.map(|r| &r.contact).or(cluster.map(|c| &c.contact));
    let version = router.and_then(|r| r.version.clone());
    new.version = version
        .or(cluster.and_then(|c| c.version.clone()))
        .or(new.version);
    if let Some(cluster) = cluster.filter(|c| c.contact == Contact::Good) {
        new.missing_privileges.clone_from(&cluster.missing);
    }
    if contact == Some(&Contact::Good) {
        let orphans = router.map(|r| &r.orphans).or(cluster.map(|c| &c.orphans));
        let orphans = orphans.map_or(&[][..], Vec::as_slice);
        new.orphans = orphans.iter().take(ORPHANS).cloned().collect();
        new.orphan_count = Some(i64::try_from(orphans.len()).unwrap_or(i64::MAX));
    }
    let problem = known.resolved.problems.get(&id);
    let underlay = router.and_then(|r| r.trouble.as_deref().or(r.underlay.as_deref()));
    let left_alone = router
        .map(|r| r.left_alone)
        .or(cluster.map(|c| c.left_alone));
    let left_alone = left_alone.unwrap_or_default();
    let (reachable, authorized) = contact_verdicts(contact, left_alone, &new.missing_privileges);
    let guarded = known.resolved.guarded.get(name).map(|g| &g.message);
    let ready = match (problem, underlay) {
        // Before all else: what is recorded here holds the deletes after a restart as well.
        _ if guarded.is_some() => {
            Verdict::no(Reason::Guarded, guarded.cloned().unwrap_or_default())
        }
        _ if deleting(object) => Verdict::no(Reason::Waiting, format!("in use by {users}")),
        (Some(problem), _) => Verdict::no(problem.reason, &problem.message),
        _ if reachable.holds != Some(true) => reachable.clone(),
        _ if authorized.holds != Some(true) => authorized.clone(),
        (None, Some(underlay)) => Verdict::no(Reason::Stuck, underlay),
        (None, None) => Verdict::yes(Reason::Ready, ""),
    };
    let [accepted, resolved] = accepted_and_resolved(problem);
    let mut verdicts = vec![accepted, resolved];
    // Before the first look, what is recorded stands.
    if contact.is_some() || old.conditions.is_empty() {
        verdicts.push((ConditionType::Reachable, reachable));
        verdicts.push((ConditionType::Authorized, authorized));
    }
    let certain = problem.is_some() || deleting(object) || guarded.is_some();
    if contact.is_some() || old.conditions.is_empty() || certain {
        verdicts.push((ConditionType::Ready, ready));
    }
    let event = judge(
        &mut new.conditions,
        &verdicts,
        object.metadata.generation,
        known.now,
    );
    let note = more_orphans(&old, &new);
    let status = differs(object.status.as_ref(), &new);
    write(id, finalizer, status, event.into_iter().chain(note))
}

/// What to tell where there are more things without an object than before.
fn more_orphans(old: &ProviderStatus, new: &ProviderStatus) -> Option<Note> {
    let count = new
        .orphan_count
        .filter(|n| *n > old.orphan_count.unwrap_or(0))?;
    let known: BTreeSet<&String> = old.orphans.iter().collect();
    let mut fresh = new.orphans.iter().filter(|orphan| !known.contains(orphan));
    let example = fresh.next().or(new.orphans.first())?;
    Some(Note {
        warning: true,
        reason: Reason::Orphaned,
        message: format!(
            "{count} things with our mark have no object, such as {example}; they are left alone, see status.orphans"
        ),
    })
}

fn contact_verdicts(
    contact: Option<&Contact>,
    left_alone: bool,
    missing: &[String],
) -> (Verdict, Verdict) {
    let when = |text: &String| {
        if left_alone {
            format!(
                "{text}; it is asked again within 5 minutes, and at once when its Provider or \
                 Secret changes"
            )
        } else {
            text.clone()
        }
    };
    let unknown = || Verdict::unknown(Reason::Pending, "not asked yet");
    match contact {
        None | Some(Contact::Never) => (unknown(), unknown()),
        Some(Contact::Unreachable(text)) => (
            Verdict::no(Reason::Unreachable, when(text)),
            Verdict::unknown(Reason::Unreachable, "it does not answer"),
        ),
        Some(Contact::Unauthorized(text)) => (
            Verdict::yes(Reason::Ready, ""),
            Verdict::no(Reason::Unauthorized, when(text)),
        ),
        Some(Contact::Good) if missing.is_empty() => (
            Verdict::yes(Reason::Ready, ""),
            Verdict::yes(Reason::Ready, ""),
        ),
        Some(Contact::Good) => (
            Verdict::yes(Reason::Ready, ""),
            Verdict::no(
                Reason::Unauthorized,
                format!(
                    "give its user the missing privileges: {}",
                    missing.join(", ")
                ),
            ),
        ),
    }
}

fn provider_users(known: &Known<'_>, name: &str) -> String {
    let networks = known.world.networks.iter().filter(|(_, n)| {
        n.status
            .iter()
            .flat_map(|s| &s.vlans)
            .any(|v| v.router == name)
    });
    let on = |cluster: Option<&String>| cluster.is_some_and(|c| c == name);
    let instances = known
        .world
        .instances
        .iter()
        .filter(|(_, i)| on(i.status.as_ref().and_then(|s| s.cluster.as_ref())));
    let volumes = known
        .world
        .volumes
        .iter()
        .filter(|(_, v)| on(v.status.as_ref().and_then(|s| s.cluster.as_ref())));
    // The VRF of a tenant can outlast its networks: while a line of somebody else names it.
    let vrfs = known.world.tenants.iter().filter(|(_, t)| {
        let claims = known.outcomes.routers.get(name).map(|r| &r.claims);
        let found = claims.and_then(|claims| claims.get(&uid(t.as_ref())));
        found.is_some_and(|(_, state)| *state != ClaimState::Absent)
    });
    networks
        .map(|(key, _)| format!("network {key}"))
        .chain(vrfs.map(|(name, _)| format!("tenant {name}")))
        .chain(instances.map(|(key, _)| format!("instance {key}")))
        .chain(volumes.map(|(key, _)| format!("volume {key}")))
        .chain(known.world.unread.anything())
        .take(5)
        .join(", ")
}
