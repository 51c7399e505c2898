//! Prints plans of named scenarios, to be read in review.

use std::collections::BTreeMap;

use super::sim::{HOLDER, Sim, cluster, guest, vmid, volume};
use super::{InFlight, Plan};
use crate::proxmox::keys;
use crate::proxmox::model::{Desired, Fate, GuestState, VolumeState};
use crate::proxmox::observed::{Build, Key, Running};

fn print(plan: &Plan) -> String {
    let mut text = plan.to_string();
    for (uid, guest) in &plan.report.guests {
        match &guest.state {
            GuestState::Working(what) => text += &format!("{uid} works: {what}\n"),
            GuestState::Settled { .. } => text += &format!("{uid} is settled\n"),
            GuestState::Gone => text += &format!("{uid} is gone\n"),
            GuestState::Held { .. } | GuestState::VmidTaken { .. } => {}
        }
    }
    for (uid, volume) in &plan.report.volumes {
        match &volume.state {
            VolumeState::Working(what) => text += &format!("{uid} works: {what}\n"),
            VolumeState::Settled { size_gib } => text += &format!("{uid} has {size_gib} GiB\n"),
            VolumeState::Gone => text += &format!("{uid} is gone\n"),
            VolumeState::Held { .. } => {}
        }
    }
    text + &plan
        .report
        .orphans
        .iter()
        .map(|orphan| format!("orphan: {orphan}\n"))
        .collect::<String>()
}

fn tenant() -> Desired {
    Desired {
        cluster: cluster(),
        guests: vec![
            guest("acme", 5001, &[]),
            guest("acme", 5002, &["a"]),
            guest("zeta", 5004, &["c"]),
        ],
        volumes: vec![
            volume("acme", "a", Some("guest-5002")),
            volume("zeta", "b", None),
        ],
    }
}

/// The prints of `passes` plans, each carried out before the next.
fn passes(sim: &mut Sim, desired: &mut Desired, passes: usize) -> String {
    let mut text = String::new();
    for pass in 1..=passes {
        let (plan, _) = sim.plan(desired, &InFlight::default());
        Sim::record(desired, &plan);
        text += &format!("# pass {pass}\n{}", print(&plan));
        for op in plan.chains.iter().flat_map(|chain| &chain.ops) {
            assert!(sim.apply(op));
        }
    }
    text
}

#[test]
fn a_tenant_from_nothing_to_running() {
    insta::assert_snapshot!(passes(&mut Sim::new(&[]), &mut tenant(), 6));
}

#[test]
fn a_tenant_from_running_to_nothing() {
    let (mut sim, mut desired) = (Sim::new(&[]), tenant());
    passes(&mut sim, &mut desired, 6);
    desired
        .guests
        .iter_mut()
        .for_each(|guest| guest.fate = Fate::Destroy);
    desired
        .volumes
        .iter_mut()
        .for_each(|volume| volume.fate = Fate::Destroy);
    insta::assert_snapshot!(passes(&mut sim, &mut desired, 5));
}

#[test]
fn a_guest_that_is_not_ours_is_left_alone() {
    let mut sim = Sim::new(&[5001]);
    let other = "bitbuilder c2/guest-5002 else/web";
    sim.put(5002, &[("name", "web"), ("description", other)]);
    sim.put(
        5004,
        &[
            ("name", "web5004"),
            ("description", "overwritten by somebody"),
        ],
    );
    let mut desired = tenant();
    desired.guests[1].settled = Some(keys::fingerprint(&desired.guests[1]));
    let (plan, _) = sim.plan(&desired, &InFlight::default());
    insta::assert_snapshot!(print(&plan));
}

#[test]
fn a_protected_holder_keeps_its_disks_until_a_person_acts() {
    let (mut sim, mut desired) = (Sim::new(&[]), tenant());
    passes(&mut sim, &mut desired, 6);
    sim.put(HOLDER, &[("name", "volumes"), ("protection", "1")]);
    desired.guests[1].volumes.clear();
    desired
        .volumes
        .iter_mut()
        .for_each(|volume| volume.fate = Fate::Destroy);
    insta::assert_snapshot!(passes(&mut sim, &mut desired, 3));
}

#[test]
fn a_provider_that_only_observes_says_what_it_would_do() {
    let mut desired = tenant();
    desired.cluster.observe_only = true;
    insta::assert_snapshot!(passes(&mut Sim::new(&[]), &mut desired, 1));
}

#[test]
fn a_build_whose_worker_was_killed_needs_root() {
    let desired = tenant();
    let sim = Sim::new(&[]);
    let flight = InFlight {
        refused: [vmid(5002)].into(),
        ..InFlight::default()
    };
    let (_, mut seen) = sim.plan(&desired, &flight);
    seen.free.insert(vmid(5002), false);
    let killed = Build::Failed("unexpected status".into());
    seen.builds = Some(BTreeMap::from([(vmid(5002), killed)]));
    insta::assert_snapshot!(print(&super::plan(&desired, &seen, &flight)));
}

#[test]
fn work_under_way_is_waited_for_and_orphans_are_named() {
    let mut sim = Sim::new(&[]);
    let mut desired = tenant();
    passes(&mut sim, &mut desired, 6);
    desired.guests.remove(0);
    desired.guests[0].cores = 4;
    desired.guests[0].settled = Some("older".into());
    desired.volumes[0].fate = Fate::Destroy;
    let task = Running {
        owner: "guest-5002".into(),
        namespace: "acme".into(),
        key: Key::Guest(vmid(5002)),
        builds: false,
        what: "configure VM 5002 on pve1: cores".into(),
    };
    let flight = InFlight {
        tasks: vec![task],
        ..InFlight::default()
    };
    insta::assert_snapshot!(print(&sim.plan(&desired, &flight).0));
}
