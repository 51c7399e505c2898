//! Turns an object that is to be deleted into how grave that is, and what goes with it.

use serde_json::Value;

use crate::error::Failure;
use crate::kinds::{KINDS, Kind};
use crate::object::{self, Object, list, text};
use crate::related::{namespace_of, read};
use crate::resource::{Known, Target};
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
    /// What becomes of what it stands for; empty where that is plain.
    pub words: String,
    /// What depends on it and is not deleted as well.
    pub dependents: Option<Dependents>,
}

/// What depends on an object that is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependents {
    /// What depends on it, and how, in one sentence.
    pub words: String,
    /// What is deleted with it where that is asked for; nothing where that cannot be asked for.
    /// Of a Tenant the list is empty: the server takes all of it along.
    pub cascade: Option<Vec<Target>>,
    /// What to do in place of that.
    pub remedy: &'static str,
}

impl Consequence {
    fn new(gravity: Gravity, words: impl Into<String>) -> Self {
        Self {
            gravity,
            words: words.into(),
            dependents: None,
        }
    }

    /// With dependents, where there are any.
    fn held(
        self,
        words: &str,
        names: &[String],
        cascade: Option<Vec<Target>>,
        remedy: &'static str,
    ) -> Self {
        let dependents = (!names.is_empty()).then(|| Dependents {
            words: held(words, names),
            cascade,
            remedy,
        });
        Self { dependents, ..self }
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
    match known.0.kind {
        "Network" => {
            let users = users(session, &namespace, "networks", "network", &target.name).await?;
            Ok(network(
                target,
                &staying(users, "Instance", &namespace, leaving),
            ))
        }
        "Volume" => {
            let users = users(session, &namespace, "volumes", "volume", &target.name).await?;
            Ok(volume(
                object,
                &staying(users, "Instance", &namespace, leaving),
            ))
        }
        "Instance" => Ok(instance(object)),
        "Plan" => Ok(Consequence::new(
            Gravity::Moderate,
            "the question and its answer go, nothing that it is about",
        )),
        "Tenant" => tenant(object, leaving, session).await,
        "Region" => {
            let of_it = |p: &Object| text(p, "/spec/region") == target.name;
            let providers = names(session, "providers", &Scope::Everywhere, of_it).await?;
            let providers = staying(providers, "Provider", "", leaving);
            Ok(Consequence::new(Gravity::Severe, "").held(
                "Providers are in it",
                &providers,
                None,
                "delete those first",
            ))
        }
        _ => {
            let on_it = |i: &Object| text(i, "/status/cluster") == target.name;
            let guests = names(session, "instances", &Scope::Everywhere, on_it).await?;
            Ok(Consequence::new(Gravity::Severe, "").held(
                "instances run on it",
                &guests,
                None,
                "their owners delete those first",
            ))
        }
    }
}

/// Those of some objects that are not deleted as well.
fn staying(names: Vec<String>, kind: &str, namespace: &str, leaving: &[Target]) -> Vec<String> {
    let leaves = |name: &String| {
        leaving.iter().any(|target| {
            target.is(kind)
                && target.name == *name
                && target.namespace.as_deref().unwrap_or_default() == namespace
        })
    };
    names.into_iter().filter(|name| !leaves(name)).collect()
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

fn network(target: &Target, users: &[String]) -> Consequence {
    let gravity = match users {
        [] => Gravity::Moderate,
        _ => Gravity::Severe,
    };
    let kind = Kind::called("Instance");
    let instances = users.iter().map(|name| Target {
        resource: kind.resource(),
        namespace: target.namespace.clone(),
        name: name.clone(),
        kind: Some(Known(kind)),
    });
    let remedy = "take their cards away or delete them first";
    Consequence::new(gravity, "").held(
        "instances are in it",
        users,
        Some(instances.collect()),
        remedy,
    )
}

fn volume(object: &Object, users: &[String]) -> Consequence {
    let data = match text(object, "/spec/reclaimPolicy").as_str() {
        "Retain" => "its data stays on the storage",
        _ => "its data is destroyed",
    };
    Consequence::new(Gravity::Moderate, data).held(
        "instances have it",
        users,
        None,
        "take it away first, as `bbctl volumes detach` does",
    )
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

async fn tenant(
    object: &Object,
    leaving: &[Target],
    session: &Session,
) -> Result<Consequence, Failure> {
    let namespace = namespace_of(object);
    let scope = Scope::Namespace(namespace.clone());
    let mut parts = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.namespaced) {
        let there = names(session, kind.plural, &scope, |_| true).await?;
        let count = staying(there, kind.kind, &namespace, leaving).len();
        if count > 0 {
            parts.push(format!("{count} {}", plural_of(count, kind.plural)));
        }
    }
    let words = match parts.is_empty() {
        true => "its namespace goes with it",
        false => "its namespace and all that is in it go with it",
    };
    let remedy = "delete them first";
    Ok(
        Consequence::new(Gravity::Severe, words).held(
            "in it are",
            &parts,
            Some(Vec::new()),
            remedy,
        ),
    )
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
    lists: &str,
    field: &str,
    name: &str,
) -> Result<Vec<String>, Failure> {
    let pointer = format!("/spec/{lists}");
    let scope = Scope::Namespace(namespace.to_owned());
    let uses = |i: &Object| {
        list(i, &pointer)
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

    fn web() -> Target {
        let kind = Kind::called("Network");
        Target {
            resource: kind.resource(),
            namespace: Some("acme".to_owned()),
            name: "web".to_owned(),
            kind: Some(Known(kind)),
        }
    }

    #[test]
    fn a_network_is_grave_only_while_someone_is_in_it() {
        let empty = network(&web(), &[]);
        assert_eq!((empty.gravity, empty.dependents), (Gravity::Moderate, None));
        let users: Vec<String> = (1..=7).map(|n| format!("www-{n}")).collect();
        let used = network(&web(), &users);
        assert_eq!(used.gravity, Gravity::Severe);
        let dependents = used.dependents.unwrap();
        assert_eq!(
            dependents.words,
            "instances are in it: www-1, www-2, www-3, www-4, www-5 and 2 more"
        );
        let cascade = dependents.cascade.unwrap();
        assert_eq!(cascade.len(), 7);
        assert_eq!(cascade[0].words(), "instance/www-1 -n acme");
    }

    #[test]
    fn what_is_deleted_as_well_does_not_depend_on_it() {
        let mut www = network(&web(), &["www".to_owned()]).dependents.unwrap();
        let leaving = www.cascade.take().unwrap();
        let names = vec!["www".to_owned(), "pg".to_owned()];
        let rest = staying(names, "Instance", "acme", &leaving);
        assert_eq!(rest, ["pg"]);
        let elsewhere = staying(vec!["www".to_owned()], "Instance", "other", &leaving);
        assert_eq!(elsewhere, ["www"]);
    }

    #[test]
    fn a_volume_says_what_becomes_of_its_data() {
        let lost = volume(&object(&json!({})), &[]);
        assert_eq!(lost.words, "its data is destroyed");
        let retain = json!({"reclaimPolicy": "Retain"});
        let kept = volume(&object(&retain), &["pg".to_owned()]);
        assert_eq!(kept.words, "its data stays on the storage");
        let dependents = kept.dependents.unwrap();
        assert_eq!(dependents.words, "instances have it: pg");
        assert_eq!(dependents.cascade, None);
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
