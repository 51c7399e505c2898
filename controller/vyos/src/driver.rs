//! Turns what a router should have into one list at a time, and what came of it into what is known.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bb_core::drift::{Difference, on_router};
use bb_core::outcome::RouterOutcome;
use bb_core::vyos::batch::{Bound, List, next};
use bb_core::vyos::blame::{Complaint, blame};
use bb_core::vyos::cost::{self, Load, Pace};
use bb_core::vyos::found::found;
use bb_core::vyos::plan::apply;
use bb_core::vyos::refusals::{Pauses, Purpose, Refusals};
use bb_core::vyos::{Command, Desired, Lines, Verb, plan};
use bb_core::world::Uid;

use crate::error::RouterError;
use crate::op::Op;
use crate::router::Router;

/// As many passes in a row that fail are no passing matter: people are told.
const LASTING: u32 = 3;

/// What is kept of a router between passes.
///
/// A pass looks, sends at most one list and saves. Whatever came of the list, the next pass
/// looks again before it sends anything: a commit that failed is not undone, and one whose answer
/// was lost may be under way.
#[derive(Debug)]
pub struct Driver {
    refusals: Refusals,
    pauses: Pauses,
    bound: Bound,
    pace: Pace,
    /// What runs may be another than what it starts from.
    unsaved: bool,
    version: Option<String>,
    /// What the last look saw.
    running: Option<Lines>,
    /// Passes in a row that ended early although the router answered.
    failing: u32,
    /// Since the last list that was taken, somebody was searched who has the API fail.
    searched: bool,
}

/// The time as a pass is given it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Since any fixed moment, the same for all passes.
    pub now: Duration,
    /// Anything from 0 to 1, for jitter.
    pub random: f64,
}

/// When the next pass is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once: there is more to send, or to look at.
    Now,
    /// When something that was refused is tried again.
    In(Duration),
    /// When something else is asked, or by the slow timer.
    Settled,
}

/// What came of a pass over a router that answers.
#[derive(Debug)]
pub struct Pass {
    /// What is known of every object.
    pub outcome: RouterOutcome,
    /// What it runs, as far as is known.
    pub running: Lines,
    /// What it had and should not, and should have had and had not, before anything was sent.
    pub differs: BTreeMap<Uid, Difference>,
    /// When the next pass is due, if this one did not end early.
    pub next: Next,
    /// Why it ended early, where no object is to blame.
    pub ended: Result<(), RouterError>,
}

impl Driver {
    /// A driver that knows nothing yet.
    #[must_use]
    pub fn new(pauses: Pauses) -> Self {
        Self {
            refusals: Refusals::default(),
            pauses,
            bound: Bound::default(),
            pace: Pace::default(),
            unsaved: false,
            version: None,
            running: None,
            failing: 0,
            searched: false,
        }
    }

    /// Forgets what another router may answer otherwise: the Provider is another.
    pub fn reconnected(&mut self) {
        self.refusals = Refusals::default();
        self.bound = Bound::default();
        self.version = None;
        self.running = None;
        self.failing = 0;
        self.searched = false;
    }

    /// What the commit of all that is due is expected to take, in seconds, by the last look; 0
    /// before the first.
    #[must_use]
    pub fn expected(&self, desired: &Desired) -> f64 {
        let Some(running) = &self.running else {
            return 0.0;
        };
        let mut due = plan(desired, running).commands;
        due.retain(|c| !self.refusals.is_aside(&c.owner));
        self.pace.seconds(cost::seconds(Load::of(running), &due))
    }

    /// What the last pass left running, and what was refused; none before the first.
    #[must_use]
    pub fn seen(&self) -> Option<(&Lines, &Refusals)> {
        Some((self.running.as_ref()?, &self.refusals))
    }

    /// One pass.
    ///
    /// # Errors
    /// The router cannot be looked at. Nothing was sent.
    pub async fn pass(
        &mut self,
        router: &Router,
        desired: &Desired,
        may_write: bool,
        at: Moment,
    ) -> Result<Pass, RouterError> {
        let observed = Lines::parse(&router.show_config().await?);
        if self.version.is_none() {
            // Without it nothing is lost but a column.
            self.version = router.facts().await.ok().map(|facts| facts.version);
        }
        let planned = plan(desired, &observed);
        let differs = on_router(planned.commands.iter().chain(&planned.withheld), &observed);
        self.refusals.note(desired, &planned, &observed);
        let bound = Bound {
            bytes: self.bound.bytes.min(router.list_bytes()),
            ..self.bound
        };
        let due = |refusals: &mut Refusals, running: &Lines, pace| {
            let planned = plan(desired, running);
            next(desired, &planned, running, refusals, bound, pace, at.now)
        };
        let list = if may_write {
            due(&mut self.refusals, &observed, self.pace)
        } else {
            None
        };
        let (running, mut ended) = match list {
            Some(list) => self.send(router, desired, observed, &list, at).await,
            None => (observed, Ok(())),
        };
        // Also what an earlier pass could not save.
        let saves = may_write && ended.is_ok();
        if saves {
            ended = self.save(router).await;
        }
        self.failing = ended.as_ref().err().map_or(0, |_| self.failing + 1);
        let trouble = ended.as_ref().err().filter(|_| self.failing >= LASTING);
        let trouble = trouble.map(|error| trouble_of(error, saves));
        let last = plan(desired, &running);
        let known = (&running, &self.refusals);
        let mut outcome = found(
            desired,
            &last,
            known.0,
            known.1,
            may_write,
            trouble.as_deref(),
        );
        outcome.version.clone_from(&self.version);
        let more = may_write && due(&mut self.refusals.clone(), &running, self.pace).is_some();
        let next = match self.refusals.soonest(at.now) {
            _ if more => Next::Now,
            Some(soonest) => Next::In(soonest.saturating_sub(at.now)),
            None => Next::Settled,
        };
        self.running = Some(running.clone());
        Ok(Pass {
            outcome,
            running,
            differs,
            next,
            ended,
        })
    }

