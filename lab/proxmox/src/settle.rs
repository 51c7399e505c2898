//! Turns pending changes of a QEMU guest into its config: all when it is stopped, hot-plug when it runs.

use std::collections::BTreeMap;

use crate::keys;
use crate::model::{Change, Cluster, Guest};
use crate::property::Drive;
use crate::refusal::{Answer, Refusal};

/// Options of a disk whose change waits for the guest to stop.
const COLD_OPTIONS: &[&str] = &[
    "aio", "cache", "discard", "iothread", "queues", "ro", "size", "snapshot", "ssd",
];

/// What a QEMU that does not answer is said to have done.
fn hung(vmid: u32) -> String {
    format!("VM {vmid} qmp command 'query-pci' failed - got timeout")
}

impl Guest {
    /// Forgets pending changes that change nothing.
    fn tidy_pending(&mut self) {
        let config = &self.config;
        self.pending.retain(|key, change| match change {
            Change::Set(value) => config.get(key) != Some(value),
            Change::Drop { .. } => config.contains_key(key),
        });
    }
}

impl Cluster {
    /// Lets pending changes take effect as far as they can.
    ///
    /// # Errors
    /// 400 with what QEMU would not do; those changes stay pending.
    pub(crate) fn settle(&mut self, vmid: u32) -> Answer<()> {
        let Some(guest) = self.guests.get_mut(&vmid) else {
            return Ok(());
        };
        guest.tidy_pending();
        if !guest.is_running() {
            self.apply_pending(vmid);
            return Ok(());
        }
        let mut errors = BTreeMap::new();
        // Deletions come first, as there; a failed one does not keep the others from going on.
        let changes: Vec<(String, Change)> = guest
            .pending
            .iter()
            .map(|(k, c)| (k.clone(), c.clone()))
            .collect();
        let (drops, sets): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|(_, c)| matches!(c, Change::Drop { .. }));
        for (key, change) in drops.into_iter().chain(sets) {
            match self.try_live(vmid, &key, &change) {
                Ok(true) => self.apply_one(vmid, &key, &change),
                Ok(false) => {}
                Err(why) => {
                    errors.insert(key, format!("hotplug problem - {why}\n"));
                }
            }
        }
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.forget_used();
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Refusal::params(errors))
        }
    }

    /// Whether a change reaches the running guest; `Err` is what QEMU says.
    fn try_live(&self, vmid: u32, key: &str, change: &Change) -> Result<bool, String> {
        let Some(guest) = self.guests.get(&vmid) else {
            return Ok(false);
        };
        if !keys::is_drive(key) {
            return Ok(keys::is_live(key));
        }
        let hot = matches!(keys::numbered(key), Some(("scsi" | "virtio", _)));
        let held = guest.get(key).map(Drive::parse);
        let unplugs = |held: &Drive| -> Result<(), String> {
            if guest.boot_order().iter().any(|d| d == key) {
                return Err(format!("can't unplug bootdisk '{key}'"));
            }
            if !held.is_cdrom() && self.world.hung.contains(&vmid) {
                return Err(hung(vmid));
            }
            Ok(())
        };
        match (change, held) {
            (Change::Drop { .. }, None) => Ok(true),
            (Change::Drop { .. }, Some(held)) if held.is_cdrom() => Ok(false),
            (Change::Drop { .. }, Some(held)) if hot => unplugs(&held).map(|()| true),
            (Change::Drop { .. }, Some(_)) => Ok(false),
            (Change::Set(line), Some(held)) => {
                let wanted = Drive::parse(line);
                if wanted.file() == held.file() {
                    let same = |o: &&&str| wanted.0.get(o) != held.0.get(o);
                    return Ok(!COLD_OPTIONS.iter().any(|o| same(&o)));
                }
                if held.is_cdrom() {
                    return Ok(true);
                }
                if hot {
                    unplugs(&held).map(|()| true)
                } else {
                    Ok(false)
                }
            }
            (Change::Set(_), None) if hot && self.world.hung.contains(&vmid) => Err(hung(vmid)),
            (Change::Set(_), None) => Ok(hot),
        }
    }

    /// Lets every pending change take effect, as a stop and a start do.
    pub(crate) fn apply_pending(&mut self, vmid: u32) {
        let Some(guest) = self.guests.get_mut(&vmid) else {
            return;
        };
        guest.tidy_pending();
        let changes: Vec<(String, Change)> = guest
            .pending
            .iter()
            .map(|(k, c)| (k.clone(), c.clone()))
            .collect();
        let (drops, sets): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|(_, c)| matches!(c, Change::Drop { .. }));
        for (key, change) in drops.into_iter().chain(sets) {
            self.apply_one(vmid, &key, &change);
        }
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.forget_used();
        }
    }

    fn apply_one(&mut self, vmid: u32, key: &str, change: &Change) {
        let Some(guest) = self.guests.get_mut(&vmid) else {
            return;
        };
        guest.pending.remove(key);
        let held = guest.config.remove(key);
        let force = matches!(change, Change::Drop { force: true });
        if let Change::Set(value) = change {
            guest.config.insert(key.to_owned(), value.clone());
        }
        let Some(held) = held.filter(|_| keys::is_drive(key) || keys::is_mount(key)) else {
            return;
        };
        let stays = match change {
            Change::Set(value) => Drive::parse(value).file() == Drive::parse(&held).file(),
            Change::Drop { .. } => false,
        };
        if !stays {
            self.release_drive(vmid, key, &held, force);
        }
    }
}
