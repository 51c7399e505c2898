//! Turns the JSON of an object into the object, without the bookkeeping of who owns which field:
//! it is half of what a server sends, and nobody who only shows the object needs it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::core::{ObjectMeta, TypeMeta};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::object::Object;

/// An object without `metadata.managedFields`.
#[derive(Debug)]
pub struct Lean(pub Object);

impl<'de> Deserialize<'de> for Lean {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Lean;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Lean, A::Error> {
        let (mut types, mut metadata) = (TypeMeta::default(), ObjectMeta::default());
        let mut data = Map::new();
        while let Some(field) = fields.next_key::<Cow<'de, str>>()? {
            match &*field {
                "apiVersion" => types.api_version = fields.next_value()?,
                "kind" => types.kind = fields.next_value()?,
                "metadata" => metadata = fields.next_value::<Meta>()?.into(),
                _ => {
                    data.insert(field.into_owned(), fields.next_value()?);
                }
            }
        }
        Ok(Lean(Object {
            types: (types != TypeMeta::default()).then_some(types),
            metadata,
            data: Value::Object(data),
        }))
    }
}

/// `metadata` but for what is left out.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Meta {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    generate_name: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    name: Option<String>,
    namespace: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    resource_version: Option<String>,
    self_link: Option<String>,
    uid: Option<String>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        Self {
            annotations: meta.annotations,
            creation_timestamp: meta.creation_timestamp,
            deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
            deletion_timestamp: meta.deletion_timestamp,
            finalizers: meta.finalizers,
            generate_name: meta.generate_name,
            generation: meta.generation,
            labels: meta.labels,
            managed_fields: None,
            name: meta.name,
            namespace: meta.namespace,
            owner_references: meta.owner_references,
            resource_version: meta.resource_version,
            self_link: meta.self_link,
            uid: meta.uid,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_but_the_bookkeeping_is_left_out() {
        let whole = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
            "metadata": {"annotations": {"a": "b"}, "creationTimestamp": "2026-01-01T00:00:00Z",
                "deletionGracePeriodSeconds": 0, "deletionTimestamp": "2026-01-02T00:00:00Z",
                "finalizers": ["f"], "generateName": "g-", "generation": 3, "labels": {"l": "m"},
                "managedFields": [{"manager": "m", "operation": "Apply", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}],
                "name": "n", "namespace": "ns", "resourceVersion": "7", "selfLink": "/s",
                "uid": "u", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod",
                    "name": "p", "uid": "v", "controller": true, "blockOwnerDeletion": false}]},
            "status": {"list": [1, null, "x"]}});
        let Lean(lean) = serde_json::from_value(whole.clone()).unwrap();
        let mut object: Object = serde_json::from_value(whole).unwrap();
        assert!(object.metadata.managed_fields.take().is_some());
        assert_eq!(lean, object);
        // Every field is in the example, so that one which is new here is not forgotten.
        let value = serde_json::to_value(&lean.metadata).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 14, "{value}");
    }

    #[test]
    fn an_object_without_a_type_has_none() {
        let Lean(lean) = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        assert_eq!(lean.types, None);
        assert!(serde_json::from_value::<Lean>(json!({"metadata": {"name": 1}})).is_err());
    }
}
