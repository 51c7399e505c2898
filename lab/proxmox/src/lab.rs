//! Turns a seed and two ports into a running stand-in, and every HTTP request into one call.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bb_lab_kit::control::Control;
use bb_lab_kit::faults::Faults;
use bb_lab_kit::http::{BodyLimit, Request, serve};
use bb_lab_kit::journal::{Entry, Journal};
use bb_lab_kit::tls::{Identity, Shown, identity};
use bb_lab_kit::{Counters, Stop};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::model::{Cluster, Power};
use crate::schema::RawParams;
use crate::seed::Seed;
use crate::wire;

/// Real time between two looks at what is due when nobody calls.
const TICK: Duration = Duration::from_millis(20);

/// Workers of a node's API daemon.
const WORKERS: usize = 3;

/// How a stand-in is started.
#[derive(Debug)]
pub struct Config {
    /// Name of the cluster.
    pub name: String,
    /// Where the API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the control port listens.
    pub control: SocketAddr,
    pub seed: Seed,
    /// Where the state is kept over a restart.
    pub state: Option<PathBuf>,
    /// Where the journal is appended to.
    pub journal: Option<PathBuf>,
    /// What a second of the product lasts here: 1 = a second, 0 = until the next look.
    pub time_scale: f64,
    /// No TLS.
    pub plain: bool,
    pub clock: Clock,
    /// Unix seconds the clock's 0 stands for; `None` = now.
    pub epoch: Option<i64>,
}

impl Default for Config {
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            name: "c1".to_owned(),
            listen: any,
            control: any,
            seed: Seed::example(),
            state: None,
            journal: None,
            time_scale: 0.0,
            plain: false,
            clock: Clock::real(),
            epoch: None,
        }
    }
}

/// A call that is about to be carried out: who makes it is known, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The HTTP method.
    pub method: String,
    /// The path below `/api2/json`.
    pub path: String,
    /// The parameters, secrets masked.
    pub parameters: Value,
}

/// What happens right before a call is carried out.
type Gate = Box<dyn FnMut(&Moment, &mut Cluster) + Send>;

/// What the API and the control port share.
pub(crate) struct Lab {
    pub name: String,
    cluster: Mutex<Cluster>,
    pub clock: Clock,
    pub counters: Counters,
    pub journal: Journal,
    pub faults: Faults,
    state: Option<PathBuf>,
    /// Writes under way per guest.
    pub in_flight: Mutex<BTreeMap<String, u64>>,
    /// Workers of the API daemon per node; the empty name stands for calls without a node.
    workers: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    /// Workers that somebody else keeps busy.
    busy: Mutex<BTreeMap<String, Vec<OwnedSemaphorePermit>>>,
    gate: Mutex<Option<Gate>>,
    shown: Option<Shown>,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Lab {
    fn new(config: Config, cluster: Cluster, shown: Option<Shown>) -> anyhow::Result<Self> {
        Ok(Self {
            name: config.name,
            cluster: Mutex::new(cluster),
            clock: config.clock,
            counters: Counters::default(),
            journal: Journal::open(config.journal.as_deref())?,
            faults: Faults::default(),
            state: config.state,
            in_flight: Mutex::new(BTreeMap::new()),
            workers: Mutex::new(BTreeMap::new()),
            busy: Mutex::new(BTreeMap::new()),
            gate: Mutex::new(None),
            shown,
        })
    }

    /// The state, for a moment. Never held while waiting.
    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free worker of a node's API daemon. A call that waits for a lock keeps its worker, so
    /// three of them stall what else has to go through the daemon.
    pub(crate) async fn worker(&self, node: &str) -> Option<OwnedSemaphorePermit> {
        self.workers_of(node).acquire_owned().await.ok()
    }

    fn workers_of(&self, node: &str) -> Arc<Semaphore> {
        let mut all = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Semaphore::new(WORKERS));
        all.entry(node.to_owned()).or_insert_with(make).clone()
    }

    /// Has somebody else keep all free workers of a node busy, or lets go of them.
    pub(crate) fn keep_busy(&self, node: &str, busy: bool) {
        let workers = self.workers_of(node);
        let mut all = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.entry(node.to_owned()).or_default();
        if busy {
            held.extend(std::iter::from_fn(|| {
                workers.clone().try_acquire_owned().ok()
            }));
        } else {
            held.clear();
        }
    }

