//! Turns refusals into what is left out of the next list, what is searched, and what waits.
//!
//! An object that a router refuses is set aside, alone, with a pause that doubles. Where the
//! router does not say which it was, the objects in question are searched by halves: of such a
//! group the first half is sent; what is taken is no more in question, what is refused is the
//! new group. Every list is made from a fresh look at the router, so that what a failed commit
//! left behind needs no thought here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::blame::Blame;
use super::lines::{Lines, Path};
use super::plan::{Command, Desired, Plan, Verb, left_over};
use crate::outcome::asked;
use crate::world::Uid;

/// How long what was refused waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After the first refusal.
    pub first: Duration,
    /// However often it was refused.
    pub longest: Duration,
}

impl Pauses {
    /// The pause after `count` refusals in a row: doubled each time, up to a quarter shorter by
    /// `random` (0 to 1), so that what was refused together does not come back together.
    #[must_use]
    pub fn after(&self, count: u32, random: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << count.saturating_sub(1).min(20));
        let pause = doubled.min(self.longest);
        pause.mul_f64(1.0 - random.clamp(0.0, 1.0) / 4.0)
    }
}

/// Why a list is sent, which decides what its refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What is due.
    Work,
    /// To find who of a group is refused.
    Search,
    /// To see whether what was refused is taken by now.
    Retry,
}

/// One object that was refused.
#[derive(Clone, Debug, PartialEq)]
struct Aside {
    /// What was asked then.
    asked: u64,
    /// The router's words.
    message: String,
    /// Refusals in a row.
    count: u32,
    /// When it is sent again. Times are durations since any fixed moment.
    until: Duration,
    /// Whether the router named it; else it is tried by itself.
    named: bool,
}

/// What a router refused, kept between passes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refusals {
    aside: BTreeMap<Uid, Aside>,
    /// In each at least one object is refused. The last is searched first.
    groups: Vec<BTreeSet<Uid>>,
    /// VRFs of lists that were refused, and whose they were to be: parts of them may be there
    /// without a mark.
    vrfs: BTreeMap<Path, Uid>,
}

impl Refusals {
    /// Forgets what is not due any more, what is asked otherwise now, and what was taken.
    pub fn note(&mut self, desired: &Desired, plan: &Plan, running: &Lines) {
        self.vrfs
            .retain(|root, _| left_over(root, running) && running.any_below(root));
        if self.aside.is_empty() && self.groups.is_empty() {
            return;
        }
        let open: BTreeSet<&Uid> = plan.commands.iter().map(|c| &c.owner).collect();
        let claims = desired.claims.iter();
        let asks: BTreeMap<&Uid, u64> = claims.map(|c| (&c.owner, asked(&c.want))).collect();
        self.aside
            .retain(|owner, a| open.contains(owner) && asks.get(owner) == Some(&a.asked));
        for group in &mut self.groups {
            group.retain(|owner| open.contains(owner) && !self.aside.contains_key(owner));
        }
        self.groups.retain(|group| !group.is_empty());
    }

    /// The group that is searched now.
    #[must_use]
    pub fn group(&self) -> Option<&BTreeSet<Uid>> {
        self.groups.last()
    }

    /// Gives up the search of a group of which nothing can be sent.
    pub fn release(&mut self) {
        self.groups.pop();
    }

    /// Whether an object waits because it was refused.
    #[must_use]
    pub fn is_aside(&self, owner: &str) -> bool {
        self.aside.contains_key(owner)
    }

    /// What the router said of an object that waits.
    #[must_use]
    pub fn message(&self, owner: &str) -> Option<&str> {
        Some(self.aside.get(owner)?.message.as_str())
    }

    /// Who is tried again at `now`: all whom the router would name, else one by itself.
    #[must_use]
    pub fn due(&self, now: Duration) -> BTreeSet<Uid> {
        let due = || self.aside.iter().filter(|(_, a)| a.until <= now);
        let named: BTreeSet<Uid> = due()
            .filter(|(_, a)| a.named)
            .map(|(o, _)| o.clone())
            .collect();
        if !named.is_empty() {
            return named;
        }
        let longest = due().min_by_key(|(_, a)| a.until);
        longest
            .map(|(owner, _)| owner.clone())
            .into_iter()
            .collect()
    }

    /// When somebody is tried again after `now`. Who is due already and was not sent waits for
    /// something else.
    #[must_use]
    pub fn soonest(&self, now: Duration) -> Option<Duration> {
        let times = self.aside.values().map(|a| a.until);
        times.filter(|until| *until > now).min()
    }

    /// VRFs of which parts may be there without a mark.
    #[must_use]
    pub fn vrfs(&self) -> &BTreeMap<Path, Uid> {
        &self.vrfs
    }

    /// Takes note of the VRFs of a list that was refused.
    pub fn left(&mut self, list: &[Command]) {
        for command in list.iter().filter(|c| c.verb == Verb::Set) {
            if let [a, b, ..] = command.path.as_slice()
                && a == "vrf"
                && b == "name"
            {
                let root = command.path[..3].to_vec();
                self.vrfs.insert(root, command.owner.clone());
            }
        }
    }

    /// Takes note of who is to blame for the refusal of a list that was sent for `purpose`.
    pub fn refused(
        &mut self,
        desired: &Desired,
        purpose: Purpose,
        blame: &Blame,
        now: Duration,
        pauses: &Pauses,
        random: f64,
    ) {
        if purpose == Purpose::Search {
            // Whoever is not blamed again is in question no more.
            self.groups.pop();
        }
        for (owner, message) in &blame.named {
            let claim = desired.claims.iter().find(|c| c.owner == *owner);
            let count = self
                .aside
                .get(owner)
                .map_or(1, |a| a.count.saturating_add(1));
            let aside = Aside {
                asked: claim.map_or(0, |c| asked(&c.want)),
                message: message.clone(),
                count,
                until: now + pauses.after(count, random),
                named: blame.by_name,
            };
            self.aside.insert(owner.clone(), aside);
        }
        if blame.among.is_empty() {
            return;
        }
        if purpose == Purpose::Retry {
            for owner in &blame.among {
                if let Some(aside) = self.aside.get_mut(owner) {
                    aside.named = false;
                }
            }
        } else {
            self.groups.push(blame.among.clone());
        }
    }
}
