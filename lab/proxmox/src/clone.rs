//! Turns a guest into a copy of it: linked or full, half-made until the end, gone when it fails.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::access::Caller;
use crate::call::Call;
use crate::engine::{CREATE_LOCK_WAIT, LOCK_WAIT, Next, Share, Work};
use crate::keys;
use crate::model::{Cluster, Guest, GuestKind};
use crate::property::{Drive, Nic, Property};
use crate::refusal::{Answer, Refusal};
use crate::size::render_size;
use crate::store::NewVolume;
use crate::update::check_lock;

/// A clone under way.
#[derive(Debug)]
pub(crate) struct CloneWork {
    kind: GuestKind,
    node: String,
    target: String,
    source: u32,
    newid: u32,
    name: Option<String>,
    description: Option<String>,
    pool: Option<String>,
    storage: Option<String>,
    format: Option<String>,
    snapshot: Option<String>,
    full: bool,
    /// KiB a second.
    bwlimit: Option<i64>,
    claimed: bool,
    /// Volumes made so far, the one under copy last.
    made: Vec<String>,
    /// How many disks are done.
    copied: usize,
    /// Whether the config is more than a placeholder.
    written: bool,
}

impl Cluster {
    /// `POST /nodes/N/{qemu,lxc}/ID/clone`.
    pub(crate) fn clone_guest(&mut self, call: &Call<'_>, kind: GuestKind) -> Answer<Value> {
        let work = self.plan_clone(call, kind)?;
        let (node, source) = (work.node.clone(), work.source.to_string());
        let word = if kind == GuestKind::Qemu {
            "qmclone"
        } else {
            "vzclone"
        };
        Ok(json!(self.fork(
            &node,
            word,
            &source,
            call.who,
            Box::new(work)
        )))
    }

    fn plan_clone(&self, call: &Call<'_>, kind: GuestKind) -> Answer<CloneWork> {
        let (node, vmid, newid) = (call.node(), call.vmid(), call.p.vmid("newid"));
        let text = |key: &str| call.p.get(key).map(str::to_owned);
        if let Some(pool) = call.p.get("pool") {
            self.check_pool_exists(pool)?;
        }
        let target = call.p.get("target").unwrap_or(node);
        if !self.nodes.contains_key(target) {
            return Err(Refusal::fail(format!("no such cluster node '{target}'")));
        }
        if let Some(sid) = call.p.get("storage") {
            let storage = self.usable_storage(sid, target)?;
            if target != node && !storage.shared {
                return Err(Refusal::fail("can't clone to non-shared storage"));
            }
        }
        let source = self
            .guests
            .get(&vmid)
            .filter(|g| g.kind == kind && g.node == node);
        let source = source.ok_or_else(|| match kind {
            GuestKind::Qemu => Refusal::fail(format!(
                "unable to find configuration file for VM {vmid} on node '{node}'"
            )),
            GuestKind::Lxc => Refusal::fail(format!(
                "Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist"
            )),
        })?;
        check_lock(source)?;
        let snapshot = text("snapname");
        if let Some(name) = &snapshot
            && !source.snapshots.contains_key(name)
        {
            return Err(Refusal::fail(format!("snapshot '{name}' does not exist")));
        }
        let asked = call.p.get("full").map(|v| v == "1");
        let full = asked.unwrap_or(!source.is_template());
        for option in ["storage", "format"] {
            if !full && call.p.get(option).is_some() {
                let text = format!("parameter '{option}' not allowed for linked clones");
                return Err(Refusal::fail(text));
            }
        }
        let work = CloneWork {
            kind,
            node: node.to_owned(),
            target: target.to_owned(),
            source: vmid,
            newid,
            name: text("name").or_else(|| text("hostname")),
            description: text("description"),
            pool: text("pool"),
            storage: text("storage"),
            format: text("format"),
            snapshot,
            full,
            bwlimit: call.p.int("bwlimit"),
            claimed: false,
            made: Vec::new(),
            copied: 0,
            written: false,
        };
        self.check_clone_access(call.who, &work)?;
        if self.guests.contains_key(&newid) {
            let text = format!(
                "unable to create {} {newid}: config file already exists",
                kind.noun()
            );
            return Err(Refusal::fail(text));
        }
        self.check_clone_features(&work)?;
        Ok(work)
    }

