//! Turns recorded steps into requests to a fresh stand-in, with its own tokens, UPIDs and digests.

use std::collections::{BTreeMap, BTreeSet};

use bb_lab_proxmox::clock::Clock;
use bb_lab_proxmox::{Config, ProxmoxLab, Running, Seed};
use serde_json::{Value, json};

use crate::compare::{self, Context, Got};
use crate::recording::{Recording, Step};

/// Seconds between the end of one step and the begin of the next, when nothing says otherwise.
const PAUSE: f64 = 0.03;
/// Password of every user of a replay.
const PASSWORD: &str = "pw-of-the-lab";
/// Waits the recorder made without saying so in a step: scenario, step, seconds before it.
const WAITS: &[(&str, u64, f64)] = &[
    ("004", 39, 2.0),
    ("005", 42, 1.0),
    // Disks there hold no data: a full copy is quick.
    ("004", 61, 5.0),
    ("010", 3, 10.0),
    ("010", 6, 10.0),
    ("010", 12, 10.0),
    ("018", 26, 1.0),
    ("018", 30, 1.0),
    ("018", 43, 1.0),
    ("021", 13, 300.0),
    ("021", 23, 300.0),
    ("027", 32, 1.0),
    ("027", 39, 10.0),
    ("027", 66, 5.0),
    ("027", 80, 60.0),
    ("027", 97, 2.0),
    ("027b", 28, 2.0),
    ("029", 118, 1.0),
    // The start of a create is a task of its own.
    ("027", 103, 2.0),
];

/// Requests that were under way at once, in the order the server began them. The recordings
/// list them by their end.
const TOGETHER: &[(&str, &[u64])] = &[
    ("003", &[95, 94]),
    ("004", &[28, 29, 30]),
    ("004", &[32, 31]),
    ("004", &[34, 35]),
    ("004", &[55, 56]),
    ("005", &[36, 37]),
    ("005", &[38, 39]),
    ("005", &[41, 40]),
];
/// Guests the recorder destroyed between steps, without saying so: scenario, step, guests.
const CLEANED: &[(&str, u64, &[u32])] = &[
    (
        "004",
        65,
        &[202, 204, 207, 210, 211, 212, 213, 214, 215, 216, 218],
    ),
    ("006", 117, &[400]),
    ("011", 162, &[600]),
    ("029", 128, &[2900, 2901, 2902]),
];

/// Workers the recorder killed before a step.
const KILLED: &[(&str, u64)] = &[("018", 30), ("018", 43), ("027b", 28)];
/// Steps before which the recorder restarted the API daemon.
const RESTARTED: &[(&str, u64)] = &[("018", 53)];
/// Guests whose QEMU the recorder stopped before a step, and let go on before another.
const HUNG: &[(&str, u64, u64, u32)] = &[
    ("028b", 50, 54, 2882),
    ("029", 99, 104, 2901),
    ("029", 117, 123, 2901),
];

/// Plays one recording.
pub(crate) struct Player {
    scenario: String,
    /// The lock token of SDN.
    lock_token: String,
    running: Running,
    client: reqwest::Client,
    guests: BTreeSet<u64>,
    upids: BTreeMap<String, String>,
    digests: BTreeMap<String, String>,
    /// Token id to secret.
    tokens: BTreeMap<String, String>,
    /// User to ticket and CSRF token.
    tickets: BTreeMap<String, (String, String)>,
}

