//! Turns how long tasks of a sort took lately into when the next look at them is due.
//!
//! A cluster tells nobody that a task has ended; somebody has to ask. Asking all the time costs
//! requests, asking seldom costs time, so it is asked when the end is expected. Every look
//! teaches: what still ran takes longer than that, what had ended takes no longer.
//!
//! Times are durations since a moment that the caller chooses, the same for all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bb_crds::ids::Vmid;

/// Looks are at least this far apart, whatever ends meanwhile.
pub const GAP: Duration = Duration::from_millis(250);
/// The same where the end is known to be nearer than that: after a look that was a little early.
const NEAR: Duration = Duration::from_millis(100);
/// What runs is looked at this often at least, so that a task that failed early is seen.
pub const CAP: Duration = Duration::from_secs(15);
/// How many looks that showed ends of a sort are remembered.
const LATELY: usize = 8;

/// What makes tasks alike: those of one sort take about as long as each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sort {
    /// The node that they run on.
    pub node: String,
    /// What they do.
    pub work: Work,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// A linked clone of this template.
    Linked(Vmid),
    /// A full clone of this template.
    Full(Vmid),
    /// A container from an archive.
    Build,
    /// A change of a configuration that took longer than its call waited.
    Configure,
    /// The growth of a disk.
    Resize,
    /// A start.
    Start,
    /// A shutdown, which is up to the guest.
    Shutdown,
    /// A destruction.
    Destroy,
    /// Work on a disk image.
    Image,
}

/// Bounds on how long a task takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// It takes longer than this.
    pub after: Duration,
    /// It has ended by then.
    pub by: Duration,
}

impl Work {
    /// What is believed before the first end was seen.
    #[must_use]
    pub const fn guess(self) -> Span {
        let (after, by) = match self {
            Self::Full(_) => (500, 8500),
            Self::Build => (500, 5500),
            Self::Start => (300, 3300),
            Self::Shutdown => (1000, 10_000),
            Self::Linked(_) | Self::Configure | Self::Resize | Self::Destroy | Self::Image => {
                (200, 1200)
            }
        };
        Span {
            after: Duration::from_millis(after),
            by: Duration::from_millis(by),
        }
    }
}

/// A task that has not been seen to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it is.
    pub sort: Sort,
    /// When it began.
    pub begun: Duration,
    /// When a look last showed that it runs; `begun` where none did.
    pub seen: Duration,
}

/// How long tasks took lately.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    sorts: BTreeMap<Sort, VecDeque<Span>>,
}

impl Pace {
    /// Takes note of the tasks that one look showed to have ended well.
    pub fn ended(&mut self, tasks: impl IntoIterator<Item = (Sort, Span)>) {
        let mut looked: BTreeMap<Sort, Span> = BTreeMap::new();
        for (sort, span) in tasks {
            let known = looked.entry(sort).or_insert(span);
            known.after = known.after.max(span.after);
            known.by = known.by.min(span.by);
        }
        for (sort, span) in looked {
            let lately = self.sorts.entry(sort).or_default();
            if lately.len() == LATELY {
                lately.pop_front();
            }
            lately.push_back(span);
        }
    }

    /// How long a task of this sort is expected to take.
    #[must_use]
    pub fn expected(&self, sort: &Sort) -> Span {
        let guess = sort.work.guess();
        let Some(lately) = self.sorts.get(sort) else {
            return guess;
        };
        let longest_seen_running = lately.iter().map(|span| span.after).max();
        let shortest_seen_ended = lately.iter().map(|span| span.by).min();
        let (Some(after), Some(by)) = (longest_seen_running, shortest_seen_ended) else {
            return guess;
        };
        if after >= by {
            // Some had ended when others still ran, and those took longer than that.
            let more = (after / 64).clamp(Duration::from_millis(20), Duration::from_secs(1));
            let (after, by) = (by, after + more);
            return Span { after, by };
        }
        // One duration explains all that was seen: it lies between the two. Where none was seen
        // to run for long, they may have become quicker.
        let least = if lately.len() < LATELY {
            guess.after
        } else {
            by / 2
        };
        let after = if after.is_zero() {
            least.min(by)
        } else {
            after
        };
        Span { after, by }
    }

