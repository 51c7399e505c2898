//! The definitions on a real API server: what it takes, what it refuses and with which words.

#![allow(
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    reason = "rows of a table are made to be given away"
)]

use anyhow::{Context as _, Result};
use bb_lab_harness::{paths, shared};
use bb_tests::site::{client_of, documents};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

async fn client() -> Result<Client> {
    let manifests = vec![paths::root().join("charts/bitbuilder/crds")];
    client_of(shared(manifests).await?.kubeconfig()).await
}

fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = object["kind"].as_str().unwrap_or_default();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Creates an object as kubectl does, unknown fields refused; kube's own parameters have no
/// place for that.
async fn create(client: &Client, object: &Value, dry_run: bool) -> kube::Result<DynamicObject> {
    let dry_run = if dry_run { "&dryRun=All" } else { "" };
    let api = api(client, object);
    let url = format!(
        "{}?fieldManager=test&fieldValidation=Strict{dry_run}",
        api.resource_url()
    );
    let body = serde_json::to_vec(object).expect("a value is JSON");
    let request = http::Request::post(url)
        .header("content-type", "application/json")
        .body(body)
        .expect("the parts of a request are well-formed");
    client.request(request).await
}

fn of(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    });
    if ["Network", "Instance", "Volume"].contains(&kind) {
        object["metadata"]["namespace"] = json!("default");
    }
    object
}

fn network(ipv4: Value) -> Value {
    of("Network", "bad", json!({"ipv4": ipv4}))
}

fn instance(change: Value) -> Value {
    let mut spec = json!({"image": "debian-12", "networks": [{"name": "web", "network": "web"}]});
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        spec[key] = value;
    }
    of("Instance", "bad", spec)
}

fn region(change: Value) -> Value {
    let mut spec = json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999"});
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        spec[key] = value;
    }
    of("Region", "bad", spec)
}

fn router(change: Value) -> Value {
    let mut vyos = json!({"endpoint": "https://192.0.2.1", "credentials": {"secret": "r1"},
                          "tls": {"caSecret": "r1-ca"}, "routerId": "10.255.0.1"});
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        vyos[key] = value;
    }
    of("Provider", "bad", json!({"region": "lab", "vyos": vyos}))
}

