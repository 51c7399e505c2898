//! Turns the objects of a kind and what the reader asked for into rows in an order, with a cursor
//! that stays on its object.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kinds::Kind;
use crate::object::{self, Answer};

use super::belongs::belongs;
use super::filter::Filter;
use super::store::{Entry, Id, Key, Store};

/// By what rows are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Namespace and name.
    #[default]
    Name,
    /// When it was made, the youngest first.
    Age,
    /// What needs a person first.
    Status,
    /// A column of the kind, by its number.
    Column(usize),
}

/// What the reader asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only those of this namespace.
    pub namespace: Option<String>,
    /// Only those that belong to this object.
    pub of: Option<Id>,
    /// What was typed after `/`.
    pub filter: String,
    /// Only those that are not ready.
    pub faults: bool,
    /// The order.
    pub by: By,
    /// The other way round.
    pub reverse: bool,
}

/// The list of one kind, as it is looked at.
#[derive(Clone, Debug)]
pub struct List {
    /// The kind.
    pub kind: &'static Kind,
    /// What was asked for.
    pub query: Query,
    /// Where the cursor is; none where there are no rows.
    pub cursor: Option<Key>,
    /// Those that the next action is about.
    pub marks: BTreeSet<Key>,
    /// Where a range of marks begins.
    pub anchor: Option<Key>,
    /// The column that can be sorted by, by its number; none: the name.
    pub column: Option<usize>,
    /// The rows in their order.
    pub order: Arc<Vec<Key>>,
    /// How wide each column of the kind is, over all rows.
    pub widths: Vec<usize>,
    /// How wide the longest name is.
    pub name_width: usize,
    /// How wide the longest namespace is.
    pub namespace_width: usize,
    /// What is wrong with the filter.
    pub trouble: Option<String>,
    /// The first row that is shown.
    pub top: usize,
    /// How often the rows were made anew.
    pub made: u64,
    at: usize,
    made_from: Option<(u64, Query)>,
}

impl List {
    /// The list of a kind in a namespace, or everywhere.
    #[must_use]
    pub fn new(kind: &'static Kind, namespace: Option<String>) -> Self {
        let query = Query {
            namespace: namespace.filter(|_| kind.namespaced),
            ..Query::default()
        };
        Self {
            kind,
            query,
            cursor: None,
            marks: BTreeSet::new(),
            anchor: None,
            column: None,
            order: Arc::default(),
            widths: vec![0; kind.columns.len()],
            name_width: 0,
            namespace_width: 0,
            trouble: None,
            top: 0,
            made: 0,
            at: 0,
            made_from: None,
        }
    }

    /// The list of a kind that belongs to an object.
    #[must_use]
    pub fn of(kind: &'static Kind, owner: Id) -> Self {
        let mut list = Self::new(kind, None);
        list.query.of = Some(owner);
        list
    }

    /// The number of the row with the cursor.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The object under the cursor.
    #[must_use]
    pub fn under_cursor(&self) -> Option<Id> {
        self.cursor.clone().map(|key| Id::new(self.kind, key))
    }

    /// What an action is about: the marked ones, else the one under the cursor.
    #[must_use]
    pub fn chosen(&self) -> Vec<Id> {
        if self.marks.is_empty() {
            return self.under_cursor().into_iter().collect();
        }
        self.marks
            .iter()
            .map(|key| Id::new(self.kind, key.clone()))
            .collect()
    }

    /// Whether names show with their namespace.
    #[must_use]
    pub fn everywhere(&self) -> bool {
        self.kind.namespaced && self.query.namespace.is_none()
    }

    /// Makes the rows anew where anything changed, and brings the cursor back to its object; to
    /// the row that took its place where that is gone.
    pub fn settle(&mut self, store: &Store, height: usize) {
        let version = store.shelf(self.kind.plural).version;
        // What belongs to whom also depends on the owner.
        let version = match &self.query.of {
            Some(owner) => version + store.shelf(owner.kind.plural).version,
            None => version,
        };
        let fresh = self
            .made_from
            .as_ref()
            .is_some_and(|(seen, query)| *seen == version && *query == self.query);
        if !fresh {
            self.rebuild(store);
            self.made += 1;
            self.made_from = Some((version, self.query.clone()));
        }
        self.follow(height);
    }

    fn rebuild(&mut self, store: &Store) {
        let filter = match Filter::parse(&self.query.filter) {
            Ok(filter) => {
                self.trouble = None;
                filter
            }
            Err(why) => {
                self.trouble = Some(why);
                Filter::All
            }
        };
        let shelf = store.shelf(self.kind.plural);
        let owner = self.query.of.as_ref().map(|id| (id, store.get(id)));
        let shown = shelf
            .within(self.query.namespace.as_deref())
            .filter(|(key, entry)| {
                let mine = owner
                    .as_ref()
                    .is_none_or(|(id, owner)| belongs(id, *owner, self.kind, &entry.object));
                mine && !(self.query.faults && entry.health.is_ready())
                    && (matches!(filter, Filter::All)
                        || filter.shows(
                            &key.name,
                            &entry.text,
                            entry.object.metadata.labels.as_ref(),
                        ))
            });
        let mut rows: Vec<(&Key, &Entry)> = shown.collect();
        let widest = Widest::of(self.kind, &rows);
        sort(&mut rows, self.query.by, self.query.reverse);
        let order = rows.into_iter().map(|(key, _)| key.clone()).collect();
        self.order = Arc::new(order);
        (self.name_width, self.namespace_width) = (widest.name, widest.namespace);
        self.widths = widest.cells;
        self.marks.retain(|key| shelf.get(key).is_some());
        if let Some(cursor) = &self.cursor
            && self.order.get(self.at) != Some(cursor)
            && let Some(at) = self.order.iter().position(|key| key == cursor)
        {
            self.at = at;
        }
        self.at = self.at.min(self.order.len().saturating_sub(1));
        self.cursor = self.order.get(self.at).cloned();
    }

