//! Turns an outcome into the conditions of an object.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A text that is held once for all that say the same: of the words of ten thousand objects'
/// conditions, nearly all are the same few.
pub type Words = string_cache::DefaultAtom;

/// One aspect of what an object is, as in every API of Kubernetes.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// When the status changed last.
    pub last_transition_time: Time,
    /// A sentence for people.
    #[serde(default)]
    pub message: Words,
    /// The generation of the object that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for the cause.
    #[serde(default)]
    pub reason: Words,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: Words,
    /// What it is about.
    #[serde(default, rename = "type")]
    pub type_: Words,
}

impl Condition {
    /// Whether it is about this.
    #[must_use]
    pub fn is(&self, type_: ConditionType) -> bool {
        self.type_ == *type_.as_str()
    }

    /// Whether what it is about is so.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.status == *"True"
    }
}

/// That of Kubernetes.
impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        v1::Condition::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        v1::Condition::json_schema(generator)
    }
}

/// What a condition is about. The words are the Gateway API's where they fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The spec is valid and may be acted on.
    Accepted,
    /// Everything the spec names exists and may be used.
    ResolvedRefs,
    /// Every router and cluster that takes part runs what the spec says.
    Programmed,
    /// The sum of the others: the object does what it is for.
    Ready,
    /// Nobody but us has changed what is on the routers and clusters of it.
    InSync,
    /// The router or cluster answers.
    Reachable,
    /// The router or cluster accepts the credentials, and their rights suffice.
    Authorized,
}

impl ConditionType {
    /// The text in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Programmed => "Programmed",
            Self::Ready => "Ready",
            Self::InSync => "InSync",
            Self::Reachable => "Reachable",
            Self::Authorized => "Authorized",
        }
    }
}

/// Why a condition is as it is: one word per cause, the same everywhere.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Reason {
    /// All is as the spec says.
    Ready,
    /// The spec is valid.
    Accepted,
    /// The spec says something that cannot be; the message names field and remedy.
    Invalid,
    /// Every reference is resolved.
    Resolved,
    /// A named object does not exist.
    NotFound,
    /// A named object exists, and this one may not use it.
    NotAllowed,
    /// Work is under way or about to begin.
    Pending,
    /// Another object must be ready, or gone, first.
    Waiting,
    /// Every target runs it.
    Programmed,
    /// A target refused it; the message carries its words.
    Refused,
    /// A target does not answer.
    Unreachable,
    /// A target refuses our credentials, or their rights do not suffice.
    Unauthorized,
    /// Something of the same identity is there and is not ours.
    Conflict,
    /// A range, pool or prefix has nothing left to give.
    Exhausted,
    /// The object is being deleted.
    Deleting,
    /// Deletion is held back by `spec.deletionProtection`.
    Protected,
    /// Work is held back by the paused annotation or an observe-only provider.
    Paused,
    /// A person must act; the message says on what and how.
    Stuck,
    /// What is there is what was put there.
    InSync,
    /// Somebody else changed what is there.
    Drifted,
    /// Somebody else changed what was there, and it was put right.
    Corrected,
    /// What adopting a guest would change is shown, and nothing is done before it is confirmed.
    Preview,
    /// So much is to be deleted at once that a person has to confirm it.
    Guarded,
    /// There are things with our mark that no object accounts for.
    Orphaned,
}

impl Reason {
    /// Every reason, in the order of the definition.
    pub const ALL: [Self; 24] = [
        Self::Ready,
        Self::Accepted,
        Self::Invalid,
        Self::Resolved,
        Self::NotFound,
        Self::NotAllowed,
        Self::Pending,
        Self::Waiting,
        Self::Programmed,
        Self::Refused,
        Self::Unreachable,
        Self::Unauthorized,
        Self::Conflict,
        Self::Exhausted,
        Self::Deleting,
        Self::Protected,
        Self::Paused,
        Self::Stuck,
        Self::InSync,
        Self::Drifted,
        Self::Corrected,
        Self::Preview,
        Self::Guarded,
        Self::Orphaned,
    ];

