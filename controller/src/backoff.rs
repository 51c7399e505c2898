//! Turns failures in a row into a pause that grows, with jitter.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bb_core::breaker::{Breaker, May, pause};
use bb_core::resolve::Id;
use kube::ResourceExt;

/// How every target answers.
#[derive(Debug)]
pub(crate) struct Breakers {
    began: Instant,
    of: Mutex<HashMap<String, Breaker>>,
}

impl Default for Breakers {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            of: Mutex::default(),
        }
    }
}

impl Breakers {
    fn with<T>(&self, target: &str, work: impl FnOnce(&mut Breaker, Duration) -> T) -> T {
        let mut of = self
            .of
            .lock()
            .expect("no code panics while it holds this lock");
        let breaker = of.entry(target.to_owned()).or_default();
        work(breaker, self.began.elapsed())
    }

    /// Whether a target may be asked now.
    pub(crate) fn may(&self, target: &str) -> May {
        self.with(target, |breaker, now| breaker.may(now))
    }

    /// Whether it did not answer the last time.
    pub(crate) fn is_failing(&self, target: &str) -> bool {
        self.with(target, |breaker, _| breaker.is_failing())
    }

    /// It did not answer. Says how long to pause, and whether nothing new shortens that.
    pub(crate) fn failed(&self, target: &str, first: Duration, random: f64) -> (Duration, bool) {
        self.with(target, |breaker, now| {
            let pause = breaker.failed(now, first, random);
            (pause, breaker.is_open())
        })
    }

    /// It answered, or there is reason to think that it will.
    pub(crate) fn closed(&self, target: &str) {
        self.with(target, |breaker, _| breaker.closed());
    }

    /// How long this process has been looking at targets.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Failures in a row, per target.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    /// Counts a failure of `target` and says how long to pause.
    pub(crate) fn failed(&self, target: &str, first: Duration, random: f64) -> Duration {
        let mut counts = self
            .0
            .lock()
            .expect("no code panics while it holds this lock");
        let count = counts.entry(target.to_owned()).or_default();
        *count = count.saturating_add(1);
        pause(*count, first, random)
    }

    /// Forgets the failures of `target`.
    pub(crate) fn succeeded(&self, target: &str) {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
            .remove(target);
    }
}

/// Objects that the API refused something of. Each waits by itself, and holds up nobody else.
#[derive(Debug, Default)]
pub(crate) struct Rests(Mutex<BTreeMap<Id, Rest>>);

#[derive(Debug)]
struct Rest {
    /// UID and generation: another spec ends the pause.
    of: Version,
    failures: u32,
    until: Instant,
}

/// The UID of an object, and the generation of its spec.
pub(crate) type Version = (Option<String>, Option<i64>);

/// What an object is now.
pub(crate) fn version(object: &impl ResourceExt) -> Version {
    (object.uid(), object.meta().generation)
}

impl Rests {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Id, Rest>> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// Has an object wait, longer each time, `first` the first time.
    pub(crate) fn failed(&self, id: &Id, of: Version, first: Duration, random: f64) {
        let mut rests = self.lock();
        let failures = rests
            .get(id)
            .filter(|rest| rest.of == of)
            .map_or(1, |rest| rest.failures.saturating_add(1));
        let until = Instant::now() + pause(failures, first, random);
        let rest = Rest {
            of,
            failures,
            until,
        };
        rests.insert(id.clone(), rest);
    }

    /// Forgets the failures of an object.
    pub(crate) fn succeeded(&self, id: &Id) {
        self.lock().remove(id);
    }

    /// Who rests now. `version` tells what an object is now; what is gone is forgotten.
    pub(crate) fn now(&self, version: impl Fn(&Id) -> Option<Version>) -> BTreeSet<Id> {
        let now = Instant::now();
        let mut rests = self.lock();
        rests.retain(|id, rest| version(id).as_ref() == Some(&rest.of));
        let resting = rests.iter().filter(|(_, rest)| rest.until > now);
        resting.map(|(id, _)| id.clone()).collect()
    }

    /// When the next of those that rest is due again.
    pub(crate) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let rests = self.lock();
        let ends = rests.values().map(|rest| rest.until);
        ends.filter(|until| *until > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_rests_longer_each_time_and_another_spec_ends_it() {
        let rests = Rests::default();
        let id = Id::Tenant("acme".to_owned());
        let version = |generation| (Some("uid".to_owned()), Some(generation));
        let first = Duration::from_secs(60);
        let resting = |generation| rests.now(|_| Some(version(generation))).len();
        let left = || rests.due().map(|due| due - Instant::now());
        rests.failed(&id, version(1), first, 1.0);
        assert!(left().is_some_and(|left| left <= first));
        rests.failed(&id, version(1), first, 1.0);
        assert!(left().is_some_and(|left| left > first && left <= 2 * first));
        for _ in 0..60 {
            rests.failed(&id, version(1), first, 1.0);
        }
        let longest = Duration::from_secs(300);
        assert!(left().is_some_and(|left| left > longest - first && left <= longest));
        assert_eq!(resting(1), 1);
        assert_eq!(resting(2), 0, "it is tried again at once");
        rests.failed(&id, version(2), first, 1.0);
        assert!(left().is_some_and(|left| left <= first), "and begins anew");
        rests.succeeded(&id);
        assert_eq!((resting(2), rests.due()), (0, None));
        rests.failed(&id, version(2), first, 1.0);
        assert_eq!(rests.now(|_| None).len(), 0, "it is gone");
    }

    #[test]
    fn a_success_starts_over() {
        let failures = Failures::default();
        let first = Duration::from_secs(1);
        failures.failed("r1", first, 1.0);
        assert_eq!(failures.failed("r1", first, 1.0), Duration::from_secs(2));
        failures.succeeded("r1");
        assert_eq!(failures.failed("r1", first, 1.0), Duration::from_secs(1));
    }
}
