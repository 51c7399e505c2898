//! Turns what a watch says and what we wrote ourselves into the objects of one kind.
//!
//! Lists and events come as text; an object that is held already in the same version is not
//! even read again. During a list nothing goes: what was not in it goes at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bb_core::objects::Objects;
use bb_core::unread::{Holds, Unread, Unreadable};
use serde_json::Value;
use tokio::sync::watch;

use crate::kept::{Head, Kept};

/// The objects of one kind.
pub(crate) struct Cache<T: Kept> {
    inner: Mutex<Inner<T>>,
    filled: watch::Sender<bool>,
}

struct Inner<T: Kept> {
    objects: Objects<T::Key, Arc<T>>,
    /// What cannot be understood.
    unread: BTreeMap<T::Key, Unreadable>,
    /// Our own writes that the watch has not shown yet: an event that is older is no news.
    own: BTreeSet<T::Key>,
    /// While a list comes in: what it has not shown yet.
    unseen: Option<BTreeSet<T::Key>>,
}

/// What an event changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// Something.
    Changed,
    /// The object cannot be understood; the text says why.
    Unread(String),
}

impl<T: Kept> Default for Cache<T> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                objects: Objects::default(),
                unread: BTreeMap::new(),
                own: BTreeSet::new(),
                unseen: None,
            }),
            filled: watch::Sender::new(false),
        }
    }
}

impl<T: Kept> Cache<T> {
    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// The objects at this moment.
    pub(crate) fn objects(&self) -> Objects<T::Key, Arc<T>> {
        self.inner().objects.clone()
    }

    /// Adds what cannot be understood to a list of it.
    pub(crate) fn unread(&self, all: &mut Unread) {
        for (key, object) in &self.inner().unread {
            if let Some(id) = T::id(key) {
                all.0.insert(id, object.clone());
            }
        }
    }

    /// Waits until the objects were listed once.
    pub(crate) async fn ready(&self) {
        // The sender is ours: it lives as long as this does.
        let _ = self.filled.subscribe().wait_for(|filled| *filled).await;
    }

    /// Begins a list. What we wrote before it is in it, or its history is another one.
    pub(crate) fn begin(&self) {
        let mut inner = self.inner();
        let known = inner.objects.keys().chain(inner.unread.keys());
        inner.unseen = Some(known.cloned().collect());
        inner.own.clear();
    }

    /// Ends a list: what it did not show is gone.
    pub(crate) fn finish(&self) {
        let mut inner = self.inner();
        let gone = inner.unseen.take().unwrap_or_default();
        for key in &gone {
            inner.remove(key);
        }
        self.filled.send_replace(true);
    }

    /// Takes in an object as it is now.
    pub(crate) fn apply(&self, head: &Head, text: &str) -> Effect {
        let key = T::key(head);
        let mut inner = self.inner();
        if let Some(unseen) = &mut inner.unseen {
            unseen.remove(&key);
        }
        if let Some((uid, version)) = inner.objects.get(&key).and_then(|held| held.stamp())
            && uid == head.uid
            && !inner.unread.contains_key(&key)
        {
            if version == head.version() {
                inner.own.remove(&key);
                return Effect::None;
            }
            if head.version() < version && inner.own.contains(&key) {
                return Effect::None;
            }
        }
        inner.own.remove(&key);
        match T::read(text) {
            Ok(object) => inner.put(key, object),
            Err(error) => inner.set_aside(key, head, text, error.to_string()),
        }
    }

    /// Takes in that an object is gone.
    pub(crate) fn delete(&self, head: &Head) -> Effect {
        let key = T::key(head);
        let mut inner = self.inner();
        let another = |uid: &str| uid != head.uid;
        if let Some((uid, _)) = inner.objects.get(&key).and_then(|held| held.stamp())
            && another(uid)
        {
            return Effect::None;
        }
        inner.remove(&key);
        Effect::Changed
    }

    /// Takes in an object as the API answered to a write of ours.
    pub(crate) fn wrote(&self, head: &Head, text: &str) {
        let Ok(object) = T::read(text) else {
            return;
        };
        let key = T::key(head);
        let mut inner = self.inner();
        // What is not held is gone, or is about to be listed.
        let newer = inner.objects.get(&key).and_then(|held| held.stamp());
        if newer.is_some_and(|(uid, version)| uid == head.uid && version < head.version()) {
            inner.objects.insert(key.clone(), Arc::new(object));
            inner.own.insert(key);
        }
    }

