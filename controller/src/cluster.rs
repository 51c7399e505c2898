//! The pass over a cluster: the driver looks, plans and acts; its report goes on the board.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bb_core::drift::follow;
use bb_core::outcome::{ClusterOutcome, Contact, guest_asked, volume_asked};
use bb_core::proxmox::model::{Desired, PassReport};
use bb_core::rehearse::ClusterLook;
use bb_crds::Provider;
use bb_crds::ids::Vmid;
use bb_crds::provider::Proxmox;
use bb_proxmox::{Cluster, ClusterError, Driver, Observer, PassError, Request, Uses};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::oneshot;

use crate::looks::Seen;
use crate::measures::Over;
use crate::metrics::Kind;
use crate::pass::{After, PassFailed, rate, settled};
use crate::secrets;
use crate::shared::Shared;

/// How long rights once found sufficient are believed.
const RIGHTS: Duration = Duration::from_secs(600);

/// What is kept of a cluster between passes.
#[derive(Default)]
pub(crate) struct ClusterSession {
    connected: Option<(Proxmox, Driver)>,
    /// Guests whose creation was sent by a driver that was given up.
    sent: BTreeSet<Vmid>,
    rights: Option<(Instant, Vec<String>)>,
    /// Requests that were counted of those that the client sent.
    counted: u64,
}

/// One pass. Says when the next is due.
pub(crate) async fn pass(
    shared: &Shared,
    name: &str,
    provider: &Provider,
    spec: &Proxmox,
    session: &mut ClusterSession,
) -> Result<After, PassFailed> {
    let Some(desired) = shared.asked_of_cluster(name) else {
        return Ok(After::Settled(settled(shared)));
    };
    if let Err(contact) = session.connect(shared, name, spec).await {
        return Err(no_contact(shared, name, contact));
    }
    if let Some((_, driver)) = &session.connected {
        let limits = spec.limits;
        let rate = rate(limits.requests_per_second, limits.request_burst);
        driver.cluster().pace(rate);
    }
    if shared.breakers.is_failing(name)
        && let Some((_, driver)) = &session.connected
        && let Err(error) = driver.cluster().probe().await
    {
        // One request says it; the pass would make several, and wait for each.
        session.forget_if_refused(&error);
        return Err(no_contact(shared, name, contact_of(&error)));
    }
    let missing = match session.rights(shared, name, provider, spec).await {
        Ok(missing) => missing,
        Err(error) => {
            session.forget_if_refused(&error);
            return Err(no_contact(shared, name, contact_of(&error)));
        }
    };
    let Some((_, driver)) = &mut session.connected else {
        return Ok(After::Settled(settled(shared)));
    };
    let asked = shared.looks.take(name);
    match driver.pass(&desired).await {
        Ok(report) => {
            shared.breakers.closed(name);
            let settled = settled(shared);
            let next = match driver.due() {
                Some(due) => After::Soon(due.min(settled)),
                None => After::Settled(settled),
            };
            let mut outcome = outcome(&desired, report);
            outcome.version = Some(driver.cluster().version().to_owned());
            outcome.missing = missing;
            shared.found(|outcomes| {
                let before = outcomes.clusters.remove(name).unwrap_or_default();
                let found = outcome.drifted();
                let settled = outcome.settled();
                let (drift, news) = follow(&before.drift, found, &settled, &Time(Timestamp::now()));
                outcome.drift = drift;
                outcome.forget_strangers();
                for uid in news {
                    let guest = outcome.guests.contains_key(&uid);
                    let kind = if guest { Kind::Instance } else { Kind::Volume };
                    shared.metrics.drifted(name, kind);
                }
                shared.metrics.orphans(name, outcome.orphans.len());
                outcomes.clusters.insert(name.to_owned(), outcome.into());
            });
            // Once what was found is on the board.
            tell(driver, asked).await;
            Ok(next)
        }
        Err(error) => {
            session.forget_if_refused(&error.source);
            let contact = contact_of_pass(&error);
            Err(no_contact(shared, name, contact))
        }
    }
}

/// Looks once more for those who asked: what a pass saw is old once it has acted.
async fn tell(driver: &Driver, asked: Vec<oneshot::Sender<Seen>>) {
    if asked.is_empty() {
        return;
    }
    match driver.survey().await {
        Ok((seen, flight)) => {
            let look = ClusterLook {
                read: Time(Timestamp::now()),
                seen,
                flight,
            };
            for tell in asked {
                let seen = Seen::Cluster(Box::new(look.clone()), driver.cluster().clone());
                // Who does not wait any more needs no answer.
                let _ = tell.send(seen);
            }
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a cluster cannot be looked at for a plan"
        ),
    }
}

fn no_contact(shared: &Shared, name: &str, contact: Contact) -> PassFailed {
    PassFailed::no_contact(shared, name, contact, |outcomes, contact, left_alone| {
        outcomes.cluster_lost(name, contact, left_alone);
    })
}

fn contact_of(error: &ClusterError) -> Contact {
    match error {
        ClusterError::Unauthorized(_)
        | ClusterError::Untrusted { .. }
        | ClusterError::Setup(_)
        | ClusterError::Forbidden { .. } => Contact::Unauthorized(error.to_string()),
        _ => Contact::Unreachable(error.to_string()),
    }
}

