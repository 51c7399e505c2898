//! Turns disk lines of a QEMU guest into volumes: allocate, attach, detach, keep as unused, free.

use crate::model::{Change, Cluster, Guest};
use crate::property::Drive;
use crate::refusal::{Answer, Refusal};
use crate::size::{KIB, disk_bytes, render_size};
use crate::store::NewVolume;
use crate::volume::Content;

/// Bytes of a cloud-init drive.
pub(crate) const CLOUDINIT_SIZE: u64 = 4 << 20;

/// A disk line made real.
#[derive(Debug)]
pub(crate) struct Made {
    /// The line as the config keeps it.
    pub line: String,
    /// The volume allocated for it, if one was.
    pub created: Option<String>,
}

impl Guest {
    /// Every disk line of the applied config.
    pub(crate) fn drives(&self) -> impl Iterator<Item = (&str, Drive)> {
        let lines = self.config.iter().filter(|(k, _)| crate::keys::is_drive(k));
        lines.map(|(k, v)| (k.as_str(), Drive::parse(v)))
    }

    /// Every volume the guest names: disks, unused ones, those of snapshots.
    pub(crate) fn volumes(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut collect = |config: &std::collections::BTreeMap<String, String>| {
            for (key, value) in config {
                let drive = Drive::parse(value);
                let counts = crate::keys::is_drive(key)
                    && (!drive.is_cdrom() || drive.is_cloudinit())
                    || crate::keys::is_unused(key)
                    || crate::keys::is_mount(key);
                if counts && !out.contains(&drive.file().to_owned()) {
                    out.push(drive.file().to_owned());
                }
            }
        };
        collect(&self.config);
        for snapshot in self.snapshots.values() {
            collect(&snapshot.config);
        }
        out
    }

    /// Whether a slot other than `but` still uses a volume.
    fn uses(&self, volid: &str, but: &str) -> bool {
        let mut keys = self.config.iter();
        keys.any(|(k, v)| {
            k != but
                && (crate::keys::is_drive(k) || crate::keys::is_mount(k))
                && Drive::parse(v).file() == volid
        })
    }

    /// Whether a snapshot holds a volume.
    pub(crate) fn snapshot_uses(&self, volid: &str) -> bool {
        self.snapshots.values().any(|s| {
            s.config
                .iter()
                .any(|(k, v)| crate::keys::is_drive(k) && Drive::parse(v).file() == volid)
        })
    }

    /// Puts a volume at the next free `unusedN`, unless it is there already.
    pub(crate) fn keep_unused(&mut self, volid: &str) {
        let listed = |(k, v): (&String, &String)| crate::keys::is_unused(k) && v == volid;
        if self.config.iter().any(listed) {
            return;
        }
        let free = (0..256)
            .map(|n| format!("unused{n}"))
            .find(|k| !self.config.contains_key(k));
        if let Some(key) = free {
            self.config.insert(key, volid.to_owned());
        }
    }

    /// Drops `unusedN` entries of volumes that are attached again.
    pub(crate) fn forget_used(&mut self) {
        let attached: Vec<String> = self
            .config
            .iter()
            .filter(|(k, _)| crate::keys::is_drive(k) || crate::keys::is_mount(k))
            .map(|(_, v)| Drive::parse(v).file().to_owned())
            .collect();
        self.config
            .retain(|k, v| !(crate::keys::is_unused(k) && attached.contains(v)));
    }

    /// The devices of `boot: order=...`.
    pub(crate) fn boot_order(&self) -> Vec<String> {
        let order = self.get("boot").and_then(|b| b.strip_prefix("order="));
        order
            .map(|o| o.split(';').map(str::to_owned).collect())
            .unwrap_or_default()
    }

    /// The same as it will be once pending changes have taken effect.
    pub(crate) fn next_boot_order(&self) -> Vec<String> {
        let Some(Change::Set(boot)) = self.pending.get("boot") else {
            return self.boot_order();
        };
        let order = boot.strip_prefix("order=");
        order
            .map(|o| o.split(';').map(str::to_owned).collect())
            .unwrap_or_default()
    }
}

/// Writes a boot order; an empty one reads back as a blank.
pub(crate) fn render_boot(order: &[String]) -> String {
    if order.is_empty() {
        " ".to_owned()
    } else {
        format!("order={}", order.join(";"))
    }
}

