//! Turns Plans into answers: looks where an answer needs it, lets the core rehearse, and writes.
//!
//! Namespaces in turn, one of each and a few at a time: a tenant that asks without end makes others
//! wait for one answer. Nothing is ever written to a target here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bb_core::rehearse::{Look, Proposal, Question, Refused, Rehearsed, Wants, parse, rehearse};
use bb_core::world::Key;
use bb_crds::condition::{Verdict, set_condition};
use bb_crds::plan::ANSWER_BYTES;
use bb_crds::{ConditionType, GROUP, Plan, PlanStatus, Reason, VERSION};
use bb_proxmox::Cluster;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiError, MANAGER};
use crate::looks::Seen;
use crate::shared::Shared;

/// How long a look at a target is waited for: the pass that looks may have others before it, and
/// a large router takes its time.
const LOOK: Duration = Duration::from_secs(30);
/// How often an answer may ask for reads. Each brings it further: guests, then their disks.
const ROUNDS: usize = 16;
/// How many are answered at once: who waits for a target that is busy keeps nobody else.
const AT_ONCE: usize = 4;
/// The most Plans of one namespace; the oldest go first.
const KEPT: usize = 32;
/// How long a Plan is left alone after the API did not take something of it.
const AGAIN: Duration = Duration::from_secs(2);

/// What is remembered of Plans beside the cache.
#[derive(Default)]
struct Desk {
    /// Generations that were answered, by UID: the cache may not show it yet.
    answered: BTreeMap<String, i64>,
    /// Those that were deleted, by UID.
    gone: BTreeSet<String>,
    /// Those to be left alone, by UID.
    later: BTreeMap<String, Instant>,
    /// Namespaces of which one is being answered.
    busy: BTreeSet<String>,
    /// When each namespace was served, as a number that grows.
    served: BTreeMap<String, u64>,
    turn: u64,
}

