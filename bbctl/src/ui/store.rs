//! Turns what watches tell into the objects of each kind, with the cells of their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::kinds::{self, KINDS, Kind};
use crate::object::{self, Health, Object};
use crate::style::{Tone, tame};
use crate::table::Cell;

use super::text::width;

/// Namespace and name of an object; the namespace is empty for one of the whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of a name in a namespace.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        Self::new(object::namespace(object), object::name(object))
    }
}

/// One object of one of our kinds.
#[derive(Clone, Debug)]
pub struct Id {
    /// Its kind.
    pub kind: &'static Kind,
    /// Which one.
    pub key: Key,
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.kind.plural == other.kind.plural && self.key == other.key
    }
}

impl Eq for Id {}

impl Id {
    /// An object by kind and key.
    #[must_use]
    pub fn new(kind: &'static Kind, key: Key) -> Self {
        Self { kind, key }
    }

    /// `instance/www-1`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.kind.singular, self.key.name)
    }

    /// What follows a verb of `bbctl` to mean it: `instance www-1 -n acme`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![self.kind.singular.to_owned(), self.key.name.to_string()];
        words.extend(self.place());
        words
    }

    /// The flag that names its namespace, if it lives in one.
    #[must_use]
    pub fn place(&self) -> Vec<String> {
        match &*self.key.namespace {
            "" => Vec::new(),
            namespace => vec!["-n".to_owned(), namespace.to_owned()],
        }
    }
}

/// How much a kind's objects can be trusted to be what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nobody watches them.
    #[default]
    Off,
    /// They are being listed for the first time.
    Loading,
    /// They are watched.
    Live,
    /// The server went away: they are as they were then.
    Lost(String),
    /// They may not be seen.
    Denied(String),
}

/// An object with what its row needs.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The object, without the bookkeeping of who owns which field.
    pub object: Object,
    /// Whether it does what it is for.
    pub health: Health,
    /// What that means.
    pub tone: Tone,
    /// A cell for each column of the kind; that of the age is empty, since it changes by itself.
    pub cells: Vec<Cell>,
    /// How wide each of them is on the screen.
    pub widths: Vec<usize>,
    /// How wide namespace and name are.
    pub named: (usize, usize),
    /// All that the row says, for a filter.
    pub text: String,
}

impl Entry {
    fn new(kind: &Kind, mut object: Object) -> Self {
        object.metadata.managed_fields = None;
        let health = object::health(&object);
        // Ages are told at the moment of drawing.
        let never = Timestamp::UNIX_EPOCH;
        let cells = kind.columns.iter().map(|column| {
            if column.title == "age" {
                return Cell::default();
            }
            let cell = (column.cell)(&object, never);
            Cell::new(tame(&cell.text), cell.tone)
        });
        let cells: Vec<Cell> = cells.collect();
        let (namespace, name) = (object::namespace(&object), object::name(&object));
        let mut text = format!("{namespace} {name}");
        for cell in &cells {
            text.push(' ');
            text.push_str(&cell.text);
        }
        Self {
            widths: cells.iter().map(|cell| width(&cell.text)).collect(),
            named: (width(namespace), width(name)),
            text,
            tone: kinds::tone(&health),
            health,
            cells,
            object,
        }
    }

    /// Which version of the object it is.
    #[must_use]
    pub fn version(&self) -> &str {
        self.object
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default()
    }
}

/// The objects of one kind.
#[derive(Debug)]
pub struct Shelf {
    /// The kind.
    pub kind: &'static Kind,
    /// How much they can be trusted.
    pub reach: Reach,
    /// Goes up with every change.
    pub version: u64,
    entries: BTreeMap<Key, Entry>,
    /// During a list: what it has not named yet.
    doubtful: Option<BTreeSet<Key>>,
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum News {
    /// A list begins.
    Begin,
    /// An object is there, as it is now.
    Seen(Box<Object>),
    /// An object is gone.
    Gone(Key),
    /// The list is at its end; from now on there are changes.
    Listed,
    /// The server went away.
    Lost(String),
    /// It may not be seen.
    Denied(String),
    /// Nobody watches any more; what is known is forgotten.
    Off,
}

impl Shelf {
    fn new(kind: &'static Kind) -> Self {
        Self {
            kind,
            reach: Reach::Off,
            version: 0,
            entries: BTreeMap::new(),
            doubtful: None,
        }
    }

