//! Turns all the calls that could be made into those to make now, within limits and fair to namespaces.

use std::collections::{BTreeMap, BTreeSet};

use super::Chain;
use crate::proxmox::model::{ClusterSettings, Desired};
use crate::proxmox::observed::{InFlight, Key};

/// How many builds a namespace whose builds are refused may try at once, where others are there.
const TRIES: usize = 1;

/// How many more calls may be begun.
struct Slots {
    /// In all.
    all: usize,
    /// That build a guest.
    builds: usize,
    /// That do not. The two leave each other room: what was built is finished while others are
    /// built, and what is finished holds up no clone.
    others: usize,
}

impl Slots {
    /// `asked` is how many calls wait that build a guest: where there are none, no slot is kept
    /// for them.
    fn of(cluster: &ClusterSettings, flight: &InFlight, asked: usize) -> Self {
        let building = flight.tasks.iter().filter(|task| task.builds).count();
        let running = flight.tasks.len();
        let builds = cluster.clones.min(cluster.tasks.saturating_sub(1).max(1));
        let kept = builds.min(building + asked);
        let others = cluster.tasks.saturating_sub(kept).max(1);
        Self {
            all: cluster.tasks.saturating_sub(running),
            builds: builds.saturating_sub(building),
            others: others.saturating_sub(running - building),
        }
    }

    fn take(&mut self, builds: bool) -> bool {
        let kind = if builds {
            &mut self.builds
        } else {
            &mut self.others
        };
        if self.all == 0 || *kind == 0 {
            return false;
        }
        self.all -= 1;
        *kind -= 1;
        true
    }
}

/// Chooses chains: the namespace with the least under way comes next, of several that which
/// waited longest since its last turn, and within it what frees something, then what is begun,
/// then the order of names; one chain for each key. A namespace of `failing` has little under way
/// however often it tries, and each try takes a request and a moment from the others: it gets a
/// few.
pub(super) fn choose(
    cluster: &ClusterSettings,
    flight: &InFlight,
    failing: &BTreeSet<&str>,
    candidates: Vec<Chain>,
) -> Vec<Chain> {
    let mut under_way: BTreeMap<String, usize> = BTreeMap::new();
    for task in &flight.tasks {
        *under_way.entry(task.namespace.clone()).or_default() += 1;
    }
    let mut busy: BTreeSet<Key> = flight.tasks.iter().map(|task| task.key.clone()).collect();
    let asked = candidates.iter().filter(|chain| builds(chain)).count();
    let mut slots = Slots::of(cluster, flight, asked);
    let mut turns = flight.turns.clone();
    let mut waiting: BTreeMap<String, Vec<Chain>> = BTreeMap::new();
    for chain in candidates {
        waiting
            .entry(chain.owner.namespace.clone())
            .or_default()
            .push(chain);
    }
    for chains in waiting.values_mut() {
        // Taken from the end.
        chains.sort_by_cached_key(|chain| (!frees(chain), builds(chain), chain.owner.clone()));
        chains.reverse();
    }
    let here: BTreeSet<String> = waiting.keys().chain(under_way.keys()).cloned().collect();
    let mut tries: BTreeMap<&str, usize> = failing.iter().map(|n| (*n, TRIES)).collect();
    if here.len() == 1 {
        tries.clear();
    }
    let mut chosen = Vec::new();
    while slots.all > 0 {
        let next = waiting
            .iter()
            .filter(|(_, chains)| !chains.is_empty())
            .min_by_key(|(namespace, _)| {
                let running = under_way.get(*namespace).copied();
                (running, turns.get(*namespace).copied(), *namespace)
            })
            .map(|(namespace, _)| namespace.clone());
        let Some(namespace) = next else { break };
        let Some(chain) = waiting.get_mut(&namespace).and_then(Vec::pop) else {
            break;
        };
        let is_build = builds(&chain);
        let tries = tries.get_mut(namespace.as_str()).filter(|_| is_build);
        let none_left = tries.as_ref().is_some_and(|left| **left == 0);
        if none_left || busy.contains(&chain.key) || !slots.take(is_build) {
            continue;
        }
        if let Some(left) = tries {
            *left -= 1;
        }
        busy.insert(chain.key.clone());
        *under_way.entry(namespace.clone()).or_default() += 1;
        let turn = turns.values().max().map_or(1, |last| last + 1);
        turns.insert(namespace, turn);
        chosen.push(chain);
    }
    chosen
}

/// The namespaces of which something was refused lately, and nothing is under way or was just
/// made.
pub(super) fn failing<'a>(desired: &'a Desired, flight: &'a InFlight) -> BTreeSet<&'a str> {
    let mut failing = BTreeSet::new();
    let mut well: BTreeSet<&str> = flight.tasks.iter().map(|t| t.namespace.as_str()).collect();
    for guest in &desired.guests {
        let rest = flight.resting.get(&guest.uid);
        if rest.is_some_and(|rest| rest.reason.is_some()) {
            failing.insert(guest.namespace.as_str());
        }
        if flight.fresh.contains(&guest.vmid) {
            well.insert(&guest.namespace);
        }
    }
    failing.retain(|namespace| !well.contains(namespace));
    failing
}

fn builds(chain: &Chain) -> bool {
    chain.ops.iter().any(super::Op::builds)
}

