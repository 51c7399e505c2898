//! Turns a few words into an object that is right but for what a test changes.
#![allow(
    clippy::needless_pass_by_value,
    reason = "rows of a table are made to be given away"
)]

use serde_json::{Value, json};

pub(crate) fn of(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    });
    if ["Network", "Instance", "Volume"].contains(&kind) {
        object["metadata"]["namespace"] = json!("default");
    }
    object
}

pub(crate) fn network(ipv4: Value) -> Value {
    of("Network", "bad", json!({"ipv4": ipv4}))
}

pub(crate) fn instance(change: Value) -> Value {
    let mut spec = json!({"image": "debian-12", "networks": [{"name": "web", "network": "web"}]});
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        spec[key] = value;
    }
    of("Instance", "bad", spec)
}

pub(crate) fn region(change: Value) -> Value {
    let mut spec = json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999"});
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        spec[key] = value;
    }
    of("Region", "bad", spec)
}

pub(crate) fn router(change: Value) -> Value {
    let mut vyos = json!({"endpoint": "https://192.0.2.1", "credentials": {"secret": "r1"},
                          "tls": {"caSecret": "r1-ca"}, "routerId": "10.255.0.1"});
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        vyos[key] = value;
    }
    of("Provider", "bad", json!({"region": "lab", "vyos": vyos}))
}

pub(crate) fn cluster(change: Value) -> Value {
    let mut proxmox = json!({"endpoints": ["https://192.0.2.2:8006"], "credentials": {"secret": "c1"},
                             "tls": {"sha256": ["AA".repeat(32)]}, "vmids": "100000-199999", "pool": "p"});
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        proxmox[key] = value;
    }
    of(
        "Provider",
        "bad",
        json!({"region": "lab", "proxmox": proxmox}),
    )
}
