//! Reads whose a guest is right before a call that Proxmox VE would carry out on anybody's.
//!
//! Configuration and growth are conditional on the digest that was read with the mark. Start,
//! shutdown and destroy know no condition: for them the mark is read again, and nothing is sent
//! between that read and the call. What remains is one request wide; design 0014 says what of.

use std::time::{Duration, Instant};

use bb_core::proxmox::keys::GuestConfig;
use bb_core::proxmox::mark::{Mark, Ownership};
use bb_core::proxmox::observed::ConfigRead;
use bb_core::proxmox::plan::{Chain, Guest, Op, Owner};

use crate::cluster::Cluster;
use crate::error::ClusterError;

/// How long a list may take to come, and still tell whose a guest is.
const FRESH: Duration = Duration::from_secs(1);

/// The list that is right in front of a call.
#[derive(Clone, Copy)]
pub(super) enum InFront {
    /// Others were asked for since.
    None,
    /// Nothing was asked for since it came; it was asked for at this time. It shows the tag that
    /// our own write left on a machine that was just made, which is the mark in short.
    List(Instant),
}

impl InFront {
    fn tells_whose(self, chain: &Chain) -> bool {
        match self {
            Self::None => false,
            Self::List(asked) => chain.makes.is_some() && asked.elapsed() <= FRESH,
        }
    }
}

/// Whether a call of a chain may be made now.
pub(super) async fn check(
    cluster: &Cluster,
    installation: &str,
    chain: &Chain,
    op: &Op,
    before: InFront,
) -> Result<(), ClusterError> {
    let owner = &chain.owner;
    let guest = match op {
        Op::Destroy(guest) | Op::Shutdown(guest) => guest,
        Op::Start(guest) if !before.tells_whose(chain) => guest,
        _ => return Ok(()),
    };
    let found = cluster
        .pending(guest.kind, &guest.node, guest.vmid)
        .await
        .map_err(not_sent)?;
    match found {
        ConfigRead::Found(config) => judge(installation, owner, guest, &config),
        ConfigRead::NotThere => Err(moved(guest, "is no longer there")),
        ConfigRead::Forbidden => Err(moved(guest, "is out of our sight")),
    }
}

fn judge(
    installation: &str,
    owner: &Owner,
    guest: &Guest,
    config: &GuestConfig,
) -> Result<(), ClusterError> {
    let mark = Mark {
        installation: installation.to_owned(),
        uid: owner.uid.clone(),
        object: format!("{}/{}", owner.namespace, owner.name),
    };
    match mark.judge(config.description()) {
        Ownership::Ours => Ok(()),
        Ownership::Other(other) => Err(moved(guest, &format!("bears the mark `{other}` now"))),
        Ownership::Unmarked => Err(moved(guest, "bears no mark of ours now")),
    }
}

fn moved(guest: &Guest, how: &str) -> ClusterError {
    ClusterError::Moved(format!("{guest} {how}"))
}

/// The read failed, so the call was not made: its outcome is known.
fn not_sent(error: ClusterError) -> ClusterError {
    match error {
        ClusterError::Unknown(cause) => ClusterError::Unreachable {
            endpoint: String::new(),
            cause,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use bb_core::proxmox::model::Kind;
    use bb_crds::ids::Vmid;

    use super::*;

    #[test]
    fn only_the_very_mark_lets_a_call_pass() {
        let owner = Owner {
            namespace: "acme".into(),
            name: "web".into(),
            kind: "Instance",
            uid: "u-1".into(),
        };
        let guest = Guest {
            kind: Kind::Vm,
            node: "pve1".into(),
            vmid: Vmid::try_from(5001).unwrap(),
        };
        let judged = |notes: &str| {
            let config = GuestConfig {
                current: [("description".to_owned(), notes.to_owned())].into(),
                ..GuestConfig::default()
            };
            judge("c1", &owner, &guest, &config)
        };
        assert!(judged("bitbuilder c1/u-1 acme/web\nnotes").is_ok());
        for other in [
            "bitbuilder c1/u-2 acme/web",
            "bitbuilder c2/u-1 acme/web",
            "mine",
            "",
        ] {
            let error = judged(other).unwrap_err();
            assert!(
                matches!(&error, ClusterError::Moved(text) if text.contains("5001")),
                "{other}"
            );
        }
    }
}
