//! Turns spans that have ended into OTLP, for a collector that somebody asked for.
//!
//! Spans wait in a queue of bounded length and are sent by a thread of its own. A collector that is
//! slow or away costs spans, which are counted, and no pass.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bb_wire::Trust;
use bb_wire::trace::{Ids, Numbered};
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks,
    SpanProcessor,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::args::Args;

/// So many spans wait at most: some seconds of the busiest controller, and a few megabytes.
const QUEUE: u64 = 8192;
/// So many are sent at once.
const BATCH: usize = 512;
/// How long a span waits at most for others.
const DELAY: Duration = Duration::from_secs(2);
/// How long the last spans may take when the process ends.
const LAST: Duration = Duration::from_secs(2);

static WAITING: AtomicU64 = AtomicU64::new(0);
static SENT: AtomicU64 = AtomicU64::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);

/// What became of spans since the process began.
pub(crate) fn counts() -> [(&'static str, u64); 2] {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    [("sent", of(&SENT)), ("lost", of(&LOST))]
}

/// Sends spans, until it is closed.
pub struct Export(std::sync::Arc<BatchSpanProcessor>);

impl Export {
    /// Sends what still waits, as far as that does not take long.
    pub fn close(self) {
        // Whoever does not take them now has lost them, and there is nobody left to be told.
        let _ = self.0.shutdown_with_timeout(LAST);
    }
}

/// What sends spans to the collector that the flags name, if they do: a layer that collects them,
/// and what closes it.
///
/// # Errors
/// The address or the certificate cannot be used.
pub(crate) fn to_collector(args: &Args) -> anyhow::Result<Option<(Spans, Export)>> {
    let Some(endpoint) = &args.otlp_endpoint else {
        return Ok(None);
    };
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client(args)?)
        .with_endpoint(url)
        .build();
    // The address is not repeated: a user and a password may stand in it.
    let exporter = exporter.context("cannot use the address of --otlp-endpoint")?;
    let mut exporter = Counting {
        inner: exporter,
        failing: std::sync::atomic::AtomicBool::new(false),
    };
    let me = args.identity.clone().unwrap_or_default();
    let resource = Resource::builder()
        .with_service_name("bitbuilder-controller")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", me),
        ])
        .build();
    exporter.set_resource(&resource);
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(usize::try_from(QUEUE).unwrap_or(usize::MAX))
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    let processor = std::sync::Arc::new(BatchSpanProcessor::new(exporter, config));
    let spans = Spans {
        processor: std::sync::Arc::clone(&processor),
        scope: InstrumentationScope::builder("bitbuilder")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    };
    Ok(Some((spans, Export(processor))))
}

fn client(args: &Args) -> anyhow::Result<reqwest::blocking::Client> {
    let builder = reqwest::blocking::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none());
    let plain = args
        .otlp_endpoint
        .as_ref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"));
    let builder = match &args.otlp_certificate {
        Some(path) => {
            let pem = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let tls = Trust::Ca(pem).client_config();
            let tls = tls.with_context(|| format!("cannot trust {}", path.display()))?;
            builder.tls_backend_preconfigured(tls)
        }
        // There may be no certificates at all in an image, and none is needed.
        None if plain => builder.tls_certs_only([]),
        None => builder,
    };
    builder
        .build()
        .context("cannot make a client for --otlp-endpoint")
}

/// Sends spans, and counts what became of them.
#[derive(Debug)]
struct Counting {
    inner: opentelemetry_otlp::SpanExporter,
    failing: std::sync::atomic::AtomicBool,
}

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let result = self.inner.export(batch).await;
        WAITING.fetch_sub(count, Ordering::Relaxed);
        let failed = result.is_err();
        let (of, was) = if failed {
            (&LOST, self.failing.swap(true, Ordering::Relaxed))
        } else {
            (&SENT, self.failing.swap(false, Ordering::Relaxed))
        };
        of.fetch_add(count, Ordering::Relaxed);
        // Told when it begins, and not with every try.
        if failed && !was {
            let error = result.as_ref().err().map(ToString::to_string);
            warn!(error, "the collector does not take traces: they are lost");
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Collects spans as they end.
pub(crate) struct Spans {
    processor: std::sync::Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
}

/// What is known of a span while it lasts.
struct Begun {
    at: SystemTime,
    fields: Fields,
}

#[derive(Default)]
struct Fields {
    all: Vec<KeyValue>,
    failed: bool,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        // A status: none, or a refusal.
        self.failed |= field.name() == "status" && (value == 0 || value >= 400);
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.all.push(KeyValue::new(field.name(), value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.all.push(KeyValue::new(field.name(), value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.failed |= field.name() == "result" && value == "failed";
        if !value.is_empty() {
            self.all.push(KeyValue::new(field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.all
            .push(KeyValue::new(field.name(), format!("{value:?}")));
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            let at = SystemTime::now();
            span.extensions_mut().replace(Begun { at, fields });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(begun) = span.extensions_mut().get_mut::<Begun>()
        {
            values.record(&mut begun.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        let (Some(begun), Some(numbered)) = (
            extensions.remove::<Begun>(),
            extensions.get_mut::<Numbered>(),
        ) else {
            return;
        };
        let numbered = numbered.clone();
        drop(extensions);
        if WAITING.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let data = data(span.name(), begun, &numbered, self.scope.clone());
        self.processor.on_end(data);
    }
}

fn data(
    name: &'static str,
    begun: Begun,
    numbered: &Numbered,
    scope: InstrumentationScope,
) -> SpanData {
    let request = name.ends_with("request");
    let links = numbered.links.iter();
    let links = links.map(|ids| Link::new(place(ids), Vec::new(), 0));
    SpanData {
        span_context: place(&numbered.ids),
        parent_span_id: SpanId::from(numbered.parent),
        parent_span_is_remote: false,
        span_kind: if request {
            SpanKind::Client
        } else {
            SpanKind::Internal
        },
        name: name.into(),
        start_time: begun.at,
        end_time: SystemTime::now(),
        status: if begun.fields.failed {
            Status::error("")
        } else {
            Status::Unset
        },
        attributes: begun.fields.all,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: {
            let mut all = SpanLinks::default();
            all.links = links.collect();
            all
        },
        instrumentation_scope: scope,
    }
}

fn place(ids: &Ids) -> SpanContext {
    SpanContext::new(
        TraceId::from(ids.trace),
        SpanId::from(ids.span),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    )
}
