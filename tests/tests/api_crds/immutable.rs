//! What cannot change once it is made, and words that the refusal must have.
#![allow(
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    reason = "rows of a table are made to be given away"
)]

use serde_json::{Value, json};

use crate::objects::{instance, network, of, region, router};

/// An object, a change of it, and words that the refusal must have.
pub(crate) fn immutable() -> Vec<(Value, Value, &'static [&'static str])> {
    let changed = |object: &Value, change: &[(&str, Value)]| {
        let mut object = object.clone();
        for (pointer, value) in change {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            let parent = object.pointer_mut(parent).expect("a parent");
            match value {
                Value::Null => {
                    parent.as_object_mut().expect("an object").remove(key);
                }
                value => parent[key] = value.clone(),
            }
        }
        object
    };
    let mut net = network(json!({"prefix": "10.0.0.0/24", "gateway": "10.0.0.1"}));
    net["metadata"]["name"] = json!("fixed");
    net["spec"]["region"] = json!("lab");
    let mut vm = instance(
        json!({"disk": "10Gi", "networks": [{"name": "web", "network": "web", "address": "10.0.0.9"}]}),
    );
    vm["metadata"]["name"] = json!("fixed");
    let volume = of(
        "Volume",
        "fixed",
        json!({"size": "10Gi", "class": "ssd", "zone": "a", "region": "lab"}),
    );
    let mut reg = region(json!({}));
    reg["metadata"]["name"] = json!("fixed");
    let mut prov = router(json!({}));
    prov["metadata"]["name"] = json!("fixed");
    let one =
        |object: &Value, pointer: &'static str, value: Value, words: &'static [&'static str]| {
            (object.clone(), changed(object, &[(pointer, value)]), words)
        };
    let mut taken = instance(json!({"adopt": {"vmid": 104, "mode": "Adopt"}}));
    taken["metadata"]["name"] = json!("taken");
    vec![
        one(
            &taken,
            "/spec/adopt/vmid",
            json!(105),
            &["adopt.vmid cannot change", "new Instance"],
        ),
        one(
            &taken,
            "/spec/adopt/mode",
            json!("Preview"),
            &["adopt.mode cannot go back", "Orphan"],
        ),
        one(
            &taken,
            "/spec/adopt",
            Value::Null,
            &["adopt cannot be added or taken away", "new Instance"],
        ),
        one(
            &vm,
            "/spec/adopt",
            json!({"vmid": 104}),
            &["adopt cannot be added or taken away", "new Instance"],
        ),
        one(
            &net,
            "/spec/ipv4/prefix",
            json!("10.0.1.0/24"),
            &["prefix cannot change", "new Network"],
        ),
        one(
            &net,
            "/spec/ipv4/gateway",
            json!("10.0.0.2"),
            &["gateway cannot change"],
        ),
        one(
            &net,
            "/spec/ipv4/gateway",
            Value::Null,
            &["gateway cannot be added or taken away"],
        ),
        one(
            &net,
            "/spec/region",
            json!("other"),
            &["region cannot change"],
        ),
        one(
            &vm,
            "/spec/image",
            json!("debian-13"),
            &["image cannot change", "new Instance"],
        ),
        one(
            &vm,
            "/spec/type",
            json!("Container"),
            &["type cannot change"],
        ),
        one(&vm, "/spec/disk", json!("5Gi"), &["disk can only grow"]),
        one(
            &vm,
            "/spec/disk",
            Value::Null,
            &["disk cannot be taken away"],
        ),
        one(
            &vm,
            "/spec/networks/0/network",
            json!("db"),
            &["network cannot change"],
        ),
        one(
            &vm,
            "/spec/networks/0/address",
            json!("10.0.0.10"),
            &["address cannot change"],
        ),
        one(
            &volume,
            "/spec/size",
            json!("5Gi"),
            &["size can only grow", "new Volume"],
        ),
        one(
            &volume,
            "/spec/class",
            json!("hdd"),
            &["class cannot change"],
        ),
        one(
            &volume,
            "/spec/class",
            Value::Null,
            &["class cannot change"],
        ),
        one(&volume, "/spec/zone", json!("b"), &["zone cannot change"]),
        one(
            &volume,
            "/spec/region",
            json!("other"),
            &["region cannot change"],
        ),
        one(&reg, "/spec/asn", json!(65001), &["asn cannot change"]),
        one(
            &prov,
            "/spec/region",
            json!("other"),
            &["region cannot change", "new Provider"],
        ),
        one(&prov, "/spec/zone", json!("b"), &["zone cannot change"]),
    ]
}
