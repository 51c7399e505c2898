//! What the passes share: caches, what each target should have, what each was found to have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bb_core::guard::{Deletes, Guarded};
use bb_core::outcome::{Asked, Outcomes};
use bb_core::world::World;
use bb_core::{proxmox, vyos};
use bb_wire::trace::{self, Ids};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Notify, OnceCell, Semaphore, mpsc};

use bb_crds::Provider;

use crate::api::Clients;
use crate::args::Args;
use crate::backoff::{Breakers, Failures, Rests};
use crate::events::Events;
use crate::looks::Looks;
use crate::metrics::Metrics;
use crate::stores::Readers;
use crate::unread::Told;

/// What the passes share.
pub(crate) struct Shared {
    pub(crate) args: Args,
    pub(crate) clients: Clients,
    /// The UID of kube-system, part of every mark.
    pub(crate) installation: String,
    pub(crate) stores: Readers,
    pub(crate) events: Events,
    /// Targets that answered and did not do all that they should.
    pub(crate) failures: Failures,
    /// Targets that do not answer.
    pub(crate) breakers: Breakers,
    /// Objects whose last change the API refused.
    pub(crate) rests: Rests,
    /// Tenants whose namespace could not be made or bound.
    pub(crate) homeless: Rests,
    /// What cannot be understood, and was told of.
    pub(crate) told: Told,
    pub(crate) metrics: Arc<Metrics>,
    board: Mutex<Board>,
    /// Whether it is known which tenants were bound as they should be when this process began.
    pub(crate) bindings: OnceCell<()>,
    /// Targets whose credentials are to be read anew.
    renewed: Mutex<BTreeSet<String>>,
    /// The members that each tenant's bindings were made from, in this process.
    members: Mutex<BTreeMap<String, String>>,
    /// What was deleted of late.
    deletes: Mutex<Deletes>,
    /// Who waits for a look at a target.
    pub(crate) looks: Looks,
    /// The place for who rehearses.
    pub(crate) planner: Semaphore,
    fabric: Arc<Notify>,
    /// What the next pass over the objects follows from.
    causes: Mutex<Vec<Ids>>,
    wake: mpsc::UnboundedSender<ObjectRef<Provider>>,
    woken: Mutex<Option<mpsc::UnboundedReceiver<ObjectRef<Provider>>>>,
}

/// What is asked of the targets, and what they answered.
#[derive(Default)]
struct Board {
    routers: BTreeMap<String, Arc<vyos::Desired>>,
    clusters: BTreeMap<String, Arc<proxmox::model::Desired>>,
    generations: BTreeMap<String, i64>,
    asked: Arc<Asked>,
    outcomes: Outcomes,
    /// The pass that asked last for something new, by target.
    causes: BTreeMap<String, Ids>,
}

impl Board {
    fn note(&mut self) {
        let Self {
            outcomes,
            asked,
            generations,
            ..
        } = self;
        outcomes.note(asked, |name| generations.contains_key(name));
    }

    /// Records what was found, and says whether that is news.
    fn found(&mut self, change: impl FnOnce(&mut Outcomes)) -> bool {
        let before = self.outcomes.clone();
        change(&mut self.outcomes);
        self.note();
        self.outcomes != before
    }
}

impl Shared {
    pub(crate) fn new(
        args: Args,
        clients: Clients,
        installation: String,
        stores: Readers,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (wake, woken) = mpsc::unbounded_channel();
        Self {
            args,
            clients,
            installation,
            stores,
            events: Events::default(),
            failures: Failures::default(),
            breakers: Breakers::default(),
            rests: Rests::default(),
            homeless: Rests::default(),
            told: Told::default(),
            metrics,
            board: Mutex::new(Board::default()),
            bindings: OnceCell::new(),
            renewed: Mutex::default(),
            members: Mutex::new(BTreeMap::new()),
            deletes: Mutex::default(),
            looks: Looks::default(),
            planner: Semaphore::new(1),
            fabric: Arc::default(),
            causes: Mutex::default(),
            wake,
            woken: Mutex::new(Some(woken)),
        }
    }

    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// Whether a tenant's members are others than its bindings were made from.
    pub(crate) fn members_differ(&self, tenant: &str, members: &str) -> bool {
        let known = self
            .members
            .lock()
            .expect("no code panics while it holds this lock");
        known.get(tenant).is_none_or(|m| m != members)
    }

