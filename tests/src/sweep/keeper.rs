//! Turns a namespace that is to go into one that is gone, at once.
//!
//! The control plane's own controller does the same after a pause of five seconds, which is
//! there for several API servers and would be most of what a run takes. It does not run here:
//! once it has begun it goes by the name, and would empty the next namespace of that name.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::story::TENANT;
use crate::Site;

const LOOK: Duration = Duration::from_millis(100);

/// Waits until the tenant's namespace is to go, deletes what is in it, waits until that is gone
/// and lets it go.
pub async fn clear(site: &Site, bound: Duration) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(site.client.clone());
    let until = Instant::now() + bound;
    let mut emptied = false;
    loop {
        let Some(mut namespace) = namespaces.get_opt(TENANT).await? else {
            return Ok(());
        };
        if namespace.metadata.deletion_timestamp.is_some() {
            if !emptied {
                for kind in ["Instance", "Volume", "Network"] {
                    let api = site.ours(kind, Some(TENANT));
                    api.delete_collection(&DeleteParams::default(), &ListParams::default())
                        .await?;
                }
                emptied = true;
            }
            if is_empty(site).await? {
                rest(&site.client).await?;
                namespace.spec.get_or_insert_default().finalizers = Some(Vec::new());
                let params = PostParams::default();
                match namespaces
                    .replace_subresource("finalize", TENANT, &params, &namespace)
                    .await
                {
                    Ok(_) => {}
                    // It changed meanwhile, or is gone: the next look tells.
                    Err(kube::Error::Api(status))
                        if status.is_conflict() || status.is_not_found() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if Instant::now() > until {
            bail!("the namespace {TENANT} is there after {bound:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn is_empty(site: &Site) -> Result<bool> {
    let one = ListParams::default().limit(1);
    for kind in ["Instance", "Volume", "Network"] {
        if !site
            .ours(kind, Some(TENANT))
            .list(&one)
            .await?
            .items
            .is_empty()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes what nobody waits for, so that the next namespace of the name begins empty.
async fn rest(client: &Client) -> Result<()> {
    all_of::<RoleBinding>(client).await?;
    all_of::<Event>(client).await?;
    all_of::<ServiceAccount>(client).await?;
    all_of::<ConfigMap>(client).await
}

async fn all_of<K>(client: &Client) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), TENANT);
    api.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await?;
    Ok(())
}
