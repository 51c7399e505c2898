//! Turns one desired volume and what is seen of it into where it stands and what comes next.

use bb_crds::condition::Reason;
use bb_crds::ids::Vmid;

use super::images::{self, Found, Image};
use super::users::{Users, users};
use super::{Guest, Op, Scene, Stands, Step};
use crate::drift::Difference;
use crate::proxmox::keys::{self, GuestConfig};
use crate::proxmox::mark;
use crate::proxmox::model::{DesiredVolume, Fate, Kind, VolumeState};
use crate::proxmox::observed::{ConfigRead, Key, Need, Row, Storage};

const GIB: u64 = 1 << 30;

fn held(reason: Reason, message: impl Into<String>) -> Step<VolumeState> {
    Step::Is(VolumeState::held(reason, message.into()))
}

fn working(what: impl Into<String>) -> Step<VolumeState> {
    Step::Is(VolumeState::Working(what.into()))
}

/// The volume id, where it was seen in this pass.
pub(super) fn volid(scene: &Scene<'_>, volume: &DesiredVolume) -> Option<String> {
    images::seen(scene, volume).map(|image| image.volid.to_owned())
}

/// The guest that should have a volume and the device it has it as, where it was read.
pub(super) fn device(scene: &Scene<'_>, volume: &DesiredVolume) -> Option<(String, String)> {
    let holder = scene.desired.cluster.holder?;
    let wanted = volume.attached_to.as_ref()?;
    let guest = scene.guests.get(wanted.as_str())?;
    let ConfigRead::Found(config) = scene.seen.configs.get(&guest.vmid)? else {
        return None;
    };
    let attached = keys::attached(holder, config).remove(&volume.uid)?;
    Some((guest.uid.clone(), attached.key))
}

/// What somebody else did to a volume: its image is gone.
pub(super) fn drift(scene: &Scene<'_>, volume: &DesiredVolume) -> Option<Difference> {
    let holder = scene.desired.cluster.holder?;
    let storage = scene.seen.storages.get(&volume.storage)?;
    if !volume.settled || volume.fate != Fate::Keep {
        return None;
    }
    let looked = scene
        .seen
        .images
        .keys()
        .any(|p| p.storage == volume.storage);
    let gone = looked && matches!(images::find(scene, holder, volume, storage), Found::Nowhere);
    let name = mark::volume_name(holder, &volume.uid);
    Difference::of([format!("- no image {name}"), format!("+ {name}")]).filter(|_| gone)
}

pub(super) fn judge(scene: &Scene<'_>, volume: &DesiredVolume) -> Step<VolumeState> {
    if volume.fate == Fate::Release {
        return Step::Is(VolumeState::Gone);
    }
    let Some(holder) = scene.desired.cluster.holder else {
        if volume.fate == Fate::Destroy && !volume.settled {
            return Step::Is(VolumeState::Gone);
        }
        return held(
            Reason::Invalid,
            "the Provider names no holder: make a stopped guest with protection and set \
             spec.proxmox.holder to its VMID",
        );
    };
    if let Some(what) = scene.busy(&Key::Volume(volume.uid.clone())) {
        return working(what);
    }
    if volume.settled && volume.fate != Fate::Destroy {
        let seen = scene
            .seen
            .images
            .keys()
            .any(|place| place.storage == volume.storage);
        if !seen {
            return Step::Is(VolumeState::Settled {
                size_gib: volume.size_gib,
            });
        }
    }
    if let Some(rest) = scene.flight.resting.get(&volume.uid) {
        return Step::Is(VolumeState::resting(rest));
    }
    let Some(row) = scene.seen.guests.get(&holder) else {
        return no_holder(holder);
    };
    let Some(storage) = scene.seen.storages.get(&volume.storage) else {
        return no_storage(&volume.storage);
    };
    let found = match images::find(scene, holder, volume, storage) {
        Found::At(image) => Some(image),
        Found::Nowhere => None,
        Found::Needs(needs) => return Step::Needs(needs),
        Found::Refused(rest) => return Step::Is(VolumeState::resting(rest)),
        Found::Dark => {
            let message = format!(
                "storage {} is not available on every node that has it",
                volume.storage
            );
            return held(Reason::Unreachable, message);
        }
    };
    match (volume.fate, found) {
        (Fate::Keep, Some(image)) => keep(scene, holder, volume, &image),
        (Fate::Keep, None) if volume.settled => lost(holder, volume),
        (Fate::Keep, None) => allocate(scene, holder, volume, storage),
        (Fate::Destroy, Some(image)) => destroy(scene, holder, row, volume, &image),
        (Fate::Destroy, None) => Step::Is(VolumeState::Gone),
        (Fate::Hold | Fate::Release, _) => held(
            Reason::Paused,
            "the object is held back: nothing is written",
        ),
    }
}

