//! Turns what objects mean into what each target should have.

use std::collections::BTreeMap;

use crate::allocate::Grants;
use crate::proxmox::model;
use crate::resolve::{Id, Resolved};
use crate::vyos;
use crate::world::World;

mod cluster;
mod router;
#[cfg(test)]
mod tests;

pub use cluster::cluster;
pub use router::router;

/// What every router and every cluster should have, by its Provider.
pub type Targets = (
    BTreeMap<String, vyos::Desired>,
    BTreeMap<String, model::Desired>,
);

/// What every target should have. What there is no number for does not come, so nothing waits
/// for it.
#[must_use]
pub fn targets(world: &World, resolved: &Resolved, grants: &Grants, installation: &str) -> Targets {
    let routers = resolved.routers.keys().map(|name| {
        let mut desired = router(world, resolved, name, installation);
        let none = |id: &Id| grants.exhausted.contains_key(id);
        desired.coming.retain(|key| {
            !none(&Id::Network(key.clone())) && !none(&Id::Tenant(key.namespace.clone()))
        });
        (name.clone(), desired)
    });
    let clusters = resolved.clusters.keys().filter_map(|name| {
        let desired = cluster(world, resolved, name, installation)?;
        Some((name.clone(), desired))
    });
    (routers.collect(), clusters.collect())
}
