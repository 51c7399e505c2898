//! Turns what objects ask of a router and what it runs into the smallest list of commands.
//!
//! Ownership is by mark: each node that is ours by itself (a VRF, an interface, a vif, a DHCP
//! network) carries a description that names this installation and the object's UID. What has
//! no mark is never changed, whatever its name or number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bb_crds::Reason;

use super::lines::{Lines, Path};
use crate::world::{Key, Uid};

/// A node that is ours by itself, with everything below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root(pub Path);

/// What one object asks of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The object.
    pub owner: Uid,
    /// How people call the object.
    pub label: String,
    /// The tenant that it is or belongs to.
    pub tenant: String,
    /// What is asked.
    pub want: Want,
    /// What differs is reported, and nothing is sent for it.
    pub observe: bool,
}

/// What is asked of a router for one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// These nodes, with exactly these lines below them.
    Present {
        /// The nodes that are the object's own.
        roots: Vec<Root>,
        /// Every line, marks included.
        lines: Lines,
    },
    /// Nothing of it.
    Absent,
    /// Whatever is there: the object cannot be understood just now, or is paused.
    Untouched,
}

/// Everything that is asked of a router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The installation whose marks are ours.
    pub installation: String,
    /// One claim per object.
    pub claims: Vec<Claim>,
    /// Networks that will ask for something as soon as their numbers are recorded.
    pub coming: BTreeSet<Key>,
}

/// Whether a command adds or removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Removes a node and everything below it.
    Delete,
    /// Adds a line.
    Set,
}

/// One command, and the object that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The object.
    pub owner: Uid,
    /// Adds or removes.
    pub verb: Verb,
    /// The words after the verb.
    pub path: Path,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verb {
            Verb::Delete => "delete",
            Verb::Set => "set",
        })?;
        for word in &self.path {
            if word.contains(' ') || word.is_empty() {
                write!(f, " '{word}'")?;
            } else {
                write!(f, " {word}")?;
            }
        }
        Ok(())
    }
}

/// Why an object's claim is not acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// One word.
    pub reason: Reason,
    /// What is so, and what to do about it.
    pub message: String,
}

/// What to send, what not to, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The commands: deletes first, since a set replaces a single value and the delete of the
    /// old one would then find nothing.
    pub commands: Vec<Command>,
    /// Objects whose claim is not acted on.
    pub held: BTreeMap<Uid, Held>,
    /// Objects of which something is on the router.
    pub present: BTreeSet<Uid>,
    /// Nodes with our mark that no object accounts for.
    pub orphans: Vec<String>,
    /// What would be sent for objects that are only observed.
    pub withheld: Vec<Command>,
}

/// The description that marks a node as the object's.
#[must_use]
pub fn mark(installation: &str, owner: &str, label: &str) -> String {
    format!("bitbuilder {installation}/{owner} {label}")
}

fn owner_of<'a>(installation: &str, description: &'a str) -> Option<&'a str> {
    let rest = description
        .strip_prefix("bitbuilder ")?
        .strip_prefix(installation)?;
    rest.strip_prefix('/')?
        .split(' ')
        .next()
        .filter(|uid| !uid.is_empty())
}

/// Finds every node that carries a mark of `installation`, and whose it is.
#[must_use]
pub fn marks(installation: &str, observed: &Lines) -> BTreeMap<Path, Uid> {
    observed
        .iter()
        .filter_map(|line| {
            let [root @ .., leaf, text] = line.as_slice() else {
                return None;
            };
            let owner = owner_of(installation, text).filter(|_| leaf == "description")?;
            Some((root.to_vec(), owner.to_owned()))
        })
        .collect()
}

/// Compares what should be with what is.
#[must_use]
pub fn plan(desired: &Desired, observed: &Lines) -> Plan {
    if desired.claims.iter().all(|claim| !claim.observe) {
        return whole(desired, observed);
    }
    let would = whole(desired, observed);
    let mut acting = desired.clone();
    let watched = acting.claims.iter_mut().filter(|claim| claim.observe);
    let mut owners = BTreeSet::new();
    for claim in watched {
        claim.want = Want::Untouched;
        owners.insert(claim.owner.clone());
    }
    let mut plan = whole(&acting, observed);
    let held = would.held.into_iter();
    plan.held
        .extend(held.filter(|(owner, _)| owners.contains(owner)));
    plan.withheld = would.commands;
    plan.withheld.retain(|c| owners.contains(&c.owner));
    plan
}

