//! Turns an object that is to be deleted into how grave that is, and what goes with it.

use serde_json::Value;

use crate::error::Failure;
use crate::object::{self, Object, list, text};
use crate::related::{namespace_of, read};
use crate::resource::Target;
use crate::session::{Scope, Session};

/// How a deletion is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// By a yes.
    Moderate,
    /// By typing the name.
    Severe,
}

/// What a deletion means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// How it is confirmed.
    pub gravity: Gravity,
    /// What goes with it, or what holds it; empty where nothing does.
    pub words: String,
}

impl Consequence {
    fn new(gravity: Gravity, words: impl Into<String>) -> Self {
        Self {
            gravity,
            words: words.into(),
        }
    }
}

/// Finds out what the deletion of an object means. `leaving` is all that is deleted with it.
///
/// # Errors
/// When what depends on it cannot be read. What may not be read is passed over: the server
/// decides, and who may not see a dependent cannot be told of it.
pub async fn weigh(
    target: &Target,
    object: &Object,
    leaving: &[Target],
    session: &Session,
) -> Result<Consequence, Failure> {
    let Some(known) = target.kind else {
        return Ok(foreign(target));
    };
    let namespace = target.namespace.clone().unwrap_or_default();
    let stays = |kind: &str, name: &str| {
        !leaving.iter().any(|t| {
            t.is(kind) && t.name == name && t.namespace.as_deref() == Some(namespace.as_str())
        })
    };
    match known.0.kind {
        "Network" => {
            let users = users(
                session,
                &namespace,
                "/spec/networks",
                "network",
                &target.name,
            );
            let users = users.await?.into_iter().filter(|u| stays("Instance", u));
            Ok(network(&users.collect::<Vec<_>>()))
        }
        "Volume" => {
            let users = users(session, &namespace, "/spec/volumes", "volume", &target.name);
            let users = users.await?.into_iter().filter(|u| stays("Instance", u));
            Ok(volume(object, &users.collect::<Vec<_>>()))
        }
        "Instance" => Ok(instance(object)),
        "Tenant" => tenant(object, session).await,
        "Region" => {
            let of_it = |p: &Object| text(p, "/spec/region") == target.name;
            let providers = names(session, "providers", &Scope::Everywhere, of_it).await?;
            Ok(Consequence::new(
                Gravity::Severe,
                held("Providers are in it", &providers),
            ))
        }
        _ => {
            let on_it = |i: &Object| text(i, "/status/cluster") == target.name;
            let guests = names(session, "instances", &Scope::Everywhere, on_it).await?;
            Ok(Consequence::new(
                Gravity::Severe,
                held("instances run on it", &guests),
            ))
        }
    }
}

fn foreign(target: &Target) -> Consequence {
    match target.resource.kind.as_str() {
        "Namespace" => {
            Consequence::new(Gravity::Severe, "everything in the namespace goes with it")
        }
        "CustomResourceDefinition" => {
            Consequence::new(Gravity::Severe, "every object of the kind goes with it")
        }
        _ => Consequence::new(Gravity::Moderate, ""),
    }
}

fn network(users: &[String]) -> Consequence {
    match users {
        [] => Consequence::new(Gravity::Moderate, ""),
        some => Consequence::new(Gravity::Severe, held("instances are in it", some)),
    }
}

fn volume(object: &Object, users: &[String]) -> Consequence {
    let data = match text(object, "/spec/reclaimPolicy").as_str() {
        "Retain" => "its data stays on the storage",
        _ => "its data is destroyed",
    };
    let words = match users {
        [] => data.to_owned(),
        some => format!("{data}; {}", held("instances have it", some)),
    };
    Consequence::new(Gravity::Moderate, words)
}

fn instance(object: &Object) -> Consequence {
    let protected = object::at(object, "/spec/deletionProtection") == Some(&Value::Bool(true));
    let words = match text(object, "/spec/deletionPolicy").as_str() {
        _ if protected => "it is protected: it stays until spec.deletionProtection is taken off",
        "" if object::at(object, "/spec/adopt").is_some() => {
            "it was adopted: the guest itself stays, nobody looks after it any more"
        }
        "Orphan" => "the guest itself stays, nobody looks after it any more",
        _ => "its root disk is destroyed, attached Volumes stay",
    };
    Consequence::new(Gravity::Moderate, words)
}

async fn tenant(object: &Object, session: &Session) -> Result<Consequence, Failure> {
    let scope = Scope::Namespace(namespace_of(object));
    let mut parts = Vec::new();
    for plural in ["networks", "instances", "volumes"] {
        let count = names(session, plural, &scope, |_| true).await?.len();
        if count > 0 {
            parts.push(format!("{count} {}", plural_of(count, plural)));
        }
    }
    let words = match parts.is_empty() {
        true => "nothing is in it".to_owned(),
        false => format!("{} go with it", parts.join(", ")),
    };
    Ok(Consequence::new(Gravity::Severe, words))
}

fn plural_of(count: usize, plural: &str) -> &str {
    if count == 1 {
        plural.trim_end_matches('s')
    } else {
        plural
    }
}

/// `WORDS: a, b, c and 4 more`, or nothing where there is none.
fn held(words: &str, names: &[String]) -> String {
    const SHOWN: usize = 5;
    if names.is_empty() {
        return String::new();
    }
    let shown = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => format!("{words}: {shown}"),
        Some(more) => format!("{words}: {shown} and {more} more"),
    }
}

/// The instances of a namespace that name something in one of their lists.
async fn users(
    session: &Session,
    namespace: &str,
    pointer: &str,
    field: &str,
    name: &str,
) -> Result<Vec<String>, Failure> {
    let scope = Scope::Namespace(namespace.to_owned());
    let uses = |i: &Object| {
        list(i, pointer)
            .iter()
            .any(|entry| entry.get(field).and_then(Value::as_str) == Some(name))
    };
    names(session, "instances", &scope, uses).await
}

async fn names(
    session: &Session,
    plural: &str,
    scope: &Scope,
    wanted: impl Fn(&Object) -> bool,
) -> Result<Vec<String>, Failure> {
    let objects = read(plural, scope, session).await?;
    let wanted = objects.iter().filter(|object| wanted(object));
    Ok(wanted
        .map(|object| object::name(object).to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(spec: &Value) -> Object {
        serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_network_is_grave_only_while_someone_is_in_it() {
        assert_eq!(network(&[]).gravity, Gravity::Moderate);
        let users: Vec<String> = (1..=7).map(|n| format!("www-{n}")).collect();
        let used = network(&users);
        assert_eq!(used.gravity, Gravity::Severe);
        assert_eq!(
            used.words,
            "instances are in it: www-1, www-2, www-3, www-4, www-5 and 2 more"
        );
    }

    #[test]
    fn a_volume_says_what_becomes_of_its_data() {
        assert_eq!(
            volume(&object(&json!({})), &[]).words,
            "its data is destroyed"
        );
        let kept = volume(
            &object(&json!({"reclaimPolicy": "Retain"})),
            &["pg".to_owned()],
        );
        assert_eq!(
            kept.words,
            "its data stays on the storage; instances have it: pg"
        );
    }

    #[test]
    fn a_protected_instance_says_so() {
        let words = |spec: &Value| instance(&object(spec)).words;
        assert!(words(&json!({"deletionProtection": true})).contains("protected"));
        assert!(words(&json!({"deletionPolicy": "Orphan"})).contains("stays"));
        assert!(words(&json!({"adopt": {"vmid": 104}})).contains("stays"));
        assert!(words(&json!({})).contains("root disk is destroyed"));
    }
}
