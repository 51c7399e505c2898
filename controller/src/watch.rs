//! Turns a watch of one kind, however often it breaks, into a cache that is right again soon.
//!
//! One request lists and watches (`sendInitialEvents`). When the server ends it, which it does
//! after `timeout`, the next goes on from there. A watch that *broke* begins with a list: what
//! broke it may have been an etcd that was restored, after which a version of before would be
//! waited for silently, for as long as it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bb_core::breaker::pause;
use bytes::BytesMut;
use futures::StreamExt as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use kube::Client;
use kube::api::WatchParams;
use kube::client::Body;
use kube::core::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::cache::{Cache, Effect};
use crate::kept::{Head, Kept};

/// How much longer than it was asked to the server may take to end a watch.
const GRACE: Duration = Duration::from_secs(5);
/// The first pause after a watch that broke.
const FIRST: Duration = Duration::from_millis(200);
/// No pause is longer: a server that is back is found within ten seconds.
const LONGEST: Duration = Duration::from_secs(10);
/// A watch that lived this long did its work: what broke it is no row of failures.
const GOOD: Duration = Duration::from_secs(10);
/// How long a server that says that it is too busy, and not for how long, is left alone.
const BUSY: Duration = Duration::from_secs(1);
/// No object is longer: etcd takes 1.5 MiB.
const LINE: usize = 16 << 20;
/// Objects per page, where the server cannot list and watch in one.
const PAGE: u32 = 500;

/// What watches came to since the start, over all kinds.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Lists that were begun.
    pub(crate) lists: AtomicU64,
    /// Watches that broke.
    pub(crate) broken: AtomicU64,
    /// Objects that could not be understood, each version once.
    pub(crate) unread: AtomicU64,
}

/// What is told of a cache that changed.
pub(crate) type After<T> = Box<dyn FnMut(&Cache<T>) + Send + Sync>;

/// What fills a cache.
pub(crate) struct Watch<T: Kept> {
    pub(crate) client: Client,
    pub(crate) cache: Arc<Cache<T>>,
    /// Rung when something changed.
    pub(crate) bell: Arc<Notify>,
    /// After this long the server ends a watch.
    pub(crate) timeout: Duration,
    pub(crate) counts: Arc<Counts>,
    /// Told of every event after the first list, when the cache has it.
    pub(crate) after: After<T>,
}

