//! Turns one HTTP request into one call of the state: faults, login, waiting, counts, journal.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bb_lab_kit::faults::Action;
use bb_lab_kit::http::{Reply, Request};
use bb_lab_kit::journal::{self, Entry};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::auth::REFUSAL_DELAY;
use crate::lab::Lab;
use crate::refusal::{Answer, Refusal};
use crate::routes::{self, Out, Route};
use crate::schema::{Raw, RawParams};
use crate::wire::{self, Form};

/// What every call is answered while the cluster file system is dead.
const PMXCFS_DEAD: &str = "RPCEnvironment init request failed: Unable to load access control \
                           list: Connection refused";
/// Seconds the proxy waits for the API daemon.
const PROXY_TIMEOUT: f64 = 30.0;
/// Real seconds it waits at least: at a scale of 0 callers queue for workers as well.
const SHORTEST_TIMEOUT: f64 = 3.0;
/// Lab seconds between two tries to get what another holds.
const RETRY: f64 = 0.01;

/// One request, taken apart.
struct Asked {
    method: String,
    path: String,
    form: Form,
    raw: RawParams,
}

/// What is known of a call once it was answered.
#[derive(Default)]
struct Known {
    caller: String,
    class: String,
}

impl Lab {
    /// Answers one request of the API.
    pub(crate) async fn answer(&self, request: Request) -> Reply {
        let began = Instant::now();
        let time = journal::now();
        let method = request.method.as_str().to_owned();
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let fault = self.faults.take(&method, &request.path, &text);
        let mut known = Known::default();
        let asked = take_apart(&request, &method);
        let reply = self
            .with_fault(fault, &request, asked.as_ref(), &mut known)
            .await;
        let (path, body) = match &asked {
            Ok(asked) => (asked.path.clone(), wire::masked(&asked.raw)),
            Err(_) => (request.path.clone(), Value::Null),
        };
        self.counters.add("requests", 1);
        if !known.class.is_empty() {
            self.counters.add(&format!("call {}", known.class), 1);
        }
        if method != "GET" {
            self.counters.add("writes", 1);
            self.save_quietly();
        }
        if is_list(&known.class) {
            self.counters.add("lists", 1);
        }
        self.counters.add(&format!("status {}", reply.status), 1);
        self.record(&Entry {
            time,
            target: self.name.clone(),
            caller: known.caller,
            agent: request.header("user-agent").unwrap_or_default().to_owned(),
            trace: request.header("traceparent").unwrap_or_default().to_owned(),
            method,
            path,
            body,
            status: reply.status,
            duration_ms: began.elapsed().as_millis() as u64,
            note: reply.reason.as_ref().map(|r| json!({ "reason": r })),
        });
        reply
    }

    async fn with_fault(
        &self,
        fault: Option<Action>,
        request: &Request,
        asked: Result<&Asked, &Refusal>,
        known: &mut Known,
    ) -> Reply {
        let pause = |ms: u64| tokio::time::sleep(Duration::from_millis(ms));
        match fault {
            Some(Action::CloseBefore) => return Reply::closed(),
            Some(Action::HangBefore { ms }) => {
                pause(ms).await;
                return Reply::closed();
            }
            Some(Action::Status {
                status,
                reason,
                body,
                headers,
            }) => {
                let mut reply = Reply::new(status, "application/json;charset=UTF-8", body);
                reply.reason = reason;
                reply.headers.extend(headers);
                return reply;
            }
            Some(Action::Delay { ms }) => pause(ms).await,
            _ => {}
        }
        let reply = match asked {
            Err(refusal) => wire::refused(refusal, Form::Json),
            Ok(asked) => {
                let held = self.enter(asked);
                let verdict = self.carry_out(request, asked, known).await;
                self.leave(held);
                match verdict {
                    Ok(out) => wire::answered(out),
                    Err(refusal) => wire::refused(&refusal, asked.form),
                }
            }
        };
        match fault {
            Some(Action::CloseAfter) => Reply::closed(),
            Some(Action::StatusAfter {
                status,
                reason,
                body,
            }) => Reply {
                reason,
                ..Reply::new(status, "application/json;charset=UTF-8", body)
            },
            Some(Action::Hang { ms }) => {
                pause(ms).await;
                reply
            }
            _ => reply,
        }
    }

    /// Notes a write on a guest as under way.
    fn enter(&self, asked: &Asked) -> Option<String> {
        if asked.method == "GET" {
            return None;
        }
        let guest = guest_of(&asked.path)?;
        let mut all = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let held = all.entry(guest.clone()).or_default();
        *held += 1;
        self.counters.raise("in flight per guest", *held);
        self.counters.raise(&format!("in flight {guest}"), *held);
        Some(guest)
    }

    fn leave(&self, guest: Option<String>) {
        let Some(guest) = guest else { return };
        let mut all = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = all.get_mut(&guest) {
            *held = held.saturating_sub(1);
        }
    }

