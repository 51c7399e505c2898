//! Answers which guests have a volume, or what must be read to know.
//!
//! Proxmox VE lets two guests attach one volume and deletes a volume under a running guest, so
//! nothing is attached or deleted before every guest that might have it is known not to.

use bb_crds::ids::Vmid;

use super::Scene;
use super::guest::is_written;
use crate::proxmox::keys;
use crate::proxmox::model::{DesiredGuest, Fate, Kind};
use crate::proxmox::observed::{ConfigRead, Key, Need};

/// Who has a volume.
pub(super) enum Users {
    /// These guests, and no other.
    Known(Vec<Vmid>),
    /// It cannot be said without these reads.
    Needs(Vec<Need>),
    /// It cannot be said now; the text says why.
    Unclear(String),
}

enum Has {
    Yes,
    No,
    Need(Need),
    Unclear(String),
}

/// The guests other than `except` that have, or may have, a volume.
pub(super) fn users(scene: &Scene<'_>, holder: Vmid, uid: &str, except: Option<Vmid>) -> Users {
    let mut known = Vec::new();
    let mut needs = Vec::new();
    let mut unclear = None;
    let of_objects = scene
        .desired
        .guests
        .iter()
        .filter(|guest| Some(guest.vmid) != except)
        .map(|guest| (guest.vmid, has(scene, holder, uid, guest)));
    let machines = scene
        .strangers
        .iter()
        .filter(|(_, row)| row.kind == Kind::Vm);
    let of_others =
        machines.map(|(vmid, row)| (*vmid, read(scene, holder, uid, *vmid, row.kind, &row.node)));
    for (vmid, answer) in of_objects.chain(of_others) {
        match answer {
            Has::Yes => known.push(vmid),
            Has::No => {}
            Has::Need(need) => needs.push(need),
            Has::Unclear(why) => unclear = unclear.or(Some(why)),
        }
    }
    known.sort();
    if !needs.is_empty() {
        Users::Needs(needs)
    } else if let Some(why) = unclear {
        Users::Unclear(why)
    } else {
        Users::Known(known)
    }
}

fn has(scene: &Scene<'_>, holder: Vmid, uid: &str, guest: &DesiredGuest) -> Has {
    if guest.source.kind() == Kind::Container {
        return Has::No;
    }
    let wants = guest
        .volumes
        .iter()
        .any(|attachment| attachment.volume_uid == uid);
    if let Some(what) = scene.busy(&Key::Guest(guest.vmid)) {
        return Has::Unclear(format!("waits for VM {}: {what}", guest.vmid));
    }
    let Some(row) = scene.seen.guests.get(&guest.vmid) else {
        return absent(scene, guest);
    };
    let settled = guest.settled == Some(scene.print(guest)) || is_written(scene, guest);
    if guest.fate == Fate::Keep && settled && !scene.seen.configs.contains_key(&guest.vmid) {
        return if wants { Has::Yes } else { Has::No };
    }
    read(scene, holder, uid, guest.vmid, row.kind, &row.node)
}

/// A guest that once was and is in no list may be out of our sight only.
fn absent(scene: &Scene<'_>, guest: &DesiredGuest) -> Has {
    let was = guest.settled.is_some() || scene.flight.made.contains(&guest.vmid);
    match scene.seen.free.get(&guest.vmid) {
        _ if !was => Has::No,
        Some(true) => Has::No,
        Some(false) => Has::Unclear(format!("VM {} exists and cannot be seen", guest.vmid)),
        None => Has::Need(Need::Free(guest.vmid)),
    }
}

fn read(scene: &Scene<'_>, holder: Vmid, uid: &str, vmid: Vmid, kind: Kind, node: &str) -> Has {
    let need = Need::Config(kind, node.to_owned(), vmid);
    match scene.seen.configs.get(&vmid) {
        Some(ConfigRead::Found(config)) if keys::attached(holder, config).contains_key(uid) => {
            Has::Yes
        }
        Some(ConfigRead::Found(_) | ConfigRead::NotThere) => Has::No,
        Some(ConfigRead::Forbidden) => Has::Unclear(format!("VM {vmid} cannot be read")),
        None => match scene.refusal(&need) {
            Some(rest) => Has::Unclear(format!("VM {vmid} cannot be read: {}", rest.message)),
            None => Has::Need(need),
        },
    }
}
