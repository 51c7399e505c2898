//! Turns a name and a seed into a running router or hypervisor cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bb_lab_kit::ready::Ready;

use crate::process::Spec;
use crate::roster::Roster;
use crate::{paths, ports, seed};

const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// How long a stand-in may take to write its state when it is asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// What a stand-in stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A VyOS router.
    Vyos,
    /// A Proxmox VE cluster.
    Proxmox,
}

impl Kind {
    /// The program that plays it.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Vyos => "bb-lab-vyos",
            Self::Proxmox => "bb-lab-proxmox",
        }
    }
}

/// What a stand-in is started with.
#[derive(Clone, Debug)]
pub struct StandInOptions {
    /// What it stands in for.
    pub kind: Kind,
    /// Its name: `r1`, `c1`.
    pub name: String,
    /// The key of the router's HTTP API, or the secret of the cluster's API tokens.
    pub key: String,
    /// What it holds when it is new; none: the stand-in's own first state.
    pub seed: Option<PathBuf>,
    /// Where the journal is kept; none: `journal/NAME.jsonl` in the roster's folder.
    pub journal: Option<PathBuf>,
    /// How long things take, as a share of what the real one takes: 1 is as slow, 0 is at once.
    pub time_scale: f64,
}

impl StandInOptions {
    /// A stand-in that does everything at once.
    #[must_use]
    pub fn new(kind: Kind, name: &str, key: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            key: key.to_owned(),
            seed: None,
            journal: None,
            time_scale: 0.0,
        }
    }
}

/// A running router or hypervisor cluster.
#[derive(Clone, Debug)]
pub struct StandIn {
    roster: Arc<Roster>,
    options: StandInOptions,
    ready: Ready,
    credential: String,
}

impl StandIn {
    /// Starts a stand-in in the roster's folder, or finds it running, and waits until it serves.
    /// One that ran before keeps its state and its addresses.
    ///
    /// # Errors
    /// When its program is not built, or it is not ready within 30 s.
    pub async fn start(roster: Arc<Roster>, options: StandInOptions) -> Result<Self> {
        let program = paths::binary(options.kind.program())?;
        let files = Files::of(roster.dir(), &options);
        files.make_folders()?;
        let credential = files.credential(&program, &options)?;
        let running = roster.is_current(&options.name, &program);
        let ready = match files.ready() {
            Some(ready) if running => ready,
            before => {
                roster.end(&options.name, GRACE)?;
                let _ = fs::remove_file(&files.ready);
                let spec = files.spec(program, &options, before.as_ref())?;
                roster.start(&options.name, &spec)?;
                until_ready(&roster, &options.name, &files).await?
            }
        };
        Ok(Self {
            roster,
            options,
            ready,
            credential,
        })
    }

    /// Where it serves, and what to trust.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// What a client presents: a router's key, a cluster's token as `USER!NAME=SECRET`.
    #[must_use]
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// The journal: a JSON line per call and per commit, secrets masked.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        Files::of(self.roster.dir(), &self.options).journal
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// When its process does not end.
    pub fn kill(&self) -> Result<()> {
        self.roster.end(&self.options.name, Duration::ZERO)
    }

    /// Ends it and starts it again with the state it had written, at the same addresses.
    ///
    /// # Errors
    /// As [`StandIn::start`].
    pub async fn restart(self) -> Result<Self> {
        self.roster.end(&self.options.name, GRACE)?;
        Self::start(self.roster, self.options).await
    }
}

async fn until_ready(roster: &Roster, name: &str, files: &Files) -> Result<Ready> {
    let until = Instant::now() + READY_WITHIN;
    loop {
        if let Some(ready) = files.ready() {
            return Ok(ready);
        }
        if roster.running(name).is_none() {
            bail!("{name} ended before it was ready; {}", roster.tail(name));
        }
        if Instant::now() >= until {
            let bound = READY_WITHIN.as_secs();
            bail!("{name} is not ready after {bound} s; {}", roster.tail(name));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Where a stand-in keeps what it writes.
struct Files {
    seed: PathBuf,
    ready: PathBuf,
    state: PathBuf,
    journal: PathBuf,
    log: PathBuf,
}

impl Files {
    fn of(dir: &Path, options: &StandInOptions) -> Self {
        let name = &options.name;
        let journal = || dir.join("journal").join(format!("{name}.jsonl"));
        Self {
            seed: dir.join("standin").join(format!("{name}.seed.json")),
            ready: dir.join("standin").join(format!("{name}.ready.json")),
            state: dir.join("standin").join(format!("{name}.state.json")),
            journal: options.journal.clone().unwrap_or_else(journal),
            log: dir.join("log").join(format!("{name}.log")),
        }
    }

    fn make_folders(&self) -> Result<()> {
        for folder in [&self.ready, &self.journal, &self.log]
            .into_iter()
            .filter_map(|f| f.parent())
        {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(())
    }

    /// Returns what a client presents, and writes what a cluster starts with to that end.
    fn credential(&self, program: &Path, options: &StandInOptions) -> Result<String> {
        match options.kind {
            Kind::Vyos => Ok(options.key.clone()),
            Kind::Proxmox => {
                seed::with_secret(program, options.seed.as_deref(), &options.key, &self.seed)
            }
        }
    }

    fn ready(&self) -> Option<Ready> {
        Ready::read(&self.ready).ok()
    }

    fn spec(
        &self,
        program: PathBuf,
        options: &StandInOptions,
        before: Option<&Ready>,
    ) -> Result<Spec> {
        let flags = [
            ("--name", options.name.clone()),
            ("--listen", address(before.map(|ready| &*ready.api))?),
            ("--control", address(before.map(|ready| &*ready.control))?),
            ("--state", self.state.display().to_string()),
            ("--journal", self.journal.display().to_string()),
            ("--time-scale", options.time_scale.to_string()),
            ("--ready-file", self.ready.display().to_string()),
        ];
        let mut args: Vec<String> = flags
            .into_iter()
            .flat_map(|(flag, value)| [flag.to_owned(), value])
            .collect();
        let seed = match options.kind {
            Kind::Vyos => {
                args.extend(["--key".to_owned(), options.key.clone()]);
                options.seed.as_ref()
            }
            Kind::Proxmox => Some(&self.seed),
        };
        if let Some(seed) = seed {
            args.extend(["--seed".to_owned(), seed.display().to_string()]);
        }
        Ok(Spec {
            program,
            args,
            env: BTreeMap::new(),
            log: self.log.clone(),
        })
    }
}

/// Returns the host and port of an earlier URL, or a port of our choice.
fn address(before: Option<&str>) -> Result<String> {
    let old = before
        .and_then(|url| url.split("//").nth(1))
        .map(|rest| rest.trim_end_matches('/'));
    match old {
        Some(address) => Ok(address.to_owned()),
        None => Ok(format!("127.0.0.1:{}", ports::free()?)),
    }
}
