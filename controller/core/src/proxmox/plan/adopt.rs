//! Turns a guest that is there and not ours into what taking it over would change, or into the mark.

use bb_crds::condition::Reason;

use super::guest::{Judged, address, differs, held, invisible, locked, name_of};
use super::{Op, Scene, Step, attach};
use crate::drift::Difference;
use crate::proxmox::keys::{self, GuestConfig};
use crate::proxmox::mark::{self, Ownership};
use crate::proxmox::model::{Adoption, DesiredGuest, Fate, GuestState};
use crate::proxmox::observed::{Key, Need, Row};

/// A guest to be taken over, or that was, and that no list shows: it is never made.
pub(super) fn absent(scene: &Scene<'_>, guest: &DesiredGuest) -> Step<GuestState> {
    let name = name_of(guest);
    if guest.settled.is_none() {
        let pool = &scene.desired.cluster.pool;
        return held(
            Reason::NotFound,
            format!(
                "{name} cannot be seen, so it cannot be adopted: put it into pool {pool}, or \
                 grant the rights of the pool on it"
            ),
        );
    }
    match scene.seen.free.get(&guest.vmid) {
        None => scene.want(Need::Free(guest.vmid)),
        Some(false) => invisible(scene, guest),
        Some(true) => held(
            Reason::Stuck,
            format!(
                "{name} is gone; it was adopted, so it is not made anew: restore it from a \
                 backup, or delete the Instance"
            ),
        ),
    }
}

/// A guest to be taken over that does not bear its mark yet.
pub(super) fn present(
    scene: &Scene<'_>,
    guest: &DesiredGuest,
    adoption: &Adoption,
    row: &Row,
    config: &GuestConfig,
    ownership: &Ownership,
) -> Judged {
    // Ours it never was: there is nothing to destroy.
    if guest.fate == Fate::Destroy {
        return Step::Is(GuestState::Gone).into();
    }
    if let Some(refusal) = refusal(scene, guest, adoption, row, config, ownership) {
        return refusal.into();
    }
    let cluster = &scene.desired.cluster;
    let disks = match attach::volumes(scene, guest, row, config) {
        Ok((disks, _)) => disks,
        Err(needs) => return Step::Needs(needs).into(),
    };
    if !scene.seen.live.contains_key(&guest.vmid) {
        return scene.want(Need::Live(row.node.clone(), row.kind)).into();
    }
    if adoption.confirmed {
        let step = locked(guest, config).unwrap_or_else(|| mark(scene, guest, row, config));
        return step.into();
    }
    let mark = keys::mark_of(&cluster.installation, guest);
    let diff = keys::diff(&cluster.installation, cluster.holder, guest, &disks, config);
    let mut lines = vec![format!("+ description: {mark}")];
    lines.extend(differs(scene, guest, &diff, config));
    let count = lines.len();
    let called = row.name.as_deref().unwrap_or("no name");
    let step = held(
        Reason::Preview,
        format!(
            "adopting {} ({called}) would change what status.preview shows, {count} lines; set \
             spec.adopt.mode to Adopt to have it done",
            name_of(guest)
        ),
    );
    Judged {
        preview: Difference::of(lines),
        ..Judged::from(step)
    }
}

/// Puts our mark before what people wrote, and changes nothing else: from then on the guest
/// is ours, and the next pass does the rest.
fn mark(
    scene: &Scene<'_>,
    guest: &DesiredGuest,
    row: &Row,
    config: &GuestConfig,
) -> Step<GuestState> {
    let mark = keys::mark_of(&scene.desired.cluster.installation, guest).to_string();
    let before = config.description();
    let notes = match mark::Mark::parse(before) {
        // The mark of an object that is no more.
        Some(_) => before.split_once('\n').map_or("", |(_, rest)| rest),
        None => before,
    };
    let description = if notes.is_empty() {
        mark
    } else {
        format!("{mark}\n{notes}")
    };
    let op = Op::Configure {
        guest: address(guest, row),
        set: [("description".to_owned(), description)].into(),
        delete: std::collections::BTreeSet::new(),
        digest: config.digest.clone(),
    };
    Step::Do(Key::Guest(guest.vmid), vec![op])
}

/// Why a guest is not taken over whatever its owner wants.
fn refusal(
    scene: &Scene<'_>,
    guest: &DesiredGuest,
    adoption: &Adoption,
    row: &Row,
    config: &GuestConfig,
    ownership: &Ownership,
) -> Option<Step<GuestState>> {
    let name = name_of(guest);
    let installation = &scene.desired.cluster.installation;
    if row.kind != guest.source.kind() {
        let message = format!(
            "{} {} is of another kind than the object",
            row.kind.word(),
            guest.vmid
        );
        return Some(held(Reason::Conflict, message));
    }
    if config.effective("template") == Some("1") {
        let message = format!("{name} is a template: clone it by an image instead of adopting it");
        return Some(held(Reason::Invalid, message));
    }
    let whose = match ownership {
        Ownership::Other(other) if other.installation != *installation => {
            Some("it belongs to another installation")
        }
        Ownership::Other(other) if adoption.living.contains(&other.uid) => {
            Some("it belongs to another Instance")
        }
        _ => foreign_tag(installation, adoption, row),
    };
    let whose = whose?;
    Some(held(
        Reason::Conflict,
        format!("{name} is not adopted: {whose}; have its owner let go of it first"),
    ))
}

/// Whose a guest is by its tags, where that is somebody: its notes may have been overwritten.
fn foreign_tag(installation: &str, adoption: &Adoption, row: &Row) -> Option<&'static str> {
    let ours = mark::installation_tag(installation);
    let of_living = |tag: &String| {
        let mut living = adoption.living.iter();
        living.any(|uid| *tag == mark::tag(installation, uid))
    };
    row.tags.iter().find_map(|tag| {
        if mark::is_tag(tag) && !tag.starts_with(&ours) {
            Some("it bears the tag of another installation")
        } else if tag.starts_with(&ours) && of_living(tag) {
            Some("it bears the tag of another Instance")
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests;
