//! Turns what is read of a Lease into whether to take it, renew it, wait, or stop.
//!
//! No clock of another machine is believed: a Lease has run out when it did not change for its
//! whole duration, by the clock of who watches it. Times are of one clock that never goes back,
//! since any moment.

use std::time::Duration;

/// A Lease as it was read (`coordination.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; `None` where it was given back.
    pub holder: Option<String>,
    /// How long it is its holder's after each renewal.
    pub duration: Duration,
    /// Its version: another one with every renewal.
    pub version: String,
}

/// What to do about the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read it.
    Read,
    /// Write oneself into it, or make it.
    Take,
    /// Write into it that one is still there.
    Renew,
    /// Nothing yet.
    Wait(Duration),
    /// Stop: it is, or may soon be, another's.
    Lost(Lost),
}

/// How a Lease was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Somebody else holds it.
    #[error("{0} holds the lease now")]
    Taken(String),
    /// It was deleted.
    #[error("the lease was deleted")]
    Deleted,
    /// It could not be renewed in time.
    #[error("the lease could not be renewed in time")]
    Late,
}

/// One that would lead, or leads.
#[derive(Clone, Debug)]
pub struct Candidate {
    me: String,
    duration: Duration,
    /// What was read last, and since when it is so.
    seen: Option<(Option<Record>, Duration)>,
    /// When it was last read or written, with success or without.
    tried: Option<Duration>,
    /// When the last write of ours that was taken had been sent.
    renewed: Option<Duration>,
    /// It is not known what the Lease holds.
    stale: bool,
}

impl Candidate {
    /// One that calls itself `me` and asks for a Lease of `duration`.
    #[must_use]
    pub const fn new(me: String, duration: Duration) -> Self {
        Self {
            me,
            duration,
            seen: None,
            tried: None,
            renewed: None,
            stale: true,
        }
    }

    /// How often a candidate looks, and one that failed tries again.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.duration / 15
    }

    /// Until when one may write. A third of the duration before it can be another's: what is
    /// sent in the last moment is answered by then.
    #[must_use]
    pub fn until(&self) -> Option<Duration> {
        Some(self.renewed? + self.duration * 2 / 3)
    }

    /// What the Lease is, read at `now`; `None` where there is none.
    pub fn read(&mut self, now: Duration, record: Option<Record>) {
        self.tried = Some(now);
        self.stale = false;
        let same = self.seen.as_ref().is_some_and(|(seen, _)| *seen == record);
        if !same {
            self.seen = Some((record, now));
        }
    }

    /// A write of ours that was sent at `sent` was taken, and the Lease is this since.
    pub fn wrote(&mut self, sent: Duration, record: Record) {
        self.read(sent, Some(record));
        self.renewed = Some(sent);
    }

    /// A read or a write failed at `now`: a write may have been taken all the same.
    pub const fn failed(&mut self, now: Duration) {
        self.tried = Some(now);
        self.stale = true;
    }

    /// A write was refused at once, since the Lease is another than was read.
    pub const fn refused(&mut self) {
        self.tried = None;
        self.stale = true;
    }

    /// What to do at `now`.
    #[must_use]
    pub fn step(&self, now: Duration) -> Step {
        let tried = self.tried.map(|tried| tried + self.pause());
        match (self.renewed, self.until()) {
            (Some(renewed), Some(until)) => {
                let record = self.seen.as_ref().and_then(|(record, _)| record.as_ref());
                match record.map(|record| record.holder.as_ref()) {
                    None => return Step::Lost(Lost::Deleted),
                    Some(holder) if holder != Some(&self.me) => {
                        let other = holder.cloned().unwrap_or_else(|| "nobody".to_owned());
                        return Step::Lost(Lost::Taken(other));
                    }
                    Some(_) => {}
                }
                if now >= until {
                    return Step::Lost(Lost::Late);
                }
                let act = if self.stale { Step::Read } else { Step::Renew };
                let due = if self.stale {
                    tried.unwrap_or(now)
                } else {
                    (renewed + self.duration / 3).max(tried.unwrap_or(now))
                };
                at(due.min(until), now, act)
            }
            _ => self.wait(now, tried),
        }
    }

    /// What to do where one does not lead.
    fn wait(&self, now: Duration, tried: Option<Duration>) -> Step {
        let look = |act| at(tried.unwrap_or(now), now, act);
        let Some((record, since)) = self.seen.as_ref().filter(|_| !self.stale) else {
            return look(Step::Read);
        };
        let Some(record) = record else {
            return Step::Take;
        };
        // A name is one process's alone: what holds ours is a write whose answer was lost.
        let free = record
            .holder
            .as_ref()
            .is_none_or(|holder| *holder == self.me);
        if free || now >= *since + record.duration {
            return Step::Take;
        }
        look(Step::Read)
    }
}

fn at(due: Duration, now: Duration, act: Step) -> Step {
    if now >= due {
        act
    } else {
        Step::Wait(due - now)
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
