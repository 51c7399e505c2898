//! Turns an object as the API sends it into what we keep of it: only what is ever read.

use std::collections::BTreeMap;

use bb_core::resolve::Id;
use bb_core::world::{Key, NamespaceView};
use bb_crds::{GROUP, Instance, Network, Plan, Provider, Region, Tenant, Volume};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::Resource;
use kube::core::ObjectMeta;
use serde::Deserialize;

/// Something that is kept of every object of a kind.
pub(crate) trait Kept: PartialEq + Send + Sync + Sized + 'static {
    /// What it is found by.
    type Key: Ord + Clone + Send + Sync + 'static;

    /// The kind, for people.
    const KIND: &'static str;

    /// Where the API lists it.
    fn path() -> String;

    /// Where it is kept.
    fn key(head: &Head) -> Self::Key;

    /// What it is called among all objects; none for what is not ours to report on.
    fn id(key: &Self::Key) -> Option<Id>;

    /// Reads an object.
    fn read(text: &str) -> serde_json::Result<Self>;

    /// UID and version, where they are kept.
    fn stamp(&self) -> Option<(&str, u64)>;
}

/// What every object has, however broken the rest of it is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Head {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    resource_version: String,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Headed {
    metadata: Head,
}

impl Head {
    pub(crate) fn of(text: &str) -> serde_json::Result<Self> {
        Ok(serde_json::from_str::<Headed>(text)?.metadata)
    }

    pub(crate) fn version(&self) -> u64 {
        version(&self.resource_version)
    }

    pub(crate) fn version_text(&self) -> &str {
        &self.resource_version
    }

    /// Whether this bookmark ends the objects that were there when a watch began.
    pub(crate) fn ends_the_list(&self) -> bool {
        let annotations = self.annotations.as_ref();
        annotations.is_some_and(|a| {
            a.get("k8s.io/initial-events-end")
                .is_some_and(|v| v == "true")
        })
    }
}

