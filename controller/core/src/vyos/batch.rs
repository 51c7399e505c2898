//! Turns a plan into the next list for the router: everything that is due, cut where the commit
//! would take too long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cost::{Load, Pace, Price};
use super::lines::{Lines, Path};
use super::plan::{
    Command, Desired, Plan, Verb, Want, left_over, without_early_vrfs, without_empty_dhcp,
};
use super::refusals::{Purpose, Refusals};
use crate::world::Uid;

/// How much one list may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// What its commit may be expected to take, in seconds.
    pub seconds: f64,
    /// Its size in a request's body.
    pub bytes: usize,
}

impl Default for Bound {
    /// Four minutes: nginx gives up after ten, and the model may be off by a third on a router
    /// that is half as fast.
    fn default() -> Self {
        Self {
            seconds: 240.0,
            bytes: usize::MAX,
        }
    }
}

/// What is sent next.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// The commands, deletes first.
    pub commands: Vec<Command>,
    /// Why these.
    pub purpose: Purpose,
    /// What their commit is expected to take, in seconds of the model.
    pub seconds: f64,
    /// Whether more is due after it.
    pub more: bool,
}

/// The objects of a plan that have commands, in the order in which they are sent: those that
/// make a VRF, then all others, tenant by tenant in turn, then those whose VRF goes.
struct Order<'a> {
    owners: Vec<&'a Uid>,
    commands: BTreeMap<&'a Uid, Vec<&'a Command>>,
}

impl<'a> Order<'a> {
    fn of(desired: &'a Desired, plan: &'a Plan) -> Self {
        let mut commands: BTreeMap<&Uid, Vec<&Command>> = BTreeMap::new();
        for command in &plan.commands {
            commands.entry(&command.owner).or_default().push(command);
        }
        let tenants: BTreeMap<&Uid, &str> = desired
            .claims
            .iter()
            .map(|c| (&c.owner, c.tenant.as_str()))
            .collect();
        let mut turns: BTreeMap<(u8, &str), usize> = BTreeMap::new();
        let mut ranked: Vec<(u8, usize, &Uid)> = Vec::new();
        for (owner, mine) in &commands {
            let rank = if mine.iter().any(|c| makes_vrf(c).is_some()) {
                0
            } else if mine.iter().any(|c| ends_vrf(c)) {
                2
            } else {
                1
            };
            let tenant = tenants.get(owner).copied().unwrap_or_default();
            let turn = turns.entry((rank, tenant)).or_default();
            ranked.push((rank, *turn, owner));
            *turn += 1;
        }
        ranked.sort();
        Self {
            owners: ranked.into_iter().map(|(_, _, owner)| owner).collect(),
            commands,
        }
    }
}

fn makes_vrf(command: &Command) -> Option<&String> {
    match command.path.as_slice() {
        [a, b, vrf, ..] if command.verb == Verb::Set && a == "vrf" && b == "name" => Some(vrf),
        _ => None,
    }
}

fn ends_vrf(command: &Command) -> bool {
    command.verb == Verb::Delete && command.path.len() == 3 && command.path[0] == "vrf"
}

/// The VRF that a command puts something in.
fn needs_vrf(command: &Command) -> Option<&String> {
    match command.path.as_slice() {
        [a, .., leaf, vrf] if command.verb == Verb::Set && a == "interfaces" && leaf == "vrf" => {
            Some(vrf)
        }
        _ => None,
    }
}

/// Takes out what the router would refuse for what else is in the list or is not: objects whose
/// VRF is neither there nor made by this list, deletes of VRFs that are still in use, and the
/// last DHCP network without its server.
fn prepared(list: Vec<Command>, running: &Lines) -> Vec<Command> {
    let made: BTreeSet<&String> = list.iter().filter_map(makes_vrf).collect();
    let missing = |vrf: &&String| !made.contains(vrf) && !has_vrf(running, vrf);
    let early: BTreeSet<Uid> = list
        .iter()
        .filter(|c| needs_vrf(c).as_ref().is_some_and(missing))
        .map(|c| c.owner.clone())
        .collect();
    let list = list
        .into_iter()
        .filter(|c| !early.contains(&c.owner))
        .collect();
    let (list, _) = without_early_vrfs(list, running);
    without_empty_dhcp(running, list)
}

fn has_vrf(running: &Lines, vrf: &str) -> bool {
    let root: Path = ["vrf", "name", vrf].map(str::to_owned).to_vec();
    !left_over(&root, running)
}

/// The objects that wait for a VRF whose own object was refused, each with the VRF.
#[must_use]
pub fn waiting_for_vrf(
    plan: &Plan,
    running: &Lines,
    refusals: &Refusals,
) -> BTreeMap<Uid, (String, Uid)> {
    let refused: BTreeMap<&String, &Uid> = plan
        .commands
        .iter()
        .filter(|c| refusals.is_aside(&c.owner))
        .filter_map(|c| Some((makes_vrf(c)?, &c.owner)))
        .collect();
    let waits = plan.commands.iter().filter_map(|c| {
        let vrf = needs_vrf(c).filter(|vrf| !has_vrf(running, vrf))?;
        let owner = refused.get(vrf).filter(|owner| **owner != &c.owner)?;
        Some((c.owner.clone(), (vrf.clone(), (*owner).clone())))
    });
    waits.collect()
}

