//! Turns what there is into what a form offers for a field, and where that is from.

use std::collections::BTreeSet;

use crate::kinds::Kind;
use crate::object::{self, list, text};
use crate::related::{names, namespace_of};

use super::form::Asked;
use super::model::Model;
use super::schema;
use super::store::{Key, Store};

/// What is known besides the objects.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The namespace that is looked at.
    pub looked_at: Option<String>,
    /// The context's namespace.
    pub namespace: String,
    /// Public keys at home: file and key.
    pub ssh_keys: Vec<(String, String)>,
}

impl Facts {
    /// What the state knows.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        Self {
            looked_at: model.namespace.clone(),
            namespace: model.at.namespace.clone(),
            ssh_keys: model.ssh_keys.clone(),
        }
    }

    /// The key that a word stands for: that of a file, or the word itself.
    #[must_use]
    pub fn key(&self, word: &str) -> String {
        let known = self.ssh_keys.iter().find(|(file, _)| file == word);
        known.map_or(word, |(_, key)| key).to_owned()
    }
}

/// What is offered for a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// What stands in it at first.
    pub value: String,
    /// Where that is from.
    pub source: String,
    /// What else could.
    pub choices: Vec<String>,
}

impl Offer {
    fn new(value: impl Into<String>, source: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            source: source.into(),
            choices: Vec::new(),
        }
    }

    fn among(mut self, choices: Vec<String>) -> Self {
        self.choices = choices;
        self
    }

    /// The first of some, or nothing.
    fn first(choices: Vec<String>, source: &str, none: &str) -> Self {
        match choices.first() {
            Some(first) => Self::new(first.clone(), source).among(choices),
            None => Self::new("", none),
        }
    }
}

/// What is offered for a field of a new object in a namespace.
#[must_use]
pub fn offer(kind: &Kind, asked: &Asked, place: &str, facts: &Facts, store: &Store) -> Offer {
    match (kind.kind, asked.title) {
        (_, "name") => name(kind, place, store),
        (_, "namespace") => namespace(facts, store),
        ("Instance", "image") => Offer::first(
            offered(store, "/spec/proxmox/images"),
            "the first that a provider offers",
            "say which: no provider shows its images to you",
        ),
        ("Instance", "network") => {
            let networks = named(store, "networks", place);
            let source = match networks.len() {
                1 => "the only one",
                _ => "the first of the namespace",
            };
            Offer::first(networks, source, "there is none yet: make a network first")
        }
        ("Instance", "address") => Offer::new("", "the next free one"),
        ("Instance", "disk") => Offer::new("", "the image's own size"),
        ("Instance", "volumes") => {
            let used: BTreeSet<String> = store
                .shelf("instances")
                .within(Some(place))
                .flat_map(|(_, i)| names(&i.object, "/spec/volumes", "volume"))
                .map(str::to_owned)
                .collect();
            let free = named(store, "volumes", place);
            let free = free.into_iter().filter(|volume| !used.contains(volume));
            Offer::new("", "none").among(free.collect())
        }
        ("Instance", "ssh key") => {
            let files: Vec<String> = facts
                .ssh_keys
                .iter()
                .map(|(file, _)| file.clone())
                .collect();
            Offer::first(
                files,
                "the first in ~/.ssh",
                "none in ~/.ssh: nobody could log in by key",
            )
        }
        ("Instance", "zone") => Offer::new("", "one in which its network is").among(zones(store)),
        ("Network", "prefix") => Offer::new(free_prefix(place, store), "the first that is free"),
        ("Network", "gateway") => Offer::new("", "the first of the prefix"),
        ("Network", "zones") => Offer::new("", "every zone of the region").among(zones(store)),
        ("Network", "dhcp from" | "dhcp to") => Offer::new("", "no pool"),
        ("Network", "resolvers") => Offer::new("", "none"),
        ("Volume", "size") => Offer::new("10Gi", "a beginning: it can grow"),
        ("Volume", "class") => Offer::new("", "the first of the cluster")
            .among(offered(store, "/spec/proxmox/storage")),
        ("Volume", "zone") => {
            Offer::new("", "that of the instance that attaches it").among(zones(store))
        }
        ("Tenant", "admins" | "editors") => Offer::new("", "nobody; NAME, or group:NAME"),
        ("Tenant", "regions") => {
            let regions = store.shelf("regions").iter();
            let regions = regions.map(|(key, _)| key.name.to_string()).collect();
            Offer::new("", "all").among(regions)
        }
        _ => {
            let choices = schema::choices(kind, asked.way);
            match schema::default(kind, asked.way) {
                Some(value) => Offer::new(value, "the default").among(choices),
                None => Offer::new("", "").among(choices),
            }
        }
    }
}

