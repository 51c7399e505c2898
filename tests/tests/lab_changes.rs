//! What a user changes on what runs: sizes, power, networks, volumes, protection, policy.

#![allow(
    clippy::needless_pass_by_value,
    reason = "rows of a table are made to be given away"
)]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_tests::{Site, SiteOptions};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

async fn change(site: &Site, kind: &str, name: &str, patch: Value) -> Result<()> {
    let api = site.ours(kind, Some("acme"));
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// Waits for a state of the world outside.
async fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> Result<T> {
    let until = Instant::now() + BOUND;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > until {
            bail!("{what}: not within {BOUND:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until an object's status says something.
async fn status(site: &Site, kind: &str, name: &str, pointer: &str, wanted: &Value) -> Result<()> {
    let until = Instant::now() + BOUND;
    loop {
        let object = site.ours(kind, Some("acme")).get(name).await?;
        let status = &object.data["status"];
        if status.pointer(pointer).unwrap_or(&Value::Null) == wanted {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{kind} {name}: {pointer} is not {wanted}: {status:#}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The configuration of a guest by the name that people gave it.
fn guest(site: &Site, cluster: &str, name: &str) -> Option<Value> {
    let snapshot = site.clusters[cluster].snapshot();
    find_guest(&snapshot, name)
}

fn find_guest(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Object(map) => {
            let config = map.get("config").and_then(Value::as_object);
            let called =
                |key: &str| config.and_then(|c| c.get(key)).and_then(Value::as_str) == Some(name);
            if called("name") || called("hostname") {
                return Some(value.clone());
            }
            map.values().find_map(|v| find_guest(v, name))
        }
        Value::Array(list) => list.iter().find_map(|v| find_guest(v, name)),
        _ => None,
    }
}

fn configured(site: &Site) -> u64 {
    site.routers
        .values()
        .map(|r| r.counters.get("requests_configure"))
        .sum()
}

async fn running() -> Result<Site> {
    let site = Site::start(SiteOptions::default()).await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    Ok(site)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_resized_and_switched_without_a_word_to_a_router() -> Result<()> {
    let site = running().await?;
    let before = configured(&site);
    change(
        &site,
        "Instance",
        "www-1",
        json!({"spec": {"cpu": 4, "disk": "12Gi"}}),
    )
    .await?;
    until("the disk has grown", || {
        let config = guest(&site, "c1", "www-1")?["config"].clone();
        config["scsi0"].as_str()?.contains("size=12G").then_some(())
    })
    .await?;
    // More CPUs take a restart; until then the status says so.
    status(
        &site,
        "Instance",
        "www-1",
        "/pendingChanges/0",
        &json!("cores"),
    )
    .await?;
    for power in ["Stopped", "Running"] {
        change(
            &site,
            "Instance",
            "www-1",
            json!({"spec": {"power": power}}),
        )
        .await?;
        status(&site, "Instance", "www-1", "/power", &json!(power)).await?;
    }
    status(&site, "Instance", "www-1", "/pendingChanges", &Value::Null).await?;
    let config = guest(&site, "c1", "www-1").context("www-1")?["config"].clone();
    assert_eq!(config["cores"], json!("4"));
    change(
        &site,
        "Instance",
        "www-2",
        json!({"spec": {"power": "Stopped"}}),
    )
    .await?;
    status(&site, "Instance", "www-2", "/power", &json!("Stopped")).await?;
    change(
        &site,
        "Instance",
        "www-2",
        json!({"spec": {"power": "Running"}}),
    )
    .await?;
    status(&site, "Instance", "www-2", "/power", &json!("Running")).await?;
    site.all_ready(BOUND).await?;
    site.delete("Instance", Some("acme"), "www-2", BOUND)
        .await?;
    assert!(guest(&site, "c2", "www-2").is_none());
    assert_eq!(
        configured(&site),
        before,
        "a router was configured for an instance"
    );
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_grows_moves_and_outlives_its_instance() -> Result<()> {
    let site = running().await?;
    change(&site, "Volume", "pgdata", json!({"spec": {"size": "30Gi"}})).await?;
    status(&site, "Volume", "pgdata", "/size", &json!("30Gi")).await?;
    site.delete("Instance", Some("acme"), "pg", BOUND).await?;
    site.all_ready(BOUND).await?;
    status(&site, "Volume", "pgdata", "/attachedTo", &Value::Null).await?;
    // Another instance takes it.
    change(
        &site,
        "Instance",
        "www-1",
        json!({"spec": {"volumes": [{"name": "data", "volume": "pgdata"}]}}),
    )
    .await?;
    status(
        &site,
        "Volume",
        "pgdata",
        "/attachedTo/instance",
        &json!("www-1"),
    )
    .await?;
    site.all_ready(BOUND).await?;
    let config = guest(&site, "c1", "www-1").context("www-1")?["config"].clone();
    assert!(config.to_string().contains("pvc-"), "{config}");
    // A volume that somebody has waits, and says who.
    let api = site.ours("Volume", Some("acme"));
    api.delete("pgdata", &DeleteParams::default()).await?;
    let says = site
        .ready_says("Volume", "acme", "pgdata", "False Waiting")
        .await?;
    assert!(says.contains("www-1"), "{says}");
    change(&site, "Instance", "www-1", json!({"spec": {"volumes": []}})).await?;
    until("the volume's data is gone", || {
        let snapshot = site.clusters["c1"].snapshot().to_string();
        (snapshot.matches("pvc-").count() <= 2).then_some(())
    })
    .await?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_volume_stays_on_the_storage() -> Result<()> {
    let site = running().await?;
    change(
        &site,
        "Volume",
        "archive",
        json!({"spec": {"reclaimPolicy": "Retain"}}),
    )
    .await?;
    let uid = site
        .ours("Volume", Some("acme"))
        .get("archive")
        .await?
        .metadata
        .uid
        .context("uid")?;
    site.delete("Volume", Some("acme"), "archive", BOUND)
        .await?;
    assert!(
        site.clusters["c1"]
            .snapshot()
            .to_string()
            .contains(&format!("pvc-{uid}"))
    );
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn protection_holds_a_delete_and_orphan_leaves_the_guest() -> Result<()> {
    let site = running().await?;
    change(
        &site,
        "Instance",
        "www-1",
        json!({"spec": {"deletionProtection": true}}),
    )
    .await?;
    let api = site.ours("Instance", Some("acme"));
    api.delete("www-1", &DeleteParams::default()).await?;
    let says = site
        .ready_says("Instance", "acme", "www-1", "False Protected")
        .await?;
    assert!(says.contains("spec.deletionProtection"), "{says}");
    assert!(guest(&site, "c1", "www-1").is_some());
    change(
        &site,
        "Instance",
        "www-1",
        json!({"spec": {"deletionProtection": false}}),
    )
    .await?;
    until("the guest is gone", || {
        guest(&site, "c1", "www-1").is_none().then_some(())
    })
    .await?;
    change(
        &site,
        "Instance",
        "cache",
        json!({"spec": {"deletionPolicy": "Orphan"}}),
    )
    .await?;
    site.delete("Instance", Some("acme"), "cache", BOUND)
        .await?;
    assert!(guest(&site, "c2", "cache").is_some(), "an orphan is left");
    site.stop().await
}

/// The subjects of a tenant's role bindings, as `ROLE: NAME`.
async fn bound(site: &Site, namespace: &str) -> Result<Vec<String>> {
    let api: Api<RoleBinding> = Api::namespaced(site.client.clone(), namespace);
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=bitbuilder-controller");
    let mut all = Vec::new();
    for binding in api.list(&ours).await? {
        let role = &binding.role_ref.name;
        let subjects = binding.subjects.iter().flatten();
        all.extend(subjects.map(|s| format!("{role}: {}", s.name)));
    }
    Ok(all)
}

async fn until_bound(site: &Site, namespace: &str, wanted: &[&str]) -> Result<()> {
    let until = Instant::now() + BOUND;
    loop {
        let all = bound(site, namespace).await?;
        if all == wanted {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{namespace} has {all:?}, not {wanted:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_have_their_roles_also_in_a_namespace_that_is_made_again() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let tenant = json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant",
        "metadata": {"name": "solo"},
        "spec": {"members": [{"name": "ann", "role": "Admin"}, {"name": "vic", "role": "View"}]},
    });
    let both = ["bitbuilder-admin: ann", "bitbuilder-view: vic"];
    site.apply_value(tenant.clone()).await?;
    until_bound(&site, "solo", &both).await?;
    // Somebody deletes the namespace by hand.
    let namespaces: Api<Namespace> = Api::all(site.client.clone());
    namespaces.delete("solo", &DeleteParams::default()).await?;
    until_bound(&site, "solo", &[]).await?;
    until_bound(&site, "solo", &both).await?;
    // The tenant goes, and comes again.
    site.delete("Tenant", None, "solo", BOUND).await?;
    site.apply_value(tenant).await?;
    until_bound(&site, "solo", &both).await?;
    let members = json!({"spec": {"members": [{"name": "vic", "role": "Edit"}]}});
    let tenants = site.ours("Tenant", None);
    tenants
        .patch("solo", &PatchParams::default(), &Patch::Merge(&members))
        .await?;
    until_bound(&site, "solo", &["bitbuilder-edit: vic"]).await?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_leaves_and_joins_a_zone() -> Result<()> {
    let site = running().await?;
    let bridges = |router: &str| {
        let config = site.routers[router].config();
        config["interfaces"]["bridge"]
            .as_object()
            .map_or(0, serde_json::Map::len)
    };
    assert_eq!(bridges("r2"), 2);
    // db joins the south: it is stretched, and r2 gets its bridge.
    change(
        &site,
        "Network",
        "db",
        json!({"spec": {"zones": ["north", "south"]}}),
    )
    .await?;
    until("r2 has the bridge", || (bridges("r2") == 3).then_some(())).await?;
    site.all_ready(BOUND).await?;
    change(
        &site,
        "Network",
        "db",
        json!({"spec": {"zones": ["north"]}}),
    )
    .await?;
    until("r2 has it no more", || (bridges("r2") == 2).then_some(())).await?;
    site.all_ready(BOUND).await?;
    let config = site.routers["r1"].config();
    assert!(config.to_string().contains("10.10.1.1/24"));
    // A zone with instances in it is not taken away from under them.
    change(
        &site,
        "Network",
        "web",
        json!({"spec": {"zones": ["north"]}}),
    )
    .await?;
    let says = site
        .ready_says("Network", "acme", "web", "False Waiting")
        .await?;
    assert!(
        says.contains("spec.zones") && says.contains("cache"),
        "{says}"
    );
    assert_eq!(bridges("r2"), 2);
    change(&site, "Network", "web", json!({"spec": {"zones": []}})).await?;
    site.all_ready(BOUND).await?;
    // A network that instances are in waits, and names them.
    let api = site.ours("Network", Some("acme"));
    api.delete("db", &DeleteParams::default()).await?;
    let says = site
        .ready_says("Network", "acme", "db", "False Waiting")
        .await?;
    assert!(says.contains("pg"), "{says}");
    site.delete("Instance", Some("acme"), "pg", BOUND).await?;
    until("the network is gone", || {
        let config = site.routers["r1"].config().to_string();
        (!config.contains("10.10.1.1/24")).then_some(())
    })
    .await?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_changed_on_a_router_is_put_right_and_foreign_lines_stay() -> Result<()> {
    let flags = ["--active-poll", "100", "--backoff", "200", "--poll", "1"];
    let options = SiteOptions {
        flags: flags.map(str::to_owned).to_vec(),
        ..SiteOptions::default()
    };
    let site = Site::start(options).await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    let whole = site.routers["r1"].config();
    let typed = site.routers["r1"].type_in(&[bb_lab_vyos::Edit::delete(
        "vrf name bb1000 protocols bgp address-family l2vpn-evpn advertise",
    )]);
    assert_eq!(typed, bb_lab_vyos::Outcome::Done(None));
    assert_ne!(site.routers["r1"].config(), whole);
    until("the router is as it was", || {
        (site.routers["r1"].config() == whole).then_some(())
    })
    .await?;
    site.stop().await
}
