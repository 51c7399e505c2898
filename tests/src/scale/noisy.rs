//! Turns a number into that many objects of one tenant that all fail, and into how much longer
//! another tenant waits for its ten while they do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_lab_kit::faults::{Action, Fault};
use futures::{TryStreamExt as _, stream};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::Row;
use super::audit::Audit;
use super::process::Process;
use crate::site::condition;
use crate::{Site, SiteOptions};

/// The tenant whose objects fail.
pub const NOISY: &str = "noisy";
/// Objects of the other tenant: itself, two networks, two volumes, four machines, a container.
pub const QUIET: usize = 10;
/// What the wait of the other tenant may be at most, as a multiple of that without the first.
pub const MOST: f64 = 1.5;
/// Requests of ours to the API at once while objects are made.
const AT_ONCE: usize = 8;
/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(900);
/// The label on objects whose status the API refuses.
pub const REFUSED: &str = "bitbuilder.test/refused";

/// The ways in which an object fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// It names an image that is not there.
    Image,
    /// It names a network that is not there.
    Network,
    /// Its network has no address left.
    Address,
    /// The cluster refuses to clone it, each time.
    Clone,
    /// The API refuses its status, each time.
    Status,
}

/// Each way, in turn.
pub const WAYS: [Failing; 5] = [
    Failing::Image,
    Failing::Network,
    Failing::Address,
    Failing::Clone,
    Failing::Status,
];

/// How long a tenant with ten objects waited for all of them to be Ready.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// With nobody else.
    pub alone: Duration,
    /// While the controller has just begun with the objects that fail.
    pub backlog: Duration,
    /// While they go on failing, and are tried again.
    pub after: Duration,
}

impl Waits {
    /// The longer of the two, as a multiple of that without anybody else.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.backlog.max(self.after).as_secs_f64() / self.alone.as_secs_f64()
    }
}

/// Measures, with so many failing objects.
///
/// # Errors
/// When the API refuses, or anything takes far too long.
pub async fn waits(site: &Site, failing: usize) -> Result<Waits> {
    // The first tenant pays for what is there only once: it is not measured.
    wait(site, "warm").await?;
    let alone = wait(site, "alone").await?;
    prepare(site).await?;
    make(site, failing).await?;
    let backlog = wait(site, "backlog").await?;
    all_told(site, failing).await?;
    let after = wait(site, "after").await?;
    Ok(Waits {
        alone,
        backlog,
        after,
    })
}

/// Makes a tenant of ten objects, and says how long it took until all were Ready. Then takes it
/// away again, so that the next finds the same.
async fn wait(site: &Site, tenant: &str) -> Result<Duration> {
    let begun = Instant::now();
    for object in quiet(tenant) {
        site.apply_value(object).await?;
    }
    let mut open = usize::MAX;
    while open > 0 {
        if begun.elapsed() > BOUND {
            bail!(
                "{open} objects of {tenant} are not Ready after {BOUND:?}: {:#?}",
                own(site, tenant).await?
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let all = own(site, tenant).await?;
        open = all
            .iter()
            .filter(|ready| !ready.starts_with("True"))
            .count();
        open += QUIET.saturating_sub(all.len());
    }
    let took = begun.elapsed();
    site.delete("Tenant", None, tenant, BOUND).await?;
    Ok(took)
}

/// What every object of a tenant says of Ready.
async fn own(site: &Site, tenant: &str) -> Result<Vec<String>> {
    let mut all = vec![condition(
        &site.ours("Tenant", None).get(tenant).await?,
        "Ready",
    )];
    for kind in ["Network", "Volume", "Instance"] {
        let api = site.ours(kind, Some(tenant));
        let list = api.list(&ListParams::default()).await?;
        all.extend(list.iter().map(|object| condition(object, "Ready")));
    }
    Ok(all)
}

/// One of our objects.
#[must_use]
pub fn object(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// A tenant's namespace, offered to it, and the tenant.
#[must_use]
pub fn tenant(name: &str) -> [Value; 2] {
    [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata":
            {"name": name, "labels": {"bitbuilder.cloud/tenant": name}}}),
        json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name}, "spec": {}}),
    ]
}

