//! Turns an object into the others that explain it, as far as they may be read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::Value;

use crate::error::Failure;
use crate::kinds::Kind;
use crate::object::{self, Object, list, text};
use crate::session::{Scope, Session, within};

/// Objects around one object. A list that may not be read is empty.
#[derive(Debug, Default)]
pub struct Related {
    /// Networks of its namespace; of a Tenant: of the tenant's.
    pub networks: Vec<Object>,
    /// Volumes, likewise.
    pub volumes: Vec<Object>,
    /// Instances, likewise; of a Provider: those that run on it.
    pub instances: Vec<Object>,
    /// Providers that it is on or that are in it.
    pub providers: Vec<Object>,
}

/// Finds those objects of a kind, by its plural, in a place for which a question is answered yes.
pub type Find<'a> = dyn FnMut(&'static str, &Scope, &dyn Fn(&Object) -> bool) -> Vec<Object> + 'a;

impl Related {
    /// Reads what explains an object.
    ///
    /// # Errors
    /// When the server does not answer. What it refuses to show is left out.
    pub async fn read(kind: &Kind, object: &Object, session: &Session) -> Result<Self, Failure> {
        let mut wanted = Vec::new();
        Self::among(kind, object, &mut |plural, scope, _| {
            wanted.push((plural, scope.clone()));
            Vec::new()
        });
        let lists = wanted
            .iter()
            .map(|(plural, scope)| async move { read(plural, scope, session).await });
        let lists = futures::future::try_join_all(lists).await?;
        let plurals = wanted.into_iter().map(|(plural, _)| plural);
        let mut lists: BTreeMap<_, _> = plurals.zip(lists).collect();
        Ok(Self::among(kind, object, &mut |plural, _, wanted| {
            kept(lists.remove(plural).unwrap_or_default(), wanted)
        }))
    }

    /// Chooses what explains an object from what there is; each kind is looked for once.
    pub fn among(kind: &Kind, object: &Object, find: &mut Find<'_>) -> Self {
        let own = Scope::Namespace(object::namespace(object).to_owned());
        let name = object::name(object);
        let cluster = text(object, "/status/cluster");
        let all = |_: &Object| true;
        let on_it = |o: &Object| object::name(o) == cluster;
        let mut related = Self::default();
        match kind.kind {
            "Instance" => {
                related.networks = find("networks", &own, &all);
                related.volumes = find("volumes", &own, &all);
                related.providers = find("providers", &own, &on_it);
            }
            "Network" => {
                related.instances = find("instances", &own, &|i| {
                    names(i, "/spec/networks", "network").any(|n| n == name)
                });
                let on: Vec<&str> = names(object, "/status/targets", "name").collect();
                related.providers = find("providers", &own, &|p| on.contains(&object::name(p)));
            }
            "Volume" => {
                related.instances = find("instances", &own, &|i| {
                    names(i, "/spec/volumes", "volume").any(|n| n == name)
                });
                related.providers = find("providers", &own, &on_it);
            }
            "Tenant" => {
                let scope = Scope::Namespace(namespace_of(object));
                related.networks = find("networks", &scope, &all);
                related.volumes = find("volumes", &scope, &all);
                related.instances = find("instances", &scope, &all);
            }
            "Plan" => {}
            "Provider" => {
                related.instances = find("instances", &Scope::Everywhere, &|i| {
                    text(i, "/status/cluster") == name
                });
            }
            _ => {
                related.providers = find("providers", &Scope::Everywhere, &|p| {
                    text(p, "/spec/region") == name
                });
            }
        }
        related
    }
}

/// The namespace that a Tenant owns, or will.
#[must_use]
pub fn namespace_of(tenant: &Object) -> String {
    match text(tenant, "/status/namespace") {
        none if none.is_empty() => object::name(tenant).to_owned(),
        namespace => namespace,
    }
}

/// One field of each entry of a list.
pub fn names<'a>(
    object: &'a Object,
    pointer: &str,
    field: &'static str,
) -> impl Iterator<Item = &'a str> {
    list(object, pointer)
        .iter()
        .filter_map(move |entry| entry.get(field)?.as_str())
}

fn kept(mut objects: Vec<Object>, wanted: &dyn Fn(&Object) -> bool) -> Vec<Object> {
    objects.retain(|object| wanted(object));
    objects
}

/// Reads all objects of a kind; none where they may not be read.
///
/// # Errors
/// When the server does not answer.
pub async fn read(plural: &str, scope: &Scope, session: &Session) -> Result<Vec<Object>, Failure> {
    Ok(read_if_allowed(plural, scope, session)
        .await?
        .unwrap_or_default())
}

