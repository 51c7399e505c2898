//! The pass over a router: read, plan, send, read back where the outcome is not plain.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bb_core::drift::{follow, on_router, recorded_on};
use bb_core::outcome::{ClaimState, Contact, RouterOutcome, asked};
use bb_core::vyos::plan::{apply, missing_underlay, offenders, without_early_vrfs};
use bb_core::vyos::{Command, Desired, Lines, Plan, Verb, Want, plan};
use bb_core::world::Uid;
use bb_crds::provider::{ManagementPolicy, Vyos};
use bb_crds::{Provider, Reason};
use bb_vyos::{Op, Router, RouterError};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::debts;
use crate::pass::{PassFailed, settled};
use crate::secrets;
use crate::shared::Shared;

/// How long something that a router refused waits before it is sent again unchanged.
const ASIDE: Duration = Duration::from_secs(60);

/// What is kept of a router between passes.
#[derive(Default)]
pub(crate) struct RouterSession {
    connected: Option<(Vyos, Router)>,
    version: Option<String>,
    /// What runs may be another than what it starts from.
    unsaved: bool,
    /// What the router refused: as it was asked, why, and until when it waits.
    aside: HashMap<Uid, Refusal>,
}

struct Refusal {
    asked: u64,
    message: String,
    until: Instant,
}

/// One pass. Says when the next is due.
pub(crate) async fn pass(
    shared: &Shared,
    name: &str,
    provider: &Provider,
    spec: &Vyos,
    session: &mut RouterSession,
) -> Result<Duration, PassFailed> {
    let Some(desired) = shared.asked_of_router(name) else {
        return Ok(settled(shared));
    };
    let router = match session.connect(shared, name, spec).await {
        Ok(router) => router,
        Err(contact) => return Err(no_contact(shared, name, contact)),
    };
    let observed = match observe(&router).await {
        Ok(observed) => observed,
        Err(error) => {
            session.connected = None;
            return Err(no_contact(shared, name, contact_of(&error)));
        }
    };
    if session.version.is_none() {
        // Without it nothing is lost but a column.
        session.version = router.facts().await.ok().map(|facts| facts.version);
    }
    let first = plan(&desired, &observed);
    let differs = on_router(first.commands.iter().chain(&first.withheld), &observed);
    let may_write = provider.spec.management_policy == ManagementPolicy::Manage;
    let commands = session.due(&desired, &first);
    let (after, finished) = if !may_write {
        (observed, Ok(()))
    } else if commands.is_empty() {
        let saved = session.save(&router).await;
        (observed, saved)
    } else {
        session
            .send(&router, name, &desired, &observed, &commands)
            .await
    };
    let last = plan(&desired, &after);
    let mut outcome = judge(&desired, &last, session, may_write);
    outcome.version.clone_from(&session.version);
    outcome.underlay = underlay(shared, provider, &after);
    let recorded = if differs.is_empty() {
        BTreeMap::new()
    } else {
        recorded_on(&shared.stores.world(), name)
    };
    shared.found(|outcomes| {
        let before = outcomes.routers.remove(name).unwrap_or_default();
        let found = before.drifted(&desired, differs, &recorded);
        let settled = outcome.settled();
        let (drift, _) = follow(&before.drift, found, &settled, &Time(Timestamp::now()));
        outcome.drift = drift;
        outcome.forget_strangers();
        outcomes.routers.insert(name.to_owned(), outcome.into());
    });
    match finished {
        Ok(()) => Ok(session.next(settled(shared))),
        Err(error) => {
            tracing::warn!(
                router = name,
                error = &error as &dyn std::error::Error,
                "a list was not taken whole"
            );
            Err(PassFailed {
                target: name.to_owned(),
            })
        }
    }
}

async fn observe(router: &Router) -> Result<Lines, RouterError> {
    Ok(Lines::parse(&router.show_config().await?))
}

fn no_contact(shared: &Shared, name: &str, contact: Contact) -> PassFailed {
    tracing::warn!(router = name, ?contact, "no contact");
    shared.found(|outcomes| {
        outcomes.router(name).contact = contact;
    });
    PassFailed {
        target: name.to_owned(),
    }
}

fn contact_of(error: &RouterError) -> Contact {
    match error {
        RouterError::Unauthorized
        | RouterError::Untrusted { .. }
        | RouterError::Endpoint { .. } => Contact::Unauthorized(error.to_string()),
        _ => Contact::Unreachable(error.to_string()),
    }
}

impl RouterSession {
    async fn connect(
        &mut self,
        shared: &Shared,
        name: &str,
        spec: &Vyos,
    ) -> Result<Router, Contact> {
        if let Some((made_of, router)) = &self.connected
            && made_of == spec
        {
            return Ok(router.clone());
        }
        let endpoint = secrets::router(shared, name, spec)
            .await
            .map_err(|error| Contact::Unauthorized(error.to_string()))?;
        let router = Router::new(endpoint).map_err(|error| contact_of(&error))?;
        let router = debts::keeping(shared, name, router);
        self.version = None;
        self.connected = Some((spec.clone(), router.clone()));
        Ok(router)
    }

