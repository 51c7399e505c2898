//! Turns a Lease into the right to write: who holds it works, all others wait with full caches.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bb_core::lease::{Candidate, Record, Step};
use bb_wire::Mandate;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::MANAGER;
use crate::args::Args;

/// How long the Lease may take to be given back.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// One that would lead, and the Lease that it asks for.
pub(crate) struct Lead {
    api: Api<Lease>,
    name: String,
    me: String,
    duration: Duration,
    mandate: Mandate,
    began: Instant,
    candidate: Candidate,
    /// The Lease as it was read or written last.
    lease: Option<Lease>,
    leads: watch::Sender<bool>,
}

impl Lead {
    pub(crate) fn new(client: Client, args: &Args, me: String, mandate: Mandate) -> Self {
        let duration = Duration::from_secs(args.lease_duration.into());
        Self {
            api: Api::namespaced(client, args.lease_namespace()),
            name: args.lease_name.clone(),
            candidate: Candidate::new(me.clone(), duration),
            me,
            duration,
            mandate,
            began: Instant::now(),
            lease: None,
            leads: watch::Sender::new(false),
        }
    }

    /// Becomes true once, when this process leads.
    pub(crate) fn leads(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Takes the Lease when it is free and keeps it until `done`, then gives it back.
    ///
    /// # Errors
    /// It was lost: the process has to end, for nobody knows what another has begun.
    pub(crate) async fn run(mut self, done: CancellationToken) -> anyhow::Result<()> {
        tracing::info!(lease = self.name, me = self.me, "waiting to lead");
        loop {
            let step = self.candidate.step(self.began.elapsed());
            let wait = match step {
                Step::Wait(wait) => wait,
                Step::Lost(lost) => {
                    self.mandate.end();
                    return Err(lost).context("this process does not lead any more");
                }
                Step::Read | Step::Take | Step::Renew => {
                    let act = self.act(&step);
                    tokio::select! {
                        () = act => Duration::ZERO,
                        () = done.cancelled() => Duration::ZERO,
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = done.cancelled() => {}
            }
            if done.is_cancelled() {
                self.give_back().await;
                return Ok(());
            }
        }
    }

    /// Reads or writes the Lease, within the time after which it is tried again.
    async fn act(&mut self, step: &Step) {
        let limit = (self.duration / 5).max(Duration::from_millis(500));
        let sent = self.began.elapsed();
        let request = async {
            if *step == Step::Read {
                return self.api.get_opt(&self.name).await;
            }
            let lease = self.mine();
            if lease.resource_version().is_some() {
                let params = params();
                return self
                    .api
                    .replace(&self.name, &params, &lease)
                    .await
                    .map(Some);
            }
            self.api.create(&params(), &lease).await.map(Some)
        };
        let answer = tokio::time::timeout(limit, request).await;
        let now = self.began.elapsed();
        match answer {
            Ok(Ok(lease)) if *step == Step::Read => {
                self.candidate.read(now, lease.as_ref().map(record));
                self.lease = lease;
            }
            Ok(Ok(Some(lease))) => {
                self.candidate.wrote(sent, record(&lease));
                self.lease = Some(lease);
                self.granted();
            }
            Ok(Err(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                self.candidate.refused();
            }
            Ok(Ok(None)) => self.candidate.failed(now),
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = self.name, "cannot read or write the lease");
                self.candidate.failed(now);
            }
            Err(_) => {
                tracing::warn!(lease = self.name, ?limit, "no answer about the lease");
                self.candidate.failed(now);
            }
        }
    }

    /// The Lease was written with our name.
    fn granted(&self) {
        let Some(until) = self.candidate.until() else {
            return;
        };
        self.mandate.extend(self.began + until);
        if !*self.leads.borrow() {
            tracing::info!(lease = self.name, me = self.me, "leads");
            self.leads.send_replace(true);
        }
    }

    /// The Lease as it should be: ours, from now on.
    fn mine(&self) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_default();
        lease.metadata.name = Some(self.name.clone());
        lease.metadata.managed_fields = None;
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_ref() != Some(&self.me) {
            spec.holder_identity = Some(self.me.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
        }
        spec.lease_duration_seconds = i32::try_from(self.duration.as_secs()).ok();
        spec.renew_time = Some(now);
        lease
    }

    /// Frees the Lease, so that the next need not wait until it runs out.
    async fn give_back(&mut self) {
        self.mandate.end();
        let Some(mut lease) = self.lease.take().filter(|_| *self.leads.borrow()) else {
            return;
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let params = params();
        let given = self.api.replace(&self.name, &params, &lease);
        match tokio::time::timeout(GIVE_BACK, given).await {
            Ok(Ok(_)) => tracing::info!(lease = self.name, "gave the lease back"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot give the lease back: it runs out"),
            Err(_) => tracing::warn!("no answer to giving the lease back: it runs out"),
        }
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|s| s.lease_duration_seconds).unwrap_or(0);
    let holder = spec.and_then(|s| s.holder_identity.clone());
    Record {
        holder: holder.filter(|name| !name.is_empty()),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        version: lease.resource_version().unwrap_or_default(),
    }
}

/// Waits until this process leads.
///
/// # Errors
/// It never will: whoever asks for the Lease has ended.
pub(crate) async fn until_leading(mut leads: watch::Receiver<bool>) -> anyhow::Result<()> {
    if leads.wait_for(|leads| *leads).await.is_err() {
        bail!("the lease is not asked for any more");
    }
    Ok(())
}
