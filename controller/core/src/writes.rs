//! Turns the changes of a pass into the order they are written in: cursors first, tenants in turn.
//!
//! Only one order is a must: a cursor is written before any number that it covers, and where it
//! could not be written neither is the number. Everything else is a question of whose turn it
//! is. Tenants come one after the other, one change each, whatever their number of objects;
//! within a tenant what others wait for goes before what only tells.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bb_crds::{Condition, ConditionType};
use serde_json::Value;

use crate::resolve::Id;
use crate::status::{Change, FinalizerOp, Known};
use crate::world::World;

/// A change, and what must have been written before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// What is to be written.
    pub change: Change,
    /// Those whose change of the same pass must have been taken by the API before.
    pub after: BTreeSet<Id>,
    /// It was given an identity in this pass, and is to be written before the next, which would
    /// give it another one. Anything else may be left off: the next pass knows better.
    pub must: bool,
}

/// All that a pass has to write. The steps are carried out one after the other; what is in one
/// step may be written side by side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Writes {
    /// Regions and Providers: few, and what they have is asked for by all.
    pub fabric: Vec<Due>,
    /// Networks whose address cursor moves.
    pub cursors: Vec<Due>,
    /// The rest, tenants in turn: a tenant whose objects are given hundreds of identities keeps
    /// no other's from being written.
    pub rest: Vec<Due>,
    /// How many are held back until the caches know their tenant's namespace.
    pub held: usize,
}

/// What a change is for. What comes first is written first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// A finalizer: the object is new and waits to be begun, or frees what waits for it.
    Begins,
    /// Readiness changes, or speaks of another spec.
    Turns,
    /// Anything else.
    Tells,
}

/// Once in so many passes something else than the weightiest goes first, so that nothing waits
/// for ever.
const OTHERS_FIRST: u64 = 4;

/// Puts changes in order. `unsettled` are tenants whose namespace the caches do not know yet;
/// `turn` is the number of the pass: who goes first is another one in each.
#[must_use]
pub fn order(
    known: &Known<'_>,
    changes: Vec<Change>,
    unsettled: &BTreeSet<String>,
    turn: u64,
) -> Writes {
    let beginning = changes
        .iter()
        .filter(|c| c.finalizer == Some(FinalizerOp::Add))
        .filter_map(|c| match &c.id {
            Id::Tenant(name) => Some(name.clone()),
            _ => None,
        });
    let unsettled: BTreeSet<String> = beginning.chain(unsettled.iter().cloned()).collect();
    let there: BTreeSet<Id> = changes.iter().map(|c| c.id.clone()).collect();
    let mut writes = Writes::default();
    let mut rest = Vec::new();
    for change in changes {
        // A tenant's namespace is on its way: what is in it would be refused for a moment, and
        // each refusal written to each object.
        if namespace(&change.id).is_some_and(|namespace| unsettled.contains(namespace)) {
            writes.held += 1;
            continue;
        }
        let after = after(known, &change.id);
        let due = Due {
            after: after.intersection(&there).cloned().collect(),
            must: granted(known, &change.id),
            change,
        };
        match &due.change.id {
            Id::Region(_) | Id::Provider(_) => writes.fabric.push(due),
            Id::Network(key) if known.grants.addresses.contains_key(key) => {
                writes.cursors.push(due);
            }
            _ if due.must => rest.push((Weight::Begins, due)),
            _ => rest.push((weigh(known.world, &due.change), due)),
        }
    }
    writes.rest = in_turn(rest, turn);
    writes
}

fn namespace(id: &Id) -> Option<&str> {
    match id {
        Id::Region(_) | Id::Provider(_) | Id::Tenant(_) => None,
        Id::Network(key) | Id::Volume(key) | Id::Instance(key) => Some(&key.namespace),
    }
}

