//! Turns the spec of a Plan into objects that would be there or go, and lays them over a world.
//!
//! What a Plan may be about is decided here once more, whatever admission let through: objects of
//! its own namespace, of the three kinds of a tenant, each once.

use std::collections::BTreeSet;
use std::sync::Arc;

use bb_crds::instance::Instance;
use bb_crds::plan::{MANIFEST_BYTES, Manifest, PlanSpec, PlannedKind};
use bb_crds::{GROUP, Network, Reason, VERSION, Volume, judge};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use kube::core::object::HasSpec;
use kube::{CustomResourceExt, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::objects::Objects;
use crate::resolve::Id;
use crate::world::{Key, World, deleting, finalized};

/// Why a Plan is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// One word.
    pub reason: Reason,
    /// The field, what is wrong with it, and what to do.
    pub message: String,
}

impl Refused {
    fn invalid(message: String) -> Self {
        let reason = Reason::Invalid;
        Self { reason, message }
    }

    fn not_allowed(message: String) -> Self {
        let reason = Reason::NotAllowed;
        Self { reason, message }
    }
}

/// What would be done to one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Proposal {
    /// It is there, like this.
    Network(Key, Box<Network>),
    /// It is there, like this.
    Volume(Key, Box<Volume>),
    /// It is there, like this.
    Instance(Key, Box<Instance>),
    /// It is deleted.
    Delete(Id),
}

impl Proposal {
    /// The object.
    #[must_use]
    pub fn id(&self) -> Id {
        match self {
            Self::Network(key, _) => Id::Network(key.clone()),
            Self::Volume(key, _) => Id::Volume(key.clone()),
            Self::Instance(key, _) => Id::Instance(key.clone()),
            Self::Delete(id) => id.clone(),
        }
    }
}

/// Reads what a Plan of `namespace` asks about.
///
/// # Errors
/// The first thing that a Plan may not be about, or that cannot be understood.
pub fn parse(namespace: &str, spec: &PlanSpec) -> Result<Vec<Proposal>, Refused> {
    let bytes: usize = spec.manifests.iter().map(size).sum();
    if bytes > MANIFEST_BYTES {
        return Err(Refused::invalid(format!(
            "spec.manifests: {bytes} bytes, more than {MANIFEST_BYTES}: plan a part of them at a time"
        )));
    }
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    let manifests = spec.manifests.iter().enumerate();
    let put = manifests.map(|(at, manifest)| {
        let field = format!("spec.manifests[{at}]");
        (field.clone(), read(namespace, &field, manifest))
    });
    let gone = spec.deletes.iter().enumerate().map(|(at, deleted)| {
        let key = Key::new(namespace, &deleted.name);
        let id = id_of(deleted.kind, key);
        (format!("spec.deletes[{at}]"), Ok(Proposal::Delete(id)))
    });
    for (field, proposal) in put.chain(gone) {
        let proposal = proposal?;
        if !seen.insert(proposal.id()) {
            let object = label(&proposal.id());
            let message = format!("{field}: {object} is in this Plan twice; take one out");
            return Err(Refused::invalid(message));
        }
        all.push(proposal);
    }
    Ok(all)
}

fn size(manifest: &Manifest) -> usize {
    serde_json::to_vec(&manifest.0).map_or(usize::MAX / 1024, |text| text.len())
}

fn id_of(kind: PlannedKind, key: Key) -> Id {
    match kind {
        PlannedKind::Network => Id::Network(key),
        PlannedKind::Volume => Id::Volume(key),
        PlannedKind::Instance => Id::Instance(key),
    }
}

/// How people call an object, within its namespace.
#[must_use]
pub fn label(id: &Id) -> String {
    match id {
        Id::Region(name) => format!("region/{name}"),
        Id::Provider(name) => format!("provider/{name}"),
        Id::Tenant(name) => format!("tenant/{name}"),
        Id::Network(key) => format!("network/{}", key.name),
        Id::Volume(key) => format!("volume/{}", key.name),
        Id::Instance(key) => format!("instance/{}", key.name),
    }
}

fn read(namespace: &str, field: &str, manifest: &Manifest) -> Result<Proposal, Refused> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = text(manifest.0.get("apiVersion"));
    let kind = text(manifest.0.get("kind"));
    let meta = manifest.0.get("metadata");
    let name = text(meta.and_then(|m| m.get("name")));
    let of = text(meta.and_then(|m| m.get("namespace")));
    let version_is_ours = version == format!("{GROUP}/{VERSION}");
    if !version_is_ours || !["Network", "Volume", "Instance"].contains(&kind.as_str()) {
        return Err(Refused::not_allowed(format!(
            "{field}: a Plan is about Networks, Volumes and Instances of {GROUP}/{VERSION}, not about \
             {kind} {name} of {version}: apply that by itself, or ask an operator to"
        )));
    }
    if !of.is_empty() && of != namespace {
        return Err(Refused::not_allowed(format!(
            "{field}: {kind} {of}/{name} is in another namespace than the Plan: plan it in {of}"
        )));
    }
    if name.is_empty() || name.len() > 63 {
        return Err(Refused::invalid(format!(
            "{field}: metadata.name has 1 to 63 characters"
        )));
    }
    let key = Key::new(namespace, name);
    let value = Value::Object(manifest.0.clone());
    Ok(match kind.as_str() {
        "Network" => Proposal::Network(key, typed(field, value)?),
        "Volume" => Proposal::Volume(key, typed(field, value)?),
        _ => Proposal::Instance(key, typed(field, value)?),
    })
}

