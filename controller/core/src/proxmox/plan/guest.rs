//! Turns one desired guest and what is seen of it into where it stands and what comes next.

use bb_crds::condition::Reason;

use super::{Guest, Op, Scene, Stands, Step, adopt, attach, create};
use crate::drift::Difference;
use crate::proxmox::keys::{self, GuestConfig, KeyDiff};
use crate::proxmox::mark::{self, Mark, Ownership};
use crate::proxmox::model::{DesiredGuest, Fate, GuestState, Kind, Power, Source};
use crate::proxmox::observed::{Build, ConfigRead, Key, Need, Row, Shape};

/// What was decided about a guest.
pub(super) struct Judged {
    pub(super) step: Step<GuestState>,
    /// Keys that wait for a restart.
    pub(super) pending: Vec<String>,
    /// What its configuration was just proven to be.
    pub(super) proven: Option<String>,
    /// What somebody else changed since it was settled.
    pub(super) drift: Option<Difference>,
    /// What adopting it would change.
    pub(super) preview: Option<Difference>,
    /// What its configuration is once the next calls ended well.
    pub(super) makes: Option<String>,
}

impl From<Step<GuestState>> for Judged {
    fn from(step: Step<GuestState>) -> Self {
        Self {
            step,
            pending: Vec::new(),
            proven: None,
            drift: None,
            preview: None,
            makes: None,
        }
    }
}

impl Judged {
    /// The same, with what somebody else changed.
    fn drifted(self, drift: Option<Difference>) -> Self {
        Self { drift, ..self }
    }
}

pub(super) fn held(reason: Reason, message: impl Into<String>) -> Step<GuestState> {
    Step::Is(GuestState::held(reason, message.into()))
}

fn working(what: impl Into<String>) -> Step<GuestState> {
    Step::Is(GuestState::Working(what.into()))
}

/// Whether a guest runs, from the list that is not late where there is one.
pub(super) fn running(scene: &Scene<'_>, guest: &DesiredGuest) -> Option<bool> {
    let row = scene.seen.guests.get(&guest.vmid)?;
    scene.seen.live.get(&guest.vmid).copied().or(row.running)
}

/// `VM 5001` or `CT 5001`.
pub(super) fn name_of(guest: &DesiredGuest) -> String {
    format!("{} {}", guest.source.kind().word(), guest.vmid)
}

pub(super) fn judge(scene: &Scene<'_>, guest: &DesiredGuest) -> Judged {
    if guest.fate == Fate::Release {
        return Step::Is(GuestState::Gone).into();
    }
    if let Some(message) = clash(scene, guest) {
        return held(Reason::Conflict, message).into();
    }
    if let Some(what) = scene.busy(&Key::Guest(guest.vmid)) {
        return working(what).into();
    }
    let row = scene.seen.guests.get(&guest.vmid);
    if let Some(judged) = row.and_then(|row| as_recorded(scene, guest, row)) {
        return judged;
    }
    if guest.fate == Fate::Hold {
        return held(
            Reason::Paused,
            "the object is held back: nothing is written",
        )
        .into();
    }
    if let Some(rest) = scene.flight.resting.get(&guest.uid) {
        return Step::Is(GuestState::resting(rest)).into();
    }
    match row {
        Some(row) => present(scene, guest, row),
        None => absent(scene, guest),
    }
}

/// Whether what is asked of a guest was once proven to be so, and nothing of it was made anew
/// since: what differs then was changed by somebody else.
fn was_settled(scene: &Scene<'_>, guest: &DesiredGuest) -> bool {
    let recorded = guest.settled.as_deref().unwrap_or_default();
    // What waits for a restart stands behind a plus.
    let recorded = recorded.split('+').next().unwrap_or_default();
    recorded == scene.print(guest) && !scene.flight.fresh.contains(&guest.vmid)
}

