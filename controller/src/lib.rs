//! Turns events of the API into passes over targets: the shell around the pure core.
//!
//! One pass over the objects (`fabric`) allocates, renders and writes status; one pass per
//! target (`router`, `cluster`) reads, plans and acts. Every decision is in `bb-core`.

mod api;
pub mod args;
mod backoff;
mod cache;
mod cluster;
mod credentials;
mod debts;
mod fabric;
mod gate;
mod kept;
mod metrics;
mod namespaces;
mod pass;
mod router;
mod scribe;
mod secrets;
mod shared;
mod stores;
mod targets;
mod unread;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
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
    let clients = api::Clients::connect(&args).await?;
    let installation = api::installation(&clients.request)
        .await
        .context("cannot read the namespace kube-system, whose UID names this installation")?;
    tracing::info!(installation, "connected");
    let stores = stores::Stores::new(clients.watch.clone(), args.watch_timeout());
    let shared = Arc::new(shared::Shared::new(
        args,
        clients,
        installation,
        stores.readers(),
    ));
    let watches = stores.run(shared.fabric_bell()).boxed();
    let metrics = match shared.args.metrics {
        Some(at) => metrics::serve(Arc::clone(&shared.metrics), at).boxed(),
        None => futures::future::pending().boxed(),
    };
    let work = async {
        shared.stores.ready().await;
        tracing::info!("caches are full");
        let fabric = fabric::run(Arc::clone(&shared), stop.clone()).boxed();
        let targets = targets::run(Arc::clone(&shared), stop.clone()).boxed();
        let secrets = credentials::run(Arc::clone(&shared));
        let secrets = async {
            tokio::select! {
                ended = secrets => ended,
                () = stop.cancelled() => Ok(()),
            }
        };
        let all = [fabric, targets, secrets.boxed()];
        let (result, _, others) = futures::future::select_all(all).await;
        if stop.is_cancelled() {
            // What was sent is read back and saved, as far as that does not take too long.
            let others = futures::future::join_all(others);
            if tokio::time::timeout(DRAIN, others).await.is_err() {
                tracing::warn!("a pass that is under way is left, the next start looks again");
            }
        }
        result
    };
    let (result, _, _) = futures::future::select_all([watches, work.boxed(), metrics]).await;
    if stop.is_cancelled() {
        Ok(())
    } else {
        result.context("a part of the controller ended")
    }
}
