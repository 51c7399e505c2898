//! Turns what targets were seen to have into numbers that are not given out.
//!
//! The API is not the only one that knows which numbers are in use: after an older etcd was
//! restored, or an object went and left its guest behind, it knows less than the targets do.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::Ipv4Addr;

use crate::outcome::{Contact, Outcomes};
use crate::proxmox::model::GuestState;
use crate::resolve::{NetworkR, Resolved};
use crate::vyos::Lines;
use crate::world::World;

/// The numbers that a router's configuration uses, whoever wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// VNIs of VXLAN interfaces and of VRFs.
    pub vnis: BTreeSet<u32>,
    /// Routing tables.
    pub tables: BTreeSet<u32>,
    /// VLANs by interface.
    pub vlans: BTreeMap<String, BTreeSet<u32>>,
}

impl InUse {
    /// Reads them (VyOS 1.5).
    #[must_use]
    pub fn of(running: &Lines) -> Self {
        let mut found = Self::default();
        for line in running.iter() {
            let words: Vec<&str> = line.iter().map(String::as_str).collect();
            let (set, number) = match words.as_slice() {
                ["vrf", "name", _, "vni", vni] | ["interfaces", "vxlan", _, "vni", vni] => {
                    (&mut found.vnis, vni)
                }
                ["vrf", "name", _, "table", table]
                | ["protocols", "static", "table", table, ..] => (&mut found.tables, table),
                [
                    "interfaces",
                    "ethernet" | "bonding",
                    interface,
                    "vif",
                    vlan,
                    ..,
                ] => {
                    let vlans = found.vlans.entry((*interface).to_owned()).or_default();
                    (vlans, vlan)
                }
                _ => continue,
            };
            set.extend(number.parse::<u32>().ok());
        }
        found
    }
}

/// What a cluster has that no object asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// VMIDs, whoever has them.
    pub vmids: BTreeSet<u32>,
    /// Addresses of guests that carry our mark.
    pub addresses: BTreeSet<Ipv4Addr>,
}

/// What the targets were seen to have, and where that is not known.
pub struct Outside<'a> {
    pub(crate) outcomes: &'a Outcomes,
    /// Clusters with guests that were asked for when they were looked at last, and whose
    /// objects are gone since: which numbers those have is known after the next look.
    outdated: BTreeSet<&'a str>,
}

impl<'a> Outside<'a> {
    /// Takes what was seen for what it is worth now.
    #[must_use]
    pub fn of(outcomes: &'a Outcomes, world: &World) -> Self {
        let there: HashSet<&str> = world
            .instances
            .values()
            .filter_map(|instance| instance.metadata.uid.as_deref())
            .collect();
        let outdated = outcomes.clusters.iter().filter(|(_, outcome)| {
            let mut guests = outcome.guests.iter();
            outcome.contact == Contact::Good
                && guests.any(|(uid, (_, report))| {
                    report.state != GuestState::Gone && !there.contains(uid.as_str())
                })
        });
        let outdated = outdated.map(|(name, _)| name.as_str()).collect();
        Self { outcomes, outdated }
    }

    /// Whether every router of a Region answered, or was found not to, since the process began.
    /// Before that its numbers may be in use where nobody has looked.
    pub(crate) fn knows_region(&self, resolved: &Resolved, region: &str) -> bool {
        let mut routers = resolved.routers.iter().filter(|(_, r)| r.region == region);
        routers.all(|(name, _)| {
            let outcome = self.outcomes.routers.get(name);
            outcome.is_some_and(|outcome| outcome.contact != Contact::Never)
        })
    }

    /// The same of a cluster.
    pub(crate) fn knows_cluster(&self, cluster: &str) -> bool {
        let outcome = self.outcomes.clusters.get(cluster);
        outcome.is_some_and(|outcome| outcome.contact != Contact::Never)
            && !self.outdated.contains(cluster)
    }

