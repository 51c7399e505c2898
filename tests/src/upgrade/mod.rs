//! Turns an older controller with its chart, and this tree's, into what routers, clusters and the
//! API see of the way from one to the other and back.
//!
//! Helm installs, upgrades and rolls back the charts on a real API server. The controllers are
//! processes with the rights of the chart's account, and hand over to each other as pods do: the
//! next one waits with full caches before the last one is asked to end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::{chart, paths};
use serde_json::Value;

use crate::scale::audit::Requests;
use crate::{Site, SiteOptions};

mod population;
mod stage;

use stage::Stage;

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(900);

/// A controller, and the chart that belongs to it.
#[derive(Clone, Debug)]
pub struct Version {
    /// What it is called in words.
    pub name: &'static str,
    /// Its program.
    pub controller: PathBuf,
    /// The folder of its chart.
    pub chart: PathBuf,
}

impl Version {
    /// What `scripts/upgrade.sh --build` has put into a folder.
    ///
    /// # Errors
    /// When it is not there, with the command that builds it.
    pub fn older(folder: &Path) -> Result<Self> {
        ensure!(
            folder.join("done").is_file(),
            "{} is not built: run scripts/upgrade.sh --build (a minute or two)",
            folder.display()
        );
        Ok(Self {
            name: "the older one",
            controller: folder.join("bb-controller"),
            chart: folder.join("chart"),
        })
    }

    /// That of this tree.
    ///
    /// # Errors
    /// When its program is not built.
    pub fn own() -> Result<Self> {
        Ok(Self {
            name: "this tree's",
            controller: paths::binary("bb-controller")?,
            chart: chart::dir(),
        })
    }
}

/// What the script says about the older commit, or why there is none: `--path` or `--commit`.
///
/// # Errors
/// When the script cannot be run.
pub fn told(flag: &str) -> Result<Result<String, String>> {
    let output = Command::new(paths::root().join("scripts/upgrade.sh"))
        .arg(flag)
        .output()
        .context("cannot run scripts/upgrade.sh")?;
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() {
        Ok(words(&output.stdout))
    } else {
        Err(words(&output.stderr))
    })
}

/// What was seen of one way from a version to another.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was done.
    pub name: &'static str,
    /// Until all was steady.
    pub took: Duration,
    /// Requests to routers and clusters that change something.
    pub outside: usize,
    /// What the controllers asked of the API.
    pub requests: Requests,
}

impl Step {
    /// Writes to the API, those that keep the Lease left out.
    #[must_use]
    pub fn written(&self) -> BTreeMap<&str, usize> {
        let mut all = BTreeMap::new();
        for ((resource, _), count) in &self.requests.writes {
            if resource != "leases" {
                *all.entry(resource.as_str()).or_default() += count;
            }
        }
        all
    }

    /// What should not have been, in words.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.outside > 0 {
            all.push(format!(
                "{}: {} requests that change something at routers and clusters",
                self.name, self.outside
            ));
        }
        if self.requests.forbidden > 0 {
            all.push(format!(
                "{}: the API forbade {} requests",
                self.name, self.requests.forbidden
            ));
        }
        all
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many objects of each kind there were.
    pub objects: BTreeMap<String, usize>,
    /// Until all were Ready under the older controller.
    pub settled: Duration,
    /// Upgrade, rollback, and upgrade once more.
    pub steps: Vec<Step>,
    /// Fields that are not as they were, by object.
    pub changed: Vec<String>,
}

impl Report {
    /// What should not have been, in words; empty where all is well.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let steps = self.steps.iter().flat_map(Step::faults);
        steps.chain(self.changed.iter().cloned()).collect()
    }
}

/// Settles so many objects with the older version, upgrades, rolls back and upgrades again. `say` is
/// told how far it is.
///
/// # Errors
/// When something does not come to rest.
pub async fn run(
    older: &Version,
    newer: &Version,
    total: usize,
    say: &mut dyn FnMut(&str),
) -> Result<Report> {
    let site = Site::start(SiteOptions {
        controller: false,
        chart: Some(older.chart.clone()),
        ..SiteOptions::default()
    })
    .await?;
    let mut stage = Stage::of(site)?;
    stage.hand_over(older).await?;
    let began = Instant::now();
    population::make(&stage, total, BOUND).await?;
    let settled = began.elapsed();
    stage.steady().await?;
    let before = stage.objects().await?;
    let outside = stage.site.outside();
    let counts = counts(&before);
    say(&format!(
        "{} objects are settled by {} after {} s",
        before.len(),
        older.name,
        settled.as_secs()
    ));
    let mut report = Report {
        objects: counts,
        settled,
        steps: Vec::new(),
        changed: Vec::new(),
    };
    for (name, to) in [
        ("upgrade", newer),
        ("rollback", older),
        ("upgrade once more", newer),
    ] {
        let step = stage.step(name, to).await?;
        say(&format!("{name} to {}: {} s", to.name, step.took.as_secs()));
        report.steps.push(step);
        let now = stage.objects().await?;
        let changed = population::differences(&before, &now);
        report
            .changed
            .extend(changed.into_iter().map(|words| format!("{name}: {words}")));
    }
    if stage.site.outside() != outside {
        report
            .changed
            .push("what routers and clusters hold is not what it was".to_owned());
    }
    stage.end().await?;
    Ok(report)
}

fn counts(objects: &BTreeMap<String, Value>) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for name in objects.keys() {
        let kind = name.split(' ').next().unwrap_or_default();
        *all.entry(kind.to_owned()).or_default() += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_outside_and_refusals_are_faults_and_writes_to_the_api_are_told() {
        let mut requests = Requests::default();
        let mut wrote = |resource: &str, count| {
            let object = (resource.to_owned(), "a/b".to_owned());
            requests.writes.insert(object, count);
        };
        wrote("leases", 9);
        wrote("instances/status", 2);
        let mut step = Step {
            name: "upgrade",
            took: Duration::ZERO,
            outside: 0,
            requests,
        };
        assert_eq!(step.written(), [("instances/status", 2)].into());
        assert_eq!(step.faults(), Vec::<String>::new());
        step.outside = 3;
        step.requests.forbidden = 1;
        let words = step.faults().join("; ");
        assert!(
            words.contains("3 requests") && words.contains("forbade 1"),
            "{words}"
        );
    }
}
