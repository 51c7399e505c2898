//! Turns one call into one request and its reply, or into what the loss of the reply means.

use std::error::Error;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bb_wire::{Distrusted, Gate, Mandate, Observer, Rate, Request, Secret, trace};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method};
use tracing::field::Empty;
use tracing::{Instrument as _, Span, debug, info, info_span};

use crate::endpoint::{Counts, Endpoint, Limits, base_url};
use crate::error::RouterError;
use crate::reply::Reply;
use crate::text::Mask;

/// The way to one router.
pub(crate) struct Transport {
    name: String,
    url: String,
    key: Secret,
    client: Client,
    sent: Sent,
    gate: Gate,
    mandate: Mandate,
    observer: OnceLock<Observer>,
}

#[derive(Default)]
struct Sent {
    reads: AtomicU64,
    configures: AtomicU64,
    saves: AtomicU64,
    others: AtomicU64,
}

/// One request, before it is sent.
pub(crate) struct Call {
    pub(crate) path: &'static str,
    pub(crate) method: Method,
    pub(crate) body: Option<String>,
    /// From the connection's first packet to the answer's last.
    pub(crate) deadline: Duration,
}

impl Transport {
    /// Prepares the way; nothing is sent. The error says what is wrong with the endpoint.
    pub(crate) fn new(
        endpoint: Endpoint,
        limits: &Limits,
        mandate: Mandate,
    ) -> Result<Self, String> {
        let Endpoint {
            name,
            url,
            key,
            trust,
        } = endpoint;
        let url = base_url(&url)?;
        if key.reveal().trim().is_empty() {
            return Err("the API key is empty".to_owned());
        }
        let tls = trust.client_config().map_err(|error| error.to_string())?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // A router is reached directly or not at all.
            .no_proxy()
            // A connection per request: whether an error came before or after the request was
            // sent is then certain, which with a connection that the router closes meanwhile it
            // is not. A handshake is nothing beside a commit.
            .pool_max_idle_per_host(0)
            .connect_timeout(limits.connect)
            .tcp_keepalive(Duration::from_secs(30))
            .tcp_keepalive_interval(Duration::from_secs(10))
            .tcp_keepalive_retries(3)
            .user_agent(mandate.agent())
            .connector_layer(mandate.clone())
            .build()
            .map_err(|error| innermost(&error))?;
        Ok(Self {
            name,
            url,
            key,
            client,
            sent: Sent::default(),
            gate: Gate::default(),
            mandate,
            observer: OnceLock::new(),
        })
    }

    /// How fast it is asked from now on.
    pub(crate) fn pace(&self, rate: Rate) {
        self.gate.set(rate);
    }

    /// Has every request told to `observer`; the first who asks is told.
    pub(crate) fn tell(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    /// How people call the router.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The key that is sent along.
    pub(crate) fn key(&self) -> &str {
        self.key.reveal()
    }

    /// What was sent so far.
    pub(crate) fn counts(&self) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            reads: load(&self.sent.reads),
            configures: load(&self.sent.configures),
            saves: load(&self.sent.saves),
            others: load(&self.sent.others),
        }
    }

    /// Sends the call on a connection of its own and reads the whole answer.
    pub(crate) async fn exchange(&self, call: Call) -> Result<Reply, RouterError> {
        let Call {
            path,
            method,
            body,
            deadline,
        } = call;
        let count = match path {
            "/retrieve" => &self.sent.reads,
            "/configure" => &self.sent.configures,
            "/config-file" => &self.sent.saves,
            _ => &self.sent.others,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.gate.pass().await;
        if changes(path)
            && let Err(ended) = self.mandate.check()
        {
            return Err(RouterError::Unreachable {
                url: self.url.clone(),
                text: ended.to_string(),
            });
        }
        let begun = Instant::now();
        let sent = body.as_ref().map_or(0, String::len);
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .timeout(deadline);
        let span = info_span!(
            "router request",
            router = self.name,
            call = path,
            status = Empty
        );
        // Nobody there looks at it; who reads the log of a proxy, or of the lab, finds the pass by it.
        if let Some(header) = span.in_scope(trace::header) {
            request = request.header("traceparent", header);
        }
        if let Some(body) = body {
            let form = "application/x-www-form-urlencoded";
            request = request.header(CONTENT_TYPE, form).body(body);
        }
        let answer = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get(RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok());
            self.gate.answered(status, retry_after);
            let bytes = response.bytes().await?;
            Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
        };
        let told = async {
            let answer: Result<(u16, String), reqwest::Error> = answer.await;
            self.told(
                path,
                answer.as_ref().map_or(0, |(status, _)| *status),
                begun,
                sent,
            );
            answer
        };
        let answer = told.instrument(span).await;
        let took = begun.elapsed();
        match answer {
            Ok((status, body)) => Ok(Reply { status, body, sent }),
            Err(error) => Err(self.lost(&error, path, took)),
        }
    }

    /// Tells of a request: of one that may have changed something always, of others to who wants
    /// to know everything.
    fn told(&self, name: &'static str, status: u16, begun: Instant, bytes: usize) {
        Span::current().record("status", status);
        let write = changes(name);
        let took = begun.elapsed();
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if write {
            info!(router = self.name, path = name, status, ms, bytes, "asked");
        } else {
            debug!(router = self.name, path = name, status, ms, bytes, "asked");
        }
        if let Some(observer) = self.observer.get() {
            observer(&Request {
                name,
                write,
                status,
                took,
            });
        }
    }

    /// What it means that there is no answer.
    fn lost(&self, error: &reqwest::Error, path: &str, took: Duration) -> RouterError {
        let url = self.url.clone();
        if let Some(Distrusted { seen, why }) = Distrusted::find(error).cloned() {
            return RouterError::Untrusted { url, seen, why };
        }
        let mask = Mask::new([self.key.reveal()]);
        let text = if error.is_timeout() && !error.is_connect() {
            let seconds = took.as_secs_f64();
            format!(
                "no answer to {path} within {seconds:.1} s; if that goes on, restart its API: `sudo systemctl restart vyos-http-api`"
            )
        } else {
            mask.line(&innermost(error))
        };
        if error.is_connect() || !changes(path) {
            RouterError::Unreachable { url, text }
        } else {
            RouterError::Unknown { text }
        }
    }
}

/// Whether a request to this path changes a router.
fn changes(path: &str) -> bool {
    matches!(path, "/configure" | "/config-file")
}

/// The cause at the bottom of the chain, which is the one that says something.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