/// Answers Plans and deletes old ones, for as long as the process lives.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut desk = Desk::default();
    let mut serving = FuturesUnordered::new();
    loop {
        let plans = shared.stores.plans.objects();
        desk.forget(plans.values().map(AsRef::as_ref));
        let now = Timestamp::now();
        let ttl = SignedDuration::try_from(shared.args.plan_ttl())
            .context("the time that a Plan is kept")?;
        for plan in desk.too_old(plans.values(), now, ttl) {
            discard(&shared, &mut desk, &plan).await;
        }
        while serving.len() < AT_ONCE
            && let Some(plan) = desk.next(plans.values())
        {
            desk.begin(&plan);
            serving.push(serve(&shared, plan));
        }
        tokio::select! {
            Some((plan, served)) = serving.next() => desk.end(&plan, served),
            () = shared.stores.asked.notified() => {}
            () = tokio::time::sleep(desk.rest(plans.values(), now, ttl)) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

fn uid(plan: &Plan) -> &str {
    plan.metadata.uid.as_deref().unwrap_or_default()
}

fn namespace(plan: &Plan) -> &str {
    plan.metadata.namespace.as_deref().unwrap_or_default()
}

fn made(plan: &Plan) -> Timestamp {
    let made = plan.metadata.creation_timestamp.as_ref();
    made.map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn is_answered(plan: &Plan) -> bool {
    let conditions = plan.status.iter().flat_map(|s| &s.conditions);
    let mut ready = conditions.filter(|c| c.is(ConditionType::Ready));
    ready.any(|c| c.observed_generation == plan.metadata.generation)
}

impl Desk {
    /// Forgets Plans that are no more.
    fn forget<'a>(&mut self, plans: impl Iterator<Item = &'a Plan>) {
        let there: BTreeSet<&str> = plans.map(uid).collect();
        self.answered.retain(|uid, _| there.contains(uid.as_str()));
        self.gone.retain(|uid| there.contains(uid.as_str()));
        self.later.retain(|uid, _| there.contains(uid.as_str()));
    }

    fn waits(&self, plan: &Plan) -> bool {
        let until = self.later.get(uid(plan));
        until.is_some_and(|until| *until > Instant::now())
    }

    /// The Plan to be answered next: the oldest of the namespace that waited longest.
    fn next<'a>(&self, plans: impl Iterator<Item = &'a Arc<Plan>>) -> Option<Arc<Plan>> {
        let open = plans.filter(|plan| {
            let generation = plan.metadata.generation.unwrap_or(0);
            let known = self.answered.get(uid(plan)) == Some(&generation);
            let goes = plan.metadata.deletion_timestamp.is_some() || self.gone.contains(uid(plan));
            let waits = self.waits(plan) || self.busy.contains(namespace(plan));
            !known && !goes && !is_answered(plan) && !waits
        });
        let turn = |plan: &Arc<Plan>| {
            let served = self.served.get(namespace(plan)).copied().unwrap_or(0);
            (served, made(plan), uid(plan).to_owned())
        };
        open.min_by_key(|plan| turn(plan)).cloned()
    }

    /// Takes note that a Plan is being answered.
    fn begin(&mut self, plan: &Plan) {
        self.turn += 1;
        self.served.insert(namespace(plan).to_owned(), self.turn);
        self.busy.insert(namespace(plan).to_owned());
    }

    /// Takes note of what came of it.
    fn end(&mut self, plan: &Plan, served: Result<(), ApiError>) {
        self.busy.remove(namespace(plan));
        match served {
            Ok(()) => {
                let generation = plan.metadata.generation.unwrap_or(0);
                self.answered.insert(uid(plan).to_owned(), generation);
            }
            // Another of that name, or none.
            Err(error) if error.not_found() || error.conflict() => {
                self.gone.insert(uid(plan).to_owned());
            }
            Err(error) => self.fails(plan, &error),
        }
    }

    /// The Plans whose time is over, and those that are too many.
    fn too_old<'a>(
        &self,
        plans: impl Iterator<Item = &'a Arc<Plan>>,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Vec<Arc<Plan>> {
        let mut spaces: BTreeMap<&str, Vec<&Arc<Plan>>> = BTreeMap::new();
        for plan in plans.filter(|plan| !self.gone.contains(uid(plan))) {
            spaces.entry(namespace(plan)).or_default().push(plan);
        }
        let mut old = Vec::new();
        for mut plans in spaces.into_values() {
            plans.sort_by_key(|plan| (made(plan), uid(plan).to_owned()));
            let many = plans.len().saturating_sub(KEPT);
            let over = |plan: &Arc<Plan>| now.duration_since(made(plan)) >= ttl;
            let go = plans.iter().enumerate();
            let go = go.filter(|(at, plan)| *at < many || over(plan));
            old.extend(go.map(|(_, plan)| Arc::clone(plan)));
        }
        old.retain(|plan| !self.waits(plan));
        old
    }

    /// How long until something is due by itself.
    fn rest<'a>(
        &self,
        plans: impl Iterator<Item = &'a Arc<Plan>>,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Duration {
        let ends = plans.filter(|plan| !self.gone.contains(uid(plan)));
        let ends = ends.map(|plan| ttl - now.duration_since(made(plan)));
        let ends = ends.filter_map(|left| Duration::try_from(left).ok());
        let later = self.later.values();
        let later = later.map(|until| until.saturating_duration_since(Instant::now()));
        let soonest = ends.chain(later).min().unwrap_or(Duration::from_secs(3600));
        // What is over was dealt with, or waits for the cache to show it.
        soonest.max(Duration::from_millis(100))
    }

    fn fails(&mut self, plan: &Plan, error: &ApiError) {
        tracing::warn!(
            namespace = namespace(plan),
            error = error as &dyn std::error::Error,
            "a Plan waits"
        );
        let until = Instant::now() + AGAIN;
        self.later.insert(uid(plan).to_owned(), until);
    }
}

fn api(shared: &Shared, plan: &Plan) -> Api<Plan> {
    Api::namespaced(shared.clients.request.clone(), namespace(plan))
}

async fn discard(shared: &Shared, desk: &mut Desk, plan: &Plan) {
    let name = plan.metadata.name.as_deref().unwrap_or_default();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: plan.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let what = format!("delete plan {}/{name}", namespace(plan));
    match api::call(what, api(shared, plan).delete(name, &params)).await {
        Ok(_) => drop(desk.gone.insert(uid(plan).to_owned())),
        Err(error) if error.not_found() || error.conflict() => {
            desk.gone.insert(uid(plan).to_owned());
        }
        Err(error) => desk.fails(plan, &error),
    }
}

