//! The laws of lists, by property: against a router that refuses some objects and says little.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::blame::{Complaint, blame};
use super::super::lines::words;
use super::super::plan::{Claim, Root, apply, mark, plan};
use super::super::refusals::Pauses;
use super::*;

const PAUSES: Pauses = Pauses {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(60),
};

fn claim(owner: &str, tenant: usize, root: &str, below: &[String]) -> Claim {
    let mut lines = Lines::default();
    let mut line = words(root);
    line.extend(["description".to_owned(), mark("inst", owner, owner)]);
    lines.insert(line);
    for text in below {
        lines.insert(words(&format!("{root} {text}")));
    }
    Claim {
        owner: owner.to_owned(),
        label: owner.to_owned(),
        tenant: format!("t{tenant}"),
        want: Want::Present {
            roots: vec![Root(words(root))],
            lines,
        },
        observe: false,
    }
}

fn tenant(t: usize) -> Claim {
    let root = format!("vrf name bb{}", 1000 + t);
    claim(&format!("t{t}"), t, &root, &[format!("table {}", 1000 + t)])
}

fn network(n: usize, t: usize) -> Claim {
    let root = format!("interfaces bridge br{}", 20_000 + n);
    let below = [
        format!("vrf bb{}", 1000 + t),
        format!("address 10.0.{n}.1/24"),
    ];
    claim(&format!("n{n:03}"), t, &root, &below)
}

fn fabric(tenants: usize, networks: usize) -> Desired {
    let networks = (0..networks).map(|n| network(n, n % tenants));
    Desired {
        installation: "inst".to_owned(),
        claims: (0..tenants).map(tenant).chain(networks).collect(),
        ..Desired::default()
    }
}

/// A router that takes nothing of a list in which one of these is.
struct Picky {
    running: Lines,
    refuses: BTreeSet<String>,
    lists: usize,
}

impl Picky {
    fn take(&mut self, list: &[Command]) -> bool {
        self.lists += 1;
        if list.iter().any(|c| self.refuses.contains(&c.owner)) {
            return false;
        }
        self.running = apply(&self.running, list);
        true
    }

    /// Sends lists until none is due.
    fn settle(&mut self, desired: &Desired, refusals: &mut Refusals, bound: Bound, now: Duration) {
        for _ in 0..1000 {
            let planned = plan(desired, &self.running);
            refusals.note(desired, &planned, &self.running);
            let pace = Pace::default();
            let Some(list) = next(desired, &planned, &self.running, refusals, bound, pace, now)
            else {
                return;
            };
            if !self.take(&list.commands) {
                let complaint = Complaint::Command(None, "Invalid value".to_owned());
                let blame = blame(&list.commands, &complaint);
                refusals.left(&list.commands);
                refusals.refused(desired, list.purpose, &blame, now, &PAUSES, 0.0);
            }
        }
        panic!("a thousand lists were not enough");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whoever_is_refused_is_found_and_all_others_are_in(
        bad in prop::collection::btree_set(0usize..60, 0..5),
        seconds in prop_oneof![Just(240.0), Just(8.0)],
    ) {
        let desired = fabric(4, 60);
        let refuses: BTreeSet<String> = bad.iter().map(|n| format!("n{n:03}")).collect();
        let mut router = Picky { running: Lines::default(), refuses: refuses.clone(), lists: 0 };
        let mut refusals = Refusals::default();
        let bound = Bound { seconds, ..Bound::default() };
        router.settle(&desired, &mut refusals, bound, Duration::ZERO);
        let open: BTreeSet<String> = plan(&desired, &router.running)
            .commands.into_iter().map(|c| c.owner).collect();
        prop_assert_eq!(&open, &refuses);
        prop_assert!(refuses.iter().all(|owner| refusals.is_aside(owner)));
        // Six halvings of 64, the list that failed, and the one with the others.
        if seconds > 100.0 {
            prop_assert!(router.lists <= 1 + 8 * bad.len(), "{} lists", router.lists);
        }
        // Each retry is one list, and who is taken by then is in.
        router.refuses.clear();
        router.lists = 0;
        router.settle(&desired, &mut refusals, bound, Duration::from_secs(10));
        prop_assert!(router.lists <= bad.len());
        prop_assert_eq!(plan(&desired, &router.running).commands, vec![]);
    }
}

#[test]
fn tenants_take_turns_in_lists_that_are_cut() {
    let mut desired = fabric(2, 0);
    desired.claims.extend((0..100).map(|n| network(n, 0)));
    desired.claims.push(network(100, 1));
    let planned = plan(&desired, &Lines::default());
    let bound = Bound {
        seconds: 20.0,
        ..Bound::default()
    };
    let mut refusals = Refusals::default();
    let list = next(
        &desired,
        &planned,
        &Lines::default(),
        &mut refusals,
        bound,
        Pace::default(),
        Duration::ZERO,
    )
    .unwrap();
    assert!(list.more && list.seconds <= 20.0, "{}", list.seconds);
    let owners: BTreeSet<&str> = list.commands.iter().map(|c| c.owner.as_str()).collect();
    assert!(owners.contains("t0") && owners.contains("t1") && owners.contains("n100"));
    assert!(owners.len() < 40, "{}", owners.len());
}

#[test]
fn a_list_fits_a_request() {
    let desired = fabric(1, 50);
    let planned = plan(&desired, &Lines::default());
    let bound = Bound {
        seconds: f64::MAX,
        bytes: 2000,
    };
    let mut refusals = Refusals::default();
    let running = Lines::default();
    let pace = Pace::default();
    let list = next(
        &desired,
        &planned,
        &running,
        &mut refusals,
        bound,
        pace,
        Duration::ZERO,
    );
    let list = list.unwrap();
    assert!(list.more);
    assert!(list.commands.iter().map(encoded).sum::<usize>() <= 2000);
}
