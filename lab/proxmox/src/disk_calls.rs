//! Turns config writes, resize, unlink and template into changes of a guest's volumes.

use serde_json::{Value, json};

use crate::access::Caller;
use crate::call::Call;
use crate::engine::{LOCK_WAIT, Next, Share, Work};
use crate::keys;
use crate::model::{Cluster, GuestKind};
use crate::property::Drive;
use crate::refusal::{Answer, Refusal};
use crate::size::{parse_size, render_size};
use crate::store::Rename;
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
            return Err(Refusal::fail(text));
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
                Ok(_) => Next::After(cluster.world.takes.resize.unwrap_or(0.1)),
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
