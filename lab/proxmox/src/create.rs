//! Turns the parameters of a new QEMU guest into a guest, with its id taken before the answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::call::Call;
use crate::engine::{CREATE_LOCK_WAIT, Next, Share, Work};
use crate::keys;
use crate::model::{Cluster, Guest, GuestKind};
use crate::power::StartWork;
use crate::property::Drive;
use crate::refusal::{Answer, Refusal};

/// Version of QEMU that `meta` names.
const QEMU: &str = "10.0.13";

/// A create under way.
#[derive(Debug)]
pub(crate) struct CreateWork {
    node: String,
    vmid: u32,
    set: BTreeMap<String, String>,
    pool: Option<String>,
    start: Option<crate::access::Caller>,
    made: Vec<String>,
    /// The config the guest gets in the end.
    built: BTreeMap<String, String>,
}

impl Cluster {
    /// `POST /nodes/N/qemu`.
    pub(crate) fn create_qemu(&mut self, call: &Call<'_>) -> Answer<Value> {
        let (node, vmid, who) = (call.node().to_owned(), call.vmid(), call.who);
        let mut params = call.p.clone();
        for gone in [
            "node",
            "vmid",
            "bwlimit",
            "force",
            "unique",
            "ha-managed",
            "archive",
        ] {
            params.take(gone);
        }
        let pool = params.take("pool");
        let start = params.take("start").is_some_and(|v| v == "1");
        let storage = params.take("storage");
        let set = params.0;
        if let Some(pool) = &pool {
            self.check_pool_exists(pool)?;
        }
        if let Some(storage) = &storage {
            self.check(
                who,
                &format!("/storage/{storage}"),
                &["Datastore.AllocateSpace"],
            )?;
        }
        self.check_may_make(who, vmid, pool.as_deref())?;
        self.check_storage_access(who, vmid, &set)?;
        self.check_bridges(who, &set)?;
        for (key, value) in &set {
            if !keys::is_drive(key) {
                self.check_key_right(who, vmid, pool.as_deref(), key, Some(value))?;
            }
        }
        self.check_import_syntax(&set)?;
        self.need_lock(vmid, CREATE_LOCK_WAIT)
            .map_err(|r| with_prefix(r, &format!("unable to create VM {vmid} - ")))?;
        if let Some(text) = self.taken_text(vmid) {
            return Err(Refusal::fail(format!(
                "unable to create VM {vmid} - {text}"
            )));
        }
        let mut guest = Guest::new(GuestKind::Qemu, &node);
        guest.config.insert("lock".to_owned(), "create".to_owned());
        self.guests.insert(vmid, guest);
        let work = CreateWork {
            node: node.clone(),
            vmid,
            set,
            pool,
            start: start.then(|| who.clone()),
            made: Vec::new(),
            built: BTreeMap::new(),
        };
        Ok(json!(self.fork(
            &node,
            "qmcreate",
            &vmid.to_string(),
            who,
            Box::new(work)
        )))
    }

    /// The right to make a guest: on its path, or on the pool it joins.
    pub(crate) fn check_may_make(
        &self,
        who: &crate::access::Caller,
        vmid: u32,
        pool: Option<&str>,
    ) -> Answer<()> {
        let by_path = self.may(who, &format!("/vms/{vmid}"), "VM.Allocate");
        let by_pool = pool.is_some_and(|p| self.may(who, &format!("/pool/{p}"), "VM.Allocate"));
        if by_path || by_pool {
            Ok(())
        } else {
            Err(Refusal::denied_somehow())
        }
    }

    /// Removes what a failed or interrupted create made.
    pub(crate) fn undo_create(&mut self, node: &str, vmid: u32, made: &mut Vec<String>) {
        for volid in made.drain(..) {
            let _ = self.free(node, &volid);
        }
        self.guests.remove(&vmid);
    }
}

/// Puts words in front and keeps the waiting.
fn with_prefix(refusal: Refusal, prefix: &str) -> Refusal {
    let patience = refusal.patience;
    Refusal {
        patience,
        ..refusal.within(prefix)
    }
}

