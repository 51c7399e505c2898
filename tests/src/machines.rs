//! Turns a number of machines, asked for at once, into what they cost a cluster and how long they took.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_lab_kit::journal::Entry;
use bb_lab_proxmox::model::Takes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::figures::{About, about};
use crate::site::{Site, condition};

/// The cluster that makes them.
const CLUSTER: &str = "c1";
/// Objects applied at the same time.
const APPLIED_AT_ONCE: usize = 25;

/// What is asked for, and how long the cluster takes for it.
#[derive(Clone, Copy, Debug)]
pub struct Machines {
    /// How many tenants.
    pub tenants: usize,
    /// How many machines each of them asks for.
    pub each: usize,
    /// Clones under way at once, as the Provider says.
    pub clones: usize,
    /// Seconds that a clone, a growth and a start take.
    pub takes: [f64; 3],
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Made {
    asked: Machines,
    /// All that the cluster was asked from the first apply until the last was seen Ready.
    pub requests: usize,
    /// Those that name one machine.
    pub naming_one: usize,
    /// How often each call was made.
    pub calls: BTreeMap<String, usize>,
    /// From the first apply until the last was seen Ready.
    pub wall: Duration,
    /// When the last machine of each tenant was seen Ready.
    pub tenants: BTreeMap<String, Duration>,
    /// From the first apply until the first clone was asked for.
    pub first_clone: Duration,
    /// How much later than asked for timers of this process rang meanwhile: what a machine that
    /// has more to do than this takes away from it.
    pub late: Duration,
    /// How long after the end of a clone the next took its slot: for each clone but the first
    /// ones, by the stand-in's own times.
    pub idle: Vec<Duration>,
}

impl Machines {
    /// How many in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tenants * self.each
    }

    /// What no schedule can be quicker than: the clones in as few waves as there are slots, then
    /// the growth and the start of the last wave. Nothing else is in it: no request, no look,
    /// no write to the API.
    #[must_use]
    pub fn floor(&self) -> Duration {
        let [clone, resize, start] = self.takes;
        let waves = self.count().div_ceil(self.clones);
        Duration::from_secs_f64(waves as f64 * clone + resize + start)
    }

