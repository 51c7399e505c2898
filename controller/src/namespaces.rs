//! Turns tenants and their members into namespaces and role bindings.

use bb_core::status::{Known, namespace_conflict};
use bb_core::world::{deleting, finalized, paused, uid};
use bb_crds::tenant::{Member, MemberKind, MemberRole};
use bb_crds::{GROUP, TENANT_LABEL, Tenant, VERSION};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::api::{ApiError, MANAGER, call};
use crate::shared::Shared;

/// The label on what we make in a namespace.
const MANAGED: &str = "app.kubernetes.io/managed-by";

/// Makes, binds and removes namespaces as their tenants ask. Says whether a tenant got its
/// namespace just now, which the caches do not know yet.
pub(crate) async fn keep(shared: &Shared, known: &Known<'_>) -> Result<bool, ApiError> {
    let mut owned_now = false;
    for (name, tenant) in &known.world.tenants {
        if !finalized(tenant.as_ref()) || paused(tenant.as_ref()) {
            continue;
        }
        let view = known.world.namespaces.get(name);
        let owned = view.is_some_and(|v| v.owner.as_ref() == Some(&uid(tenant.as_ref())));
        if deleting(tenant.as_ref()) {
            if owned && view.is_some_and(|v| !v.deleting) {
                remove(shared, name).await?;
            }
            continue;
        }
        if view.is_some_and(|v| v.deleting) || namespace_conflict(known, name, tenant).is_some() {
            continue;
        }
        if !owned {
            own(shared, name, tenant).await?;
            owned_now = true;
        }
        let fingerprint = fingerprint(&tenant.spec.members);
        if shared.members_differ(name, &fingerprint) {
            bind(shared, name, tenant).await?;
            shared.members_are(name, fingerprint);
        }
    }
    Ok(owned_now)
}

async fn own(shared: &Shared, name: &str, tenant: &Tenant) -> Result<(), ApiError> {
    let api: Api<Namespace> = Api::all(shared.clients.request.clone());
    let body = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {TENANT_LABEL: name},
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/{VERSION}"),
                "kind": "Tenant",
                "name": name,
                "uid": uid(tenant),
            }],
        },
    });
    let params = PatchParams::apply(MANAGER).force();
    call(
        format!("make namespace {name}"),
        api.patch(name, &params, &Patch::Apply(&body)),
    )
    .await?;
    Ok(())
}

async fn remove(shared: &Shared, name: &str) -> Result<(), ApiError> {
    let api: Api<Namespace> = Api::all(shared.clients.request.clone());
    match call(
        format!("delete namespace {name}"),
        api.delete(name, &DeleteParams::default()),
    )
    .await
    {
        Err(error) if !error.not_found() => Err(error),
        _ => Ok(()),
    }
}

fn fingerprint(members: &[Member]) -> String {
    serde_json::to_string(members).unwrap_or_default()
}

/// One binding per role that has members; bindings of ours for roles without are removed.
async fn bind(shared: &Shared, namespace: &str, tenant: &Tenant) -> Result<(), ApiError> {
    let api: Api<RoleBinding> = Api::namespaced(shared.clients.request.clone(), namespace);
    let roles = [
        (MemberRole::View, "bitbuilder-view"),
        (MemberRole::Edit, "bitbuilder-edit"),
        (MemberRole::Admin, "bitbuilder-admin"),
    ];
    let ours = ListParams::default().labels(&format!("{MANAGED}={MANAGER}"));
    let present = call(
        format!("list role bindings of {namespace}"),
        api.list(&ours),
    )
    .await?;
    for (role, name) in roles {
        let subjects: Vec<Value> = tenant
            .spec
            .members
            .iter()
            .filter(|m| m.role == role)
            .map(subject)
            .collect();
        let there = present.iter().any(|b| b.name_any() == name);
        if subjects.is_empty() {
            if there {
                let params = DeleteParams::default();
                call(
                    format!("remove {name} from {namespace}"),
                    api.delete(name, &params),
                )
                .await?;
            }
            continue;
        }
        let body = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace, "labels": {MANAGED: MANAGER}},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": subjects,
        });
        let params = PatchParams::apply(MANAGER).force();
        let what = format!("give the members of {namespace} the role {name}");
        call(what, api.patch(name, &params, &Patch::Apply(&body))).await?;
    }
    Ok(())
}

fn subject(member: &Member) -> Value {
    let kind = match member.kind {
        MemberKind::User => "User",
        MemberKind::Group => "Group",
    };
    json!({"kind": kind, "name": member.name, "apiGroup": "rbac.authorization.k8s.io"})
}