/// Why a watch is over.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error("the server is too busy")]
    Busy { wait: Duration },
    #[error("the server no longer has what came after {version}")]
    Gone { version: String },
    #[error("the server answers {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("it cannot be asked")]
    Unsent(#[source] kube::Error),
    #[error("it broke")]
    Cut(#[source] kube::Error),
    #[error("it is silent")]
    Silent,
    #[error("it ended before all objects were listed")]
    Early,
    #[error("it says what is no event: {0}")]
    Nonsense(String),
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    type_: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    metadata: PageMeta,
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

/// Where a watch is.
#[derive(Debug, Default)]
struct At {
    /// From where the next goes on; none where it begins with a list.
    version: Option<String>,
    /// Failures in a row.
    failed: u32,
    /// The server cannot list and watch in one.
    paged: bool,
}

impl<T: Kept> Watch<T> {
    /// Watches for as long as the process lives.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut at = At::default();
        loop {
            let since = Instant::now();
            let over = self.follow(&mut at).await;
            if since.elapsed() >= GOOD {
                at.failed = 0;
            }
            let Err(over) = over else {
                // A server, or something before it, that ends every watch at once.
                if since.elapsed() < FIRST {
                    tokio::time::sleep(FIRST).await;
                }
                continue;
            };
            let wait = at.after(&over, rand::random());
            self.counts.broken.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                kind = T::KIND,
                error = &over as &dyn std::error::Error,
                ?wait,
                "a watch is begun anew"
            );
            tokio::time::sleep(wait).await;
        }
    }

    /// One watch, from its request to its end. `Ok` where the server ended it in good order.
    async fn follow(&mut self, at: &mut At) -> Result<(), Over> {
        if at.version.is_none() {
            self.counts.lists.fetch_add(1, Ordering::Relaxed);
            if at.paged {
                at.version = Some(self.pages().await?);
            }
        }
        let listing = at.version.is_none();
        // A list that did not come whole gets longer the next time.
        let timeout = if listing {
            self.timeout * (1 + at.failed.min(10))
        } else {
            self.timeout
        };
        let until = Instant::now() + timeout + GRACE;
        let params = WatchParams {
            timeout: Some(u32::try_from(timeout.as_secs()).unwrap_or(60).max(1)),
            bookmarks: true,
            send_initial_events: listing,
            ..WatchParams::default()
        };
        let version = at.version.clone().unwrap_or_default();
        let request = Request::new(T::path())
            .watch(&params, &version)
            .map_err(|error| Over::Unsent(kube::Error::BuildRequest(error)))?;
        let body = match self.send(request, until).await {
            Err(Over::Refused { status, .. })
                if listing && status == StatusCode::UNPROCESSABLE_ENTITY =>
            {
                tracing::info!(kind = T::KIND, "the server lists in pages");
                at.paged = true;
                return Ok(());
            }
            Err(Over::Gone { .. }) => return Err(Over::Gone { version }),
            answer => answer?,
        };
        if listing {
            self.cache.begin();
        }
        self.events(body, until, at).await
    }

    async fn send(&self, request: http::Request<Vec<u8>>, until: Instant) -> Result<Body, Over> {
        let sent = self.client.send(request.map(Body::from));
        let response = timeout_at(until, sent)
            .await
            .map_err(|_| Over::Silent)?
            .map_err(Over::Unsent)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let wait = retry_after(response.headers());
        let text = timeout_at(until, response.into_body().collect_bytes()).await;
        let text = text.ok().and_then(Result::ok).unwrap_or_default();
        Err(match status {
            StatusCode::GONE => Over::Gone {
                version: String::new(),
            },
            StatusCode::TOO_MANY_REQUESTS => Over::Busy {
                wait: wait.unwrap_or(BUSY),
            },
            _ => Over::Refused {
                status,
                text: String::from_utf8_lossy(&text).chars().take(300).collect(),
            },
        })
    }

    async fn events(&mut self, body: Body, until: Instant, at: &mut At) -> Result<(), Over> {
        let mut chunks = body.into_data_stream();
        let mut buffer = BytesMut::new();
        loop {
            let chunk = timeout_at(until, chunks.next())
                .await
                .map_err(|_| Over::Silent)?;
            let Some(chunk) = chunk else {
                // In good order, but for a list that is not whole.
                return at.version.as_ref().map(|_| ()).ok_or(Over::Early);
            };
            let chunk = chunk.map_err(Over::Cut)?;
            // Only what is new can hold the end of a line.
            let mut searched = buffer.len();
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(searched + end + 1);
                searched = 0;
                self.event(&line, at)?;
            }
            if buffer.len() > LINE {
                return Err(Over::Nonsense("a line without end".to_owned()));
            }
        }
    }

    fn event(&mut self, line: &[u8], at: &mut At) -> Result<(), Over> {
        let nonsense = |error: serde_json::Error| Over::Nonsense(error.to_string());
        let event: Event<'_> = serde_json::from_slice(line).map_err(nonsense)?;
        let text = event.object.get();
        if event.type_ == "ERROR" {
            return Err(error_event(text, at.version.as_ref()));
        }
        let head = Head::of(text).map_err(nonsense)?;
        let mut changed = false;
        match event.type_ {
            "ADDED" | "MODIFIED" => changed = self.take_in(&head, text),
            "DELETED" => changed = self.cache.delete(&head) == Effect::Changed,
            "BOOKMARK" if at.version.is_none() && head.ends_the_list() => {
                self.cache.finish();
                changed = true;
                at.version = Some(head.version_text().to_owned());
                tracing::debug!(kind = T::KIND, version = head.version_text(), "listed");
            }
            _ => {}
        }
        if let Some(version) = &mut at.version {
            head.version_text().clone_into(version);
        }
        // While a list comes in nothing is missing: one pass at its end is enough.
        if at.version.is_some() {
            (self.after)(&self.cache);
            if changed {
                self.bell.notify_one();
            }
        }
        Ok(())
    }

    fn take_in(&self, head: &Head, text: &str) -> bool {
        let effect = self.cache.apply(head, text);
        if let Effect::Unread(error) = &effect {
            self.counts.unread.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                kind = T::KIND,
                namespace = head.namespace,
                name = head.name,
                error,
                "an object cannot be understood; it is left as it is"
            );
        }
        effect != Effect::None
    }

    /// Lists page by page, for a server without streaming lists. Gives the list's version.
    async fn pages(&mut self) -> Result<String, Over> {
        self.cache.begin();
        let mut next: Option<String> = None;
        loop {
            let until = Instant::now() + self.timeout + GRACE;
            let mut params = kube::api::ListParams::default().limit(PAGE);
            params.continue_token = next;
            let request = Request::new(T::path())
                .list(&params)
                .map_err(|error| Over::Unsent(kube::Error::BuildRequest(error)))?;
            let body = self.send(request, until).await?;
            let text = timeout_at(until, body.collect_bytes())
                .await
                .map_err(|_| Over::Silent)?
                .map_err(Over::Cut)?;
            let nonsense = |error: serde_json::Error| Over::Nonsense(error.to_string());
            let page: Page<'_> = serde_json::from_slice(&text).map_err(nonsense)?;
            for item in page.items {
                let head = Head::of(item.get()).map_err(nonsense)?;
                self.take_in(&head, item.get());
            }
            next = page.metadata.next.filter(|token| !token.is_empty());
            if next.is_none() {
                self.cache.finish();
                (self.after)(&self.cache);
                self.bell.notify_one();
                return Ok(page.metadata.resource_version);
            }
        }
    }
}

impl At {
    /// Says how long to wait, and from where the next watch goes on.
    fn after(&mut self, over: &Over, random: f64) -> Duration {
        self.failed = self.failed.saturating_add(1);
        let wait = pause(self.failed, FIRST, random).min(LONGEST);
        match over {
            // It answers: nothing was missed, and a list would burden it more.
            Over::Busy { wait: asked } => wait.max(asked.mul_f64(1.0 + random / 2.0)),
            _ => {
                self.version = None;
                wait
            }
        }
    }
}

/// What a server answers in the middle of a watch.
fn error_event(text: &str, version: Option<&String>) -> Over {
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        code: u16,
        #[serde(default)]
        message: String,
    }
    let status = serde_json::from_str::<Status>(text);
    let (code, text) = status.map_or((0, String::new()), |s| (s.code, s.message));
    match StatusCode::from_u16(code) {
        Ok(StatusCode::GONE) => Over::Gone {
            version: version.cloned().unwrap_or_default(),
        },
        Ok(StatusCode::TOO_MANY_REQUESTS) => Over::Busy { wait: BUSY },
        Ok(status) => Over::Refused { status, text },
        Err(_) => Over::Nonsense(text),
    }
}

/// How long a server asks to be left alone; a date instead of seconds is passed over.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(
        text.trim().parse::<u64>().ok()?.min(120),
    ))
}
