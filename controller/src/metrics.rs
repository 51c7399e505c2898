//! Turns what the passes count into the text that Prometheus reads.
//!
//! Labels are names of Providers and words of ours: how many series there are is bounded by the
//! equipment, never by what tenants make.

use bb_core::tally::{Readiness, Tally};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::measures::Measures;

/// What is counted.
#[derive(Default)]
pub(crate) struct Metrics {
    drift: Family<OfKind, Counter>,
    orphans: Family<Of, Gauge>,
    guarded: Family<Of, Gauge>,
    passes: Family<Ended, Counter>,
    requests: Family<Of, Counter>,
    objects: Family<OfReadiness, Gauge>,
    leader: Gauge,
    /// How well the controller itself does.
    pub(crate) measures: Measures,
}

/// A Provider.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    provider: String,
}

/// A kind of object on a Provider.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: Kind,
    provider: String,
}

/// Objects of a kind that are Ready, or not.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfReadiness {
    kind: &'static str,
    ready: &'static str,
}

/// How a pass over a Provider ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    provider: String,
    result: Outcome,
}

/// What drift was found on.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(crate) enum Kind {
    Tenant,
    Network,
    Instance,
    Volume,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[allow(
    non_camel_case_types,
    reason = "values of labels are written in small letters"
)]
enum Outcome {
    done,
    failed,
}

impl Metrics {
    /// Counts objects on which the last pass found that somebody else changed something.
    pub(crate) fn drifted(&self, provider: &str, kind: Kind) {
        let provider = provider.to_owned();
        self.drift.get_or_create(&OfKind { kind, provider }).inc();
    }

    /// Says how many things with our mark no object accounts for.
    pub(crate) fn orphans(&self, provider: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.orphans.get_or_create(&of(provider)).set(count);
    }

    /// Says how many deletes wait for a person to confirm them.
    pub(crate) fn guarded(&self, provider: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.guarded.get_or_create(&of(provider)).set(count);
    }

    /// Counts a pass, and the requests that it made.
    pub(crate) fn passed(&self, provider: &str, well: bool) {
        let ended = Ended {
            provider: provider.to_owned(),
            result: if well { Outcome::done } else { Outcome::failed },
        };
        self.passes.get_or_create(&ended).inc();
    }

    /// Counts requests that were made to a Provider.
    pub(crate) fn requested(&self, provider: &str, count: u64) {
        self.requests.get_or_create(&of(provider)).inc_by(count);
    }

    /// Says that this process is the one that works.
    pub(crate) fn leads(&self) {
        self.leader.set(1);
    }

    /// Says how many objects of each kind are Ready.
    pub(crate) fn tallied(&self, tally: &Tally) {
        for (&(kind, readiness), count) in tally {
            let ready = match readiness {
                Readiness::Ready => "True",
                Readiness::NotReady => "False",
                Readiness::Unknown => "Unknown",
            };
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let of = OfReadiness { kind, ready };
            self.objects.get_or_create(&of).set(count);
        }
    }

    /// Forgets a Provider that is gone.
    pub(crate) fn forget(&self, provider: &str) {
        self.orphans.remove(&of(provider));
        self.guarded.remove(&of(provider));
        self.requests.remove(&of(provider));
        self.measures.forget(provider);
        for kind in [Kind::Tenant, Kind::Network, Kind::Instance, Kind::Volume] {
            let provider = provider.to_owned();
            self.drift.remove(&OfKind { kind, provider });
        }
        for result in [Outcome::done, Outcome::failed] {
            let provider = provider.to_owned();
            self.passes.remove(&Ended { provider, result });
        }
    }

    fn registry(&self) -> Registry {
        let mut all = Registry::with_prefix("bitbuilder");
        let (drift, orphans) = (self.drift.clone(), self.orphans.clone());
        all.register("drift", "Objects found changed by somebody else", drift);
        all.register("orphans", "Things with our mark and no object", orphans);
        all.register(
            "guarded_deletes",
            "Deletes that wait for a person to confirm them",
            self.guarded.clone(),
        );
        let (passes, requests) = (self.passes.clone(), self.requests.clone());
        all.register("passes", "Passes over a router or cluster", passes);
        all.register("requests", "Requests to a router or cluster", requests);
        let (objects, leader) = (self.objects.clone(), self.leader.clone());
        all.register("objects", "Objects by kind and readiness", objects);
        all.register(
            "leader",
            "Whether this process is the one that works",
            leader,
        );
        self.measures.tell(&mut all);
        all
    }

    /// All of it as text.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry())?;
        Ok(text)
    }
}

fn of(provider: &str) -> Of {
    Of {
        provider: provider.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_in_the_text_and_what_is_gone_is_not() {
        let metrics = Metrics::default();
        metrics.drifted("r1", Kind::Network);
        metrics.orphans("c1", 3);
        metrics.guarded("c1", 0);
        metrics.passed("r1", true);
        metrics.requested("r1", 2);
        metrics.tallied(&[(("Volume", Readiness::NotReady), 4)].into());
        metrics.leads();
        let text = metrics.text().unwrap();
        for line in [
            "bitbuilder_drift_total{kind=\"Network\",provider=\"r1\"} 1",
            "bitbuilder_orphans{provider=\"c1\"} 3",
            "bitbuilder_guarded_deletes{provider=\"c1\"} 0",
            "bitbuilder_passes_total{provider=\"r1\",result=\"done\"} 1",
            "bitbuilder_requests_total{provider=\"r1\"} 2",
            "bitbuilder_objects{kind=\"Volume\",ready=\"False\"} 4",
            "bitbuilder_leader 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        metrics.forget("r1");
        assert!(!metrics.text().unwrap().contains("r1"));
    }
}
