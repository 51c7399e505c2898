//! What fails waits by itself: one target, one object of the API.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_tests::scale::noisy;
use bb_tests::{Site, SiteOptions};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Longer than anything here takes on two busy cores, and shorter than a pause of [`patient`].
const BOUND: Duration = Duration::from_secs(25);

fn options(time_scale: f64, flags: &[&str]) -> SiteOptions {
    SiteOptions {
        time_scale,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..SiteOptions::default()
    }
}

/// After a failure nothing is tried again for half a minute at least, but for a reason.
fn patient() -> SiteOptions {
    options(
        0.0,
        &[
            "--active-poll",
            "100",
            "--backoff",
            "60000",
            "--poll",
            "3600",
        ],
    )
}

/// A router that takes connections and never says a word.
struct Mute {
    address: String,
    met: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Mute {
    /// Holds each connection for as long as it lives itself, or closes it at once.
    async fn start(holds: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("https://{}", listener.local_addr()?);
        let met = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&met);
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                if holds {
                    held.push(connection);
                }
            }
        });
        Ok(Self { address, met, task })
    }

    fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }

    /// A Provider for it, in a zone that no network is in, and what that needs.
    async fn join(&self, site: &Site, name: &str, number: usize) -> Result<()> {
        site.apply_value(secret("far", "a-key")).await?;
        site.apply_value(json!({
            "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Provider",
            "metadata": {"name": name},
            "spec": {"region": "lab", "zone": "far", "vyos": {
                "endpoint": self.address, "credentials": {"secret": "far"},
                "tls": {"sha256": ["00".repeat(32)]}, "routerId": format!("10.255.1.{}", number + 1),
            }},
        }))
        .await?;
        Ok(())
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn secret(name: &str, key: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": "bitbuilder-system"}, "stringData": {"key": key}})
}

async fn version(site: &Site, kind: &str, name: &str) -> Result<String> {
    let object = site.ours(kind, None).get(name).await?;
    object.metadata.resource_version.context("it has a version")
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) -> Result<()> {
    let until = Instant::now() + BOUND;
    while !reached() {
        if Instant::now() > until {
            bail!("{what}: not within {BOUND:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_target_is_told_of_twice_however_often_it_is_asked() -> Result<()> {
    let flags = ["--active-poll", "100", "--backoff", "20", "--poll", "3600"];
    let site = Site::start(options(0.0, &flags)).await?;
    let mute = Mute::start(false).await?;
    mute.join(&site, "dead", 0).await?;
    let says = site
        .ready_says("Provider", "", "dead", "asked again within 5 minutes")
        .await?;
    assert!(says.starts_with("False Unreachable"), "{says}");
    let (told, tries) = (version(&site, "Provider", "dead").await?, mute.met());
    until("it is tried again", || mute.met() >= tries + 3).await?;
    assert_eq!(version(&site, "Provider", "dead").await?, told, "{says}");
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_dead_targets_do_not_starve_a_healthy_one() -> Result<()> {
    let flags = [
        "--active-poll",
        "100",
        "--backoff",
        "200",
        "--poll",
        "3600",
        "--concurrency",
        "4",
    ];
    let site = Site::start(options(0.0, &flags)).await?;
    let mut mutes = Vec::new();
    for at in 0..20 {
        let mute = Mute::start(true).await?;
        mute.join(&site, &format!("dead-{at:02}"), at).await?;
        mutes.push(mute);
    }
    until("they are all asked", || mutes.iter().all(|m| m.met() > 0)).await?;
    // Their requests hang for longer than this takes.
    let begun = Instant::now();
    site.apply_dir("examples/acme").await?;
    site.until(BOUND, |all| {
        let own = all.iter().filter(|(id, _)| id.contains("acme"));
        let ready = own.filter(|(_, ready)| ready.starts_with("True"));
        ready.count() >= 9
    })
    .await?;
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_comes_late_or_changes_is_taken_at_once() -> Result<()> {
    let site = Site::start(patient()).await?;
    site.all_ready(BOUND).await?;
    // r1's key is replaced by a wrong one: nothing notices before it is used, but for the watch.
    site.apply_value(secret("r1", "a-wrong-key")).await?;
    site.ready_says("Provider", "", "r1", "False Unauthorized")
        .await?;
    site.apply_value(secret("r1", "key-of-r1")).await?;
    site.ready_says("Provider", "", "r1", "True").await?;
    // A Secret that is not there yet, and another name for it in the Provider.
    let use_secret = |name: &str| json!({"spec": {"vyos": {"credentials": {"secret": name}}}});
    let providers = site.ours("Provider", None);
    let params = PatchParams::default();
    providers
        .patch("r2", &params, &Patch::Merge(use_secret("late")))
        .await?;
    site.ready_says("Provider", "", "r2", "cannot read Secret")
        .await?;
    site.apply_value(secret("late", "key-of-r2")).await?;
    site.ready_says("Provider", "", "r2", "True").await?;
    // And a change of the Provider itself is one, too.
    providers
        .patch("r2", &params, &Patch::Merge(use_secret("later")))
        .await?;
    site.ready_says("Provider", "", "r2", "cannot read Secret")
        .await?;
    providers
        .patch("r2", &params, &Patch::Merge(use_secret("late")))
        .await?;
    site.ready_says("Provider", "", "r2", "True").await?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_refuses_rests_alone_until_its_spec_changes() -> Result<()> {
    let site = Site::start(patient()).await?;
    for object in noisy::tenant("acme") {
        site.apply_value(object).await?;
    }
    noisy::refuse_status(&site).await?;
    let network = json!({"ipv4": {"prefix": "10.10.0.0/24"}, "zones": ["north"]});
    site.apply_value(noisy::object("Network", "acme", "web", &network))
        .await?;
    site.ready_says("Network", "acme", "web", "True").await?;
    let machine = |name: &str, cpu: u32| {
        let spec = json!({"image": "debian-12", "cpu": cpu,
            "networks": [{"name": "eth0", "network": "web"}]});
        noisy::object("Instance", "acme", name, &spec)
    };
    let mut refused = machine("a-refused", 1);
    refused["metadata"]["labels"] = json!({noisy::REFUSED: "true"});
    site.apply_value(refused).await?;
    // Its finalizer is taken, and its status is not.
    let machines = site.ours("Instance", Some("acme"));
    let begun = Instant::now();
    while machines
        .get("a-refused")
        .await?
        .metadata
        .finalizers
        .is_none()
    {
        if begun.elapsed() > BOUND {
            bail!("it was never tried");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site.apply_value(machine("b-good", 1)).await?;
    site.ready_says("Instance", "acme", "b-good", "True")
        .await?;
    let status = machines.get("a-refused").await?.data["status"].clone();
    assert_eq!(status, Value::Null, "its status is refused");
    let cursor = || async {
        let provider = site.ours("Provider", None).get("c1").await?;
        anyhow::Ok(provider.data["status"]["nextVmid"].clone())
    };
    let before = cursor().await?;
    for number in 0..3 {
        let name = format!("c-{number}");
        site.apply_value(machine(&name, 1)).await?;
        site.ready_says("Instance", "acme", &name, "True").await?;
    }
    let moved = cursor().await?.as_i64().zip(before.as_i64());
    let moved = moved.map(|(after, before)| after - before);
    assert_eq!(moved, Some(3), "what is refused is given nothing meanwhile");
    // Another spec is tried at once, long before the pause is over.
    let admit = json!({"metadata": {"labels": {noisy::REFUSED: null}}, "spec": {"cpu": 2}});
    machines
        .patch("a-refused", &PatchParams::default(), &Patch::Merge(admit))
        .await?;
    site.ready_says("Instance", "acme", "a-refused", "True")
        .await?;
    site.stop().await
}
