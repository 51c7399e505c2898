//! Turns what was typed into a form into what is wrong with it, by the definitions of the kinds
//! and by what the controller itself decides.

use std::sync::Arc;

use bb_core::resolve::{Id, resolve};
use bb_core::world::{Key, NamespaceView, World};
use bb_crds::{Instance, Network, Provider, Region, Tenant, Volume};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kinds::Kind;
use crate::related::namespace_of;

use super::form::Asked;
use super::schema;
use super::store::{Key as Name, Store};

/// Checks one field. `place` is the namespace of a new object; none: the object is there.
///
/// # Errors
/// When it cannot be so, with a sentence.
pub(super) fn field(
    kind: &Kind,
    asked: &Asked,
    text: &str,
    place: Option<&str>,
    store: &Store,
) -> Result<(), String> {
    if text.is_empty() {
        return match asked.must {
            true => Err("this has to be said".to_owned()),
            false => Ok(()),
        };
    }
    match asked.title {
        "name" => return name(kind, text, place.unwrap_or_default(), store),
        "namespace" => return label(text, 63),
        // A file stands for the key in it.
        "ssh key" if text.starts_with("~/") => return Ok(()),
        _ => {}
    }
    let words: Vec<&str> = if asked.many {
        text.split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect()
    } else {
        vec![text]
    };
    words.iter().try_for_each(|word| {
        schema::check(kind, asked.way, word)?;
        match asked.title {
            "prefix" => prefix(word),
            "address" | "gateway" | "dhcp from" | "dhcp to" => {
                let address = word.parse::<std::net::Ipv4Addr>();
                address
                    .map(|_| ())
                    .map_err(|_| format!("`{word}` is no IPv4 address"))
            }
            "resolvers" => {
                let address = word.parse::<std::net::IpAddr>();
                address
                    .map(|_| ())
                    .map_err(|_| format!("`{word}` is no IP address"))
            }
            "memory" | "disk" | "size" => {
                let size = bb_crds::Size::from(*word).bytes();
                size.map(|_| ()).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        }
    })
}

fn name(kind: &Kind, text: &str, place: &str, store: &Store) -> Result<(), String> {
    label(text, if kind.kind == "Tenant" { 50 } else { 63 })?;
    let place = if kind.namespaced { place } else { "" };
    match store.shelf(kind.plural).get(&Name::new(place, text)) {
        Some(_) => Err(format!("there is a {} {text} already", kind.singular)),
        None => Ok(()),
    }
}

fn label(text: &str, most: usize) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.chars().all(inner) || text.starts_with('-') || text.ends_with('-') {
        return Err("small letters, digits and - between them".to_owned());
    }
    match text.len() > most {
        true => Err(format!("at most {most} characters")),
        false => Ok(()),
    }
}

fn prefix(text: &str) -> Result<(), String> {
    let net: ipnet::Ipv4Net = text
        .parse()
        .map_err(|_| format!("`{text}` is no prefix such as 10.0.0.0/24"))?;
    if net != net.trunc() {
        return Err(format!("host bits are set: write {}", net.trunc()));
    }
    match (8..=29).contains(&net.prefix_len()) {
        true => Ok(()),
        false => Err("between /8 and /29".to_owned()),
    }
}

/// Checks a manifest as the controller would understand it, beside what there is.
///
/// # Errors
/// When it would not be accepted, with the controller's own words.
pub(super) fn whole(manifest: &Value, store: &Store) -> Result<(), String> {
    let namespace = crate::object::word(&manifest["metadata"]["namespace"]);
    let mut world = around(&namespace, store);
    // Where two claim the same, the older one has it: the new one is the youngest of all.
    let mut newest = manifest.clone();
    newest["metadata"]["creationTimestamp"] = Value::from("9000-01-01T00:00:00Z");
    newest["metadata"]["uid"] = Value::from("new");
    let Some(id) = add(&mut world, &newest)? else {
        return Ok(());
    };
    match resolve(&world).problems.get(&id) {
        Some(problem) => Err(format!("{}: {}", problem.reason.as_str(), problem.message)),
        None => Ok(()),
    }
}

/// Puts the new object beside the others. A Tenant refers to nothing that could be wrong.
fn add(world: &mut World, manifest: &Value) -> Result<Option<Id>, String> {
    let word = |name: &str| crate::object::word(&manifest["metadata"][name]);
    let key = Key::new(word("namespace"), word("name"));
    Ok(match manifest["kind"].as_str() {
        Some("Network") => {
            world
                .networks
                .insert(key.clone(), typed::<Network>(manifest)?);
            Some(Id::Network(key))
        }
        Some("Instance") => {
            world
                .instances
                .insert(key.clone(), typed::<Instance>(manifest)?);
            Some(Id::Instance(key))
        }
        Some("Volume") => {
            world
                .volumes
                .insert(key.clone(), typed::<Volume>(manifest)?);
            Some(Id::Volume(key))
        }
        _ => {
            typed::<Tenant>(manifest)?;
            None
        }
    })
}

fn typed<T: DeserializeOwned>(manifest: &Value) -> Result<Arc<T>, String> {
    let parsed = serde_json::from_value(manifest.clone());
    parsed.map(Arc::new).map_err(|error| error.to_string())
}

/// What there is around an object: its namespace, and what is of the whole cluster. What cannot be
/// understood is left out: it is not what is asked about.
pub(super) fn around(namespace: &str, store: &Store) -> World {
    fn all<T: DeserializeOwned>(
        store: &Store,
        plural: &str,
        namespace: Option<&str>,
    ) -> Vec<(Name, Arc<T>)> {
        let entries = store.shelf(plural).within(namespace);
        let typed = entries.filter_map(|(key, entry)| {
            let value = serde_json::to_value(&entry.object).ok()?;
            Some((key.clone(), Arc::new(serde_json::from_value(value).ok()?)))
        });
        typed.collect()
    }
    let own = Some(namespace);
    let mut world = World::default();
    for (key, region) in all::<Region>(store, "regions", None) {
        world.regions.insert(key.name.to_string(), region);
    }
    for (key, provider) in all::<Provider>(store, "providers", None) {
        world.providers.insert(key.name.to_string(), provider);
    }
    for (key, tenant) in all::<Tenant>(store, "tenants", None) {
        world.tenants.insert(key.name.to_string(), tenant);
    }
    for (_, entry) in store.shelf("tenants").iter() {
        // Where a Tenant says that a namespace is its own, the controller has seen to it.
        let view = NamespaceView {
            tenant: entry.object.metadata.name.clone(),
            owner: entry.object.metadata.uid.clone(),
            deleting: false,
        };
        world
            .namespaces
            .insert(namespace_of(&entry.object), Arc::new(view));
    }
    let key = |name: &Name| Key::new(&*name.namespace, &*name.name);
    for (name, network) in all::<Network>(store, "networks", own) {
        world.networks.insert(key(&name), network);
    }
    for (name, volume) in all::<Volume>(store, "volumes", own) {
        world.volumes.insert(key(&name), volume);
    }
    for (name, instance) in all::<Instance>(store, "instances", own) {
        world.instances.insert(key(&name), instance);
    }
    world
}
