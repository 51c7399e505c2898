//! Turns each call that passes into one entry of a journal in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use sha2::{Digest as _, Sha256};

/// What a caller sent: what rules look at.
#[derive(Clone)]
pub struct Asked {
    /// The HTTP method.
    pub method: Method,
    /// The path as sent, without its query.
    pub path: String,
    /// The query as sent, without the question mark; empty when there is none.
    pub query: String,
    /// The headers as sent.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl std::fmt::Debug for Asked {
    /// Bodies and headers carry secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.target())
    }
}

impl Asked {
    /// The path with its query.
    #[must_use]
    pub fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }

    /// A header, when it is text; else nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as text, with a replacement for what is none.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How a call ended, as far as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is under way or held.
    Open,
    /// The upstream's answer was passed on; its status. The answer may still be streaming.
    Answered(u16),
    /// The proxy answered by itself with this status; the upstream saw nothing.
    Instead(u16),
    /// Closed before the upstream saw it.
    CutBefore,
    /// Closed after the upstream had answered with this status.
    CutAfter(u16),
    /// The upstream could not be reached, or broke off.
    Failed,
    /// The caller hung up first.
    Left,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number at this proxy, from 1 in the order of arrival.
    pub seq: u64,
    /// When it had arrived, since the proxy's start.
    pub at: Duration,
    /// When the answer began, since the proxy's start; none while there is none.
    pub ended: Option<Duration>,
    /// Where it came from: one connection, one address.
    pub peer: SocketAddr,
    /// The caller's user agent; empty when it gave none.
    pub agent: String,
    /// What was asked.
    pub asked: Asked,
    /// SHA-256 of the body, in hexadecimal digits.
    pub digest: String,
    /// How it ended.
    pub end: End,
}

/// The calls of one proxy; clones share them.
#[derive(Clone)]
pub(crate) struct Calls {
    begun: Instant,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    calls: BTreeMap<u64, Call>,
    last: u64,
    open: usize,
    most: usize,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            kept: Arc::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call; it counts as open until its [`Entry`] is dropped.
    pub(crate) fn enter(&self, peer: SocketAddr, asked: &Asked) -> Entry {
        let digest = Sha256::digest(&asked.body);
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut kept = self.kept();
        kept.last += 1;
        kept.open += 1;
        kept.most = kept.most.max(kept.open);
        let seq = kept.last;
        let call = Call {
            seq,
            at: self.begun.elapsed(),
            ended: None,
            peer,
            agent: asked.header("user-agent").to_owned(),
            asked: asked.clone(),
            digest,
            end: End::Open,
        };
        kept.calls.insert(seq, call);
        Entry {
            calls: self.clone(),
            seq,
        }
    }

    pub(crate) fn hold(&self, holds: impl FnMut(&Call) -> bool) -> bool {
        // The latest first: what is wanted of calls is mostly a matter of these.
        self.kept().calls.values().rev().all(holds)
    }

    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        self.kept().calls.values().cloned().collect()
    }

    /// Forgets the calls that ended, and the greatest number at once.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept();
        kept.calls.retain(|_, call| call.end == End::Open);
        kept.most = kept.open;
    }

    pub(crate) fn most(&self) -> usize {
        self.kept().most
    }
}

/// A call that is under way.
pub(crate) struct Entry {
    calls: Calls,
    seq: u64,
}

impl Entry {
    pub(crate) fn call(&self) -> Option<Call> {
        self.calls.kept().calls.get(&self.seq).cloned()
    }

    pub(crate) fn end(&self, end: End) {
        let now = self.calls.begun.elapsed();
        if let Some(call) = self.calls.kept().calls.get_mut(&self.seq) {
            call.end = end;
            call.ended = Some(now);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let now = self.calls.begun.elapsed();
        let mut kept = self.calls.kept();
        kept.open -= 1;
        if let Some(call) = kept.calls.get_mut(&self.seq)
            && call.end == End::Open
        {
            call.end = End::Left;
            call.ended = Some(now);
        }
    }
}
