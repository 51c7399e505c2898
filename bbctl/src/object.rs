//! Turns an object as the API sends it into the facts that people ask about.
//!
//! Objects stay untyped, so that one which an older or newer schema let through is still shown.

use bb_crds::{PAUSED, Reason};
use jiff::Timestamp;
use kube::api::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

/// An object of any kind.
pub type Object = DynamicObject;

/// The value at a JSON pointer such as `/status/vni`, below spec and status.
#[must_use]
pub fn at<'a>(object: &'a Object, pointer: &str) -> Option<&'a Value> {
    object
        .data
        .pointer(pointer)
        .filter(|value| !value.is_null())
}

/// The value at a JSON pointer as one word; empty where there is none.
#[must_use]
pub fn text(object: &Object, pointer: &str) -> String {
    at(object, pointer).map(word).unwrap_or_default()
}

/// The list at a JSON pointer; empty where there is none.
#[must_use]
pub fn list<'a>(object: &'a Object, pointer: &str) -> &'a [Value] {
    at(object, pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// One field of every entry of a list, joined by commas.
#[must_use]
pub fn joined(object: &Object, pointer: &str, field: &str) -> String {
    let fields = list(object, pointer)
        .iter()
        .filter_map(|entry| match field {
            "" => Some(entry),
            field => entry.get(field),
        });
    fields.map(word).collect::<Vec<_>>().join(",")
}

/// A JSON value as one word.
#[must_use]
pub fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The object's name.
#[must_use]
pub fn name(object: &Object) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

/// The object's namespace; empty for one of the whole cluster.
#[must_use]
pub fn namespace(object: &Object) -> &str {
    object.metadata.namespace.as_deref().unwrap_or_default()
}

/// When the object was made.
#[must_use]
pub fn created(object: &Object) -> Option<Timestamp> {
    object
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0)
}

/// One entry of `status.conditions`, of our kinds or of any other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word for the cause.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The generation of the spec that it speaks of.
    pub observed_generation: Option<i64>,
    /// When the status last changed.
    pub last_transition_time: Option<Timestamp>,
}

/// The conditions of an object, those that cannot be read left out.
#[must_use]
pub fn conditions(object: &Object) -> Vec<Condition> {
    list(object, "/status/conditions")
        .iter()
        .filter_map(|entry| serde_json::from_value(entry.clone()).ok())
        .collect()
}

/// The condition of that type, in any case of letters.
#[must_use]
pub fn condition(object: &Object, type_: &str) -> Option<Condition> {
    conditions(object)
        .into_iter()
        .find(|c| c.type_.eq_ignore_ascii_case(type_))
}

/// Says whether a condition speaks of an earlier spec than the one in force.
#[must_use]
pub fn is_stale(object: &Object, condition: &Condition) -> bool {
    match (condition.observed_generation, object.metadata.generation) {
        (Some(seen), Some(current)) => seen < current,
        _ => false,
    }
}

/// Whether something holds, as far as anybody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// Nobody knows yet.
    Unknown,
}

impl Answer {
    /// The word in the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Yes => "True",
            Self::No => "False",
            Self::Unknown => "Unknown",
        }
    }

    fn of(status: &str) -> Self {
        match status {
            "True" => Self::Yes,
            "False" => Self::No,
            _ => Self::Unknown,
        }
    }
}

/// Whether an object does what it is for, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it does.
    pub ready: Answer,
    /// One word for the cause.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

impl Health {
    /// Says whether the object is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready == Answer::Yes
    }

    /// Says whether it is not ready and time alone will not help.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let passing = [Reason::Pending, Reason::Waiting, Reason::Deleting];
        self.ready == Answer::No && !passing.iter().any(|r| r.as_str() == self.reason)
    }
}

