//! Turns scenarios with thousands of objects into tables of figures; fails when a goal is missed.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bb_lab_harness::paths;
use bb_tests::{figures, scale};

fn say(words: impl Display) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{words}").context("cannot write")
}

/// Writes a scenario's table to the page, where that is asked for.
fn keep(name: &str, table: &str) -> Result<()> {
    if std::env::var("SCALE_RECORD").is_ok_and(|v| v == "1") {
        let path = paths::root().join("docs/figures.md");
        let page = std::fs::read_to_string(&path).context("cannot read docs/figures.md")?;
        let table = format!(
            "Measured on a machine with {}.\n\n{table}",
            figures::this_machine()
        );
        let new = figures::replaced(&page, &format!("scale: {name}"), &table)?;
        std::fs::write(&path, new).context("cannot write docs/figures.md")?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    std::fs::create_dir_all(paths::scratch()?)?;
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let all = || scale::SCENARIOS.iter().map(|s| (*s).to_owned()).collect();
    let names = if asked.is_empty() { all() } else { asked };
    let mut missed = Vec::new();
    for (at, name) in names.iter().enumerate() {
        say(format!("{} of {}: {name}", at + 1, names.len()))?;
        let began = Instant::now();
        // One scenario that comes to nothing holds up no other.
        match scale::run(name).await {
            Ok(rows) => {
                let table = scale::table(&rows);
                say(format!(
                    "\n{table}\n{name}: {} s",
                    began.elapsed().as_secs()
                ))?;
                keep(name, &table)?;
                missed.extend(rows.iter().filter_map(scale::Row::missed));
            }
            Err(error) => missed.push(format!("{name} came to no figures: {error:#}")),
        }
    }
    for words in &missed {
        say(format!("missed: {words}"))?;
    }
    if missed.is_empty() {
        say("every goal is met")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
