//! Turns the question who one is and what one may do into the server's answer.

use serde_json::json;

use super::rights::{Action, may, whoami};
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::out::{Format, Out};
use crate::session::{Session, within};

const EXAMPLES: &str = "\
Examples:
  bbctl auth can-i create instances -n acme
  bbctl auth can-i delete instance www-1 -n acme
  bbctl auth can-i list secrets -n bitbuilder-system";

/// What can be asked about oneself.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show whom the server takes you for
    #[command(after_help = "Examples:\n  bbctl auth whoami\n  bbctl auth whoami -o json")]
    Whoami,
    /// Say whether you may do something; the exit code is 4 if not
    #[command(name = "can-i")]
    CanI(CanArgs),
}

/// What `bbctl auth can-i` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CanArgs {
    /// What to do: get, list, watch, create, patch, delete
    #[arg(value_name = "VERB")]
    pub verb: String,
    /// With which kind: one of ours, or a plural name such as secrets or deployments.apps
    #[arg(value_name = "KIND")]
    pub kind: String,
    /// With which object [default: any]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// Asks the server.
///
/// # Errors
/// When it does not answer. That something is not allowed is no error: it is told, and the exit
/// code is 4.
pub async fn run(verb: &Verb, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    match verb {
        Verb::Whoami => who(session, out).await,
        Verb::CanI(args) => can(args, session, out).await,
    }
}

async fn who(session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let user = whoami(session).await?;
    let name = user.username.unwrap_or_default();
    let groups = user.groups.unwrap_or_default();
    match out.format() {
        Format::Json | Format::Yaml => out.document(&json!({"user": name, "groups": groups,
            "server": session.server(), "namespace": session.namespace()}))?,
        Format::Name => out.line(&name)?,
        Format::Table | Format::Wide => {
            out.line(&format!("user       {name}"))?;
            out.line(&format!("groups     {}", groups.join(", ")))?;
            out.line(&format!("server     {}", session.server()))?;
            out.line(&format!("namespace  {}", session.namespace()))?;
        }
    }
    Ok(Exit::Ok)
}

async fn can(args: &CanArgs, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let namespace = (!args.all_namespaces).then(|| session.namespace());
    let action = action(args, namespace);
    let ruling = may(&action, session).await?;
    let word = if ruling.allowed { "yes" } else { "no" };
    let place = match &action.namespace {
        Some(namespace) => within(Some(namespace)),
        None => " in the whole cluster".to_owned(),
    };
    match out.format() {
        Format::Json | Format::Yaml => out.document(&json!({"allowed": ruling.allowed,
            "verb": action.verb, "resource": action.resource, "group": action.group,
            "namespace": action.namespace, "name": action.name, "reason": ruling.reason}))?,
        Format::Name => out.line(word)?,
        Format::Table | Format::Wide => {
            out.line(&format!(
                "{word}: {} {}{place}",
                action.verb, action.resource
            ))?;
        }
    }
    match ruling.allowed {
        true => Ok(Exit::Ok),
        false => Ok(Exit::Denied),
    }
}

/// The action that words mean.
fn action(args: &CanArgs, namespace: Option<&str>) -> Action {
    let (group, resource, namespaced) = match Kind::named(&args.kind) {
        Some(kind) => (bb_crds::GROUP, kind.plural, kind.namespaced),
        None => {
            let (resource, group) = args.kind.split_once('.').unwrap_or((&args.kind, ""));
            let everywhere = ["namespaces", "nodes", "customresourcedefinitions"];
            (group, resource, !everywhere.contains(&resource))
        }
    };
    Action {
        verb: args.verb.to_ascii_lowercase(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.filter(|_| namespaced).map(str::to_owned),
        name: args.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str) -> (String, String, Option<String>) {
        let args = CanArgs {
            verb: "list".to_owned(),
            kind: kind.to_owned(),
            name: None,
            all_namespaces: false,
        };
        let action = action(&args, Some("acme"));
        (action.group, action.resource, action.namespace)
    }

    #[test]
    fn kinds_of_ours_and_of_others_are_understood() {
        let owned = |group: &str, resource: &str, namespace: Option<&str>| {
            (
                group.to_owned(),
                resource.to_owned(),
                namespace.map(str::to_owned),
            )
        };
        assert_eq!(
            of("instance"),
            owned("bitbuilder.cloud", "instances", Some("acme"))
        );
        assert_eq!(of("bbt"), owned("bitbuilder.cloud", "tenants", None));
        assert_eq!(of("secrets"), owned("", "secrets", Some("acme")));
        assert_eq!(
            of("deployments.apps"),
            owned("apps", "deployments", Some("acme"))
        );
        assert_eq!(of("nodes"), owned("", "nodes", None));
    }
}