    /// Believes the watch again: the API refused something as old.
    pub(crate) fn distrust(&self, key: &T::Key) {
        self.inner().own.remove(key);
    }
}

impl<T: Kept> Inner<T> {
    fn remove(&mut self, key: &T::Key) {
        self.own.remove(key);
        self.unread.remove(key);
        if self.objects.contains_key(key) {
            self.objects.remove(key);
        }
    }

    fn put(&mut self, key: T::Key, object: T) -> Effect {
        let was_unread = self.unread.remove(&key).is_some();
        if !was_unread && self.objects.get(&key).is_some_and(|held| **held == object) {
            return Effect::None;
        }
        self.objects.insert(key, Arc::new(object));
        Effect::Changed
    }

    /// Keeps an object as it was understood last, and that it is there.
    fn set_aside(&mut self, key: T::Key, head: &Head, text: &str, error: String) -> Effect {
        let held = self.objects.get(&key);
        let known = held.is_some_and(|held| held.stamp().is_none_or(|(uid, _)| uid == head.uid));
        if held.is_some() && !known {
            self.objects.remove(&key);
        }
        let object = Unreadable {
            uid: head.uid.clone(),
            error,
            known,
            holds: Holds::of(&serde_json::from_str(text).unwrap_or(Value::Null)),
        };
        if self.unread.get(&key) == Some(&object) {
            return Effect::None;
        }
        let effect = Effect::Unread(object.error.clone());
        self.unread.insert(key, object);
        effect
    }
}

#[cfg(test)]
mod tests {
    use bb_core::world::Key;
    use bb_crds::Volume;
    use serde_json::json;

    use super::*;

    const GOOD: &str = "20Gi";

    /// `size` as it stands in the spec: what is no text makes the object unreadable.
    fn text(name: &str, uid: &str, version: u64, size: &Value) -> String {
        json!({"metadata": {"name": name, "namespace": "acme", "uid": uid,
                "resourceVersion": version.to_string()}, "spec": {"size": size},
            "status": {"cluster": "c1"}})
        .to_string()
    }

    fn apply(cache: &Cache<Volume>, name: &str, uid: &str, version: u64, size: &Value) -> Effect {
        let text = text(name, uid, version, size);
        cache.apply(&Head::of(&text).unwrap(), &text)
    }

    fn wrote(cache: &Cache<Volume>, name: &str, uid: &str, version: u64) {
        let text = text(name, uid, version, &json!(GOOD));
        cache.wrote(&Head::of(&text).unwrap(), &text);
    }

    fn listed(objects: &[(&str, &str, u64)]) -> Cache<Volume> {
        let cache = Cache::default();
        cache.begin();
        for (name, uid, version) in objects {
            apply(&cache, name, uid, *version, &json!(GOOD));
        }
        cache.finish();
        cache
    }

    fn held(cache: &Cache<Volume>, name: &str) -> Option<Arc<Volume>> {
        cache.objects().get(&Key::new("acme", name)).cloned()
    }

    fn version(cache: &Cache<Volume>, name: &str) -> Option<u64> {
        held(cache, name).map(|v| v.stamp().unwrap().1)
    }

    #[test]
    fn nothing_disappears_before_a_list_has_ended_and_what_is_the_same_stays_the_same() {
        let cache = listed(&[("a", "u1", 1), ("b", "u2", 2)]);
        let before = held(&cache, "a").unwrap();
        cache.begin();
        apply(&cache, "a", "u1", 1, &json!(GOOD));
        assert_eq!(cache.objects().len(), 2);
        // The list broke off and begins again.
        cache.begin();
        apply(&cache, "a", "u1", 1, &json!(GOOD));
        apply(&cache, "c", "u3", 3, &json!(GOOD));
        assert_eq!(cache.objects().len(), 3);
        cache.finish();
        assert_eq!(version(&cache, "b"), None);
        assert!(Arc::ptr_eq(&before, &held(&cache, "a").unwrap()));
    }

