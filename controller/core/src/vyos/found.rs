//! Turns what a pass over a router saw into what is known of every object there.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::Reason;

use super::batch::waiting_for_vrf;
use super::lines::Lines;
use super::plan::{Desired, Plan, Want};
use super::refusals::Refusals;
use crate::outcome::{ClaimState, Contact, RouterOutcome, asked};

/// What is now known of every object on a router that runs `running`.
///
/// `trouble` is what keeps lists from being taken, whoever's they are, once that lasts.
#[must_use]
pub fn found(
    desired: &Desired,
    plan: &Plan,
    running: &Lines,
    refusals: &Refusals,
    may_write: bool,
    trouble: Option<&str>,
) -> RouterOutcome {
    let open: BTreeSet<&str> = plan.commands.iter().map(|c| c.owner.as_str()).collect();
    let withheld: BTreeSet<&str> = plan.withheld.iter().map(|c| c.owner.as_str()).collect();
    let waits = waiting_for_vrf(plan, running, refusals);
    let label = |owner: &str| {
        let claim = desired.claims.iter().find(|c| c.owner == owner);
        claim.map_or_else(String::new, |c| c.label.clone())
    };
    let held = |reason, message: String| ClaimState::Held { reason, message };
    let mut claims = BTreeMap::new();
    for claim in &desired.claims {
        let owner = claim.owner.as_str();
        let state = if let Some(h) = plan.held.get(owner) {
            held(h.reason, h.message.clone())
        } else if withheld.contains(owner) {
            let text = "its managementPolicy is Observe: nothing is sent";
            held(Reason::Paused, text.to_owned())
        } else if !open.contains(owner) {
            match claim.want {
                Want::Present { .. } => ClaimState::Programmed,
                Want::Absent => ClaimState::Absent,
                Want::Untouched if plan.present.contains(owner) => ClaimState::Programmed,
                Want::Untouched => ClaimState::Pending,
            }
        } else if !may_write {
            let text = "the Provider's managementPolicy is Observe: nothing is sent";
            held(Reason::Paused, text.to_owned())
        } else if let Some(message) = refusals.message(owner) {
            held(Reason::Refused, format!("the router refuses it: {message}"))
        } else if let Some((vrf, of)) = waits.get(owner) {
            let of = label(of);
            let text = format!("the VRF {vrf} of {of} is not there: the router refuses it");
            held(Reason::Waiting, text)
        } else if let Some(trouble) = trouble {
            held(Reason::Stuck, trouble.to_owned())
        } else {
            ClaimState::Pending
        };
        claims.insert(claim.owner.clone(), (asked(&claim.want), state));
    }
    RouterOutcome {
        contact: Contact::Good,
        claims,
        orphans: plan.orphans.clone(),
        trouble: trouble.map(str::to_owned),
        ..RouterOutcome::default()
    }
}
