//! What the last pass over each target found, kept between passes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bb_crds::Reason;

use crate::drift::{Difference, Found, applied};
use crate::outside::{InUse, Others};
use crate::proxmox::keys::fingerprint;
use crate::proxmox::model::{self, GuestReport, GuestState, VolumeReport, VolumeState};
use crate::vyos::{self, Want};
use crate::world::Uid;

/// What is known of every target. A target that is not in it was not looked at yet.
///
/// Each is shared, since a copy of thousands of reports for every pass over the objects would
/// cost more than the pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Routers by the name of their Provider.
    pub routers: BTreeMap<String, Arc<RouterOutcome>>,
    /// Clusters by the name of their Provider.
    pub clusters: BTreeMap<String, Arc<ClusterOutcome>>,
}

impl Outcomes {
    /// Takes note of what is asked now. What was found when something else was asked is no
    /// answer any more, also not when the old is asked once more: in between a router may have
    /// been sent the other. And what is no target any more is forgotten.
    pub fn note(&mut self, asked: &Asked, is_target: impl Fn(&str) -> bool) {
        self.routers.retain(|name, _| is_target(name));
        self.clusters.retain(|name, _| is_target(name));
        for (name, router) in &mut self.routers {
            let outdated = |(uid, (was_asked, state)): &(&Uid, &(u64, ClaimState))| {
                *state != ClaimState::Pending
                    && asked.asks(name, uid).is_some_and(|now| now != *was_asked)
            };
            let claims = router.claims.iter().filter(outdated);
            let uids: Vec<Uid> = claims.map(|(uid, _)| uid.clone()).collect();
            if uids.is_empty() {
                continue;
            }
            let router = Arc::make_mut(router);
            for uid in uids {
                if let Some((_, state)) = router.claims.get_mut(&uid) {
                    *state = ClaimState::Pending;
                }
            }
        }
    }

    /// What is known of a router, to be changed.
    pub fn router(&mut self, name: &str) -> &mut RouterOutcome {
        Arc::make_mut(self.routers.entry(name.to_owned()).or_default())
    }

    /// What is known of a cluster, to be changed.
    pub fn cluster(&mut self, name: &str) -> &mut ClusterOutcome {
        Arc::make_mut(self.clusters.entry(name.to_owned()).or_default())
    }

    /// A target's Provider is another than it was asked by: whether that one is any good is
    /// known after the next pass.
    pub fn provider_changed(&mut self, name: &str) {
        if let Some(router) = self.routers.get_mut(name) {
            let router = Arc::make_mut(router);
            (router.contact, router.left_alone) = (Contact::Never, false);
        }
        if let Some(cluster) = self.clusters.get_mut(name) {
            let cluster = Arc::make_mut(cluster);
            (cluster.contact, cluster.left_alone) = (Contact::Never, false);
        }
    }

    /// A router did not answer, or refuses us. The words for it are those of the first time, as
    /// long as it is the same kind of trouble: each other would be a write to the API, for no
    /// news.
    pub fn router_lost(&mut self, name: &str, contact: Contact, left_alone: bool) {
        let router = self.router(name);
        router.contact.becomes(contact);
        router.left_alone = left_alone;
    }

    /// As [`Outcomes::router_lost`], for a cluster.
    pub fn cluster_lost(&mut self, name: &str, contact: Contact, left_alone: bool) {
        let cluster = self.cluster(name);
        cluster.contact.becomes(contact);
        cluster.left_alone = left_alone;
    }
}

/// Whether a target answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Contact {
    /// It was not asked yet.
    #[default]
    Never,
    /// It answers.
    Good,
    /// It does not answer; the text says how that shows.
    Unreachable(String),
    /// It answers, and refuses our credentials or us its certificate.
    Unauthorized(String),
}

impl Contact {
    fn becomes(&mut self, new: Self) {
        if std::mem::discriminant(self) != std::mem::discriminant(&new) {
            *self = new;
        }
    }
}

