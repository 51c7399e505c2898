//! What breaks between the controller and the Kubernetes API, while there is work under way.

#![allow(
    clippy::print_stdout,
    reason = "how long a recovery takes is to be read"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_lab_harness::Part;
use bb_lab_proxy::{Action, End, Fits, Proxy, Rule, watch_error};
use bb_tests::{Site, SiteOptions};
use serde_json::{Value, json};

/// Within this everything is Ready after the fault has ended: what the controller is built for
/// is 30 s, the rest is for machines that build something else at the same time.
const RECOVERED: Duration = Duration::from_secs(60);
/// How long an API server that is too busy says to stay away, and how long it is.
const STORM: Duration = Duration::from_secs(3);

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    WatchesCut,
    WatchesSilent,
    GoneInStream,
    GoneAtStart,
    TooManyRequests,
    ServerErrors,
    AnswersLost,
    ApiServerKilled,
    EtcdStopped,
}

const FAULTS: [Fault; 9] = [
    Fault::WatchesCut,
    Fault::WatchesSilent,
    Fault::GoneInStream,
    Fault::GoneAtStart,
    Fault::TooManyRequests,
    Fault::ServerErrors,
    Fault::AnswersLost,
    Fault::ApiServerKilled,
    Fault::EtcdStopped,
];

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "acme"}, "spec": spec})
}

/// The objects of one round: a network, a volume and two machines.
fn round(number: usize) -> [Value; 4] {
    let network = format!("lan-{number}");
    let spec = json!({"zones": ["north"], "ipv4": {"prefix": format!("10.30.{number}.0/24")}});
    let cards = json!([{"name": "lan", "network": network}]);
    let volume = format!("data-{number}");
    let with = json!([{"name": "data", "volume": volume}]);
    [
        object("Network", &network, &spec),
        object("Volume", &volume, &json!({"size": "8Gi"})),
        object(
            "Instance",
            &format!("a-{number}"),
            &json!({"image": "debian-12", "networks": cards, "volumes": with}),
        ),
        object(
            "Instance",
            &format!("b-{number}"),
            &json!({"image": "debian-12", "networks": cards}),
        ),
    ]
}

/// A watch that goes on from where another ended.
fn resumed() -> Fits {
    Fits::when(|asked| {
        let has = |part: &str| asked.query.split('&').any(|p| p == part);
        has("watch=true") && !has("sendInitialEvents=true")
    })
}

