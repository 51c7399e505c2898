//! Turns a cluster as it is now into what a plan is made from that nobody carries out.
//!
//! Reads only, beside the passes: nothing of it is remembered by the driver.

use std::collections::BTreeSet;
use std::time::Instant;

use bb_core::proxmox::observed::{InFlight, Need, Observed};
use bb_crds::ids::Vmid;

use super::memory::Memory;
use super::{Driver, PassError, gather};
use crate::cluster::Cluster;
use crate::error::ClusterError;
use crate::rights;

impl Driver {
    /// What the cluster has at this moment, and what is under way there.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn survey(&self) -> Result<(Observed, InFlight), ClusterError> {
        let flight = self.memory.in_flight(Instant::now());
        let mut seen = self.cluster.resources().await?;
        seen.live = self.memory.live(Instant::now());
        let held = self.cluster.permissions().await?;
        let may = |storage: &&String| {
            rights::holds(&held, &format!("/storage/{storage}"), "Datastore.Allocate")
        };
        seen.deletable = seen.storages.keys().filter(may).cloned().collect();
        Ok((seen, flight))
    }
}

/// Makes reads that a plan asks for and adds what they say. A refusal is an answer, too.
///
/// # Errors
/// [`PassError`] when the cluster refuses the credentials.
pub async fn read(
    cluster: &Cluster,
    holder: Option<Vmid>,
    needs: BTreeSet<Need>,
    seen: &mut Observed,
) -> Result<(), PassError> {
    let mut forgotten = Memory::new(Instant::now());
    gather::read(cluster, holder, &mut forgotten, needs, seen).await
}