fn no_holder(holder: Vmid) -> Step<VolumeState> {
    held(
        Reason::NotFound,
        format!(
            "holder {holder} cannot be seen: make it, or grant VM.Audit and VM.Config.Disk on \
             /vms/{holder} to the user and to the token"
        ),
    )
}

fn no_storage(storage: &str) -> Step<VolumeState> {
    held(
        Reason::NotFound,
        format!(
            "storage {storage} cannot be seen on any node: enable it, or grant \
             Datastore.AllocateSpace and Datastore.Audit on /storage/{storage}"
        ),
    )
}

fn lost(holder: Vmid, volume: &DesiredVolume) -> Step<VolumeState> {
    held(
        Reason::Stuck,
        format!(
            "its disk image {} is no longer on storage {}: it is not made anew, since its data \
             would be missing; restore the image, or delete the Volume",
            mark::volume_name(holder, &volume.uid),
            volume.storage
        ),
    )
}

fn allocate(
    scene: &Scene<'_>,
    holder: Vmid,
    volume: &DesiredVolume,
    storage: &Storage,
) -> Step<VolumeState> {
    let wanted = volume.attached_to.as_deref();
    let user = wanted.and_then(|uid| scene.guests.get(uid));
    let near = user
        .and_then(|guest| scene.seen.guests.get(&guest.vmid))
        .map(|row| &row.node);
    let places = images::places(scene, holder, &volume.storage, storage);
    if near.is_none() && user.is_some() && !storage.shared && places.len() > 1 {
        return working("waits to see which node its instance is on");
    }
    let at = places
        .iter()
        .find(|place| Some(&place.node) == near)
        .or(places.first());
    let Some(place) = at else {
        let message = format!("no node that is online has storage {}", volume.storage);
        return held(Reason::Unreachable, message);
    };
    let name = mark::volume_name(holder, &volume.uid);
    let suffix = storage.suffix();
    let op = Op::Allocate {
        place: place.clone(),
        holder,
        file: suffix.map_or_else(|| name.clone(), |suffix| format!("{name}.{suffix}")),
        format: suffix,
        size_gib: volume.size_gib,
    };
    Step::Do(Key::Volume(volume.uid.clone()), vec![op])
}

fn keep(
    scene: &Scene<'_>,
    holder: Vmid,
    volume: &DesiredVolume,
    image: &Image<'_>,
) -> Step<VolumeState> {
    if image.bytes >= volume.size_gib * GIB {
        return Step::Is(VolumeState::Settled {
            size_gib: image.bytes / GIB,
        });
    }
    let size_gib = volume.size_gib;
    let users = match users(scene, holder, &volume.uid, None) {
        Users::Needs(needs) => return Step::Needs(needs),
        Users::Unclear(why) => return working(format!("{why}, then grows")),
        Users::Known(users) => users,
    };
    let Some(vmid) = users.first().copied() else {
        // On a protected holder a disk that was put on cannot be taken off again, so a volume
        // grows where a guest has it.
        let now = image.bytes / GIB;
        return held(
            Reason::Waiting,
            format!(
                "it has {now} GiB and grows to {size_gib} GiB once an Instance has it: Proxmox \
                 VE grows no disk that no guest has"
            ),
        );
    };
    if let Some(what) = scene.busy(&Key::Guest(vmid)) {
        return working(format!("waits for VM {vmid}: {what}"));
    }
    let Some(row) = scene.seen.guests.get(&vmid) else {
        return working(format!("waits for VM {vmid} to be seen"));
    };
    match scene.seen.configs.get(&vmid) {
        Some(ConfigRead::Found(config)) => grow(
            scene,
            holder,
            volume,
            Guest {
                kind: row.kind,
                node: row.node.clone(),
                vmid,
            },
            config,
        ),
        Some(_) => working(format!("waits for VM {vmid} to be readable")),
        None => scene.want(Need::Config(row.kind, row.node.clone(), vmid)),
    }
}

