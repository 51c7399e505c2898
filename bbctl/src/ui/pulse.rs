//! Turns the objects of each kind into counts by health, and counts over time into lines.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::kinds::{KINDS, provider_type};
use crate::object::{Answer, text};

use super::store::{Entry, Reach, Shelf, Store};

/// How often a count is kept, in seconds.
pub const EVERY: i64 = 5;
/// How many counts are kept.
pub const KEPT: usize = 120;

/// How many there are, by how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Ready.
    pub ready: usize,
    /// Time may help.
    pub waiting: usize,
    /// A person has to look.
    pub bad: usize,
}

impl Count {
    /// All of them.
    #[must_use]
    pub fn total(self) -> usize {
        self.ready + self.waiting + self.bad
    }

    /// Those that are not ready.
    #[must_use]
    pub fn unready(self) -> usize {
        self.waiting + self.bad
    }

    fn add(&mut self, entry: &Entry) {
        match entry.health.ready {
            Answer::Yes => self.ready += 1,
            Answer::No if entry.health.is_stopped() => self.bad += 1,
            _ => self.waiting += 1,
        }
    }
}

/// The counts of a kind; of one namespace, or all.
#[must_use]
pub fn count(shelf: &Shelf, namespace: Option<&str>) -> Count {
    let mut count = Count::default();
    let namespace = namespace.filter(|_| shelf.kind.namespaced);
    shelf
        .within(namespace)
        .for_each(|(_, entry)| count.add(entry));
    count
}

/// A Provider at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderPulse {
    /// Its name.
    pub name: String,
    /// `VyOS` or `Proxmox`.
    pub type_: &'static str,
    /// Its zone.
    pub zone: String,
    /// The reason of its condition Ready.
    pub reason: String,
    /// What that says.
    pub message: String,
    /// How it is.
    pub tone: crate::style::Tone,
    /// What it carries: instances of a cluster, networks of a router.
    pub carries: Count,
}

/// Every Provider with what it carries.
#[must_use]
pub fn providers(store: &Store) -> Vec<ProviderPulse> {
    let mut carried: BTreeMap<String, Count> = BTreeMap::new();
    for (_, entry) in store.shelf("instances").iter() {
        carried
            .entry(text(&entry.object, "/status/cluster"))
            .or_default()
            .add(entry);
    }
    for (_, entry) in store.shelf("networks").iter() {
        for name in crate::related::names(&entry.object, "/status/targets", "name") {
            carried.entry(name.to_owned()).or_default().add(entry);
        }
    }
    let all = store.shelf("providers").iter();
    let all = all.map(|(key, entry)| ProviderPulse {
        name: key.name.to_string(),
        type_: provider_type(&entry.object),
        zone: text(&entry.object, "/spec/zone"),
        reason: entry.health.reason.clone(),
        message: entry.health.message.clone(),
        tone: entry.tone,
        carries: carried.get(&*key.name).copied().unwrap_or_default(),
    });
    all.collect()
}

/// How many were not ready over time, by kind.
#[derive(Clone, Debug, Default)]
pub struct History {
    kept: BTreeMap<&'static str, VecDeque<usize>>,
    last: i64,
}

impl History {
    /// Keeps the counts of a moment, if it is time.
    pub fn note(&mut self, store: &Store, now: Timestamp) {
        if now.as_second() - self.last < EVERY {
            return;
        }
        self.last = now.as_second();
        for kind in &KINDS {
            let shelf = store.shelf(kind.plural);
            if shelf.reach != Reach::Live {
                continue;
            }
            let kept = self.kept.entry(kind.plural).or_default();
            kept.push_back(count(shelf, None).unready());
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
    }

    /// The last counts of a kind as a line of bars, the latest last.
    #[must_use]
    pub fn bars(&self, plural: &str, width: usize) -> String {
        let Some(kept) = self.kept.get(plural) else {
            return String::new();
        };
        let from = kept.len().saturating_sub(width);
        let shown = || kept.iter().skip(from).copied();
        let most = shown().max().unwrap_or_default().max(1);
        shown().map(|value| bar(value, most)).collect()
    }
}

fn bar(value: usize, most: usize) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    match value {
        0 => BARS[0],
        value => BARS[(value * 7).div_ceil(most).min(7)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_low_only_for_nothing() {
        assert_eq!(bar(0, 10), '▁');
        assert_eq!(bar(1, 1000), '▂');
        assert_eq!(bar(10, 10), '█');
    }
}