/// Whether the list of the cluster shows a guest in the size that is asked, or in one that it
/// had although its configuration was right.
fn is_in_shape(scene: &Scene<'_>, guest: &DesiredGuest, row: &Row) -> bool {
    let asked = Shape {
        cores: u64::from(guest.cores),
        memory: guest.memory_mib << 20,
    };
    let known = scene.flight.odd.get(&guest.vmid);
    row.shape
        .is_none_or(|shape| shape == asked || Some(&shape) == known)
}

/// The size in which a guest's row is to be taken for right although it is not what is asked.
pub(super) fn odd(scene: &Scene<'_>, guest: &DesiredGuest, proven: bool) -> Option<Shape> {
    let shape = scene.seen.guests.get(&guest.vmid)?.shape?;
    let asked = Shape {
        cores: u64::from(guest.cores),
        memory: guest.memory_mib << 20,
    };
    let known = scene.flight.odd.get(&guest.vmid);
    (shape != asked && (proven || known == Some(&shape))).then_some(shape)
}

/// Why a VMID cannot be this guest's whatever the cluster says.
fn clash(scene: &Scene<'_>, guest: &DesiredGuest) -> Option<String> {
    let vmid = guest.vmid;
    if scene.desired.cluster.holder == Some(vmid) {
        return Some(format!("VMID {vmid} is that of the volume holder"));
    }
    let first = scene.owners.get(&vmid)?;
    (first.uid != guest.uid).then(|| {
        format!(
            "VMID {vmid} is also recorded for {}/{}",
            first.namespace, first.name
        )
    })
}

/// Settled without a look at the guest itself: what was proven once still holds as far as the
/// list of the cluster says.
fn as_recorded(scene: &Scene<'_>, guest: &DesiredGuest, row: &Row) -> Option<Judged> {
    let keeps = matches!(guest.fate, Fate::Keep | Fate::Hold);
    let read = scene.seen.configs.contains_key(&guest.vmid);
    if !keeps || read || scene.flight.recheck.contains(&guest.vmid) {
        return None;
    }
    // What an earlier pass saw of it may have been lost before it was recorded.
    if scene.unplaced.contains(guest.uid.as_str()) {
        return None;
    }
    let fingerprint = scene.print(guest);
    let recorded = guest.settled.as_ref() == Some(&fingerprint);
    let proven = scene.flight.proven.get(&guest.vmid) == Some(&fingerprint);
    let named =
        row.name.as_ref().is_none_or(|name| *name == guest.name) && is_in_shape(scene, guest, row);
    let tagged = row
        .tags
        .contains(&mark::tag(&scene.desired.cluster.installation, &guest.uid));
    let written = is_written(scene, guest);
    if !tagged || !(proven || written || (recorded && named)) {
        return None;
    }
    let wants = guest.power == Power::Running;
    let settled = Step::Is(GuestState::Settled { fingerprint });
    let step = match runs(scene, guest) {
        Some(runs) if runs == wants => settled,
        Some(_) if written => return first_start(scene, guest, row),
        Some(_) => return None,
        None if recorded && row.running == Some(wants) => settled,
        None if !is_online(scene, row) => return None,
        None => scene.want(Need::Live(row.node.clone(), row.kind)),
    };
    Some(step.into())
}

/// Whether a guest is as it is asked for by calls of ours that all ended well since it was read.
pub(super) fn is_written(scene: &Scene<'_>, guest: &DesiredGuest) -> bool {
    let written = scene.flight.written.get(&guest.vmid);
    written.is_some_and(|written| *written == scene.print(guest))
}

/// Whether a guest runs, where that is certain: by a list that is not late, or since it was
/// built and never started.
fn runs(scene: &Scene<'_>, guest: &DesiredGuest) -> Option<bool> {
    let listed = scene.seen.live.get(&guest.vmid).copied();
    listed.or(scene
        .flight
        .unstarted
        .contains(&guest.vmid)
        .then_some(false))
}

