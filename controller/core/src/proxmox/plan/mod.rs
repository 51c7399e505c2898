//! Turns what should be, what is and what is under way into the calls to make next.
//!
//! One plan is one step, not the whole way: it is made anew in every pass from what is seen,
//! keeps no count of steps, and where it cannot decide it names the reads it needs. Two laws
//! hold it together: nothing is written to a guest whose mark was not read in this very pass,
//! and one guest has one write in flight at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use bb_crds::condition::Reason;
use bb_crds::ids::Vmid;

use super::keys;
use super::mark;
use super::model::{
    Desired, DesiredGuest, DesiredVolume, Fate, GuestReport, GuestState, More, PassReport,
    VolumeReport, VolumeState,
};
use super::observed::{InFlight, Key, Need, Observed, Rest, Row, Shape};

mod adopt;
mod attach;
mod create;
mod fair;
mod guest;
mod images;
mod op;
mod users;
mod volume;

pub use op::{Guest, Op};

/// The object that asked for a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Its namespace: calls are shared out fairly between these.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `Instance` or `Volume`.
    pub kind: &'static str,
    /// Its UID.
    pub uid: String,
}

/// Calls for one object, to be made one after the other; the first that answers with a task,
/// or fails, is the last of this pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Who asked.
    pub owner: Owner,
    /// What they keep busy.
    pub key: Key,
    /// The calls.
    pub ops: Vec<Op>,
    /// What the guest's configuration is once all of them ended well, where that is certain;
    /// to be handed back in [`InFlight::written`]. A start with it goes by the tag in the list
    /// of this pass, another one by a mark that was read right before.
    pub makes: Option<String>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// Calls to make now, each chain beside the others.
    pub chains: Vec<Chain>,
    /// Reads without which some objects could not be decided. Make them and plan again before
    /// anything is carried out.
    pub needs: BTreeSet<Need>,
    /// Where every object stands; what waits or is held back is in here.
    pub report: PassReport,
    /// Guests whose configuration was read and is as desired, to be handed back in
    /// [`InFlight::proven`].
    pub proven: BTreeMap<Vmid, String>,
    /// To be handed back in [`InFlight::odd`].
    pub odd: BTreeMap<Vmid, Shape>,
    /// Whether calls wait for a slot.
    pub queued: bool,
    /// Whether something is under way that no task of ours accounts for: only another look
    /// tells how it goes on.
    pub unclear: bool,
}

/// What was decided about one object.
enum Step<State> {
    /// This is where it stands, and nothing is to be done.
    Is(State),
    /// It cannot be decided without these.
    Needs(Vec<Need>),
    /// These calls come next.
    Do(Key, Vec<Op>),
}

/// Everything that decisions look at.
struct Scene<'a> {
    desired: &'a Desired,
    seen: &'a Observed,
    flight: &'a InFlight,
    volumes: BTreeMap<&'a str, &'a DesiredVolume>,
    /// Guests by UID.
    guests: HashMap<&'a str, &'a DesiredGuest>,
    images: HashMap<String, Vec<images::Image<'a>>>,
    /// What each guest's status would record, by UID.
    prints: BTreeMap<&'a str, String>,
    /// Whose each VMID is, where more than one object has it recorded.
    owners: BTreeMap<Vmid, &'a DesiredGuest>,
    /// Guests by UID that have a volume of which no status says where it is.
    unplaced: BTreeSet<&'a str>,
    /// Guests with this installation's tag that no object accounts for.
    strangers: Vec<(Vmid, &'a Row)>,
    /// VMIDs that objects have on record.
    known: BTreeSet<Vmid>,
}

