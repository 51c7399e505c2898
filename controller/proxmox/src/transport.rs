//! Turns one call into one HTTP request and its answer, however odd, into data or a class of error.

use std::collections::BTreeMap;
use std::time::Duration;

use bb_wire::{Distrusted, trace};
use hyper::ext::ReasonPhrase;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::endpoint::Endpoint;
use crate::error::{Class, ClusterError, classify};
use crate::json;

/// Parameters of a call, in the order of their names.
pub(crate) type Parameters = BTreeMap<String, String>;

/// A call before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What it is, for counts: the method and the path with its variable parts as words.
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    /// Below `/api2/json`, its parts percent-encoded.
    pub(crate) path: String,
    pub(crate) parameters: Parameters,
}

impl Call {
    pub(crate) fn new(name: &'static str, path: String) -> Self {
        let method = match name.split(' ').next() {
            Some("POST") => Method::POST,
            Some("PUT") => Method::PUT,
            Some("DELETE") => Method::DELETE,
            _ => Method::GET,
        };
        Self {
            name,
            method,
            path,
            parameters: Parameters::new(),
        }
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.parameters.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn class(&self) -> Class {
        if self.method == Method::GET {
            Class::Read
        } else {
            Class::Write
        }
    }
}

/// What an answer holds, as text: a list of thousands of guests is read one by one, since as one
/// value it would be ten times as large. `None` where the answer holds nothing.
pub(crate) type Data = Option<Box<RawValue>>;

/// What came of a request, before anybody judges it.
pub(crate) struct Sent {
    /// The status, 0 where there was no answer.
    pub(crate) status: u16,
    /// What it says of when to come back.
    pub(crate) retry_after: Option<String>,
    pub(crate) result: Result<Data, ClusterError>,
}

impl Sent {
    /// A request that was not sent, or was not answered.
    pub(crate) fn nothing(error: ClusterError) -> Self {
        Self {
            status: 0,
            retry_after: None,
            result: Err(error),
        }
    }
}

/// The client side of HTTP.
///
/// The server closes idle connections after 5 s and each connection after 100 requests and
/// after every error; idle ones are given up here before that.
pub(crate) fn client(endpoint: &Endpoint) -> Result<Client, ClusterError> {
    let tls = endpoint
        .trust
        .client_config()
        .map_err(|error| ClusterError::Setup(error.to_string()))?;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .pool_idle_timeout(Duration::from_secs(3))
        .connect_timeout(endpoint.deadlines.connect)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(endpoint.mandate.agent())
        .connector_layer(endpoint.mandate.clone())
        .build()
        .map_err(|error| ClusterError::Setup(format!("no HTTP client: {}", chain(&error))))
}

/// Sends one request to one node.
pub(crate) async fn send(
    client: &Client,
    base: &str,
    call: &Call,
    headers: &[(HeaderName, HeaderValue)],
    deadline: Duration,
) -> Sent {
    let url = format!("{base}{}", call.path);
    let request = client.request(call.method.clone(), url).timeout(deadline);
    let mut headers: HeaderMap = headers.iter().cloned().collect();
    // Nobody there looks at it; who reads the log of a proxy, or of the lab, finds the pass by it.
    if let Some(value) = trace::header().and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert("traceparent", value);
    }
    match body(request, call).headers(headers).send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            let retry_after = response.headers().get(RETRY_AFTER);
            Sent {
                status,
                retry_after: retry_after.and_then(|value| Some(value.to_str().ok()?.to_owned())),
                result: read(base, call, response).await,
            }
        }
        Err(error) => Sent::nothing(no_answer(base, call, &error)),
    }
}

/// A DELETE with a body is refused (501), so its parameters go into the query.
fn body(request: RequestBuilder, call: &Call) -> RequestBuilder {
    if call.method == Method::GET || call.method == Method::DELETE {
        if call.parameters.is_empty() {
            request
        } else {
            request.query(&call.parameters)
        }
    } else {
        request.form(&call.parameters)
    }
}

fn no_answer(base: &str, call: &Call, error: &reqwest::Error) -> ClusterError {
    let endpoint = base.trim_end_matches("/api2/json").to_owned();
    if let Some(distrusted) = Distrusted::find(error) {
        let why = distrusted.to_string();
        return ClusterError::Untrusted { endpoint, why };
    }
    let cause = chain(error);
    if call.class() == Class::Write && !error.is_connect() && !error.is_builder() {
        return ClusterError::Unknown(cause);
    }
    ClusterError::Unreachable { endpoint, cause }
}

/// The causes of an error, innermost last; reqwest's own text leaves them out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.dedup();
    texts.join(": ")
}

async fn read(base: &str, call: &Call, response: Response) -> Result<Data, ClusterError> {
    let status = response.status().as_u16();
    // The reason phrase carries the message; for some failures it is all there is.
    let reason = response
        .extensions()
        .get::<ReasonPhrase>()
        .map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned())
        .or_else(|| response.status().canonical_reason().map(str::to_owned))
        .unwrap_or_default();
    let bytes = match response.bytes().await {
        Ok(bytes) => bytes,
        Err(error) => return Err(no_answer(base, call, &error)),
    };
    if (200..300).contains(&status) {
        return data(&bytes).ok_or_else(|| ClusterError::Answer {
            call: call.name.to_owned(),
            why: "it is not JSON".to_owned(),
        });
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let message = json::text_at(&body, "message").unwrap_or_default();
    // The first line goes into the reason, the others into the message only.
    let text = if message.trim().is_empty() {
        reason
    } else {
        message
    };
    let errors = body
        .get("errors")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let errors = errors.filter_map(|(name, text)| Some((name.clone(), json::text(text)?)));
    let endpoint = base.trim_end_matches("/api2/json");
    Err(classify(
        endpoint,
        call.class(),
        status,
        &text,
        errors.collect(),
    ))
}

/// What a good answer holds; `None` where it is not JSON.
fn data(bytes: &[u8]) -> Option<Data> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        data: Data,
    }
    match serde_json::from_slice::<Answer>(bytes) {
        Ok(answer) => Some(answer.data),
        // Something without data.
        Err(_) => serde_json::from_slice::<IgnoredAny>(bytes)
            .ok()
            .map(|_| None),
    }
}

#[cfg(test)]
mod tests {
    use bb_wire::{Secret, Trust};

    use super::*;
    use crate::endpoint::Credentials;

    #[test]
    fn what_cannot_be_trusted_is_refused_when_it_is_set() {
        for trust in [
            Trust::Ca(String::new()),
            Trust::Ca("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
            Trust::Sha256(vec!["12".into()]),
            Trust::Sha256(Vec::new()),
        ] {
            let token = Credentials::Token(Secret::new("op@pve!k8s=1-2"));
            let endpoint = Endpoint::new(vec!["https://n1:8006".to_owned()], token, trust);
            assert!(
                matches!(client(&endpoint), Err(ClusterError::Setup(_))),
                "{:?}",
                endpoint.trust
            );
        }
    }
}