/// Judges an object by its condition Ready.
///
/// A Ready that speaks of an earlier spec does not count, and neither does that of an object
/// which is being deleted.
#[must_use]
pub fn health(object: &Object) -> Health {
    let deleted = object
        .metadata
        .deletion_timestamp
        .as_ref()
        .map(|time| time.0);
    let Some(ready) = condition(object, "Ready") else {
        return unseen(object, deleted);
    };
    let since = ready.last_transition_time;
    let answer = Answer::of(&ready.status);
    if deleted.is_some() && answer == Answer::Yes {
        return deleting(object, deleted);
    }
    if deleted.is_none() && is_stale(object, &ready) {
        return Health {
            ready: Answer::Unknown,
            reason: "Stale".to_owned(),
            message: format!(
                "the controller has not looked at the last change yet (generation {}, seen {})",
                object.metadata.generation.unwrap_or_default(),
                ready.observed_generation.unwrap_or_default(),
            ),
            since,
        };
    }
    Health {
        ready: answer,
        reason: ready.reason,
        message: ready.message,
        since,
    }
}

fn unseen(object: &Object, deleted: Option<Timestamp>) -> Health {
    if deleted.is_some() {
        return deleting(object, deleted);
    }
    let paused = object
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(PAUSED));
    let (reason, message) = match paused.map(String::as_str) {
        Some("true") => (
            "Paused",
            "it is paused: take the annotation bitbuilder.cloud/paused off",
        ),
        _ => (
            "Unseen",
            "no controller has looked at it yet: check that bb-controller runs",
        ),
    };
    Health {
        ready: Answer::Unknown,
        reason: reason.to_owned(),
        message: message.to_owned(),
        since: created(object),
    }
}

fn deleting(object: &Object, deleted: Option<Timestamp>) -> Health {
    let held = object
        .metadata
        .finalizers
        .as_deref()
        .unwrap_or_default()
        .join(", ");
    let message = match held.as_str() {
        "" => "it is being deleted".to_owned(),
        held => format!("it is being deleted; it stays until {held} is done"),
    };
    Health {
        ready: Answer::No,
        reason: Reason::Deleting.as_str().to_owned(),
        message,
        since: deleted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(meta: &Value, ready: &Value) -> Object {
        let mut whole = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
            "metadata": {"name": "www", "generation": 2}});
        for (key, value) in meta.as_object().cloned().unwrap_or_default() {
            whole["metadata"][key] = value;
        }
        if !ready.is_null() {
            whole["status"] = json!({"conditions": [ready.clone()]});
        }
        serde_json::from_value(whole).unwrap()
    }

    fn ready(status: &str, reason: &str, generation: i64) -> Value {
        json!({"type": "Ready", "status": status, "reason": reason, "message": "words",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn ready_counts_only_for_the_spec_in_force() {
        let current = health(&object(&json!({}), &ready("True", "Ready", 2)));
        assert!(current.is_ready());
        let stale = health(&object(&json!({}), &ready("True", "Ready", 1)));
        assert_eq!(
            (stale.ready, stale.reason.as_str()),
            (Answer::Unknown, "Stale")
        );
    }

    #[test]
    fn an_object_that_nobody_has_looked_at_says_so() {
        let unseen = health(&object(&json!({}), &Value::Null));
        assert_eq!(
            (unseen.ready, unseen.reason.as_str()),
            (Answer::Unknown, "Unseen")
        );
        let paused = json!({"annotations": {PAUSED: "true"}});
        assert_eq!(health(&object(&paused, &Value::Null)).reason, "Paused");
    }

    #[test]
    fn an_object_on_its_way_out_is_not_ready() {
        let meta = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["f/x"]});
        let leaving = health(&object(&meta, &ready("True", "Ready", 2)));
        assert_eq!(
            (leaving.ready, leaving.reason.as_str()),
            (Answer::No, "Deleting")
        );
        assert!(leaving.message.contains("f/x"));
        let held = health(&object(&meta, &ready("False", "Protected", 2)));
        assert_eq!(held.reason, "Protected");
    }

    #[test]
    fn waiting_passes_and_refused_does_not() {
        assert!(!health(&object(&json!({}), &ready("False", "Waiting", 2))).is_stopped());
        assert!(health(&object(&json!({}), &ready("False", "Refused", 2))).is_stopped());
        assert!(!health(&object(&json!({}), &ready("Unknown", "Unreachable", 2))).is_stopped());
    }

    #[test]
    fn a_condition_that_cannot_be_read_blinds_us_to_no_other() {
        let mut odd = object(&json!({}), &ready("True", "Ready", 2));
        odd.data["status"]["conditions"] =
            json!([{"type": 7}, odd.data["status"]["conditions"][0].clone()]);
        assert!(health(&odd).is_ready());
    }
}