/// What the last pass over a router found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterOutcome {
    /// Whether it answers.
    pub contact: Contact,
    /// It failed several times in a row: it is asked after pauses only, whatever is new.
    pub left_alone: bool,
    /// The version that it says it runs.
    pub version: Option<String>,
    /// Each object: what was asked for it, and how that went.
    pub claims: BTreeMap<Uid, (u64, ClaimState)>,
    /// Nodes with our mark that no object accounts for.
    pub orphans: Vec<String>,
    /// The numbers that its configuration uses.
    pub in_use: InUse,
    /// What is missing for tenants to be reached from other routers.
    pub underlay: Option<String>,
    /// What somebody else changed, by the object that it is of.
    pub drift: BTreeMap<Uid, Found>,
    /// What keeps the router from taking or keeping anything, whoever's it is, and what to do.
    pub trouble: Option<String>,
}

impl RouterOutcome {
    /// Whether this process ever saw what the router has of an object. Before that, what is
    /// recorded stands: a restart must not make what is Ready look otherwise.
    #[must_use]
    pub fn looked_at(&self, uid: &str) -> bool {
        self.contact == Contact::Good || self.claims.contains_key(uid)
    }

    /// Of what differs on the router, what differs from what it was last known to run while
    /// the same is asked: that was somebody else. Before this process looked, it is what is
    /// recorded that counts.
    #[must_use]
    pub fn drifted(
        &self,
        desired: &vyos::Desired,
        mut differs: BTreeMap<Uid, Difference>,
        recorded: &BTreeMap<Uid, String>,
    ) -> BTreeMap<Uid, Difference> {
        let mut drifted = BTreeMap::new();
        for claim in &desired.claims {
            let Some(difference) = differs.remove(&claim.owner) else {
                continue;
            };
            let now = asked(&claim.want);
            let ran = match self.claims.get(&claim.owner) {
                Some((was_asked, state)) => *was_asked == now && *state == ClaimState::Programmed,
                None => recorded.get(&claim.owner) == Some(&applied(now)),
            };
            if ran && matches!(claim.want, Want::Present { .. }) {
                drifted.insert(claim.owner.clone(), difference);
            }
        }
        drifted
    }

    /// Forgets drift of what is no longer asked about.
    pub fn forget_strangers(&mut self) {
        let claims = &self.claims;
        self.drift.retain(|uid, _| claims.contains_key(uid));
    }

    /// The objects of which it runs all.
    #[must_use]
    pub fn settled(&self) -> BTreeSet<&str> {
        let claims = self.claims.iter();
        claims
            .filter(|(_, (_, state))| *state == ClaimState::Programmed)
            .map(|(uid, _)| uid.as_str())
            .collect()
    }
}

/// How far a router is with one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// It runs all of it.
    Programmed,
    /// It has nothing of it.
    Absent,
    /// Something of it is missing or too much, and will be sent.
    Pending,
    /// It is not acted on, or was refused.
    Held {
        /// One word.
        reason: Reason,
        /// What is so, and what to do.
        message: String,
    },
}

/// What the last pass over a cluster found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterOutcome {
    /// Whether it answers.
    pub contact: Contact,
    /// It failed several times in a row: it is asked after pauses only, whatever is new.
    pub left_alone: bool,
    /// The version that it says it runs.
    pub version: Option<String>,
    /// Privileges that its user lacks.
    pub missing: Vec<String>,
    /// Each instance: what was asked for it, and how that went.
    pub guests: BTreeMap<Uid, (u64, GuestReport)>,
    /// Each volume: what was asked for it, and how that went.
    pub volumes: BTreeMap<Uid, (u64, VolumeReport)>,
    /// Things with our mark that no object accounts for.
    pub orphans: Vec<String>,
    /// What somebody else changed, by the object that it is of.
    pub drift: BTreeMap<Uid, Found>,
    /// The numbers of what no object asks for.
    pub others: Others,
}

impl ClusterOutcome {
    /// What the last pass found that somebody else changed, by the object.
    #[must_use]
    pub fn drifted(&self) -> BTreeMap<Uid, Difference> {
        let guests = self.guests.iter();
        let guests = guests.filter_map(|(u, (_, r))| Some((u.clone(), r.drift.clone()?)));
        let volumes = self.volumes.iter();
        let volumes = volumes.filter_map(|(u, (_, r))| Some((u.clone(), r.drift.clone()?)));
        guests.chain(volumes).collect()
    }

