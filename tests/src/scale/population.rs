//! Turns a number into that many Instances of ten tenants, made, and watched until they are Ready.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};

use crate::Site;
use crate::site::condition;

/// Tenants that share the Instances evenly.
pub const TENANTS: usize = 10;
/// The zones of the lab, one cluster each.
pub(super) const ZONES: [&str; 2] = ["north", "south"];
/// Requests of ours to the API at once while objects are made.
const AT_ONCE: usize = 8;

/// Instances of several tenants, in as many networks per tenant as there are zones.
#[derive(Debug, Default)]
pub struct Population {
    instances: usize,
}

impl Population {
    /// Nothing was made yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.instances == 0
    }

    /// Lets the clusters of the lab do as much at once as a Provider can say, so that thousands
    /// of guests are made in minutes.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn unbounded(site: &Site) -> Result<()> {
        for name in site.clusters.keys() {
            let limits = json!({"spec": {"proxmox": {"limits": {"clones": 64, "tasks": 256}}}});
            let patch = Patch::Merge(limits);
            site.ours("Provider", None)
                .patch(name, &PatchParams::default(), &patch)
                .await
                .with_context(|| format!("cannot change Provider {name}"))?;
        }
        Ok(())
    }

    /// Makes tenants and their networks, and waits until they are Ready.
    ///
    /// # Errors
    /// When the API refuses, or they are not Ready within `bound`.
    pub async fn tenants(site: &Site, bound: Duration) -> Result<()> {
        for tenant in 0..TENANTS {
            site.apply_value(json!({
                "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant",
                "metadata": {"name": format!("t{tenant}")},
                "spec": {"members": [{"name": "alice"}]},
            }))
            .await?;
        }
        // Their namespaces are the controller's to make.
        site.all_ready(bound).await?;
        for tenant in 0..TENANTS {
            for (at, zone) in ZONES.iter().enumerate() {
                site.apply_value(json!({
                    "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
                    "metadata": {"name": zone, "namespace": format!("t{tenant}")},
                    "spec": {"ipv4": {"prefix": format!("10.{at}.0.0/19")}, "zones": [zone]},
                }))
                .await?;
            }
        }
        site.all_ready(bound).await
    }

    /// Puts Instances and their guests there, as if they had been made, until there are `total`.
    ///
    /// # Errors
    /// When the API refuses.
    pub async fn seed(&mut self, site: &Site, total: usize) -> Result<()> {
        super::seeded::seed(site, self.instances..total).await?;
        self.instances = total;
        Ok(())
    }

    /// Makes Instances until there are `total`, and waits until all are Ready. Gives how long
    /// it took to make them, and until all were Ready.
    ///
    /// # Errors
    /// When the API refuses, or they are not Ready within `bound`.
    pub async fn grow(
        &mut self,
        site: &Site,
        total: usize,
        bound: Duration,
    ) -> Result<(Duration, Duration)> {
        let begun = Instant::now();
        let ready = all_ready(site, total, bound);
        let made = async {
            stream::iter((self.instances..total).map(Ok::<_, anyhow::Error>))
                .try_for_each_concurrent(AT_ONCE, |number| async move {
                    let (namespace, object) = instance(number)?;
                    let api = site.ours("Instance", Some(&namespace));
                    api.create(&PostParams::default(), &object)
                        .await
                        .context("cannot make an Instance")?;
                    Ok(())
                })
                .await?;
            Ok(begun.elapsed())
        };
        let (made, ()) = tokio::try_join!(made, ready)?;
        self.instances = total;
        Ok((made, begun.elapsed()))
    }
}

/// The Instance of a number, and its namespace.
pub(super) fn instance(number: usize) -> Result<(String, DynamicObject)> {
    let namespace = format!("t{}", number % TENANTS);
    let zone = ZONES[number / TENANTS % ZONES.len()];
    let object: Value = json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
        "metadata": {"name": format!("i{number}"), "namespace": namespace},
        "spec": {
            "image": "debian-12", "cpu": 1, "memory": "128Mi",
            "networks": [{"name": "eth0", "network": zone}],
        },
    });
    Ok((namespace, serde_json::from_value(object)?))
}

/// Waits until `total` Instances are there and all are Ready, by a watch: a list of thousands
/// of objects again and again would be the larger part of the load.
async fn all_ready(site: &Site, total: usize, bound: Duration) -> Result<()> {
    let api = site.ours("Instance", None);
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut known = HashSet::new();
    // What those that are not Ready say.
    let mut open: HashMap<String, String> = HashMap::new();
    let until = Instant::now() + bound;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(event) = tokio::time::timeout(left, events.next()).await else {
            let mut says: BTreeMap<&str, usize> = BTreeMap::new();
            for words in open.values() {
                *says.entry(words).or_default() += 1;
            }
            let there = known.len();
            bail!("{there} of {total} Instances are there after {bound:?}, and say: {says:#?}");
        };
        match event.context("the watch ended")? {
            Ok(Event::Init) => {
                known.clear();
                open.clear();
            }
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let (name, words) = (name_of(&object), condition(&object, "Ready"));
                if words.starts_with("True") {
                    open.remove(&name);
                } else {
                    open.insert(name.clone(), words);
                }
                known.insert(name);
            }
            Ok(Event::Delete(object)) => {
                let name = name_of(&object);
                open.remove(&name);
                known.remove(&name);
            }
            // An interrupted watch begins again by itself.
            Ok(Event::InitDone) | Err(_) => {}
        }
        if known.len() == total && open.is_empty() {
            return Ok(());
        }
    }
}

fn name_of(object: &DynamicObject) -> String {
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    format!(
        "{}/{}",
        word(&object.metadata.namespace),
        word(&object.metadata.name)
    )
}