    /// Room on the storages, then use of the bridges: in this order, as it is refused there.
    fn check_clone_access(&self, who: &Caller, work: &CloneWork) -> Answer<()> {
        for (_, file) in work.disks(self) {
            let own = file.split_once(':').map(|(sid, _)| sid.to_owned());
            let Some(sid) = work.storage.clone().or(own) else {
                continue;
            };
            self.check(
                who,
                &format!("/storage/{sid}"),
                &["Datastore.AllocateSpace"],
            )?;
            let storage = self.storage(file.split_once(':').map_or("", |(s, _)| s))?;
            if work.target != work.node && !storage.shared {
                let noun = work.kind.noun();
                return Err(Refusal::fail(format!(
                    "can't clone {noun} to node '{}' ({noun} uses local storage)",
                    work.target
                )));
            }
        }
        for (_, line) in work
            .source_config(self)
            .iter()
            .filter(|(k, _)| keys::is_net(k))
        {
            let (bridge, tag) = bridge_of(work.kind, line);
            if let Some(bridge) = bridge {
                self.check_bridge(who, &bridge, tag.as_deref())?;
            }
        }
        Ok(())
    }

    fn check_clone_features(&self, work: &CloneWork) -> Answer<()> {
        if work.kind == GuestKind::Lxc {
            // A container's volumes are judged in the task.
            return Ok(());
        }
        for (key, file) in work.disks(self) {
            let volume = self.volid(&file)?;
            let is_base = crate::volume::stem(&volume.name).starts_with("base");
            if !work.full && !is_base && !Drive::parse(&file).is_cloudinit() {
                let text = format!("Linked clone feature is not supported for '{file}' ({key})");
                return Err(Refusal::fail(text));
            }
        }
        Ok(())
    }
}

/// Bridge and tag of a net line.
pub(crate) fn bridge_of(kind: GuestKind, line: &str) -> (Option<String>, Option<String>) {
    match kind {
        GuestKind::Qemu => {
            let nic = Nic::parse(line);
            let bridge = nic.as_ref().and_then(|n| n.bridge().map(str::to_owned));
            (bridge, nic.and_then(|n| n.tag().map(str::to_owned)))
        }
        GuestKind::Lxc => {
            let nic = Property::parse(line, "name");
            (
                nic.get("bridge").map(str::to_owned),
                nic.get("tag").map(str::to_owned),
            )
        }
    }
}

impl CloneWork {
    fn source_config(&self, cluster: &Cluster) -> BTreeMap<String, String> {
        let Some(source) = cluster.guests.get(&self.source) else {
            return BTreeMap::new();
        };
        let snapshot = self.snapshot.as_ref().and_then(|n| source.snapshots.get(n));
        let mut config = snapshot.map_or_else(|| source.config.clone(), |s| s.config.clone());
        for key in ["lock", "template", "parent", "protection"] {
            config.remove(key);
        }
        config.retain(|k, _| !keys::is_unused(k));
        config
    }

    /// The volumes that are copied: slot and volume id.
    fn disks(&self, cluster: &Cluster) -> Vec<(String, String)> {
        let config = self.source_config(cluster);
        let disk = |(k, v): (&String, &String)| {
            let drive = Drive::parse(v);
            let copies = match self.kind {
                GuestKind::Qemu => keys::is_drive(k) && (!drive.is_cdrom() || drive.is_cloudinit()),
                GuestKind::Lxc => keys::is_mount(k) && drive.file().contains(':'),
            };
            copies.then(|| (k.clone(), drive.file().to_owned()))
        };
        let mut disks: Vec<(String, String)> = config.iter().filter_map(disk).collect();
        disks.sort_by_key(|(k, _)| keys::volume_order(k));
        disks
    }

    /// Takes the id: from here on it is used, and hidden from who has rights by pool only.
    fn claim(&mut self, cluster: &mut Cluster, log: &mut Vec<String>) -> Answer<()> {
        let noun = if self.kind == GuestKind::Qemu {
            "VM"
        } else {
            "container"
        };
        let (source, newid) = (self.source, self.newid);
        log.push(format!(
            "creating a clone of {noun} {source} with ID {newid}"
        ));
        if cluster.guests.contains_key(&newid) {
            let text = format!(
                "unable to create {} {newid}: config file already exists",
                self.kind.noun()
            );
            return Err(Refusal::fail(text));
        }
        let mut guest = Guest::new(self.kind, &self.target);
        let lock = if self.kind == GuestKind::Qemu {
            "clone"
        } else {
            "create"
        };
        guest.config.insert("lock".to_owned(), lock.to_owned());
        if self.kind == GuestKind::Qemu {
            let text = " qmclone temporary file".to_owned();
            guest.config.insert("description".to_owned(), text);
        }
        cluster.guests.insert(newid, guest);
        self.claimed = true;
        Ok(())
    }

