//! Turns a kubeconfig into findings about everything between it and an instance that runs.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use serde_json::Value;

use super::diagnose::{self, Holder};
use super::findings::{self, Finding};
use super::rights::{Action, may, whoami};
use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::out::Out;
use crate::session::{Scope, Session};

/// The Lease of whoever of several controllers works.
const LEASE: &str = "bitbuilder-controller";

/// What is looked at, in the order in which each builds on the one before.
pub const NAMES: [&str; 9] = [
    "kubeconfig",
    "api",
    "version",
    "identity",
    "definitions",
    "rights",
    "controller",
    "providers",
    "ssh-key",
];

const EXAMPLES: &str = "\
Examples:
  bbctl doctor
  bbctl doctor -n acme --json
  bbctl doctor --system bitbuilder-system";

/// What `bbctl doctor` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The namespace that the controller works in
    #[arg(long, value_name = "NAME", default_value = "bitbuilder-system")]
    pub system: String,
}

/// Looks at everything and tells what passes.
///
/// # Errors
/// When stdout is closed. A check that fails is no error: it is told, and the exit code is 1.
pub async fn run(args: &Args, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    let mut found = vec![ssh_key(out)];
    match Session::open(&globals.connection(), out.env()).await {
        Err(failure) => {
            let remedy = "name one with --kubeconfig or KUBECONFIG";
            found.push(Finding::failed("kubeconfig", &failure, remedy));
        }
        Ok(session) => {
            out.set_request_id(session.request_id());
            let (server, namespace) = (session.server(), session.namespace());
            let detail = format!("{server}, namespace {namespace}");
            found.push(Finding::pass("kubeconfig", detail));
            found.extend(at_the_server(&args.system, &session).await);
        }
    }
    findings::tell(&findings::complete(found, &NAMES), out)
}

/// An instance without a key lets nobody in.
fn ssh_key(out: &Out) -> Finding {
    let none = || {
        Finding::fail(
            "ssh-key",
            "there is no public key in ~/.ssh: an instance would let nobody in",
            "make one with `ssh-keygen -t ed25519`, or name one with --ssh-key",
        )
        .optional()
    };
    let Some(home) = out.env().get("HOME") else {
        return none();
    };
    let folder = std::path::Path::new(home).join(".ssh");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut keys: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .map(|path| path.display().to_string())
        .collect();
    keys.sort();
    match keys.first() {
        Some(first) => Finding::pass("ssh-key", first.clone()),
        None => none(),
    }
}

async fn at_the_server(system: &str, session: &Session) -> Vec<Finding> {
    let client = session.client();
    let version = session.ask("ask for the version", client.apiserver_version());
    let (version, user) = futures::join!(version, whoami(session));
    let mut found = match version {
        Ok(info) => vec![
            Finding::pass("api", format!("{} answers", session.server())),
            diagnose::version(&info.major, &info.minor, &info.git_version),
        ],
        Err(failure) => {
            let remedy = "check that the server runs and the way to it";
            return vec![Finding::failed("api", &failure, remedy)];
        }
    };
    match user {
        Ok(user) => {
            let name = user.username.unwrap_or_default();
            found.push(Finding::pass("identity", format!("you are {name}")));
        }
        Err(failure) => {
            found.push(Finding::failed("identity", &failure, "log in again"));
            return found;
        }
    }
    let (definitions, rights) = futures::join!(definitions(session), rights(session));
    let usable = !definitions.is_fatal();
    found.extend([definitions, rights]);
    if usable {
        let (providers, regions) =
            futures::join!(all("providers", session), all("regions", session));
        found.push(match &providers {
            Ok(providers) => diagnose::providers(providers),
            Err(failure) => unseen("providers", failure),
        });
        let both = providers.and_then(|mut providers| {
            providers.extend(regions?);
            Ok(providers)
        });
        found.push(controller(system, both, session).await);
    }
    found
}

async fn all(plural: &str, session: &Session) -> Result<Vec<crate::object::Object>, Failure> {
    session
        .list(Kind::parse(plural)?, &Scope::Everywhere, None)
        .await
}

/// What a member of a tenant may not see is an operator's business.
fn unseen(name: &'static str, failure: &Failure) -> Finding {
    match failure.exit {
        Exit::Denied => Finding::skip(name, "you may not see it; an operator may"),
        _ => Finding::failed(name, failure, "try again"),
    }
}

