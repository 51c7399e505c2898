//! Turns an object and what there is around it into the commands and calls that it stands for, by
//! what the controller itself renders.
//!
//! What only the controller or the target knows stands in angle brackets, as in a plan.

use bb_core::drift;
use bb_core::proxmox::keys::{Disks, GuestConfig, container_parameters, diff};
use bb_core::proxmox::mark;
use bb_core::proxmox::model::{self, DesiredGuest, DesiredVolume, Kind, Power, Source};
use bb_core::proxmox::observed::Place;
use bb_core::proxmox::plan::{Guest, Op};
use bb_core::render;
use bb_core::resolve::{Resolved, resolve};
use bb_core::vyos::Want;
use bb_core::world::World;
use bb_proxmox::words;

use crate::object::{Object, text};
use crate::related::namespace_of;
use crate::style::Tone;

use super::check;
use super::store::{Id, Store};
use super::text::Text;

/// The installation is the controller's own.
const INSTALLATION: &str = "<installation>";

/// The kinds that have something on routers and clusters by themselves.
const KINDS: [&str; 4] = ["Tenant", "Network", "Volume", "Instance"];

/// What an object stands for on each router and cluster; nothing for kinds that have nothing there.
pub(super) fn lines(id: &Id, store: &Store) -> Vec<Text> {
    let Some(object) = store.get(id).map(|entry| &entry.object) else {
        return Vec::new();
    };
    if !KINDS.contains(&id.kind.kind) {
        return Vec::new();
    }
    let mut lines = vec![
        Text::default(),
        Text::of(Tone::Head, "What it stands for there:"),
    ];
    let before = lines.len();
    let namespace = match id.kind.kind {
        "Tenant" => namespace_of(object),
        _ => id.key.namespace.to_string(),
    };
    let world = check::around(&namespace, store);
    let resolved = resolve(&world);
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    match id.kind.kind {
        "Tenant" | "Network" => on_routers(uid, &world, &resolved, &mut lines),
        _ => on_clusters(uid, object, &world, &resolved, &mut lines),
    }
    if lines.len() == before {
        let words = match world.providers.is_empty() || world.regions.is_empty() {
            true => "  that is told by regions and providers, which you may not see",
            false => "  nothing, as it is now: the describe tab says why",
        };
        lines.push(Text::of(Tone::Faint, words));
    }
    lines
}

fn on_routers(uid: &str, world: &World, resolved: &Resolved, lines: &mut Vec<Text>) {
    for name in resolved.routers.keys() {
        let desired = render::router(world, resolved, name, INSTALLATION);
        let own = desired.claims.iter().filter(|claim| claim.owner == uid);
        for claim in own {
            let Want::Present { lines: wanted, .. } = &claim.want else {
                continue;
            };
            lines.push(Text::of(Tone::Head, format!("  router {name}")));
            let commands = wanted.iter().map(|path| drift::words(path));
            lines.extend(commands.map(|command| Text::plain(format!("    set {command}"))));
        }
    }
}

fn on_clusters(
    uid: &str,
    object: &Object,
    world: &World,
    resolved: &Resolved,
    lines: &mut Vec<Text>,
) {
    let node = match text(object, "/status/node") {
        node if node.is_empty() => "<node>".to_owned(),
        node => node,
    };
    for name in resolved.clusters.keys() {
        let Some(desired) = render::cluster(world, resolved, name, INSTALLATION) else {
            continue;
        };
        let guests = desired.guests.iter().filter(|guest| guest.uid == uid);
        let volumes = desired.volumes.iter().filter(|volume| volume.uid == uid);
        let calls: Vec<Op> = guests
            .flat_map(|guest| of_guest(guest, &node, &desired))
            .chain(volumes.filter_map(|volume| of_volume(volume, &desired)))
            .collect();
        if calls.is_empty() {
            continue;
        }
        lines.push(Text::of(Tone::Head, format!("  cluster {name}")));
        // Paths are written with such characters in code.
        let calls = calls
            .iter()
            .map(|op| words(op).replace("%3Cnode%3E", "<node>"));
        let calls = calls.map(|call| format!("    {}", crate::style::tame(&call)));
        lines.extend(calls.map(Text::plain));
    }
}

/// What makes a guest from nothing. Its volumes are attached by the same keys, once they are there.
fn of_guest(guest: &DesiredGuest, node: &str, desired: &model::Desired) -> Vec<Op> {
    let kind = guest.source.kind();
    let own = Guest {
        kind,
        node: node.to_owned(),
        vmid: guest.vmid,
    };
    let pool = &desired.cluster.pool;
    let mut calls = Vec::new();
    match &guest.source {
        Source::Template {
            vmid,
            full,
            storage,
        } => {
            calls.push(Op::Clone {
                template: Guest {
                    kind: Kind::Vm,
                    node: "<node>".to_owned(),
                    vmid: *vmid,
                },
                vmid: guest.vmid,
                name: guest.name.clone(),
                pool: pool.clone(),
                description: "<mark>".to_owned(),
                full: *full,
                storage: storage.clone(),
            });
            let nothing = GuestConfig::default();
            let holder = desired.cluster.holder;
            let written = diff(INSTALLATION, holder, guest, &Disks::new(), &nothing);
            calls.push(Op::Configure {
                guest: own.clone(),
                set: public(written.set),
                delete: written.delete,
                digest: None,
            });
        }
        Source::Archive { .. } => calls.push(Op::Build {
            guest: own.clone(),
            parameters: public(container_parameters(INSTALLATION, pool, guest)),
        }),
    }
    if guest.power == Power::Running {
        calls.push(Op::Start(own));
    }
    calls
}

/// What makes a volume.
fn of_volume(volume: &DesiredVolume, desired: &model::Desired) -> Option<Op> {
    let holder = desired.cluster.holder?;
    Some(Op::Allocate {
        place: Place {
            node: "<node>".to_owned(),
            storage: volume.storage.clone(),
        },
        holder,
        file: mark::volume_name(holder, &volume.uid),
        format: None,
        size_gib: volume.size_gib,
    })
}

/// The same with words for what follows from the installation, and for what is long and known.
fn public(
    mut keys: std::collections::BTreeMap<String, String>,
) -> std::collections::BTreeMap<String, String> {
    for (key, word) in [
        ("tags", "<tag>"),
        ("description", "<mark>"),
        ("sshkeys", "<keys>"),
        ("ssh-public-keys", "<keys>"),
    ] {
        if let Some(value) = keys.get_mut(key) {
            word.clone_into(value);
        }
    }
    keys
}