fn name(kind: &Kind, place: &str, store: &Store) -> Offer {
    let stem = match kind.kind {
        "Instance" => "vm",
        "Network" => "net",
        "Volume" => "disk",
        _ => "tenant",
    };
    let place = if kind.namespaced { place } else { "" };
    let taken = |name: &str| {
        store
            .shelf(kind.plural)
            .get(&Key::new(place, name))
            .is_some()
    };
    let free = (1..)
        .map(|n| format!("{stem}-{n}"))
        .find(|name| !taken(name));
    Offer::new(free.unwrap_or_default(), "the first that is free")
}

fn namespace(facts: &Facts, store: &Store) -> Offer {
    let tenants = store.shelf("tenants").iter();
    let all: Vec<String> = tenants
        .map(|(_, entry)| namespace_of(&entry.object))
        .collect();
    let offer = match (&facts.looked_at, all.as_slice()) {
        (Some(namespace), _) => Offer::new(namespace.clone(), "the tenant that you look at"),
        (None, [only]) => Offer::new(only.clone(), "the only tenant"),
        (None, all) if all.contains(&facts.namespace) || all.is_empty() => {
            Offer::new(facts.namespace.clone(), "the context's")
        }
        (None, [first, ..]) => Offer::new(first.clone(), "the first tenant"),
        (None, []) => Offer::new("", "there is no tenant yet"),
    };
    offer.among(all)
}

fn named(store: &Store, plural: &str, namespace: &str) -> Vec<String> {
    let all = store.shelf(plural).within(Some(namespace));
    all.map(|(key, _)| key.name.to_string()).collect()
}

/// The names that Providers have at a place of their spec, each once.
fn offered(store: &Store, pointer: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (_, provider) in store.shelf("providers").iter() {
        for entry in list(&provider.object, pointer) {
            let name = object::word(&entry["name"]);
            if !name.is_empty() && !all.contains(&name) {
                all.push(name);
            }
        }
    }
    all
}

fn zones(store: &Store) -> Vec<String> {
    let zones = store.shelf("providers").iter();
    let zones = zones.map(|(_, provider)| text(&provider.object, "/spec/zone"));
    let zones: BTreeSet<String> = zones.filter(|zone| !zone.is_empty()).collect();
    zones.into_iter().collect()
}

/// The first prefix of 256 addresses in 10.0.0.0/8 that no network of the namespace touches.
fn free_prefix(namespace: &str, store: &Store) -> String {
    let taken: Vec<ipnet::Ipv4Net> = store
        .shelf("networks")
        .within(Some(namespace))
        .filter_map(|(_, entry)| text(&entry.object, "/spec/ipv4/prefix").parse().ok())
        .collect();
    let mut all = (0..=255u8).flat_map(|b| (0..=255u8).map(move |c| (b, c)));
    let free = all.find_map(|(b, c)| {
        let address = std::net::Ipv4Addr::new(10, b, c, 0);
        let net = ipnet::Ipv4Net::new(address, 24).ok()?;
        let touches = taken
            .iter()
            .any(|other| other.contains(&net) || net.contains(other));
        (!touches).then(|| net.to_string())
    });
    free.unwrap_or_default()
}
