//! Turns a Volume that the controller made in each zone into thousands that look as if it had.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bb_crds::{FINALIZER, Volume};
use bb_lab_proxmox::model;
use futures::{TryStreamExt as _, stream};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::population::{TENANTS, ZONES};
use crate::Site;

/// Requests of ours to the API at once.
const AT_ONCE: usize = 8;

/// Puts so many Volumes there that no Instance has, in all tenants and zones.
///
/// # Errors
/// When the API refuses, or no Volume of a zone is there to be like.
pub(super) async fn seed(site: &Site, count: usize) -> Result<()> {
    let api: Api<Volume> = Api::all(site.client.clone());
    let there = api.list(&ListParams::default()).await?.items;
    let made = there
        .into_iter()
        .filter(|v| v.status.as_ref().is_some_and(|s| s.size.is_some()));
    let mut like = BTreeMap::new();
    for volume in made {
        let zone = volume.spec.zone.clone().context("it is made in a zone")?;
        let images = images(site, &volume)?;
        like.insert(zone, (volume, images));
    }
    let like = &like;
    stream::iter((0..count).map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_ONCE, |number| async move {
            let zone = ZONES[number / TENANTS % ZONES.len()];
            let (old, images) = like.get(zone).context("no Volume to be like")?;
            one(site, old, images, number).await
        })
        .await
}

/// A disk image on a cluster: its storage, its node, its name, and what it is.
type Image = (String, String, String, model::Volume);

/// The disk images of a Volume.
fn images(site: &Site, volume: &Volume) -> Result<Vec<Image>> {
    let uid = volume.uid().context("it has no UID")?;
    cluster(site, volume)?.with(|cluster| {
        let mut images = Vec::new();
        for (storage, content) in &cluster.storages {
            for (node, volumes) in &content.volumes {
                let own = volumes.iter().filter(|(name, _)| name.contains(&uid));
                images.extend(own.map(|(name, volume)| {
                    let place = (storage.clone(), node.clone());
                    (place.0, place.1, name.clone(), volume.clone())
                }));
            }
        }
        anyhow::ensure!(!images.is_empty(), "a Volume without a disk image");
        Ok(images)
    })
}

fn cluster<'a>(site: &'a Site, volume: &Volume) -> Result<&'a bb_lab_proxmox::Running> {
    let status = volume.status.as_ref();
    let name = status.and_then(|status| status.cluster.as_deref());
    site.clusters
        .get(name.unwrap_or_default())
        .context("no such cluster")
}

/// One more, as its user, the controller and the cluster would have it.
async fn one(site: &Site, old: &Volume, images: &[Image], number: usize) -> Result<()> {
    let namespace = format!("t{}", number % TENANTS);
    let api: Api<Volume> = Api::namespaced(site.client.clone(), &namespace);
    let object = serde_json::from_value(json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Volume",
        "metadata": {"name": format!("d{number}"), "namespace": namespace,
            "finalizers": [FINALIZER]},
        "spec": old.spec,
    }))?;
    let made = api
        .create(&PostParams::default(), &object)
        .await
        .with_context(|| format!("cannot make Volume {number}"))?;
    let uids = (old.uid(), made.uid());
    let (Some(old_uid), Some(uid)) = uids else {
        anyhow::bail!("what the API made has no UID");
    };
    let mut status = old.status.clone().context("it was chosen by its status")?;
    status.provider_id = status.provider_id.map(|id| id.replace(&old_uid, &uid));
    cluster(site, old)?.with(|cluster| {
        for (storage, node, name, image) in images {
            let storage = cluster.storages.get_mut(storage);
            let volumes = storage.and_then(|s| s.volumes.get_mut(node));
            let volumes = volumes.context("a storage is gone")?;
            volumes.insert(name.replace(&old_uid, &uid), image.clone());
        }
        anyhow::Ok(())
    })?;
    let body = json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Volume",
        "metadata": {"name": made.name_any()}, "status": status,
    });
    let params = PatchParams::apply("bitbuilder-controller").force();
    api.patch_status(&made.name_any(), &params, &Patch::Apply(&body))
        .await
        .with_context(|| format!("cannot write the status of Volume {number}"))?;
    Ok(())
}
