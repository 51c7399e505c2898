//! Turns calls to a cluster into requests to the node that answers, logged in and counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bb_wire::{Gate, Observer, Rate, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, debug, info, info_span};

use crate::endpoint::{Credentials, Endpoint};
use crate::error::{Class, ClusterError};
use crate::json;
use crate::transport::{self, Call, Data, Sent};

/// A ticket lives for two hours; it is renewed at half of that.
const RENEW_AFTER: Duration = Duration::from_secs(3600);

/// Everything but RFC 3986's unreserved characters.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One part of a path, such as a volume id or a UPID.
pub(crate) fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// A Proxmox VE cluster that answers. Clones share everything.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    client: Client,
    bases: Vec<String>,
    /// The base that answered last.
    good: AtomicUsize,
    endpoint: Endpoint,
    ticket: AsyncMutex<Option<Ticket>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    observer: Option<Observer>,
    version: String,
    gate: Gate,
}

struct Ticket {
    cookie: HeaderValue,
    csrf: HeaderValue,
    since: Instant,
}

impl Cluster {
    /// Connects, logs in, and reads the version.
    ///
    /// # Errors
    /// [`ClusterError::Setup`] for what cannot be used as it is, and those of a read.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, ClusterError> {
        Self::observed(endpoint, None).await
    }

    /// As [`Cluster::connect`], with somebody who is told of every request.
    ///
    /// # Errors
    /// As [`Cluster::connect`].
    pub async fn observed(
        endpoint: Endpoint,
        observer: Option<Observer>,
    ) -> Result<Self, ClusterError> {
        endpoint.credentials.check()?;
        let mut inner = Inner {
            client: transport::client(&endpoint)?,
            bases: endpoint.bases()?,
            good: AtomicUsize::new(0),
            endpoint,
            ticket: AsyncMutex::new(None),
            counts: Mutex::new(BTreeMap::new()),
            observer,
            version: String::new(),
            gate: Gate::default(),
        };
        let answer = inner
            .call(&Call::new("GET /version", "/version".to_owned()))
            .await?;
        let answer = json::all_of(answer);
        inner.version = json::text_at(&answer, "version").unwrap_or_default();
        Ok(Self(Arc::new(inner)))
    }

    /// How fast it is asked from now on.
    pub fn pace(&self, rate: Rate) {
        self.0.gate.set(rate);
    }

    /// Asks for next to nothing, to see whether anybody answers.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn probe(&self) -> Result<(), ClusterError> {
        let call = Call::new("GET /version", "/version".to_owned());
        self.0.call(&call).await.map(drop)
    }

    /// The version that the cluster says it runs, such as `9.1.7`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// How many requests were sent since the start, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// `USER@REALM` or `USER@REALM!NAME`, as task lists show it.
    pub(crate) fn identity(&self) -> String {
        self.0.endpoint.credentials.identity()
    }

    pub(crate) async fn call(&self, call: &Call) -> Result<Value, ClusterError> {
        Ok(json::all_of(self.0.call(call).await?))
    }

    /// Makes a call that answers with a list, and looks at its rows one by one.
    pub(crate) async fn each(
        &self,
        call: &Call,
        look: impl FnMut(&Value),
    ) -> Result<(), ClusterError> {
        json::each(self.0.call(call).await?, look);
        Ok(())
    }
}

impl Inner {
    /// Sends a call to the node that answered last, and to the next ones as long as it is
    /// certain that nothing was carried out.
    async fn call(&self, call: &Call) -> Result<Data, ClusterError> {
        let first = self.good.load(Ordering::Relaxed);
        let mut last = None;
        for step in 0..self.bases.len() {
            let at = (first + step) % self.bases.len();
            let Some(base) = self.bases.get(at) else {
                continue;
            };
            let begun = Instant::now();
            let mut result = self.authorized(base, call).await;
            // A read on a connection that the server has just closed is worth one more try; a
            // node that did not answer for long is not.
            if call.class() == Class::Read
                && matches!(result, Err(ClusterError::Unreachable { .. }))
                && begun.elapsed() < Duration::from_secs(1)
            {
                result = self.authorized(base, call).await;
            }
            match result {
                Err(
                    error @ (ClusterError::Unreachable { .. } | ClusterError::Untrusted { .. }),
                ) => last = Some(error),
                other => {
                    self.good.store(at, Ordering::Relaxed);
                    return other;
                }
            }
        }
        Err(last.unwrap_or_else(|| ClusterError::Setup("no endpoint is given".to_owned())))
    }

