//! The pass over a cluster, before there is a driver: nothing is read, nothing is written.

use std::time::Duration;

use bb_crds::Provider;
use bb_crds::provider::Proxmox;

use crate::shared::Shared;
use crate::targets::{PassFailed, settled};

/// What is kept of a cluster between passes.
#[derive(Default)]
pub(crate) struct ClusterSession;

/// One pass. Says when the next is due.
pub(crate) async fn pass(
    shared: &Shared,
    _name: &str,
    _provider: &Provider,
    _spec: &Proxmox,
    _session: &mut ClusterSession,
) -> Result<Duration, PassFailed> {
    Ok(settled(shared))
}
