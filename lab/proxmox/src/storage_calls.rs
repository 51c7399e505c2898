//! Turns storage calls into lists of volumes, new volumes, freed ones, and storage definitions.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::call::Call;
use crate::engine::{Next, Work};
use crate::model::{Cluster, Storage, Volume};
use crate::refusal::{Answer, Refusal};
use crate::size::{KIB, parse_size};
use crate::store::{NewVolume, owner_in};
use crate::volume::{Content, Kind, file_suffix, owner_in_name, parse_volid, split_volid};

impl Cluster {
    /// `GET /nodes/N/storage/S/content`: what the caller may see of it.
    ///
    /// A volume is seen by who may use it; an empty list is no proof that there is none.
    pub(crate) fn content_list(&self, call: &Call<'_>) -> Answer<Value> {
        let sid = call.p.text("storage");
        self.usable_storage(sid, call.node())?;
        let vmid = call.p.get("vmid").map(|_| call.vmid());
        let wanted = call.p.get("content");
        let rows: Vec<Value> = self
            .volumes_on(sid, call.node())
            .into_iter()
            .filter(|(_, v)| wanted.is_none_or(|w| w == v.content.word()))
            .filter(|(_, v)| vmid.is_none() || v.owner == vmid || v.content == Content::Snippets)
            .filter(|(volid, _)| self.check_volume(call.who, vmid, volid).is_ok())
            .map(|(volid, v)| self.content_row(&volid, &v))
            .collect();
        Ok(json!(rows))
    }

    fn content_row(&self, volid: &str, volume: &Volume) -> Value {
        let mut row = json!({
            "volid": volid, "content": volume.content.word(), "format": volume.format,
            "size": volume.size, "ctime": volume.ctime,
        });
        if let Some(owner) = volume.owner {
            row["vmid"] = json!(owner);
            let file_based = self.volid(volid).ok().and_then(|id| {
                self.storages
                    .get(&id.storage)
                    .map(|s| s.kind.is_file_based())
            });
            row["parent"] = match (&volume.base, file_based) {
                (Some(base), Some(true)) => json!(format!("../{base}")),
                (base, _) => json!(base),
            };
            row["used"] = json!(std::cmp::min(volume.size, 331_776));
        }
        row
    }

    /// A volume named in a path: with or without the storage in front.
    fn path_volid(call: &Call<'_>) -> String {
        let (sid, volume) = (call.p.text("storage"), call.p.text("volume"));
        match split_volid(volume) {
            Some((named, _)) if named == sid => volume.to_owned(),
            _ => format!("{sid}:{volume}"),
        }
    }

    /// `GET /nodes/N/storage/S/content/V`.
    pub(crate) fn content_info(&self, call: &Call<'_>) -> Answer<Value> {
        let volid = Self::path_volid(call);
        let id = self.volid(&volid)?;
        self.check_volume(call.who, None, &volid)?;
        let storage = self.usable_storage(&id.storage, call.node())?;
        let missing = || Refusal::fail(format!("volume_size_info on '{volid}' failed - no format"));
        let volume = self.volume(call.node(), &volid)?.ok_or_else(missing)?;
        Ok(json!({
            "path": storage.path_of(&id.storage, &id.name), "format": volume.format,
            "size": volume.size, "used": std::cmp::min(volume.size, 331_776),
        }))
    }

    /// `PUT /nodes/N/storage/S/content/V`: only backups have what it sets.
    pub(crate) fn content_update(&self, call: &Call<'_>) -> Answer<Value> {
        self.volid(&Self::path_volid(call))?;
        if call.p.get("notes").is_some() {
            return Err(Refusal::fail("only backups can have notes"));
        }
        if call.p.get("protected").is_some() {
            return Err(Refusal::fail("only backups support attribute 'protected'"));
        }
        Ok(Value::Null)
    }