    /// Sends a call with credentials; a ticket that is refused is got anew once.
    async fn authorized(&self, base: &str, call: &Call) -> Result<Data, ClusterError> {
        let headers = self.headers(base, call.class()).await?;
        let sent = self.send(base, call, &headers).await;
        let by_ticket = matches!(self.endpoint.credentials, Credentials::Password { .. });
        if sent.status != 401 || !by_ticket {
            return sent.result;
        }
        // Unless another call has got a new one meanwhile.
        let used = headers
            .iter()
            .find(|(name, _)| *name == COOKIE)
            .map(|(_, value)| value);
        let mut held = self.ticket.lock().await;
        if held.as_ref().map(|ticket| &ticket.cookie) == used {
            held.take();
        }
        drop(held);
        let headers = self.headers(base, call.class()).await?;
        self.send(base, call, &headers).await.result
    }

    async fn send(&self, base: &str, call: &Call, headers: &[(HeaderName, HeaderValue)]) -> Sent {
        let write = call.class() == Class::Write;
        let deadlines = self.endpoint.deadlines;
        let deadline = if write {
            deadlines.write
        } else {
            deadlines.read
        };
        self.gate.pass().await;
        if write && let Err(ended) = self.endpoint.mandate.check() {
            return Sent::nothing(ClusterError::Unreachable {
                endpoint: base.to_owned(),
                cause: ended.to_string(),
            });
        }
        let begun = Instant::now();
        let span = info_span!(
            "cluster request",
            call = call.name,
            base,
            path = call.path,
            status = Empty
        );
        let sent = async {
            let sent = transport::send(&self.client, base, call, headers, deadline).await;
            Span::current().record("status", sent.status);
            Self::log(base, call, &sent, begun.elapsed());
            sent
        };
        let sent = sent.instrument(span).await;
        self.gate.answered(sent.status, sent.retry_after.as_deref());
        let request = Request {
            name: call.name,
            write,
            status: sent.status,
            took: begun.elapsed(),
        };
        *self
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(call.name)
            .or_default() += 1;
        if let Some(observer) = &self.observer {
            observer(&request);
        }
        sent
    }

    /// Tells of a request: of one that may have changed something always, of others to who wants
    /// to know everything.
    fn log(base: &str, call: &Call, sent: &Sent, took: Duration) {
        let error = sent.result.as_ref().err().map(ToString::to_string);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (method, path, status) = (&call.method, &call.path, sent.status);
        if call.class() == Class::Write {
            info!(%method, base, path, status, ms, error, "sent");
        } else {
            debug!(%method, base, path, status, ms, error, "sent");
        }
    }

    async fn headers(
        &self,
        base: &str,
        class: Class,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, ClusterError> {
        let (user, password) = match &self.endpoint.credentials {
            Credentials::Token(token) => {
                let value = secret_header(&format!("PVEAPIToken={}", token.reveal()))?;
                return Ok(vec![(AUTHORIZATION, value)]);
            }
            Credentials::Password { user, password } => (user, password),
        };
        let mut held = self.ticket.lock().await;
        if held
            .as_ref()
            .is_none_or(|ticket| ticket.since.elapsed() > RENEW_AFTER)
        {
            *held = Some(self.log_in(base, user, password.reveal()).await?);
        }
        let Some(ticket) = held.as_ref() else {
            return Ok(Vec::new());
        };
        let mut headers = vec![(COOKIE, ticket.cookie.clone())];
        if class == Class::Write {
            let name = HeaderName::from_static("csrfpreventiontoken");
            headers.push((name, ticket.csrf.clone()));
        }
        Ok(headers)
    }

    async fn log_in(&self, base: &str, user: &str, password: &str) -> Result<Ticket, ClusterError> {
        let call = Call::new("POST /access/ticket", "/access/ticket".to_owned())
            .with("username", user)
            .with("password", password);
        let answer = match self.send(base, &call, &[]).await.result {
            // A login changes nothing: its outcome does not matter.
            Err(ClusterError::Unknown(cause)) => {
                let endpoint = base.to_owned();
                return Err(ClusterError::Unreachable { endpoint, cause });
            }
            other => json::all_of(other?),
        };
        let missing = || ClusterError::Answer {
            call: call.name.to_owned(),
            why: "it holds no ticket; a second factor cannot be given here".to_owned(),
        };
        let ticket = json::text_at(&answer, "ticket").ok_or_else(missing)?;
        let csrf = json::text_at(&answer, "CSRFPreventionToken").ok_or_else(missing)?;
        Ok(Ticket {
            cookie: secret_header(&format!("PVEAuthCookie={ticket}"))?,
            csrf: secret_header(&csrf)?,
            since: Instant::now(),
        })
    }
}

fn secret_header(text: &str) -> Result<HeaderValue, ClusterError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        ClusterError::Setup("the credentials hold a character that no header may hold".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}
