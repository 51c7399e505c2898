//! Turns what passes and requests take, and how long targets wait, into what Prometheus reads.
//!
//! Beside `metrics`, which counts what is found; this says how well the controller itself does.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::export;
use crate::watch::Counts;

/// Seconds, from a quick answer to the longest commit.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 120.0, 300.0,
];

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn seconds() -> Histogram {
    Histogram::new(BUCKETS)
}

fn durations<L: Clone + std::hash::Hash + Eq>() -> Durations<L> {
    Family::new_with_constructor(seconds as fn() -> Histogram)
}

/// What a pass is over.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[allow(
    non_camel_case_types,
    reason = "values of labels are written in small letters"
)]
pub(crate) enum Over {
    objects,
    router,
    cluster,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPass {
    over: Over,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfResult {
    result: &'static str,
}

/// A request to the API.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfApi {
    verb: &'static str,
    resource: String,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfVerb {
    verb: &'static str,
}

/// A request to a router or a cluster.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRequest {
    over: Over,
    access: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfFailure {
    provider: String,
    why: &'static str,
}

/// Why a request to a router or a cluster came to nothing.
const WHYS: [&str; 4] = ["no_answer", "denied", "busy", "refused"];

/// How well the controller does.
pub(crate) struct Measures {
    passes: Durations<OfPass>,
    object_passes: Family<OfResult, Counter>,
    api: Family<OfApi, Counter>,
    api_took: Durations<OfVerb>,
    took: Durations<OfRequest>,
    failures: Family<OfFailure, Counter>,
    waits: Histogram,
    waiting: Mutex<Waiting>,
    working: Gauge,
    /// What watches came to.
    pub(crate) watched: Arc<Counts>,
}

/// The targets that wait for a place, by when they began to.
#[derive(Default)]
struct Waiting {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            passes: durations(),
            object_passes: Family::default(),
            api: Family::default(),
            api_took: durations(),
            took: durations(),
            failures: Family::default(),
            waits: seconds(),
            waiting: Mutex::default(),
            working: Gauge::default(),
            watched: Arc::default(),
        }
    }
}

impl Measures {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// Says that a target waits for a place, for as long as what is returned is kept.
    pub(crate) fn waits(&self) -> Waits<'_> {
        let mut waiting = self.waiting();
        waiting.next += 1;
        let number = waiting.next;
        waiting.since.insert(number, Instant::now());
        Waits {
            measures: self,
            number,
        }
    }

    /// Says that a pass over a target is under way, for as long as what is returned is kept.
    pub(crate) fn works(&self, over: Over) -> Works<'_> {
        self.working.inc();
        Works {
            measures: self,
            over,
            begun: Instant::now(),
        }
    }

    /// Counts a pass over the objects, and how long it took.
    pub(crate) fn decided(&self, took: Duration, well: bool) {
        let over = OfPass {
            over: Over::objects,
        };
        self.passes.get_or_create(&over).observe(took.as_secs_f64());
        let result = if well { "done" } else { "failed" };
        self.object_passes.get_or_create(&OfResult { result }).inc();
    }

    /// Counts a request to the API. `code` is 0 where there was no answer.
    pub(crate) fn asked(&self, verb: &'static str, resource: &str, code: u16, took: Duration) {
        let resource = resource.to_owned();
        let of = OfApi {
            verb,
            resource,
            code,
        };
        self.api.get_or_create(&of).inc();
        let took = took.as_secs_f64();
        self.api_took.get_or_create(&OfVerb { verb }).observe(took);
    }

    /// Counts a request to a router or a cluster.
    pub(crate) fn requested(&self, provider: &str, over: Over, request: &bb_wire::Request) {
        let access = if request.write { "write" } else { "read" };
        let took = request.took.as_secs_f64();
        self.took
            .get_or_create(&OfRequest { over, access })
            .observe(took);
        if let Some(why) = why(request.status) {
            let provider = provider.to_owned();
            self.failures
                .get_or_create(&OfFailure { provider, why })
                .inc();
        }
    }

    /// Forgets a Provider that is gone.
    pub(crate) fn forget(&self, provider: &str) {
        for why in WHYS {
            let provider = provider.to_owned();
            self.failures.remove(&OfFailure { provider, why });
        }
    }

    /// Adds all of it to what is read.
    pub(crate) fn tell(&self, all: &mut Registry) {
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "Which version this is", version);
        all.register(
            "pass_duration_seconds",
            "How long passes took",
            self.passes.clone(),
        );
        all.register(
            "object_passes",
            "Passes over the objects",
            self.object_passes.clone(),
        );
        self.tell_queue(all);
        all.register("api_requests", "Requests to the API", self.api.clone());
        all.register(
            "api_request_duration_seconds",
            "How long the API took to answer",
            self.api_took.clone(),
        );
        all.register(
            "request_duration_seconds",
            "How long routers and clusters took to answer",
            self.took.clone(),
        );
        all.register(
            "request_failures",
            "Requests to a router or cluster that came to nothing",
            self.failures.clone(),
        );
        let count = |of: &std::sync::atomic::AtomicU64| {
            let counter: Counter = Counter::default();
            counter.inc_by(of.load(Ordering::Relaxed));
            counter
        };
        let watched = &self.watched;
        all.register(
            "lists",
            "Lists that watches began with",
            count(&watched.lists),
        );
        all.register(
            "broken_watches",
            "Watches that broke",
            count(&watched.broken),
        );
        all.register(
            "unread_objects",
            "Objects that could not be understood",
            count(&watched.unread),
        );
        let spans: Family<OfResult, Counter> = Family::default();
        for (result, value) in export::counts() {
            spans.get_or_create(&OfResult { result }).inc_by(value);
        }
        all.register("spans", "Spans for the collector of traces", spans);
    }

    fn tell_queue(&self, all: &mut Registry) {
        let waiting = self.waiting();
        let depth: Gauge = Gauge::default();
        depth.set(i64::try_from(waiting.since.len()).unwrap_or(i64::MAX));
        let oldest = waiting.since.values().min();
        let oldest = oldest.map_or(0.0, |since| since.elapsed().as_secs_f64());
        drop(waiting);
        let longest: Gauge<f64, std::sync::atomic::AtomicU64> = Gauge::default();
        longest.set(oldest);
        all.register(
            "targets_waiting",
            "Routers and clusters that wait for a place",
            depth,
        );
        all.register(
            "longest_wait_seconds",
            "How long the first of them has waited",
            longest,
        );
        all.register(
            "wait_duration_seconds",
            "How long targets waited for a place",
            self.waits.clone(),
        );
        all.register(
            "targets_working",
            "Passes over routers and clusters that are under way",
            self.working.clone(),
        );
    }
}

