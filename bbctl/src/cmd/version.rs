//! Turns the question which version runs into an answer for client, server and kinds.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams};
use serde_json::{Map, Value, json};

use super::connect;
use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::object::text;
use crate::out::{Format, Out};
use crate::session::{Scope, Session};

const EXAMPLES: &str = "\
Examples:
  bbctl version
  bbctl version --client
  bbctl version -o json";

/// What the chart calls its Deployment.
const CONTROLLER: &str = "app.kubernetes.io/name=bitbuilder-controller";

/// What `bbctl version` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Ask no server
    #[arg(long)]
    pub client: bool,
}

/// Writes the versions, as many as can be learned.
///
/// # Errors
/// When stdout is closed. A server that does not answer is a warning.
pub async fn run(args: &Args, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    let mut facts = json!({
        "client": env!("CARGO_PKG_VERSION"),
        "api": format!("{}/{}", bb_crds::GROUP, bb_crds::VERSION),
    });
    if !args.client {
        match connect(globals, out).await {
            Ok(session) => ask(&session, &mut facts, out).await,
            Err(failure) => out.warn(&failure.message),
        }
    }
    if out.is_machine() {
        out.document(&facts)?;
        return Ok(Exit::Ok);
    }
    if out.format() == Format::Name {
        out.line(env!("CARGO_PKG_VERSION"))?;
        return Ok(Exit::Ok);
    }
    out.line(&format!("bbctl       {}", env!("CARGO_PKG_VERSION")))?;
    out.line(&format!(
        "speaks      {}/{}",
        bb_crds::GROUP,
        bb_crds::VERSION
    ))?;
    if let Some(server) = facts.get("server").and_then(Value::as_str) {
        out.line(&format!("kubernetes  {server}"))?;
    }
    if let Some(served) = facts.get("served").and_then(Value::as_array) {
        let served: Vec<&str> = served.iter().filter_map(Value::as_str).collect();
        let words = if served.is_empty() {
            "none".to_owned()
        } else {
            served.join(", ")
        };
        out.line(&format!("served      {words}"))?;
    }
    for (word, field) in [("controller", "controllers"), ("provider", "providers")] {
        let versions = facts.get(field).and_then(Value::as_object);
        for (name, version) in versions.into_iter().flatten() {
            let version = version.as_str().unwrap_or("unknown");
            out.line(&format!("{word:<12}{name}: {version}"))?;
        }
    }
    Ok(Exit::Ok)
}

async fn ask(session: &Session, facts: &mut Value, out: &mut Out) {
    let client = session.client();
    let (server, groups, controllers, providers) = futures::join!(
        session.ask("ask for the version", client.apiserver_version()),
        session.ask("ask for the kinds", client.list_api_groups()),
        controllers(session),
        session.list(
            Kind::named("providers").expect("a kind of ours"),
            &Scope::Everywhere,
            None
        ),
    );
    match server {
        Ok(info) => facts["server"] = json!(info.git_version),
        Err(failure) => {
            out.warn(&failure.message);
            return;
        }
    }
    if let Ok(groups) = groups {
        let ours = groups
            .groups
            .into_iter()
            .find(|group| group.name == bb_crds::GROUP);
        let served: Vec<String> = ours
            .map(|group| group.versions.into_iter().map(|v| v.version).collect())
            .unwrap_or_default();
        let fits = served.iter().any(|version| version == bb_crds::VERSION);
        facts["served"] = json!(served);
        facts["skew"] = json!(!fits);
        if !fits {
            out.warn(&format!(
                "the server does not serve {}/{}: install the custom resource definitions, or \
                 a bbctl of their version",
                bb_crds::GROUP,
                bb_crds::VERSION
            ));
        }
    }
    // Only operators may read Deployments everywhere.
    if let Ok(controllers) = controllers {
        for (name, version) in &controllers {
            let other = version.as_str().filter(|v| *v != env!("CARGO_PKG_VERSION"));
            if let Some(version) = other {
                facts["skew"] = json!(true);
                out.warn(&format!(
                    "controller {name} is of version {version}, bbctl of {}: use those of one \
                     release",
                    env!("CARGO_PKG_VERSION")
                ));
            }
        }
        facts["controllers"] = Value::Object(controllers);
    }
    // Only operators may read Providers; for others there is nothing to say here.
    if let Ok(providers) = providers {
        let versions = providers.iter().map(|p| {
            let version = text(p, "/status/version");
            let version = if version.is_empty() {
                Value::Null
            } else {
                json!(version)
            };
            (crate::object::name(p).to_owned(), version)
        });
        facts["providers"] = Value::Object(versions.collect());
    }
}

/// The version of each controller, by namespace and name, as its Deployment says.
async fn controllers(session: &Session) -> Result<Map<String, Value>, Failure> {
    let api: Api<Deployment> = Api::all(session.client());
    let params = ListParams::default().labels(CONTROLLER);
    let list = session
        .ask("ask for controllers", api.list(&params))
        .await?;
    let versions = list.items.into_iter().map(|deployment| {
        let meta = deployment.metadata;
        let labels = meta.labels.unwrap_or_default();
        let version = labels.get("app.kubernetes.io/version");
        let name = format!(
            "{}/{}",
            meta.namespace.unwrap_or_default(),
            meta.name.unwrap_or_default()
        );
        (name, json!(version))
    });
    Ok(versions.collect())
}
