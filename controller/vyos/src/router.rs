//! Turns calls of any number of tasks into one request at a time to one router.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bb_wire::{Mandate, Observer, Rate};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::debt::{Debt, Ledger};
use crate::endpoint::{Counts, Done, Endpoint, Facts, Limits};
use crate::error::RouterError;
use crate::op::{Op, Verb};
use crate::reply::{Asked, Reply};
use crate::text::Mask;
use crate::transport::{Call, Transport};

/// A client of one router. Clones share its turn, its counts and its settings.
///
/// At most one request is under way: the API has one session for all, a read during a commit
/// sees the candidate, and builds of VyOS between mid 2025 and 2026-02 hang for good on two
/// commits at once. A request once sent keeps its turn until it is answered or its time is up,
/// even when the caller has gone.
#[derive(Clone)]
pub struct Router {
    transport: Arc<Transport>,
    turn: Arc<Mutex<()>>,
    limits: Limits,
    debt: Option<Arc<Debt>>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("name", &self.transport.name())
            .field("url", &self.transport.url())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Router {
    /// A client with the usual limits. Nothing is sent yet.
    ///
    /// # Errors
    /// [`RouterError::Endpoint`]: address, key or trust cannot be used.
    pub fn new(endpoint: Endpoint) -> Result<Self, RouterError> {
        Self::with_limits(endpoint, Limits::default())
    }

    /// A client with limits of its own.
    ///
    /// # Errors
    /// As [`Router::new`].
    pub fn with_limits(endpoint: Endpoint, limits: Limits) -> Result<Self, RouterError> {
        Self::made(endpoint, limits, Mandate::default())
    }

    /// A client with the usual limits that changes nothing once `mandate` has ended.
    ///
    /// # Errors
    /// As [`Router::new`].
    pub fn under(endpoint: Endpoint, mandate: Mandate) -> Result<Self, RouterError> {
        Self::made(endpoint, Limits::default(), mandate)
    }

    fn made(endpoint: Endpoint, limits: Limits, mandate: Mandate) -> Result<Self, RouterError> {
        let transport = Transport::new(endpoint, &limits, mandate);
        let transport = transport.map_err(|text| RouterError::Endpoint { text })?;
        Ok(Self {
            transport: Arc::new(transport),
            turn: Arc::default(),
            limits,
            debt: None,
        })
    }

    /// The same client, which has it recorded that a save is owed before it sends a change, and
    /// that none is when it has saved. `owed` is what is recorded now.
    #[must_use]
    pub fn keeping(self, ledger: Arc<dyn Ledger>, owed: bool) -> Self {
        let debt = Some(Arc::new(Debt::new(ledger, owed)));
        Self { debt, ..self }
    }

    /// The same client, which tells `observer` of every request.
    #[must_use]
    pub fn observed(self, observer: Observer) -> Self {
        self.transport.tell(observer);
        self
    }

    /// Whether it is recorded that the router runs, or may run, what it has not saved.
    #[must_use]
    pub fn owes_save(&self) -> bool {
        self.debt.as_ref().is_some_and(|debt| debt.is_owed())
    }

    /// How fast it is asked from now on.
    pub fn pace(&self, rate: Rate) {
        self.transport.pace(rate);
    }

    /// How people call the router.
    #[must_use]
    pub fn name(&self) -> &str {
        self.transport.name()
    }

    /// The longest `data` field that [`Router::configure`] sends; for [`crate::cut`].
    #[must_use]
    pub fn list_bytes(&self) -> usize {
        self.limits.body_bytes.saturating_sub(self.form("").len())
    }

    /// Reads the whole running configuration in one request: an object per node, a text or a
    /// list per leaf, `{}` for what has neither value nor child.
    ///
    /// A read of everything never sees the middle of somebody's commit: it fails until that has
    /// ended, and is tried again for a bounded time. In place of API keys a mask stands.
    ///
    /// # Errors
    /// Any class but `Invalid`, `Refused` and `Unknown`.
    pub async fn show_config(&self) -> Result<Value, RouterError> {
        let shown = self
            .read("/retrieve", &json!({"op": "showConfig", "path": []}))
            .await?;
        // What answers is itself configured: a configuration without it is not all of it, and
        // would be taken for a router on which nothing of ours is.
        if shown.pointer("/service/https").is_some() {
            return Ok(without_keys(shown));
        }
        Err(RouterError::Unexpected {
            status: 200,
            text: "what it shows is not its whole configuration: `service https` is missing"
                .to_owned(),
        })
    }

    /// Sends a list as one commit. An empty list is not sent.
    ///
    /// A success means that every command took effect in the running configuration; it is not
    /// saved. After an error for which [`RouterError::may_have_changed`] holds, read.
    ///
    /// # Errors
    /// Any class. `TooLarge`, `OffLimits` and `Unrecorded` come before anything is sent.
    pub async fn configure(&self, ops: &[Op]) -> Result<Done, RouterError> {
        if let Some(op) = ops.iter().find(|op| is_off_limits(op)) {
            return Err(RouterError::OffLimits {
                command: op.to_string(),
            });
        }
        if ops.is_empty() {
            return Ok(Done::default());
        }
        let body = self.form(&render(&ops));
        let limit = self.limits.body_bytes;
        if body.len() > limit {
            return Err(RouterError::TooLarge {
                bytes: body.len(),
                limit,
            });
        }
        if let Some(debt) = &self.debt {
            debt.owe().await?;
        }
        let call = Call {
            path: "/configure",
            method: Method::POST,
            body: Some(body),
            deadline: self.limits.configure,
        };
        let mask = self.mask(ops);
        let data = self.send(call).await?.judge(Asked::Configure(ops), &mask)?;
        let warnings = data
            .as_str()
            .map(|text| mask.line(text))
            .filter(|text| !text.is_empty());
        Ok(Done { warnings })
    }

    /// Writes the running configuration to the router's disk, as it is started from.
    ///
    /// # Errors
    /// Any class but `Invalid`, `Refused`, `TooLarge` and `OffLimits`. After `Unknown` it may be
    /// saved again at once.
    pub async fn save(&self) -> Result<(), RouterError> {
        let call = self.post("/config-file", &json!({"op": "save"}));
        let saved = self.send(call).await?;
        saved.judge(Asked::Save, &self.mask(&[]))?;
        if let Some(debt) = &self.debt {
            debt.paid().await;
        }
        Ok(())
    }

    /// Asks the router for its version and name: `GET /info` of newer builds, which asks for no
    /// key, else `show version` and the configured host name.
    ///
    /// # Errors
    /// Any class but `Invalid`, `Refused` and `Unknown`.
    pub async fn facts(&self) -> Result<Facts, RouterError> {
        let info = Call {
            path: "/info?version=true&hostname=true",
            method: Method::GET,
            body: None,
            deadline: self.limits.read,
        };
        let mask = self.mask(&[]);
        if let Ok(data) = self.send(info).await?.judge(Asked::Read, &mask) {
            let text = |field: &str| data.get(field).and_then(Value::as_str).map(str::to_owned);
            if let (Some(version), Some(hostname)) = (text("version"), text("hostname")) {
                return Ok(Facts {
                    version: bare_version(&version),
                    hostname,
                });
            }
        }
        let shown = self
            .read("/show", &json!({"op": "show", "path": ["version"]}))
            .await?;
        let named = json!({"op": "showConfig", "path": ["system", "host-name"]});
        let named = self.read("/retrieve", &named).await?;
        Ok(Facts {
            version: parse_version(shown.as_str().unwrap_or_default()),
            hostname: named["host-name"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// What was sent so far.
    #[must_use]
    pub fn requests(&self) -> Counts {
        self.transport.counts()
    }

    /// Asks for something that changes nothing, again while the router is busy.
    async fn read(&self, path: &'static str, command: &Value) -> Result<Value, RouterError> {
        let mask = self.mask(&[]);
        let mut pause = self.limits.pause;
        let mut left = self.limits.tries.saturating_sub(1);
        loop {
            let reply = self.send(self.post(path, command)).await?;
            match reply.judge(Asked::Read, &mask) {
                Err(RouterError::Busy { text }) if left > 0 => {
                    tracing::debug!(router = %self.transport.name(), path, %text, "busy, read again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    left -= 1;
                }
                judged => return judged,
            }
        }
    }

    fn post(&self, path: &'static str, command: &Value) -> Call {
        let body = Some(self.form(&render(command)));
        Call {
            path,
            method: Method::POST,
            body,
            deadline: self.limits.read,
        }
    }

    fn form(&self, data: &str) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("data", data)
            .append_pair("key", self.transport.key());
        form.finish()
    }

    fn mask(&self, ops: &[Op]) -> Mask {
        Mask::new(
            ops.iter()
                .filter_map(Op::secret)
                .chain([self.transport.key()]),
        )
    }

    /// Waits for the turn, then sends. The request is a task of its own that holds the turn: when
    /// the caller gives up, the router still works on it.
    async fn send(&self, call: Call) -> Result<Reply, RouterError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let transport = Arc::clone(&self.transport);
        let asks = call.path;
        let exchange = async move {
            let reply = transport.exchange(call).await;
            drop(turn);
            reply
        };
        let sent = tokio::spawn(exchange.in_current_span());
        sent.await.unwrap_or_else(|error| {
            Err(RouterError::Unknown {
                text: format!("{asks} was given up: {error}"),
            })
        })
    }
}

/// Puts a mask in place of the router's API keys, which stand in its configuration.
fn without_keys(mut shown: Value) -> Value {
    let ids = shown
        .pointer_mut("/service/https/api/keys/id")
        .and_then(Value::as_object_mut);
    for key in ids
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(|id| id.get_mut("key"))
    {
        *key = "***".into();
    }
    shown
}

/// Whether a command touches the API itself, or everything.
fn is_off_limits(op: &Op) -> bool {
    const OWN: [&str; 2] = ["service", "https"];
    let shared = op.path.len().min(OWN.len());
    let along = op.path[..shared]
        .iter()
        .zip(OWN)
        .all(|(word, own)| word == own);
    match op.verb {
        Verb::Delete => along,
        Verb::Set => op.path.is_empty() || (along && shared == OWN.len()),
    }
}

fn render(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts always render as JSON")
}

/// Reads the answer of `show version`, meant for people.
fn parse_version(shown: &str) -> String {
    let fields: BTreeMap<&str, &str> = shown
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    bare_version(fields.get("Version").copied().unwrap_or_default())
}

fn bare_version(text: &str) -> String {
    let text = text.trim();
    text.strip_prefix("VyOS")
        .unwrap_or(text)
        .trim()
        .chars()
        .take(80)
        .collect()
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
