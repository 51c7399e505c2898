//! Turns what a cluster answers into what the planner decides by, asked as seldom as it may be.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bb_core::proxmox::model::{Desired, Fate, Kind};
use bb_core::proxmox::observed::{ConfigRead, Observed};
use bb_core::proxmox::plan::{Op, plan, strangers};
use bb_crds::ids::Vmid;
use futures::StreamExt;
use futures::stream;
use tracing::debug;

use super::carry::carry_all;
use super::guard::InFront;
use super::{Driver, PassError, READS_AT_ONCE, gather};
use crate::rights;

/// How long the list of a cluster is good enough to begin new guests by, while tasks run. It
/// decides no other write.
const LIST: Duration = Duration::from_secs(10);
/// The same while settled guests are read a few at a time.
const LIST_OF_SETTLED: Duration = Duration::from_secs(60);
/// How often the images under the holder are listed although nothing asks for it, while there
/// is work.
const IMAGES: Duration = Duration::from_secs(60);
/// How long what our rights let us delete is believed.
const RIGHTS: Duration = Duration::from_secs(300);

impl Driver {
    /// What the cluster has, and whether that was read just now: while tasks run (`worked`) and
    /// nothing of them has ended, what was read before tells whether there is anything to do at
    /// all.
    pub(super) async fn look(
        &mut self,
        desired: &Desired,
        worked: bool,
    ) -> Result<(Observed, bool), PassError> {
        let good_for = match (worked, self.rereading) {
            (true, _) => LIST,
            (false, true) => LIST_OF_SETTLED,
            (false, false) => Duration::ZERO,
        };
        let old = self.list.as_ref();
        if let Some((_, list)) = old.filter(|(at, _)| at.elapsed() < good_for) {
            let mut seen = list.clone();
            seen.live = self.memory.live(Instant::now());
            return Ok((seen, false));
        }
        Ok((self.look_anew(desired).await?, true))
    }

    pub(super) async fn look_anew(&mut self, desired: &Desired) -> Result<Observed, PassError> {
        let failed = |source| PassError {
            what: "list what the cluster has".to_owned(),
            source,
        };
        self.list = None;
        let asked = Instant::now();
        // After the tasks: a guest whose build has been seen to end is in this list.
        let list = self.cluster.resources().await.map_err(failed)?;
        self.list = Some((Instant::now(), list.clone()));
        let mut seen = list;
        seen.live = self.memory.live(Instant::now());
        self.start_new(desired, &seen, asked).await;
        seen.deletable = self.deletable(desired, &seen).await;
        let (turn, last) = self.turns;
        let rests = self.memory.tasks.is_empty();
        if (rests || last.is_none_or(|at| at.elapsed() >= IMAGES))
            && let Some(need) = gather::in_turn(desired, &seen, turn)
        {
            self.turns = (turn.wrapping_add(1), Some(Instant::now()));
            let needs = [need].into();
            gather::read(
                &self.cluster,
                desired.cluster.holder,
                &mut self.memory,
                needs,
                &mut seen,
            )
            .await?;
        }
        Ok(seen)
    }

    /// Starts the machines that were just made, by the list that was read last and before anything
    /// else is asked for: so that their tags are as near to the call as a read of their marks.
    async fn start_new(&mut self, desired: &Desired, seen: &Observed, asked: Instant) {
        if !self.memory.awaits_first_start() {
            return;
        }
        let now = Instant::now();
        let mut decided = plan(desired, seen, &self.memory.in_flight(now));
        let starts = |op: &Op| matches!(op, Op::Start(_));
        decided.chains.retain(|chain| {
            let first = chain.makes.is_some() && chain.ops.iter().all(starts);
            first && !self.memory.repeats_first(chain, now)
        });
        let carried = carry_all(
            &self.cluster,
            &self.installation,
            decided.chains,
            InFront::List(asked),
            self.shutdown_seconds,
        )
        .await;
        for (chain, outcomes) in carried {
            self.take_note(&chain, outcomes, &mut decided.report);
        }
    }

    /// The storages whose images our rights let us delete by name; asked only where a volume
    /// is to go.
    async fn deletable(&mut self, desired: &Desired, seen: &Observed) -> BTreeSet<String> {
        if desired
            .volumes
            .iter()
            .all(|volume| volume.fate != Fate::Destroy)
        {
            return BTreeSet::new();
        }
        if let Some((at, storages)) = &self.deletable
            && at.elapsed() < RIGHTS
        {
            return storages.clone();
        }
        let storages = match self.cluster.permissions().await {
            Ok(held) => seen
                .storages
                .keys()
                .filter(|storage| {
                    rights::holds(&held, &format!("/storage/{storage}"), "Datastore.Allocate")
                })
                .cloned()
                .collect(),
            Err(error) => {
                debug!(%error, "rights cannot be read");
                return BTreeSet::new();
            }
        };
        self.deletable.insert((Instant::now(), storages)).1.clone()
    }

    /// Reads which addresses those have that are in no object.
    pub(super) async fn read_strangers(&mut self, desired: &Desired, seen: &Observed) {
        let mut new: Vec<(Vmid, Kind, String)> = strangers(desired, seen)
            .into_iter()
            .map(|(vmid, row)| (vmid, row.kind, row.node.clone()))
            .collect();
        let there: BTreeSet<Vmid> = new.iter().map(|(vmid, ..)| *vmid).collect();
        self.strangers.retain(|vmid, _| there.contains(vmid));
        new.retain(|(vmid, ..)| !self.strangers.contains_key(vmid));
        let cluster = &self.cluster;
        let read: Vec<_> =
            stream::iter(new)
                .map(|(vmid, kind, node)| async move {
                    (vmid, cluster.pending(kind, &node, vmid).await)
                })
                .buffer_unordered(READS_AT_ONCE)
                .collect()
                .await;
        for (vmid, config) in read {
            match config {
                Ok(ConfigRead::Found(config)) => {
                    self.strangers.insert(vmid, config.addresses());
                }
                Ok(_) => {}
                Err(error) => debug!(%error, %vmid, "a guest in no object cannot be read"),
            }
        }
    }
}
