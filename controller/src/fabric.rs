//! The pass over the objects: gather, resolve, allocate, render, status, write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bb_core::allocate::allocate;
use bb_core::outcome::Asked;
use bb_core::render;
use bb_core::resolve::{Id, resolve};
use bb_core::status::{Change, FinalizerOp, Known, changes};
use bb_core::world::{World, uid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource as _;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiError, Place};
use crate::backoff::pause;
use crate::namespaces;
use crate::shared::Shared;

/// Changes that come together are seen together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// No pause after a failure is longer: everybody waits for it.
const LONGEST: Duration = Duration::from_secs(30);

/// Runs passes for as long as the process lives.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut failed = 0;
    shared.wake_fabric();
    loop {
        tokio::select! {
            () = shared.fabric_woken() => {}
            () = stop.cancelled() => return Ok(()),
        }
        tokio::time::sleep(DEBOUNCE).await;
        match pass(&shared).await {
            Ok(()) => failed = 0,
            Err(error) => {
                failed += 1;
                let first = Duration::from_millis(shared.args.backoff / 4);
                let wait = pause(failed, first, rand::random()).min(LONGEST);
                // A conflict is a decision on something old, made again in a moment.
                if error.conflict() {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a pass over the objects begins again"
                    );
                } else {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        ?wait,
                        "a pass over the objects failed"
                    );
                }
                tokio::select! {
                    () = tokio::time::sleep(wait) => shared.wake_fabric(),
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
    }
}

async fn pass(shared: &Shared) -> Result<(), ApiError> {
    let world = shared.stores.world(&shared.written);
    let resolved = resolve(&world);
    let grants = allocate(&world, &resolved);
    let routers: BTreeMap<_, _> = resolved
        .routers
        .keys()
        .map(|name| {
            (
                name.clone(),
                render::router(&world, &resolved, name, &shared.installation),
            )
        })
        .collect();
    let clusters: BTreeMap<_, _> = resolved
        .clusters
        .keys()
        .filter_map(|name| {
            let desired = render::cluster(&world, &resolved, name, &shared.installation)?;
            Some((name.clone(), desired))
        })
        .collect();
    let asked = Arc::new(Asked::of(&routers, &clusters));
    let generation = |p: &bb_crds::Provider| p.metadata.generation.unwrap_or(0);
    let generations = world
        .providers
        .iter()
        .map(|(n, p)| (n.clone(), generation(p)))
        .collect();
    shared.ask(routers, clusters, generations, Arc::clone(&asked));
    let outcomes = shared.outcomes();
    let by_uid = world
        .instances
        .iter()
        .map(|(k, i)| (uid(i.as_ref()), k.clone()))
        .collect();
    let known = Known {
        world: &world,
        resolved: &resolved,
        grants: &grants,
        asked: &asked,
        by_uid: &by_uid,
        outcomes: &outcomes,
        now: &Time(Timestamp::now()),
    };
    let (unsettled, kept) = namespaces::keep(shared, &known).await;
    let written = write_all(shared, &world, changes(&known), unsettled).await;
    kept.and(written)
}

/// Carries changes out in their order. A failure on what others depend on (a cursor, a VRF)
/// ends the pass; one on a volume or an instance holds up nobody else.
async fn write_all(
    shared: &Shared,
    world: &World,
    changes: Vec<Change>,
    mut unsettled: bool,
) -> Result<(), ApiError> {
    let mut first = Ok(());
    for change in changes {
        let of_tenant = matches!(change.id, Id::Region(_) | Id::Provider(_) | Id::Tenant(_));
        if unsettled && !of_tenant {
            // A tenant's namespace is on its way: what is in it would be refused for a moment,
            // and each refusal written to each object.
            shared.wake_fabric();
            return first;
        }
        if let Err(error) = write(shared, world, &change).await {
            if !matches!(change.id, Id::Volume(_) | Id::Instance(_)) {
                return Err(error);
            }
            first = first.and(Err(error));
        }
        let begins = change.finalizer == Some(FinalizerOp::Add);
        unsettled |= begins && matches!(change.id, Id::Tenant(_));
    }
    first
}

async fn write(shared: &Shared, world: &World, change: &Change) -> Result<(), ApiError> {
    let Some(meta) = meta(world, &change.id) else {
        return Ok(());
    };
    let place = Place::of(&change.id);
    let finalizers = meta.finalizers.clone().unwrap_or_default();
    let result = api::write(
        &shared.clients.request,
        &place,
        meta.resource_version.clone(),
        &finalizers,
        change,
    )
    .await;
    match result {
        Ok(written) => {
            // What loses its finalizer is about to go: there is nothing to remember.
            if let Some(object) = written.filter(|_| change.finalizer != Some(FinalizerOp::Remove))
            {
                shared.written.remember(object);
            }
            if let Some(note) = &change.event {
                api::publish(&shared.recorder, &place, meta.uid.clone(), note).await;
            }
            Ok(())
        }
        Err(error) if error.not_found() => Ok(()),
        Err(error) => {
            if error.conflict() {
                shared.written.forget(meta.uid.as_ref());
            }
            Err(error)
        }
    }
}

fn meta<'a>(world: &'a World, id: &Id) -> Option<&'a kube::core::ObjectMeta> {
    Some(match id {
        Id::Region(name) => world.regions.get(name)?.meta(),
        Id::Provider(name) => world.providers.get(name)?.meta(),
        Id::Tenant(name) => world.tenants.get(name)?.meta(),
        Id::Network(key) => world.networks.get(key)?.meta(),
        Id::Volume(key) => world.volumes.get(key)?.meta(),
        Id::Instance(key) => world.instances.get(key)?.meta(),
    })
}
