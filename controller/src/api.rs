//! Turns decisions into requests to the Kubernetes API, each with a deadline.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bb_core::resolve::Id;
use bb_core::status::{Change, FinalizerOp, Note};
use bb_crds::{FINALIZER, GROUP, VERSION};
use bb_wire::Mandate;
use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::client::ClientBuilder;
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::{Value, json};

use crate::args::Args;
use crate::asked::Witnessed;
use crate::gate::{Gate, Mandated};
use crate::metrics::Metrics;

/// The name under which our fields are managed.
pub(crate) const MANAGER: &str = "bitbuilder-controller";
/// No request takes longer than a busy API server needs.
const DEADLINE: Duration = Duration::from_secs(30);

/// A client for watches and one for requests: a watch is silent for minutes, a request must
/// not be. And one for the Lease, which nothing else may hold up.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) watch: Client,
    pub(crate) request: Client,
    pub(crate) lease: Client,
    /// For questions that a process asks that does not lead, too.
    pub(crate) review: Client,
    /// Until when this process may write.
    pub(crate) mandate: Mandate,
}

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("cannot {what}")]
    Refused {
        what: String,
        source: Box<kube::Error>,
    },
    #[error("no answer within {} s to: {what}", DEADLINE.as_secs())]
    Late { what: String },
}

impl ApiError {
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Late { .. } => None,
        }
    }

    /// The object changed since it was read.
    pub(crate) fn conflict(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_conflict)
    }

    /// How long the API itself is to be left alone: it does not answer, or says that it has
    /// too much to do. `None` where the failure is one of the object alone.
    pub(crate) fn unwell(&self) -> Option<Duration> {
        let Self::Refused { source, .. } = self else {
            return Some(Duration::ZERO);
        };
        match source.as_ref() {
            kube::Error::Api(status) if [401, 429, 502, 503, 504].contains(&status.code) => {
                let details = status.details.as_ref();
                let seconds = details.map_or(0, |d| d.retry_after_seconds);
                Some(Duration::from_secs(u64::from(seconds)).min(DEADLINE))
            }
            kube::Error::Api(_) | kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => None,
            _ => Some(Duration::ZERO),
        }
    }

    /// What was to be made is there.
    pub(crate) fn already_exists(&self) -> bool {
        let status = self.status();
        status.is_some_and(kube::core::Status::is_already_exists)
    }

    /// The object is gone, or its kind is.
    pub(crate) fn not_found(&self) -> bool {
        // A kind that is not defined is answered without the reason that tells of an object.
        let status = self.status();
        status.is_some_and(|status| status.is_not_found() || status.code == 404)
    }
}

/// Sends a request with a deadline; `what` completes the sentence "cannot ...".
pub(crate) async fn call<T>(
    what: impl Into<String>,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(ApiError::Refused {
            what: what.into(),
            source: Box::new(source),
        }),
        Err(_) => Err(ApiError::Late { what: what.into() }),
    }
}

impl Clients {
    pub(crate) async fn connect(
        args: &Args,
        mandate: Mandate,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let config = match &args.kubeconfig {
            Some(path) => {
                let file = kube::config::Kubeconfig::read_from(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
                    .await
                    .with_context(|| format!("cannot use {}", path.display()))?
            }
            None => Config::infer()
                .await
                .context("found no kubeconfig and no service account")?,
        };
        let agent = http::HeaderValue::from_str(&mandate.agent())
            .context("no header may hold the name of this process")?;
        let mut config = config;
        config.headers.push((http::header::USER_AGENT, agent));
        let mut watch = config.clone();
        // A watch that is refused is a matter for who watches, not to be tried again unseen.
        watch.default_retry = false;
        let mut lease = config.clone();
        lease.default_retry = false;
        let review = lease.clone();
        let mut request = config;
        // A retry of the client's own would hold a pass for minutes; passes retry.
        request.default_retry = false;
        request.read_timeout = Some(DEADLINE);
        // Else the time that a connection was idle counts, and the next request fails early.
        request.reset_reader_on_write = true;
        let witnessed = Witnessed(Arc::clone(metrics));
        Ok(Self {
            watch: Client::try_from(watch).context("cannot make a client for watches")?,
            request: ClientBuilder::try_from(request)
                .context("cannot make a client for requests")?
                .with_layer(&Mandated(mandate.clone()))
                .with_layer(&Gate::default())
                .with_layer(&witnessed)
                .build(),
            lease: ClientBuilder::try_from(lease)
                .context("cannot make a client for the lease")?
                .with_layer(&witnessed)
                .build(),
            review: ClientBuilder::try_from(review)
                .context("cannot make a client for reviews of tokens")?
                .with_layer(&witnessed)
                .build(),
            mandate,
        })
    }
}

/// The UID of kube-system: one management cluster, one name in every mark.
pub(crate) async fn installation(client: &Client) -> anyhow::Result<String> {
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = call("read namespace kube-system", api.get("kube-system")).await?;
    namespace.uid().context("kube-system has no UID")
}

/// The recorder of events, one for the whole process: it folds repeats.
pub(crate) fn recorder(client: Client) -> Recorder {
    Recorder::new(
        client,
        Reporter {
            controller: MANAGER.to_owned(),
            instance: None,
        },
    )
}

/// Where an object is in the API.
pub(crate) struct Place {
    kind: &'static str,
    namespace: Option<String>,
    name: String,
}

impl Place {
    /// The namespace; none for what is in none.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(crate) fn of(id: &Id) -> Self {
        let cluster = |kind, name: &String| Self {
            kind,
            namespace: None,
            name: name.clone(),
        };
        let inside = |kind, key: &bb_core::world::Key| Self {
            kind,
            namespace: Some(key.namespace.clone()),
            name: key.name.clone(),
        };
        match id {
            Id::Region(name) => cluster("Region", name),
            Id::Provider(name) => cluster("Provider", name),
            Id::Tenant(name) => cluster("Tenant", name),
            Id::Network(key) => inside("Network", key),
            Id::Volume(key) => inside("Volume", key),
            Id::Instance(key) => inside("Instance", key),
        }
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, self.kind));
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        }
    }

    fn words(&self) -> String {
        let kind = self.kind.to_lowercase();
        match &self.namespace {
            Some(namespace) => format!("{kind} {namespace}/{}", self.name),
            None => format!("{kind} {}", self.name),
        }
    }
}