    /// Sets the cluster up, with a network for each tenant.
    ///
    /// # Errors
    /// When something is refused, or not Ready in time.
    pub async fn prepare(&self, site: &Site) -> Result<()> {
        let lab = site.clusters.get(CLUSTER).context("the site has c1")?;
        let [clone, resize, start] = self.takes.map(Some);
        lab.with(|cluster| {
            cluster.world.takes = Takes {
                clone,
                resize,
                start,
            };
        });
        let images = json!([{"name": "debian-12", "template": 9000, "clone": "Full"}]);
        let limits = json!({"clones": self.clones, "tasks": 4 * self.clones});
        let patch = json!({"spec": {"proxmox": {"images": images, "limits": limits}}});
        site.ours("Provider", None)
            .patch(CLUSTER, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        for nth in 0..self.tenants {
            site.apply(&tenant(nth)).await?;
        }
        site.all_ready(Duration::from_secs(60)).await
    }

    /// Applies all machines at once and waits until the last is Ready.
    ///
    /// # Errors
    /// When something is refused, or not Ready within three times the floor and a minute.
    pub async fn make(&self, site: &Site) -> Result<Made> {
        let lab = site.clusters.get(CLUSTER).context("the site has c1")?;
        let bound = self.floor() * 3 + Duration::from_secs(60);
        // Whatever was going on before is not counted.
        lab.clear_journal();
        lab.counts().reset();
        let began = (Instant::now(), Timestamp::now());
        let beat = Beat::start();
        let apply = stream::iter(self.objects())
            .map(|object| site.apply_value(object))
            .buffer_unordered(APPLIED_AT_ONCE)
            .try_for_each(|_| async { Ok(()) });
        let seen = tokio::time::timeout(bound, self.all_ready(site, began.0));
        let (applied, ready) = futures::join!(apply, seen);
        applied?;
        let requests = usize::try_from(lab.counts().get("requests"))?;
        let journal = lab.journal();
        let ready = ready.with_context(|| format!("not all Ready within {bound:?}"))??;
        self.made(requests, &journal, &ready, (began.1, beat.end()))
    }

    fn objects(&self) -> Vec<Value> {
        let machine = |tenant: usize, nth: usize| {
            json!({
                "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
                "metadata": {"name": format!("vm-{nth:03}"), "namespace": name(tenant)},
                "spec": {
                    "image": "debian-12", "disk": "10Gi",
                    "networks": [{"name": "net", "network": "net"}],
                    "placement": {"zone": "north"},
                },
            })
        };
        (0..self.each)
            .flat_map(|nth| (0..self.tenants).map(move |tenant| machine(tenant, nth)))
            .collect()
    }

    /// When each machine was first seen Ready, by tenant and name.
    async fn all_ready(
        &self,
        site: &Site,
        began: Instant,
    ) -> Result<BTreeMap<(String, String), Duration>> {
        let api = site.ours("Instance", None);
        let mut ready = BTreeMap::new();
        let mut version = "0".to_owned();
        while ready.len() < self.count() {
            let mut events = api.watch(&WatchParams::default(), &version).await?.boxed();
            while let Some(event) = events.try_next().await? {
                let object: DynamicObject = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => object,
                    WatchEvent::Deleted(object) => bail!("{:?} went", object.metadata.name),
                    WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
                };
                if let Some(seen) = &object.metadata.resource_version {
                    version.clone_from(seen);
                }
                if condition(&object, "Ready").starts_with("True") {
                    let key = |text: Option<String>| text.unwrap_or_default();
                    let key = (key(object.metadata.namespace), key(object.metadata.name));
                    ready.entry(key).or_insert_with(|| began.elapsed());
                }
                if ready.len() == self.count() {
                    break;
                }
            }
        }
        Ok(ready)
    }

    fn made(
        &self,
        requests: usize,
        journal: &[Entry],
        ready: &BTreeMap<(String, String), Duration>,
        (began, late): (Timestamp, Duration),
    ) -> Result<Made> {
        let mut tenants: BTreeMap<String, Duration> = BTreeMap::new();
        for ((tenant, _), at) in ready {
            let last = tenants.entry(tenant.clone()).or_default();
            *last = (*last).max(*at);
        }
        let mut calls: BTreeMap<String, usize> = BTreeMap::new();
        for entry in journal {
            let path = entry.path.split('/').map(|part| {
                let number = part.parse::<u32>().is_ok();
                if number { "ID" } else { part }
            });
            let path: Vec<&str> = path.collect();
            *calls
                .entry(format!("{} {}", entry.method, path.join("/")))
                .or_default() += 1;
        }
        let clones: Vec<f64> = journal
            .iter()
            .filter(|entry| entry.method == "POST" && entry.path.ends_with("/clone"))
            .map(|entry| {
                let at: Timestamp = entry.time.parse()?;
                Ok(at.duration_since(began).as_secs_f64())
            })
            .collect::<Result<_>>()?;
        let first = clones.first().copied().context("nothing was cloned")?;
        let freed = clones.iter().map(|at| at + self.takes[0]);
        let idle = clones
            .iter()
            .skip(self.clones)
            .zip(freed)
            .map(|(next, freed)| Duration::from_secs_f64((next - freed).max(0.0)));
        Ok(Made {
            asked: *self,
            requests,
            naming_one: journal.iter().filter(|e| about(e) != About::All).count(),
            calls,
            wall: ready.values().max().copied().unwrap_or_default(),
            tenants,
            late,
            first_clone: Duration::from_secs_f64(first.max(0.0)),
            idle: idle.collect(),
        })
    }
}

impl Made {
    /// Requests by machines.
    #[must_use]
    pub fn requests_each(&self) -> f64 {
        self.requests as f64 / self.asked.count() as f64
    }

