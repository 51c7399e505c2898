//! Turns the caches of the shell into one picture of all objects, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bb_crds::{Instance, Network, PAUSED, Provider, Region, TENANT_LABEL, Tenant, Volume};
use kube::ResourceExt;
use kube::core::ObjectMeta;

use crate::objects::Objects;
use crate::unread::Unread;

/// The UID of an object in the API: what a mark on a router or cluster says it belongs to.
pub type Uid = String;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of a namespaced object.
    #[must_use]
    pub fn of(object: &impl ResourceExt) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A namespace, as far as we care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceView {
    /// The tenant that its label names.
    pub tenant: Option<String>,
    /// The UID of the Tenant that owns it by an owner reference.
    pub owner: Option<Uid>,
    /// It is being deleted.
    pub deleting: bool,
}

impl NamespaceView {
    /// Reads labels and owner references.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        let owner = meta
            .owner_references
            .iter()
            .flatten()
            .find(|o| o.kind == "Tenant");
        Self {
            tenant: meta
                .labels
                .as_ref()
                .and_then(|l| l.get(TENANT_LABEL))
                .cloned(),
            owner: owner.map(|o| o.uid.clone()),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }
}

/// All objects at one moment, in a fixed order.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Regions by name.
    pub regions: Objects<String, Arc<Region>>,
    /// Providers by name.
    pub providers: Objects<String, Arc<Provider>>,
    /// Tenants by name.
    pub tenants: Objects<String, Arc<Tenant>>,
    /// Namespaces by name: those with a tenant's label or owner, or a tenant's name.
    pub namespaces: Objects<String, Arc<NamespaceView>>,
    /// Networks.
    pub networks: Objects<Key, Arc<Network>>,
    /// Instances.
    pub instances: Objects<Key, Arc<Instance>>,
    /// Volumes.
    pub volumes: Objects<Key, Arc<Volume>>,
    /// Objects that are there and cannot be understood.
    pub unread: Unread,
}

impl World {
    /// The tenant that owns `namespace`.
    #[must_use]
    pub fn tenant_of(&self, namespace: &str) -> Option<&Arc<Tenant>> {
        let view = self.namespaces.get(namespace)?;
        let tenant = self.tenants.get(namespace)?;
        let owned = view.owner.is_some() && view.owner == tenant.uid();
        owned.then_some(tenant)
    }

    /// Which instances have a card in each network, are recorded to have one, or cannot be
    /// understood and may. Read once for
    /// all networks: a search for each would look at every instance that often.
    #[must_use]
    pub fn users(&self) -> Users {
        let mut users: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
        for (key, instance) in &self.instances {
            let recorded = instance.status.iter().flat_map(|s| &s.addresses);
            let asked = instance.spec.networks.iter().map(|nic| &nic.network);
            let names: BTreeSet<&String> = asked.chain(recorded.map(|nic| &nic.network)).collect();
            for name in names {
                let network = Key::new(&key.namespace, name);
                users.entry(network).or_default().push(key.clone());
            }
        }
        // What cannot be understood may use any network beside it.
        for network in self.networks.keys() {
            let mut unread = self.unread.instances(&network.namespace).peekable();
            if unread.peek().is_some() {
                let all = users.entry(network.clone()).or_default();
                all.extend(unread.cloned());
            }
        }
        Users(users)
    }
}

/// The instances that use each network, in order.
#[derive(Clone, Debug, Default)]
pub struct Users(BTreeMap<Key, Vec<Key>>);

impl Users {
    /// Those of one network.
    #[must_use]
    pub fn of(&self, network: &Key) -> &[Key] {
        self.0.get(network).map_or(&[], Vec::as_slice)
    }

    /// Whether an instance has a card in a network.
    #[must_use]
    pub fn any(&self, network: &Key) -> bool {
        !self.of(network).is_empty()
    }
}

/// It is being deleted.
#[must_use]
pub fn deleting(object: &impl ResourceExt) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// It carries our finalizer.
#[must_use]
pub fn finalized(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|f| f == bb_crds::FINALIZER)
}

/// It is paused by annotation.
#[must_use]
pub fn paused(object: &impl ResourceExt) -> bool {
    object
        .annotations()
        .get(PAUSED)
        .is_some_and(|v| v == "true")
}

/// Its UID; empty only for an object that never was in an API.
#[must_use]
pub fn uid(object: &impl ResourceExt) -> Uid {
    object.uid().unwrap_or_default()
}
