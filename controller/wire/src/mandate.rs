//! Turns the loss of leadership into requests that are not sent.
//!
//! A Lease keeps no stalled process from sending what it had begun. So each client asks here
//! just before it sends a write, and once more when a connection for it is made; whose mandate
//! has run out sends none, also one that was stopped for an hour in between.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tower::{BoxError, Layer, Service};

/// The right to write, until a moment that whoever holds the Lease moves on. Clones are the same
/// right. Its clock goes on while the process is stopped (`CLOCK_MONOTONIC`).
#[derive(Clone, Debug)]
pub struct Mandate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    holder: String,
    began: Instant,
    /// Microseconds after `began`; the largest is no end.
    until: AtomicU64,
}

/// Nothing was sent: another process may lead by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is sent: this process does not lead any more")]
pub struct Ended;

impl Default for Mandate {
    /// A right without an end, for who writes alone.
    fn default() -> Self {
        let mandate = Self::new("");
        mandate.0.until.store(u64::MAX, Ordering::SeqCst);
        mandate
    }
}

impl PartialEq for Mandate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Mandate {}

impl Mandate {
    /// A right that has yet to be given to `holder`, the name that requests carry along.
    #[must_use]
    pub fn new(holder: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            holder: holder.into(),
            began: Instant::now(),
            until: AtomicU64::new(0),
        }))
    }

    /// Gives it until `until`, where that is later than what was given before.
    pub fn extend(&self, until: Instant) {
        let after = until.saturating_duration_since(self.0.began);
        let after = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.0.until.fetch_max(after, Ordering::SeqCst);
    }

    /// Gives it without an end.
    pub fn extend_forever(&self) {
        self.0.until.store(u64::MAX, Ordering::SeqCst);
    }

    /// Takes it away.
    pub fn end(&self) {
        self.0.until.store(0, Ordering::SeqCst);
    }

    /// Whether a write may be sent now.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self) -> Result<(), Ended> {
        let until = self.0.until.load(Ordering::SeqCst);
        let holds = until == u64::MAX || self.0.began.elapsed() < Duration::from_micros(until);
        if holds { Ok(()) } else { Err(Ended) }
    }

    /// What requests say of who sends them, as the header `User-Agent`.
    #[must_use]
    pub fn agent(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        if self.0.holder.is_empty() {
            return format!("bitbuilder/{version}");
        }
        format!("bitbuilder/{version} ({})", self.0.holder)
    }
}

impl<S> Layer<S> for Mandate {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Connector<S> {
        let mandate = self.clone();
        Connector { inner, mandate }
    }
}

/// What makes connections, and gives none to who may not write when it is there: a handshake
/// takes long enough for a mandate to end.
#[derive(Clone, Debug)]
pub struct Connector<S> {
    inner: S,
    mandate: Mandate,
}

impl<S, R> Service<R> for Connector<S>
where
    S: Service<R, Error = BoxError>,
    S::Response: Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connection = self.inner.call(request);
        let mandate = self.mandate.clone();
        Box::pin(async move {
            let connection = connection.await?;
            mandate.check()?;
            Ok(connection)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_given_moved_on_and_taken_away() {
        let mandate = Mandate::new("pod-1");
        let twin = mandate.clone();
        assert_eq!(twin.check(), Err(Ended));
        mandate.extend(Instant::now() + Duration::from_secs(60));
        assert_eq!(twin.check(), Ok(()));
        // An earlier end takes nothing away.
        mandate.extend(Instant::now());
        assert_eq!(twin.check(), Ok(()));
        mandate.end();
        assert_eq!(twin.check(), Err(Ended));
        assert_eq!(Mandate::default().check(), Ok(()));
    }

    #[test]
    fn a_right_that_is_not_moved_on_ends_by_itself() {
        let mandate = Mandate::new("pod-1");
        mandate.extend(Instant::now());
        assert_eq!(mandate.check(), Err(Ended));
    }

    #[test]
    fn requests_say_who_sends_them() {
        let version = env!("CARGO_PKG_VERSION");
        let agent = Mandate::new("pod-1").agent();
        assert_eq!(agent, format!("bitbuilder/{version} (pod-1)"));
        assert_eq!(Mandate::default().agent(), format!("bitbuilder/{version}"));
    }
}
