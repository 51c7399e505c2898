//! Turns what the user may read into one archive for whoever is to help.

use std::path::PathBuf;

use futures::StreamExt as _;
use futures::stream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ApiResource, ListParams, LogParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::error::{Exit, Failure};
use crate::kinds::KINDS;
use crate::out::{Format, Out};
use crate::session::{Scope, Session, types, within};

const EXAMPLES: &str = "\
Examples:
  bbctl support-bundle
  bbctl support-bundle --file /tmp/acme.tar.gz
  bbctl support-bundle --controller-namespace clouds -o json";

/// How a controller's pods, Deployment and the like are found.
const LABEL: &str = "app.kubernetes.io/name=bitbuilder-controller";
/// So much of each log is taken: the last of it.
const LINES: i64 = 20_000;
/// And no more than this.
const BYTES: i64 = 8 << 20;
/// So many logs are read at once.
const SIDE_BY_SIDE: usize = 4;

/// What `bbctl support-bundle` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The archive to write [default: bitbuilder-support-TIME.tar.gz here]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where the controller runs
    #[arg(long, value_name = "NAME", default_value = "bitbuilder-system")]
    pub controller_namespace: String,
}

/// Something that is asked of the server: where it goes, what it is, of which kind, and where.
struct Wanted {
    file: &'static str,
    what: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    labels: Option<&'static str>,
}

/// What there is of the controller in its namespace.
const CONTROLLER: [Wanted; 4] = [
    Wanted {
        file: "controller/deployments.yaml",
        what: "Deployments of the controller",
        group: "apps",
        version: "v1",
        kind: "Deployment",
        plural: "deployments",
        labels: Some(LABEL),
    },
    Wanted {
        file: "controller/pods.yaml",
        what: "pods of the controller",
        group: "",
        version: "v1",
        kind: "Pod",
        plural: "pods",
        labels: Some(LABEL),
    },
    Wanted {
        file: "controller/leases.yaml",
        what: "Leases",
        group: "coordination.k8s.io",
        version: "v1",
        kind: "Lease",
        plural: "leases",
        labels: None,
    },
    Wanted {
        file: "controller/events.yaml",
        what: "events about the controller",
        group: "events.k8s.io",
        version: "v1",
        kind: "Event",
        plural: "events",
        labels: None,
    },
];

impl Wanted {
    fn resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}

