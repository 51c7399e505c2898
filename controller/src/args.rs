//! Turns flags and environment into settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bb_wire::trace::Numbers;
use clap::{Parser, Subcommand, ValueEnum};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::export::{self, Export};
use crate::leave::Leave;
use crate::lines::Marked;

/// Drives VyOS routers and Proxmox VE clusters from the resources of bitbuilder.cloud.
#[derive(Parser, Clone, Debug)]
#[command(version, about)]
pub struct Line {
    /// How to reach the API, and how to work.
    #[command(flatten)]
    pub args: Args,

    /// What to do instead of working, once.
    #[command(subcommand)]
    pub once: Option<Once>,
}

/// What is done once.
#[derive(Subcommand, Clone, Debug)]
pub enum Once {
    /// Before the definitions go with a release: says whether they may, and lets go of objects
    /// where that is asked for. Ends with 3 where they may not.
    Leave(Leave),
}

/// Flags and environment.
#[derive(Parser, Clone, Debug)]
pub struct Args {
    /// The kubeconfig; without it the usual places, then the pod's own service account.
    #[arg(long, env = "BB_CONTROLLER_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// The namespace that Secrets of Providers are in.
    #[arg(long, env = "BB_NAMESPACE", default_value = "bitbuilder-system")]
    pub namespace: String,

    /// How long a settled target is left alone before it is looked at again, in seconds. Up to a
    /// fifth less by chance; what is new for it wakes it at once.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub poll: u64,

    /// How long a cluster with work under way is left alone at most, in milliseconds. It is
    /// looked at sooner where an end is expected.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(50..))]
    pub active_poll: u64,

    /// The first pause after a failure, in milliseconds. It doubles, up to five minutes, for each
    /// target and each object by itself.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..))]
    pub backoff: u64,

    /// How many targets are worked on at once. One that does not answer does not count, nor does
    /// one that is waited for: neither keeps others from their turn.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,

    /// How long a Plan is kept, in seconds since it was made.
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    pub plan_ttl: u32,

    /// How long a watch of the API lasts before the next, in seconds. One that is silently dead is
    /// noticed five seconds later.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub watch_timeout: u32,

    /// Takes a Lease before it works, so that of several processes one does.
    #[arg(long, env = "BB_LEADER_ELECT")]
    pub leader_elect: bool,

    /// The namespace of the Lease; that of the Secrets where none is given.
    #[arg(long, env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// The name of the Lease.
    #[arg(long, default_value = "bitbuilder-controller")]
    pub lease_name: String,

    /// How long the Lease is its holder's after each renewal, in seconds: so long nobody works
    /// after a leader was killed. It is renewed at a third, and its holder writes nothing after
    /// two.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..=300))]
    pub lease_duration: u16,

    /// What this process calls itself in the Lease and towards routers and clusters; a part by
    /// chance follows. The pod's name, else the host's, where none is given.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,

    /// Where to answer `GET /metrics`, `/healthz` and `/readyz`, such as `127.0.0.1:9090`;
    /// without it nowhere. Port 0 is any free one, which the log tells.
    #[arg(long, env = "BB_METRICS")]
    pub metrics: Option<SocketAddr>,

    /// Answers `/metrics` to those only whose bearer token the API knows and who may `get` that
    /// path, and speaks TLS, with a certificate of its own, at that address.
    #[arg(long, env = "BB_METRICS_AUTH", requires = "metrics")]
    pub metrics_auth: bool,

    /// Where to send traces, as OTLP over HTTP, such as `http://collector:4318`; without it
    /// nowhere. `OTEL_EXPORTER_OTLP_HEADERS` gives headers to send along.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = collector)]
    pub otlp_endpoint: Option<String>,

    /// The certificate, in PEM, of who signed that of the collector; without it those that the
    /// system trusts.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub otlp_certificate: Option<PathBuf>,

    /// The form of log lines.
    #[arg(long, value_enum, default_value_t = LogForm::Text)]
    pub log: LogForm,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogForm {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Lets pass our own spans, whatever is logged, and nothing else.
fn ours() -> FilterFn {
    fn ours(of: &Metadata<'_>) -> bool {
        of.is_span() && of.target().starts_with("bb_")
    }
    FilterFn::new(ours as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO)
}

fn collector(text: &str) -> Result<String, String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        // Not repeated: a user and a password may stand in it.
        _ => Err("it must be http://HOST:PORT or https://HOST:PORT".to_owned()),
    }
}

impl Args {
    /// Starts logging to standard error; `RUST_LOG` says how much. And sends traces, where that
    /// was asked for: what is returned sends the last of them.
    ///
    /// # Errors
    /// The collector cannot be spoken to as the flags have it.
    pub fn start_log(&self) -> anyhow::Result<Option<Export>> {
        let filter = EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| EnvFilter::new("info,kube_client=warn,kube_runtime=warn"));
        let (spans, export) = export::to_collector(self)?.unzip();
        let numbers = Numbers::new(rand::random, spans.is_some()).with_filter(ours());
        let lines = fmt::layer().with_ansi(false).with_writer(std::io::stderr);
        let lines: Box<dyn Layer<_> + Send + Sync> = match self.log {
            LogForm::Text => {
                let json = false;
                lines
                    .map_event_format(|inner| Marked { inner, json })
                    .boxed()
            }
            LogForm::Json => {
                let (json, lines) = (true, lines.json());
                lines
                    .map_event_format(|inner| Marked { inner, json })
                    .boxed()
            }
        };
        Registry::default()
            .with(numbers)
            .with(spans.map(|spans| spans.with_filter(ours())))
            .with(lines.with_filter(filter))
            .try_init()
            .context("cannot start the log")?;
        Ok(export)
    }

    /// The name of this process, which no other has.
    pub(crate) fn name(&self) -> String {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let name = self.identity.clone().or_else(host);
        let name = name.as_deref().map_or("controller", str::trim);
        format!("{name}_{:08x}", rand::random::<u32>())
    }

    pub(crate) fn lease_namespace(&self) -> &str {
        let given = self.lease_namespace.as_deref();
        given
            .filter(|name| !name.is_empty())
            .unwrap_or(&self.namespace)
    }

    pub(crate) fn poll(&self) -> Duration {
        Duration::from_secs(self.poll)
    }

    pub(crate) fn watch_timeout(&self) -> Duration {
        Duration::from_secs(self.watch_timeout.into())
    }

    pub(crate) fn plan_ttl(&self) -> Duration {
        Duration::from_secs(self.plan_ttl.into())
    }

    pub(crate) fn active_poll(&self) -> Duration {
        Duration::from_millis(self.active_poll)
    }
}