    /// Remembers the members that a tenant's bindings were made from.
    pub(crate) fn members_are(&self, tenant: &str, members: String) {
        let mut known = self
            .members
            .lock()
            .expect("no code panics while it holds this lock");
        known.insert(tenant.to_owned(), members);
    }

    /// Forgets the members of a tenant whose namespace is not there.
    pub(crate) fn members_forgotten(&self, tenant: &str) {
        let mut known = self
            .members
            .lock()
            .expect("no code panics while it holds this lock");
        known.remove(tenant);
    }

    /// The Providers that hold deletes, by what is being deleted and what was of late.
    pub(crate) fn guarded(&self, world: &World, now: &Time) -> BTreeMap<String, Guarded> {
        let mut deletes = self
            .deletes
            .lock()
            .expect("no code panics while it holds this lock");
        deletes.note(world, now);
        let held = deletes.judge(world, now);
        for name in world.providers.keys() {
            let count = held.get(name).map_or(0, |guarded| guarded.waiting);
            self.metrics.guarded(name, count);
        }
        held
    }

    /// What was deleted of late.
    pub(crate) fn deletes(&self) -> Deletes {
        let deletes = self.deletes.lock();
        deletes
            .expect("no code panics while it holds this lock")
            .clone()
    }

    /// Asks for a pass over the objects. Any number of calls make one pass, which follows from
    /// all the passes that asked.
    pub(crate) fn wake_fabric(&self) {
        if let Some(cause) = trace::current() {
            trace::note(&mut self.causes(), cause);
        }
        self.fabric.notify_one();
    }

    /// What the pass over the objects that begins now follows from.
    pub(crate) fn take_causes(&self) -> Vec<Ids> {
        std::mem::take(&mut self.causes())
    }

    fn causes(&self) -> std::sync::MutexGuard<'_, Vec<Ids>> {
        self.causes
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// The pass over the objects that asked last for something new of a target; it is so once.
    pub(crate) fn take_cause(&self, target: &str) -> Option<Ids> {
        self.board().causes.remove(target)
    }

    /// What wakes the pass over the objects, for those who know nothing else of it.
    pub(crate) fn fabric_bell(&self) -> Arc<Notify> {
        Arc::clone(&self.fabric)
    }

    /// Waits until a pass over the objects is asked for.
    pub(crate) async fn fabric_woken(&self) {
        self.fabric.notified().await;
    }

    /// Asks for a pass over a target.
    pub(crate) fn wake_target(&self, name: &str) {
        // The receiver lives as long as the process.
        let _ = self.wake.send(ObjectRef::new(name));
    }

    /// The stream of targets that a pass is asked for. There is one.
    pub(crate) fn take_woken(&self) -> Option<mpsc::UnboundedReceiver<ObjectRef<Provider>>> {
        self.woken
            .lock()
            .expect("no code panics while it holds this lock")
            .take()
    }

