//! Turns the addresses and keys of a running lab into the objects that make it known to the
//! controller.

use std::collections::BTreeMap;

use bb_lab_kit::ready::Ready;
use serde_json::Value;

/// What a running lab knows about its routers and clusters.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Routers by name, with the key of their HTTP API.
    pub routers: BTreeMap<String, (Ready, String)>,
    /// Proxmox clusters by name, with the secret of their API token.
    pub clusters: BTreeMap<String, (Ready, String)>,
}

/// Renders the Secrets, Providers and the Region of the lab, in the order to apply them.
#[must_use]
pub fn lab_objects(_facts: &Facts) -> Vec<Value> {
    Vec::new()
}
