//! Turns tenants and their members into namespaces and role bindings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bb_core::resolve::Id;
use bb_core::status::{Known, namespace_conflict};
use bb_core::world::{deleting, finalized, paused, uid};
use bb_crds::tenant::{Member, MemberKind, MemberRole};
use bb_crds::{GROUP, TENANT_LABEL, Tenant, VERSION};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::api::{ApiError, MANAGER, call};
use crate::backoff;
use crate::shared::Shared;

/// The label on what we make in a namespace.
const MANAGED: &str = "app.kubernetes.io/managed-by";

/// What members may be, and the role that each is bound to.
const ROLES: [(MemberRole, &str); 3] = [
    (MemberRole::View, "bitbuilder-view"),
    (MemberRole::Edit, "bitbuilder-edit"),
    (MemberRole::Admin, "bitbuilder-admin"),
];

/// How many namespaces are worked on at once.
const SIDE_BY_SIDE: usize = 8;

/// Makes, binds and removes namespaces as their tenants ask. Gives the tenants that got theirs
/// just now, which the caches do not know yet. A tenant's failure holds up no other's; that of
/// the API itself is given back.
pub(crate) async fn keep(
    shared: &Shared,
    known: &Known<'_>,
) -> (BTreeSet<String>, Option<ApiError>) {
    let version = |id: &Id| match id {
        Id::Tenant(name) => known
            .world
            .tenants
            .get(name)
            .map(|t| backoff::version(t.as_ref())),
        _ => None,
    };
    let recognised = shared.bindings.get_or_try_init(|| recognise(shared, known));
    if let Err(error) = recognised.await {
        return (BTreeSet::new(), Some(error));
    }
    let resting = shared.homeless.now(version);
    let mut due: Vec<(String, Arc<Tenant>)> = Vec::new();
    for (name, tenant) in &known.world.tenants {
        if !resting.contains(&Id::Tenant(name.clone())) {
            due.push((name.clone(), Arc::clone(tenant)));
        }
    }
    let kept: Vec<_> = stream::iter(due)
        .map(|(name, tenant)| async move {
            let result = keep_one(shared, known, &name, &tenant).await;
            (name, tenant, result)
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    let (mut unsettled, mut unwell) = (BTreeSet::new(), None);
    for (name, tenant, result) in kept {
        let id = Id::Tenant(name.clone());
        match result {
            Ok(begun) => {
                shared.homeless.succeeded(&id);
                unsettled.extend(begun.then(|| name.clone()));
            }
            Err(error) if error.unwell().is_some() => unwell = Some(error),
            Err(error) => {
                tracing::warn!(
                    tenant = name,
                    error = &error as &dyn std::error::Error,
                    "its namespace is not as it should be"
                );
                let first = Duration::from_millis(shared.args.backoff);
                let of = backoff::version(tenant.as_ref());
                shared.homeless.failed(&id, of, first, rand::random());
            }
        }
    }
    (unsettled, unwell)
}

/// Finds out which tenants are bound as they should be, with one list for all of them: a process
/// that starts anew writes nothing that is there.
async fn recognise(shared: &Shared, known: &Known<'_>) -> Result<(), ApiError> {
    let api: Api<RoleBinding> = Api::all(shared.clients.request.clone());
    let ours = ListParams::default().labels(&format!("{MANAGED}={MANAGER}"));
    let present = call("list role bindings", api.list(&ours)).await?;
    let mut bound: BTreeMap<String, BTreeMap<String, Bound>> = BTreeMap::new();
    for binding in present {
        let Some(namespace) = binding.namespace() else {
            continue;
        };
        let name = binding.name_any();
        // A binding to another role than its name says is none of ours.
        if binding.role_ref.name == name {
            let there = bound.entry(namespace).or_default();
            there.insert(name, subjects_of(&binding));
        }
    }
    for (name, tenant) in &known.world.tenants {
        let members = &tenant.spec.members;
        if bound.remove(name).unwrap_or_default() == wanted(members) {
            shared.members_are(name, fingerprint(members));
        }
    }
    Ok(())
}

/// Who is bound to a role: kind and name of each.
type Bound = BTreeSet<(String, String)>;

fn subjects_of(binding: &RoleBinding) -> Bound {
    let subjects = binding.subjects.iter().flatten();
    subjects.map(|s| (s.kind.clone(), s.name.clone())).collect()
}

/// The bindings that a tenant should have, by role.
fn wanted(members: &[Member]) -> BTreeMap<String, Bound> {
    let mut all: BTreeMap<String, Bound> = BTreeMap::new();
    for member in members {
        let role = ROLES.iter().find(|(role, _)| *role == member.role);
        if let Some((_, name)) = role {
            let subject = (kind_of(member).to_owned(), member.name.clone());
            all.entry((*name).to_owned()).or_default().insert(subject);
        }
    }
    all
}

/// As [`keep`], for one tenant.
async fn keep_one(
    shared: &Shared,
    known: &Known<'_>,
    name: &str,
    tenant: &Tenant,
) -> Result<bool, ApiError> {
    if !finalized(tenant) || paused(tenant) {
        return Ok(false);
    }
    let view = known.world.namespaces.get(name);
    let owned = view.is_some_and(|v| v.owner.as_ref() == Some(&uid(tenant)));
    if deleting(tenant) {
        if owned && view.is_some_and(|v| !v.deleting) {
            remove(shared, name).await?;
        }
        return Ok(false);
    }
    if view.is_some_and(|v| v.deleting) || namespace_conflict(known, name, tenant).is_some() {
        return Ok(false);
    }
    if !owned {
        // Whatever was bound before was bound in a namespace that is gone.
        shared.members_forgotten(name);
        let made = match view {
            Some(_) => adopt(shared, name, tenant).await.map(|()| true)?,
            None => make(shared, name, tenant).await?,
        };
        if !made {
            return Ok(true);
        }
    }
    let fingerprint = fingerprint(&tenant.spec.members);
    if shared.members_differ(name, &fingerprint) {
        bind(shared, name, tenant).await?;
        shared.members_are(name, fingerprint);
    }
    Ok(!owned)
}

/// Makes the namespace; `false` where one of that name is there and the caches do not have it
/// yet: whose it is they will tell.
async fn make(shared: &Shared, name: &str, tenant: &Tenant) -> Result<bool, ApiError> {
    let api: Api<Namespace> = Api::all(shared.clients.request.clone());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(TENANT_LABEL.to_owned(), name.to_owned())].into()),
            owner_references: Some(vec![OwnerReference {
                api_version: format!("{GROUP}/{VERSION}"),
                kind: "Tenant".to_owned(),
                name: name.to_owned(),
                uid: uid(tenant),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    let what = format!("make namespace {name}");
    match call(what, api.create(&params, &namespace)).await {
        Ok(_) => Ok(true),
        Err(error) if error.already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Becomes the owner of a namespace that is offered by its label.
async fn adopt(shared: &Shared, name: &str, tenant: &Tenant) -> Result<(), ApiError> {
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
        format!("own namespace {name}"),
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
    let ours = ListParams::default().labels(&format!("{MANAGED}={MANAGER}"));
    let present = call(
        format!("list role bindings of {namespace}"),
        api.list(&ours),
    )
    .await?;
    for (role, name) in ROLES {
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
    let kind = kind_of(member);
    json!({"kind": kind, "name": member.name, "apiGroup": "rbac.authorization.k8s.io"})
}

const fn kind_of(member: &Member) -> &'static str {
    match member.kind {
        MemberKind::User => "User",
        MemberKind::Group => "Group",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, role: MemberRole) -> Member {
        Member {
            kind: MemberKind::User,
            name: name.to_owned(),
            role,
        }
    }

    #[test]
    fn members_who_are_bound_as_asked_are_recognised() {
        let binding = |subjects: Value| -> RoleBinding {
            let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bitbuilder-edit"});
            let text = json!({"metadata": {"name": "bitbuilder-edit", "namespace": "acme"},
                              "roleRef": role, "subjects": subjects});
            serde_json::from_value(text).expect("a role binding")
        };
        let members = [
            member("alice", MemberRole::Edit),
            member("bob", MemberRole::Edit),
        ];
        let subjects: Vec<Value> = members.iter().map(subject).collect();
        let there = subjects_of(&binding(json!(subjects)));
        let asked = wanted(&members);
        assert_eq!(asked.get("bitbuilder-edit"), Some(&there));
        assert_eq!(asked.len(), 1);
        let fewer = subjects_of(&binding(json!(subjects[..1])));
        assert_ne!(asked.get("bitbuilder-edit"), Some(&fewer));
        assert_eq!(wanted(&[]), BTreeMap::new());
    }
}