    /// Logs in, finds the call and carries it out.
    async fn carry_out(&self, request: &Request, asked: &Asked, known: &mut Known) -> Answer<Out> {
        if ["PATCH", "HEAD", "OPTIONS"].contains(&asked.method.as_str()) {
            return Err(Refusal::bare(
                501,
                format!("method '{}' not available", asked.method),
            ));
        }
        if self.cluster().scale > 0.0 {
            self.tick();
        }
        if self.cluster().world.pmxcfs_dead {
            let seconds = REFUSAL_DELAY * self.cluster().scale;
            self.clock.wait(seconds).await;
            return Err(Refusal::fail(PMXCFS_DEAD));
        }
        if asked.method == "POST" && asked.path == "/access/ticket" {
            known.class = "POST /access/ticket".to_owned();
            let verdict = self.cluster().login(&asked.raw);
            return self.slow_refusal(verdict.map(Into::into)).await;
        }
        let given = wire::credentials(request);
        let who = self.cluster().authenticate(&asked.method, &given);
        let who = match who {
            Ok(who) => who,
            Err(refusal) => return self.slow_refusal(Err(refusal)).await,
        };
        known.caller = who.full();
        let Some((route, found)) = routes::find(&asked.method, &asked.path) else {
            return Err(Refusal::no_method(&asked.method, &asked.path));
        };
        known.class = routes::class(route);
        if route.path.contains("/tasks") {
            // Who looks at tasks sees those ended that are due, whatever the scale.
            self.tick();
        }
        let node = found.get("node").map_or("", String::as_str);
        let _worker = if is_answered_by_proxy(&known.class) {
            None
        } else {
            Some(self.daemon(node).await?)
        };
        if asked.method != "GET" && self.cluster().world.no_quorum {
            return Err(Refusal::fail("cluster not ready - no quorum?"));
        }
        self.before_call(&asked.method, &asked.path, &asked.raw);
        let began = self.clock.now();
        let mut waits = false;
        let out = loop {
            let verdict = self.cluster().serve(&who, route, &found, &asked.raw);
            match verdict {
                Err(refusal) if refusal.patience > 0.0 => {
                    let limit = self.cluster().waiting(refusal.patience);
                    if self.clock.now() - began >= limit {
                        return Err(refusal);
                    }
                    if !waits {
                        self.counters.add("waited for a file lock", 1);
                        waits = true;
                    }
                    self.clock.wait(RETRY).await;
                    self.tick();
                }
                verdict => break verdict?,
            }
        };
        self.background(route, asked, out).await
    }

    /// A worker of the API daemon, if it is up and one of its workers is free in time.
    async fn daemon(&self, node: &str) -> Answer<OwnedSemaphorePermit> {
        if self.cluster().world.daemon_down {
            return Err(Refusal::bare(595, "Connection refused"));
        }
        let seconds = self.cluster().waiting(PROXY_TIMEOUT);
        let timeout = Duration::from_secs_f64(seconds.max(SHORTEST_TIMEOUT));
        tokio::time::timeout(timeout, self.worker(node))
            .await
            .ok()
            .flatten()
            .ok_or_else(|| Refusal::bare(596, "Connection timed out"))
    }

    /// Every 401 is late.
    async fn slow_refusal(&self, verdict: Answer<Out>) -> Answer<Out> {
        if verdict.as_ref().is_err_and(|r| r.status == 401) {
            let seconds = REFUSAL_DELAY * self.cluster().scale;
            self.clock.wait(seconds).await;
        }
        verdict
    }

    /// `background_delay`: waits for the task, and answers with nothing when it ended well.
    async fn background(&self, route: &Route, asked: &Asked, out: Out) -> Answer<Out> {
        let delay = match asked.raw.get("background_delay") {
            Some(Raw::One(text)) if route.method == "POST" => text.parse::<f64>().ok(),
            _ => None,
        };
        let (Some(delay), Out::Data(Value::String(upid))) = (delay, &out) else {
            return Ok(out);
        };
        let began = self.clock.now();
        loop {
            self.clock.wait(RETRY).await;
            self.tick();
            let ended = {
                let cluster = self.cluster();
                let task = cluster.tasks.find(upid).map(|(_, t)| t.clone());
                task.filter(|t| !t.is_running())
            };
            if let Some(task) = ended {
                if task.is_good() {
                    return Ok(Value::Null.into());
                }
                let exit = task.end.map(|(_, exit)| exit).unwrap_or_default();
                return Err(Refusal::fail(format!(
                    "failed to update VM {}: {exit}",
                    task.id
                )));
            }
            let limit = self.cluster().waiting(delay);
            if self.clock.now() - began >= limit {
                return Ok(out);
            }
        }
    }
}

fn take_apart(request: &Request, method: &str) -> Result<Asked, Refusal> {
    let (form, path) = wire::split_path(&request.path)?;
    let raw = wire::parameters(request)?;
    Ok(Asked {
        method: method.to_owned(),
        path,
        form,
        raw,
    })
}

/// The guest a path is about, as `qemu/100`.
fn guest_of(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    match parts.as_slice() {
        ["nodes", _, kind @ ("qemu" | "lxc"), vmid, ..] => Some(format!("{kind}/{vmid}")),
        _ => None,
    }
}

/// Whether the proxy answers a call itself, without a worker of the API daemon.
fn is_answered_by_proxy(class: &str) -> bool {
    [
        "GET /version",
        "GET /access/permissions",
        "GET /cluster/resources",
        "GET /cluster/nextid",
        "GET /nodes/{node}/qemu/{vmid}/config",
        "GET /nodes/{node}/lxc/{vmid}/config",
        "GET /nodes/{node}/tasks",
        "GET /nodes/{node}/tasks/{upid}/status",
    ]
    .contains(&class)
}

/// Whether a call lists many things at once.
fn is_list(class: &str) -> bool {
    [
        "GET /cluster/resources",
        "GET /cluster/tasks",
        "GET /nodes/{node}/qemu",
        "GET /nodes/{node}/lxc",
        "GET /nodes/{node}/tasks",
        "GET /nodes/{node}/storage/{storage}/content",
        "GET /pools",
    ]
    .contains(&class)
}
