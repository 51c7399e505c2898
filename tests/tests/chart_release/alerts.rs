//! Turns what goes wrong in a lab into alerts, as Prometheus judges them, and the names in alerts,
//! dashboard and pages into a comparison with what the controller tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bb_controller::Args;
use bb_lab_harness::{chart, paths};
use bb_lab_kit::faults::{Action, Fault};
use bb_lab_vyos::{Edit, Outcome};
use bb_tests::{Site, SiteOptions};
use clap::Parser as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::objects;

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);
/// What every name of ours begins with.
const PREFIX: &str = "bitbuilder_";

/// What was read of `/metrics` of one process, and the second at which it is said to have been.
#[derive(Clone, Debug, Serialize)]
struct Scrape {
    at: u32,
    instance: &'static str,
    text: String,
}

/// The rules that the chart makes, as Prometheus reads them.
fn rules() -> Result<Value> {
    let all = objects("watched")?;
    let rule = all.iter().find(|o| o["kind"] == "PrometheusRule");
    Ok(rule.context("a PrometheusRule")?["spec"].clone())
}

/// The expressions of the dashboard.
fn queries() -> Result<Vec<String>> {
    let text = fs::read_to_string(chart::dir().join("files/dashboard.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let all = targets.flatten().filter_map(|t| t["expr"].as_str());
    Ok(all.map(str::to_owned).collect())
}

/// Which alerts fire at a second, and for what, after these scrapes.
fn judged(scrapes: &[Scrape], until: u32) -> Result<BTreeMap<String, Vec<String>>> {
    let asked = json!({
        "rules": rules()?.to_string(), "queries": queries()?,
        "scrapes": scrapes, "until": until,
    });
    let mut judge = Command::new(paths::alerts_binary()?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = judge.stdin.take().context("stdin is a pipe")?;
    input.write_all(asked.to_string().as_bytes())?;
    drop(input);
    let output = judge.wait_with_output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words}");
    let mut fires: BTreeMap<String, Vec<String>> = serde_json::from_slice(&output.stdout)?;
    fires.retain(|_, labels| !labels.is_empty());
    Ok(fires)
}

fn free_address() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

/// A lab whose controller is read; what is read is said to be so many minutes apart.
struct Watched {
    site: Site,
    address: String,
}

impl Watched {
    async fn start() -> Result<Self> {
        let address = free_address()?;
        let mut flags = vec!["--active-poll", "100", "--backoff", "200", "--poll", "1"];
        flags.extend(["--metrics", &address]);
        let site = Site::start(SiteOptions {
            flags: flags.into_iter().map(str::to_owned).collect(),
            ..SiteOptions::default()
        })
        .await?;
        Ok(Self { site, address })
    }

    async fn scrape(&self, at: u32) -> Result<Scrape> {
        scrape(&self.address, "one", at).await
    }

    /// Waits until a line of the metrics has a value above one, and gives what was read.
    async fn until(&self, at: u32, series: &str, above: u64) -> Result<Scrape> {
        self.reached(at, series, |value| value > above).await
    }

    /// Waits until a line of the metrics has no value above one, and gives what was read.
    async fn down_to(&self, at: u32, series: &str, most: u64) -> Result<Scrape> {
        self.reached(at, series, |value| value <= most).await
    }

    async fn reached(&self, at: u32, series: &str, enough: impl Fn(u64) -> bool) -> Result<Scrape> {
        let until = Instant::now() + BOUND;
        loop {
            let scrape = self.scrape(at).await?;
            if value(&scrape.text, series).is_some_and(&enough) {
                return Ok(scrape);
            }
            if Instant::now() > until {
                bail!("{series} is not as it should be: {}", scrape.text);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn scrape(address: &str, instance: &'static str, at: u32) -> Result<Scrape> {
    let text = reqwest::get(format!("http://{address}/metrics")).await?;
    let text = text.text().await?;
    Ok(Scrape { at, instance, text })
}

/// The value of a series, by its name and labels.
fn value(text: &str, series: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Fails unless just these alerts fire, for something with these words.
fn just(fires: &BTreeMap<String, Vec<String>>, wanted: &[(&str, &str)]) -> Result<()> {
    let named: Vec<&str> = fires.keys().map(String::as_str).collect();
    let mut expected: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    ensure!(named == expected, "{fires:?} fire, not {expected:?}");
    for (name, labels) in wanted {
        let all = &fires[*name];
        ensure!(
            all.iter().all(|found| found.contains(labels)),
            "{name}: {all:?}"
        );
    }
    Ok(())
}

/// A second controller that does not know of the first.
async fn two_lead(watched: &Watched, first: &Scrape) -> Result<()> {
    let address = free_address()?;
    let kubeconfig = watched.site.controller_kubeconfig()?.display().to_string();
    let line = [
        "bb-controller",
        "--kubeconfig",
        &kubeconfig,
        "--metrics",
        &address,
    ];
    let stop = CancellationToken::new();
    let second = tokio::spawn(bb_controller::run(
        Args::try_parse_from(line)?,
        stop.clone(),
    ));
    let until = Instant::now() + BOUND;
    let second_leads = loop {
        match scrape(&address, "two", 0).await {
            Ok(scrape) if value(&scrape.text, "bitbuilder_leader") == Some(1) => break scrape,
            _ => ensure!(Instant::now() < until, "the second does not begin"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    stop.cancel();
    second.await??;
    let fires = judged(&[first.clone(), second_leads], 600)?;
    just(&fires, &[("BitbuilderTwoLeaders", "{}")])
}

/// A router that refuses us.
async fn a_provider_fails(watched: &Watched, well: &Scrape) -> Result<()> {
    let refusal = Action::Status {
        status: 401,
        reason: None,
        body: "no such key".to_owned(),
        headers: Vec::new(),
    };
    let faults = &watched.site.routers["r2"].faults;
    faults.add(Fault::new(refusal).times(0));
    let failed = "bitbuilder_passes_total{provider=\"r2\",result=\"failed\"}";
    let ill = "bitbuilder_objects{kind=\"Provider\",ready=\"False\"}";
    let mut all = vec![well.clone()];
    let mut so_far = 0;
    // It fails for as long as we look, with nothing done in between.
    for at in [30, 930] {
        let seen = watched.until(at, failed, so_far).await?;
        so_far = value(&seen.text, failed).unwrap_or_default();
        all.push(seen);
    }
    all.push(watched.until(960, ill, 0).await?);
    faults.clear();
    // A change of its Provider ends the pause.
    let change = json!({"spec": {"deleteGuard": {"window": "11m"}}});
    let providers = watched.site.ours("Provider", None);
    providers
        .patch("r2", &PatchParams::default(), &Patch::Merge(change))
        .await?;
    // At first nobody is called: it may go by.
    just(&judged(&all[..2], 630)?, &[])?;
    just(&judged(&all, 1350)?, &[("BitbuilderProviderFails", "r2")])?;
    let fires = judged(&all, 3000)?;
    ensure!(fires.contains_key("BitbuilderObjectsNotReady"), "{fires:?}");
    watched.site.all_ready(BOUND).await
}

/// Somebody who sets the same line of ours again and again.
async fn drift_repeats(watched: &Watched) -> Result<()> {
    let mut scrapes = Vec::new();
    let series = "bitbuilder_drift_total{kind=\"Tenant\",provider=\"r1\"}";
    for time in 0..7 {
        let edit = format!("vrf name bb1000 protocols bgp neighbor 192.0.2.{time} remote-as 65007");
        let done = watched.site.routers["r1"].type_in(&[Edit::set(&edit)]);
        ensure!(matches!(done, Outcome::Done(_)), "{done:?}");
        let seen = watched
            .until(u32::try_from(time)? * 300, series, time)
            .await?;
        scrapes.push(seen);
    }
    just(&judged(&scrapes[..3], 900)?, &[])?;
    just(
        &judged(&scrapes, 1860)?,
        &[("BitbuilderDriftRepeats", "r1")],
    )
}

/// A guest that was to stay when its object went.
async fn an_orphan_is_left(watched: &Watched, well: &Scrape) -> Result<()> {
    let instances = watched.site.ours("Instance", Some("acme"));
    let orphan = json!({"spec": {"deletionPolicy": "Orphan"}});
    let params = PatchParams::default();
    instances
        .patch("www-2", &params, &Patch::Merge(orphan))
        .await?;
    instances.delete("www-2", &DeleteParams::default()).await?;
    let series = "bitbuilder_orphans{provider=\"c2\"}";
    watched.until(300, series, 0).await?;
    // The pass that let go of the object counts it until it has ended.
    let not = |ready: &str| format!("bitbuilder_objects{{kind=\"Instance\",ready=\"{ready}\"}}");
    watched.down_to(300, &not("False"), 0).await?;
    let left = watched.down_to(300, &not("Unknown"), 0).await?;
    let all = [well.clone(), left];
    just(&judged(&all, 1800)?, &[])?;
    just(&judged(&all, 4200)?, &[("BitbuilderOrphans", "c2")])
}

/// One delete more than the guard lets pass.
async fn deletes_are_held(watched: &Watched, well: &Scrape) -> Result<()> {
    let params = PatchParams::default();
    let guard = json!({"spec": {"deleteGuard": {"objects": 0, "percent": 0}}});
    let providers = watched.site.ours("Provider", None);
    providers.patch("c1", &params, &Patch::Merge(guard)).await?;
    let instances = watched.site.ours("Instance", Some("acme"));
    instances.delete("www-1", &DeleteParams::default()).await?;
    let series = "bitbuilder_guarded_deletes{provider=\"c1\"}";
    let held = watched.until(300, series, 0).await?;
    let fires = judged(&[well.clone(), held], 900)?;
    just(&fires, &[("BitbuilderDeletesHeld", "c1")])
}

/// Nobody who works: one that stands by, and nobody at all.
fn nobody_leads(well: &Scrape) -> Result<()> {
    let mut stands_by = well.clone();
    stands_by.at = 300;
    stands_by.text = "# TYPE bitbuilder_leader gauge\nbitbuilder_leader 0\n# EOF\n".to_owned();
    let fires = judged(&[well.clone(), stands_by], 900)?;
    just(&fires, &[("BitbuilderNoLeader", "{}")])?;
    just(&judged(&[], 900)?, &[("BitbuilderNoLeader", "{}")])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_fires_for_its_reason_and_none_while_all_is_well() -> Result<()> {
    let watched = Watched::start().await?;
    watched.site.apply_dir("examples/acme").await?;
    watched.site.all_ready(BOUND).await?;
    let ready = "bitbuilder_objects{kind=\"Instance\",ready=\"True\"}";
    let mut well = watched.until(0, ready, 2).await?;
    for _ in 0..3 {
        // What the controller wrote last is counted by its next pass.
        well = watched.scrape(0).await?;
    }
    just(&judged(std::slice::from_ref(&well), 7200)?, &[])?;
    nobody_leads(&well)?;
    two_lead(&watched, &well).await?;
    a_provider_fails(&watched, &well).await?;
    drift_repeats(&watched).await?;
    an_orphan_is_left(&watched, &well).await?;
    deletes_are_held(&watched, &well).await?;
    watched.site.stop().await
}

/// What a test above makes each alert fire by.
const CAUSED: [&str; 7] = [
    "BitbuilderDeletesHeld",
    "BitbuilderDriftRepeats",
    "BitbuilderNoLeader",
    "BitbuilderObjectsNotReady",
    "BitbuilderOrphans",
    "BitbuilderProviderFails",
    "BitbuilderTwoLeaders",
];

/// Names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let of_a_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = text.split(|c: char| !of_a_name(c));
    let ours = words.filter(|word| word.starts_with(PREFIX));
    ours.map(str::to_owned).collect()
}

/// What the controller registers, as its sources say.
fn registered() -> Result<BTreeSet<String>> {
    fn below(dir: &Path, found: &mut BTreeSet<String>) -> Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                below(&path, found)?;
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path)?;
                for rest in text.split(".register(").skip(1) {
                    let name = rest.trim_start().strip_prefix('"');
                    let name = name.and_then(|rest| rest.split('"').next());
                    let name = name.with_context(|| format!("{}: a name", path.display()))?;
                    found.insert(format!("{PREFIX}{name}"));
                }
            }
        }
        Ok(())
    }
    let mut found = BTreeSet::new();
    below(&paths::root().join("controller/src"), &mut found)?;
    ensure!(found.len() >= 7, "only {found:?}");
    Ok(found)
}

/// The name as it was registered: counters end in a word more where they are read.
fn bare(name: &str) -> &str {
    let ends = ["_total", "_bucket", "_sum", "_count", "_info"];
    let end = ends.into_iter().find_map(|end| name.strip_suffix(end));
    end.unwrap_or(name)
}

#[test]
fn every_metric_in_alerts_and_dashboard_is_one_that_the_controller_tells() -> Result<()> {
    let registered = registered()?;
    let mut used = names(&rules()?.to_string());
    used.extend(names(&queries()?.join("\n")));
    ensure!(used.len() >= 6, "only {used:?}");
    let page = names(&fs::read_to_string(
        paths::root().join("docs/spec/metrics.md"),
    )?);
    for name in used.iter().chain(&page) {
        ensure!(
            registered.contains(name) || registered.contains(bare(name)),
            "{name} is told by nobody: {registered:?}"
        );
    }
    for name in &registered {
        let told = page.iter().any(|p| p == name || bare(p) == name);
        ensure!(told, "docs/spec/metrics.md does not name {name}");
    }
    Ok(())
}

#[test]
fn every_alert_has_a_page_that_says_what_it_means_whence_it_comes_and_what_to_do() -> Result<()> {
    let rules = rules()?;
    let rules = rules["groups"][0]["rules"].as_array().context("rules")?;
    let mut alerts = BTreeSet::new();
    for rule in rules {
        let name = rule["alert"].as_str().context("an alert has a name")?;
        let notes = &rule["annotations"];
        ensure!(
            notes["summary"].is_string() && notes["description"].is_string(),
            "{name}"
        );
        let link = format!("https://runbooks.example.com/{name}.md");
        ensure!(
            notes["runbook_url"] == link,
            "{name}: {}",
            notes["runbook_url"]
        );
        let severity = rule["labels"]["severity"].as_str();
        ensure!(
            matches!(severity, Some("critical" | "warning" | "info")),
            "{name}"
        );
        let page = paths::root().join(format!("docs/alerts/{name}.md"));
        let text = fs::read_to_string(&page).with_context(|| format!("{name} has no page"))?;
        for part in ["## What it means", "## What it comes of", "## What to do"] {
            let said = text.split(part).nth(1).map(str::trim).unwrap_or_default();
            ensure!(said.len() > 80, "{name}: {part} is not said");
        }
        alerts.insert(name.to_owned());
    }
    let pages: BTreeSet<String> = fs::read_dir(paths::root().join("docs/alerts"))?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "README")
        .collect();
    ensure!(pages == alerts, "pages {pages:?}, alerts {alerts:?}");
    let caused: BTreeSet<String> = CAUSED.map(str::to_owned).into();
    ensure!(caused == alerts, "caused {caused:?}, alerts {alerts:?}");
    Ok(())
}

#[test]
fn prometheus_finds_what_the_service_serves_and_grafana_can_read_the_dashboard() -> Result<()> {
    let all = objects("watched")?;
    let of = |kind: &str| {
        all.iter()
            .find(|o| o["kind"] == kind)
            .with_context(|| kind.to_owned())
    };
    let (monitor, service) = (of("ServiceMonitor")?, of("Service")?);
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object();
    for (label, value) in wanted.context("labels")? {
        ensure!(&service["metadata"]["labels"][label] == value, "{label}");
    }
    let endpoint = &monitor["spec"]["endpoints"][0];
    ensure!(
        endpoint["port"] == service["spec"]["ports"][0]["name"],
        "{endpoint}"
    );
    ensure!(monitor["metadata"]["labels"]["release"] == "prometheus");
    let space = &monitor["spec"]["namespaceSelector"]["matchNames"][0];
    ensure!(*space == service["metadata"]["namespace"], "{space}");

    let text = of("ConfigMap")?["data"]["bitbuilder.json"].as_str();
    let dashboard: Value = serde_json::from_str(text.context("a dashboard")?)?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let ids: BTreeSet<String> = panels.iter().map(|p| p["id"].to_string()).collect();
    ensure!(ids.len() == panels.len() && panels.len() >= 8, "{ids:?}");
    for panel in panels {
        let said = panel["title"].is_string() && panel["description"].is_string();
        ensure!(said && panel["targets"][0]["expr"].is_string(), "{panel}");
    }
    Ok(())
}
