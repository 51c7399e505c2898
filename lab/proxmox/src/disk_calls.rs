//! Turns resize, move, reassign, unlink and template into changes of a guest's volumes.

use serde_json::{Value, json};

use crate::access::Caller;
use crate::call::Call;
use crate::engine::{LOCK_WAIT, Next, Share, Work};
use crate::keys;
use crate::model::{Change, Cluster, GuestKind};
use crate::property::Drive;
use crate::refusal::{Answer, Refusal};
use crate::size::{parse_size, render_size};
use crate::store::{NewVolume, Rename};
use crate::update::{ConfigWork, Update, check_lock};

impl Cluster {
    /// `PUT /nodes/N/{qemu,lxc}/ID/resize`.
    pub(crate) fn resize(&mut self, call: &Call<'_>, kind: GuestKind) -> Answer<Value> {
        call.check_skiplock()?;
        let (node, vmid) = (call.node().to_owned(), call.vmid());
        let work = ResizeWork {
            kind,
            node: node.clone(),
            vmid,
            who: call.who.clone(),
            disk: call.p.text("disk").to_owned(),
            size: call.p.text("size").to_owned(),
            digest: call.p.get("digest").map(str::to_owned),
        };
        if kind == GuestKind::Lxc {
            // A container's size is judged before there is a task.
            self.guest_on(kind, &node, vmid)?;
            work.target(self)?;
        }
        Ok(json!(self.fork(
            &node,
            "resize",
            &vmid.to_string(),
            call.who,
            Box::new(work)
        )))
    }

    /// `PUT /nodes/N/qemu/ID/unlink`: deletes slots, destroying own volumes with `force`.
    pub(crate) fn unlink(&mut self, call: &Call<'_>) -> Answer<Value> {
        let mut params = crate::schema::Params::default();
        let list = call.p.text("idlist").to_owned();
        params.0.insert("delete".to_owned(), list);
        if call.p.flag("force") {
            params.0.insert("force".to_owned(), "1".to_owned());
        }
        self.put_config(call, params)
    }

    /// The synchronous config write.
    pub(crate) fn put_config(
        &mut self,
        call: &Call<'_>,
        params: crate::schema::Params,
    ) -> Answer<Value> {
        let update: Update = self.plan_update(call.who, call.node(), call.vmid(), params)?;
        self.need_lock(call.vmid(), LOCK_WAIT)?;
        self.run_update(&update)?;
        Ok(Value::Null)
    }

    /// The asynchronous one: digest, rights and `lock` are judged before there is a task.
    pub(crate) fn post_config(&mut self, call: &Call<'_>) -> Answer<Value> {
        let (node, vmid) = (call.node().to_owned(), call.vmid());
        let update = self.plan_update(call.who, &node, vmid, call.p.clone())?;
        self.need_lock(vmid, LOCK_WAIT)?;
        self.check_update_now(&update)?;
        let work = Box::new(ConfigWork(update));
        Ok(json!(self.fork(
            &node,
            "qmconfig",
            &vmid.to_string(),
            call.who,
            work
        )))
    }

    /// `POST /nodes/N/{qemu,lxc}/ID/template`.
    pub(crate) fn make_template(&mut self, call: &Call<'_>, kind: GuestKind) -> Answer<Value> {
        let (node, vmid) = (call.node().to_owned(), call.vmid());
        let guest = self.guest_on(kind, &node, vmid)?;
        check_lock(guest)?;
        if guest.is_template() {
            return Err(Refusal::fail("you can't convert a template to a template"));
        }
        if guest.is_running() {
            let noun = if kind == GuestKind::Qemu {
                "VM"
            } else {
                "container"
            };
            let text = format!("you can't convert a {noun} to template if {noun} is running");
            return Err(Refusal::fail(
                text.replace("a VM to template if VM", "a VM to template if VM"),
            ));
        }
        if !guest.snapshots.is_empty() {
            let text = "unable to create template, because VM contains snapshots";
            return Err(Refusal::fail(text));
        }
        if kind == GuestKind::Lxc {
            self.turn_into_template(&node, vmid)?;
            return Ok(Value::Null);
        }
        let work = TemplateWork {
            node: node.clone(),
            vmid,
        };
        Ok(json!(self.fork(
            &node,
            "qmtemplate",
            &vmid.to_string(),
            call.who,
            Box::new(work)
        )))
    }

