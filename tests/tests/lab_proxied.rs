//! A whole site whose controller reaches everything through proxies works as one without.

use std::time::Duration;

use anyhow::Result;
use bb_lab_proxy::Fits;
use bb_tests::{Site, SiteOptions};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_controller_sends_can_go_through_proxies() -> Result<()> {
    let options = SiteOptions {
        proxied: true,
        ..SiteOptions::default()
    };
    let site = Site::start(options).await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    for name in ["api", "r1", "r2", "c1", "c2"] {
        let calls = site.proxies[name].calls();
        assert!(!calls.is_empty(), "{name} was reached by another way");
    }
    assert_eq!(site.proxies["r1"].most_at_once(), 1);
    // A watch that broke off is opened again, and nothing that happened meanwhile is missed.
    assert!(site.proxies["api"].cut(&Fits::watches()) >= 7);
    site.delete("Tenant", None, "acme", BOUND).await?;
    site.stop().await
}
