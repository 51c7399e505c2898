//! Turns what a cluster is used for into the least rights that takes, and compares with those held.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::ids::Vmid;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::error::ClusterError;
use crate::json;
use crate::transport::Call;

/// What a cluster is used for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Uses {
    /// The pool that guests are made in.
    pub pool: String,
    /// Templates that are cloned.
    pub templates: BTreeSet<Vmid>,
    /// Storages that guests' disks are on.
    pub storages: BTreeSet<String>,
    /// Storages with container archives.
    pub archives: BTreeSet<String>,
    /// The holder of volumes.
    pub holder: Option<Vmid>,
    /// Bridges and vnets that cards are put on, as `ZONE/BRIDGE`; a plain bridge's zone is
    /// `localnetwork`.
    pub bridges: BTreeSet<String>,
}

/// Paths, and the privileges on each with whether they reach what is below.
pub(crate) type Permissions = BTreeMap<String, BTreeMap<String, bool>>;

/// What guests in the pool take.
const ON_POOL: [&str; 9] = [
    "VM.Allocate",
    "VM.Audit",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
];
const ON_TEMPLATE: [&str; 2] = ["VM.Audit", "VM.Clone"];
const ON_STORAGE: [&str; 2] = ["Datastore.AllocateSpace", "Datastore.Audit"];
const ON_HOLDER: [&str; 2] = ["VM.Audit", "VM.Config.Disk"];

impl Uses {
    /// The least rights, path by path.
    #[must_use]
    pub fn rights(&self) -> Vec<(String, &'static [&'static str])> {
        let mut rights: Vec<(String, &'static [&'static str])> =
            vec![(format!("/pool/{}", self.pool), &ON_POOL)];
        rights.extend(
            self.templates
                .iter()
                .map(|id| (format!("/vms/{id}"), &ON_TEMPLATE[..])),
        );
        rights.extend(
            self.storages
                .iter()
                .map(|name| (format!("/storage/{name}"), &ON_STORAGE[..])),
        );
        let only = self.archives.difference(&self.storages);
        rights.extend(only.map(|name| (format!("/storage/{name}"), &ON_STORAGE[1..])));
        rights.extend(self.holder.map(|id| (format!("/vms/{id}"), &ON_HOLDER[..])));
        let on_bridge: &'static [&'static str] = &["SDN.Use"];
        rights.extend(
            self.bridges
                .iter()
                .map(|bridge| (format!("/sdn/zones/{bridge}"), on_bridge)),
        );
        rights
    }
}

impl Cluster {
    /// The rights that the credentials lack, as `PATH: PRIVILEGE`. One read, and one more for
    /// each path where something seems to be missing.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn check_rights(&self, uses: &Uses) -> Result<Vec<String>, ClusterError> {
        let held = self.permissions().await?;
        let mut missing = Vec::new();
        for (path, privileges) in uses.rights() {
            let lacks = |held: &Permissions| -> Vec<&'static str> {
                privileges
                    .iter()
                    .filter(|p| !holds(held, &path, p))
                    .copied()
                    .collect()
            };
            if lacks(&held).is_empty() {
                continue;
            }
            // The list names paths with rights of their own only; the path itself decides.
            let exact = self.permissions_on(&path).await?;
            missing.extend(
                lacks(&exact)
                    .into_iter()
                    .map(|privilege| format!("{path}: {privilege}")),
            );
        }
        missing.sort();
        missing.dedup();
        Ok(missing)
    }

    pub(crate) async fn permissions(&self) -> Result<Permissions, ClusterError> {
        let call = Call::new("GET /access/permissions", "/access/permissions".to_owned());
        Ok(parse(&self.call(&call).await?))
    }

    async fn permissions_on(&self, path: &str) -> Result<Permissions, ClusterError> {
        let call = Call::new("GET /access/permissions", "/access/permissions".to_owned())
            .with("path", path);
        Ok(parse(&self.call(&call).await?))
    }
}

fn parse(answer: &Value) -> Permissions {
    let privileges = |value: &Value| -> BTreeMap<String, bool> {
        let all = value.as_object().into_iter().flatten();
        all.map(|(name, reaches)| (name.clone(), json::number(reaches) == Some(1)))
            .collect()
    };
    let paths = answer.as_object().into_iter().flatten();
    paths
        .map(|(path, value)| (path.clone(), privileges(value)))
        .collect()
}

/// Whether a privilege is held on a path: by the path's own entry, or where it has none by the
/// nearest above that reaches down.
pub(crate) fn holds(held: &Permissions, path: &str, privilege: &str) -> bool {
    if let Some(own) = held.get(path) {
        return own.contains_key(privilege);
    }
    let mut above = path;
    while let Some((parent, _)) = above.rsplit_once('/') {
        let name = if parent.is_empty() { "/" } else { parent };
        if let Some(privileges) = held.get(name) {
            return privileges.get(privilege) == Some(&true);
        }
        above = parent;
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_right_reaches_down_only_where_it_says_so() {
        let held = parse(&json!({
            "/storage": {"Datastore.Audit": 1, "Datastore.Allocate": 0},
            "/storage/local": {"Datastore.AllocateSpace": 1},
            "/pool/tenants": {"VM.Audit": "1"},
        }));
        assert!(holds(&held, "/storage/ceph", "Datastore.Audit"));
        assert!(!holds(&held, "/storage/ceph", "Datastore.Allocate"));
        assert!(holds(&held, "/storage/local", "Datastore.AllocateSpace"));
        assert!(!holds(&held, "/storage/local", "Datastore.Audit"));
        assert!(holds(&held, "/pool/tenants", "VM.Audit"));
        assert!(!holds(&held, "/vms/9000", "VM.Audit"));
        let root = parse(&json!({"/": {"VM.Clone": 1}}));
        assert!(holds(&root, "/vms/9000", "VM.Clone"));
    }

    #[test]
    fn the_least_rights_are_those_that_were_measured() {
        let uses = Uses {
            pool: "tenants".into(),
            templates: [Vmid::try_from(9000).unwrap()].into(),
            storages: ["ceph".to_owned()].into(),
            archives: ["ceph".to_owned(), "local".to_owned()].into(),
            holder: Vmid::try_from(900).ok(),
            bridges: ["localnetwork/vmbr0".to_owned()].into(),
        };
        let rights = uses.rights();
        let paths: Vec<&str> = rights.iter().map(|(path, _)| path.as_str()).collect();
        let want = [
            "/pool/tenants",
            "/vms/9000",
            "/storage/ceph",
            "/storage/local",
            "/vms/900",
            "/sdn/zones/localnetwork/vmbr0",
        ];
        assert_eq!(paths, want);
    }
}
