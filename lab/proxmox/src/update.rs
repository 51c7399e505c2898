//! Turns a config write on a QEMU guest into pending changes and what of them takes effect now.

use std::collections::BTreeMap;

use crate::access::Caller;
use crate::drives::render_boot;
use crate::engine::{LOCK_WAIT, Next, Share, Work};
use crate::keys::{self, Right};
use crate::model::{Change, Cluster, Guest, GuestKind};
use crate::property::{Drive, Nic, split_list, unique_tags};
use crate::refusal::{Answer, Refusal};
use crate::schema::Params;

/// A config write that passed every check made before the file lock is taken.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub vmid: u32,
    pub set: BTreeMap<String, String>,
    pub delete: Vec<String>,
    pub revert: Vec<String>,
    /// Detached own volumes are destroyed.
    pub force: bool,
    pub digest: Option<String>,
    pub skiplock: bool,
}

impl Cluster {
    /// A guest of a kind on a node.
    ///
    /// # Errors
    /// Its config file does not exist there, in the product's words.
    pub(crate) fn guest_on(&self, kind: GuestKind, node: &str, vmid: u32) -> Answer<&Guest> {
        let found = self
            .guests
            .get(&vmid)
            .filter(|g| g.kind == kind && g.node == node);
        found.ok_or_else(|| {
            Refusal::fail(format!(
                "Configuration file 'nodes/{node}/{}/{vmid}.conf' does not exist",
                kind.folder()
            ))
        })
    }

    /// Checks a config write as far as the product does before it takes the file lock.
    pub(crate) fn plan_update(
        &self,
        who: &Caller,
        node: &str,
        vmid: u32,
        mut params: Params,
    ) -> Answer<Update> {
        for gone in ["vmid", "node", "background_delay"] {
            params.take(gone);
        }
        let digest = params.take("digest");
        let skiplock = params.take("skiplock").is_some_and(|v| v == "1");
        if skiplock && !who.is_root() {
            return Err(Refusal::param("skiplock", "Only root may use this option."));
        }
        let delete = params.take("delete").unwrap_or_default();
        let revert = params.take("revert").unwrap_or_default();
        let force = params.take("force").is_some_and(|v| v == "1");
        check_ssh_keys(&params)?;
        if params.0.is_empty() && delete.is_empty() && revert.is_empty() {
            return Err(Refusal::fail("no options specified"));
        }
        let revert = known_keys("revert", &revert, &params)?;
        let delete = known_keys("delete", &delete, &params)?;
        let set = params.0;
        self.check_import_syntax(&set)?;
        check_hookscript(&set)?;
        for key in delete.iter().chain(set.keys()) {
            self.check_key_right(who, vmid, None, key, set.get(key))?;
        }
        self.check_storage_access(who, vmid, &set)?;
        self.check_bridges(who, &set)?;
        let update = Update {
            vmid,
            set,
            delete,
            revert,
            force,
            digest,
            skiplock,
        };
        self.guest_on(GuestKind::Qemu, node, vmid)?;
        Ok(update)
    }

    /// What is judged under the file lock: digest and `lock`.
    pub(crate) fn check_update_now(&self, update: &Update) -> Answer<()> {
        let guest = self.qemu(update.vmid)?;
        if update.digest.as_ref().is_some_and(|d| *d != guest.digest()) {
            return Err(Refusal::fail(
                "checksum mismatch (file change by other user?)",
            ));
        }
        if update.skiplock {
            Ok(())
        } else {
            check_lock(guest)
        }
    }

    fn qemu(&self, vmid: u32) -> Answer<&Guest> {
        let node = self.guests.get(&vmid).map(|g| g.node.as_str());
        let node = node.or_else(|| self.nodes.keys().next().map(String::as_str));
        self.guest_on(GuestKind::Qemu, node.unwrap_or_default(), vmid)
    }