    /// `POST /nodes/N/storage/S/content`: allocates a volume of a chosen name, at once.
    pub(crate) fn content_alloc(&mut self, call: &Call<'_>) -> Answer<Value> {
        let (sid, node, vmid) = (call.p.text("storage"), call.node(), call.vmid());
        let kind = self.usable_storage(sid, node)?.kind;
        let name = call.p.text("filename");
        let size = parse_size(call.p.text("size"), KIB).unwrap_or_default();
        let mut format = call.p.get("format").map(str::to_owned);
        let full_name = if kind.is_file_based() {
            if let Ok(suffix) = file_suffix(name) {
                match &format {
                    Some(asked) if asked != suffix => {
                        let text = format!("different storage formats ({asked} != {suffix})");
                        return Err(Refusal::param("format", text));
                    }
                    _ => format = Some(suffix.to_owned()),
                }
            }
            let full = format!("{vmid}/{name}");
            parse_volid(kind, sid, &full)?;
            full
        } else {
            if owner_in_name(name) != Some(vmid) {
                let text = format!("illegal name '{name}' - should be 'vm-{vmid}-*'");
                return Err(Refusal::fail(text));
            }
            if format.as_deref().is_some_and(|f| f != "raw") {
                let format = format.unwrap_or_default();
                return Err(Refusal::fail(format!("unsupported format '{format}'")));
            }
            name.to_owned()
        };
        let format = format.unwrap_or_else(|| "raw".to_owned());
        let new = NewVolume {
            storage: sid,
            node,
            owner: owner_in(&full_name).unwrap_or(vmid),
            suffix: None,
            format: Some(&format),
            size,
            content: Content::Images,
        };
        self.allocate_named(&new, &full_name, &format)
            .map(|volid| json!(volid))
    }

    /// `DELETE /nodes/N/storage/S/content/V`: a task, and fine when there is no such volume.
    pub(crate) fn content_delete(&mut self, call: &Call<'_>) -> Answer<Value> {
        let volid = Self::path_volid(call);
        let id = self.volid(&volid)?;
        self.check(
            call.who,
            &format!("/storage/{}", id.storage),
            &["Datastore.Allocate"],
        )?;
        let node = call.node().to_owned();
        self.usable_storage(&id.storage, &node)?;
        if call.p.get("delay").is_some() {
            self.free(&node, &volid)?;
            return Ok(Value::Null);
        }
        let owner = id.owner.map_or_else(String::new, |o| format!("{o}@"));
        let work = FreeWork {
            node: node.clone(),
            volid,
        };
        let task_id = format!("{owner}{}", id.storage);
        Ok(json!(self.fork(
            &node,
            "imgdel",
            &task_id,
            call.who,
            Box::new(work)
        )))
    }

    fn status_row(&self, sid: &str, storage: &Storage, node: &str) -> Value {
        let content: Vec<&str> = storage.content.iter().map(String::as_str).collect();
        let used = storage.used(node);
        json!({
            "type": storage.kind.word(), "content": content.join(","),
            "enabled": u8::from(storage.enabled), "active": u8::from(storage.enabled),
            "shared": u8::from(storage.shared), "total": storage.total, "used": used,
            "avail": storage.total - used, "storage": sid,
        })
    }

    /// `GET /nodes/N/storage`.
    pub(crate) fn node_storages(&self, call: &Call<'_>) -> Value {
        let content = call.p.get("content");
        let one = call.p.get("storage");
        let rows: Vec<Value> = self
            .storages
            .iter()
            .filter(|(sid, s)| s.is_on(call.node()) && one.is_none_or(|o| o == sid.as_str()))
            .filter(|(_, s)| content.is_none_or(|c| s.content.contains(c)))
            .filter(|(_, s)| !call.p.flag("enabled") || s.enabled)
            .filter(|(sid, _)| {
                let rights = ["Datastore.Audit", "Datastore.AllocateSpace"];
                self.may_any(call.who, &format!("/storage/{sid}"), &rights)
            })
            .map(|(sid, s)| self.status_row(sid, s, call.node()))
            .collect();
        json!(rows)
    }

    /// `GET /nodes/N/storage/S/status`.
    pub(crate) fn storage_status(&self, call: &Call<'_>) -> Answer<Value> {
        let sid = call.p.text("storage");
        let storage = self.storages.get(sid).filter(|s| s.is_on(call.node()));
        let storage = storage.ok_or_else(|| Refusal::param("storage", "No such storage."))?;
        let mut row = self.status_row(sid, storage, call.node());
        if let Some(row) = row.as_object_mut() {
            row.remove("storage");
        }
        Ok(row)
    }

