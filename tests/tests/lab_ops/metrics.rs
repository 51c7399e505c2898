//! Each metric of how well the controller does, when its cause is there.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bb_lab_kit::faults::{Action, Fault};
use bb_lab_proxy::Fits;
use bb_tests::{Site, SiteOptions};
use serde_json::json;

use crate::{BOUND, free_address, machine, run, scrape, tenant, value};

/// Waits until a series is above a value.
async fn until(address: &str, series: &str, above: f64) -> Result<()> {
    let until = Instant::now() + BOUND;
    loop {
        let text = scrape(address).await.unwrap_or_default();
        if value(&text, series) > above {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "{series} is not above {above}: {text}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn answer(status: u16) -> Action {
    Action::Status {
        status,
        reason: None,
        body: "no".to_owned(),
        headers: Vec::new(),
    }
}

/// Fails a router's answers in each way in turn.
async fn failures(site: &Site, address: &str) -> Result<()> {
    let ways = [
        ("no_answer", Action::CloseBefore),
        ("denied", answer(401)),
        ("busy", answer(503)),
        ("refused", answer(500)),
    ];
    for (why, action) in ways {
        let faults = &site.routers["r2"].faults;
        faults.add(Fault::new(action).times(0));
        let series = format!("bitbuilder_request_failures_total{{provider=\"r2\",why=\"{why}\"}}");
        let found = until(address, &series, 0.0).await;
        faults.clear();
        found?;
        // A change of its Provider ends the pause.
        let window = json!({"spec": {"deleteGuard": {"window": format!("{}m", 11 + why.len())}}});
        let providers = site.ours("Provider", None);
        let params = kube::api::PatchParams::default();
        let patch = kube::api::Patch::Merge(window);
        providers.patch("r2", &params, &patch).await?;
    }
    Ok(())
}

/// One place, and routers that take their time: some wait, one is worked on.
async fn queue(site: &Site, address: &str) -> Result<()> {
    for router in site.routers.values() {
        router
            .faults
            .add(Fault::new(Action::Delay { ms: 1500 }).times(0));
    }
    let found = async {
        for series in [
            "bitbuilder_targets_waiting",
            "bitbuilder_longest_wait_seconds",
            "bitbuilder_targets_working",
        ] {
            until(address, series, 0.0).await?;
        }
        Ok(())
    };
    let found: Result<()> = found.await;
    for router in site.routers.values() {
        router.faults.clear();
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_metric_of_its_own_work_is_told_when_its_cause_is_there() -> Result<()> {
    let options = SiteOptions {
        controller: false,
        proxied: true,
        ..SiteOptions::default()
    };
    let site = Site::start(options).await?;
    let address = free_address()?;
    let flags = [
        "--poll",
        "1",
        "--concurrency",
        "1",
        "--metrics",
        address.as_str(),
    ];
    run(&site, "one", &flags, &[]).await?;
    tenant(&site).await?;
    machine(&site, "www").await?;
    for series in [
        "bitbuilder_build_info{version=\"",
        "bitbuilder_pass_duration_seconds_count{over=\"objects\"}",
        "bitbuilder_pass_duration_seconds_count{over=\"router\"}",
        "bitbuilder_pass_duration_seconds_count{over=\"cluster\"}",
        "bitbuilder_object_passes_total{result=\"done\"}",
        "bitbuilder_wait_duration_seconds_count",
        "bitbuilder_api_requests_total{verb=\"patch\",resource=\"instances/status\",code=\"200\"}",
        "bitbuilder_api_request_duration_seconds_count{verb=\"patch\"}",
        "bitbuilder_request_duration_seconds_count{over=\"router\",access=\"read\"}",
        "bitbuilder_request_duration_seconds_count{over=\"router\",access=\"write\"}",
        "bitbuilder_request_duration_seconds_count{over=\"cluster\",access=\"read\"}",
        "bitbuilder_request_duration_seconds_count{over=\"cluster\",access=\"write\"}",
        "bitbuilder_lists_total",
    ] {
        until(&address, series, 0.0).await?;
    }
    failures(&site, &address).await?;
    queue(&site, &address).await?;
    // Watches that break, and what was never one.
    site.proxies["api"].cut(&Fits::watches());
    until(&address, "bitbuilder_broken_watches_total", 0.0).await?;
    site.all_ready(BOUND).await?;
    // How many series there are does not grow with what tenants make.
    let before = scrape(&address).await?.lines().count();
    for name in ["www-1", "www-2", "www-3"] {
        machine(&site, name).await?;
    }
    let after = scrape(&address).await?.lines().count();
    ensure!(after <= before + 20, "{before} lines became {after}");
    site.stop().await
}
