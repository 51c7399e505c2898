//! Two controllers and one Lease: who leads, how soon the other does, and that only one writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bb_lab_harness::{Record, Roster, controller_with};
use bb_tests::{Site, SiteOptions};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(90);
/// How long a Lease is its holder's.
const LEASE: Duration = Duration::from_secs(6);
/// What a machine with two cores may take to notice, beside what is promised.
const NOTICE: Duration = Duration::from_millis(1500);

/// The controllers `a` and `b`, and what they work on.
struct Pair {
    site: Site,
    roster: Arc<Roster>,
    ways: BTreeMap<&'static str, PathBuf>,
    made: usize,
    /// From when on who may write, as the Lease says.
    terms: Vec<(Timestamp, String)>,
}

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: &Value) -> Value {
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

impl Pair {
    async fn start() -> Result<Self> {
        let options = SiteOptions {
            controller: false,
            proxied: true,
            ..SiteOptions::default()
        };
        let site = Site::start(options).await?;
        // `a` alone can be cut off from the API.
        let ways = BTreeMap::from([
            ("a", site.controller_kubeconfig()?),
            ("b", site.cluster.kubeconfig_for("bitbuilder-controller")?),
        ]);
        let roster = site.cluster.roster();
        Ok(Self {
            site,
            roster,
            ways,
            made: 0,
            terms: Vec::new(),
        })
    }

    async fn run(&self, name: &'static str) -> Result<Record> {
        let lease = LEASE.as_secs().to_string();
        let flags = [
            "--leader-elect",
            "--lease-duration",
            &lease,
            "--identity",
            name,
            "--active-poll",
            "100",
            "--backoff",
            "200",
            "--poll",
            "5",
        ];
        self.roster.end(name, Duration::ZERO)?;
        let path: &Path = &self.ways[name];
        // What is logged at most is searched for secrets when all tests have run.
        let env = [("RUST_LOG".to_owned(), "debug".to_owned())].into();
        controller_with(&self.roster, name, path, &flags, env).await
    }

    async fn lease(&self) -> Result<LeaseSpec> {
        let api: Api<Lease> = Api::namespaced(self.site.client.clone(), "bitbuilder-system");
        let lease = api.get_opt("bitbuilder-controller").await?;
        Ok(lease.and_then(|lease| lease.spec).unwrap_or_default())
    }

    /// Waits until `name` leads, and says how long that took; objects are made meanwhile.
    async fn led_by(&mut self, name: &str, bound: Duration) -> Result<Duration> {
        let begun = Instant::now();
        let mut made = Duration::ZERO;
        loop {
            let spec = self.lease().await?;
            let holder = spec.holder_identity.unwrap_or_default();
            if holder.starts_with(&format!("{name}_")) {
                let took = begun.elapsed();
                let since = spec
                    .acquire_time
                    .context("a Lease that is held says since when")?;
                self.terms.push((since.0, holder));
                ensure!(
                    took <= bound,
                    "{name} led only after {took:?}, not within {bound:?}"
                );
                return Ok(took);
            }
            if begun.elapsed() > BOUND {
                bail!(
                    "{name} does not lead, {holder:?} does; {}",
                    self.roster.tail(name)
                );
            }
            if begun.elapsed() > made {
                self.work(1).await?;
                made += Duration::from_millis(500);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes machines, so that there is always something to do.
    async fn work(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            self.made += 1;
            let spec =
                json!({"image": "debian-12", "networks": [{"name": "lan", "network": "lan"}]});
            let name = format!("m{}", self.made);
            let machine = object("Instance", Some("acme"), &name, &spec);
            self.site.apply_value(machine).await?;
        }
        Ok(())
    }

    /// Waits until a process that was not asked to has ended.
    async fn ends(&self, record: &Record) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        while record.is_alive() {
            if Instant::now() > until {
                bail!("a controller that lost the Lease goes on");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Every write to routers and clusters: when it began, and who sent it.
    fn writes(&self) -> Vec<(Timestamp, String, String)> {
        let routers = self.site.routers.values().flat_map(|r| r.journal.entries());
        let routers = routers.filter(|e| e.path == "/configure" || e.path == "/config-file");
        let clusters = self
            .site
            .clusters
            .values()
            .flat_map(bb_lab_proxmox::Running::journal);
        let clusters = clusters.filter(|e| e.method != "GET");
        let all = routers.chain(clusters).filter(|e| !e.agent.is_empty());
        all.filter_map(|e| {
            let time = e.time.parse().ok()?;
            Some((
                time,
                e.agent,
                format!("{} {} at {}", e.method, e.path, e.target),
            ))
        })
        .collect()
    }

    /// The writes of whom did not lead when they began.
    fn out_of_turn(&self) -> Vec<String> {
        let leads = |at: Timestamp| self.terms.iter().rev().find(|(since, _)| *since <= at);
        let wrong = self.writes().into_iter().filter(|(at, agent, _)| {
            leads(*at).is_none_or(|(_, holder)| !agent.ends_with(&format!("({holder})")))
        });
        wrong
            .map(|(at, agent, what)| format!("{at} {agent}: {what}"))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_leads_and_the_other_takes_over() -> Result<()> {
    let mut pair = Pair::start().await?;
    pair.run("a").await?;
    pair.led_by("a", BOUND).await?;
    pair.site
        .apply_value(object("Tenant", None, "acme", &json!({})))
        .await?;
    let lan = json!({"ipv4": {"prefix": "10.20.0.0/23"}});
    pair.site.all_ready(BOUND).await?;
    pair.site
        .apply_value(object("Network", Some("acme"), "lan", &lan))
        .await?;
    pair.run("b").await?;
    pair.work(5).await?;
    pair.site.all_ready(BOUND).await?;

    // Asked to stop, in the middle of work.
    pair.work(5).await?;
    pair.roster.signal("a", Signal::SIGTERM)?;
    let handed = pair.led_by("b", Duration::from_secs(2)).await?;
    let first = pair.run("a").await?;
    pair.work(5).await?;
    pair.site.all_ready(BOUND).await?;

    // Killed.
    pair.work(5).await?;
    pair.roster.signal("b", Signal::SIGKILL)?;
    let killed = pair.led_by("a", LEASE + NOTICE).await?;
    pair.run("b").await?;
    pair.work(5).await?;
    pair.site.all_ready(BOUND).await?;

    // Stopped past its time, and then let go on.
    pair.work(10).await?;
    pair.roster.signal("a", Signal::SIGSTOP)?;
    let stopped = pair.led_by("b", LEASE + NOTICE).await?;
    pair.work(5).await?;
    pair.site.all_ready(BOUND).await?;
    pair.work(5).await?;
    pair.roster.signal("a", Signal::SIGCONT)?;
    pair.ends(&first).await?;
    pair.site.all_ready(BOUND).await?;

    // Cut off from the API, and from nothing else.
    let second = pair.run("a").await?;
    pair.roster.signal("b", Signal::SIGTERM)?;
    pair.led_by("a", Duration::from_secs(2)).await?;
    pair.run("b").await?;
    pair.work(5).await?;
    pair.site.proxies["api"].black_hole();
    let cut_off = pair.led_by("b", LEASE + NOTICE).await?;
    pair.ends(&second).await?;
    pair.work(5).await?;
    pair.site.all_ready(BOUND).await?;
    eprintln!(
        "takes over: asked {handed:?}, killed {killed:?}, stopped {stopped:?}, cut off {cut_off:?}"
    );

    assert_eq!(pair.out_of_turn(), Vec::<String>::new(), "{:?}", pair.terms);
    let agents: BTreeSet<String> = pair
        .writes()
        .into_iter()
        .map(|(_, agent, _)| agent)
        .collect();
    assert_eq!(
        agents.len(),
        6,
        "each that led did some of the work: {agents:?}"
    );
    nothing_twice(&pair).await?;
    pair.site.stop().await
}

/// Each machine has one guest and one address, and no guest is nobody's.
async fn nothing_twice(pair: &Pair) -> Result<()> {
    let mut guests = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    let machines = pair.site.ours("Instance", Some("acme"));
    let machines = machines.list(&kube::api::ListParams::default()).await?;
    for machine in &machines {
        let status = &machine.data["status"];
        guests.insert(status["providerID"].to_string());
        addresses.insert(status["addresses"][0]["address"].to_string());
    }
    assert_eq!(guests.len(), machines.items.len());
    assert_eq!(addresses.len(), machines.items.len());
    let there: Vec<String> = pair
        .site
        .clusters
        .values()
        .flat_map(|cluster| {
            let guests = cluster.snapshot()["guests"].clone();
            let guests = guests.as_object().cloned().unwrap_or_default();
            guests.into_iter().map(|(_, guest)| guest.to_string())
        })
        .collect();
    for machine in &machines {
        let uid = machine.metadata.uid.as_deref().context("it has a UID")?;
        let guests = there.iter().filter(|guest| guest.contains(uid)).count();
        assert_eq!(guests, 1, "guests of {:?}", machine.metadata.name);
    }
    Ok(())
}