fn cluster(change: Value) -> Value {
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

/// What a user may get wrong, and words that the answer must have: the field and the remedy.
fn refused() -> Vec<(Value, &'static [&'static str])> {
    let nic = |change: Value| {
        let mut nic = json!({"name": "web", "network": "web"});
        for (key, value) in change.as_object().cloned().unwrap_or_default() {
            nic[key] = value;
        }
        instance(json!({"networks": [nic]}))
    };
    vec![
        (
            network(json!({"prefix": "10.0.0.5/24"})),
            &["spec.ipv4.prefix", "host bits", "10.0.0.0/24"],
        ),
        (
            network(json!({"prefix": "10.0.0.0"})),
            &["spec.ipv4.prefix", "IPv4 prefix"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/33"})),
            &["spec.ipv4.prefix"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/31"})),
            &["spec.ipv4.prefix", "/8 and /29"],
        ),
        (
            network(json!({"prefix": "8.0.0.0/5"})),
            &["spec.ipv4.prefix"],
        ),
        (
            network(json!({"prefix": "2001:db8::/64"})),
            &["spec.ipv4.prefix", "IPv4"],
        ),
        (
            network(json!({"prefix": "ten.0.0.0/24"})),
            &["spec.ipv4.prefix"],
        ),
        (network(json!({})), &["spec.ipv4.prefix", "Required"]),
        (
            network(json!({"prefix": "10.0.0.0/24", "gateway": "10.0.1.1"})),
            &["gateway", "inside prefix"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "gateway": "first"})),
            &["gateway"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "dhcp": {"from": "10.0.0.9"}})),
            &["dhcp.to", "Required"],
        ),
        (
            network(
                json!({"prefix": "10.0.0.0/24", "dhcp": {"from": "x.0.0.9.", "to": "10.0.0.10"}}),
            ),
            &["dhcp.from"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "reserved": ["10.0.0.5", "10.0.0.5"]})),
            &["reserved", "Duplicate"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "reserved": ["the-first"]})),
            &["reserved"],
        ),
        (
            network(json!({"prefix": "10.0.0.0/24", "vlan": 5})),
            &["vlan", "unknown field"],
        ),
        (
            of(
                "Network",
                "bad",
                json!({"ipv4": {"prefix": "10.0.0.0/24"}, "dns": {"servers": ["nine"]}}),
            ),
            &["dns.servers"],
        ),
        (
            of(
                "Network",
                &"n".repeat(64),
                json!({"ipv4": {"prefix": "10.0.0.0/24"}}),
            ),
            &["name", "63"],
        ),
        (
            of("Volume", "bad", json!({"size": "100Mi"})),
            &["spec.size", "between 1Gi and 64Ti"],
        ),
        (of("Volume", "bad", json!({"size": "ten"})), &["spec.size"]),
        (of("Volume", "bad", json!({"size": "-5Gi"})), &["spec.size"]),
        (
            of("Volume", "bad", json!({"size": "65Ti"})),
            &["spec.size", "64Ti"],
        ),
        (
            of("Volume", "bad", json!({"size": 10})),
            &["spec.size", "string"],
        ),
        (of("Volume", "bad", json!({})), &["spec.size", "Required"]),
        (
            of(
                "Volume",
                "bad",
                json!({"size": "1Gi", "reclaimPolicy": "Keep"}),
            ),
            &["reclaimPolicy", "Delete", "Retain"],
        ),
        (
            instance(json!({"memory": "1Mi"})),
            &["spec.memory", "between 64Mi and 4Ti"],
        ),
        (instance(json!({"memory": "lots"})), &["spec.memory"]),
        (
            instance(json!({"cpu": 0})),
            &["spec.cpu", "greater than or equal to 1"],
        ),
        (instance(json!({"cpu": 257})), &["spec.cpu", "256"]),
        (
            instance(json!({"disk": "10"})),
            &["spec.disk", "between 1Gi and 64Ti"],
        ),
        (
            instance(json!({"power": "on"})),
            &["spec.power", "Running", "Stopped"],
        ),
        (
            instance(json!({"type": "vm"})),
            &["spec.type", "VirtualMachine", "Container"],
        ),
        (instance(json!({"networks": []})), &["spec.networks"]),
        (
            instance(
                json!({"networks": [{"name": "a", "network": "w"}, {"name": "a", "network": "x"}]}),
            ),
            &["spec.networks", "Duplicate"],
        ),
        (
            instance(
                json!({"volumes": [{"name": "a", "volume": "v"}, {"name": "b", "volume": "v"}]}),
            ),
            &["volumes", "once only"],
        ),
        (
            instance(json!({"type": "Container", "volumes": [{"name": "a", "volume": "v"}]})),
            &["VirtualMachine only"],
        ),
        (instance(json!({"sshKeys": ["my key"]})), &["sshKeys"]),
        (
            instance(json!({"sshKeys": ["ssh-ed25519 AAAA\nssh-rsa BBBB"]})),
            &["sshKeys"],
        ),
        (nic(json!({"address": "10.0.0"})), &["address"]),
        (nic(json!({"address": "fe80::1"})), &["address", "IPv4"]),
        (
            nic(json!({"name": "a name with blanks"})),
            &["networks[0].name"],
        ),
        (
            of(
                "Instance",
                "has.dots",
                json!({"image": "d", "networks": [{"name": "a", "network": "w"}]}),
            ),
            &["host name", "no dots"],
        ),
        (of("Tenant", "kube-acme", json!({})), &["kube-*", "taken"]),
        (of("Tenant", "default", json!({})), &["default", "taken"]),
        (of("Tenant", &"t".repeat(51), json!({})), &["50 characters"]),
        (of("Tenant", "a.b", json!({})), &["no dots"]),
        (
            of(
                "Tenant",
                "acme",
                json!({"members": [{"name": "a", "role": "Owner"}]}),
            ),
            &["role", "View", "Edit", "Admin"],
        ),
        (
            of(
                "Tenant",
                "acme",
                json!({"members": [{"name": "a"}, {"name": "a"}]}),
            ),
            &["members", "Duplicate"],
        ),
        (region(json!({"asn": 0})), &["spec.asn"]),
        (region(json!({"asn": 4_294_967_295_i64})), &["spec.asn"]),
        (
            region(json!({"vnis": "20000-10000"})),
            &["spec.vnis", "first not above the last"],
        ),
        (
            region(json!({"vnis": "1-16777215"})),
            &["spec.vnis", "1-16777214"],
        ),
        (
            region(json!({"tables": "50-100"})),
            &["spec.tables", "100-65535"],
        ),
        (region(json!({"tables": "many"})), &["spec.tables"]),
        (region(json!({"mtu": 100})), &["spec.mtu", "1280"]),
        (
            region(json!({"attachments": [{"name": "a", "cluster": "c1"}]})),
            &["attachments[0]", "give `vlan`"],
        ),
        (
            region(
                json!({"attachments": [{"name": "a", "cluster": "c1", "vlan": {"router": "r1", "interface": "eth2", "bridge": "vmbr1", "vlans": "1-4095"}}]}),
            ),
            &["vlans", "2-4094"],
        ),
        (
            region(
                json!({"attachments": [{"name": "a", "cluster": "c1", "vlan": {"router": "r1", "interface": "eth2; reboot", "bridge": "vmbr1", "vlans": "100-200"}}]}),
            ),
            &["interface"],
        ),
        (
            of("Provider", "bad", json!({"region": "lab"})),
            &["exactly one of `vyos` and `proxmox`"],
        ),
        (
            router(json!({"endpoint": "http://192.0.2.1"})),
            &["vyos.endpoint"],
        ),
        (
            router(json!({"routerId": "300.0.0.1"})),
            &["routerId", "IPv4"],
        ),
        (
            router(json!({"tls": {}})),
            &["tls", "exactly one of `caSecret` and `sha256`"],
        ),
        (router(json!({"tls": {"sha256": ["abc"]}})), &["sha256"]),
        (
            router(json!({"key": "in clear"})),
            &["key", "unknown field"],
        ),
        (
            cluster(json!({"vmids": "50-90"})),
            &["vmids", "100-999999999"],
        ),
        (cluster(json!({"endpoints": []})), &["endpoints"]),
        (
            cluster(json!({"images": [{"name": "a"}]})),
            &["images[0]", "exactly one of `template`"],
        ),
        (
            cluster(
                json!({"images": [{"name": "a", "template": 9000, "archive": "local:vztmpl/a"}]}),
            ),
            &["images[0]", "exactly one of"],
        ),
        (
            cluster(json!({"limits": {"clones": 0}})),
            &["limits.clones"],
        ),
    ]
}

