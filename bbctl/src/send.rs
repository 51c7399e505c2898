//! Turns a manifest into an object on the server that is ours field by field.

use kube::api::{Patch, PatchParams, ValidationDirective};
use serde_json::{Value, json};

use crate::change::{DryRun, FIELD_OWNER, between};
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::object::Object;
use crate::resource::{Known, Target};
use crate::session::Session;
use crate::set;

/// How something is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Whether fields that someone else has set to another value are taken over, and objects of
    /// another set.
    pub force: bool,
    /// How far it is only tried.
    pub dry_run: Option<DryRun>,
    /// Whether it is tried for a comparison alone: failures say so.
    pub compares: bool,
}

impl Manner {
    /// Tried by the server, which stores nothing.
    #[must_use]
    pub fn tried(self) -> Self {
        Self {
            dry_run: Some(DryRun::Server),
            ..self
        }
    }
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// It is another than before.
    Configured,
    /// It is as before.
    Unchanged,
    /// It could not be read before, so nobody knows.
    Applied,
}

impl Change {
    /// As one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Applied => "applied",
        }
    }
}

/// An object that was applied.
#[derive(Clone, Debug)]
pub struct Sent {
    /// As the server has it now; after a dry run, as it would have it.
    pub object: Object,
    /// As it was before, if it was there and may be read.
    pub before: Option<Object>,
    /// What became of it.
    pub change: Change,
}

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

/// Applies an object server-side. It stays in the set that it is in.
///
/// `of` says where its manifest is from, for failures: as in ` of web.yaml`, or nothing.
///
/// # Errors
/// When it is in another set, or the server refuses it.
pub async fn apply(
    target: &Target,
    object: &Object,
    of: &str,
    manner: Manner,
    session: &Session,
) -> Result<Sent, Failure> {
    let verb = if manner.compares { "compare" } else { "apply" };
    let doing = format!("{verb} {}{of}", target.label());
    let api = target.api(session);
    let before = match session.ask(&doing, api.get_opt(&target.name)).await {
        Ok(before) => Some(before),
        // Who may write and not read can still apply.
        Err(failure) if failure.exit == Exit::Denied => None,
        Err(failure) => return Err(failure),
    };
    let mut object = object.clone();
    if let Some(Some(before)) = &before
        && let Some(other) = set::stay(&mut object, before)
        && !manner.force
    {
        let words = format!("cannot {doing}: it is in another set, {other}");
        return Err(Failure::new(Exit::Conflict, words)
            .hint("take it over with --force-conflicts, or leave it to that set"));
    }
    if manner.dry_run == Some(DryRun::Client) {
        let change = match &before {
            Some(None) => Change::Created,
            _ => Change::Applied,
        };
        return Ok(Sent {
            object,
            before: before.flatten(),
            change,
        });
    }
    let params = PatchParams {
        force: manner.force,
        dry_run: manner.dry_run.is_some(),
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_OWNER)
    };
    let patch = Patch::Apply(&object);
    let answer = api.patch(&target.name, &params, &patch);
    let after = match session.ask(&doing, answer).await {
        // What `bbctl` itself set by another verb, such as `instances stop`, is no other's.
        Err(failure) if failure.exit == Exit::Conflict && is_our_own(&failure.message) => {
            let forced = params.clone().force();
            let answer = api.patch(&target.name, &forced, &patch);
            session.ask(&doing, answer).await?
        }
        answer => answer?,
    };
    let change = match &before {
        None => Change::Applied,
        Some(None) => Change::Created,
        Some(Some(before)) if said(before) == said(&after) => Change::Unchanged,
        Some(Some(_)) => Change::Configured,
    };
    Ok(Sent {
        object: after,
        before: before.flatten(),
        change,
    })
}

/// Whether all that an apply is in conflict with was set by bbctl.
fn is_our_own(message: &str) -> bool {
    let mut owners = message.split("conflict").skip(2).filter_map(|part| {
        let (before, rest) = part.split_once('"')?;
        ["s with ", " with "].contains(&before).then_some(())?;
        rest.split('"').next()
    });
    let first = owners.next();
    first == Some(FIELD_OWNER) && owners.all(|owner| owner == FIELD_OWNER)
}

