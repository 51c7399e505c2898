//! Turns the moments at which something new was asked into the moment at which to begin.
//!
//! Objects come one by one, a commit costs whatever is in it: a list that is sent at once has
//! one object in it, and the next has to wait for its commit. So what arrives is waited for,
//! until it is quiet and nothing is known to be on its way; but no longer than a share of what
//! the commit takes anyway, or a moment where that is nothing.

use std::time::Duration;

/// Without anything new for so long it is quiet.
const QUIET: Duration = Duration::from_millis(300);
/// So long is waited in any case while things arrive.
const LEAST: Duration = Duration::from_secs(2);
/// And no longer than this.
const MOST: Duration = Duration::from_secs(30);
/// The part of the commit's time that waiting for more is worth.
const SHARE: f64 = 0.25;

/// When something new was asked that was not looked at yet. Times are durations since any fixed
/// moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    since: Option<(Duration, Duration)>,
}

impl Arrivals {
    /// Something new is asked.
    pub fn came(&mut self, now: Duration) {
        let first = self.since.map_or(now, |(first, _)| first);
        self.since = Some((first, now));
    }

    /// All that was asked is looked at now.
    pub fn seen(&mut self) {
        self.since = None;
    }

    /// Whether nothing new was asked since the last look.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// How long to wait yet, if at all. `coming` says that more is known to be on its way,
    /// `seconds` what the commit of what is due is expected to take.
    #[must_use]
    pub fn wait(&self, now: Duration, coming: bool, seconds: f64) -> Option<Duration> {
        let (first, last) = self.since?;
        let share = Duration::try_from_secs_f64(seconds * SHARE).unwrap_or(MOST);
        let end = first + share.clamp(LEAST, MOST);
        // What is on its way says itself when it is there.
        let quiet = if coming { end } else { last + QUIET };
        let left = quiet.min(end).saturating_sub(now);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn one_object_waits_for_a_moment_of_quiet() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.wait(ms(0), false, 3.0), None);
        arrivals.came(ms(1000));
        assert_eq!(arrivals.wait(ms(1100), false, 3.0), Some(ms(200)));
        assert_eq!(arrivals.wait(ms(1300), false, 3.0), None);
    }

    #[test]
    fn what_goes_on_arriving_is_waited_for_as_long_as_it_is_worth() {
        let mut arrivals = Arrivals::default();
        for n in 0..200 {
            arrivals.came(ms(n * 100));
        }
        // A commit of 3 s is worth 2 s of waiting, one of 60 s is worth 15 s.
        assert_eq!(arrivals.wait(ms(1900), false, 3.0), Some(ms(100)));
        assert_eq!(arrivals.wait(ms(2000), false, 3.0), None);
        assert_eq!(arrivals.wait(ms(14_000), false, 60.0), Some(ms(1000)));
        assert_eq!(arrivals.wait(ms(15_000), false, 60.0), None);
        assert_eq!(arrivals.wait(ms(29_000), true, 9e9), Some(ms(1000)));
        assert_eq!(arrivals.wait(ms(30_000), true, 9e9), None);
    }

    #[test]
    fn what_is_known_to_come_is_waited_for_without_quiet() {
        let mut arrivals = Arrivals::default();
        arrivals.came(ms(0));
        assert_eq!(arrivals.wait(ms(1000), true, 1.0), Some(ms(1000)));
        assert_eq!(arrivals.wait(ms(2000), true, 1.0), None);
        arrivals.seen();
        assert_eq!(arrivals.wait(ms(2000), true, 1.0), None);
    }
}
