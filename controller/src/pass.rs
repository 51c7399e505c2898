//! Turns the end of a pass over a target into when the next one is due.

use std::time::Duration;

use crate::backoff::spread;
use crate::shared::Shared;

/// Why a pass over a target ended early. What went wrong is on the board, for the objects'
/// conditions; here it only decides when to come back.
#[derive(Debug, thiserror::Error)]
#[error("the pass over {target} ended early")]
pub(crate) struct PassFailed {
    pub(crate) target: String,
}

/// When to look again at a target that has nothing to do.
pub(crate) fn settled(shared: &Shared) -> Duration {
    spread(shared.args.poll(), rand::random())
}
