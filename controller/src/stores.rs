//! Turns watches into caches, and caches into one picture of all objects.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bb_core::resolve::Id;
use bb_core::unread::Unread;
use bb_core::world::{NamespaceView, World};
use bb_crds::{Instance, Network, Plan, Provider, Region, Tenant, Volume};
use futures::future::BoxFuture;
use kube::Client;
use kube::api::DynamicObject;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher;
use tokio::sync::Notify;

use crate::cache::Cache;
use crate::kept::{Head, Kept};
use crate::watch::{Counts, Watch};

/// The watches that fill the caches, and what reads them.
pub(crate) struct Stores {
    readers: Readers,
    client: Client,
    timeout: Duration,
    targets: reflector::store::Writer<Provider>,
}

/// The caches.
#[derive(Clone)]
pub(crate) struct Readers {
    /// The Providers once more, for the queue of targets.
    pub(crate) targets: Store<Provider>,
    regions: Arc<Cache<Region>>,
    providers: Arc<Cache<Provider>>,
    tenants: Arc<Cache<Tenant>>,
    namespaces: Arc<Cache<NamespaceView>>,
    networks: Arc<Cache<Network>>,
    instances: Arc<Cache<Instance>>,
    volumes: Arc<Cache<Volume>>,
    pub(crate) plans: Arc<Cache<Plan>>,
    /// Rung when a Plan changed: those that decide about objects have nothing to do with it.
    pub(crate) asked: Arc<Notify>,
    counts: Arc<Counts>,
}

impl Stores {
    /// Watches end after `timeout`: one that is silently dead is noticed five seconds later.
    pub(crate) fn new(client: Client, timeout: Duration, counts: Arc<Counts>) -> Self {
        let (targets, writer) = reflector::store();
        let readers = Readers {
            targets,
            regions: Arc::default(),
            providers: Arc::default(),
            tenants: Arc::default(),
            namespaces: Arc::default(),
            networks: Arc::default(),
            instances: Arc::default(),
            volumes: Arc::default(),
            plans: Arc::default(),
            asked: Arc::default(),
            counts,
        };
        Self {
            readers,
            client,
            timeout,
            targets: writer,
        }
    }

    pub(crate) fn readers(&self) -> Readers {
        self.readers.clone()
    }

    /// Fills the caches for as long as the process lives, and tells of every change.
    pub(crate) async fn run(mut self, changed: Arc<Notify>) -> anyhow::Result<()> {
        let readers = self.readers();
        let mut targets = std::mem::take(&mut self.targets);
        let copy = move |cache: &Cache<Provider>| {
            // There are few, and this is done when one of them changes.
            targets.apply_watcher_event(&watcher::Event::Init);
            for provider in cache.objects().values() {
                let event = watcher::Event::InitApply(provider.as_ref().clone());
                targets.apply_watcher_event(&event);
            }
            targets.apply_watcher_event(&watcher::Event::InitDone);
        };
        let watches = [
            self.watch(&readers.regions, &changed, |_| {}),
            self.watch(&readers.providers, &changed, copy),
            self.watch(&readers.tenants, &changed, |_| {}),
            self.watch(&readers.namespaces, &changed, |_| {}),
            self.watch(&readers.networks, &changed, |_| {}),
            self.watch(&readers.instances, &changed, |_| {}),
            self.watch(&readers.volumes, &changed, |_| {}),
            self.watch(&readers.plans, &readers.asked, |_| {}),
        ];
        let (result, _, _) = futures::future::select_all(watches).await;
        result?;
        bail!("a watch ended")
    }

    fn watch<T: Kept>(
        &self,
        cache: &Arc<Cache<T>>,
        bell: &Arc<Notify>,
        after: impl FnMut(&Cache<T>) + Send + Sync + 'static,
    ) -> BoxFuture<'static, anyhow::Result<()>> {
        let watch = Watch {
            client: self.client.clone(),
            cache: Arc::clone(cache),
            bell: Arc::clone(bell),
            timeout: self.timeout,
            counts: Arc::clone(&self.readers.counts),
            after: Box::new(after),
        };
        Box::pin(watch.run())
    }
}

impl Readers {
    /// Waits until every cache has been filled once, but that of Plans: nothing waits for those.
    pub(crate) async fn ready(&self) {
        self.regions.ready().await;
        self.providers.ready().await;
        self.tenants.ready().await;
        self.namespaces.ready().await;
        self.networks.ready().await;
        self.instances.ready().await;
        self.volumes.ready().await;
    }

    /// All objects at this moment, with what we wrote ourselves.
    pub(crate) fn world(&self) -> World {
        let mut unread = Unread::default();
        self.regions.unread(&mut unread);
        self.providers.unread(&mut unread);
        self.tenants.unread(&mut unread);
        self.networks.unread(&mut unread);
        self.instances.unread(&mut unread);
        self.volumes.unread(&mut unread);
        World {
            regions: self.regions.objects(),
            providers: self.providers.objects(),
            tenants: self.tenants.objects(),
            namespaces: self.namespaces.objects(),
            networks: self.networks.objects(),
            instances: self.instances.objects(),
            volumes: self.volumes.objects(),
            unread,
        }
    }

    /// A Provider, as it is known now.
    pub(crate) fn provider(&self, name: &str) -> Option<Arc<Provider>> {
        self.providers.objects().get(name).cloned()
    }

    /// Takes in an object as the API answered to a write of ours: a decision on what was there
    /// before our own write would be made twice.
    pub(crate) fn wrote(&self, id: &Id, object: &DynamicObject) {
        let Ok(text) = serde_json::to_string(object) else {
            return;
        };
        let Ok(head) = Head::of(&text) else {
            return;
        };
        match id {
            Id::Region(_) => self.regions.wrote(&head, &text),
            Id::Provider(_) => self.providers.wrote(&head, &text),
            Id::Tenant(_) => self.tenants.wrote(&head, &text),
            Id::Network(_) => self.networks.wrote(&head, &text),
            Id::Volume(_) => self.volumes.wrote(&head, &text),
            Id::Instance(_) => self.instances.wrote(&head, &text),
        }
    }

    /// Believes the watch of an object again: the API refused a write to it as old.
    pub(crate) fn distrust(&self, id: &Id) {
        match id {
            Id::Region(name) => self.regions.distrust(name),
            Id::Provider(name) => self.providers.distrust(name),
            Id::Tenant(name) => self.tenants.distrust(name),
            Id::Network(key) => self.networks.distrust(key),
            Id::Volume(key) => self.volumes.distrust(key),
            Id::Instance(key) => self.instances.distrust(key),
        }
    }
}
