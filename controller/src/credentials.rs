//! Turns a change of a Secret into passes over the targets that use it.
//!
//! Only names and versions of Secrets are watched, and only in the controller's own namespace;
//! what is in one is read when a target is connected to.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use bb_crds::Provider;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};

use crate::shared::Shared;

/// Watches for as long as the process lives.
pub(crate) async fn run(shared: Arc<Shared>) -> anyhow::Result<()> {
    let client = shared.clients.watch.clone();
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &shared.args.namespace);
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    let mut stream = std::pin::pin!(stream);
    let mut known = Known::default();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if let Some(secret) = known.changed(&event) {
                    wake(&shared, &secret, known.complete);
                }
            }
            Err(error) => tracing::warn!(
                %error,
                "changes of Secrets are not seen; the controller must be allowed to list and \
                 watch them in its namespace"
            ),
        }
    }
    bail!("the watch of Secrets ended")
}

/// The version of each Secret.
#[derive(Default)]
struct Known {
    versions: BTreeMap<String, String>,
    /// All of them were listed once.
    complete: bool,
}

impl Known {
    /// The name of a Secret that is another than it was, or that is new. To list them all once
    /// more is no change; nor is that one goes: who has read it has it.
    fn changed(&mut self, event: &Event<PartialObjectMeta<Secret>>) -> Option<String> {
        match event {
            Event::Init => None,
            Event::InitDone => {
                self.complete = true;
                None
            }
            Event::Delete(secret) => {
                self.versions.remove(&secret.name_any());
                None
            }
            Event::Apply(secret) | Event::InitApply(secret) => {
                let version = secret.resource_version().unwrap_or_default();
                let name = secret.name_any();
                let before = self.versions.insert(name.clone(), version.clone());
                (before != Some(version)).then_some(name)
            }
        }
    }
}

/// Has the targets that use a Secret asked with what is in it now. Before all Secrets are known,
/// those alone that could not be asked: they may have been too early.
fn wake(shared: &Shared, secret: &str, complete: bool) {
    for provider in shared.stores.targets.state() {
        let name = provider.name_any();
        if uses(&provider, secret) && (complete || shared.breakers.is_failing(&name)) {
            tracing::info!(target = name, secret, "its credentials changed");
            shared.credentials_changed(&name);
        }
    }
}

/// Whether a Provider has its credentials or its CA from a Secret.
fn uses(provider: &Provider, secret: &str) -> bool {
    let spec = &provider.spec;
    let router = spec.vyos.as_ref().map(|v| (&v.credentials, &v.tls));
    let cluster = spec.proxmox.as_ref().map(|p| (&p.credentials, &p.tls));
    let mut parts = router.into_iter().chain(cluster);
    parts.any(|(credentials, tls)| {
        credentials.secret == secret || tls.ca_secret.as_deref() == Some(secret)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, version: &str) -> PartialObjectMeta<Secret> {
        let mut secret = PartialObjectMeta::<Secret>::default();
        secret.metadata.name = Some(name.to_owned());
        secret.metadata.resource_version = Some(version.to_owned());
        secret
    }

    #[test]
    fn a_list_once_more_is_no_change_and_another_content_is_one() {
        let mut known = Known::default();
        let a = Some("a".to_owned());
        assert_eq!(known.changed(&Event::InitApply(secret("a", "1"))), a);
        assert!(!known.complete);
        assert_eq!(known.changed(&Event::InitDone), None);
        assert!(known.complete);
        assert_eq!(known.changed(&Event::Init), None);
        assert_eq!(known.changed(&Event::InitApply(secret("a", "1"))), None);
        assert_eq!(known.changed(&Event::Apply(secret("a", "2"))), a);
        assert_eq!(known.changed(&Event::Delete(secret("a", "3"))), None);
        assert_eq!(known.changed(&Event::Apply(secret("a", "3"))), a);
    }
}
