//! Tries the stand-in from outside: TLS, control port, faults, time, restart.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

use std::time::Duration;

use bb_lab_kit::faults::{Action, Fault};
use bb_lab_proxmox::clock::Clock;
use bb_lab_proxmox::{Config, ProxmoxLab, Running};
use serde_json::{Value, json};

/// The token of the example seed, over HTTP.
struct Client {
    http: reqwest::Client,
    api: String,
    control: String,
    token: String,
}

impl Client {
    fn new(lab: &Running) -> Self {
        let http = reqwest::Client::builder();
        let http = if lab.ca_pem.is_empty() {
            http.build().unwrap()
        } else {
            let ca = reqwest::Certificate::from_pem(lab.ca_pem.as_bytes()).unwrap();
            http.tls_certs_only([ca]).build().unwrap()
        };
        Self {
            http,
            api: format!("{}/api2/json", lab.api),
            control: lab.control.clone(),
            token: lab.tokens["op@pve!bitbuilder"].clone(),
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        form: &[(&str, &str)],
    ) -> reqwest::Result<(u16, Value)> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self
            .http
            .request(method.clone(), format!("{}{path}", self.api));
        let request = request.header("authorization", &self.token);
        let request = match method.as_str() {
            "GET" | "DELETE" => request.query(form),
            _ => request.form(form),
        };
        let reply = request.send().await?;
        let status = reply.status().as_u16();
        let body = reply.text().await?;
        Ok((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
    }

    async fn call(&self, method: &str, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        self.send(method, path, form).await.unwrap()
    }

    async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}{path}", self.control);
        let reply = self
            .http
            .request(method, url)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert!(reply.status().is_success(), "{path}: {reply:?}");
        reply.json().await.unwrap()
    }

