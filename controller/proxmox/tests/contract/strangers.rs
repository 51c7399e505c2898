//! Shows that a VMID which somebody else took behind our back is theirs, whenever they took it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bb_core::proxmox::model::{Fate, GuestState, Power};
use bb_lab_proxmox::Moment;
use bb_lab_proxmox::model::{Cluster, Guest};
use proptest::prelude::*;

use crate::stage::{Stage, container, vm, vmid, volume};

/// The VMID that is fought over, and the one that our object is given when it loses it.
const ID: u32 = 5001;
const NEXT: u32 = 5100;
/// More passes than anything here takes.
const PASSES: usize = 60;

/// What the notes of the stranger's guest say.
#[derive(Clone, Copy, Debug)]
enum Notes {
    Nothing,
    Words,
    OtherInstallation,
    OtherObject,
}

/// Somebody who destroys our guest and makes one of the same VMID.
#[derive(Clone, Copy, Debug)]
struct Stranger {
    container: bool,
    runs: bool,
    /// They made it in our pool, where our rights reach it.
    in_pool: bool,
    same_name: bool,
    notes: Notes,
}

impl Stranger {
    const PLAIN: Self = Self {
        container: false,
        runs: false,
        in_pool: false,
        same_name: false,
        notes: Notes::Words,
    };

    /// Takes the VMID, as a person with other tools does. Workers that are under way hold the
    /// guest's lock, so they come first.
    fn arrive(self, cluster: &mut Cluster) {
        let now = cluster.now;
        cluster.tick(now);
        cluster.destroy_by_hand(ID);
        let model = if self.container { 102 } else { 101 };
        let mut guest = cluster.guests[&model].clone();
        guest.node = "pve1".to_owned();
        let (disk, name) = if self.container {
            ("rootfs", "hostname")
        } else {
            ("scsi0", "name")
        };
        let of_theirs = format!("ssd:vm-{ID}-disk-0,size=32G");
        guest.config.insert(disk.to_owned(), of_theirs);
        let called = if self.same_name { "web5001" } else { "ledger" };
        guest.config.insert(name.to_owned(), called.to_owned());
        let notes = match self.notes {
            Notes::Nothing => None,
            Notes::Words => Some("belongs to finance"),
            Notes::OtherInstallation => Some("bitbuilder c2/guest-5001 acme/web5001"),
            Notes::OtherObject => Some("bitbuilder c1/guest-7 zeta/ledger"),
        };
        guest.config.remove("description");
        if let Some(notes) = notes {
            guest
                .config
                .insert("description".to_owned(), notes.to_owned());
        }
        cluster.guests.insert(ID, guest);
        if !self.runs {
            cluster.switch_off(ID);
        }
        let images = &mut cluster.storages.get_mut("ssd").unwrap().volumes;
        let place = images.values_mut().next().unwrap();
        let mut image = place["vm-101-disk-0"].clone();
        image.owner = Some(ID);
        place.insert(format!("vm-{ID}-disk-0"), image);
        if self.in_pool {
            let pool = cluster.pools.get_mut("bitbuilder").unwrap();
            pool.guests.insert(ID);
        }
    }
}

/// All of a guest that lasts, and its disk.
fn picture(cluster: &Cluster) -> String {
    let guest: Option<&Guest> = cluster.guests.get(&ID);
    let guest = guest.map(|g| (g.kind, &g.config, &g.pending, g.power));
    let name = format!("vm-{ID}-disk-0");
    let mut places = cluster.storages["ssd"].volumes.values();
    let disk = places.find_map(|place| place.get(&name).cloned());
    format!("{guest:#?} {disk:#?}")
}

/// When the stranger comes.
#[derive(Clone, Copy, Debug)]
enum When {
    /// Right before the so-manieth call.
    Nth(usize),
    /// Right before the first call of this method with this at the end of its path.
    Before(&'static str, &'static str),
}

/// What we are at when they come.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Create,
    Change,
    Stop,
    Start,
    Delete,
}

/// A call that Proxmox VE carries out on whatever guest has the VMID, if our rights reach it.
fn is_unconditional(moment: &Moment) -> bool {
    let on_it = moment.path.contains(&format!("/{ID}"));
    let ends = |end: &str| moment.path.ends_with(end);
    let power = moment.method == "POST" && (ends("/start") || ends("/shutdown"));
    let destroy = moment.method == "DELETE" && ends(&format!("/{ID}"));
    let grow = ends("/resize") && moment.parameters.get("digest").is_none();
    on_it && (power || destroy || grow)
}

/// What came of it.
#[derive(Debug)]
struct Outcome {
    /// The call that the stranger came before.
    before: Option<Moment>,
    theirs: Option<String>,
    found: String,
    /// What the delete of our object says in the end.
    said: String,
}

struct Gate {
    /// Whether the last that was asked of the guest was whose it is.
    read: bool,
    left: usize,
    before: Option<Moment>,
    theirs: Option<String>,
}

