//! Who may read the metrics, where that was asked for.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::chart;
use bb_tests::Site;
use bb_tests::site::documents;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::{BOUND, free_address, run, site};

/// Gives the controllers of the lab what the chart gives where readers are looked at, and the
/// account `reader` the role of a reader.
async fn rights(site: &Site) -> Result<()> {
    let text = chart::render(&["--set", "metrics.auth.enabled=true"])?;
    for mut role in documents(&text)? {
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        if role["kind"] == "ClusterRole"
            && ["bitbuilder-controller", "bitbuilder-metrics"].contains(&name)
        {
            role["metadata"]["labels"] = Value::Null;
            site.apply_value(role).await?;
        }
    }
    for name in ["reader", "other"] {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": "bitbuilder-system"}});
        site.apply_value(account).await?;
    }
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "bitbuilder-metrics"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader",
            "namespace": "bitbuilder-system"}],
    });
    site.apply_value(binding).await?;
    Ok(())
}

async fn token(site: &Site, account: &str) -> Result<String> {
    let api: Api<ServiceAccount> = Api::namespaced(site.client.clone(), "bitbuilder-system");
    let request = TokenRequest::default();
    let made = api
        .create_token_request(account, &PostParams::default(), &request)
        .await?;
    Ok(made.status.context("a token")?.token)
}

/// Asks with a header `Authorization`, as Prometheus does.
async fn ask(address: &str, path: &str, header: Option<String>) -> Result<(u16, String)> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .build()?;
    let mut request = client.get(format!("https://{address}{path}"));
    if let Some(header) = header {
        request = request.header("authorization", header);
    }
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_for_those_whom_the_api_knows_and_lets() -> Result<()> {
    let site = site().await?;
    rights(&site).await?;
    let address = free_address()?;
    let flags = ["--metrics", address.as_str(), "--metrics-auth"];
    run(&site, "one", &flags, &[]).await?;
    let until = Instant::now() + BOUND;
    while !matches!(ask(&address, "/readyz", None).await, Ok((200, _))) {
        ensure!(Instant::now() < until, "it does not get ready");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The kubelet asks without a token.
    ensure!(ask(&address, "/healthz", None).await?.0 == 200);
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let (reader, other) = (token(&site, "reader").await?, token(&site, "other").await?);
    let cases = [
        (None, 401, "a token that the API knows is needed"),
        (bearer("not-a-token"), 401, "is needed"),
        (Some(format!("Basic {reader}")), 401, "is needed"),
        (bearer(&other), 403, "bitbuilder-metrics gives that right"),
        (bearer(&reader), 200, "bitbuilder_build_info{"),
    ];
    for (header, status, words) in cases {
        let (got, text) = ask(&address, "/metrics", header).await?;
        ensure!(
            got == status && text.contains(words),
            "{got}, not {status}: {text}"
        );
    }
    // Once asked, the API is not asked again for a while.
    let series = "bitbuilder_api_requests_total{verb=\"create\",resource=\"tokenreviews\"";
    let count = async || -> Result<f64> {
        let (_, text) = ask(&address, "/metrics", bearer(&reader)).await?;
        Ok(crate::value(&text, series))
    };
    let before = count().await?;
    ensure!(before >= 3.0, "{before} reviews of tokens");
    for _ in 0..10 {
        ensure!(count().await? == before, "each reading asks the API");
    }
    // Without TLS there is no answer at all.
    let plain = reqwest::get(format!("http://{address}/metrics")).await;
    ensure!(plain.is_err(), "{plain:?}");
    let log = site.cluster.dir().join("log/one.log");
    let log = std::fs::read_to_string(log)?;
    ensure!(
        !log.contains(&reader) && !log.contains("not-a-token"),
        "a token is logged"
    );
    site.stop().await
}
