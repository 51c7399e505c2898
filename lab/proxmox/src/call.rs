//! Carries one checked API call to the code that answers it.

use crate::access::Caller;
use crate::model::{Cluster, GuestKind};
use crate::refusal::{Answer, Refusal};
use crate::schema::Params;

/// A call whose path was found and whose parameters passed the schema.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub who: &'a Caller,
    /// Path and other parameters together.
    pub p: Params,
}

impl Call<'_> {
    /// The node of the path; `localhost` is already replaced by a name.
    pub(crate) fn node(&self) -> &str {
        self.p.text("node")
    }

    pub(crate) fn vmid(&self) -> u32 {
        self.p.vmid("vmid")
    }

    /// Refuses options that only a ticket of root@pam may use.
    pub(crate) fn check_skiplock(&self) -> Answer<bool> {
        let skip = self.p.flag("skiplock");
        if skip && !self.who.is_root() {
            return Err(Refusal::param("skiplock", "Only root may use this option."));
        }
        Ok(skip)
    }
}

impl Cluster {
    /// Takes a guest's id out of pools and ACL, as its destruction does.
    pub(crate) fn forget_guest(&mut self, vmid: u32) {
        self.guests.remove(&vmid);
        self.seen_before.remove(&vmid);
        for pool in self.pools.values_mut() {
            pool.guests.remove(&vmid);
        }
        let path = format!("/vms/{vmid}");
        self.access.acl.retain(|g| g.path != path);
    }

    /// Puts a guest into a pool, out of any other.
    pub(crate) fn join_pool(&mut self, vmid: u32, pool: Option<&str>) {
        let Some(pool) = pool else { return };
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.guests.insert(vmid);
        }
    }

    /// What a call that makes a guest says when the id is taken.
    pub(crate) fn taken_text(&self, vmid: u32) -> Option<String> {
        let guest = self.guests.get(&vmid)?;
        let noun = guest.kind.noun();
        Some(format!(
            "{noun} {vmid} already exists on node '{}'",
            guest.node
        ))
    }

    /// The kind of guest a path speaks of.
    pub(crate) fn require(&self, kind: GuestKind, node: &str, vmid: u32) -> Answer<()> {
        self.guest_on(kind, node, vmid).map(|_| ())
    }
}
