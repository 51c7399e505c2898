//! Plain kubectl is enough: apply, wait, get, explain, delete.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bb_lab_harness::paths;
use bb_tests::{Site, SiteOptions};
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_alone_applies_waits_lists_explains_and_deletes() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let before = site.outside();
    let dir = paths::root().join("examples/acme").display().to_string();
    // kubectl blocks, and the controller runs in this process.
    let kubectl = |args: &[&str]| tokio::task::block_in_place(|| site.cluster.kubectl(args));
    kubectl(&["apply", "--validate=strict", "-f", &dir])?;
    let all = "tenants,networks,volumes,instances";
    kubectl(&[
        "wait",
        "--for=condition=Ready",
        all,
        "--all",
        "-A",
        "--timeout=60s",
    ])?;
    let listed = kubectl(&["get", "bitbuilder", "-A"])?;
    for kind in [
        "instance", "network", "provider", "region", "tenant", "volume",
    ] {
        assert!(
            listed.contains(&format!("{kind}.bitbuilder.cloud/")),
            "no {kind} in {listed}"
        );
    }
    assert!(!listed.contains("False"), "{listed}");
    for short in ["bbr", "bbp", "bbt", "bbnet", "bbi", "bbvol"] {
        kubectl(&["get", short, "-A"])?;
    }
    for kind in [
        "regions",
        "providers",
        "tenants",
        "networks",
        "volumes",
        "instances",
    ] {
        let told = kubectl(&["explain", kind, "--recursive=false"])?;
        assert!(told.contains("DESCRIPTION"), "{told}");
    }
    let told = kubectl(&["explain", "instances.spec.networks.address"])?;
    assert!(told.contains("next free one"), "{told}");
    kubectl(&["delete", "-f", &dir, "--timeout=100s"])?;
    assert_eq!(site.outside(), before);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_pin_or_right_is_named_in_the_provider() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    site.until(BOUND, |all| all["Provider /r1"].starts_with("True"))
        .await?;
    let change = async |name: &str, patch: serde_json::Value| -> Result<()> {
        let api = site.ours("Provider", None);
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        Ok(())
    };
    // A pin that is not the router's.
    let pin = json!({"spec": {"vyos": {"tls": {"caSecret": null, "sha256": ["AB".repeat(32)]}}}});
    change("r1", pin).await?;
    let says = site
        .ready_says("Provider", "", "r1", "False Unauthorized")
        .await?;
    assert!(says.contains("SHA-256"), "{says}");
    // A Secret that is not there.
    change(
        "r2",
        json!({"spec": {"vyos": {"credentials": {"secret": "nothing"}}}}),
    )
    .await?;
    let says = site
        .ready_says("Provider", "", "r2", "False Unauthorized")
        .await?;
    assert!(
        says.contains("bitbuilder-system/nothing") && says.contains("create it"),
        "{says}"
    );
    // A storage on which the token has no right.
    let storage = json!([{"name": "ssd", "storage": "ssd"}, {"name": "local", "storage": "local"}, {"name": "tape", "storage": "tape"}]);
    change("c1", json!({"spec": {"proxmox": {"storage": storage}}})).await?;
    let says = site
        .ready_says("Provider", "", "c1", "False Unauthorized")
        .await?;
    assert!(
        says.contains("/storage/tape: Datastore.AllocateSpace"),
        "{says}"
    );
    let status = site.ours("Provider", None).get("c1").await?.data["status"].clone();
    let missing = status["missingPrivileges"]
        .as_array()
        .context("missing privileges")?;
    assert_eq!(missing.len(), 2, "{missing:?}");
    // The key of the other router.
    site.apply_value(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "c2", "namespace": "bitbuilder-system"},
        "stringData": {"token": "op@pve!k8s=00000000-0000-0000-0000-000000000000"},
    }))
    .await?;
    change(
        "c2",
        json!({"spec": {"proxmox": {"limits": {"clones": 5}}}}),
    )
    .await?;
    let says = site
        .ready_says("Provider", "", "c2", "False Unauthorized")
        .await?;
    assert!(!says.contains("00000000"), "the secret is shown: {says}");
    site.stop().await
}
