//! Turns what the routers found into the status of a Network.

use std::collections::BTreeSet;

use bb_crds::condition::Verdict;
use bb_crds::network::TargetState;
use bb_crds::region::Usage;
use bb_crds::{ConditionType, Network, NetworkStatus, Reason};
use itertools::Itertools;

use super::{
    Change, FinalizerOp, Known, change as write, claim_state, differs, five, follow_drift, guarded,
    held_back, in_doubt, is_observed, judge, kept_by_router, looked_at, looks_at_routers,
    problem_of, router_trouble, routers_of,
};
use crate::allocate::capacity;
use crate::drift::{self, in_sync};
use crate::outcome::ClaimState;
use crate::resolve::{Id, NetworkR, TrunkKey};
use crate::world::{Key, deleting, finalized, paused, uid};

pub(super) fn change(known: &Known<'_>, key: &Key, object: &Network) -> Option<Change> {
    let id = Id::Network(key.clone());
    let old = object.status.clone().unwrap_or_default();
    if deleting(object) && !finalized(object) {
        return None;
    }
    if deleting(object) && gone(known, key, object, &old) {
        return write(id, Some(FinalizerOp::Remove), None, None);
    }
    let finalizer = (!finalized(object)).then_some(FinalizerOp::Add);
    let problem = problem_of(known, &id);
    let understood = known
        .resolved
        .networks
        .get(key)
        .filter(|_| problem.is_none());
    let mut new = old.clone();
    if let Some(network) = understood {
        describe(known, network, &mut new);
    }
    let programmed = match understood {
        Some(network) => programmed(known, network, &mut new, object),
        None => in_doubt(
            &old.conditions,
            object,
            "nothing is sent before the Network is accepted",
        ),
    };
    let ready = match problem {
        _ if deleting(object) && paused(object) => held_back(),
        _ if deleting(object) => waiting_to_go(known, key, &uid(object), &old),
        Some(problem) => Verdict::no(problem.reason, &problem.message),
        None if programmed.holds == Some(true) => Verdict::yes(Reason::Ready, ""),
        None => programmed.clone(),
    };
    let policy = object.spec.management_policy;
    let note = understood.and_then(|network| {
        let routers: BTreeSet<&String> = network.trunks.iter().map(|t| &t.key.router).collect();
        let looks = looks_at_routers(known, routers.into_iter(), &network.uid);
        follow_drift(known, &mut new.drift, &looks, policy)
    });
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

fn describe(known: &Known<'_>, network: &NetworkR, new: &mut NetworkStatus) {
    new.region = Some(network.region.clone());
    new.gateway = Some(network.gateway.to_string());
    new.mtu = Some(i64::from(network.mtu));
    if let Some(grant) = known.grants.networks.get(&network.key) {
        new.vni = Some(i64::from(grant.vni));
        new.vlans.clone_from(&grant.vlans);
    }
    // What is recorded keeps its Provider from going: it ends once the router has let go.
    new.vlans.retain(|vlan| {
        let key = |t: &TrunkKey| t.router == vlan.router && t.interface == vlan.interface;
        let let_go = [ClaimState::Absent, ClaimState::Programmed];
        network.trunks.iter().any(|t| key(&t.key))
            || !claim_state(known, &vlan.router, &network.uid).is_some_and(|s| let_go.contains(s))
    });
    if let Some(next) = known.grants.addresses.get(&network.key) {
        new.next_address = Some(next.to_string());
    }
    let used: BTreeSet<String> = known
        .resolved
        .users
        .of(&network.key)
        .iter()
        .flat_map(|user| {
            let granted = known.grants.instances.get(user).map(|g| &g.addresses);
            let recorded = || Some(&known.world.instances.get(user)?.status.as_ref()?.addresses);
            granted.or_else(recorded).into_iter().flatten()
        })
        .filter(|nic| nic.network == network.key.name)
        .map(|nic| nic.address.clone())
        .collect();
    let used = i64::try_from(used.len()).unwrap_or(i64::MAX);
    new.addresses = Some(Usage {
        total: capacity(network),
        used,
    });
}

/// What every router that carries it says, one entry each, and the sum.
fn programmed(
    known: &Known<'_>,
    network: &NetworkR,
    new: &mut NetworkStatus,
    object: &Network,
) -> Verdict {
    let routers: BTreeSet<&String> = network.trunks.iter().map(|t| &t.key.router).collect();
    let old = new.clone();
    new.targets = routers
        .iter()
        .map(|router| {
            let (reason, message) = target(known, router, &old, object);
            TargetState {
                name: (*router).clone(),
                reason,
                message,
                applied: applied(known, router, &old, &network.uid),
            }
        })
        .collect();
    let open: Vec<&TargetState> = new
        .targets
        .iter()
        .filter(|t| t.reason != Reason::Programmed)
        .collect();
    match open.first() {
        None => Verdict::yes(Reason::Programmed, ""),
        Some(first) => {
            let waiting = open.iter().map(|t| &t.name).join(", ");
            let message = match first.message.as_str() {
                "" => format!("waiting for router {waiting}"),
                text => text.to_owned(),
            };
            Verdict::no(first.reason, message)
        }
    }
}

/// What a router was last known to run of the network.
fn applied(known: &Known<'_>, router: &str, old: &NetworkStatus, uid: &str) -> Option<String> {
    let runs = claim_state(known, router, uid) == Some(&ClaimState::Programmed);
    if runs && known.asked.wanted(router, uid) {
        return known.asked.asks(router, uid).map(drift::applied);
    }
    let target = old.targets.iter().find(|t| t.name == router)?;
    target.applied.clone()
}

fn target(
    known: &Known<'_>,
    router: &str,
    old: &NetworkStatus,
    object: &Network,
) -> (Reason, String) {
    if paused(object) {
        return (
            Reason::Paused,
            "paused by annotation: nothing is sent".to_owned(),
        );
    }
    let uid = uid(object);
    match claim_state(known, router, &uid) {
        Some(ClaimState::Programmed) => (Reason::Programmed, String::new()),
        Some(ClaimState::Held { reason, message }) => (*reason, message.clone()),
        state => {
            // Before the first look at a router, what is recorded stands.
            let seen = state.is_some() || looked_at(known, router, &uid);
            let kept = kept(router, old, object).filter(|_| !seen);
            match kept {
                Some((Reason::Programmed, _)) => kept,
                _ => router_trouble(known, router).or(kept),
            }
            .unwrap_or((Reason::Pending, String::new()))
        }
    }
}

/// What is recorded of a router for the spec as it is now.
fn kept(router: &str, old: &NetworkStatus, object: &Network) -> Option<(Reason, String)> {
    let target = old.targets.iter().find(|t| t.name == router)?;
    let programmed = old
        .conditions
        .iter()
        .find(|c| c.is(ConditionType::Programmed))?;
    let same = programmed.observed_generation == object.metadata.generation;
    same.then(|| (target.reason, target.message.clone()))
}

/// Nothing of it is left on any router of its Region.
fn gone(known: &Known<'_>, key: &Key, object: &Network, old: &NetworkStatus) -> bool {
    if known.resolved.users.any(key) || paused(object) {
        return false;
    }
    let uid = uid(object);
    let region = old.region.as_deref().unwrap_or_default();
    old.vni.is_none()
        || routers_of(known, region)
            .all(|name| claim_state(known, name, &uid) == Some(&ClaimState::Absent))
}

fn waiting_to_go(known: &Known<'_>, key: &Key, uid: &str, old: &NetworkStatus) -> Verdict {
    let users = known
        .resolved
        .users
        .of(key)
        .iter()
        .map(|user| &user.name)
        .take(5)
        .join(", ");
    if users.is_empty() {
        if let Some(held) = guarded(known, old.vlans.iter().map(|v| &v.router)) {
            return held;
        }
        let region = old.region.as_deref().unwrap_or_default();
        return match kept_by_router(known, region, uid) {
            Some((reason, message)) => Verdict::no(reason, message),
            None => Verdict::no(Reason::Deleting, "being taken off the routers"),
        };
    }
    Verdict::no(
        Reason::Waiting,
        format!("instances have a card in it: {users}; delete them or take the cards away"),
    )
}
