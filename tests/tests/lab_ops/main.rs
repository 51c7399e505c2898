//! What the controller says of itself: numbers that join its log with those of others, traces,
//! metrics and who may read them, and the archive for whoever is to help.

mod bundle;
mod collector;
mod metrics;
mod readers;
mod traces;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bb_lab_harness::{Record, controller_with};
use bb_tests::{Site, SiteOptions};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

/// A site whose controller is a process of its own.
async fn site() -> Result<Site> {
    let options = SiteOptions {
        controller: false,
        ..SiteOptions::default()
    };
    Site::start(options).await
}

/// Starts a controller that logs objects of JSON.
async fn run(site: &Site, name: &str, flags: &[&str], env: &[(&str, &str)]) -> Result<Record> {
    let mut all = vec!["--log", "json", "--active-poll", "100", "--backoff", "200"];
    all.extend(flags);
    let env: BTreeMap<String, String> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let kubeconfig = site.controller_kubeconfig()?;
    controller_with(&site.cluster.roster(), name, &kubeconfig, &all, env).await
}

/// What a controller has logged, line by line.
fn log(site: &Site, name: &str) -> Result<Vec<Value>> {
    let path = site.cluster.dir().join(format!("log/{name}.log"));
    let text = fs::read_to_string(&path)?;
    let parse = |line: &str| {
        serde_json::from_str(line).with_context(|| format!("{}: {line}", path.display()))
    };
    text.lines().map(parse).collect()
}

fn free_address() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: &Value) -> Value {
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// A tenant with a network, and nothing left to do.
async fn tenant(site: &Site) -> Result<()> {
    let tenant = object("Tenant", None, "acme", &json!({}));
    site.apply_value(tenant).await?;
    site.all_ready(BOUND).await?;
    let lan = json!({"ipv4": {"prefix": "10.20.0.0/23"}});
    let lan = object("Network", Some("acme"), "lan", &lan);
    site.apply_value(lan).await?;
    site.all_ready(BOUND).await
}

async fn machine(site: &Site, name: &str) -> Result<()> {
    let spec = json!({"image": "debian-12", "networks": [{"name": "lan", "network": "lan"}]});
    let machine = object("Instance", Some("acme"), name, &spec);
    site.apply_value(machine).await?;
    site.all_ready(BOUND).await
}

/// What a controller tells Prometheus.
async fn scrape(address: &str) -> Result<String> {
    let text = reqwest::get(format!("http://{address}/metrics")).await?;
    Ok(text.text().await?)
}

/// The sum of all series that begin so.
fn value(text: &str, series: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(series));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum()
}
