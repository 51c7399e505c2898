//! Turns calls on the control port into what a test does to a router from outside its API.
//!
//! | call | does |
//! |---|---|
//! | `GET /config`, `GET /saved` | what runs, as showConfig; every saved file |
//! | `PUT /config` | a person types: `{"ops": [{"op", "path", "value"}]}`, committed at once |
//! | `POST /lock`, `DELETE /lock` | somebody holds the commit lock, lets it go |
//! | `POST /hold/commands`, `DELETE /hold/commands` | changes stay between commands and commit |
//! | `POST /hold/commit`, `DELETE /hold/commit` | commits stay under way; go on |
//! | `POST /hold/background`, `DELETE /hold/background` | the same for https changes |
//! | `POST /reboot` | back to what was saved |
//! | `GET /settled` | answers once nothing is under way, 504 after 30 s |

use crate::edit::{Edit, Verb};
use crate::router::{Outcome, Router};
use bb_lab_kit::Stop;
use bb_lab_kit::control::{Answer, Control};
use bb_lab_kit::faults::Faults;
use bb_lab_kit::http::{Reply, Request};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long [`settled`] waits.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Typed {
    ops: Vec<TypedOp>,
}

#[derive(Deserialize)]
struct TypedOp {
    op: String,
    path: Vec<String>,
    value: Option<String>,
}

/// The control port of `router`.
#[must_use]
pub(crate) fn port(router: &Router, faults: &Faults, stop: Stop) -> Control {
    let shown = router.clone();
    let held = router.clone();
    Control::new(stop, move || state(&shown))
        .sharing(&router.counters, &router.journal, faults)
        .routes(move |request| -> Answer {
            let router = held.clone();
            Box::pin(async move { route(&router, &request).await })
        })
}

fn state(router: &Router) -> Value {
    let state = router.state();
    json!({
        "name": router.name,
        "time_scale": router.scale.0,
        "lock_held": state.lock_held,
        "committing": state.committing,
        "background": state.background,
        "api_down": state.down,
        "candidate": state.candidate.is_some(),
        "nodes": state.running.size(),
        "vrf_devices": state.kernel.vrfs,
        "saved_files": state.saved.keys().collect::<Vec<_>>(),
    })
}

async fn route(router: &Router, request: &Request) -> Option<Reply> {
    let done = || Some(Reply::json(200, &json!({"ok": true})));
    match (&request.method, request.path.as_str()) {
        (&Method::GET, "/config") => Some(Reply::json(200, &router.state().running.to_json())),
        (&Method::GET, "/saved") => {
            let state = router.state();
            let all: Value = state
                .saved
                .iter()
                .map(|(file, node)| (file.clone(), node.to_json()))
                .collect();
            Some(Reply::json(200, &all))
        }
        (&Method::PUT, "/config") => Some(type_in(router, &request.body)),
        (&Method::POST, "/lock") => {
            router.state().lock_held = true;
            done()
        }
        (&Method::DELETE, "/lock") => {
            router.state().lock_held = false;
            done()
        }
        (&Method::POST | &Method::DELETE, path) if path.starts_with("/hold/") => {
            let gate = match path {
                "/hold/commands" => &router.command_gate,
                "/hold/commit" => &router.commit_gate,
                "/hold/background" => &router.background_gate,
                _ => return None,
            };
            if request.method == Method::POST {
                gate.close();
            } else {
                gate.open();
            }
            done()
        }
        (&Method::POST, "/reboot") => {
            router.reboot();
            done()
        }
        (&Method::GET, "/settled") => {
            if settled(router).await {
                done()
            } else {
                Some(Reply::json(504, &state(router)))
            }
        }
        _ => None,
    }
}

fn type_in(router: &Router, body: &[u8]) -> Reply {
    let refused = |status, error: String| Reply::json(status, &json!({ "error": error }));
    let typed: Typed = match serde_json::from_slice(body) {
        Ok(typed) => typed,
        Err(error) => return refused(400, format!("not what a person types: {error}")),
    };
    let mut edits = Vec::new();
    for op in typed.ops {
        let verb = match op.op.as_str() {
            "set" => Verb::Set,
            "delete" => Verb::Delete,
            other => return refused(400, format!("a person does not type {other:?}")),
        };
        edits.push((
            Edit {
                verb,
                path: op.path,
            },
            op.value,
        ));
    }
    match router.type_in(&edits) {
        Outcome::Done(said) => Reply::json(200, &json!({"ok": true, "said": said})),
        Outcome::Refused(text) => refused(409, text),
    }
}

/// Waits until nothing is under way; false when that took too long.
pub(crate) async fn settled(router: &Router) -> bool {
    let quiet = async {
        loop {
            let busy = {
                let state = router.state();
                state.committing || state.background || state.down || state.candidate.is_some()
            };
            if !busy {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, quiet).await.is_ok()
}
