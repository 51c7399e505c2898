//! Turns "please stop" into something any number of tasks can wait for.

use std::sync::Arc;
use tokio::sync::watch;

/// A signal that is given once and stays given. Clones share it.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// A signal not given yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Gives the signal. Giving it again changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the signal was given, at once if it already was.
    pub async fn stopped(&self) {
        let mut seen = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot end by its loss.
        let _ = seen.wait_for(|given| *given).await;
    }
}
