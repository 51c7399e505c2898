//! Turns an Instance that the controller made into thousands that look as if it had: in the API
//! with numbers, status and finalizer, and on the clusters with mark, tag, disks and addresses.
//!
//! To have ten thousand made takes the API server alone many minutes of CPU time. Whether these
//! are alike is told by the controller, which finds nothing to do.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bb_core::allocate::mac;
use bb_core::proxmox::keys::fingerprint;
use bb_core::proxmox::mark;
use bb_core::render;
use bb_core::resolve::{recorded_vmid, resolve};
use bb_core::world::{Key, NamespaceView, World};
use bb_crds::{FINALIZER, Instance};
use bb_lab_proxmox::model;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::population::{TENANTS, ZONES, instance};
use crate::Site;

/// Requests of ours to the API at once.
const AT_ONCE: usize = 8;
/// VMIDs that the controller does not come to: its cursor begins at 100000.
const FIRST_VMID: usize = 150_000;
/// The third part of the first address of each network: the controller's begin at 0.
const FIRST_PART: u32 = 8;

/// Seeds the Instances of these numbers after those that are there already.
///
/// # Errors
/// When the API refuses, or no Instance of a zone is there to be like.
pub(super) async fn seed(site: &Site, numbers: std::ops::Range<usize>) -> Result<()> {
    let mut world = world(site).await?;
    let installation = Api::<Namespace>::all(site.client.clone())
        .get("kube-system")
        .await?
        .uid()
        .context("kube-system has no UID")?;
    let made: Vec<Instance> = stream::iter(numbers)
        .map(|number| made(site, number))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let like = exemplars(&world)?;
    let mut seeded = Vec::new();
    for (at, mut object) in made.into_iter().enumerate() {
        let network = &object.spec.networks[0].network;
        let old = like.get(network).context("no Instance to be like")?;
        object.status = Some(status(old, &object, at)?);
        let key = Key::of(&object);
        seeded.push((key.clone(), Arc::clone(old)));
        world.instances.insert(key, Arc::new(object));
    }
    let prints = prints(&world, &installation);
    for (key, old) in &seeded {
        let object = world.instances.get_mut(key).context("just put there")?;
        let print = prints.get(&object.uid().unwrap_or_default()).cloned();
        let object = Arc::make_mut(object);
        if let Some(status) = &mut object.status {
            status.applied = Some(print.context("it is rendered for no cluster")?);
        }
        put(site, &installation, old, object)?;
    }
    let objects = seeded.iter().map(|(key, _)| &world.instances[key]);
    stream::iter(objects.map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_ONCE, |object| recorded(site, object))
        .await
}

/// Everything that is there, as the controller sees it.
async fn world(site: &Site) -> Result<World> {
    async fn all<K>(site: &Site) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::all(site.client.clone());
        Ok(api.list(&ListParams::default()).await?.items)
    }
    fn named<K: ResourceExt>(items: Vec<K>) -> impl Iterator<Item = (String, Arc<K>)> {
        items.into_iter().map(|o| (o.name_any(), Arc::new(o)))
    }
    fn keyed<K: ResourceExt>(items: Vec<K>) -> impl Iterator<Item = (Key, Arc<K>)> {
        items.into_iter().map(|o| (Key::of(&o), Arc::new(o)))
    }
    let namespaces = all::<Namespace>(site).await?.into_iter();
    let view = |n: Namespace| (n.name_any(), Arc::new(NamespaceView::of(&n.metadata)));
    Ok(World {
        regions: named(all(site).await?).collect(),
        providers: named(all(site).await?).collect(),
        tenants: named(all(site).await?).collect(),
        namespaces: namespaces.map(view).collect(),
        networks: keyed(all(site).await?).collect(),
        instances: keyed(all(site).await?).collect(),
        volumes: keyed(all(site).await?).collect(),
        ..World::default()
    })
}

/// One that is there for each network's name, which is a zone's.
fn exemplars(world: &World) -> Result<BTreeMap<String, Arc<Instance>>> {
    let there = world.instances.values();
    let like: BTreeMap<String, Arc<Instance>> = there
        .filter(|i| i.status.as_ref().is_some_and(|s| s.applied.is_some()))
        .map(|i| (i.spec.networks[0].network.clone(), Arc::clone(i)))
        .collect();
    anyhow::ensure!(like.len() == ZONES.len(), "not every zone has an Instance");
    Ok(like)
}