fn typed<T: DeserializeOwned>(field: &str, value: Value) -> Result<Box<T>, Refused> {
    serde_json::from_value(value)
        .map(Box::new)
        .map_err(|error| Refused::invalid(format!("{field}: {error}")))
}

/// The first thing that an API server would say against any of it.
pub(super) fn judged(world: &World, proposals: &[Proposal]) -> Option<Refused> {
    let mut all = proposals.iter().map(|proposal| {
        let against = match proposal {
            Proposal::Network(key, object) => against(object.as_ref(), world.networks.get(key)),
            Proposal::Volume(key, object) => against(object.as_ref(), world.volumes.get(key)),
            Proposal::Instance(key, object) => against(object.as_ref(), world.instances.get(key)),
            Proposal::Delete(_) => Vec::new(),
        };
        (label(&proposal.id()), against)
    });
    let (object, against) = all.find(|(_, against)| !against.is_empty())?;
    Some(Refused::invalid(format!(
        "{object}: {}",
        against.join("; ")
    )))
}

fn against<T>(object: &T, there: Option<&Arc<T>>) -> Vec<String>
where
    T: CustomResourceExt + Serialize,
{
    judge(object, there.map(AsRef::as_ref))
}

/// The UID that stands for one that the API would give: the same for the same object, so that the
/// same question has the same answer.
#[must_use]
pub fn stand_in_uid(id: &Id) -> String {
    let hash = Sha256::digest(format!("{id:?}"));
    let hex: String = hash.iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("00000000-0000-4000-8000-{hex}")
}

/// Makes of a world the one in which all of it was applied.
pub(super) fn lay_over(world: &mut World, proposals: &[Proposal], now: &Time) {
    for proposal in proposals {
        let id = proposal.id();
        match proposal {
            Proposal::Network(key, object) => put(&mut world.networks, &id, key, object, now),
            Proposal::Volume(key, object) => put(&mut world.volumes, &id, key, object, now),
            Proposal::Instance(key, object) => put(&mut world.instances, &id, key, object, now),
            Proposal::Delete(Id::Network(key)) => delete(&mut world.networks, key, now),
            Proposal::Delete(Id::Volume(key)) => delete(&mut world.volumes, key, now),
            Proposal::Delete(Id::Instance(key)) => delete(&mut world.instances, key, now),
            Proposal::Delete(_) => {}
        }
    }
}

fn put<T>(all: &mut Objects<Key, Arc<T>>, id: &Id, key: &Key, proposed: &T, now: &Time)
where
    T: ResourceExt + HasSpec + Clone,
    T::Spec: PartialEq + Clone,
{
    let mut annotations = proposed.meta().annotations.clone();
    if let Some(map) = &mut annotations {
        map.retain(|key, _| key.split('/').next().is_some_and(|p| p.ends_with(GROUP)));
    }
    let annotations = annotations.filter(|map| !map.is_empty());
    let mut object = match all.get(key) {
        Some(there) => there.as_ref().clone(),
        None => {
            let mut object = proposed.clone();
            *object.meta_mut() = ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                uid: Some(stand_in_uid(id)),
                generation: Some(0),
                creation_timestamp: Some(now.clone()),
                ..ObjectMeta::default()
            };
            object
        }
    };
    let is_new = object.meta().generation == Some(0);
    if is_new || object.spec() != proposed.spec() {
        object.meta_mut().generation = object.meta().generation.map(|before| before + 1);
    }
    *object.spec_mut() = proposed.spec().clone();
    object.meta_mut().annotations = annotations;
    all.insert(key.clone(), Arc::new(object));
}

fn delete<T: ResourceExt + Clone>(all: &mut Objects<Key, Arc<T>>, key: &Key, now: &Time) {
    let Some(there) = all.get(key) else { return };
    if deleting(there.as_ref()) {
        return;
    }
    if finalized(there.as_ref()) {
        let mut object = there.as_ref().clone();
        object.meta_mut().deletion_timestamp = Some(now.clone());
        all.insert(key.clone(), Arc::new(object));
    } else {
        all.remove(key);
    }
}
