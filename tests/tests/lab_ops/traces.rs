//! One number from the pass over the objects to the line in a cluster's log; and a collector that
//! is away, slow, or well.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bb_tests::Site;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::collector::{Collector, Manner, Span};
use crate::{BOUND, free_address, log, machine, run, scrape, site, tenant, value};

/// The trace of the call that made the guest, as the cluster's journal has it.
fn trace_of_the_build(site: &Site) -> Result<String> {
    let journals = site
        .clusters
        .values()
        .flat_map(bb_lab_proxmox::Running::journal);
    let clones: Vec<_> = journals
        .filter(|entry| entry.path.ends_with("/clone"))
        .collect();
    ensure!(clones.len() == 1, "{} guests were made", clones.len());
    let parts: Vec<&str> = clones[0].trace.split('-').collect();
    ensure!(
        parts.len() == 4 && parts[0] == "00",
        "{:?}",
        clones[0].trace
    );
    Ok(parts[1].to_owned())
}

/// The lines of a log that are of a trace.
fn of_trace<'a>(lines: &'a [Value], trace: &str) -> Vec<&'a Value> {
    lines
        .iter()
        .filter(|line| line["trace_id"] == trace)
        .collect()
}

/// The log: the writes of the object and the call to the cluster. The request to the router may have
/// begun with the tenant or the network before, and is joined to a write of theirs.
fn the_log_has_it(lines: &[Value], trace: &str) -> Result<()> {
    let ours = of_trace(lines, trace);
    let written = |resource: &str| {
        ours.iter().any(|line| {
            let fields = &line["fields"];
            fields["resource"] == resource
                && fields["name"] == "www"
                && fields["verb"] == "patch"
                && fields["status"] == 200
                && fields["ms"].is_u64()
        })
    };
    ensure!(written("instances"), "no finalizer: {ours:#?}");
    ensure!(written("instances/status"), "no status: {ours:#?}");
    let sent = |path: &str, fields: &Value| {
        fields["path"].as_str().is_some_and(|p| p.contains(path)) && fields["status"].is_u64()
    };
    let called = ours.iter().any(|line| {
        let inside = line["spans"].as_array().is_some_and(|spans| {
            spans
                .iter()
                .any(|span| span["name"] == "pass over cluster" && span["provider"].is_string())
        });
        sent("/clone", &line["fields"]) && inside
    });
    ensure!(called, "no call: {ours:#?}");
    let asked = lines
        .iter()
        .find(|line| sent("/configure", &line["fields"]))
        .context("a request to a router")?;
    let cause = asked["trace_id"].as_str().context("its trace")?;
    let caused = of_trace(lines, cause);
    let of_what_it_is_for = |line: &&&Value| {
        let fields = &line["fields"];
        fields["verb"] == "patch" && ["acme", "lan"].iter().any(|name| fields["name"] == *name)
    };
    ensure!(
        caused.iter().any(|line| of_what_it_is_for(&line)),
        "{caused:#?}"
    );
    // What is sent is always sent by a pass.
    let loose = lines.iter().find(|line| {
        let to_a_target = ["sent", "asked"]
            .iter()
            .any(|word| line["fields"]["message"] == *word);
        to_a_target && !(line["trace_id"].is_string() && line["span_id"].is_string())
    });
    ensure!(loose.is_none(), "{loose:?}");
    Ok(())
}

/// The API's audit log: the writes of the object under the same number.
fn the_audit_log_has_it(site: &Site, trace: &str) -> Result<()> {
    let Some(path) = site.cluster.audit_log() else {
        return Ok(());
    };
    let text = fs::read_to_string(path)?;
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours: Vec<Value> = lines
        .filter(|event| {
            event["auditID"]
                .as_str()
                .is_some_and(|id| id.starts_with(trace))
        })
        .filter(|event| event["objectRef"]["name"] == "www")
        .collect();
    ensure!(ours.len() >= 2, "{ours:#?}");
    let user = "bitbuilder-controller";
    ensure!(
        ours.iter().all(|event| event["user"]["username"] == user),
        "{ours:#?}"
    );
    Ok(())
}