fn grow(
    scene: &Scene<'_>,
    holder: Vmid,
    volume: &DesiredVolume,
    target: Guest,
    config: &GuestConfig,
) -> Step<VolumeState> {
    let vmid = target.vmid;
    let ours = scene
        .desired
        .guests
        .iter()
        .find(|guest| guest.vmid == vmid)
        .is_some_and(|guest| {
            let mark = keys::mark_of(&scene.desired.cluster.installation, guest);
            guest.fate == Fate::Keep && mark.judge(config.description()) == mark::Ownership::Ours
        });
    if !ours {
        let message = format!("VM {vmid} has it and is not to be changed: detach it there");
        return held(Reason::Waiting, message);
    }
    if let Some(lock) = config.lock() {
        return held(
            Reason::Waiting,
            format!("VM {vmid} has it and is locked ({lock})"),
        );
    }
    match keys::attached(holder, config).remove(&volume.uid) {
        Some(attached) if !attached.leaving => {
            let disk = attached.key;
            let op = Op::Resize {
                guest: target,
                disk,
                size_gib: volume.size_gib,
                digest: config.digest.clone(),
            };
            Step::Do(Key::Guest(vmid), vec![op])
        }
        _ => working(format!("waits for VM {vmid}")),
    }
}

fn destroy(
    scene: &Scene<'_>,
    holder: Vmid,
    row: &Row,
    volume: &DesiredVolume,
    image: &Image<'_>,
) -> Step<VolumeState> {
    match users(scene, holder, &volume.uid, None) {
        Users::Known(users) if users.is_empty() => {}
        Users::Known(users) => {
            let list: Vec<String> = users.iter().map(ToString::to_string).collect();
            return working(format!("waits until VM {} lets go of it", list.join(", ")));
        }
        Users::Needs(needs) => return Step::Needs(needs),
        Users::Unclear(why) => {
            return working(format!("waits to know that no guest has it: {why}"));
        }
    }
    if scene.seen.deletable.contains(&volume.storage) {
        let op = Op::DeleteImage {
            place: image.place.clone(),
            volid: image.volid.to_owned(),
        };
        return Step::Do(Key::Volume(volume.uid.clone()), vec![op]);
    }
    let key = Key::Guest(holder);
    if let Some(what) = scene.busy(&key) {
        return working(what);
    }
    let config = match scene.seen.configs.get(&holder) {
        None => return scene.want(Need::Config(Kind::Vm, row.node.clone(), holder)),
        Some(ConfigRead::Found(config)) => config,
        Some(_) => return working(format!("holder {holder} cannot be read")),
    };
    if config.is_protected() {
        return held(
            Reason::Stuck,
            format!(
                "holder {holder} is protected, so its disks can be deleted by an administrator \
                 only: run `pvesm free {}` on node {}, or grant Datastore.Allocate on \
                 /storage/{}",
                image.volid, image.place.node, volume.storage
            ),
        );
    }
    let target = Guest {
        kind: Kind::Vm,
        node: row.node.clone(),
        vmid: holder,
    };
    let volid = image.volid.to_owned();
    let digest = config.digest.clone();
    let unused = |slot: &u32| config.effective(&format!("unused{slot}"));
    let parked = (0..256).find(|slot| unused(slot) == Some(image.volid));
    let free = (0..256).find(|slot| unused(slot).is_none());
    // One at a time: what is deleted is what this very version of the holder has there.
    let op = match (parked, free) {
        (Some(slot), _) => Op::Drop {
            holder: target,
            slot: format!("unused{slot}"),
            volid,
            digest,
        },
        (None, Some(slot)) => Op::Park {
            holder: target,
            slot: format!("unused{slot}"),
            volid,
            digest,
        },
        (None, None) => return held(Reason::Stuck, format!("holder {holder} has no slot free")),
    };
    Step::Do(key, vec![op])
}
