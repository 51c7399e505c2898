//! What a settled world costs: nothing is written, and little is read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_tests::{Site, SiteOptions};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);
/// Passes over each target that are looked at.
const PASSES: u64 = 10;

fn options() -> SiteOptions {
    let flags = ["--active-poll", "100", "--backoff", "200", "--poll", "1"];
    SiteOptions {
        flags: flags.map(str::to_owned).to_vec(),
        ..SiteOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_world_is_read_and_never_written() -> Result<()> {
    let mut site = Site::start(options()).await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    settled(&site).await?;
    measured(&site).await?;
    // A controller that starts anew finds the same, and says nothing that is not so meanwhile.
    site.stop_controller().await?;
    let versions = site.versions().await?;
    reset(&site);
    site.start_controller()?;
    passes(&site).await?;
    assert_eq!(site.versions().await?, versions);
    assert_eq!(writes(&site), BTreeMap::new());
    site.stop().await
}

/// Waits until a whole second brought no write anywhere.
async fn settled(site: &Site) -> Result<()> {
    let until = Instant::now() + BOUND;
    loop {
        let before = (site.versions().await?, site.outside());
        reset(site);
        passes(site).await?;
        if writes(site).is_empty() && (site.versions().await?, site.outside()) == before {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("never settled: {:?}", writes(site));
        }
    }
}

async fn measured(site: &Site) -> Result<()> {
    let versions = site.versions().await?;
    let audited = api_writes(site)?;
    let begun = Instant::now();
    reset(site);
    passes(site).await?;
    // A settled target is left alone for at least four fifths of the poll interval, so time
    // says how many passes there can have been, whatever they sent.
    let most = begun.elapsed().as_millis() / 800 + 1;
    costs(site, most)?;
    assert_eq!(writes(site), BTreeMap::new(), "something was written");
    assert_eq!(site.versions().await?, versions, "an object changed");
    assert_eq!(
        api_writes(site)?,
        audited,
        "the controller wrote to the API"
    );
    Ok(())
}

/// One read of each router and two list calls of each cluster a pass, and nothing else.
fn costs(site: &Site, most: u128) -> Result<()> {
    for (name, router) in &site.routers {
        let counters = router.counters.all();
        let requests = u128::from(router.counters.get("requests"));
        let reads = u128::from(router.counters.get("reads_show_config"));
        assert_eq!(requests, reads, "{name} got more than reads: {counters:?}");
        assert!(reads <= most, "{name}: {reads} reads in {most} passes");
    }
    for (name, cluster) in &site.clusters {
        let journal = cluster.journal();
        let calls: Vec<String> = journal
            .iter()
            .map(|e| format!("{} {}", e.method, e.path))
            .collect();
        let looks = u128::from(seen_passes(site, name)?);
        assert!(looks <= most, "{name}: {looks} lists in {most} passes");
        assert!(
            calls.len() as u128 <= 2 * looks,
            "{name}: {} calls in {looks} passes: {calls:?}",
            calls.len()
        );
        assert!(
            calls.iter().all(|call| call.starts_with("GET ")),
            "{name}: {calls:?}"
        );
    }
    Ok(())
}

fn seen_passes(site: &Site, cluster: &str) -> Result<u64> {
    let journal = site.clusters[cluster].journal();
    let lists = journal
        .iter()
        .filter(|e| e.path.ends_with("/cluster/resources"))
        .count();
    u64::try_from(lists).context("a count")
}

/// Waits until every target was passed over [`PASSES`] times since the counters were reset.
async fn passes(site: &Site) -> Result<()> {
    let until = Instant::now() + BOUND;
    loop {
        let routers = site
            .routers
            .values()
            .map(|r| r.counters.get("reads_show_config"));
        let clusters = site
            .clusters
            .keys()
            .map(|c| seen_passes(site, c).unwrap_or(0));
        if routers.chain(clusters).all(|n| n >= PASSES) {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("fewer than {PASSES} passes within {BOUND:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn reset(site: &Site) {
    for router in site.routers.values() {
        router.counters.reset();
        router.journal.clear_memory();
    }
    for cluster in site.clusters.values() {
        cluster.clear_journal();
    }
}

/// Calls that may change something, by target.
fn writes(site: &Site) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for (name, router) in &site.routers {
        let calls = router.journal.entries().into_iter().filter(|e| {
            ["/configure", "/config-file", "/configure-section"].contains(&e.path.as_str())
        });
        all.insert(
            name.clone(),
            calls.map(|e| format!("{} {}", e.path, e.body)).collect(),
        );
    }
    for (name, cluster) in &site.clusters {
        let calls = cluster.journal().into_iter().filter(|e| e.method != "GET");
        all.insert(
            name.clone(),
            calls
                .map(|e| format!("{} {}", e.method, e.path))
                .collect::<Vec<_>>(),
        );
    }
    all.retain(|_, calls| !calls.is_empty());
    all
}

/// Writes of the controller that the API server's audit log has.
fn api_writes(site: &Site) -> Result<usize> {
    let log = site
        .cluster
        .audit_log()
        .context("the harness keeps an audit log")?;
    let text = std::fs::read_to_string(log)?;
    let mine = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    Ok(mine
        .filter(|e| e["user"]["username"] == "bitbuilder-controller")
        .filter(|e| !["get", "list", "watch"].contains(&e["verb"].as_str().unwrap_or_default()))
        .count())
}