    /// Writes the config the clone will have, `lock` still in it and its disks not yet. That is
    /// when the first disk is done: until then the config says next to nothing.
    fn write_config(&mut self, cluster: &mut Cluster) {
        if self.written {
            return;
        }
        self.written = true;
        let mut config = self.source_config(cluster);
        let disks: Vec<String> = self.disks(cluster).into_iter().map(|(k, _)| k).collect();
        config.retain(|k, _| !disks.contains(k));
        let lock = if self.kind == GuestKind::Qemu {
            "clone"
        } else {
            "create"
        };
        config.insert("lock".to_owned(), lock.to_owned());
        let key = if self.kind == GuestKind::Qemu {
            "name"
        } else {
            "hostname"
        };
        let name = self.name.clone().unwrap_or_else(|| match config.get(key) {
            Some(name) => format!("Copy-of-{}-{name}", self.kind.noun()),
            None => format!("Copy-of-{}-{}", self.kind.noun(), self.source),
        });
        config.insert(key.to_owned(), name);
        if let Some(text) = &self.description {
            config.insert("description".to_owned(), text.clone());
        }
        if self.kind == GuestKind::Qemu {
            config.insert("vmgenid".to_owned(), cluster.draw_uuid());
            let uuid = cluster.draw_uuid();
            let old = config
                .get("smbios1")
                .map(String::as_str)
                .unwrap_or_default();
            let mut smbios = Property::parse(old, "");
            smbios.options.remove("uuid");
            smbios.head = format!("uuid={uuid}");
            config.insert("smbios1".to_owned(), smbios.render(&[]));
        }
        for (_, line) in config.iter_mut().filter(|(k, _)| keys::is_net(k)) {
            *line = fresh_mac(self.kind, line, cluster.draw_mac());
        }
        if let Some(guest) = cluster.guests.get_mut(&self.newid) {
            guest.config = config;
        }
    }

    /// Begins the next disk: its volume is there from now on, and says how long copying takes.
    fn begin_disk(&mut self, cluster: &mut Cluster, log: &mut Vec<String>) -> Answer<Option<f64>> {
        let Some((key, file)) = self.disks(cluster).into_iter().nth(self.copied) else {
            return Ok(None);
        };
        let cloudinit = Drive::parse(&file).is_cloudinit();
        if !self.full && !cloudinit {
            log.push(format!("create linked clone of drive {key} ({file})"));
            self.made
                .push(cluster.link(&self.target, &file, self.newid)?);
            return Ok(Some(of_disk(cluster, 0.05)));
        }
        log.push(format!("create full clone of drive {key} ({file})"));
        let source = cluster.known_volume(&self.node, &file)?.clone();
        let sid = self.target_storage(&file);
        let format = self.format.clone().unwrap_or_else(|| source.format.clone());
        let volid = cluster.allocate(&NewVolume {
            storage: &sid,
            node: &self.target,
            owner: self.newid,
            suffix: cloudinit.then_some("cloudinit"),
            format: Some(&format),
            size: source.size,
            content: source.content,
        })?;
        if let Some(volume) = cluster.volume_mut(&self.target, &volid) {
            volume.data = source.data;
        }
        self.made.push(volid);
        let copying = 0.05 + cluster.copy_seconds(source.size, self.bwlimit);
        Ok(Some(of_disk(cluster, copying)))
    }

    fn target_storage(&self, file: &str) -> String {
        let own = file.split_once(':').map_or("", |(sid, _)| sid);
        self.storage.as_deref().unwrap_or(own).to_owned()
    }

    /// Ends the disk under copy: only now the config names its volume.
    fn end_disk(&mut self, cluster: &mut Cluster) -> Answer<()> {
        let disk = self.disks(cluster).into_iter().nth(self.copied);
        let (Some((key, file)), Some(volid)) = (disk, self.made.last().cloned()) else {
            return Ok(());
        };
        let line = self.source_config(cluster).remove(&key).unwrap_or_default();
        let mut drive = Drive::parse(&line);
        let made = cluster.known_volume(&self.target, &volid)?;
        let size = made.size;
        let sid = self.target_storage(&file);
        if self.full && !drive.is_cloudinit() && cluster.storage(&sid)?.full {
            return Err(cluster.copy_failure(&self.target, &file, &volid, "exit code 1"));
        }
        self.write_config(cluster);
        drive.0.head = volid;
        drive.0.options.insert("size".to_owned(), render_size(size));
        let line = match self.kind {
            GuestKind::Qemu => drive.render(),
            GuestKind::Lxc => drive.0.render(&["mp"]),
        };
        if let Some(guest) = cluster.guests.get_mut(&self.newid) {
            guest.config.insert(key, line);
        }
        self.copied += 1;
        Ok(())
    }

