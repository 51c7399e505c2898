//! Turns what a controller must survive into calls: busy reads, lost changes, cut connections.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

use bb_lab_kit::faults::{Action, Fault};
use bb_lab_vyos::{Config, Edit, Outcome, Running, VyosLab};
use serde_json::{Value, json};
use std::time::Duration;

const KEY: &str = "s3cret-api-key";

struct Caller {
    http: reqwest::Client,
    api: String,
    control: String,
}

impl Caller {
    fn of(lab: &Running) -> Self {
        let ca = reqwest::Certificate::from_pem(lab.ca_pem.as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .build()
            .unwrap();
        Self {
            http,
            api: lab.api.clone(),
            control: lab.control.clone(),
        }
    }

    async fn post(&self, endpoint: &str, data: &Value, key: &str) -> (u16, Value) {
        let fields = [("data", data.to_string()), ("key", key.to_owned())];
        let url = format!("{}{endpoint}", self.api);
        let response = self.http.post(url).form(&fields).send().await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default(),
        )
    }

    async fn set(&self, path: &str) -> (u16, Value) {
        let words: Vec<&str> = path.split(' ').collect();
        self.post("/configure", &json!([{"op": "set", "path": words}]), KEY)
            .await
    }

    async fn read(&self, op: &str, path: &[&str]) -> (u16, Value) {
        self.post("/retrieve", &json!({"op": op, "path": path}), KEY)
            .await
    }

    async fn control(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}{path}", self.control);
        let mut call = self.http.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            call = call.json(&body);
        }
        call.send().await.unwrap().json().await.unwrap()
    }
}

async fn lab() -> (Running, Caller) {
    let lab = VyosLab::start(Config::new("r1", KEY)).await.unwrap();
    let caller = Caller::of(&lab);
    (lab, caller)
}

async fn until(what: &str, mut true_now: impl FnMut() -> bool) {
    let wait = async {
        while !true_now() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .is_ok(),
        "never: {what}"
    );
}

#[tokio::test]
async fn a_read_during_a_commit_shows_the_candidate_or_breaks() {
    let (lab, caller) = lab().await;
    caller.set("system host-name r1").await;
    lab.hold_commits(true);
    let path = ["interfaces", "vxlan", "vxlan200"];
    let refused = async { caller.set("interfaces vxlan vxlan200 vni 200").await };
    let reads = async {
        until("a commit under way", || lab.is_committing()).await;
        let exists = caller.read("exists", &path).await;
        let busy = caller.read("showConfig", &[]).await;
        let elsewhere = caller.read("showConfig", &["system"]).await;
        lab.hold_commits(false);
        (exists, busy, elsewhere)
    };
    let ((status, answer), (exists, busy, elsewhere)) = tokio::join!(refused, reads);
    assert_eq!(status, 400, "{answer}");
    assert_eq!(
        exists.1["data"], true,
        "it will be refused, and is there already"
    );
    assert_eq!(busy.0, 500);
    assert_eq!(elsewhere.1["data"], json!({"host-name": "r1"}));
    assert_eq!(caller.read("exists", &path).await.1["data"], false);
    assert_eq!(caller.read("showConfig", &[]).await.0, 200);
}

#[tokio::test]
async fn changes_queue_and_each_gets_its_own_answer() {
    let (lab, caller) = lab().await;
    let (a, b, c) = tokio::join!(
        caller.set("interfaces dummy dum1 address 10.0.0.1/32"),
        caller.set("interfaces vxlan vxlan1 vni 1"),
        caller.set("interfaces dummy dum2 address 10.0.0.2/32"),
    );
    assert_eq!((a.0, b.0, c.0), (200, 400, 200));
    let dummies = lab.config()["interfaces"]["dummy"]
        .as_object()
        .unwrap()
        .len();
    assert_eq!(dummies, 2);
}

#[tokio::test]
async fn an_https_change_is_answered_at_once_and_carried_out_later() {
    let (lab, caller) = lab().await;
    lab.hold_background(true);
    let (status, answer) = caller
        .set("service https api keys id new key other-key")
        .await;
    assert_eq!(status, 200);
    assert!(
        answer["data"]
            .as_str()
            .unwrap()
            .starts_with("Requested HTTP API server")
    );
    let probe = json!({"op": "exists", "path": ["service", "https"]});
    assert_eq!(caller.post("/retrieve", &probe, "other-key").await.0, 401);
    lab.hold_background(false);
    assert!(lab.settled().await);
    assert_eq!(caller.post("/retrieve", &probe, "other-key").await.0, 200);
}

#[tokio::test]
async fn a_change_right_behind_an_https_change_loses_both() {
    let (lab, caller) = lab().await;
    lab.hold_background(true);
    caller
        .set("service https api keys id new key other-key")
        .await;
    let (status, answer) = caller
        .set("interfaces dummy dum1 address 10.0.0.1/32")
        .await;
    assert_eq!(status, 200);
    assert!(
        answer["data"]
            .as_str()
            .unwrap()
            .starts_with("Requested HTTP API server")
    );
    lab.hold_background(false);
    assert!(lab.settled().await);
    let config = lab.config();
    assert_eq!(config["interfaces"]["dummy"], Value::Null);
    assert_eq!(
        config["service"]["https"]["api"]["keys"]["id"]["new"],
        Value::Null
    );
}