    /// Lets happen what a test wants to happen right before a call.
    pub(crate) fn before_call(&self, method: &str, path: &str, parameters: &RawParams) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gate.as_mut() {
            let moment = Moment {
                method: method.to_owned(),
                path: path.to_owned(),
                parameters: wire::masked(parameters),
            };
            gate(&moment, &mut self.cluster());
        }
    }

    /// Shows another certificate to connections from now on.
    pub(crate) fn exchange_certificate(&self) -> anyhow::Result<Identity> {
        let other = identity(&[&self.name])?;
        if let Some(shown) = &self.shown {
            shown.exchange(&other)?;
        }
        Ok(other)
    }

    /// Lets everything happen that is due by now.
    pub(crate) fn tick(&self) {
        let now = self.clock.now();
        self.cluster().tick(now);
    }

    /// Writes the state, when it is kept.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        let Some(path) = &self.state else {
            return Ok(());
        };
        let text = serde_json::to_vec(&*self.cluster()).context("cannot render the state")?;
        let draft = path.with_extension("tmp");
        std::fs::write(&draft, text)
            .with_context(|| format!("cannot write {}", draft.display()))?;
        std::fs::rename(&draft, path)
            .with_context(|| format!("cannot put {} in place", path.display()))
    }

    /// The same, where there is nobody to tell but the log.
    pub(crate) fn save_quietly(&self) {
        if let Err(error) = self.save() {
            tracing::warn!(%error, "the state is not kept");
        }
    }

    pub(crate) fn record(&self, entry: &Entry) {
        self.journal.record(entry);
    }
}

/// The stand-in.
#[derive(Debug)]
pub struct ProxmoxLab;

impl ProxmoxLab {
    /// Starts a stand-in; it serves until [`Running::stop`] or a shutdown by the control port.
    ///
    /// # Errors
    /// A port is taken, a file cannot be read, the seed names what is not there.
    pub async fn start(config: Config) -> anyhow::Result<Running> {
        let mut cluster = load(&config)?;
        let tls = if config.plain {
            None
        } else {
            Some(identity(&[&config.name])?)
        };
        if let Some(identity) = &tls {
            cluster.fingerprint.clone_from(&identity.sha256);
        }
        let tokens = tokens(&cluster);
        let listener = bind(config.listen).await?;
        let control_listener = bind(config.control).await?;
        let shown = tls.as_ref().map(Shown::new).transpose()?;
        let scheme = if config.plain { "http" } else { "https" };
        let api = format!("{scheme}://{}", listener.local_addr()?);
        let control = format!("http://{}", control_listener.local_addr()?);
        let lab = Arc::new(Lab::new(config, cluster, shown.clone())?);
        let stop = Stop::new();
        let mut parts = Vec::new();
        let server = shown.as_ref().map(Shown::server_config).transpose()?;
        let service = {
            let lab = lab.clone();
            move |request: Request| {
                let lab = lab.clone();
                async move { lab.answer(request).await }
            }
        };
        let limit = BodyLimit {
            max: wire::BODY_LIMIT,
            too_large: wire::too_large(),
        };
        parts.push(tokio::spawn(serve(
            listener,
            server,
            limit,
            service,
            stop.clone(),
        )));
        let port = Control::new(stop.clone(), {
            let lab = lab.clone();
            move || crate::control::state(&lab)
        })
        .sharing(&lab.counters, &lab.journal, &lab.faults)
        .routes({
            let lab = lab.clone();
            move |request| {
                let lab = lab.clone();
                Box::pin(async move { crate::control::answer(&lab, &request) })
            }
        });
        parts.push(tokio::spawn(port.run(control_listener)));
        if !lab.clock.is_manual() {
            parts.push(tokio::spawn(keep_time(lab.clone(), stop.clone())));
        }
        lab.save()?;
        let (ca_pem, sha256) =
            tls.map_or_else(Default::default, |i: Identity| (i.cert_pem, i.sha256));
        Ok(Running {
            api,
            control,
            ca_pem,
            sha256,
            tokens,
            lab,
            stop,
            parts,
        })
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// The state to start with: the kept one, or that of the seed.
fn load(config: &Config) -> anyhow::Result<Cluster> {
    let epoch = config.epoch.unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs() as i64)
    });
    let kept = config.state.as_ref().filter(|p| p.exists());
    let Some(path) = kept else {
        return config.seed.build(&config.name, config.time_scale, epoch);
    };
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut cluster: Cluster = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a state of the stand-in", path.display()))?;
    let passed = cluster.now;
    for guest in cluster.guests.values_mut() {
        if let Power::Running { since, .. } = &mut guest.power {
            *since -= passed;
        }
    }
    cluster.now = 0.0;
    cluster.statd_due = 0.0;
    cluster.epoch = epoch;
    cluster.scale = config.time_scale;
    // The workers died with the process; what they left is there, `lock` and all.
    cluster.tasks.lose_workers(epoch);
    Ok(cluster)
}

