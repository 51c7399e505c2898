//! Turns a wish to look at a target into what its next pass sees.
//!
//! Only a pass may ask a router: it has one session. So whoever wants to know waits for the next,
//! and without anybody who waits a pass keeps nothing of what it saw.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bb_core::rehearse::{ClusterLook, RouterLook};
use bb_proxmox::Cluster;
use tokio::sync::oneshot;

/// What a pass saw.
pub(crate) enum Seen {
    Router(Box<RouterLook>),
    /// With the cluster, for reads that follow from it.
    Cluster(Box<ClusterLook>, Cluster),
}

/// Who waits for a look, by target.
#[derive(Default)]
pub(crate) struct Looks(Mutex<BTreeMap<String, Vec<oneshot::Sender<Seen>>>>);

impl Looks {
    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<oneshot::Sender<Seen>>>> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// Asks for what the next pass over a target sees. The pass has to be asked for as well.
    pub(crate) fn ask(&self, target: &str) -> oneshot::Receiver<Seen> {
        let (tell, told) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.entry(target.to_owned()).or_default().push(tell);
        told
    }

    /// Those who waited before this moment: to be taken before a pass reads anything. Who is
    /// dropped without a word knows that there was no answer.
    pub(crate) fn take(&self, target: &str) -> Vec<oneshot::Sender<Seen>> {
        self.waiting().remove(target).unwrap_or_default()
    }
}
