//! Turns a map that grows and shrinks into pictures of it that cost nothing to take.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::ops::{Deref, DerefMut, Index};
use std::sync::Arc;

/// A sorted map. A clone shares everything with the original until one of the two is changed,
/// so that a pass looks at ten thousand objects as they were at one moment without copying them.
#[derive(Debug, PartialEq, Eq)]
pub struct Objects<K, V>(Arc<BTreeMap<K, V>>);

impl<K, V> Clone for Objects<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Default for Objects<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Deref for Objects<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Copies the map once where a picture of it is still looked at.
impl<K: Clone + Ord, V: Clone> DerefMut for Objects<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl<K: Borrow<Q> + Ord, V, Q: Ord + ?Sized> Index<&Q> for Objects<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        &self.0[key]
    }
}

impl<'a, K, V> IntoIterator for &'a Objects<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = btree_map::Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Objects<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        Self(Arc::new(items.into_iter().collect()))
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Objects<K, V> {
    fn from(items: [(K, V); N]) -> Self {
        Self(Arc::new(items.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_stays_as_it_was_taken() {
        let mut now: Objects<&str, u8> = [("a", 1), ("b", 2)].into();
        let picture = now.clone();
        now.insert("c", 3);
        now.remove("a");
        assert_eq!(picture, [("a", 1), ("b", 2)].into());
        assert_eq!(now, [("b", 2), ("c", 3)].into());
    }

    #[test]
    fn a_picture_shares_what_it_shows_until_something_changes() {
        let mut now: Objects<&str, u8> = [("a", 1)].into();
        let picture = now.clone();
        assert!(Arc::ptr_eq(&now.0, &picture.0));
        now.insert("b", 2);
        let after = Arc::clone(&now.0);
        now.insert("c", 3);
        drop(after);
        assert!(!Arc::ptr_eq(&now.0, &picture.0));
    }
}
