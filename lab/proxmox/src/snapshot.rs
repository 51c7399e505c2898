//! Turns snapshot calls into kept configs and volume states, and rollbacks back into both.

use serde_json::{Value, json};

use crate::call::Call;
use crate::engine::{LOCK_WAIT, Next, Share, Work};
use crate::keys;
use crate::model::{Cluster, GuestKind, Snapshot};
use crate::property::Drive;
use crate::refusal::{Answer, Refusal};
use crate::update::check_lock;
use crate::volume::Kind;

/// What a snapshot call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Take,
    Rollback,
    Delete,
}

impl Cluster {
    /// `POST .../snapshot`, `POST .../snapshot/S/rollback`, `DELETE .../snapshot/S`.
    pub(crate) fn snapshot_call(
        &mut self,
        call: &Call<'_>,
        kind: GuestKind,
        deed: Deed,
    ) -> Answer<Value> {
        let (node, vmid) = (call.node().to_owned(), call.vmid());
        let name = call.p.text("snapname").to_owned();
        if deed == Deed::Take && ["current", "pending"].contains(&name.as_str()) {
            let text = format!("unable to use snapshot name '{name}' (reserved name)");
            return Err(Refusal::fail(text));
        }
        let word = match deed {
            Deed::Take => "snapshot",
            Deed::Rollback => "rollback",
            Deed::Delete => "delsnapshot",
        };
        let prefix = if kind == GuestKind::Qemu { "qm" } else { "vz" };
        let work = SnapshotWork {
            kind,
            node: node.clone(),
            vmid,
            name,
            description: call.p.get("description").unwrap_or_default().to_owned(),
            start: call.p.flag("start"),
            deed,
        };
        let task = format!("{prefix}{word}");
        Ok(json!(self.fork(
            &node,
            &task,
            &vmid.to_string(),
            call.who,
            Box::new(work)
        )))
    }

    /// `GET .../snapshot`.
    pub(crate) fn snapshot_list(&self, call: &Call<'_>, kind: GuestKind) -> Answer<Value> {
        let guest = self.guest_on(kind, call.node(), call.vmid())?;
        let mut rows: Vec<Value> = guest
            .snapshots
            .iter()
            .map(|(name, s)| {
                let mut row =
                    json!({ "name": name, "snaptime": s.time, "description": s.description });
                if let Some(parent) = &s.parent {
                    row["parent"] = json!(parent);
                }
                row
            })
            .collect();
        let mut current = json!({
            "name": "current", "description": "You are here!", "digest": guest.digest(),
            "running": u8::from(guest.is_running()),
        });
        if let Some(parent) = guest.get("parent") {
            current["parent"] = json!(parent);
        }
        rows.push(current);
        Ok(json!(rows))
    }

    /// `GET .../snapshot/S/config`.
    pub(crate) fn snapshot_config(&self, call: &Call<'_>, kind: GuestKind) -> Answer<Value> {
        let guest = self.guest_on(kind, call.node(), call.vmid())?;
        let name = call.p.get("snapshot").unwrap_or(call.p.text("snapname"));
        let missing = || Refusal::fail(format!("snapshot '{name}' does not exist"));
        let snapshot = guest.snapshots.get(name).ok_or_else(missing)?;
        Ok(json!(snapshot.config))
    }
}

/// A snapshot call under way.
#[derive(Debug)]
struct SnapshotWork {
    kind: GuestKind,
    node: String,
    vmid: u32,
    name: String,
    description: String,
    start: bool,
    deed: Deed,
}

impl SnapshotWork {
    /// Volumes a snapshot covers: all disks, those named after others among them.
    fn volumes(&self, cluster: &Cluster) -> Answer<Vec<String>> {
        let guest = cluster.guest_on(self.kind, &self.node, self.vmid)?;
        let config = match self.deed {
            Deed::Take => &guest.config,
            _ => match guest.snapshots.get(&self.name) {
                Some(snapshot) => &snapshot.config,
                None => {
                    let text = format!("snapshot '{}' does not exist", self.name);
                    return Err(Refusal::fail(text));
                }
            },
        };
        let disk = |(k, v): (&String, &String)| {
            let drive = Drive::parse(v);
            let counts = keys::is_mount(k) || (keys::is_drive(k) && !drive.is_cdrom());
            counts.then(|| drive.file().to_owned())
        };
        Ok(config.iter().filter_map(disk).collect())
    }

    fn check(&self, cluster: &Cluster) -> Answer<()> {
        let guest = cluster.guest_on(self.kind, &self.node, self.vmid)?;
        if guest.is_template() {
            let what = match self.deed {
                Deed::Take => "you can't take a snapshot if it's a template",
                Deed::Rollback => "you can't rollback if vm is a template",
                Deed::Delete => "",
            };
            if !what.is_empty() {
                return Err(Refusal::fail(what));
            }
        }
        check_lock(guest)?;
        if self.deed == Deed::Take {
            if guest.snapshots.contains_key(&self.name) {
                let text = format!("snapshot name '{}' already used", self.name);
                return Err(Refusal::fail(text));
            }
            for volid in self.volumes(cluster)? {
                if !self.can_snapshot(cluster, &volid) {
                    return Err(Refusal::fail("snapshot feature is not available"));
                }
            }
        } else {
            self.volumes(cluster)?;
        }
        Ok(())
    }

