//! Turns desired volumes and the disks in a configuration into `scsiN` keys.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::ids::Vmid;

use super::{DesiredGuest, Disks, GuestConfig, KeyDiff, Kind, Property, mark, parse_size};

/// The slots of each bus that hold disks, and where a disk of ours may be put.
const BUSES: [(&str, u32); 4] = [("scsi", 31), ("virtio", 16), ("sata", 6), ("ide", 4)];

/// A guest's own first disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootDisk {
    /// The key, such as `scsi0` or `rootfs`.
    pub key: String,
    /// Its size in bytes, where the configuration says.
    pub bytes: Option<u64>,
}

/// A volume of ours in a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The key, such as `scsi1`.
    pub key: String,
    /// Its size in bytes, where the configuration says.
    pub bytes: Option<u64>,
    /// Whether it goes with the next restart only, because the guest did not let go of it.
    pub leaving: bool,
}

fn is_disk_key(key: &str) -> bool {
    BUSES.iter().any(|(bus, slots)| {
        key.strip_prefix(bus)
            .and_then(|number| number.parse::<u32>().ok())
            .is_some_and(|number| number < *slots)
    })
}

fn is_cdrom(value: &Property) -> bool {
    value.get("media") == Some("cdrom")
}

/// Whether a machine has a drive for cloud-init: its addresses and keys are on it.
#[must_use]
pub fn has_cloud_init(config: &GuestConfig) -> bool {
    config.keys().filter(|key| is_disk_key(key)).any(|key| {
        let value = Property::parse(config.effective(key).unwrap_or(""));
        is_cdrom(&value) && value.head.is_some_and(|volid| volid.contains("cloudinit"))
    })
}

/// The disk that a guest starts from: the first disk in its boot order, or the first there is.
#[must_use]
pub fn root_disk(kind: Kind, config: &GuestConfig) -> Option<RootDisk> {
    let found = |key: &str| {
        let value = Property::parse(config.effective(key)?);
        let bytes = value.get("size").and_then(parse_size);
        (!is_cdrom(&value)).then(|| RootDisk {
            key: key.to_owned(),
            bytes,
        })
    };
    if kind == Kind::Container {
        return found("rootfs");
    }
    let boot = Property::parse(config.effective("boot").unwrap_or(""));
    let ordered = boot
        .get("order")
        .unwrap_or("")
        .split(';')
        .filter(|key| is_disk_key(key));
    let old_form = config.effective("bootdisk").into_iter();
    let usual = ["scsi0", "virtio0", "sata0", "ide0"].into_iter();
    ordered.chain(old_form).chain(usual).find_map(found)
}

/// The volumes of ours in a guest, by the UID of the Volume.
///
/// A volume counts while it is in the configuration in force, and also when it is only
/// pending: in both cases the guest has it, or may have it at any moment.
#[must_use]
pub fn attached(holder: Vmid, config: &GuestConfig) -> BTreeMap<String, Attached> {
    let mut found = BTreeMap::new();
    let keys: BTreeSet<&String> = config.current.keys().chain(config.pending.keys()).collect();
    for key in keys.into_iter().filter(|key| is_disk_key(key)) {
        let values = [
            config.effective(key),
            config.current.get(key).map(String::as_str),
        ];
        for (at, value) in values.into_iter().enumerate() {
            let Some(value) = value.map(Property::parse) else {
                continue;
            };
            let uid = value
                .head
                .as_deref()
                .and_then(|volid| mark::volume_uid(holder, volid));
            if let Some(uid) = uid {
                found.entry(uid).or_insert_with(|| Attached {
                    key: key.clone(),
                    bytes: value.get("size").and_then(parse_size),
                    leaving: at == 1,
                });
            }
        }
    }
    found
}

/// Where new volumes may go: `scsi1` and up, but for what is in use. `scsi0` is the root's by
/// custom, also where the root is on another bus.
fn free_slots(config: &GuestConfig) -> impl Iterator<Item = String> {
    (1..31)
        .map(|slot| format!("scsi{slot}"))
        .filter(|key| config.effective(key).is_none() && !config.current.contains_key(key))
}

pub(super) fn diff(
    diff: &mut KeyDiff,
    holder: Option<Vmid>,
    guest: &DesiredGuest,
    disks: &Disks,
    config: &GuestConfig,
) {
    let Some(holder) = holder else { return };
    let present = attached(holder, config);
    for (uid, have) in &present {
        let wanted = guest
            .volumes
            .iter()
            .any(|attachment| attachment.volume_uid == *uid);
        if !wanted && !have.leaving {
            diff.delete.insert(have.key.clone());
        }
    }
    let mut free = free_slots(config);
    for attachment in &guest.volumes {
        let Some((volid, _)) = disks.get(&attachment.volume_uid) else {
            continue;
        };
        let want = format!("{volid},serial={}", attachment.serial);
        match present.get(&attachment.volume_uid) {
            Some(have) if !have.leaving => {
                let mut value = Property::parse(config.effective(&have.key).unwrap_or(""));
                if value.get("serial") != Some(&attachment.serial) {
                    value.set("serial", &attachment.serial);
                    diff.set.insert(have.key.clone(), value.to_string());
                }
            }
            // It is on its way out of its old slot and may not be in two slots at once.
            Some(_) => {}
            None => {
                if let Some(key) = free.next() {
                    diff.set.insert(key, want);
                }
            }
        }
    }
}