    /// The commands of a plan, without those of objects that were refused a moment ago.
    fn due(&mut self, desired: &Desired, plan: &Plan) -> Vec<Command> {
        let now = Instant::now();
        let wants: BTreeMap<&str, u64> = desired
            .claims
            .iter()
            .map(|c| (c.owner.as_str(), asked(&c.want)))
            .collect();
        self.aside.retain(|owner, refusal| {
            refusal.until > now && wants.get(owner.as_str()) == Some(&refusal.asked)
        });
        let due = plan
            .commands
            .iter()
            .filter(|c| !self.aside.contains_key(&c.owner));
        due.cloned().collect()
    }

    /// When something set aside is due again, if that is sooner.
    fn next(&self, settled: Duration) -> Duration {
        let now = Instant::now();
        let aside = self
            .aside
            .values()
            .map(|r| r.until.saturating_duration_since(now));
        aside.min().map_or(settled, |soonest| {
            settled.min(soonest + Duration::from_millis(100))
        })
    }

    /// Sends commands as one list and saves. What the router refuses is set aside and the rest
    /// sent again; where it does not say whose command it was, the list is halved. Gives what
    /// the router runs afterwards, as far as is known.
    async fn send(
        &mut self,
        router: &Router,
        name: &str,
        desired: &Desired,
        observed: &Lines,
        commands: &[Command],
    ) -> (Lines, Result<(), RouterError>) {
        let mut running = observed.clone();
        let mut refused = false;
        let mut lists = vec![commands.to_vec()];
        let mut early: Vec<Command> = Vec::new();
        // Each turn sends a list, sets an object aside or halves a list: it comes to an end.
        loop {
            let Some(list) = lists.pop() else {
                // VRFs whose members went with another list; the others wait for the next pass.
                let (due, _) = without_early_vrfs(std::mem::take(&mut early), &running);
                if due.is_empty() {
                    break;
                }
                lists.push(due);
                continue;
            };
            let (list, waits) = without_early_vrfs(list, &running);
            early.extend(waits);
            if list.is_empty() {
                continue;
            }
            let ops: Vec<Op> = list.iter().map(op).collect();
            tracing::info!(router = name, commands = ops.len(), "configure");
            let sent = router.configure(&ops).await;
            self.unsaved |= sent
                .as_ref()
                .err()
                .is_none_or(RouterError::may_have_changed);
            match sent {
                Ok(done) => {
                    if let Some(warnings) = done.warnings {
                        tracing::info!(router = name, warnings, "the router warns");
                    }
                    running = apply(&running, &list);
                }
                Err(error) => {
                    let Some(rest) = self.set_aside(desired, list, &error) else {
                        // What an unanswered list left behind is known by looking only.
                        let running = observe(router).await.unwrap_or(running);
                        return (running, Err(error));
                    };
                    tracing::warn!(
                        router = name,
                        error = &error as &dyn std::error::Error,
                        "refused"
                    );
                    refused = true;
                    lists.extend(rest);
                }
            }
        }
        let saved = self.save(router).await;
        if !refused {
            return (running, saved);
        }
        // A refused commit is not undone: other parts of its list may be in.
        match observe(router).await {
            Ok(running) => (running, saved),
            Err(error) => (running, Err(error)),
        }
    }

    /// Saves what was sent and not saved yet: a save can fail, and must not be forgotten.
    async fn save(&mut self, router: &Router) -> Result<(), RouterError> {
        if self.unsaved || router.owes_save() {
            router.save().await?;
            self.unsaved = false;
        }
        Ok(())
    }

    /// Sets aside whose commands were refused, and gives the lists that are left to send.
    /// `None` where the failure is nobody's.
    fn set_aside(
        &mut self,
        desired: &Desired,
        list: Vec<Command>,
        error: &RouterError,
    ) -> Option<Vec<Vec<Command>>> {
        let all: BTreeSet<Uid> = list.iter().map(|c| c.owner.clone()).collect();
        let named: BTreeSet<Uid> = match error {
            RouterError::Refused { nodes, text, .. } => offenders(&list, nodes, text),
            RouterError::Invalid {
                path: Some(path), ..
            } => list
                .iter()
                .filter(|c| c.path.starts_with(path))
                .map(|c| c.owner.clone())
                .collect(),
            RouterError::Invalid { path: None, .. } | RouterError::TooLarge { .. } => {
                BTreeSet::new()
            }
            _ => return None,
        };
        if named.is_empty() && all.len() > 1 {
            return Some(halves(list, &all));
        }
        // One object alone needs no name to be known.
        let owners = if named.is_empty() { all } else { named };
        for owner in &owners {
            let claim = desired.claims.iter().find(|c| c.owner == *owner);
            let refusal = Refusal {
                asked: claim.map_or(0, |c| asked(&c.want)),
                message: words_for(owner, &list, error),
                until: Instant::now() + ASIDE,
            };
            self.aside.insert(owner.clone(), refusal);
        }
        Some(vec![
            list.into_iter()
                .filter(|c| !owners.contains(&c.owner))
                .collect(),
        ])
    }
}

