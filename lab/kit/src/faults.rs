//! Turns "the next such call goes wrong this way" into what a stand-in does to that call.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// Which calls go wrong, how often, and how. All conditions given must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// A name to remove it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The HTTP method, any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// A part of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// A part of the body, as the stand-in decoded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
    /// How many matching calls pass first.
    #[serde(default)]
    pub skip: u32,
    /// How many matching calls go wrong after that; 0 means all until cleared.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    pub action: Action,
}

fn once() -> u32 {
    1
}

/// What happens to a call. "Carried out" means it took its effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// Carried out and answered, but begun only after `ms` milliseconds.
    Delay { ms: u64 },
    /// Not carried out; answered with this instead.
    Status {
        status: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default)]
        body: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// Carried out; answered with this instead of what it came to.
    StatusAfter {
        status: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default)]
        body: String,
    },
    /// Not carried out; the connection is closed.
    CloseBefore,
    /// Carried out; the connection is closed without an answer.
    CloseAfter,
    /// Carried out at once, answered after `ms` milliseconds.
    Hang { ms: u64 },
    /// Not carried out for `ms` milliseconds, then the connection is closed.
    HangBefore { ms: u64 },
}

impl Fault {
    /// A fault that hits the next call once.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self {
            id: None,
            method: None,
            path_contains: None,
            body_contains: None,
            skip: 0,
            times: 1,
            action,
        }
    }

    /// The same, for this method only.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// The same, for paths that contain this.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path_contains = Some(part.to_owned());
        self
    }

    /// The same, for bodies that contain this.
    #[must_use]
    pub fn body(mut self, part: &str) -> Self {
        self.body_contains = Some(part.to_owned());
        self
    }

    /// The same, after letting `skip` matching calls pass.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// The same, `times` times; 0 means until cleared.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    fn fits(&self, method: &str, path: &str, body: &str) -> bool {
        self.method
            .as_deref()
            .is_none_or(|want| want.eq_ignore_ascii_case(method))
            && self
                .path_contains
                .as_deref()
                .is_none_or(|part| path.contains(part))
            && self
                .body_contains
                .as_deref()
                .is_none_or(|part| body.contains(part))
    }
}

/// The faults waiting for their call, in the order they were added; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Waiting>>>);

#[derive(Clone, Debug)]
struct Waiting {
    fault: Fault,
    to_skip: u32,
    /// `None` when it stays until cleared.
    left: Option<u32>,
}

impl Faults {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<Waiting>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a fault behind those that wait.
    pub fn add(&self, fault: Fault) {
        let waiting = Waiting {
            to_skip: fault.skip,
            left: (fault.times > 0).then_some(fault.times),
            fault,
        };
        self.with(|all| all.push(waiting));
    }

    /// Removes every fault.
    pub fn clear(&self) {
        self.with(Vec::clear);
    }

    /// Removes the faults named `id`.
    pub fn remove(&self, id: &str) {
        self.with(|all| all.retain(|waiting| waiting.fault.id.as_deref() != Some(id)));
    }

    /// The faults that still wait.
    #[must_use]
    pub fn waiting(&self) -> Vec<Fault> {
        self.with(|all| all.iter().map(|waiting| waiting.fault.clone()).collect())
    }

    /// What is to happen to this call: the first fault that fits and has nothing left to skip.
    ///
    /// Counts the call against every fitting fault it passes on the way.
    #[must_use]
    pub fn take(&self, method: &str, path: &str, body: &str) -> Option<Action> {
        self.with(|all| {
            let at = all.iter_mut().position(|waiting| {
                if !waiting.fault.fits(method, path, body) {
                    return false;
                }
                let due = waiting.to_skip == 0;
                waiting.to_skip = waiting.to_skip.saturating_sub(1);
                due
            })?;
            let action = all[at].fault.action.clone();
            if let Some(left) = all[at].left.as_mut() {
                *left -= 1;
                if *left == 0 {
                    all.remove(at);
                }
            }
            Some(action)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_skips_then_hits_as_often_as_asked() {
        let faults = Faults::default();
        faults.add(
            Fault::new(Action::CloseAfter)
                .path("/configure")
                .skip(1)
                .times(2),
        );
        let hits: Vec<bool> = (0..5)
            .map(|_| faults.take("POST", "/configure", "").is_some())
            .collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert!(faults.waiting().is_empty());
    }

    #[test]
    fn a_fault_without_a_count_stays_until_it_is_removed() {
        let faults = Faults::default();
        let fault = Fault {
            id: Some("f".into()),
            ..Fault::new(Action::CloseBefore).times(0)
        };
        faults.add(fault);
        assert!((0..9).all(|_| faults.take("GET", "/", "") == Some(Action::CloseBefore)));
        faults.remove("f");
        assert_eq!(faults.take("GET", "/", ""), None);
    }

    #[test]
    fn only_calls_that_fit_every_condition_are_hit() {
        let faults = Faults::default();
        faults.add(
            Fault::new(Action::Hang { ms: 1 })
                .method("post")
                .path("/retr")
                .body("vrf"),
        );
        assert_eq!(faults.take("GET", "/retrieve", "vrf"), None);
        assert_eq!(faults.take("POST", "/configure", "vrf"), None);
        assert_eq!(faults.take("POST", "/retrieve", "nat"), None);
        assert_eq!(
            faults.take("POST", "/retrieve", "vrf"),
            Some(Action::Hang { ms: 1 })
        );
    }

    #[test]
    fn a_fault_reads_from_short_json() {
        let fault: Fault = serde_json::from_str(
            r#"{"path_contains":"/x","action":{"kind":"status","status":502}}"#,
        )
        .unwrap();
        assert_eq!(fault.times, 1);
        assert!(matches!(fault.action, Action::Status { status: 502, .. }));
    }
}
