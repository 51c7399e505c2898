//! The whole road: manifests become router configuration and running guests, and back to nothing.

use std::time::Duration;

use anyhow::Result;
use bb_tests::{Site, SiteOptions};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn the_example_tenant_lives_and_leaves_nothing_behind() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let before = site.outside();
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    site.delete("Tenant", None, "acme", BOUND).await?;
    assert_eq!(site.outside(), before);
    site.stop().await
}