    /// As [`RouterOutcome::forget_strangers`].
    pub fn forget_strangers(&mut self) {
        let (guests, volumes) = (&self.guests, &self.volumes);
        self.drift
            .retain(|uid, _| guests.contains_key(uid) || volumes.contains_key(uid));
    }

    /// The objects that were found to be as asked.
    #[must_use]
    pub fn settled(&self) -> BTreeSet<&str> {
        let guests = self.guests.iter().filter(|(_, (_, r))| {
            matches!(r.state, GuestState::Settled { .. }) && r.drift.is_none()
        });
        let volumes = self.volumes.iter().filter(|(_, (_, r))| {
            matches!(r.state, VolumeState::Settled { .. }) && r.drift.is_none()
        });
        let guests = guests.map(|(uid, _)| uid.as_str());
        guests.chain(volumes.map(|(uid, _)| uid.as_str())).collect()
    }

    /// As [`RouterOutcome::looked_at`].
    #[must_use]
    pub fn looked_at(&self, uid: &str) -> bool {
        self.contact == Contact::Good
            || self.guests.contains_key(uid)
            || self.volumes.contains_key(uid)
    }
}

/// What every target is asked for now, as numbers, by the object.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    routers: BTreeMap<String, HashMap<Uid, (u64, bool)>>,
    guests: BTreeMap<String, HashMap<Uid, u64>>,
    volumes: BTreeMap<String, HashMap<Uid, u64>>,
}

impl Asked {
    /// Reads what is rendered, once, so that no object is looked for twice.
    #[must_use]
    pub fn of(
        routers: &BTreeMap<String, vyos::Desired>,
        clusters: &BTreeMap<String, model::Desired>,
    ) -> Self {
        let mut asked_for = Self::default();
        for (name, desired) in routers {
            let claim = |c: &vyos::Claim| {
                (
                    c.owner.clone(),
                    (asked(&c.want), matches!(c.want, Want::Present { .. })),
                )
            };
            asked_for
                .routers
                .insert(name.clone(), desired.claims.iter().map(claim).collect());
        }
        for (name, desired) in clusters {
            let guests = desired
                .guests
                .iter()
                .map(|g| (g.uid.clone(), guest_asked(g)));
            asked_for.guests.insert(name.clone(), guests.collect());
            let volumes = desired
                .volumes
                .iter()
                .map(|v| (v.uid.clone(), volume_asked(v)));
            asked_for.volumes.insert(name.clone(), volumes.collect());
        }
        asked_for
    }

    /// What is asked of a router for an object.
    #[must_use]
    pub fn asks(&self, router: &str, uid: &str) -> Option<u64> {
        let (asked, _) = self.routers.get(router)?.get(uid)?;
        Some(*asked)
    }

    /// What a router found of an object, if that is still what is asked.
    #[must_use]
    pub fn claim<'a>(&self, seen: &'a Outcomes, router: &str, uid: &str) -> Option<&'a ClaimState> {
        let asked = self.asks(router, uid)?;
        let (was_asked, state) = seen.routers.get(router)?.claims.get(uid)?;
        (*was_asked == asked).then_some(state)
    }

    /// Whether a router is asked to have something of an object.
    #[must_use]
    pub fn wanted(&self, router: &str, uid: &str) -> bool {
        self.routers
            .get(router)
            .and_then(|r| r.get(uid))
            .is_some_and(|(_, present)| *present)
    }

    /// What a cluster found of an instance, if that is still what is asked.
    #[must_use]
    pub fn guest<'a>(
        &self,
        seen: &'a Outcomes,
        cluster: &str,
        uid: &str,
    ) -> Option<&'a GuestReport> {
        let asked = self.guests.get(cluster)?.get(uid)?;
        let (was_asked, report) = seen.clusters.get(cluster)?.guests.get(uid)?;
        (was_asked == asked).then_some(report)
    }

    /// What a cluster found of a volume, if that is still what is asked.
    #[must_use]
    pub fn volume<'a>(
        &self,
        seen: &'a Outcomes,
        cluster: &str,
        uid: &str,
    ) -> Option<&'a VolumeReport> {
        let asked = self.volumes.get(cluster)?.get(uid)?;
        let (was_asked, report) = seen.clusters.get(cluster)?.volumes.get(uid)?;
        (was_asked == asked).then_some(report)
    }
}

