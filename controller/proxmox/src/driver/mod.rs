//! Turns what should be on a cluster into calls, one step a pass, and into a report of where all stands.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bb_core::proxmox::model::{Desired, Fate, GuestState, Kind, More, PassReport, VolumeState};
use bb_core::proxmox::observed::{ConfigRead, Observed, Place, Rest};
use bb_core::proxmox::plan::{Chain, Op, Plan, image_orphans, plan, strangers};
use bb_crds::condition::Reason;
use bb_crds::ids::Vmid;
use futures::StreamExt;
use futures::stream;
use tracing::{debug, info, warn};

use crate::cluster::Cluster;
use crate::error::ClusterError;
use crate::rights;
use crate::tasks::oldest;

mod carry;
mod gather;
mod guard;
mod memory;

use carry::{Carried, carry};
use memory::Memory;

/// A node's API has three workers by default: more at once only queue there.
const READS_AT_ONCE: usize = 8;
/// How often a plan may ask for reads before it is carried out as far as it is decided.
const ROUNDS: usize = 8;
/// What is due within this is waited for by passing again and again.
const SOON: Duration = Duration::from_secs(10);
/// How long what our rights let us delete is believed.
const RIGHTS: Duration = Duration::from_secs(300);

/// A pass that did not come to a report.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct PassError {
    /// What was being done.
    pub what: String,
    /// Why it failed.
    #[source]
    pub source: ClusterError,
}

/// Drives one cluster. There must be one at a time for each cluster.
pub struct Driver {
    cluster: Cluster,
    memory: Memory,
    shutdown_seconds: u64,
    deletable: Option<(Instant, BTreeSet<String>)>,
    /// What listings have shown of images that no object accounts for.
    orphans: BTreeMap<Place, Vec<String>>,
    /// Disks that stayed when their guest was destroyed, as the logs of those tasks say.
    left: BTreeSet<String>,
    /// Guests of ours that are in no object, and the addresses that they have: read once.
    strangers: BTreeMap<Vmid, BTreeSet<Ipv4Addr>>,
    passes: usize,
    /// The identity of the management cluster, part of every mark.
    installation: String,
    /// When this pass began to read.
    read: Instant,
}