impl CreateWork {
    fn build(&mut self, cluster: &mut Cluster, log: &mut Vec<String>) -> Answer<()> {
        let mut config = BTreeMap::new();
        let mut order: Vec<(String, String)> = self.set.clone().into_iter().collect();
        order.sort_by_key(|(k, _)| keys::volume_order(k));
        for (key, value) in order {
            if keys::is_drive(&key) {
                let made = cluster.make_drive(self.vmid, &key, &value)?;
                if let Some(volid) = made.created {
                    log.push(format!("{key}: successfully created disk '{}'", made.line));
                    self.made.push(volid);
                }
                // The line is there at once, so that a second cloud-init drive is seen.
                if let Some(guest) = cluster.guests.get_mut(&self.vmid) {
                    guest.config.insert(key.clone(), made.line.clone());
                }
                config.insert(key, made.line);
            } else if !matches!(key.as_str(), "tags" | "boot") {
                let value = cluster.normalise(self.vmid, &key, &value)?;
                config.insert(key, value);
            } else {
                // A create keeps tags as they were sent; only an update sorts them.
                config.insert(key, value);
            }
        }
        config.retain(|k, v| !(k == "description" && v.is_empty()));
        let boot = default_boot(&config);
        config.entry("boot".to_owned()).or_insert(boot);
        let uuid = cluster.draw_uuid();
        config
            .entry("smbios1".to_owned())
            .or_insert(format!("uuid={uuid}"));
        let genid = cluster.draw_uuid();
        config.entry("vmgenid".to_owned()).or_insert(genid);
        let meta = format!("creation-qemu={QEMU},ctime={}", cluster.unix());
        config.insert("meta".to_owned(), meta);
        // While volumes are filled, the config says no more than that it is being made.
        if let Some(guest) = cluster.guests.get_mut(&self.vmid) {
            guest.config = [("lock".to_owned(), "create".to_owned())].into();
        }
        self.built = config;
        Ok(())
    }

    /// Seconds the create takes: importing copies data.
    fn seconds(&self, cluster: &Cluster) -> f64 {
        let import = |line: &String| {
            let drive = Drive::parse(line);
            let source = drive.0.get("import-from")?.to_owned();
            cluster
                .volume(&self.node, &source)
                .ok()
                .flatten()
                .map(|v| v.size)
        };
        let bytes: u64 = self.set.values().filter_map(import).sum();
        0.1 + cluster.copy_seconds(bytes, None)
    }
}

/// First disk, first CD-ROM, first net: what boots when nobody says.
fn default_boot(config: &BTreeMap<String, String>) -> String {
    let drives = |cdrom: bool| {
        keys::drive_names().into_iter().find(|k| {
            config.get(k).is_some_and(|v| {
                !k.starts_with("efidisk")
                    && !k.starts_with("tpmstate")
                    && Drive::parse(v).is_cdrom() == cdrom
            })
        })
    };
    let net = (0..32)
        .map(|n| format!("net{n}"))
        .find(|k| config.contains_key(k));
    let order: Vec<String> = [drives(false), drives(true), net]
        .into_iter()
        .flatten()
        .collect();
    crate::drives::render_boot(&order)
}

impl Work for CreateWork {
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: CREATE_LOCK_WAIT,
            },
            1 => match self.build(cluster, log) {
                Ok(()) => Next::After(self.seconds(cluster)),
                Err(refusal) => {
                    cluster.undo_create(&self.node, self.vmid, &mut self.made);
                    let text = format!("unable to create VM {} - {}", self.vmid, refusal.as_exit());
                    Next::Done(Err(Refusal::fail(text)))
                }
            },
            _ => {
                if let Some(guest) = cluster.guests.get_mut(&self.vmid) {
                    guest.config = std::mem::take(&mut self.built);
                }
                cluster.join_pool(self.vmid, self.pool.as_deref());
                if let Some(who) = self.start.take() {
                    let work = StartWork::new(GuestKind::Qemu, &self.node, self.vmid, false);
                    let id = self.vmid.to_string();
                    cluster.fork(&self.node, "qmstart", &id, &who, Box::new(work));
                }
                Next::Done(Ok(()))
            }
        }
    }

    fn interrupted(&mut self, cluster: &mut Cluster) -> String {
        cluster.undo_create(&self.node, self.vmid, &mut self.made);
        format!("unable to create VM {} - interrupted by signal", self.vmid)
    }
}
