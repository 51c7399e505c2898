//! Turns flags into a running stand-in of a Proxmox VE cluster, until it is told to stop.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use bb_lab_kit::ready::Ready;
use bb_lab_proxmox::{Config, ProxmoxLab, Seed};
use clap::Parser;

/// A stand-in for a Proxmox VE 9.1 cluster: the REST API, its tasks, its locks, its refusals.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// Name of the cluster
    #[arg(long, default_value = "c1")]
    name: String,
    /// Where the API listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the control port listens
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// What to start with; two nodes, a template and a token when absent
    #[arg(long)]
    seed: Option<PathBuf>,
    /// Where the state is kept over a restart
    #[arg(long)]
    state: Option<PathBuf>,
    /// Where one line per call is appended
    #[arg(long)]
    journal: Option<PathBuf>,
    /// What a second of the product lasts: 1 = a second, 0 = until the next look
    #[arg(long, default_value_t = 0.0)]
    time_scale: f64,
    /// Where to say that it listens, and how to trust it
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// No TLS
    #[arg(long)]
    plain: bool,
    /// Prints the example seed and ends
    #[arg(long)]
    print_seed: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let flags = Flags::parse();
    if flags.print_seed {
        let text = serde_json::to_string_pretty(&Seed::example())?;
        writeln!(std::io::stdout().lock(), "{text}")?;
        return Ok(());
    }
    let scale = flags.time_scale;
    anyhow::ensure!(
        (0.0..=1.0).contains(&scale),
        "--time-scale is from 0 to 1, not {scale}"
    );
    let seed = match &flags.seed {
        None => Seed::example(),
        Some(path) => {
            let text = std::fs::read(path)
                .with_context(|| format!("cannot read the seed {}", path.display()))?;
            serde_json::from_slice(&text)
                .with_context(|| format!("{} is not a seed", path.display()))?
        }
    };
    let running = ProxmoxLab::start(Config {
        name: flags.name.clone(),
        listen: flags.listen,
        control: flags.control,
        seed,
        state: flags.state,
        journal: flags.journal,
        time_scale: scale,
        plain: flags.plain,
        ..Config::default()
    })
    .await?;
    let ready = Ready {
        name: flags.name,
        api: running.api.clone(),
        control: running.control.clone(),
        ca_pem: running.ca_pem.clone(),
        sha256: running.sha256.clone(),
        pid: std::process::id(),
    };
    if let Some(path) = &flags.ready_file {
        ready.write(path)?;
    }
    writeln!(
        std::io::stdout().lock(),
        "api {} control {}",
        ready.api,
        ready.control
    )?;
    tokio::select! {
        () = running.stopped() => {}
        () = told_to_end() => {}
    }
    running.stop().await;
    Ok(())
}

/// Returns on SIGINT or SIGTERM.
async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
