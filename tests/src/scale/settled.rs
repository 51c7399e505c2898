//! Turns thousands of guests that are as they should be into what they cost: reads, writes, CPU
//! time and memory, at a start and in a steady state.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bb_lab_harness::{Part, lab};
use bb_lab_kit::journal::Entry;
use serde_json::json;

use super::Row;
use super::audit::{Audit, Requests};
use super::population::Population;
use super::process::{Memory, Process};
use crate::figures::{About, about};
use crate::{Site, SiteOptions};

/// How many guests there are.
pub const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// How many of them the controller makes; more are put there as if it had.
const MADE: usize = 1_000;
/// Flags of the controller while it makes them.
pub(super) const MAKING: [&str; 4] = ["--active-poll", "250", "--backoff", "200"];
/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(900);
/// Ticks of each cluster that are looked at.
const TICKS: usize = 8;
/// How long a settled target is left alone while ticks are counted, in seconds.
const POLL: &str = "2";
/// How often a state that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// A controller that uses less of a core than this over [`QUIET`] has nothing to do.
const IDLE: f64 = 0.05;
/// See [`IDLE`].
const QUIET: Duration = Duration::from_secs(2);
/// How often the API server is restarted to have everything listed anew.
const RESTARTS: usize = 3;
/// How long a watch may take to begin again: its own pause is up to 30 s.
const RELIST: Duration = Duration::from_secs(60);
/// Our kinds and the namespaces: what the controller keeps in caches.
const KINDS: [&str; 7] = [
    "providers",
    "regions",
    "tenants",
    "namespaces",
    "networks",
    "instances",
    "volumes",
];

/// What one size costs.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    /// From the first Instance that is made until all are made, and until all are Ready.
    pub made: Option<(Duration, Duration)>,
    /// The most and the mean of writes to one Instance until it is Ready.
    pub writes_per_instance: (f64, f64),
    /// From caches that are full to a controller that has nothing to do.
    pub start: Duration,
    /// CPU time of the start, in seconds, the filling of caches included.
    pub start_cpu: f64,
    /// Calls to each cluster in the start.
    pub start_calls: f64,
    /// What the start asked of the API.
    pub start_requests: Requests,
    /// Calls to clusters and routers in the start that are no reads.
    pub start_writes: f64,
    /// Memory after the start.
    pub memory: Memory,
    /// Calls per tick of a cluster, the most.
    pub calls_per_tick: f64,
    /// Reads of single guests by guests and hours, while ticks were counted.
    pub guest_reads: f64,
    /// Writes to the API, to clusters and to routers while ticks were counted.
    pub writes: f64,
    /// CPU time per tick of both clusters and routers, in seconds.
    pub cpu_per_tick: f64,
    /// Memory after every kind was listed anew, and its peak on the way.
    pub relisted: Memory,
    /// How often the API was listed per kind in that, the most.
    pub relists: f64,
}

/// Measures every size, the smaller first.
///
/// # Errors
/// When something does not come to rest.
pub async fn run() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (size, costs) in measured(&SIZES).await? {
        rows.extend(costs.of_ticks(size));
        if size == MADE {
            rows.extend(costs.of_making(size));
        }
        if size == SIZES[SIZES.len() - 1] {
            rows.extend(costs.of_start(size));
            rows.extend(costs.of_memory(size));
        }
    }
    Ok(rows)
}

/// What each size costs, in one world that grows.
///
/// # Errors
/// When something does not come to rest.
pub async fn measured(sizes: &[usize]) -> Result<BTreeMap<usize, Costs>> {
    let site = Site::start(SiteOptions {
        controller: false,
        ..SiteOptions::default()
    })
    .await?;
    Population::unbounded(&site).await?;
    let mut population = Population::default();
    let mut audit = Audit::of(&site.cluster)?;
    let mut all = BTreeMap::new();
    for size in sizes {
        let mut costs = Costs::default();
        make(&site, &mut population, &mut audit, *size, &mut costs).await?;
        start(&site, &mut audit, &mut costs).await?;
        steady(&site, &mut audit, *size, &mut costs).await?;
        all.insert(*size, costs);
    }
    site.stop().await?;
    Ok(all)
}