/// Answers a Plan and writes that.
async fn serve(shared: &Shared, plan: Arc<Plan>) -> (Arc<Plan>, Result<(), ApiError>) {
    let begun = Instant::now();
    let status = status(answer(shared, &plan).await, &plan);
    let name = plan.metadata.name.as_deref().unwrap_or_default();
    tracing::info!(
        plan = %Key::new(namespace(&plan), name),
        summary = status.summary,
        hash = status.hash,
        took = ?begun.elapsed(),
        "planned"
    );
    let body = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Plan",
        "metadata": {"name": name, "namespace": namespace(&plan), "uid": plan.metadata.uid},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let what = format!("write the status of plan {}/{name}", namespace(&plan));
    let api = api(shared, &plan);
    let written = api::call(what, api.patch_status(name, &params, &Patch::Apply(&body))).await;
    let written = written.map(drop);
    (plan, written)
}

/// The status that tells of an answer, or of why there is none.
fn status(answer: Result<PlanStatus, Refused>, plan: &Plan) -> PlanStatus {
    let now = Time(Timestamp::now());
    let sized = answer.and_then(|status| {
        let bytes = serde_json::to_vec(&status).map_or(usize::MAX, |text| text.len());
        if bytes <= ANSWER_BYTES {
            return Ok(status);
        }
        Err(Refused {
            reason: Reason::Invalid,
            message: format!(
                "the answer has {bytes} bytes, more than the {ANSWER_BYTES} that fit in an \
                 object: plan a part of the manifests at a time"
            ),
        })
    });
    let (mut status, verdict) = match sized {
        Ok(status) => {
            let says = status.summary.clone().unwrap_or_default();
            (status, Verdict::yes(Reason::Ready, says))
        }
        Err(refused) => {
            let status = PlanStatus {
                summary: Some("not planned".to_owned()),
                ..PlanStatus::default()
            };
            (status, Verdict::no(refused.reason, refused.message))
        }
    };
    status.time = Some(now.clone());
    set_condition(
        &mut status.conditions,
        ConditionType::Ready,
        &verdict,
        plan.metadata.generation,
        &now,
    );
    status
}

async fn answer(shared: &Shared, plan: &Plan) -> Result<PlanStatus, Refused> {
    let space = namespace(plan).to_owned();
    let proposals = Arc::new(parse(&space, &plan.spec)?);
    let mut looks: BTreeMap<String, Look> = BTreeMap::new();
    let mut readers: BTreeMap<String, Cluster> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let rehearsed;
        (rehearsed, looks) = think(shared, &space, &proposals, looks).await?;
        match rehearsed {
            Rehearsed::Answer(status) => return Ok(*status),
            Rehearsed::Refused(refused) => return Err(refused),
            Rehearsed::Wants(wants) => gather(shared, wants, &mut looks, &mut readers).await,
        }
    }
    Err(Refused {
        reason: Reason::Stuck,
        message: "an answer needs more and more reads: plan a part of the manifests".to_owned(),
    })
}

/// Lets the core rehearse beside everything else: a large world takes it a while.
async fn think(
    shared: &Shared,
    namespace: &str,
    proposals: &Arc<Vec<Proposal>>,
    looks: BTreeMap<String, Look>,
) -> Result<(Rehearsed, BTreeMap<String, Look>), Refused> {
    let world = shared.stores.world();
    if world.tenant_of(namespace).is_none() {
        return Err(Refused {
            reason: Reason::NotAllowed,
            message: format!(
                "namespace {namespace} belongs to no Tenant: create the Tenant first, or plan in \
                 a tenant's namespace"
            ),
        });
    }
    let outcomes = shared.outcomes();
    let deletes = shared.deletes();
    let installation = shared.installation.clone();
    let (namespace, proposals) = (namespace.to_owned(), Arc::clone(proposals));
    // Of several, one at a time: passes that act need the other cores.
    let turn = shared.planner.acquire().await;
    let work = move || {
        let question = Question {
            installation: &installation,
            namespace: &namespace,
            proposals: &proposals,
            world: &world,
            outcomes: &outcomes,
            deletes: &deletes,
            now: &Time(Timestamp::now()),
            looks: &looks,
            words: &bb_proxmox::words,
        };
        let rehearsed = rehearse(&question);
        (rehearsed, looks)
    };
    let rehearsed = tokio::task::spawn_blocking(work).await;
    drop(turn);
    rehearsed.map_err(|_| Refused {
        reason: Reason::Stuck,
        message: "the process that plans is ending: ask again".to_owned(),
    })
}