    /// Renames every disk to a base, foreign ones among them, and sets the flag.
    fn turn_into_template(&mut self, node: &str, vmid: u32) -> Answer<()> {
        let Some(guest) = self.guests.get(&vmid) else {
            return Ok(());
        };
        let lines: Vec<(String, String)> = guest
            .config
            .iter()
            .filter(|(k, v)| {
                (keys::is_drive(k) && !Drive::parse(v).is_cdrom()) || keys::is_mount(k)
            })
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        for (key, line) in lines {
            let mut drive = Drive::parse(&line);
            drive.0.head = self.rename(node, drive.file(), &Rename::Base)?;
            if let Some(guest) = self.guests.get_mut(&vmid) {
                let line = if keys::is_mount(&key) {
                    drive.0.render(&["mp"])
                } else {
                    drive.render()
                };
                guest.config.insert(key, line);
            }
        }
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.config.insert("template".to_owned(), "1".to_owned());
        }
        Ok(())
    }

    /// `POST /nodes/N/qemu/ID/move_disk`: to another storage, or to another guest.
    pub(crate) fn move_disk(&mut self, call: &Call<'_>) -> Answer<Value> {
        let storage = call.p.get("storage").map(str::to_owned);
        let target = call
            .p
            .get("target-vmid")
            .map(|_| call.p.vmid("target-vmid"));
        match (storage, target) {
            (Some(_), Some(_)) => {
                let text = "either set 'storage' or 'target-vmid', but not both";
                Err(both(text))
            }
            (None, None) => {
                let text = "both 'storage' and 'target-vmid' missing, either needs to be set";
                Err(both(text))
            }
            (Some(storage), None) => self.move_to_storage(call, &storage),
            (None, Some(target)) => self.reassign(call, target),
        }
    }

    fn move_to_storage(&mut self, call: &Call<'_>, storage: &str) -> Answer<Value> {
        let (node, vmid) = (call.node().to_owned(), call.vmid());
        let disk = call.p.text("disk").to_owned();
        self.check(
            call.who,
            &format!("/storage/{storage}"),
            &["Datastore.AllocateSpace"],
        )?;
        let guest = self.guest_on(GuestKind::Qemu, &node, vmid)?;
        if call.p.get("digest").is_some_and(|d| d != guest.digest()) {
            let text = "detected modified configuration - file changed by other user? Try again.";
            return Err(Refusal::fail(text));
        }
        check_lock(guest)?;
        let line = guest.get(&disk);
        let line = line.ok_or_else(|| Refusal::fail(format!("disk '{disk}' does not exist")))?;
        let file = Drive::parse(line).file().to_owned();
        self.usable_storage(storage, &node)?;
        let held = self.volid(&file)?.storage;
        let format = self.known_volume(&node, &file)?.format.clone();
        let wanted = call.p.get("format").unwrap_or(&format).to_owned();
        if held == storage && wanted == format {
            let text = "you can't move to the same storage with same format";
            return Err(Refusal::fail(text));
        }
        let work = MoveWork {
            node: node.clone(),
            vmid,
            disk,
            storage: storage.to_owned(),
            format: wanted,
            delete: call.p.flag("delete"),
            made: None,
        };
        Ok(json!(self.fork(
            &node,
            "qmmove",
            &vmid.to_string(),
            call.who,
            Box::new(work)
        )))
    }

    fn reassign(&mut self, call: &Call<'_>, target: u32) -> Answer<Value> {
        let (node, vmid, who) = (call.node().to_owned(), call.vmid(), call.who);
        let disk = call.p.text("disk").to_owned();
        let slot = call.p.get("target-disk").unwrap_or(&disk).to_owned();
        if target == vmid {
            let text = "must be different than source VMID to reassign disk";
            return Err(Refusal::param("target-vmid", text));
        }
        self.check(who, &format!("/vms/{target}"), &["VM.Config.Disk"])?;
        let work = ReassignWork {
            node: node.clone(),
            from: vmid,
            disk,
            to: target,
            slot,
            renamed: None,
        };
        let file = work.check(self, call)?;
        let sid = self.volid(&file)?.storage;
        self.check(
            who,
            &format!("/storage/{sid}"),
            &["Datastore.AllocateSpace"],
        )?;
        let id = format!("{vmid}-{}>{target}-{}", work.disk, work.slot);
        Ok(json!(self.fork(&node, "qmmove", &id, who, Box::new(work))))
    }
}

