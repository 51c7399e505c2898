//! Keys and tokens that are exchanged while there is much to do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_lab_vyos::{Edit, Outcome};
use bb_tests::{Site, SiteOptions};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);
/// How many machines are on their way at once.
const MACHINES: usize = 50;

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: &Value) -> Value {
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// Waits for a state of what the stand-ins were asked.
async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let until = Instant::now() + BOUND;
    while !holds() {
        if Instant::now() > until {
            bail!("never {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Puts an entry into a Secret of the controller's namespace.
async fn put(site: &Site, secret: &str, entry: &str, value: &str) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(site.client.clone(), "bitbuilder-system");
    let patch = json!({"stringData": {entry: value}});
    let params = PatchParams::default();
    api.patch(secret, &params, &Patch::Merge(&patch)).await?;
    Ok(())
}

/// The Secret that a Provider names.
async fn secret_of(site: &Site, provider: &str) -> Result<String> {
    let provider = site.ours("Provider", None).get(provider).await?;
    let spec = &provider.data["spec"];
    let name = ["vyos", "proxmox"].iter().find_map(|kind| {
        spec[kind]["credentials"]["secret"]
            .as_str()
            .map(str::to_owned)
    });
    name.context("a Provider has credentials")
}

/// As a person does it: once more where a commit of ours is under way just then.
async fn type_in(site: &Site, router: &str, edit: &Edit) -> Result<()> {
    let stand_in = &site.routers[router];
    until("takes what is typed", || {
        let typed = stand_in.type_in(std::slice::from_ref(edit));
        let busy = |words: &String| words.contains("another commit in progress");
        assert!(
            matches!(&typed, Outcome::Done(_)) || matches!(&typed, Outcome::Refused(w) if busy(w)),
            "{typed:?}"
        );
        matches!(typed, Outcome::Done(_))
    })
    .await
}

async fn exchange_key(site: &Site, router: &str) -> Result<()> {
    let stand_in = &site.routers[router];
    let keys = "service https api keys id";
    let new = format!("{keys} second key another-key-of-this-router");
    type_in(site, router, &Edit::set(&new)).await?;
    let name = secret_of(site, router).await?;
    put(site, &name, "key", "another-key-of-this-router").await?;
    until("uses the second key", || {
        let entries = stand_in.journal.entries();
        entries
            .iter()
            .any(|e| e.caller == "second" && e.status == 200)
    })
    .await?;
    // What was under way with the old key has ended: one request at a time reaches a router.
    type_in(site, router, &Edit::delete(&format!("{keys} lab"))).await
}

async fn exchange_token(site: &Site, cluster: &str) -> Result<()> {
    let stand_in = &site.clusters[cluster];
    let (user, first) = stand_in.with(|cluster| {
        let seed = bb_lab_proxmox::Seed::example();
        let token = seed
            .tokens
            .into_iter()
            .next()
            .expect("the example has a token");
        let access = &mut cluster.access;
        let user = access.users.get_mut(&token.user).expect("and its user");
        let mut second = user.tokens[&token.tokenid].clone();
        second.secret = "another-secret-of-this-token".to_owned();
        user.tokens.insert("second".to_owned(), second);
        let of = |name: &str| format!("{}!{name}", token.user);
        let mut rows = Vec::new();
        for row in &access.acl {
            if row.ugid == of(&token.tokenid) {
                let mut row = row.clone();
                row.ugid = of("second");
                rows.push(row);
            }
        }
        access.acl.extend(rows);
        (token.user, token.tokenid)
    });
    let name = secret_of(site, cluster).await?;
    let token = format!("{user}!second=another-secret-of-this-token");
    put(site, &name, "token", &token).await?;
    until("uses the second token", || {
        let entries = stand_in.journal();
        // One pass at a time goes over a target: what had the old token has ended.
        entries.iter().any(|e| e.caller.ends_with("!second"))
    })
    .await?;
    stand_in.with(|cluster| {
        if let Some(user) = cluster.access.users.get_mut(&user) {
            user.tokens.remove(&first);
        }
    });
    Ok(())
}

/// Makes the networks of these numbers.
async fn networks(site: &Site, numbers: std::ops::Range<u8>) -> Result<()> {
    for number in numbers {
        let spec = json!({"ipv4": {"prefix": format!("10.20.{number}.0/24")}});
        let name = format!("n{number}");
        site.apply_value(object("Network", Some("acme"), &name, &spec))
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_are_exchanged_in_the_middle_of_fifty_changes() -> Result<()> {
    let site = Site::start(SiteOptions {
        time_scale: 0.4,
        ..SiteOptions::default()
    })
    .await?;
    site.apply_value(object("Tenant", None, "acme", &json!({})))
        .await?;
    site.all_ready(BOUND).await?;
    networks(&site, 0..4).await?;
    for number in 0..MACHINES {
        let network = format!("n{}", number % 4);
        let spec = json!({"image": "debian-12", "networks": [{"name": "lan", "network": network}]});
        site.apply_value(object(
            "Instance",
            Some("acme"),
            &format!("m{number}"),
            &spec,
        ))
        .await?;
    }
    let ready = |all: &std::collections::BTreeMap<String, String>| {
        let machines = all.iter().filter(|(name, _)| name.starts_with("Instance"));
        machines
            .filter(|(_, ready)| ready.starts_with("True"))
            .count()
    };
    for cluster in site.clusters.values() {
        until("clones", || {
            let entries = cluster.journal();
            entries
                .iter()
                .filter(|e| e.path.ends_with("/clone"))
                .count()
                >= 5
        })
        .await?;
    }
    assert!(
        ready(&site.readiness().await?) < MACHINES - 10,
        "much is under way"
    );
    for name in ["c1", "c2"] {
        exchange_token(&site, name).await?;
    }
    // The routers have something to do as well.
    networks(&site, 4..8).await?;
    for name in ["r1", "r2"] {
        exchange_key(&site, name).await?;
    }
    site.all_ready(BOUND).await?;

    nothing_failed(&site).await?;
    site.stop().await
}

/// No request was refused, and nothing was told that is not well.
async fn nothing_failed(site: &Site) -> Result<()> {
    let refused = site.routers.values().flat_map(|r| r.journal.entries());
    let refused = refused.chain(
        site.clusters
            .values()
            .flat_map(bb_lab_proxmox::Running::journal),
    );
    let refused: Vec<String> = refused
        .filter(|e| [401, 403].contains(&e.status))
        .map(|e| format!("{} {} {} {}", e.caller, e.method, e.path, e.status))
        .collect();
    assert_eq!(refused, Vec::<String>::new());
    let events: Api<Event> = Api::all(site.client.clone());
    let events = events.list(&ListParams::default()).await?;
    let warnings = events
        .items
        .iter()
        .filter(|e| e.type_.as_deref() == Some("Warning"));
    let warnings: Vec<_> = warnings
        .map(|e| (&e.regarding, &e.reason, &e.note))
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    Ok(())
}
