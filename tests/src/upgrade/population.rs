//! Turns a number into that many objects of all kinds, Ready, and two looks at them into differences.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::{TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::Site;
use crate::site::documents;

/// The zones of the lab, one cluster each.
const ZONES: [&str; 2] = ["north", "south"];
/// Requests of ours to the API at once.
const AT_ONCE: usize = 8;
/// Of so many objects of a tenant one is it itself, and so many are of each other kind.
const TENANT: usize = 50;
const NETWORKS: usize = 6;
const VOLUMES: usize = 23;
const INSTANCES: usize = TENANT - 1 - NETWORKS - VOLUMES;
/// Objects that use what others do not: containers, addresses, members, DHCP.
const VARIED: [&str; 2] = ["examples/acme", "tests/src/sweep/more.yaml"];

/// Makes at least so many objects, and waits until all are Ready, as long as who works on them is
/// there.
pub(super) async fn make(stage: &Stage, total: usize, bound: Duration) -> Result<()> {
    let site = &stage.site;
    crate::scale::population::Population::unbounded(site).await?;
    site.apply_dir(VARIED[0]).await?;
    let more = bb_lab_harness::paths::root().join(VARIED[1]);
    let tenants = total.div_ceil(TENANT);
    apply(site, (0..tenants).map(tenant)).await?;
    ready(stage, bound).await?;
    apply(site, documents(&std::fs::read_to_string(more)?)?).await?;
    apply(site, (0..tenants).flat_map(content)).await?;
    ready(stage, bound).await
}

async fn apply(site: &Site, objects: impl IntoIterator<Item = Value>) -> Result<()> {
    stream::iter(objects.into_iter().map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_ONCE, |object| async move {
            site.apply_value(object).await?;
            Ok(())
        })
        .await
}

/// Waits until every object is Ready. A list of a thousand objects is no small thing: once a second.
async fn ready(stage: &Stage, bound: Duration) -> Result<()> {
    let limit = Instant::now() + bound;
    loop {
        stage.alive()?;
        let all = stage.site.readiness().await?;
        let open: BTreeMap<_, _> = all
            .into_iter()
            .filter(|(_, says)| !says.starts_with("True"))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        if Instant::now() > limit {
            bail!(
                "{} objects are not Ready after {bound:?}: {:?}",
                open.len(),
                open.iter().next()
            );
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn object(kind: &str, namespace: Option<&str>, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

fn tenant(number: usize) -> Value {
    object(
        "Tenant",
        None,
        &format!("t{number}"),
        &json!({"members": [{"name": "alice"}]}),
    )
}

/// What is in a tenant's namespace: networks of one zone and of both, volumes of which some are
/// attached, and instances.
fn content(number: usize) -> Vec<Value> {
    let namespace = format!("t{number}");
    let of = |kind: &str, name: String, spec: Value| object(kind, Some(&namespace), &name, &spec);
    let mut all = Vec::new();
    for at in 0..NETWORKS {
        let mut spec = json!({"ipv4": {"prefix": format!("10.{at}.0.0/22")}});
        // The last one is in both.
        if at + 1 < NETWORKS {
            spec["zones"] = json!([ZONES[at % 2]]);
        }
        all.push(of("Network", format!("n{at}"), spec));
    }
    for at in 0..VOLUMES {
        let spec = json!({"size": format!("{}Gi", at % 3 + 1), "zone": ZONES[at % 2]});
        all.push(of("Volume", format!("v{at}"), spec));
    }
    for at in 0..INSTANCES {
        let mut spec = json!({
            "image": "debian-12", "cpu": 1, "memory": "128Mi",
            "networks": [{"name": "eth0", "network": format!("n{}", at % 4)}],
        });
        // Every fourth has a volume of its zone.
        if at % 4 == 0 {
            spec["volumes"] = json!([{"name": "data", "volume": format!("v{at}")}]);
        }
        all.push(of("Instance", format!("i{at}"), spec));
    }
    all
}

/// Fields that are not what they were, the first of each object. Times at which something was seen
/// are no difference.
pub(super) fn differences(
    before: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let one = |name: &String| match (before.get(name), now.get(name)) {
        (Some(before), Some(now)) => difference("", before, now).map(|at| format!("{name}: {at}")),
        (Some(_), None) => Some(format!("{name} is gone")),
        _ => Some(format!("{name} is new")),
    };
    names.into_iter().filter_map(one).collect()
}

/// The first place where two values differ.
fn difference(path: &str, before: &Value, now: &Value) -> Option<String> {
    match (before, now) {
        (Value::Object(old), Value::Object(new)) => {
            let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            names.into_iter().find_map(|name| {
                let of = |map: &serde_json::Map<String, Value>| {
                    map.get(name).cloned().unwrap_or(Value::Null)
                };
                difference(&format!("{path}.{name}"), &of(old), &of(new))
            })
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let each = old.iter().zip(new).enumerate();
            each.map(|(at, (old, new))| difference(&format!("{path}[{at}]"), old, new))
                .find_map(|found| found)
        }
        _ if before == now => None,
        _ => Some(format!("{path} was {before} and is {now}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_as_many_objects_as_it_should_with_names_of_their_own() {
        let all = content(3);
        assert_eq!(all.len() + 1, TENANT);
        let names: std::collections::BTreeSet<String> = all
            .iter()
            .map(|o| format!("{} {}", o["kind"], o["metadata"]["name"]))
            .collect();
        assert_eq!(names.len(), all.len());
        // Whoever attaches a volume is in its zone.
        for instance in all.iter().filter(|o| o["spec"]["volumes"].is_array()) {
            let network = instance["spec"]["networks"][0]["network"].as_str();
            let volume = instance["spec"]["volumes"][0]["volume"].as_str();
            let zone = |name: Option<&str>| {
                let number = name.and_then(|name| name[1..].parse::<usize>().ok());
                ZONES[number.unwrap() % 2]
            };
            assert_eq!(zone(network), zone(volume), "{instance}");
        }
    }

    #[test]
    fn what_is_dropped_added_or_another_is_told_by_its_place() {
        let of = |value: Value| BTreeMap::from([("Volume a/b".to_owned(), value)]);
        let before = of(json!({"spec": {"size": "1Gi", "tags": ["a", "b"]}}));
        assert_eq!(differences(&before, &before), Vec::<String>::new());
        for (now, words) in [
            (
                json!({"spec": {"tags": ["a", "b"]}}),
                ".spec.size was \"1Gi\" and is null",
            ),
            (
                json!({"spec": {"size": "1Gi", "tags": ["a", "c"]}}),
                ".spec.tags[1]",
            ),
            (
                json!({"spec": {"size": "1Gi", "tags": ["a", "b"], "x": 1}}),
                ".spec.x was null",
            ),
        ] {
            let told = differences(&before, &of(now));
            assert!(told[0].contains(words), "{told:?}");
        }
        assert_eq!(
            differences(&before, &BTreeMap::new()),
            ["Volume a/b is gone"]
        );
        assert_eq!(
            differences(&BTreeMap::new(), &before),
            ["Volume a/b is new"]
        );
    }
}
