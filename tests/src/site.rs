//! Turns a name into two sites on one machine: a management cluster, two routers, two hypervisor
//! clusters, and the controller in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bb_controller::Args;
use bb_lab_harness::{Cluster, Facts, NAMESPACE, Options, Ready, chart, lab_objects, paths};
use bb_lab_proxmox::{ProxmoxLab, Seed};
use bb_lab_proxy::{Proxy, Trust};
use bb_lab_vyos::VyosLab;
use clap::Parser as _;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rights::Witness;
use crate::trace;

/// The kinds of a tenant, those that wait for others last.
pub(crate) const KINDS: [&str; 4] = ["Tenant", "Network", "Volume", "Instance"];

/// How a site is started.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// A share of the time that the real ones take; 0 is at once.
    pub time_scale: f64,
    /// Flags of the controller, after the kubeconfig.
    pub flags: Vec<String>,
    /// Whether the controller runs from the start.
    pub controller: bool,
    /// Whether all that the controller sends goes through proxies. Not with `BB_KUBECONFIG`.
    pub proxied: bool,
    /// Kubernetes' own controllers that do not run, since the test does their work.
    pub left_out: Vec<String>,
    /// Variables for the parts of the management cluster.
    pub env: BTreeMap<String, String>,
    /// Whether what routers and clusters get is kept for the check against a router's schema.
    pub journal: bool,
    /// The chart that helm installs, without a controller in pods; none: definitions and roles of
    /// this tree are applied, for the user that tests run the controller as.
    pub chart: Option<PathBuf>,
}

/// What a release of a site's chart is installed and upgraded with: its controllers are processes.
pub const RELEASE_VALUES: [&str; 2] = ["--set", "replicas=0"];

impl Default for SiteOptions {
    fn default() -> Self {
        let flags = ["--active-poll", "100", "--backoff", "200", "--poll", "3600"];
        Self {
            time_scale: 0.0,
            flags: flags.map(str::to_owned).to_vec(),
            controller: true,
            proxied: false,
            left_out: Vec::new(),
            env: BTreeMap::new(),
            journal: true,
            chart: None,
        }
    }
}

/// Two sites, running.
pub struct Site {
    /// The management cluster.
    pub cluster: Cluster,
    /// The administrator's client.
    pub client: Client,
    /// Routers by name.
    pub routers: BTreeMap<String, bb_lab_vyos::Running>,
    /// Hypervisor clusters by name.
    pub clusters: BTreeMap<String, bb_lab_proxmox::Running>,
    /// What the controller sends goes through these, where that was asked for: `api`, and one
    /// by the name of each router and cluster.
    pub proxies: BTreeMap<String, Proxy>,
    facts: Facts,
    options: SiteOptions,
    controller: Option<(CancellationToken, JoinHandle<Result<()>>)>,
    witness: Witness,
    _dir: tempfile::TempDir,
}

/// Makes one TLS provider the process's own, once.
pub fn crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Another crate of the process may have been first: it is the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// A client of a kubeconfig.
pub async fn client_of(kubeconfig: &Path) -> Result<Client> {
    crypto();
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("cannot make a client")
}

impl Site {
    /// Starts everything.
    pub async fn start(options: SiteOptions) -> Result<Self> {
        crypto();
        let scratch = paths::scratch()?;
        std::fs::create_dir_all(&scratch)?;
        let dir = tempfile::tempdir_in(scratch)?;
        let mut wanted = Options::new(dir.path().join("k8s"));
        if options.chart.is_none() {
            wanted.manifests = chart::manifests()?;
        }
        wanted.left_out.clone_from(&options.left_out);
        wanted.env.clone_from(&options.env);
        let cluster = Cluster::start(wanted).await?;
        if let Some(chart) = &options.chart {
            release(&cluster, chart)?;
        }
        let client = client_of(cluster.kubeconfig()).await?;
        let audit = cluster.audit_log();
        let mut site = Self {
            cluster,
            client,
            routers: BTreeMap::new(),
            clusters: BTreeMap::new(),
            proxies: BTreeMap::new(),
            facts: Facts::default(),
            options,
            controller: None,
            witness: Witness::of(audit),
            _dir: dir,
        };
        site.stand_ins().await?;
        if site.options.controller {
            site.start_controller()?;
        }
        Ok(site)
    }