    /// Polls a task until it has ended.
    async fn finish(&self, upid: &Value) -> String {
        let path = format!("/nodes/pve1/tasks/{}/status", upid.as_str().unwrap());
        let poll = async {
            loop {
                let (_, body) = self.call("GET", &path.replace('!', "%21"), &[]).await;
                if let Some(exit) = body["data"]["exitstatus"].as_str() {
                    return exit.to_owned();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), poll)
            .await
            .unwrap()
    }

    async fn clone_to(&self, newid: &str) {
        let (status, body) = self.call("POST", CLONE, &[("newid", newid), POOL]).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(self.finish(&body["data"]).await, "OK");
    }
}

const CLONE: &str = "/nodes/pve1/qemu/9000/clone";
const POOL: (&str, &str) = ("pool", "bitbuilder");

async fn plain(config: Config) -> (Running, Client) {
    let lab = ProxmoxLab::start(Config {
        plain: true,
        ..config
    })
    .await
    .unwrap();
    let client = Client::new(&lab);
    (lab, client)
}

#[tokio::test]
async fn the_certificate_it_shows_is_the_one_it_gives_away() {
    let lab = ProxmoxLab::start(Config::default()).await.unwrap();
    let client = Client::new(&lab);
    let (status, nodes) = client.call("GET", "/nodes", &[]).await;
    assert_eq!(status, 200);
    assert_eq!(nodes["data"][0]["ssl_fingerprint"], json!(lab.sha256));
    let stranger = ProxmoxLab::start(Config::default()).await.unwrap();
    let wrong = Client {
        api: format!("{}/api2/json", stranger.api),
        ..Client::new(&lab)
    };
    assert!(
        wrong.send("GET", "/version", &[]).await.is_err(),
        "another's is not trusted"
    );
    lab.stop().await;
    stranger.stop().await;
}

#[tokio::test]
async fn at_scale_0_a_task_still_outlives_its_post() {
    let (lab, client) = plain(Config {
        clock: Clock::manual(),
        ..Config::default()
    })
    .await;
    let (_, clone) = client.call("POST", CLONE, &[("newid", "5000"), POOL]).await;
    let config = "/nodes/pve1/qemu/5000/config";
    assert_eq!(
        client.call("GET", config, &[]).await.0,
        403,
        "it is not there yet"
    );
    assert_eq!(client.finish(&clone["data"]).await, "OK");
    assert_eq!(client.call("GET", config, &[]).await.0, 200);
    lab.stop().await;
}

#[tokio::test]
async fn a_refusal_to_log_in_is_late_by_the_scale() {
    let clock = Clock::manual();
    let (lab, client) = plain(Config {
        clock,
        time_scale: 1.0,
        ..Config::default()
    })
    .await;
    let stranger = Client {
        token: "PVEAPIToken=op@pve!bitbuilder=wrong".into(),
        ..client
    };
    assert_eq!(
        stranger.call("GET", "/version", &[]).await,
        (401, Value::Null)
    );
    let (_, state) = (
        0,
        stranger
            .control("POST", "/advance", json!({"seconds": 0}))
            .await,
    );
    assert_eq!(state["ok"], true);
    let now = stranger.control("GET", "/state", Value::Null).await["now"]
        .as_f64()
        .unwrap();
    assert!((3.0..3.5).contains(&now), "it took {now} s");
    lab.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_was_carried_out_all_the_same() {
    let (lab, client) = plain(Config::default()).await;
    lab.faults()
        .add(Fault::new(Action::CloseAfter).method("POST").path("/clone"));
    let lost = client.send("POST", CLONE, &[("newid", "5000"), POOL]).await;
    assert!(lost.is_err(), "there is no answer");
    let (status, body) = client
        .call("GET", "/cluster/nextid", &[("vmid", "5000")])
        .await;
    let begun = client
        .call("GET", "/nodes/pve1/tasks", &[("source", "all")])
        .await
        .1;
    assert_eq!(
        begun["data"][0]["type"], "qmclone",
        "the task is the token's own"
    );
    assert!(status == 200 || body["errors"]["vmid"] == "VM 5000 already exists");
    client.finish(&begun["data"][0]["upid"]).await;
    assert_eq!(
        client
            .call("GET", "/nodes/pve1/qemu/5000/config", &[])
            .await
            .0,
        200
    );
    lab.faults()
        .add(Fault::new(Action::CloseBefore).method("DELETE"));
    assert!(
        client
            .send("DELETE", "/nodes/pve1/qemu/5000", &[])
            .await
            .is_err()
    );
    assert_eq!(
        client
            .call("GET", "/nodes/pve1/qemu/5000/config", &[])
            .await
            .0,
        200
    );
    lab.stop().await;
}

#[tokio::test]
async fn a_config_write_in_the_background_is_one_request() {
    let (lab, client) = plain(Config::default()).await;
    client.clone_to("5000").await;
    let config = "/nodes/pve1/qemu/5000/config";
    let delay = ("background_delay", "5");
    assert_eq!(
        client.call("POST", config, &[("cores", "3"), delay]).await,
        (200, json!({ "data": null }))
    );
    let (status, body) = client
        .call("POST", config, &[("scsi5", "ssd:vm-5000-disk-77"), delay])
        .await;
    assert_eq!(
        (status, body["message"].as_str().unwrap()),
        (
            500,
            "failed to update VM 5000: volume 'ssd:vm-5000-disk-77' does not exist\n"
        )
    );
    lab.stop().await;
}

#[tokio::test]
async fn a_held_file_lock_is_waited_for_and_then_named() {
    let (lab, client) = plain(Config::default()).await;
    client.clone_to("5000").await;
    client
        .control("POST", "/guest/5000/hold", json!({ "held": true }))
        .await;
    let config = "/nodes/pve1/qemu/5000/config";
    let (status, body) = client.call("PUT", config, &[("cores", "3")]).await;
    assert_eq!(status, 500);
    assert_eq!(
        body["message"],
        "can't lock file '/var/lock/qemu-server/lock-5000.conf' - got timeout\n"
    );
    client
        .control("POST", "/guest/5000/hold", json!({ "held": false }))
        .await;
    assert_eq!(client.call("PUT", config, &[("cores", "3")]).await.0, 200);
    lab.stop().await;
}

#[tokio::test]
async fn three_writes_that_wait_stall_what_needs_the_daemon() {
    let (lab, client) = plain(Config {
        time_scale: 0.05,
        ..Config::default()
    })
    .await;
    let client = std::sync::Arc::new(client);
    let mut writes = tokio::task::JoinSet::new();
    for vmid in ["5000", "5001", "5002"] {
        client.clone_to(vmid).await;
        client
            .control(
                "POST",
                &format!("/guest/{vmid}/hold"),
                json!({ "held": true }),
            )
            .await;
        let client = client.clone();
        writes.spawn(async move {
            let path = format!("/nodes/pve1/qemu/{vmid}/config");
            client.call("PUT", &path, &[("cores", "1")]).await.0
        });
    }
    let all_wait = async {
        while lab.counters().get("waited for a file lock") != Some(&3) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), all_wait)
        .await
        .unwrap();
    let status = client.call("GET", "/nodes/pve1/qemu/9000/status/current", &[]);
    let config = client.call("GET", "/nodes/pve1/qemu/9000/config", &[]);
    tokio::select! {
        biased;
        (status, _) = config => assert_eq!(status, 200, "the proxy answers this itself"),
        _ = status => panic!("the status came although no worker is free"),
    }
    while let Some(status) = writes.join_next().await {
        assert_eq!(status.unwrap(), 500, "the lock is never free");
    }
    let (status, _) = client
        .call("GET", "/nodes/pve1/qemu/9000/status/current", &[])
        .await;
    assert_eq!(status, 200);
    lab.stop().await;
}

#[tokio::test]
async fn the_control_port_plays_the_people_and_the_hardware() {
    let (lab, client) = plain(Config::default()).await;
    client.clone_to("5000").await;
    let config = "/nodes/pve1/qemu/5000/config";
    let edit = json!({ "set": { "name": "renamed" }, "delete": ["tags"] });
    client.control("POST", "/guest/5000/edit", edit).await;
    let (_, body) = client.call("GET", config, &[]).await;
    assert_eq!(body["data"]["name"], "renamed");
    assert!(body["data"].get("tags").is_none());
    client
        .control("POST", "/guest/5000/lock", json!({ "lock": "backup" }))
        .await;
    let (_, body) = client.call("PUT", config, &[("cores", "3")]).await;
    assert_eq!(body["message"], "VM is locked (backup)\n");
    client
        .control("POST", "/guest/5000/lock", json!({ "lock": null }))
        .await;
    client
        .control("POST", "/guest/5000/start", Value::Null)
        .await;
    let current = "/nodes/pve1/qemu/5000/status/current";
    assert_eq!(
        client.call("GET", current, &[]).await.1["data"]["status"],
        "running"
    );
    client
        .control("POST", "/node/pve2", json!({ "online": false }))
        .await;
    assert_eq!(
        client.call("GET", "/nodes/pve2/lxc", &[]).await,
        (595, Value::Null)
    );
    client
        .control("POST", "/storage/ssd", json!({ "full": true }))
        .await;
    let full = [("newid", "5001"), POOL, ("full", "1")];
    let (_, body) = client.call("POST", CLONE, &full).await;
    let exit = client.finish(&body["data"]).await;
    assert!(exit.starts_with("clone failed: copy failed"), "{exit}");
    client
        .control("POST", "/guest/5000/destroy", Value::Null)
        .await;
    assert_eq!(client.call("GET", config, &[]).await.0, 403);
    let world = json!({ "answers_shutdown": false });
    client.control("POST", "/world", world).await;
    let state = client.control("GET", "/state", Value::Null).await;
    assert_eq!(state["world"]["answers_shutdown"], false);
    let tokens = client.control("GET", "/tokens", Value::Null).await;
    assert_eq!(tokens["op@pve!bitbuilder"], client.token);
    lab.stop().await;
}

#[tokio::test]
async fn a_killed_worker_is_told_by_its_task() {
    let (lab, client) = plain(Config {
        time_scale: 1.0,
        clock: Clock::manual(),
        ..Config::default()
    })
    .await;
    let full = [("newid", "5000"), POOL, ("full", "1")];
    let (_, body) = client.call("POST", CLONE, &full).await;
    client
        .control("POST", "/advance", json!({ "seconds": 1.0 }))
        .await;
    client
        .control("POST", "/kill-task", json!({ "upid": body["data"] }))
        .await;
    assert_eq!(client.finish(&body["data"]).await, "unexpected status");
    let snapshot = client.control("GET", "/snapshot", Value::Null).await;
    assert_eq!(snapshot["guests"]["5000"]["config"]["lock"], "clone");
    lab.stop().await;
}

#[tokio::test]
async fn counters_tell_lists_and_writes_apart() {
    let (lab, client) = plain(Config::default()).await;
    client.clone_to("5000").await;
    lab.counts().reset();
    client.call("GET", "/cluster/resources", &[]).await;
    client
        .call("GET", "/nodes/pve1/qemu/5000/config", &[])
        .await;
    client
        .call("PUT", "/nodes/pve1/qemu/5000/config", &[("cores", "4")])
        .await;
    let counters = lab.counters();
    assert_eq!(counters["requests"], 3);
    assert_eq!((counters["lists"], counters["writes"]), (1, 1));
    assert_eq!(counters["call GET /nodes/{node}/qemu/{vmid}/config"], 1);
    assert_eq!(counters["in flight per guest"], 1);
    let last = lab.journal().pop().unwrap();
    assert_eq!((last.method.as_str(), last.status), ("PUT", 200));
    assert_eq!(
        (last.caller.as_str(), &last.body),
        ("op@pve!bitbuilder", &json!({ "cores": "4" }))
    );
    lab.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_the_state_and_loses_the_workers() {
    let dir = tempfile::tempdir().unwrap();
    let state = Some(dir.path().join("state.json"));
    let clock = || Clock::manual();
    let config = Config {
        state: state.clone(),
        time_scale: 1.0,
        clock: clock(),
        ..Config::default()
    };
    let (lab, client) = plain(config).await;
    let full = [("newid", "5000"), POOL, ("full", "1")];
    let (_, body) = client.call("POST", CLONE, &full).await;
    client
        .control("POST", "/advance", json!({ "seconds": 1.0 }))
        .await;
    let before = lab.snapshot();
    lab.stop().await;
    let config = Config {
        state,
        time_scale: 1.0,
        clock: clock(),
        ..Config::default()
    };
    let (lab, client) = plain(config).await;
    assert_eq!(lab.snapshot(), before);
    assert_eq!(client.finish(&body["data"]).await, "unexpected status");
    lab.stop().await;
}

#[tokio::test]
async fn bodies_it_cannot_read_are_refused_as_there() {
    let (lab, client) = plain(Config::default()).await;
    client.clone_to("5000").await;
    let url = format!("{}/nodes/pve1/qemu/5000/config", client.api);
    let put = |kind: &'static str, body: String| {
        let request = client.http.put(&url).header("authorization", &client.token);
        let request = request.header("content-type", kind).body(body);
        async { request.send().await.unwrap().status().as_u16() }
    };
    for (kind, body, status) in [
        (
            "application/json",
            json!({ "onboot": true, "cores": 3 }).to_string(),
            200,
        ),
        (
            "application/json",
            json!({ "delete": ["onboot", "tags"] }).to_string(),
            200,
        ),
        (
            "application/json",
            json!({ "cores": null }).to_string(),
            500,
        ),
        ("application/json", "{".to_owned(), 500),
        ("application/json", "[]".to_owned(), 500),
        (
            "application/x-www-form-urlencoded; charset=utf-8",
            "cores=2".to_owned(),
            200,
        ),
        (
            "application/x-www-form-urlencoded",
            "cores=2&cores=2".to_owned(),
            400,
        ),
        (
            "application/x-www-form-urlencoded",
            "onboot=true".to_owned(),
            400,
        ),
        ("text/plain", "cores=2".to_owned(), 506),
        (
            "application/json",
            format!("{{\"description\":\"{}\"}}", "x".repeat(600_000)),
            501,
        ),
    ] {
        let short: String = body.chars().take(40).collect();
        assert_eq!(put(kind, body).await, status, "{kind} {short}");
    }
    let delete = client
        .http
        .delete(&url)
        .header("authorization", &client.token)
        .body("a=1");
    assert_eq!(delete.send().await.unwrap().status(), 501);
    for (method, path, status) in [
        ("PATCH", "/version", 501),
        ("GET", "/nope", 501),
        ("DELETE", "/version", 501),
        ("GET", "//version/", 200),
        ("GET", "/nodes/pve1/qemu/%35000/config", 200),
    ] {
        assert_eq!(
            client.call(method, path, &[]).await.0,
            status,
            "{method} {path}"
        );
    }
    lab.stop().await;
}
