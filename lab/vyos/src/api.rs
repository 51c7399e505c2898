//! Turns HTTP calls into what the proxy, the API server and the router behind them answer.

mod body;
mod change;
pub(crate) mod opmode;
mod python;
mod retrieve;

use crate::mask;
use crate::router::Router;
use bb_lab_kit::faults::{Action, Faults};
use bb_lab_kit::http::{Caller, Reply, Request};
use bb_lab_kit::journal::{self, Entry};
use http::Method;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the proxy hands to the API server: every path that begins with one of these.
const LOCATIONS: [&str; 15] = [
    "/retrieve",
    "/configure",
    "/config-file",
    "/image",
    "/import-pki",
    "/container-image",
    "/generate",
    "/show",
    "/reboot",
    "/reset",
    "/poweroff",
    "/traceroute",
    "/docs",
    "/openapi.json",
    "/graphql",
];
/// What the API server answers POST on.
const ENDPOINTS: [&str; 13] = [
    "/retrieve",
    "/configure",
    "/configure-section",
    "/config-file",
    "/image",
    "/import-pki",
    "/container-image",
    "/generate",
    "/show",
    "/reboot",
    "/reset",
    "/poweroff",
    "/traceroute",
];

/// The API of one router. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub router: Router,
    pub faults: Faults,
    /// Calls that are not answered yet.
    under_way: Arc<Mutex<Vec<(u64, Caller)>>>,
}

/// An answer of the API server: `data` or `error`.
pub(crate) enum Answer {
    Data(Value),
    Error(u16, String),
    /// What is not the API server's own shape.
    Other(Reply),
}

impl Api {
    /// The API of `router`, with faults on demand.
    #[must_use]
    pub(crate) fn new(router: Router, faults: Faults) -> Self {
        Self {
            router,
            faults,
            under_way: Arc::default(),
        }
    }

    /// Answers one call, counts it and writes it down.
    pub(crate) async fn call(&self, request: Request) -> Reply {
        let began = Instant::now();
        let counters = &self.router.counters;
        let ticket = self.begin(&request.caller);
        counters.add("requests", 1);
        counters.add(&format!("requests_{}", counter_name(&request.path)), 1);

        let sent = body::read(&request);
        let shown = mask::body(&sent.seen());
        let fault = self
            .faults
            .take(request.method.as_str(), &request.path, &sent.text());
        let reply = match &fault {
            Some(Action::Status {
                status,
                reason,
                body,
                headers,
            }) => Reply {
                status: *status,
                reason: reason.clone(),
                headers: headers.clone(),
                body: body.clone().into(),
                ..Reply::default()
            },
            Some(Action::StatusAfter {
                status,
                reason,
                body,
            }) => {
                self.answer(&request, &sent).await;
                Reply {
                    status: *status,
                    reason: reason.clone(),
                    body: body.clone().into(),
                    ..Reply::default()
                }
            }
            Some(Action::CloseBefore) => Reply::closed(),
            Some(Action::HangBefore { ms }) => {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                Reply::closed()
            }
            Some(Action::Delay { ms }) => {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                self.answer(&request, &sent).await
            }
            Some(Action::Hang { ms }) => {
                let reply = self.answer(&request, &sent).await;
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                reply
            }
            Some(Action::CloseAfter) => {
                self.answer(&request, &sent).await;
                Reply::closed()
            }
            None => self.answer(&request, &sent).await,
        };
        self.end(ticket);
        self.router.journal.record(&Entry {
            time: journal::now(),
            target: self.router.name.clone(),
            caller: self.who(&request, &sent),
            agent: request.header("user-agent").unwrap_or_default().to_owned(),
            trace: request.header("traceparent").unwrap_or_default().to_owned(),
            method: request.method.to_string(),
            path: request.path.clone(),
            body: shown,
            status: reply.status,
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            note: fault.map(|fault| json!({ "fault": fault })),
        });
        reply
    }

    /// The name of the key that was sent, else the address.
    fn who(&self, request: &Request, sent: &body::Sent) -> String {
        let call = sent.call(&request.path).ok();
        let key = call.as_ref().and_then(|call| call.get("key")?.as_str());
        let name = key.and_then(|key| self.router.state().api.keys.get(key).cloned());
        name.unwrap_or_else(|| request.peer.to_string())
    }