    /// Sends a list, and learns from the answer. Gives what the router runs then, as far as is
    /// known, and why the list failed where that is nobody's fault.
    async fn send(
        &mut self,
        router: &Router,
        desired: &Desired,
        observed: Lines,
        list: &List,
        at: Moment,
    ) -> (Lines, Result<(), RouterError>) {
        let ops: Vec<Op> = list.commands.iter().map(op).collect();
        let (name, purpose) = (router.name(), list.purpose);
        let expected = self.pace.seconds(list.seconds);
        tracing::info!(
            router = name,
            commands = ops.len(),
            ?purpose,
            expected,
            "configure"
        );
        let begun = Instant::now();
        let sent = router.configure(&ops).await;
        let took = begun.elapsed().as_secs_f64();
        let error = match sent {
            Ok(done) => {
                self.unsaved = true;
                self.searched = false;
                self.pace = self.pace.after(list.seconds, took);
                if let Some(warnings) = done.warnings {
                    tracing::info!(router = name, warnings, "the router warns");
                }
                return (apply(&observed, &list.commands), Ok(()));
            }
            Err(error) => error,
        };
        self.unsaved |= error.may_have_changed();
        if matches!(error, RouterError::Unknown { .. }) {
            self.pace = self.pace.after(list.seconds, took);
        }
        if let RouterError::TooLarge { limit, .. } = &error {
            self.bound.bytes = self.bound.bytes.min(*limit / 2);
        }
        let alone = list
            .commands
            .iter()
            .all(|c| c.owner == list.commands[0].owner);
        // Once it may be the router; again and again it may be something in the list, unless
        // whoever was found by a search was not it.
        let again = self.failing + 1 >= LASTING && !self.searched;
        let lasting = again || purpose != Purpose::Work;
        self.searched |= lasting && matches!(error, RouterError::Unexpected { .. });
        let Some(complaint) = complaint(&error, lasting) else {
            return (observed, Err(error));
        };
        tracing::warn!(
            router = name,
            ?purpose,
            error = &error as &dyn std::error::Error,
            "refused"
        );
        if matches!(error, RouterError::TooLarge { .. }) && !alone {
            return (observed, Ok(()));
        }
        self.refusals.left(&list.commands);
        let blame = blame(&list.commands, &complaint);
        self.refusals
            .refused(desired, purpose, &blame, at.now, &self.pauses, at.random);
        (observed, Ok(()))
    }

    /// Saves what was sent and not saved yet: a save can fail, and must not be forgotten.
    async fn save(&mut self, router: &Router) -> Result<(), RouterError> {
        if self.unsaved || router.owes_save() {
            router.save().await?;
            self.unsaved = false;
        }
        Ok(())
    }
}

/// What is so, and what a person can do about it.
fn trouble_of(error: &RouterError, saving: bool) -> String {
    let remedy = match error {
        _ if saving => {
            "what runs is not saved, and a reboot would lose it: look at its disk (`show system storage`)"
        }
        RouterError::Busy { .. } => {
            "somebody else holds its commit lock or its API restarts: end that session there"
        }
        RouterError::Unknown { .. } => {
            "commits are sent and not answered: look at `systemctl status vyos-http-api` there"
        }
        _ => "look at `journalctl -u vyos-http-api` there",
    };
    format!("{error}; {remedy}")
}

/// What the router says of a list, where it is about what is in the list; `None` where anybody's
/// list would have failed.
fn complaint(error: &RouterError, lasting: bool) -> Option<Complaint> {
    Some(match error {
        RouterError::Refused { nodes, text, .. } if nodes.is_empty() => {
            Complaint::Unclear(text.clone())
        }
        RouterError::Refused { nodes, said, .. } => {
            Complaint::Commit(nodes.iter().cloned().zip(said.iter().cloned()).collect())
        }
        RouterError::Invalid { path, text } => Complaint::Command(path.clone(), text.clone()),
        RouterError::TooLarge { .. } => Complaint::Unclear(error.to_string()),
        RouterError::Unexpected { .. } if lasting => Complaint::Unclear(error.to_string()),
        // Somebody's commands are not fit to be sent; nothing else is the matter.
        RouterError::OffLimits { .. } => Complaint::Unclear(error.to_string()),
        _ => return None,
    })
}

fn op(command: &Command) -> Op {
    match command.verb {
        Verb::Set => Op::set(command.path.iter().cloned()),
        Verb::Delete => Op::delete(command.path.iter().cloned()),
    }
}