/// Has the controller make guests until there are `size`, or puts them there.
async fn make(
    site: &Site,
    population: &mut Population,
    audit: &mut Audit,
    size: usize,
    costs: &mut Costs,
) -> Result<()> {
    if size > MADE {
        population.seed(site, size).await?;
        // What is counted over all of them, such as the addresses of a network, is written once.
        let (process, _) = started(site, &MAKING).await?;
        ensure!(
            writes(site) == 0,
            "the guests that were put there are not like those that were made"
        );
        return process.stop();
    }
    let process = Process::start(&site.cluster, &MAKING).await?;
    if population.is_empty() {
        Population::tenants(site, BOUND).await?;
    }
    audit.since(lab::CONTROLLER_USER)?;
    costs.made = Some(population.grow(site, size, BOUND).await?);
    let requests = audit.since(lab::CONTROLLER_USER)?;
    let counts: Vec<usize> = requests.writes_to("instances").into_values().collect();
    let most = counts.iter().max().copied().unwrap_or(0) as f64;
    let mean = counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64;
    costs.writes_per_instance = (most, mean);
    quiet(&process).await?;
    process.stop()
}

/// Starts a controller that finds everything as it should be, and has everything listed anew.
pub(super) async fn start(site: &Site, audit: &mut Audit, costs: &mut Costs) -> Result<()> {
    audit.since(lab::CONTROLLER_USER)?;
    let (process, took) = started(site, &["--poll", "3600"]).await?;
    costs.start = took;
    costs.start_cpu = process.cpu()?;
    costs.start_requests = audit.since(lab::CONTROLLER_USER)?;
    costs.start_calls = calls(site).into_iter().max().unwrap_or(0) as f64;
    costs.start_writes = writes(site) as f64;
    costs.memory = process.memory()?;
    process.forget_peak()?;
    let mut seen = relisted(site, audit).await?;
    quiet(&process).await?;
    seen.add(audit.since(lab::CONTROLLER_USER)?);
    costs.relists = seen.lists.values().max().copied().unwrap_or(0) as f64;
    costs.start_writes += seen.written() as f64;
    costs.relisted = process.memory()?;
    process.stop()
}

/// Starts a controller, waits until it has looked at every target and has nothing to do, and
/// gives how long that took from full caches on.
pub(super) async fn started(site: &Site, flags: &[&str]) -> Result<(Process, Duration)> {
    reset(site);
    let process = Process::start(&site.cluster, flags).await?;
    until("the caches are full", || {
        Ok(process.log()?.contains("caches are full"))
    })
    .await?;
    let full = Instant::now();
    until("every target was looked at", || {
        Ok(ticks(site).into_iter().min() >= Some(1))
    })
    .await?;
    let done = quiet(&process).await?;
    Ok((process, done.saturating_duration_since(full)))
}

/// Restarts the API server, again where another process had taken its port meanwhile.
async fn restarted(site: &Site) -> Result<()> {
    let limit = Instant::now() + RELIST;
    loop {
        match site.cluster.restart(Part::ApiServer).await {
            Err(error)
                if format!("{error:#}").contains("address already in use")
                    && Instant::now() < limit =>
            {
                tokio::time::sleep(LOOK).await;
            }
            result => return result,
        }
    }
}

/// Restarts the API server until every kind was listed anew. It knows no history from before its
/// start: a watch that is behind by then is told that it is too old (410).
async fn relisted(site: &Site, audit: &mut Audit) -> Result<Requests> {
    audit.since(lab::CONTROLLER_USER)?;
    let mut seen = Requests::default();
    for attempt in 0..RESTARTS {
        // Something else that is written leaves the watches of our kinds behind.
        site.apply_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "written-meanwhile", "namespace": "default"},
            "data": {"attempt": attempt.to_string()},
        }))
        .await?;
        restarted(site).await?;
        let limit = Instant::now() + RELIST;
        while Instant::now() < limit {
            tokio::time::sleep(LOOK).await;
            seen.add(audit.since(lab::CONTROLLER_USER)?);
            if KINDS.iter().all(|kind| seen.lists.contains_key(*kind)) {
                return Ok(seen);
            }
        }
    }
    bail!("not every kind was listed anew: {:?}", seen.lists)
}