    /// When the next look is due: `None` where nothing runs. `last` is when the last one was.
    ///
    /// What ends soon after the first is waited for, so that ends that come together are seen
    /// together, and what they free is filled together. Tasks of one sort are worth more of a
    /// wait than others: those that began at different times fall into step in this way, and
    /// are in step from then on.
    #[must_use]
    pub fn next_look(&self, waiting: &[Waiting], last: Option<Duration>) -> Option<Duration> {
        let mut gap = GAP;
        let due = waiting.iter().map(|task| {
            let expected = self.expected(&task.sort);
            let running = task.seen.saturating_sub(task.begun);
            let at = task.begun + next(expected, running);
            let least = running.max(expected.after);
            if running < expected.by && expected.by <= least + GAP {
                gap = NEAR;
            }
            // By then it has ended, unless it takes longer than any before.
            let sure = if self.sorts.contains_key(&task.sort) {
                at.max(task.begun + expected.by)
            } else {
                at
            };
            (at, sure, &task.sort)
        });
        let all: Vec<(Duration, Duration, &Sort)> = due.collect();
        let (first, _, sort) = *all.iter().min()?;
        let window = (self.expected(sort).by / 10).clamp(2 * GAP, Duration::from_secs(1));
        let until = |other: &Sort| first + if other == sort { window } else { GAP };
        let look = all
            .iter()
            .filter(|(at, _, of)| *at <= until(of))
            .map(|(at, sure, of)| {
                // Who waits for one that is a little later waits until it has ended.
                let later = *at > first + GAP / 5;
                if later && *sure <= until(of) {
                    *sure
                } else {
                    *at
                }
            });
        let look = look.max()?;
        let earliest = last.map_or(Duration::ZERO, |last| last + gap);
        Some(look.max(earliest))
    }
}

/// How long after its beginning a task is to be looked at, that was last seen to run after
/// `running`.
fn next(expected: Span, running: Duration) -> Duration {
    // Knowing it more exactly than this is not worth a request.
    let grain = (expected.by / 64).clamp(Duration::from_millis(50), Duration::from_secs(2));
    let at = if running < expected.by {
        let from = running.max(expected.after).min(expected.by);
        between(from, expected.by, grain)
    } else {
        running + (running / 8).max(grain)
    };
    at.min(running + CAP)
}

/// Three quarters of the way from one to the other, by ratio: where the bounds are far apart,
/// lower times are tried as well.
fn between(from: Duration, to: Duration, grain: Duration) -> Duration {
    if to.saturating_sub(from) <= grain {
        return to;
    }
    let low = from.as_secs_f64().max(0.05);
    let mid = Duration::from_secs_f64(low.powf(0.25) * to.as_secs_f64().powf(0.75));
    mid.clamp(from + grain, to)
}

/// Which guests are read again, those that waited longest first: each within `every`, and no
/// earlier than half of it. Which time in between is its number's, so that guests that were
/// first seen together are not read together. `read` says when each was read last, or first
/// seen.
///
/// Gives at most `most`, and whether there were more.
#[must_use]
pub fn reread(
    read: &BTreeMap<Vmid, Duration>,
    now: Duration,
    every: Duration,
    most: usize,
) -> (BTreeSet<Vmid>, bool) {
    let mut due: Vec<(Duration, Vmid)> = read
        .iter()
        .map(|(vmid, at)| (*at + every / 2 + every / 2 * spread(*vmid) / 1000, *vmid))
        .filter(|(at, _)| *at <= now)
        .collect();
    due.sort_unstable();
    let more = due.len() > most;
    let first = due.into_iter().take(most).map(|(_, vmid)| vmid);
    (first.collect(), more)
}

/// A number below 1000 that neighbours do not share.
fn spread(vmid: Vmid) -> u32 {
    vmid.get().wrapping_mul(2_654_435_761) / (u32::MAX / 1000 + 1)
}

#[cfg(test)]
mod tests;