/// Carries out one change. Every write names the version it was decided on, so that a decision
/// on something old is refused and made again. Gives the object as it is afterwards.
pub(crate) async fn write(
    client: &Client,
    place: &Place,
    version: Option<String>,
    finalizers: &[String],
    change: &Change,
) -> Result<Option<DynamicObject>, ApiError> {
    let api = place.api(client);
    let mut version = version;
    let mut written = None;
    if let Some(op) = change.finalizer {
        let others = finalizers.iter().filter(|f| *f != FINALIZER).cloned();
        let list: Vec<String> = match op {
            FinalizerOp::Add => others.chain([FINALIZER.to_owned()]).collect(),
            FinalizerOp::Remove => others.collect(),
        };
        let patch = json!({"metadata": {"finalizers": list, "resourceVersion": version}});
        let what = format!("change the finalizers of {}", place.words());
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let object = call(what, api.patch(&place.name, &params, &Patch::Merge(&patch))).await?;
        version = object.resource_version();
        written = Some(object);
    }
    if let Some(status) = &change.status {
        let what = format!("write the status of {}", place.words());
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": place.kind,
            "metadata": {"name": place.name, "namespace": place.namespace, "resourceVersion": version},
            "status": prune(status),
        });
        let params = PatchParams::apply(MANAGER).force();
        let object = call(
            what,
            api.patch_status(&place.name, &params, &Patch::Apply(&body)),
        )
        .await?;
        written = Some(object);
    }
    Ok(written)
}

/// Sets some fields of a status and leaves the others; null takes one away. Gives the object as
/// it is afterwards.
pub(crate) async fn merge_status(
    client: &Client,
    place: &Place,
    status: &Value,
) -> Result<DynamicObject, ApiError> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = json!({ "status": status });
    call(
        format!("write the status of {}", place.words()),
        place
            .api(client)
            .patch_status(&place.name, &params, &Patch::Merge(&patch)),
    )
    .await
}

/// A server-side apply has no place for null.
fn prune(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, v)| (k.clone(), prune(v)))
            .collect(),
        Value::Array(list) => list.iter().map(prune).collect(),
        other => other.clone(),
    }
}

/// Publishes an event. A failure is logged: no pass fails for it.
pub(crate) async fn publish(recorder: &Recorder, place: &Place, uid: Option<String>, note: &Note) {
    let reference = ObjectReference {
        api_version: Some(format!("{GROUP}/{VERSION}")),
        kind: Some(place.kind.to_owned()),
        name: Some(place.name.clone()),
        namespace: place.namespace.clone(),
        uid,
        ..ObjectReference::default()
    };
    let event = Event {
        type_: if note.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: note.reason.as_str().to_owned(),
        note: Some(note.message.chars().take(1000).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let published = tokio::time::timeout(DEADLINE, recorder.publish(&event, &reference)).await;
    if !matches!(published, Ok(Ok(()))) {
        tracing::warn!(object = place.words(), "cannot publish an event");
    }
}
