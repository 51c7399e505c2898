//! Shows the laws that plans obey, on clusters and objects made up by chance.

use std::collections::BTreeSet;

use bb_crds::condition::Reason;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::sim::{HOLDER, Sim, TEMPLATE, attachment, cluster, guest, vmid, volume};
use super::{InFlight, Plan};
use crate::proxmox::model::{Desired, Fate, GuestState, Kind, More, Power, VolumeState};
use crate::proxmox::observed::{Key, Rest, Running};

const VOLUMES: [&str; 4] = ["a", "b", "c", "d"];

/// What a tenant may ask for, and which VMIDs a stranger has taken before.
#[derive(Clone, Debug)]
struct Story {
    desired: Desired,
    foreign: Vec<u32>,
}

fn namespace(id: u32) -> &'static str {
    if id.is_multiple_of(3) { "acme" } else { "zeta" }
}

fn story() -> impl Strategy<Value = Story> {
    let ids = subsequence((5000..5010).collect::<Vec<u32>>(), 0..7);
    let foreign = subsequence((5000..5010).collect::<Vec<u32>>(), 0..3);
    let owners = proptest::collection::vec(proptest::option::of(0usize..7), VOLUMES.len());
    let stopped = proptest::collection::vec(any::<bool>(), 7);
    (ids, foreign, owners, stopped).prop_map(|(ids, foreign, owners, stopped)| {
        let owner = |at: usize| owners[at].and_then(|nth| ids.get(nth)).copied();
        let volumes = VOLUMES.iter().enumerate().map(|(at, uid)| {
            let user = owner(at).map(|id| format!("guest-{id}"));
            volume(owner(at).map_or("acme", namespace), uid, user.as_deref())
        });
        let volumes = volumes.collect();
        let guests = ids.iter().enumerate().map(|(nth, id)| {
            let own = (0..VOLUMES.len()).filter(|at| owner(*at) == Some(*id));
            let own: Vec<&str> = own.map(|at| VOLUMES[at]).collect();
            let mut guest = guest(namespace(*id), *id, &own);
            if stopped[nth] {
                guest.power = Power::Stopped;
            }
            guest
        });
        let guests = guests.collect();
        Story {
            desired: Desired {
                cluster: cluster(),
                guests,
                volumes,
            },
            foreign,
        }
    })
}

/// Carries plans out until nothing is left, each in full.
fn settle(sim: &mut Sim, desired: &mut Desired) -> Plan {
    let flight = InFlight::default();
    for _ in 0..80 {
        let (plan, _) = sim.plan(desired, &flight);
        Sim::record(desired, &plan);
        let taken = plan
            .report
            .guests
            .values()
            .any(|g| matches!(g.state, GuestState::VmidTaken { .. }));
        if plan.chains.is_empty() && !taken {
            return plan;
        }
        for op in plan.chains.iter().flat_map(|chain| &chain.ops) {
            // A VMID that a stranger has is found out by the claim itself.
            if !sim.apply(op) {
                panic!("refused: {op}");
            }
        }
    }
    panic!("it does not end");
}

/// Gives volumes to other guests, lets them grow, and changes every guest.
fn hand_over(desired: &mut Desired, owners: &[Option<usize>]) {
    let machines: Vec<usize> = (0..desired.guests.len())
        .filter(|at| desired.guests[*at].source.kind() == Kind::Vm)
        .collect();
    for guest in &mut desired.guests {
        guest.volumes.clear();
        guest.cores += 1;
    }
    for (uid, owner) in VOLUMES.iter().zip(owners) {
        let Some(volume) = desired.volumes.iter_mut().find(|volume| volume.uid == *uid) else {
            continue;
        };
        volume.attached_to = None;
        if let Some(at) = owner.and_then(|nth| machines.get(nth)) {
            desired.guests[*at].volumes.push(attachment(uid));
            volume.attached_to = Some(desired.guests[*at].uid.clone());
            volume.size_gib = 20;
            volume.settled = false;
            volume.placed = false;
        }
    }
}

/// Images of ours that more than one guest has.
fn shared_images(sim: &Sim) -> Vec<String> {
    let images = sim.images.keys().filter(|volid| volid.contains("-pvc-"));
    let users = |volid: &String| {
        let has = |value: &String| value.split(',').next() == Some(volid);
        sim.guests
            .values()
            .filter(|guest| guest.config.values().any(has))
            .count()
    };
    images.filter(|volid| users(volid) > 1).cloned().collect()
}

