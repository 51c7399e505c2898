//! Turns "hold it there" from a test into a wait of whatever comes by.

use tokio::sync::watch;

/// Open at first. While closed, whatever wants to pass waits.
#[derive(Debug)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Gate {
    /// Closes the gate.
    pub(crate) fn close(&self) {
        self.0.send_replace(false);
    }

    /// Opens it for all who wait.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Returns while the gate is open, else once it opens.
    pub(crate) async fn passed(&self) {
        // The sender lives in `self`, so waiting cannot end by its loss.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}