    /// Whether a caller may set or delete a key; `pool` is that of a guest about to be made.
    pub(crate) fn check_key_right(
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
        let superuser = || Refusal::fail(format!("only root can set '{key}' config"));
        match keys::qemu_right(key) {
            Right::Guest(privilege) => self.check_guest(who, vmid, pool, privilege),
            Right::Either(a, b) => {
                let in_pool =
                    pool.is_some_and(|p| self.may_any(who, &format!("/pool/{p}"), &[a, b]));
                if in_pool {
                    return Ok(());
                }
                self.check_any(who, &format!("/vms/{vmid}"), &[a, b])
            }
            Right::Root(privilege) => self.check(who, "/", &[privilege]),
            Right::Superuser => Err(superuser()),
            Right::ByValue if keys::is_drive(key) || key == "cdrom" => {
                let held = self.guests.get(&vmid).and_then(|g| g.get(key));
                let line = value.map(String::as_str).or(held).unwrap_or_default();
                let drive = Drive::parse(line);
                if drive.is_cloudinit() {
                    return self
                        .check_guest(who, vmid, pool, "VM.Config.CDROM")
                        .or_else(|_| self.check_guest(who, vmid, pool, "VM.Config.Cloudinit"));
                }
                let right = if drive.is_cdrom() {
                    "VM.Config.CDROM"
                } else {
                    "VM.Config.Disk"
                };
                self.check_guest(who, vmid, pool, right)
            }
            // A serial port of a real device is root's; a socket is not.
            Right::ByValue if value.is_none_or(|v| v == "socket" || v == "spice") => {
                self.check_guest(who, vmid, pool, "VM.Config.HWType")
            }
            Right::ByValue => {
                let what = if key.starts_with("hostpci") {
                    "non-mapped"
                } else {
                    "real"
                };
                let text = format!("only root can set '{key}' config for {what} devices");
                Err(Refusal::fail(text))
            }
        }
    }

    /// Whether a caller may use the storages and volumes of disk lines.
    pub(crate) fn check_storage_access(
        &self,
        who: &Caller,
        vmid: u32,
        set: &BTreeMap<String, String>,
    ) -> Answer<()> {
        for (_, line) in set.iter().filter(|(k, _)| keys::is_drive(k)) {
            let drive = Drive::parse(line);
            let file = drive.file();
            if file == "none" || file.ends_with(":cloudinit") {
                continue;
            }
            if file == "cdrom" {
                self.check(who, "/", &["Sys.Console"])?;
            } else if let Some((sid, _)) = drive.wanted() {
                self.check(
                    who,
                    &format!("/storage/{sid}"),
                    &["Datastore.AllocateSpace"],
                )?;
                let storage = self.storage(sid)?;
                if !storage.content.contains("images") {
                    let text = format!("storage '{sid}' does not support vm images");
                    return Err(Refusal::param("storage", text));
                }
            } else {
                self.check_volume(who, Some(vmid), file)?;
            }
            if let Some(source) = drive.0.get("import-from") {
                self.check_import(who, vmid, source)?;
            }
        }
        Ok(())
    }

    fn check_import(&self, who: &Caller, vmid: u32, source: &str) -> Answer<()> {
        if source.starts_with('/') {
            if who.is_root() {
                return Err(Refusal::fail(format!("can't find file '{source}'")));
            }
            return Err(Refusal::fail(
                "Only root can pass arbitrary filesystem paths.",
            ));
        }
        match self.volid(source)?.owner {
            Some(owner) => self.check(who, &format!("/vms/{owner}"), &["VM.Clone"]),
            None => self.check_volume(who, Some(vmid), source),
        }
    }

    /// `import-from` goes with a size of 0 only.
    pub(crate) fn check_import_syntax(&self, set: &BTreeMap<String, String>) -> Answer<()> {
        for (key, line) in set.iter().filter(|(k, _)| keys::is_drive(k)) {
            let drive = Drive::parse(line);
            let imports = drive.0.get("import-from").is_some();
            if imports && drive.wanted().is_none_or(|(_, gib)| gib != 0.0) {
                return Err(Refusal::param(
                    key,
                    "'import-from' requires special syntax - use \
                     <storage ID>:0,import-from=<source>",
                ));
            }
        }
        Ok(())
    }

    /// Whether a caller may use the bridges of net lines.
    pub(crate) fn check_bridges(&self, who: &Caller, set: &BTreeMap<String, String>) -> Answer<()> {
        for (_, line) in set.iter().filter(|(k, _)| keys::is_net(k)) {
            if let Some(nic) = Nic::parse(line)
                && let Some(bridge) = nic.bridge()
            {
                self.check_bridge(who, bridge, nic.tag())?;
            }
        }
        Ok(())
    }

