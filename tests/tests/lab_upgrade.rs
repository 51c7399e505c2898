//! Turns the commit before this one and this tree into what an upgrade and a rollback cost.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use bb_tests::upgrade::{Version, run, told};

/// How many objects there are at least; `make upgrade` has a thousand.
const OBJECTS: usize = 250;

#[tokio::test(flavor = "multi_thread")]
#[allow(
    clippy::print_stdout,
    reason = "scripts/levels.py counts tests that had nothing to look at"
)]
async fn upgrade_and_rollback_write_to_no_router_and_no_cluster_and_lose_no_field() -> Result<()> {
    let older = match told("--path")? {
        Ok(folder) => Version::older(&PathBuf::from(folder)),
        Err(reason) => Err(anyhow::anyhow!(reason)),
    };
    let older = match older {
        Ok(older) => older,
        Err(reason) => {
            println!("skipped: {reason:#}");
            return Ok(());
        }
    };
    let mut say = |words: &str| println!("{words}");
    let report = run(&older, &Version::own()?, OBJECTS, &mut say).await?;
    let faults = report.faults();
    ensure!(faults.is_empty(), "{faults:#?}");
    let total: usize = report.objects.values().sum();
    ensure!(
        total >= OBJECTS,
        "only {total} objects: {:?}",
        report.objects
    );
    ensure!(
        report.objects.len() == 6,
        "not of all kinds: {:?}",
        report.objects
    );
    ensure!(report.steps.len() == 3, "{:?}", report.steps);
    for step in &report.steps {
        println!("{}: written to the API: {:?}", step.name, step.written());
    }
    Ok(())
}