fn both(text: &str) -> Refusal {
    let entry = |key: &str| (key.to_owned(), text.to_owned());
    Refusal::params([entry("storage"), entry("target-vmid")].into())
}

/// A resize under way.
#[derive(Debug)]
struct ResizeWork {
    kind: GuestKind,
    node: String,
    vmid: u32,
    who: Caller,
    disk: String,
    size: String,
    digest: Option<String>,
}

impl ResizeWork {
    /// The volume and the bytes it shall have.
    fn target(&self, cluster: &Cluster) -> Answer<(String, u64)> {
        let guest = cluster.guest_on(self.kind, &self.node, self.vmid)?;
        if self.digest.as_ref().is_some_and(|d| *d != guest.digest()) {
            let text = match self.kind {
                GuestKind::Qemu => "checksum mismatch (file change by other user?)",
                GuestKind::Lxc => {
                    "detected modified configuration - file changed by other user? Try again."
                }
            };
            return Err(Refusal::fail(text));
        }
        check_lock(guest)?;
        let line = guest.get(&self.disk);
        let line =
            line.ok_or_else(|| Refusal::fail(format!("disk '{}' does not exist", self.disk)))?;
        let drive = Drive::parse(line);
        if drive.is_cdrom() {
            return Err(Refusal::fail("you can't resize a cdrom"));
        }
        let sid = cluster.volid(drive.file())?.storage;
        cluster.check(
            &self.who,
            &format!("/storage/{sid}"),
            &["Datastore.AllocateSpace"],
        )?;
        let held = cluster.known_volume(&self.node, drive.file())?.size;
        let (plus, text) = match self.size.strip_prefix('+') {
            Some(rest) => (held, rest),
            None => (0, self.size.as_str()),
        };
        let size = plus + parse_size(text, 1).unwrap_or_default();
        if size < held {
            let text = match self.kind {
                GuestKind::Qemu => "shrinking disks is not supported",
                GuestKind::Lxc => "unable to shrink disk size",
            };
            return Err(Refusal::fail(text));
        }
        Ok((drive.file().to_owned(), size))
    }

    fn run(&self, cluster: &mut Cluster) -> Answer<()> {
        let (file, size) = self.target(cluster)?;
        let size = cluster.grow(&self.node, &file, size)?;
        if let Some(guest) = cluster.guests.get_mut(&self.vmid)
            && let Some(line) = guest.config.get_mut(&self.disk)
        {
            let mut drive = Drive::parse(line);
            drive.0.options.insert("size".to_owned(), render_size(size));
            *line = match self.kind {
                GuestKind::Qemu => drive.render(),
                GuestKind::Lxc => drive.0.render(&["mp"]),
            };
        }
        Ok(())
    }
}

impl Work for ResizeWork {
    fn step(&mut self, cluster: &mut Cluster, _log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => match self.target(cluster) {
                Err(refusal) => Next::Done(Err(refusal)),
                Ok(_) => Next::After(0.1),
            },
            _ => Next::Done(self.run(cluster)),
        }
    }
}

