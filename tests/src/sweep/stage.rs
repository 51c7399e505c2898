//! Turns a site behind proxies into a place where the controller is a process that can be
//! stopped for a moment, killed, and started again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_lab_harness::{Spec, lab_objects, paths};
use bb_lab_proxy::{Call, End};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::Api;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::picture::Picture;
use super::points::{Names, is_write};
use crate::{Site, SiteOptions};

/// The controller's name in the roster.
const CONTROLLER: &str = "bb-controller";
/// Nothing is waited for that can be had sooner, and settled targets are left alone.
const FLAGS: [&str; 6] = ["--active-poll", "50", "--backoff", "50", "--poll", "3600"];
/// How long nothing may have been sent that changes anything until all is taken to be done.
const QUIET: Duration = Duration::from_millis(250);
/// The same where there is no picture to compare with.
const VERY_QUIET: Duration = Duration::from_millis(1500);
/// The archive that containers are made from, on one node only: which node a container is made
/// on follows from its VMID otherwise, and with it from the run.
const ARCHIVE: &str = "vztmpl/alpine-3.20.tar.zst";

/// A site, and what it was before any tenant.
pub struct Stage {
    /// The site; its controller is a process of its own.
    pub site: Site,
    /// What numbers stand for.
    pub names: Names,
    installation: String,
    before: BTreeMap<String, Value>,
}

impl Stage {
    /// Starts everything but a tenant, and waits until it is at rest.
    pub async fn start() -> Result<Self> {
        let options = SiteOptions {
            controller: false,
            proxied: true,
            journal: false,
            // It would go on emptying a namespace of that name when it is there anew.
            left_out: vec!["namespace-controller".to_owned()],
            // CPU time is what a sweep takes.
            env: [("GOGC".to_owned(), "400".to_owned())].into(),
            ..SiteOptions::default()
        };
        let site = Site::start(options).await?;
        own_ranges(&site).await?;
        for cluster in site.clusters.values() {
            cluster.with(|state| {
                let local = state.storages.get_mut("local");
                if let Some(place) = local.and_then(|s| s.volumes.get_mut("pve2")) {
                    place.remove(ARCHIVE);
                }
            });
        }
        let namespaces: Api<Namespace> = Api::all(site.client.clone());
        let installation = namespaces.get("kube-system").await?;
        let mut stage = Self {
            names: Names::default(),
            installation: installation.uid().context("kube-system has no UID")?,
            before: BTreeMap::new(),
            site,
        };
        stage.names.listen(&stage.site.proxies["api"]);
        stage.start_controller()?;
        stage.at_rest(Duration::from_secs(60)).await?;
        stage.before = stage.site.outside();
        Ok(stage)
    }

    /// Starts the controller.
    pub fn start_controller(&self) -> Result<()> {
        let kubeconfig = self.site.controller_kubeconfig()?.display().to_string();
        let roster = self.site.cluster.roster();
        let log = roster.dir().join("log/bb-controller.log");
        let args = ["--kubeconfig", &kubeconfig].into_iter().chain(FLAGS);
        let spec = Spec {
            program: paths::binary("bb-controller")?,
            args: args.map(str::to_owned).collect(),
            env: BTreeMap::new(),
            log,
        };
        tokio::task::block_in_place(|| roster.start(CONTROLLER, &spec))?;
        Ok(())
    }

    /// Kills the controller, as a power cut would; returns when it is gone.
    pub fn kill_controller(&self) -> Result<()> {
        let roster = self.site.cluster.roster();
        tokio::task::block_in_place(|| roster.end(CONTROLLER, Duration::ZERO))
    }

