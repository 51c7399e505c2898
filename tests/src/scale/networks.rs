//! Turns hundreds of Networks of ten tenants, applied at once, into commits per router.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bb_lab_vyos::Running;
use futures::{TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::Row;
use crate::{Site, SiteOptions};

/// Tenants that share the Networks evenly.
const TENANTS: usize = 10;
/// Requests of ours to the API at once, as a person's tool makes them.
const AT_ONCE: usize = 4;
/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(900);

/// Where networks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In one zone: a VLAN of one router.
    Plain,
    /// In both zones: on both routers, joined by VXLAN.
    Stretched,
    /// Plain and stretched in turn.
    Mixed,
}

/// Makes tenants and their namespaces, without waiting for either.
///
/// # Errors
/// When the API refuses.
pub async fn apply_tenants(site: &Site, tenants: usize) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(site.client.clone());
    for tenant in 0..tenants {
        let name = format!("t{tenant}");
        let namespace = json!({"metadata": {"name": name,
            "labels": {"bitbuilder.cloud/tenant": name}}});
        namespaces
            .create(&PostParams::default(), &serde_json::from_value(namespace)?)
            .await
            .context("cannot make a namespace")?;
        site.apply_value(
            json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name}, "spec": {}}),
        )
        .await?;
    }
    Ok(())
}

/// Makes Networks of these numbers, a few at a time, without waiting for them.
///
/// # Errors
/// When the API refuses.
pub async fn apply_networks(
    site: &Site,
    tenants: usize,
    numbers: Range<usize>,
    form: Form,
) -> Result<()> {
    stream::iter(numbers.map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_ONCE, |n| async move {
            let plain = form == Form::Plain || (form == Form::Mixed && n % 2 == 0);
            let zones = if plain { json!(["north"]) } else { json!([]) };
            site.apply_value(
                json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
                "metadata": {"name": format!("n{n}"), "namespace": format!("t{}", n % tenants)},
                "spec": {"zones": zones,
                    "ipv4": {"prefix": format!("10.{}.{}.0/24", n / 256, n % 256)}}}),
            )
            .await?;
            Ok(())
        })
        .await
}

/// The lists of commands that a router was sent.
#[must_use]
pub fn lists(router: &Running) -> Vec<Vec<Value>> {
    let entries = router.journal.entries();
    let sent = entries
        .iter()
        .filter(|e| e.method == "POST" && e.path == "/configure");
    sent.map(|e| e.body.as_array().cloned().unwrap_or_default())
        .collect()
}

fn most(site: &Site) -> f64 {
    let lists = site.routers.values().map(|r| lists(r).len());
    lists.max().unwrap_or_default() as f64
}

fn clear(site: &Site) {
    for router in site.routers.values() {
        router.journal.clear_memory();
    }
}

/// Applies 200 Networks at once, then 400 on another lab, plain and stretched, then one more,
/// then machines.
///
/// # Errors
/// When a lab does not start, or objects are not Ready in time.
pub async fn run() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (form, word) in [(Form::Plain, "plain"), (Form::Stretched, "stretched")] {
        for (count, goal) in [(200, 4.0), (400, 8.0)] {
            let site = Site::start(SiteOptions::default()).await?;
            let begun = Instant::now();
            apply_tenants(&site, TENANTS).await?;
            apply_networks(&site, TENANTS, 0..count, form).await?;
            site.all_ready(BOUND).await?;
            rows.push(Row::at_most(
                format!("commits_of_{count}_{word}_networks"),
                most(&site),
                goal,
                "commits",
                "lists in the journal of the busiest router",
            ));
            rows.push(Row::varies(
                format!("seconds_of_{count}_{word}_networks"),
                begun.elapsed().as_secs_f64(),
                "s",
                "from the first apply to all Ready, routers that take no time",
            ));
            clear(&site);
            apply_networks(&site, TENANTS, count..count + 1, form).await?;
            site.all_ready(BOUND).await?;
            rows.push(Row::at_most(
                format!("commits_of_one_more_{word}_at_{count}"),
                most(&site),
                1.0,
                "commits",
                "the same",
            ));
            if (form, count) == (Form::Stretched, 200) {
                clear(&site);
                machines(&site).await?;
                rows.push(Row::at_most(
                    "changes_of_50_instances",
                    most(&site),
                    0.0,
                    "requests",
                    "made, resized and deleted; lists in the journals",
                ));
            }
            let flying = site
                .routers
                .values()
                .map(|r| r.counters.get("in_flight_max"));
            rows.push(Row::at_most(
                format!("in_flight_{word}_{count}"),
                flying.max().unwrap_or_default() as f64,
                1.0,
                "requests",
                "the most at once at any router",
            ));
            site.stop().await?;
        }
    }
    Ok(rows)
}

/// Makes 50 Instances, resizes and deletes them.
async fn machines(site: &Site) -> Result<()> {
    let instance = |n: usize, memory: &str| {
        json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
            "metadata": {"name": format!("i{n}"), "namespace": format!("t{}", n % TENANTS)},
            "spec": {"image": "debian-12", "cpu": 1, "memory": memory,
                "networks": [{"name": "a", "network": format!("n{n}")}]}})
    };
    for memory in ["128Mi", "256Mi"] {
        for n in 0..50 {
            site.apply_value(instance(n, memory)).await?;
        }
        site.all_ready(BOUND).await?;
    }
    // So many at once are more than a Provider takes without a word.
    for name in site.clusters.keys() {
        let off = Patch::Merge(json!({"spec": {"deleteGuard": {"percent": 100}}}));
        let providers = site.ours("Provider", None);
        providers.patch(name, &PatchParams::default(), &off).await?;
    }
    let deleted = (0..50).map(|n| async move {
        let namespace = format!("t{}", n % TENANTS);
        site.delete("Instance", Some(&namespace), &format!("i{n}"), BOUND)
            .await
    });
    futures::future::try_join_all(deleted).await?;
    Ok(())
}