/// The `Authorization` value of every token.
pub(crate) fn tokens(cluster: &Cluster) -> BTreeMap<String, String> {
    let users = cluster.access.users.iter();
    users
        .flat_map(|(user, u)| {
            u.tokens.iter().map(move |(name, t)| {
                let id = format!("{user}!{name}");
                let value = format!("PVEAPIToken={id}={}", t.secret);
                (id, value)
            })
        })
        .collect()
}

/// Lets time pass while nobody calls.
async fn keep_time(lab: Arc<Lab>, stop: Stop) {
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let before = lab.cluster().tasks.jobs.len();
        lab.tick();
        if before > 0 {
            lab.save_quietly();
        }
    }
}

/// A stand-in that runs.
#[derive(Debug)]
pub struct Running {
    /// Base address of the API, without `/api2/json`.
    pub api: String,
    /// Base address of the control port.
    pub control: String,
    /// The certificate to trust; empty without TLS.
    pub ca_pem: String,
    /// Its SHA-256 as `AA:BB:..`; empty without TLS.
    pub sha256: String,
    /// `user@realm!token` to the value of an `Authorization` header.
    pub tokens: BTreeMap<String, String>,
    lab: Arc<Lab>,
    stop: Stop,
    parts: Vec<JoinHandle<()>>,
}

impl Running {
    /// Counts of calls: see the control port.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.lab.counters.all()
    }

    /// The counts themselves, to reset them.
    pub fn counts(&self) -> &Counters {
        &self.lab.counters
    }

    /// Every call so far.
    pub fn journal(&self) -> Vec<Entry> {
        self.lab.journal.entries()
    }

    /// Forgets the calls that were recorded so far; the file keeps them.
    pub fn clear_journal(&self) {
        self.lab.journal.clear_memory();
    }

    /// The faults, to add to.
    pub fn faults(&self) -> &Faults {
        &self.lab.faults
    }

    /// The whole state in a stable order, for byte comparison.
    pub fn snapshot(&self) -> Value {
        self.lab.cluster().snapshot()
    }

    /// Looks at the state or changes it, as a person with a shell on a node does.
    pub fn with<T>(&self, look: impl FnOnce(&mut Cluster) -> T) -> T {
        look(&mut self.lab.cluster())
    }

    /// Has something happen right before every call that is carried out, in its place of the
    /// order: what it changes, the call meets. `None` ends that.
    pub fn before_calls(&self, gate: Option<impl FnMut(&Moment, &mut Cluster) + Send + 'static>) {
        let gate = gate.map(|gate| Box::new(gate) as Gate);
        *self.lab.gate.lock().unwrap_or_else(PoisonError::into_inner) = gate;
    }

    /// Has somebody else keep all workers of a node's API daemon busy, or lets go of them. The
    /// empty name stands for calls that name no node.
    pub fn keep_busy(&self, node: &str, busy: bool) {
        self.lab.keep_busy(node, busy);
    }

    /// Shows another certificate to every connection that begins from now on, and gives it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn exchange_certificate(&self) -> anyhow::Result<Identity> {
        self.lab.exchange_certificate()
    }

    /// A round of the status daemon, now: the lists catch up with what is.
    pub fn statd_round(&self) {
        self.lab.tick();
        self.lab.cluster().statd_round();
    }

    /// Moves a manual clock and lets happen what is due.
    pub fn advance(&self, seconds: f64) {
        self.lab.clock.advance(seconds);
        self.lab.tick();
    }

    /// Returns once the stand-in was told to stop, by whomever.
    pub async fn stopped(&self) {
        self.stop.stopped().await;
    }

    /// Stops it and waits until nothing of it runs.
    pub async fn stop(self) {
        self.stop.stop();
        for part in self.parts {
            // A part that panicked is gone as well.
            let _ = part.await;
        }
        self.lab.save_quietly();
    }
}