    /// Carries a config write out: into the pending section, then as far as it takes effect.
    ///
    /// # Errors
    /// The product's words. What was written before the failure stays pending, as there.
    pub(crate) fn run_update(&mut self, update: &Update) -> Answer<()> {
        self.check_update_now(update)?;
        let mut set = update.set.clone();
        let mut delete = update.delete.clone();
        for key in &update.revert {
            let guest = self.qemu(update.vmid)?;
            if let Some(value) = guest.get(key) {
                set.insert(key.clone(), value.to_owned());
            } else if guest.pending.contains_key(key) {
                delete.push(key.clone());
            }
        }
        for key in &delete {
            self.write_delete(update, key)?;
        }
        for (key, value) in &set {
            self.write_set(update, key, value)?;
        }
        self.settle(update.vmid)
    }

    fn write_delete(&mut self, update: &Update, key: &str) -> Answer<()> {
        let vmid = update.vmid;
        let guest = self.qemu(vmid)?;
        let waiting = match guest.pending.get(key) {
            Some(Change::Set(value)) => Some(value.clone()),
            _ => None,
        };
        let Some(value) = guest
            .get(key)
            .map(str::to_owned)
            .or_else(|| waiting.clone())
        else {
            return Ok(());
        };
        let protected = guest.flag("protection");
        let order = guest.next_boot_order();
        if keys::is_unused(key) {
            if protected {
                let text = format!("can't remove unused disk '{value}' - protection mode enabled");
                return Err(Refusal::fail(text));
            }
            if self.destroy_unused(vmid, &value)?
                && let Some(guest) = self.guests.get_mut(&vmid)
            {
                guest.config.remove(key);
            }
            return Ok(());
        }
        if keys::is_drive(key) && protected {
            let text = format!("can't remove drive '{key}' - protection mode enabled");
            return Err(Refusal::fail(text));
        }
        let Some(guest) = self.guests.get_mut(&vmid) else {
            return Ok(());
        };
        guest.pending.remove(key);
        if order.iter().any(|d| d == key) {
            let rest: Vec<String> = order.into_iter().filter(|d| d != key).collect();
            guest
                .pending
                .insert("boot".to_owned(), Change::Set(render_boot(&rest)));
        }
        guest.pending.insert(
            key.to_owned(),
            Change::Drop {
                force: update.force,
            },
        );
        if let Some(line) = waiting.filter(|_| keys::is_drive(key)) {
            self.release_drive(vmid, key, &line, false);
        }
        Ok(())
    }

    fn write_set(&mut self, update: &Update, key: &str, value: &str) -> Answer<()> {
        let vmid = update.vmid;
        if key == "sshkeys" && value.is_empty() {
            // An empty list of keys is taken and changes nothing.
            return Ok(());
        }
        let adds_cdrom = keys::is_drive(key)
            && Drive::parse(value).is_cdrom()
            && !Drive::parse(value).is_cloudinit()
            && self.qemu(vmid)?.get(key).is_none();
        if adds_cdrom && let Some(guest) = self.guests.get_mut(&vmid) {
            let mut order = guest.next_boot_order();
            if !order.is_empty() {
                order.push(key.to_owned());
                guest
                    .pending
                    .insert("boot".to_owned(), Change::Set(render_boot(&order)));
            }
        }
        let value = if keys::is_drive(key) {
            if let Some(Change::Set(waiting)) = self.qemu(vmid)?.pending.get(key).cloned()
                && waiting != value
            {
                self.release_drive(vmid, key, &waiting, false);
            }
            self.make_drive(vmid, key, value)?.line
        } else {
            self.normalise(vmid, key, value)?
        };
        let Some(guest) = self.guests.get_mut(&vmid) else {
            return Ok(());
        };
        if key == "description" && value.is_empty() {
            guest
                .pending
                .insert(key.to_owned(), Change::Drop { force: false });
            return Ok(());
        }
        guest.pending.insert(key.to_owned(), Change::Set(value));
        Ok(())
    }