/// Makes the looks and reads that are missing.
async fn gather(
    shared: &Shared,
    wants: Wants,
    looks: &mut BTreeMap<String, Look>,
    readers: &mut BTreeMap<String, Cluster>,
) {
    let all = wants.looks.iter().map(|name| look(shared, name));
    let seen = futures::future::join_all(all).await;
    for (name, seen) in wants.looks.into_iter().zip(seen) {
        let look = match seen {
            Ok(Seen::Router(look)) => Look::Router(look),
            Ok(Seen::Cluster(look, cluster)) => {
                readers.insert(name.clone(), cluster);
                Look::Cluster(look)
            }
            Err(why) => Look::Unknown(why),
        };
        looks.insert(name, look);
    }
    for (name, needs) in wants.reads {
        let Some(Look::Cluster(look)) = looks.get_mut(&name) else {
            continue;
        };
        let holder = shared
            .asked_of_cluster(&name)
            .and_then(|desired| desired.cluster.holder);
        let read = match readers.get(&name) {
            Some(cluster) => bb_proxmox::read(cluster, holder, needs, &mut look.seen).await,
            None => continue,
        };
        if read.is_err() {
            let why = format!("cluster {name} refuses us; see Provider {name}");
            looks.insert(name, Look::Unknown(why));
        }
    }
}

/// What the next pass over a target sees, or why nobody can say.
async fn look(shared: &Shared, name: &str) -> Result<Seen, String> {
    let silent = || format!("it does not answer; see Provider {name}");
    if shared.breakers.is_failing(name) {
        return Err(silent());
    }
    let told = shared.looks.ask(name);
    shared.wake_target(name);
    match tokio::time::timeout(LOOK, told).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(_)) => Err(silent()),
        Err(_) => Err(format!(
            "it is busy: its state was not read within {} s, plan again later",
            LOOK.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::ToSpan as _;

    use super::*;

    fn plan(space: &str, name: &str, second: i64) -> Arc<Plan> {
        let made = Timestamp::from_second(1_750_000_000 + second).unwrap();
        let mut plan = Plan::new(name, bb_crds::PlanSpec::default());
        plan.metadata.namespace = Some(space.to_owned());
        plan.metadata.uid = Some(format!("{space}-{name}"));
        plan.metadata.generation = Some(1);
        plan.metadata.creation_timestamp = Some(Time(made));
        Arc::new(plan)
    }

    #[test]
    fn who_asks_without_end_makes_others_wait_for_one_answer() {
        let mut plans: Vec<_> = (0..5).map(|n| plan("busy", &format!("p{n}"), n)).collect();
        plans.push(plan("calm", "p", 9));
        let mut desk = Desk::default();
        let mut order = Vec::new();
        while let Some(next) = desk.next(plans.iter()) {
            desk.begin(&next);
            // Of a namespace that has one there is none.
            let other = desk
                .next(plans.iter())
                .map(|plan| namespace(&plan).to_owned());
            assert_ne!(other.as_deref(), Some(namespace(&next)));
            order.push(uid(&next).to_owned());
            desk.end(&next, Ok(()));
        }
        assert_eq!(order[..3], ["busy-p0", "calm-p", "busy-p1"]);
        assert_eq!(order.len(), 6);
    }

    #[test]
    fn old_plans_go_and_so_do_those_that_are_too_many() {
        let plans: Vec<_> = (0..40)
            .map(|n| plan("acme", &format!("p{n:02}"), n))
            .collect();
        let desk = Desk::default();
        let ttl = SignedDuration::from_secs(3600);
        let soon = Timestamp::from_second(1_750_000_050).unwrap();
        let old = desk.too_old(plans.iter(), soon, ttl);
        assert_eq!(old.len(), 40 - KEPT);
        assert_eq!(uid(&old[0]), "acme-p00");
        let later = soon + 2.hours();
        assert_eq!(desk.too_old(plans.iter(), later, ttl).len(), 40);
    }

    #[test]
    fn an_answer_that_is_too_large_says_so() {
        let large = PlanStatus {
            summary: Some("x".repeat(ANSWER_BYTES)),
            ..PlanStatus::default()
        };
        let told = status(Ok(large), &plan("acme", "p", 0));
        let ready = &told.conditions[0];
        assert_eq!((&*ready.status, &*ready.reason), ("False", "Invalid"));
        assert!(ready.message.contains("plan a part"), "{}", &*ready.message);
        assert!(serde_json::to_vec(&told).unwrap().len() < 1000);
    }
}
