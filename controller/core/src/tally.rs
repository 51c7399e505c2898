//! Turns all objects into how many of each kind are Ready.

use std::collections::BTreeMap;

use bb_crds::{Condition, ConditionType};
use kube::ResourceExt;

use crate::world::World;

/// Whether objects do what they are for, as their own conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// Ready is True, and speaks of the spec that is there.
    Ready,
    /// Ready is False, and speaks of the spec that is there.
    NotReady,
    /// Nothing is said yet of the spec that is there.
    Unknown,
}

/// How many objects of each kind there are, by readiness. What is there of no readiness is 0.
pub type Tally = BTreeMap<(&'static str, Readiness), usize>;

/// Counts them.
#[must_use]
pub fn tally(world: &World) -> Tally {
    let mut all = Tally::new();
    let mut count = |kind, readiness: &mut dyn Iterator<Item = Readiness>| {
        for possible in [Readiness::Ready, Readiness::NotReady, Readiness::Unknown] {
            all.insert((kind, possible), 0);
        }
        for found in readiness {
            *all.entry((kind, found)).or_default() += 1;
        }
    };
    let (regions, providers) = (world.regions.values(), world.providers.values());
    count(
        "Region",
        &mut regions.map(|o| of(&**o, o.status.as_ref().map(|s| &s.conditions))),
    );
    count(
        "Provider",
        &mut providers.map(|o| of(&**o, o.status.as_ref().map(|s| &s.conditions))),
    );
    let (tenants, networks) = (world.tenants.values(), world.networks.values());
    count(
        "Tenant",
        &mut tenants.map(|o| of(&**o, o.status.as_ref().map(|s| &s.conditions))),
    );
    count(
        "Network",
        &mut networks.map(|o| of(&**o, o.status.as_ref().map(|s| &s.conditions))),
    );
    let (instances, volumes) = (world.instances.values(), world.volumes.values());
    count(
        "Instance",
        &mut instances.map(|o| of(&**o, o.status.as_ref().map(|s| &s.conditions))),
    );
    count(
        "Volume",
        &mut volumes.map(|o| of(&**o, o.status.as_ref().map(|s| &s.conditions))),
    );
    all
}

/// What an object's own Ready condition says, where it is about the spec that is there.
fn of(object: &impl ResourceExt, conditions: Option<&Vec<Condition>>) -> Readiness {
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|c| c.is(ConditionType::Ready));
    match ready {
        Some(ready) if ready.observed_generation == object.meta().generation => {
            match &*ready.status {
                "True" => Readiness::Ready,
                "False" => Readiness::NotReady,
                _ => Readiness::Unknown,
            }
        }
        _ => Readiness::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bb_crds::Tenant;
    use serde_json::json;

    use super::*;

    fn tenant(name: &str, generation: i64, status: &str) -> Arc<Tenant> {
        let ready = json!({"type": "Ready", "status": status, "reason": "Ready", "message": "",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let text = json!({
            "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name, "generation": generation},
            "spec": {}, "status": {"conditions": [ready]},
        });
        Arc::new(serde_json::from_value(text).expect("a tenant"))
    }

    #[test]
    fn an_object_counts_by_what_is_said_of_the_spec_that_is_there() {
        let mut world = World::default();
        let mut bare = tenant("bare", 1, "True").as_ref().clone();
        bare.status = None;
        for object in [
            tenant("well", 1, "True"),
            tenant("fine", 1, "True"),
            tenant("ill", 1, "False"),
            tenant("changed", 2, "True"),
            tenant("unsure", 1, "Unknown"),
            Arc::new(bare),
        ] {
            world.tenants.insert(object.name_any(), object);
        }
        let all = tally(&world);
        assert_eq!(all[&("Tenant", Readiness::Ready)], 2);
        assert_eq!(all[&("Tenant", Readiness::NotReady)], 1);
        assert_eq!(all[&("Tenant", Readiness::Unknown)], 3);
        assert_eq!(all[&("Volume", Readiness::Ready)], 0);
        assert_eq!(all.len(), 18);
    }
}
