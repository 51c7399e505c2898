//! Turns questions about a cluster into calls, and their answers into what the core observes.

use std::collections::{BTreeMap, BTreeSet};

use bb_core::proxmox::keys::GuestConfig;
use bb_core::proxmox::mark::parse_tags;
use bb_core::proxmox::model::Kind;
use bb_core::proxmox::observed::{ConfigRead, Observed, Place, Row, Shape, Storage};
use bb_crds::ids::Vmid;
use serde_json::Value;

use crate::cluster::{Cluster, part};
use crate::error::ClusterError;
use crate::json::{number_at, rows, text, text_at};
use crate::transport::Call;

fn vmid_at(row: &Value) -> Option<Vmid> {
    Vmid::try_from(u32::try_from(number_at(row, "vmid")?).ok()?).ok()
}

/// A path below a guest.
pub(crate) fn guest_path(kind: Kind, node: &str, vmid: Vmid, below: &str) -> String {
    format!("/nodes/{}/{}/{vmid}{below}", part(node), kind.path())
}

fn storage_path(place: &Place, below: &str) -> String {
    format!(
        "/nodes/{}/storage/{}{below}",
        part(&place.node),
        part(&place.storage)
    )
}

/// A path below a storage's content.
pub(crate) fn content_path(place: &Place, volid: Option<&str>) -> String {
    let below = volid
        .map(|volid| format!("/{}", part(volid)))
        .unwrap_or_default();
    storage_path(place, &format!("/content{below}"))
}

impl Cluster {
    /// Nodes, guests and storages of the whole cluster, in one call.
    pub(crate) async fn resources(&self) -> Result<Observed, ClusterError> {
        let call = Call::new("GET /cluster/resources", "/cluster/resources".to_owned());
        let mut seen = Observed::default();
        self.each(&call, |row| parse_resource(row, &mut seen))
            .await?;
        Ok(seen)
    }

    /// A guest's configuration, with what is pending.
    pub(crate) async fn pending(
        &self,
        kind: Kind,
        node: &str,
        vmid: Vmid,
    ) -> Result<ConfigRead, ClusterError> {
        let path = guest_path(kind, node, vmid, "/pending");
        let name = match kind {
            Kind::Vm => "GET /nodes/N/qemu/ID/pending",
            Kind::Container => "GET /nodes/N/lxc/ID/pending",
        };
        match self.call(&Call::new(name, path)).await {
            Ok(answer) => Ok(ConfigRead::Found(parse_pending(&answer))),
            Err(ClusterError::NotThere(_)) => Ok(ConfigRead::NotThere),
            Err(ClusterError::Forbidden { .. }) => Ok(ConfigRead::Forbidden),
            Err(error) => Err(error),
        }
    }

    /// Which guests of a node run.
    pub(crate) async fn live(
        &self,
        node: &str,
        kind: Kind,
    ) -> Result<BTreeMap<Vmid, bool>, ClusterError> {
        let (name, path) = match kind {
            Kind::Vm => ("GET /nodes/N/qemu", format!("/nodes/{}/qemu", part(node))),
            Kind::Container => ("GET /nodes/N/lxc", format!("/nodes/{}/lxc", part(node))),
        };
        let mut live = BTreeMap::new();
        let runs = |row: &Value| text_at(row, "status").as_deref() == Some("running");
        self.each(&Call::new(name, path), |row| {
            live.extend(vmid_at(row).map(|vmid| (vmid, runs(row))));
        })
        .await?;
        Ok(live)
    }

    /// The disk images under one VMID: volume id to bytes.
    pub(crate) async fn images(
        &self,
        place: &Place,
        vmid: Vmid,
    ) -> Result<BTreeMap<String, u64>, ClusterError> {
        let call = Call::new("GET /nodes/N/storage/S/content", content_path(place, None))
            .with("content", "images")
            .with("vmid", vmid.to_string());
        let mut images = BTreeMap::new();
        self.each(&call, |row| {
            images.extend(text_at(row, "volid").zip(number_at(row, "size")));
        })
        .await?;
        Ok(images)
    }

    /// The container archives of a storage.
    pub(crate) async fn archives(&self, place: &Place) -> Result<BTreeSet<String>, ClusterError> {
        let call = Call::new("GET /nodes/N/storage/S/content", content_path(place, None))
            .with("content", "vztmpl");
        let answer = self.call(&call).await?;
        Ok(rows(&answer)
            .iter()
            .filter_map(|row| text_at(row, "volid"))
            .collect())
    }

