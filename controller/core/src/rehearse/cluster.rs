//! Turns a call to a cluster into what the next read of it would show, if the call ends well.
//!
//! Only what plans look at is played. What cannot be known (the version of a configuration, the
//! MAC addresses of a template's cards) is left as a word that equals nothing real.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::ids::Vmid;

use crate::proxmox::keys::GuestConfig;
use crate::proxmox::mark;
use crate::proxmox::model::Kind;
use crate::proxmox::observed::{ConfigRead, InFlight, Need, Observed, Row};
use crate::proxmox::plan::{Guest, Op};
use crate::proxmox::property::Property;

/// What stands for the version of a configuration that only the cluster knows.
const DIGEST: &str = "<digest>";

/// A cluster as it was read, and as it becomes.
#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) seen: Observed,
    pub(super) flight: InFlight,
}

impl Play {
    /// Carries a call out.
    ///
    /// # Errors
    /// The read without which nobody can say what comes of it.
    pub(super) fn carry_out(&mut self, op: &Op) -> Result<(), Need> {
        match op {
            Op::Clone {
                template,
                vmid,
                name,
                description,
                ..
            } => self.clone_of(template, *vmid, name, description)?,
            Op::Build { guest, parameters } => {
                let mut config = parameters.clone();
                for key in ["vmid", "ostemplate", "pool", "ssh-public-keys"] {
                    config.remove(key);
                }
                if let Some(root) = config.get_mut("rootfs")
                    && let Some((storage, size)) = root.split_once(':')
                {
                    *root = format!("{storage}:vm-{}-disk-0,size={size}G", guest.vmid);
                }
                let name = config.get("hostname").cloned();
                self.made(guest, name, ConfigRead::Found(found(config)));
            }
            Op::Configure {
                guest, set, delete, ..
            } => self.configure(guest, |play, config| {
                config.current.retain(|key, _| !delete.contains(key));
                config.pending.retain(|key, _| !delete.contains(key));
                for (key, value) in set {
                    let value = play.with_size(value);
                    config.pending.remove(key);
                    config.current.insert(key.clone(), value);
                }
            }),
            Op::Resize {
                guest,
                disk,
                size_gib,
                ..
            } => self.resize(guest, disk, *size_gib),
            Op::Start(guest) => self.runs(guest.vmid, true),
            Op::Shutdown(guest) => self.runs(guest.vmid, false),
            Op::Destroy(guest) => {
                self.forget(guest.vmid);
                self.seen.guests.remove(&guest.vmid);
                self.seen.configs.remove(&guest.vmid);
                self.seen.live.remove(&guest.vmid);
                self.seen.free.insert(guest.vmid, true);
                self.flight.made.remove(&guest.vmid);
            }
            other => self.of_images(other),
        }
        Ok(())
    }

    fn of_images(&mut self, op: &Op) {
        match op {
            Op::Allocate {
                place,
                holder,
                file,
                size_gib,
                format,
            } => {
                // Storages of files have a folder for each guest.
                let folder = format.map_or_else(String::new, |_| format!("{holder}/"));
                let volid = format!("{}:{folder}{file}", place.storage);
                let images = self.seen.images.entry(place.clone()).or_default();
                images.entry(volid).or_insert(size_gib << 30);
            }
            Op::Park {
                holder,
                slot,
                volid,
                ..
            } => self.configure(holder, |_, config| {
                config.current.insert(slot.clone(), volid.clone());
            }),
            Op::Drop {
                holder,
                slot,
                volid,
                ..
            } => {
                self.configure(holder, |_, config| {
                    config.current.remove(slot);
                });
                for images in self.seen.images.values_mut() {
                    images.remove(volid);
                }
            }
            Op::DeleteImage { place, volid } => {
                if let Some(images) = self.seen.images.get_mut(place) {
                    images.remove(volid);
                }
            }
            Op::Clone { .. }
            | Op::Build { .. }
            | Op::Configure { .. }
            | Op::Resize { .. }
            | Op::Start(_)
            | Op::Shutdown(_)
            | Op::Destroy(_) => {}
        }
    }