/// Reads all that may be read, and writes the archive.
///
/// # Errors
/// When the server does not answer, nothing of ours may be read, or the file cannot be written.
pub async fn run(args: &Args, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let mut bundle = Bundle::default();
    bundle.manifest.made = format!("{now:.0}");
    bundle.manifest.bbctl = env!("CARGO_PKG_VERSION").to_owned();
    bundle.manifest.server = session.server().to_owned();
    versions(session, &mut bundle).await?;
    definitions(session, &mut bundle).await?;
    objects(session, &mut bundle).await?;
    events(session, &mut bundle).await?;
    let namespace = args.controller_namespace.as_str();
    let pods = controller(session, namespace, &mut bundle).await?;
    logs(session, namespace, &pods, &mut bundle).await;
    metrics(session, namespace, &pods, &mut bundle).await;

    let name = format!("bitbuilder-support-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let path = args.file.clone();
    let path = path.unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    bundle.write(&path, &name).map_err(|error| {
        let failure = Failure::new(
            Exit::Failure,
            format!("cannot write {}: {error}", path.display()),
        );
        failure.hint("name another file with --file: none is written over")
    })?;
    tell(&bundle, &path.display().to_string(), out)
}

/// Says what is in the archive, and what to do before it is passed on.
fn tell(bundle: &Bundle, path: &str, out: &mut Out) -> Result<Exit, Failure> {
    if out.is_machine() {
        let mut document = json!(bundle.manifest);
        document["file"] = json!(path);
        out.document(&document)?;
    } else if out.format() == Format::Name {
        out.line(path)?;
    } else {
        for line in bundle.manifest.text().lines().skip(3) {
            out.line(line)?;
        }
        out.line("")?;
        out.line(&format!("It is in {path}."))?;
    }
    out.note("look through it before you pass it on: its MANIFEST.txt says what is still in it");
    Ok(Exit::Ok)
}

async fn versions(session: &Session, bundle: &mut Bundle) -> Result<(), Failure> {
    // The first question: who does not answer this one answers nothing.
    let server = session
        .ask("ask for the version", session.client().apiserver_version())
        .await?;
    let mut facts = json!({
        "bbctl": env!("CARGO_PKG_VERSION"),
        "speaks": format!("{}/{}", bb_crds::GROUP, bb_crds::VERSION),
        "kubernetes": server.git_version,
        "platform": server.platform,
    });
    let groups = session.client();
    match session
        .ask("ask for the kinds", groups.list_api_groups())
        .await
    {
        Ok(groups) => {
            let mut ours = groups.groups.into_iter();
            let ours = ours.find(|group| group.name == bb_crds::GROUP);
            let served = ours.map(|group| group.versions.into_iter().map(|v| v.version));
            facts["served"] = json!(served.map(Iterator::collect::<Vec<_>>));
        }
        Err(failure) => bundle.missing("the versions that are served", &failure),
    }
    bundle.objects("versions.yaml", "versions", vec![facts])
}

/// The versions of the definitions; their schemas are in the chart.
async fn definitions(session: &Session, bundle: &mut Bundle) -> Result<(), Failure> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api = session.api(&ApiResource::from_gvk(&kind), None);
    let all = session
        .ask("list the definitions", api.list(&ListParams::default()))
        .await;
    let all = match all {
        Ok(all) => all,
        Err(failure) => {
            bundle.missing("definitions of the kinds", &failure);
            return Ok(());
        }
    };
    let ours = all.items.iter().filter(|definition| {
        let name = definition.metadata.name.as_deref();
        name.is_some_and(|name| name.ends_with(&format!(".{}", bb_crds::GROUP)))
    });
    let short = ours.map(|definition| {
        let versions = definition.data["spec"]["versions"].as_array();
        let versions: Vec<Value> = versions
            .into_iter()
            .flatten()
            .map(|v| json!({"name": v["name"], "served": v["served"], "storage": v["storage"]}))
            .collect();
        json!({
            "name": definition.metadata.name,
            "labels": definition.metadata.labels,
            "created": definition.metadata.creation_timestamp,
            "versions": versions,
            "status": definition.data["status"],
        })
    });
    bundle.objects(
        "definitions.yaml",
        "versions of the definitions",
        short.collect(),
    )
}

/// All objects of our kinds, of all namespaces, or of the one that the user may read.
async fn objects(session: &Session, bundle: &mut Bundle) -> Result<(), Failure> {
    let mut refusal = None;
    let mut read = 0;
    for kind in &KINDS {
        let file = format!("objects/{}.yaml", kind.plural);
        let mut all = session.list(kind, &Scope::Everywhere, None).await;
        if let Err(failure) = &all
            && failure.exit == Exit::Denied
            && kind.namespaced
        {
            let everywhere = format!("{} of other namespaces", kind.plural);
            bundle.missing(&everywhere, failure);
            let scope = Scope::Namespace(session.namespace().to_owned());
            all = session.list(kind, &scope, None).await;
        }
        match all {
            Ok(all) => {
                read += 1;
                let all = all.into_iter().map(|object| json!(object)).collect();
                bundle.objects(&file, &format!("objects of the kind {}", kind.kind), all)?;
            }
            Err(failure) => {
                bundle.missing(kind.plural, &failure);
                refusal.get_or_insert(failure);
            }
        }
    }
    match refusal {
        Some(failure) if read == 0 => Err(failure),
        _ => Ok(()),
    }
}

