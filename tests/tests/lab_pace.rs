//! What fifty machines at once cost a cluster, and how close to its slots they are made.

use std::io::Write as _;

use anyhow::{Result, ensure};
use bb_tests::machines::{Machines, Made};
use bb_tests::{Site, SiteOptions};

/// Time is what a machine that does other things as well adds to: the best of so many runs counts.
/// Requests have to be as few in each.
const RUNS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_machines_cost_six_requests_each_and_hardly_more_time_than_their_slots() -> Result<()>
{
    let mut made = run().await?;
    for _ in 1..RUNS {
        if made.by_floor() <= 1.05 {
            break;
        }
        made = run().await?;
    }
    ensure!(made.by_floor() <= 1.05, "{made}");
    Ok(())
}

async fn run() -> Result<Made> {
    // The controller as it is without flags, and a cluster at the pace of a real one.
    let site = Site::start(SiteOptions {
        time_scale: 1.0,
        flags: Vec::new(),
        ..SiteOptions::default()
    })
    .await?;
    let machines = Machines {
        tenants: 1,
        each: 50,
        clones: 10,
        takes: [8.0, 1.0, 3.0],
    };
    machines.prepare(&site).await?;
    let made = machines.make(&site).await?;
    write!(std::io::stderr(), "{made}")?;
    ensure!(made.requests_each() <= 6.0, "{made}");
    site.stop().await?;
    Ok(made)
}
