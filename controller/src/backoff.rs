//! Turns failures in a row into a pause that grows, with jitter.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// No pause is longer: a target that is back is found within five minutes.
const LONGEST: Duration = Duration::from_secs(300);

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

/// The pause after `count` failures: doubled each time, between half and all of it by `random`
/// (0 to 1), so that targets that failed together do not come back together.
pub(crate) fn pause(count: u32, first: Duration, random: f64) -> Duration {
    let doubled = first
        .saturating_mul(1 << count.saturating_sub(1).min(20))
        .min(LONGEST);
    doubled.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// A period with up to a fifth taken off, so that settled targets spread out.
pub(crate) fn spread(period: Duration, random: f64) -> Duration {
    period.mul_f64(1.0 - random.clamp(0.0, 1.0) / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_jitter_halves_at_most() {
        let first = Duration::from_secs(1);
        assert_eq!(pause(1, first, 1.0), Duration::from_secs(1));
        assert_eq!(pause(4, first, 1.0), Duration::from_secs(8));
        assert_eq!(pause(4, first, 0.0), Duration::from_secs(4));
        assert_eq!(pause(60, first, 1.0), LONGEST);
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