/// The events about objects of our kinds.
async fn events(session: &Session, bundle: &mut Bundle) -> Result<(), Failure> {
    let kind = GroupVersionKind::gvk("events.k8s.io", "v1", "Event");
    let resource = ApiResource::from_gvk(&kind);
    let everywhere = session.api(&resource, None);
    let params = ListParams::default();
    let mut all = session.ask("list events", everywhere.list(&params)).await;
    if let Err(failure) = &all
        && failure.exit == Exit::Denied
    {
        bundle.missing("events of other namespaces", failure);
        let here = session.api(&resource, Some(session.namespace()));
        let doing = format!("list events{}", within(Some(session.namespace())));
        all = session.ask(&doing, here.list(&params)).await;
    }
    match all {
        Ok(all) => {
            let ours = all.items.into_iter().filter(|event| {
                let about = event.data["regarding"]["apiVersion"].as_str();
                about.is_some_and(|version| version.starts_with(bb_crds::GROUP))
            });
            let ours = ours.map(|event| json!(event)).collect();
            bundle.objects("events.yaml", "events about our objects", ours)?;
        }
        Err(failure) => bundle.missing("events", &failure),
    }
    Ok(())
}

/// What there is of the controller. Gives its pods.
async fn controller(
    session: &Session,
    namespace: &str,
    bundle: &mut Bundle,
) -> Result<Vec<Value>, Failure> {
    let mut pods = Vec::new();
    for wanted in &CONTROLLER {
        let resource = wanted.resource();
        let api = session.api(&resource, Some(namespace));
        let params = ListParams {
            label_selector: wanted.labels.map(str::to_owned),
            ..ListParams::default()
        };
        let doing = format!("list {}{}", wanted.plural, within(Some(namespace)));
        match session.ask(&doing, api.list(&params)).await {
            Ok(all) => {
                let all = all.items.into_iter().map(|mut object| {
                    object.types = Some(types(&resource));
                    json!(object)
                });
                let all: Vec<Value> = all.collect();
                if wanted.plural == "pods" {
                    pods.clone_from(&all);
                }
                bundle.objects(wanted.file, wanted.what, all)?;
            }
            Err(failure) => bundle.missing(wanted.what, &failure),
        }
    }
    Ok(pods)
}

/// The last of what each container of each pod logged, and of what ran before it was restarted.
async fn logs(session: &Session, namespace: &str, pods: &[Value], bundle: &mut Bundle) {
    let mut asked = Vec::new();
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        for status in pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let container = status["name"].as_str().unwrap_or_default();
            asked.push((name, container, false));
            if status["restartCount"]
                .as_u64()
                .is_some_and(|count| count > 0)
            {
                asked.push((name, container, true));
            }
        }
    }
    let api: Api<Pod> = Api::namespaced(session.client(), namespace);
    let read = stream::iter(asked).map(|(pod, container, previous)| {
        let api = &api;
        async move {
            let params = LogParams {
                container: Some(container.to_owned()),
                previous,
                tail_lines: Some(LINES),
                limit_bytes: Some(BYTES),
                timestamps: false,
                ..LogParams::default()
            };
            let doing = format!("read the log of pod {pod}");
            let text = session.ask(&doing, api.logs(pod, &params)).await;
            (pod, container, previous, text)
        }
    });
    let read: Vec<_> = read.buffered(SIDE_BY_SIDE).collect().await;
    for (pod, container, previous, text) in read {
        let which = if previous { ".previous" } else { "" };
        match text {
            Ok(text) => {
                let file = format!("controller/logs/{pod}.{container}{which}.log");
                bundle.lines(&file, "a log of the controller", &text);
            }
            Err(failure) => bundle.missing(&format!("the log of {pod}{which}"), &failure),
        }
    }
}

/// What each pod tells Prometheus, through the API server.
async fn metrics(session: &Session, namespace: &str, pods: &[Value], bundle: &mut Bundle) {
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let ports = pod["spec"]["containers"][0]["ports"].as_array();
        let port = ports
            .into_iter()
            .flatten()
            .find(|port| port["name"] == "metrics");
        let port = port.and_then(|port| port["containerPort"].as_u64());
        let Some(port) = port else { continue };
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics");
        let request = http::Request::get(path).body(Vec::new());
        let request = request.expect("names of pods and namespaces are parts of a path");
        let client = session.client();
        let doing = format!("read the metrics of pod {name}");
        match session.ask(&doing, client.request_text(request)).await {
            Ok(text) => {
                let file = format!("controller/metrics/{name}.txt");
                bundle.lines(&file, "metrics of the controller", &text);
            }
            Err(failure) => bundle.missing(&format!("the metrics of {name}"), &failure),
        }
    }
}
