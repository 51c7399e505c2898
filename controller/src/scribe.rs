//! Turns what is due into writes to the API: side by side, for a while, and around what fails.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bb_core::resolve::Id;
use bb_core::status::FinalizerOp;
use bb_core::world::World;
use bb_core::writes::{Due, Writes};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::Resource as _;

use crate::api::{self, ApiError, Place};
use crate::shared::Shared;

/// How many objects are written at once.
const SIDE_BY_SIDE: usize = 16;
/// How long a pass goes on writing what no order asks for: then the next begins with what is
/// new, and what was left is decided once more.
const TURN: Duration = Duration::from_millis(150);

/// What became of a change.
enum Wrote {
    /// The API has it.
    Taken(Id),
    /// It has not, and others need not wait for it to be well.
    NotTaken,
    /// The API itself does not answer, or has too much to do.
    Unwell(ApiError),
}

/// What became of the writes of a pass.
pub(crate) struct Carried {
    /// How many were left off for the next pass.
    pub(crate) left: usize,
    /// How long it took until all that must be written was.
    pub(crate) must: Duration,
}

/// The writes of one pass.
struct Scribe<'a> {
    shared: &'a Shared,
    world: &'a World,
    /// Whose changes the API took.
    taken: BTreeSet<Id>,
    /// When the last change was written that must be.
    must: Instant,
}

/// Carries out what is due, and says how much was left off for the next pass. A failure holds up
/// what depends on it and nothing else; one of the API itself ends the pass. At least `least` is
/// spent on what no order asks for, where there is so much of it.
pub(crate) async fn carry_out(
    shared: &Shared,
    world: &World,
    writes: Writes,
    least: Duration,
) -> Result<Carried, ApiError> {
    let begun = Instant::now();
    let mut scribe = Scribe {
        shared,
        world,
        taken: BTreeSet::new(),
        must: begun,
    };
    for step in [writes.fabric, writes.cursors] {
        scribe.step(step, None).await?;
    }
    let until = Instant::now() + TURN.max(least);
    let left = scribe.step(writes.rest, Some(until)).await?;
    let must = scribe.must.duration_since(begun);
    Ok(Carried { left, must })
}

impl Scribe<'_> {
    /// Writes what is in a step, in its order but side by side; once the time is over only what
    /// must be written. Says how much was left off.
    async fn step(&mut self, due: Vec<Due>, until: Option<Instant>) -> Result<usize, ApiError> {
        let (shared, world) = (self.shared, self.world);
        let mut queue = due.into_iter();
        let mut writing = FuturesUnordered::new();
        let (mut unwell, mut left) = (None, 0);
        loop {
            while writing.len() < SIDE_BY_SIDE && unwell.is_none() {
                let Some(due) = queue.next() else { break };
                if !due.must && until.is_some_and(|until| Instant::now() >= until) {
                    left += 1;
                    continue;
                }
                // Without its cursor a number is not recorded: the next pass gives another.
                if due.after.is_subset(&self.taken) {
                    writing.push(async move { (due.must, write(shared, world, &due).await) });
                }
            }
            let Some((must, wrote)) = writing.next().await else {
                break;
            };
            match wrote {
                Wrote::Taken(id) => drop(self.taken.insert(id)),
                Wrote::NotTaken => {}
                Wrote::Unwell(error) => unwell = Some(error),
            }
            if must {
                self.must = Instant::now();
            }
        }
        unwell.map_or(Ok(left), Err)
    }
}

/// Writes one change. An object that fails rests for a while.
async fn write(shared: &Shared, world: &World, due: &Due) -> Wrote {
    let change = &due.change;
    let Some(meta) = meta(world, &change.id) else {
        return Wrote::NotTaken;
    };
    let place = Place::of(&change.id);
    let finalizers = meta.finalizers.clone().unwrap_or_default();
    let result = api::write(
        &shared.clients.request,
        &place,
        meta.resource_version.clone(),
        &finalizers,
        change,
    )
    .await;
    let error = match result {
        Ok(written) => {
            // What loses its finalizer is about to go: there is nothing to remember.
            if let Some(object) = written.filter(|_| change.finalizer != Some(FinalizerOp::Remove))
            {
                shared.stores.wrote(&change.id, &object);
                // What was decided on it before is to be decided anew.
                shared.wake_fabric();
            }
            shared.rests.succeeded(&change.id);
            // A namespace that goes takes no event any more.
            let space = place.namespace();
            let space = space.and_then(|name| world.namespaces.get(name));
            let goes = space.is_some_and(|space| space.deleting);
            for note in change.events.iter().filter(|_| !goes) {
                let place = Place::of(&change.id);
                shared.events.tell(place, meta.uid.clone(), note.clone());
            }
            return Wrote::Taken(change.id.clone());
        }
        Err(error) if error.not_found() => return Wrote::NotTaken,
        Err(error) => error,
    };
    let mut first = Duration::from_millis(shared.args.backoff);
    if error.conflict() {
        // A decision on something old: made again once the caches know better.
        shared.stores.distrust(&change.id);
        first /= 4;
        tracing::debug!(object = ?change.id, "it has changed meanwhile");
    } else if error.unwell().is_some() {
        return Wrote::Unwell(error);
    } else {
        tracing::warn!(
            object = ?change.id,
            error = &error as &dyn std::error::Error,
            "the API refuses a change"
        );
    }
    let of = (meta.uid.clone(), meta.generation);
    shared.rests.failed(&change.id, of, first, rand::random());
    Wrote::NotTaken
}

/// The metadata of an object as it was decided on.
pub(crate) fn meta<'a>(world: &'a World, id: &Id) -> Option<&'a kube::core::ObjectMeta> {
    Some(match id {
        Id::Region(name) => world.regions.get(name)?.meta(),
        Id::Provider(name) => world.providers.get(name)?.meta(),
        Id::Tenant(name) => world.tenants.get(name)?.meta(),
        Id::Network(key) => world.networks.get(key)?.meta(),
        Id::Volume(key) => world.volumes.get(key)?.meta(),
        Id::Instance(key) => world.instances.get(key)?.meta(),
    })
}
