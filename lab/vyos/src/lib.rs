//! Turns a configuration tree into a router that answers as VyOS 1.5 was seen to answer.
//!
//! The facts behind it were recorded on a running 1.5 (October 2024). It knows nothing of the
//! controller it is tested with. What it does not model it refuses loudly, with status 501.
//!
//! Counters: `requests`, `requests_<endpoint>` (`configure`, `configure_section`, `retrieve`,
//! `config_file`, `show`, `generate`, ..; `elsewhere` for the rest), `changes` (calls that ask
//! for a change), `commits` (those that changed something), `commits_refused`, `ops_set`,
//! `ops_delete`, `reads`, `reads_show_config`, `saves`, and `in_flight_max`, the most calls
//! under way at once whose callers waited for the answer.

mod api;
mod commit;
mod control;
mod cost;
mod disk;
mod edit;
mod kernel;
mod mask;
mod passwords;
mod render;
mod router;
mod schema;
mod shell;
mod tree;
mod values;
mod verify;
mod wrap;

pub use crate::edit::{Edit, Verb};
pub use crate::router::Outcome;

use crate::api::Api;
use crate::cost::Scale;
use crate::router::{BOOT_FILE, Router, Start};
use crate::tree::Node;
use anyhow::Context as _;
use bb_lab_kit::faults::Faults;
use bb_lab_kit::http::{BodyLimit, serve};
use bb_lab_kit::journal::Journal;
use bb_lab_kit::ready::Ready;
use bb_lab_kit::ssh::HostKey;
use bb_lab_kit::{Counters, Stop, tls};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// More than any limit a configuration may ask for; the proxy's own limit is the one that bites.
const LARGEST_BODY: usize = 300 << 20;

/// How to start a router.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    /// Where the API listens; port 0 takes any.
    pub listen: SocketAddr,
    /// Where the control port listens; port 0 takes any.
    pub control: SocketAddr,
    /// Where SSH listens; port 0 takes any. It answers while `service ssh` is configured, and
    /// lets in who is below `system login user`.
    pub ssh: Option<SocketAddr>,
    /// An API key that works, added to the seed under the id `lab` when the seed lacks it.
    pub key: String,
    /// The configuration of the first boot, as showConfig writes it.
    pub seed: Value,
    /// Where saved configurations are kept. When it holds a boot file, that is what starts,
    /// not the seed: a restart of the stand-in is a reboot of the router, and what was not
    /// saved is gone.
    pub state: Option<PathBuf>,
    /// Where the journal is written, besides memory.
    pub journal: Option<PathBuf>,
    /// How much of the real router's time is spent: 0.0 none, 1.0 all.
    pub time_scale: f64,
    /// The network cards, besides those the seed configures.
    pub nics: Vec<String>,
    /// Answers without TLS.
    pub plain: bool,
}

impl Config {
    /// A router on free ports of this machine, without delays.
    #[must_use]
    pub fn new(name: &str, key: &str) -> Self {
        Self {
            name: name.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            control: SocketAddr::from(([127, 0, 0, 1], 0)),
            ssh: None,
            key: key.to_owned(),
            seed: json!({}),
            state: None,
            journal: None,
            time_scale: 0.0,
            nics: (0..6).map(|n| format!("eth{n}")).collect(),
            plain: false,
        }
    }
}

/// Starts routers.
#[derive(Clone, Copy, Debug)]
pub struct VyosLab;

/// A router that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    /// The base address of the API.
    pub api: String,
    /// The base address of the control port.
    pub control: String,
    /// The certificate to trust, empty without TLS.
    pub ca_pem: String,
    /// Its SHA-256 as `AA:BB:..`, empty without TLS.
    pub sha256: String,
    pub key: String,
    /// Where SSH listens, if it does.
    pub ssh: Option<SocketAddr>,
    /// The host key of the router: its name decides it, so a reboot keeps it.
    pub host_key: HostKey,
    pub counters: Counters,
    pub journal: Journal,
    pub faults: Faults,
    router: Router,
    stop: Stop,
    tasks: Vec<JoinHandle<()>>,
}

