//! Keeps what one pass learnt for the next: tasks under way, pauses after failures, proofs.
//!
//! All of it may be lost at any time: a driver that starts anew asks the cluster again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bb_core::outcome::{guest_asked, volume_asked};
use bb_core::proxmox::model::{Desired, Kind};
use bb_core::proxmox::observed::{ConfigRead, InFlight, Key, Need, Rest, Running, Shape};
use bb_core::proxmox::pace::{self, Pace, Span, Waiting};
use bb_core::proxmox::plan::{Chain, Op};
use bb_crds::ids::Vmid;

use super::failures::{PATIENCE, pause_of, told};
use crate::error::ClusterError;
use crate::tasks::{Ended, TaskList, Upid};

/// How long a look at whether guests run outranks the cluster's list, which is up to 18 s late.
const LIVE: Duration = Duration::from_secs(20);
/// How long a task may be missing from its node's list before its outcome counts as unknown.
const MISSING: Duration = Duration::from_secs(10);
/// The first pause after a failure.
const FIRST: Duration = Duration::from_secs(2);
/// How often something may turn out to be other than it was looked at before that counts as a
/// failure as well.
const LOOKS: u32 = 3;
/// Within how long every guest is read, also those that are settled: what people change by
/// hand on a guest shows in no list.
const REREAD: Duration = Duration::from_secs(3600);

/// What was desired of an object, as a number; none for one that nothing is desired of.
type Wish = Option<u64>;

/// A task that was begun and has not been seen to end.
pub(crate) struct Task {
    chain: Chain,
    op: Op,
    begun: Instant,
    /// When a look last showed that it runs.
    seen: Instant,
    /// When it was looked for last.
    tried: Instant,
}

/// A pause for one object.
struct Pause {
    /// What was desired when it began: another wish ends it.
    wish: Wish,
    failures: u32,
    /// How often it was other than looked at.
    moved: u32,
    until: Instant,
    rest: Rest,
}

/// The call that was last made with success for an object.
struct Last {
    wish: Wish,
    text: String,
    times: u32,
    at: Instant,
}

pub(crate) struct Memory {
    /// The first pause after a failure.
    pub(crate) first: Duration,
    /// How long a task may be missing from its node's list.
    pub(crate) missing: Duration,
    /// The moment that times of the core count from.
    start: Instant,
    pub(crate) tasks: BTreeMap<Upid, Task>,
    pauses: BTreeMap<String, Pause>,
    last: BTreeMap<String, Last>,
    wishes: HashMap<String, u64>,
    live: BTreeMap<Vmid, (bool, Instant)>,
    refused: BTreeSet<Vmid>,
    unknown: BTreeSet<Vmid>,
    made: BTreeSet<Vmid>,
    exchanged: BTreeSet<Vmid>,
    /// Made, and never proven since.
    fresh: BTreeSet<Vmid>,
    proven: BTreeMap<Vmid, (String, Instant)>,
    pub(crate) odd: BTreeMap<Vmid, Shape>,
    /// Which VMID each clone task makes, as its log said.
    pub(crate) clones: BTreeMap<String, Option<Vmid>>,
    /// Reads that failed in the last passes, and how often in a row.
    pub(crate) unread: BTreeMap<Need, u32>,
    /// Destroys that ended well: their logs say whether a disk stayed.
    pub(crate) destroyed: Vec<(Upid, Op)>,
    unstarted: BTreeSet<Vmid>,
    written: BTreeMap<Vmid, (String, Instant)>,
    turns: BTreeMap<String, u64>,
    /// How long tasks take.
    pace: Pace,
    /// When the tasks were looked at last.
    looked: Option<Instant>,
    /// When each guest was read last, or first asked for.
    read: BTreeMap<Vmid, Duration>,
    /// The guests to read in this pass.
    recheck: BTreeSet<Vmid>,
    /// Every guest is to be read in the next pass.
    pub(crate) recheck_all: bool,
}

