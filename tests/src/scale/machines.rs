//! Turns fifty and three hundred machines, asked for at once, into requests and times beside their goals.

use std::io::Write as _;

use anyhow::Result;

use super::Row;
use crate::machines::{Machines, Made};
use crate::{Site, SiteOptions};

/// Seconds that a clone, a growth and a start take.
const TAKES: [f64; 3] = [8.0, 1.0, 3.0];
/// Clones at once.
const CLONES: usize = 10;
/// Tenants, and machines of each.
const SIZES: [(usize, usize); 2] = [(1, 50), (10, 30)];

/// Makes them, each number at a site of its own.
///
/// # Errors
/// When a site does not start, or the machines do not become Ready.
pub async fn run() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut fewer = None;
    for (tenants, each) in SIZES {
        let made = make(tenants, each).await?;
        write!(std::io::stdout().lock(), "{made}")?;
        rows.extend(figures(&made, tenants, each, fewer));
        fewer = Some(made.requests_each());
    }
    Ok(rows)
}

async fn make(tenants: usize, each: usize) -> Result<Made> {
    let site = Site::start(SiteOptions {
        time_scale: 1.0,
        flags: Vec::new(),
        ..SiteOptions::default()
    })
    .await?;
    let machines = Machines {
        tenants,
        each,
        clones: CLONES,
        takes: TAKES,
    };
    machines.prepare(&site).await?;
    let made = machines.make(&site).await?;
    site.stop().await?;
    Ok(made)
}

/// `fewer` is what a machine costs where there are fewer of them.
fn figures(made: &Made, tenants: usize, each: usize, fewer: Option<f64>) -> Vec<Row> {
    let count = tenants * each;
    let named = |what: &str| format!("{what}, {count} machines");
    let floor = made.floor().as_secs_f64();
    let most = fewer.unwrap_or(6.0).min(6.0);
    let mut rows = vec![
        Row::at_most(
            named("requests"),
            made.requests_each() * count as f64,
            most * count as f64,
            "requests",
            format!(
                "all that the cluster was asked from the first apply until the last was seen Ready; \
                 {most:.2} a machine is the goal"
            ),
        ),
        Row::at_most(
            named("all Ready"),
            made.wall.as_secs_f64(),
            1.05 * floor,
            "s",
            format!(
                "the floor is {floor:.0} s: waves of clones, then one growth and one start; \
                 nothing else. 1.05 of it is the goal"
            ),
        ),
        Row::varies(
            named("slot idle between clones"),
            made.idle().1.as_secs_f64() * 1000.0,
            "ms",
            "the mean, by the stand-in's own times",
        ),
        Row::varies(
            named("timers late"),
            made.late.as_secs_f64() * 1000.0,
            "ms",
            "in all: how busy the machine was with something else",
        ),
    ];
    if tenants > 1 {
        rows.push(Row::at_most(
            format!("slowest of {tenants} tenants by their mean"),
            100.0 * made.slowest_by_mean(),
            120.0,
            "%",
            "from the first apply until all machines of a tenant were seen Ready",
        ));
    }
    rows
}
