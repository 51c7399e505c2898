//! Turns the parameters of containers into containers: create from an archive, config writes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::access::Caller;
use crate::call::Call;
use crate::engine::{CREATE_LOCK_WAIT, LOCK_WAIT, Next, Share, Work};
use crate::keys::{self, Right};
use crate::model::{Change, Cluster, Guest, GuestKind};
use crate::power::StartWork;
use crate::property::{Drive, Property, split_list, unique_tags};
use crate::refusal::{Answer, Refusal};
use crate::size::{container_bytes, render_size};
use crate::store::NewVolume;
use crate::update::check_lock;
use crate::volume::Content;

/// Root file system of a container whose create does not say.
const DEFAULT_ROOTFS: &str = "local:4";
const MODIFIED: &str = "detected modified configuration - file changed by other user? Try again.";

/// Writes a container's net line: its name first, then by name of the option.
pub(crate) fn render_net(nic: &Property) -> String {
    let mut nic = nic.clone();
    let name = nic.options.remove("name").unwrap_or_default();
    nic.head = format!("name={name}");
    nic.render(&[])
}

/// A container's create under way.
#[derive(Debug)]
struct CreateWork {
    node: String,
    vmid: u32,
    set: BTreeMap<String, String>,
    archive: String,
    pool: Option<String>,
    start: Option<Caller>,
    made: Vec<String>,
}

impl Cluster {
    /// `POST /nodes/N/lxc`.
    pub(crate) fn create_lxc(&mut self, call: &Call<'_>) -> Answer<Value> {
        let (node, vmid, who) = (call.node().to_owned(), call.vmid(), call.who);
        let mut params = call.p.clone();
        for gone in [
            "node",
            "vmid",
            "bwlimit",
            "force",
            "unique",
            "ha-managed",
            "password",
            "ssh-public-keys",
            "ignore-unpack-errors",
            "restore",
        ] {
            params.take(gone);
        }
        let pool = params.take("pool");
        let start = params.take("start").is_some_and(|v| v == "1");
        let archive = params.take("ostemplate").unwrap_or_default();
        let storage = params.take("storage").unwrap_or_else(|| "local".to_owned());
        let mut set = params.0;
        if let Some(pool) = &pool {
            self.check_pool_exists(pool)?;
        }
        if let Some(text) = self.taken_text(vmid) {
            return Err(Refusal::fail(text));
        }
        self.check_may_make(who, vmid, pool.as_deref())?;
        for (key, value) in &set {
            self.check_lxc_key(who, vmid, pool.as_deref(), key, Some(value))?;
        }
        self.check_volume(who, Some(vmid), &archive)?;
        let rootfs = format!("{storage}:4");
        let default = if storage == "local" {
            DEFAULT_ROOTFS.to_owned()
        } else {
            rootfs
        };
        set.entry("rootfs".to_owned()).or_insert(default);
        self.check_container_storage(who, &node, vmid, &set)?;
        let mut guest = Guest::new(GuestKind::Lxc, &node);
        guest.config.insert("lock".to_owned(), "create".to_owned());
        self.guests.insert(vmid, guest);
        let start = start.then(|| who.clone());
        let work = CreateWork {
            node: node.clone(),
            vmid,
            set,
            archive,
            pool,
            start,
            made: Vec::new(),
        };
        Ok(json!(self.fork(
            &node,
            "vzcreate",
            &vmid.to_string(),
            who,
            Box::new(work)
        )))
    }

    fn check_lxc_key(
        &self,
        who: &Caller,
        vmid: u32,
        pool: Option<&str>,
        key: &str,
        value: Option<&String>,
    ) -> Answer<()> {
        if who.is_root() {
            return Ok(());
        }
        if key == "features" && value.is_some_and(|v| v != "nesting=1" && v != "nesting=0") {
            let text = "changing feature flags (except nesting) is only allowed for root@pam";
            return Err(Refusal::denied_feature(text));
        }
        match keys::lxc_right(key) {
            Right::Guest(privilege) => self.check_guest(who, vmid, pool, privilege)?,
            _ => return Err(Refusal::fail(format!("only root can set '{key}' config"))),
        }
        if let Some(line) = value.filter(|_| keys::is_net(key)) {
            let nic = Property::parse(line, "");
            if let Some(bridge) = nic.get("bridge") {
                self.check_bridge(who, bridge, nic.get("tag"))?;
            }
        }
        Ok(())
    }