    /// Whether a volume can hold snapshots; one that cannot be read cannot.
    fn can_snapshot(&self, cluster: &Cluster, volid: &str) -> bool {
        let Ok(id) = cluster.volid(volid) else {
            return false;
        };
        let Ok(volume) = cluster.known_volume(&self.node, volid) else {
            return false;
        };
        let kind = cluster.storages.get(&id.storage).map(|s| s.kind);
        let raw_file = kind.is_some_and(Kind::is_file_based) && volume.format == "raw";
        !raw_file && kind != Some(Kind::Lvm)
    }

    fn take(&self, cluster: &mut Cluster) -> Answer<()> {
        for volid in self.volumes(cluster)? {
            if let Some(volume) = cluster.volume_mut(&self.node, &volid) {
                volume.snapshots.insert(self.name.clone(), volume.data);
            }
        }
        let time = cluster.unix();
        if let Some(guest) = cluster.guests.get_mut(&self.vmid) {
            let mut config = guest.config.clone();
            let parent = config.remove("parent");
            config.retain(|k, _| !keys::is_unused(k));
            let description = self.description.clone();
            let snapshot = Snapshot {
                time,
                description,
                parent,
                config,
            };
            guest.snapshots.insert(self.name.clone(), snapshot);
            guest.config.insert("parent".to_owned(), self.name.clone());
        }
        Ok(())
    }

    /// Sets config and volumes back, whoever has the volumes by now.
    fn roll_back(&self, cluster: &mut Cluster) -> Answer<()> {
        for volid in self.volumes(cluster)? {
            if let Some(volume) = cluster.volume_mut(&self.node, &volid)
                && let Some(data) = volume.snapshots.get(&self.name)
            {
                volume.data = *data;
            }
        }
        if cluster
            .guests
            .get(&self.vmid)
            .is_some_and(crate::model::Guest::is_running)
        {
            cluster.switch_off(self.vmid);
        }
        let genid = cluster.draw_uuid();
        if let Some(guest) = cluster.guests.get_mut(&self.vmid)
            && let Some(snapshot) = guest.snapshots.get(&self.name)
        {
            let config = snapshot.config.clone();
            let old = std::mem::replace(&mut guest.config, config);
            guest.pending.clear();
            guest.config.insert("parent".to_owned(), self.name.clone());
            if guest.config.contains_key("vmgenid") {
                guest.config.insert("vmgenid".to_owned(), genid);
            }
            for (key, line) in &old {
                if keys::is_unused(key) {
                    guest.keep_unused(line);
                } else if keys::is_drive(key) && !Drive::parse(line).is_cdrom() {
                    guest.keep_unused(Drive::parse(line).file());
                }
            }
            guest.forget_used();
        }
        let foreign = |c: &Cluster, volid: &String| c.owner_of(volid) != Some(self.vmid);
        let drop: Vec<String> = cluster
            .guests
            .get(&self.vmid)
            .map(|g| {
                let unused = g.config.iter().filter(|(k, _)| keys::is_unused(k));
                unused
                    .filter(|(_, v)| foreign(cluster, v))
                    .map(|(k, _)| k.clone())
                    .collect()
            })
            .unwrap_or_default();
        if let Some(guest) = cluster.guests.get_mut(&self.vmid) {
            for key in drop {
                guest.config.remove(&key);
            }
        }
        if self.start {
            cluster.switch_on(self.vmid);
        }
        Ok(())
    }

    fn remove(&self, cluster: &mut Cluster) -> Answer<()> {
        for volid in self.volumes(cluster)? {
            if let Some(volume) = cluster.volume_mut(&self.node, &volid) {
                volume.snapshots.remove(&self.name);
            }
        }
        if let Some(guest) = cluster.guests.get_mut(&self.vmid)
            && let Some(gone) = guest.snapshots.remove(&self.name)
        {
            for snapshot in guest.snapshots.values_mut() {
                if snapshot.parent.as_deref() == Some(&self.name) {
                    snapshot.parent.clone_from(&gone.parent);
                }
            }
            if guest.get("parent") == Some(&self.name) {
                match gone.parent {
                    Some(parent) => guest.config.insert("parent".to_owned(), parent),
                    None => guest.config.remove("parent"),
                };
            }
        }
        Ok(())
    }
}

impl Work for SnapshotWork {
    fn step(&mut self, cluster: &mut Cluster, _log: &mut Vec<String>, phase: u32) -> Next {
        match phase {
            0 => Next::Lock {
                vmid: self.vmid,
                share: Share::Alone,
                patience: LOCK_WAIT,
            },
            1 => match self.check(cluster) {
                Err(refusal) => Next::Done(Err(refusal)),
                Ok(()) => Next::After(0.1),
            },
            _ => Next::Done(match self.deed {
                Deed::Take => self.take(cluster),
                Deed::Rollback => self.roll_back(cluster),
                Deed::Delete => self.remove(cluster),
            }),
        }
    }
}