    /// The text in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Accepted => "Accepted",
            Self::Invalid => "Invalid",
            Self::Resolved => "Resolved",
            Self::NotFound => "NotFound",
            Self::NotAllowed => "NotAllowed",
            Self::Pending => "Pending",
            Self::Waiting => "Waiting",
            Self::Programmed => "Programmed",
            Self::Refused => "Refused",
            Self::Unreachable => "Unreachable",
            Self::Unauthorized => "Unauthorized",
            Self::Conflict => "Conflict",
            Self::Exhausted => "Exhausted",
            Self::Deleting => "Deleting",
            Self::Protected => "Protected",
            Self::Paused => "Paused",
            Self::Stuck => "Stuck",
            Self::InSync => "InSync",
            Self::Drifted => "Drifted",
            Self::Corrected => "Corrected",
            Self::Preview => "Preview",
            Self::Guarded => "Guarded",
            Self::Orphaned => "Orphaned",
        }
    }
}

/// A condition before it has a time: what an object is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `Some(true)` holds, `Some(false)` does not, `None` is not known yet.
    pub holds: Option<bool>,
    /// One word for the cause.
    pub reason: Reason,
    /// A sentence for people: what is so, and what to do next where something is to be done.
    pub message: String,
}

impl Verdict {
    /// The condition holds.
    #[must_use]
    pub fn yes(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            holds: Some(true),
            reason,
            message: message.into(),
        }
    }

    /// The condition does not hold.
    #[must_use]
    pub fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            holds: Some(false),
            reason,
            message: message.into(),
        }
    }

    /// Whether the condition holds is not known yet.
    #[must_use]
    pub fn unknown(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            holds: None,
            reason,
            message: message.into(),
        }
    }

    const fn status(&self) -> &'static str {
        match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// Sets one condition in a list and says whether anything changed.
///
/// `lastTransitionTime` moves only when the status does, so that an unchanged object stays
/// the same to the byte.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    verdict: &Verdict,
    generation: Option<i64>,
    now: &Time,
) -> bool {
    let present = conditions.iter_mut().find(|c| c.is(type_));
    let stays = |c: &Condition| c.status == *verdict.status();
    if present.as_deref().is_some_and(|c| {
        stays(c)
            && c.reason == *verdict.reason.as_str()
            && c.message == *verdict.message
            && c.observed_generation == generation
    }) {
        return false;
    }
    let since = present.as_deref().filter(|c| stays(c));
    let next = Condition {
        last_transition_time: since.map_or(now, |c| &c.last_transition_time).clone(),
        message: verdict.message.as_str().into(),
        observed_generation: generation,
        reason: verdict.reason.as_str().into(),
        status: verdict.status().into(),
        type_: type_.as_str().into(),
    };
    match present {
        Some(present) => *present = next,
        None => conditions.push(next),
    }
    true
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_time_moves_only_with_the_status() {
        let mut list = Vec::new();
        let pending = Verdict::no(Reason::Pending, "one");
        assert!(set_condition(
            &mut list,
            ConditionType::Ready,
            &pending,
            Some(1),
            &at(1)
        ));
        assert!(!set_condition(
            &mut list,
            ConditionType::Ready,
            &pending,
            Some(1),
            &at(2)
        ));
        let other = Verdict::no(Reason::Waiting, "two");
        assert!(set_condition(
            &mut list,
            ConditionType::Ready,
            &other,
            Some(1),
            &at(3)
        ));
        assert_eq!(list[0].last_transition_time, at(1));
        let yes = Verdict::yes(Reason::Ready, "");
        assert!(set_condition(
            &mut list,
            ConditionType::Ready,
            &yes,
            Some(1),
            &at(4)
        ));
        assert_eq!(list[0].last_transition_time, at(4));
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn a_condition_goes_over_the_wire_as_that_of_kubernetes() {
        let mut list = Vec::new();
        let verdict = Verdict::no(Reason::Refused, "no room");
        set_condition(&mut list, ConditionType::Ready, &verdict, Some(3), &at(7));
        let text = serde_json::to_string(&list[0]).unwrap();
        let theirs: v1::Condition = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&theirs).unwrap(), text);
        assert_eq!(theirs.message, "no room");
        let ours: Condition = serde_json::from_str(&text).unwrap();
        assert_eq!(ours, list[0]);
        // What thousands of objects hold of it each.
        assert!(size_of::<Condition>() <= 64);
    }

    #[test]
    fn every_reason_is_listed_and_is_its_own_name() {
        for reason in Reason::ALL {
            assert_eq!(format!("{reason:?}"), reason.as_str());
        }
    }
}