async fn stage_for(deed: Deed) -> Stage {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(ID, &["v1"]), vm(5002, &[]), container(5003)];
    stage.desired.volumes = vec![volume("v1", Some("guest-5001"))];
    if matches!(deed, Deed::Start) {
        stage.desired.guests[0].power = Power::Stopped;
    }
    if !matches!(deed, Deed::Create) {
        stage.settle().await;
    }
    let guest = &mut stage.desired.guests[0];
    match deed {
        Deed::Create => {}
        Deed::Change => {
            guest.cores += 2;
            guest.disk_gib = Some(20);
        }
        Deed::Stop => guest.power = Power::Stopped,
        Deed::Start => guest.power = Power::Running,
        Deed::Delete => guest.fate = Fate::Destroy,
    }
    stage
}

/// One pass, and the part of the shell that gives another VMID.
async fn pass(stage: &mut Stage) {
    stage.pass().await;
    if matches!(stage.state("guest-5001"), GuestState::VmidTaken { .. }) {
        stage.desired.guests[0].vmid = vmid(NEXT);
        stage.desired.guests[0].settled = None;
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
}

/// Whether nothing more happens: everything is settled, gone or held.
fn is_quiet(stage: &Stage) -> bool {
    let done = |state: &GuestState| !matches!(state, GuestState::Working(_));
    stage.last.guests.values().all(|guest| done(&guest.state))
}

/// Has us do something, a stranger come in between, and our object deleted in the end.
/// `spares_window`: a stranger in our pool does not come between what tells whose a guest is and
/// a call that knows no condition. That is the call itself, and what is sent along with a start:
/// other starts behind one list, and where it is not the first start, what is under way
/// for other guests while the mark of this one is read.
async fn meet(deed: Deed, when: When, stranger: Stranger, spares_window: bool) -> Outcome {
    let mut stage = stage_for(deed).await;
    let starts = matches!(deed, Deed::Start);
    let gate = Arc::new(Mutex::new(Gate {
        read: false,
        left: match when {
            When::Nth(nth) => nth,
            When::Before(..) => 0,
        },
        before: None,
        theirs: None,
    }));
    let shared = gate.clone();
    stage
        .lab
        .before_calls(Some(move |moment: &Moment, cluster: &mut Cluster| {
            let mut gate = shared.lock().unwrap();
            if gate.theirs.is_some() {
                return;
            }
            let about_it = moment.path.contains(&format!("/{ID}"));
            let another_starts = moment.path.ends_with("/start");
            let window = is_unconditional(moment) || another_starts || (starts && gate.read);
            if about_it {
                gate.read = moment.path.ends_with("/pending");
            }
            let due = match when {
                When::Nth(_) if gate.left > 0 => {
                    gate.left -= 1;
                    false
                }
                When::Nth(_) => !(spares_window && window),
                When::Before(method, end) => moment.method == method && moment.path.ends_with(end),
            };
            if due {
                stranger.arrive(cluster);
                gate.before = Some(moment.clone());
                gate.theirs = Some(picture(cluster));
            }
        }));
    let mut after = 0;
    for _ in 0..PASSES {
        pass(&mut stage).await;
        after += usize::from(gate.lock().unwrap().theirs.is_some());
        if (after > 3 || after == 0) && is_quiet(&stage) {
            break;
        }
    }
    if gate.lock().unwrap().theirs.is_none() {
        stage.lab.before_calls(None::<fn(&Moment, &mut Cluster)>);
        let theirs = stage.lab.with(|cluster| {
            stranger.arrive(cluster);
            picture(cluster)
        });
        gate.lock().unwrap().theirs = Some(theirs);
    }
    stage.desired.guests[0].fate = Fate::Destroy;
    for nth in 0..PASSES {
        pass(&mut stage).await;
        if nth > 3 && is_quiet(&stage) {
            break;
        }
    }
    let mut gate = gate.lock().unwrap();
    Outcome {
        before: gate.before.take(),
        theirs: gate.theirs.take(),
        found: stage.lab.with(|cluster| picture(cluster)),
        said: format!("{:?}", stage.state("guest-5001")),
    }
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        Just(Deed::Create),
        Just(Deed::Change),
        Just(Deed::Stop),
        Just(Deed::Start),
        Just(Deed::Delete),
    ]
}

fn strangers() -> impl Strategy<Value = Stranger> {
    let notes = prop_oneof![
        Just(Notes::Nothing),
        Just(Notes::Words),
        Just(Notes::OtherInstallation),
        Just(Notes::OtherObject),
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, notes).prop_map(|((container, runs, in_pool, same_name), notes)| Stranger {
        container,
        runs,
        in_pool,
        same_name,
        notes,
    })
}