impl Cluster {
    /// Makes a disk line of guest `vmid` real: allocates what is asked for, measures what is there.
    ///
    /// # Errors
    /// The product's words; nothing is left behind.
    pub(crate) fn make_drive(&mut self, vmid: u32, key: &str, line: &str) -> Answer<Made> {
        let mut drive = Drive::parse(line);
        let node = self
            .guests
            .get(&vmid)
            .map(|g| g.node.clone())
            .unwrap_or_default();
        if let Some(sid) = drive.file().strip_suffix(":cloudinit").map(str::to_owned) {
            return self.make_cloudinit(vmid, key, &sid, drive);
        }
        if drive.is_cdrom() || !drive.file().contains(':') {
            return Ok(Made {
                line: drive.render(),
                created: None,
            });
        }
        let Some((sid, gib)) = drive.wanted().map(|(s, g)| (s.to_owned(), g)) else {
            let size = self.known_volume(&node, drive.file())?.size;
            drive.0.options.insert("size".to_owned(), render_size(size));
            return Ok(Made {
                line: drive.render(),
                created: None,
            });
        };
        if key == "efidisk0" && !self.world.efi {
            return Err(Refusal::fail(
                "EFI base image '/usr/share/pve-edk2-firmware//OVMF_CODE.fd' not found",
            ));
        }
        let source = drive.0.options.remove("import-from");
        let format = drive.0.options.remove("format");
        let (size, data) = match &source {
            None => (disk_bytes(gib), None),
            Some(source) => {
                let missing = || {
                    Refusal::fail(format!(
                        "cannot import from '{source}' - could not get size of {source}"
                    ))
                };
                let from = self.volume(&node, source)?.ok_or_else(missing)?;
                (from.size, Some(from.data))
            }
        };
        let new = NewVolume {
            storage: &sid,
            node: &node,
            owner: vmid,
            suffix: None,
            format: format.as_deref(),
            size,
            content: Content::Images,
        };
        let volid = self.allocate(&new)?;
        if let (Some(data), Some(volume)) = (data, self.volume_mut(&node, &volid)) {
            volume.data = data;
        }
        drive.0.head.clone_from(&volid);
        drive.0.options.insert("size".to_owned(), render_size(size));
        Ok(Made {
            line: drive.render(),
            created: Some(volid),
        })
    }

    fn make_cloudinit(
        &mut self,
        vmid: u32,
        key: &str,
        sid: &str,
        mut drive: Drive,
    ) -> Answer<Made> {
        let guest = self.guests.get(&vmid);
        let node = guest.map(|g| g.node.clone()).unwrap_or_default();
        let other = guest.and_then(|g| {
            let mut taken = g.drives().filter(|(k, d)| *k != key && d.is_cloudinit());
            taken.next().map(|(k, _)| k.to_owned())
        });
        if let Some(other) = other {
            let text = format!("{key} - cloud-init drive is already attached at '{other}'");
            return Err(Refusal::fail(text));
        }
        let format = drive.0.options.remove("format");
        let new = NewVolume {
            storage: sid,
            node: &node,
            owner: vmid,
            suffix: Some("cloudinit"),
            format: Some(format.as_deref().unwrap_or("qcow2")),
            size: CLOUDINIT_SIZE,
            content: Content::Images,
        };
        let volid = self.allocate(&new)?;
        drive.0.head.clone_from(&volid);
        drive
            .0
            .options
            .insert("media".to_owned(), "cdrom".to_owned());
        Ok(Made {
            line: drive.render(),
            created: Some(volid),
        })
    }

    /// Lets go of what a slot held: an own volume becomes unused (or is freed by `force`), a
    /// cloud-init drive is freed, a volume named after another guest just vanishes.
    pub(crate) fn release_drive(&mut self, vmid: u32, key: &str, line: &str, force: bool) {
        let drive = Drive::parse(line);
        let Some(guest) = self.guests.get(&vmid) else {
            return;
        };
        let node = guest.node.clone();
        if drive.is_cloudinit() {
            // A drive that cannot be freed any more is gone already.
            let _ = self.free(&node, drive.file());
            return;
        }
        if drive.is_cdrom() || self.owner_of(drive.file()) != Some(vmid) {
            return;
        }
        if guest.uses(drive.file(), key) {
            return;
        }
        if force && !guest.snapshot_uses(drive.file()) {
            let _ = self.free(&node, drive.file());
            return;
        }
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.keep_unused(drive.file());
        }
    }

    /// Destroys what an `unusedN` entry names, unless a snapshot needs it or it is another's.
    ///
    /// Returns whether the entry may go.
    pub(crate) fn destroy_unused(&mut self, vmid: u32, volid: &str) -> Answer<bool> {
        let Some(guest) = self.guests.get(&vmid) else {
            return Ok(false);
        };
        if guest.snapshot_uses(volid) {
            return Ok(false);
        }
        let node = guest.node.clone();
        if self.owner_of(volid) == Some(vmid) {
            self.free(&node, volid)?;
        }
        Ok(true)
    }

    /// Grows a volume to `size` bytes rounded up to a KiB; smaller is refused.
    pub(crate) fn grow(&mut self, node: &str, volid: &str, size: u64) -> Answer<u64> {
        let held = self.known_volume(node, volid)?.size;
        let size = size.div_ceil(KIB) * KIB;
        if size < held {
            return Err(Refusal::fail("shrinking disks is not supported"));
        }
        if let Some(volume) = self.volume_mut(node, volid) {
            volume.size = size;
        }
        Ok(size)
    }
}