    async fn stand_ins(&mut self) -> Result<()> {
        let mut facts = Facts::default();
        for name in ["r1", "r2"] {
            let seed = paths::root().join(format!("examples/lab/{name}.seed.json"));
            let mut config = bb_lab_vyos::Config::new(name, &format!("key-of-{name}"));
            config.seed = serde_json::from_slice(&std::fs::read(&seed)?)?;
            config.journal = self.options.journal.then(|| paths::test_journal(name));
            config.time_scale = self.options.time_scale;
            let running = VyosLab::start(config).await?;
            facts
                .routers
                .insert(name.to_owned(), (running.ready(), running.key.clone()));
            self.routers.insert(name.to_owned(), running);
        }
        for name in ["c1", "c2"] {
            let seed = Seed::example();
            let token = seed.tokens.first().context("the example has a token")?;
            let token = format!("{}!{}={}", token.user, token.tokenid, token.secret);
            let config = bb_lab_proxmox::Config {
                name: name.to_owned(),
                seed,
                journal: self.options.journal.then(|| paths::test_journal(name)),
                time_scale: self.options.time_scale,
                ..bb_lab_proxmox::Config::default()
            };
            let running = ProxmoxLab::start(config).await?;
            let ready = Ready {
                name: name.to_owned(),
                api: running.api.clone(),
                control: running.control.clone(),
                ca_pem: running.ca_pem.clone(),
                sha256: running.sha256.clone(),
                pid: std::process::id(),
            };
            facts.clusters.insert(name.to_owned(), (ready, token));
            self.clusters.insert(name.to_owned(), running);
        }
        if self.options.proxied {
            self.put_proxies(&mut facts).await?;
        }
        for object in lab_objects(&facts) {
            self.apply_value(object).await?;
        }
        self.facts = facts;
        Ok(())
    }

    /// How routers and clusters are reached: what their Providers were made from.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Puts a proxy before the API, each router and each cluster.
    async fn put_proxies(&mut self, facts: &mut Facts) -> Result<()> {
        let server = self.cluster.server().context("this cluster is not ours")?;
        let api = Proxy::start("api", server, Trust::Anyone).await?;
        self.proxies.insert("api".to_owned(), api);
        for (name, (ready, _)) in facts.routers.iter_mut().chain(&mut facts.clusters) {
            let proxy = Proxy::before(ready).await?;
            *ready = proxy.ready(ready);
            self.proxies.insert(name.clone(), proxy);
        }
        Ok(())
    }

    /// The kubeconfig that the controller is started with.
    pub fn controller_kubeconfig(&self) -> Result<PathBuf> {
        let user = "bitbuilder-controller";
        match self.proxies.get("api") {
            Some(proxy) => {
                self.cluster
                    .kubeconfig_through(user, "proxy", &proxy.url(), proxy.ca_pem())
            }
            None => self.cluster.kubeconfig_for(user),
        }
    }

    /// Starts the controller with its own user's rights.
    pub fn start_controller(&mut self) -> Result<()> {
        let kubeconfig = self.controller_kubeconfig()?;
        let mut line = vec!["bb-controller".to_owned(), "--kubeconfig".to_owned()];
        line.push(kubeconfig.display().to_string());
        line.extend(self.options.flags.clone());
        let args = Args::try_parse_from(line)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(bb_controller::run(args, stop.clone()));
        self.controller = Some((stop, task));
        Ok(())
    }

    /// Stops the controller and says how it ended.
    pub async fn stop_controller(&mut self) -> Result<()> {
        let Some((stop, task)) = self.controller.take() else {
            bail!("no controller runs");
        };
        stop.cancel();
        task.await.context("the controller panicked")?
    }

    /// Applies every document of a text, as `kubectl apply --server-side` does.
    pub async fn apply(&self, text: &str) -> Result<()> {
        for document in documents(text)? {
            self.apply_value(document).await?;
        }
        Ok(())
    }

    /// Applies a folder of manifests.
    pub async fn apply_dir(&self, dir: &str) -> Result<()> {
        let dir = paths::root().join(dir);
        let mut files: Vec<_> = std::fs::read_dir(&dir)?
            .filter_map(|e| Some(e.ok()?.path()))
            .collect();
        files.sort();
        for file in files {
            self.apply(&std::fs::read_to_string(&file)?).await?;
        }
        Ok(())
    }

