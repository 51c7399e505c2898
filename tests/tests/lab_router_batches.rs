//! Networks that come at once reach a router together, and one more alone; machines never do.

use std::time::Duration;

use anyhow::Result;
use bb_tests::scale::networks::{Form, apply_networks, apply_tenants, lists};
use bb_tests::{Site, SiteOptions};
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn networks_at_once_are_a_few_commits_one_more_is_one_and_machines_are_none() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    apply_tenants(&site, 4).await?;
    apply_networks(&site, 4, 0..40, Form::Mixed).await?;
    site.all_ready(BOUND).await?;
    for (name, router) in &site.routers {
        let lists = lists(router);
        assert!(
            (1..=4).contains(&lists.len()),
            "{name}: {} commits",
            lists.len()
        );
        assert_eq!(router.counters.get("in_flight_max"), 1, "{name}");
        router.journal.clear_memory();
    }
    apply_networks(&site, 4, 41..42, Form::Stretched).await?;
    site.all_ready(BOUND).await?;
    for (name, router) in &site.routers {
        let lists = lists(router);
        assert_eq!(lists.len(), 1, "{name}");
        assert!(lists[0].len() <= 20, "{name}: {:?}", lists[0]);
        router.journal.clear_memory();
    }
    let instance = |n: usize| {
        json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
            "metadata": {"name": format!("i{n}"), "namespace": format!("t{}", n % 4)},
            "spec": {"image": "debian-12", "cpu": 1, "memory": "128Mi",
                "networks": [{"name": "a", "network": format!("n{n}")}],
                "placement": {"zone": "north"}}})
    };
    for n in 0..8 {
        site.apply_value(instance(n)).await?;
    }
    site.all_ready(BOUND).await?;
    for n in 0..8 {
        let larger = Patch::Merge(json!({"spec": {"memory": "256Mi", "power": "Stopped"}}));
        site.ours("Instance", Some(&format!("t{}", n % 4)))
            .patch(&format!("i{n}"), &PatchParams::default(), &larger)
            .await?;
    }
    site.all_ready(BOUND).await?;
    for n in 0..8 {
        let namespace = format!("t{}", n % 4);
        site.delete("Instance", Some(&namespace), &format!("i{n}"), BOUND)
            .await?;
    }
    for (name, router) in &site.routers {
        assert_eq!(
            lists(router).len(),
            0,
            "{name} was sent something for a machine"
        );
    }
    site.stop().await
}