async fn definitions(session: &Session) -> Finding {
    let client = session.client();
    let groups = session
        .ask("ask for the kinds", client.list_api_groups())
        .await;
    let groups = match groups {
        Ok(groups) => groups.groups,
        Err(failure) => return Finding::failed("definitions", &failure, "try again"),
    };
    let ours = groups
        .into_iter()
        .find(|group| group.name == bb_crds::GROUP);
    let versions: Vec<String> = ours
        .map(|group| group.versions.into_iter().map(|v| v.version).collect())
        .unwrap_or_default();
    let mut served = BTreeSet::new();
    if versions.iter().any(|version| version == bb_crds::VERSION) {
        let group = format!("{}/{}", bb_crds::GROUP, bb_crds::VERSION);
        let answer = client.list_api_group_resources(&group);
        match session.ask("ask for the kinds", answer).await {
            Ok(list) => served.extend(list.resources.into_iter().map(|kind| kind.name)),
            Err(failure) => return Finding::failed("definitions", &failure, "try again"),
        }
    }
    let api: Api<CustomResourceDefinition> = Api::all(session.client());
    let params = ListParams::default();
    let installed = session.ask("read the definitions", api.list(&params)).await;
    let installed: Option<Vec<Value>> = installed.ok().map(|list| {
        list.items
            .iter()
            .filter_map(|crd| serde_json::to_value(crd).ok())
            .collect()
    });
    diagnose::definitions(&versions, &served, installed.as_deref())
}

async fn rights(session: &Session) -> Finding {
    let namespace = session.namespace();
    let kinds = ["instances", "networks", "volumes"];
    let asked: Vec<(&str, &str)> = ["list", "create"]
        .into_iter()
        .flat_map(|verb| kinds.map(|kind| (verb, kind)))
        .collect();
    let rulings = asked.iter().map(|(verb, kind)| async move {
        let action = Action::ours(verb, kind, Some(namespace));
        may(&action, session)
            .await
            .map(|ruling| (*verb, *kind, ruling.allowed))
    });
    match futures::future::try_join_all(rulings).await {
        Ok(allowed) => diagnose::rights(namespace, &allowed),
        Err(failure) => Finding::failed("rights", &failure, "try again"),
    }
}

async fn controller(
    system: &str,
    seen: Result<Vec<crate::object::Object>, Failure>,
    session: &Session,
) -> Finding {
    let lease = match lease(system, session).await {
        Ok(Some(lease)) => lease,
        Ok(None) => {
            return match seen {
                Ok(objects) => diagnose::unled(system, &objects),
                Err(failure) => unseen("controller", &failure),
            };
        }
        Err(failure) => return unseen("controller", &failure),
    };
    let (holder, age) = match diagnose::holder(&lease, Timestamp::now()) {
        Holder::Works(holder, age) => {
            let seconds = age.as_secs_f64().max(0.0);
            let detail = format!("{holder} leads, renewed {seconds:.0} s ago");
            return Finding::pass("controller", detail);
        }
        Holder::Nobody => {
            return Finding::fail(
                "controller",
                "the Lease was given back and nobody has taken it: no controller runs",
                format!("see `kubectl get pods -n {system}`"),
            );
        }
        Holder::Late(holder, age) => (holder, age),
    };
    // Either it is dead or one of two clocks is wrong: one that lives renews within a third.
    let third = Duration::try_from(diagnose::lasts(&lease)).unwrap_or_default() / 3;
    tokio::time::sleep(third + Duration::from_secs(1)).await;
    match self::lease(system, session).await {
        Ok(Some(later)) if later.renew_time != lease.renew_time => Finding::pass(
            "controller",
            format!(
                "{holder} leads and renews; its clock and that of this machine differ by {:.0} s",
                age.as_secs_f64().abs()
            ),
        ),
        Ok(_) => Finding::fail(
            "controller",
            format!(
                "{holder} has not renewed its Lease for {:.0} s",
                age.as_secs_f64()
            ),
            format!("see `kubectl get pods -n {system}` and the controller's log"),
        ),
        Err(failure) => unseen("controller", &failure),
    }
}

async fn lease(system: &str, session: &Session) -> Result<Option<LeaseSpec>, Failure> {
    let api: Api<Lease> = Api::namespaced(session.client(), system);
    let doing = format!("read the Lease {LEASE} in namespace {system}");
    let lease = session.ask(&doing, api.get_opt(LEASE)).await?;
    Ok(lease.and_then(|lease| lease.spec))
}