    fn check_container_storage(
        &self,
        who: &Caller,
        node: &str,
        vmid: u32,
        set: &BTreeMap<String, String>,
    ) -> Answer<()> {
        for (_, line) in set.iter().filter(|(k, _)| keys::is_mount(k)) {
            let drive = Drive::parse(line);
            if let Some((sid, _)) = drive.wanted() {
                let storage = self.usable_storage(sid, node)?;
                if !storage.content.contains("rootdir") {
                    let text = format!("storage '{sid}' does not support container directories");
                    return Err(Refusal::param("storage", text));
                }
                self.check(
                    who,
                    &format!("/storage/{sid}"),
                    &["Datastore.AllocateSpace"],
                )?;
            } else if drive.file().contains(':') && self.volid(drive.file()).is_ok() {
                self.check_volume(who, Some(vmid), drive.file())?;
            } else if !who.is_root() {
                return Err(Refusal::denied_feature(
                    "mount point type bind is only allowed for root@pam",
                ));
            }
        }
        Ok(())
    }

    /// Makes a mount point real: allocates what is asked for, measures what is there.
    fn make_mount(&mut self, vmid: u32, line: &str) -> Answer<(String, Option<String>)> {
        let node = self
            .guests
            .get(&vmid)
            .map(|g| g.node.clone())
            .unwrap_or_default();
        let mut mount = Drive::parse(line);
        let wanted = mount.wanted().map(|(sid, gib)| (sid.to_owned(), gib));
        let Some((sid, gib)) = wanted else {
            // A size with a unit passes here and poisons the container later, as there.
            if let Ok(Some(volume)) = self.volume(&node, mount.file()) {
                let size = render_size(volume.size);
                mount.0.options.insert("size".to_owned(), size);
            } else if self.volid(mount.file()).is_ok() {
                return Err(Refusal::fail(format!(
                    "volume '{}' does not exist",
                    mount.file()
                )));
            }
            return Ok((mount.0.render(&["mp"]), None));
        };
        let size = container_bytes(gib);
        let new = NewVolume {
            storage: &sid,
            node: &node,
            owner: vmid,
            suffix: None,
            format: Some("raw"),
            size,
            content: Content::RootDir,
        };
        let volid = self.allocate(&new)?;
        mount.0.head.clone_from(&volid);
        mount.0.options.insert("size".to_owned(), render_size(size));
        Ok((mount.0.render(&["mp"]), Some(volid)))
    }

    /// A container's value as its config keeps it.
    fn normalise_lxc(&mut self, key: &str, value: &str) -> String {
        if keys::is_net(key) {
            let mut nic = Property::parse(value, "");
            let mac = self.draw_mac();
            nic.options.entry("hwaddr".to_owned()).or_insert(mac);
            nic.options.insert("type".to_owned(), "veth".to_owned());
            return render_net(&nic);
        }
        match key {
            "tags" => unique_tags(value),
            "description" if !value.is_empty() && !value.ends_with('\n') => format!("{value}\n"),
            _ => value.to_owned(),
        }
    }

    /// `PUT /nodes/N/lxc/ID/config`.
    pub(crate) fn put_lxc_config(&mut self, call: &Call<'_>) -> Answer<Value> {
        let (node, vmid, who) = (call.node().to_owned(), call.vmid(), call.who);
        let mut params = call.p.clone();
        for gone in ["node", "vmid"] {
            params.take(gone);
        }
        let digest = params.take("digest");
        let delete = params.take("delete").unwrap_or_default();
        let revert = params.take("revert").unwrap_or_default();
        if params.0.is_empty() && delete.is_empty() && revert.is_empty() {
            return Err(Refusal::fail("no options specified"));
        }
        let delete: Vec<String> = split_list(&delete).map(str::to_owned).collect();
        for key in &delete {
            if keys::lxc(key).is_none() {
                return Err(Refusal::param("delete", format!("unknown option '{key}'")));
            }
            self.check_lxc_key(who, vmid, None, key, None)?;
        }
        for (key, value) in &params.0 {
            self.check_lxc_key(who, vmid, None, key, Some(value))?;
        }
        self.need_lock(vmid, LOCK_WAIT)?;
        let guest = self.guest_on(GuestKind::Lxc, &node, vmid)?;
        check_lock(guest)?;
        if digest.is_some_and(|d| d != guest.digest()) {
            return Err(Refusal::fail(MODIFIED));
        }
        self.check_container_storage(who, &node, vmid, &params.0)?;
        for key in split_list(&revert) {
            if let Some(guest) = self.guests.get_mut(&vmid) {
                guest.pending.remove(key);
            }
        }
        for key in &delete {
            self.delete_lxc_key(vmid, key)?;
        }
        for (key, value) in params.0 {
            self.set_lxc_key(vmid, &key, &value)?;
        }
        if let Some(guest) = self.guests.get_mut(&vmid) {
            guest.forget_used();
        }
        Ok(Value::Null)
    }