/// As [`plan`], as if nothing were only observed.
fn whole(desired: &Desired, observed: &Lines) -> Plan {
    let marks = marks(&desired.installation, observed);
    let mut claims: Vec<&Claim> = desired.claims.iter().collect();
    claims.sort_by(|a, b| a.owner.cmp(&b.owner));
    let mut plan = Plan {
        present: marks.values().cloned().collect(),
        ..Plan::default()
    };
    let mut deletes: Vec<Command> = Vec::new();
    let mut sets: Vec<Command> = Vec::new();
    for claim in &claims {
        let mine = marks
            .iter()
            .filter(|(_, owner)| **owner == claim.owner)
            .map(|(root, _)| root);
        match &claim.want {
            Want::Untouched => {}
            Want::Absent => {
                deletes.extend(mine.map(|root| command(claim, Verb::Delete, root.clone())));
            }
            Want::Present { roots, lines } => {
                if let Some(held) = conflict(claim, roots, &marks, observed) {
                    plan.held.insert(claim.owner.clone(), held);
                    continue;
                }
                let withdrawn = mine.filter(|root| !roots.iter().any(|r| r.0 == **root));
                deletes.extend(withdrawn.map(|root| command(claim, Verb::Delete, root.clone())));
                difference(claim, roots, lines, observed, &mut deletes, &mut sets);
            }
        }
    }
    hold_referenced_vrfs(&claims, &marks, observed, &mut deletes, &mut plan.held);
    let known: BTreeSet<&str> = claims.iter().map(|c| c.owner.as_str()).collect();
    plan.orphans = marks
        .iter()
        .filter(|(_, owner)| !known.contains(owner.as_str()))
        .map(|(root, owner)| format!("{} (of {owner})", root.join(" ")))
        .collect();
    deletes.append(&mut sets);
    plan.commands = deletes;
    plan
}

/// Where the last DHCP network goes, the server goes: VyOS 1.5 refuses a server without one.
pub(super) fn without_empty_dhcp(observed: &Lines, commands: Vec<Command>) -> Vec<Command> {
    let server: Path = ["service", "dhcp-server"].map(str::to_owned).to_vec();
    let touched = |c: &Command| c.verb == Verb::Delete && c.path.starts_with(&server);
    if !commands.iter().any(touched) || apply(observed, &commands).any_below(&server) {
        return commands;
    }
    let mut whole = false;
    let mut kept = Vec::new();
    for mut command in commands {
        if touched(&command) {
            if whole {
                continue;
            }
            whole = true;
            command.path.clone_from(&server);
        }
        kept.push(command);
    }
    kept
}

fn command(claim: &Claim, verb: Verb, path: Path) -> Command {
    Command {
        owner: claim.owner.clone(),
        verb,
        path,
    }
}

/// Says which root is there and not the claim's.
fn conflict(
    claim: &Claim,
    roots: &[Root],
    marks: &BTreeMap<Path, Uid>,
    observed: &Lines,
) -> Option<Held> {
    let root = roots.iter().map(|r| &r.0).find(|root| {
        let owner = marks.get(*root);
        owner != Some(&claim.owner) && (owner.is_some() || occupied(root, observed))
    })?;
    Some(Held {
        reason: Reason::Conflict,
        message: format!(
            "the router already has `{}`, which is not of {}; remove it there, or take its number out of the Region's range",
            root.join(" "),
            claim.label
        ),
    })
}

/// Whether a node is more than what a failed create of ours leaves behind.
fn occupied(root: &[String], observed: &Lines) -> bool {
    observed.any_below(root) && !left_over(root, observed)
}

/// Whether a node is a VRF of which nothing but its `protocols` is there. VyOS 1.5 takes them by
/// other scripts than the VRF, so that they stay where it is refused; and it takes no VRF
/// without a table from anybody, so that this one is nobody's.
#[must_use]
pub fn left_over(root: &[String], observed: &Lines) -> bool {
    let protocols = |line: &Path| line.get(root.len()).is_some_and(|word| word == "protocols");
    root.first().is_some_and(|word| word == "vrf") && observed.below(root).all(protocols)
}

fn difference(
    claim: &Claim,
    roots: &[Root],
    lines: &Lines,
    observed: &Lines,
    deletes: &mut Vec<Command>,
    sets: &mut Vec<Command>,
) {
    let mut gone: BTreeSet<Path> = BTreeSet::new();
    for root in roots {
        for line in observed.below(&root.0).filter(|l| !lines.any_below(l)) {
            // The highest node below which nothing is wanted: one command instead of many.
            let depth = (root.0.len() + 1..=line.len())
                .find(|depth| !lines.any_below(&line[..*depth]))
                .unwrap_or(line.len());
            gone.insert(line[..depth].to_vec());
        }
    }
    deletes.extend(
        gone.into_iter()
            .map(|path| command(claim, Verb::Delete, path)),
    );
    let missing = lines.iter().filter(|line| !observed.any_below(line));
    sets.extend(missing.map(|line| command(claim, Verb::Set, line.clone())));
}