/// The cursors that move for what an object is given in this pass.
fn after(known: &Known<'_>, id: &Id) -> BTreeSet<Id> {
    let grants = known.grants;
    let region = |name: &String| {
        let moves = grants.regions.contains_key(name);
        moves.then(|| Id::Region(name.clone()))
    };
    match id {
        Id::Tenant(name) => {
            let routing = grants.tenants.get(name).into_iter().flatten();
            routing.filter_map(|r| region(&r.region)).collect()
        }
        Id::Network(key) if grants.networks.contains_key(key) => {
            let network = known.resolved.networks.get(key);
            network
                .and_then(|n| region(&n.region))
                .into_iter()
                .collect()
        }
        Id::Instance(key) => {
            let Some(grant) = grants.instances.get(key) else {
                return BTreeSet::new();
            };
            let cluster = Some(&grant.cluster).filter(|name| grants.clusters.contains_key(*name));
            let cluster = cluster.map(|name| Id::Provider(name.clone()));
            let networks = grant.addresses.iter().map(|nic| {
                let namespace = &key.namespace;
                crate::world::Key::new(namespace, &nic.network)
            });
            let networks = networks.filter(|network| grants.addresses.contains_key(network));
            networks.map(Id::Network).chain(cluster).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Whether an object is given numbers in this pass that a cursor has moved for.
fn granted(known: &Known<'_>, id: &Id) -> bool {
    match id {
        Id::Tenant(name) => known.grants.tenants.contains_key(name),
        Id::Network(key) => known.grants.networks.contains_key(key),
        Id::Instance(key) => known.grants.instances.contains_key(key),
        Id::Region(_) | Id::Provider(_) | Id::Volume(_) => false,
    }
}

fn weigh(world: &World, change: &Change) -> Weight {
    if change.finalizer.is_some() {
        return Weight::Begins;
    }
    let old = conditions(world, &change.id)
        .iter()
        .find(|c| c.is(ConditionType::Ready));
    let new = change.status.as_ref().and_then(ready);
    let old = old.map(|c| (&*c.status, &*c.reason, c.observed_generation));
    if old == new {
        Weight::Tells
    } else {
        Weight::Turns
    }
}

fn ready(status: &Value) -> Option<(&str, &str, Option<i64>)> {
    let list = status["conditions"].as_array()?;
    let found = list.iter().find(|c| c["type"] == "Ready")?;
    let text = |field: &str| found[field].as_str();
    Some((
        text("status")?,
        text("reason")?,
        found["observedGeneration"].as_i64(),
    ))
}

fn conditions<'a>(world: &'a World, id: &Id) -> &'a [Condition] {
    let found = match id {
        Id::Region(n) => world
            .regions
            .get(n)
            .and_then(|o| Some(&o.status.as_ref()?.conditions)),
        Id::Provider(n) => world
            .providers
            .get(n)
            .and_then(|o| Some(&o.status.as_ref()?.conditions)),
        Id::Tenant(n) => world
            .tenants
            .get(n)
            .and_then(|o| Some(&o.status.as_ref()?.conditions)),
        Id::Network(k) => world
            .networks
            .get(k)
            .and_then(|o| Some(&o.status.as_ref()?.conditions)),
        Id::Volume(k) => world
            .volumes
            .get(k)
            .and_then(|o| Some(&o.status.as_ref()?.conditions)),
        Id::Instance(k) => world
            .instances
            .get(k)
            .and_then(|o| Some(&o.status.as_ref()?.conditions)),
    };
    found.map(Vec::as_slice).unwrap_or_default()
}

/// Who takes turns: a tenant, whatever is of it.
fn tenant(id: &Id) -> &str {
    match id {
        Id::Tenant(name) => name,
        _ => namespace(id).unwrap_or_default(),
    }
}

/// What others hang on goes first.
const fn rank(id: &Id) -> u8 {
    match id {
        Id::Region(_) | Id::Provider(_) | Id::Tenant(_) => 0,
        Id::Network(_) => 1,
        Id::Volume(_) => 2,
        Id::Instance(_) => 3,
    }
}

/// One change of each tenant after the other, until none is left.
fn in_turn(changes: Vec<(Weight, Due)>, turn: u64) -> Vec<Due> {
    let mut groups: BTreeMap<String, BTreeMap<(Weight, u8), VecDeque<Due>>> = BTreeMap::new();
    for (weight, due) in changes {
        let id = &due.change.id;
        let group = groups.entry(tenant(id).to_owned()).or_default();
        group.entry((weight, rank(id))).or_default().push_back(due);
    }
    // The turns of tenants, of what is due for one, and of objects go round one in the other:
    // side by side some would never meet.
    let rounds = turn / u64::try_from(groups.len()).unwrap_or(1).max(1);
    let mut queues: VecDeque<VecDeque<Due>> = groups
        .into_values()
        .map(|groups| one_queue(groups.into_values().collect(), rounds))
        .collect();
    rotate(&mut queues, turn);
    let mut all = Vec::new();
    while let Some(mut queue) = queues.pop_front() {
        all.extend(queue.pop_front());
        if !queue.is_empty() {
            queues.push_back(queue);
        }
    }
    all
}

/// What is due for one tenant. By weight; but now and then another group comes first, and
/// within each group every time another object.
fn one_queue(mut groups: VecDeque<VecDeque<Due>>, turn: u64) -> VecDeque<Due> {
    let rounds = turn / OTHERS_FIRST;
    let within = rounds / u64::try_from(groups.len()).unwrap_or(1).max(1);
    if turn % OTHERS_FIRST == OTHERS_FIRST - 1 {
        rotate(&mut groups, rounds);
    }
    for group in &mut groups {
        rotate(group, within);
    }
    groups.into_iter().flatten().collect()
}

fn rotate<T>(list: &mut VecDeque<T>, turn: u64) {
    if let Ok(length) = u64::try_from(list.len())
        && length > 0
    {
        list.rotate_left(usize::try_from(turn % length).unwrap_or_default());
    }
}

#[cfg(test)]
#[path = "writes_tests.rs"]
mod tests;