/// The start of a guest that we built and configured and that was not started since.
///
/// No read comes before it: every call on the way built on the read that came first and ended
/// well, and the list of this pass shows the tag that they wrote, which is the mark in short.
fn first_start(scene: &Scene<'_>, guest: &DesiredGuest, row: &Row) -> Option<Judged> {
    let unstarted = scene.flight.unstarted.contains(&guest.vmid);
    let rests = scene.flight.resting.contains_key(&guest.uid);
    if !unstarted || rests || row.lock.is_some() || guest.fate != Fate::Keep {
        return None;
    }
    let start = Op::Start(address(guest, row));
    Some(Judged {
        makes: Some(scene.print(guest)),
        ..Step::Do(Key::Guest(guest.vmid), vec![start]).into()
    })
}

fn is_online(scene: &Scene<'_>, row: &Row) -> bool {
    scene.seen.nodes.get(&row.node).copied().unwrap_or(true)
}

/// A guest that is in no list: not made yet, gone, or out of our sight.
fn absent(scene: &Scene<'_>, guest: &DesiredGuest) -> Judged {
    let gone = || {
        let line = |sign| format!("{sign} {}", name_of(guest));
        Difference::of([format!("- no {}", name_of(guest)), line('+')])
            .filter(|_| was_settled(scene, guest))
    };
    let proven_free = scene.seen.free.get(&guest.vmid) == Some(&true);
    let step = match &guest.adopt {
        Some(_) if guest.fate == Fate::Keep => adopt::absent(scene, guest),
        _ => missing(scene, guest),
    };
    Judged::from(step).drifted(gone().filter(|_| proven_free && guest.fate == Fate::Keep))
}

/// As [`absent`], for one that is made where it is not there.
fn missing(scene: &Scene<'_>, guest: &DesiredGuest) -> Step<GuestState> {
    let vmid = guest.vmid;
    let flight = scene.flight;
    let once = guest.settled.is_some()
        || flight.made.contains(&vmid)
        || flight.unknown.contains(&vmid)
        || flight.exchanged.contains(&vmid)
        || flight.refused.contains(&vmid);
    if guest.fate == Fate::Keep && !once {
        return create::create(scene, guest);
    }
    match scene.seen.free.get(&vmid) {
        None => scene.want(Need::Free(vmid)),
        Some(true) if guest.fate == Fate::Keep => create::create(scene, guest),
        Some(true) => Step::Is(GuestState::Gone),
        Some(false) => invisible(scene, guest),
    }
}

/// The VMID is in use and no list shows by what.
pub(super) fn invisible(scene: &Scene<'_>, guest: &DesiredGuest) -> Step<GuestState> {
    let Some(builds) = &scene.seen.builds else {
        return scene.want(Need::Builds);
    };
    let name = name_of(guest);
    let pool = &scene.desired.cluster.pool;
    match builds.get(&guest.vmid) {
        Some(Build::Running) => working(format!("{name} is being made")),
        Some(Build::Failed(words)) => held(Reason::Stuck, half_made(guest, words)),
        Some(Build::Done) => held(
            Reason::Unauthorized,
            format!(
                "{name} was made and cannot be seen: grant VM.Audit on /pool/{pool} to the user \
                 and to the token, or put the guest back into the pool; if it is somebody else's \
                 by now, {}",
                way_out(guest)
            ),
        ),
        None if guest.settled.is_some() || scene.flight.made.contains(&guest.vmid) => held(
            Reason::Stuck,
            format!(
                "{name} was ours; a guest of that id exists and cannot be seen, so it is neither \
                 changed nor destroyed: if it is ours, put it back into pool {pool}; if it is \
                 somebody else's, {}",
                way_out(guest)
            ),
        ),
        None if scene.flight.exchanged.contains(&guest.vmid) => exchanged(guest),
        None if guest.fate == Fate::Destroy => Step::Is(GuestState::Gone),
        None => {
            let message = format!("{name} exists, cannot be seen, and was not made by us");
            Step::Is(GuestState::VmidTaken { message })
        }
    }
}

