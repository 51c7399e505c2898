//! Turns an older controller and a number of objects into a verdict on the way to this tree's and back.
//!
//! usage: bb-upgrade FOLDER OBJECTS     `FOLDER` as `scripts/upgrade.sh --build` leaves it
//!
//! Ends with 1 where anything was written to a router or a cluster, an object is not what it was, or
//! the API forbade something.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bb_lab_harness::paths;
use bb_tests::upgrade::{Report, Version, run};
use clap::Parser;

/// Compares the way from an older controller to this tree's with what it should be.
#[derive(Parser)]
struct Line {
    /// The folder with the older controller and its chart.
    folder: PathBuf,
    /// How many objects are settled at least.
    objects: usize,
}

#[allow(clippy::print_stdout, reason = "the verdict is its output")]
#[tokio::main]
async fn main() -> Result<ExitCode> {
    let line = Line::parse();
    let scratch = paths::scratch()?;
    std::fs::create_dir_all(&scratch).context("cannot make the folder for labs")?;
    let (older, newer) = (Version::older(&line.folder)?, Version::own()?);
    let mut say = |words: &str| println!("{words}");
    let report = run(&older, &newer, line.objects, &mut say).await?;
    print(&report);
    Ok(if report.faults().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[allow(clippy::print_stdout, reason = "the verdict is its output")]
fn print(report: &Report) {
    let kinds: Vec<String> = report
        .objects
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    println!(
        "\n{} objects: {}",
        report.objects.values().sum::<usize>(),
        kinds.join(", ")
    );
    println!(
        "| step | s | writes to routers and clusters | writes to the API |\n|---|---|---|---|"
    );
    for step in &report.steps {
        let written = step.written();
        let words: Vec<String> = written
            .iter()
            .map(|(what, n)| format!("{n} {what}"))
            .collect();
        println!(
            "| {} | {} | {} | {} {} |",
            step.name,
            step.took.as_secs(),
            step.outside,
            written.values().sum::<usize>(),
            words.join(", ")
        );
    }
    let faults = report.faults();
    for fault in faults.iter().take(20) {
        println!("not as it should be: {fault}");
    }
    if faults.is_empty() {
        println!("upgrade and rollback changed nothing at routers and clusters, and no object");
    } else {
        println!("{} things are not as they should be", faults.len());
    }
}