/// The next list for a router that runs `running`, if anything is due at `now`.
///
/// A group in which somebody is refused is searched first, so that it is over soon and the rest
/// goes in one list; then goes everything that is due and never was refused; what was refused
/// comes last, in a list of its own that costs one commit.
pub fn next(
    desired: &Desired,
    plan: &Plan,
    running: &Lines,
    refusals: &mut Refusals,
    bound: Bound,
    pace: Pace,
    now: Duration,
) -> Option<List> {
    let order = Order::of(desired, plan);
    let load = Load::of(running);
    let lost = our_vrfs(desired, refusals);
    let alone = |owners: &BTreeSet<&Uid>| -> Vec<Command> {
        let mine = plan.commands.iter().filter(|c| owners.contains(&c.owner));
        prepared(mine.cloned().collect(), running)
    };
    let of = |owners: &BTreeSet<&Uid>| -> Vec<Command> {
        let list = alone(owners);
        let mut whole = remains(&list, &lost, running);
        if list.is_empty() {
            whole.clear();
        }
        whole.extend(list);
        whole
    };
    let list = |commands: Vec<Command>, purpose, more| {
        let seconds = super::cost::seconds(load, &commands);
        (!commands.is_empty()).then_some(List {
            commands,
            purpose,
            seconds,
            more,
        })
    };
    while let Some(group) = refusals.group() {
        let members = order.owners.iter().filter(|o| group.contains(**o));
        let members: Vec<&Uid> = members.copied().collect();
        let half = members.iter().take(members.len().div_ceil(2)).copied();
        let half = cut(half, &order, load, bound, pace);
        let found = list(of(&half), Purpose::Search, true);
        if found.is_some() {
            return found;
        }
        refusals.release();
    }
    let clean = order.owners.iter().filter(|o| !refusals.is_aside(o));
    let clean: BTreeSet<&Uid> = clean.copied().collect();
    // What has to wait for something else must not take up room.
    let ready: BTreeSet<Uid> = alone(&clean).into_iter().map(|c| c.owner).collect();
    let ready: Vec<&Uid> = order
        .owners
        .iter()
        .filter(|o| ready.contains(**o))
        .copied()
        .collect();
    let part = cut(ready.iter().copied(), &order, load, bound, pace);
    let more = part.len() < ready.len();
    if let Some(found) = list(of(&part), Purpose::Work, more) {
        return Some(found);
    }
    let due = refusals.due(now);
    let due = order.owners.iter().filter(|o| due.contains(**o));
    let part = cut(due.copied(), &order, load, bound, pace);
    list(of(&part), Purpose::Retry, false).or_else(|| {
        let rest = remains(&[], &lost, running);
        list(rest, Purpose::Work, false)
    })
}

/// The VRFs that objects ask for, and those that a refused list asked for.
fn our_vrfs(desired: &Desired, refusals: &Refusals) -> BTreeMap<Path, Uid> {
    let mut ours = refusals.vrfs().clone();
    for claim in &desired.claims {
        if let Want::Present { roots, .. } = &claim.want {
            let vrfs = roots.iter().filter(|r| r.0[0] == "vrf");
            ours.extend(vrfs.map(|r| (r.0.clone(), claim.owner.clone())));
        }
    }
    ours
}

/// Deletes of what refused VRFs left behind and this list does not make whole. VyOS judges all
/// VRFs at once and takes none while one has no table; and a BGP instance without its VRF would
/// go on advertising, and stay when its object goes.
fn remains(list: &[Command], ours: &BTreeMap<Path, Uid>, running: &Lines) -> Vec<Command> {
    let made: BTreeSet<&String> = list.iter().filter_map(makes_vrf).collect();
    // An empty `protocols` harms nobody.
    let speaks = |root: &Path| running.below(root).any(|line| line.len() > root.len() + 1);
    ours.iter()
        .filter(|(root, _)| root.last().is_some_and(|vrf| !made.contains(vrf)))
        .filter(|(root, _)| speaks(root) && left_over(root, running))
        .map(|(root, owner)| Command {
            owner: owner.clone(),
            verb: Verb::Delete,
            path: root.clone(),
        })
        .collect()
}

/// As many of the objects, from the first, as fit in a list; one in any case.
fn cut<'a>(
    owners: impl Iterator<Item = &'a Uid>,
    order: &Order<'a>,
    load: Load,
    bound: Bound,
    pace: Pace,
) -> BTreeSet<&'a Uid> {
    let mut part = BTreeSet::new();
    let mut price = Price::on(load);
    let mut bytes = 0;
    for owner in owners {
        for command in &order.commands[owner] {
            price.add(command);
            bytes += encoded(command);
        }
        let fits = pace.seconds(price.seconds()) <= bound.seconds && bytes <= bound.bytes;
        if !fits && !part.is_empty() {
            break;
        }
        part.insert(owner);
    }
    part
}

/// The bytes of a command in a form, no less than it has: `{"op":"delete","path":["..",".."]},`
/// with everything but letters and digits as three characters.
fn encoded(command: &Command) -> usize {
    let word = |word: &String| {
        let plain = |b: &u8| b.is_ascii_alphanumeric();
        let bytes: usize = word.bytes().map(|b| if plain(&b) { 1 } else { 6 }).sum();
        bytes + 9
    };
    64 + command.path.iter().map(word).sum::<usize>()
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
