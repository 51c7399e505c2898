//! Finds the disk image of a volume in the listings, or says which listings are missing.

use bb_crds::ids::Vmid;

use super::Scene;
use crate::proxmox::mark;
use crate::proxmox::model::DesiredVolume;
use crate::proxmox::observed::{Need, Place, Rest, Storage};

/// The image of a volume and where it was seen.
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

/// The image in the listings at hand.
pub(super) fn seen<'a>(scene: &Scene<'a>, volume: &DesiredVolume) -> Option<Image<'a>> {
    let holder = scene.desired.cluster.holder?;
    let here = scene
        .seen
        .images
        .iter()
        .filter(|(place, _)| place.storage == volume.storage);
    here.flat_map(|(place, images)| {
        images
            .iter()
            .map(move |(volid, bytes)| (place, volid, bytes))
    })
    .find(|(_, volid, _)| mark::volume_uid(holder, volid).as_deref() == Some(&volume.uid))
    .map(|(place, volid, bytes)| Image {
        place,
        volid,
        bytes: *bytes,
    })
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
