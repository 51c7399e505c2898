//! get, describe, status, version: what they show, and to whom.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::{Cluster, Options, chart, paths};
use bb_tests::site::client_of;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::around::{
    api, bbctl, begin, client, cluster, end, good, instance, namespace, network, ours, set_ready,
};

#[tokio::test]
async fn get_writes_every_format() -> Result<()> {
    let file = format!(
        "{}{}{}",
        namespace("formats"),
        network("web", "10.0.0.0/24"),
        network("db", "10.1.0.0/24")
    );
    good("apply -n formats -f -", &file).await?;
    let list = good("get bbnet -n formats -o json", "").await?.json()?;
    assert_eq!(
        (&list["kind"], list["items"].as_array().map(Vec::len)),
        (&json!("List"), Some(2))
    );
    let one = good("get network/web -n formats --json", "")
        .await?
        .json()?;
    assert_eq!(one["spec"]["ipv4"]["prefix"], "10.0.0.0/24");
    let yaml = good("get networks -n formats -o yaml", "").await?.stdout;
    let yaml: Value = serde_saphyr::from_str(&yaml)?;
    assert_eq!(yaml, list);
    let names = good("get networks -n formats -o name", "").await?.stdout;
    assert_eq!(
        names,
        "network.bitbuilder.cloud/db\nnetwork.bitbuilder.cloud/web\n"
    );
    let table = good("get networks -n formats", "").await?.stdout;
    assert!(
        table.starts_with("NAME  READY    REASON  PREFIX"),
        "{table}"
    );
    let wide = good("get networks -A -o wide", "").await?.stdout;
    assert!(
        wide.starts_with("NAMESPACE") && wide.contains("GATEWAY"),
        "{wide}"
    );
    let all = good("get all -n formats", "").await?.stdout;
    assert!(all.contains("network/web"), "{all}");
    let none = good("get volumes -n formats", "").await?;
    assert_eq!(
        (none.stdout.as_str(), none.stderr.as_str()),
        ("", "nothing found in namespace formats\n")
    );
    let none = good("get volumes -n formats -o json", "").await?.json()?;
    assert_eq!(none["items"], json!([]));
    Ok(())
}