    /// The same of every cluster that a network reaches.
    pub(crate) fn knows_network(&self, network: &NetworkR) -> bool {
        let mut clusters = network.trunks.iter().flat_map(|t| t.bridges.keys());
        clusters.all(|cluster| self.knows_cluster(cluster))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testkit::{Kit, instance, network, tenant};

    #[test]
    fn numbers_are_read_from_lines_of_ours_and_of_others() {
        let mut running = Lines::default();
        running.set(&["vrf", "name", "blue", "table", "200"]);
        running.set(&["vrf", "name", "blue", "vni", "9000"]);
        running.set(&["interfaces", "vxlan", "vxlan7", "vni", "7"]);
        running.set(&[
            "interfaces",
            "ethernet",
            "eth2",
            "vif",
            "99",
            "address",
            "192.0.2.9/24",
        ]);
        running.set(&["interfaces", "bonding", "bond0", "vif", "12"]);
        running.set(&["protocols", "static", "table", "55", "route", "0.0.0.0/0"]);
        let found = InUse::of(&running);
        assert_eq!(found.vnis, [7, 9000].into());
        assert_eq!(found.tables, [55, 200].into());
        assert_eq!(found.vlans["eth2"], [99].into());
        assert_eq!(found.vlans["bond0"], [12].into());
    }

    /// A world as an etcd of before `acme/web` shows it, with what came later outside: and what
    /// one of the guests has.
    fn restored() -> (Kit, [Value; 2]) {
        let mut kit = Kit::two_sites();
        kit.tenant("old");
        kit.network("old/lan", json!({"ipv4": {"prefix": "10.9.0.0/24"}}));
        kit.settle();
        let before = kit.world.clone();
        kit.tenant("acme");
        kit.network("acme/web", json!({"ipv4": {"prefix": "10.10.0.0/24"}}));
        kit.machine("acme/www", "web");
        kit.machine("old/late", "lan");
        kit.settle();
        let late = ["/providerID", "/addresses/0/address"];
        let late = late.map(|at| kit.status(&instance("old/late"), at));
        kit.world = before;
        kit.restart();
        (kit, late)
    }

    #[test]
    fn after_a_restored_etcd_no_number_is_given_that_something_outside_has() {
        let (mut kit, late) = restored();
        let outside = kit.on_targets();
        kit.tenant("beta");
        kit.network("beta/lan", json!({"ipv4": {"prefix": "10.11.0.0/24"}}));
        kit.machine("beta/one", "lan");
        kit.machine("old/one", "lan");
        kit.settle();
        for id in [
            tenant("beta"),
            network("beta/lan"),
            instance("beta/one"),
            instance("old/one"),
        ] {
            assert!(kit.ready(&id), "{id:?} {:?}", kit.unready(&id));
        }
        for (at, taken) in ["/providerID", "/addresses/0/address"].iter().zip(&late) {
            assert_ne!(kit.status(&instance("old/one"), at), *taken);
        }
        // What was there is there still, to the last line and guest.
        let after = kit.on_targets();
        for (before, after) in outside.0.iter().zip(&after.0) {
            assert!(before.iter().all(|line| after.contains(line)));
        }
        for (before, after) in outside.1.iter().zip(&after.1) {
            for (uid, guest) in &before.guests {
                assert_eq!(after.guests.get(uid), Some(guest));
            }
        }
        let orphans = kit.outcomes.routers["r1"].orphans.len();
        assert!(orphans > 0, "what has no object is named");
    }

    #[test]
    fn what_vanishes_while_we_look_is_looked_at_anew_before_anything_is_given() {
        let (mut kit, _) = restored();
        // As they are known to a process that ran all the time.
        let (mut before, _) = restored();
        before.settle();
        kit.outcomes = before.outcomes.clone();
        let guest = kit.clusters["c1"].guests.keys().next().unwrap().clone();
        let asked = GuestState::Settled {
            fingerprint: String::new(),
        };
        let report = crate::proxmox::model::GuestReport {
            state: asked,
            node: None,
            running: None,
            pending: Vec::new(),
            drift: None,
            preview: None,
        };
        let outcome = kit.outcomes.cluster("c1");
        outcome.others = Others::default();
        outcome.guests.insert(guest, (0, report));
        kit.machine("old/one", "lan");
        kit.reconcile();
        assert_eq!(kit.status(&instance("old/one"), "/providerID"), json!(null));
        kit.settle();
        assert!(kit.ready(&instance("old/one")));
    }

    #[test]
    fn nothing_is_given_before_every_target_that_may_have_it_was_looked_at() {
        let (mut kit, _) = restored();
        kit.network(
            "old/new",
            json!({"zones": ["north"], "ipv4": {"prefix": "10.11.0.0/24"}}),
        );
        kit.reconcile();
        kit.visit("r1");
        kit.reconcile();
        assert_eq!(kit.status(&network("old/new"), "/vni"), json!(null));
        kit.visit("r2");
        kit.reconcile();
        kit.reconcile();
        assert_ne!(kit.status(&network("old/new"), "/vni"), json!(null));
        kit.machine("old/one", "new");
        kit.reconcile();
        assert_eq!(kit.status(&instance("old/one"), "/providerID"), json!(null));
        kit.visit("c1");
        kit.reconcile();
        kit.reconcile();
        assert_ne!(kit.status(&instance("old/one"), "/providerID"), json!(null));
    }
}
