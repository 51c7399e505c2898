//! Turns wake-ups into passes over targets: one key per Provider, one pass at a time for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bb_crds::Provider;
use futures::{StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config, Error as ControllerError};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::cluster::{self, ClusterSession};
use crate::pass::PassFailed;
use crate::router::{self, RouterSession};
use crate::shared::Shared;

/// The sessions, each behind a lock of its own: the controller never runs two passes over one
/// target, so nobody waits for one.
struct Context {
    shared: Arc<Shared>,
    sessions: Mutex<HashMap<String, Arc<Mutex<Session>>>>,
}

#[derive(Default)]
struct Session {
    router: RouterSession,
    cluster: ClusterSession,
}

/// Runs passes for as long as the process lives.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) -> anyhow::Result<()> {
    let woken = shared.take_woken().context("targets are run once")?;
    let woken = stream::unfold(woken, |mut woken| async move {
        let target = woken.recv().await?;
        Some((target, woken))
    });
    let concurrency = shared.args.concurrency;
    let context = Arc::new(Context {
        shared: Arc::clone(&shared),
        sessions: Mutex::new(HashMap::new()),
    });
    // Providers come from the one cache; their events reach the targets through the pass over
    // the objects, which knows what changed for whom.
    Controller::for_stream(stream::pending(), shared.stores.targets.clone())
        .with_config(Config::default().concurrency(concurrency))
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

async fn pass(provider: Arc<Provider>, context: Arc<Context>) -> Result<Action, PassFailed> {
    let name = provider.name_any();
    let session = Arc::clone(
        context
            .sessions
            .lock()
            .await
            .entry(name.clone())
            .or_default(),
    );
    let mut session = session.lock().await;
    let shared = &context.shared;
    let next = if let Some(spec) = &provider.spec.vyos {
        router::pass(shared, &name, &provider, spec, &mut session.router).await
    } else if let Some(spec) = &provider.spec.proxmox {
        cluster::pass(shared, &name, &provider, spec, &mut session.cluster).await
    } else {
        return Ok(Action::await_change());
    };
    let wait = next?;
    shared.failures.succeeded(&name);
    Ok(Action::requeue(wait))
}

/// A new target of the same name begins anew.
async fn forget(context: &Context, name: &str) {
    context.sessions.lock().await.remove(name);
    context.shared.failures.succeeded(name);
}

fn again(failed: &PassFailed, context: &Context) -> Action {
    let first = Duration::from_millis(context.shared.args.backoff);
    Action::requeue(
        context
            .shared
            .failures
            .failed(&failed.target, first, rand::random()),
    )
}
