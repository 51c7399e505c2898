//! Turns tenants and what they have into a tree: networks, the cards in them, instances, volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::kinds::Kind;
use crate::object::{self, Object, list, text};
use crate::related::namespace_of;
use crate::style::Tone;

use super::store::{Entry, Id, Key, Store};

/// The tree, as it is looked at.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Only the tenant of this namespace.
    pub namespace: Option<String>,
    /// Branches that are closed, by their way from the root.
    pub closed: BTreeSet<String>,
    /// The branch under the cursor, by its way from the root.
    pub cursor: Option<String>,
    /// The rows.
    pub rows: Arc<Vec<Row>>,
    /// The first row that is shown.
    pub top: usize,
    at: usize,
    made_from: Option<(u64, Option<String>, BTreeSet<String>)>,
}

/// One row of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The way from the root.
    pub way: String,
    /// How deep it is.
    pub depth: usize,
    /// What it is called.
    pub label: String,
    /// What is said beside it.
    pub beside: String,
    /// How it is, in a word.
    pub state: String,
    /// What that means.
    pub tone: Tone,
    /// The object, if it is one that is there.
    pub id: Option<Id>,
    /// Whether there is anything below.
    pub branches: bool,
    /// Whether what is below shows.
    pub open: bool,
}

impl Tree {
    /// The tree of one tenant's namespace, or of all.
    #[must_use]
    pub fn new(namespace: Option<String>) -> Self {
        Self {
            namespace,
            ..Self::default()
        }
    }

    /// The object under the cursor.
    #[must_use]
    pub fn under_cursor(&self) -> Option<Id> {
        self.rows.get(self.at).and_then(|row| row.id.clone())
    }

    /// The number of the row with the cursor.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Puts the cursor on a row, by its number.
    pub fn go(&mut self, at: usize) {
        self.at = at.min(self.rows.len().saturating_sub(1));
        self.cursor = self.rows.get(self.at).map(|row| row.way.clone());
    }

    /// Opens or closes the branch under the cursor; closing a leaf goes to its branch.
    pub fn fold(&mut self, open: bool) {
        let Some(row) = self.rows.get(self.at).cloned() else {
            return;
        };
        if open {
            self.closed.remove(&row.way);
        } else if row.branches && row.open {
            self.closed.insert(row.way);
        } else if let Some(at) = self
            .rows
            .iter()
            .take(self.at)
            .rposition(|above| above.depth < row.depth)
        {
            self.go(at);
        }
    }

    /// Makes the rows anew where anything changed, and brings the cursor back to its branch.
    pub fn settle(&mut self, store: &Store, height: usize) {
        let made_from = (store.version(), self.namespace.clone(), self.closed.clone());
        if self.made_from.as_ref() != Some(&made_from) {
            self.rows = Arc::new(rows(store, self.namespace.as_deref(), &self.closed));
            self.made_from = Some(made_from);
            let found = self.cursor.as_ref();
            let found = found.and_then(|way| self.rows.iter().position(|row| row.way == *way));
            self.go(found.unwrap_or(self.at));
        }
        let height = height.max(1);
        if self.at < self.top {
            self.top = self.at;
        } else if self.at >= self.top + height {
            self.top = self.at + 1 - height;
        }
        self.top = self.top.min(self.rows.len().saturating_sub(height));
    }
}

/// What is in one namespace.
#[derive(Default)]
struct Contents<'a> {
    tenant: Option<(&'a Key, &'a Entry)>,
    networks: Vec<(&'a Key, &'a Entry)>,
    instances: Vec<(&'a Key, &'a Entry)>,
    volumes: Vec<(&'a Key, &'a Entry)>,
}

fn rows(store: &Store, only: Option<&str>, closed: &BTreeSet<String>) -> Vec<Row> {
    let mut spaces: BTreeMap<String, Contents<'_>> = BTreeMap::new();
    for (key, entry) in store.shelf("tenants").iter() {
        let space = spaces.entry(namespace_of(&entry.object)).or_default();
        space.tenant = Some((key, entry));
    }
    for plural in ["networks", "instances", "volumes"] {
        for (key, entry) in store.shelf(plural).iter() {
            let space = spaces.entry(key.namespace.to_string()).or_default();
            let part = match plural {
                "networks" => &mut space.networks,
                "instances" => &mut space.instances,
                _ => &mut space.volumes,
            };
            part.push((key, entry));
        }
    }
    let mut grown = Grown {
        rows: Vec::new(),
        closed,
    };
    for (namespace, contents) in &spaces {
        if only.is_none_or(|only| only == namespace) {
            grown.tenant(namespace, contents);
        }
    }
    grown.rows
}

/// A tree while it grows.
struct Grown<'a> {
    rows: Vec<Row>,
    closed: &'a BTreeSet<String>,
}

