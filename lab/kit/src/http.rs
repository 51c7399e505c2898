//! Turns bytes on a socket into requests, and replies (or their absence) back into bytes.

use ::http::{HeaderMap, Method, Response, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::Stop;

/// How long an answer already under way may take once the server is told to stop.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// How much of a body over the limit is read and thrown away, so that a client that writes
/// before it reads still gets to see the answer.
const DRAIN: u64 = 64 << 20;

/// One call, with its body read.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    /// As sent, percent-encoding and all, without the query.
    pub path: String,
    /// As sent, without the question mark; empty when there is none.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Who called.
    pub peer: SocketAddr,
    /// Whether whoever called still waits for the answer.
    pub caller: Caller,
}

/// Somebody who waits for an answer, or who has hung up. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Caller(Weak<()>);

impl Caller {
    /// Whether the answer still has somewhere to go.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Request {
    /// The value of a header, when it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Whether an answer is given at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// The answer is sent.
    #[default]
    No,
    /// The connection is closed without one.
    Connection,
}

/// One answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// The text after the status, when it is not the usual one.
    pub reason: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub cut: Cut,
}

impl Reply {
    /// An answer of the given content type.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            reason: None,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
            cut: Cut::No,
        }
    }

    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, "application/json", body),
            Err(error) => Self::text(500, &format!("cannot render the answer: {error}\n")),
        }
    }

    /// A plain text answer.
    #[must_use]
    pub fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.to_owned())
    }

    /// No answer: the connection is closed.
    #[must_use]
    pub fn closed() -> Self {
        Self {
            cut: Cut::Connection,
            ..Self::default()
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How large a body may be, and what is answered to one that is larger.
#[derive(Clone, Debug)]
pub struct BodyLimit {
    /// In bytes.
    pub max: usize,
    pub too_large: Reply,
}

impl BodyLimit {
    /// A limit answered with a plain 413.
    #[must_use]
    pub fn bytes(max: usize) -> Self {
        Self {
            max,
            too_large: Reply::text(413, "the body is too large\n"),
        }
    }
}

/// Answers calls on `listener` with `service` until `stop` is given.
///
/// HTTP/1.1 with keep-alive, over TLS when `tls` is given. When told to stop, answers under
/// way get half a second, then every connection is closed.
pub async fn serve<H, F>(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    limit: BodyLimit,
    service: H,
    stop: Stop,
) where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let acceptor = tls.map(TlsAcceptor::from);
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.stopped() => break,
            accepted = listener.accept() => accepted,
        };
        while open.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(pair) => pair,
            Err(error) => {
                tracing::debug!(%error, "a connection was lost before it began");
                // Out of file handles comes back at once: do not spin on it.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, limit, service, stop) = (
            acceptor.clone(),
            limit.clone(),
            service.clone(),
            stop.clone(),
        );
        open.spawn(async move {
            match acceptor {
                None => converse(stream, peer, limit, service, stop).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => converse(stream, peer, limit, service, stop).await,
                    Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
                },
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(STOP_GRACE, async {
        while open.join_next().await.is_some() {}
    })
    .await;
}

/// The service answered with "no answer": hyper then closes the connection.
#[derive(Debug)]
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is closed on purpose")
    }
}

impl std::error::Error for NoAnswer {}

async fn converse<S, H, F>(stream: S, peer: SocketAddr, limit: BodyLimit, service: H, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let calls = service_fn(move |request: hyper::Request<Incoming>| {
        let (limit, service) = (limit.clone(), service.clone());
        async move {
            let (parts, body) = request.into_parts();
            // Dropped with this future: after the answer, or when the connection ends before.
            let here = Arc::new(());
            let reply = match read_body(body, limit.max).await? {
                None => limit.too_large,
                Some(body) => {
                    let call = Request {
                        method: parts.method,
                        path: parts.uri.path().to_owned(),
                        query: parts.uri.query().unwrap_or_default().to_owned(),
                        headers: parts.headers,
                        body,
                        peer,
                        caller: Caller(Arc::downgrade(&here)),
                    };
                    // A task of its own: a caller who hangs up does not undo what it asked for.
                    tokio::spawn(service(call)).await.map_err(|_| NoAnswer)?
                }
            };
            respond(reply)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), calls);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Reads a body up to `max` bytes; `None` when it is larger.
async fn read_body(mut body: Incoming, max: usize) -> Result<Option<Bytes>, NoAnswer> {
    let mut read = BytesMut::new();
    let mut seen = 0_u64;
    let mut fits = body.size_hint().lower() <= max as u64;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| NoAnswer)?.into_data() else {
            continue;
        };
        seen += data.len() as u64;
        fits = fits && seen <= max as u64;
        if fits {
            read.extend_from_slice(&data);
        } else if seen > DRAIN {
            break;
        }
    }
    Ok(fits.then(|| read.freeze()))
}

fn respond(reply: Reply) -> Result<Response<Full<Bytes>>, NoAnswer> {
    if reply.cut == Cut::Connection {
        return Err(NoAnswer);
    }
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::builder().status(status);
    for (name, value) in &reply.headers {
        response = response.header(name.as_str(), value.as_str());
    }
    let reason = reply
        .reason
        .and_then(|text| ReasonPhrase::try_from(text.into_bytes()).ok());
    if let Some(reason) = reason {
        response = response.extension(reason);
    }
    response.body(Full::new(reply.body)).map_err(|error| {
        tracing::warn!(%error, "an answer has a header that is none");
        NoAnswer
    })
}
