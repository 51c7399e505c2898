//! Turns watches into caches, and caches into one picture of all objects.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail};
use bb_core::world::{Key, NamespaceView, World};
use bb_crds::{Instance, Network, Provider, Region, Tenant, Volume};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

/// The annotation that kubectl keeps a copy of the object in: as large as the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The watches that fill the caches, and what reads them.
pub(crate) struct Stores {
    readers: Readers,
    watches: Vec<Watch>,
}

type Watch = Box<dyn FnOnce(Arc<Notify>) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// The caches.
#[derive(Clone)]
pub(crate) struct Readers {
    pub(crate) providers: Store<Provider>,
    regions: Store<Region>,
    tenants: Store<Tenant>,
    namespaces: Store<PartialObjectMeta<Namespace>>,
    networks: Store<Network>,
    instances: Store<Instance>,
    volumes: Store<Volume>,
}

impl Stores {
    pub(crate) fn start(client: &Client) -> Self {
        let mut watches: Vec<Watch> = Vec::new();
        let readers = Readers {
            providers: start(client, &mut watches),
            regions: start(client, &mut watches),
            tenants: start(client, &mut watches),
            namespaces: start(client, &mut watches),
            networks: start(client, &mut watches),
            instances: start(client, &mut watches),
            volumes: start(client, &mut watches),
        };
        Self { readers, watches }
    }

    pub(crate) fn readers(&self) -> Readers {
        self.readers.clone()
    }
}

/// One cache and the future that fills it.
fn start<K>(client: &Client, watches: &mut Vec<Watch>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone + Default,
{
    let (reader, writer) = reflector::store::<K>();
    let api: Api<K> = Api::all(client.clone());
    watches.push(Box::new(move |changed: Arc<Notify>| {
        Box::pin(async move {
            let stream = watcher(api, watcher::Config::default())
                .default_backoff()
                .modify(|object| {
                    object.managed_fields_mut().clear();
                    object.annotations_mut().remove(LAST_APPLIED);
                })
                .reflect(writer);
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(_) => changed.notify_one(),
                    Err(error) => tracing::warn!(%error, "a watch was interrupted"),
                }
            }
            bail!("a watch ended")
        })
    }));
    reader
}

impl Stores {
    /// Fills the caches for as long as the process lives, and tells of every change.
    pub(crate) async fn run(self, changed: Arc<Notify>) -> anyhow::Result<()> {
        let watches = self
            .watches
            .into_iter()
            .map(|watch| watch(Arc::clone(&changed)));
        let (result, _, _) = futures::future::select_all(watches).await;
        result
    }
}

impl Readers {
    /// Waits until every cache has been filled once.
    pub(crate) fn ready(&self) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let readers = self.clone();
        async move {
            readers
                .providers
                .wait_until_ready()
                .await
                .context("providers")?;
            readers
                .regions
                .wait_until_ready()
                .await
                .context("regions")?;
            readers
                .tenants
                .wait_until_ready()
                .await
                .context("tenants")?;
            readers
                .namespaces
                .wait_until_ready()
                .await
                .context("namespaces")?;
            readers
                .networks
                .wait_until_ready()
                .await
                .context("networks")?;
            readers
                .instances
                .wait_until_ready()
                .await
                .context("instances")?;
            readers.volumes.wait_until_ready().await.context("volumes")
        }
    }

    /// All objects at this moment, with what we wrote ourselves and have not seen come back.
    pub(crate) fn world(&self, written: &Written) -> World {
        let mut written = written
            .0
            .lock()
            .expect("no code panics while it holds this lock");
        let world = World {
            regions: written.by_name(&self.regions),
            providers: written.by_name(&self.providers),
            tenants: written.by_name(&self.tenants),
            namespaces: self
                .namespaces
                .state()
                .iter()
                .map(|n| (n.name_any(), NamespaceView::of(&n.metadata)))
                .collect(),
            networks: written.by_key(&self.networks),
            instances: written.by_key(&self.instances),
            volumes: written.by_key(&self.volumes),
        };
        if written.0.len() > MANY {
            written.drop_absent(&world);
        }
        world
    }
}

/// Objects as we wrote them, until the caches have them: a decision on what was there before
/// our own write would be made twice.
#[derive(Default)]
pub(crate) struct Written(Mutex<Latest>);

#[derive(Default)]
struct Latest(BTreeMap<String, DynamicObject>);

/// More objects that were written and not seen again than come together by themselves: some
/// were deleted meanwhile.
const MANY: usize = 256;

impl Written {
    /// Remembers an object as the API gave it back.
    pub(crate) fn remember(&self, object: DynamicObject) {
        let mut latest = self
            .0
            .lock()
            .expect("no code panics while it holds this lock");
        if let Some(uid) = object.metadata.uid.clone() {
            latest.0.insert(uid, object);
        }
    }

    /// Forgets what was written: the API refused something as old, so the caches must catch up.
    pub(crate) fn forget(&self, uid: Option<&String>) {
        let mut latest = self
            .0
            .lock()
            .expect("no code panics while it holds this lock");
        if let Some(uid) = uid {
            latest.0.remove(uid);
        }
    }
}

/// Resource versions of one kind grow (Kubernetes 1.35 and later says so; every release with
/// etcd has done so).
fn version(text: Option<String>) -> u64 {
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

impl Latest {
    fn drop_absent(&mut self, world: &World) {
        let mut there: HashSet<String> = HashSet::new();
        there.extend(
            world
                .regions
                .values()
                .filter_map(|o| o.metadata.uid.clone()),
        );
        there.extend(
            world
                .providers
                .values()
                .filter_map(|o| o.metadata.uid.clone()),
        );
        there.extend(
            world
                .tenants
                .values()
                .filter_map(|o| o.metadata.uid.clone()),
        );
        there.extend(
            world
                .networks
                .values()
                .filter_map(|o| o.metadata.uid.clone()),
        );
        there.extend(
            world
                .instances
                .values()
                .filter_map(|o| o.metadata.uid.clone()),
        );
        there.extend(
            world
                .volumes
                .values()
                .filter_map(|o| o.metadata.uid.clone()),
        );
        self.0.retain(|uid, _| there.contains(uid));
    }

    fn newer<K>(&mut self, cached: Arc<K>) -> Arc<K>
    where
        K: Resource + DeserializeOwned,
    {
        let Some(uid) = cached.meta().uid.clone() else {
            return cached;
        };
        let Some(ours) = self.0.get(&uid) else {
            return cached;
        };
        if version(ours.metadata.resource_version.clone())
            <= version(cached.meta().resource_version.clone())
        {
            self.0.remove(&uid);
            return cached;
        }
        match ours.clone().try_parse::<K>() {
            Ok(object) => Arc::new(object),
            Err(_) => cached,
        }
    }

    fn by_name<K>(&mut self, store: &Store<K>) -> BTreeMap<String, Arc<K>>
    where
        K: Resource<DynamicType = ()>
            + Lookup<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + 'static,
    {
        let all = store.state().into_iter().map(|object| self.newer(object));
        all.map(|object| (object.name_any(), object)).collect()
    }

    fn by_key<K>(&mut self, store: &Store<K>) -> BTreeMap<Key, Arc<K>>
    where
        K: Resource<DynamicType = ()>
            + Lookup<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + 'static,
    {
        let all = store.state().into_iter().map(|object| self.newer(object));
        all.map(|object| (Key::of(object.as_ref()), object))
            .collect()
    }
}
