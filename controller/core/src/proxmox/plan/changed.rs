//! What people changed on guests of ours is told from what we changed, and is put right or left.

use crate::proxmox::keys;
use crate::proxmox::model::{Desired, GuestState};
use crate::proxmox::observed::{InFlight, Shape};
use crate::proxmox::plan::Plan;
use crate::proxmox::plan::sim::{Sim, cluster, guest, vmid};

const ID: u32 = 5002;

/// A machine that is as asked, and on record so.
fn settled() -> (Sim, Desired) {
    let mut sim = Sim::new(&[]);
    let mut desired = Desired {
        cluster: cluster(),
        guests: vec![guest("acme", ID, &[])],
        volumes: Vec::new(),
    };
    for _ in 0..10 {
        let plan = planned(&sim, &desired);
        Sim::record(&mut desired, &plan);
        for op in plan.chains.iter().flat_map(|chain| &chain.ops) {
            assert!(sim.apply(op));
        }
    }
    assert!(desired.guests[0].settled.is_some());
    (sim, desired)
}

fn planned(sim: &Sim, desired: &Desired) -> Plan {
    sim.plan(desired, &InFlight::default()).0
}

fn lines(plan: &Plan) -> Vec<String> {
    let report = &plan.report.guests["guest-5002"];
    report
        .drift
        .clone()
        .map_or_else(Vec::new, |drift| drift.lines)
}

fn set(sim: &mut Sim, key: &str, value: &str) {
    let config = &mut sim.guests.get_mut(&vmid(ID)).unwrap().config;
    config.insert(key.to_owned(), value.to_owned());
}

#[test]
fn what_is_as_it_was_is_no_drift() {
    let (sim, desired) = settled();
    assert_eq!(lines(&planned(&sim, &desired)), Vec::<String>::new());
}

#[test]
fn a_change_of_ours_is_no_drift() {
    let (sim, mut desired) = settled();
    desired.guests[0].cores = 8;
    let plan = planned(&sim, &desired);
    assert!(!plan.chains.is_empty());
    assert_eq!(lines(&plan), Vec::<String>::new());
}

#[test]
fn what_a_list_shows_is_found_at_once_with_all_that_goes_with_it() {
    for (key, value) in [
        ("name", "else"),
        ("cores", "9"),
        ("memory", "64"),
        ("tags", "none"),
    ] {
        let (mut sim, desired) = settled();
        set(&mut sim, key, value);
        set(&mut sim, "nameserver", "192.0.2.1");
        let plan = planned(&sim, &desired);
        let found = lines(&plan);
        assert!(
            found.contains(&format!("- {key}: {value}")),
            "{key}: {found:?}"
        );
        assert!(
            found.contains(&"- nameserver: 192.0.2.1".to_owned()),
            "{found:?}"
        );
        assert_eq!(plan.chains.len(), 1, "and is put right in the same pass");
    }
}

#[test]
fn what_no_list_shows_is_found_when_every_guest_is_read() {
    let (mut sim, desired) = settled();
    set(&mut sim, "nameserver", "192.0.2.1");
    assert_eq!(lines(&planned(&sim, &desired)), Vec::<String>::new());
    let flight = InFlight {
        recheck: desired.guests.iter().map(|guest| guest.vmid).collect(),
        ..InFlight::default()
    };
    let (plan, _) = sim.plan(&desired, &flight);
    assert_eq!(
        lines(&plan),
        ["- nameserver: 192.0.2.1", "+ nameserver: 10.0.0.1"]
    );
}

#[test]
fn a_guest_that_was_switched_off_or_destroyed_is_told_and_put_right() {
    let (mut sim, desired) = settled();
    sim.guests.get_mut(&vmid(ID)).unwrap().running = false;
    let plan = planned(&sim, &desired);
    assert_eq!(lines(&plan), ["- power: Stopped", "+ power: Running"]);
    assert_eq!(plan.chains.len(), 1);
    sim.guests.remove(&vmid(ID));
    let plan = planned(&sim, &desired);
    assert_eq!(lines(&plan), ["- no VM 5002", "+ VM 5002"]);
    assert_eq!(plan.chains.len(), 1);
}

#[test]
fn what_was_made_anew_a_moment_ago_is_not_drift_from_head_to_toe() {
    let (mut sim, desired) = settled();
    sim.guests.remove(&vmid(ID));
    for op in planned(&sim, &desired).chains.iter().flat_map(|c| &c.ops) {
        assert!(sim.apply(op));
    }
    let flight = InFlight {
        fresh: [vmid(ID)].into(),
        ..InFlight::default()
    };
    let (plan, _) = sim.plan(&desired, &flight);
    assert!(!plan.chains.is_empty());
    assert_eq!(lines(&plan), Vec::<String>::new());
}

#[test]
fn what_is_observed_is_told_and_left() {
    let (mut sim, mut desired) = settled();
    desired.guests[0].observe = true;
    set(&mut sim, "cores", "9");
    let plan = planned(&sim, &desired);
    assert_eq!(lines(&plan), ["- cores: 9", "+ cores: 2"]);
    assert_eq!(plan.chains, vec![]);
    let GuestState::Held { message, .. } = &plan.report.guests["guest-5002"].state else {
        panic!("{plan}");
    };
    assert!(
        message.contains("its managementPolicy is Observe"),
        "{message}"
    );
}

#[test]
fn a_mark_that_somebody_took_off_is_told_and_the_guest_not_touched() {
    let (mut sim, desired) = settled();
    set(&mut sim, "description", "mine now");
    set(&mut sim, "name", "mine");
    let plan = planned(&sim, &desired);
    assert_eq!(lines(&plan)[0], "- another mark, or none");
    assert_eq!(plan.chains, vec![]);
}

#[test]
fn a_size_that_people_bounded_otherwise_costs_no_read_in_every_pass() {
    let (mut sim, desired) = settled();
    let asked = keys::fingerprint(&desired.guests[0]);
    // The list says 1, since somebody set `vcpus`, which is not ours to decide.
    let odd = Shape {
        cores: 1,
        memory: 1024 << 20,
    };
    sim.shown.insert(vmid(ID), odd);
    let (first, seen) = sim.plan(&desired, &InFlight::default());
    assert!(seen.configs.contains_key(&vmid(ID)), "it is read once");
    assert_eq!(first.odd, [(vmid(ID), odd)].into());
    let flight = InFlight {
        odd: first.odd,
        ..InFlight::default()
    };
    let (second, seen) = sim.plan(&desired, &flight);
    assert!(!seen.configs.contains_key(&vmid(ID)), "and not again");
    assert_eq!(second.odd, [(vmid(ID), odd)].into());
    let settled = GuestState::Settled { fingerprint: asked };
    assert_eq!(second.report.guests["guest-5002"].state, settled);
}

#[test]
fn what_was_begun_with_other_credentials_is_waited_for_and_not_given_up() {
    let (mut sim, mut desired) = settled();
    desired.guests[0].settled = None;
    let config = &mut sim.guests.get_mut(&vmid(ID)).unwrap().config;
    config.clear();
    config.insert("lock".to_owned(), "clone".to_owned());
    let state = |flight: &InFlight| {
        sim.plan(&desired, flight).0.report.guests["guest-5002"]
            .clone()
            .state
    };
    let taken = state(&InFlight::default());
    assert!(matches!(taken, GuestState::VmidTaken { .. }), "{taken:?}");
    let exchanged = InFlight {
        exchanged: [vmid(ID)].into(),
        ..InFlight::default()
    };
    let waits = state(&exchanged);
    assert!(matches!(waits, GuestState::Working(_)), "{waits:?}");
}
