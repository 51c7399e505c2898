//! Finds the disk image of a volume in the listings, or says which listings are missing.

use std::collections::HashMap;

use bb_crds::ids::Vmid;

use super::Scene;
use crate::proxmox::mark;
use crate::proxmox::model::DesiredVolume;
use crate::proxmox::observed::{Need, Observed, Place, Rest, Storage};

/// The image of a volume and where it was seen.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    pub(super) place: &'a Place,
    pub(super) volid: &'a str,
    pub(super) bytes: u64,
}

/// What the listings say of a volume's image.
pub(super) enum Found<'a> {
    At(Image<'a>),
    /// Every place where it could be was listed.
    Nowhere,
    Needs(Vec<Need>),
    Refused(&'a Rest),
    /// It may be where nobody can look now.
    Dark,
}

/// The images in the listings at hand by the UID of their volume, those of one storage after
/// those of another: a search for each volume would look at every image that often.
pub(super) fn by_volume<'a>(
    holder: Option<Vmid>,
    seen: &'a Observed,
) -> HashMap<String, Vec<Image<'a>>> {
    let mut all: HashMap<String, Vec<Image<'a>>> = HashMap::new();
    let Some(holder) = holder else { return all };
    for (place, images) in &seen.images {
        for (volid, bytes) in images {
            if let Some(uid) = mark::volume_uid(holder, volid) {
                all.entry(uid).or_default().push(Image {
                    place,
                    volid,
                    bytes: *bytes,
                });
            }
        }
    }
    all
}

/// The image in the listings at hand.
pub(super) fn seen<'a>(scene: &Scene<'a>, volume: &DesiredVolume) -> Option<Image<'a>> {
    let mut images = scene.images.get(&volume.uid)?.iter().copied();
    images.find(|image| image.place.storage == volume.storage)
}

/// The image, wherever it can be.
pub(super) fn find<'a>(
    scene: &Scene<'a>,
    holder: Vmid,
    volume: &DesiredVolume,
    storage: &Storage,
) -> Found<'a> {
    if let Some(image) = seen(scene, volume) {
        return Found::At(image);
    }
    let places = places(scene, holder, &volume.storage, storage);
    if places.is_empty() || (!storage.shared && !storage.dark.is_empty()) {
        return Found::Dark;
    }
    let unread: Vec<Need> = places
        .into_iter()
        .filter(|place| !scene.seen.images.contains_key(place))
        .map(Need::Images)
        .collect();
    if let Some(rest) = unread.iter().find_map(|need| scene.seen.failed.get(need)) {
        Found::Refused(rest)
    } else if unread.is_empty() {
        Found::Nowhere
    } else {
        Found::Needs(unread)
    }
}

/// Where images of a storage can be: a shared one shows the same on every node, another one
/// its own on each.
pub(super) fn places(scene: &Scene<'_>, holder: Vmid, name: &str, storage: &Storage) -> Vec<Place> {
    let online = |node: &&String| scene.seen.nodes.get(*node).copied().unwrap_or(true);
    let mut nodes: Vec<&String> = storage.nodes.iter().filter(online).collect();
    if storage.shared {
        let home = scene.seen.guests.get(&holder).map(|row| &row.node);
        let near = nodes
            .iter()
            .find(|node| Some(**node) == home)
            .or(nodes.first())
            .copied();
        nodes = near.into_iter().collect();
    }
    nodes
        .into_iter()
        .map(|node| Place {
            node: node.clone(),
            storage: name.to_owned(),
        })
        .collect()
}
