//! What a settled world costs does not depend on how many guests are in it: the counts at a size
//! that every run has time for. `make scale` has thousands.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bb_lab_harness::lab;
use bb_tests::scale::audit::{Audit, Requests};
use bb_tests::scale::population::Population;
use bb_tests::scale::settled::{calls, reset, ticks, writes};
use bb_tests::{Site, SiteOptions};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);
/// Ticks of each cluster that are looked at.
const TICKS: usize = 4;
/// Calls to a cluster by a controller that starts, however many guests it has: version, rights,
/// and a few lists.
const START: usize = 12;

fn options() -> SiteOptions {
    let flags = ["--active-poll", "100", "--backoff", "200", "--poll", "1"];
    SiteOptions {
        flags: flags.map(str::to_owned).to_vec(),
        ..SiteOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_world_costs_the_same_with_ten_guests_and_with_hundreds() -> Result<()> {
    let mut site = Site::start(options()).await?;
    Population::unbounded(&site).await?;
    Population::tenants(&site, BOUND).await?;
    let mut population = Population::default();
    let mut audit = Audit::of(&site.cluster)?;
    for size in [10, 300] {
        population.grow(&site, size, BOUND).await?;
        let made = settled(&site, &mut audit).await?;
        let most = made.writes_to("instances").into_values().max();
        ensure!(most <= Some(4), "{most:?} writes to one Instance");
        steady(&site, &mut audit).await?;
    }
    restarted(&mut site, &mut audit).await?;
    site.stop().await
}

/// Waits until some ticks brought no write, and gives what was asked of the API meanwhile.
async fn settled(site: &Site, audit: &mut Audit) -> Result<Requests> {
    let limit = Instant::now() + BOUND;
    let mut all = Requests::default();
    loop {
        reset(site);
        ticked(site).await?;
        let requests = audit.since(lab::CONTROLLER_USER)?;
        let quiet = requests.written() == 0 && writes(site) == 0;
        all.add(requests);
        if quiet {
            return Ok(all);
        }
        if Instant::now() > limit {
            bail!("it never settles");
        }
    }
}

/// Two calls a tick, and nothing is written.
async fn steady(site: &Site, audit: &mut Audit) -> Result<()> {
    reset(site);
    ticked(site).await?;
    // The list comes first in a tick: one that has just begun has made fewer calls.
    for (calls, ticks) in calls(site).into_iter().zip(ticks(site)) {
        ensure!(calls <= 2 * ticks, "{calls} calls in {ticks} ticks");
    }
    ensure!(writes(site) == 0, "something is written to a target");
    let requests = audit.since(lab::CONTROLLER_USER)?;
    ensure!(requests.written() == 0, "written: {:?}", requests.writes);
    ensure!(requests.lists.is_empty(), "listed: {:?}", requests.lists);
    Ok(())
}

/// A controller that starts anew lists each kind once, reads no guest by itself, writes nothing.
async fn restarted(site: &mut Site, audit: &mut Audit) -> Result<()> {
    site.stop_controller().await?;
    audit.since(lab::CONTROLLER_USER)?;
    reset(site);
    let first = Instant::now();
    site.start_controller()?;
    let limit = first + BOUND;
    while ticks(site).into_iter().min() < Some(1) {
        ensure!(Instant::now() < limit, "a target is not looked at");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ticked(site).await?;
    for (calls, ticks) in calls(site).into_iter().zip(ticks(site)) {
        let most = START + 2 * ticks;
        ensure!(calls <= most, "{calls} calls in {ticks} ticks");
    }
    ensure!(writes(site) == 0, "something is written to a target");
    let requests = audit.since(lab::CONTROLLER_USER)?;
    ensure!(requests.written() == 0, "written: {:?}", requests.writes);
    for kind in ["instances", "networks", "tenants", "providers"] {
        ensure!(
            requests.lists.get(kind) == Some(&1),
            "lists: {:?}",
            requests.lists
        );
    }
    let most = requests.lists.values().max();
    ensure!(most == Some(&1), "lists: {:?}", requests.lists);
    Ok(())
}

/// Waits for [`TICKS`] more ticks of each cluster.
async fn ticked(site: &Site) -> Result<()> {
    let begun = ticks(site).into_iter().max().unwrap_or(0);
    let limit = Instant::now() + BOUND;
    while ticks(site).into_iter().min() < Some(begun + TICKS) {
        if Instant::now() > limit {
            bail!("fewer than {TICKS} ticks within {BOUND:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
