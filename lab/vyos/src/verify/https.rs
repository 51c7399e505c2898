//! Turns the API server's own configuration in a candidate into a verdict.

use super::{Part, Verdict, refuse};
use crate::kernel::Kernel;

/// The rules of the script that configures the API.
pub(super) fn verify(part: &Part<'_>, kernel: &Kernel) -> Verdict {
    if part.deleting {
        return Ok(());
    }
    let https = part.config();
    if let Some(vrf) = https.value(&["vrf"])
        && !kernel.exists(vrf)
    {
        return refuse(format!("VRF \"{vrf}\" does not exist!"));
    }
    let mut keys = https.below(&["api", "keys", "id"]).peekable();
    let token = https.value(&["api", "graphql", "authentication", "type"]) == Some("token");
    if https.get(&["api"]).is_some() && keys.peek().is_none() && !token {
        return refuse(
            "At least one HTTPS API key is required unless GraphQL token authentication is \
             enabled!",
        );
    }
    match keys.find(|(_, key)| key.value(&["key"]).is_none()) {
        Some((id, _)) => refuse(format!("Missing HTTPS API key string for key id \"{id}\"")),
        None => Ok(()),
    }
}
