//! Bad input that only other objects show is answered in a condition, and nothing is sent.

#![allow(
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    reason = "rows of a table are made to be given away"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use bb_tests::{Site, SiteOptions};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

fn of(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "acme"}, "spec": spec,
    })
}

fn instance(name: &str, change: Value) -> Value {
    let mut spec = json!({"image": "debian-12", "networks": [{"name": "n", "network": "web"}]});
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        spec[key] = value;
    }
    of("Instance", name, spec)
}

/// An object, the reason of its Ready condition, and words of the message: field and remedy.
fn table() -> Vec<(Value, &'static str, &'static [&'static str])> {
    let net = |name: &str, spec: Value| of("Network", name, spec);
    let at =
        |address: &str| json!({"networks": [{"name": "n", "network": "web", "address": address}]});
    vec![
        (
            net("overlaps", json!({"ipv4": {"prefix": "10.10.0.0/25"}})),
            "Invalid",
            &["spec.ipv4.prefix", "overlaps", "web", "another prefix"],
        ),
        (
            net("contains", json!({"ipv4": {"prefix": "10.10.0.0/16"}})),
            "Invalid",
            &["spec.ipv4.prefix", "overlaps"],
        ),
        (
            net(
                "nowhere",
                json!({"zones": ["west"], "ipv4": {"prefix": "10.20.0.0/24"}}),
            ),
            "NotFound",
            &["spec.zones", "west", "north, south"],
        ),
        (
            net(
                "abroad",
                json!({"region": "mars", "ipv4": {"prefix": "10.20.1.0/24"}}),
            ),
            "NotFound",
            &["spec.region", "mars", "lab"],
        ),
        (
            net(
                "inverted",
                json!({"ipv4": {"prefix": "10.20.2.0/24", "dhcp": {"from": "10.20.2.20", "to": "10.20.2.10"}}}),
            ),
            "Invalid",
            &["spec.ipv4.dhcp", "lower address first"],
        ),
        (
            net(
                "outside",
                json!({"ipv4": {"prefix": "10.20.3.0/24", "dhcp": {"from": "10.20.9.1", "to": "10.20.9.9"}}}),
            ),
            "Invalid",
            &["spec.ipv4.dhcp", "outside 10.20.3.0/24"],
        ),
        (
            net(
                "gateway",
                json!({"ipv4": {"prefix": "10.20.4.0/24", "dhcp": {"from": "10.20.4.1", "to": "10.20.4.9"}}}),
            ),
            "Invalid",
            &["spec.ipv4.dhcp", "gateway", "leave it out"],
        ),
        (
            net(
                "reserved",
                json!({"ipv4": {"prefix": "10.20.5.0/24", "reserved": ["10.20.6.1"]}}),
            ),
            "Invalid",
            &["spec.ipv4.reserved", "outside"],
        ),
        (
            instance(
                "net",
                json!({"networks": [{"name": "n", "network": "wbe"}]}),
            ),
            "NotFound",
            &["spec.networks[n].network", "wbe", "db", "web"],
        ),
        (
            instance("image", json!({"image": "debian-99"})),
            "NotFound",
            &["spec.image", "debian-99", "debian-12"],
        ),
        (
            instance("kind", json!({"image": "alpine-3.20"})),
            "Invalid",
            &["spec.image", "type: Container"],
        ),
        (
            instance("ct", json!({"type": "Container"})),
            "Invalid",
            &["spec.image", "virtual machine"],
        ),
        (
            instance("far", at("10.99.0.1")),
            "Invalid",
            &["spec.networks[n].address", "outside 10.10.0.0/24"],
        ),
        (
            instance("gw", at("10.10.0.1")),
            "Invalid",
            &["spec.networks[n].address", "gateway"],
        ),
        (
            instance("bcast", at("10.10.0.255")),
            "Invalid",
            &["spec.networks[n].address", "broadcast"],
        ),
        (
            instance("pool", at("10.10.0.205")),
            "Invalid",
            &["spec.networks[n].address", "DHCP"],
        ),
        (
            instance("taken", at("10.10.0.10")),
            "Invalid",
            &["spec.networks[n].address", "www-1", "choose another"],
        ),
        (
            instance("zone", json!({"placement": {"zone": "west"}})),
            "NotFound",
            &["spec.placement.zone", "west"],
        ),
        (
            instance(
                "reach",
                json!({"networks": [{"name": "n", "network": "db"}], "placement": {"zone": "south"}}),
            ),
            "NotFound",
            &["spec.placement.zone", "south"],
        ),
        (
            instance(
                "vol",
                json!({"volumes": [{"name": "v", "volume": "nothing"}]}),
            ),
            "NotFound",
            &["spec.volumes[v].volume", "nothing", "pgdata"],
        ),
        (
            instance(
                "theirs",
                json!({"volumes": [{"name": "v", "volume": "pgdata"}]}),
            ),
            "NotAllowed",
            &["spec.volumes[v].volume", "pg", "take it off"],
        ),
        (
            instance(
                "apart",
                json!({"volumes": [{"name": "v", "volume": "archive"}], "placement": {"zone": "south"}}),
            ),
            "NotAllowed",
            &["spec.volumes", "archive", "c1"],
        ),
        (
            of("Volume", "class", json!({"size": "1Gi", "class": "tape"})),
            "NotFound",
            &["spec.class", "tape", "ssd"],
        ),
        (
            of("Volume", "place", json!({"size": "1Gi", "zone": "west"})),
            "NotFound",
            &["spec.zone", "west", "north"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_references_and_addresses_reach_nothing() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    let outside = site.outside();
    let sent = changes(&site);
    let mut wrong = Vec::new();
    for (object, _, _) in table() {
        site.apply_value(object).await?;
    }
    for (object, reason, words) in table() {
        let (kind, name) = (
            object["kind"].as_str().unwrap_or_default(),
            object["metadata"]["name"].as_str().unwrap_or_default(),
        );
        match site
            .ready_says(kind, "acme", name, &format!("False {reason}"))
            .await
        {
            Ok(says) => {
                let missing: Vec<_> = words.iter().filter(|w| !says.contains(**w)).collect();
                if !missing.is_empty() {
                    wrong.push(format!("{kind} {name}: {missing:?} not in {says:?}"));
                }
            }
            Err(error) => wrong.push(error.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        site.outside(),
        outside,
        "something reached a router or cluster"
    );
    assert_eq!(changes(&site), sent, "something was sent");
    // A namespace that is no tenant's.
    let mut stray = of(
        "Network",
        "stray",
        json!({"ipv4": {"prefix": "10.0.0.0/24"}}),
    );
    stray["metadata"]["namespace"] = json!("default");
    site.apply_value(stray).await?;
    let says = site
        .ready_says("Network", "default", "stray", "False Waiting")
        .await?;
    assert!(says.contains("belongs to no Tenant"), "{says}");
    // What is right is taken off again without a trace, what is wrong goes at once.
    for (object, _, _) in table() {
        let kind = object["kind"].as_str().unwrap_or_default();
        site.delete(
            kind,
            Some("acme"),
            object["metadata"]["name"].as_str().unwrap_or_default(),
            BOUND,
        )
        .await?;
    }
    assert_eq!(site.outside(), outside);
    site.stop().await
}

/// Calls that change something, by target.
fn changes(site: &Site) -> BTreeMap<String, usize> {
    let routers = site.routers.iter().map(|(name, r)| {
        (
            name.clone(),
            r.journal
                .entries()
                .iter()
                .filter(|e| e.path == "/configure")
                .count(),
        )
    });
    let clusters = site.clusters.iter().map(|(name, c)| {
        (
            name.clone(),
            c.journal().iter().filter(|e| e.method != "GET").count(),
        )
    });
    routers.chain(clusters).collect()
}