    /// Puts up what every target should have, and wakes those for which that changed.
    pub(crate) fn ask(
        &self,
        routers: BTreeMap<String, vyos::Desired>,
        clusters: BTreeMap<String, proxmox::model::Desired>,
        generations: BTreeMap<String, i64>,
        asked: Arc<Asked>,
    ) {
        let mut board = self.board();
        // Another endpoint or Secret name changes nothing that is asked for.
        let (mut providers, mut changed) = (Vec::new(), Vec::<String>::new());
        for (name, generation) in &generations {
            if board.generations.get(name) != Some(generation) {
                board.outcomes.provider_changed(name);
                providers.push(name.clone());
            }
        }
        board.generations = generations;
        replace(&mut board.routers, routers, &mut changed);
        replace(&mut board.clusters, clusters, &mut changed);
        board.asked = asked;
        board.note();
        if let Some(cause) = trace::current() {
            let new = changed.iter().map(|name| (name.clone(), cause));
            board.causes.extend(new);
        }
        drop(board);
        for name in providers {
            // Whatever it was that did not answer: this may be another.
            self.breakers.closed(&name);
            self.wake_target(&name);
        }
        for name in changed {
            self.wake_target(&name);
        }
    }

    /// The credentials of a target are others: it is asked with them at once.
    pub(crate) fn credentials_changed(&self, name: &str) {
        self.renewed
            .lock()
            .expect("no code panics while it holds this lock")
            .insert(name.to_owned());
        self.breakers.closed(name);
        self.wake_target(name);
    }

    /// Whether the credentials of a target are to be read anew; it is so once.
    pub(crate) fn take_renewed(&self, name: &str) -> bool {
        self.renewed
            .lock()
            .expect("no code panics while it holds this lock")
            .remove(name)
    }

    pub(crate) fn asked_of_router(&self, name: &str) -> Option<Arc<vyos::Desired>> {
        self.board().routers.get(name).cloned()
    }

    pub(crate) fn asked_of_cluster(&self, name: &str) -> Option<Arc<proxmox::model::Desired>> {
        self.board().clusters.get(name).cloned()
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        self.board().outcomes.clone()
    }

    /// Records what a pass over a target found, and has the objects' status follow where that is
    /// news: a settled target costs no pass over the objects.
    pub(crate) fn found(&self, change: impl FnOnce(&mut Outcomes)) {
        if self.board().found(change) {
            self.wake_fabric();
        }
    }
}

/// Takes over what is rendered anew, and names the targets for which it is another than before.
/// What is the same stays the very same: who has seen it knows it again without a look.
fn replace<T: PartialEq>(
    board: &mut BTreeMap<String, Arc<T>>,
    rendered: BTreeMap<String, T>,
    changed: &mut Vec<String>,
) {
    let mut before = std::mem::take(board);
    for (name, desired) in rendered {
        let kept = before.remove(&name).filter(|old| **old == desired);
        let desired = kept.unwrap_or_else(|| {
            changed.push(name.clone());
            Arc::new(desired)
        });
        board.insert(name, desired);
    }
}

#[cfg(test)]
mod tests {
    use bb_core::outcome::{Contact, RouterOutcome};

    use super::*;

    #[test]
    fn a_look_without_news_wakes_nobody() {
        let mut board = Board::default();
        board.generations.insert("r1".to_owned(), 1);
        let good = || RouterOutcome {
            contact: Contact::Good,
            ..RouterOutcome::default()
        };
        let mut found = |outcome: RouterOutcome| {
            board.found(|all| drop(all.routers.insert("r1".to_owned(), outcome.into())))
        };
        assert!(found(good()));
        assert!(!found(good()));
        assert!(found(RouterOutcome::default()));
    }

    #[test]
    fn what_is_rendered_as_before_stays_the_very_same() {
        let mut board = BTreeMap::new();
        let mut changed = Vec::new();
        replace(
            &mut board,
            [("a".to_owned(), 1), ("b".to_owned(), 2)].into(),
            &mut changed,
        );
        assert_eq!(changed, ["a", "b"]);
        let before = Arc::clone(&board["a"]);
        changed.clear();
        replace(
            &mut board,
            [("a".to_owned(), 1), ("b".to_owned(), 3)].into(),
            &mut changed,
        );
        assert_eq!(changed, ["b"]);
        assert!(Arc::ptr_eq(&before, &board["a"]));
        replace(&mut board, [("b".to_owned(), 3)].into(), &mut changed);
        assert_eq!(board.len(), 1);
    }
}
