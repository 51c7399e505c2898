//! Turns the end of a pass over a target into when the next one is due.

use std::time::Duration;

use bb_core::breaker::{scattered, spread};
use bb_core::outcome::{Contact, Outcomes};
use bb_wire::Rate;

use crate::shared::Shared;

/// When the next pass over a target is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum After {
    /// There is nothing to do; it is looked at again after this long.
    Settled(Duration),
    /// Something is under way, or left to do.
    Soon(Duration),
}

/// Why a pass over a target ended early. What went wrong is on the board, for the objects'
/// conditions; here it only decides when to come back.
#[derive(Debug, thiserror::Error)]
#[error("the pass over {target} ended early")]
pub(crate) struct PassFailed {
    pub(crate) target: String,
    /// When to come back, where that is decided.
    pub(crate) pause: Option<Duration>,
}

impl PassFailed {
    /// The target answered, and did not do all that it should.
    pub(crate) fn not_taken(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            pause: None,
        }
    }

    /// The target did not answer, or refuses us. What is told of it changes once when that
    /// begins and once when it is left alone, not with every try.
    pub(crate) fn no_contact(
        shared: &Shared,
        target: &str,
        contact: Contact,
        lost: impl FnOnce(&mut Outcomes, Contact, bool),
    ) -> Self {
        let first = Duration::from_millis(shared.args.backoff);
        let (pause, open) = shared.breakers.failed(target, first, rand::random());
        tracing::warn!(target, ?contact, ?pause, "no contact");
        shared.found(|outcomes| lost(outcomes, contact, open));
        Self {
            target: target.to_owned(),
            pause: Some(pause),
        }
    }
}

/// How fast a target is asked, from the numbers of its Provider.
pub(crate) fn rate(per_second: i32, burst: i32) -> Rate {
    let positive = |number: i32| u32::try_from(number).unwrap_or(1).max(1);
    Rate {
        per_second: positive(per_second),
        burst: positive(burst),
    }
}

/// When to look again at a target that has nothing to do.
pub(crate) fn settled(shared: &Shared) -> Duration {
    let poll = shared.args.poll();
    if shared.breakers.age() < poll {
        scattered(poll, rand::random())
    } else {
        spread(poll, rand::random())
    }
}
