//! Who may be taken over, what is shown before, and that nothing else is ever written.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::condition::Reason;
use proptest::prelude::*;

use crate::proxmox::mark;
use crate::proxmox::model::{Adoption, Desired, Fate, GuestState};
use crate::proxmox::observed::InFlight;
use crate::proxmox::plan::sim::{Sim, TEMPLATE, cluster, guest, vmid};
use crate::proxmox::plan::{Op, Plan};

const ID: u32 = 5002;

/// An object that takes over the guest `ID`, and its notes as they are before.
fn world(confirmed: bool, notes: &str) -> (Sim, Desired) {
    let mut sim = Sim::new(&[ID]);
    let id = vmid(ID);
    let found = sim.guests.get_mut(&id).unwrap();
    found.config.remove("scsi1");
    found
        .config
        .insert("scsi0".into(), "ceph:vm-5002-disk-0,size=8G".into());
    found.config.insert("description".into(), notes.into());
    let mut taker = guest("acme", ID, &[]);
    taker.adopt = Some(Adoption {
        confirmed,
        living: BTreeSet::from(["somebody".to_owned()]),
    });
    let desired = Desired {
        cluster: cluster(),
        guests: vec![taker],
        volumes: Vec::new(),
    };
    (sim, desired)
}

fn planned(sim: &Sim, desired: &Desired) -> Plan {
    sim.plan(desired, &InFlight::default()).0
}

