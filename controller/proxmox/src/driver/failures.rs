//! Turns a call that failed into words for its object, and into a pause.

use std::time::Duration;

use bb_core::proxmox::plan::Op;
use bb_crds::condition::Reason;

use crate::error::ClusterError;

/// From how many failures in a row on even what passes by itself is told as held: with the
/// pauses before it, that is a quarter of a minute.
pub(super) const PATIENCE: u32 = 3;
/// The longest pause after failures.
pub(super) const LONGEST: Duration = Duration::from_secs(300);

/// What an object's status says after a failure. No reason where it may pass by itself and has
/// not been tried often.
pub(super) fn told(op: &Op, error: &ClusterError, failures: u32) -> (Option<Reason>, String) {
    let patient = failures < PATIENCE;
    let reason = match error {
        ClusterError::Unauthorized(_) | ClusterError::Forbidden { .. } => {
            Some(Reason::Unauthorized)
        }
        ClusterError::NotReady(_) => Some(Reason::Unreachable),
        ClusterError::Setup(_)
        | ClusterError::Parameter { .. }
        | ClusterError::Refused(_)
        | ClusterError::Exists(_)
        | ClusterError::Answer { .. } => Some(Reason::Refused),
        _ if patient => None,
        ClusterError::Unreachable { .. } | ClusterError::Unknown(_) => Some(Reason::Unreachable),
        ClusterError::Untrusted { .. } => Some(Reason::Unauthorized),
        ClusterError::Locked(_) | ClusterError::Moved(_) | ClusterError::NotThere(_) => {
            Some(Reason::Waiting)
        }
    };
    let mut message = format!("cannot {op}: {error}");
    if let Some(remedy) = error.remedy().filter(|_| reason.is_some()) {
        message.push_str("; ");
        message.push_str(&remedy);
    }
    (reason, message)
}

/// The first pause, doubled with each failure up to 5 minutes, and up to a quarter more by
/// chance, so that many do not come back at once. The chance is the object's name: no clock, no
/// generator.
pub(super) fn pause_of(first: Duration, failures: u32, uid: &str) -> Duration {
    let base = first.saturating_mul(1 << failures.min(10)).min(LONGEST);
    let sum = uid.bytes().fold(u32::from(b'b') + failures, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    base + base / 4 * (sum % 100) / 100
}
