//! Turns what should be on a cluster into calls, one step a pass, and into a report of where all stands.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bb_core::proxmox::model::{Desired, GuestState, More, PassReport, VolumeState};
use bb_core::proxmox::observed::{Need, Observed, Place, Rest};
use bb_core::proxmox::pace::{CAP, GAP};
use bb_core::proxmox::plan::{Chain, Op, Plan, image_orphans, plan};
use bb_crds::condition::Reason;
use bb_crds::ids::Vmid;
use tracing::{debug, info, warn};

use crate::cluster::Cluster;
use crate::error::ClusterError;
use crate::tasks::oldest;

mod carry;
mod failures;
mod gather;
mod guard;
mod look;
mod memory;
mod survey;

pub use carry::words;
use carry::{Carried, Outcome, carry_all};
use guard::InFront;
use memory::Memory;
pub use survey::read;

/// Reads at once. A node's API has three workers by default: more only queue there.
const READS_AT_ONCE: usize = 8;
/// Calls at once, so that what may begin together does.
const CALLS_AT_ONCE: usize = 16;
/// How often a plan may ask for reads before it is carried out as far as it is decided.
const ROUNDS: usize = 8;
/// What is due within this counts as work under way.
const SOON: Duration = Duration::from_secs(10);
/// How soon something is looked at again that is under way without a task of ours.
const UNCLEAR: Duration = Duration::from_secs(2);
/// How many settled guests are read in a pass, beside work and without.
const REREAD_BESIDE_WORK: usize = 4;
const REREAD_AT_REST: usize = 50;
/// The pause before the next of them.
const REREAD_PAUSE: Duration = Duration::from_secs(5);

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
    /// The identity of the management cluster, part of every mark.
    installation: String,
    /// How many times images were listed in turn, and when last.
    turns: (usize, Option<Instant>),
    /// The list of the cluster as it was read last; `None` when it is known to be old.
    list: Option<(Instant, Observed)>,
    /// No task is left alone for longer.
    cap: Duration,
    /// More settled guests are due to be read than the last pass did.
    rereading: bool,
    /// How soon what follows this pass can be done, where that waits for no task.
    follows: Option<Duration>,
    /// When the next pass is due, if not for another reason.
    next: Option<Instant>,
}