    /// The next disk, or the end.
    fn go_on(&mut self, cluster: &mut Cluster, log: &mut Vec<String>) -> Answer<Next> {
        if let Some(seconds) = self.begin_disk(cluster, log)? {
            return Ok(Next::After(seconds));
        }
        self.write_config(cluster);
        if let Some(guest) = cluster.guests.get_mut(&self.newid) {
            guest.config.remove("lock");
        }
        // Membership comes last: only now may a token with rights by pool look.
        cluster.join_pool(self.newid, self.pool.as_deref());
        Ok(Next::Done(Ok(())))
    }

    /// Refuses to go on without a source.
    fn check_source(&self, cluster: &Cluster) -> Answer<()> {
        if cluster.guests.contains_key(&self.source) {
            return Ok(());
        }
        let (noun, id, node) = (self.kind.noun(), self.source, &self.node);
        let text = format!("unable to find configuration file for {noun} {id} on node '{node}'");
        Err(Refusal::fail(text))
    }

    /// Takes back the id and every volume made for it.
    fn undo(&mut self, cluster: &mut Cluster) {
        if !self.claimed {
            return;
        }
        for volid in self.made.drain(..) {
            let _ = cluster.free(&self.target, &volid);
        }
        cluster.guests.remove(&self.newid);
        self.claimed = false;
    }

    fn fail(&mut self, cluster: &mut Cluster, refusal: &Refusal) -> Next {
        let claimed = self.claimed;
        self.undo(cluster);
        let text = if claimed {
            format!("clone failed: {}", refusal.as_exit())
        } else {
            refusal.as_exit()
        };
        Next::Done(Err(Refusal::fail(text)))
    }
}

/// The time of a disk, unless it is told how long the whole takes.
fn of_disk(cluster: &Cluster, seconds: f64) -> f64 {
    if cluster.world.takes.clone.is_some() {
        0.0
    } else {
        seconds
    }
}

fn fresh_mac(kind: GuestKind, line: &str, mac: String) -> String {
    match kind {
        GuestKind::Qemu => match Nic::parse(line) {
            Some(nic) => Nic {
                mac: Some(mac),
                ..nic
            }
            .render(),
            None => line.to_owned(),
        },
        GuestKind::Lxc => {
            let mut nic = Property::parse(line, "");
            nic.options.insert("hwaddr".to_owned(), mac);
            crate::lxc::render_net(&nic)
        }
    }
}

impl Work for CloneWork {
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.newid,
                share: Share::Alone,
                patience: CREATE_LOCK_WAIT,
            },
            1 => match self.claim(cluster, log) {
                Ok(()) => Next::Lock {
                    vmid: self.source,
                    share: Share::Shared,
                    patience: LOCK_WAIT,
                },
                Err(refusal) => self.fail(cluster, &refusal),
            },
            2 => Next::After(cluster.world.takes.clone.unwrap_or(0.15)),
            3 => {
                let begun = self
                    .check_source(cluster)
                    .and_then(|()| self.go_on(cluster, log));
                begun.unwrap_or_else(|refusal| self.fail(cluster, &refusal))
            }
            _ => {
                let ended = self
                    .check_source(cluster)
                    .and_then(|()| self.end_disk(cluster));
                let next = ended.and_then(|()| self.go_on(cluster, log));
                next.unwrap_or_else(|refusal| self.fail(cluster, &refusal))
            }
        }
    }

    fn interrupted(&mut self, cluster: &mut Cluster) -> String {
        let disk = self.disks(cluster).into_iter().nth(self.copied);
        let why = match (disk, self.made.get(self.copied)) {
            (Some((_, file)), Some(volid)) if self.full => cluster
                .copy_failure(&self.target, &file, volid, "interrupted by signal")
                .as_exit(),
            _ => "interrupted by signal".to_owned(),
        };
        self.undo(cluster);
        format!("clone failed: {why}")
    }
}
