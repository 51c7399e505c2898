//! Turns wake-ups into passes over targets: one key per Provider, one pass at a time for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bb_core::breaker::May;
use bb_crds::Provider;
use bb_wire::trace::{self, Ids};
use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config, Error as ControllerError};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use crate::cluster::{self, ClusterSession};
use crate::measures::Over;
use crate::pass::{After, PassFailed};
use crate::router::{self, RouterSession};
use crate::shared::Shared;

/// A pass that takes longer than this waits for its target: that costs a socket, and no place.
const PATIENCE: Duration = Duration::from_secs(2);

/// The sessions, each behind a lock of its own: the controller never runs two passes over one
/// target, so nobody waits for one.
struct Context {
    shared: Arc<Shared>,
    sessions: Mutex<HashMap<String, Arc<Mutex<Session>>>>,
    /// Places for passes over targets that answer, as far as is known.
    well: Semaphore,
    /// Places for those that did not: they never take a place from the others.
    ailing: Semaphore,
    stop: CancellationToken,
}

#[derive(Default)]
struct Session {
    router: RouterSession,
    cluster: ClusterSession,
    /// What is under way follows from this.
    cause: Option<Ids>,
}

/// Runs passes for as long as the process lives.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) -> anyhow::Result<()> {
    let woken = shared.take_woken().context("targets are run once")?;
    let woken = stream::unfold(woken, |mut woken| async move {
        let target = woken.recv().await?;
        Some((target, woken))
    });
    let places = usize::from(shared.args.concurrency);
    let context = Arc::new(Context {
        shared: Arc::clone(&shared),
        sessions: Mutex::new(HashMap::new()),
        well: Semaphore::new(places),
        ailing: Semaphore::new((places / 4).max(1)),
        stop: stop.clone(),
    });
    // Providers come from the one cache; their events reach the targets through the pass over
    // the objects, which knows what changed for whom.
    Controller::for_stream(stream::pending(), shared.stores.targets.clone())
        // Places are given out in the pass, by how a target answers.
        .with_config(Config::default().concurrency(0))
        .reconcile_on(woken)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            pass,
            |_, failed, context| again(failed, &context),
            Arc::clone(&context),
        )
        .for_each(|result| async {
            match result {
                Ok(_) => {}
                // A target that is gone, woken once more.
                Err(ControllerError::ObjectNotFound(gone)) => forget(&context, &gone.name).await,
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a pass ended early"
                    );
                }
            }
        })
        .await;
    if stop.is_cancelled() {
        return Ok(());
    }
    bail!("the queue of targets ended")
}

/// A pass, once there is a place for it; and the place given back when it takes long.
async fn pass(provider: Arc<Provider>, context: Arc<Context>) -> Result<Action, PassFailed> {
    let name = provider.name_any();
    let breakers = &context.shared.breakers;
    if let May::Wait(left) = breakers.may(&name) {
        return Ok(Action::requeue(left));
    }
    let places = if breakers.is_failing(&name) {
        &context.ailing
    } else {
        &context.well
    };
    let measures = &context.shared.metrics.measures;
    let waits = measures.waits();
    let place = tokio::select! {
        place = places.acquire() => place,
        () = context.stop.cancelled() => return Ok(Action::await_change()),
    };
    drop(waits);
    let work = pass_now(&name, &provider, &context);
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(PATIENCE) => drop(place),
    }
    work.await
}

async fn pass_now(
    name: &str,
    provider: &Provider,
    context: &Context,
) -> Result<Action, PassFailed> {
    let session = Arc::clone(
        context
            .sessions
            .lock()
            .await
            .entry(name.to_owned())
            .or_default(),
    );
    let mut session = session.lock().await;
    let shared = &context.shared;
    if shared.take_renewed(name) {
        session.router.forget();
        session.cluster.forget();
    }
    let over = match &provider.spec {
        spec if spec.vyos.is_some() => Over::router,
        spec if spec.proxmox.is_some() => Over::cluster,
        _ => return Ok(Action::await_change()),
    };
    let new = shared.take_cause(name);
    session.cause = new.or(session.cause);
    let span = begin(over, name, session.cause);
    let works = shared.metrics.measures.works(over);
    let next = async {
        if let Some(spec) = &provider.spec.vyos {
            router::pass(shared, name, provider, spec, &mut session.router).await
        } else if let Some(spec) = &provider.spec.proxmox {
            cluster::pass(shared, name, provider, spec, &mut session.cluster).await
        } else {
            Ok(After::Settled(shared.args.poll()))
        }
    };
    let next = next.instrument(span.clone()).await;
    drop(works);
    span.record("result", if next.is_ok() { "done" } else { "failed" });
    // What comes of it later, and what it left undone, follows from this pass.
    session.cause = match &next {
        Ok(After::Settled(_)) => None,
        Ok(After::Soon(_)) | Err(_) => span.in_scope(trace::current),
    };
    shared.metrics.passed(name, next.is_ok());
    let requests = session.router.requests() + session.cluster.requests();
    shared.metrics.requested(name, requests);
    let (After::Settled(wait) | After::Soon(wait)) = next?;
    shared.failures.succeeded(name);
    Ok(Action::requeue(wait))
}

/// The span of a pass that follows from `cause`.
fn begin(over: Over, name: &str, cause: Option<Ids>) -> Span {
    let span = match over {
        Over::cluster => info_span!("pass over cluster", provider = name, result = Empty),
        _ => info_span!("pass over router", provider = name, result = Empty),
    };
    trace::follows(&span, cause.as_slice());
    span
}

/// A new target of the same name begins anew.
async fn forget(context: &Context, name: &str) {
    context.sessions.lock().await.remove(name);
    context.shared.failures.succeeded(name);
    context.shared.breakers.closed(name);
    context.shared.metrics.forget(name);
}

fn again(failed: &PassFailed, context: &Context) -> Action {
    let first = Duration::from_millis(context.shared.args.backoff);
    let failures = &context.shared.failures;
    let pause = failed
        .pause
        .unwrap_or_else(|| failures.failed(&failed.target, first, rand::random()));
    Action::requeue(pause)
}