/// What somebody does at once in so many clusters.
const AT_ONCE: usize = 10;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_vmid_that_somebody_else_took_is_never_touched(
        meetings in proptest::collection::vec((deeds(), 0usize..40, strangers()), AT_ONCE),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcomes = runtime.block_on(futures::future::join_all(meetings.iter().map(
            |(deed, nth, stranger)| meet(*deed, When::Nth(*nth), *stranger, stranger.in_pool),
        )));
        for (meeting, outcome) in meetings.iter().zip(outcomes) {
            let theirs = outcome.theirs.as_ref();
            prop_assert_eq!(theirs, Some(&outcome.found), "{:?}: {:#?}", meeting, outcome);
        }
    }
}

/// Every call of ours that changes a guest of that VMID, and what leads to it.
const WRITES: [(Deed, &str, &str); 8] = [
    (Deed::Create, "POST", "/9000/clone"),
    (Deed::Create, "POST", "/5001/config"),
    (Deed::Create, "PUT", "/5001/resize"),
    (Deed::Create, "POST", "/5001/status/start"),
    (Deed::Change, "POST", "/5001/config"),
    (Deed::Stop, "POST", "/5001/status/shutdown"),
    (Deed::Start, "POST", "/5001/status/start"),
    (Deed::Delete, "DELETE", "/5001"),
];

#[tokio::test]
async fn a_stranger_between_our_read_and_our_write_is_not_touched() {
    for (deed, method, end) in WRITES {
        for runs in [false, true] {
            let stranger = Stranger {
                runs,
                ..Stranger::PLAIN
            };
            let outcome = meet(deed, When::Before(method, end), stranger, false).await;
            assert!(outcome.before.is_some(), "{deed:?}: no {method} {end}");
            assert_eq!(
                outcome.theirs.as_ref(),
                Some(&outcome.found),
                "{outcome:#?}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_written_on_a_digest_misses_a_stranger_in_our_own_pool_too() {
    for (deed, method, end) in WRITES {
        if !["/config", "/clone"].iter().any(|safe| end.ends_with(safe)) {
            continue;
        }
        let stranger = Stranger {
            in_pool: true,
            notes: Notes::Nothing,
            ..Stranger::PLAIN
        };
        let outcome = meet(deed, When::Before(method, end), stranger, false).await;
        assert!(outcome.before.is_some(), "{deed:?}: no {method} {end}");
        assert_eq!(
            outcome.theirs.as_ref(),
            Some(&outcome.found),
            "{outcome:#?}"
        );
    }
}

#[tokio::test]
async fn a_mark_is_read_right_before_every_stop_and_destroy() {
    let mut stage = Stage::new().await;
    stage.desired.guests = (5000..5006).map(|id| vm(id, &[])).collect();
    stage.desired.guests.push(container(5011));
    stage.settle().await;
    let from = stage.lab.journal().len();
    stage.clear().await;
    let calls = stage.calls(from);
    let mut guarded = 0;
    for (at, call) in calls.iter().enumerate() {
        let destroys = call.starts_with("DELETE ");
        if !destroys && !call.ends_with("/status/shutdown") {
            continue;
        }
        let path = call.split(' ').nth(1).unwrap();
        let guest = path.trim_end_matches("/status/shutdown");
        // What was last asked of that very guest before it.
        let last = calls[..at]
            .iter()
            .rev()
            .find(|before| before.contains(guest));
        assert_eq!(last, Some(&format!("GET {guest}/pending")), "{call}");
        guarded += 1;
    }
    assert_eq!(guarded, 14, "{calls:#?}");
}

#[tokio::test]
async fn the_delete_of_an_object_whose_vmid_is_anothers_names_it_and_a_way_out() {
    for (in_pool, notes, whose) in [
        (true, Notes::OtherInstallation, "bitbuilder c2/guest-5001"),
        (true, Notes::Words, "no mark of ours"),
        (false, Notes::Words, "cannot be seen"),
    ] {
        let stranger = Stranger {
            in_pool,
            notes,
            ..Stranger::PLAIN
        };
        let outcome = meet(Deed::Change, When::Nth(0), stranger, true).await;
        for word in [
            "Held",
            "VM 5001",
            whose,
            "if it is somebody else's",
            "deletionPolicy to Orphan",
        ] {
            assert!(outcome.said.contains(word), "{word}: {}", outcome.said);
        }
        assert_eq!(outcome.theirs, Some(outcome.found));
    }
}

/// Somebody whose guest is stopped comes after we read the mark of ours, which runs.
#[tokio::test]
async fn what_a_stranger_has_stopped_is_not_started() {
    for nth in 0..16 {
        let stranger = Stranger {
            container: false,
            runs: false,
            in_pool: true,
            same_name: false,
            notes: Notes::Nothing,
        };
        let outcome = meet(Deed::Change, When::Nth(nth), stranger, true).await;
        assert_eq!(
            outcome.theirs.as_ref(),
            Some(&outcome.found),
            "{outcome:#?}"
        );
    }
}