    /// Applies one object.
    pub async fn apply_value(&self, object: Value) -> Result<DynamicObject> {
        let name = object["metadata"]["name"]
            .as_str()
            .context("an object has a name")?
            .to_owned();
        let api = self.api_of(&object)?;
        let params = PatchParams::apply("test").force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("cannot apply {} {name}", object["kind"]))
    }

    fn api_of(&self, object: &Value) -> Result<Api<DynamicObject>> {
        let version = object["apiVersion"]
            .as_str()
            .context("an object has an apiVersion")?;
        let kind = object["kind"].as_str().context("an object has a kind")?;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Ok(match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        })
    }

    /// An API of one of our kinds.
    pub fn ours(&self, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("bitbuilder.cloud", "v1alpha1", kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Every object of our kinds, as `Kind namespace/name`, and its Ready condition in words.
    pub async fn readiness(&self) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for kind in KINDS.iter().chain(&["Region", "Provider"]) {
            for object in self
                .ours(kind, None)
                .list(&kube::api::ListParams::default())
                .await?
            {
                let name = object.metadata.name.clone().unwrap_or_default();
                let namespace = object.metadata.namespace.clone().unwrap_or_default();
                all.insert(
                    format!("{kind} {namespace}/{name}"),
                    condition(&object, "Ready"),
                );
            }
        }
        Ok(all)
    }

    /// Waits until every object is Ready.
    pub async fn all_ready(&self, bound: Duration) -> Result<()> {
        self.until(bound, |all| {
            all.values().all(|ready| ready.starts_with("True"))
        })
        .await
    }

    /// Waits for a state of the readiness of all objects.
    pub async fn until(
        &self,
        bound: Duration,
        reached: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> Result<()> {
        let until = Instant::now() + bound;
        loop {
            let all = self.readiness().await?;
            if reached(&all) {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("not reached within {bound:?}: {all:#?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the Ready condition of one object contains a text, and gives it whole.
    pub async fn ready_says(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        text: &str,
    ) -> Result<String> {
        let until = Instant::now() + Duration::from_secs(30);
        let namespace = Some(namespace).filter(|n| !n.is_empty());
        loop {
            let object = self.ours(kind, namespace).get(name).await?;
            let says = condition(&object, "Ready");
            if says.contains(text) {
                return Ok(says);
            }
            if Instant::now() > until {
                bail!("{kind} {name} says {says:?}, not {text:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Deletes an object and waits until it is gone.
    pub async fn delete(
        &self,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        bound: Duration,
    ) -> Result<()> {
        let api = self.ours(kind, namespace);
        api.delete(name, &kube::api::DeleteParams::default())
            .await?;
        let until = Instant::now() + bound;
        while let Some(object) = api.get_opt(name).await? {
            if Instant::now() > until {
                let all = self.readiness().await?;
                bail!(
                    "{kind} {name} is still there after {bound:?}: {:?}; {all:#?}",
                    object.data["status"]
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The resourceVersion of every object of our kinds.
    pub async fn versions(&self) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for kind in KINDS.iter().chain(&["Region", "Provider"]) {
            for object in self
                .ours(kind, None)
                .list(&kube::api::ListParams::default())
                .await?
            {
                let name = object.metadata.name.clone().unwrap_or_default();
                let namespace = object.metadata.namespace.clone().unwrap_or_default();
                let version = object.metadata.resource_version.clone().unwrap_or_default();
                all.insert(format!("{kind} {namespace}/{name}"), version);
            }
        }
        Ok(all)
    }

    /// What every router and cluster holds, whole.
    pub fn outside(&self) -> BTreeMap<String, Value> {
        let routers = self.routers.iter().map(|(n, r)| (n.clone(), r.config()));
        let clusters = self.clusters.iter().map(|(n, c)| (n.clone(), c.snapshot()));
        routers.chain(clusters).collect()
    }

    /// Ends everything.
    pub async fn stop(mut self) -> Result<()> {
        if self.controller.is_some() {
            self.stop_controller().await?;
        }
        self.witness.came_up(self.cluster.comings());
        trace::keep(&self).await?;
        for (_, router) in std::mem::take(&mut self.routers) {
            router.stop().await;
        }
        for (_, cluster) in std::mem::take(&mut self.clusters) {
            cluster.stop().await;
        }
        self.cluster.stop()
    }
}

/// Has helm install a chart, under the name and in the namespace of the lab.
fn release(cluster: &Cluster, chart: &Path) -> Result<()> {
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let chart = chart.display().to_string();
    let args = ["install", chart::RELEASE, &chart, "--create-namespace"];
    let place = ["--namespace", NAMESPACE, "--kubeconfig", &kubeconfig];
    let output = chart::helm(&[&args[..], &place, &RELEASE_VALUES].concat())?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "helm install failed: {}",
        words.trim()
    );
    Ok(())
}

/// `True Ready: ` and the message, or that there is no such condition.
pub fn condition(object: &DynamicObject, type_: &str) -> String {
    let conditions = object.data["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = conditions.iter().find(|c| c["type"] == json!(type_));
    found.map_or_else(
        || "absent".to_owned(),
        |c| {
            let word = |key: &str| c[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}: {}", word("status"), word("reason"), word("message"))
        },
    )
}

/// The documents of a YAML text.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let documents = text.split("\n---").map(str::trim).filter(|d| {
        d.lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    });
    documents
        .map(|d| serde_saphyr::from_str::<Value>(d).context("cannot parse a manifest"))
        .collect()
}