/// Resource versions of one kind grow (Kubernetes 1.35 and later says so; every release with
/// etcd has done so).
pub(crate) fn version(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// The metadata that we read. The rest (managed fields, what kubectl applied last, labels of
/// others) is larger than the object and is not even taken out of the text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    #[serde(default)]
    finalizers: Option<Vec<String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    owner_references: Option<Vec<OwnerReference>>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        let ours = |map: Option<BTreeMap<String, String>>| {
            let mut map = map?;
            map.retain(|key, _| key.split('/').next().is_some_and(|p| p.ends_with(GROUP)));
            (!map.is_empty()).then_some(map)
        };
        Self {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            generation: meta.generation,
            creation_timestamp: meta.creation_timestamp,
            deletion_timestamp: meta.deletion_timestamp,
            finalizers: meta.finalizers,
            annotations: ours(meta.annotations),
            labels: ours(meta.labels),
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
struct Parts<S, T> {
    metadata: Meta,
    spec: S,
    status: Option<T>,
}

fn stamp(meta: &ObjectMeta) -> Option<(&str, u64)> {
    let uid = meta.uid.as_deref()?;
    Some((uid, version(meta.resource_version.as_deref()?)))
}

macro_rules! kept {
    ($kind:ident, $key:ty, $head:ident => $make:expr, $id:expr) => {
        impl Kept for $kind {
            type Key = $key;

            const KIND: &'static str = stringify!($kind);

            fn path() -> String {
                <Self as Resource>::url_path(&(), None)
            }

            fn key($head: &Head) -> Self::Key {
                $make
            }

            fn id(key: &Self::Key) -> Option<Id> {
                let id: fn(&Self::Key) -> Option<Id> = $id;
                id(key)
            }

            fn read(text: &str) -> serde_json::Result<Self> {
                let parts: Parts<_, _> = serde_json::from_str(text)?;
                let read = Self {
                    metadata: parts.metadata.into(),
                    spec: parts.spec,
                    status: parts.status,
                };
                // What was read left room to grow in each of its lists; a copy has none.
                Ok(read.clone())
            }

            fn stamp(&self) -> Option<(&str, u64)> {
                stamp(&self.metadata)
            }
        }
    };
}

kept!(Region, String, head => head.name.clone(), |key| Some(Id::Region(key.clone())));
kept!(Provider, String, head => head.name.clone(), |key| Some(Id::Provider(key.clone())));
kept!(Tenant, String, head => head.name.clone(), |key| Some(Id::Tenant(key.clone())));
kept!(Network, Key, head => Key::new(&head.namespace, &head.name), |key| Some(Id::Network(key.clone())));
kept!(Instance, Key, head => Key::new(&head.namespace, &head.name), |key| Some(Id::Instance(key.clone())));
kept!(Volume, Key, head => Key::new(&head.namespace, &head.name), |key| Some(Id::Volume(key.clone())));
// A Plan is a question: nothing of it is ever on a router or cluster.
kept!(Plan, Key, head => Key::new(&head.namespace, &head.name), |_| None);

impl Kept for NamespaceView {
    type Key = String;

    const KIND: &'static str = "Namespace";

    fn path() -> String {
        Namespace::url_path(&(), None)
    }

    fn key(head: &Head) -> String {
        head.name.clone()
    }

    fn id(_: &String) -> Option<Id> {
        None
    }

    fn read(text: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Only {
            metadata: Meta,
        }
        let mut meta = serde_json::from_str::<Only>(text)?.metadata;
        let owners = meta.owner_references.take();
        let mut meta = ObjectMeta::from(meta);
        meta.owner_references = owners;
        Ok(Self::of(&meta))
    }

    fn stamp(&self) -> Option<(&str, u64)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volume() -> String {
        json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Volume",
            "metadata": {"name": "data", "namespace": "acme", "uid": "u1", "resourceVersion": "17",
                "generation": 2, "finalizers": ["bitbuilder.cloud/targets"],
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"app": "shop"},
                "annotations": {"bitbuilder.cloud/paused": "true",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}"},
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]},
            "spec": {"size": "20Gi"}})
        .to_string()
    }

    #[test]
    fn only_what_is_read_is_kept() {
        let kept = Volume::read(&volume()).unwrap();
        assert_eq!(kept.stamp(), Some(("u1", 17)));
        assert_eq!(kept.metadata.managed_fields, None);
        assert_eq!(kept.metadata.labels, None);
        let annotations = kept.metadata.annotations.as_ref().unwrap();
        assert_eq!(annotations.len(), 1);
        assert!(bb_core::world::paused(&kept));
        assert!(bb_core::world::finalized(&kept));
        assert!(kept.metadata.creation_timestamp.is_some());
        // Whatever else we keep is as the whole type reads it.
        let whole: Volume = serde_json::from_str(&volume()).unwrap();
        assert_eq!(kept.spec, whole.spec);
        assert_eq!(kept.metadata.generation, whole.metadata.generation);
    }

    #[test]
    fn a_head_is_read_whatever_the_rest_is() {
        let text = r#"{"metadata":{"name":"a","uid":"u","resourceVersion":"9"},"spec":[7]}"#;
        let head = Head::of(text).unwrap();
        assert_eq!((head.name.as_str(), head.version()), ("a", 9));
        assert!(!head.ends_the_list());
    }

    #[test]
    fn a_namespace_is_its_tenant_and_its_owner() {
        let text = json!({"metadata": {"name": "acme",
            "labels": {"bitbuilder.cloud/tenant": "acme", "kubernetes.io/metadata.name": "acme"},
            "ownerReferences": [{"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Tenant",
                "name": "acme", "uid": "u7"}]}});
        let view = NamespaceView::read(&text.to_string()).unwrap();
        assert_eq!(view.tenant.as_deref(), Some("acme"));
        assert_eq!(view.owner.as_deref(), Some("u7"));
        assert!(!view.deleting);
    }
}