#[tokio::test]
async fn the_lock_of_another_refuses_a_commit_and_keeps_nothing() {
    let (lab, caller) = lab().await;
    caller.control("POST", "/lock", None).await;
    let (status, answer) = caller
        .set("interfaces dummy dum1 address 10.0.0.1/32")
        .await;
    assert_eq!(status, 400);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("temporarily locked")
    );
    caller.control("DELETE", "/lock", None).await;
    assert_eq!(
        caller
            .set("interfaces dummy dum2 address 10.0.0.2/32")
            .await
            .0,
        200
    );
    assert_eq!(lab.config()["interfaces"]["dummy"]["dum1"], Value::Null);
}

#[tokio::test]
async fn what_a_person_types_is_committed_beside_the_api() {
    let (lab, caller) = lab().await;
    let typed = json!({"ops": [
        {"op": "set", "path": ["interfaces", "dummy", "dum9", "address", "10.9.0.1/32"]},
        {"op": "set", "path": ["container", "name", "web", "image"], "value": "nginx"},
    ]});
    let answer = caller.control("PUT", "/config", Some(typed)).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let config = caller.control("GET", "/config", None).await;
    assert_eq!(config["container"]["name"]["web"]["image"], "nginx");
    assert_eq!(config, lab.config());
    assert_eq!(
        lab.type_in(&[Edit::set("vrf name t-a description x")]),
        Outcome::Refused(
            "[ vrf ]\nVRF \"t-a\" table id is mandatory!\n[[vrf]] failed\nCommit failed\n".into()
        )
    );
}

#[tokio::test]
async fn a_person_who_commits_during_a_change_is_not_overwritten() {
    let (lab, caller) = lab().await;
    lab.hold_commands(true);
    let change = caller.set("interfaces dummy dum1 address 10.0.0.1/32");
    let typing = async {
        until("a candidate", || lab.has_candidate()).await;
        let typed = lab.type_in(&[Edit::set("interfaces dummy dum2 address 10.0.0.2/32")]);
        lab.hold_commands(false);
        typed
    };
    let ((status, _), typed) = tokio::join!(change, typing);
    assert_eq!((status, typed), (200, Outcome::Done(None)));
    let dummies = lab.config()["interfaces"]["dummy"]
        .as_object()
        .unwrap()
        .len();
    assert_eq!(dummies, 2);
}

#[tokio::test]
async fn a_cut_connection_may_or_may_not_have_taken_effect() {
    let (lab, caller) = lab().await;
    let send = async |path: &str| {
        let words: Vec<&str> = path.split(' ').collect();
        let data = json!([{"op": "set", "path": words}]).to_string();
        let fields = [("data", data), ("key", KEY.to_owned())];
        caller
            .http
            .post(format!("{}/configure", caller.api))
            .form(&fields)
            .send()
            .await
    };
    lab.faults.add(
        Fault::new(Action::CloseBefore)
            .path("/configure")
            .body("dum1"),
    );
    assert!(
        send("interfaces dummy dum1 address 10.0.0.1/32")
            .await
            .is_err()
    );
    assert_eq!(lab.config()["interfaces"], Value::Null);

    lab.faults
        .add(Fault::new(Action::CloseAfter).path("/configure"));
    assert!(
        send("interfaces dummy dum2 address 10.0.0.2/32")
            .await
            .is_err()
    );
    assert_eq!(
        lab.config()["interfaces"]["dummy"]["dum2"]["address"],
        "10.0.0.2/32"
    );

    let fault = json!({"path_contains": "/retrieve",
        "action": {"kind": "status", "status": 504, "body": "<html>504</html>"}});
    caller.control("POST", "/faults", Some(fault)).await;
    assert_eq!(caller.read("exists", &["vrf"]).await.0, 504);
    assert_eq!(caller.read("exists", &["vrf"]).await.0, 200);
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_undo_what_it_asked_for() {
    let (lab, caller) = lab().await;
    lab.hold_commits(true);
    {
        let call = caller.set("interfaces dummy dum1 address 10.0.0.1/32");
        let watch = until("a commit under way", || lab.is_committing());
        tokio::select! {
            _ = call => panic!("the commit is held"),
            () = watch => {}
        }
    }
    lab.hold_commits(false);
    assert!(lab.settled().await);
    assert_eq!(
        lab.config()["interfaces"]["dummy"]["dum1"]["address"],
        "10.0.0.1/32"
    );
}

#[tokio::test]
async fn an_empty_exists_takes_the_api_down_for_a_moment() {
    let mut config = Config::new("r1", KEY);
    config.time_scale = 0.02;
    let lab = VyosLab::start(config).await.unwrap();
    let caller = Caller::of(&lab);
    assert_eq!(caller.read("exists", &[]).await.0, 502);
    assert_eq!(caller.read("exists", &["vrf"]).await.0, 502);
    assert!(lab.settled().await);
    assert_eq!(caller.read("exists", &["vrf"]).await.0, 200);
}

#[tokio::test]
async fn only_what_was_saved_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new("r1", KEY);
    config.state = Some(dir.path().join("saved.json"));
    let lab = VyosLab::start(config.clone()).await.unwrap();
    let caller = Caller::of(&lab);
    caller
        .set("interfaces dummy dum1 address 10.0.0.1/32")
        .await;
    let (status, answer) = caller
        .post("/config-file", &json!({"op": "save"}), KEY)
        .await;
    assert_eq!((status, &answer["data"]), (200, &json!("")));
    caller
        .set("interfaces dummy dum2 address 10.0.0.2/32")
        .await;
    lab.stop().await;
    let lab = VyosLab::start(config).await.unwrap();
    let dummies = lab.config()["interfaces"]["dummy"].clone();
    assert_eq!(dummies, json!({"dum1": {"address": "10.0.0.1/32"}}));
}

