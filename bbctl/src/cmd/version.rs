//! Turns the question which version runs into an answer for client, server and kinds.

use serde_json::{Value, json};

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
    for (name, version) in facts
        .get("providers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        out.line(&format!(
            "provider    {name}: {}",
            version.as_str().unwrap_or("unknown")
        ))?;
    }
    Ok(Exit::Ok)
}

async fn ask(session: &Session, facts: &mut Value, out: &mut Out) {
    let client = session.client();
    let (server, groups, providers) = futures::join!(
        session.ask("ask for the version", client.apiserver_version()),
        session.ask("ask for the kinds", client.list_api_groups()),
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