#[tokio::test]
async fn every_sample_is_taken_strictly() -> Result<()> {
    let client = client().await?;
    let mut taken = 0;
    for folder in ["examples/acme"] {
        let mut files: Vec<_> = std::fs::read_dir(paths::root().join(folder))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        for file in files {
            for mut object in documents(&std::fs::read_to_string(&file)?)? {
                if object["kind"] == "Namespace" {
                    continue;
                }
                if object["metadata"]["namespace"].is_string() {
                    object["metadata"]["namespace"] = json!("default");
                }
                create(&client, &object, true).await.with_context(|| {
                    format!("{} in {}", object["metadata"]["name"], file.display())
                })?;
                taken += 1;
            }
        }
    }
    assert!(taken >= 9, "only {taken} samples");
    Ok(())
}

#[tokio::test]
async fn bad_input_is_refused_with_the_field_and_a_remedy() -> Result<()> {
    let client = client().await?;
    let table = refused();
    assert!(table.len() >= 40, "only {} cases", table.len());
    let mut wrong = Vec::new();
    for (object, words) in &table {
        let shown = format!("{} {}", object["kind"], object["spec"]);
        match create(&client, object, true).await {
            Ok(_) => wrong.push(format!("taken: {shown}")),
            Err(kube::Error::Api(status)) => {
                let missing: Vec<_> = words
                    .iter()
                    .filter(|w| !status.message.contains(**w))
                    .collect();
                if !missing.is_empty() {
                    wrong.push(format!("{shown}: {missing:?} not in {:?}", status.message));
                }
            }
            Err(other) => wrong.push(format!("{shown}: {other}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// An object, a change of it, and words that the refusal must have.
fn immutable() -> Vec<(Value, Value, &'static [&'static str])> {
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
    vec![
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

#[tokio::test]
async fn what_cannot_change_says_what_to_do_instead() -> Result<()> {
    let client = client().await?;
    let mut wrong = Vec::new();
    for (before, after, words) in immutable() {
        let api = api(&client, &before);
        let name = before["metadata"]["name"].as_str().context("a name")?;
        let present = match api.get_opt(name).await? {
            Some(present) => present,
            None => create(&client, &before, false).await?,
        };
        let mut object: DynamicObject = serde_json::from_value(after.clone())?;
        object.metadata.resource_version = present.resource_version();
        match api.replace(name, &PostParams::default(), &object).await {
            Ok(_) => wrong.push(format!("taken: {after}")),
            Err(kube::Error::Api(status)) => {
                let missing: Vec<_> = words
                    .iter()
                    .filter(|w| !status.message.contains(**w))
                    .collect();
                if !missing.is_empty() {
                    wrong.push(format!("{missing:?} not in {:?}", status.message));
                }
            }
            Err(other) => wrong.push(other.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test]
async fn a_volume_and_a_disk_may_grow() -> Result<()> {
    let client = client().await?;
    let volume = of("Volume", "grows", json!({"size": "10Gi"}));
    let present = create(&client, &volume, false).await?;
    let mut larger: DynamicObject =
        serde_json::from_value(of("Volume", "grows", json!({"size": "11Gi"})))?;
    larger.metadata.resource_version = present.resource_version();
    api(&client, &volume)
        .replace("grows", &PostParams::default(), &larger)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_status_cannot_be_written_with_the_spec() -> Result<()> {
    let client = client().await?;
    let mut network = of(
        "Network",
        "status",
        json!({"ipv4": {"prefix": "10.9.0.0/24"}}),
    );
    network["status"] = json!({"vni": 5});
    let made = create(&client, &network, false).await?;
    assert_eq!(made.data["status"], Value::Null);
    Ok(())
}

#[test]
fn every_field_has_a_sentence() {
    let mut silent = Vec::new();
    for crd in bb_crds::crds() {
        let name = crd.spec.names.kind.clone();
        let schema = crd.spec.versions[0]
            .schema
            .clone()
            .and_then(|s| s.open_api_v3_schema);
        let schema = serde_json::to_value(schema).expect("a schema");
        look(&name, &schema, &mut silent);
    }
    assert!(silent.is_empty(), "no description: {silent:#?}");
}

fn look(path: &str, schema: &Value, silent: &mut Vec<String>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // Conditions are Kubernetes' own.
        if child["description"].as_str().unwrap_or_default().len() < 8 {
            silent.push(path.clone());
        }
        if name != "conditions" {
            look(&path, child, silent);
            look(&path, &child["items"], silent);
        }
    }
}
