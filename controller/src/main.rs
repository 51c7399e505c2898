//! Turns a command line into a running controller.

use std::process::ExitCode;

use anyhow::Context as _;
use bb_controller::Args;
use bb_controller::args::{Line, Once};
use bb_controller::leave::{self, Leave, Verdict};
use clap::Parser as _;
use tokio_util::sync::CancellationToken;

/// It gives back what a pass needed and the time between passes does not: with the allocator of
/// glibc half as much again stays resident. `.cargo/config.toml` says how soon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How a process ends that keeps a release from going: no failure, and nothing to try again.
const STAYS: u8 = 3;

fn main() -> anyhow::Result<ExitCode> {
    let Line { args, once } = Line::parse();
    let export = args.start_log()?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("cannot install the TLS provider")?;
    // A panic in any task ends the process: Kubernetes restarts a whole controller.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::exit(101);
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = match once {
        Some(Once::Leave(leave)) => runtime.block_on(leaves(&args, &leave)),
        None => runtime.block_on(works(args)).map(|()| ExitCode::SUCCESS),
    };
    if let Some(export) = export {
        export.close();
    }
    result
}

/// Says whether the definitions may go, and is done.
async fn leaves(args: &Args, leave: &Leave) -> anyhow::Result<ExitCode> {
    match leave::run(args, leave, &mut std::io::stdout()).await? {
        Verdict::Go => Ok(ExitCode::SUCCESS),
        Verdict::Stay => Ok(ExitCode::from(STAYS)),
    }
}

/// Works until it is asked to stop.
async fn works(args: Args) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let controller = bb_controller::run(args, stop.clone());
    tokio::pin!(controller);
    tokio::select! {
        result = &mut controller => result,
        result = signal() => {
            result?;
            tracing::info!("asked to stop");
            stop.cancel();
            controller.await
        }
    }
}

async fn signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
