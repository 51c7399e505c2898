//! Plays a router that takes every command, and a cluster that does all that is asked of it.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::Reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::drift::{follow, on_router};
use crate::outcome::{
    ClaimState, ClusterOutcome, Contact, RouterOutcome, asked, guest_asked, volume_asked,
};
use crate::outside::{InUse, Others};
use crate::proxmox::keys::fingerprint;
use crate::proxmox::model::{
    self, DesiredGuest, DesiredVolume, Fate, GuestReport, GuestState, Power, VolumeReport,
    VolumeState,
};
use crate::vyos::plan::apply;
use crate::vyos::{self, Lines, Want, plan};
use crate::world::Uid;

/// A router: what it runs, and whether it answers.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    pub(crate) running: Lines,
    pub(crate) contact: Contact,
    /// Objects whose commands it refuses, and its words.
    pub(crate) refuses: BTreeMap<Uid, String>,
}

impl Default for Router {
    fn default() -> Self {
        let mut running = Lines::default();
        running.set(&["vrf", "name", "blue", "table", "200"]);
        running.set(&[
            "interfaces",
            "ethernet",
            "eth2",
            "vif",
            "99",
            "address",
            "192.0.2.9/24",
        ]);
        Self {
            running,
            contact: Contact::Good,
            refuses: BTreeMap::new(),
        }
    }
}

impl Router {
    pub(super) fn pass(
        &mut self,
        desired: &vyos::Desired,
        recorded: &BTreeMap<Uid, String>,
        outcome: &mut RouterOutcome,
        now: &Time,
    ) {
        outcome.contact = self.contact.clone();
        if self.contact != Contact::Good {
            return;
        }
        let first = plan(desired, &self.running);
        let differs = on_router(first.commands.iter().chain(&first.withheld), &self.running);
        let found = outcome.drifted(desired, differs, recorded);
        let mut commands = first.commands;
        commands.retain(|c| !self.refuses.contains_key(&c.owner));
        self.running = apply(&self.running, &commands);
        let after = plan(desired, &self.running);
        let open: BTreeSet<&Uid> = after.commands.iter().map(|c| &c.owner).collect();
        outcome.orphans.clone_from(&after.orphans);
        outcome.in_use = InUse::of(&self.running);
        outcome.claims.clear();
        for claim in &desired.claims {
            let state = if let Some(held) = after.held.get(&claim.owner) {
                ClaimState::Held {
                    reason: held.reason,
                    message: held.message.clone(),
                }
            } else if after.withheld.iter().any(|c| c.owner == claim.owner) {
                ClaimState::Held {
                    reason: Reason::Paused,
                    message: "observed".to_owned(),
                }
            } else if open.contains(&claim.owner) {
                ClaimState::Held {
                    reason: Reason::Refused,
                    message: self.refuses[&claim.owner].clone(),
                }
            } else {
                match claim.want {
                    Want::Present { .. } => ClaimState::Programmed,
                    Want::Absent => ClaimState::Absent,
                    Want::Untouched if after.present.contains(&claim.owner) => {
                        ClaimState::Programmed
                    }
                    Want::Untouched => ClaimState::Pending,
                }
            };
            let known = (asked(&claim.want), state);
            outcome.claims.insert(claim.owner.clone(), known);
        }
        outcome.drift = follow(&outcome.drift, found, &outcome.settled(), now).0;
    }
}

/// The passes that it takes to make a guest.
const DONE: u8 = 3;

/// A cluster: what it has, and whether it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Guests by UID.
    pub(crate) guests: BTreeMap<Uid, Guest>,
    /// Volumes by UID, with their size in GiB.
    pub(crate) volumes: BTreeMap<Uid, u64>,
    /// VMIDs of guests that are not ours.
    pub(crate) foreign: BTreeSet<u32>,
    pub(crate) contact: Contact,
    /// Privileges that our user lacks.
    pub(crate) missing: Vec<String>,
}

/// A guest of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guest {
    /// Its VMID.
    pub(crate) vmid: u32,
    /// The addresses of its cards.
    addresses: BTreeSet<std::net::Ipv4Addr>,
    /// How many passes it was worked on; it is done after the third.
    passes: u8,
    /// The volumes that it has.
    volumes: BTreeSet<Uid>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            guests: BTreeMap::new(),
            volumes: BTreeMap::new(),
            foreign: BTreeSet::new(),
            contact: Contact::Good,
            missing: Vec::new(),
        }
    }
}