    /// A value as the config file keeps it.
    pub(crate) fn normalise(&mut self, vmid: u32, key: &str, value: &str) -> Answer<String> {
        if keys::is_net(key) {
            let mut nic = Nic::parse(value)
                .ok_or_else(|| Refusal::param(key, "unable to parse network options"))?;
            if nic.mac.is_none() {
                nic.mac = Some(self.draw_mac());
            }
            return Ok(nic.render());
        }
        Ok(match key {
            "tags" => unique_tags(value),
            "description" => value.strip_suffix('\n').unwrap_or(value).to_owned(),
            "cipassword" => {
                use sha2::Digest as _;
                let hash = sha2::Sha256::digest(value.as_bytes());
                format!("$5$lab${}", crate::model::hex(&hash))
            }
            "vmgenid" if value == "1" => self.draw_uuid(),
            "boot" => {
                self.check_boot(vmid, value)?;
                value.to_owned()
            }
            // An empty value is kept as a blank.
            _ if value.is_empty() => " ".to_owned(),
            _ => value.to_owned(),
        })
    }

    fn check_boot(&self, vmid: u32, value: &str) -> Answer<()> {
        let Some(order) = value.strip_prefix("order=") else {
            return Ok(());
        };
        let guest = self.qemu(vmid)?;
        for device in order.split(';').filter(|d| !d.is_empty()) {
            let waiting = guest.pending.get(device);
            let there =
                guest.config.contains_key(device) || matches!(waiting, Some(Change::Set(_)));
            if !there || matches!(waiting, Some(Change::Drop { .. })) {
                let text = format!("invalid bootorder: device '{device}' does not exist'");
                return Err(Refusal::fail(text));
            }
        }
        Ok(())
    }
}

/// Refuses a guest whose config carries a `lock`.
pub(crate) fn check_lock(guest: &Guest) -> Answer<()> {
    match guest.lock() {
        None => Ok(()),
        Some(lock) => Err(Refusal::fail(format!(
            "{} is locked ({lock})",
            guest.kind.noun()
        ))),
    }
}

fn check_ssh_keys(params: &Params) -> Answer<()> {
    let Some(keys) = params.get("sshkeys").filter(|k| !k.is_empty()) else {
        return Ok(());
    };
    let text = percent_encoding::percent_decode_str(keys).decode_utf8_lossy();
    let key = |line: &str| {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let body = words.next().unwrap_or_default();
        (kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-"))
            && body.len() > 16
    };
    if text.lines().filter(|l| !l.trim().is_empty()).all(key) {
        return Ok(());
    }
    Err(Refusal::fail("SSH public key validation error"))
}

fn check_hookscript(set: &BTreeMap<String, String>) -> Answer<()> {
    match set.get("hookscript") {
        None => Ok(()),
        Some(script) => Err(Refusal::param(
            "hookscript",
            format!("script '{script}' does not exist\n"),
        )),
    }
}

/// The keys of `delete` or `revert`; unknown ones and ones set at the same time are refused.
fn known_keys(what: &str, list: &str, params: &Params) -> Answer<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    for key in split_list(list) {
        let key = if key == "cdrom" { "ide2" } else { key };
        if params.get(key).is_some() {
            let text = format!("you can't use '-{key}' and -{what} {key}' at the same time");
            return Err(Refusal::param("delete", text));
        }
        if keys::qemu(key).is_none() {
            return Err(Refusal::param(what, format!("unknown option '{key}'")));
        }
        if !out.iter().any(|k| k == key) {
            out.push(key.to_owned());
        }
    }
    Ok(out)
}

/// The worker of `POST .../config`.
#[derive(Debug)]
pub(crate) struct ConfigWork(pub Update);

impl Work for ConfigWork {
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.0.vmid,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => {
                let mut words = Vec::new();
                for (key, value) in &self.0.set {
                    let value = if key == "cipassword" {
                        "<hidden>"
                    } else {
                        value
                    };
                    words.push(format!("-{key} {value}"));
                }
                if !self.0.delete.is_empty() {
                    words.push(format!("-delete {}", self.0.delete.join(",")));
                }
                log.push(format!("update VM {}: {}", self.0.vmid, words.join(" ")));
                Next::After(0.05)
            }
            _ => Next::Done(cluster.run_update(&self.0)),
        }
    }
}
