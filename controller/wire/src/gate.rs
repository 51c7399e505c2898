//! Turns a rate into waiting: whoever wants to send passes here first.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bb_core::bucket::{Bucket, Rate};
use tokio::time::Instant;

/// What a target is asked at most before anybody says otherwise.
const USUAL: Rate = Rate {
    per_second: 50,
    burst: 100,
};
/// How long a target is left alone that has too much to do and does not say for how long.
const HOLD: Duration = Duration::from_secs(1);
/// No target is left alone for longer on its own word.
const LONGEST: Duration = Duration::from_secs(60);

/// One target's gate.
#[derive(Debug)]
pub struct Gate {
    began: Instant,
    bucket: Mutex<Bucket>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            bucket: Mutex::new(Bucket::new(USUAL)),
        }
    }
}

impl Gate {
    fn with<T>(&self, work: impl FnOnce(&mut Bucket, Duration) -> T) -> T {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut bucket, self.began.elapsed())
    }

    /// How fast it lets pass from now on.
    pub fn set(&self, rate: Rate) {
        self.with(|bucket, _| bucket.set(rate));
    }

    /// Waits until it is one's turn to send.
    pub async fn pass(&self) {
        let pause = self.with(Bucket::take);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes note of an answer: 429 and 503 are pleas for a pause, `after` what the header
    /// `Retry-After` says, in seconds.
    pub fn answered(&self, status: u16, after: Option<&str>) {
        if status == 429 || status == 503 {
            let seconds = after.and_then(|text| text.trim().parse().ok());
            let pause = seconds.map_or(HOLD, Duration::from_secs).min(LONGEST);
            self.with(|bucket, now| bucket.hold(now, pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_plea_for_a_pause_is_heard_and_kept_to() {
        let gate = Gate::default();
        let took = |begun: Instant| begun.elapsed();
        let begun = Instant::now();
        gate.pass().await;
        gate.answered(200, None);
        gate.answered(404, Some("9"));
        gate.pass().await;
        assert!(took(begun) < Duration::from_millis(100));
        gate.answered(429, Some(" 7"));
        gate.pass().await;
        assert!(took(begun) > Duration::from_secs(6));
        let begun = Instant::now();
        gate.answered(503, Some("99999999"));
        gate.pass().await;
        assert!(took(begun) > Duration::from_secs(50) && took(begun) < Duration::from_secs(80));
    }
}
