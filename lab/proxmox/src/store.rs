//! Turns wishes for volumes into volumes on storages: find, allocate, copy, grow, rename, free.

use std::collections::BTreeMap;

use crate::model::{Cluster, Storage, Volume};
use crate::refusal::{Answer, Refusal};
use crate::volume::{
    Content, Kind, VolId, own_name, owner_in_name, parse_volid, render_volid, split_volid, stem,
};

/// A volume to make.
#[derive(Clone, Debug)]
pub(crate) struct NewVolume<'a> {
    pub storage: &'a str,
    pub node: &'a str,
    pub owner: u32,
    /// What comes after `vm-ID-`; `None` takes the next free `disk-N`.
    pub suffix: Option<&'a str>,
    /// `None` takes what the kind of storage prefers.
    pub format: Option<&'a str>,
    pub size: u64,
    pub content: Content,
}

impl Storage {
    /// Where a node keeps volumes of this storage.
    pub(crate) fn place<'a>(&self, node: &'a str) -> &'a str {
        if self.shared { "" } else { node }
    }

    pub(crate) fn on(&self, node: &str) -> Option<&BTreeMap<String, Volume>> {
        self.volumes.get(self.place(node))
    }

    /// Whether a node has it.
    pub(crate) fn is_on(&self, node: &str) -> bool {
        self.nodes.is_empty() || self.nodes.contains(node)
    }

    /// The file of a volume, or what stands for it.
    pub(crate) fn path_of(&self, sid: &str, name: &str) -> String {
        let dir = self
            .path
            .clone()
            .unwrap_or_else(|| format!("/mnt/pve/{sid}"));
        match self.kind {
            k if k.is_file_based() => format!("{dir}/images/{name}"),
            Kind::Rbd => format!("rbd:{sid}/{name}"),
            Kind::ZfsPool => format!("/dev/zvol/{sid}/{name}"),
            _ => format!("/dev/{sid}/{name}"),
        }
    }

    /// Bytes all volumes of a node take.
    pub(crate) fn used(&self, node: &str) -> u64 {
        let sum = self
            .on(node)
            .map_or(0, |all| all.values().map(|v| v.size).sum());
        if self.full {
            self.total
        } else {
            std::cmp::min(sum, self.total)
        }
    }
}

impl Cluster {
    /// A storage of the cluster.
    pub(crate) fn storage(&self, sid: &str) -> Answer<&Storage> {
        let missing = || Refusal::fail(format!("storage '{sid}' does not exist"));
        self.storages.get(sid).ok_or_else(missing)
    }

    /// A storage that a node may use now.
    pub(crate) fn usable_storage(&self, sid: &str, node: &str) -> Answer<&Storage> {
        let storage = self.storage(sid)?;
        if !storage.enabled {
            return Err(Refusal::fail(format!("storage '{sid}' is disabled")));
        }
        if !storage.is_on(node) {
            let text = format!("storage '{sid}' is not available on node '{node}'");
            return Err(Refusal::fail(text));
        }
        Ok(storage)
    }

    /// Takes a volume id apart; `Err` for one no storage can read.
    pub(crate) fn volid(&self, volid: &str) -> Answer<VolId> {
        let bad = || Refusal::fail(format!("unable to parse volume ID '{volid}'"));
        let (sid, rest) = split_volid(volid).ok_or_else(bad)?;
        parse_volid(self.storage(sid)?.kind, sid, rest)
    }

    /// A volume, if it is there.
    pub(crate) fn volume(&self, node: &str, volid: &str) -> Answer<Option<&Volume>> {
        let id = self.volid(volid)?;
        Ok(self
            .storage(&id.storage)?
            .on(node)
            .and_then(|all| all.get(&id.name)))
    }

    /// A volume that has to be there.
    pub(crate) fn known_volume(&self, node: &str, volid: &str) -> Answer<&Volume> {
        let missing = || Refusal::fail(format!("volume '{volid}' does not exist"));
        self.volume(node, volid)?.ok_or_else(missing)
    }

    pub(crate) fn volume_mut(&mut self, node: &str, volid: &str) -> Option<&mut Volume> {
        let id = self.volid(volid).ok()?;
        let storage = self.storages.get_mut(&id.storage)?;
        let place = storage.place(node).to_owned();
        storage.volumes.get_mut(&place)?.get_mut(&id.name)
    }

