//! Turns move_disk into a copy on another storage, or into a disk of another guest.

use serde_json::{Value, json};

use crate::call::Call;
use crate::engine::{LOCK_WAIT, Next, Share, Work};
use crate::keys;
use crate::model::{Change, Cluster, GuestKind};
use crate::property::Drive;
use crate::refusal::{Answer, Refusal};
use crate::size::render_size;
use crate::store::{NewVolume, Rename};
use crate::update::check_lock;

impl Cluster {
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
            let why = cluster.copy_failure(&self.node, &file, &volid, "exit code 1");
            let _ = cluster.free(&self.node, &volid);
            return Err(why.within("storage migration failed: "));
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
        let Some(made) = self.made.take() else {
            return "received interrupt".to_owned();
        };
        let file = self.source(cluster).unwrap_or_default();
        let why = cluster.copy_failure(&self.node, &file, &made, "interrupted by signal");
        let _ = cluster.free(&self.node, &made);
        format!("storage migration failed: {}", why.as_exit())
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