    /// Counts the calls whose callers still wait: who has hung up has nothing in flight, though
    /// what it asked for may be under way.
    fn begin(&self, caller: &Caller) -> u64 {
        let mut all = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, caller)| caller.waits());
        let ticket = all.last().map_or(0, |(ticket, _)| ticket + 1);
        all.push((ticket, caller.clone()));
        self.router
            .counters
            .raise("in_flight_max", all.len() as u64);
        ticket
    }

    fn end(&self, ticket: u64) {
        let mut all = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _)| *other != ticket);
    }

    async fn answer(&self, request: &Request, sent: &body::Sent) -> Reply {
        let (down, settings) = {
            let state = self.router.state();
            (state.down, state.api.clone())
        };
        let path = request.path.as_str();
        if !LOCATIONS.iter().any(|location| path.starts_with(location)) {
            return if path == "/" {
                proxy(403, "Forbidden")
            } else {
                proxy(404, "Not Found")
            };
        }
        if request.body.len() > settings.body_limit {
            return proxy(413, "Request Entity Too Large");
        }
        if !settings.api {
            return proxy(503, "Service Temporarily Unavailable");
        }
        if down {
            return proxy(502, "Bad Gateway");
        }
        if path == "/docs" && request.method == Method::GET {
            let page = "<!DOCTYPE html>\n<html><head><title>VyOS API - Swagger UI</title></head>\
                        <body></body></html>\n";
            return Reply::new(200, HTML, page);
        }
        if !settings.rest || !ENDPOINTS.contains(&path) {
            let slashed = path
                .strip_suffix('/')
                .is_some_and(|path| ENDPOINTS.contains(&path));
            if settings.rest && slashed {
                let target = format!("http://localhost{}", path.trim_end_matches('/'));
                let moved = Reply {
                    status: 307,
                    ..Reply::default()
                };
                return moved.with_header("location", &target);
            }
            return detail(404, "Not Found");
        }
        if request.method != Method::POST {
            return detail(405, "Method Not Allowed").with_header("allow", "POST");
        }
        let call = match sent.call(path) {
            Ok(call) => call,
            Err(answer) => return render(answer),
        };
        let key = call.get("key").and_then(Value::as_str).unwrap_or_default();
        if !settings.keys.contains_key(key) {
            return render(Answer::Error(401, "Valid API key is required".to_owned()));
        }
        let caller = request.peer.to_string();
        render(match path {
            "/retrieve" => self.retrieve(&call).await,
            "/configure" => self.configure(&call, &caller).await,
            "/configure-section" => self.configure_section(&call, &caller).await,
            "/config-file" => self.config_file(&call, &caller).await,
            "/show" | "/generate" | "/reboot" => self.operate(path, &call),
            _ => Answer::Error(501, format!("this stand-in does not know what {path} does")),
        })
    }
}

const HTML: &str = "text/html; charset=utf-8";

fn counter_name(path: &str) -> String {
    let name = path.trim_matches('/').replace('-', "_");
    if ENDPOINTS.contains(&path) {
        name
    } else {
        "elsewhere".to_owned()
    }
}

/// A page of the proxy in front of the API server.
fn proxy(status: u16, reason: &str) -> Reply {
    let page = format!(
        "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n<center><h1>{status} \
         {reason}</h1></center>\r\n<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n"
    );
    Reply::new(status, "text/html", page)
}

/// An answer of the framework below the API server.
fn detail(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({ "detail": text }))
}

fn render(answer: Answer) -> Reply {
    let (status, data, error) = match answer {
        Answer::Data(data) => (200, data, Value::Null),
        Answer::Error(status, text) => (status, Value::Null, escaped(&text).into()),
        Answer::Other(reply) => return reply,
    };
    // JSON under a content type that says otherwise, as on the real one.
    let body = json!({ "success": error.is_null(), "data": data, "error": error });
    Reply::new(status, HTML, body.to_string())
}

/// Errors come HTML-escaped, quotes left alone; data does not.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
