//! Turns what a server answered into findings, each with a remedy where it fails. Asks nobody.

use std::collections::BTreeSet;

use bb_crds::{GROUP, VERSION};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::LeaseSpec;
use serde_json::Value;

use super::findings::Finding;
use crate::object::{self, Answer, Object};

/// The releases of Kubernetes that the chart is made for, as minor versions of 1.
const RELEASES: std::ops::RangeInclusive<u32> = 33..=37;
/// How many names a line shows.
const SHOWN: usize = 5;

/// Judges the version of the server, such as `1` and `34+`.
#[must_use]
pub fn version(major: &str, minor: &str, said: &str) -> Finding {
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    let known = (major == "1").then(|| digits.parse::<u32>().ok()).flatten();
    match known {
        Some(minor) if RELEASES.contains(&minor) => {
            Finding::pass("version", format!("Kubernetes {said}"))
        }
        _ => Finding::fail(
            "version",
            format!("Kubernetes {said}; known to work are 1.33 to 1.37"),
            "upgrade the management cluster, or expect surprises",
        )
        .optional(),
    }
}

/// Judges which of our kinds are served: `served` are plural names, `versions` those of the group.
#[must_use]
pub fn definitions(
    versions: &[String],
    served: &BTreeSet<String>,
    installed: Option<&[Value]>,
) -> Finding {
    let ours = bb_crds::crds();
    const UPGRADE: &str = "upgrade the chart: `helm upgrade` brings the definitions of its release";
    if versions.is_empty() {
        return Finding::fail(
            "definitions",
            format!("the server knows no kind of {GROUP}"),
            "install the chart (docs/install.md), or choose another cluster with --context",
        );
    }
    if !versions.iter().any(|version| version == VERSION) {
        let versions = versions.join(", ");
        return Finding::fail(
            "definitions",
            format!("the server serves {versions} of {GROUP}; this bbctl speaks {VERSION}"),
            "use the bbctl of the server's release",
        );
    }
    let plurals = ours.iter().map(|crd| crd.spec.names.plural.clone());
    let missing: Vec<String> = plurals.filter(|plural| !served.contains(plural)).collect();
    if !missing.is_empty() {
        let detail = format!("{GROUP}/{VERSION} is served without {}", missing.join(", "));
        return Finding::fail("definitions", detail, UPGRADE);
    }
    let all = format!("all {} kinds of {GROUP}/{VERSION}", ours.len());
    let Some(installed) = installed else {
        let detail = format!("{all}; fields were not compared: you may not read definitions");
        return Finding::pass("definitions", detail);
    };
    let (mut lacks, mut more) = (Vec::new(), Vec::new());
    for crd in &ours {
        let Ok(known) = serde_json::to_value(crd) else {
            continue;
        };
        let name = &known["metadata"]["name"];
        let there = installed
            .iter()
            .find(|there| there["metadata"]["name"] == *name);
        let Some(there) = there else {
            continue;
        };
        let (known, there) = (fields(&known), fields(there));
        let kind = &crd.spec.names.kind;
        lacks.extend(
            known
                .difference(&there)
                .map(|field| format!("{kind}{field}")),
        );
        more.extend(
            there
                .difference(&known)
                .map(|field| format!("{kind}{field}")),
        );
    }
    match (lacks.as_slice(), more.as_slice()) {
        ([], []) => Finding::pass(
            "definitions",
            format!("{all}, with the fields of this bbctl"),
        ),
        ([], more) => Finding::fail(
            "definitions",
            format!(
                "{all}, with fields that this bbctl does not know: {}",
                few(more)
            ),
            "use the bbctl of the server's release",
        )
        .optional(),
        (lacks, _) => Finding::fail(
            "definitions",
            format!(
                "{all}, without fields that this bbctl knows: {}",
                few(lacks)
            ),
            UPGRADE,
        ),
    }
}

/// The paths of the fields of a definition in our version, such as `.spec.power`.
fn fields(crd: &Value) -> BTreeSet<String> {
    fn walk(schema: &Value, path: &str, all: &mut BTreeSet<String>) {
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            walk(below, &path, all);
            all.insert(path);
        }
        if schema["items"].is_object() {
            walk(&schema["items"], path, all);
        }
    }
    let mut all = BTreeSet::new();
    let versions = crd["spec"]["versions"].as_array().into_iter().flatten();
    for version in versions.filter(|version| version["name"] == VERSION) {
        let schema = &version["schema"]["openAPIV3Schema"]["properties"];
        walk(&schema["spec"], ".spec", &mut all);
        walk(&schema["status"], ".status", &mut all);
    }
    all
}

/// What a Lease says of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It was renewed of late, by this one, so long ago.
    Works(String, SignedDuration),
    /// The last renewal is so long ago, by our clock, that it should have passed on.
    Late(String, SignedDuration),
    /// It was given back and nobody took it.
    Nobody,
}

