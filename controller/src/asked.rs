//! Turns requests to the Kubernetes API into spans, counts, and lines that a log and an audit log share.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bb_wire::trace;
use http::{HeaderValue, Method, Request, Response};
use kube::client::Body;
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument as _, Span, debug, info, info_span};

use crate::metrics::Metrics;

/// Counts every request, and marks those of a pass.
#[derive(Clone)]
pub(crate) struct Witnessed(pub(crate) Arc<Metrics>);

impl<S> Layer<S> for Witnessed {
    type Service = Witness<S>;

    fn layer(&self, inner: S) -> Witness<S> {
        let metrics = Arc::clone(&self.0);
        Witness { inner, metrics }
    }
}

/// A client whose requests are counted and marked.
pub(crate) struct Witness<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct What {
    verb: &'static str,
    /// With its subresource, such as `instances/status`.
    resource: String,
    namespace: String,
    name: String,
}

impl<S, B> Service<Request<Body>> for Witness<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let what = what(request.method(), request.uri().path());
        // What is not part of a pass, such as the Lease, makes no trace of its own.
        let span = match trace::current() {
            Some(_) => info_span!(
                "api request",
                verb = what.verb,
                resource = what.resource,
                namespace = what.namespace,
                name = what.name,
                status = Empty
            ),
            None => Span::none(),
        };
        let answer = span.in_scope(|| {
            mark(&mut request);
            self.inner.call(request)
        });
        let metrics = Arc::clone(&self.metrics);
        let begun = Instant::now();
        let told = async move {
            let answer = answer.await;
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            Span::current().record("status", status);
            tell(&what, status, begun.elapsed());
            metrics
                .measures
                .asked(what.verb, &what.resource, status, begun.elapsed());
            answer
        };
        Box::pin(told.instrument(span))
    }
}

/// Writes the pass that a request is part of into its headers. The API keeps the `Audit-ID` that it
/// is given, so that a line of the audit log names the pass.
fn mark(request: &mut Request<Body>) {
    let headers = request.headers_mut();
    let ids = trace::current().and_then(|ids| HeaderValue::try_from(ids.to_string()).ok());
    if let Some(ids) = ids {
        headers.insert("audit-id", ids);
    }
    let parent = trace::header().and_then(|text| HeaderValue::try_from(text).ok());
    if let Some(parent) = parent {
        headers.insert("traceparent", parent);
    }
}

fn tell(what: &What, status: u16, took: Duration) {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let What {
        verb,
        resource,
        namespace,
        name,
    } = what;
    // Events and the Lease are written all the time, and are no work on objects.
    let quiet = matches!(resource.as_str(), "events" | "leases");
    if matches!(*verb, "get" | "list") || quiet {
        debug!(verb, resource, namespace, name, status, ms, "asked the API");
    } else {
        info!(verb, resource, namespace, name, status, ms, "asked the API");
    }
}

/// What a request asks for, by its method and path.
fn what(method: &Method, path: &str) -> What {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    // `api/v1`, or `apis/GROUP/VERSION`.
    let head = if parts.next() == Some("apis") { 2 } else { 1 };
    let rest: Vec<&str> = parts.skip(head).collect();
    let (namespace, rest) = match rest.as_slice() {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let at = |index: usize| rest.get(index).copied().unwrap_or_default();
    let (resource, name, sub) = (at(0), at(1), at(2));
    let verb = match *method {
        Method::GET if name.is_empty() => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    let resource = match sub {
        "" => resource.to_owned(),
        sub => format!("{resource}/{sub}"),
    };
    What {
        verb,
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_asked_for() {
        let cases = [
            (
                Method::GET,
                "/api/v1/namespaces/kube-system",
                "get namespaces  kube-system",
            ),
            (Method::POST, "/api/v1/namespaces", "create namespaces  "),
            (
                Method::GET,
                "/api/v1/namespaces/bitbuilder-system/secrets/r1",
                "get secrets bitbuilder-system r1",
            ),
            (
                Method::PATCH,
                "/apis/bitbuilder.cloud/v1alpha1/namespaces/acme/instances/www-1/status",
                "patch instances/status acme www-1",
            ),
            (
                Method::PATCH,
                "/apis/bitbuilder.cloud/v1alpha1/tenants/acme",
                "patch tenants  acme",
            ),
            (
                Method::GET,
                "/apis/rbac.authorization.k8s.io/v1/rolebindings",
                "list rolebindings  ",
            ),
            (
                Method::POST,
                "/apis/events.k8s.io/v1/namespaces/acme/events",
                "create events acme ",
            ),
            (Method::GET, "/version", "list   "),
        ];
        for (method, path, expected) in cases {
            let What {
                verb,
                resource,
                namespace,
                name,
            } = what(&method, path);
            assert_eq!(format!("{verb} {resource} {namespace} {name}"), expected);
        }
    }
}
