//! Turns all the calls that could be made into those to make now, within limits and fair to namespaces.

use std::collections::{BTreeMap, BTreeSet};

use super::Chain;
use crate::proxmox::model::{ClusterSettings, Desired};
use crate::proxmox::observed::{InFlight, Key};

/// How many builds a namespace whose builds are refused may try at once, where others are there.
const TRIES: usize = 1;

/// Chooses chains: the namespace with the least under way comes next, and within it the
/// order of names; one chain for each key. A namespace of `failing` has little under way however
/// often it tries, and each try takes a request and a moment from the others: it gets a few.
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
    let mut tasks = cluster.tasks.saturating_sub(flight.tasks.len());
    let building = flight.tasks.iter().filter(|task| task.builds).count();
    let mut builds = cluster.clones.saturating_sub(building);
    let mut waiting: BTreeMap<String, Vec<Chain>> = BTreeMap::new();
    for chain in candidates {
        waiting
            .entry(chain.owner.namespace.clone())
            .or_default()
            .push(chain);
    }
    for chains in waiting.values_mut() {
        // Taken from the end; what frees something goes before what takes something.
        chains.sort_by_cached_key(|chain| (!frees(chain), chain.owner.clone()));
        chains.reverse();
    }
    let here: BTreeSet<String> = waiting.keys().chain(under_way.keys()).cloned().collect();
    let mut tries: BTreeMap<&str, usize> = failing.iter().map(|n| (*n, TRIES)).collect();
    if here.len() == 1 {
        tries.clear();
    }
    let mut chosen = Vec::new();
    while tasks > 0 {
        let next = waiting
            .iter()
            .filter(|(_, chains)| !chains.is_empty())
            .min_by_key(|(namespace, _)| (under_way.get(*namespace).copied(), *namespace))
            .map(|(namespace, _)| namespace.clone());
        let Some(namespace) = next else { break };
        let Some(chain) = waiting.get_mut(&namespace).and_then(Vec::pop) else {
            break;
        };
        let is_build = chain.ops.iter().any(super::Op::builds);
        let tries = tries.get_mut(namespace.as_str()).filter(|_| is_build);
        let none_left = tries.as_ref().is_some_and(|left| **left == 0);
        if none_left || (is_build && builds == 0) || !busy.insert(chain.key.clone()) {
            continue;
        }
        if let Some(left) = tries {
            *left -= 1;
        }
        tasks -= 1;
        builds -= usize::from(is_build);
        *under_way.entry(namespace).or_default() += 1;
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