/// What a router said of one object's commands: what it said of others' is theirs to know.
fn words_for(owner: &Uid, sent: &[Command], error: &RouterError) -> String {
    let RouterError::Refused { nodes, said, .. } = error else {
        return error.to_string();
    };
    let (mut mine, mut my_words) = (Vec::new(), Vec::new());
    for (node, words) in nodes.iter().zip(said) {
        if offenders(sent, std::slice::from_ref(node), words).contains(owner) {
            mine.push(node.clone());
            my_words.push(words.clone());
        }
    }
    if mine.is_empty() {
        return error.to_string();
    }
    let text = mine.iter().zip(&my_words);
    let text: Vec<String> = text
        .map(|(node, words)| format!("{}: {words}", node.join(" ")))
        .collect();
    let alone = RouterError::Refused {
        text: text.join("; "),
        nodes: mine,
        said: my_words,
    };
    alone.to_string()
}

/// A list in two, each object's commands together.
fn halves(list: Vec<Command>, owners: &BTreeSet<Uid>) -> Vec<Vec<Command>> {
    let first: BTreeSet<&Uid> = owners.iter().take(owners.len() / 2).collect();
    let (first, second) = list.into_iter().partition(|c| first.contains(&c.owner));
    vec![first, second]
}

fn op(command: &Command) -> Op {
    match command.verb {
        Verb::Set => Op::set(command.path.iter().cloned()),
        Verb::Delete => Op::delete(command.path.iter().cloned()),
    }
}

/// What is now known of every object on this router.
fn judge(
    desired: &Desired,
    plan: &Plan,
    session: &RouterSession,
    may_write: bool,
) -> RouterOutcome {
    let open: BTreeSet<&str> = plan.commands.iter().map(|c| c.owner.as_str()).collect();
    let mut claims = BTreeMap::new();
    for claim in &desired.claims {
        let owner = claim.owner.as_str();
        let refused = session.aside.get(owner);
        let state = if let Some(held) = plan.held.get(owner) {
            ClaimState::Held {
                reason: held.reason,
                message: held.message.clone(),
            }
        } else if plan.withheld.iter().any(|c| c.owner == owner) {
            ClaimState::Held {
                reason: Reason::Paused,
                message: "its managementPolicy is Observe: nothing is sent".to_owned(),
            }
        } else if open.contains(owner) && !may_write {
            ClaimState::Held {
                reason: Reason::Paused,
                message: "the Provider's managementPolicy is Observe: nothing is sent".to_owned(),
            }
        } else if let Some(refusal) = refused.filter(|_| open.contains(owner)) {
            ClaimState::Held {
                reason: Reason::Refused,
                message: refusal.message.clone(),
            }
        } else if open.contains(owner) {
            ClaimState::Pending
        } else {
            match claim.want {
                Want::Present { .. } => ClaimState::Programmed,
                Want::Absent => ClaimState::Absent,
                Want::Untouched if plan.present.contains(owner) => ClaimState::Programmed,
                Want::Untouched => ClaimState::Pending,
            }
        };
        claims.insert(claim.owner.clone(), (asked(&claim.want), state));
    }
    RouterOutcome {
        contact: Contact::Good,
        claims,
        orphans: plan.orphans.clone(),
        ..RouterOutcome::default()
    }
}

/// Says what a router lacks to carry tenants to other routers, where its Region has several.
fn underlay(shared: &Shared, provider: &Provider, running: &Lines) -> Option<String> {
    let world = shared.stores.world();
    let region = &provider.spec.region;
    let routers = world.providers.values();
    let several = routers
        .filter(|p| p.spec.region == *region && p.spec.vyos.is_some())
        .count()
        > 1;
    let asn = world.regions.get(region)?.spec.asn;
    missing_underlay(running, asn).filter(|_| several)
}

#[cfg(test)]
mod tests {
    use bb_core::vyos::lines::words;

    use super::*;

    fn set(owner: &str, path: &str) -> Command {
        Command {
            owner: owner.to_owned(),
            verb: Verb::Set,
            path: words(path),
        }
    }

    #[test]
    fn who_is_refused_is_told_of_itself_and_the_others_go_on() {
        let list = vec![
            set("a", "interfaces vxlan vxlan10001 vni 10001"),
            set("b", "interfaces vxlan vxlan10002 vni 10002"),
            set("c", "interfaces dummy dum1"),
        ];
        let node = |n: u32| words(&format!("interfaces vxlan vxlan{n}"));
        let error = RouterError::Refused {
            text: "whole".to_owned(),
            nodes: vec![node(10_002), node(10_001)],
            said: vec!["no room".to_owned(), "no source".to_owned()],
        };
        let mut session = RouterSession::default();
        let rest = session.set_aside(&Desired::default(), list, &error);
        assert_eq!(rest, Some(vec![vec![set("c", "interfaces dummy dum1")]]));
        let message = |owner: &str| session.aside[owner].message.clone();
        assert!(message("a").ends_with("interfaces vxlan vxlan10001: no source"));
        assert!(message("b").ends_with("interfaces vxlan vxlan10002: no room"));
    }
}