/// A guest that was begun with credentials of before: no list shows its task to those of now.
fn exchanged(guest: &DesiredGuest) -> Step<GuestState> {
    working(format!(
        "{} is being made; that began with credentials that were exchanged since",
        name_of(guest)
    ))
}

/// What a person can do about an object whose VMID somebody else has by now.
fn way_out(guest: &DesiredGuest) -> &'static str {
    match guest.fate {
        Fate::Destroy => {
            "set spec.deletionPolicy to Orphan: the object goes, and that guest stays as it is"
        }
        Fate::Keep | Fate::Hold | Fate::Release => {
            "delete the object with spec.deletionPolicy Orphan and make it anew, or free the VMID"
        }
    }
}

fn half_made(guest: &DesiredGuest, words: &str) -> String {
    let name = name_of(guest);
    let vmid = guest.vmid;
    let tool = match guest.source.kind() {
        Kind::Vm => "qm",
        Kind::Container => "pct",
    };
    format!(
        "{name} is half made ({words}), and only root can clear that: on its node run `{tool} \
         unlock {vmid} && {tool} destroy {vmid} --purge --destroy-unreferenced-disks 1`"
    )
}

/// A guest that the list shows.
fn present(scene: &Scene<'_>, guest: &DesiredGuest, row: &Row) -> Judged {
    if !is_online(scene, row) {
        return held(Reason::Unreachable, format!("node {} is offline", row.node)).into();
    }
    let need = Need::Config(row.kind, row.node.clone(), guest.vmid);
    let config = match scene.seen.configs.get(&guest.vmid) {
        None => return scene.want(need).into(),
        Some(ConfigRead::Forbidden | ConfigRead::NotThere) => {
            return working(format!("{} cannot be read yet", name_of(guest))).into();
        }
        Some(ConfigRead::Found(config)) => config,
    };
    let ownership =
        keys::mark_of(&scene.desired.cluster.installation, guest).judge(config.description());
    if matches!(config.lock(), Some("clone" | "create")) {
        match scene
            .seen
            .builds
            .as_ref()
            .map(|builds| builds.get(&guest.vmid))
        {
            None => return scene.want(Need::Builds).into(),
            Some(Some(Build::Running)) => {
                return working(format!("{} is being made", name_of(guest))).into();
            }
            Some(Some(Build::Failed(words))) => {
                return held(Reason::Stuck, half_made(guest, words)).into();
            }
            Some(Some(Build::Done) | None) if ownership == Ownership::Ours => {
                return held(Reason::Stuck, half_made(guest, "its lock was left behind")).into();
            }
            Some(None) if scene.flight.exchanged.contains(&guest.vmid) => {
                return exchanged(guest).into();
            }
            Some(_) => {}
        }
    }
    if ownership != Ownership::Ours {
        if let Some(adoption) = guest.adopt.as_ref().filter(|_| guest.settled.is_none()) {
            return adopt::present(scene, guest, adoption, row, config, &ownership);
        }
        let mark = keys::mark_of(&scene.desired.cluster.installation, guest);
        let lines = Difference::of(["- another mark, or none".to_owned(), format!("+ {mark}")]);
        let drift = lines.filter(|_| was_settled(scene, guest) && guest.fate != Fate::Destroy);
        return Judged::from(foreign(scene, guest, row, &ownership)).drifted(drift);
    }
    if row.kind != guest.source.kind() {
        let message = format!("{} is of another kind than the object", name_of(guest));
        return held(Reason::Conflict, message).into();
    }
    match guest.fate {
        Fate::Destroy => destroy(scene, guest, row, config).into(),
        Fate::Keep | Fate::Hold | Fate::Release => keep(scene, guest, row, config),
    }
}