impl Driver {
    /// A driver that knows nothing yet.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            memory: Memory::new(Instant::now()),
            shutdown_seconds: carry::SHUTDOWN_SECONDS,
            deletable: None,
            orphans: BTreeMap::new(),
            left: BTreeSet::new(),
            strangers: BTreeMap::new(),
            installation: String::new(),
            turns: (0, None),
            list: None,
            cap: CAP,
            rereading: false,
            follows: None,
            next: None,
        }
    }

    /// The driver with another bound on how long a task is left alone, and on everything else
    /// that is waited for; 15 s otherwise.
    #[must_use]
    pub const fn looking_within(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// The VMIDs whose creation this driver has sent, for the one that takes its place with other
    /// credentials.
    #[must_use]
    pub fn sent(&self) -> BTreeSet<Vmid> {
        self.memory.sent()
    }

    /// The driver, knowing of guests whose creation another has sent: Proxmox VE shows a token
    /// its own tasks only, and what is half made bears no mark yet.
    #[must_use]
    pub fn succeeding(mut self, sent: BTreeSet<Vmid>) -> Self {
        self.memory.was_sent(sent);
        self
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

    /// Has the next pass read every guest, also those that are settled. Without it each is
    /// read within an hour, a few in a pass: a look for what people changed by hand that the
    /// lists do not show.
    pub const fn recheck(&mut self) {
        self.memory.recheck_all = true;
    }

    /// How long until the next pass is worth it; `None` when only another wish makes it so.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let at = self.next?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Observes, decides, and makes the next calls.
    ///
    /// With everything settled a pass costs two list calls. With tasks under way it costs none
    /// before a look at them is due, unless there is something new to do.
    ///
    /// # Errors
    /// [`PassError`] when the cluster does not answer or refuses the credentials; what a
    /// single object meets is in its report.
    pub async fn pass(&mut self, desired: &Desired) -> Result<PassReport, PassError> {
        let begun = Instant::now();
        self.follows = None;
        self.installation.clone_from(&desired.cluster.installation);
        self.memory.wish(desired, begun);
        let worked = !self.memory.tasks.is_empty();
        self.follow_tasks().await?;
        let rest = self.memory.tasks.is_empty();
        let most = if rest {
            REREAD_AT_REST
        } else {
            REREAD_BESIDE_WORK
        };
        let more = self.memory.choose_recheck(most, begun);
        let (mut seen, listed) = self.look(desired, worked).await?;
        self.rereading = more;
        let mut decided = self.decide(desired, &mut seen, listed).await?;
        self.memory.rechecked(Instant::now());
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
        let chains = std::mem::take(&mut decided.chains);
        self.carry_out(chains, &mut report).await;
        // To say "at work" for the moment of each try would be two writes to the API each time.
        for (uid, rest) in self.memory.refused_last() {
            if is_working(&report, uid) {
                tell(&mut report, uid, rest);
            }
        }
        self.schedule(&decided);
        if self.due().is_some_and(|due| due <= SOON) && !self.rereading {
            report.more = More::Working;
        }
        Ok(report)
    }

    /// Says when the next pass is due.
    fn schedule(&mut self, decided: &Plan) {
        let now = Instant::now();
        let mut due: Vec<Instant> = Vec::new();
        due.extend(self.memory.next_look(self.cap));
        due.extend(self.memory.due(now).map(|pause| now + pause));
        due.extend(self.follows.map(|pause| now + pause));
        let stuck = decided.queued && self.memory.tasks.is_empty();
        if decided.unclear || stuck {
            due.push(now + UNCLEAR.min(self.cap));
        }
        if self.rereading {
            due.push(now + REREAD_PAUSE);
        }
        self.next = due.into_iter().min();
    }

    /// Learns what became of the tasks that were begun: one list for each node concerned, when
    /// the next look is due.
    async fn follow_tasks(&mut self) -> Result<(), PassError> {
        let due = self.memory.next_look(self.cap);
        if due.is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        for (node, since) in oldest(self.memory.tasks.keys()) {
            let asked = Instant::now();
            match self.cluster.tasks(&node, since).await {
                Ok(list) => {
                    if self.memory.listed(&node, &list, asked, Instant::now()) {
                        self.list = None;
                    }
                }
                Err(source @ ClusterError::Unauthorized(_)) => {
                    return Err(PassError {
                        what: format!("list the tasks of node {node}"),
                        source,
                    });
                }
                // The node may be down: its tasks stay under way until it says otherwise.
                Err(error) => {
                    self.memory.looked_in_vain(&node, asked);
                    warn!(node, %error, "the tasks of a node cannot be listed");
                }
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

    /// Plans, reads what the plan asks for, and plans again until nothing is missing. New guests
    /// need no read: they are begun while others are read.
    ///
    /// With a list that is not of this pass (`listed` is false) nothing is written but new
    /// guests, whose claim on their VMID is judged by the cluster.
    async fn decide(
        &mut self,
        desired: &Desired,
        seen: &mut Observed,
        mut listed: bool,
    ) -> Result<Plan, PassError> {
        for _ in 0..ROUNDS {
            let flight = self.memory.in_flight(Instant::now());
            let mut decided = plan(desired, seen, &flight);
            let builds = |chain: &Chain| chain.ops.iter().all(Op::builds);
            let harmless = |need: &Need| match need {
                Need::Live(..) => true,
                Need::Config(_, _, vmid) => self.memory.rechecks(*vmid),
                _ => false,
            };
            let idle = decided.chains.iter().all(builds) && decided.needs.iter().all(harmless);
            if !listed && !idle {
                *seen = self.look_anew(desired).await?;
                listed = true;
                continue;
            }
            if decided.needs.is_empty() {
                return Ok(decided);
            }
            let needs = std::mem::take(&mut decided.needs);
            let now = Instant::now();
            let mut new = decided.chains;
            new.retain(|chain| builds(chain) && !self.memory.repeats_first(chain, now));
            let begin = carry_all(
                &self.cluster,
                &self.installation,
                new,
                InFront::None,
                self.shutdown_seconds,
            );
            let holder = desired.cluster.holder;
            let read = gather::read(&self.cluster, holder, &mut self.memory, needs, seen);
            let (carried, read) = futures::join!(begin, read);
            for (chain, outcomes) in carried {
                self.take_note(&chain, outcomes, &mut decided.report);
            }
            read?;
        }
        let mut decided = plan(desired, seen, &self.memory.in_flight(Instant::now()));
        if !listed {
            decided.chains.clear();
        }
        Ok(decided)
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

    /// Makes the calls of all chains side by side.
    async fn carry_out(&mut self, chains: Vec<Chain>, report: &mut PassReport) {
        let now = Instant::now();
        let (again, chains): (Vec<Chain>, Vec<Chain>) = chains
            .into_iter()
            .partition(|chain| self.memory.repeats_first(chain, now));
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
            self.follow_within(UNCLEAR.min(self.cap));
        }
        let carried = carry_all(
            &self.cluster,
            &self.installation,
            chains,
            InFront::None,
            self.shutdown_seconds,
        )
        .await;
        for (chain, outcomes) in carried {
            self.take_note(&chain, outcomes, report);
            report.more = More::Working;
        }
    }

    fn follow_within(&mut self, pause: Duration) {
        self.follows = Some(self.follows.map_or(pause, |other| other.min(pause)));
    }

    /// Takes note of what a chain came to.
    fn take_note(&mut self, chain: &Chain, outcomes: Vec<Outcome>, report: &mut PassReport) {
        self.memory.took_turn(chain);
        match outcomes.last().map(|outcome| &outcome.carried) {
            Some(Carried::Begun(_)) | None => {}
            Some(Carried::Done) => {
                self.list = None;
                self.follow_within(Duration::ZERO);
            }
            // Its slot is free for another.
            Some(Carried::Failed(_)) => {
                self.list = None;
                self.follow_within(GAP);
            }
        }
        for Outcome { op, carried, at } in outcomes {
            match carried {
                Carried::Done => self.memory.done(chain, &op, at),
                Carried::Begun(upid) => self.memory.begun(chain, &op, upid, at),
                Carried::Failed(error) => {
                    info!(owner = %chain.owner, %op, %error, "failed");
                    self.memory.failed(chain, &op, &error, at);
                    if let Some(rest) = self.memory.rest(&chain.owner.uid, at) {
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
