//! Keeps what one pass learnt for the next: tasks under way, pauses after failures, proofs.
//!
//! All of it may be lost at any time: a driver that starts anew asks the cluster again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bb_core::outcome::{guest_asked, volume_asked};
use bb_core::proxmox::model::{Desired, Kind};
use bb_core::proxmox::observed::{InFlight, Need, Rest, Running, Shape};
use bb_core::proxmox::plan::{Chain, Op};
use bb_crds::condition::Reason;
use bb_crds::ids::Vmid;

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
/// From how many failures in a row on even what passes by itself is told as held: with the
/// pauses before it, that is a quarter of a minute.
const PATIENCE: u32 = 3;
/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(300);

/// What was desired of an object, as a number; none for one that nothing is desired of.
type Wish = Option<u64>;

/// A task that was begun and has not been seen to end.
pub(crate) struct Task {
    chain: Chain,
    op: Op,
    begun: Instant,
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
    pub(crate) tasks: BTreeMap<Upid, Task>,
    pauses: BTreeMap<String, Pause>,
    last: BTreeMap<String, Last>,
    wishes: HashMap<String, u64>,
    live: BTreeMap<Vmid, (bool, Instant)>,
    refused: BTreeSet<Vmid>,
    unknown: BTreeSet<Vmid>,
    made: BTreeSet<Vmid>,
    /// Made, and never proven since.
    fresh: BTreeSet<Vmid>,
    proven: BTreeMap<Vmid, (String, Instant)>,
    pub(crate) odd: BTreeMap<Vmid, Shape>,
    /// Which VMID each clone task makes, as its log said.
    pub(crate) clones: BTreeMap<String, Option<Vmid>>,
    pub(crate) recheck: bool,
    /// Reads that failed in the last passes, and how often in a row.
    pub(crate) unread: BTreeMap<Need, u32>,
    /// Destroys that ended well: their logs say whether a disk stayed.
    pub(crate) destroyed: Vec<(Upid, Op)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            first: FIRST,
            missing: MISSING,
            tasks: BTreeMap::new(),
            pauses: BTreeMap::new(),
            last: BTreeMap::new(),
            wishes: HashMap::new(),
            live: BTreeMap::new(),
            refused: BTreeSet::new(),
            unknown: BTreeSet::new(),
            made: BTreeSet::new(),
            fresh: BTreeSet::new(),
            odd: BTreeMap::new(),
            proven: BTreeMap::new(),
            clones: BTreeMap::new(),
            recheck: false,
            unread: BTreeMap::new(),
            destroyed: Vec::new(),
        }
    }
}

impl Memory {
    /// Takes note of what is desired: what was paused or tried for another wish is forgotten.
    pub(crate) fn wish(&mut self, desired: &Desired) {
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
        let sets = [&mut self.refused, &mut self.unknown];
        for kept in sets.into_iter().chain([&mut self.made, &mut self.fresh]) {
            kept.retain(|vmid| known.contains(vmid));
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
            proven: self.young_proofs(now),
            odd: self.odd.clone(),
            fresh: self.fresh.clone(),
            recheck: self.recheck,
        }
    }

    /// Takes note of guests that were read and found to be as desired.
    pub(crate) fn proved(&mut self, proven: BTreeMap<Vmid, String>, now: Instant) {
        for (vmid, print) in proven {
            self.fresh.remove(&vmid);
            self.proven.insert(vmid, (print, now));
        }
    }

