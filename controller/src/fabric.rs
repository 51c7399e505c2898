//! The pass over the objects: gather, resolve, allocate, render, status, write.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bb_core::allocate::allocate;
use bb_core::breaker::pause;
use bb_core::outcome::Asked;
use bb_core::outside::Outside;
use bb_core::render;
use bb_core::resolve::{Id, resolve};
use bb_core::share::{self, Share};
use bb_core::status::{Known, changes};
use bb_core::tally::tally;
use bb_core::world::{World, uid};
use bb_core::writes::{Writes, order};
use bb_wire::trace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use crate::api::ApiError;
use crate::backoff::Version;
use crate::namespaces;
use crate::scribe;
use crate::shared::Shared;
use crate::unread;

/// Changes that come together are seen together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// No pause after a pass is longer, however long it took.
const BREATH: Duration = Duration::from_secs(1);
/// No pause after a failure of the API itself is longer: everybody waits for it.
const LONGEST: Duration = Duration::from_secs(30);
/// The most Networks that are given numbers in one pass. All of them are written before the
/// next: what comes at once reaches a router in one list.
const NETWORKS: usize = 256;

/// Runs passes for as long as the process lives.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) -> anyhow::Result<()> {
    shared.metrics.leads();
    let mut failed = 0;
    let mut next = Next {
        turn: 0,
        instances: share::FIRST,
        breath: Duration::ZERO,
    };
    let mut ended = Instant::now();
    shared.wake_fabric();
    loop {
        tokio::select! {
            () = shared.fabric_woken() => {}
            () = rested(&shared) => {}
            () = stop.cancelled() => return Ok(()),
        }
        let rest = next.breath.saturating_sub(ended.elapsed());
        tokio::time::sleep(rest.max(DEBOUNCE)).await;
        next.turn += 1;
        let failure = numbered(&shared, &mut next).await;
        // With what the pass wrote, which the caches have at once.
        shared.metrics.tallied(&tally(&shared.stores.world()));
        ended = Instant::now();
        let Some(error) = failure else {
            failed = 0;
            continue;
        };
        failed += 1;
        let first = Duration::from_millis(shared.args.backoff / 4);
        let least = error.unwell().unwrap_or_default();
        let wait = pause(failed, first, rand::random()).min(LONGEST).max(least);
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            ?wait,
            "the API does not take writes; it is left alone for a while"
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => shared.wake_fabric(),
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// What one pass leaves to the next.
struct Next {
    /// Its number.
    turn: u64,
    /// How many Instances it may give something.
    instances: usize,
    /// How long nothing is decided before it. A pass looks at all objects: were it made at each
    /// of hundreds of changes a second, it would take all the time there is.
    breath: Duration,
}

/// Waits until something that the API refused is to be tried again.
async fn rested(shared: &Shared) {
    let due = [shared.rests.due(), shared.homeless.due()];
    match due.into_iter().flatten().min() {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// One pass, as what follows from those that asked for it.
async fn numbered(shared: &Shared, next: &mut Next) -> Option<ApiError> {
    let span = info_span!("pass over objects", turn = next.turn, result = Empty);
    trace::follows(&span, &shared.take_causes());
    let begun = Instant::now();
    let failure = pass(shared, next).instrument(span.clone()).await;
    let result = if failure.is_none() { "done" } else { "failed" };
    span.record("result", result);
    let measures = &shared.metrics.measures;
    measures.decided(begun.elapsed(), failure.is_none());
    failure
}

/// One pass. Gives the error that shows that the API itself is not well.
async fn pass(shared: &Shared, next: &mut Next) -> Option<ApiError> {
    let begun = Instant::now();
    let turn = next.turn;
    let world = shared.stores.world();
    let resting = shared.rests.now(|id| version_of(&world, id));
    let mut resolved = resolve(&world);
    let now = Time(Timestamp::now());
    resolved.guarded = shared.guarded(&world, &now);
    let seen = shared.outcomes();
    let outside = Outside::of(&seen, &world);
    let share = Share {
        networks: NETWORKS,
        instances: next.instances,
        turn,
        resting: &resting,
        outside: Some(&outside),
    };
    let grants = allocate(&world, &resolved, &share);
    let (routers, clusters) = render::targets(&world, &resolved, &grants, &shared.installation);
    let asked = Arc::new(Asked::of(&routers, &clusters));
    let generation = |p: &bb_crds::Provider| p.metadata.generation.unwrap_or(0);
    let generations = world
        .providers
        .iter()
        .map(|(n, p)| (n.clone(), generation(p)))
        .collect();
    shared.ask(routers, clusters, generations, Arc::clone(&asked));
    let outcomes = shared.outcomes();
    let by_uid = world
        .instances
        .iter()
        .map(|(k, i)| (uid(i.as_ref()), k.clone()))
        .collect();
    let known = Known {
        world: &world,
        resolved: &resolved,
        grants: &grants,
        asked: &asked,
        by_uid: &by_uid,
        outcomes: &outcomes,
        now: &now,
    };
    let (unsettled, unwell) = namespaces::keep(shared, &known).await;
    if unwell.is_some() {
        return unwell;
    }
    let writes = due(&known, &resting, &unsettled, turn);
    let waits = writes.held > 0 || grants.more;
    let decided = begun.elapsed();
    next.breath = (decided / 2).min(BREATH);
    let rest = writes.rest.len();
    let identities = writes.rest.iter().filter(|due| due.must).count();
    // As long as it took to decide, at least: else a large world would only ever be decided on.
    let wrote = scribe::carry_out(shared, &world, writes, decided).await;
    tracing::debug!(
        turn,
        ?decided,
        wrote = ?begun.elapsed().saturating_sub(decided),
        identities,
        rest,
        left = wrote.as_ref().map_or(rest, |carried| carried.left),
        "a pass over the objects"
    );
    unread::tell(shared, &world.unread);
    match wrote {
        Ok(carried) => {
            if identities > 0 {
                next.instances = share::next(next.instances, carried.must);
            }
            if !grants.more {
                next.instances = next.instances.min(share::FIRST);
            }
            if waits || carried.left > 0 {
                shared.wake_fabric();
            }
            None
        }
        Err(error) => Some(error),
    }
}

/// What is to be written in this pass, in order.
fn due(
    known: &Known<'_>,
    resting: &BTreeSet<Id>,
    unsettled: &BTreeSet<String>,
    turn: u64,
) -> Writes {
    let mut changes = changes(known);
    changes.retain(|change| !resting.contains(&change.id));
    order(known, changes, unsettled, turn)
}

fn version_of(world: &World, id: &Id) -> Option<Version> {
    let meta = scribe::meta(world, id)?;
    Some((meta.uid.clone(), meta.generation))
}
