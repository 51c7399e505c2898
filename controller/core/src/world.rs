//! Turns the caches of the shell into one picture of all objects, at one moment.

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

    /// The instances that have a card in a network, are recorded to have one, or cannot be
    /// understood and may.
    pub fn users_of<'a>(&'a self, network: &'a Key) -> impl Iterator<Item = &'a Key> {
        let first = Key::new(&network.namespace, "");
        self.instances
            .range(first..)
            .take_while(|(key, _)| key.namespace == network.namespace)
            .filter(|(_, instance)| {
                let recorded = instance.status.iter().flat_map(|s| &s.addresses);
                instance
                    .spec
                    .networks
                    .iter()
                    .any(|nic| nic.network == network.name)
                    || recorded.into_iter().any(|nic| nic.network == network.name)
            })
            .map(|(key, _)| key)
            .chain(self.unread.instances(&network.namespace))
    }

    /// Whether an instance has a card in a network.
    #[must_use]
    pub fn in_use(&self, network: &Key) -> bool {
        self.users_of(network).next().is_some()
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
