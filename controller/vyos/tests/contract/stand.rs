//! Turns a stand-in that runs into a client of it.

use std::time::Duration;

use bb_lab_vyos::{Config, Running, VyosLab};
use bb_vyos::{Endpoint, Limits, Router, Secret, Trust};
use serde_json::{Value, json};

/// Long and odd enough to be recognised wherever it turns up.
pub(crate) const KEY: &str = "k3y/with <odd>&'chars'+64=";

/// A router with an underlay and something of somebody else's on it.
pub(crate) async fn lab() -> Running {
    lab_with(|_| {}).await
}

pub(crate) async fn lab_with(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::new("r1", KEY);
    config.seed = json!({
        "interfaces": {
            "dummy": {"dum0": {"address": "10.255.0.1/32"}},
            "ethernet": {"eth1": {"address": "10.254.0.0/31"}},
        },
        "protocols": {"bgp": {"system-as": "65000", "address-family": {"l2vpn-evpn":
            {"advertise-all-vni": {}}}}},
        "system": {"host-name": "edge-1"},
        "vrf": {"name": {"mgmt": {"table": "100", "description": "not ours"}}},
    });
    change(&mut config);
    VyosLab::start(config).await.unwrap()
}

pub(crate) fn endpoint(lab: &Running) -> Endpoint {
    Endpoint {
        name: "r1".to_owned(),
        url: lab.api.clone(),
        key: Secret::new(KEY),
        trust: Trust::Sha256(vec![lab.sha256.clone()]),
    }
}

/// Limits that let a test see a deadline pass.
pub(crate) fn short() -> Limits {
    Limits {
        read: Duration::from_secs(1),
        configure: Duration::from_secs(1),
        pause: Duration::from_millis(1),
        ..Limits::default()
    }
}

pub(crate) fn router(lab: &Running) -> Router {
    Router::new(endpoint(lab)).unwrap()
}

/// The configuration without what VyOS leaves behind empty, and without the keys.
pub(crate) fn pruned(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(service) = config.get_mut("service").and_then(Value::as_object_mut) {
        service.remove("https");
    }
    prune(&mut config);
    config
}

fn prune(value: &mut Value) {
    if let Value::Object(children) = value {
        children.values_mut().for_each(prune);
        children.retain(|_, child| !child.as_object().is_some_and(serde_json::Map::is_empty));
    }
}
