//! Turns what the process knows of itself into answers to Prometheus and to the kubelet.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::Metrics;

/// What text metrics are, as Prometheus wants it said.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What is asked of a process from outside.
#[derive(Clone)]
pub(crate) struct Answers {
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
    tracing::info!(address = %listener.local_addr()?, "metrics are at /metrics");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let answers = answers.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answers.answer(request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            // Who hangs up gets no answer, and that is all.
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Answers {
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
}