impl Cluster {
    pub(super) fn pass(&mut self, desired: &model::Desired, outcome: &mut ClusterOutcome) {
        outcome.contact = self.contact.clone();
        if self.contact != Contact::Good {
            return;
        }
        outcome.missing.clone_from(&self.missing);
        outcome.guests.clear();
        outcome.volumes.clear();
        for guest in &desired.guests {
            let report = self.guest(guest);
            let known = (guest_asked(guest), report);
            outcome.guests.insert(guest.uid.clone(), known);
        }
        for volume in &desired.volumes {
            let report = self.volume(volume);
            let known = (volume_asked(volume), report);
            outcome.volumes.insert(volume.uid.clone(), known);
        }
        // Of the foreign ones our rights show nothing.
        let asked: BTreeSet<&Uid> = desired.guests.iter().map(|guest| &guest.uid).collect();
        outcome.others = Others::default();
        for (_, guest) in self.guests.iter().filter(|(uid, _)| !asked.contains(uid)) {
            outcome.others.vmids.insert(guest.vmid);
            outcome.others.addresses.extend(&guest.addresses);
        }
    }

    /// Making a guest takes three passes, destroying it two, everything else one.
    fn guest(&mut self, guest: &DesiredGuest) -> GuestReport {
        let mut report = GuestReport {
            state: GuestState::Gone,
            node: None,
            running: None,
            pending: Vec::new(),
            drift: None,
            preview: None,
        };
        let taken = self.foreign.contains(&guest.vmid.get());
        match guest.fate {
            Fate::Keep if taken => {
                let message = format!("VMID {} is another's", guest.vmid);
                report.state = GuestState::VmidTaken { message };
                return report;
            }
            Fate::Keep => {
                let ours = self.guests.entry(guest.uid.clone()).or_default();
                ours.vmid = guest.vmid.get();
                ours.addresses = guest.nics.iter().map(|nic| nic.address).collect();
                ours.passes = (ours.passes + 1).min(DONE);
                if ours.passes == DONE {
                    let volumes = guest.volumes.iter().map(|v| v.volume_uid.clone());
                    ours.volumes = volumes.collect();
                }
            }
            Fate::Destroy if self.guests.remove(&guest.uid).is_some() => {
                report.state = GuestState::Working("stop".to_owned());
                return report;
            }
            Fate::Destroy | Fate::Release => return report,
            Fate::Hold => {}
        }
        let Some(ours) = self.guests.get(&guest.uid) else {
            report.state = held();
            return report;
        };
        report.node = Some("pve1".to_owned());
        report.running = Some(ours.passes == DONE && guest.power == Power::Running);
        let fingerprint = fingerprint(guest);
        report.state = if guest.fate == Fate::Hold && guest.settled.as_ref() != Some(&fingerprint) {
            held()
        } else if ours.passes == DONE {
            GuestState::Settled { fingerprint }
        } else {
            GuestState::Working(format!("step {}", ours.passes))
        };
        report
    }

    fn volume(&mut self, volume: &DesiredVolume) -> VolumeReport {
        let user = self
            .guests
            .iter()
            .find(|(_, g)| g.volumes.contains(&volume.uid));
        let user = user.map(|(uid, _)| uid.clone());
        let state = match volume.fate {
            Fate::Destroy if user.is_some() => VolumeState::Working("a guest has it".to_owned()),
            Fate::Destroy => {
                self.volumes.remove(&volume.uid);
                VolumeState::Gone
            }
            Fate::Release => VolumeState::Gone,
            Fate::Keep => {
                let size_gib = volume.size_gib;
                self.volumes.insert(volume.uid.clone(), size_gib);
                VolumeState::Settled { size_gib }
            }
            Fate::Hold => match self.volumes.get(&volume.uid) {
                Some(size) => VolumeState::Settled { size_gib: *size },
                None => VolumeState::Held {
                    reason: Reason::Paused,
                    message: "held back".to_owned(),
                },
            },
        };
        // As the driver: a guest that is not asked to have it is not asked whether it has.
        let device = user
            .filter(|user| volume.attached_to.as_ref() == Some(user))
            .map(|user| (user, "scsi1".to_owned()));
        VolumeReport {
            state,
            volid: Some(format!("ceph:vm-900-pvc-{}", volume.uid)),
            device,
            drift: None,
        }
    }
}

fn held() -> GuestState {
    GuestState::Held {
        reason: Reason::Paused,
        message: "the object is held back: nothing is written".to_owned(),
    }
}