    /// Keeps the controller from seeing what happens, until [`Stage::resume`]: what a user does
    /// in several steps it then sees at once, in every run.
    pub fn pause(&self) -> Result<()> {
        self.site
            .cluster
            .roster()
            .signal(CONTROLLER, Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.site
            .cluster
            .roster()
            .signal(CONTROLLER, Signal::SIGCONT)
    }

    /// The last lines that the controller wrote.
    #[must_use]
    pub fn tail(&self) -> String {
        self.site.cluster.roster().tail(CONTROLLER)
    }

    /// Where the controller's log is.
    #[must_use]
    pub fn log(&self) -> std::path::PathBuf {
        self.site.cluster.dir().join("log/bb-controller.log")
    }

    /// What was sent since the last [`Stage::forget`], by target.
    #[must_use]
    pub fn journals(&self) -> BTreeMap<String, Vec<Call>> {
        let proxies = self.site.proxies.iter();
        proxies
            .map(|(name, proxy)| (name.clone(), proxy.calls()))
            .collect()
    }

    /// Forgets what was sent.
    pub fn forget(&self) {
        for proxy in self.site.proxies.values() {
            proxy.forget();
        }
        for router in self.site.routers.values() {
            router.journal.clear_memory();
        }
        for cluster in self.site.clusters.values() {
            cluster.clear_journal();
        }
    }

    /// Whether nothing is under way, and nothing was sent for this long that may change
    /// anything.
    fn is_quiet(&self, quiet: Duration) -> bool {
        self.site.proxies.iter().all(|(name, proxy)| {
            let now = proxy.now();
            proxy.all(|call| {
                if call.end == End::Open {
                    return false;
                }
                let ended = call.ended.unwrap_or(call.at);
                !is_write(name, &call.asked) || now.saturating_sub(ended) > quiet
            })
        }) && self.site.clusters.values().all(|cluster| {
            cluster.with(|state| state.tasks.all.values().all(|task| !task.is_running()))
        })
    }

    /// Looks at everything.
    pub async fn picture(&self) -> Result<Picture> {
        Picture::take(&self.site, &self.installation).await
    }

    /// Waits until all is Ready, or gone, and nothing more is sent; gives the picture.
    ///
    /// # Errors
    /// When that is not reached within the bound.
    pub async fn at_rest(&self, bound: Duration) -> Result<Picture> {
        let until = Instant::now() + bound;
        loop {
            if self.is_quiet(VERY_QUIET) {
                let all = self.site.readiness().await?;
                if all.values().all(|ready| ready.starts_with("True")) {
                    return self.picture().await;
                }
            }
            if Instant::now() > until {
                let all = self.site.readiness().await?;
                bail!("not at rest within {bound:?}: {all:#?}\n{}", self.tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until everything is as it was in the undisturbed run and nothing more is sent.
    /// Gives what differs at the end of the bound; nothing when it was reached.
    pub async fn comes_to(&self, wanted: &Picture, bound: Duration) -> Result<Vec<String>> {
        let until = Instant::now() + bound;
        let mut differing = Vec::new();
        loop {
            if self.is_quiet(QUIET) {
                differing = self.picture().await?.against(wanted);
                if differing.is_empty() {
                    return Ok(differing);
                }
            }
            if Instant::now() > until {
                if differing.is_empty() {
                    differing = vec!["+ it is never quiet".to_owned()];
                }
                return Ok(differing);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether routers and clusters are what they were before the first tenant, to the byte.
    #[must_use]
    pub fn is_as_before(&self) -> bool {
        self.site.outside() == self.before
    }

    /// Ends everything.
    pub async fn stop(self) -> Result<()> {
        self.kill_controller()?;
        self.site.stop().await
    }
}

/// Gives out numbers that stand for nothing else anywhere, so that a picture can call them by
/// their names.
async fn own_ranges(site: &Site) -> Result<()> {
    let mut objects = lab_objects(site.facts());
    let region = objects.iter_mut().find(|o| o["kind"] == json!("Region"));
    let spec = &mut region.context("there is no Region")?["spec"];
    spec["vnis"] = json!("51000-52999");
    spec["tables"] = json!("61000-61999");
    spec["attachments"][0]["vlan"]["vlans"] = json!("3000-3299");
    spec["attachments"][1]["vlan"]["vlans"] = json!("3700-3999");
    for (name, first) in [("c1", 700_000), ("c2", 750_000)] {
        let provider = objects
            .iter_mut()
            .find(|o| o["kind"] == json!("Provider") && o["metadata"]["name"] == json!(name));
        let provider = provider.context("a cluster has no Provider")?;
        provider["spec"]["proxmox"]["vmids"] = json!(format!("{first}-{}", first + 49_999));
    }
    for object in objects {
        site.apply_value(object).await?;
    }
    Ok(())
}
