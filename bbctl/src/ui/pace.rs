//! Turns what happens into when the screen is drawn: at once for a person, and for the server at
//! most so often.

use std::time::Duration;

/// When the screen was drawn last, and whether it is to be drawn again. Times are since any moment.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    drawn: Duration,
    due: Due,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing has changed.
    Not,
    /// Something has, and nobody waits for it.
    Later,
    /// Somebody waits.
    Now,
}

impl Pace {
    /// The screen was drawn just now.
    #[must_use]
    pub const fn drawn(now: Duration) -> Self {
        let due = Due::Not;
        Self { drawn: now, due }
    }

    /// The server told something, or time has passed.
    pub fn changed(&mut self) {
        if self.due == Due::Not {
            self.due = Due::Later;
        }
    }

    /// Somebody pressed a key or waits for an answer.
    pub fn hurry(&mut self) {
        self.due = Due::Now;
    }

    /// When the screen is to be drawn, given how long it rests between two drawings that nobody
    /// waits for; none: not before something changes.
    #[must_use]
    pub fn next(&self, rest: Duration) -> Option<Duration> {
        match self.due {
            Due::Not => None,
            Due::Later => Some(self.drawn + rest),
            Due::Now => Some(self.drawn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_millis(250);

    /// How often the screen is drawn when something changes at these moments, in milliseconds.
    fn drawings(changes: impl Iterator<Item = u64>) -> u32 {
        let mut pace = Pace::drawn(Duration::ZERO);
        let mut count = 0;
        for at in changes {
            let now = Duration::from_millis(at);
            if pace.next(REST).is_some_and(|due| due <= now) {
                pace = Pace::drawn(now);
                count += 1;
            }
            pace.changed();
        }
        count + u32::from(pace.next(REST).is_some())
    }

    #[test]
    fn a_burst_is_drawn_once_and_a_stream_four_times_a_second() {
        assert_eq!(drawings(std::iter::repeat_n(7, 10_000)), 1);
        assert_eq!(drawings((0..10_000).step_by(10)), 40);
        assert_eq!(drawings(std::iter::empty()), 0);
    }

    #[test]
    fn who_waits_sees_it_at_once() {
        let now = Duration::from_secs(9);
        let mut pace = Pace::drawn(now);
        assert_eq!(pace.next(REST), None);
        pace.changed();
        assert_eq!(pace.next(REST), Some(now + REST));
        pace.hurry();
        pace.changed();
        assert_eq!(pace.next(REST), Some(now));
    }
}