    #[test]
    fn an_object_that_becomes_unreadable_stays_as_it_was_understood() {
        let cache = listed(&[("a", "u1", 1), ("b", "u2", 2)]);
        let effect = apply(&cache, "a", "u1", 5, &json!(7));
        assert!(matches!(effect, Effect::Unread(_)), "{effect:?}");
        assert_eq!(apply(&cache, "b", "u2", 6, &json!("21Gi")), Effect::Changed);
        assert_eq!(version(&cache, "a"), Some(1));
        let mut unread = Unread::default();
        cache.unread(&mut unread);
        assert!(unread.0.values().all(|object| object.known));
        // A list shows it once more: it is no less there.
        cache.begin();
        apply(&cache, "a", "u1", 5, &json!(7));
        apply(&cache, "b", "u2", 6, &json!("21Gi"));
        cache.finish();
        assert_eq!(version(&cache, "a"), Some(1));
        // It is put right.
        assert_eq!(apply(&cache, "a", "u1", 7, &json!(GOOD)), Effect::Changed);
        let mut unread = Unread::default();
        cache.unread(&mut unread);
        assert_eq!(unread, Unread::default());
    }

    #[test]
    fn an_object_that_was_never_understood_is_named_and_no_copy_of_another_stands_for_it() {
        let cache = listed(&[("a", "u1", 1)]);
        // Deleted and made again, in a form that is not understood.
        apply(&cache, "a", "u9", 5, &json!(7));
        assert_eq!(version(&cache, "a"), None);
        let mut unread = Unread::default();
        cache.unread(&mut unread);
        let object = unread.0.values().next().unwrap();
        assert_eq!((object.uid.as_str(), object.known), ("u9", false));
        let gone = text("a", "u9", 6, &json!(7));
        cache.delete(&Head::of(&gone).unwrap());
        let mut unread = Unread::default();
        cache.unread(&mut unread);
        assert_eq!(unread, Unread::default());
    }

    #[test]
    fn our_own_write_is_there_at_once_and_older_events_are_no_news() {
        let cache = listed(&[("a", "u1", 1)]);
        wrote(&cache, "a", "u1", 5);
        assert_eq!(version(&cache, "a"), Some(5));
        assert_eq!(apply(&cache, "a", "u1", 3, &json!(GOOD)), Effect::None);
        assert_eq!(version(&cache, "a"), Some(5));
        assert_eq!(apply(&cache, "a", "u1", 5, &json!(GOOD)), Effect::None);
        // Seen: from here on the watch decides.
        apply(&cache, "a", "u1", 4, &json!("21Gi"));
        assert_eq!(version(&cache, "a"), Some(4));
    }

    #[test]
    fn a_history_that_went_back_is_believed() {
        let cache = listed(&[("a", "u1", 100), ("b", "u2", 101)]);
        wrote(&cache, "a", "u1", 200);
        // An older etcd was restored: every version is lower, and `b` was not made yet.
        cache.begin();
        assert_eq!(apply(&cache, "a", "u1", 50, &json!(GOOD)), Effect::Changed);
        cache.finish();
        assert_eq!(version(&cache, "a"), Some(50));
        assert_eq!(version(&cache, "b"), None);
    }

    #[test]
    fn what_is_written_while_a_list_comes_in_is_not_undone_by_it() {
        let cache = listed(&[("a", "u1", 1)]);
        cache.begin();
        wrote(&cache, "a", "u1", 5);
        apply(&cache, "a", "u1", 1, &json!(GOOD));
        cache.finish();
        assert_eq!(version(&cache, "a"), Some(5));
    }

    #[test]
    fn a_write_to_what_is_gone_brings_nothing_back() {
        let cache = listed(&[("a", "u1", 1)]);
        let gone = text("a", "u1", 2, &json!(GOOD));
        assert_eq!(cache.delete(&Head::of(&gone).unwrap()), Effect::Changed);
        wrote(&cache, "a", "u1", 3);
        assert_eq!(version(&cache, "a"), None);
    }

    #[test]
    fn a_refused_write_makes_the_watch_believed_again() {
        let cache = listed(&[("a", "u1", 1)]);
        wrote(&cache, "a", "u1", 5);
        cache.distrust(&Key::new("acme", "a"));
        apply(&cache, "a", "u1", 3, &json!("21Gi"));
        assert_eq!(version(&cache, "a"), Some(3));
    }
}