impl<'a> Scene<'a> {
    fn new(desired: &'a Desired, seen: &'a Observed, flight: &'a InFlight) -> Self {
        let mut owners: BTreeMap<Vmid, &DesiredGuest> = BTreeMap::new();
        for guest in desired
            .guests
            .iter()
            .filter(|guest| guest.fate != Fate::Release)
        {
            let rank = |guest: &DesiredGuest| (guest.settled.is_none(), guest.uid.clone());
            let owner = owners.entry(guest.vmid).or_insert(guest);
            if rank(guest) < rank(owner) {
                *owner = guest;
            }
        }
        let known: BTreeSet<Vmid> = desired.guests.iter().map(|guest| guest.vmid).collect();
        Self {
            desired,
            seen,
            flight,
            volumes: desired
                .volumes
                .iter()
                .map(|v| (v.uid.as_str(), v))
                .collect(),
            guests: desired.guests.iter().map(|g| (g.uid.as_str(), g)).collect(),
            images: images::by_volume(desired.cluster.holder, seen),
            prints: desired
                .guests
                .iter()
                .map(|g| (g.uid.as_str(), keys::fingerprint(g)))
                .collect(),
            owners,
            unplaced: desired
                .volumes
                .iter()
                .filter(|volume| !volume.placed)
                .filter_map(|volume| volume.attached_to.as_deref())
                .collect(),
            strangers: strangers(desired, seen),
            known,
        }
    }

    fn print(&self, guest: &DesiredGuest) -> String {
        self.prints
            .get(guest.uid.as_str())
            .cloned()
            .unwrap_or_default()
    }

    fn busy(&self, key: &Key) -> Option<&str> {
        self.flight
            .tasks
            .iter()
            .find(|task| task.key == *key)
            .map(|task| task.what.as_str())
    }

    /// Why a read is out of reach, when it was tried and refused.
    fn refusal(&self, need: &Need) -> Option<&Rest> {
        self.seen.failed.get(need)
    }

    /// Asks for a read, or says where an object stands when the read was refused.
    fn want<State: Stands>(&self, need: Need) -> Step<State> {
        match self.refusal(&need) {
            Some(rest) => Step::Is(State::resting(rest)),
            None => Step::Needs(vec![need]),
        }
    }
}

/// Decides what to do next.
#[must_use]
pub fn plan(desired: &Desired, seen: &Observed, flight: &InFlight) -> Plan {
    let scene = Scene::new(desired, seen, flight);
    let mut plan = Plan::default();
    let mut candidates = Vec::new();
    for guest in sorted(&desired.guests, |g| (&g.namespace, &g.name, &g.uid)) {
        let judged = guest::judge(&scene, guest);
        let odd = guest::odd(&scene, guest, judged.proven.is_some());
        plan.odd.extend(odd.map(|shape| (guest.vmid, shape)));
        plan.proven
            .extend(judged.proven.map(|print| (guest.vmid, print)));
        let state = settle(
            judged.step,
            owner_of_guest(guest),
            judged.makes,
            &mut plan,
            &mut candidates,
        );
        let node = seen.guests.get(&guest.vmid).map(|row| row.node.clone());
        let report = GuestReport {
            state,
            node,
            running: guest::running(&scene, guest),
            pending: judged.pending,
            drift: judged.drift,
            preview: judged.preview,
        };
        plan.report.guests.insert(guest.uid.clone(), report);
    }
    for volume in sorted(&desired.volumes, |v| (&v.namespace, &v.name, &v.uid)) {
        let step = volume::judge(&scene, volume);
        let state = settle(
            step,
            owner_of_volume(volume),
            None,
            &mut plan,
            &mut candidates,
        );
        let report = VolumeReport {
            state,
            volid: volume::volid(&scene, volume),
            device: volume::device(&scene, volume),
            drift: volume::drift(&scene, volume),
        };
        plan.report.volumes.insert(volume.uid.clone(), report);
    }
    plan.report.orphans = orphans(&scene);
    let others = seen
        .guests
        .keys()
        .filter(|vmid| !scene.known.contains(vmid));
    plan.report.others.vmids = others.map(|vmid| vmid.get()).collect();
    let observed = only_observed(desired);
    let (held, candidates): (Vec<Chain>, Vec<Chain>) = candidates.into_iter().partition(|chain| {
        desired.cluster.observe_only || observed.contains(chain.owner.uid.as_str())
    });
    for chain in &held {
        observe_only(&mut plan.report, chain, desired.cluster.observe_only);
    }
    let waiting: BTreeSet<String> = candidates.iter().map(|c| c.owner.uid.clone()).collect();
    plan.unclear = unclear(&plan.report, flight, &waiting);
    let failing = fair::failing(desired, flight);
    plan.chains = fair::choose(&desired.cluster, flight, &failing, candidates);
    plan.queued = plan.chains.len() < waiting.len();
    for chain in &plan.chains {
        begin(&mut plan.report, chain);
    }
    plan.report.more = more(&plan, flight);
    plan
}

