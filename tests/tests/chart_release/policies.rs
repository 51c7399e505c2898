//! Turns requests that no definition can judge into answers of the API, and none that the
//! controller needs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bb_lab_harness::chart;
use bb_tests::{Site, SiteOptions};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

/// A client that is somebody else.
async fn client_as(site: &Site, user: &str) -> Result<Client> {
    let config = Kubeconfig::read_from(site.cluster.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    config.auth_info.impersonate = Some(user.to_owned());
    Ok(Client::try_from(config)?)
}

fn of(
    client: &Client,
    group: &str,
    version: &str,
    kind: &str,
    namespace: &str,
) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    }
}

fn ours(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    of(client, "bitbuilder.cloud", "v1alpha1", kind, namespace)
}

fn spaces(client: &Client) -> Api<DynamicObject> {
    of(client, "", "v1", "Namespace", "")
}

fn object(of: Value) -> Result<DynamicObject> {
    serde_json::from_value(of).context("it is an object")
}

/// A request that is only tried.
async fn tried(api: &Api<DynamicObject>, new: Value) -> kube::Result<DynamicObject> {
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let new = object(new).expect("the test's own objects are objects");
    api.create(&params, &new).await
}

fn network(namespace: &str) -> Value {
    json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
        "metadata": {"name": "lost", "namespace": namespace},
        "spec": {"ipv4": {"prefix": "10.99.0.0/24"}},
    })
}

/// Fails unless a policy refused it, with these words.
fn refused<T>(answer: kube::Result<T>, policy: &str, words: &str) -> Result<()> {
    let Err(error) = answer else {
        bail!("{policy} let it pass");
    };
    let said = error.to_string();
    ensure!(
        said.contains(policy) && said.contains(words),
        "{policy}: {said}"
    );
    Ok(())
}

/// Applies the policies of the chart, and waits until the server judges by them.
async fn in_force(site: &Site) -> Result<()> {
    let text = chart::render(&["--show-only", "templates/admission.yaml"])?;
    let file = site.cluster.dir().join("admission.yaml");
    std::fs::write(&file, text)?;
    site.cluster.apply(&[file])?;
    let until = Instant::now() + BOUND;
    // A policy is compiled some time after it was taken; the last one is the last to be.
    loop {
        let stray = tried(
            &ours(&site.client, "Network", "default"),
            network("default"),
        )
        .await;
        let carol = client_as(site, "carol").await?;
        let labelled = tried(&spaces(&carol), offered("stolen")).await;
        if stray.is_err() && labelled.is_err_and(|e| e.to_string().contains("tenant-label")) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "the policies are not in force");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn offered(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"bitbuilder.cloud/tenant": name}},
    })
}

/// Carol may do everything with namespaces, and nothing with Tenants; bob may edit one that is no
/// tenant's, by Kubernetes' own role.
const PEOPLE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: plain}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bob, namespace: plain}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: spaces}
rules: [{apiGroups: [''], resources: [namespaces], verbs: [get, create, update, patch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: spaces}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: spaces}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: carol}]
";

async fn a_label_is_given_by_those_who_may_change_tenants(site: &Site) -> Result<()> {
    let carol = spaces(&client_as(site, "carol").await?);
    let policy = "bitbuilder-tenant-label";
    refused(
        tried(&carol, offered("stolen")).await,
        policy,
        "may change Tenants",
    )?;
    let off = json!({"metadata": {"labels": {"bitbuilder.cloud/tenant": null}}});
    let answer = carol
        .patch("acme", &PatchParams::default(), &Patch::Merge(&off))
        .await;
    refused(answer, policy, "remove it")?;
    // What is not about the label is hers, in acme's namespace too.
    let other = json!({"metadata": {"labels": {"cost-centre": "7"}}});
    carol
        .patch("acme", &PatchParams::default(), &Patch::Merge(&other))
        .await?;
    tried(&spaces(&site.client), offered("given")).await?;
    Ok(())
}

async fn objects_are_made_in_a_tenants_namespace_only(site: &Site) -> Result<()> {
    let policy = "bitbuilder-tenant-namespaces";
    let bob = ours(&client_as(site, "bob").await?, "Network", "plain");
    refused(
        tried(&bob, network("plain")).await,
        policy,
        "belongs to no Tenant",
    )?;
    let alice = ours(&client_as(site, "alice").await?, "Network", "acme");
    tried(&alice, network("acme")).await?;
    Ok(())
}

