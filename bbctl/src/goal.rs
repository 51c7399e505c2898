//! Turns `--for=...` into a goal, and an object into whether it has reached it.

use crate::object::{self, Object};

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// A condition has a status, for the spec in force.
    Condition {
        /// Its type, such as `Ready`.
        type_: String,
        /// `True`, `False` or `Unknown`.
        status: String,
    },
    /// The object is gone.
    Deleted,
}

impl Goal {
    /// The condition Ready is True.
    #[must_use]
    pub fn ready() -> Self {
        Self::Condition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
        }
    }

    /// Reads `condition=TYPE`, `condition=TYPE=STATUS` or `delete`.
    ///
    /// # Errors
    /// When it is none of them, with a sentence that says so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no goal: write condition=Ready or delete");
        if text == "delete" {
            return Ok(Self::Deleted);
        }
        let rest = text.strip_prefix("condition=").ok_or_else(wrong)?;
        let (type_, status) = rest.split_once('=').unwrap_or((rest, "True"));
        let known = ["True", "False", "Unknown"];
        let status = known
            .into_iter()
            .find(|word| word.eq_ignore_ascii_case(status));
        match (type_, status) {
            ("", _) | (_, None) => Err(wrong()),
            (type_, Some(status)) => Ok(Self::Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
            }),
        }
    }

    /// What is said of an object that has reached it.
    #[must_use]
    pub fn reached(&self) -> String {
        match self {
            Self::Deleted => "deleted".to_owned(),
            Self::Condition { type_, status } if type_ == "Ready" && status == "True" => {
                "ready".to_owned()
            }
            Self::Condition { type_, status } => format!("has {type_}={status}"),
        }
    }

    /// Whether an object that is there has reached it.
    #[must_use]
    pub fn is_met(&self, object: &Object) -> bool {
        match self {
            Self::Deleted => false,
            Self::Condition { type_, status } => object::condition(object, type_)
                .is_some_and(|c| c.status == *status && !object::is_stale(object, &c)),
        }
    }

    /// How an object stands that has not reached it.
    #[must_use]
    pub fn standing(&self, object: &Object) -> String {
        let (word, reason, message) = match self {
            Self::Condition { type_, .. } if type_ != "Ready" => {
                match object::condition(object, type_) {
                    None => return format!("it has no condition {type_} yet"),
                    Some(c) if object::is_stale(object, &c) => {
                        return format!("{type_} speaks of an earlier change");
                    }
                    Some(c) => (format!("{type_}={}", c.status), c.reason, c.message),
                }
            }
            _ => {
                let health = object::health(object);
                (
                    format!("Ready={}", health.ready.word()),
                    health.reason,
                    health.message,
                )
            }
        };
        match message.as_str() {
            "" => format!("{word}, {reason}"),
            message => format!("{word}, {reason}: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn goals_are_read_as_in_kubectl() {
        assert_eq!(Goal::parse("condition=Ready"), Ok(Goal::ready()));
        assert_eq!(Goal::parse("condition=Ready=true"), Ok(Goal::ready()));
        assert_eq!(Goal::parse("delete"), Ok(Goal::Deleted));
        let falls = Goal::Condition {
            type_: "Programmed".into(),
            status: "False".into(),
        };
        assert_eq!(Goal::parse("condition=Programmed=False"), Ok(falls));
        for wrong in [
            "",
            "Ready",
            "condition=",
            "condition=Ready=maybe",
            "deleted",
        ] {
            assert!(Goal::parse(wrong).is_err(), "{wrong}");
        }
    }

    fn object(seen: i64) -> Object {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "generation": 2},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready",
                "message": "", "observedGeneration": seen}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_condition_of_an_earlier_spec_does_not_count() {
        assert!(Goal::ready().is_met(&object(2)));
        assert!(!Goal::ready().is_met(&object(1)));
        assert!(
            Goal::ready()
                .standing(&object(1))
                .contains("has not looked at the last change")
        );
        assert!(!Goal::Deleted.is_met(&object(2)));
    }
}
