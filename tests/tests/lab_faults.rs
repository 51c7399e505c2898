//! What goes wrong at a router or on the way is put right without a person.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bb_lab_kit::faults::{Action, Fault};
use bb_tests::{Site, SiteOptions};
use serde_json::Value;

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

/// What a router would start from.
async fn saved(site: &Site, router: &str) -> Result<Value> {
    let url = format!("{}/saved", site.routers[router].control);
    Ok(reqwest::get(url).await?.json().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_that_failed_is_made_up_for() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let refusal = Action::Status {
        status: 500,
        reason: None,
        body: "the disk is full".to_owned(),
        headers: Vec::new(),
    };
    let fault = Fault::new(refusal).path("/config-file").times(0);
    site.routers["r1"].faults.add(fault);
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    assert!(!saved(&site, "r1").await?.to_string().contains("bb1000"));
    site.routers["r1"].faults.clear();
    let until = Instant::now() + BOUND;
    while !saved(&site, "r1").await?.to_string().contains("bb1000") {
        if Instant::now() > until {
            bail!("what runs on r1 was never saved");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    site.stop().await
}
