//! Turns a call into one that stands still until a test has looked at it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, oneshot};

use crate::call::Call;
use crate::rule::Rules;

/// Where a call is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// The upstream has not seen it.
    Before,
    /// The upstream has answered, the caller does not know yet.
    After,
}

/// Waits for the calls that it holds. Dropped, it holds no more of them.
pub struct Gate {
    pub(crate) rules: Rules,
    pub(crate) id: u64,
    pub(crate) held: mpsc::UnboundedReceiver<Held>,
}

impl Gate {
    /// Waits until a call is held.
    ///
    /// # Errors
    /// When none comes within the bound.
    pub async fn held(&mut self, bound: Duration) -> Result<Held> {
        tokio::time::timeout(bound, self.held.recv())
            .await
            .with_context(|| format!("no such call within {bound:?}"))?
            .context("the proxy has ended")
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.rules.remove(self.id);
    }
}

/// A call that stands still. Dropped, it is cut.
#[derive(Debug)]
pub struct Held {
    /// The call.
    pub call: Call,
    /// What the upstream answered, when it did.
    pub status: Option<u16>,
    pub(crate) verdict: oneshot::Sender<()>,
}

impl Held {
    /// Lets it go on as if nothing had been.
    pub fn release(self) {
        // The caller may have left meanwhile: then nobody waits for this.
        let _ = self.verdict.send(());
    }

    /// Closes its connection.
    pub fn cut(self) {
        drop(self);
    }
}
