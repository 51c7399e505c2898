//! Turns the Lease of whoever works into ours, so that nobody works any more.
//!
//! A controller that waits to lead waits until a Lease has run out. Here it is taken from its
//! holder, who finds that out at the next renewal and ends; what it may still write it writes
//! within the duration of its Lease, which is waited for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bb_wire::Mandate;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::api::{MANAGER, call};
use crate::args::Args;

/// How long it stays ours after the last renewal. By then helm has removed the controllers; where
/// it could not, they go on after this.
const HOLD: Duration = Duration::from_secs(60);
/// How often a write that another was faster than is tried again.
const TRIES: usize = 20;

/// The Lease, ours for as long as it is kept.
pub(crate) struct Held {
    api: Api<Lease>,
    me: String,
    lease: Lease,
    mandate: Mandate,
}

/// Takes the Lease and waits until nobody else writes. Each renewal moves on until when the mandate
/// lets us write.
///
/// # Errors
/// When the API does not give it.
pub(crate) async fn seize(
    client: &Client,
    args: &Args,
    me: String,
    mandate: Mandate,
) -> anyhow::Result<Held> {
    let api: Api<Lease> = Api::namespaced(client.clone(), args.lease_namespace());
    for _ in 0..TRIES {
        let old = call("read the lease", api.get_opt(&args.lease_name)).await?;
        let before = old.as_ref().and_then(|lease| lease.spec.clone());
        let wanted = ours(old.unwrap_or_default(), &args.lease_name, &me);
        let Some(lease) = write(&api, &wanted).await? else {
            continue;
        };
        let mut held = Held {
            api,
            me,
            lease,
            mandate,
        };
        let until = Instant::now() + rest(before.as_ref());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(HOLD / 3)).await;
            held.renew().await?;
            if Instant::now() >= until {
                return Ok(held);
            }
        }
    }
    bail!("cannot take the lease from its holder: somebody else writes to it all the time")
}

impl Held {
    /// Renews it again and again.
    ///
    /// Gives back only an error: why it cannot be kept.
    pub(crate) async fn keep(mut self) -> anyhow::Error {
        loop {
            tokio::time::sleep(HOLD / 3).await;
            if let Err(error) = self.renew().await {
                return error;
            }
        }
    }

    async fn renew(&mut self) -> anyhow::Result<()> {
        let name = self.lease.metadata.name.clone().unwrap_or_default();
        let wanted = ours(self.lease.clone(), &name, &self.me);
        let sent = Instant::now();
        let renewed = write(&self.api, &wanted).await?;
        self.lease = renewed.context("somebody else took the lease: try again")?;
        self.mandate.extend(sent + HOLD * 2 / 3);
        Ok(())
    }
}

/// How long the holder of a Lease may still write. Nothing where nobody holds it.
fn rest(before: Option<&LeaseSpec>) -> Duration {
    let holder = before.and_then(|spec| spec.holder_identity.as_deref());
    let seconds = before.and_then(|spec| spec.lease_duration_seconds);
    match (holder.filter(|name| !name.is_empty()), seconds) {
        (Some(_), Some(seconds)) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        _ => Duration::ZERO,
    }
}

/// The Lease with our name, from now on.
fn ours(mut lease: Lease, name: &str, me: &str) -> Lease {
    lease.metadata.name = Some(name.to_owned());
    lease.metadata.managed_fields = None;
    let now = MicroTime(Timestamp::now());
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    if spec.holder_identity.as_deref() != Some(me) {
        spec.holder_identity = Some(me.to_owned());
        spec.acquire_time = Some(now.clone());
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    }
    spec.lease_duration_seconds = i32::try_from(HOLD.as_secs()).ok();
    spec.renew_time = Some(now);
    lease
}

/// Writes the Lease as it was read; nothing where somebody was faster.
async fn write(api: &Api<Lease>, lease: &Lease) -> anyhow::Result<Option<Lease>> {
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let name = lease.metadata.name.clone().unwrap_or_default();
    let answer = if lease.metadata.resource_version.is_some() {
        call("take the lease", api.replace(&name, &params, lease)).await
    } else {
        call("make the lease", api.create(&params, lease)).await
    };
    match answer {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if error.conflict() || error.already_exists() || error.not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_who_holds_the_lease_is_waited_for() {
        let spec = |holder: Option<&str>| LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        assert_eq!(rest(Some(&spec(Some("pod")))), Duration::from_secs(15));
        assert_eq!(rest(Some(&spec(Some("")))), Duration::ZERO);
        assert_eq!(rest(Some(&spec(None))), Duration::ZERO);
        assert_eq!(rest(None), Duration::ZERO);
    }

    #[test]
    fn a_lease_that_is_taken_counts_as_a_transition_and_a_renewal_does_not() {
        let taken = ours(Lease::default(), "l", "me");
        let spec = taken.spec.clone().expect("it was written");
        assert_eq!(spec.holder_identity.as_deref(), Some("me"));
        assert_eq!(spec.lease_transitions, Some(1));
        let again = ours(taken, "l", "me").spec.expect("it was written");
        assert_eq!(again.lease_transitions, Some(1));
        assert_eq!(again.acquire_time, spec.acquire_time);
    }
}