    /// The guest a volume is named after.
    pub(crate) fn owner_of(&self, volid: &str) -> Option<u32> {
        self.volid(volid).ok()?.owner
    }

    /// The next free `disk-N` of a guest.
    fn free_disk(&self, sid: &str, node: &str, owner: u32) -> Answer<String> {
        let storage = self.storage(sid)?;
        let taken = |n: u32| {
            let names = [
                format!("vm-{owner}-disk-{n}"),
                format!("base-{owner}-disk-{n}"),
            ];
            storage
                .on(node)
                .is_some_and(|all| all.keys().any(|k| names.iter().any(|name| name == stem(k))))
        };
        let n = (0..).find(|n| !taken(*n)).unwrap_or_default();
        Ok(format!("disk-{n}"))
    }

    /// Makes a volume and gives its id.
    ///
    /// # Errors
    /// The storage is missing, disabled, elsewhere or full; the name is taken.
    pub(crate) fn allocate(&mut self, new: &NewVolume<'_>) -> Answer<String> {
        let kind = self.usable_storage(new.storage, new.node)?.kind;
        let suffix = match new.suffix {
            Some(suffix) => suffix.to_owned(),
            None => self.free_disk(new.storage, new.node, new.owner)?,
        };
        let format = if kind.is_file_based() {
            new.format.unwrap_or("raw")
        } else {
            "raw"
        };
        let name = own_name(
            kind,
            new.owner,
            &format!("vm-{}-{suffix}", new.owner),
            format,
        );
        self.allocate_named(new, &name, format)
    }

    /// Makes a volume of a chosen name, as the content route does.
    pub(crate) fn allocate_named(
        &mut self,
        new: &NewVolume<'_>,
        name: &str,
        format: &str,
    ) -> Answer<String> {
        let ctime = self.unix();
        self.drawn += 1;
        let data = self.drawn;
        let storage = self.usable_storage(new.storage, new.node)?;
        let kind = storage.kind;
        if storage
            .on(new.node)
            .is_some_and(|all| all.contains_key(name))
        {
            return Err(Refusal::fail(exists_text(storage, new.storage, name)));
        }
        if storage.preallocate && (storage.full || new.size > storage.total) {
            let file = storage.path_of(new.storage, name);
            let steps = match format {
                "qcow2" => "Could not resize image: Failed to resize underlying file: ",
                _ => "",
            };
            return Err(Refusal::fail(format!(
                "unable to create image: qemu-img: {file}: {steps}Could not write zeros for \
                 preallocation: No space left on device"
            )));
        }
        let volume = Volume {
            content: new.content,
            owner: Some(new.owner),
            format: format.to_owned(),
            size: new.size,
            ctime,
            base: None,
            data,
            snapshots: BTreeMap::new(),
        };
        let place = storage.place(new.node).to_owned();
        if let Some(storage) = self.storages.get_mut(new.storage) {
            storage
                .volumes
                .entry(place)
                .or_default()
                .insert(name.to_owned(), volume);
        }
        Ok(render_volid(kind, new.storage, name, None))
    }

    /// Makes a linked clone of a base volume for another guest.
    pub(crate) fn link(&mut self, node: &str, base: &str, owner: u32) -> Answer<String> {
        let id = self.volid(base)?;
        let source = self.known_volume(node, base)?.clone();
        let new = NewVolume {
            storage: &id.storage,
            node,
            owner,
            suffix: None,
            format: Some(&source.format),
            size: source.size,
            content: source.content,
        };
        let volid = self.allocate(&new)?;
        let kind = self.storage(&id.storage)?.kind;
        let name = self.volid(&volid)?.name;
        if let Some(volume) = self.volume_mut(node, &volid) {
            volume.base = Some(id.name.clone());
            volume.data = source.data;
        }
        Ok(render_volid(kind, &id.storage, &name, Some(&id.name)))
    }