fn sorted<'a, T, K: Ord>(all: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<&'a T> {
    let mut sorted: Vec<&T> = all.iter().collect();
    sorted.sort_by_key(|item| key(item));
    sorted
}

fn owner_of_guest(guest: &DesiredGuest) -> Owner {
    Owner {
        namespace: guest.namespace.clone(),
        name: guest.name.clone(),
        kind: "Instance",
        uid: guest.uid.clone(),
    }
}

fn owner_of_volume(volume: &DesiredVolume) -> Owner {
    Owner {
        namespace: volume.namespace.clone(),
        name: volume.name.clone(),
        kind: "Volume",
        uid: volume.uid.clone(),
    }
}

/// What guests' and volumes' states have in common.
trait Stands: Sized {
    fn working(what: String) -> Self;

    fn held(reason: Reason, message: String) -> Self;

    fn resting(rest: &Rest) -> Self {
        match rest.reason {
            Some(reason) => Self::held(reason, rest.message.clone()),
            None => Self::working(rest.message.clone()),
        }
    }
}

impl Stands for GuestState {
    fn working(what: String) -> Self {
        Self::Working(what)
    }

    fn held(reason: Reason, message: String) -> Self {
        Self::Held { reason, message }
    }
}

impl Stands for VolumeState {
    fn working(what: String) -> Self {
        Self::Working(what)
    }

    fn held(reason: Reason, message: String) -> Self {
        Self::Held { reason, message }
    }
}

fn settle<State: Stands>(
    step: Step<State>,
    owner: Owner,
    makes: Option<String>,
    plan: &mut Plan,
    candidates: &mut Vec<Chain>,
) -> State {
    match step {
        Step::Is(state) => state,
        Step::Needs(needs) => {
            plan.needs.extend(needs);
            State::working("is being looked at".to_owned())
        }
        Step::Do(key, ops) => {
            let first = ops.first().map(ToString::to_string).unwrap_or_default();
            candidates.push(Chain {
                owner,
                key,
                ops,
                makes,
            });
            State::working(format!("waits for its turn to {first}"))
        }
    }
}

/// Notes in the report that a chain was chosen.
fn begin(report: &mut PassReport, chain: &Chain) {
    let what = chain
        .ops
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", then ");
    if let Some(guest) = report.guests.get_mut(&chain.owner.uid) {
        guest.state = GuestState::Working(what);
    } else if let Some(volume) = report.volumes.get_mut(&chain.owner.uid) {
        volume.state = VolumeState::Working(what);
    }
}

/// The objects for which nothing is written.
fn only_observed(desired: &Desired) -> BTreeSet<&str> {
    let guests = desired.guests.iter().filter(|g| g.observe).map(|g| &g.uid);
    let volumes = desired.volumes.iter().filter(|v| v.observe).map(|v| &v.uid);
    guests.chain(volumes).map(String::as_str).collect()
}

fn observe_only(report: &mut PassReport, chain: &Chain, whole: bool) {
    let what = chain
        .ops
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", then ");
    let whose = if whole { "the Provider's" } else { "its" };
    let message = format!("{whose} managementPolicy is Observe; held back: {what}");
    let reason = Reason::Paused;
    if let Some(guest) = report.guests.get_mut(&chain.owner.uid) {
        guest.state = GuestState::Held { reason, message };
    } else if let Some(volume) = report.volumes.get_mut(&chain.owner.uid) {
        volume.state = VolumeState::Held { reason, message };
    }
}

