//! Turns calls on a socket into calls to the upstream, as far as the rules let them.

use std::net::SocketAddr;
use std::sync::Arc;

use bb_lab_kit::Stop;
use http::{HeaderName, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::call::{Asked, Calls, End, Entry};
use crate::gate::{Held, When};
use crate::rule::{Action, GateEnd, Rules};
use crate::stream::{Answer, Running};

/// Belongs to one connection only; the next one frames its bodies itself.
const FRAMING: [HeaderName; 2] = [header::TRANSFER_ENCODING, header::UPGRADE];

/// What every connection of a proxy shares.
pub(crate) struct Front {
    pub(crate) client: reqwest::Client,
    pub(crate) upstream: String,
    pub(crate) calls: Calls,
    pub(crate) rules: Rules,
    pub(crate) running: Running,
}

/// Why a call gets no answer: hyper then closes the connection.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the connection is closed on purpose")]
    Purpose,
    #[error("the upstream gave no answer")]
    Upstream(#[source] reqwest::Error),
    #[error("the caller broke off")]
    Caller(#[source] hyper::Error),
}

pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    front: Arc<Front>,
    stop: Stop,
) {
    let acceptor = TlsAcceptor::from(tls);
    // Dropped with this future: a proxy that stopped has no connections.
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        while open.try_join_next().is_some() {}
        if let Ok((stream, peer)) = accepted {
            open.spawn(converse(acceptor.clone(), stream, peer, Arc::clone(&front)));
        }
    }
}

async fn converse(acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr, front: Arc<Front>) {
    let _ = stream.set_nodelay(true);
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a TLS handshake failed"),
    };
    let calls = service_fn(move |request| {
        let front = Arc::clone(&front);
        async move { front.answer(peer, request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), calls);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

impl Front {
    async fn answer(
        &self,
        peer: SocketAddr,
        request: hyper::Request<Incoming>,
    ) -> Result<Response<Answer>, Cut> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(Cut::Caller)?.to_bytes();
        let asked = Asked {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body,
        };
        let entry = self.calls.enter(peer, &asked);
        match self.rules.take(&asked) {
            None | Some(Action::Pass) => self.pass(asked, entry).await,
            Some(Action::Delay(time)) => {
                tokio::time::sleep(time).await;
                self.pass(asked, entry).await
            }
            Some(Action::BlackHole) => std::future::pending().await,
            Some(Action::CutBefore) => {
                entry.end(End::CutBefore);
                Err(Cut::Purpose)
            }
            Some(Action::CutAfter) => {
                let answer = self.send(&asked, &entry).await?;
                let status = answer.status().as_u16();
                entry.end(End::CutAfter(status));
                Err(Cut::Purpose)
            }
            Some(Action::Status {
                status,
                headers,
                body,
            }) => {
                entry.end(End::Instead(status));
                Ok(own_answer(status, &headers, body))
            }
            Some(Action::Gate(gate)) => self.hold(asked, entry, &gate).await,
        }
    }

    /// Sends a call on, whole.
    async fn send(&self, asked: &Asked, entry: &Entry) -> Result<reqwest::Response, Cut> {
        let url = format!("{}{}", self.upstream, asked.target());
        let mut headers = asked.headers.clone();
        for name in FRAMING.iter().chain(&[header::CONNECTION]) {
            headers.remove(name);
        }
        let request = self.client.request(asked.method.clone(), url);
        let request = request.headers(headers).body(asked.body.clone());
        request.send().await.map_err(|error| {
            entry.end(End::Failed);
            Cut::Upstream(error)
        })
    }

    async fn pass(&self, asked: Asked, entry: Entry) -> Result<Response<Answer>, Cut> {
        let answer = self.send(&asked, &entry).await?;
        Ok(self.passed(asked, entry, answer))
    }

    /// An answer of the upstream as the caller gets it.
    fn passed(&self, asked: Asked, entry: Entry, answer: reqwest::Response) -> Response<Answer> {
        entry.end(End::Answered(answer.status().as_u16()));
        let seq = entry.call().map_or(0, |call| call.seq);
        let (mut parts, body) = Response::<reqwest::Body>::from(answer).into_parts();
        for name in FRAMING {
            parts.headers.remove(name);
        }
        Response::from_parts(parts, self.running.wrap(seq, asked, entry, body))
    }

    async fn hold(
        &self,
        asked: Asked,
        entry: Entry,
        gate: &GateEnd,
    ) -> Result<Response<Answer>, Cut> {
        let answer = match gate.when {
            When::Before => None,
            When::After => Some(self.send(&asked, &entry).await?),
        };
        let status = answer.as_ref().map(|answer| answer.status().as_u16());
        let (verdict, decided) = oneshot::channel();
        let released = match entry.call() {
            Some(call) => {
                let held = Held {
                    call,
                    status,
                    verdict,
                };
                gate.told.send(held).is_ok() && decided.await.is_ok()
            }
            None => false,
        };
        if !released {
            entry.end(status.map_or(End::CutBefore, End::CutAfter));
            return Err(Cut::Purpose);
        }
        match answer {
            None => self.pass(asked, entry).await,
            Some(answer) => Ok(self.passed(asked, entry, answer)),
        }
    }
}

/// An answer of the proxy's own.
fn own_answer(status: u16, headers: &[(String, String)], body: String) -> Response<Answer> {
    let mut response = Response::new(Answer::fixed(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = ("content-type".to_owned(), "application/json".to_owned());
    for (name, value) in headers.iter().chain([&json]) {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