impl Player {
    /// Starts a stand-in as the recorded machine was: one node, directory storages, no KVM.
    pub(crate) async fn start(recording: &Recording) -> Self {
        let seed: Seed = serde_json::from_value(json!({
            "nodes": ["pve1"],
            "storages": [
                { "name": "local", "type": "dir", "size": "252G", "path": "/var/lib/vz",
                  "content": ["images", "rootdir", "vztmpl", "iso", "import", "snippets", "backup"],
                  "files": files(&recording.scenario) },
                { "name": "two", "type": "dir", "size": "252G", "path": "/srv/two",
                  "content": ["images", "rootdir", "snippets"] },
                { "name": "tiny", "type": "dir", "size": "40M", "path": "/srv/tiny",
                  "content": ["images", "rootdir"] },
            ],
            "users": { "root@pam": PASSWORD },
            "world": {
                "answers_shutdown": false, "kvm": false, "efi": false,
                "copy_mib_per_s": copy_rate(&recording.scenario),
            },
        }))
        .unwrap();
        let running = ProxmoxLab::start(Config {
            seed,
            time_scale: 1.0,
            plain: true,
            clock: Clock::manual(),
            epoch: Some(1_795_415_000),
            ..Config::default()
        })
        .await
        .unwrap();
        Self {
            scenario: recording.scenario.clone(),
            lock_token: String::new(),
            running,
            client: reqwest::Client::new(),
            guests: recording.guests(),
            upids: BTreeMap::new(),
            digests: BTreeMap::new(),
            tokens: BTreeMap::new(),
            tickets: BTreeMap::new(),
        }
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    /// Plays a whole recording and gives a verdict for each step, in the recorded order.
    pub(crate) async fn play(
        &mut self,
        recording: &Recording,
    ) -> BTreeMap<u64, Result<(), String>> {
        let by_number: BTreeMap<u64, &Step> =
            recording.steps.iter().map(|s| (s.number, s)).collect();
        let mut verdicts = BTreeMap::new();
        for step in &recording.steps {
            if verdicts.contains_key(&step.number) {
                continue;
            }
            let group = TOGETHER
                .iter()
                .find(|(s, steps)| *s == self.scenario && steps.contains(&step.number))
                .map_or_else(|| vec![step.number], |(_, steps)| steps.to_vec());
            let group: Vec<&Step> = group.iter().map(|n| by_number[n]).collect();
            self.prepare(step);
            let mut answers = Vec::new();
            for step in &group {
                answers.push(self.ask(step, group.len() > 1).await);
            }
            for (step, (got, verdict)) in group.into_iter().zip(answers) {
                let ended = self.wait_for_task(step, &got);
                verdicts.insert(step.number, verdict.and(ended));
            }
        }
        verdicts
    }

    /// Does what the recorder did before a step without saying so.
    fn prepare(&mut self, step: &Step) {
        let here = |s: &str, n: u64| s == self.scenario && n == step.number;
        let wait = WAITS.iter().find(|(s, n, _)| here(s, *n));
        self.running
            .advance(wait.map_or(PAUSE, |(_, _, seconds)| *seconds));
        if KILLED.iter().any(|(s, n)| here(s, *n)) {
            let kill = |c: &mut bb_lab_proxmox::model::Cluster| {
                let running = c.tasks.all.values().find(|t| t.is_running());
                let upid = running.map(|t| t.upid.clone());
                upid.map(|upid| c.kill_task(&upid))
            };
            assert_eq!(
                self.running.with(kill),
                Some(true),
                "there is a worker to kill"
            );
        }
        if RESTARTED.iter().any(|(s, n)| here(s, *n)) {
            self.running
                .with(bb_lab_proxmox::model::Cluster::restart_daemon);
        }
        for (scenario, from, to, vmid) in HUNG {
            if here(scenario, *from) {
                self.running.with(|c| c.world.hung.insert(*vmid));
            }
            if here(scenario, *to) {
                self.running.with(|c| c.world.hung.remove(vmid));
            }
        }
        for (_, _, guests) in CLEANED.iter().filter(|(s, n, _)| here(s, *n)) {
            // Clones go before what they are linked to.
            for vmid in guests.iter().rev() {
                self.running.with(|c| c.destroy_by_hand(*vmid));
            }
        }
    }

    /// Makes one request and judges the answer.
    async fn ask(&mut self, step: &Step, together: bool) -> (Got, Result<(), String>) {
        let before = self.running.with(|c| c.now);
        let got = self.request(step).await;
        self.learn(step, &got);
        let context = Context {
            guests: &self.guests,
            upids: &self.upids,
        };
        let verdict = compare::answers(step, &got, &context);
        let spent = self.running.with(|c| c.now) - before;
        if !together {
            self.running.advance((step.seconds - spent).max(0.0));
        }
        (got, verdict)
    }

    /// Lets time pass until the task of a step has ended, as the recorder did.
    fn wait_for_task(&mut self, step: &Step, got: &Got) -> Result<(), String> {
        let Some((_, wanted)) = &step.task else {
            return Ok(());
        };
        let Some(upid) = got.body["data"].as_str().map(str::to_owned) else {
            return Err("there is no task".to_owned());
        };
        for _ in 0..6000 {
            let exit = self.running.with(|c| {
                let task = c.tasks.find(&upid).map(|(_, t)| t.end.clone());
                task.flatten().map(|(_, exit)| exit)
            });
            if let Some(exit) = exit {
                let (wanted, found) = (
                    crate::words::normalise(wanted),
                    crate::words::normalise(&exit),
                );
                if wanted == found {
                    return Ok(());
                }
                return Err(format!("the task ended with {found:?}, not {wanted:?}"));
            }
            self.running.advance(0.05);
        }
        Err("the task does not end".to_owned())
    }

    /// Remembers what the stand-in calls what the recording calls otherwise.
    fn learn(&mut self, step: &Step, got: &Got) {
        let (theirs, ours) = (&step.body["data"], &got.body["data"]);
        if let (Some(a), Some(b)) = (theirs.as_str(), ours.as_str())
            && a.starts_with("UPID:")
        {
            self.upids.insert(a.to_owned(), b.to_owned());
        }
        let digest = |data: &Value| {
            let row = |rows: &Vec<Value>| {
                rows.iter()
                    .find(|r| r["key"] == "digest")
                    .map(|r| r["value"].clone())
            };
            data["digest"].as_str().map(str::to_owned).or_else(|| {
                data.as_array()
                    .and_then(row)
                    .and_then(|v| v.as_str().map(str::to_owned))
            })
        };
        if step.path == "/cluster/sdn/lock" && step.method == "POST" && got.status == 200 {
            self.lock_token = ours.as_str().unwrap_or_default().to_owned();
        }
        if let (Some(a), Some(b)) = (digest(theirs), digest(ours)) {
            self.digests.insert(a, b);
        }
        if let (Some(id), Some(secret)) = (ours["full-tokenid"].as_str(), ours["value"].as_str()) {
            self.tokens.insert(id.to_owned(), secret.to_owned());
        }
    }

    /// A user's ticket and CSRF token, by logging in once.
    async fn ticket(&mut self, user: &str) -> (String, String) {
        if let Some(held) = self.tickets.get(user) {
            return held.clone();
        }
        let url = format!("{}/api2/json/access/ticket", self.running.api);
        let form = [("username", user), ("password", PASSWORD)];
        let reply: Value = self
            .client
            .post(url)
            .form(&form)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let text = |key: &str| reply["data"][key].as_str().unwrap_or_default().to_owned();
        let held = (text("ticket"), text("CSRFPreventionToken"));
        self.tickets.insert(user.to_owned(), held.clone());
        held
    }

    async fn headers(&mut self, step: &Step) -> Vec<(&'static str, String)> {
        let cookie = |ticket: &str| {
            let encoded =
                percent_encoding::utf8_percent_encode(ticket, percent_encoding::NON_ALPHANUMERIC);
            ("cookie", format!("PVEAuthCookie={encoded}"))
        };
        let auth = step.auth.as_str();
        if let Some(id) = auth
            .strip_prefix("token ")
            .and_then(|a| a.split_whitespace().next())
            && id.contains('!')
        {
            let secret = self.tokens.get(id).cloned().unwrap_or_default();
            return vec![("authorization", format!("PVEAPIToken={id}={secret}"))];
        }
        let secret = self.tokens.values().next().cloned().unwrap_or_default();
        match auth {
            "none" => Vec::new(),
            "bearer" => vec![("authorization", format!("Bearer {secret}"))],
            "basic" => vec![("authorization", "Basic cm9vdDp4".to_owned())],
            "token wrong secret" => {
                vec![("authorization", format!("PVEAPIToken=op@pve!t1={PASSWORD}"))]
            }
            "token unknown name" => {
                vec![("authorization", format!("PVEAPIToken=op@pve!tx={secret}"))]
            }
            "token unknown user" => {
                vec![(
                    "authorization",
                    format!("PVEAPIToken=nobody@pve!t1={secret}"),
                )]
            }
            "token malformed" => vec![("authorization", format!("PVEAPIToken=op@pve={secret}"))],
            "token malformed 2" => vec![("authorization", "PVEAPIToken=op@pve!t1=x".to_owned())],
            "token header with space" => {
                let secret = self.tokens.get("op@pve!t1").cloned().unwrap_or_default();
                vec![("authorization", format!("PVEAPIToken op@pve!t1={secret}"))]
            }
            "ticket damaged" => {
                let (ticket, _) = self.ticket("root@pam").await;
                vec![cookie(&format!("{ticket}0"))]
            }
            "ticket garbage" => vec![cookie("garbage")],
            "ticket with old date" => {
                let (ticket, _) = self.ticket("root@pam").await;
                let (_, signature) = ticket.split_once("::").unwrap();
                vec![cookie(&format!("PVE:root@pam:6A000000::{signature}"))]
            }
            "ticket, wrong CSRF token" => {
                let (ticket, _) = self.ticket("root@pam").await;
                vec![
                    cookie(&ticket),
                    ("CSRFPreventionToken", "6B000000:x".to_owned()),
                ]
            }
            _ => {
                let user = auth
                    .strip_prefix("ticket:")
                    .unwrap_or("root@pam")
                    .to_owned();
                let (ticket, csrf) = self.ticket(&user).await;
                let mut out = vec![cookie(&ticket)];
                if !step.purpose.contains("without CSRF") {
                    out.push(("CSRFPreventionToken", csrf));
                }
                out
            }
        }
    }

    /// Parameters with our names for what the recording names.
    async fn params(&mut self, step: &Step) -> Vec<(String, String)> {
        let mut out = Vec::new();
        for (key, value) in &step.params {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            let text = match (key.as_str(), text.as_str()) {
                ("digest", recorded) => self
                    .digests
                    .get(recorded)
                    .cloned()
                    .unwrap_or_else(|| text.clone()),
                ("password", _) if step.purpose.contains("wrong password") => "wrong".to_owned(),
                ("password", _) if step.purpose.contains("renewal") => {
                    self.ticket("root@pam").await.0
                }
                ("password", _) => PASSWORD.to_owned(),
                ("lock-token", "<hidden>") => self.lock_token.clone(),
                _ => text,
            };
            out.push((key.clone(), text));
        }
        out
    }

    /// The path with our UPID in place of the recorded one.
    fn path(&self, step: &Step) -> String {
        let decoded = percent_encoding::percent_decode_str(&step.path).decode_utf8_lossy();
        for (theirs, ours) in &self.upids {
            if decoded.contains(theirs.as_str()) {
                let path = decoded.replace(theirs.as_str(), ours);
                return path.replace('!', "%21").replace('>', "%3E");
            }
        }
        step.path.clone()
    }

    async fn request(&mut self, step: &Step) -> Got {
        let url = format!("{}/api2/json{}", self.running.api, self.path(step));
        let method = reqwest::Method::from_bytes(step.method.as_bytes()).unwrap();
        let params = self.params(step).await;
        let mut request = self.client.request(method, url);
        request = match step.method.as_str() {
            "GET" | "DELETE" => request.query(&params),
            _ => request.form(&params),
        };
        for (name, value) in self.headers(step).await {
            request = request.header(name, value);
        }
        let reply = request.send().await.unwrap();
        let status = reply.status();
        let reason = reply.extensions().get::<hyper::ext::ReasonPhrase>();
        let reason = reason.map_or_else(
            || status.canonical_reason().unwrap_or_default().to_owned(),
            |r| String::from_utf8_lossy(r.as_bytes()).into_owned(),
        );
        let text = reply.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
        Got {
            status: status.as_u16(),
            reason,
            body,
        }
    }
}

/// MiB a second that copies made on the recorded machine.
fn copy_rate(scenario: &str) -> u32 {
    // The disks of one scenario were full of data, and what waited there waited at once.
    if scenario == "021" { 40 } else { 1024 }
}

/// Files that lay on the recorded machine's storage at the time.
fn files(scenario: &str) -> Vec<&'static str> {
    match scenario {
        "003" | "027" | "027b" | "028" | "028b" | "029" => vec!["snippets/ok.yaml"],
        "011" => vec!["iso/a.iso"],
        "016" => vec!["vztmpl/tiny_1.0_amd64.tar.gz"],
        _ => Vec::new(),
    }
}
