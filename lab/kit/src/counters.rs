//! Turns what happens inside a stand-in into named numbers that a test can ask for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Named counts, shared by clones.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<String, u64>>>);

impl Counters {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, u64>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds `n` to `name`.
    pub fn add(&self, name: &str, n: u64) {
        self.with(|map| *map.entry(name.to_owned()).or_default() += n);
    }

    /// Raises `name` to `n` when it is lower: for high-water marks.
    pub fn raise(&self, name: &str, n: u64) {
        self.with(|map| {
            let held = map.entry(name.to_owned()).or_default();
            *held = (*held).max(n);
        });
    }

    /// The number of `name`, 0 when nothing was counted.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.with(|map| map.get(name).copied().unwrap_or_default())
    }

    /// Everything counted so far.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.with(|map| map.clone())
    }

    /// Forgets everything counted.
    pub fn reset(&self) {
        self.with(BTreeMap::clear);
    }
}