/// Whether an object is at work that neither has a task nor waits for a turn.
fn unclear(report: &PassReport, flight: &InFlight, waiting: &BTreeSet<String>) -> bool {
    let accounted: BTreeSet<&String> = flight
        .tasks
        .iter()
        .map(|task| &task.owner)
        .chain(waiting)
        .collect();
    let guests = report
        .guests
        .iter()
        .filter(|(_, guest)| matches!(guest.state, GuestState::Working(_)))
        .map(|(uid, _)| uid);
    let volumes = report
        .volumes
        .iter()
        .filter(|(_, volume)| matches!(volume.state, VolumeState::Working(_)))
        .map(|(uid, _)| uid);
    guests.chain(volumes).any(|uid| !accounted.contains(uid))
}

fn more(plan: &Plan, flight: &InFlight) -> More {
    let guests = plan
        .report
        .guests
        .values()
        .any(|g| matches!(g.state, GuestState::Working(_)));
    let volumes = plan
        .report
        .volumes
        .values()
        .any(|v| matches!(v.state, VolumeState::Working(_)));
    if guests || volumes || !plan.needs.is_empty() || !flight.tasks.is_empty() {
        More::Working
    } else {
        More::Idle
    }
}

/// Guests with this installation's tag that no object accounts for.
#[must_use]
pub fn strangers<'a>(desired: &Desired, seen: &'a Observed) -> Vec<(Vmid, &'a Row)> {
    let known: BTreeSet<Vmid> = desired.guests.iter().map(|guest| guest.vmid).collect();
    let ours = mark::installation_tag(&desired.cluster.installation);
    let tagged = |row: &Row| row.tags.iter().any(|tag| tag.starts_with(&ours));
    let unknown = seen.guests.iter().filter(|(vmid, _)| !known.contains(vmid));
    unknown
        .filter(|(_, row)| tagged(row))
        .map(|(vmid, row)| (*vmid, row))
        .collect()
}

/// Guests and images that carry this installation's mark and are in no object.
fn orphans(scene: &Scene<'_>) -> Vec<String> {
    let guest = |(vmid, row): &(Vmid, &Row)| {
        let name = row.name.as_deref().unwrap_or("no name");
        format!("{} {vmid} ({name}) on {}", row.kind.word(), row.node)
    };
    let mut found: Vec<String> = scene.strangers.iter().map(guest).collect();
    let (desired, seen) = (scene.desired, scene.seen);
    found.extend(seen.images.iter().flat_map(|(place, images)| {
        image_orphans(desired, images)
            .into_iter()
            .map(|volid| format!("disk image {volid} on {}", place.node))
    }));
    found
}

/// The volume ids in a listing that carry the holder's name and are in no object.
#[must_use]
pub fn image_orphans(desired: &Desired, images: &BTreeMap<String, u64>) -> Vec<String> {
    let Some(holder) = desired.cluster.holder else {
        return Vec::new();
    };
    let known: BTreeSet<&str> = desired.volumes.iter().map(|v| v.uid.as_str()).collect();
    let unknown = |volid: &&String| {
        mark::volume_uid(holder, volid).is_some_and(|uid| !known.contains(uid.as_str()))
    };
    images.keys().filter(unknown).cloned().collect()
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl fmt::Display for Plan {
    /// Prints calls, then what is held, then the reads that are missing, one a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chain in &self.chains {
            for op in &chain.ops {
                writeln!(f, "{}: {op}", chain.owner)?;
            }
        }
        for (uid, guest) in &self.report.guests {
            match &guest.state {
                GuestState::Held { reason, message } => {
                    writeln!(f, "held {uid}: {}: {message}", reason.as_str())?;
                }
                GuestState::VmidTaken { message } => writeln!(f, "VMID taken {uid}: {message}")?,
                GuestState::Gone | GuestState::Working(_) | GuestState::Settled { .. } => {}
            }
        }
        for (uid, volume) in &self.report.volumes {
            if let VolumeState::Held { reason, message } = &volume.state {
                writeln!(f, "held {uid}: {}: {message}", reason.as_str())?;
            }
        }
        for need in &self.needs {
            writeln!(f, "to be read: {need:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod changed;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod sim;
