//! An etcd that is restored to an older state, under a controller that runs and one that starts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_tests::{Site, SiteOptions};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

fn tenant(name: &str) -> Value {
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant", "metadata": {"name": name}, "spec": {}})
}

fn object(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn network(namespace: &str, name: &str, prefix: &str) -> Value {
    // In both zones: it has a VXLAN interface on each router, and a VLAN on each trunk.
    let spec = json!({"ipv4": {"prefix": prefix}});
    object("Network", namespace, name, &spec)
}

fn machine(namespace: &str, name: &str, network: &str) -> Value {
    let spec = json!({"image": "debian-12", "networks": [{"name": "lan", "network": network}]});
    object("Instance", namespace, name, &spec)
}

/// What runs and stands outside: each line of each router, each guest of each cluster.
fn outside(site: &Site) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (name, router) in &site.routers {
        lines(name, &router.config(), &mut all);
    }
    for (name, cluster) in &site.clusters {
        let snapshot = cluster.snapshot();
        for (vmid, guest) in snapshot["guests"].as_object().into_iter().flatten() {
            all.insert(format!("{name} guest {vmid} {guest}"));
        }
    }
    all
}

fn lines(path: &str, value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                lines(&format!("{path} {key}"), value, all);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| lines(path, item, all)),
        other => drop(all.insert(format!("{path} {other}"))),
    }
}

/// A field of an object's status.
async fn status(site: &Site, kind: &str, namespace: &str, name: &str, at: &str) -> Result<Value> {
    let api = site.ours(kind, Some(namespace).filter(|n| !n.is_empty()));
    let object = api.get(name).await?;
    let value = object.data["status"].pointer(at).cloned();
    value.with_context(|| format!("{kind} {name} has no {at}"))
}

/// The numbers that an object has, as `what: number`.
async fn numbers(
    site: &Site,
    tenant: &str,
    network: &str,
    machines: &[(&str, &str)],
) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    let routing = status(site, "Tenant", "", tenant, "/routing/0").await?;
    all.insert(format!("table {}", routing["table"]));
    all.insert(format!("vni {}", routing["l3vni"]));
    let vni = status(site, "Network", tenant, network, "/vni").await?;
    all.insert(format!("vni {vni}"));
    let vlan = status(site, "Network", tenant, network, "/vlans/0/vlan").await?;
    all.insert(format!("vlan {vlan}"));
    for (namespace, name) in machines {
        let id = status(site, "Instance", namespace, name, "/providerID").await?;
        let address = status(site, "Instance", namespace, name, "/addresses/0").await?;
        all.insert(format!("guest {id}"));
        all.insert(format!(
            "address {} in {namespace} {}",
            address["address"], address["network"]
        ));
    }
    Ok(all)
}

/// Waits until an object is named among what is outside and in no object.
async fn named(site: &Site, provider: &str, what: &str) -> Result<()> {
    let until = Instant::now() + BOUND;
    loop {
        let object = site.ours("Provider", None).get(provider).await?;
        let status = object.data["status"].to_string();
        let report = object.data["status"]["orphans"].to_string();
        if report.contains(what) {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("Provider {provider} does not name {what}: {status}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A controller that notices soon that a watch is dead.
fn options() -> SiteOptions {
    let flags = "--active-poll 100 --backoff 200 --poll 5 --watch-timeout 10";
    SiteOptions {
        flags: flags.split(' ').map(str::to_owned).collect(),
        ..SiteOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_etcd_deletes_nothing_outside_and_gives_no_number_twice() -> Result<()> {
    let mut site = Site::start(options()).await?;
    site.apply_value(tenant("acme")).await?;
    site.all_ready(BOUND).await?;
    site.apply_value(network("acme", "lan", "10.20.0.0/24"))
        .await?;
    for name in ["stays", "goes"] {
        site.apply_value(machine("acme", name, "lan")).await?;
    }
    site.all_ready(BOUND).await?;
    site.cluster.snapshot("old").await?;

    // The world goes on: something goes, a tenant comes, and a guest in the old network.
    site.delete("Instance", Some("acme"), "goes", BOUND).await?;
    site.apply_value(tenant("beta")).await?;
    site.all_ready(BOUND).await?;
    site.apply_value(network("beta", "lan", "10.20.0.0/24"))
        .await?;
    for (namespace, name) in [("beta", "one"), ("beta", "two"), ("acme", "late")] {
        site.apply_value(machine(namespace, name, "lan")).await?;
    }
    site.all_ready(BOUND).await?;
    let late = [("beta", "one"), ("beta", "two"), ("acme", "late")];
    let lost = numbers(&site, "beta", "lan", &late).await?;
    let uid = site
        .ours("Network", Some("beta"))
        .get("lan")
        .await?
        .metadata
        .uid;
    let at = status(&site, "Instance", "acme", "late", "/cluster").await?;
    let before = outside(&site);

    // Under a running controller.
    site.cluster.restore("old").await?;
    site.all_ready(BOUND).await?;
    let ready = site.readiness().await?;
    assert!(ready.contains_key("Instance acme/goes"), "{ready:?}");
    assert!(!ready.contains_key("Tenant /beta"), "{ready:?}");
    named(&site, "r1", uid.as_deref().context("a UID")?).await?;
    named(&site, at.as_str().unwrap_or_default(), "(late)").await?;
    let missing: Vec<String> = before.difference(&outside(&site)).cloned().collect();
    assert_eq!(
        missing,
        Vec::<String>::new(),
        "the restore took something away"
    );

    // What comes now gets what nothing outside has, also from a controller that starts only now.
    site.apply_value(tenant("gamma")).await?;
    site.all_ready(BOUND).await?;
    site.stop_controller().await?;
    site.apply_value(network("gamma", "lan", "10.20.0.0/24"))
        .await?;
    for (namespace, name) in [("gamma", "one"), ("acme", "new")] {
        site.apply_value(machine(namespace, name, "lan")).await?;
    }
    site.start_controller()?;
    site.all_ready(BOUND).await?;
    let machines = [
        ("gamma", "one"),
        ("acme", "new"),
        ("acme", "goes"),
        ("acme", "stays"),
    ];
    let given = numbers(&site, "gamma", "lan", &machines).await?;
    assert_eq!(given.len(), 4 + 2 * machines.len(), "{given:?}");
    let twice: Vec<&String> = given.intersection(&lost).collect();
    assert_eq!(twice, Vec::<&String>::new(), "given twice");
    let missing: Vec<String> = before.difference(&outside(&site)).cloned().collect();
    assert_eq!(
        missing,
        Vec::<String>::new(),
        "what came took something away"
    );
    site.stop().await
}