/// Counts what ticks cost.
pub(super) async fn steady(
    site: &Site,
    audit: &mut Audit,
    size: usize,
    costs: &mut Costs,
) -> Result<()> {
    let process = Process::start(&site.cluster, &["--poll", POLL]).await?;
    reset(site);
    until("every target was looked at", || {
        Ok(ticks(site).into_iter().min() >= Some(3))
    })
    .await?;
    audit.since(lab::CONTROLLER_USER)?;
    reset(site);
    let (before, begun) = (process.cpu()?, Instant::now());
    until("enough ticks", || {
        Ok(ticks(site).into_iter().min() >= Some(TICKS))
    })
    .await?;
    let used = process.cpu()? - before;
    let hours = begun.elapsed().as_secs_f64() / 3600.0;
    costs.guest_reads = guest_reads(site) as f64 / size as f64 / hours;
    let (ticks, calls) = (ticks(site), calls_of_ticks(site));
    let each = ticks.iter().zip(&calls);
    let per_tick = each.map(|(ticks, calls)| *calls as f64 / *ticks as f64);
    costs.calls_per_tick = per_tick.fold(0.0, f64::max);
    let mean = ticks.iter().sum::<usize>() as f64 / ticks.len().max(1) as f64;
    costs.cpu_per_tick = used / mean;
    costs.writes = (writes(site) + audit.since(lab::CONTROLLER_USER)?.written()) as f64;
    process.stop()
}

/// Waits until the controller has nothing to do, and gives when that began.
pub(super) async fn quiet(process: &Process) -> Result<Instant> {
    let limit = Instant::now() + BOUND;
    let (mut since, mut used) = (Instant::now(), process.cpu()?);
    while since.elapsed() < QUIET {
        if Instant::now() > limit {
            bail!("the controller is at work all the time");
        }
        tokio::time::sleep(LOOK).await;
        let now = process.cpu()?;
        if now - used > IDLE * QUIET.as_secs_f64() {
            (since, used) = (Instant::now(), now);
        }
    }
    Ok(since)
}