impl Memory {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            first: FIRST,
            missing: MISSING,
            start: now,
            tasks: BTreeMap::new(),
            pauses: BTreeMap::new(),
            last: BTreeMap::new(),
            wishes: HashMap::new(),
            live: BTreeMap::new(),
            refused: BTreeSet::new(),
            unknown: BTreeSet::new(),
            made: BTreeSet::new(),
            exchanged: BTreeSet::new(),
            fresh: BTreeSet::new(),
            odd: BTreeMap::new(),
            proven: BTreeMap::new(),
            clones: BTreeMap::new(),
            unread: BTreeMap::new(),
            unstarted: BTreeSet::new(),
            written: BTreeMap::new(),
            turns: BTreeMap::new(),
            pace: Pace::default(),
            looked: None,
            read: BTreeMap::new(),
            recheck: BTreeSet::new(),
            recheck_all: false,
            destroyed: Vec::new(),
        }
    }

    fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// Takes note of what is desired: what was paused or tried for another wish is forgotten.
    pub(crate) fn wish(&mut self, desired: &Desired, now: Instant) {
        // The VMID is in the fingerprint.
        let guests = desired.guests.iter();
        let guests = guests.map(|guest| (guest.uid.clone(), guest_asked(guest)));
        let volumes = desired.volumes.iter();
        let volumes = volumes.map(|volume| (volume.uid.clone(), volume_asked(volume)));
        self.wishes = guests.chain(volumes).collect();
        let wishes = &self.wishes;
        self.pauses
            .retain(|uid, pause| wishes.get(uid).copied() == pause.wish);
        self.last
            .retain(|uid, last| wishes.get(uid).copied() == last.wish);
        let known: BTreeSet<Vmid> = desired.guests.iter().map(|guest| guest.vmid).collect();
        self.proven.retain(|vmid, _| known.contains(vmid));
        self.written.retain(|vmid, _| known.contains(vmid));
        for kept in [
            &mut self.refused,
            &mut self.unknown,
            &mut self.made,
            &mut self.exchanged,
            &mut self.fresh,
            &mut self.unstarted,
        ] {
            kept.retain(|vmid| known.contains(vmid));
        }
        let now = self.time(now);
        self.read.retain(|vmid, _| known.contains(vmid));
        for vmid in known {
            self.read.entry(vmid).or_insert(now);
        }
        let of_guests = desired.guests.iter().map(|guest| &guest.namespace);
        let of_volumes = desired.volumes.iter().map(|volume| &volume.namespace);
        let namespaces: BTreeSet<&String> = of_guests.chain(of_volumes).collect();
        self.turns.retain(|name, _| namespaces.contains(name));
    }

    /// Chooses settled guests to be read in this pass, no more than `most`, and says whether
    /// others wait.
    pub(crate) fn choose_recheck(&mut self, most: usize, now: Instant) -> bool {
        if std::mem::take(&mut self.recheck_all) {
            self.recheck = self.read.keys().copied().collect();
            return false;
        }
        let (chosen, more) = pace::reread(&self.read, self.time(now), REREAD, most);
        self.recheck = chosen;
        more
    }

    /// Takes note that a pass with the guests chosen to be read has ended: also those that could
    /// not be read had their turn.
    pub(crate) fn rechecked(&mut self, now: Instant) {
        let now = self.time(now);
        for vmid in std::mem::take(&mut self.recheck) {
            self.read.entry(vmid).and_modify(|at| *at = now);
        }
    }

    /// Takes note of a guest's configuration that was read.
    pub(crate) fn saw_config(&mut self, vmid: Vmid, read: &ConfigRead, now: Instant) {
        let now = self.time(now);
        if matches!(read, ConfigRead::Found(_))
            && let Some(at) = self.read.get_mut(&vmid)
        {
            *at = now;
        }
    }

    /// What the planner needs to know.
    pub(crate) fn in_flight(&self, now: Instant) -> InFlight {
        let running = |task: &Task| Running {
            owner: task.chain.owner.uid.clone(),
            namespace: task.chain.owner.namespace.clone(),
            key: task.chain.key.clone(),
            builds: task.op.builds(),
            what: task.op.to_string(),
        };
        let resting = self.pauses.iter().filter(|(_, pause)| pause.until > now);
        InFlight {
            tasks: self.tasks.values().map(running).collect(),
            resting: resting
                .map(|(uid, pause)| (uid.clone(), pause.rest.clone()))
                .collect(),
            refused: self.refused.clone(),
            unknown: self.unknown.clone(),
            made: self.made.clone(),
            exchanged: self.exchanged.clone(),
            proven: young(&self.proven, now, |_| false),
            odd: self.odd.clone(),
            fresh: self.fresh.clone(),
            unstarted: self.unstarted.clone(),
            written: young(&self.written, now, |vmid| self.unstarted.contains(&vmid)),
            turns: self.turns.clone(),
            recheck: self.recheck.clone(),
        }
    }

    /// Takes note of guests that were read and found to be as desired.
    pub(crate) fn proved(&mut self, proven: BTreeMap<Vmid, String>, now: Instant) {
        for (vmid, print) in proven {
            self.fresh.remove(&vmid);
            self.proven.insert(vmid, (print, now));
        }
    }

    /// Which guests were seen to run or not lately.
    pub(crate) fn live(&self, now: Instant) -> BTreeMap<Vmid, bool> {
        let young = self
            .live
            .iter()
            .filter(|(_, (_, at))| now.duration_since(*at) < LIVE);
        young.map(|(vmid, (runs, _))| (*vmid, *runs)).collect()
    }

    pub(crate) fn saw_live(&mut self, seen: &BTreeMap<Vmid, bool>, now: Instant) {
        self.live
            .extend(seen.iter().map(|(vmid, runs)| (*vmid, (*runs, now))));
    }

    /// The pause of an object, to be reported.
    pub(crate) fn rest(&self, uid: &str, now: Instant) -> Option<&Rest> {
        self.pauses
            .get(uid)
            .filter(|pause| pause.until > now)
            .map(|pause| &pause.rest)
    }

    /// What was refused and has not succeeded since, also while it is tried again.
    pub(crate) fn refused_last(&self) -> impl Iterator<Item = (&str, &Rest)> {
        let refused = self.pauses.iter();
        let refused = refused.filter(|(_, pause)| pause.rest.reason.is_some());
        refused.map(|(uid, pause)| (uid.as_str(), &pause.rest))
    }

    /// How long until the first pause ends.
    pub(crate) fn due(&self, now: Instant) -> Option<Duration> {
        let ends = self
            .pauses
            .values()
            .map(|pause| pause.until)
            .filter(|until| *until > now);
        ends.min().map(|until| until - now)
    }

    /// When the next look at tasks is due, so that none waits for longer than `cap`.
    pub(crate) fn next_look(&self, cap: Duration) -> Option<Instant> {
        let waiting: Vec<Waiting> = self
            .tasks
            .values()
            .map(|task| Waiting {
                sort: task.op.sort(),
                begun: self.time(task.begun),
                seen: self.time(task.tried),
            })
            .collect();
        let last = self.looked.map(|at| self.time(at));
        let due = self.start + self.pace.next_look(&waiting, last)?;
        let tried = self.tasks.values().map(|task| task.tried).min()?;
        Some(due.min(tried + cap))
    }

    /// Takes note of a look at a node's tasks that got no answer.
    pub(crate) fn looked_in_vain(&mut self, node: &str, now: Instant) {
        self.looked = Some(now);
        let here = self.tasks.iter_mut().filter(|(upid, _)| upid.node == node);
        here.for_each(|(_, task)| task.tried = now);
    }

    /// Whether a guest is read for no other reason than that it was not for long.
    pub(crate) fn rechecks(&self, vmid: Vmid) -> bool {
        self.recheck.contains(&vmid)
    }

    /// Takes note of whose turn it was.
    pub(crate) fn took_turn(&mut self, chain: &Chain) {
        let turn = self.turns.values().max().map_or(1, |last| last + 1);
        self.turns.insert(chain.owner.namespace.clone(), turn);
    }

    /// Takes note of a task that was begun.
    pub(crate) fn begun(&mut self, chain: &Chain, op: &Op, upid: Upid, now: Instant) {
        self.touched(op);
        self.tasks.insert(
            upid,
            Task {
                chain: chain.clone(),
                op: op.clone(),
                begun: now,
                seen: now,
                tried: now,
            },
        );
    }

    /// Takes note of what a node's list says of our tasks there, that was asked for at `asked`
    /// and came at `now`. Says whether the list of the cluster shows something else since.
    pub(crate) fn listed(
        &mut self,
        node: &str,
        list: &TaskList,
        asked: Instant,
        now: Instant,
    ) -> bool {
        self.looked = Some(now);
        let here: Vec<Upid> = self
            .tasks
            .keys()
            .filter(|upid| upid.node == node)
            .cloned()
            .collect();
        let mut well = Vec::new();
        let mut changed = false;
        for upid in here {
            let Some(task) = self.tasks.get_mut(&upid) else {
                continue;
            };
            task.tried = now;
            let ended = match list.get(&upid.text) {
                Some(None) => {
                    task.seen = task.seen.max(asked);
                    continue;
                }
                Some(Some(ended)) => ended.clone(),
                None if now - task.begun < self.missing => continue,
                None => Ended::Killed,
            };
            let Some(task) = self.tasks.remove(&upid) else {
                continue;
            };
            let span = Span {
                after: task.seen - task.begun,
                by: now - task.begun,
            };
            changed |= ended != Ended::Well || !matches!(task.op, Op::Start(_));
            match ended {
                Ended::Well => {
                    well.push((task.op.sort(), span));
                    self.done(&task.chain, &task.op, now);
                    if matches!(task.op, Op::Destroy(_)) {
                        self.destroyed.push((upid, task.op));
                    }
                }
                Ended::Killed => {
                    let text = format!("the task of `{}` ended without a result", task.op);
                    self.failed(&task.chain, &task.op, &ClusterError::Unknown(text), now);
                }
                Ended::Failed(words) if crate::error::is_moot(&words) => {
                    self.done(&task.chain, &task.op, now);
                }
                Ended::Failed(words) => {
                    let error = crate::error::of_task(words);
                    self.failed(&task.chain, &task.op, &error, now);
                }
            }
        }
        self.pace.ended(well);
        changed
    }

    /// A call changes what was known of a guest, whatever comes of it.
    fn touched(&mut self, op: &Op) {
        match op {
            Op::Clone { vmid, .. } => self.claimed(*vmid),
            Op::Build { guest, .. } => self.claimed(guest.vmid),
            Op::Configure { guest, .. } | Op::Resize { guest, .. } | Op::Destroy(guest) => {
                self.proven.remove(&guest.vmid);
                self.written.remove(&guest.vmid);
                self.live.remove(&guest.vmid);
            }
            Op::Start(guest) | Op::Shutdown(guest) => {
                self.unstarted.remove(&guest.vmid);
                self.live.remove(&guest.vmid);
            }
            Op::Allocate { .. } | Op::Park { .. } | Op::Drop { .. } | Op::DeleteImage { .. } => {}
        }
    }

    /// Whether a machine was made and configured by calls that all ended well, and not started.
    pub(crate) fn awaits_first_start(&self) -> bool {
        self.written
            .keys()
            .any(|vmid| self.unstarted.contains(vmid))
    }

    /// The VMIDs whose creation was sent.
    pub(crate) fn sent(&self) -> BTreeSet<Vmid> {
        let begun = self.tasks.values().filter_map(|task| match &task.op {
            Op::Clone { vmid, .. } => Some(*vmid),
            Op::Build { guest, .. } => Some(guest.vmid),
            _ => None,
        });
        let known = [&self.unknown, &self.made, &self.exchanged];
        begun.chain(known.into_iter().flatten().copied()).collect()
    }

    /// Takes note of VMIDs whose creation another driver sent.
    pub(crate) fn was_sent(&mut self, vmids: BTreeSet<Vmid>) {
        self.exchanged.extend(vmids);
    }

    fn was_made(&mut self, vmid: Vmid) {
        self.made.insert(vmid);
        self.fresh.insert(vmid);
        self.unstarted.insert(vmid);
    }

    fn claimed(&mut self, vmid: Vmid) {
        self.refused.remove(&vmid);
        self.unknown.remove(&vmid);
        self.proven.remove(&vmid);
        self.written.remove(&vmid);
        self.unstarted.remove(&vmid);
        self.live.remove(&vmid);
    }

    /// Takes note of a call that took effect.
    pub(crate) fn done(&mut self, chain: &Chain, op: &Op, now: Instant) {
        self.touched(op);
        match op {
            Op::Clone { vmid, .. } => self.was_made(*vmid),
            Op::Build { guest, .. } => self.was_made(guest.vmid),
            Op::Destroy(guest) => drop(self.made.remove(&guest.vmid)),
            _ => {}
        }
        if chain.ops.last() == Some(op)
            && let (Key::Guest(vmid), Some(print)) = (&chain.key, &chain.makes)
        {
            self.fresh.remove(vmid);
            self.written.insert(*vmid, (print.clone(), now));
        }
        let uid = &chain.owner.uid;
        self.pauses.remove(uid);
        let text = op.to_string();
        let times = match self.last.get(uid) {
            Some(last) if last.text == text => last.times + 1,
            _ => 0,
        };
        let wish = self.wishes.get(uid).copied();
        self.last.insert(
            uid.clone(),
            Last {
                wish,
                text,
                times,
                at: now,
            },
        );
    }

    /// Whether a call was made with success a moment ago and its effect has not shown: an HA
    /// manager, for one, takes its time. The pause doubles each time.
    pub(crate) fn repeats(&self, uid: &str, op: &Op, now: Instant) -> bool {
        self.last.get(uid).is_some_and(|last| {
            last.text == op.to_string()
                && now.duration_since(last.at) < pause_of(self.first, last.times, uid)
        })
    }

    /// Takes note of a read that failed. Whether it has failed so often that a person should
    /// know.
    pub(crate) fn cannot_read(&mut self, need: &Need) -> bool {
        let times = self.unread.entry(need.clone()).or_default();
        *times += 1;
        *times > PATIENCE
    }

    /// As [`Memory::repeats`], for the first call of a chain.
    pub(crate) fn repeats_first(&self, chain: &Chain, now: Instant) -> bool {
        let first = chain.ops.first();
        first.is_some_and(|op| self.repeats(&chain.owner.uid, op, now))
    }

    /// Whether a call was made so often with success and without effect that a person should
    /// know.
    pub(crate) fn is_vain(&self, uid: &str) -> bool {
        self.last
            .get(uid)
            .is_some_and(|last| last.times >= PATIENCE)
    }

    /// Takes note of a call that failed, or whose outcome nobody knows.
    pub(crate) fn failed(&mut self, chain: &Chain, op: &Op, error: &ClusterError, now: Instant) {
        self.touched(op);
        let claim = match op {
            Op::Clone { vmid, .. } => Some((Kind::Vm, *vmid)),
            Op::Build { guest, .. } => Some((Kind::Container, guest.vmid)),
            _ => None,
        };
        match (claim, error) {
            (Some((_, vmid)), ClusterError::Exists(_)) => drop(self.refused.insert(vmid)),
            (Some((_, vmid)), ClusterError::Unknown(_)) => drop(self.unknown.insert(vmid)),
            _ => {}
        }
        let uid = &chain.owner.uid;
        let before = self.pauses.get(uid);
        let (mut failures, mut moved) = before.map_or((0, 0), |p| (p.failures + 1, p.moved));
        let mut pause = pause_of(self.first, failures, uid);
        if matches!(error, ClusterError::Moved(_) | ClusterError::Exists(_)) {
            // Another plan comes of another look, at once; not for ever, though.
            moved += 1;
            failures = before.map_or(0, |p| p.failures);
            pause = match moved.checked_sub(LOOKS) {
                Some(more) => pause_of(self.first, more, uid),
                None => Duration::ZERO,
            };
        }
        let (reason, message) = told(op, error, failures);
        let pause = Pause {
            wish: self.wishes.get(uid).copied(),
            failures,
            moved,
            until: now + pause,
            rest: Rest { reason, message },
        };
        self.pauses.insert(uid.clone(), pause);
    }
}

/// What was learnt so lately that the cluster's list may not show it yet, and of what `holds`
/// longer. After that, a row that says otherwise is news.
fn young(
    all: &BTreeMap<Vmid, (String, Instant)>,
    now: Instant,
    holds: impl Fn(Vmid) -> bool,
) -> BTreeMap<Vmid, String> {
    all.iter()
        .filter(|(vmid, (_, at))| now.duration_since(*at) < LIVE || holds(**vmid))
        .map(|(vmid, (print, _))| (*vmid, print.clone()))
        .collect()
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
