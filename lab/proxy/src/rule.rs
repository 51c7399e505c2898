//! Turns "the third such call goes wrong this way" into what the proxy does to a call.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::call::Asked;
use crate::gate::{Held, When};

type Predicate = Arc<dyn Fn(&Asked) -> bool + Send + Sync>;

/// Which calls are meant. All conditions given must hold; none given means every call.
#[derive(Clone, Default)]
pub struct Fits {
    method: Option<String>,
    target: Option<String>,
    body: Option<String>,
    predicate: Option<Predicate>,
}

impl fmt::Debug for Fits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = || "*".to_owned();
        let method = self.method.clone().unwrap_or_else(any);
        let target = self.target.clone().unwrap_or_else(any);
        write!(f, "{method} {target}")
    }
}

impl Fits {
    /// Every call.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Calls whose path with query contains this.
    #[must_use]
    pub fn path(part: &str) -> Self {
        Self {
            target: Some(part.to_owned()),
            ..Self::default()
        }
    }

    /// Calls for which this holds.
    #[must_use]
    pub fn when(predicate: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Self {
        Self {
            predicate: Some(Arc::new(predicate)),
            ..Self::default()
        }
    }

    /// Calls that open a watch of the Kubernetes API.
    #[must_use]
    pub fn watches() -> Self {
        Self::when(|asked| asked.query.split('&').any(|part| part == "watch=true"))
    }

    /// The same, for this method only.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// The same, for bodies that contain this.
    #[must_use]
    pub fn body(mut self, part: &str) -> Self {
        self.body = Some(part.to_owned());
        self
    }

    /// Whether a call is meant.
    #[must_use]
    pub fn fits(&self, asked: &Asked) -> bool {
        let part = |wanted: &Option<String>, text: &dyn Fn() -> String| {
            wanted.as_ref().is_none_or(|part| text().contains(part))
        };
        self.method
            .as_ref()
            .is_none_or(|method| asked.method.as_str().eq_ignore_ascii_case(method))
            && part(&self.target, &|| asked.target())
            && part(&self.body, &|| asked.text())
            && self.predicate.as_ref().is_none_or(|holds| holds(asked))
    }
}

/// What happens to a call.
#[derive(Clone)]
pub enum Action {
    /// It passes, but is sent on only after this time.
    Delay(Duration),
    /// The connection is closed; the upstream sees nothing.
    CutBefore,
    /// The upstream answers; the connection is closed instead of passing the answer on.
    CutAfter,
    /// The upstream sees nothing and the caller gets nothing, for as long as it stays.
    BlackHole,
    /// The upstream sees nothing; this is answered instead.
    Status {
        /// The HTTP status.
        status: u16,
        /// Headers: `retry-after` and such.
        headers: Vec<(String, String)>,
        /// The body, JSON.
        body: String,
    },
    /// It passes, as if no later rule were there.
    Pass,
    /// It is held and the test is told.
    Gate(GateEnd),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(time) => write!(f, "Delay({time:?})"),
            Self::CutBefore => f.write_str("CutBefore"),
            Self::CutAfter => f.write_str("CutAfter"),
            Self::BlackHole => f.write_str("BlackHole"),
            Self::Status { status, .. } => write!(f, "Status({status})"),
            Self::Pass => f.write_str("Pass"),
            Self::Gate(end) => write!(f, "Gate({:?})", end.when),
        }
    }
}

/// The proxy's end of a [`crate::Gate`].
#[derive(Clone)]
pub struct GateEnd {
    pub(crate) when: When,
    pub(crate) told: mpsc::UnboundedSender<Held>,
}

impl Action {
    /// An answer with this status and no more.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            headers: Vec::new(),
            body: "{}".to_owned(),
        }
    }

    /// The answer of a Kubernetes API server that fails so: a Status object.
    #[must_use]
    pub fn kubernetes(status: u16, reason: &str, message: &str) -> Self {
        Self::Status {
            status,
            headers: Vec::new(),
            body: crate::stream::status_object(status, reason, message),
        }
    }

    /// "Too many requests, come back in so many seconds", as the Kubernetes API says it.
    #[must_use]
    pub fn too_many(seconds: u64) -> Self {
        Self::Status {
            status: 429,
            headers: vec![("retry-after".to_owned(), seconds.to_string())],
            body: crate::stream::status_object(
                429,
                "TooManyRequests",
                "too many requests, please try again later",
            ),
        }
    }
}

/// Which calls go wrong, how often, and how.
#[derive(Clone, Debug)]
pub struct Rule {
    fits: Fits,
    skip: u64,
    times: u64,
    action: Action,
}

impl Rule {
    /// Does this to every such call, until the rule is removed.
    #[must_use]
    pub fn new(fits: Fits, action: Action) -> Self {
        Self {
            fits,
            skip: 0,
            times: u64::MAX,
            action,
        }
    }

    /// The same, after letting this many of them pass.
    #[must_use]
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// The same, this many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// The rules of one proxy, oldest first; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Rules(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    rules: Vec<(u64, Rule)>,
    last: u64,
}

impl Rules {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, rule: Rule) -> u64 {
        let mut kept = self.kept();
        kept.last += 1;
        let id = kept.last;
        kept.rules.push((id, rule));
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        self.kept().rules.retain(|(other, _)| *other != id);
    }

    pub(crate) fn clear(&self) {
        self.kept().rules.clear();
    }

    /// What is to happen to this call: the first rule that fits and is due. A call counts
    /// against every rule that it fits and that still skips.
    pub(crate) fn take(&self, asked: &Asked) -> Option<Action> {
        let mut kept = self.kept();
        for (_, rule) in &mut kept.rules {
            if rule.times == 0 || !rule.fits.fits(asked) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times = rule.times.saturating_sub(u64::from(rule.times != u64::MAX));
            return Some(rule.action.clone());
        }
        None
    }
}
