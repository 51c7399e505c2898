//! Turns what the chart makes into the question whether Kubernetes takes it, one minor after the other.
//!
//! The API server at hand emulates the three minors before its own; the one before those is
//! judged by its own published schema.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use bb_lab_harness::{Cluster, NAMESPACE, Options, paths};
use bb_tests::site::client_of;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::schema::Schemas;
use crate::{SETS, objects};

/// Minors of Kubernetes that the API server at hand can be: its own, and what it emulates.
const SERVED: [&str; 4] = ["1.37", "1.36", "1.35", "1.34"];
/// The module with the schema of the minor before those.
const PUBLISHED: &str = "k8s.io/kubernetes@v1.33.13";

/// What no Kubernetes has by itself: the kinds of the Prometheus operator.
fn foreign(object: &Value) -> bool {
    object["apiVersion"] == "monitoring.coreos.com/v1"
}

/// What the API says to an object if it were applied: nothing, a warning, or why not.
async fn said(client: &Client, object: &Value) -> Result<Option<String>> {
    let of = |field: &str| object[field].as_str().unwrap_or_default();
    let (group, version) = of("apiVersion")
        .split_once('/')
        .unwrap_or(("", of("apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, of("kind")));
    let meta = &object["metadata"];
    let api: Api<DynamicObject> = match meta["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let url = format!(
        "{}/{}?fieldManager=helm&fieldValidation=Strict&dryRun=All",
        api.resource_url(),
        meta["name"].as_str().context("an object has a name")?
    );
    let request = http::Request::patch(url)
        .header("content-type", "application/apply-patch+yaml")
        .body(kube::client::Body::from(serde_json::to_vec(object)?))?;
    let answer = client.send(request).await?;
    if answer.status().is_success() {
        let warning = answer.headers().get("warning");
        return Ok(warning.map(|warning| String::from_utf8_lossy(warning.as_bytes()).into_owned()));
    }
    let body = answer.into_body().collect_bytes().await?;
    Ok(Some(String::from_utf8_lossy(&body).into_owned()))
}

/// A server of a minor, with the namespace of the release, where pods must be restricted.
async fn server(minor: &str) -> Result<(Cluster, Client, tempfile::TempDir)> {
    let dir = tempfile::tempdir_in(paths::scratch()?)?;
    let mut options = Options::new(dir.path().join("k8s"));
    options.existing = None;
    options.apiserver_flags = vec![format!("--emulated-version={minor}")];
    let cluster = Cluster::start(options).await?;
    let client = client_of(cluster.kubeconfig()).await?;
    let space = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
        }},
    });
    let space = serde_json::from_value(space)?;
    let spaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    spaces
        .create(&kube::api::PostParams::default(), &space)
        .await?;
    Ok((cluster, client, dir))
}

#[tokio::test]
async fn kubernetes_1_34_to_1_37_take_every_manifest_strictly_and_without_a_warning() -> Result<()>
{
    for minor in SERVED {
        let (cluster, client, _dir) = server(minor).await?;
        let version = cluster.kubectl(&["get", "--raw", "/version"])?;
        ensure!(
            version.contains(minor.trim_start_matches("1.")),
            "{minor}: {version}"
        );
        for set in SETS {
            for object in objects(set)?.iter().filter(|object| !foreign(object)) {
                let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
                let says = said(&client, object).await?;
                ensure!(says.is_none(), "{minor}, {set}: {kind} {name}: {says:?}");
            }
        }
        // It looks: a field that nobody knows, and a pod that may do more than it must.
        let mut wrong = deployment()?;
        wrong["spec"]["replica"] = json!(2);
        let says = said(&client, &wrong).await?.unwrap_or_default();
        ensure!(says.contains("replica"), "{minor}: {says}");
        let mut wrong = deployment()?;
        wrong["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        let says = said(&client, &wrong).await?.unwrap_or_default();
        ensure!(says.contains("host"), "{minor}: {says}");
        cluster.stop()?;
    }
    Ok(())
}

fn deployment() -> Result<Value> {
    let mut all = objects("defaults")?.into_iter();
    let found = all.find(|object| object["kind"] == "Deployment");
    found.context("the chart makes a Deployment")
}

/// Where the schema is that a minor has published, fetched from the Go module proxy where it is
/// not there yet. None without that.
fn published() -> Result<Option<PathBuf>> {
    let answer = Command::new("go")
        .args(["mod", "download", "-json", PUBLISHED])
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .current_dir(paths::root())
        .output()
        .context("cannot run go")?;
    let told: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
    let folder = told["Dir"].as_str().map(PathBuf::from);
    Ok(folder.map(|folder| folder.join("api/openapi-spec/v3")))
}

#[test]
#[allow(
    clippy::print_stdout,
    reason = "scripts/levels.py counts tests that had nothing to look at"
)]
fn the_schema_of_kubernetes_1_33_knows_every_field_of_every_manifest() -> Result<()> {
    let Some(folder) = published()? else {
        println!("skipped: {PUBLISHED} cannot be fetched");
        return Ok(());
    };
    let mut schemas = Schemas::new(folder);
    for set in SETS {
        for object in objects(set)?.iter().filter(|object| !foreign(object)) {
            let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
            if let Err(error) = schemas.judge(object) {
                bail!("{set}: {kind} {name}: {error:#}");
            }
        }
    }
    // It looks: a wrong name, a wrong type, and something that is missing.
    for (at, wrong, word) in [
        ("/spec/template/spec/containers/0/image", json!(5), "image"),
        (
            "/spec/template/spec/containers/0",
            json!({"nam": "x"}),
            "nam",
        ),
        ("/spec", json!({"template": {}}), "selector"),
    ] {
        let mut object = deployment()?;
        *object.pointer_mut(at).context(at)? = wrong;
        let error = schemas.judge(&object).err().context(at)?;
        ensure!(format!("{error:#}").contains(word), "{error:#}");
    }
    Ok(())
}