    /// Puts the cursor on a row, by its number.
    pub fn go(&mut self, at: usize) {
        self.at = at.min(self.order.len().saturating_sub(1));
        self.cursor = self.order.get(self.at).cloned();
    }

    /// Puts the cursor on an object once it is there.
    pub fn seek(&mut self, key: Key) {
        self.cursor = Some(key);
        self.made_from = None;
    }

    /// Moves the window so that the cursor is in it.
    fn follow(&mut self, height: usize) {
        let height = height.max(1);
        if self.at < self.top {
            self.top = self.at;
        } else if self.at >= self.top + height {
            self.top = self.at + 1 - height;
        }
        self.top = self.top.min(self.order.len().saturating_sub(height));
    }

    /// Marks the object under the cursor, or takes its mark away.
    pub fn mark(&mut self) {
        if let Some(key) = self.cursor.clone() {
            if !self.marks.remove(&key) {
                self.marks.insert(key.clone());
            }
            self.anchor = Some(key);
        }
    }

    /// Marks all from where the last mark was set to the cursor.
    pub fn mark_range(&mut self) {
        let anchor = self.anchor.as_ref();
        let from = anchor.and_then(|anchor| self.order.iter().position(|key| key == anchor));
        let from = from.unwrap_or(self.at);
        let (low, high) = (from.min(self.at), from.max(self.at));
        let range = self.order.get(low..=high).unwrap_or_default();
        self.marks.extend(range.iter().cloned());
        self.anchor = self.cursor.clone();
    }
}

/// How wide the widest of each column is.
struct Widest {
    namespace: usize,
    name: usize,
    cells: Vec<usize>,
}

impl Widest {
    fn of(kind: &Kind, rows: &[(&Key, &Entry)]) -> Self {
        let mut widest = Self {
            namespace: 0,
            name: 0,
            cells: vec![0; kind.columns.len()],
        };
        for (_, entry) in rows {
            let (namespace, name) = entry.named;
            widest.name = widest.name.max(name);
            widest.namespace = widest.namespace.max(namespace);
            for (widest, width) in widest.cells.iter_mut().zip(&entry.widths) {
                *widest = (*widest).max(*width);
            }
        }
        widest
    }
}

fn sort(rows: &mut [(&Key, &Entry)], by: By, reverse: bool) {
    // They come by namespace and name; equal ones stay so.
    match by {
        By::Name => {}
        By::Age => rows.sort_by_cached_key(|(_, entry)| Reverse(object::created(&entry.object))),
        By::Status => {
            let key = |entry: &Entry| match entry.health.ready {
                Answer::No if entry.health.is_stopped() => 0,
                Answer::No => 1,
                Answer::Unknown => 2,
                Answer::Yes => 3,
            };
            rows.sort_by(|(_, one), (_, two)| {
                let reasons = || one.health.reason.cmp(&two.health.reason);
                key(one).cmp(&key(two)).then_with(reasons)
            });
        }
        By::Column(column) => rows.sort_by_cached_key(|(_, entry)| {
            let cell = entry.cells.get(column);
            natural(cell.map(|cell| cell.text.as_str()).unwrap_or_default())
        }),
    }
    if reverse {
        rows.reverse();
    }
}

/// Bytes in whose order numbers in a text count as numbers: the length of each stands before it.
fn natural(text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len() + 4);
    let mut rest = text.as_bytes();
    while let Some(&byte) = rest.first() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            key.push(byte);
            rest = &rest[1..];
            continue;
        }
        let (number, after) = rest.split_at(digits);
        let zeros = number.iter().take_while(|byte| **byte == b'0').count();
        let number = &number[zeros..];
        // Among other characters a number is where its digits are.
        key.push(b'0');
        key.push(u8::try_from(number.len()).unwrap_or(u8::MAX));
        key.extend_from_slice(number);
        rest = after;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_count_as_numbers() {
        let mut all = ["10.0.0.10", "10.0.0.9", "9.0.0.1", "", "10.0.0.010"];
        all.sort_by_key(|text| natural(text));
        assert_eq!(all, ["", "9.0.0.1", "10.0.0.9", "10.0.0.10", "10.0.0.010"]);
        let mut all = ["b", "vm-10", "-", "vm-9a", "8Gi", "vm-9", "16Gi", "ä"];
        all.sort_by_key(|text| natural(text));
        let sorted = ["-", "8Gi", "16Gi", "b", "vm-9", "vm-9a", "vm-10", "ä"];
        assert_eq!(all, sorted);
    }
}