impl Driver {
    /// A driver that knows nothing yet.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            memory: Memory::default(),
            shutdown_seconds: 30,
            deletable: None,
            orphans: BTreeMap::new(),
            left: BTreeSet::new(),
            strangers: BTreeMap::new(),
            passes: 0,
            installation: String::new(),
            read: Instant::now(),
        }
    }

    /// The driver with another bound on how long a guest is given to shut down before it is
    /// stopped; 30 s otherwise.
    #[must_use]
    pub fn shutdown_within(mut self, bound: Duration) -> Self {
        self.shutdown_seconds = bound.as_secs().max(1);
        self
    }

    /// The driver with another first pause after a failure, 2 s otherwise. A task that its node
    /// does not list counts as lost after five of these.
    #[must_use]
    pub fn pausing(mut self, first: Duration) -> Self {
        self.memory.first = first;
        self.memory.missing = first.saturating_mul(5);
        self
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Has the next pass read every guest, also those that are settled: a look for what people
    /// changed by hand that the lists do not show.
    pub const fn recheck(&mut self) {
        self.memory.recheck = true;
    }

    /// How long until something that failed is due to be tried again. [`PassReport::more`]
    /// covers what is due within a few seconds.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.memory.due(Instant::now())
    }

    /// Observes, decides, and makes the next calls.
    ///
    /// With everything settled a pass costs two list calls. While
    /// [`PassReport::more`] says so, it is worth calling again within a second or two.
    ///
    /// # Errors
    /// [`PassError`] when the cluster does not answer or refuses the credentials; what a
    /// single object meets is in its report.
    pub async fn pass(&mut self, desired: &Desired) -> Result<PassReport, PassError> {
        self.passes = self.passes.wrapping_add(1);
        self.installation.clone_from(&desired.cluster.installation);
        self.read = Instant::now();
        self.memory.wish(desired);
        self.follow_tasks().await?;
        let mut seen = self.look(desired).await?;
        let mut decided = self.decide(desired, &mut seen).await?;
        self.memory.recheck = false;
        let proven = std::mem::take(&mut decided.proven);
        self.memory.proved(proven, Instant::now());
        self.memory.odd = std::mem::take(&mut decided.odd);
        self.remember_orphans(desired, &seen);
        self.read_strangers(desired, &seen).await;
        let addresses = self.strangers.values().flatten();
        decided.report.others.addresses = addresses.copied().collect();
        decided
            .report
            .orphans
            .retain(|orphan| !orphan.starts_with("disk image "));
        for (place, volids) in &self.orphans {
            let named = volids
                .iter()
                .map(|volid| format!("disk image {volid} on {}", place.node));
            decided.report.orphans.extend(named);
        }
        decided.report.orphans.extend(self.left.iter().cloned());
        let mut report = std::mem::take(&mut decided.report);
        self.carry_out(decided.chains, &mut report).await;
        // To say "at work" for the moment of each try would be two writes to the API each time.
        for (uid, rest) in self.memory.refused_last() {
            if is_working(&report, uid) {
                tell(&mut report, uid, rest);
            }
        }
        if self.due().is_some_and(|due| due <= SOON) {
            report.more = More::Working;
        }
        Ok(report)
    }

    /// Learns what became of the tasks that were begun: one list for each node concerned.
    async fn follow_tasks(&mut self) -> Result<(), PassError> {
        for (node, since) in oldest(self.memory.tasks.keys()) {
            match self.cluster.tasks(&node, since).await {
                Ok(list) => self.memory.listed(&node, &list, Instant::now()),
                Err(source @ ClusterError::Unauthorized(_)) => {
                    return Err(PassError {
                        what: format!("list the tasks of node {node}"),
                        source,
                    });
                }
                // The node may be down: its tasks stay under way until it says otherwise.
                Err(error) => warn!(node, %error, "the tasks of a node cannot be listed"),
            }
        }
        for (upid, op) in std::mem::take(&mut self.memory.destroyed) {
            match self.cluster.left_behind(&upid).await {
                Ok(volids) => {
                    let said = |volid: String| {
                        let node = &upid.node;
                        format!(
                            "disk image {volid} on {node}: `{op}` could not remove it, run `pvesm free {volid}` there"
                        )
                    };
                    self.left.extend(volids.into_iter().map(said));
                }
                Err(error) => {
                    debug!(%error, upid = upid.text, "the log of a destroy cannot be read");
                }
            }
        }
        Ok(())
    }

    async fn look(&mut self, desired: &Desired) -> Result<Observed, PassError> {
        let failed = |source| PassError {
            what: "list what the cluster has".to_owned(),
            source,
        };
        // After the tasks: a guest whose build has been seen to end is in this list.
        let mut seen = self.cluster.resources().await.map_err(failed)?;
        seen.live = self.memory.live(Instant::now());
        seen.deletable = self.deletable(desired, &seen).await;
        if let Some(need) = gather::in_turn(desired, &seen, self.passes) {
            let needs = [need].into();
            gather::read(&self.cluster, desired, &mut self.memory, needs, &mut seen).await?;
        }
        Ok(seen)
    }

    /// The storages whose images our rights let us delete by name; asked only where a volume
    /// is to go.
    async fn deletable(&mut self, desired: &Desired, seen: &Observed) -> BTreeSet<String> {
        if desired
            .volumes
            .iter()
            .all(|volume| volume.fate != Fate::Destroy)
        {
            return BTreeSet::new();
        }
        if let Some((at, storages)) = &self.deletable
            && at.elapsed() < RIGHTS
        {
            return storages.clone();
        }
        let storages = match self.cluster.permissions().await {
            Ok(held) => seen
                .storages
                .keys()
                .filter(|storage| {
                    rights::holds(&held, &format!("/storage/{storage}"), "Datastore.Allocate")
                })
                .cloned()
                .collect(),
            Err(error) => {
                debug!(%error, "rights cannot be read");
                return BTreeSet::new();
            }
        };
        self.deletable.insert((Instant::now(), storages)).1.clone()
    }

    /// Plans, reads what the plan asks for, and plans again until nothing is missing.
    async fn decide(&mut self, desired: &Desired, seen: &mut Observed) -> Result<Plan, PassError> {
        for _ in 0..ROUNDS {
            let flight = self.memory.in_flight(Instant::now());
            let mut decided = plan(desired, seen, &flight);
            if decided.needs.is_empty() {
                return Ok(decided);
            }
            let needs = std::mem::take(&mut decided.needs);
            gather::read(&self.cluster, desired, &mut self.memory, needs, seen).await?;
        }
        Ok(plan(desired, seen, &self.memory.in_flight(Instant::now())))
    }

    fn remember_orphans(&mut self, desired: &Desired, seen: &Observed) {
        for (place, images) in &seen.images {
            let found = image_orphans(desired, images);
            if found.is_empty() {
                self.orphans.remove(place);
            } else {
                self.orphans.insert(place.clone(), found);
            }
        }
    }

    /// Reads which addresses those have that are in no object.
    async fn read_strangers(&mut self, desired: &Desired, seen: &Observed) {
        let mut new: Vec<(Vmid, Kind, String)> = strangers(desired, seen)
            .into_iter()
            .map(|(vmid, row)| (vmid, row.kind, row.node.clone()))
            .collect();
        let there: BTreeSet<Vmid> = new.iter().map(|(vmid, ..)| *vmid).collect();
        self.strangers.retain(|vmid, _| there.contains(vmid));
        new.retain(|(vmid, ..)| !self.strangers.contains_key(vmid));
        let cluster = &self.cluster;
        let read: Vec<_> =
            stream::iter(new)
                .map(|(vmid, kind, node)| async move {
                    (vmid, cluster.pending(kind, &node, vmid).await)
                })
                .buffer_unordered(READS_AT_ONCE)
                .collect()
                .await;
        for (vmid, config) in read {
            match config {
                Ok(ConfigRead::Found(config)) => {
                    self.strangers.insert(vmid, config.addresses());
                }
                Ok(_) => {}
                Err(error) => debug!(%error, %vmid, "a guest in no object cannot be read"),
            }
        }
    }

    /// Makes the calls of all chains side by side; those of one chain in their order, up to the
    /// first that begins a task or fails.
    async fn carry_out(&mut self, chains: Vec<Chain>, report: &mut PassReport) {
        let now = Instant::now();
        let (again, chains): (Vec<Chain>, Vec<Chain>) = chains.into_iter().partition(|chain| {
            let first = chain.ops.first();
            first.is_some_and(|op| self.memory.repeats(&chain.owner.uid, op, now))
        });
        for chain in again {
            let first = chain
                .ops
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            let mut message = format!("waits for the effect of `{first}`, which the cluster took");
            let vain = self.memory.is_vain(&chain.owner.uid);
            if vain {
                message.push_str("; see the log of that task on its node");
            }
            let reason = vain.then_some(Reason::Waiting);
            tell(report, &chain.owner.uid, &Rest { reason, message });
        }
        let (cluster, seconds) = (&self.cluster, self.shutdown_seconds);
        let (installation, read) = (&self.installation, self.read);
        let carried: Vec<(Chain, Vec<(Op, Carried)>)> = stream::iter(chains)
            .map(|chain| async move {
                let mut outcomes = Vec::new();
                for op in &chain.ops {
                    info!(owner = %chain.owner, %op, "begins");
                    let outcome =
                        match guard::check(cluster, installation, &chain.owner, op, read).await {
                            Ok(()) => carry(cluster, op, seconds).await,
                            Err(error) => Carried::Failed(error),
                        };
                    let goes_on = matches!(outcome, Carried::Done);
                    outcomes.push((op.clone(), outcome));
                    if !goes_on {
                        break;
                    }
                }
                (chain, outcomes)
            })
            .buffer_unordered(READS_AT_ONCE)
            .collect()
            .await;
        for (chain, outcomes) in carried {
            self.take_note(&chain, outcomes, report);
            report.more = More::Working;
        }
    }

    fn take_note(&mut self, chain: &Chain, outcomes: Vec<(Op, Carried)>, report: &mut PassReport) {
        let now = Instant::now();
        for (op, outcome) in outcomes {
            match outcome {
                Carried::Done => self.memory.done(chain, &op, now),
                Carried::Begun(upid) => self.memory.begun(chain, &op, upid, now),
                Carried::Failed(error) => {
                    info!(owner = %chain.owner, %op, %error, "failed");
                    self.memory.failed(chain, &op, &error, now);
                    if let Some(rest) = self.memory.rest(&chain.owner.uid, now) {
                        tell(report, &chain.owner.uid, rest);
                    }
                }
            }
        }
    }
}

/// Whether an object is told to be under way.
fn is_working(report: &PassReport, uid: &str) -> bool {
    let guest = report.guests.get(uid).map(|guest| &guest.state);
    let volume = report.volumes.get(uid).map(|volume| &volume.state);
    matches!(guest, Some(GuestState::Working(_))) || matches!(volume, Some(VolumeState::Working(_)))
}

/// Puts what happened to an object in its report.
fn tell(report: &mut PassReport, uid: &str, rest: &Rest) {
    let message = rest.message.clone();
    if let Some(guest) = report.guests.get_mut(uid) {
        guest.state = match rest.reason {
            Some(reason) => GuestState::Held { reason, message },
            None => GuestState::Working(message),
        };
    } else if let Some(volume) = report.volumes.get_mut(uid) {
        volume.state = match rest.reason {
            Some(reason) => VolumeState::Held { reason, message },
            None => VolumeState::Working(message),
        };
    }
}
