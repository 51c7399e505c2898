//! Turns "come back in so many seconds" to one request into a pause of all.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bb_wire::Mandate;
use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{BoxError, Layer, Service};

use crate::watch::retry_after;

/// How long a server that has too much to do, and does not say for how long, is left alone.
const BUSY: Duration = Duration::from_secs(1);

/// Holds every request back while the API server has too much to do. A request that was refused
/// for it is not sent again here: whoever sent it decides anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Instant>>>);

impl Gate {
    fn until(&self) -> Option<Instant> {
        let closed = self
            .0
            .lock()
            .expect("no code panics while it holds this lock");
        closed.filter(|until| *until > Instant::now())
    }

    fn close(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut closed = self
            .0
            .lock()
            .expect("no code panics while it holds this lock");
        *closed = Some(closed.map_or(until, |already| already.max(until)));
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            gate: self.clone(),
            wait: None,
        }
    }
}

/// A client behind a gate: not ready while it is closed. All requests of a client pass here one
/// after the other on their way out.
#[derive(Debug)]
pub(crate) struct Gated<S> {
    inner: S,
    gate: Gate,
    wait: Option<Pin<Box<Sleep>>>,
}

impl<S, B> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        while let Some(until) = self.gate.until() {
            let wait = self
                .wait
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            if wait.deadline() != until {
                wait.as_mut().reset(until);
            }
            ready!(wait.as_mut().poll(context));
        }
        self.wait = None;
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.inner.call(request);
        let gate = self.gate.clone();
        Box::pin(async move {
            let response = answer.await?;
            let wait = retry_after(response.headers());
            match response.status() {
                StatusCode::TOO_MANY_REQUESTS => gate.close(wait.unwrap_or(BUSY)),
                StatusCode::SERVICE_UNAVAILABLE => {
                    if let Some(wait) = wait {
                        gate.close(wait);
                    }
                }
                _ => {}
            }
            Ok(response)
        })
    }
}

/// Lets reads pass, and writes of who may write.
#[derive(Clone, Debug)]
pub(crate) struct Mandated(pub(crate) Mandate);

impl<S> Layer<S> for Mandated {
    type Service = Writes<S>;

    fn layer(&self, inner: S) -> Writes<S> {
        let mandate = self.0.clone();
        Writes { inner, mandate }
    }
}

/// A client whose writes end with a mandate.
#[derive(Debug)]
pub(crate) struct Writes<S> {
    inner: S,
    mandate: Mandate,
}

impl<S> Service<Request<Body>> for Writes<S>
where
    S: Service<Request<Body>, Error = BoxError>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if *request.method() != Method::GET
            && let Err(ended) = self.mandate.check()
        {
            return Box::pin(std::future::ready(Err(ended.into())));
        }
        Box::pin(self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_one_request_is_told_holds_all_for_as_long() {
        let mut asked = 0;
        let server = service_fn(move |_: Request<Body>| {
            asked += 1;
            let mut response = Response::new(());
            if asked == 1 {
                *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                let seconds = http::HeaderValue::from_static("7");
                response.headers_mut().insert("retry-after", seconds);
            }
            async move { Ok::<_, Infallible>(response) }
        });
        let mut gated = Gate::default().layer(server);
        let begun = Instant::now();
        let mut ask = async || {
            let ready = gated.ready().await.unwrap();
            ready.call(Request::new(Body::empty())).await.unwrap()
        };
        assert_eq!(ask().await.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for _ in 0..50 {
            assert_eq!(ask().await.status(), StatusCode::OK);
            assert!(begun.elapsed() >= Duration::from_secs(7));
        }
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
}
