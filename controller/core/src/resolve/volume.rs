//! Turns Volumes into sizes on storages of clusters, and says which instance has each.

use std::collections::BTreeMap;

use bb_crds::{Instance, Volume};
use kube::ResourceExt;

use super::fabric::{ClusterR, names};
use super::{Id, Problem, Resolved, VolumeR, allowed, network, no_tenant};
use crate::world::{Key, Uid, World, deleting, uid};

/// A Volume that is understood but for its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    uid: Uid,
    size_gib: u64,
    class: Option<String>,
    /// The storage that it is recorded to be on.
    storage: Option<String>,
    pub(super) clusters: Vec<String>,
    user: Option<Key>,
}

pub(super) fn resolve(world: &World, resolved: &mut Resolved) {
    let users = users(world);
    for (key, volume) in &world.volumes {
        let result = draft_of(world, resolved, key, volume, users.get(key));
        match result {
            Ok(draft) => {
                resolved.unplaced.insert(key.clone(), draft);
            }
            Err(problem) => {
                resolved.problems.insert(Id::Volume(key.clone()), problem);
            }
        }
    }
    // What is recorded, or wanted by nobody, needs no instance to say where it is.
    let fixed: Vec<Key> = resolved
        .unplaced
        .iter()
        .filter(|(_, d)| d.clusters.len() == 1 || d.user.is_none())
        .map(|(key, _)| key.clone())
        .collect();
    for key in fixed {
        let Some(draft) = resolved.unplaced.remove(&key) else {
            continue;
        };
        let cluster = draft.clusters[0].clone();
        put(resolved, key, draft, cluster);
    }
}

/// Puts what waited for an instance where that instance is.
pub(super) fn place(resolved: &mut Resolved) {
    for (key, draft) in std::mem::take(&mut resolved.unplaced) {
        let user = draft
            .user
            .as_ref()
            .and_then(|user| resolved.instances.get(user));
        let Some(cluster) = user.map(|instance| instance.cluster.clone()) else {
            let who = draft.user.as_ref().map_or("", |user| user.name.as_str());
            let problem = Problem::waiting(format!(
                "instance {who}, which attaches it, has no place yet; see its conditions"
            ));
            resolved.problems.insert(Id::Volume(key), problem);
            continue;
        };
        put(resolved, key, draft, cluster);
    }
}

fn put(resolved: &mut Resolved, key: Key, draft: Draft, cluster: String) {
    let offered = || {
        let target = resolved.clusters.get(&cluster)?;
        target.storage(draft.class.as_deref()).map(str::to_owned)
    };
    // Where it was put it stays, whatever its class means since.
    let Some(storage) = draft.storage.clone().or_else(offered) else {
        return;
    };
    let volume = VolumeR {
        key: key.clone(),
        uid: draft.uid,
        size_gib: draft.size_gib,
        cluster,
        storage,
        user: draft.user,
    };
    resolved.volumes.insert(key, volume);
}

/// The instance that has each volume: the one that is recorded, else the oldest that names it.
pub(super) fn users(world: &World) -> BTreeMap<Key, Key> {
    let mut users: BTreeMap<Key, Key> = BTreeMap::new();
    let mut by_age: Vec<(&Key, &std::sync::Arc<Instance>)> = world.instances.iter().collect();
    by_age.sort_by_key(|(key, i)| (i.creation_timestamp().map(|t| t.0), (*key).clone()));
    for (instance_key, instance) in by_age {
        for used in &instance.spec.volumes {
            let volume = Key::new(&instance_key.namespace, &used.volume);
            let recorded = world
                .volumes
                .get(&volume)
                .and_then(|v| v.status.as_ref()?.attached_to.as_ref())
                .is_some_and(|a| a.instance == instance_key.name);
            if recorded || !users.contains_key(&volume) {
                users.insert(volume, instance_key.clone());
            }
        }
    }
    users
}

fn draft_of(
    world: &World,
    resolved: &Resolved,
    key: &Key,
    volume: &Volume,
    user: Option<&Key>,
) -> Result<Draft, Problem> {
    let tenant = world
        .tenant_of(&key.namespace)
        .ok_or_else(|| no_tenant(world, &key.namespace))?;
    let spec = &volume.spec;
    let size_gib = spec
        .size
        .gibibytes()
        .map_err(|error| Problem::invalid(format!("spec.size: {error}")))?;
    let status = volume.status.clone().unwrap_or_default();
    let clusters = match &status.cluster {
        Some(cluster) if resolved.clusters.contains_key(cluster) => vec![cluster.clone()],
        Some(cluster) => {
            return Err(Problem::not_found(format!(
                "the volume is on cluster `{cluster}`, whose Provider is gone; bring the Provider back"
            )));
        }
        None => candidates(
            resolved,
            spec,
            &tenant.spec.regions,
            &key.namespace,
            user.is_some(),
        )?,
    };
    let user = user.filter(|user| {
        world
            .instances
            .get(user)
            .is_some_and(|i| !deleting(i.as_ref()) || status.attached_to.is_some())
    });
    Ok(Draft {
        uid: uid(volume),
        size_gib,
        class: spec.class.clone(),
        storage: status.storage.clone(),
        clusters,
        user: user.cloned(),
    })
}

fn candidates(
    resolved: &Resolved,
    spec: &bb_crds::VolumeSpec,
    tenant_regions: &[String],
    tenant: &str,
    used: bool,
) -> Result<Vec<String>, Problem> {
    let region = match (&spec.region, used) {
        // The instance's networks say the Region.
        (None, true) => None,
        (named, _) => Some(network::region_of(resolved, named.as_ref(), tenant_regions)?.0),
    };
    let in_place = |(_, cluster): &(&String, &ClusterR)| {
        region.is_none_or(|region| cluster.region == region)
            && allowed(tenant_regions, &cluster.region)
            && spec.zone.as_ref().is_none_or(|zone| *zone == cluster.zone)
            && allowed(&cluster.tenants, tenant)
            && !cluster.leaving
    };
    let placed: Vec<(&String, &ClusterR)> = resolved.clusters.iter().filter(in_place).collect();
    if placed.is_empty() {
        let zones = resolved.clusters.values().map(|c| &c.zone);
        return Err(Problem::not_found(format!(
            "spec.zone: no cluster of this Region that the tenant may use is in zone `{}`; zones are: {}",
            spec.zone.as_deref().unwrap_or("(any)"),
            names(zones)
        )));
    }
    let fitting: Vec<String> = placed
        .iter()
        .filter(|(_, cluster)| cluster.storage(spec.class.as_deref()).is_some())
        .map(|(name, _)| (*name).clone())
        .collect();
    if fitting.is_empty() {
        let offered = placed
            .iter()
            .flat_map(|(_, c)| c.storage.iter().map(|(class, _)| class));
        return Err(Problem::not_found(format!(
            "spec.class: no cluster there offers `{}`; offered are: {}",
            spec.class.as_deref().unwrap_or("(any)"),
            names(offered)
        )));
    }
    let held: Vec<String> = fitting
        .into_iter()
        .filter(|name| resolved.clusters[name].holder.is_some())
        .collect();
    if held.is_empty() {
        return Err(Problem::not_found(
            "no cluster there can keep volumes: an operator must set spec.proxmox.holder in its Provider",
        ));
    }
    Ok(held)
}