/// Takes the delete of a VRF out of the list while anything that stays refers to it: VyOS 1.5
/// refuses such a delete and loses the VRF's `protocols` all the same. The other nodes of the
/// owner that should go stay with it: what is in the VRF is reached through the L3VNI's bridge.
fn hold_referenced_vrfs(
    claims: &[&Claim],
    marks: &BTreeMap<Path, Uid>,
    observed: &Lines,
    deletes: &mut Vec<Command>,
    held: &mut BTreeMap<Uid, Held>,
) {
    let (mut kept, refused) = apart(std::mem::take(deletes), observed);
    for (command, line) in refused {
        let label = claims
            .iter()
            .find(|c| c.owner == command.owner)
            .map_or("", |c| &c.label);
        let message = format!(
            "the VRF {} of {label} stays while `{}` refers to it; remove that line on the router",
            command.path.last().map_or("", String::as_str),
            line.join(" ")
        );
        kept.retain(|c| c.owner != command.owner || !marks.contains_key(&c.path));
        held.insert(
            command.owner,
            Held {
                reason: Reason::Waiting,
                message,
            },
        );
    }
    *deletes = kept;
}

/// A part of a plan in two: what may be sent to a router that runs this, and deletes of VRFs
/// that have to wait, since what refers to them goes by commands that are not in this part.
#[must_use]
pub fn without_early_vrfs(part: Vec<Command>, running: &Lines) -> (Vec<Command>, Vec<Command>) {
    let (now, early) = apart(part, running);
    (now, early.into_iter().map(|(command, _)| command).collect())
}

/// Splits off the deletes of VRFs that something refers to once all else is deleted, each with
/// a line that does.
fn apart(commands: Vec<Command>, observed: &Lines) -> (Vec<Command>, Vec<(Command, Path)>) {
    let deletes = commands.iter().filter(|c| c.verb == Verb::Delete);
    let roots: Vec<Path> = deletes.map(|c| c.path.clone()).collect();
    let referrer = |vrf: &String| {
        let mut lines = observed.iter();
        lines.find(|line| {
            let refers = line.windows(2).any(|w| w[0] == "vrf" && w[1] == *vrf)
                || (line.last() == Some(vrf) && line.first().is_some_and(|w| w != "vrf"));
            refers && !roots.iter().any(|root| line.starts_with(root))
        })
    };
    let mut kept = Vec::new();
    let mut early = Vec::new();
    for command in commands {
        let found = match command.path.as_slice() {
            [a, b, vrf] if command.verb == Verb::Delete && a == "vrf" && b == "name" => {
                referrer(vrf)
            }
            _ => None,
        };
        match found {
            Some(line) => early.push((command, line.clone())),
            None => kept.push(command),
        }
    }
    (kept, early)
}

/// What a router lacks to carry tenants to other routers, in words, if it lacks anything.
#[must_use]
pub fn missing_underlay(running: &Lines, asn: i64) -> Option<String> {
    let bgp = |tail: &[&str]| -> Path {
        ["protocols", "bgp"]
            .iter()
            .chain(tail)
            .map(|w| (*w).to_owned())
            .collect()
    };
    let leaf = bgp(&["system-as"]);
    match running.value(&leaf) {
        None => {
            return Some(format!(
                "the router runs no BGP: `set protocols bgp system-as {asn}` and its EVPN peers"
            ));
        }
        Some(runs) if runs != asn.to_string() => {
            return Some(format!(
                "the router's AS is {runs}, the Region's {asn}: correct one of them"
            ));
        }
        Some(_) => {}
    }
    let advertise = bgp(&["address-family", "l2vpn-evpn", "advertise-all-vni"]);
    (!running.any_below(&advertise)).then(|| {
        "EVPN advertises no VNI: `set protocols bgp address-family l2vpn-evpn advertise-all-vni`".to_owned()
    })
}

/// What a router runs after `commands`, if it takes them all.
#[must_use]
pub fn apply(observed: &Lines, commands: &[Command]) -> Lines {
    let mut lines = observed.clone();
    for command in commands {
        match command.verb {
            Verb::Delete => lines.remove_below(&command.path),
            Verb::Set => {
                // A node that was empty is no line of its own any more.
                for depth in 1..command.path.len() {
                    lines.remove(&command.path[..depth].to_vec());
                }
                lines.insert(command.path.clone());
            }
        }
    }
    lines
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
