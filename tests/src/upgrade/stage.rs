//! Turns a site and versions of the controller into who works on it, one after the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bb_lab_harness::{NAMESPACE, Record, chart, controller_from};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{Step, Version};
use crate::Site;
use crate::scale::audit::{Audit, Requests};
use crate::scale::settled::{reset, writes};
use crate::site::RELEASE_VALUES;

/// The chart's account, and the name of the Lease.
const ACCOUNT: &str = "bitbuilder-controller";
/// How often a state that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Longer than a hand-over, a start or a rest takes on two busy cores.
const BOUND: Duration = Duration::from_secs(180);
/// How often each target is looked at until we say that all is steady.
const LOOKS: usize = 4;
/// How long a controller that ends may let go of what it does.
const GRACE: Duration = Duration::from_secs(30);
/// How the controllers work: each target is looked at every second. The Lease is long, since a busy
/// machine keeps its holder waiting; who ends gives it back at once.
const FLAGS: [&str; 7] = [
    "--leader-elect",
    "--lease-duration=60",
    "--active-poll=250",
    "--backoff=200",
    "--poll=1",
    "--namespace=bitbuilder-system",
    "--log=text",
];
const KINDS: [&str; 6] = [
    "Region", "Provider", "Tenant", "Network", "Volume", "Instance",
];

/// A site where helm has installed a chart, and who works on it.
pub(super) struct Stage {
    pub(super) site: Site,
    account: PathBuf,
    audit: Audit,
    /// What was asked of the API since the last step began.
    requests: Requests,
    /// The name of the one that leads, and its process.
    runs: Option<(String, Record)>,
    started: usize,
}

impl Stage {
    pub(super) fn of(site: Site) -> Result<Self> {
        Ok(Self {
            account: site.cluster.kubeconfig_of_account(NAMESPACE, ACCOUNT)?,
            audit: Audit::of(&site.cluster)?,
            site,
            requests: Requests::default(),
            runs: None,
            started: 0,
        })
    }

    /// Has helm bring another version, and the controllers hand over.
    pub(super) async fn step(&mut self, name: &'static str, to: &Version) -> Result<Step> {
        self.heard()?;
        self.requests = Requests::default();
        reset(&self.site);
        let began = Instant::now();
        let chart = to.chart.display().to_string();
        let release = chart::RELEASE;
        if name == "rollback" {
            self.helm(&["rollback", release, "1", "--wait"])?;
        } else {
            let args = ["upgrade", release, &chart, "--wait"];
            let values = ["--reset-then-reuse-values"];
            self.helm(&[&args[..], &values, &RELEASE_VALUES].concat())?;
        }
        self.hand_over(to).await?;
        self.steady().await?;
        Ok(Step {
            name,
            took: began.elapsed(),
            outside: writes(&self.site),
            requests: std::mem::take(&mut self.requests),
        })
    }

