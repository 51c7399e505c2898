//! Turns the addresses and keys of a running lab into the objects that make it known to the
//! controller.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bb_lab_kit::ready::Ready;
use bb_lab_kit::tls::NODE_ADDRESS;
use serde_json::{Value, json};

/// The namespace that the controller reads Secrets in.
pub const NAMESPACE: &str = "bitbuilder-system";
/// The two sites: zone, router, the router's loopback address, cluster.
const SITES: [(&str, &str, &str, &str); 2] = [
    ("north", "r1", "10.255.0.1", "c1"),
    ("south", "r2", "10.255.0.2", "c2"),
];

/// What a running lab knows about its routers and clusters.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Routers by name, with the key of their HTTP API.
    pub routers: BTreeMap<String, (Ready, String)>,
    /// Proxmox clusters by name, with their API token as `USER!NAME=SECRET`.
    pub clusters: BTreeMap<String, (Ready, String)>,
}

impl Facts {
    /// The ports on this machine's loopback address at which routers and clusters serve their API.
    ///
    /// # Errors
    /// When an address has no port.
    pub fn ports(&self) -> Result<Vec<u16>> {
        let all = self.routers.values().chain(self.clusters.values());
        all.map(|(ready, _)| {
            let port = ready.api.rsplit(':').next().unwrap_or_default();
            port.trim_end_matches('/')
                .parse()
                .with_context(|| format!("{} has no port", ready.api))
        })
        .collect()
    }

    /// The same with the addresses at which pods on the lab's node find routers and clusters.
    #[must_use]
    pub fn seen_from_pods(&self) -> Self {
        let mut seen = self.clone();
        let all = seen.routers.values_mut().chain(seen.clusters.values_mut());
        for (ready, _) in all {
            ready.api = ready.api.replace("127.0.0.1", NODE_ADDRESS);
        }
        seen
    }
}

/// Renders the Secrets, Providers and the Region of the lab, in the order to apply them.
#[must_use]
pub fn lab_objects(facts: &Facts) -> Vec<Value> {
    let mut objects = vec![json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Region",
        "metadata": {"name": "lab"},
        "spec": {
            "asn": 65000, "vnis": "10000-19999", "tables": "1000-1999", "mtu": 9000,
            "attachments": SITES.map(|(zone, router, _, cluster)| json!({
                "name": zone, "cluster": cluster,
                "vlan": {"router": router, "interface": "eth2", "bridge": "vmbr0", "vlans": "100-3999"},
            })),
        },
    })];
    for (zone, router, id, cluster) in SITES {
        if let Some((ready, key)) = facts.routers.get(router) {
            objects.extend(secrets(router, ready, "key", key));
            objects.push(provider(
                router,
                zone,
                "vyos",
                &json!({
                    "endpoint": ready.api,
                    "credentials": {"secret": router},
                    "tls": {"caSecret": format!("{router}-ca")},
                    "routerId": id,
                }),
            ));
        }
        if let Some((ready, token)) = facts.clusters.get(cluster) {
            objects.extend(secrets(cluster, ready, "token", token));
            objects.push(provider(cluster, zone, "proxmox", &json!({
                "endpoints": [ready.api],
                "credentials": {"secret": cluster},
                "tls": {"caSecret": format!("{cluster}-ca")},
                "vmids": "100000-199999",
                "pool": "bitbuilder",
                "holder": 900,
                "storage": [{"name": "ssd", "storage": "ssd"}, {"name": "local", "storage": "local"}],
                "images": [
                    {"name": "debian-12", "template": 9000},
                    {"name": "alpine-3.20", "archive": "local:vztmpl/alpine-3.20.tar.zst", "class": "local"},
                ],
            })));
        }
    }
    objects
}

fn secrets(name: &str, ready: &Ready, entry: &str, value: &str) -> [Value; 2] {
    let secret = |name: String, entry: &str, value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "stringData": {entry: value},
        })
    };
    [
        secret(name.to_owned(), entry, value),
        secret(format!("{name}-ca"), "ca.crt", &ready.ca_pem),
    ]
}

fn provider(name: &str, zone: &str, form: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Provider",
        "metadata": {"name": name},
        "spec": {"region": "lab", "zone": zone, form: spec},
    })
}
