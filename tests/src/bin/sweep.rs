//! Turns the crash points of a tenant's life into a verdict; fails when anything is otherwise
//! than without a crash.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bb_lab_harness::paths;
use bb_tests::sweep::{Options, sweep};
use clap::Parser;

/// Kills the controller around every call that it makes in a tenant's life.
#[derive(Parser)]
struct Line {
    /// How many tenants live at once, each in a management cluster of its own.
    #[arg(long, env = "SWEEP_LABS", default_value_t = 4)]
    labs: usize,
    /// One part of so many, as `0/3`.
    #[arg(long, env = "SWEEP_PART", default_value = "0/1")]
    part: String,
    /// One point, as a report prints it.
    #[arg(long, env = "SWEEP_POINT")]
    point: Option<String>,
}

fn main() -> Result<ExitCode> {
    let line = Line::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("bb_tests=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let (part, of) = line.part.split_once('/').context("a part is K/N")?;
    let only = line.point.map(|point| point.parse()).transpose()?;
    let options = Options {
        labs: if only.is_some() { 1 } else { line.labs },
        part: (part.parse()?, of.parse()?),
        only: only.into_iter().collect(),
        dir: paths::root().join("target/sweep"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let report = runtime.block_on(sweep(options))?;
    write!(std::io::stdout(), "{report}")?;
    Ok(if report.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