impl Grown<'_> {
    /// Adds a row and says whether what is below it is to be added.
    fn add(&mut self, mut row: Row) -> bool {
        row.open = row.branches && !self.closed.contains(&row.way);
        let open = row.open;
        self.rows.push(row);
        open
    }

    fn tenant(&mut self, namespace: &str, all: &Contents<'_>) {
        let count = |count: usize, singular: &str| match count {
            1 => format!("1 {singular}"),
            count => format!("{count} {singular}s"),
        };
        let counts = [
            count(all.networks.len(), "network"),
            count(all.instances.len(), "instance"),
            count(all.volumes.len(), "volume"),
        ]
        .join(", ");
        let branches =
            !(all.networks.is_empty() && all.instances.is_empty() && all.volumes.is_empty());
        let row = match all.tenant {
            Some((key, entry)) => of("tenant", key, entry, namespace, 0, counts),
            None => bare(&format!("namespace {namespace}"), namespace, 0, counts),
        };
        if !self.add(Row { branches, ..row }) {
            return;
        }
        for (key, network) in &all.networks {
            self.network(key, network, namespace, &all.instances, &all.volumes);
        }
        let alone = |entry: &Entry| list(&entry.object, "/spec/networks").is_empty();
        for (key, instance) in all.instances.iter().filter(|(_, entry)| alone(entry)) {
            self.instance(
                key,
                instance,
                &format!("{namespace}/-"),
                1,
                "",
                &all.volumes,
            );
        }
        let used: BTreeSet<&str> = all
            .instances
            .iter()
            .flat_map(|(_, entry)| crate::related::names(&entry.object, "/spec/volumes", "volume"))
            .collect();
        for (key, volume) in all
            .volumes
            .iter()
            .filter(|(key, _)| !used.contains(&*key.name))
        {
            let way = format!("{namespace}/volume/{}", key.name);
            let beside = format!("{}, not attached", text(&volume.object, "/spec/size"));
            self.add(of("volume", key, volume, &way, 1, beside));
        }
    }

    fn network(
        &mut self,
        key: &Key,
        network: &Entry,
        above: &str,
        instances: &[(&Key, &Entry)],
        volumes: &[(&Key, &Entry)],
    ) {
        let way = format!("{above}/{}", key.name);
        let cards = instances.iter().flat_map(|(owner, instance)| {
            let cards = list(&instance.object, "/spec/networks").iter();
            let cards = cards.filter(|card| card["network"].as_str() == Some(&*key.name));
            cards.map(move |card| (*owner, *instance, object::word(&card["name"])))
        });
        let cards: Vec<_> = cards.collect();
        let beside = text(&network.object, "/spec/ipv4/prefix");
        let row = of("network", key, network, &way, 1, beside);
        let branches = !cards.is_empty();
        if !self.add(Row { branches, ..row }) {
            return;
        }
        for (owner, instance, card) in cards {
            let address = address_of(&instance.object, &card);
            let beside = format!("{card} {address}");
            self.instance(owner, instance, &way, 2, beside.trim_end(), volumes);
        }
    }

    fn instance(
        &mut self,
        key: &Key,
        instance: &Entry,
        above: &str,
        depth: usize,
        beside: &str,
        volumes: &[(&Key, &Entry)],
    ) {
        let way = format!("{above}/{}/{beside}", key.name);
        let row = of("instance", key, instance, &way, depth, beside.to_owned());
        let disks = list(&instance.object, "/spec/volumes");
        let branches = !disks.is_empty();
        if !self.add(Row { branches, ..row }) {
            return;
        }
        for disk in disks {
            let name = object::word(&disk["volume"]);
            let way = format!("{way}/{name}");
            let row = match volumes.iter().find(|(key, _)| *key.name == *name) {
                Some((key, volume)) => {
                    let size = text(&volume.object, "/spec/size");
                    of("volume", key, volume, &way, depth + 1, size)
                }
                None => Row {
                    state: "NotFound".to_owned(),
                    tone: Tone::Bad,
                    ..bare(&format!("volume {name}"), &way, depth + 1, String::new())
                },
            };
            self.add(row);
        }
    }
}

fn address_of(instance: &Object, card: &str) -> String {
    let cards = list(instance, "/status/addresses").iter();
    let mut cards = cards.filter(|entry| entry["name"].as_str() == Some(card));
    cards
        .next()
        .map(|entry| object::word(&entry["address"]))
        .unwrap_or_default()
}

fn of(singular: &str, key: &Key, entry: &Entry, way: &str, depth: usize, beside: String) -> Row {
    Row {
        state: entry.health.reason.clone(),
        tone: entry.tone,
        id: Kind::named(singular).map(|kind| Id::new(kind, key.clone())),
        ..bare(&format!("{singular} {}", key.name), way, depth, beside)
    }
}

fn bare(label: &str, way: &str, depth: usize, beside: String) -> Row {
    Row {
        way: way.to_owned(),
        depth,
        label: label.to_owned(),
        beside,
        state: String::new(),
        tone: Tone::Plain,
        id: None,
        branches: false,
        open: false,
    }
}
