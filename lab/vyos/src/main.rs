//! Turns flags into a running stand-in for a VyOS router.

use anyhow::Context as _;
use bb_lab_vyos::{Config, VyosLab};
use clap::Parser;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A stand-in VyOS 1.5 router that answers the HTTP API as the real one was seen to.
#[derive(Debug, Parser)]
#[command(name = "bb-lab-vyos", version)]
struct Flags {
    /// The name of the router.
    #[arg(long, default_value = "r1")]
    name: String,
    /// Where the API listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the control port listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Where SSH listens; without it, nowhere.
    #[arg(long)]
    ssh: Option<SocketAddr>,
    /// The API key.
    #[arg(long, env = "BB_LAB_VYOS_KEY", hide_env_values = true)]
    key: String,
    /// The configuration of the first boot: JSON as showConfig writes it.
    #[arg(long)]
    seed: Option<PathBuf>,
    /// Keeps saved configurations here; a restart boots what was saved last.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Appends every call and commit here, one JSON object a line.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// How much of the real router's time to spend: 0 none, 1 all.
    #[arg(long, default_value_t = 0.0)]
    time_scale: f64,
    /// Writes where it listens here, once it does.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// A network card of the machine; may be repeated. Without it: eth0 to eth5.
    #[arg(long = "nic")]
    nics: Vec<String>,
    /// Answers without TLS.
    #[arg(long)]
    plain: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let flags = Flags::parse();
    let mut config = Config::new(&flags.name, &flags.key);
    if let Some(path) = &flags.seed {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the seed {}", path.display()))?;
        config.seed = serde_json::from_str(&text)
            .with_context(|| format!("the seed {} is not JSON", path.display()))?;
    }
    if !flags.nics.is_empty() {
        config.nics = flags.nics;
    }
    config.listen = flags.listen;
    config.control = flags.control;
    config.ssh = flags.ssh;
    config.state = flags.state;
    config.journal = flags.journal;
    config.time_scale = flags.time_scale;
    config.plain = flags.plain;
    let running = VyosLab::start(config).await?;
    if let Some(path) = &flags.ready_file {
        running.ready().write(path)?;
    }
    writeln!(
        std::io::stdout().lock(),
        "{} answers on {}, control on {}",
        flags.name,
        running.api,
        running.control
    )
    .context("cannot write to stdout")?;
    if let Some(address) = running.ssh {
        let key = running.host_key.fingerprint();
        writeln!(std::io::stdout().lock(), "SSH on {address}, host key {key}")
            .context("cannot write to stdout")?;
    }
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("cannot listen for SIGTERM")?;
    tokio::select! {
        () = running.stopped() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    running.stop().await;
    Ok(())
}