/// The guest of this VMID does not bear our mark.
fn foreign(
    scene: &Scene<'_>,
    guest: &DesiredGuest,
    row: &Row,
    ownership: &Ownership,
) -> Step<GuestState> {
    let installation = &scene.desired.cluster.installation;
    let name = format!("{} {}", row.kind.word(), guest.vmid);
    let called = row.name.as_deref().unwrap_or("no name");
    let whose = match ownership {
        Ownership::Other(other) => format!("bears the mark `{other}`"),
        Ownership::Ours | Ownership::Unmarked => "bears no mark of ours".to_owned(),
    };
    // Without a mark, but with our tag or the very name: likelier ours with its description
    // overwritten than a stranger's.
    let alike = row.tags.contains(&mark::tag(installation, &guest.uid))
        || (*ownership == Ownership::Unmarked && called == guest.name);
    let was_ours = guest.settled.is_some() || scene.flight.made.contains(&guest.vmid) || alike;
    match (was_ours, guest.fate) {
        (false, Fate::Destroy) => Step::Is(GuestState::Gone),
        (false, Fate::Keep) => Step::Is(GuestState::VmidTaken {
            message: format!("{name} ({called}) {whose}"),
        }),
        _ => {
            let mark: Mark = keys::mark_of(installation, guest);
            held(
                Reason::Conflict,
                format!(
                    "{name} ({called}) on node {} {whose}, so it is neither changed nor \
                     destroyed: if it is ours, make `{mark}` the first line of its notes; if it \
                     is somebody else's, {}",
                    row.node,
                    way_out(guest)
                ),
            )
        }
    }
}

fn destroy(
    scene: &Scene<'_>,
    guest: &DesiredGuest,
    row: &Row,
    config: &GuestConfig,
) -> Step<GuestState> {
    let name = name_of(guest);
    if config.is_protected() {
        let message = format!("{name} has `protection` set in Proxmox VE: take it off to delete");
        return held(Reason::Protected, message);
    }
    if let Some(step) = locked(guest, config) {
        return step;
    }
    let target = address(guest, row);
    let op = match scene.seen.live.get(&guest.vmid) {
        None => return scene.want(Need::Live(row.node.clone(), row.kind)),
        Some(true) => Op::Shutdown(target),
        Some(false) => Op::Destroy(target),
    };
    Step::Do(Key::Guest(guest.vmid), vec![op])
}

pub(super) fn address(guest: &DesiredGuest, row: &Row) -> Guest {
    Guest {
        kind: row.kind,
        node: row.node.clone(),
        vmid: guest.vmid,
    }
}

pub(super) fn locked(guest: &DesiredGuest, config: &GuestConfig) -> Option<Step<GuestState>> {
    let lock = config.lock()?;
    let name = name_of(guest);
    Some(held(
        Reason::Waiting,
        format!(
            "{name} is locked ({lock}): changes wait until that ends; if nothing runs that \
             holds it, root must unlock {}",
            guest.vmid
        ),
    ))
}

fn keep(scene: &Scene<'_>, guest: &DesiredGuest, row: &Row, config: &GuestConfig) -> Judged {
    let cluster = &scene.desired.cluster;
    let (disks, missing) = match attach::volumes(scene, guest, row, config) {
        Ok(ready) => ready,
        Err(needs) => return Step::Needs(needs).into(),
    };
    // Before its first start a guest waits for all its volumes, so that it is written once; a
    // guest in use gets its other changes meanwhile.
    if let Some(why) = missing.as_ref().filter(|_| guest.settled.is_none()) {
        return held(Reason::Waiting, why).into();
    }
    if guest.adopt.is_none() && target_lacks_cloud_init(row.kind, config) {
        return held(Reason::Invalid, no_cloud_init(guest)).into();
    }
    let mut ops = Vec::new();
    let target = address(guest, row);
    let diff = keys::diff(&cluster.installation, cluster.holder, guest, &disks, config);
    let drift =
        Difference::of(differs(scene, guest, &diff, config)).filter(|_| was_settled(scene, guest));
    if !diff.is_empty() {
        ops.push(Op::Configure {
            guest: target.clone(),
            set: diff.set,
            delete: diff.delete,
            digest: config.digest.clone(),
        });
    }
    ops.extend(grow_root(guest, &target, config, ops.is_empty()));
    if !ops.is_empty() {
        let step = locked(guest, config).unwrap_or(Step::Do(Key::Guest(guest.vmid), ops));
        // What runs may take up a change later: only a read tells.
        let certain = scene.flight.unstarted.contains(&guest.vmid)
            && config.pending.is_empty()
            && missing.is_none();
        return Judged {
            makes: certain.then(|| scene.print(guest)),
            ..Judged::from(step).drifted(drift)
        };
    }
    let pending = config.waiting();
    let mut fingerprint = scene.print(guest);
    if !pending.is_empty() {
        // Never equal to the plain fingerprint, so that the guest is read in every pass until
        // a restart has brought these into force.
        fingerprint = format!("{fingerprint}+{}", pending.join(","));
    }
    let proven = missing.is_none().then(|| fingerprint.clone());
    let step = power(scene, guest, row, config).unwrap_or_else(|| match missing {
        None => Step::Is(GuestState::Settled { fingerprint }),
        Some(why) => held(Reason::Waiting, why),
    });
    Judged {
        step,
        pending,
        proven,
        drift,
        preview: None,
        makes: None,
    }
}

