//! Turns an object and what is to be different about it into a write that loses nobody's change.

use clap::ValueEnum;
use kube::api::{Patch, PatchParams, ValidationDirective};
use serde_json::{Map, Value};

use crate::error::{Exit, Failure};
use crate::object::Object;
use crate::resource::Target;
use crate::session::Session;
use crate::watch;

/// Under which name the server keeps which fields are ours.
pub const FIELD_OWNER: &str = "bbctl";

/// How often a change is decided anew because the object changed in between.
const ATTEMPTS: usize = 5;

/// How far a dry run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Nothing is written, and the server judges nothing
    Client,
    /// The server judges and stores nothing
    Server,
}

/// Flags of commands that write.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Writing {
    /// Answer yes to whatever would be asked
    #[arg(short, long)]
    pub yes: bool,
    /// Change nothing: `client` only reads, `server` lets the server judge as well
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "server", hide_possible_values = true)]
    pub dry_run: Option<DryRun>,
}

/// An object after a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// As it is now; after a dry run, as it would be.
    pub object: Object,
    /// Whether there was anything to change.
    pub changed: bool,
}

/// Reads an object, decides what is to be different, and writes that.
///
/// `decide` turns the object into a merge patch (RFC 7396) of it, or nothing where it is as it
/// should be. Where somebody else wrote in between, it decides again on what they left.
///
/// # Errors
/// When the object is not there, `decide` refuses, or the server does.
pub async fn change(
    target: &Target,
    dry_run: Option<DryRun>,
    session: &Session,
    decide: impl Fn(&Object) -> Result<Option<Value>, Failure>,
) -> Result<Changed, Failure> {
    let api = target.api(session);
    let doing = format!("change {}", target.label());
    let mut attempt = 1;
    loop {
        let before = session.ask(&doing, api.get_opt(&target.name)).await?;
        let before = before.ok_or_else(|| watch::absent(target))?;
        let Some(mut patch) = decide(&before)? else {
            return Ok(Changed {
                object: before,
                changed: false,
            });
        };
        if dry_run == Some(DryRun::Client) {
            return Ok(Changed {
                object: merged(&before, &patch)?,
                changed: true,
            });
        }
        // The version that was decided on: a list in a patch takes the place of the whole list.
        patch["metadata"]["resourceVersion"] =
            Value::from(before.metadata.resource_version.clone());
        let params = PatchParams {
            dry_run: dry_run.is_some(),
            field_manager: Some(FIELD_OWNER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
            force: false,
        };
        let patch = Patch::Merge(&patch);
        let answer = api.patch(&target.name, &params, &patch);
        match session.ask(&doing, answer).await {
            Ok(object) => {
                return Ok(Changed {
                    object,
                    changed: true,
                });
            }
            Err(failure) if failure.exit == Exit::Conflict && attempt < ATTEMPTS => attempt += 1,
            Err(failure) => return Err(failure),
        }
    }
}

fn merged(object: &Object, patch: &Value) -> Result<Object, Failure> {
    let unreadable = |error: serde_json::Error| {
        Failure::new(Exit::Failure, format!("the change cannot be made: {error}"))
    };
    let mut value = serde_json::to_value(object).map_err(unreadable)?;
    merge(&mut value, patch);
    serde_json::from_value(value).map_err(unreadable)
}

/// Applies a merge patch (RFC 7396).
pub fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    for (name, field) in fields {
        match (field, value.as_object_mut()) {
            (Value::Null, Some(map)) => {
                map.remove(name);
            }
            (field, Some(map)) => merge(map.entry(name.clone()).or_insert(Value::Null), field),
            (_, None) => {}
        }
    }
}

/// The merge patch that makes one value of another; none where they are the same.
#[must_use]
pub fn between(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, field) in new {
        let change = match old.get(name) {
            None => Some(field.clone()),
            Some(was) => between(was, field),
        };
        if let Some(change) = change {
            patch.insert(name.clone(), change);
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_patch_between_two_values_makes_one_of_the_other() {
        let table = [
            (json!({"a": 1}), json!({"a": 2})),
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 3}})),
            (json!({"a": [1, 2]}), json!({"a": [2]})),
            (json!({}), json!({"a": {"b": {"c": 1}}})),
            (json!({"a": {"b": 1}}), json!({"a": "text"})),
            (json!({"a": "text"}), json!({"a": {"b": 1}})),
        ];
        for (before, after) in table {
            let patch = between(&before, &after).unwrap();
            let mut made = before.clone();
            merge(&mut made, &patch);
            assert_eq!(made, after, "{before} and {patch}");
        }
        assert_eq!(between(&json!({"a": 1}), &json!({"a": 1})), None);
    }

    #[test]
    fn the_patch_between_two_values_has_only_what_differs() {
        let before = json!({"same": {"x": 1}, "gone": 1, "deep": {"same": 1, "other": 1}});
        let after = json!({"same": {"x": 1}, "deep": {"same": 1, "other": 2}});
        let patch = between(&before, &after);
        assert_eq!(patch, Some(json!({"gone": null, "deep": {"other": 2}})));
    }
}