/// Judges a Lease by our clock, which may be another than that of who renews it.
#[must_use]
pub fn holder(lease: &LeaseSpec, now: Timestamp) -> Holder {
    let holder = lease.holder_identity.clone().unwrap_or_default();
    let (Some(renewed), false) = (&lease.renew_time, holder.is_empty()) else {
        return Holder::Nobody;
    };
    let age = now.duration_since(renewed.0);
    match age.abs() <= lasts(lease) {
        true => Holder::Works(holder, age),
        false => Holder::Late(holder, age),
    }
}

/// How long a renewal counts.
#[must_use]
pub fn lasts(lease: &LeaseSpec) -> SignedDuration {
    SignedDuration::from_secs(lease.lease_duration_seconds.unwrap_or(15).max(1).into())
}

/// Judges whether a controller runs where there is no Lease: by what it has written, which says
/// that it ran and not that it runs.
#[must_use]
pub fn unled(namespace: &str, objects: &[Object]) -> Finding {
    let seen =
        |object: &&Object| !["Unseen", "Stale"].contains(&object::health(object).reason.as_str());
    let (total, seen) = (objects.len(), objects.iter().filter(seen).count());
    let none = format!("there is no Lease bitbuilder-controller in namespace {namespace}");
    match (total, seen) {
        (0, _) => Finding::fail(
            "controller",
            format!("{none}, and no Region or Provider that it could have looked at"),
            "install the chart (docs/install.md); if it is in another namespace, name that with \
             --system",
        ),
        (total, seen) if seen == total => Finding::skip(
            "controller",
            format!(
                "{none}: one that takes no Lease has looked at every Region and Provider, and \
                 nothing says whether it still runs"
            ),
        ),
        (total, seen) => Finding::fail(
            "controller",
            format!(
                "{none}, and {} of {total} Regions and Providers wait for it",
                total - seen
            ),
            "see that bb-controller runs: `kubectl get pods -A -l \
             app.kubernetes.io/name=bitbuilder`; if it is in another namespace, name that with \
             --system",
        ),
    }
}

/// Judges all Providers by their condition Ready.
#[must_use]
pub fn providers(objects: &[Object]) -> Finding {
    let is = |form: &str| {
        let there = objects
            .iter()
            .filter(|p| p.data["spec"].get(form).is_some());
        there.count()
    };
    let (routers, clusters) = (is("vyos"), is("proxmox"));
    let tired: Vec<String> = objects
        .iter()
        .map(|provider| (provider, object::health(provider)))
        .filter(|(_, health)| health.ready != Answer::Yes)
        .map(|(provider, health)| {
            let name = object::name(provider);
            match health.message.as_str() {
                "" => format!("{name} is {}", health.reason),
                message => format!("{name} is {}: {message}", health.reason),
            }
        })
        .collect();
    let all = format!("{routers} routers and {clusters} clusters");
    match (routers, clusters, tired.as_slice()) {
        (0, _, _) | (_, 0, _) => Finding::fail(
            "providers",
            format!("there are {all}: an instance takes one of each"),
            "make Providers: docs/spec/provider.md",
        ),
        (_, _, []) => Finding::pass("providers", format!("{all}, all ready")),
        (_, _, tired) => Finding::fail(
            "providers",
            format!(
                "{} of {all} are not ready: {}",
                tired.len(),
                few_of(tired, "; ")
            ),
            "see `bbctl describe provider NAME`; `bbctl test-vyos NAME` looks at a router from \
             here",
        ),
    }
}

/// What one may do with our kinds: what to do, with which kind, and whether.
#[must_use]
pub fn rights(namespace: &str, allowed: &[(&str, &str, bool)]) -> Finding {
    let with = |verb: &str| -> Vec<&str> {
        let these = allowed.iter().filter(|(v, _, yes)| *v == verb && *yes);
        these.map(|(_, kind, _)| *kind).collect()
    };
    let (see, make) = (with("list"), with("create"));
    let may = |kinds: &[&str]| match kinds {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    };
    let detail = format!(
        "in namespace {namespace} you may see {} and make {}",
        may(&see),
        may(&make)
    );
    match see.contains(&"instances") {
        true => Finding::pass("rights", detail),
        false => Finding::fail(
            "rights",
            detail,
            format!(
                "choose your tenant's namespace with -n, or ask an admin to make you a member \
                 (spec.members of the Tenant {namespace})"
            ),
        ),
    }
}

fn few(names: &[String]) -> String {
    few_of(names, ", ")
}