/// Makes the object as its user and the controller's finalizer would.
async fn made(site: &Site, number: usize) -> Result<Instance> {
    let (namespace, object) = instance(number)?;
    let mut object = serde_json::to_value(object)?;
    object["metadata"]["finalizers"] = json!([FINALIZER]);
    let api: Api<Instance> = Api::namespaced(site.client.clone(), &namespace);
    let object = serde_json::from_value(object)?;
    let made = api.create(&PostParams::default(), &object).await;
    made.with_context(|| format!("cannot make Instance {number}"))
}

/// What would be recorded of it: its own numbers, else as of the other.
fn status(old: &Instance, new: &Instance, at: usize) -> Result<bb_crds::InstanceStatus> {
    let mut status = old.status.clone().context("it was chosen by its status")?;
    let cluster = status.cluster.clone().unwrap_or_default();
    status.provider_id = Some(format!("proxmox://{cluster}/{}", FIRST_VMID + at));
    let zone = ZONES
        .iter()
        .position(|z| *z == new.spec.networks[0].network);
    let zone = u32::try_from(zone.context("a network has a zone's name")?)?;
    let host = u32::try_from(at / TENANTS / ZONES.len())? + 10;
    let base = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    let uid = new.uid().unwrap_or_default();
    for card in &mut status.addresses {
        let address = base + (zone << 16) + (FIRST_PART << 8) + host;
        card.address = Ipv4Addr::from(address).to_string();
        card.mac = mac(&uid, &card.name);
    }
    Ok(status)
}

/// What each guest is to be proven to have, by the UID of its object.
fn prints(world: &World, installation: &str) -> BTreeMap<String, String> {
    let resolved = resolve(world);
    let clusters = resolved.clusters.keys();
    let desired = clusters.filter_map(|name| render::cluster(world, &resolved, name, installation));
    let guests = desired.flat_map(|d| d.guests);
    guests.map(|g| (g.uid.clone(), fingerprint(&g))).collect()
}

/// Writes the status as the controller would.
async fn recorded(site: &Site, object: &Arc<Instance>) -> Result<()> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<Instance> = Api::namespaced(site.client.clone(), &namespace);
    let body = json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
        "metadata": {"name": object.name_any()}, "status": object.status,
    });
    let params = PatchParams::apply("bitbuilder-controller").force();
    api.patch_status(&object.name_any(), &params, &Patch::Apply(&body))
        .await
        .with_context(|| format!("cannot write the status of {}", object.name_any()))?;
    Ok(())
}

/// Puts the guest on its cluster, like that of the other with its own words in place of theirs.
fn put(site: &Site, installation: &str, old: &Instance, new: &Instance) -> Result<()> {
    let facts = |object: &Instance| -> Option<(u32, Vec<String>)> {
        let status = object.status.as_ref()?;
        let vmid = recorded_vmid(status.provider_id.as_deref())?.get();
        let card = status.addresses.first()?;
        let uid = object.uid()?;
        let key = Key::of(object).to_string();
        let words = vec![
            mark::tag(installation, &uid),
            uid,
            format!("vm-{vmid}-"),
            card.mac.to_uppercase(),
            card.mac.clone(),
            format!("ip={}/", card.address),
            key,
        ];
        Some((vmid, words))
    };
    let (old_vmid, old_words) = facts(old).context("it was chosen by its status")?;
    let (vmid, words) = facts(new).context("it was just given its numbers")?;
    let own = |text: &str| {
        let each = old_words.iter().zip(&words);
        each.fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
    };
    let status = new.status.as_ref().context("it was just given one")?;
    let name = status.cluster.as_deref().unwrap_or_default();
    let cluster = site.clusters.get(name).context("no such cluster")?;
    cluster.with(|cluster| {
        let mut guest: model::Guest = cluster.guests.get(&old_vmid).context("no guest")?.clone();
        for value in guest.config.values_mut() {
            *value = own(value);
        }
        guest.config.insert("name".to_owned(), new.name_any());
        if let Some(seen) = &mut guest.seen {
            seen.name = new.name_any();
        }
        for storage in cluster.storages.values_mut() {
            for volumes in storage.volumes.values_mut() {
                let mine = volumes.iter().filter(|(_, v)| v.owner == Some(old_vmid));
                let mine: Vec<(String, model::Volume)> = mine
                    .map(|(name, volume)| {
                        let mut volume = volume.clone();
                        volume.owner = Some(vmid);
                        (own(name), volume)
                    })
                    .collect();
                volumes.extend(mine);
            }
        }
        for pool in cluster.pools.values_mut() {
            if pool.guests.contains(&old_vmid) {
                pool.guests.insert(vmid);
            }
        }
        cluster.guests.insert(vmid, guest);
        Ok(())
    })
}
