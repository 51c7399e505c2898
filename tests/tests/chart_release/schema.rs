//! Turns the schema that Kubernetes publishes and an object into what is wrong with the object.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// The schemas of one minor of Kubernetes, a file for each version of each group.
pub(crate) struct Schemas {
    folder: PathBuf,
    read: BTreeMap<String, Value>,
}

impl Schemas {
    /// The schemas in a folder as `api/openapi-spec/v3` of Kubernetes' sources.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            read: BTreeMap::new(),
        }
    }

    /// Judges an object as the strict check of a server does: no field that is not known, the
    /// right types, and all that is required.
    pub(crate) fn judge(&mut self, object: &Value) -> Result<()> {
        let of = |field: &str| object[field].as_str().unwrap_or_default();
        let (version, kind) = (of("apiVersion"), of("kind"));
        let name = match version.split_once('/') {
            Some((group, version)) => format!("apis__{group}__{version}_openapi.json"),
            None => format!("api__{version}_openapi.json"),
        };
        if !self.read.contains_key(&name) {
            let file = self.folder.join(&name);
            let text = fs::read_to_string(&file)
                .with_context(|| format!("{version} is not served: no {}", file.display()))?;
            self.read.insert(name.clone(), serde_json::from_str(&text)?);
        }
        let all = self.read[&name]["components"]["schemas"]
            .as_object()
            .context("a file of schemas has schemas")?;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let is = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.into_iter().flatten().any(|gvk| {
                gvk["group"] == group && gvk["version"] == version && gvk["kind"] == kind
            })
        };
        let schema = all.values().find(is);
        let schema = schema.with_context(|| format!("there is no kind {kind}"))?;
        walk(all, schema, object, kind)
    }
}

/// Judges a value, and all that is in it.
fn walk(
    all: &serde_json::Map<String, Value>,
    schema: &Value,
    value: &Value,
    path: &str,
) -> Result<()> {
    let referred = schema["$ref"]
        .as_str()
        .or(schema["allOf"][0]["$ref"].as_str());
    if let Some(name) = referred.and_then(|name| name.rsplit('/').next()) {
        let schema = all.get(name).with_context(|| format!("no schema {name}"))?;
        return walk(all, schema, value, path);
    }
    let right = match schema["type"].as_str() {
        // A number or a text, or whatever JSON there is.
        None => return Ok(()),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some(other) => bail!("{path}: a type {other}"),
    };
    ensure!(right, "{path}: {value} is no {}", schema["type"]);
    for required in schema["required"].as_array().into_iter().flatten() {
        let there = required.as_str().is_some_and(|name| !value[name].is_null());
        ensure!(there, "{path}: {required} is missing");
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
        walk(all, &schema["items"], item, &format!("{path}[{number}]"))?;
    }
    for (name, item) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match (
            schema["properties"].get(name),
            &schema["additionalProperties"],
        ) {
            (Some(below), _) => walk(all, below, item, &path)?,
            (None, below @ Value::Object(_)) => walk(all, below, item, &path)?,
            // A map of anything, as the fields of a definition's schema are.
            (None, _) if schema["properties"].is_null() => {}
            (None, _) => bail!("{path} is not known"),
        }
    }
    Ok(())
}