/// Waits until what came satisfies, and gives the spans of a trace.
async fn collected(
    collector: &Collector,
    trace: &str,
    enough: impl Fn(&[Span]) -> bool,
) -> Result<Vec<Span>> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let mut spans = collector.spans();
        spans.retain(|span| span.trace == trace);
        if enough(&spans) {
            return Ok(spans);
        }
        ensure!(Instant::now() < until, "{spans:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The names of a span and of all that it is inside of or follows from.
fn chain(all: &BTreeMap<&str, &Span>, from: &Span) -> Vec<String> {
    let mut names = vec![from.name.clone()];
    let mut at = from;
    while let Some(parent) = all.get(at.parent.as_str()) {
        names.push(parent.name.clone());
        at = parent;
    }
    names
}

async fn the_collector_has_it(collector: &Collector, trace: &str) -> Result<()> {
    let is_clone = |span: &Span| {
        let fields = &span.fields;
        span.name == "cluster request"
            && fields
                .iter()
                .any(|(key, text)| key == "path" && text.contains("/clone"))
    };
    let last = |span: &Span| {
        let of = |key: &str, word: &str| {
            span.fields
                .iter()
                .any(|(k, text)| k == key && text.contains(word))
        };
        span.name == "api request" && of("resource", "instances/status") && of("name", "www")
    };
    let spans = collected(collector, trace, |spans| {
        spans.iter().any(is_clone)
            && spans.iter().any(last)
            && spans
                .iter()
                .filter(|span| span.name == "pass over objects")
                .count()
                >= 2
    })
    .await?;
    let all: BTreeMap<&str, &Span> = spans.iter().map(|s| (s.span.as_str(), s)).collect();
    let clone = spans
        .iter()
        .find(|span| is_clone(span))
        .context("a clone")?;
    let names = chain(&all, clone);
    ensure!(
        names.starts_with(&["cluster request".to_owned(), "pass over cluster".to_owned()])
            && names.iter().any(|name| name == "pass over objects"),
        "{names:?}"
    );
    // One beginning: the pass that saw the object first.
    let roots: Vec<&Span> = spans
        .iter()
        .filter(|span| span.parent == "0".repeat(16))
        .collect();
    let roots = roots.len() + spans.iter().filter(|span| span.parent.is_empty()).count();
    ensure!(roots == 1, "{roots} beginnings in {spans:#?}");
    let service = &clone.service;
    ensure!(service.contains("bitbuilder-controller"), "{service}");
    ensure!(clone.took > 0 && clone.fields.iter().any(|(key, _)| key == "status"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_number_joins_the_pass_the_write_and_the_calls_for_an_instance() -> Result<()> {
    let site = site().await?;
    let collector = Collector::start(Manner::Well).await?;
    let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())];
    run(&site, "one", &["--poll", "3600"], &endpoint).await?;
    tenant(&site).await?;
    machine(&site, "www").await?;
    let trace = trace_of_the_build(&site)?;
    the_log_has_it(&log(&site, "one")?, &trace)?;
    the_audit_log_has_it(&site, &trace)?;
    the_collector_has_it(&collector, &trace).await?;
    site.stop().await
}

/// Waits until spans were lost, and fails if a pass was.
async fn only_spans_are_lost(address: &str) -> Result<()> {
    let until = Instant::now() + BOUND;
    loop {
        let text = scrape(address).await?;
        let failed = value(&text, "bitbuilder_object_passes_total{result=\"failed\"}");
        ensure!(failed == 0.0, "{text}");
        for line in text
            .lines()
            .filter(|l| l.starts_with("bitbuilder_passes_total{"))
        {
            ensure!(!line.contains("failed") || line.ends_with(" 0"), "{line}");
        }
        if value(&text, "bitbuilder_spans_total{result=\"lost\"}") > 0.0 {
            return Ok(());
        }
        ensure!(Instant::now() < until, "no span is lost: {text}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_silent_costs_spans_and_no_pass() -> Result<()> {
    let site = site().await?;
    // Nobody listens there.
    let away = format!("http://{}", free_address()?);
    let address = free_address()?;
    let flags = ["--poll", "3600", "--metrics", address.as_str()];
    run(
        &site,
        "one",
        &flags,
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &away)],
    )
    .await?;
    tenant(&site).await?;
    machine(&site, "www-1").await?;
    only_spans_are_lost(&address).await?;
    site.cluster.roster().end("one", Duration::from_secs(10))?;

    let silent = Collector::start(Manner::Silent).await?;
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", silent.url.as_str())];
    let record = run(&site, "one", &flags, &env).await?;
    let begun = Instant::now();
    machine(&site, "www-2").await?;
    let took = begun.elapsed();
    only_spans_are_lost(&address).await?;
    // And it does not keep the process from ending.
    let begun = Instant::now();
    site.cluster.roster().signal("one", Signal::SIGTERM)?;
    while record.is_alive() {
        ensure!(begun.elapsed() < Duration::from_secs(6), "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("ready in {took:?}, ended in {:?}", begun.elapsed());
    site.stop().await
}