fn quiet(name: &str) -> Vec<Value> {
    let mut all = tenant(name).to_vec();
    let both = json!({"ipv4": {"prefix": "10.10.0.0/24"}});
    all.push(object("Network", name, "web", &both));
    let north = json!({"ipv4": {"prefix": "10.10.1.0/24"}, "zones": ["north"]});
    all.push(object("Network", name, "db", &north));
    for volume in ["one", "two"] {
        let spec = json!({"size": "1Gi", "zone": "north"});
        all.push(object("Volume", name, volume, &spec));
    }
    for machine in 0..4 {
        let network = ["web", "db"][machine % 2];
        let mut spec = json!({"image": "debian-12", "placement": {"zone": "north"},
            "networks": [{"name": "eth0", "network": network}]});
        if let Some(volume) = ["one", "two"].get(machine) {
            spec["volumes"] = json!([{"name": "data", "volume": volume}]);
        }
        all.push(object("Instance", name, &format!("vm-{machine}"), &spec));
    }
    let container = json!({"type": "Container", "image": "alpine-3.20",
        "placement": {"zone": "north"}, "networks": [{"name": "eth0", "network": "web"}]});
    all.push(object("Instance", name, "ct", &container));
    all
}

/// The tenant that fails, with two networks that do not; and what makes its objects fail.
async fn prepare(site: &Site) -> Result<()> {
    for object in tenant(NOISY) {
        site.apply_value(object).await?;
    }
    let wide = json!({"ipv4": {"prefix": "10.20.0.0/18"}, "zones": ["north"]});
    site.apply_value(object("Network", NOISY, "wide", &wide))
        .await?;
    let full = json!({"ipv4": {"prefix": "10.30.0.0/29", "reserved": ["10.30.0.2-10.30.0.6"]},
        "zones": ["north"]});
    site.apply_value(object("Network", NOISY, "full", &full))
        .await?;
    for network in ["wide", "full"] {
        site.ready_says("Network", NOISY, network, "True").await?;
    }
    let refusal = Action::Status {
        status: 500,
        reason: Some("unable to create VM: no room for one more".to_owned()),
        body: String::new(),
        headers: Vec::new(),
    };
    let refusal = Fault::new(refusal).method("POST").path("/clone");
    for cluster in site.clusters.values() {
        cluster
            .faults()
            .add(refusal.clone().body("name=clone-").times(0));
    }
    refuse_status(site).await
}