fn all_settled(plan: &Plan) -> bool {
    plan.report
        .guests
        .values()
        .all(|g| matches!(g.state, GuestState::Settled { .. }))
        && plan
            .report
            .volumes
            .values()
            .all(|v| matches!(v.state, VolumeState::Settled { .. }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_applied_leaves_an_empty_plan(mut story in story()) {
        let mut sim = Sim::new(&story.foreign);
        let last = settle(&mut sim, &mut story.desired);
        prop_assert!(all_settled(&last), "{last}\n{:?}", last.report);
        prop_assert_eq!(last.report.more, More::Idle);
        let (again, seen) = sim.plan(&story.desired, &InFlight::default());
        prop_assert!(again.chains.is_empty() && all_settled(&again));
        prop_assert!(seen.configs.is_empty() && seen.live.is_empty() && seen.images.is_empty());
    }

    #[test]
    fn a_crash_after_any_number_of_calls_still_converges(
        mut story in story(),
        cuts in proptest::collection::vec(0usize..4, 0..12),
    ) {
        let mut sim = Sim::new(&story.foreign);
        for cut in cuts {
            let (plan, _) = sim.plan(&story.desired, &InFlight::default());
            Sim::record(&mut story.desired, &plan);
            for op in plan.chains.iter().flat_map(|chain| &chain.ops).take(cut) {
                sim.apply(op);
            }
        }
        let last = settle(&mut sim, &mut story.desired);
        prop_assert!(all_settled(&last), "{last}\n{:?}", last.report);
        let mut straight = Sim::new(&story.foreign);
        let mut fresh = story.desired.clone();
        for guest in &mut fresh.guests {
            guest.settled = None;
        }
        for volume in &mut fresh.volumes {
            volume.settled = false;
        }
        settle(&mut straight, &mut fresh);
        prop_assert_eq!(sim, straight);
    }

    #[test]
    fn where_a_volume_is_comes_to_be_recorded_whatever_reports_were_lost(mut story in story()) {
        let mut sim = Sim::new(&story.foreign);
        settle(&mut sim, &mut story.desired);
        // Everything was recorded but where the volumes are: the report that said so was
        // overtaken by the next, which had no reason to look.
        for volume in &mut story.desired.volumes {
            volume.placed = volume.attached_to.is_none();
        }
        let last = settle(&mut sim, &mut story.desired);
        prop_assert!(all_settled(&last), "{last}");
        prop_assert!(story.desired.volumes.iter().all(|volume| volume.placed));
    }

    #[test]
    fn the_order_of_objects_is_irrelevant(story in story(), turn in 0usize..7) {
        let sim = Sim::new(&story.foreign);
        let mut turned = story.desired.clone();
        let by = turn.min(turned.guests.len());
        turned.guests.rotate_left(by);
        turned.volumes.reverse();
        let flight = InFlight::default();
        prop_assert_eq!(sim.plan(&story.desired, &flight).0, sim.plan(&turned, &flight).0);
    }

    #[test]
    fn deleting_every_object_leaves_what_was_there_before(mut story in story()) {
        let before = Sim::new(&story.foreign);
        let mut sim = before.clone();
        settle(&mut sim, &mut story.desired);
        for guest in &mut story.desired.guests {
            guest.fate = Fate::Destroy;
        }
        for volume in &mut story.desired.volumes {
            volume.fate = Fate::Destroy;
        }
        let last = settle(&mut sim, &mut story.desired);
        prop_assert!(last.report.guests.values().all(|g| g.state == GuestState::Gone));
        prop_assert!(last.report.volumes.values().all(|v| v.state == VolumeState::Gone));
        prop_assert_eq!(sim, before);
    }

    #[test]
    fn strangers_and_what_is_released_are_never_written_to(mut story in story(), keep in 0usize..7) {
        let before = Sim::new(&story.foreign);
        let mut sim = before.clone();
        settle(&mut sim, &mut story.desired);
        let settled = sim.clone();
        for guest in story.desired.guests.iter_mut().skip(keep) {
            guest.fate = Fate::Release;
        }
        for volume in &mut story.desired.volumes {
            volume.fate = Fate::Release;
        }
        settle(&mut sim, &mut story.desired);
        prop_assert_eq!(&sim, &settled);
        for id in story.foreign.iter().chain(&[HOLDER, TEMPLATE]) {
            prop_assert_eq!(&sim.guests[&vmid(*id)], &before.guests[&vmid(*id)]);
        }
    }

    #[test]
    fn limits_are_never_exceeded_and_a_guest_has_one_write(
        story in story(),
        clones in 0usize..4,
        tasks in 0usize..6,
        running in proptest::collection::vec((5000u32..5010, any::<bool>()), 0..5),
    ) {
        let sim = Sim::new(&story.foreign);
        let mut desired = story.desired;
        (desired.cluster.clones, desired.cluster.tasks) = (clones, tasks);
        let tasks_now = running.iter().map(|(id, builds)| Running {
            owner: format!("guest-{id}"),
            namespace: namespace(*id).to_owned(),
            key: Key::Guest(vmid(*id)),
            builds: *builds,
            what: "runs".to_owned(),
        });
        let flight = InFlight { tasks: tasks_now.collect(), ..InFlight::default() };
        let (plan, _) = sim.plan(&desired, &flight);
        let building = flight.tasks.iter().filter(|task| task.builds).count();
        let new = plan.chains.iter().filter(|chain| chain.ops.iter().any(super::Op::builds)).count();
        prop_assert!(plan.chains.is_empty() || plan.chains.len() + running.len() <= tasks);
        prop_assert!(new == 0 || new + building <= clones);
        let mut keys: BTreeSet<&Key> = flight.tasks.iter().map(|task| &task.key).collect();
        for chain in &plan.chains {
            prop_assert!(keys.insert(&chain.key), "two writes for {:?}", chain.key);
        }
    }

    #[test]
    fn a_volume_is_never_in_two_guests_and_a_guest_never_has_two_writes(
        mut story in story(),
        owners in proptest::collection::vec(proptest::option::of(0usize..7), VOLUMES.len()),
        cuts in proptest::collection::vec(0usize..4, 0..8),
    ) {
        let mut sim = Sim::new(&[]);
        settle(&mut sim, &mut story.desired);
        hand_over(&mut story.desired, &owners);
        let flight = InFlight::default();
        for cut in cuts {
            let (plan, _) = sim.plan(&story.desired, &flight);
            Sim::record(&mut story.desired, &plan);
            let keys: BTreeSet<&Key> = plan.chains.iter().map(|chain| &chain.key).collect();
            prop_assert_eq!(keys.len(), plan.chains.len(), "{}", plan);
            // The last chain first: nothing may rest on the order of chains.
            for op in plan.chains.iter().rev().flat_map(|chain| &chain.ops).take(cut) {
                sim.apply(op);
                prop_assert_eq!(shared_images(&sim), Vec::<String>::new(), "after {}", op);
            }
        }
        let last = settle(&mut sim, &mut story.desired);
        prop_assert!(all_settled(&last), "{}", last);
        prop_assert_eq!(shared_images(&sim), Vec::<String>::new());
    }
}

/// What is begun of guests to be cloned, `big` of one tenant and `small` of another, with this
/// known.
fn begun(big: u32, small: u32, clones: usize, flight: &InFlight) -> Vec<String> {
    let big = (0..big).map(|nth| guest("big", 5000 + 2 * nth, &[]));
    let small = (0..small).map(|nth| guest("small", 5100 + 2 * nth, &[]));
    let mut guests: Vec<_> = big.chain(small).collect();
    for guest in &mut guests {
        guest.source = crate::proxmox::model::Source::Template {
            vmid: vmid(TEMPLATE),
            full: false,
            storage: None,
        };
    }
    let mut cluster = cluster();
    (cluster.clones, cluster.tasks) = (clones, 2 * clones);
    let desired = Desired {
        cluster,
        guests,
        volumes: Vec::new(),
    };
    let (plan, _) = Sim::new(&[]).plan(&desired, flight);
    let chains = plan.chains.iter();
    chains.map(|c| c.owner.namespace.clone()).collect()
}

#[test]
fn tenants_take_turns_whatever_their_number_of_objects() {
    assert_eq!(begun(8, 1, 2, &InFlight::default()), ["big", "small"]);
}

#[test]
fn a_tenant_whose_builds_are_refused_tries_one_at_a_time_beside_others() {
    let rest = Rest {
        reason: Some(Reason::Refused),
        message: "no room".to_owned(),
    };
    let mut flight = InFlight::default();
    let refused = guest("big", 5000, &[]).uid;
    flight.resting.insert(refused, rest);
    let tries = |flight: &InFlight, small| {
        let begun = begun(8, small, 6, flight);
        begun.iter().filter(|namespace| *namespace == "big").count()
    };
    assert_eq!(tries(&flight, 3), 1);
    assert_eq!(tries(&flight, 0), 6, "alone it takes nothing from anybody");
    // One that was made shows that not all are refused.
    flight.fresh.insert(vmid(5002));
    assert_eq!(tries(&flight, 3), 3);
}

#[test]
fn a_new_machine_is_started_by_its_tag_after_calls_that_all_ended_well() {
    let mut sim = Sim::new(&[]);
    let desired = Desired {
        cluster: cluster(),
        guests: vec![guest("acme", 5000, &[])],
        volumes: Vec::new(),
    };
    let id = vmid(5000);
    let mut flight = InFlight::default();
    let ops = |plan: &Plan| -> Vec<super::Op> {
        let chains = plan.chains.iter();
        chains.flat_map(|chain| chain.ops.clone()).collect()
    };
    let (clone, _) = sim.plan(&desired, &flight);
    ops(&clone).iter().for_each(|op| assert!(sim.apply(op)));
    flight.made.insert(id);
    flight.unstarted.insert(id);
    let (write, seen) = sim.plan(&desired, &flight);
    assert!(
        seen.configs.contains_key(&id),
        "the mark is read before a write"
    );
    ops(&write).iter().for_each(|op| assert!(sim.apply(op)));
    let made = write.chains[0].makes.clone().unwrap();
    flight.written.insert(id, made);
    let (start, seen) = sim.plan(&desired, &flight);
    assert!(
        matches!(ops(&start).as_slice(), [super::Op::Start(_)]),
        "{start}"
    );
    assert!(seen.configs.is_empty() && seen.live.is_empty(), "{seen:?}");
    // Without its tag it is read, and what is somebody else's is left alone.
    let config = &mut sim.guests.get_mut(&id).unwrap().config;
    config.insert("tags".into(), "other".into());
    config.insert("description".into(), "mine".into());
    let (held, seen) = sim.plan(&desired, &flight);
    assert!(
        seen.configs.contains_key(&id) && held.chains.is_empty(),
        "{held}"
    );
}