    /// `GET /storage`, `GET /storage/S`.
    pub(crate) fn storage_config(&self, call: &Call<'_>) -> Answer<Value> {
        let row = |sid: &str, s: &Storage| {
            let content: Vec<&str> = s.content.iter().map(String::as_str).collect();
            let mut row =
                json!({ "storage": sid, "type": s.kind.word(), "content": content.join(",") });
            if let Some(path) = &s.path {
                row["path"] = json!(path);
            }
            if s.shared {
                row["shared"] = json!(1);
            }
            row
        };
        match call.p.get("storage") {
            Some(sid) => Ok(row(sid, self.storage(sid)?)),
            None => {
                let seen = self.storages.iter().filter(|(sid, _)| {
                    self.may(call.who, &format!("/storage/{sid}"), "Datastore.Audit")
                });
                Ok(json!(seen.map(|(sid, s)| row(sid, s)).collect::<Vec<_>>()))
            }
        }
    }

    /// `POST /storage`.
    pub(crate) fn storage_add(&mut self, call: &Call<'_>) -> Answer<Value> {
        let sid = call.p.text("storage").to_owned();
        if self.storages.contains_key(&sid) {
            let text = format!("create storage failed: storage ID '{sid}' already defined");
            return Err(Refusal::fail(text));
        }
        let kind = Kind::from_word(call.p.text("type")).unwrap_or(Kind::Dir);
        let content = call.p.get("content").unwrap_or("images,rootdir");
        let shared = matches!(kind, Kind::Rbd | Kind::Nfs | Kind::Cifs | Kind::CephFs);
        let storage = Storage {
            kind,
            content: crate::property::split_list(content)
                .map(str::to_owned)
                .collect(),
            shared: shared || call.p.flag("shared"),
            nodes: call
                .p
                .get("nodes")
                .map(|n| crate::property::split_list(n).map(str::to_owned).collect())
                .unwrap_or_default(),
            enabled: !call.p.flag("disable"),
            total: 100 << 30,
            path: call.p.get("path").map(str::to_owned),
            full: false,
            preallocate: call.p.get("preallocation") == Some("full"),
            keeps: false,
            volumes: std::collections::BTreeMap::new(),
        };
        self.storages.insert(sid.clone(), storage);
        Ok(json!({ "storage": sid, "type": kind.word() }))
    }

    /// `PUT /storage/S`.
    pub(crate) fn storage_change(&mut self, call: &Call<'_>) -> Answer<Value> {
        let sid = call.p.text("storage").to_owned();
        self.storage(&sid)?;
        let Some(storage) = self.storages.get_mut(&sid) else {
            return Ok(Value::Null);
        };
        if let Some(value) = call.p.get("preallocation") {
            storage.preallocate = value == "full";
        }
        if call.p.get("disable").is_some() {
            storage.enabled = !call.p.flag("disable");
        }
        if let Some(list) = call.p.get("content") {
            let content: BTreeSet<String> = crate::property::split_list(list)
                .map(str::to_owned)
                .collect();
            storage.content = content;
        }
        Ok(json!({ "storage": sid, "type": storage.kind.word() }))
    }

    /// `DELETE /storage/S`: the definition goes, guests keep naming it.
    pub(crate) fn storage_remove(&mut self, call: &Call<'_>) -> Answer<Value> {
        let sid = call.p.text("storage");
        self.storage(sid)
            .map_err(|r| r.within("delete storage failed: "))?;
        self.storages.remove(sid);
        Ok(Value::Null)
    }
}

/// The removal of a volume under way.
#[derive(Debug)]
struct FreeWork {
    node: String,
    volid: String,
}

impl Work for FreeWork {
    fn step(&mut self, cluster: &mut Cluster, log: &mut Vec<String>, phase: u32) -> Next {
        if phase == 0 {
            return Next::After(0.1);
        }
        match cluster.free(&self.node, &self.volid) {
            Err(refusal) => Next::Done(Err(refusal)),
            Ok(_) => {
                log.push(format!("Removed volume '{}'", self.volid));
                Next::Done(Ok(()))
            }
        }
    }
}