    fn delete_lxc_key(&mut self, vmid: u32, key: &str) -> Answer<()> {
        let Some(guest) = self.guests.get_mut(&vmid) else {
            return Ok(());
        };
        guest.pending.remove(key);
        let Some(line) = guest.get(key).map(str::to_owned) else {
            return Ok(());
        };
        if keys::is_unused(key) {
            if self.destroy_unused(vmid, &line)?
                && let Some(guest) = self.guests.get_mut(&vmid)
            {
                guest.config.remove(key);
            }
            return Ok(());
        }
        if key == "rootfs" {
            return Err(Refusal::fail("unable to delete required option 'rootfs'"));
        }
        if guest.is_running() && keys::is_mount(key) {
            guest
                .pending
                .insert(key.to_owned(), Change::Drop { force: false });
            return Ok(());
        }
        guest.config.remove(key);
        if keys::is_mount(key) {
            self.release_drive(vmid, key, &line, false);
        }
        Ok(())
    }

    fn set_lxc_key(&mut self, vmid: u32, key: &str, value: &str) -> Answer<()> {
        let value = if keys::is_mount(key) {
            self.make_mount(vmid, value)?.0
        } else {
            self.normalise_lxc(key, value)
        };
        let Some(guest) = self.guests.get_mut(&vmid) else {
            return Ok(());
        };
        guest.pending.remove(key);
        if key == "description" && value.is_empty() {
            guest.config.remove(key);
            return Ok(());
        }
        let cold = matches!(
            key,
            "hostname" | "features" | "unprivileged" | "arch" | "ostype" | "tty"
        );
        if guest.is_running() && cold && guest.get(key) != Some(&value) {
            guest.pending.insert(key.to_owned(), Change::Set(value));
            return Ok(());
        }
        guest.config.insert(key.to_owned(), value);
        Ok(())
    }
}

impl CreateWork {
    fn build(&mut self, cluster: &mut Cluster, log: &mut Vec<String>) -> Answer<()> {
        let mut config = BTreeMap::new();
        let mut keys: Vec<String> = self.set.keys().cloned().collect();
        keys.sort_by_key(|k| keys::volume_order(k));
        for key in keys {
            let value = self.set.get(&key).cloned().unwrap_or_default();
            let value = if keys::is_mount(&key) {
                let (line, created) = cluster.make_mount(self.vmid, &value)?;
                self.made.extend(created);
                line
            } else {
                cluster.normalise_lxc(&key, &value)
            };
            config.insert(key, value);
        }
        cluster.known_volume(&self.node, &self.archive)?;
        let root = config
            .get("rootfs")
            .map(|l| Drive::parse(l).file().to_owned());
        let full = root
            .as_deref()
            .and_then(|r| r.split_once(':'))
            .is_some_and(|(sid, _)| cluster.storages.get(sid).is_some_and(|s| s.full));
        if full {
            let text = "command 'tar xpf - --zstd' failed: exit code 2";
            return Err(Refusal::fail(text));
        }
        log.push(format!("extracting archive '{}'", self.archive));
        let file = self.archive.rsplit('/').next().unwrap_or_default();
        let kind = [
            "alpine",
            "debian",
            "ubuntu",
            "fedora",
            "centos",
            "archlinux",
        ]
        .into_iter()
        .find(|k| file.starts_with(k));
        if kind.is_none() && !config.contains_key("ostype") {
            return Err(Refusal::fail("unable to detect OS distribution"));
        }
        for (key, value) in [
            ("arch", "amd64"),
            ("ostype", kind.unwrap_or("unmanaged")),
            ("memory", "512"),
            ("swap", "512"),
        ] {
            config
                .entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
        config
            .entry("hostname".to_owned())
            .or_insert_with(|| format!("CT{}", self.vmid));
        if let Some(guest) = cluster.guests.get_mut(&self.vmid) {
            guest.config = config;
        }
        Ok(())
    }
}

impl Work for CreateWork {
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: CREATE_LOCK_WAIT,
            },
            1 => Next::After(0.8),
            _ => {
                if let Err(refusal) = self.build(cluster, log) {
                    cluster.undo_create(&self.node, self.vmid, &mut self.made);
                    let text = format!("unable to create CT {} - {}", self.vmid, refusal.as_exit());
                    return Next::Done(Err(Refusal::fail(text)));
                }
                cluster.join_pool(self.vmid, self.pool.as_deref());
                if let Some(who) = self.start.take() {
                    let work = StartWork::new(GuestKind::Lxc, &self.node, self.vmid, false);
                    let id = self.vmid.to_string();
                    cluster.fork(&self.node, "vzstart", &id, &who, Box::new(work));
                }
                Next::Done(Ok(()))
            }
        }
    }

    fn interrupted(&mut self, cluster: &mut Cluster) -> String {
        cluster.undo_create(&self.node, self.vmid, &mut self.made);
        format!("unable to create CT {} - interrupted by signal", self.vmid)
    }
}