fn frees(chain: &Chain) -> bool {
    use super::Op;
    chain.ops.iter().all(|op| {
        matches!(
            op,
            Op::Shutdown(_)
                | Op::Destroy(_)
                | Op::Park { .. }
                | Op::Drop { .. }
                | Op::DeleteImage { .. }
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sim::{cluster, vmid};
    use super::super::{Guest, Op, Owner};
    use super::*;
    use crate::proxmox::model::Kind;
    use crate::proxmox::observed::Running;

    /// A call of a namespace that builds a guest, or one that does not.
    fn call(namespace: usize, nth: u32, builds: bool) -> Chain {
        let vmid = vmid(1000 + 1000 * u32::try_from(namespace).unwrap() + nth);
        let node = "pve1".to_owned();
        let guest = Guest {
            kind: Kind::Container,
            node,
            vmid,
        };
        let op = if builds {
            let parameters = BTreeMap::new();
            Op::Build { guest, parameters }
        } else {
            Op::Start(guest)
        };
        Chain {
            owner: Owner {
                namespace: format!("tenant-{namespace:02}"),
                name: format!("web-{nth}"),
                kind: "Instance",
                uid: vmid.to_string(),
            },
            key: Key::Guest(vmid),
            ops: vec![op],
            makes: None,
        }
    }

    fn running(chain: &Chain) -> Running {
        Running {
            owner: chain.owner.uid.clone(),
            namespace: chain.owner.namespace.clone(),
            key: chain.key.clone(),
            builds: builds(chain),
            what: "runs".to_owned(),
        }
    }

    /// What was begun in each round, by namespaces that never run out of calls. A task lasts as
    /// many rounds as `lasts` says for its place in the order of beginnings.
    fn rounds(
        settings: &ClusterSettings,
        namespaces: usize,
        lasts: &[usize],
        builds: bool,
    ) -> Vec<(Vec<String>, Vec<String>)> {
        let mut flight = InFlight::default();
        let mut ends: Vec<usize> = Vec::new();
        let (mut begun, mut turn, mut rounds) = (0, 0, Vec::new());
        for round in 0..60 {
            let mut left = ends.iter().map(|end| *end > round);
            flight.tasks.retain(|_| left.next().unwrap());
            ends.retain(|end| *end > round);
            let before = flight.tasks.iter().map(|t| t.namespace.clone()).collect();
            let calls = (0..namespaces).flat_map(|of| {
                (0..4).map(move |nth| call(of, 10 * u32::try_from(round).unwrap() + nth, builds))
            });
            let chosen = choose(settings, &flight, &BTreeSet::new(), calls.collect());
            for chain in &chosen {
                turn += 1;
                flight.turns.insert(chain.owner.namespace.clone(), turn);
                flight.tasks.push(running(chain));
                ends.push(round + lasts[begun % lasts.len()]);
                begun += 1;
            }
            let names = chosen.iter().map(|c| c.owner.namespace.clone());
            rounds.push((before, names.collect()));
        }
        rounds
    }

    proptest! {
        #[test]
        fn who_waits_with_nothing_under_way_is_passed_over_once_by_each_other(
            namespaces in 1usize..12,
            clones in 1usize..6,
            tasks in 1usize..12,
            lasts in proptest::collection::vec(1usize..6, 1..20),
            builds in any::<bool>(),
        ) {
            let settings = ClusterSettings { clones, tasks, ..cluster() };
            let rounds = rounds(&settings, namespaces, &lasts, builds);
            for of in 0..namespaces {
                let waiting = format!("tenant-{of:02}");
                let mut passed: BTreeMap<&String, usize> = BTreeMap::new();
                for (before, chosen) in &rounds {
                    let first = chosen.iter().position(|name| *name == waiting);
                    if before.contains(&waiting) {
                        passed.clear();
                    } else {
                        for other in &chosen[..first.unwrap_or(chosen.len())] {
                            *passed.entry(other).or_default() += 1;
                            prop_assert!(passed[other] <= 1, "{other} before {waiting}: {rounds:?}");
                        }
                    }
                    if first.is_some() {
                        passed.clear();
                    }
                }
                let served = rounds.iter().any(|(_, chosen)| chosen.contains(&waiting));
                prop_assert!(served, "{waiting} never had a turn: {rounds:?}");
            }
        }

        #[test]
        fn builds_and_what_finishes_them_leave_each_other_room(
            clones in 1usize..12,
            tasks in 1usize..24,
            building in 0usize..12,
            others in 0usize..24,
        ) {
            let settings = ClusterSettings { clones, tasks, ..cluster() };
            let most = clones.min(tasks.saturating_sub(1).max(1));
            let building = building.min(most);
            let others = others.min((tasks - most).max(1)).min(tasks - building);
            let under_way = (0..building).map(|nth| call(0, u32::try_from(nth).unwrap(), true));
            let under_way = under_way
                .chain((0..others).map(|nth| call(1, u32::try_from(nth).unwrap(), false)));
            let flight = InFlight {
                tasks: under_way.map(|chain| running(&chain)).collect(),
                ..InFlight::default()
            };
            let wanted = (100..130).flat_map(|nth| [call(2, nth, true), call(3, nth, false)]);
            let chosen = choose(&settings, &flight, &BTreeSet::new(), wanted.collect());
            let new = chosen.iter().filter(|chain| builds(chain)).count();
            prop_assert!(building + new <= clones);
            prop_assert!(building + others + chosen.len() <= tasks);
            // Whatever the others do, all slots of builds are theirs, and the other way round.
            if tasks > 1 {
                prop_assert_eq!(building + new, most);
                prop_assert_eq!(building + others + chosen.len(), tasks);
            }
        }
    }
}
