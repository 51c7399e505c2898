//! Turns the example tenant into one that is large and busy enough to be killed in: what is
//! applied, what is then changed, and what is taken away.

use anyhow::Result;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::Site;

/// The tenant, and its namespace.
pub const TENANT: &str = "acme";
/// The example.
const EXAMPLE: &str = "examples/acme";
/// What is beside the example.
const MORE: &str = include_str!("more.yaml");
/// What comes with the change.
const LATE: &str = include_str!("late.yaml");

/// A part of the tenant's life. Each begins with what the one before left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The tenant and everything of it is applied.
    Create,
    /// Sizes, power, volumes, cards, networks, members; some objects go, some come.
    Change,
    /// The tenant is deleted, and everything goes with it.
    Delete,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Create, Self::Change, Self::Delete];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
        }
    }

    /// Its place among all.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Create => 0,
            Self::Change => 1,
            Self::Delete => 2,
        }
    }

    /// Does what a user does in this phase.
    pub async fn begin(self, site: &Site) -> Result<()> {
        match self {
            Self::Create => {
                site.apply_dir(EXAMPLE).await?;
                site.apply(MORE).await
            }
            Self::Change => {
                for (kind, name, patch) in changes() {
                    let namespace = (kind != "Tenant").then_some(TENANT);
                    let api = site.ours(kind, namespace);
                    let patch = json!({ "spec": patch });
                    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
                        .await?;
                }
                for (kind, name) in [
                    ("Instance", "build"),
                    ("Volume", "cold"),
                    ("Network", "mgmt"),
                ] {
                    let api = site.ours(kind, Some(TENANT));
                    api.delete(name, &DeleteParams::default()).await?;
                }
                site.apply(LATE).await
            }
            Self::Delete => {
                let api = site.ours("Tenant", None);
                api.delete(TENANT, &DeleteParams::default()).await?;
                Ok(())
            }
        }
    }
}

/// What is changed of what is there: the new values in `spec`.
fn changes() -> Vec<(&'static str, &'static str, Value)> {
    let volumes = |list: &[(&str, &str)]| {
        let list: Vec<Value> = list
            .iter()
            .map(|(name, volume)| json!({"name": name, "volume": volume}))
            .collect();
        json!({ "volumes": list })
    };
    vec![
        ("Instance", "www-1", json!({"cpu": 4, "disk": "12Gi"})),
        ("Instance", "www-2", json!({"power": "Stopped"})),
        ("Instance", "batch", json!({"power": "Running"})),
        ("Instance", "pg", json!({"memory": "6Gi"})),
        ("Instance", "cache", json!({"memory": "512Mi"})),
        ("Instance", "app-1", volumes(&[])),
        ("Instance", "app-2", volumes(&[])),
        ("Instance", "bastion", volumes(&[("logs", "logs")])),
        (
            "Instance",
            "worker-1",
            json!({"networks": [
                {"name": "web", "network": "web"}, {"name": "lab", "network": "lab"},
            ]}),
        ),
        ("Volume", "pgdata", json!({"size": "30Gi"})),
        (
            "Network",
            "web",
            json!({"dns": {"servers": ["9.9.9.9", "1.1.1.1"]}}),
        ),
        ("Network", "db", json!({"zones": ["north", "south"]})),
        (
            "Network",
            "lab",
            json!({"ipv4": {"dhcp": {"from": "10.10.3.200", "to": "10.10.3.210"}}}),
        ),
        (
            "Tenant",
            TENANT,
            json!({"members": [
                {"name": "alice", "kind": "User", "role": "Admin"},
                {"name": "bob", "kind": "User", "role": "View"},
            ]}),
        ),
    ]
}
