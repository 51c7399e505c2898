//! Turns an answer and what it was made from into a hash: the world has moved where it differs.

use std::collections::BTreeSet;

use bb_crds::Drift;
use bb_crds::plan::{PlanStatus, PlanTarget};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer::Told;
use super::{Look, Proposal, label};
use crate::proxmox::observed::{ConfigRead, Key as Busy};
use crate::proxmox::plan::Op;
use crate::resolve::Id;
use crate::vyos::{Desired, Path, Want};
use crate::world::{Uid, World};

/// The characters of a hash.
const LENGTH: usize = 32;

/// The hash of an answer: of all that it says but when it was read and what is due anyway, and of
/// what stands where it would write.
pub(super) fn of(told: &Told<'_, '_>, status: &PlanStatus) -> String {
    let targets: Vec<Value> = status.targets.iter().map(said).collect();
    let based_on: Vec<Value> = told.concerned.iter().map(|t| based_on(told, t)).collect();
    let asked: Vec<Value> = told.question.proposals.iter().map(asked).collect();
    let text = json!({
        "namespace": told.question.namespace,
        "asked": asked,
        "targets": targets,
        "gives": status.gives,
        "held": status.held,
        "reach": status.reach,
        "basedOn": based_on,
        "drift": drift(told),
    });
    let hash = Sha256::digest(text.to_string());
    let mut hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(LENGTH);
    hex
}

fn said(target: &PlanTarget) -> Value {
    json!({"name": target.name, "unknown": target.unknown, "steps": target.steps})
}

fn asked(proposal: &Proposal) -> Value {
    let spec = match proposal {
        Proposal::Network(_, object) => serde_json::to_value(&object.spec),
        Proposal::Volume(_, object) => serde_json::to_value(&object.spec),
        Proposal::Instance(_, object) => serde_json::to_value(&object.spec),
        Proposal::Delete(_) => Ok(Value::Null),
    };
    json!([label(&proposal.id()), spec.ok()])
}

/// What stands on a target where the change would write.
fn based_on(told: &Told<'_, '_>, target: &str) -> Value {
    let stage = &told.rest.stage;
    if let (Some(router), Some(Look::Router(look))) =
        (stage.routers.get(target), told.question.looks.get(target))
    {
        let owners: BTreeSet<&Uid> = router.sent.iter().map(|c| &c.owner).collect();
        let mut roots: BTreeSet<&Path> = router.sent.iter().map(|c| &c.path).collect();
        let asked = [&told.before.routers, &told.rest.pass.routers];
        for desired in asked.into_iter().filter_map(|all| all.get(target)) {
            roots.extend(roots_of(desired, &owners));
        }
        let lines: BTreeSet<&Path> = roots
            .iter()
            .flat_map(|root| look.running.below(root))
            .collect();
        return json!(lines);
    }
    let Some(Look::Cluster(look)) = told.question.looks.get(target) else {
        return Value::Null;
    };
    let sent = stage.clusters.get(target).into_iter().flat_map(|c| &c.sent);
    let guests: BTreeSet<Busy> = sent.filter_map(|(_, op)| guest_of(op)).collect();
    let stands = guests.iter().filter_map(|key| {
        let Busy::Guest(vmid) = key else { return None };
        let row = look.seen.guests.get(vmid)?;
        let digest = match look.seen.configs.get(vmid) {
            Some(ConfigRead::Found(config)) => config.digest.clone(),
            _ => None,
        };
        Some(json!([vmid.to_string(), row.node, row.running, digest]))
    });
    Value::Array(stands.collect())
}

fn roots_of<'a>(desired: &'a Desired, owners: &BTreeSet<&Uid>) -> Vec<&'a Path> {
    let claims = desired.claims.iter().filter(|c| owners.contains(&c.owner));
    let roots = claims.flat_map(|claim| match &claim.want {
        Want::Present { roots, .. } => roots.as_slice(),
        Want::Absent | Want::Untouched => &[],
    });
    roots.map(|root| &root.0).collect()
}

fn guest_of(op: &Op) -> Option<Busy> {
    match op {
        Op::Configure { guest, .. }
        | Op::Resize { guest, .. }
        | Op::Start(guest)
        | Op::Shutdown(guest)
        | Op::Destroy(guest) => Some(Busy::Guest(guest.vmid)),
        Op::Clone { .. }
        | Op::Build { .. }
        | Op::Allocate { .. }
        | Op::Park { .. }
        | Op::Drop { .. }
        | Op::DeleteImage { .. } => None,
    }
}

/// What somebody else changed of late of the objects that are asked about and of their tenant: it
/// may be put right by now, and whoever planned before it should know.
fn drift(told: &Told<'_, '_>) -> Value {
    let tenant = Id::Tenant(told.question.namespace.to_owned());
    let ids = told.question.proposals.iter().map(Proposal::id);
    let found = ids.chain([tenant]).map(|id| {
        let since = drifts(told.world, &id)
            .iter()
            .map(|d| json!([d.target, d.since]));
        json!([label(&id), since.collect::<Vec<_>>()])
    });
    Value::Array(found.collect())
}

fn drifts<'a>(world: &'a World, id: &Id) -> &'a [Drift] {
    let found = match id {
        Id::Network(key) => world
            .networks
            .get(key)
            .and_then(|o| o.status.as_ref())
            .map(|s| &s.drift),
        Id::Volume(key) => world
            .volumes
            .get(key)
            .and_then(|o| o.status.as_ref())
            .map(|s| &s.drift),
        Id::Instance(key) => world
            .instances
            .get(key)
            .and_then(|o| o.status.as_ref())
            .map(|s| &s.drift),
        Id::Tenant(name) => world
            .tenants
            .get(name)
            .and_then(|o| o.status.as_ref())
            .map(|s| &s.drift),
        Id::Region(_) | Id::Provider(_) => None,
    };
    found.map_or(&[], Vec::as_slice)
}