/// Why a request came to nothing, by the status of the answer.
fn why(status: u16) -> Option<&'static str> {
    match status {
        0 => Some("no_answer"),
        401 | 403 => Some("denied"),
        429 | 503 => Some("busy"),
        400.. => Some("refused"),
        _ => None,
    }
}

/// A target that waits for a place.
pub(crate) struct Waits<'a> {
    measures: &'a Measures,
    number: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let since = self.measures.waiting().since.remove(&self.number);
        if let Some(since) = since {
            self.measures.waits.observe(since.elapsed().as_secs_f64());
        }
    }
}

/// A pass over a target.
pub(crate) struct Works<'a> {
    measures: &'a Measures,
    over: Over,
    begun: Instant,
}

impl Drop for Works<'_> {
    fn drop(&mut self) {
        self.measures.working.dec();
        let took = self.begun.elapsed().as_secs_f64();
        let over = OfPass { over: self.over };
        self.measures.passes.get_or_create(&over).observe(took);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text(measures: &Measures) -> String {
        let mut all = Registry::with_prefix("bitbuilder");
        measures.tell(&mut all);
        let mut text = String::new();
        encode(&mut text, &all).unwrap();
        text
    }

    fn has(measures: &Measures, line: &str) {
        let text = text(measures);
        assert!(text.contains(line), "{line} is not in {text}");
    }

    #[test]
    fn who_waits_is_counted_until_there_is_a_place() {
        let measures = Measures::default();
        let (one, two) = (measures.waits(), measures.waits());
        has(&measures, "bitbuilder_targets_waiting 2");
        drop(one);
        has(&measures, "bitbuilder_targets_waiting 1");
        assert!(!text(&measures).contains("longest_wait_seconds 0.0\n"));
        drop(two);
        has(&measures, "bitbuilder_targets_waiting 0");
        has(&measures, "bitbuilder_longest_wait_seconds 0.0");
        has(&measures, "bitbuilder_wait_duration_seconds_count 2");
    }

    #[test]
    fn a_pass_is_under_way_until_it_has_ended_however_it_ends() {
        let measures = Measures::default();
        let pass = measures.works(Over::router);
        has(&measures, "bitbuilder_targets_working 1");
        drop(pass);
        measures.decided(Duration::from_millis(30), false);
        has(&measures, "bitbuilder_targets_working 0");
        let count = "bitbuilder_pass_duration_seconds_count";
        has(&measures, &format!("{count}{{over=\"router\"}} 1"));
        has(&measures, &format!("{count}{{over=\"objects\"}} 1"));
        has(
            &measures,
            "bitbuilder_object_passes_total{result=\"failed\"} 1",
        );
    }

    #[test]
    fn a_request_that_came_to_nothing_is_counted_by_why_and_forgotten_with_its_provider() {
        let measures = Measures::default();
        for status in [0, 200, 401, 503, 595] {
            let request = bb_wire::Request {
                name: "/configure",
                write: true,
                status,
                took: Duration::from_secs(2),
            };
            measures.requested("r1", Over::router, &request);
        }
        for why in WHYS {
            let line = format!("request_failures_total{{provider=\"r1\",why=\"{why}\"}} 1");
            has(&measures, &line);
        }
        let took = "request_duration_seconds_sum{over=\"router\",access=\"write\"} 10.0";
        has(&measures, took);
        measures.forget("r1");
        assert!(!text(&measures).contains("r1"));
    }

    #[test]
    fn requests_to_the_api_watches_and_the_version_are_told() {
        let measures = Measures::default();
        measures.asked("patch", "instances/status", 409, Duration::from_millis(3));
        measures.watched.lists.fetch_add(7, Ordering::Relaxed);
        let line =
            "api_requests_total{verb=\"patch\",resource=\"instances/status\",code=\"409\"} 1";
        has(&measures, line);
        has(&measures, "bitbuilder_lists_total 7");
        let version = env!("CARGO_PKG_VERSION");
        has(
            &measures,
            &format!("bitbuilder_build_info{{version=\"{version}\"}} 1"),
        );
    }
}
