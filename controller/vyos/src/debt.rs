//! Turns "a change is sent" into a record that outlives this process, until the change is saved.
//!
//! A router starts from what was saved last, and its API has no read that tells whether what runs
//! is that. Who sends a change and dies before the save would leave it running until the next
//! reboot and no longer; so that a save is owed is recorded first, where the next one finds it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::RouterError;

/// Where it is recorded whether a router runs what it has not saved.
pub trait Ledger: Send + Sync {
    /// Records that a save is owed, or that none is. Says why it could not be recorded.
    fn record(&self, owed: bool) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// What is recorded of one router.
pub(crate) struct Debt {
    ledger: Arc<dyn Ledger>,
    owed: AtomicBool,
}

impl Debt {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, owed: bool) -> Self {
        Self {
            ledger,
            owed: AtomicBool::new(owed),
        }
    }

    pub(crate) fn is_owed(&self) -> bool {
        self.owed.load(Ordering::SeqCst)
    }

    /// Has it recorded, unless it is. Nothing may be sent when this fails.
    pub(crate) async fn owe(&self) -> Result<(), RouterError> {
        if !self.is_owed() {
            let recorded = self.ledger.record(true).await;
            recorded.map_err(|text| RouterError::Unrecorded { text })?;
            self.owed.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Has it recorded that nothing is owed. Where that fails it stands as owed: one save more
    /// is made, which changes nothing.
    pub(crate) async fn paid(&self) {
        if self.is_owed() {
            match self.ledger.record(false).await {
                Ok(()) => self.owed.store(false, Ordering::SeqCst),
                Err(error) => tracing::warn!(error, "cannot record that a router is saved"),
            }
        }
    }
}