/// What a guest has and should not, and should have and has not, as lines.
pub(super) fn differs(
    scene: &Scene<'_>,
    guest: &DesiredGuest,
    diff: &KeyDiff,
    config: &GuestConfig,
) -> Vec<String> {
    let mut lines = keys::lines(diff, config);
    let wants = guest.power == Power::Running;
    let word = |runs: bool| if runs { "Running" } else { "Stopped" };
    if let Some(runs) = scene.seen.live.get(&guest.vmid).filter(|r| **r != wants) {
        lines.push(format!("- power: {}", word(*runs)));
        lines.push(format!("+ power: {}", word(wants)));
    }
    lines
}

/// Grows the root disk. `alone`: the digest that was read still holds when the call is made.
fn grow_root(
    guest: &DesiredGuest,
    target: &Guest,
    config: &GuestConfig,
    alone: bool,
) -> Option<Op> {
    let wanted = keys::root_gib(guest);
    let root = keys::root_disk(target.kind, config)?;
    let grows = root.bytes.is_some_and(|bytes| bytes < wanted << 30);
    grows.then(|| Op::Resize {
        guest: target.clone(),
        disk: root.key,
        size_gib: wanted,
        digest: config.digest.clone().filter(|_| alone),
    })
}

/// Starts or stops where that is all that is left to do.
fn power(
    scene: &Scene<'_>,
    guest: &DesiredGuest,
    row: &Row,
    config: &GuestConfig,
) -> Option<Step<GuestState>> {
    let wants = guest.power == Power::Running;
    let recorded = guest.settled == Some(scene.print(guest));
    let op = match runs(scene, guest) {
        None if recorded && row.running == Some(wants) => return None,
        None => return Some(scene.want(Need::Live(row.node.clone(), row.kind))),
        Some(runs) if runs == wants => return None,
        Some(true) => Op::Shutdown(address(guest, row)),
        Some(false) => Op::Start(address(guest, row)),
    };
    let step = locked(guest, config);
    Some(step.unwrap_or(Step::Do(Key::Guest(guest.vmid), vec![op])))
}

/// Without that drive a machine would start with neither its address nor its keys.
fn target_lacks_cloud_init(kind: Kind, config: &GuestConfig) -> bool {
    kind == Kind::Vm && !keys::has_cloud_init(config)
}

fn no_cloud_init(guest: &DesiredGuest) -> String {
    let vmid = guest.vmid;
    let template = match &guest.source {
        Source::Template { vmid, .. } => vmid.to_string(),
        Source::Archive { .. } => String::new(),
    };
    format!(
        "VM {vmid} has no cloud-init drive, without which it has no address: give template \
         {template} one (`qm set {template} --ide2 STORAGE:cloudinit`), and this VM as well"
    )
}