/// What of an object people decide: all but status and the server's bookkeeping.
fn said(object: &Object) -> Value {
    let mut data = object.data.clone();
    if let Some(map) = data.as_object_mut() {
        map.remove("status");
    }
    let meta = &object.metadata;
    json!({
        "data": data,
        "labels": meta.labels,
        "annotations": meta.annotations,
        "finalizers": meta.finalizers,
    })
}

/// Whether applying `wanted` changes the spec of an object that is there: a field gets another
/// value, or one that bbctl applied before is left out now. What others and the server's defaults
/// have put there is no change.
#[must_use]
pub fn alters(before: &Object, wanted: &Object) -> bool {
    let empty = json!({});
    let spec = |object: &Object| object.data.get("spec").cloned().unwrap_or(empty.clone());
    let owned = applied(before);
    between(&spec(before), &spec(wanted)).is_some_and(|patch| differs(&patch, owned))
}

fn differs(patch: &Value, owned: Option<&Value>) -> bool {
    match patch {
        Value::Null => owned.is_some(),
        Value::Object(fields) => fields.iter().any(|(name, field)| {
            let owned = owned.and_then(|owned| owned.get(format!("f:{name}")));
            differs(field, owned)
        }),
        _ => true,
    }
}

/// The fields of the spec that bbctl applied, as the server keeps them.
fn applied(object: &Object) -> Option<&Value> {
    let mut managers = object.metadata.managed_fields.iter().flatten();
    let ours = managers.find(|entry| {
        entry.manager.as_deref() == Some(FIELD_OWNER) && entry.operation.as_deref() == Some("Apply")
    })?;
    ours.fields_v1.as_ref()?.0.get("f:spec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_with_ourselves_is_told_from_one_with_others() {
        let one = "cannot apply x: Apply failed with 1 conflict: conflict with \"bbctl\" using \
                   bitbuilder.cloud/v1alpha1: .spec.power";
        assert!(is_our_own(one));
        let other = one.replace("\"bbctl\"", "\"argocd\"");
        assert!(!is_our_own(&other));
        let two = "cannot apply x: Apply failed with 2 conflicts: conflicts with \"argocd\": - .a \
                   conflicts with \"bbctl\" using v1: - .spec.power";
        assert!(!is_our_own(two));
        let both = two.replace("argocd", "bbctl");
        assert!(is_our_own(&both));
        assert!(!is_our_own("cannot apply x: the object has been modified"));
    }

    #[test]
    fn a_change_is_another_value_or_a_field_of_ours_that_is_left_out() {
        let fields = json!({"f:spec": {"f:image": {}, "f:disk": {}, "f:adopt": {"f:vmid": {}}}});
        let entry = json!({"manager": "bbctl", "operation": "Apply", "fieldsV1": fields});
        let object = |spec: &Value| -> Object {
            serde_json::from_value(json!({"metadata": {"name": "x", "managedFields": [entry]},
                "spec": spec}))
            .unwrap()
        };
        let spec = json!({"image": "a", "disk": "8Gi", "power": "Running",
            "adopt": {"vmid": 1, "mode": "Preview"}, "networks": [{"name": "a"}]});
        let before = object(&spec);
        let cases = [
            (spec.clone(), false),
            (
                json!({"image": "a", "disk": "8Gi", "adopt": {"vmid": 1}}),
                false,
            ),
            (json!({"image": "a", "adopt": {"vmid": 1}}), true),
            (json!({"image": "a", "disk": "8Gi"}), true),
            (
                json!({"image": "a", "disk": "4Gi", "adopt": {"vmid": 1}}),
                true,
            ),
            (
                json!({"image": "b", "disk": "8Gi", "adopt": {"vmid": 1}}),
                true,
            ),
        ];
        for (wanted, want) in cases {
            assert_eq!(alters(&before, &object(&wanted)), want, "{wanted}");
        }
    }
}
