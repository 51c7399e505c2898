//! Turns what the process knows of itself into answers to Prometheus and to the kubelet.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::guards::{Guards, Verdict};
use crate::metrics::Metrics;

/// What text metrics are, as Prometheus wants it said.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What is asked of a process from outside.
#[derive(Clone)]
pub(crate) struct Answers {
    /// Who asks whether somebody may read the metrics; none where all may.
    pub(crate) guards: Option<Arc<Guards>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether every cache has been filled once. A process that waits to lead is as ready as
    /// one that leads: nothing is sent to either.
    pub(crate) full: watch::Receiver<bool>,
    /// Whether this process leads.
    pub(crate) leads: watch::Receiver<bool>,
}

/// Answers for as long as the process lives.
pub(crate) async fn serve(answers: Answers, at: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(at).await;
    let listener = listener.with_context(|| format!("cannot listen on {at} for --metrics"))?;
    let tls = match &answers.guards {
        Some(_) => Some(own_certificate()?),
        None => None,
    };
    tracing::info!(address = %listener.local_addr()?, tls = tls.is_some(), "metrics are at /metrics");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (answers, tls) = (answers.clone(), tls.clone());
        tokio::spawn(async move {
            let Some(tls) = tls else {
                return answers.converse(stream).await;
            };
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                answers.converse(stream).await;
            }
        });
    }
}

/// TLS with a certificate that signs itself and that nobody else has: it keeps a token from who
/// listens, and tells nobody that this is the controller.
fn own_certificate() -> anyhow::Result<TlsAcceptor> {
    let names = vec!["bitbuilder-controller".to_owned()];
    let made = rcgen::generate_simple_self_signed(names);
    let made = made.context("cannot make a certificate for --metrics-auth")?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into());
    let config = config.context("cannot use a certificate of our own for --metrics-auth")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Answers {
    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request: Request<Incoming>| async move {
            let (method, path) = (request.method(), request.uri().path());
            let answer = match self.refusal(path, request.headers()).await {
                Some(refusal) => refusal,
                None => self.answer(method, path),
            };
            Ok::<_, Infallible>(answer)
        });
        let connection = hyper::server::conn::http1::Builder::new();
        // Who hangs up gets no answer, and that is all.
        let _ = connection
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// What is said to who may not read the metrics. The kubelet has no token, and what it asks
    /// for tells next to nothing.
    async fn refusal(&self, path: &str, headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
        let guards = self.guards.as_ref().filter(|_| path == "/metrics")?;
        let header = headers.get(AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        refused(guards.judge(header, path).await)
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET {
            return response(
                StatusCode::METHOD_NOT_ALLOWED,
                TEXT,
                "only GET\n".to_owned(),
            );
        }
        match path {
            "/metrics" => match self.metrics.text() {
                Ok(text) => response(StatusCode::OK, OPENMETRICS, text),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
            },
            // That this is answered at all is the news: a part that ends ends the process.
            "/healthz" => response(StatusCode::OK, TEXT, "alive\n".to_owned()),
            "/readyz" => {
                let leads = if *self.leads.borrow() {
                    "leads"
                } else {
                    "waits to lead"
                };
                if *self.full.borrow() {
                    response(StatusCode::OK, TEXT, format!("ready; {leads}\n"))
                } else {
                    let text = "the caches are not full yet\n".to_owned();
                    response(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
                }
            }
            _ => {
                let text = "see /metrics, /healthz, /readyz\n".to_owned();
                response(StatusCode::NOT_FOUND, TEXT, text)
            }
        }
    }
}

fn refused(verdict: Verdict) -> Option<Response<Full<Bytes>>> {
    let (status, text) = match verdict {
        Verdict::May => return None,
        Verdict::Nobody => (
            StatusCode::UNAUTHORIZED,
            "a token that the API knows is needed: Authorization: Bearer TOKEN\n",
        ),
        Verdict::MayNot => (
            StatusCode::FORBIDDEN,
            "you may not get /metrics: the ClusterRole bitbuilder-metrics gives that right\n",
        ),
        Verdict::Unclear => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the API cannot be asked who you are; try again\n",
        ),
    };
    let mut response = response(status, TEXT, text.to_owned());
    if verdict == Verdict::Nobody {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    }
    Some(response)
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lives_is_not_ready_before_its_caches_are_full() {
        let (full, seen) = watch::channel(false);
        let (_lead, leads) = watch::channel(false);
        let answers = Answers {
            guards: None,
            metrics: Arc::default(),
            full: seen,
            leads,
        };
        let status = |path: &str| answers.answer(&Method::GET, path).status();
        assert_eq!(status("/healthz"), StatusCode::OK);
        assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
        full.send_replace(true);
        assert_eq!(status("/readyz"), StatusCode::OK);
        assert_eq!(status("/metrics"), StatusCode::OK);
        assert_eq!(status("/"), StatusCode::NOT_FOUND);
        let refused = answers.answer(&Method::POST, "/metrics").status();
        assert_eq!(refused, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn who_may_not_read_is_told_what_is_missing() {
        let of = |verdict| refused(verdict).map(|response| response.status().as_u16());
        assert_eq!(of(Verdict::May), None);
        assert_eq!(of(Verdict::Nobody), Some(401));
        assert_eq!(of(Verdict::MayNot), Some(403));
        assert_eq!(of(Verdict::Unclear), Some(503));
    }
}