async fn until(what: &str, mut reached: impl FnMut() -> Result<bool>) -> Result<()> {
    let limit = Instant::now() + BOUND;
    while !reached()? {
        if Instant::now() > limit {
            bail!("not within {BOUND:?}: {what}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// How often each cluster was asked for the list of all that it has.
#[must_use]
pub fn ticks(site: &Site) -> Vec<usize> {
    let lists = |cluster: &bb_lab_proxmox::Running| {
        let journal = cluster.journal();
        journal.iter().filter(|e| begins_a_tick(e)).count()
    };
    site.clusters.values().map(lists).collect()
}

/// As [`calls`], without those that still belong to a tick of before: a list begins one.
fn calls_of_ticks(site: &Site) -> Vec<usize> {
    let shared = |cluster: &bb_lab_proxmox::Running| {
        let journal = cluster.journal();
        let own = journal.iter().skip_while(|e| !begins_a_tick(e));
        own.filter(|e| !reads_a_guest(e)).count()
    };
    site.clusters.values().map(shared).collect()
}

fn begins_a_tick(entry: &Entry) -> bool {
    entry.path.ends_with("/cluster/resources")
}

/// How many calls each cluster got, reads of single guests left out: see [`guest_reads`].
#[must_use]
pub fn calls(site: &Site) -> Vec<usize> {
    let shared = |cluster: &bb_lab_proxmox::Running| {
        let journal = cluster.journal();
        journal.iter().filter(|e| !reads_a_guest(e)).count()
    };
    site.clusters.values().map(shared).collect()
}

/// How often single guests were read, on all clusters. What people change inside of a guest's
/// configuration shows in no list: each guest is read once in a long while.
#[must_use]
pub fn guest_reads(site: &Site) -> usize {
    let journals = site
        .clusters
        .values()
        .flat_map(bb_lab_proxmox::Running::journal);
    journals.filter(reads_a_guest).count()
}

fn reads_a_guest(entry: &Entry) -> bool {
    let of_guest = matches!(about(entry), About::Machine(..) | About::Container(..));
    entry.method == "GET" && of_guest
}

/// Calls to clusters and routers that may change something.
#[must_use]
pub fn writes(site: &Site) -> usize {
    let clusters = site
        .clusters
        .values()
        .flat_map(bb_lab_proxmox::Running::journal);
    let routers = site.routers.values().flat_map(|r| r.journal.entries());
    clusters.filter(|e| e.method != "GET").count()
        + routers.filter(crate::figures::changes_router).count()
}

/// Forgets the calls that clusters and routers got so far.
pub fn reset(site: &Site) {
    for router in site.routers.values() {
        router.journal.clear_memory();
    }
    for cluster in site.clusters.values() {
        cluster.clear_journal();
    }
}

impl Costs {
    pub(super) fn of_ticks(&self, size: usize) -> Vec<Row> {
        vec![
            Row::at_most(
                format!("settled_cluster_calls_per_tick_{size}"),
                self.calls_per_tick,
                2.0,
                "calls",
                "calls to a cluster about no single guest, by its lists of all guests; the higher of both",
            ),
            Row::varies(
                format!("settled_reads_per_guest_and_hour_{size}"),
                self.guest_reads,
                "reads",
                "reads of single guests in those ticks: what changes inside of one shows in no list",
            ),
            Row::at_most(
                format!("settled_writes_{size}"),
                self.writes,
                0.0,
                "writes",
                format!("writes to the API, to clusters and to routers in {TICKS} such ticks"),
            ),
            Row::varies(
                format!("settled_cpu_per_tick_{size}"),
                self.cpu_per_tick * 1000.0,
                "ms",
                "CPU time by ticks, each of them a look at both clusters and both routers",
            ),
        ]
    }

    pub(super) fn of_start(&self, size: usize) -> Vec<Row> {
        let lists = self.start_requests.lists.values().max().copied();
        vec![
            Row::at_most(
                format!("start_to_steady_{size}"),
                self.start.as_secs_f64(),
                15.0,
                "s",
                "from full caches until every target was looked at and the controller is idle",
            ),
            Row::varies(
                format!("start_cpu_{size}"),
                self.start_cpu,
                "s",
                "CPU time of that start, the filling of caches included",
            ),
            Row::at_most(
                format!("start_cluster_calls_{size}"),
                self.start_calls,
                20.0,
                "calls",
                "calls to a cluster in that start; the higher of both clusters",
            ),
            Row::at_most(
                format!("start_writes_{size}"),
                self.start_writes + self.start_requests.written() as f64,
                0.0,
                "writes",
                "writes to anything in that start, and while everything was listed anew",
            ),
            Row::at_most(
                format!("start_lists_per_kind_{size}"),
                lists.map_or(f64::NAN, |most| most as f64),
                1.0,
                "lists",
                "lists of one kind in that start, all pages of one counted once; the most",
            ),
        ]
    }

    pub(super) fn of_memory(&self, size: usize) -> Vec<Row> {
        vec![
            Row::at_most(
                format!("memory_{size}"),
                self.memory.now,
                100.0,
                "MiB",
                "resident memory after that start",
            ),
            Row::varies(
                format!("memory_peak_{size}"),
                self.memory.peak,
                "MiB",
                "the most on the way there",
            ),
            Row::at_most(
                format!("memory_after_relist_{size}"),
                self.relisted.now / self.memory.now,
                1.3,
                "times that",
                "resident memory once the API server was restarted and every kind listed anew",
            ),
            Row::varies(
                format!("memory_peak_of_relist_{size}"),
                self.relisted.peak / self.memory.now,
                "times that",
                "the most on the way there",
            ),
        ]
    }

    fn of_making(&self, size: usize) -> Vec<Row> {
        let (most, mean) = self.writes_per_instance;
        let mut rows = vec![
            Row::at_most(
                format!("api_writes_per_instance_{size}"),
                most,
                4.0,
                "writes",
                "writes to one Instance until it is Ready, as that many are made at once; the most",
            ),
            Row::varies(
                format!("api_writes_per_instance_mean_{size}"),
                mean,
                "writes",
                "the mean of the same",
            ),
        ];
        if let Some((made, ready)) = self.made {
            let made = made.as_secs();
            rows.push(Row::varies(
                format!("created_to_ready_{size}"),
                ready.as_secs_f64(),
                "s",
                format!("until all are Ready, on clusters without delay; created within {made} s"),
            ));
        }
        rows
    }
}