    fn helm(&self, args: &[&str]) -> Result<()> {
        let kubeconfig = self.site.cluster.kubeconfig().display().to_string();
        let own = ["--namespace", NAMESPACE, "--kubeconfig", &kubeconfig];
        let output = chart::helm(&[args, &own].concat())?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "helm {} failed: {}",
            args[0],
            words.trim()
        );
        Ok(())
    }

    /// Starts a controller, waits until its caches are full, asks the one that leads to end, and
    /// waits until the new one leads.
    pub(super) async fn hand_over(&mut self, to: &Version) -> Result<()> {
        self.started += 1;
        let name = format!("controller-{}", self.started);
        let roster = self.site.cluster.roster();
        let identity = format!("--identity={name}");
        let mut flags = FLAGS.to_vec();
        flags.push(&identity);
        let env = BTreeMap::new();
        let program = &to.controller;
        let record = controller_from(&roster, &name, program, &self.account, &flags, env).await?;
        let says = |words: &str| -> Result<bool> {
            ensure!(record.is_alive(), "{name} ended; {}", roster.tail(&name));
            let text = std::fs::read(&record.log).context("cannot read a controller's log")?;
            Ok(String::from_utf8_lossy(&text).contains(words))
        };
        until("full caches", || says("caches are full")).await?;
        if let Some((last, _)) = self.runs.take() {
            roster.end(&last, GRACE)?;
        }
        let leases: Api<Lease> = Api::namespaced(self.site.client.clone(), NAMESPACE);
        let limit = Instant::now() + BOUND;
        loop {
            let lease = leases.get_opt(ACCOUNT).await?.and_then(|lease| lease.spec);
            let holder = lease.and_then(|lease| lease.holder_identity);
            if holder.is_some_and(|holder| holder.starts_with(&format!("{name}_"))) {
                break;
            }
            ensure!(
                Instant::now() < limit,
                "{name} does not lead; {}",
                roster.tail(&name)
            );
            tokio::time::sleep(LOOK).await;
        }
        self.runs = Some((name, record));
        Ok(())
    }

    /// Fails where the controller that leads has ended by itself: nothing is to be waited for then.
    pub(super) fn alive(&self) -> Result<()> {
        let ended = self.runs.as_ref().filter(|(_, record)| !record.is_alive());
        if let Some((name, _)) = ended {
            bail!("{name} ended; {}", self.site.cluster.roster().tail(name));
        }
        Ok(())
    }

    /// Adds what was asked of the API meanwhile, and gives how much of it was written, what keeps
    /// the Lease left out.
    fn heard(&mut self) -> Result<usize> {
        let user = format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}");
        let requests = self.audit.since(&user)?;
        let written = requests.writes.iter();
        let written = written.filter(|((resource, _), _)| resource != "leases");
        let written = written.map(|(_, count)| count).sum();
        self.requests.add(requests);
        Ok(written)
    }

    /// Waits until every target was looked at a few times in which nothing was written to anything.
    pub(super) async fn steady(&mut self) -> Result<()> {
        let limit = Instant::now() + BOUND;
        let (mut began, mut outside) = (looks(&self.site), writes(&self.site));
        loop {
            self.alive()?;
            let written = self.heard()?;
            if written > 0 || writes(&self.site) != outside {
                (began, outside) = (looks(&self.site), writes(&self.site));
            }
            let now = looks(&self.site);
            if now
                .iter()
                .zip(&began)
                .all(|(now, then)| *now >= then + LOOKS)
            {
                return Ok(());
            }
            if Instant::now() > limit {
                bail!("it never settles: {:?}", self.requests.writes);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every object of ours: what is asked of it and what is recorded, as the API serves it now.
    pub(super) async fn objects(&self) -> Result<BTreeMap<String, Value>> {
        let mut all = BTreeMap::new();
        for kind in KINDS {
            let api = self.site.ours(kind, None);
            for object in api.list(&ListParams::default()).await? {
                let meta = &object.metadata;
                let namespace = meta.namespace.as_deref().unwrap_or_default();
                let name = meta.name.as_deref().unwrap_or_default();
                let held = json!({
                    "uid": meta.uid, "spec": object.data["spec"], "status": object.data["status"],
                });
                all.insert(format!("{kind} {namespace}/{name}"), held);
            }
        }
        Ok(all)
    }

    /// Ends everything.
    pub(super) async fn end(self) -> Result<()> {
        if let Some((last, _)) = &self.runs {
            self.site.cluster.roster().end(last, GRACE)?;
        }
        self.site.stop().await
    }
}

/// How often each router and cluster was looked at.
fn looks(site: &Site) -> Vec<usize> {
    let routers = site.routers.values().map(|router| {
        let entries = router.journal.entries();
        entries.iter().filter(|e| e.path == "/retrieve").count()
    });
    routers.chain(crate::scale::settled::ticks(site)).collect()
}

async fn until(what: &str, mut reached: impl FnMut() -> Result<bool>) -> Result<()> {
    let limit = Instant::now() + BOUND;
    while !reached()? {
        ensure!(Instant::now() < limit, "waited {BOUND:?} for {what}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
