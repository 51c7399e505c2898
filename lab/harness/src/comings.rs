//! Turns the ends and starts of an API server into the times in which it was coming up.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The times in which an API server that had been ended was not ready yet. One that comes up
/// knows no rules of RBAC for a moment, and forbids everything to everybody.
#[derive(Debug, Default)]
pub(crate) struct Comings(Mutex<Vec<Coming>>);

/// From when an API server was ended until it was ready; no end while it is not.
pub type Coming = (SystemTime, Option<SystemTime>);

impl Comings {
    /// It is ended now.
    pub(crate) fn ended(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Ended once more before it was ready: the same time goes on.
        if all.last().is_none_or(|(_, ready)| ready.is_some()) {
            all.push((SystemTime::now(), None));
        }
    }

    /// It is ready now.
    pub(crate) fn ready(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, ready)) = all.last_mut() {
            ready.get_or_insert_with(SystemTime::now);
        }
    }

    pub(crate) fn all(&self) -> Vec<Coming> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_begins_a_time_that_ends_when_it_is_ready() {
        let comings = Comings::default();
        // The first start comes after no end.
        comings.ready();
        assert!(comings.all().is_empty());
        comings.ended();
        comings.ended();
        let [(_, None)] = comings.all()[..] else {
            panic!("{comings:?}");
        };
        comings.ready();
        let first = comings.all();
        comings.ready();
        assert_eq!(comings.all(), first);
        let [(from, Some(to))] = first[..] else {
            panic!("{comings:?}");
        };
        assert!(from <= to);
        comings.ended();
        assert_eq!(comings.all().len(), 2);
    }
}