/// Has the API refuse the status of Instances that bear the label [`REFUSED`].
///
/// # Errors
/// When the API refuses that.
pub async fn refuse_status(site: &Site) -> Result<()> {
    let name = "refused.bitbuilder.test";
    site.apply_value(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["bitbuilder.cloud"], "apiVersions": ["*"],
                "operations": ["UPDATE"], "resources": ["instances/status"],
            }]},
            "validations": [{
                "expression": format!(
                    "!has(object.metadata.labels) || !('{REFUSED}' in object.metadata.labels)"
                ),
                "message": "this status is refused for a test",
            }],
        },
    }))
    .await?;
    site.apply_value(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }))
    .await?;
    // The API server takes a moment to heed it.
    let spec = json!({"image": "none", "networks": [{"name": "eth0", "network": "none"}]});
    let mut probe = object("Instance", "default", "probe", &spec);
    probe["metadata"]["labels"] = json!({REFUSED: "true"});
    site.apply_value(probe).await?;
    let api = site.ours("Instance", Some("default"));
    let dry = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"status": {"node": "none"}}));
    let until = Instant::now() + BOUND;
    while api.patch_status("probe", &dry, &patch).await.is_ok() {
        if Instant::now() > until {
            bail!("the policy has no effect");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.delete("Instance", Some("default"), "probe", BOUND)
        .await
}

/// Makes the objects that fail, each in another way than the one before.
async fn make(site: &Site, failing: usize) -> Result<()> {
    let api = site.ours("Instance", Some(NOISY));
    stream::iter((0..failing).map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_ONCE, |number| {
            let api = api.clone();
            async move {
                let object = serde_json::from_value(failing_instance(number))?;
                let made = api.create(&PostParams::default(), &object).await;
                made.context("cannot make an object that fails")?;
                Ok(())
            }
        })
        .await
}

fn failing_instance(number: usize) -> Value {
    let way = WAYS[number % WAYS.len()];
    let prefix = match way {
        Failing::Clone => "clone",
        Failing::Image | Failing::Network | Failing::Address | Failing::Status => "bad",
    };
    let image = match way {
        Failing::Image => "nobody-has-this",
        _ => "debian-12",
    };
    let network = match way {
        Failing::Network => "nowhere",
        Failing::Address => "full",
        _ => "wide",
    };
    let spec = json!({"image": image, "placement": {"zone": "north"},
        "networks": [{"name": "eth0", "network": network}]});
    let mut object = object("Instance", NOISY, &format!("{prefix}-{number:05}"), &spec);
    if way == Failing::Status {
        object["metadata"]["labels"] = json!({REFUSED: "true"});
    }
    object
}

/// Waits until everything that can be told of the failing objects is: all but those whose
/// status is refused say why they are not Ready.
async fn all_told(site: &Site, failing: usize) -> Result<()> {
    let until = Instant::now() + BOUND;
    let api = site.ours("Instance", Some(NOISY));
    loop {
        let list = api.list(&ListParams::default()).await?;
        let told = list
            .iter()
            .filter(|object| condition(object, "Ready").starts_with("False"))
            .count();
        if told >= failing - failing / WAYS.len() {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{told} of {failing} objects say why they fail after {BOUND:?}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Five thousand, and the controller in a process of its own.
///
/// # Errors
/// When anything takes far too long.
pub async fn run() -> Result<Vec<Row>> {
    let failing = 5000;
    let options = SiteOptions {
        time_scale: 0.5,
        controller: false,
        ..SiteOptions::default()
    };
    let site = Site::start(options).await?;
    let controller = Process::start(&site.cluster, &[]).await?;
    let mut audit = Audit::of(&site.cluster)?;
    let waits = waits(&site, failing).await?;
    let told = audit.since(bb_lab_harness::lab::CONTROLLER_USER)?;
    // How often what fails is written to while it goes on failing.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let again = audit.since(bb_lab_harness::lab::CONTROLLER_USER)?;
    let cpu = controller.cpu()?;
    controller.stop()?;
    site.stop().await?;
    let most = told.writes_to("instances").into_values().max();
    let seconds =
        |name: &str, took: Duration, how: &str| Row::varies(name, took.as_secs_f64(), "s", how);
    Ok(vec![
        Row::at_most(
            "noisy_ratio_at_5000",
            waits.ratio(),
            MOST,
            "times",
            "the longer of the two below by that alone",
        ),
        seconds(
            "noisy_alone",
            waits.alone,
            "ten objects of a tenant with nobody else, to Ready",
        ),
        seconds(
            "noisy_backlog_at_5000",
            waits.backlog,
            "the same right after 5,000 failing Instances of another were made",
        ),
        seconds(
            "noisy_after_at_5000",
            waits.after,
            "the same while all of those go on failing",
        ),
        Row::varies(
            "noisy_writes_per_object",
            most.map_or(f64::NAN, |most| most as f64),
            "writes",
            "the most to one Instance, tries that the API refused included",
        ),
        Row::varies(
            "noisy_writes_in_30_s",
            again.written() as f64,
            "writes",
            "of the controller while they go on failing and nobody else does anything",
        ),
        Row::varies(
            "noisy_cpu",
            cpu,
            "s",
            "CPU time of the controller, all in all",
        ),
    ])
}
