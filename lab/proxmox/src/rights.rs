//! Turns "may this caller do that here" into yes or the product's exact words for no.

use crate::access::{Caller, Privileges};
use crate::model::Cluster;
use crate::refusal::{Answer, Refusal};
use crate::volume::{Content, parse_volid, split_volid};

impl Cluster {
    /// The pool whose rights reach a path's object by membership.
    fn pool_behind(&self, path: &str) -> Option<&str> {
        if let Some(id) = path.strip_prefix("/vms/") {
            return id.parse().ok().and_then(|vmid| self.pool_of(vmid));
        }
        let id = path.strip_prefix("/storage/")?;
        let mut holding = self.pools.iter().filter(|(_, p)| p.storages.contains(id));
        holding.next().map(|(name, _)| name.as_str())
    }

    /// What a caller may do on a path, with what pool membership adds.
    pub fn privileges(&self, who: &Caller, path: &str) -> Privileges {
        self.access.privileges(who, path, self.pool_behind(path))
    }

    pub(crate) fn may(&self, who: &Caller, path: &str, privilege: &str) -> bool {
        self.access
            .has(who, path, self.pool_behind(path), privilege)
    }

    pub(crate) fn may_any(&self, who: &Caller, path: &str, any: &[&str]) -> bool {
        any.iter().any(|p| self.may(who, path, p))
    }

    /// Refuses unless every privilege is held; names the first that is not.
    pub(crate) fn check(&self, who: &Caller, path: &str, all: &[&str]) -> Answer<()> {
        match all.iter().find(|p| !self.may(who, path, p)) {
            None => Ok(()),
            Some(missing) => Err(Refusal::denied(&format!("{path}, {missing}"))),
        }
    }

    /// Refuses unless one of the privileges is held; names them all.
    pub(crate) fn check_any(&self, who: &Caller, path: &str, any: &[&str]) -> Answer<()> {
        if self.may_any(who, path, any) {
            return Ok(());
        }
        Err(Refusal::denied(&format!("{path}, {}", any.join("|"))))
    }

    /// A privilege on a guest, or on the pool it is about to join.
    pub(crate) fn check_guest(
        &self,
        who: &Caller,
        vmid: u32,
        pool: Option<&str>,
        privilege: &str,
    ) -> Answer<()> {
        if pool.is_some_and(|p| self.may(who, &format!("/pool/{p}"), privilege)) {
            return Ok(());
        }
        self.check(who, &format!("/vms/{vmid}"), &[privilege])
    }

    /// Whether a pool exists, in the words of a permission.
    pub(crate) fn check_pool_exists(&self, pool: &str) -> Answer<()> {
        if self.pools.contains_key(pool) {
            return Ok(());
        }
        Err(Refusal::denied(&format!("pool '{pool}' does not exist")))
    }

    /// Whether a caller may use a volume on behalf of guest `vmid`.
    pub(crate) fn check_volume(&self, who: &Caller, vmid: Option<u32>, volid: &str) -> Answer<()> {
        let Some((sid, rest)) = split_volid(volid) else {
            if who.is_root() {
                return Ok(());
            }
            return Err(Refusal::fail(
                "Only root can pass arbitrary filesystem paths.",
            ));
        };
        let storage = self.storage(sid)?;
        let id = parse_volid(storage.kind, sid, rest)?;
        let path = format!("/storage/{sid}");
        if self.may(who, &path, "Datastore.Allocate") {
            return Ok(());
        }
        match id.content {
            Content::Iso | Content::VzTmpl | Content::Import => {
                self.check_any(who, &path, &["Datastore.AllocateSpace", "Datastore.Audit"])
            }
            Content::Images | Content::RootDir if id.owner.is_some() => {
                if id.owner == vmid {
                    return Ok(());
                }
                self.check(who, &path, &["Datastore.Audit"])?;
                let owner = id.owner.unwrap_or_default();
                self.check(who, &format!("/vms/{owner}"), &["VM.Config.Disk"])
            }
            _ => Err(Refusal::fail(format!(
                "missing privileges to access {volid}"
            ))),
        }
    }

    /// Whether a caller may put a guest on a bridge or vnet.
    pub(crate) fn check_bridge(&self, who: &Caller, bridge: &str, tag: Option<&str>) -> Answer<()> {
        let zone = self.sdn.zone_of(bridge).unwrap_or("localnetwork");
        let path = match tag {
            Some(tag) => format!("/sdn/zones/{zone}/{bridge}/{tag}"),
            None => format!("/sdn/zones/{zone}/{bridge}"),
        };
        self.check(who, &path, &["SDN.Use"])
    }
}
