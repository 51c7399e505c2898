//! Turns a guest that is not there yet into the one call that makes it.

use std::collections::BTreeSet;

use bb_crds::condition::Reason;
use bb_crds::ids::Vmid;

use super::guest::held;
use super::{Guest, Op, Scene, Step};
use crate::proxmox::keys;
use crate::proxmox::model::{DesiredGuest, GuestState, Kind, Source};
use crate::proxmox::observed::{Key, Need, Place};

pub(super) fn create(scene: &Scene<'_>, guest: &DesiredGuest) -> Step<GuestState> {
    match &guest.source {
        Source::Template {
            vmid,
            full,
            storage,
        } => clone(scene, guest, *vmid, *full, storage.as_deref()),
        Source::Archive { volid, storage, .. } => build(scene, guest, volid, storage),
    }
}

fn clone(
    scene: &Scene<'_>,
    guest: &DesiredGuest,
    template: Vmid,
    full: bool,
    storage: Option<&str>,
) -> Step<GuestState> {
    let Some(row) = scene.seen.guests.get(&template) else {
        return held(
            Reason::NotFound,
            format!(
                "template {template} cannot be seen: make it, or grant VM.Audit and VM.Clone on \
                 /vms/{template} to the user and to the token"
            ),
        );
    };
    if row.kind != Kind::Vm {
        return held(
            Reason::Invalid,
            format!("template {template} is a container"),
        );
    }
    if scene.seen.nodes.get(&row.node) == Some(&false) {
        let message = format!("node {} with template {template} is offline", row.node);
        return held(Reason::Unreachable, message);
    }
    // Proxmox VE refuses a storage for a linked clone, which is where its template is.
    let storage = storage.filter(|_| full);
    if let Some(storage) = storage
        && !scene.seen.storages.contains_key(storage)
    {
        return no_storage(storage);
    }
    let cluster = &scene.desired.cluster;
    let op = Op::Clone {
        template: Guest {
            kind: Kind::Vm,
            node: row.node.clone(),
            vmid: template,
        },
        vmid: guest.vmid,
        name: guest.name.clone(),
        pool: cluster.pool.clone(),
        description: keys::mark_of(&cluster.installation, guest).to_string(),
        full,
        storage: storage.map(str::to_owned),
    };
    Step::Do(Key::Guest(guest.vmid), vec![op])
}

fn no_storage(storage: &str) -> Step<GuestState> {
    held(
        Reason::NotFound,
        format!(
            "storage {storage} cannot be seen on any node: enable it, or grant \
             Datastore.AllocateSpace and Datastore.Audit on /storage/{storage}"
        ),
    )
}

fn build(scene: &Scene<'_>, guest: &DesiredGuest, volid: &str, root: &str) -> Step<GuestState> {
    let archive = volid.split(':').next().unwrap_or_default();
    let nodes_of = |storage: &str| -> Option<BTreeSet<String>> {
        scene
            .seen
            .storages
            .get(storage)
            .map(|found| found.nodes.clone())
    };
    let Some(with_root) = nodes_of(root) else {
        return no_storage(root);
    };
    let Some(with_archive) = nodes_of(archive) else {
        return no_storage(archive);
    };
    let online = |node: &String| scene.seen.nodes.get(node).copied().unwrap_or(true);
    let mut nodes: Vec<String> = with_root
        .intersection(&with_archive)
        .filter(|node| online(node))
        .cloned()
        .collect();
    let shared = scene
        .seen
        .storages
        .get(archive)
        .is_some_and(|storage| storage.shared);
    if nodes.len() > 1 && !shared {
        let place = |node: &String| Place {
            node: node.clone(),
            storage: archive.to_owned(),
        };
        let unread: Vec<Need> = nodes
            .iter()
            .filter(|node| !scene.seen.archives.contains_key(&place(node)))
            .map(|node| Need::Archives(place(node)))
            .filter(|need| scene.refusal(need).is_none())
            .collect();
        if !unread.is_empty() {
            return Step::Needs(unread);
        }
        nodes.retain(|node| {
            scene
                .seen
                .archives
                .get(&place(node))
                .is_some_and(|found| found.contains(volid))
        });
    }
    if nodes.is_empty() {
        let message = format!("no node that is online has {volid} and storage {root}");
        return held(Reason::NotFound, message);
    }
    // The VMID spreads containers over the nodes, and gives the same node in every pass.
    let at = usize::try_from(guest.vmid.get()).unwrap_or_default() % nodes.len();
    let cluster = &scene.desired.cluster;
    let op = Op::Build {
        guest: Guest {
            kind: Kind::Container,
            node: nodes.swap_remove(at),
            vmid: guest.vmid,
        },
        parameters: keys::container_parameters(&cluster.installation, &cluster.pool, guest),
    };
    Step::Do(Key::Guest(guest.vmid), vec![op])
}
