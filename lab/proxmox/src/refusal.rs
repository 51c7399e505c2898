//! Turns a reason not to do something into the status, words and map of errors Proxmox gives for it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What a call gives: data, or a refusal in the words of the product.
pub type Answer<T = Value> = Result<T, Refusal>;

/// Words of a value nobody defined.
pub(crate) const NOT_IN_SCHEMA: &str =
    "property is not defined in schema and the schema does not allow additional properties";
/// Words of a parameter that is missing.
pub(crate) const MISSING: &str = "property is missing and it is not optional";

/// A refusal as the HTTP client sees it (Proxmox VE 9.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Reason phrase: the first line of the message.
    pub reason: String,
    /// Further lines, which only the body's `message` carries.
    pub more: Vec<String>,
    /// Parameter to text, for status 400.
    pub errors: BTreeMap<String, String>,
    /// Whether the body stays empty: refusals of the proxy, not of a routed call.
    pub bare: bool,
    /// Seconds the product waits for a file lock before it says this; 0 when it says so at once.
    pub patience: f64,
}

impl Refusal {
    fn new(status: u16, reason: impl Into<String>) -> Self {
        let whole: String = reason.into();
        let mut lines = whole.lines().map(str::to_owned);
        let reason = lines.next().unwrap_or_default();
        let more = lines.collect();
        Self {
            status,
            reason,
            more,
            errors: BTreeMap::new(),
            bare: false,
            patience: 0.0,
        }
    }

    /// 500 with words: not found, exists, locked, and everything else.
    pub fn fail(text: impl Into<String>) -> Self {
        Self::new(500, text)
    }

    /// 400 with one entry in the map of errors.
    pub fn param(key: &str, text: impl Into<String>) -> Self {
        Self::params([(key.to_owned(), text.into())].into())
    }

    /// 400 with a map of errors.
    pub fn params(errors: BTreeMap<String, String>) -> Self {
        Self {
            errors,
            ..Self::new(400, "Parameter verification failed.")
        }
    }

    /// 403: a privilege is missing; `what` is e.g. `/vms/100, VM.Audit`.
    pub fn denied(what: &str) -> Self {
        Self::new(403, format!("Permission check failed ({what})"))
    }

    /// 403 for what only root@pam may, in free words.
    pub(crate) fn denied_feature(text: &str) -> Self {
        Self::new(403, format!("Permission check failed ({text})"))
    }

    /// 403 without saying which privilege, as an either-or of privileges ends.
    pub fn denied_somehow() -> Self {
        Self::new(403, "Permission check failed")
    }

    /// 401 of the proxy, with an empty body.
    pub fn unauthorized(text: &str) -> Self {
        Self {
            bare: true,
            ..Self::new(401, text)
        }
    }

    /// 401 of the login call, with a body.
    pub fn bad_login() -> Self {
        Self::new(401, "authentication failure")
    }

    /// Any status with an empty body: 501 of the proxy, 595, 596.
    pub fn bare(status: u16, text: impl Into<String>) -> Self {
        Self {
            bare: true,
            ..Self::new(status, text)
        }
    }

    /// 501: no such path or method.
    pub fn no_method(method: &str, path: &str) -> Self {
        Self::new(501, format!("Method '{method} {path}' not implemented"))
    }

    /// 500 after `seconds` of waiting for the file lock of a guest.
    pub fn file_lock(text: String, seconds: f64) -> Self {
        Self {
            patience: seconds,
            ..Self::fail(text)
        }
    }

    /// The body of the answer, or nothing when it is bare.
    pub fn body(&self) -> Option<Value> {
        if self.bare {
            return None;
        }
        let mut message = format!("{}\n", self.reason);
        for line in &self.more {
            message.push_str(line);
            message.push('\n');
        }
        let mut body = json!({ "data": null, "message": message });
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        Some(body)
    }

    /// The same refusal as the one line a task ends with.
    pub fn as_exit(&self) -> String {
        let mut text = match self.status {
            400 | 403 => format!("{} {}", self.status, self.reason),
            _ => self.reason.clone(),
        };
        for line in &self.more {
            text.push(' ');
            text.push_str(line);
        }
        for (key, error) in &self.errors {
            text.push_str(&format!(" {key}: {}", error.trim_end()));
        }
        text
    }

    /// Puts words in front of the reason, as a call does that wraps what failed inside.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        let inner = match self.status {
            400 | 403 => format!("{} {}", self.status, self.reason),
            _ => self.reason.clone(),
        };
        self.more.extend(
            self.errors
                .iter()
                .map(|(k, v)| format!("{k}: {}", v.trim_end())),
        );
        Self {
            status: 500,
            reason: format!("{prefix}{inner}"),
            errors: BTreeMap::new(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_becomes_the_reason() {
        let inner = Refusal::param("tag", "missing vxlan tag");
        let outer = inner.within("create sdn vnet object failed: ");
        assert_eq!(
            outer.reason,
            "create sdn vnet object failed: 400 Parameter verification failed."
        );
        assert_eq!(
            outer.body().expect("a routed call has a body")["message"],
            "create sdn vnet object failed: 400 Parameter verification failed.\ntag: missing vxlan tag\n"
        );
    }

    #[test]
    fn a_task_ends_with_the_status_in_front_of_a_permission_text() {
        let text = Refusal::denied("/storage/local, Datastore.AllocateSpace").as_exit();
        assert_eq!(
            text,
            "403 Permission check failed (/storage/local, Datastore.AllocateSpace)"
        );
    }
}