fn held(plan: &Plan) -> (Reason, String) {
    match &plan.report.guests["guest-5002"].state {
        GuestState::Held { reason, message } => (*reason, message.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_preview_shows_every_change_and_makes_none() {
    let (sim, desired) = world(false, "theirs");
    let plan = planned(&sim, &desired);
    assert_eq!(plan.chains, vec![]);
    assert_eq!(held(&plan).0, Reason::Preview);
    let preview = plan.report.guests["guest-5002"].preview.clone().unwrap();
    let text = preview.lines.join("\n");
    for line in [
        "+ description: bitbuilder c1/guest-5002 acme/web5002",
        "- name: db",
        "+ name: web5002",
        "+ cores: 2",
        "+ power: Running",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[test]
fn the_mark_is_written_alone_and_first_and_peoples_notes_stay_below_it() {
    let (mut sim, mut desired) = world(true, "theirs\nand more");
    let plan = planned(&sim, &desired);
    let [chain] = plan.chains.as_slice() else {
        panic!("{plan}");
    };
    let [Op::Configure { set, delete, .. }] = chain.ops.as_slice() else {
        panic!("{plan}");
    };
    let text = "bitbuilder c1/guest-5002 acme/web5002\ntheirs\nand more";
    assert_eq!(
        *set,
        BTreeMap::from([("description".to_owned(), text.to_owned())])
    );
    assert!(delete.is_empty());
    // And from then on it is a guest like any other.
    for _ in 0..10 {
        let plan = planned(&sim, &desired);
        Sim::record(&mut desired, &plan);
        for op in plan.chains.iter().flat_map(|chain| &chain.ops) {
            assert!(sim.apply(op));
        }
    }
    assert!(desired.guests[0].settled.is_some());
    let config = &sim.guests[&vmid(ID)].config;
    assert_eq!(
        (config["name"].as_str(), config["description"].as_str()),
        ("web5002", text)
    );
}

#[test]
fn nobody_is_robbed() {
    let other = "bitbuilder c1/somebody acme/x";
    for (notes, tag, words) in [
        (
            "bitbuilder c2/guest-5002 acme/web5002",
            None,
            "another installation",
        ),
        (other, None, "another Instance"),
        (
            "",
            Some(mark::tag("c2", "guest-5002")),
            "the tag of another installation",
        ),
        (
            "",
            Some(mark::tag("c1", "somebody")),
            "the tag of another Instance",
        ),
    ] {
        let (mut sim, desired) = world(true, notes);
        let config = &mut sim.guests.get_mut(&vmid(ID)).unwrap().config;
        config.extend(tag.map(|tag| ("tags".to_owned(), tag)));
        let plan = planned(&sim, &desired);
        assert_eq!(plan.chains, vec![], "{notes}");
        let (reason, message) = held(&plan);
        assert_eq!(reason, Reason::Conflict);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn what_lost_its_object_may_be_taken_over_and_its_old_mark_and_tag_go() {
    let (mut sim, mut desired) = world(true, "bitbuilder c1/vanished acme/old\nnotes");
    let tag = mark::tag("c1", "vanished");
    let config = &mut sim.guests.get_mut(&vmid(ID)).unwrap().config;
    config.insert("tags".into(), format!("{tag};prod"));
    for _ in 0..10 {
        let plan = planned(&sim, &desired);
        Sim::record(&mut desired, &plan);
        for op in plan.chains.iter().flat_map(|chain| &chain.ops) {
            assert!(sim.apply(op));
        }
    }
    let config = &sim.guests[&vmid(ID)].config;
    assert_eq!(
        config["description"],
        "bitbuilder c1/guest-5002 acme/web5002\nnotes"
    );
    assert!(!config["tags"].contains(&tag) && config["tags"].contains("prod"));
}

#[test]
fn a_template_is_not_taken_and_one_out_of_sight_is_not_made() {
    let (mut sim, desired) = world(true, "");
    let config = &mut sim.guests.get_mut(&vmid(ID)).unwrap().config;
    config.insert("template".into(), "1".into());
    assert_eq!(held(&planned(&sim, &desired)).0, Reason::Invalid);
    sim.guests.remove(&vmid(ID));
    let plan = planned(&sim, &desired);
    assert_eq!((plan.chains.len(), held(&plan).0), (0, Reason::NotFound));
    // Once it was ours and is gone, it is not made from a template it never came from.
    let mut desired = desired;
    desired.guests[0].settled = Some("before".to_owned());
    let plan = planned(&sim, &desired);
    assert_eq!((plan.chains.len(), held(&plan).0), (0, Reason::Stuck));
    assert!(sim.guests.contains_key(&vmid(TEMPLATE)));
}

#[test]
fn deleting_what_was_only_previewed_touches_nothing() {
    let (sim, mut desired) = world(false, "");
    desired.guests[0].fate = Fate::Destroy;
    let plan = planned(&sim, &desired);
    assert_eq!(plan.chains, vec![]);
    assert_eq!(plan.report.guests["guest-5002"].state, GuestState::Gone);
}

proptest! {
    /// Whatever stands in the notes and tags of a guest: it is written to only where it is
    /// nobody's, and then the mark is all that is written.
    #[test]
    fn nothing_is_written_to_a_guest_of_somebody(
        installation in "c[12]", owner in "(somebody|vanished|guest-5002)", tagged in any::<bool>(),
        marked in any::<bool>(), confirmed in any::<bool>(),
    ) {
        let notes = if marked {
            format!("bitbuilder {installation}/{owner} a/b")
        } else {
            String::new()
        };
        let (mut sim, desired) = world(confirmed, &notes);
        if tagged {
            let tag = mark::tag(&installation, &owner);
            let config = &mut sim.guests.get_mut(&vmid(ID)).unwrap().config;
            config.insert("tags".to_owned(), tag);
        }
        let somebodys = (marked || tagged) && (installation == "c2" || owner == "somebody");
        let ours = marked && installation == "c1" && owner == "guest-5002";
        let plan = planned(&sim, &desired);
        let ops: Vec<&Op> = plan.chains.iter().flat_map(|chain| &chain.ops).collect();
        if somebodys || (!confirmed && !ours) {
            prop_assert_eq!(ops, Vec::<&Op>::new());
        } else if !ours {
            let only_the_mark = matches!(ops.as_slice(), [Op::Configure { set, .. }]
                if set.keys().eq(["description"]));
            prop_assert!(only_the_mark, "{plan}");
        }
    }
}
