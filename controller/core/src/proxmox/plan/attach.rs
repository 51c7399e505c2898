//! Answers which volumes a guest may have attached now, and why not the others.

use bb_crds::ids::Vmid;

use super::Scene;
use super::images::{self, Found};
use super::users::{Users, users};
use crate::proxmox::keys::{self, Disks, GuestConfig};
use crate::proxmox::model::{Attachment, DesiredGuest, Fate};
use crate::proxmox::observed::{Need, Row};

/// The volumes that may be attached now, and why the first of the others may not.
pub(super) fn volumes(
    scene: &Scene<'_>,
    guest: &DesiredGuest,
    row: &Row,
    config: &GuestConfig,
) -> Result<(Disks, Option<String>), Vec<Need>> {
    let mut disks = Disks::new();
    let mut missing = None;
    let mut needs = Vec::new();
    if guest.volumes.is_empty() {
        return Ok((disks, missing));
    }
    let Some(holder) = scene.desired.cluster.holder else {
        return Ok((
            disks,
            Some("the Provider names no holder for volumes".to_owned()),
        ));
    };
    let present = keys::attached(holder, config);
    for attachment in &guest.volumes {
        let uid = &attachment.volume_uid;
        match present.get(uid) {
            Some(attached) if !attached.leaving => {
                // Its serial may have to be written still; the volume id stands there already.
                disks.insert(uid.clone(), (String::new(), attachment.clone()));
            }
            Some(attached) => {
                missing = missing.or_else(|| {
                    Some(format!(
                        "a volume leaves {} with the next restart first",
                        attached.key
                    ))
                });
            }
            None => match ready(scene, guest.vmid, holder, row, attachment) {
                Ready::Yes(volid) => {
                    disks.insert(uid.clone(), (volid, attachment.clone()));
                }
                Ready::No(why) => missing = missing.or(Some(why)),
                Ready::Needs(more) => needs.extend(more),
            },
        }
    }
    if needs.is_empty() {
        Ok((disks, missing))
    } else {
        Err(needs)
    }
}

enum Ready {
    Yes(String),
    No(String),
    Needs(Vec<Need>),
}

/// Whether a volume is there, in reach of the guest's node, and nobody else's.
fn ready(scene: &Scene<'_>, vmid: Vmid, holder: Vmid, row: &Row, attachment: &Attachment) -> Ready {
    let uid = attachment.volume_uid.as_str();
    let Some(volume) = scene.volumes.get(uid) else {
        return Ready::No("a volume that it names does not exist".to_owned());
    };
    let name = format!("volume {}/{}", volume.namespace, volume.name);
    if volume.fate == Fate::Destroy {
        return Ready::No(format!("{name} is being deleted"));
    }
    let storage = scene.seen.storages.get(&volume.storage);
    let Some(storage) = storage.filter(|storage| storage.nodes.contains(&row.node)) else {
        return Ready::No(format!(
            "{name} is on storage {}, which node {} does not have",
            volume.storage, row.node
        ));
    };
    let volid = match images::find(scene, holder, volume, storage) {
        Found::Needs(needs) => return Ready::Needs(needs),
        Found::Refused(rest) => {
            return Ready::No(format!("{name} cannot be seen: {}", rest.message));
        }
        Found::Nowhere => return Ready::No(format!("{name} is not made yet")),
        Found::Dark => return Ready::No(format!("{name}: its storage is not available")),
        Found::At(image) if !storage.shared && image.place.node != row.node => {
            return Ready::No(format!(
                "{name} is on node {} and the guest on {}: storage {} is not shared",
                image.place.node, row.node, volume.storage
            ));
        }
        Found::At(image) => image.volid,
    };
    match users(scene, holder, uid, Some(vmid)) {
        Users::Known(list) if list.is_empty() => Ready::Yes(volid.to_owned()),
        Users::Known(list) => {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            Ready::No(format!(
                "{name} is still attached to VM {}",
                list.join(", ")
            ))
        }
        Users::Needs(needs) => Ready::Needs(needs),
        Users::Unclear(why) => Ready::No(format!("{name}: {why}")),
    }
}
