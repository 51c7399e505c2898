//! Turns thirty thousand objects that are as they should be, two Volumes to each Instance, into
//! what a controller needs that starts over all of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::Row;
use super::audit::Audit;
use super::population::{Population, ZONES};
use super::process::Process;
use super::settled::{Costs, MAKING, quiet, start, started, steady, writes};
use super::volumes;
use crate::{Site, SiteOptions};

/// Instances.
const INSTANCES: usize = 10_000;
/// Volumes, which no Instance has: each is a disk image in a list of its cluster.
const VOLUMES: usize = 20_000;
/// Instances that the controller makes; the rest is put there to be like them.
const MADE: usize = 20;
/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(300);

/// Measures a start, everything listed anew, and ticks.
///
/// # Errors
/// When something does not come to rest, or what was put there is not as it should be.
pub async fn run() -> Result<Vec<Row>> {
    let site = Site::start(SiteOptions {
        controller: false,
        ..SiteOptions::default()
    })
    .await?;
    Population::unbounded(&site).await?;
    let mut population = Population::default();
    let mut audit = Audit::of(&site.cluster)?;
    let process = Process::start(&site.cluster, &MAKING).await?;
    Population::tenants(&site, BOUND).await?;
    population.grow(&site, MADE, BOUND).await?;
    for (at, zone) in ZONES.iter().enumerate() {
        site.apply_value(json!({
            "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Volume",
            "metadata": {"name": format!("like-{zone}"), "namespace": format!("t{at}")},
            "spec": {"size": "1Gi", "zone": zone},
        }))
        .await?;
    }
    site.all_ready(BOUND).await?;
    quiet(&process).await?;
    process.stop()?;
    population.seed(&site, INSTANCES).await?;
    volumes::seed(&site, VOLUMES - ZONES.len()).await?;
    // What is counted over all of them, such as the addresses of a network, is written once.
    let (process, _) = started(&site, &MAKING).await?;
    ensure!(
        writes(&site) == 0,
        "what was put there is not like what was made"
    );
    process.stop()?;
    let mut costs = Costs::default();
    start(&site, &mut audit, &mut costs).await?;
    let all = INSTANCES + VOLUMES;
    steady(&site, &mut audit, INSTANCES, &mut costs).await?;
    site.stop().await?;
    let mut rows = costs.of_start(all);
    rows.extend(costs.of_memory(all));
    rows.extend(costs.of_ticks(all));
    Ok(rows)
}