impl VyosLab {
    /// Starts a router and returns once it listens.
    ///
    /// # Errors
    /// A port is taken, or a file cannot be read or written.
    pub async fn start(config: Config) -> anyhow::Result<Running> {
        let journal = Journal::open(config.journal.as_deref())?;
        let router = boot(&config, &journal)?;
        let faults = Faults::default();
        let stop = Stop::new();
        let listen = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let control = TcpListener::bind(config.control)
            .await
            .with_context(|| format!("cannot listen on {}", config.control))?;
        let api_address = listen.local_addr().context("the API has no address")?;
        let control_address = control
            .local_addr()
            .context("the control port has no address")?;

        let identity = if config.plain {
            None
        } else {
            Some(tls::identity(&[&config.name])?)
        };
        let server = identity.as_ref().map(tls::server_config).transpose()?;
        let (ca_pem, sha256) = identity
            .map(|identity| (identity.cert_pem, identity.sha256))
            .unwrap_or_default();

        let api = Api::new(router.clone(), faults.clone());
        let answer = move |request| {
            let api = api.clone();
            async move { api.call(request).await }
        };
        let limit = BodyLimit::bytes(LARGEST_BODY);
        let port = control::port(&router, &faults, stop.clone());
        let host_key = HostKey::of(&config.name);
        let login = match config.ssh {
            None => None,
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .with_context(|| format!("cannot listen on {address}"))?,
            ),
        };
        let ssh = login
            .as_ref()
            .map(TcpListener::local_addr)
            .transpose()
            .context("SSH has no address")?;
        let mut tasks = vec![
            tokio::spawn(serve(listen, server, limit, answer, stop.clone())),
            tokio::spawn(port.run(control)),
        ];
        if let Some(login) = login {
            let shell = Arc::new(shell::Shell(router.clone()));
            let served = bb_lab_kit::ssh::serve(login, host_key.clone(), shell, stop.clone());
            tasks.push(tokio::spawn(served));
        }
        let scheme = if config.plain { "http" } else { "https" };
        Ok(Running {
            api: format!("{scheme}://{api_address}"),
            control: format!("http://{control_address}"),
            ca_pem,
            sha256,
            key: config.key,
            ssh,
            host_key,
            counters: router.counters.clone(),
            journal,
            faults,
            router,
            stop,
            tasks,
        })
    }
}

fn boot(config: &Config, journal: &Journal) -> anyhow::Result<Router> {
    let mut saved: BTreeMap<String, Node> = config
        .state
        .as_deref()
        .map(disk::read)
        .transpose()?
        .unwrap_or_default();
    if !saved.contains_key(BOOT_FILE) {
        let mut seed = Node::from_json(&config.seed);
        let keys = ["service", "https", "api", "keys", "id"];
        let known = seed
            .below(&keys)
            .any(|(_, id)| id.value(&["key"]) == Some(&config.key));
        if !known {
            let lab = ["service", "https", "api", "keys", "id", "lab", "key"];
            seed.make(&lab).values = vec![config.key.clone()];
        }
        seed.make(&["service", "https", "api", "rest"]);
        saved.insert(BOOT_FILE.to_owned(), seed);
    }
    let mut nics: BTreeSet<String> = config.nics.iter().cloned().collect();
    let seeded = Node::from_json(&config.seed);
    nics.extend(
        seeded
            .below(&["interfaces", "ethernet"])
            .map(|(name, _)| name.to_owned()),
    );
    Ok(Router::boot(Start {
        name: config.name.clone(),
        scale: Scale(config.time_scale),
        journal: journal.clone(),
        saved,
        nics,
        on_save: config.state.clone(),
    }))
}

impl Running {
    /// What runs, as showConfig shows it.
    #[must_use]
    pub fn config(&self) -> Value {
        self.router.state().running.to_json()
    }

    /// What would run after a reboot.
    #[must_use]
    pub fn saved(&self) -> Value {
        self.router
            .state()
            .saved
            .get(BOOT_FILE)
            .map_or(Value::Null, Node::to_json)
    }

    /// A person types these at the console and commits.
    #[must_use]
    pub fn type_in(&self, edits: &[Edit]) -> Outcome {
        let edits: Vec<_> = edits.iter().map(|edit| (edit.clone(), None)).collect();
        self.router.type_in(&edits)
    }

    /// Somebody else holds the commit lock, or lets it go.
    pub fn hold_lock(&self, held: bool) {
        self.router.state().lock_held = held;
    }

    /// Keeps changes between their last command and their commit, or lets them go on.
    pub fn hold_commands(&self, held: bool) {
        let gate = &self.router.command_gate;
        if held { gate.close() } else { gate.open() }
    }

    /// Whether a change is begun and not yet committed.
    #[must_use]
    pub fn has_candidate(&self) -> bool {
        self.router.state().candidate.is_some()
    }

    /// Keeps commits under way, or lets them go on.
    pub fn hold_commits(&self, held: bool) {
        let gate = &self.router.commit_gate;
        if held { gate.close() } else { gate.open() }
    }

    /// Keeps https changes in the background, or lets them go on.
    pub fn hold_background(&self, held: bool) {
        let gate = &self.router.background_gate;
        if held { gate.close() } else { gate.open() }
    }

    /// Waits until nothing is under way; false when that takes longer than 30 seconds.
    pub async fn settled(&self) -> bool {
        control::settled(&self.router).await
    }

    /// Whether a commit is under way.
    #[must_use]
    pub fn is_committing(&self) -> bool {
        self.router.state().committing
    }

    /// Restarts the machine: what was not saved is gone.
    pub fn reboot(&self) {
        self.router.reboot();
    }

    /// Where it listens and how to trust it.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready {
            name: self.router.name.clone(),
            api: self.api.clone(),
            control: self.control.clone(),
            ca_pem: self.ca_pem.clone(),
            sha256: self.sha256.clone(),
            pid: std::process::id(),
        }
    }

    /// Returns once it was told to stop, by [`Running::stop`] or over the control port.
    pub async fn stopped(&self) {
        self.stop.stopped().await;
    }

    /// Stops it and waits until both ports are free.
    pub async fn stop(mut self) {
        self.stop.stop();
        for task in std::mem::take(&mut self.tasks) {
            let _ = task.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
