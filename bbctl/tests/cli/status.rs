//! What `bbctl status` counts, and what it says of the rest.

use bbctl::cmd::status::{Report, World, report};
use bbctl::object::Object;
use serde_json::{Value, json};

fn object(namespace: &str, name: &str, ready: Option<&str>) -> Object {
    let mut object = json!({"metadata": {"name": name, "generation": 1}});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    if let Some(reason) = ready {
        let status = if reason == "Ready" { "True" } else { "False" };
        object["status"] = json!({"conditions": [{"type": "Ready", "status": status,
            "reason": reason, "message": format!("{name} is {reason}"),
            "observedGeneration": 1}]});
    }
    serde_json::from_value(object).expect("it is an object")
}

fn world() -> World {
    World::from([
        ("regions", vec![object("", "north", Some("Ready"))]),
        (
            "providers",
            vec![
                object("", "r1", Some("Ready")),
                object("", "r2", Some("Unreachable")),
            ],
        ),
        (
            "tenants",
            vec![object("", "acme", Some("Ready")), object("", "empty", None)],
        ),
        ("networks", vec![object("acme", "web", Some("Ready"))]),
        (
            "instances",
            vec![
                object("acme", "a", Some("Ready")),
                object("acme", "b", Some("Refused")),
            ],
        ),
        ("volumes", vec![object("stray", "v", Some("Waiting"))]),
    ])
}

fn not_ready(report: &Report) -> Vec<String> {
    report
        .not_ready
        .iter()
        .map(|one| format!("{}/{}: {}", one.kind, one.name, one.reason))
        .collect()
}

#[test]
fn every_namespace_is_counted_with_or_without_a_tenant() {
    let report = report(&world(), None);
    let value = serde_json::to_value(&report).unwrap();
    let count = |total: u64, ready: u64| json!({"total": total, "ready": ready});
    let share = |tenant: Value, namespace: &str, ready: Value| {
        json!({"tenant": tenant, "namespace": namespace, "ready": ready,
            "networks": count(0, 0), "instances": count(0, 0), "volumes": count(0, 0)})
    };
    let mut acme = share(json!("acme"), "acme", json!("True"));
    acme["networks"] = count(1, 1);
    acme["instances"] = count(2, 1);
    let empty = share(json!("empty"), "empty", json!("Unknown"));
    let mut stray = share(Value::Null, "stray", Value::Null);
    stray["volumes"] = count(1, 0);
    assert_eq!(value["tenants"], json!([acme, empty, stray]));
    assert_eq!(value["providers"], count(2, 1));
    assert_eq!(value["regions"], count(1, 1));
}

#[test]
fn what_is_not_ready_has_its_reason_and_comes_in_the_order_of_kinds() {
    assert_eq!(
        not_ready(&report(&world(), None)),
        [
            "provider/r2: Unreachable",
            "tenant/empty: Unseen",
            "volume/v: Waiting",
            "instance/b: Refused"
        ]
    );
}

#[test]
fn a_namespace_that_is_asked_for_shows_its_own_tenant_only() {
    let mut world = world();
    // In one namespace, only its objects were read.
    world.remove("volumes");
    let report = report(&world, Some("acme"));
    assert_eq!(report.tenants.len(), 1);
    assert_eq!(
        not_ready(&report),
        ["provider/r2: Unreachable", "instance/b: Refused"]
    );
}

#[test]
fn what_may_not_be_seen_is_not_counted_as_none() {
    let mut world = world();
    world.remove("providers");
    world.remove("regions");
    world.remove("tenants");
    let report = report(&world, None);
    assert_eq!((report.providers, report.regions), (None, None));
    assert!(report.tenants.iter().all(|share| share.tenant.is_none()));
}
