//! Turns manifests into objects on the server that are ours field by field.

use kube::api::{Patch, PatchParams, ValidationDirective};
use serde_json::Value;

use crate::cmd::apply::FIELD_OWNER;
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::object::Object;
use crate::resource::{Known, Target};
use crate::session::Session;

/// A manifest of one of our kinds, as an object and where it lives.
///
/// # Errors
/// When it is no object of one of our kinds.
pub fn known(manifest: &Value) -> Result<(Target, Object), Failure> {
    let wrong = |words: String| {
        Failure::new(
            Exit::Failure,
            format!("the manifest cannot be made: {words}"),
        )
    };
    let object: Object =
        serde_json::from_value(manifest.clone()).map_err(|error| wrong(error.to_string()))?;
    let types = object.types.clone().unwrap_or_default();
    let kind = Kind::of_manifest(&types.api_version, &types.kind)
        .ok_or_else(|| wrong(format!("{} is none of our kinds", types.kind)))?;
    let target = Target {
        resource: kind.resource(),
        namespace: object.metadata.namespace.clone(),
        name: object.metadata.name.clone().unwrap_or_default(),
        kind: Some(Known(kind)),
    };
    Ok((target, object))
}

/// Applies an object server-side. In a dry run the server judges it and stores nothing.
///
/// # Errors
/// When the server refuses it.
pub async fn apply(
    target: &Target,
    object: &Object,
    dry: bool,
    session: &Session,
) -> Result<Object, Failure> {
    let params = PatchParams {
        dry_run: dry,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_OWNER)
    };
    let doing = format!("apply {}", target.label());
    let api = target.api(session);
    let patch = Patch::Apply(object);
    let answer = api.patch(&target.name, &params, &patch);
    session.ask(&doing, answer).await
}
