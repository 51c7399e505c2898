//! The whole road: manifests become router configuration and running guests, and back to nothing.

#![allow(
    clippy::needless_pass_by_value,
    reason = "rows of a table are made to be given away"
)]

use std::time::Duration;

use anyhow::{Context as _, Result};
use bb_tests::{Site, SiteOptions};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn the_example_tenant_lives_and_leaves_nothing_behind() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let before = site.outside();
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    // Foreign VRF, firewall rules, interfaces, guests in and out of our range are all in here.
    for router in site.routers.values() {
        let config = router.config();
        assert!(config["vrf"]["name"]["bb1000"].is_object(), "{config}");
        assert!(config["vrf"]["name"]["blue"].is_object());
    }
    site.delete("Tenant", None, "acme", BOUND).await?;
    assert_eq!(site.outside(), before);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_with_identical_prefixes_live_side_by_side() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let before = site.outside();
    site.apply_dir("examples/acme").await?;
    for mut object in twin()? {
        if object["kind"] == "Network" {
            // VyOS has one DHCP server for all tenants.
            object["spec"]["ipv4"]
                .as_object_mut()
                .context("ipv4")?
                .remove("dhcp");
        }
        site.apply_value(object).await?;
    }
    site.all_ready(BOUND).await?;
    let config = site.routers["r1"].config();
    let vrfs = config["vrf"]["name"].as_object().context("VRFs")?;
    assert_eq!(vrfs.keys().filter(|name| name.starts_with("bb")).count(), 2);
    let gateways: Vec<&Value> = config["interfaces"]["bridge"]
        .as_object()
        .context("bridges")?
        .values()
        .filter(|bridge| bridge["address"] == json!("10.10.0.1/24"))
        .map(|bridge| &bridge["vrf"])
        .collect();
    assert_eq!(gateways.len(), 2);
    assert_ne!(gateways[0], gateways[1]);
    site.delete("Tenant", None, "acme", BOUND).await?;
    // The other is as it was.
    site.all_ready(BOUND).await?;
    site.delete("Tenant", None, "twin", BOUND).await?;
    assert_eq!(site.outside(), before);
    site.stop().await
}

/// The example tenant under another name.
fn twin() -> Result<Vec<Value>> {
    let dir = bb_lab_harness::paths::root().join("examples/acme");
    let mut files: Vec<_> = std::fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    let mut objects = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file)?;
        let text = text.replace("namespace: acme", "namespace: twin");
        let text = text
            .replace("name: acme\n", "name: twin\n")
            .replace("tenant: acme", "tenant: twin");
        objects.extend(bb_tests::site::documents(&text)?);
    }
    Ok(objects)
}

#[tokio::test(flavor = "multi_thread")]
async fn dhcp_in_the_same_prefix_on_one_router_is_refused_with_a_remedy() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    for object in twin()?.into_iter().filter(|o| {
        ["Namespace", "Tenant", "Network"].contains(&o["kind"].as_str().unwrap_or_default())
    }) {
        site.apply_value(object).await?;
    }
    let says = site
        .ready_says("Network", "twin", "web", "False Invalid")
        .await?;
    assert!(
        says.contains("spec.ipv4.dhcp") && says.contains("leave `dhcp` out"),
        "{says}"
    );
    assert!(
        !says.contains("acme"),
        "a tenant is told another's name: {says}"
    );
    site.stop().await
}
