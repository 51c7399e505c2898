//! Turns the reads that a plan asks for into what was observed, many at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bb_core::proxmox::model::{Desired, Fate};
use bb_core::proxmox::observed::{Build, ConfigRead, Need, Observed, Place, Rest};
use bb_crds::condition::Reason;
use bb_crds::ids::Vmid;
use futures::StreamExt;
use futures::stream;

use super::memory::Memory;
use super::{PassError, READS_AT_ONCE};
use crate::cluster::Cluster;
use crate::error::{ClusterError, Retry};
use crate::tasks;

enum Answer {
    Config(Vmid, ConfigRead),
    Live(BTreeMap<Vmid, bool>),
    Images(Place, BTreeMap<String, u64>),
    Archives(Place, BTreeSet<String>),
    Free(Vmid, bool),
}

/// Makes reads and adds what they say. A refusal is an answer, too; that nobody answers at all
/// is not.
pub(super) async fn read(
    cluster: &Cluster,
    holder: Option<Vmid>,
    memory: &mut Memory,
    needs: BTreeSet<Need>,
    seen: &mut Observed,
) -> Result<(), PassError> {
    let mut plain = needs;
    if plain.remove(&Need::Builds) {
        read_builds(cluster, memory, seen).await?;
    }
    let answers: Vec<(Need, Result<Answer, ClusterError>)> = stream::iter(plain)
        .map(|need| async move {
            let answer = one(cluster, holder, &need).await;
            (need, answer)
        })
        .buffer_unordered(READS_AT_ONCE)
        .collect()
        .await;
    for (need, answer) in answers {
        if answer.is_ok() {
            memory.unread.remove(&need);
        }
        match answer {
            Ok(Answer::Config(vmid, config)) => {
                memory.saw_config(vmid, &config, Instant::now());
                seen.configs.insert(vmid, config);
            }
            Ok(Answer::Live(live)) => {
                memory.saw_live(&live, Instant::now());
                seen.live.extend(live);
            }
            Ok(Answer::Images(place, images)) => drop(seen.images.insert(place, images)),
            Ok(Answer::Archives(place, found)) => drop(seen.archives.insert(place, found)),
            Ok(Answer::Free(vmid, free)) => drop(seen.free.insert(vmid, free)),
            Err(source @ ClusterError::Unauthorized(_)) => {
                return Err(PassError {
                    what: "read what it has".to_owned(),
                    source,
                });
            }
            Err(error) => {
                let often = memory.cannot_read(&need);
                let reason = match error.retry() {
                    Retry::OnChange => Some(Reason::Unauthorized),
                    Retry::Now | Retry::Backoff if often => Some(Reason::Unreachable),
                    Retry::Now | Retry::Backoff => None,
                };
                let message = format!("cannot be read: {error}");
                seen.failed.insert(need, Rest { reason, message });
            }
        }
    }
    Ok(())
}

async fn one(cluster: &Cluster, holder: Option<Vmid>, need: &Need) -> Result<Answer, ClusterError> {
    Ok(match need {
        Need::Config(kind, node, vmid) => {
            Answer::Config(*vmid, cluster.pending(*kind, node, *vmid).await?)
        }
        Need::Live(node, kind) => Answer::Live(cluster.live(node, *kind).await?),
        Need::Images(place) => {
            let Some(holder) = holder else {
                return Ok(Answer::Images(place.clone(), BTreeMap::new()));
            };
            Answer::Images(place.clone(), cluster.images(place, holder).await?)
        }
        Need::Archives(place) => Answer::Archives(place.clone(), cluster.archives(place).await?),
        Need::Free(vmid) => Answer::Free(*vmid, cluster.is_free(*vmid).await?),
        Need::Builds => return Err(ClusterError::Setup("not a read of one thing".to_owned())),
    })
}

async fn read_builds(
    cluster: &Cluster,
    memory: &mut Memory,
    seen: &mut Observed,
) -> Result<(), PassError> {
    let mut all: BTreeMap<Vmid, (u64, Build)> = BTreeMap::new();
    for node in tasks::online(&seen.nodes) {
        let found = match cluster.builds(&node, &mut memory.clones).await {
            Ok(found) => found,
            Err(source @ ClusterError::Unauthorized(_)) => {
                let what = format!("list the tasks of node {node}");
                return Err(PassError { what, source });
            }
            // Without every node's tasks nobody can say that a build is not ours.
            Err(error) => {
                let message = format!("waits for the tasks of node {node}: {error}");
                seen.failed.insert(
                    Need::Builds,
                    Rest {
                        reason: None,
                        message,
                    },
                );
                return Ok(());
            }
        };
        for (vmid, (began, build)) in found {
            if all.get(&vmid).is_none_or(|(other, _)| *other <= began) {
                all.insert(vmid, (began, build));
            }
        }
    }
    seen.builds = Some(
        all.into_iter()
            .map(|(vmid, (_, build))| (vmid, build))
            .collect(),
    );
    Ok(())
}

/// Where images under the holder are to be looked for in this pass although nothing asks for
/// it: one place in turn, so that every image is seen again before long.
pub(super) fn in_turn(desired: &Desired, seen: &Observed, pass: usize) -> Option<Need> {
    let holder = desired.cluster.holder?;
    let home = seen.guests.get(&holder).map(|row| &row.node);
    let names: BTreeSet<&String> = desired
        .volumes
        .iter()
        .filter(|volume| volume.fate != Fate::Release)
        .map(|volume| &volume.storage)
        .collect();
    let mut places = BTreeSet::new();
    for name in names {
        let Some(storage) = seen.storages.get(name) else {
            continue;
        };
        let place = |node: &String| Place {
            node: node.clone(),
            storage: name.clone(),
        };
        if storage.shared {
            let near = storage.nodes.iter().find(|node| Some(*node) == home);
            places.extend(near.or(storage.nodes.first()).map(place));
        } else {
            places.extend(storage.nodes.iter().map(place));
        }
    }
    let count = places.len();
    places
        .into_iter()
        .nth(pass.checked_rem(count)?)
        .map(Need::Images)
}
