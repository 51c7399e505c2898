//! Turns failures of a target in a row into when it may be asked again.
//!
//! A target that fails once or twice is asked again after a pause, and at once when there is
//! something new for it. One that goes on failing is left alone: nothing new makes it answer,
//! and every try costs a timeout. It is then asked once after each pause, by one request, and
//! the first answer ends that.

use std::time::Duration;

/// So many failures in a row, and a target is left alone between tries.
pub const OPENS: u32 = 3;

/// No pause is longer: a target that is back is found within five minutes.
pub const LONGEST: Duration = Duration::from_secs(300);

/// What is known of how a target answers. Times are since any moment in the past, the same for
/// all calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    until: Duration,
}

/// Whether a target may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// It answers, as far as is known.
    Go,
    /// It failed lately: one small request first.
    Probe,
    /// Not before this has passed.
    Wait(Duration),
}

impl Breaker {
    /// Whether the target may be asked now.
    #[must_use]
    pub fn may(&self, now: Duration) -> May {
        if self.failures == 0 {
            May::Go
        } else if self.is_open() && now < self.until {
            May::Wait(self.until.saturating_sub(now))
        } else {
            May::Probe
        }
    }

    /// Whether it is left alone between tries.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.failures >= OPENS
    }

    /// Whether its last answer was none.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// It did not answer. Gives the pause; `first` is that after the first failure, `random` is
    /// from 0 to 1.
    pub fn failed(&mut self, now: Duration, first: Duration, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = pause(self.failures, first, random);
        self.until = now + pause;
        pause
    }

    /// It answered, or is to be asked as if it had.
    pub fn closed(&mut self) {
        *self = Self::default();
    }
}

/// The pause after `count` failures in a row: doubled each time, between half and all of it by
/// `random` (0 to 1), so that what failed together does not come back together.
#[must_use]
pub fn pause(count: u32, first: Duration, random: f64) -> Duration {
    let doubled = first
        .saturating_mul(1 << count.saturating_sub(1).min(20))
        .min(LONGEST);
    doubled.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// A period with up to a fifth taken off, so that settled targets spread out.
#[must_use]
pub fn spread(period: Duration, random: f64) -> Duration {
    period.mul_f64(1.0 - random.clamp(0.0, 1.0) / 5.0)
}

/// The first look after a start, somewhere in the period: what was started together, and
/// looked at together once, is not looked at together for ever.
#[must_use]
pub fn scattered(period: Duration, random: f64) -> Duration {
    period.mul_f64(0.1 + random.clamp(0.0, 1.0) * 0.9)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_secs(1);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_jitter_halves_at_most() {
        assert_eq!(pause(1, FIRST, 1.0), seconds(1));
        assert_eq!(pause(4, FIRST, 1.0), seconds(8));
        assert_eq!(pause(4, FIRST, 0.0), seconds(4));
        assert_eq!(pause(60, FIRST, 1.0), LONGEST);
    }

    #[test]
    fn what_failed_a_few_times_is_asked_for_whatever_is_new_and_then_left_alone() {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.may(seconds(0)), May::Go);
        breaker.failed(seconds(0), FIRST, 1.0);
        breaker.failed(seconds(1), FIRST, 1.0);
        assert_eq!(breaker.may(seconds(1)), May::Probe);
        assert!(!breaker.is_open());
        assert_eq!(breaker.failed(seconds(3), FIRST, 1.0), seconds(4));
        assert!(breaker.is_open());
        assert_eq!(breaker.may(seconds(3)), May::Wait(seconds(4)));
        assert_eq!(breaker.may(seconds(6)), May::Wait(seconds(1)));
        assert_eq!(breaker.may(seconds(7)), May::Probe);
    }

    #[test]
    fn one_answer_ends_it_and_failures_begin_anew() {
        let mut breaker = Breaker::default();
        for at in 0..10 {
            breaker.failed(seconds(at), FIRST, 1.0);
        }
        breaker.closed();
        assert_eq!(breaker.may(seconds(10)), May::Go);
        assert_eq!(breaker.failed(seconds(10), FIRST, 1.0), FIRST);
    }

    #[test]
    fn a_first_look_falls_anywhere_in_the_period() {
        assert_eq!(scattered(seconds(100), 0.0), seconds(10));
        assert_eq!(scattered(seconds(100), 1.0), seconds(100));
        assert_eq!(spread(seconds(100), 1.0), seconds(80));
        assert_eq!(spread(seconds(100), 0.0), seconds(100));
    }

    proptest! {
        #[test]
        fn a_dead_target_is_asked_ever_less_and_never_less_than_every_five_minutes(
            randoms in proptest::collection::vec(0.0..1.0f64, 20..60),
            wakes in proptest::collection::vec(0..400u64, 0..200),
        ) {
            let mut breaker = Breaker::default();
            let mut now = Duration::ZERO;
            let mut tries = Vec::new();
            let mut wakes = wakes.into_iter();
            for random in randoms {
                // Whatever is new in between, it is not asked before its time.
                for wake in wakes.by_ref().take(3) {
                    let early = now + Duration::from_millis(wake);
                    if let May::Wait(left) = breaker.may(early) {
                        prop_assert!(left <= LONGEST);
                        prop_assert!(matches!(breaker.may(early + left), May::Probe));
                    }
                }
                if let May::Wait(left) = breaker.may(now) {
                    now += left;
                }
                tries.push(now);
                breaker.failed(now, FIRST, random);
            }
            for pair in tries.windows(2).skip(20) {
                let gap = pair[1] - pair[0];
                prop_assert!(gap <= LONGEST && gap >= LONGEST / 2, "{gap:?}");
            }
        }
    }
}
