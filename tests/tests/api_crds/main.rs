//! The definitions on a real API server: what it takes, what it refuses and with which words.

mod before;
mod immutable;
mod objects;
mod refused;

use anyhow::{Context as _, Result};
use bb_lab_harness::{chart, paths, shared};
use bb_tests::site::{client_of, documents};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use immutable::immutable;
use objects::of;
use refused::refused;

async fn client() -> Result<Client> {
    let manifests = vec![chart::crds()];
    client_of(shared(manifests).await?.kubeconfig()).await
}

fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = object["kind"].as_str().unwrap_or_default();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Creates an object as kubectl does, unknown fields refused; kube's own parameters have no
/// place for that.
async fn create(client: &Client, object: &Value, dry_run: bool) -> kube::Result<DynamicObject> {
    let dry_run = if dry_run { "&dryRun=All" } else { "" };
    let api = api(client, object);
    let url = format!(
        "{}?fieldManager=test&fieldValidation=Strict{dry_run}",
        api.resource_url()
    );
    let body = serde_json::to_vec(object).expect("a value is JSON");
    let request = http::Request::post(url)
        .header("content-type", "application/json")
        .body(body)
        .expect("the parts of a request are well-formed");
    client.request(request).await
}

#[tokio::test]
async fn every_sample_is_taken_strictly() -> Result<()> {
    let client = client().await?;
    let mut taken = 0;
    for folder in ["examples/acme"] {
        let mut files: Vec<_> = std::fs::read_dir(paths::root().join(folder))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        for file in files {
            for mut object in documents(&std::fs::read_to_string(&file)?)? {
                if object["kind"] == "Namespace" {
                    continue;
                }
                if object["metadata"]["namespace"].is_string() {
                    object["metadata"]["namespace"] = json!("default");
                }
                create(&client, &object, true).await.with_context(|| {
                    format!("{} in {}", object["metadata"]["name"], file.display())
                })?;
                taken += 1;
            }
        }
    }
    assert!(taken >= 9, "only {taken} samples");
    Ok(())
}

#[tokio::test]
async fn bad_input_is_refused_with_the_field_and_a_remedy() -> Result<()> {
    let client = client().await?;
    let table = refused();
    assert!(table.len() >= 40, "only {} cases", table.len());
    let mut wrong = Vec::new();
    for (object, words) in &table {
        let shown = format!("{} {}", object["kind"], object["spec"]);
        match create(&client, object, true).await {
            Ok(_) => wrong.push(format!("taken: {shown}")),
            Err(kube::Error::Api(status)) => {
                let missing: Vec<_> = words
                    .iter()
                    .filter(|w| !status.message.contains(**w))
                    .collect();
                if !missing.is_empty() {
                    wrong.push(format!("{shown}: {missing:?} not in {:?}", status.message));
                }
            }
            Err(other) => wrong.push(format!("{shown}: {other}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_change_says_what_to_do_instead() -> Result<()> {
    let client = client().await?;
    let mut wrong = Vec::new();
    for (before, after, words) in immutable() {
        let api = api(&client, &before);
        let name = before["metadata"]["name"].as_str().context("a name")?;
        let present = match api.get_opt(name).await? {
            Some(present) => present,
            None => create(&client, &before, false).await?,
        };
        let mut object: DynamicObject = serde_json::from_value(after.clone())?;
        object.metadata.resource_version = present.resource_version();
        match api.replace(name, &PostParams::default(), &object).await {
            Ok(_) => wrong.push(format!("taken: {after}")),
            Err(kube::Error::Api(status)) => {
                let missing: Vec<_> = words
                    .iter()
                    .filter(|w| !status.message.contains(**w))
                    .collect();
                if !missing.is_empty() {
                    wrong.push(format!("{missing:?} not in {:?}", status.message));
                }
            }
            Err(other) => wrong.push(other.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test]
async fn a_volume_and_a_disk_may_grow() -> Result<()> {
    let client = client().await?;
    let volume = of("Volume", "grows", json!({"size": "10Gi"}));
    let present = create(&client, &volume, false).await?;
    let mut larger: DynamicObject =
        serde_json::from_value(of("Volume", "grows", json!({"size": "11Gi"})))?;
    larger.metadata.resource_version = present.resource_version();
    api(&client, &volume)
        .replace("grows", &PostParams::default(), &larger)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_preview_of_an_adoption_may_be_confirmed() -> Result<()> {
    let client = client().await?;
    let preview = objects::instance(json!({"adopt": {"vmid": 104}}));
    let mut preview = preview;
    preview["metadata"]["name"] = json!("previewed");
    let present = create(&client, &preview, false).await?;
    assert_eq!(present.data["spec"]["adopt"]["mode"], "Preview");
    preview["spec"]["adopt"]["mode"] = json!("Adopt");
    let mut adopted: DynamicObject = serde_json::from_value(preview.clone())?;
    adopted.metadata.resource_version = present.resource_version();
    api(&client, &preview)
        .replace("previewed", &PostParams::default(), &adopted)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_status_cannot_be_written_with_the_spec() -> Result<()> {
    let client = client().await?;
    let mut network = of(
        "Network",
        "status",
        json!({"ipv4": {"prefix": "10.9.0.0/24"}}),
    );
    network["status"] = json!({"vni": 5});
    let made = create(&client, &network, false).await?;
    assert_eq!(made.data["status"], Value::Null);
    Ok(())
}

#[test]
fn every_field_has_a_sentence() {
    let mut silent = Vec::new();
    for crd in bb_crds::crds() {
        let name = crd.spec.names.kind.clone();
        let schema = crd.spec.versions[0]
            .schema
            .clone()
            .and_then(|s| s.open_api_v3_schema);
        let schema = serde_json::to_value(schema).expect("a schema");
        look(&name, &schema, &mut silent);
    }
    assert!(silent.is_empty(), "no description: {silent:#?}");
}

fn look(path: &str, schema: &Value, silent: &mut Vec<String>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // Conditions are Kubernetes' own.
        if child["description"].as_str().unwrap_or_default().len() < 8 {
            silent.push(path.clone());
        }
        if name != "conditions" {
            look(&path, child, silent);
            look(&path, &child["items"], silent);
        }
    }
}