async fn the_finalizer_is_taken_off_by_the_controller_only(site: &Site) -> Result<()> {
    let alice = ours(&client_as(site, "alice").await?, "Instance", "acme");
    let off = json!({"metadata": {"finalizers": null}});
    let try_it = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let answer = alice.patch("www-1", &try_it, &Patch::Merge(&off)).await;
    refused(answer, "bitbuilder-finalizer", "ask an operator")?;
    // One of hers she may put beside it, and take off again.
    let more =
        json!({"metadata": {"finalizers": ["bitbuilder.cloud/targets", "example.com/hers"]}});
    alice.patch("www-1", &try_it, &Patch::Merge(&more)).await?;
    let admin = ours(&site.client, "Instance", "acme");
    admin.patch("www-1", &try_it, &Patch::Merge(&off)).await?;
    Ok(())
}

async fn a_protected_instance_is_not_even_marked_for_deletion(site: &Site) -> Result<()> {
    let alice = ours(&client_as(site, "alice").await?, "Instance", "acme");
    let on = json!({"spec": {"deletionProtection": true}});
    alice
        .patch("www-1", &PatchParams::default(), &Patch::Merge(&on))
        .await?;
    let answer = alice.delete("www-1", &DeleteParams::default()).await;
    refused(
        answer,
        "bitbuilder-deletion-protection",
        "deletionProtection to false",
    )?;
    let still = alice.get("www-1").await?;
    ensure!(still.metadata.deletion_timestamp.is_none(), "it is marked");
    Ok(())
}

/// Dave may plan in acme and write nothing there; victor may look.
const PLANNERS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: plans, namespace: acme}
rules: [{apiGroups: [bitbuilder.cloud], resources: [plans], verbs: [get, create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: dave, namespace: acme}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: plans}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dave}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: victor, namespace: acme}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: bitbuilder-view}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: victor}]
";

fn plan(spec: &Value) -> Value {
    json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Plan",
        "metadata": {"name": "tried", "namespace": "acme"}, "spec": spec,
    })
}

async fn who_plans_a_change_may_make_it(site: &Site) -> Result<()> {
    site.apply(PLANNERS).await?;
    let policy = "bitbuilder-plans";
    let dave = ours(&client_as(site, "dave").await?, "Plan", "acme");
    let puts = plan(&json!({"manifests": [network("acme")]}));
    let deletes = plan(&json!({"deletes": [{"kind": "Instance", "name": "www-1"}]}));
    let until = Instant::now() + BOUND;
    loop {
        // His role is in force some time after it was taken.
        let answer = tried(&dave, puts.clone()).await;
        if answer
            .as_ref()
            .is_err_and(|e| e.to_string().contains(policy))
        {
            refused(answer, policy, "the right to write networks")?;
            break;
        }
        ensure!(Instant::now() < until, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    refused(
        tried(&dave, deletes.clone()).await,
        policy,
        "the right to delete instances",
    )?;
    let alice = ours(&client_as(site, "alice").await?, "Plan", "acme");
    tried(&alice, puts.clone()).await?;
    tried(&alice, deletes).await?;
    // Who may look may read plans and make none.
    let victor = ours(&client_as(site, "victor").await?, "Plan", "acme");
    victor.list(&kube::api::ListParams::default()).await?;
    let answer = tried(&victor, puts).await;
    let words = answer.err().map(|e| e.to_string()).unwrap_or_default();
    ensure!(
        words.contains("forbidden") && !words.contains(policy),
        "{words}"
    );
    // A plan is in a tenant's namespace only.
    let mut lost = plan(&json!({"deletes": [{"kind": "Instance", "name": "x"}]}));
    lost["metadata"]["namespace"] = json!("plain");
    let answer = tried(&ours(&site.client, "Plan", "plain"), lost).await;
    refused(
        answer,
        "bitbuilder-tenant-namespaces",
        "belongs to no Tenant",
    )?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_refuse_what_hurts_and_nothing_that_a_tenants_life_needs() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let before = site.outside();
    site.apply(PEOPLE).await?;
    in_force(&site).await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    a_label_is_given_by_those_who_may_change_tenants(&site).await?;
    objects_are_made_in_a_tenants_namespace_only(&site).await?;
    the_finalizer_is_taken_off_by_the_controller_only(&site).await?;
    a_protected_instance_is_not_even_marked_for_deletion(&site).await?;
    who_plans_a_change_may_make_it(&site).await?;

    // A tenant that goes takes its namespace along: the guest stays until it may go.
    let tenants = ours(&site.client, "Tenant", "");
    tenants.delete("acme", &DeleteParams::default()).await?;
    site.ready_says("Instance", "acme", "www-1", "Protected")
        .await?;
    let off = json!({"spec": {"deletionProtection": false}});
    ours(&site.client, "Instance", "acme")
        .patch("www-1", &PatchParams::default(), &Patch::Merge(&off))
        .await?;
    let until = Instant::now() + BOUND;
    while tenants.get_opt("acme").await?.is_some() {
        ensure!(Instant::now() < until, "{:#?}", site.readiness().await?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(site.outside() == before, "something is left");
    site.stop().await
}
