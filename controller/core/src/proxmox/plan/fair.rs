//! Turns all the calls that could be made into those to make now, within limits and fair to namespaces.

use std::collections::{BTreeMap, BTreeSet};

use super::Chain;
use crate::proxmox::model::ClusterSettings;
use crate::proxmox::observed::{InFlight, Key};

/// Chooses chains: the namespace with the least under way comes next, and within it the
/// order of names; one chain for each key.
pub(super) fn choose(
    cluster: &ClusterSettings,
    flight: &InFlight,
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
        if (is_build && builds == 0) || !busy.insert(chain.key.clone()) {
            continue;
        }
        tasks -= 1;
        builds -= usize::from(is_build);
        *under_way.entry(namespace).or_default() += 1;
        chosen.push(chain);
    }
    chosen
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
