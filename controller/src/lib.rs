//! Turns events of the API into passes over targets: the shell around the pure core.
//!
//! One pass over the objects (`fabric`) allocates, renders and writes status; one pass per
//! target (`router`, `cluster`) reads, plans and acts. Every decision is in `bb-core`.

mod answers;
mod api;
pub mod args;
mod asked;
mod backoff;
mod cache;
mod cluster;
mod credentials;
mod debts;
mod events;
mod export;
mod fabric;
mod gate;
mod guards;
mod kept;
mod lead;
pub mod leave;
mod lines;
mod looks;
mod measures;
mod metrics;
mod namespaces;
mod pass;
mod plans;
mod router;
mod scribe;
mod secrets;
mod seize;
mod shared;
mod stores;
mod targets;
mod unread;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bb_wire::Mandate;
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

pub use args::Args;

/// How long passes that are under way may take to end once the process is asked to stop:
/// Kubernetes kills it after 30 seconds.
const DRAIN: Duration = Duration::from_secs(25);

/// Runs until `stop` is cancelled, or until a part of it ends: a controller is never partly
/// alive.
///
/// # Errors
/// When the API cannot be reached at the start, or a part ends that should not.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let me = args.name();
    let mandate = Mandate::new(me.clone());
    let metrics = Arc::<metrics::Metrics>::default();
    let clients = api::Clients::connect(&args, mandate.clone(), &metrics).await?;
    let installation = api::installation(&clients.request)
        .await
        .context("cannot read the namespace kube-system, whose UID names this installation")?;
    tracing::info!(installation, me, "connected");
    let watched = Arc::clone(&metrics.measures.watched);
    let stores = stores::Stores::new(clients.watch.clone(), args.watch_timeout(), watched);
    let lead = args
        .leader_elect
        .then(|| lead::Lead::new(clients.lease.clone(), &args, me, mandate.clone()));
    let shared = Arc::new(shared::Shared::new(
        args,
        clients,
        installation,
        stores.readers(),
        metrics,
    ));
    let watches = stores.run(shared.fabric_bell()).boxed();
    let (full, is_full) = tokio::sync::watch::channel(false);
    let leads = match &lead {
        Some(lead) => lead.leads(),
        None => {
            mandate.extend_forever();
            tokio::sync::watch::channel(true).1
        }
    };
    let guards = shared.args.metrics_auth.then(|| {
        let client = shared.clients.review.clone();
        Arc::new(guards::Guards::new(client))
    });
    let answers = answers::Answers {
        guards,
        metrics: Arc::clone(&shared.metrics),
        full: is_full,
        leads: leads.clone(),
    };
    let answers = match shared.args.metrics {
        Some(at) => answers::serve(answers, at).boxed(),
        None => futures::future::pending().boxed(),
    };
    let work = async {
        shared.stores.ready().await;
        tracing::info!("caches are full");
        full.send_replace(true);
        tokio::select! {
            leading = lead::until_leading(leads) => leading?,
            () = stop.cancelled() => return Ok(()),
        }
        work(&shared, &stop).await
    };
    let parts = futures::future::select_all([watches, work.boxed(), answers]);
    let result = match lead {
        Some(lead) => led(lead, parts.map(|(result, ..)| result)).await,
        None => parts.await.0,
    };
    if stop.is_cancelled() {
        Ok(())
    } else {
        result.context("a part of the controller ended")
    }
}

/// Asks for the Lease and keeps it for as long as `parts` go on, then gives it back. Parts end
/// at once when it is lost.
async fn led(
    lead: lead::Lead,
    parts: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let done = CancellationToken::new();
    // A task of its own: no pass, however long it decides, keeps it from renewing.
    let mut lease = tokio::spawn(lead.run(done.clone()));
    tokio::select! {
        result = parts => {
            done.cancel();
            match lease.await {
                Ok(lost) => lost.and(result),
                Err(_) => result,
            }
        }
        lost = &mut lease => lost.context("who asks for the lease has ended")?,
    }
}

/// Passes over objects and targets, until `stop` is cancelled and what was begun has ended.
async fn work(shared: &Arc<shared::Shared>, stop: &CancellationToken) -> anyhow::Result<()> {
    let fabric = fabric::run(Arc::clone(shared), stop.clone()).boxed();
    let targets = targets::run(Arc::clone(shared), stop.clone()).boxed();
    let secrets = credentials::run(Arc::clone(shared));
    let secrets = async {
        tokio::select! {
            ended = secrets => ended,
            () = stop.cancelled() => Ok(()),
        }
    };
    let recorder = api::recorder(shared.clients.request.clone());
    let events = shared.events.run(recorder, stop.clone()).boxed();
    let plans = plans::run(Arc::clone(shared), stop.clone()).boxed();
    let all = [fabric, targets, secrets.boxed(), events, plans];
    let (result, _, others) = futures::future::select_all(all).await;
    if stop.is_cancelled() {
        // What was sent is read back and saved, as far as that does not take too long.
        let others = futures::future::join_all(others);
        if tokio::time::timeout(DRAIN, others).await.is_err() {
            tracing::warn!("a pass that is under way is left, the next start looks again");
        }
    }
    result
}
