//! Turns words into a run of bbctl, and facts into manifests.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::{Cluster, chart, paths, shared};
use bb_tests::site::client_of;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Longer than anything here takes on two busy cores.
pub(crate) const BOUND: Duration = Duration::from_secs(120);

pub(crate) async fn cluster() -> Result<&'static Cluster> {
    shared(chart::manifests()?).await
}

/// What a command line wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("{self:?}"))
    }
}

/// Begins `bbctl WORDS` as the user of a kubeconfig.
pub(crate) fn begin(kubeconfig: &Path, words: &str) -> Result<Child> {
    Command::new(paths::binary("bbctl")?)
        .args(words.split_whitespace())
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run bbctl")
}

/// Runs it without input, with more in its environment.
pub(crate) async fn bbctl_with(words: &str, env: &[(&str, &str)]) -> Result<Ran> {
    let mut command = Command::new(paths::binary("bbctl")?);
    command
        .args(words.split_whitespace())
        .env_clear()
        .env("KUBECONFIG", cluster().await?.kubeconfig())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(BOUND, command.output()).await;
    let output = output.context("bbctl does not end")??;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// Gives it its input, and waits until it has ended.
pub(crate) async fn end(mut child: Child, stdin: &str) -> Result<Ran> {
    let mut input = child.stdin.take().context("stdin is a pipe")?;
    // One that ends before it has read everything closes the pipe.
    let _ = input.write_all(stdin.as_bytes()).await;
    drop(input);
    let output = tokio::time::timeout(BOUND, child.wait_with_output()).await;
    let output = output.context("bbctl does not end")??;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

pub(crate) async fn bbctl(words: &str, stdin: &str) -> Result<Ran> {
    end(begin(cluster().await?.kubeconfig(), words)?, stdin).await
}

/// Runs it, and fails unless it succeeds.
pub(crate) async fn good(words: &str, stdin: &str) -> Result<Ran> {
    let ran = bbctl(words, stdin).await?;
    ensure!(ran.code == Some(0), "bbctl {words}: {ran:?}");
    Ok(ran)
}

pub(crate) fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n")
}

pub(crate) fn ours(kind: &str, name: &str, spec: &Value) -> String {
    let object = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec});
    format!("{object}\n---\n")
}

pub(crate) fn network(name: &str, prefix: &str) -> String {
    ours("Network", name, &json!({"ipv4": {"prefix": prefix}}))
}

pub(crate) fn instance(name: &str, network: &str) -> String {
    let nics = json!([{"name": "a", "network": network}]);
    ours(
        "Instance",
        name,
        &json!({"image": "debian-12", "networks": nics}),
    )
}

pub(crate) fn api(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("bitbuilder.cloud", "v1alpha1", kind);
    let resource = ApiResource::from_gvk(&gvk);
    match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

pub(crate) async fn client() -> Result<Client> {
    client_of(cluster().await?.kubeconfig()).await
}

/// Writes a condition Ready, as the controller does.
pub(crate) async fn set_ready(
    api: &Api<DynamicObject>,
    name: &str,
    generation: i64,
    ready: Value,
) -> Result<()> {
    let mut condition = json!({"type": "Ready", "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "", "reason": "Ready"});
    for (field, value) in ready.as_object().context("a condition")? {
        condition[field] = value.clone();
    }
    let status = json!({"status": {"conditions": [condition]}});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}
