//! The table of each kind, narrow and wide.

use bbctl::cmd::get::{Rows, table};
use bbctl::kinds::{KINDS, Kind};
use bbctl::object::Object;
use bbctl::style::Colour;
use serde_json::json;

/// One object of each kind as the controller leaves it, and a second one that is in trouble.
fn objects(kind: &Kind) -> Vec<Object> {
    let condition = |status: &str, reason: &str, message: &str| {
        json!([{"type": "Ready", "status": status, "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    };
    let (spec, mut status) = match kind.kind {
        "Region" => (
            json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999", "mtu": 9000}),
            json!({"vnis": {"total": 10000, "used": 3}, "tables": {"total": 1000, "used": 1}}),
        ),
        "Provider" => (
            json!({"region": "north", "zone": "a", "managementPolicy": "Manage",
                "vyos": {"endpoint": "https://192.0.2.1"}}),
            json!({"version": "1.5-rolling-202410220007"}),
        ),
        "Tenant" => (
            json!({}),
            json!({"namespace": "acme", "routing": [{"region": "north", "vrf": "bb1000",
                "table": 1000, "l3vni": 10000, "routeTarget": "65000:10000"}]}),
        ),
        "Network" => (
            json!({"ipv4": {"prefix": "10.10.0.0/24"}, "zones": ["a", "b"]}),
            json!({"addresses": {"total": 253, "used": 4}, "gateway": "10.10.0.1", "vni": 10002,
                "region": "north", "vlans": [{"router": "r1", "interface": "eth2", "vlan": 2302}]}),
        ),
        "Volume" => (
            json!({"size": "20Gi", "class": "ssd", "reclaimPolicy": "Delete"}),
            json!({"attachedTo": {"instance": "pg", "device": "scsi1", "serial": "x"},
                "storage": "ceph", "zone": "a", "providerID": "proxmox://c1/ceph:vm-900-pvc-1"}),
        ),
        _ => (
            json!({"image": "debian-12", "cpu": 2, "memory": "2Gi"}),
            json!({"addresses": [{"name": "a", "address": "10.10.0.10"}], "power": "Running",
                "node": "pve1", "zone": "a", "providerID": "proxmox://c1/100001"}),
        ),
    };
    let object = |name: &str, spec: &serde_json::Value, status: &serde_json::Value| {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "acme", "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": spec, "status": status,
        }))
        .expect("it is an object")
    };
    status["conditions"] = condition("True", "Ready", "");
    let good = object("first", &spec, &status);
    let bad = json!({"conditions": condition("False", "Exhausted", "nothing is left to give")});
    vec![good, object("a-second-one-with-a-longer-name", &spec, &bad)]
}

fn render(look: Rows, width: Option<usize>) -> String {
    let now = "2026-01-01T01:30:00Z".parse().expect("it is a time");
    let mut text = String::new();
    for kind in &KINDS {
        for line in table(kind, &objects(kind), &look, now).render(width, Colour::Off) {
            text.push_str(&line);
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

#[test]
fn tables_at_80_columns() {
    insta::assert_snapshot!(render(Rows::default(), Some(80)));
}

#[test]
fn tables_of_all_namespaces_at_80_columns() {
    insta::assert_snapshot!(render(
        Rows {
            everywhere: true,
            several: true,
            wide: false
        },
        Some(80)
    ));
}

#[test]
fn tables_at_160_columns() {
    insta::assert_snapshot!(render(Rows::default(), Some(160)));
}

#[test]
fn wide_tables_show_everything() {
    insta::assert_snapshot!(render(
        Rows {
            wide: true,
            ..Rows::default()
        },
        None
    ));
}

#[test]
fn no_table_is_wider_than_its_terminal() {
    for width in [40, 60, 80, 100, 160] {
        for look in [
            Rows::default(),
            Rows {
                wide: true,
                everywhere: true,
                several: true,
            },
        ] {
            for line in render(look, Some(width)).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}
