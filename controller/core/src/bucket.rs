//! Turns requests into the moments at which they may be sent: so many a second, and so many at once.

use std::time::Duration;

/// How fast a target may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second, on average.
    pub per_second: u32,
    /// Requests at once, after a time without any.
    pub burst: u32,
}

/// A bucket of requests that fills by the second. Times are since any moment in the past, the
/// same for all calls.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    /// When the bucket is full again, if nothing more is taken.
    full: Duration,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            full: Duration::ZERO,
        }
    }

    /// Another rate, from the next request on.
    pub fn set(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Takes a request out. It may be sent after the pause that this gives.
    #[must_use]
    pub fn take(&mut self, now: Duration) -> Duration {
        let each = self.each();
        let full = self.full.max(now) + each;
        self.full = full;
        full.saturating_sub(now + each * self.rate.burst.max(1))
    }

    /// The target has too much to do: nothing is sent before `pause` has passed, and then slowly.
    pub fn hold(&mut self, now: Duration, pause: Duration) {
        let each = self.each();
        let empty = now + pause + each * self.rate.burst.max(1).saturating_sub(1);
        self.full = self.full.max(empty);
    }

    fn each(&self) -> Duration {
        Duration::from_secs(1) / self.rate.per_second.max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 3,
    };

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_by_the_second() {
        let mut bucket = Bucket::new(RATE);
        let pauses: Vec<Duration> = (0..5).map(|_| bucket.take(millis(0))).collect();
        assert_eq!(pauses, [0, 0, 0, 100, 200].map(millis));
        assert_eq!(bucket.take(millis(600)), millis(0));
        bucket.set(Rate {
            per_second: 1,
            burst: 1,
        });
        assert_eq!(bucket.take(millis(10_000)), millis(0));
        assert_eq!(bucket.take(millis(10_000)), millis(1000));
    }

    #[test]
    fn a_target_that_has_too_much_to_do_is_left_alone_and_then_asked_slowly() {
        let mut bucket = Bucket::new(RATE);
        bucket.hold(millis(0), millis(2000));
        assert_eq!(bucket.take(millis(0)), millis(2000));
        assert_eq!(bucket.take(millis(0)), millis(2100));
        assert_eq!(bucket.take(millis(60_000)), millis(0));
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_the_rate_and_a_burst(
            per_second in 1..100u32,
            burst in 1..50u32,
            gaps in proptest::collection::vec(0..300u64, 1..150),
        ) {
            let mut bucket = Bucket::new(Rate { per_second, burst });
            let mut now = Duration::ZERO;
            let mut sent: Vec<Duration> = Vec::new();
            for gap in gaps {
                now += millis(gap);
                sent.push(now + bucket.take(now));
            }
            for (at, from) in sent.iter().enumerate() {
                for (later, to) in sent.iter().enumerate().skip(at) {
                    let most = f64::from(burst)
                        + (*to - *from).as_secs_f64() * f64::from(per_second);
                    prop_assert!((later - at + 1) as f64 <= most + 1e-3);
                }
            }
        }

        #[test]
        fn who_is_slower_than_the_rate_never_waits(
            per_second in 1..100u32,
            extra in proptest::collection::vec(0..100u64, 1..50),
        ) {
            let mut bucket = Bucket::new(Rate { per_second, burst: 1 });
            let mut now = Duration::ZERO;
            for extra in extra {
                prop_assert_eq!(bucket.take(now), Duration::ZERO);
                now += Duration::from_secs(1) / per_second + millis(extra);
            }
        }
    }
}