/// Has it go wrong, until it is over.
async fn go_wrong(site: &Site, fault: Fault) -> Result<()> {
    let api = &site.proxies["api"];
    let cluster = &site.cluster;
    match fault {
        Fault::WatchesCut => {
            for _ in 0..5 {
                api.cut(&Fits::watches());
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Fault::WatchesSilent => drop(api.silence(&Fits::watches())),
        Fault::GoneInStream => {
            let gone = watch_error(410, "Expired", "too old resource version");
            for _ in 0..3 {
                api.inject(&Fits::watches(), &gone);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        Fault::GoneAtStart => {
            let gone = Action::kubernetes(410, "Expired", "too old resource version");
            let rule = api.rule(Rule::new(resumed(), gone));
            instead(api, 410, 3).await?;
            api.remove(rule);
        }
        Fault::TooManyRequests => {
            let before = api.calls().len();
            let rule = api.rule(Rule::new(Fits::any(), Action::too_many(1)));
            api.cut(&Fits::watches());
            tokio::time::sleep(STORM).await;
            api.remove(rule);
            // Seven watches and sixteen writes side by side, each once a second at most.
            let asked = api.calls().len() - before;
            let most = (7 + 16) * usize::try_from(STORM.as_secs() + 1)?;
            assert!(
                asked > 0 && asked <= most,
                "{asked} requests in a storm of 429"
            );
        }
        Fault::ServerErrors => {
            let unavailable = Action::kubernetes(503, "ServiceUnavailable", "not now");
            let odd = Fits::when(|asked| asked.path.len() % 2 == 1);
            let rules = [
                api.rule(Rule::new(odd, unavailable)),
                api.rule(Rule::new(
                    Fits::any(),
                    Action::kubernetes(500, "InternalError", "oh"),
                )),
            ];
            api.cut(&Fits::watches());
            tokio::time::sleep(STORM).await;
            for rule in rules {
                api.remove(rule);
            }
        }
        Fault::AnswersLost => {
            let writes = Fits::any().method("PATCH");
            api.rule(Rule::new(writes, Action::CutAfter).times(6));
        }
        Fault::ApiServerKilled => {
            cluster.kill(Part::ApiServer)?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            cluster.restart(Part::ApiServer).await?;
        }
        Fault::EtcdStopped => {
            cluster.pause(Part::Etcd)?;
            tokio::time::sleep(Duration::from_secs(10)).await;
            cluster.resume(Part::Etcd)?;
        }
    }
    Ok(())
}

/// Waits until the proxy has answered so often by itself with a status.
async fn instead(api: &Proxy, status: u16, times: usize) -> Result<()> {
    let until = Instant::now() + RECOVERED;
    loop {
        let calls = api.calls();
        let count = calls
            .iter()
            .filter(|c| c.end == End::Instead(status))
            .count();
        if count >= times {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{status} was answered {count} times only");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until every object is Ready; an API that does not answer is asked again.
async fn all_ready(site: &Site) -> Result<()> {
    let until = Instant::now() + RECOVERED;
    loop {
        let all = site.readiness().await;
        let good = |all: &BTreeMap<String, String>| all.values().all(|r| r.starts_with("True"));
        if all.as_ref().is_ok_and(good) {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("not Ready within {RECOVERED:?}: {all:#?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the controller has begun with a round: it writes to its network.
async fn begun(site: &Site, number: usize) -> Result<()> {
    let network = format!("/networks/lan-{number}");
    let first = Fits::path(&network).method("PATCH");
    site.proxies["api"].seen(&first, RECOVERED).await?;
    Ok(())
}

/// Waits until nothing is written for two seconds, by the controller or to an object.
async fn settled(site: &Site) -> Result<()> {
    let api = &site.proxies["api"];
    let until = Instant::now() + RECOVERED;
    loop {
        api.forget();
        let before = (site.versions().await?, site.outside());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let writes: Vec<String> = api
            .calls()
            .iter()
            .filter(|call| call.asked.method != http::Method::GET)
            .map(|call| format!("{:?}", call.asked))
            .collect();
        if writes.is_empty() && (site.versions().await?, site.outside()) == before {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("never settled: {writes:?}");
        }
    }
}

/// An object with a field that this controller does not know: it is told of and left as it is,
/// and everybody else goes on.
async fn newer_definition(site: &Site, metrics: &str, number: usize) -> Result<()> {
    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/colour";
    let patch = |op: &str| {
        let patch = json!([{"op": op, "path": field, "value": {"type": "string"}}]).to_string();
        let crd = "networks.bitbuilder.cloud";
        site.cluster
            .kubectl(&["patch", "crd", crd, "--type=json", "-p", &patch])
    };
    assert!(unread(metrics).await?.abs() < 0.5, "all is understood");
    patch("add")?;
    let [known, ..] = round(0);
    let mut strange = known.clone();
    strange["spec"]["colour"] = json!("red");
    // The API server takes a moment to know the field everywhere: until then it drops it, from
    // what it keeps or from what it shows a watch that was there before.
    let until = Instant::now() + RECOVERED;
    let outside = site.outside();
    let told = || {
        site.cluster
            .kubectl(&["get", "events", "-n", "acme", "-o", "json"])
    };
    let mut shade = 0;
    while !told()?.contains("cannot understand the object") {
        if Instant::now() > until {
            bail!("nothing is told of an object that cannot be understood");
        }
        shade += 1;
        strange["spec"]["colour"] = json!(format!("red {shade}"));
        site.apply_value(strange.clone()).await.ok();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(site.outside(), outside);
    assert!(unread(metrics).await? > 0.0, "it is not counted");
    for object in round(number) {
        site.apply_value(object).await?;
    }
    site.all_ready(RECOVERED).await?;
    let config = site.routers["r1"].config().to_string();
    assert!(config.contains("network acme/lan-0"), "{config}");
    site.apply_value(known).await?;
    patch("remove")?;
    Ok(())
}

fn free_address() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

/// How many objects the controller says that it could not understand.
async fn unread(metrics: &str) -> Result<f64> {
    let told = reqwest::get(format!("http://{metrics}/metrics")).await?;
    let told = told.text().await?;
    let series = "bitbuilder_unread_objects_total ";
    let value = told.lines().find_map(|line| line.strip_prefix(series));
    value
        .context("the metric is not there")?
        .parse()
        .context("the metric is no number")
}

/// How often each guest was begun to be made, by its VMID, on all clusters.
fn clones(site: &Site) -> BTreeMap<String, usize> {
    let mut made = BTreeMap::new();
    for (name, cluster) in &site.clusters {
        for entry in cluster.journal() {
            if entry.method == "POST" && entry.path.ends_with("/clone") && entry.status < 300 {
                *made
                    .entry(format!("{name} {}", entry.body["newid"]))
                    .or_default() += 1;
            }
        }
    }
    made
}

/// Two sites behind proxies, whose watches last four seconds, with the tenant acme.
async fn start(metrics: &str) -> Result<Site> {
    let flags = [
        "--active-poll",
        "100",
        "--backoff",
        "200",
        "--poll",
        "3600",
        "--watch-timeout",
        "4",
        "--metrics",
        metrics,
    ];
    let site = Site::start(SiteOptions {
        flags: flags.map(str::to_owned).to_vec(),
        proxied: true,
        ..SiteOptions::default()
    })
    .await?;
    let tenant = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant",
        "metadata": {"name": "acme"}, "spec": {}});
    site.apply_value(tenant).await?;
    site.all_ready(RECOVERED).await?;
    Ok(site)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_before_the_api_during_work_nothing_is_lost_or_doubled() -> Result<()> {
    let site = start("127.0.0.1:0").await?;
    let before = commits(&site);
    for (number, fault) in FAULTS.into_iter().enumerate() {
        for object in round(number) {
            site.apply_value(object).await?;
        }
        begun(&site, number).await?;
        go_wrong(&site, fault)
            .await
            .with_context(|| format!("{fault:?}"))?;
        let since = Instant::now();
        let ready = all_ready(&site).await;
        ready.with_context(|| format!("after {fault:?}"))?;
        // To be read where the test fails, and with --nocapture.
        println!(
            "{fault:?}: all Ready {:.1} s after its end",
            since.elapsed().as_secs_f64()
        );
    }
    settled(&site).await?;
    let made = clones(&site);
    let rounds = FAULTS.len();
    assert_eq!(made.len(), 2 * rounds, "{made:?}");
    assert!(made.values().all(|times| *times == 1), "{made:?}");
    // One network a round: as many commits, where none was sent twice, and the tenant's VRF.
    let sent = commits(&site) - before;
    assert!(sent <= rounds + 1, "{sent} commits for {rounds} networks");
    site.delete("Tenant", None, "acme", 2 * RECOVERED).await?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_newer_definition_is_told_of_and_disturbs_nobody() -> Result<()> {
    let metrics = free_address()?;
    let site = start(&metrics).await?;
    for object in round(0) {
        site.apply_value(object).await?;
    }
    all_ready(&site).await?;
    newer_definition(&site, &metrics, 1).await?;
    all_ready(&site).await?;
    site.stop().await
}

/// The commits of all routers.
fn commits(site: &Site) -> usize {
    let routers = site.routers.values();
    let commits = routers.map(|r| r.counters.get("commits"));
    usize::try_from(commits.sum::<u64>()).unwrap_or(usize::MAX)
}
