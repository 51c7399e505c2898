//! Turns what would be sent into who would notice, and into one line.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::plan::{PlanStatus, PlanTarget, Reach, TargetType};

use super::answer::{Told, number};
use super::proposal::label;
use crate::proxmox::plan::Op;
use crate::resolve::Id;
use crate::vyos::{Command, Lines, Verb};
use crate::world::Uid;

/// Parts of an interface that guests behind it depend on.
const CARRIES: [&str; 5] = ["address", "vrf", "member", "mtu", "mac"];

/// Who would notice.
pub(super) fn reach(told: &Told<'_, '_>, names: &BTreeMap<Uid, Id>) -> Reach {
    let mut reach = Reach::default();
    let mut tenants: BTreeSet<String> = BTreeSet::new();
    let stage = &told.rest.stage;
    for (name, router) in &stage.routers {
        let Some(running) = told.running.get(name) else {
            continue;
        };
        let claims = told.rest.pass.routers.get(name);
        let claims = claims.into_iter().flat_map(|desired| &desired.claims);
        let tenant_of: BTreeMap<&Uid, &String> = claims.map(|c| (&c.owner, &c.tenant)).collect();
        for command in &router.sent {
            let own = || told.question.namespace.to_owned();
            let tenant = tenant_of.get(&command.owner).map(|t| (*t).clone());
            tenants.insert(tenant.unwrap_or_else(own));
        }
        interrupts(name, &router.sent, running, names, &mut reach.interrupts);
    }
    for cluster in stage.clusters.values() {
        let mut by_owner: BTreeMap<&Uid, Vec<&Op>> = BTreeMap::new();
        for (owner, op) in &cluster.sent {
            tenants.insert(owner.namespace.clone());
            by_owner.entry(&owner.uid).or_default().push(op);
        }
        for (owner, ops) in by_owner {
            if let Some(id) = names.get(owner) {
                guest(&label(id), &ops, &mut reach);
            }
        }
    }
    for list in [
        &mut reach.restarts,
        &mut reach.stops,
        &mut reach.destroys,
        &mut reach.interrupts,
    ] {
        list.sort();
        list.dedup();
    }
    reach.tenants = number(tenants.len());
    reach
}

fn guest(object: &str, ops: &[&Op], reach: &mut Reach) {
    let down = ops.iter().position(|op| matches!(op, Op::Shutdown(_)));
    let up = ops.iter().rposition(|op| matches!(op, Op::Start(_)));
    let destroyed = ops.iter().any(|op| {
        matches!(
            op,
            Op::Destroy(_) | Op::Drop { .. } | Op::DeleteImage { .. }
        )
    });
    let list = match (down, up) {
        _ if destroyed => &mut reach.destroys,
        (Some(down), Some(up)) if up > down => &mut reach.restarts,
        (Some(_), _) => &mut reach.stops,
        (None, _) => return,
    };
    list.push(object.to_owned());
}

/// What stops for a moment or for good on a router that ran `running`.
fn interrupts(
    router: &str,
    commands: &[Command],
    running: &Lines,
    names: &BTreeMap<Uid, Id>,
    found: &mut Vec<String>,
) {
    for command in commands {
        let words: Vec<&str> = command.path.iter().map(String::as_str).collect();
        let object = names.get(&command.owner).map(label);
        let deletes = command.verb == Verb::Delete;
        match words.as_slice() {
            // Where none runs, none restarts.
            ["service", "dhcp-server", ..] if running.any_below(&command.path[..2]) => {
                found.push(format!(
                    "the DHCP server of {router} restarts (leases stay)"
                ));
            }
            ["vrf", "name", vrf] if deletes => {
                found.push(format!("the VRF {vrf} goes from {router}"));
            }
            ["vrf", "name", vrf, "protocols", "bgp", rest @ ..]
                if running.any_below(&command.path[..5])
                    && (rest.is_empty() || ["system-as", "parameters"].contains(&rest[0])) =>
            {
                found.push(format!("BGP in VRF {vrf} of {router} starts anew"));
            }
            ["interfaces", rest @ ..] => {
                let Some(object) = object else { continue };
                let (root, below) = interface(rest);
                let root = &command.path[..=root];
                let there = running.any_below(root);
                let carries = below.first().is_some_and(|leaf| CARRIES.contains(leaf));
                if there && deletes && below.is_empty() {
                    found.push(format!(
                        "{object} goes from {router} {}",
                        root[1..].join(" ")
                    ));
                } else if there && carries {
                    let what = root[1..].join(" ");
                    found.push(format!("{object} is interrupted on {router} {what}"));
                }
            }
            _ => {}
        }
    }
}

/// Where in a path after `interfaces` the node of an interface or vif ends, and what is below it.
fn interface<'a, 'p>(rest: &'a [&'p str]) -> (usize, &'a [&'p str]) {
    let depth = match rest {
        [_, _, "vif", _, ..] => 4,
        _ => 2.min(rest.len()),
    };
    (depth, &rest[depth..])
}

/// One line of what an answer says.
pub(super) fn summary(status: &PlanStatus) -> String {
    let mut parts: Vec<String> = status.targets.iter().map(on_target).collect();
    if parts.is_empty() {
        parts.push("nothing to send".to_owned());
    }
    let held = status.held.len();
    if held > 0 {
        parts.push(format!("{held} held back"));
    }
    if let Some(reach) = &status.reach {
        let counted = [
            (reach.restarts.len(), "restarted"),
            (reach.stops.len(), "stopped"),
            (reach.destroys.len(), "destroyed"),
            (reach.interrupts.len(), "interrupted"),
        ];
        let some = counted.iter().filter(|(count, _)| *count > 0);
        parts.extend(some.map(|(count, word)| format!("{count} {word}")));
    }
    parts.join("; ")
}

fn on_target(target: &PlanTarget) -> String {
    let count: usize = target.steps.iter().map(|step| step.sends.len()).sum();
    let what = match target.type_ {
        TargetType::Router => "command",
        TargetType::Cluster => "call",
    };
    let plural = if count == 1 { "" } else { "s" };
    match &target.unknown {
        Some(_) => format!("{}: unknown", target.name),
        None => format!("{}: {count} {what}{plural}", target.name),
    }
}