fn contact_of_pass(error: &PassError) -> Contact {
    match contact_of(&error.source) {
        Contact::Unreachable(text) => {
            Contact::Unreachable(format!("cannot {}: {text}", error.what))
        }
        other => other,
    }
}

impl ClusterSession {
    /// The requests since the last time that this was asked.
    pub(crate) fn requests(&mut self) -> u64 {
        let connected = self.connected.as_ref();
        let sent: u64 = connected.map_or(0, |(_, d)| d.cluster().counts().values().sum());
        // A client that was made anew counts from zero.
        let fresh = sent.checked_sub(self.counted).unwrap_or(sent);
        self.counted = sent;
        fresh
    }

    /// Has the next pass read the credentials anew.
    pub(crate) fn forget(&mut self) {
        if let Some((_, driver)) = self.connected.take() {
            self.sent = driver.sent();
        }
        self.rights = None;
    }

    async fn connect(
        &mut self,
        shared: &Shared,
        name: &str,
        spec: &Proxmox,
    ) -> Result<(), Contact> {
        if self
            .connected
            .as_ref()
            .is_some_and(|(made_of, _)| made_of == spec)
        {
            return Ok(());
        }
        self.forget();
        let endpoint = secrets::cluster(shared, spec)
            .await
            .map_err(|error| Contact::Unauthorized(error.to_string()))?;
        let (metrics, named) = (Arc::clone(&shared.metrics), name.to_owned());
        let observer: Observer = Arc::new(move |request: &Request| {
            metrics.measures.requested(&named, Over::cluster, request);
        });
        let cluster = Cluster::observed(endpoint, Some(observer))
            .await
            .map_err(|error| contact_of(&error))?;
        // What was under way is learned anew from the cluster.
        let driver = Driver::new(cluster)
            .looking_within(shared.args.active_poll())
            .succeeding(std::mem::take(&mut self.sent));
        self.connected = Some((spec.clone(), driver));
        self.rights = None;
        Ok(())
    }

    /// Credentials that are refused are read anew: somebody may have changed the Secret.
    fn forget_if_refused(&mut self, error: &ClusterError) {
        let refused = matches!(
            error,
            ClusterError::Unauthorized(_) | ClusterError::Untrusted { .. }
        );
        if refused {
            self.forget();
        }
    }

    /// The rights that are missing: asked at connect, while any are missing, and now and then.
    async fn rights(
        &mut self,
        shared: &Shared,
        name: &str,
        provider: &Provider,
        spec: &Proxmox,
    ) -> Result<Vec<String>, ClusterError> {
        if let Some((asked, missing)) = &self.rights
            && missing.is_empty()
            && asked.elapsed() < RIGHTS
        {
            return Ok(Vec::new());
        }
        let Some((_, driver)) = &self.connected else {
            return Ok(Vec::new());
        };
        let uses = uses(shared, name, provider, spec);
        let missing = driver.cluster().check_rights(&uses).await?;
        self.rights = Some((Instant::now(), missing.clone()));
        Ok(missing)
    }
}

/// What a Provider says that its cluster is used for.
fn uses(shared: &Shared, name: &str, provider: &Provider, spec: &Proxmox) -> Uses {
    let world = shared.stores.world();
    let region = world.regions.get(&provider.spec.region);
    let attachments = region.iter().flat_map(|r| &r.spec.attachments);
    let bridges: BTreeSet<String> = attachments
        .filter(|a| a.cluster == name)
        .filter_map(|a| a.vlan.as_ref())
        .map(|vlan| format!("localnetwork/{}", vlan.bridge))
        .collect();
    let vmid = |raw: i32| {
        u32::try_from(raw)
            .ok()
            .and_then(|raw| Vmid::try_from(raw).ok())
    };
    let archives = spec
        .images
        .iter()
        .filter_map(|image| image.archive.as_ref());
    Uses {
        pool: spec.pool.clone(),
        templates: spec
            .images
            .iter()
            .filter_map(|image| vmid(image.template?))
            .collect(),
        storages: spec
            .storage
            .iter()
            .map(|class| class.storage.clone())
            .collect(),
        archives: archives
            .filter_map(|volid| Some(volid.split_once(':')?.0.to_owned()))
            .collect(),
        holder: spec.holder.and_then(vmid),
        bridges,
    }
}

/// A report, with what it was asked for beside each object.
fn outcome(desired: &Desired, report: PassReport) -> ClusterOutcome {
    let mut guests = report.guests;
    let mut volumes = report.volumes;
    ClusterOutcome {
        contact: Contact::Good,
        guests: desired
            .guests
            .iter()
            .filter_map(|g| Some((g.uid.clone(), (guest_asked(g), guests.remove(&g.uid)?))))
            .collect(),
        volumes: desired
            .volumes
            .iter()
            .filter_map(|v| Some((v.uid.clone(), (volume_asked(v), volumes.remove(&v.uid)?))))
            .collect(),
        orphans: report.orphans,
        others: report.others,
        ..ClusterOutcome::default()
    }
}