#[tokio::test]
async fn secrets_reach_neither_the_journal_nor_its_commits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.jsonl");
    let mut config = Config::new("r1", KEY);
    config.journal = Some(path.clone());
    let lab = VyosLab::start(config).await.unwrap();
    let caller = Caller::of(&lab);
    caller
        .set("system login user u authentication plaintext-password geheim")
        .await;
    caller
        .set("service https api keys id n key versteckt")
        .await;
    assert!(lab.settled().await);
    caller.read("exists", &["vrf"]).await;
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in [KEY, "geheim", "versteckt"] {
        assert!(!text.contains(secret), "{secret} is in the journal");
    }
    assert!(text.contains("plaintext-password ***"), "{text}");
    assert_eq!(text.matches("\"COMMIT\"").count(), 2);
}

#[tokio::test]
async fn calls_commits_and_commands_are_counted() {
    let (lab, caller) = lab().await;
    caller
        .set("interfaces dummy dum1 address 10.0.0.1/32")
        .await;
    caller
        .set("interfaces dummy dum1 address 10.0.0.1/32")
        .await;
    caller.set("interfaces vxlan vxlan1 vni 1").await;
    caller.read("showConfig", &[]).await;
    caller
        .post("/config-file", &json!({"op": "save"}), KEY)
        .await;
    let counters = caller.control("GET", "/counters", None).await;
    for (name, want) in [
        ("requests", 5),
        ("requests_configure", 3),
        ("requests_retrieve", 1),
        ("changes", 3),
        ("commits", 1),
        ("commits_refused", 1),
        ("ops_set", 3),
        ("reads", 1),
        ("saves", 1),
        ("in_flight_max", 1),
    ] {
        assert_eq!(counters[name], want, "{name} in {counters}");
    }
    caller.control("POST", "/counters/reset", None).await;
    assert_eq!(lab.counters.get("requests"), 0);
    assert!(lab.journal.entries().is_empty());
}

#[tokio::test]
async fn multipart_forms_and_json_bodies_are_read_too() {
    let (_lab, caller) = lab().await;
    let boundary = "xx-boundary";
    let body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n{}\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"key\"\r\n\r\n{KEY}\r\n--{boundary}--\r\n",
        json!({"op": "exists", "path": ["service", "https"]})
    );
    let kind = format!("multipart/form-data; boundary={boundary}");
    let url = format!("{}/retrieve", caller.api);
    let call = caller
        .http
        .post(&url)
        .header("content-type", kind)
        .body(body);
    let answer: Value =
        serde_json::from_str(&call.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(answer["data"], true);

    let body = json!({"key": KEY, "commands": [
        {"op": "set", "path": ["interfaces", "dummy", "dum1"], "value": ""},
    ]});
    let url = format!("{}/configure", caller.api);
    assert_eq!(
        caller
            .http
            .post(&url)
            .json(&body)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let bare = json!([{"op": "set", "path": ["interfaces", "dummy", "dum1"]}]);
    assert_eq!(
        caller
            .http
            .post(&url)
            .json(&bare)
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
}

#[tokio::test]
async fn a_section_is_merged_by_set_and_replaced_by_load() {
    let (lab, caller) = lab().await;
    let section = async |op: &str, section: Value| {
        let data = json!({"op": op, "path": ["interfaces", "dummy"], "section": section});
        caller.post("/configure-section", &data, KEY).await.0
    };
    assert_eq!(
        section("set", json!({"dum1": {"address": "10.0.0.1/32"}})).await,
        200
    );
    assert_eq!(
        section("set", json!({"dum2": {"address": "10.0.0.2/32"}})).await,
        200
    );
    assert_eq!(
        section("load", json!({"dum2": {"address": "10.0.0.3/32"}})).await,
        200
    );
    let dummies = lab.config()["interfaces"]["dummy"].clone();
    assert_eq!(dummies, json!({"dum2": {"address": "10.0.0.3/32"}}));
    let commits = lab.counters.get("commits");
    assert_eq!(
        section("load", json!({"dum2": {"address": "10.0.0.3/32"}})).await,
        200
    );
    assert_eq!(lab.counters.get("commits"), commits);
    assert_eq!(section("replace", json!({})).await, 400);
}
