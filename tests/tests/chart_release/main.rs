//! The chart, rendered by helm: what it makes, what it refuses, and what the API says to that.

mod alerts;
mod policies;
mod render;
mod schema;
mod values;
mod versions;

use anyhow::{Result, ensure};
use bb_lab_harness::chart;
use bb_tests::site::documents;
use serde_json::Value;

/// Ways to install the chart: each is a file of values in `values/`.
const SETS: [&str; 5] = ["defaults", "small", "watched", "closed", "shared"];

/// The text that the chart becomes with a set of values, and more flags.
fn text(set: &str, more: &[&str]) -> Result<String> {
    let here = env!("CARGO_MANIFEST_DIR");
    let file = format!("{here}/tests/chart_release/values/{set}.yaml");
    let mut args = vec!["--values", &file];
    args.extend(more);
    chart::render(&args)
}

/// The objects that the chart becomes with a set of values.
fn objects(set: &str) -> Result<Vec<Value>> {
    let all = documents(&text(set, &[])?)?;
    ensure!(all.len() > 5, "only {} objects", all.len());
    Ok(all)
}