    /// Removes a volume; whether there was one.
    ///
    /// # Errors
    /// Linked clones still need it, in the product's words.
    pub(crate) fn free(&mut self, node: &str, volid: &str) -> Answer<bool> {
        let id = self.volid(volid)?;
        let storage = self.storage(&id.storage)?;
        let place = storage.place(node).to_owned();
        if let Some(all) = storage.on(node)
            && all
                .values()
                .any(|v| v.base.as_deref() == Some(id.name.as_str()))
        {
            let text = format!("base volume '{volid}' is still in use by linked cloned");
            return Err(Refusal::fail(text));
        }
        if storage.keeps {
            let text = format!("unlink '{volid}' failed - Operation not permitted");
            return Err(Refusal::fail(text));
        }
        let storage = self.storages.get_mut(&id.storage);
        let all = storage.and_then(|s| s.volumes.get_mut(&place));
        Ok(all.is_some_and(|all| all.remove(&id.name).is_some()))
    }

    /// Renames a volume to another owner's next free disk, or to a base; gives the new id.
    pub(crate) fn rename(&mut self, node: &str, volid: &str, to: &Rename) -> Answer<String> {
        let id = self.volid(volid)?;
        let volume = self.known_volume(node, volid)?.clone();
        let kind = self.storage(&id.storage)?.kind;
        let (owner, stem) = match to {
            Rename::Owner(owner) => {
                let disk = self.free_disk(&id.storage, node, *owner)?;
                (*owner, format!("vm-{owner}-{disk}"))
            }
            Rename::Base => {
                let owner = id.owner.unwrap_or_default();
                let rest = stem(&id.name).split_once('-').map_or("", |(_, rest)| rest);
                (owner, format!("base-{rest}"))
            }
        };
        let name = own_name(kind, owner, &stem, &volume.format);
        let place = self.storage(&id.storage)?.place(node).to_owned();
        if let Some(all) = self
            .storages
            .get_mut(&id.storage)
            .and_then(|s| s.volumes.get_mut(&place))
        {
            all.remove(&id.name);
            all.insert(
                name.clone(),
                Volume {
                    owner: Some(owner),
                    ..volume
                },
            );
        }
        Ok(render_volid(kind, &id.storage, &name, id.base.as_deref()))
    }

    /// How a copy of a volume that did not end well is told: the command and what became of it.
    pub(crate) fn copy_failure(&self, node: &str, from: &str, to: &str, end: &str) -> Refusal {
        let describe = |volid: &str| -> Option<(String, String)> {
            let id = self.volid(volid).ok()?;
            let storage = self.storage(&id.storage).ok()?;
            let format = storage.on(node)?.get(&id.name)?.format.clone();
            Some((format, storage.path_of(&id.storage, &id.name)))
        };
        let (from_format, source) = describe(from).unwrap_or_default();
        let (to_format, target) = describe(to).unwrap_or_default();
        Refusal::fail(format!(
            "copy failed: command '/usr/bin/qemu-img convert -p -n -f {from_format} -O {to_format} \
             {source} zeroinit:{target}' failed: {end}"
        ))
    }

    /// Every volume a node can see on a storage, with its id.
    pub(crate) fn volumes_on(&self, sid: &str, node: &str) -> Vec<(String, Volume)> {
        let Some(storage) = self.storages.get(sid) else {
            return Vec::new();
        };
        let all = storage.on(node).into_iter().flatten();
        all.map(|(name, v)| {
            (
                render_volid(storage.kind, sid, name, v.base.as_deref()),
                v.clone(),
            )
        })
        .collect()
    }
}

/// What a volume is renamed to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rename {
    /// The next free `vm-OWNER-disk-N`.
    Owner(u32),
    /// `base-...` in place of `vm-...`.
    Base,
}

fn exists_text(storage: &Storage, sid: &str, name: &str) -> String {
    match storage.kind {
        Kind::Rbd => format!("rbd create '{name}' error: rbd: create error: (17) File exists"),
        Kind::ZfsPool => {
            format!("zfs error: cannot create '{sid}/{name}': dataset already exists")
        }
        Kind::Lvm | Kind::LvmThin => format!(
            "lvcreate '{sid}/{name}' error: Logical Volume \"{name}\" already exists in volume \
             group \"{sid}\""
        ),
        _ => {
            let file = storage.path_of(sid, name);
            format!("disk image '{file}' already exists")
        }
    }
}

/// The guest named in a block volume's name, or the folder of a file.
pub(crate) fn owner_in(name: &str) -> Option<u32> {
    match name.split_once('/') {
        Some((folder, _)) => folder.parse().ok(),
        None => owner_in_name(name),
    }
}