    /// What was proven so lately that the cluster's list may not show it yet. After that, a
    /// row that says otherwise is news.
    fn young_proofs(&self, now: Instant) -> BTreeMap<Vmid, String> {
        let young = self.proven.iter();
        young
            .filter(|(_, (_, at))| now.duration_since(*at) < LIVE)
            .map(|(vmid, (print, _))| (*vmid, print.clone()))
            .collect()
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

    /// Takes note of a task that was begun.
    pub(crate) fn begun(&mut self, chain: &Chain, op: &Op, upid: Upid, now: Instant) {
        self.touched(op);
        self.tasks.insert(
            upid,
            Task {
                chain: chain.clone(),
                op: op.clone(),
                begun: now,
            },
        );
    }

    /// Takes note of what a node's list says of our tasks there.
    pub(crate) fn listed(&mut self, node: &str, list: &TaskList, now: Instant) {
        let here: Vec<Upid> = self
            .tasks
            .keys()
            .filter(|upid| upid.node == node)
            .cloned()
            .collect();
        for upid in here {
            let ended = match list.get(&upid.text) {
                Some(None) => continue,
                Some(Some(ended)) => ended.clone(),
                None if self
                    .tasks
                    .get(&upid)
                    .is_some_and(|task| now - task.begun < self.missing) =>
                {
                    continue;
                }
                None => Ended::Killed,
            };
            let Some(task) = self.tasks.remove(&upid) else {
                continue;
            };
            match ended {
                Ended::Well => {
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
    }

    /// A call changes what was known of a guest, whatever comes of it.
    fn touched(&mut self, op: &Op) {
        match op {
            Op::Clone { vmid, .. } => self.claimed(*vmid),
            Op::Build { guest, .. } => self.claimed(guest.vmid),
            Op::Configure { guest, .. } | Op::Resize { guest, .. } | Op::Destroy(guest) => {
                self.proven.remove(&guest.vmid);
                self.live.remove(&guest.vmid);
            }
            Op::Start(guest) | Op::Shutdown(guest) => {
                self.live.remove(&guest.vmid);
            }
            Op::Allocate { .. } | Op::Park { .. } | Op::Drop { .. } | Op::DeleteImage { .. } => {}
        }
    }

    fn was_made(&mut self, vmid: Vmid) {
        self.made.insert(vmid);
        self.fresh.insert(vmid);
    }

    fn claimed(&mut self, vmid: Vmid) {
        self.refused.remove(&vmid);
        self.unknown.remove(&vmid);
        self.proven.remove(&vmid);
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

/// What an object's status says after a failure. No reason where it may pass by itself and has
/// not been tried often.
fn told(op: &Op, error: &ClusterError, failures: u32) -> (Option<Reason>, String) {
    let patient = failures < PATIENCE;
    let reason = match error {
        ClusterError::Unauthorized(_) | ClusterError::Forbidden { .. } => {
            Some(Reason::Unauthorized)
        }
        ClusterError::NotReady(_) => Some(Reason::Unreachable),
        ClusterError::Setup(_)
        | ClusterError::Parameter { .. }
        | ClusterError::Refused(_)
        | ClusterError::Exists(_)
        | ClusterError::Answer { .. } => Some(Reason::Refused),
        _ if patient => None,
        ClusterError::Unreachable { .. } | ClusterError::Unknown(_) => Some(Reason::Unreachable),
        ClusterError::Untrusted { .. } => Some(Reason::Unauthorized),
        ClusterError::Locked(_) | ClusterError::Moved(_) | ClusterError::NotThere(_) => {
            Some(Reason::Waiting)
        }
    };
    let mut message = format!("cannot {op}: {error}");
    if let Some(remedy) = error.remedy().filter(|_| reason.is_some()) {
        message.push_str("; ");
        message.push_str(&remedy);
    }
    (reason, message)
}

/// The first pause, doubled with each failure up to 5 minutes, and up to a quarter more by
/// chance, so that many do not come back at once. The chance is the object's name: no clock, no
/// generator.
fn pause_of(first: Duration, failures: u32, uid: &str) -> Duration {
    let base = first.saturating_mul(1 << failures.min(10)).min(LONGEST);
    let sum = uid.bytes().fold(u32::from(b'b') + failures, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    base + base / 4 * (sum % 100) / 100
}

#[cfg(test)]
mod tests {
    use bb_core::proxmox::observed::Key;
    use bb_core::proxmox::plan::{Guest, Owner};

    use super::*;

    fn chain() -> (Chain, Op) {
        let vmid = Vmid::try_from(5001).unwrap();
        let op = Op::Start(Guest {
            kind: Kind::Vm,
            node: "pve1".into(),
            vmid,
        });
        let owner = Owner {
            namespace: "acme".into(),
            name: "web".into(),
            kind: "Instance",
            uid: "u-1".into(),
        };
        (
            Chain {
                owner,
                key: Key::Guest(vmid),
                ops: vec![op.clone()],
            },
            op,
        )
    }

    fn upid() -> Upid {
        Upid::parse("UPID:pve1:00000277:000CEFFE:6B03EB34:qmstart:5001:op@pve!k8s:").unwrap()
    }

    #[test]
    fn pauses_grow_with_failures_and_end_with_success() {
        let (mut memory, (chain, op)) = (Memory::default(), chain());
        let now = Instant::now();
        let error = ClusterError::Refused("bridge 'x' does not exist".into());
        memory.failed(&chain, &op, &error, now);
        let rest = memory.rest("u-1", now).unwrap();
        assert_eq!(rest.reason, Some(Reason::Refused));
        assert!(rest.message.contains("start VM 5001") && rest.message.contains("bridge 'x'"));
        assert!(memory.rest("u-1", now + Duration::from_secs(3)).is_none());
        let told: Vec<&str> = memory.refused_last().map(|(uid, _)| uid).collect();
        assert_eq!(
            told,
            ["u-1"],
            "it goes on saying so while it is tried again"
        );
        memory.failed(&chain, &op, &error, now);
        assert!(memory.rest("u-1", now + Duration::from_secs(3)).is_some());
        memory.done(&chain, &op, now);
        assert!(memory.rest("u-1", now).is_none());
        assert_eq!(memory.refused_last().count(), 0);
        assert!((0..40).all(|n| pause_of(FIRST, n, "u") <= LONGEST + LONGEST / 4));
    }

    #[test]
    fn what_was_just_done_is_not_done_again_at_once() {
        let (mut memory, (chain, op)) = (Memory::default(), chain());
        let now = Instant::now();
        assert!(!memory.repeats("u-1", &op, now));
        memory.done(&chain, &op, now);
        assert!(memory.repeats("u-1", &op, now));
        assert!(!memory.repeats("u-1", &op, now + Duration::from_secs(3)));
    }

    #[test]
    fn a_task_is_followed_to_its_end_and_missing_for_long_is_unknown() {
        let (mut memory, (chain, op)) = (Memory::default(), chain());
        let now = Instant::now();
        memory.begun(&chain, &op, upid(), now);
        assert!(!memory.tasks.is_empty());
        memory.listed("pve1", &TaskList::new(), now);
        memory.listed(
            "pve2",
            &TaskList::from([(upid().text, Some(Ended::Well))]),
            now,
        );
        assert!(!memory.tasks.is_empty());
        memory.listed("pve1", &TaskList::new(), now + MISSING);
        assert!(memory.tasks.is_empty());
        assert!(
            memory
                .rest("u-1", now + MISSING)
                .unwrap()
                .message
                .contains("unknown")
        );
    }

    #[test]
    fn an_id_that_is_taken_is_remembered_and_a_moved_digest_is_no_failure() {
        let (mut memory, (chain, _)) = (Memory::default(), chain());
        let now = Instant::now();
        let vmid = Vmid::try_from(5001).unwrap();
        let guest = Guest {
            kind: Kind::Container,
            node: "pve1".into(),
            vmid,
        };
        let build = Op::Build {
            guest,
            parameters: BTreeMap::new(),
        };
        memory.failed(
            &chain,
            &build,
            &ClusterError::Exists("CT 5001 already exists".into()),
            now,
        );
        assert!(memory.in_flight(now).refused.contains(&vmid));
        let moved = ClusterError::Moved("checksum mismatch (file change by other user?)".into());
        memory.failed(&chain, &chain.ops[0], &moved, now);
        assert!(memory.in_flight(now).resting.is_empty());
        for _ in 0..LOOKS {
            memory.failed(&chain, &chain.ops[0], &moved, now);
        }
        assert!(memory.rest("u-1", now).is_some(), "it is not looked at hot");
    }
}