fn few_of(names: &[String], between: &str) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(between),
        more => format!("{}{between}and {more} more", shown.join(between)),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use serde_json::json;

    use super::*;
    use crate::checks::Verdict;

    fn installed() -> Vec<Value> {
        let crds = bb_crds::crds();
        crds.iter()
            .map(|crd| serde_json::to_value(crd).unwrap())
            .collect()
    }

    fn served() -> BTreeSet<String> {
        let crds = bb_crds::crds();
        crds.iter()
            .map(|crd| crd.spec.names.plural.clone())
            .collect()
    }

    #[test]
    fn versions_of_the_server_are_judged_and_an_odd_one_fails_nothing() {
        for good in ["34", "33+", "37"] {
            assert_eq!(
                version("1", good, "x").check.status,
                Verdict::Pass,
                "{good}"
            );
        }
        for odd in ["32", "38", ""] {
            let finding = version("1", odd, "x");
            assert!(
                finding.check.status == Verdict::Fail && !finding.is_fatal(),
                "{odd}"
            );
        }
    }

    #[test]
    fn definitions_are_compared_field_by_field() {
        let versions = vec![VERSION.to_owned()];
        let judge = |crds: &[Value]| definitions(&versions, &served(), Some(crds));
        assert_eq!(judge(&installed()).check.status, Verdict::Pass);
        let mut older = installed();
        let instances = older
            .iter_mut()
            .find(|c| c["spec"]["names"]["kind"] == "Instance");
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let spec = instances.unwrap().pointer_mut(spec).unwrap();
        let power = spec.as_object_mut().unwrap().remove("power").unwrap();
        let finding = judge(&older);
        assert!(finding.is_fatal() && finding.check.detail.contains("Instance.spec.power"));
        let mut newer = installed();
        let networks = newer
            .iter_mut()
            .find(|c| c["spec"]["names"]["kind"] == "Network");
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        networks.unwrap().pointer_mut(spec).unwrap()["peers"] = power;
        let finding = judge(&newer);
        assert!(!finding.is_fatal() && finding.check.detail.contains("Network.spec.peers"));
    }

    #[test]
    fn definitions_that_are_missing_say_what_to_do() {
        let none = definitions(&[], &BTreeSet::new(), None);
        assert!(none.is_fatal() && none.check.remedy.unwrap().contains("install"));
        let other = definitions(&["v1".to_owned()], &BTreeSet::new(), None);
        assert!(other.is_fatal() && other.check.remedy.unwrap().contains("bbctl"));
        let mut some = served();
        some.remove("volumes");
        let partly = definitions(&[VERSION.to_owned()], &some, None);
        assert!(partly.is_fatal() && partly.check.detail.contains("volumes"));
    }

    #[test]
    fn a_lease_is_judged_by_its_own_duration() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let lease = |renewed: &str, holder: &str| LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed.parse().unwrap())),
            ..LeaseSpec::default()
        };
        let judge = |renewed, name| holder(&lease(renewed, name), now);
        assert!(matches!(
            judge("2026-01-01T00:00:50Z", "a"),
            Holder::Works(..)
        ));
        assert!(matches!(
            judge("2026-01-01T00:00:40Z", "a"),
            Holder::Late(..)
        ));
        // A clock that is ahead of ours is as much in doubt as one that is behind.
        assert!(matches!(
            judge("2026-01-01T00:02:00Z", "a"),
            Holder::Late(..)
        ));
        assert_eq!(judge("2026-01-01T00:00:50Z", ""), Holder::Nobody);
        assert_eq!(holder(&LeaseSpec::default(), now), Holder::Nobody);
    }

    fn provider(name: &str, form: &str, reason: &str) -> Object {
        let status = if reason == "Ready" { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": {"name": name, "generation": 1}, "spec": {form: {}},
            "status": {"conditions": [{"type": "Ready", "status": status, "reason": reason,
                "message": "words", "observedGeneration": 1}]}
        }))
        .unwrap()
    }

    #[test]
    fn providers_are_named_with_what_is_wrong() {
        let good = [
            provider("r1", "vyos", "Ready"),
            provider("c1", "proxmox", "Ready"),
        ];
        assert_eq!(providers(&good).check.status, Verdict::Pass);
        let bad = [
            provider("r1", "vyos", "Unreachable"),
            provider("c1", "proxmox", "Ready"),
        ];
        let finding = providers(&bad);
        assert!(finding.is_fatal() && finding.check.detail.contains("r1 is Unreachable: words"));
        let half = providers(&good[..1]);
        assert!(
            half.is_fatal() && half.check.detail.contains("0 clusters"),
            "{half:?}"
        );
    }

    #[test]
    fn without_a_lease_what_was_looked_at_decides() {
        let seen = provider("r1", "vyos", "Ready");
        let unseen: Object =
            serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": {}})).unwrap();
        assert_eq!(
            unled("s", std::slice::from_ref(&seen)).check.status,
            Verdict::Skip
        );
        assert!(unled("s", &[seen, unseen]).is_fatal());
        assert!(unled("s", &[]).is_fatal());
    }

    #[test]
    fn who_may_see_no_instances_is_told_whom_to_ask() {
        let none = rights("acme", &[("list", "instances", false)]);
        assert!(none.is_fatal() && none.check.remedy.unwrap().contains("Tenant acme"));
        let some = rights(
            "acme",
            &[("list", "instances", true), ("create", "instances", false)],
        );
        assert!(
            some.check
                .detail
                .ends_with("see instances and make nothing"),
            "{some:?}"
        );
    }
}