/// A template conversion under way.
#[derive(Debug)]
struct TemplateWork {
    node: String,
    vmid: u32,
}

impl Work for TemplateWork {
    fn step(&mut self, cluster: &mut Cluster, _log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => Next::After(0.1),
            _ => Next::Done(cluster.turn_into_template(&self.node, self.vmid)),
        }
    }
}

/// A move to another storage under way.
#[derive(Debug)]
struct MoveWork {
    node: String,
    vmid: u32,
    disk: String,
    storage: String,
    format: String,
    delete: bool,
    made: Option<String>,
}

impl MoveWork {
    fn source(&self, cluster: &Cluster) -> Answer<String> {
        let guest = cluster.guest_on(GuestKind::Qemu, &self.node, self.vmid)?;
        check_lock(guest)?;
        let line = guest.get(&self.disk);
        let missing = || Refusal::fail(format!("disk '{}' does not exist", self.disk));
        Ok(Drive::parse(line.ok_or_else(missing)?).file().to_owned())
    }

    fn copy(&mut self, cluster: &mut Cluster) -> Answer<f64> {
        let file = self.source(cluster)?;
        let source = cluster.known_volume(&self.node, &file)?.clone();
        let cloudinit = Drive::parse(&file).is_cloudinit();
        let new = NewVolume {
            storage: &self.storage,
            node: &self.node,
            owner: self.vmid,
            suffix: cloudinit.then_some("cloudinit"),
            format: Some(&self.format),
            size: source.size,
            content: source.content,
        };
        let volid = cluster.allocate(&new)?;
        if cluster.storage(&self.storage)?.full {
            let _ = cluster.free(&self.node, &volid);
            let text = "storage migration failed: copy failed: exit code 1".to_owned();
            return Err(Refusal::fail(text));
        }
        if let Some(volume) = cluster.volume_mut(&self.node, &volid) {
            volume.data = source.data;
        }
        self.made = Some(volid);
        Ok(0.2 + cluster.copy_seconds(source.size, None))
    }

    fn finish(&mut self, cluster: &mut Cluster) -> Answer<()> {
        let file = self.source(cluster)?;
        let Some(made) = self.made.take() else {
            return Ok(());
        };
        if let Some(guest) = cluster.guests.get_mut(&self.vmid)
            && let Some(line) = guest.config.get_mut(&self.disk)
        {
            let mut drive = Drive::parse(line);
            drive.0.head = made;
            *line = drive.render();
            if !self.delete {
                guest.keep_unused(&file);
            }
        }
        if self.delete {
            cluster.free(&self.node, &file)?;
        }
        Ok(())
    }
}

impl Work for MoveWork {
    fn step(&mut self, cluster: &mut Cluster, _log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => match self.copy(cluster) {
                Err(refusal) => Next::Done(Err(refusal)),
                Ok(seconds) => Next::After(seconds),
            },
            _ => Next::Done(self.finish(cluster)),
        }
    }

    fn interrupted(&mut self, cluster: &mut Cluster) -> String {
        if let Some(made) = self.made.take() {
            let _ = cluster.free(&self.node, &made);
        }
        "storage migration failed: interrupted by signal".to_owned()
    }
}

/// A reassignment to another guest under way.
#[derive(Debug)]
struct ReassignWork {
    node: String,
    from: u32,
    disk: String,
    to: u32,
    slot: String,
    /// The disk under its new name, not yet in a config.
    renamed: Option<Drive>,
}

