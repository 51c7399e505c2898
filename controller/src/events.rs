//! Turns what is to be told of objects into events, beside the writes that they tell of.
//!
//! An event is for people, and nothing waits for it: neither a write nor the next pass. So many
//! as wait at most are published; what is more than that is lost, as it is with every recorder of
//! Kubernetes. The conditions of an object say all that its events say.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bb_core::status::Note;
use bb_wire::trace::{self, Ids};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::runtime::events::Recorder;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::api::{self, Place};

/// How many wait at most.
const WAITING: usize = 4096;
/// How many are published at once: they take as little from the writes.
const SIDE_BY_SIDE: usize = 2;
/// How long those that wait may take when the process is asked to stop.
const LAST: Duration = Duration::from_secs(1);

/// An event that waits to be published.
struct Told {
    place: Place,
    uid: Option<String>,
    note: Note,
    /// The pass that tells it.
    cause: Option<Ids>,
}

/// The events that wait to be published.
pub(crate) struct Events {
    send: mpsc::Sender<Told>,
    wait: Mutex<Option<mpsc::Receiver<Told>>>,
    /// Some were lost since the last that was not.
    full: AtomicBool,
}

impl Default for Events {
    fn default() -> Self {
        Self::of(WAITING)
    }
}

impl Events {
    fn of(most: usize) -> Self {
        let (send, wait) = mpsc::channel(most);
        Self {
            send,
            wait: Mutex::new(Some(wait)),
            full: AtomicBool::new(false),
        }
    }

    /// Has an event published, soon, and waits for nothing.
    pub(crate) fn tell(&self, place: Place, uid: Option<String>, note: Note) {
        let told = Told {
            place,
            uid,
            note,
            cause: trace::current(),
        };
        let full = self.send.try_send(told).is_err();
        if full && !self.full.swap(full, Ordering::Relaxed) {
            tracing::warn!("more events than can be published: some are left off");
        }
        self.full.store(full, Ordering::Relaxed);
    }

    /// Publishes them until the process is asked to stop. It is called once.
    pub(crate) async fn run(
        &self,
        recorder: Recorder,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let taken = self
            .wait
            .lock()
            .expect("no code panics while it holds this lock")
            .take();
        let mut wait = taken.context("events are published once")?;
        let mut under_way = FuturesUnordered::new();
        let publish = |told: Told| {
            let recorder = &recorder;
            let span = info_span!("event", reason = told.note.reason.as_str());
            trace::follows(&span, told.cause.as_slice());
            async move { api::publish(recorder, &told.place, told.uid, &told.note).await }
                .instrument(span)
        };
        loop {
            tokio::select! {
                told = wait.recv(), if under_way.len() < SIDE_BY_SIDE => {
                    under_way.extend(told.map(publish));
                }
                _ = under_way.next(), if !under_way.is_empty() => {}
                () = stop.cancelled() => break,
            }
        }
        wait.close();
        let rest = async {
            while under_way.next().await.is_some() {}
            while let Some(told) = wait.recv().await {
                publish(told).await;
            }
        };
        // What is not published by then is lost.
        let _ = tokio::time::timeout(LAST, rest).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bb_core::resolve::Id;
    use bb_crds::Reason;

    use super::*;

    #[tokio::test]
    async fn more_events_than_may_wait_hold_nobody_up() {
        let events = Events::of(2);
        for at in 0..5 {
            let note = Note {
                warning: true,
                reason: Reason::Refused,
                message: at.to_string(),
            };
            events.tell(Place::of(&Id::Tenant("acme".to_owned())), None, note);
        }
        assert!(events.full.load(Ordering::Relaxed));
        let mut wait = events.wait.lock().unwrap().take().unwrap();
        for expected in ["0", "1"] {
            assert_eq!(wait.recv().await.unwrap().note.message, expected);
        }
        assert!(wait.try_recv().is_err(), "the others are lost");
    }
}