#[tokio::test]
async fn of_several_names_those_that_are_there_are_shown() -> Result<()> {
    let file = format!("{}{}", namespace("several"), network("web", "10.0.0.0/24"));
    good("apply -n several -f -", &file).await?;
    let ran = bbctl("get networks web gone -n several", "").await?;
    assert_eq!(ran.code, Some(3));
    assert!(ran.stdout.contains("web"), "{ran:?}");
    assert!(ran.stderr.contains("gone"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_list_longer_than_a_page_is_whole() -> Result<()> {
    good("apply -f -", &namespace("many")).await?;
    let volumes = api(&client().await?, "Volume", "many");
    let make = |n: u32| {
        let volumes = volumes.clone();
        async move {
            let object = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Volume",
                "metadata": {"name": format!("v{n}")}, "spec": {"size": "1Gi"}});
            let object: DynamicObject = serde_json::from_value(object)?;
            volumes.create(&Default::default(), &object).await?;
            anyhow::Ok(())
        }
    };
    for batch in (0..510).collect::<Vec<u32>>().chunks(30) {
        futures::future::try_join_all(batch.iter().map(|n| make(*n))).await?;
    }
    let names = good("get volumes -n many -o name", "").await?.stdout;
    assert_eq!(names.lines().count(), 510);
    Ok(())
}

#[tokio::test]
async fn every_command_that_reads_writes_one_document_and_nothing_else() -> Result<()> {
    let file = format!("{}{}", namespace("machine"), network("web", "10.0.0.0/24"));
    good("apply -n machine -f -", &file).await?;
    set_ready(
        &api(&client().await?, "Network", "machine"),
        "web",
        1,
        json!({"status": "True"}),
    )
    .await?;
    for words in [
        "get networks",
        "get network web",
        "get all",
        "describe network web",
        "describe networks",
        "status",
        "version",
        "wait network/web",
        "wait networks --all",
        "apply -f -",
        "delete network web --dry-run",
    ] {
        let whole = format!("{words} -n machine -o json");
        let ran = good(&whole, &file).await?;
        assert!(ran.json()?.is_object(), "{whole}");
        assert_eq!(ran.stderr, "", "{whole}");
        let synonym = good(&format!("{words} -n machine --json"), &file).await?;
        assert!(synonym.json()?.is_object(), "{words} --json");
        let ran = good(&format!("{words} -n machine -o yaml"), &file).await?;
        let document: Value = serde_saphyr::from_str(&ran.stdout)?;
        assert!(document.is_object(), "{words} -o yaml");
        for format in ["name", "wide", "table"] {
            let ran = good(&format!("{words} -n machine -o {format}"), &file).await?;
            assert!(!ran.stdout.contains('\u{1b}'), "{words} -o {format}");
        }
    }
    Ok(())
}

/// Gives `tenant-member` one of the chart's roles in a namespace.
pub(crate) async fn bind(role: &str, namespace: &str) -> Result<()> {
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tenant-member"}]});
    good("apply -f -", &binding.to_string()).await.map(drop)
}

#[tokio::test]
async fn a_member_sees_and_changes_what_is_the_tenants_and_nothing_else() -> Result<()> {
    let file = format!("{}{}", namespace("member"), network("web", "10.0.0.0/24"));
    good("apply -n member -f -", &file).await?;
    bind("bitbuilder-view", "member").await?;
    let kubeconfig = cluster().await?.kubeconfig_for("tenant-member")?;
    let member = |words: &'static str, stdin: String| {
        let child = begin(&kubeconfig, words);
        async move { end(child?, &stdin).await }
    };
    let ran = member("get networks -n member", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = member("get all -n member", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr
            .contains("you may not list regions, providers, tenants"),
        "{ran:?}"
    );
    let ran = member("status -n member", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("member     -      0/1"), "{ran:?}");
    let ran = member("describe network web -n member", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for words in [
        "get providers",
        "get networks -n default",
        "status",
        "describe tenant x",
    ] {
        let ran = member(words, String::new()).await?;
        assert_eq!(ran.code, Some(4), "{words}: {ran:?}");
        assert!(ran.stderr.contains("hint: "), "{words}: {ran:?}");
    }
    let other = network("db", "10.1.0.0/24");
    let ran = member("apply -n member -f -", other.clone()).await?;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    bind("bitbuilder-edit", "member").await?;
    let ran = member("apply -n member -f -", other).await?;
    assert_eq!(ran.stdout, "network/db created\n", "{ran:?}");
    let ran = member("delete network db -n member --yes --wait", String::new()).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn an_error_can_be_found_in_the_audit_log_by_its_id() -> Result<()> {
    let ran = bbctl("get instance none -n default -o json", "").await?;
    let line: Value = serde_json::from_str(ran.stderr.trim())?;
    assert_eq!((ran.code, &line["code"]), (Some(3), &json!("NotFound")));
    let id = line["requestId"].as_str().context("an id")?;
    let Some(log) = cluster().await?.audit_log() else {
        println!("skipped: the cluster is not ours and its audit log elsewhere");
        return Ok(());
    };
    let until = Instant::now() + Duration::from_secs(10);
    while !std::fs::read_to_string(&log)?.contains(id) {
        ensure!(Instant::now() < until, "{id} is not in {}", log.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn status_counts_what_is_ready_and_says_why_the_rest_is_not() -> Result<()> {
    let tenant = ours("Tenant", "counted", &json!({}));
    let file = format!(
        "{}{tenant}{}{}",
        namespace("counted"),
        instance("good", "web"),
        instance("bad", "web")
    );
    good("apply -n counted -f -", &file).await?;
    let client = client().await?;
    set_ready(
        &api(&client, "Tenant", ""),
        "counted",
        1,
        json!({"status": "True"}),
    )
    .await?;
    let instances = api(&client, "Instance", "counted");
    set_ready(&instances, "good", 1, json!({"status": "True"})).await?;
    let bad = json!({"status": "False", "reason": "Refused", "message": "the cluster has no image debian-12"});
    set_ready(&instances, "bad", 1, bad).await?;
    let report = good("status counted -o json", "").await?.json()?;
    let share = &report["tenants"][0];
    assert_eq!(
        share["instances"],
        json!({"total": 2, "ready": 1}),
        "{report}"
    );
    assert_eq!(share["tenant"], "counted");
    assert_eq!(
        report["notReady"].as_array().map(Vec::len),
        Some(1),
        "{report}"
    );
    let told = good("status counted", "").await?;
    assert!(told.stdout.contains("instance/bad"), "{told:?}");
    assert!(told.stdout.contains("Refused"), "{told:?}");
    assert!(
        told.stderr
            .contains("next: bbctl describe instance/bad -n counted"),
        "{told:?}"
    );
    let lines = told.stdout.lines().map(|line| line.chars().count()).max();
    assert!(lines <= Some(80), "{told:?}");
    assert_eq!(bbctl("status nobody", "").await?.code, Some(3));
    Ok(())
}

#[tokio::test]
async fn describe_begins_with_why_it_is_not_ready() -> Result<()> {
    let file = format!(
        "{}{}{}",
        namespace("told"),
        network("web", "10.0.0.0/24"),
        instance("www", "web")
    );
    good("apply -n told -f -", &file).await?;
    let client = client().await?;
    let net = json!({"status": "False", "reason": "Unreachable", "message": "r1 does not answer"});
    set_ready(&api(&client, "Network", "told"), "web", 1, net).await?;
    let www = json!({"status": "False", "reason": "Waiting", "message": "for Network web"});
    set_ready(&api(&client, "Instance", "told"), "www", 1, www).await?;
    let told = good("describe instance www -n told", "").await?.stdout;
    let top: Vec<&str> = told.lines().take(3).collect();
    assert_eq!(top[0], "instance www in namespace told");
    assert!(
        top[1].starts_with("Not ready for ") && top[1].ends_with(": Waiting: for Network web"),
        "{told}"
    );
    assert_eq!(
        top[2],
        "  because network web: Unreachable: r1 does not answer"
    );
    let told = good("describe instance www -n told -o json", "")
        .await?
        .json()?;
    assert_eq!(
        told["causes"],
        json!(["network web: Unreachable: r1 does not answer"])
    );
    assert_eq!(told["object"]["metadata"]["name"], "www");
    // A cause that is longer than a line goes on under its own first word.
    let long = "r1 does not answer, ".repeat(8);
    let net = json!({"status": "False", "reason": "Unreachable", "message": long.trim()});
    set_ready(&api(&client, "Network", "told"), "web", 1, net).await?;
    let told = good("describe instance www -n told", "").await?.stdout;
    assert_eq!(told.matches("  because ").count(), 1, "{told}");
    let next = told
        .lines()
        .skip_while(|line| !line.contains("because"))
        .nth(1);
    let next = next.context("a second line")?;
    assert!(
        next.starts_with("          ") && next.contains("answer"),
        "{told}"
    );
    let fresh = good("describe network web -n told", "").await?.stdout;
    assert!(fresh.contains("www"), "the instances of a network: {fresh}");
    Ok(())
}

/// The Deployment of a controller that runs nowhere, as the chart labels it.
fn controller(name: &str, version: &str) -> String {
    let labels = json!({"app.kubernetes.io/name": "bitbuilder-controller",
        "app.kubernetes.io/version": version});
    let pod = json!({"metadata": {"labels": labels},
        "spec": {"containers": [{"name": "controller", "image": "none"}]}});
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "versions", "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}});
    format!("{object}\n---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn version_names_both_ends_and_what_is_served() -> Result<()> {
    // A server of its own: what runs elsewhere must not count.
    let dir = tempfile::tempdir_in(paths::scratch()?)?;
    let own = Cluster::start(Options::new(dir.path().join("k8s"))).await?;
    let run = |words: &'static str, stdin: String| {
        let child = begin(own.kubeconfig(), words);
        async move {
            let ran = end(child?, &stdin).await?;
            ensure!(ran.code == Some(0), "{words}: {ran:?}");
            anyhow::Ok(ran)
        }
    };
    // A server without our kinds.
    let bare = run("version -o json", String::new()).await?;
    let facts = bare.json()?;
    assert_eq!(
        (&facts["served"], &facts["skew"]),
        (&json!([]), &json!(true))
    );
    assert!(
        bare.stderr
            .contains("install the custom resource definitions"),
        "{bare:?}"
    );
    tokio::task::block_in_place(|| own.apply(&[chart::crds()]))?;
    let facts = run("version -o json", String::new()).await?.json()?;
    let client = facts["client"].as_str().context("a version")?.to_owned();
    assert_eq!(facts["served"], json!(["v1alpha1"]));
    assert_eq!(facts["skew"], false);
    assert_eq!(facts["controllers"], json!({}));
    assert!(
        facts["server"]
            .as_str()
            .is_some_and(|version| version.starts_with('v')),
        "{facts}"
    );
    let tls = json!({"caSecret": "ca"});
    let router = json!({"region": "north", "vyos": {"endpoint": "https://192.0.2.1", "tls": tls,
        "credentials": {"secret": "r1"}, "routerId": "10.255.0.1"}});
    let file =
        namespace("versions") + &controller("one", &client) + &ours("Provider", "r1", &router);
    run("apply -f -", file).await?;
    let status = json!({"status": {"version": "1.5-rolling-202410220007"}});
    let providers = api(&client_of(own.kubeconfig()).await?, "Provider", "");
    providers
        .patch_status("r1", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    let facts = run("version -o json", String::new()).await?.json()?;
    assert_eq!(facts["controllers"], json!({"versions/one": client}));
    assert_eq!(
        facts["providers"],
        json!({"r1": "1.5-rolling-202410220007"})
    );
    assert_eq!(facts["skew"], false, "{facts}");
    run("apply -f -", controller("two", "99.0.0")).await?;
    let told = run("version", String::new()).await?;
    for line in [
        "controller  versions/two: 99.0.0",
        "provider    r1: 1.5-rolling-202410220007",
    ] {
        assert!(told.stdout.contains(line), "{line}: {told:?}");
    }
    assert!(
        told.stderr
            .contains("controller versions/two is of version 99.0.0"),
        "{told:?}"
    );
    let facts = run("version -o json", String::new()).await?.json()?;
    assert_eq!(facts["skew"], true, "{facts}");
    own.stop()
}

#[tokio::test]
async fn what_others_changed_is_told_line_by_line() -> Result<()> {
    good(
        "apply -n drifted -f -",
        &(namespace("drifted") + &instance("www", "web")),
    )
    .await?;
    let api = api(&client().await?, "Instance", "drifted");
    let status = json!({"status": {
        "drift": [{"target": "c1", "since": "2026-01-01T00:00:00Z", "more": 3,
            "lines": ["- cores: 4\u{1b}[31m", "+ cores: 1"]}],
        "preview": {"lines": ["+ name: www"]},
        "conditions": [{"type": "InSync", "status": "False", "reason": "Drifted",
            "message": "somebody else changed it on c1", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    api.patch_status("www", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    let told = good("describe instance www -n drifted", "").await?.stdout;
    for line in [
        "Changed on c1 by somebody else",
        "still so",
        "  - cores: 4",
        "  + cores: 1",
        "  and 3 more",
        "Adopting the guest would change",
        "  + name: www",
    ] {
        assert!(told.contains(line), "{line:?} is not in {told}");
    }
    assert!(
        !told.contains('\u{1b}'),
        "what others wrote drives no terminal"
    );
    let told = good("status -n drifted", "").await?.stdout;
    assert!(told.contains("1 changed by somebody else"), "{told}");
    assert!(told.contains("instance/www"), "{told}");
    Ok(())
}
