//! Turns objects that cannot be understood into events on them, one for each cause.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bb_core::status::Note;
use bb_core::unread::Unread;
use bb_core::world::Uid;
use bb_crds::Reason;

use crate::api::Place;
use crate::shared::Shared;

/// What was told, by UID.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeMap<Uid, String>>);

/// Tells of what cannot be understood and was not told of yet.
pub(crate) fn tell(shared: &Shared, unread: &Unread) {
    for (id, uid) in shared.told.due(unread) {
        let object = &unread.0[&id];
        let stands = if object.known {
            "it is kept as it was understood last"
        } else {
            "nothing of it is changed anywhere"
        };
        let note = Note {
            warning: true,
            reason: Reason::Invalid,
            message: format!(
                "this controller cannot understand the object: {}; {stands}; correct it, or use a controller that fits the installed definitions",
                object.error
            ),
        };
        shared.events.tell(Place::of(&id), Some(uid.clone()), note);
        shared.told.told(uid, object.error.clone());
    }
}

impl Told {
    fn due(&self, unread: &Unread) -> Vec<(bb_core::resolve::Id, Uid)> {
        let mut told = self
            .0
            .lock()
            .expect("no code panics while it holds this lock");
        // What is understood again is told of again when it is not.
        told.retain(|uid, _| unread.0.values().any(|object| object.uid == *uid));
        let new = unread
            .0
            .iter()
            .filter(|(_, object)| told.get(&object.uid) != Some(&object.error));
        new.map(|(id, object)| (id.clone(), object.uid.clone()))
            .collect()
    }

    fn told(&self, uid: Uid, error: String) {
        let mut told = self
            .0
            .lock()
            .expect("no code panics while it holds this lock");
        told.insert(uid, error);
    }
}