    /// A clone has what its template has, on disks of its own.
    fn clone_of(
        &mut self,
        template: &Guest,
        vmid: Vmid,
        name: &str,
        description: &str,
    ) -> Result<(), Need> {
        let need = Need::Config(template.kind, template.node.clone(), template.vmid);
        let config = match self.seen.configs.get(&template.vmid) {
            Some(ConfigRead::Found(config)) => {
                let mut made = config.current.clone();
                for key in ["template", "lock", "parent", "snapstate"] {
                    made.remove(key);
                }
                let ours = format!("-{vmid}-");
                let theirs = format!("-{}-", template.vmid);
                for value in made.values_mut() {
                    let mut property = Property::parse(value);
                    if let Some(head) = property.head.as_mut().filter(|h| h.contains(&theirs)) {
                        *head = head.replace(&theirs, &ours);
                        *value = property.to_string();
                    }
                }
                made.insert("name".to_owned(), name.to_owned());
                made.insert("description".to_owned(), description.to_owned());
                ConfigRead::Found(found(made))
            }
            None if !self.seen.failed.contains_key(&need) => return Err(need),
            // What the clone has nobody can say before it is there.
            _ => ConfigRead::Forbidden,
        };
        let guest = Guest {
            kind: Kind::Vm,
            node: template.node.clone(),
            vmid,
        };
        self.made(&guest, Some(name.to_owned()), config);
        Ok(())
    }

    fn made(&mut self, guest: &Guest, name: Option<String>, config: ConfigRead) {
        self.forget(guest.vmid);
        let row = Row {
            kind: guest.kind,
            node: guest.node.clone(),
            name,
            running: Some(false),
            lock: None,
            tags: tags(&config),
            shape: None,
        };
        self.seen.guests.insert(guest.vmid, row);
        self.seen.configs.insert(guest.vmid, config);
        self.seen.live.insert(guest.vmid, false);
        self.seen.free.insert(guest.vmid, false);
        self.flight.made.insert(guest.vmid);
    }

    fn configure(&mut self, guest: &Guest, change: impl FnOnce(&Self, &mut GuestConfig)) {
        self.forget(guest.vmid);
        let Some(ConfigRead::Found(mut config)) = self.seen.configs.remove(&guest.vmid) else {
            return;
        };
        change(self, &mut config);
        config.digest = Some(DIGEST.to_owned());
        let config = ConfigRead::Found(config);
        if let Some(row) = self.seen.guests.get_mut(&guest.vmid) {
            row.tags = tags(&config);
            row.shape = None;
        }
        self.seen.configs.insert(guest.vmid, config);
    }

    fn resize(&mut self, guest: &Guest, disk: &str, size_gib: u64) {
        let mut volid = None;
        self.configure(guest, |_, config| {
            if let Some(value) = config.current.get_mut(disk) {
                let mut property = Property::parse(value);
                property.set("size", format!("{size_gib}G"));
                volid.clone_from(&property.head);
                *value = property.to_string();
            }
        });
        let images = self.seen.images.values_mut();
        let image = volid.and_then(|volid| images.filter_map(|i| i.get_mut(&volid)).next());
        if let Some(bytes) = image {
            *bytes = size_gib << 30;
        }
    }

    fn runs(&mut self, vmid: Vmid, runs: bool) {
        self.forget(vmid);
        self.seen.live.insert(vmid, runs);
        if let Some(row) = self.seen.guests.get_mut(&vmid) {
            row.running = Some(runs);
        }
        if let Some(ConfigRead::Found(config)) = self.seen.configs.get_mut(&vmid)
            && !runs
        {
            // A restart brings into force what waited for one.
            for (key, next) in std::mem::take(&mut config.pending) {
                match next {
                    Some(value) => drop(config.current.insert(key, value)),
                    None => drop(config.current.remove(&key)),
                }
            }
        }
    }

    /// What was learnt of a guest before it was written to counts no more.
    fn forget(&mut self, vmid: Vmid) {
        self.flight.proven.remove(&vmid);
        self.flight.written.remove(&vmid);
        self.flight.unstarted.remove(&vmid);
        self.flight.refused.remove(&vmid);
        self.flight.unknown.remove(&vmid);
    }

    /// The value of a disk as it is shown: with the size of its image.
    fn with_size(&self, value: &str) -> String {
        let head = Property::parse(value).head;
        let image = |images: &BTreeMap<String, u64>| images.get(head.as_deref()?).copied();
        let bytes = self.seen.images.values().find_map(image);
        bytes.map_or_else(
            || value.to_owned(),
            |bytes| format!("{value},size={}G", bytes >> 30),
        )
    }
}

fn found(current: BTreeMap<String, String>) -> GuestConfig {
    GuestConfig {
        current,
        digest: Some(DIGEST.to_owned()),
        ..GuestConfig::default()
    }
}

fn tags(config: &ConfigRead) -> BTreeSet<String> {
    match config {
        ConfigRead::Found(config) => mark::parse_tags(config.effective("tags").unwrap_or_default()),
        ConfigRead::NotThere | ConfigRead::Forbidden => BTreeSet::new(),
    }
}
