//! Turns the end of a release into definitions that may go: no object is there, or all are let go of.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use bb_core::leave::{KINDS, Release, refusal, without_ours, without_tenants};
use bb_crds::{FINALIZER, GROUP, VERSION};
use bb_wire::Mandate;
use clap::ValueEnum;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::api::{ApiError, Clients, MANAGER, call};
use crate::args::Args;
use crate::seize;

/// How many objects are let go of at once.
const AT_ONCE: usize = 16;
/// How often what is there is looked at again, since others may write to it meanwhile.
const ROUNDS: usize = 10;
/// How many objects are asked for at once.
const PAGE: u32 = 500;

/// Before the definitions go with a release: says whether they may, and lets go of what is there
/// where that is asked for.
#[derive(clap::Args, Clone, Debug)]
pub struct Leave {
    /// What comes of objects that are there.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Objects::Refuse)]
    pub objects: Objects,

    /// The name of the release, for the words of a refusal.
    #[arg(long, default_value = "bitbuilder")]
    pub release: String,

    /// The revision of the release, for the words of a refusal.
    #[arg(long, default_value_t = 1)]
    pub revision: u32,
}

/// What comes of objects when their definitions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Objects {
    /// Where there is one, the release stays, and nothing is changed.
    Refuse,
    /// Our finalizer is taken off each. What is on routers and clusters stays as it is.
    Orphan,
}

/// Whether the definitions may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No object of ours is there, or none that would wait for a controller.
    Go,
    /// Objects are there, and nothing was changed.
    Stay,
}

/// Looks at all objects of our kinds, and lets go of them where that is asked for. The words of a
/// refusal are written to `out`.
///
/// # Errors
/// When the API does not do what it is asked for: then nothing, or only a part, was let go of, and
/// the controllers go on with all of it when the Lease has run out.
pub async fn run(
    args: &Args,
    leave: &Leave,
    out: &mut (dyn std::io::Write + Send),
) -> anyhow::Result<Verdict> {
    let me = format!("leave_{:08x}", rand::random::<u32>());
    let mandate = Mandate::new(me.clone());
    let clients = Clients::connect(args, mandate.clone(), &Arc::default()).await?;
    let objects = list(&clients.request).await?;
    if objects.is_empty() {
        writeln!(out, "no object is left: the definitions may go").context("cannot write")?;
        return Ok(Verdict::Go);
    }
    match leave.objects {
        Objects::Refuse => {
            let count = |kind| objects.iter().filter(|(of, _)| *of == kind).count();
            let there = KINDS.map(|kind| (kind, count(kind)));
            let release = Release {
                name: leave.release.clone(),
                namespace: args.lease_namespace().to_owned(),
                revision: leave.revision,
            };
            let words = refusal(&there, &release).unwrap_or_default();
            out.write_all(words.as_bytes()).context("cannot write")?;
            Ok(Verdict::Stay)
        }
        Objects::Orphan => {
            // Nobody may put finalizers on, or carry out a delete, from here on.
            let held = seize::seize(&clients.lease, args, me, mandate).await?;
            let let_go = async {
                let_go_of_namespaces(&clients.request).await?;
                let_go_of_objects(&clients.request, out).await
            };
            tokio::select! {
                done = let_go => done?,
                lost = held.keep() => return Err(lost),
            }
            Ok(Verdict::Go)
        }
    }
}

fn api(client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Every object of our kinds. A kind that is not defined any more has none.
async fn list(client: &Client) -> Result<Vec<(&'static str, DynamicObject)>, ApiError> {
    let mut all = Vec::new();
    for kind in KINDS {
        let api = api(client, kind, None);
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let what = format!("list objects of the kind {kind}");
            let page = match call(what, api.list(&params)).await {
                Err(error) if error.not_found() => break,
                page => page?,
            };
            all.extend(page.items.into_iter().map(|object| (kind, object)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(all)
}

/// Namespaces of Tenants would go with them, with all that people have in them.
async fn let_go_of_namespaces(client: &Client) -> anyhow::Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    for _ in 0..ROUNDS {
        let all = call("list namespaces", api.list(&ListParams::default())).await?;
        let owned = all.into_iter().filter_map(|namespace| {
            let others = without_tenants(namespace.metadata.owner_references.as_ref()?)?;
            Some((namespace, others))
        });
        let mut open = 0;
        for (namespace, others) in owned {
            open += 1;
            let name = namespace.name_any();
            let version = namespace.resource_version();
            let patch =
                json!({"metadata": {"ownerReferences": others, "resourceVersion": version}});
            let what = format!("keep the namespace {name}");
            let (params, patch) = (params(), Patch::Merge(&patch));
            settled(call(what, api.patch(&name, &params, &patch)).await)?;
        }
        if open == 0 {
            return Ok(());
        }
    }
    bail!("namespaces are written to by somebody else all the time: try again")
}

/// Takes our finalizer off every object, and tells of each what stays where.
async fn let_go_of_objects(
    client: &Client,
    out: &mut (dyn std::io::Write + Send),
) -> anyhow::Result<()> {
    for _ in 0..ROUNDS {
        let held: Vec<_> = list(client)
            .await?
            .into_iter()
            .filter(|(_, object)| object.finalizers().iter().any(|f| f == FINALIZER))
            .collect();
        if held.is_empty() {
            return Ok(());
        }
        let mut gone = stream::iter(held.into_iter().map(|(kind, object)| async move {
            let_go_of(client, kind, &object)
                .await
                .map(|let_go| let_go.then(|| words(kind, &object)))
        }))
        .buffered(AT_ONCE);
        while let Some(words) = gone.try_next().await? {
            if let Some(words) = words {
                writeln!(out, "let go of {words}").context("cannot write")?;
            }
        }
    }
    bail!("objects are written to by somebody else all the time: try again")
}

/// Takes our finalizer off; `false` where the object was written to meanwhile, or is gone.
async fn let_go_of(client: &Client, kind: &str, object: &DynamicObject) -> Result<bool, ApiError> {
    let Some(others) = without_ours(object.finalizers()) else {
        return Ok(false);
    };
    let namespace = object.namespace();
    let name = object.name_any();
    let version = object.resource_version();
    let patch = json!({"metadata": {"finalizers": others, "resourceVersion": version}});
    let what = format!("take the finalizer off {kind} {name}");
    let api = api(client, kind, namespace.as_deref());
    settled(call(what, api.patch(&name, &params(), &Patch::Merge(&patch))).await)
}

/// Whether a write was taken; one that another was faster than is looked at again.
fn settled<T>(answer: Result<T, ApiError>) -> Result<bool, ApiError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.conflict() || error.not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// An object, and what of it is outside: nobody else will know.
fn words(kind: &str, object: &DynamicObject) -> String {
    let name = object.name_any();
    let name = match object.namespace() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name,
    };
    let outside = object.data["status"]["providerID"].as_str();
    let outside = outside.map_or_else(String::new, |id| format!(": {id} stays"));
    format!("{kind} {name}{outside}")
}
