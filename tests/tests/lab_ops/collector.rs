//! Turns requests of OTLP into the spans that they bring.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bb_lab_kit::Stop;
use bb_lab_kit::http::{BodyLimit, Reply, Request, serve};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::net::TcpListener;

/// A span as it came.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) span: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) took: u64,
}

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Well,
    /// It takes what it is sent and says nothing.
    Silent,
}

/// Somebody who collects traces.
pub(crate) struct Collector {
    pub(crate) url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    stop: Stop,
}

impl Collector {
    pub(crate) async fn start(manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let (kept, stop) = (Arc::clone(&spans), Stop::new());
        let service = move |request: Request| {
            let kept = Arc::clone(&kept);
            async move {
                if manner == Manner::Silent {
                    std::future::pending::<()>().await;
                }
                if request.path != "/v1/traces" {
                    return Reply::text(404, "no such signal");
                }
                let Ok(sent) = ExportTraceServiceRequest::decode(request.body) else {
                    return Reply::text(400, "not protobuf");
                };
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(read(sent));
                Reply::new(200, "application/x-protobuf", "")
            }
        };
        let limit = BodyLimit::bytes(16 << 20);
        tokio::spawn(serve(listener, None, limit, service, stop.clone()));
        Ok(Self { url, spans, stop })
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(sent: ExportTraceServiceRequest) -> Vec<Span> {
    let mut all = Vec::new();
    for of in sent.resource_spans {
        let attributes = of.resource.unwrap_or_default().attributes;
        let service = attributes.iter().find(|field| field.key == "service.name");
        let service = service.map_or_else(String::new, |field| format!("{:?}", field.value));
        for span in of.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(Span {
                trace: hex(&span.trace_id),
                span: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                service: service.clone(),
                fields: span
                    .attributes
                    .into_iter()
                    .map(|field| (field.key, format!("{:?}", field.value)))
                    .collect(),
                took: span.end_time_unix_nano - span.start_time_unix_nano,
            });
        }
    }
    all
}
