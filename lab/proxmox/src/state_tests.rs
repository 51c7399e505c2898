//! Tries the state without HTTP: calls and the passing of time, nothing else.

mod claims;
mod configs;
mod locks;
mod rights;
mod volumes;

use serde_json::{Value, json};

use crate::access::Caller;
use crate::model::Cluster;
use crate::refusal::{Answer, Refusal};
use crate::routes::{self, Out};
use crate::schema::{Raw, RawParams};
use crate::seed::Seed;

/// A cluster of the example seed, and who talks to it.
struct Desk {
    cluster: Cluster,
    /// The token of the example: rights by pool.
    token: Caller,
    root: Caller,
}

impl Desk {
    fn new() -> Self {
        let cluster = Seed::example()
            .build("c1", 1.0, 1_800_000_000)
            .expect("the example builds");
        let token = Caller {
            user: "op@pve".into(),
            token: Some("bitbuilder".into()),
        };
        Self {
            cluster,
            token,
            root: Caller::root(),
        }
    }

    /// Makes a call; `params` is an object.
    fn call(&mut self, who: &Caller, call: &str, params: &Value) -> Answer<Value> {
        let (method, path) = call.split_once(' ').expect("METHOD PATH");
        let raw: RawParams = params
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| {
                let text = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
                (k.clone(), Raw::One(text))
            })
            .collect();
        let (route, found) = routes::find(method, path).expect("there is such a call");
        match self.cluster.serve(who, route, &found, &raw)? {
            Out::Data(value) | Out::Total(value, _) => Ok(value),
            Out::Text(text) => Ok(json!(text)),
        }
    }

    fn by_token(&mut self, call: &str, params: &Value) -> Answer<Value> {
        let who = self.token.clone();
        self.call(&who, call, params)
    }

    fn by_root(&mut self, call: &str, params: &Value) -> Answer<Value> {
        let who = self.root.clone();
        self.call(&who, call, params)
    }

    /// Lets seconds pass.
    fn pass(&mut self, seconds: f64) {
        let target = self.cluster.now + seconds;
        self.cluster.tick(target);
    }

    /// Lets time pass until a task has ended, and gives its exit text.
    fn finish(&mut self, upid: &Value) -> String {
        let upid = upid.as_str().expect("there is a task").to_owned();
        for _ in 0..10_000 {
            if let Some((_, task)) = self.cluster.tasks.find(&upid)
                && let Some((_, exit)) = &task.end
            {
                return exit.clone();
            }
            self.pass(0.05);
        }
        panic!("{upid} does not end");
    }

    /// A call whose task has to end well.
    fn done(&mut self, who: &Caller, call: &str, params: &Value) {
        let upid = self.call(who, call, params).expect("the call is taken");
        assert_eq!(self.finish(&upid), "OK", "{call}");
    }

    /// A linked clone of the template in the token's pool.
    fn clone_to(&mut self, newid: u32) {
        let who = self.token.clone();
        let params = json!({ "newid": newid, "name": format!("g{newid}"), "pool": "bitbuilder",
                             "description": "mark" });
        self.done(&who, "POST /nodes/pve1/qemu/9000/clone", &params);
    }
}

/// The words of a refusal.
fn words(answer: Answer<Value>) -> String {
    let refusal: Refusal = answer.expect_err("the call is refused");
    format!("{} {}", refusal.status, refusal.reason)
}
