//! Turns plain HTTP on a port of its own into questions to a stand-in and faults put into it.
//!
//! It is separate from the product's API so that nothing a test asks shows up as a call.

use ::http::Method;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;

use crate::faults::{Fault, Faults};
use crate::http::{BodyLimit, Reply, Request, serve};
use crate::journal::Journal;
use crate::{Counters, Stop};

/// A future as the stand-in's own routes return it.
pub type Answer = Pin<Box<dyn Future<Output = Option<Reply>> + Send>>;

/// What the control port speaks for. Clones share everything.
///
/// | call | answer |
/// |---|---|
/// | `GET /counters` | `{name: number}` |
/// | `POST /counters/reset` | forgets the counts, and the journal's entries in memory |
/// | `GET /journal` | the entries in memory |
/// | `GET /faults`, `POST /faults`, `DELETE /faults` | the faults that wait; adds one; removes all |
/// | `GET /state` | what the stand-in says of itself |
/// | `POST /shutdown` | ends it |
#[derive(Clone)]
pub struct Control {
    pub counters: Counters,
    pub journal: Journal,
    pub faults: Faults,
    pub stop: Stop,
    state: Arc<dyn Fn() -> Value + Send + Sync>,
    own: Arc<dyn Fn(Request) -> Answer + Send + Sync>,
}

impl Control {
    /// A control port for a stand-in whose state `state` renders.
    pub fn new(stop: Stop, state: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        Self {
            counters: Counters::default(),
            journal: Journal::default(),
            faults: Faults::default(),
            stop,
            state: Arc::new(state),
            own: Arc::new(|_| Box::pin(async { None })),
        }
    }

    /// The same with these counters, journal and faults.
    #[must_use]
    pub fn sharing(mut self, counters: &Counters, journal: &Journal, faults: &Faults) -> Self {
        self.counters = counters.clone();
        self.journal = journal.clone();
        self.faults = faults.clone();
        self
    }

    /// The same with routes of the stand-in's own, asked first; `None` means not one of them.
    #[must_use]
    pub fn routes(mut self, own: impl Fn(Request) -> Answer + Send + Sync + 'static) -> Self {
        self.own = Arc::new(own);
        self
    }

    /// Serves on `listener` until [`Control::stop`] is given.
    pub async fn run(self, listener: TcpListener) {
        let stop = self.stop.clone();
        let service = move |request: Request| {
            let control = self.clone();
            async move { control.answer(request).await }
        };
        serve(listener, None, BodyLimit::bytes(64 << 20), service, stop).await;
    }

    async fn answer(&self, request: Request) -> Reply {
        if let Some(reply) = (self.own)(request.clone()).await {
            return reply;
        }
        match (&request.method, request.path.as_str()) {
            (&Method::GET, "/counters") => Reply::json(200, &self.counters.all()),
            (&Method::POST, "/counters/reset") => {
                self.counters.reset();
                self.journal.clear_memory();
                done()
            }
            (&Method::GET, "/journal") => Reply::json(200, &self.journal.entries()),
            (&Method::GET, "/faults") => Reply::json(200, &self.faults.waiting()),
            (&Method::POST, "/faults") => match serde_json::from_slice::<Fault>(&request.body) {
                Ok(fault) => {
                    self.faults.add(fault);
                    done()
                }
                Err(error) => Reply::json(400, &json!({"error": format!("not a fault: {error}")})),
            },
            (&Method::DELETE, "/faults") => {
                self.faults.clear();
                done()
            }
            (&Method::GET, "/state") => Reply::json(200, &(self.state)()),
            (&Method::POST, "/shutdown") => {
                self.stop.stop();
                done()
            }
            _ => Reply::json(404, &json!({"error": "no such control route"})),
        }
    }
}

fn done() -> Reply {
    Reply::json(200, &json!({"ok": true}))
}