    fn take(&mut self, news: News) {
        self.version += 1;
        match news {
            News::Begin => {
                self.doubtful = Some(self.entries.keys().cloned().collect());
                if self.entries.is_empty() && !matches!(self.reach, Reach::Live) {
                    self.reach = Reach::Loading;
                }
            }
            News::Seen(object) => {
                let key = Key::of(&object);
                if let Some(doubtful) = &mut self.doubtful {
                    doubtful.remove(&key);
                }
                self.entries.insert(key, Entry::new(self.kind, *object));
            }
            News::Gone(key) => {
                self.entries.remove(&key);
            }
            News::Listed => {
                for key in self.doubtful.take().unwrap_or_default() {
                    self.entries.remove(&key);
                }
                self.reach = Reach::Live;
            }
            News::Lost(why) => self.reach = Reach::Lost(why),
            News::Denied(why) => {
                self.entries.clear();
                self.reach = Reach::Denied(why);
            }
            News::Off => {
                self.entries.clear();
                self.doubtful = None;
                self.reach = Reach::Off;
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All of them, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// Those of one namespace, or all.
    pub fn within<'a>(
        &'a self,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Entry)> {
        // Keys are in the order of their namespaces.
        let from = Key::new(namespace.unwrap_or_default(), "");
        let all = self.entries.range(from..);
        all.take_while(move |(key, _)| namespace.is_none_or(|n| *key.namespace == *n))
    }
}

/// The objects of all kinds.
#[derive(Debug)]
pub struct Store {
    shelves: Vec<Shelf>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            shelves: KINDS.iter().map(Shelf::new).collect(),
        }
    }
}

impl Store {
    /// The objects of a kind by its plural.
    #[must_use]
    pub fn shelf(&self, plural: &str) -> &Shelf {
        let found = self.shelves.iter().find(|s| s.kind.plural == plural);
        found.expect("every kind has a shelf, and plurals come from the kinds")
    }

    /// Notes what the watch of a kind tells.
    pub fn take(&mut self, plural: &str, news: News) {
        if let Some(shelf) = self.shelves.iter_mut().find(|s| s.kind.plural == plural) {
            shelf.take(news);
        }
    }

    /// One object.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<&Entry> {
        self.shelf(id.kind.plural).get(&id.key)
    }

    /// All kinds with their objects.
    pub fn iter(&self) -> impl Iterator<Item = &Shelf> {
        self.shelves.iter()
    }

    /// Forgets everything, as before another server is looked at.
    pub fn forget(&mut self) {
        for shelf in &mut self.shelves {
            shelf.take(News::Off);
        }
    }

    /// A number that changes when anything does.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.shelves.iter().map(|shelf| shelf.version).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(name: &str) -> News {
        let object = json!({"metadata": {"name": name, "namespace": "a"}});
        News::Seen(serde_json::from_value(object).unwrap())
    }

    fn names(store: &Store) -> Vec<String> {
        store
            .shelf("instances")
            .iter()
            .map(|(k, _)| k.name.to_string())
            .collect()
    }

    #[test]
    fn what_a_new_list_does_not_name_is_gone_when_it_ends_and_not_before() {
        let mut store = Store::default();
        for news in [News::Begin, seen("x"), seen("y"), News::Listed] {
            store.take("instances", news);
        }
        store.take("instances", News::Lost("no answer".into()));
        assert_eq!(names(&store), ["x", "y"]);
        for news in [News::Begin, seen("y"), seen("z")] {
            store.take("instances", news);
        }
        assert_eq!(names(&store), ["x", "y", "z"]);
        store.take("instances", News::Listed);
        assert_eq!(names(&store), ["y", "z"]);
        assert_eq!(store.shelf("instances").reach, Reach::Live);
    }
}