impl ReassignWork {
    fn check(&self, cluster: &Cluster, call: &Call<'_>) -> Answer<String> {
        let (from, to) = (self.from, self.to);
        let target = cluster.guests.get(&to);
        let target =
            target.ok_or_else(|| Refusal::fail(format!("could not find target VM {to}")))?;
        let source = cluster.guest_on(GuestKind::Qemu, &self.node, from)?;
        if target.node != self.node {
            let text = "Moving disks to a VM on a different node is not supported";
            return Err(Refusal::fail(text));
        }
        if source.is_template() || target.is_template() {
            return Err(Refusal::fail("Can't move disks from or to template VMs"));
        }
        for (digest, guest) in [("digest", source), ("target-digest", target)] {
            if call.p.get(digest).is_some_and(|d| d != guest.digest()) {
                let id = if digest == "digest" { from } else { to };
                let text = format!(
                    "VM {id}: detected modified configuration - file changed by other user? Try again."
                );
                return Err(Refusal::fail(text));
            }
        }
        let Some(line) = source.get(&self.disk) else {
            let text = format!("Disk '{}' for VM '{from}' does not exist", self.disk);
            return Err(Refusal::fail(text));
        };
        if target.config.contains_key(&self.slot) {
            let text = format!(
                "Target disk key '{}' is already in use for VM '{to}'",
                self.slot
            );
            return Err(Refusal::fail(text));
        }
        let file = Drive::parse(line).file().to_owned();
        if source.snapshot_uses(&file) {
            let text = "Can't move disk used by a snapshot to another VM";
            return Err(Refusal::fail(text));
        }
        if source.is_running() && !keys::is_unused(&self.disk) {
            let text =
                "Cannot move disk to another VM while the source VM is running - detach first";
            return Err(Refusal::fail(text));
        }
        Ok(file)
    }

    /// Gives the volume its new name. A worker killed after this leaves it in no config.
    fn rename(&mut self, cluster: &mut Cluster, log: &mut Vec<String>) -> Answer<()> {
        let source = cluster.guest_on(GuestKind::Qemu, &self.node, self.from)?;
        let line = source.get(&self.disk).unwrap_or_default().to_owned();
        log.push(format!(
            "reassign disk '{}' from VM '{}' as '{}' to VM '{}'",
            self.disk, self.from, self.slot, self.to
        ));
        let mut drive = Drive::parse(&line);
        drive.0.head = cluster.rename(&self.node, drive.file(), &Rename::Owner(self.to))?;
        self.renamed = Some(drive);
        Ok(())
    }

    /// Takes the disk out of one config and puts it into the other.
    fn rewrite(&mut self, cluster: &mut Cluster) -> Answer<()> {
        let Some(mut drive) = self.renamed.take() else {
            return Ok(());
        };
        if let Some(source) = cluster.guests.get_mut(&self.from) {
            source.config.remove(&self.disk);
            let order: Vec<String> = source
                .boot_order()
                .into_iter()
                .filter(|d| *d != self.disk)
                .collect();
            if source.get("boot").is_some_and(|b| b.contains(&self.disk)) {
                source
                    .config
                    .insert("boot".to_owned(), crate::drives::render_boot(&order));
            }
        }
        if keys::is_unused(&self.slot) {
            if let Some(target) = cluster.guests.get_mut(&self.to) {
                target.config.insert(self.slot.clone(), drive.0.head);
            }
            return Ok(());
        }
        let size = cluster.known_volume(&self.node, drive.file())?.size;
        drive.0.options.insert("size".to_owned(), render_size(size));
        if let Some(target) = cluster.guests.get_mut(&self.to) {
            target
                .pending
                .insert(self.slot.clone(), Change::Set(drive.render()));
        }
        // The rename stands even if the target's QEMU does not take the disk.
        cluster.settle(self.to)
    }
}

impl Work for ReassignWork {
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.from,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => Next::Lock {
                vmid: self.to,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            2 => Next::After(0.05),
            3 => match self.rename(cluster, log) {
                Err(refusal) => Next::Done(Err(refusal)),
                Ok(()) => Next::After(0.05),
            },
            _ => Next::Done(self.rewrite(cluster)),
        }
    }
}