    /// The least time that it can take.
    #[must_use]
    pub fn floor(&self) -> Duration {
        self.asked.floor()
    }

    /// The time it took, by the least that it can take.
    #[must_use]
    pub fn by_floor(&self) -> f64 {
        self.wall.as_secs_f64() / self.floor().as_secs_f64()
    }

    /// When the slowest tenant had all, by when tenants had all on average.
    #[must_use]
    pub fn slowest_by_mean(&self) -> f64 {
        let ends: Vec<f64> = self.tenants.values().map(Duration::as_secs_f64).collect();
        let mean = ends.iter().sum::<f64>() / ends.len().max(1) as f64;
        ends.iter().copied().fold(0.0, f64::max) / mean
    }

    /// The longest and the mean time that a slot stood idle between two clones.
    #[must_use]
    pub fn idle(&self) -> (Duration, Duration) {
        let count = u32::try_from(self.idle.len().max(1)).unwrap_or(u32::MAX);
        let sum: Duration = self.idle.iter().sum();
        (
            self.idle.iter().max().copied().unwrap_or_default(),
            sum / count,
        )
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machines {
            tenants,
            clones,
            takes: [clone, resize, start],
            ..
        } = self.asked;
        let count = self.asked.count();
        writeln!(
            f,
            "{count} machines of {tenants} tenants, {clones} clones at once; a clone takes {clone} s, \
             a growth {resize} s, a start {start} s"
        )?;
        writeln!(
            f,
            "requests: {} in all, {:.2} a machine; {} name one machine, {:.2} each",
            self.requests,
            self.requests_each(),
            self.naming_one,
            self.naming_one as f64 / count as f64
        )?;
        writeln!(
            f,
            "time: {:.2} s until all are Ready; the floor is {:.2} s ({} waves of clones, a growth \
             and a start): {:.3} of it",
            self.wall.as_secs_f64(),
            self.asked.floor().as_secs_f64(),
            count.div_ceil(clones),
            self.by_floor()
        )?;
        let (longest, mean) = self.idle();
        writeln!(
            f,
            "first clone after {:?}; a slot stood idle for {mean:?} on average, {longest:?} at most; \
             timers rang late by {:?} in all",
            self.first_clone, self.late
        )?;
        writeln!(
            f,
            "tenants: the slowest ends at {:.3} of the mean",
            self.slowest_by_mean()
        )?;
        for (call, count) in &self.calls {
            writeln!(f, "  {count:5} {call}")?;
        }
        Ok(())
    }
}

/// A timer that rings again and again, and how late.
struct Beat {
    late: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Beat {
    const EVERY: Duration = Duration::from_millis(20);
    /// Less is not late: timers are not exact.
    const EXACT: Duration = Duration::from_millis(5);

    fn start() -> Self {
        let beat = Self {
            late: Arc::default(),
            stop: Arc::default(),
        };
        let (late, stop) = (Arc::clone(&beat.late), Arc::clone(&beat.stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                std::thread::sleep(Self::EVERY);
                let more = asked.elapsed().saturating_sub(Self::EVERY);
                if more > Self::EXACT {
                    let more = u64::try_from(more.as_millis()).unwrap_or_default();
                    late.fetch_add(more, Ordering::Relaxed);
                }
            }
        });
        beat
    }

    fn end(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        Duration::from_millis(self.late.load(Ordering::Relaxed))
    }
}

fn name(tenant: usize) -> String {
    format!("tenant-{tenant:02}")
}

fn tenant(nth: usize) -> String {
    let name = name(nth);
    format!(
        "apiVersion: v1
kind: Namespace
metadata:
  name: {name}
  labels:
    bitbuilder.cloud/tenant: {name}
---
apiVersion: bitbuilder.cloud/v1alpha1
kind: Tenant
metadata:
  name: {name}
spec: {{}}
---
apiVersion: bitbuilder.cloud/v1alpha1
kind: Network
metadata:
  name: net
  namespace: {name}
spec:
  zones: [north]
  ipv4:
    prefix: 10.{nth}.0.0/22
"
    )
}
