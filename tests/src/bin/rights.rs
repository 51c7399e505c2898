//! Turns what controllers asked of the API in all tests into a verdict on the chart's roles.
//!
//! usage: bb-rights [whole]     `whole`: every test was run, so what nobody asked for is too much
//!
//! Reads `target/audit`, which `scripts/test.sh` empties before. Ends with 1 where a request was
//! refused, or something is granted that nobody asked for.

use std::process::ExitCode;

use anyhow::Result;
use bb_lab_harness::chart;
use bb_tests::rights::{folder, granted, seen, unused};
use bb_tests::site::documents;

#[allow(clippy::print_stdout, reason = "the verdict is its output")]
fn main() -> Result<ExitCode> {
    let whole = std::env::args().nth(1).is_some_and(|word| word == "whole");
    if !folder().is_dir() {
        println!("rights: no test kept what its controller asked for");
        return Ok(ExitCode::SUCCESS);
    }
    let (files, asked) = seen(&folder())?;
    let granted = granted(&documents(&chart::render(&[])?)?)?;
    for refused in &asked.refused {
        println!("refused: {refused}");
    }
    let idle = if whole {
        unused(&granted, &asked)
    } else {
        Vec::new()
    };
    for idle in &idle {
        println!("granted, and nobody asked for it: {idle}");
    }
    println!(
        "rights: {files} labs, {} requests in {} forms, {} refused, {} more in the {} times that an API server was coming up, {} too late; {} rights granted, {} not used",
        asked.for_.values().sum::<u64>(),
        asked.for_.len(),
        asked.refused.len(),
        asked.early,
        asked.comings,
        asked.late,
        granted.len(),
        if whole {
            idle.len().to_string()
        } else {
            "?".to_owned()
        },
    );
    let well = asked.refused.is_empty() && idle.is_empty();
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