/// What is asked of a guest, as a number.
#[must_use]
pub fn guest_asked(guest: &model::DesiredGuest) -> u64 {
    let confirmed = guest.adopt.as_ref().map(|adopt| adopt.confirmed);
    digest(&(
        fingerprint(guest),
        guest.fate as u8,
        guest.observe,
        confirmed,
    ))
}

/// What is asked of a volume, as a number.
#[must_use]
pub fn volume_asked(volume: &model::DesiredVolume) -> u64 {
    digest(&(
        volume.size_gib,
        volume.fate as u8,
        &volume.attached_to,
        &volume.storage,
        volume.observe,
    ))
}

/// A number that tells whether what is asked is still what was asked. Kept in memory only.
#[must_use]
pub fn asked(want: &Want) -> u64 {
    digest(want)
}

/// As [`asked`], for anything.
#[must_use]
pub fn digest(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vyos::{Claim, Desired, Lines};

    fn asking(want: Want) -> Asked {
        let claims = vec![Claim {
            owner: "net".to_owned(),
            label: String::new(),
            tenant: String::new(),
            want,
            observe: false,
        }];
        let desired = Desired {
            claims,
            ..Desired::default()
        };
        Asked::of(&[("r1".to_owned(), desired)].into(), &BTreeMap::new())
    }

    #[test]
    fn a_provider_that_was_changed_is_not_known_to_answer() {
        let mut seen = Outcomes::default();
        let router = seen.router("r1");
        router.contact = Contact::Good;
        seen.provider_changed("r2");
        assert_eq!(seen.routers["r1"].contact, Contact::Good);
        seen.provider_changed("r1");
        assert_eq!(seen.routers["r1"].contact, Contact::Never);
    }

    #[test]
    fn trouble_of_the_same_kind_is_told_in_the_same_words() {
        let mut seen = Outcomes::default();
        let lost = |text: &str| Contact::Unreachable(text.to_owned());
        seen.router_lost("r1", lost("refused"), false);
        seen.router_lost("r1", lost("no answer within 15.1 s"), true);
        assert_eq!(seen.routers["r1"].contact, lost("refused"));
        assert!(seen.routers["r1"].left_alone);
        let refused = Contact::Unauthorized("another key".to_owned());
        seen.router_lost("r1", refused.clone(), true);
        assert_eq!(seen.routers["r1"].contact, refused);
        seen.provider_changed("r1");
        assert!(!seen.routers["r1"].left_alone);
    }

    #[test]
    fn what_was_found_before_something_else_was_asked_is_no_answer() {
        let absent = asking(Want::Absent);
        let present = asking(Want::Present {
            roots: Vec::new(),
            lines: Lines::default(),
        });
        let mut seen = Outcomes::default();
        let router = seen.router("r1");
        let found = (asked(&Want::Absent), ClaimState::Absent);
        router.claims.insert("net".to_owned(), found);
        seen.note(&absent, |_| true);
        assert_eq!(absent.claim(&seen, "r1", "net"), Some(&ClaimState::Absent));
        // It is asked to be there, and a moment later not to be: the router may be at it.
        seen.note(&present, |_| true);
        assert_eq!(present.claim(&seen, "r1", "net"), None);
        seen.note(&absent, |_| true);
        assert_eq!(absent.claim(&seen, "r1", "net"), Some(&ClaimState::Pending));
        // A router that is asked nothing is sent nothing: what was found there stands.
        let before = seen.clone();
        seen.note(&Asked::default(), |_| true);
        assert_eq!(seen, before);
        seen.note(&absent, |_| false);
        assert_eq!(seen, Outcomes::default());
    }
}
