//! Turns the name of a scenario with thousands of objects into rows of figures beside their goals.
//!
//! A scenario is a module with `pub async fn run() -> Result<Vec<Row>>` and a line in
//! [`SCENARIOS`] and in [`run`]. `make scale` runs all of them one after the other.

use anyhow::{Result, bail};

use crate::figures::number;

pub mod audit;
pub mod machines;
pub mod networks;
pub mod noisy;
pub mod population;
pub mod process;
mod seeded;
pub mod settled;
pub mod thirty;
mod volumes;

/// Every scenario, in the order in which they run.
pub const SCENARIOS: &[&str] = &["settled", "thirty", "networks", "noisy", "machines"];

/// Runs one scenario.
///
/// # Errors
/// When there is none of that name, or it comes to no figures.
pub async fn run(name: &str) -> Result<Vec<Row>> {
    match name {
        "settled" => settled::run().await,
        "thirty" => thirty::run().await,
        "networks" => networks::run().await,
        "noisy" => noisy::run().await,
        "machines" => machines::run().await,
        other => bail!(
            "there is no scenario {other}; there are: {}",
            SCENARIOS.join(", ")
        ),
    }
}

/// A figure of a scenario, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What is measured, and at how many objects.
    pub name: String,
    /// What came out.
    pub value: f64,
    /// What the value counts, in the plural.
    pub unit: &'static str,
    /// What it may be at most; `None` where it depends on the machine or on chance.
    pub goal: Option<f64>,
    /// How it is measured, for a cell of a table.
    pub how: String,
}

impl Row {
    /// A figure with a goal.
    pub fn at_most(
        name: impl Into<String>,
        value: f64,
        goal: f64,
        unit: &'static str,
        how: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            goal: Some(goal),
            how: how.into(),
        }
    }

    /// A figure without a goal, since it depends on the machine or on chance.
    pub fn varies(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        how: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            goal: None,
            how: how.into(),
        }
    }

    /// Why the goal is missed, in words.
    #[must_use]
    pub fn missed(&self) -> Option<String> {
        let goal = self.goal?;
        // What is not a number meets no goal.
        let met = self.value <= goal;
        (!met).then(|| {
            format!(
                "{} is {}, its goal is at most {}",
                self.name,
                number(self.value),
                number(goal)
            )
        })
    }
}

/// The rows as a table of a page.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = "| figure | value | goal | how it is measured |\n|---|---|---|---|\n".to_owned();
    for row in rows {
        let goal = match (row.goal, row.missed()) {
            (None, _) => "none".to_owned(),
            (Some(goal), None) => format!("at most {}", number(goal)),
            (Some(goal), Some(_)) => format!("at most {}, **missed**", number(goal)),
        };
        text.push_str(&format!(
            "| `{}` | {} {} | {goal} | {} |\n",
            row.name,
            number(row.value),
            row.unit,
            row.how
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_above_its_goal_is_told_and_one_without_a_goal_never() {
        let rows = [
            Row::at_most("calls_at_10", 2.0, 2.0, "calls", "counted"),
            Row::at_most("calls_at_1000", 3.0, 2.0, "calls", "counted"),
            Row::at_most("ratio", f64::NAN, 1.3, "times", "divided"),
            Row::varies("cpu", 99.0, "ms", "read"),
        ];
        let missed: Vec<String> = rows.iter().filter_map(Row::missed).collect();
        assert_eq!(missed.len(), 2, "{missed:?}");
        assert_eq!(missed[0], "calls_at_1000 is 3, its goal is at most 2");
        assert!(table(&rows).contains("| `cpu` | 99 ms | none | read |"));
        assert!(table(&rows).contains("at most 2, **missed**"));
    }

    #[tokio::test]
    async fn a_scenario_that_is_not_there_is_named_with_those_that_are() {
        let error = run("nothing").await.unwrap_err().to_string();
        assert!(SCENARIOS.iter().all(|s| error.contains(s)), "{error}");
    }
}