    /// Whether no guest has a VMID, in the whole cluster and whatever our rights.
    pub(crate) async fn is_free(&self, vmid: Vmid) -> Result<bool, ClusterError> {
        let call = Call::new("GET /cluster/nextid", "/cluster/nextid".to_owned())
            .with("vmid", vmid.to_string());
        match self.call(&call).await {
            Ok(_) => Ok(true),
            Err(ClusterError::Parameter { errors, .. })
                if errors.values().any(|text| text.contains("already exists")) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
pub(crate) fn parse_resources(answer: &Value) -> Observed {
    let mut seen = Observed::default();
    for row in rows(answer) {
        parse_resource(row, &mut seen);
    }
    seen
}

fn parse_resource(row: &Value, seen: &mut Observed) {
    match text_at(row, "type").as_deref() {
        Some("node") => {
            if let Some(node) = text_at(row, "node") {
                let online = text_at(row, "status").as_deref() == Some("online");
                seen.nodes.insert(node, online);
            }
        }
        Some("qemu") => seen.guests.extend(parse_row(Kind::Vm, row)),
        Some("lxc") => seen.guests.extend(parse_row(Kind::Container, row)),
        Some("storage") => parse_storage(row, &mut seen.storages),
        _ => {}
    }
}

fn parse_row(kind: Kind, row: &Value) -> Option<(Vmid, Row)> {
    let running = match text_at(row, "status").as_deref() {
        Some("running") => Some(true),
        Some("stopped") => Some(false),
        _ => None,
    };
    let found = Row {
        kind,
        node: text_at(row, "node")?,
        name: text_at(row, "name"),
        running,
        lock: text_at(row, "lock").filter(|lock| !lock.is_empty()),
        tags: parse_tags(&text_at(row, "tags").unwrap_or_default()),
        shape: shape(row),
    };
    Some((vmid_at(row)?, found))
}

/// A fresh guest's row has no size yet.
fn shape(row: &Value) -> Option<Shape> {
    Some(Shape {
        cores: number_at(row, "maxcpu")?,
        memory: number_at(row, "maxmem")?,
    })
}

fn parse_storage(row: &Value, storages: &mut BTreeMap<String, Storage>) {
    let (Some(name), Some(node)) = (text_at(row, "storage"), text_at(row, "node")) else {
        return;
    };
    let storage = storages.entry(name).or_default();
    storage.plugin = text_at(row, "plugintype").unwrap_or_default();
    storage.shared = number_at(row, "shared") == Some(1);
    if text_at(row, "status").as_deref() == Some("available") {
        storage.nodes.insert(node);
    } else {
        storage.dark.insert(node);
    }
}

pub(crate) fn parse_pending(answer: &Value) -> GuestConfig {
    let mut config = GuestConfig::default();
    for row in rows(answer) {
        let Some(key) = text_at(row, "key") else {
            continue;
        };
        let value = row.get("value").and_then(text);
        if key == "digest" {
            config.digest = value;
            continue;
        }
        if let Some(value) = value {
            config.current.insert(key.clone(), value);
        }
        let next = row.get("pending").and_then(text);
        let leaves = row
            .get("delete")
            .is_some_and(|delete| text(delete).as_deref() != Some("0"));
        if let Some(next) = next {
            config.pending.insert(key, Some(next));
        } else if leaves {
            config.pending.insert(key, None);
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resources_are_read_whatever_the_types_of_their_numbers() {
        let seen = parse_resources(&json!([
            {"type": "node", "node": "pve1", "status": "online"},
            {"type": "node", "node": "pve2", "status": "offline"},
            {"type": "qemu", "vmid": "5001", "node": "pve1", "status": "running", "name": "web",
             "tags": "a;bb-1-2", "lock": "backup"},
            {"type": "lxc", "vmid": 5003, "node": "pve2", "status": "unknown"},
            {"type": "qemu", "vmid": 5, "node": "pve2"},
            {"type": "storage", "storage": "ceph", "node": "pve1", "status": "available",
             "plugintype": "rbd", "shared": 1},
            {"type": "storage", "storage": "ceph", "node": "pve2", "status": "unknown",
             "plugintype": "rbd", "shared": "1"},
            {"type": "sdn", "id": "sdn/pve1/localnetwork"},
        ]));
        assert_eq!(
            seen.nodes,
            [("pve1".into(), true), ("pve2".into(), false)].into()
        );
        let row = &seen.guests[&Vmid::try_from(5001).unwrap()];
        assert_eq!(
            (row.running, row.lock.as_deref()),
            (Some(true), Some("backup"))
        );
        assert!(row.tags.contains("bb-1-2"));
        assert_eq!(seen.guests[&Vmid::try_from(5003).unwrap()].running, None);
        assert_eq!(seen.guests.len(), 2);
        let ceph = &seen.storages["ceph"];
        assert!(ceph.shared && ceph.nodes.contains("pve1") && ceph.dark.contains("pve2"));
    }

    #[test]
    fn a_configuration_is_read_with_what_is_pending() {
        let config = parse_pending(&json!([
            {"key": "memory", "value": "64", "pending": "128"},
            {"key": "cores", "value": 2},
            {"key": "scsi1", "value": "ceph:vm-900-pvc-a,size=1G", "delete": 1},
            {"key": "net1", "pending": "virtio=AA,bridge=vmbr0"},
            {"key": "digest", "value": "abc"},
        ]));
        assert_eq!(config.digest.as_deref(), Some("abc"));
        assert_eq!(config.effective("memory"), Some("128"));
        assert_eq!(config.effective("cores"), Some("2"));
        assert_eq!(config.effective("scsi1"), None);
        assert_eq!(config.effective("net1"), Some("virtio=AA,bridge=vmbr0"));
        assert_eq!(config.waiting(), ["memory", "net1", "scsi1"]);
    }
}