/// Reads all objects of a kind, or nothing where they may not be read.
///
/// # Errors
/// When the server does not answer.
pub async fn read_if_allowed(
    plural: &str,
    scope: &Scope,
    session: &Session,
) -> Result<Option<Vec<Object>>, Failure> {
    match session.list(Kind::parse(plural)?, scope, None).await {
        Ok(objects) => Ok(Some(objects)),
        Err(failure) if failure.exit == crate::error::Exit::Denied => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Something that was said of an object.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Said {
    /// When it was last said.
    pub time: Option<jiff::Timestamp>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub type_: String,
    /// One word for the cause.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// How often it was said.
    pub count: i32,
}

/// The events of an object, the latest last; `None` where they may not be read.
///
/// # Errors
/// When the server does not answer.
pub async fn events(object: &Object, session: &Session) -> Result<Option<Vec<Said>>, Failure> {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    events_of(uid, object.metadata.namespace.as_deref(), session).await
}

/// The events of the object with a uid, in its namespace, the latest last; `None` where they may
/// not be read.
///
/// # Errors
/// When the server does not answer.
pub async fn events_of(
    uid: &str,
    namespace: Option<&str>,
    session: &Session,
) -> Result<Option<Vec<Said>>, Failure> {
    // Events of objects without a namespace are kept in this one.
    let namespace = namespace.unwrap_or("default");
    let api: Api<Event> = Api::namespaced(session.client(), namespace);
    let params = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let doing = format!("list events{}", within(Some(namespace)));
    let events = match session.ask(&doing, api.list(&params)).await {
        Ok(events) => events.items,
        Err(failure) if failure.exit == crate::error::Exit::Denied => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let mut said: Vec<Said> = events.into_iter().map(said).collect();
    said.sort_by_key(|event| event.time);
    Ok(Some(said))
}

/// What an event says.
#[must_use]
pub fn said(event: Event) -> Said {
    let series = event.series.unwrap_or_default();
    let time = series
        .last_observed_time
        .or(event.event_time)
        .map(|time| time.0)
        .or_else(|| event.last_timestamp.map(|time| time.0))
        .or_else(|| event.metadata.creation_timestamp.map(|time| time.0));
    Said {
        time,
        type_: event.type_.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        count: series.count.or(event.count).unwrap_or(1),
    }
}

/// What an object stands on that is not as it should be, a sentence each.
#[must_use]
pub fn causes(kind: &Kind, object: &Object, related: &Related) -> Vec<String> {
    let mut causes = Vec::new();
    if kind.kind == "Instance" {
        let networks: Vec<&str> = names(object, "/spec/networks", "network").collect();
        causes.extend(
            networks
                .iter()
                .filter_map(|n| fault("network", n, &related.networks)),
        );
        let volumes: Vec<&str> = names(object, "/spec/volumes", "volume").collect();
        causes.extend(
            volumes
                .iter()
                .filter_map(|n| fault("volume", n, &related.volumes)),
        );
    }
    if ["Instance", "Network", "Volume"].contains(&kind.kind) {
        causes.extend(
            related
                .providers
                .iter()
                .filter_map(|p| unready("provider", p)),
        );
    }
    for state in list(object, "/status/targets") {
        let field = |name: &str| state.get(name).and_then(Value::as_str).unwrap_or_default();
        if field("reason") != "Programmed" {
            causes.push(sentence(
                &format!("router {}", field("name")),
                field("reason"),
                field("message"),
            ));
        }
    }
    causes.dedup();
    causes
}

/// What is wrong with an object that another one names.
fn fault(kind: &str, name: &str, all: &[Object]) -> Option<String> {
    match all.iter().find(|object| object::name(object) == name) {
        None => Some(format!("there is no {kind} {name} that you may see")),
        Some(object) => unready(kind, object),
    }
}

fn unready(kind: &str, object: &Object) -> Option<String> {
    let health = object::health(object);
    let subject = format!("{kind} {}", object::name(object));
    (!health.is_ready()).then(|| sentence(&subject, &health.reason, &health.message))
}

fn sentence(subject: &str, reason: &str, message: &str) -> String {
    match message {
        "" => format!("{subject}: {reason}"),
        message => format!("{subject}: {reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_instance_is_explained_by_what_it_stands_on() {
        let kind = Kind::named("instance").unwrap();
        let instance = object(json!({"metadata": {"name": "www"}, "spec": {
            "networks": [{"name": "a", "network": "web"}, {"name": "b", "network": "gone"}]}}));
        let ready = json!({"conditions": [{"type": "Ready", "status": "False",
            "reason": "Refused", "message": "no VLAN is left"}]});
        let related = Related {
            networks: vec![object(
                json!({"metadata": {"name": "web"}, "status": ready}),
            )],
            ..Related::default()
        };
        assert_eq!(
            causes(kind, &instance, &related),
            [
                "network web: Refused: no VLAN is left",
                "there is no network gone that you may see"
            ]
        );
    }

    #[test]
    fn a_network_is_explained_by_its_routers() {
        let kind = Kind::named("network").unwrap();
        let network = object(json!({"metadata": {"name": "web"}, "status": {"targets": [
            {"name": "r1", "reason": "Programmed"},
            {"name": "r2", "reason": "Unreachable", "message": "no answer"}]}}));
        let causes = causes(kind, &network, &Related::default());
        assert_eq!(causes, ["router r2: Unreachable: no answer"]);
    }
}
