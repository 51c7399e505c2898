//! apply and delete: what they write, what they ask, what they refuse.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use bb_lab_harness::paths;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::around::{
    Ran, api, bbctl, begin, client, cluster, end, good, instance, namespace, network, ours,
    set_ready,
};

#[tokio::test]
async fn apply_says_what_it_created_changed_and_left() -> Result<()> {
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n---\n";
    // The namespace comes last in the file and is made first all the same.
    let file = format!(
        "{}{config}{}",
        network("web", "10.0.0.0/24"),
        namespace("applied")
    );
    let first = good("apply -n applied -f -", &file).await?;
    assert_eq!(
        first.stdout,
        "namespace/applied created\nnetwork/web created\nconfigmap/c created\n"
    );
    assert!(first.stderr.contains("next: bbctl status"), "{first:?}");
    let again = good("apply -n applied -f -", &file).await?;
    assert_eq!(again.stdout.matches("unchanged").count(), 3, "{again:?}");
    let changed = file.replace("a: '1'", "a: '2'");
    let changed = good("apply -n applied -f - -o json", &changed)
        .await?
        .json()?;
    let results: Vec<&str> = changed["results"]
        .as_array()
        .context("results")?
        .iter()
        .filter_map(|r| r["result"].as_str())
        .collect();
    assert_eq!(results, ["unchanged", "unchanged", "configured"]);
    Ok(())
}

#[tokio::test]
async fn a_dry_run_changes_nothing() -> Result<()> {
    good("apply -f -", &namespace("dry")).await?;
    for how in ["client", "server"] {
        let words = format!("apply -n dry -f - --dry-run={how}");
        let ran = good(&words, &network("web", "10.0.0.0/24")).await?;
        assert_eq!(ran.stdout, "network/web created (dry run)\n");
    }
    let ran = bbctl("get network web -n dry", "").await?;
    assert_eq!(ran.code, Some(3));
    good("apply -n dry -f -", &network("web", "10.0.0.0/24")).await?;
    good("delete network web -n dry --dry-run", "").await?;
    good("get network web -n dry", "").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_manifest_is_said_and_the_rest_is_applied() -> Result<()> {
    let wrong = ours(
        "Network",
        "typo",
        &json!({"ipv4": {"prefix": "10.0.0.0/24", "gatway": "10.0.0.1"}}),
    );
    let bits = ours(
        "Network",
        "bits",
        &json!({"ipv4": {"prefix": "10.0.0.1/24"}}),
    );
    let file = format!(
        "{}{wrong}{bits}{}",
        namespace("judged"),
        network("good", "10.1.0.0/24")
    );
    let ran = bbctl("apply -n judged -f -", &file).await?;
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stdout,
        "namespace/judged created\nnetwork/good created\n"
    );
    for words in [
        "network/typo of standard input (document 2)",
        ".spec.ipv4.gatway",
        "check the spelling",
        "network/bits of standard input (document 3)",
        "prefix has host bits set",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    let unknown = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: x}\n";
    let ran = bbctl("apply -f -", unknown).await?;
    assert_eq!(ran.code, Some(3));
    assert!(
        ran.stderr.contains("no kind Thing of example.org/v1"),
        "{ran:?}"
    );
    let ran = bbctl("apply -n elsewhere -f -", &network("web", "10.0.0.0/24")).await?;
    assert_eq!(ran.code, Some(3), "a namespace that is not there: {ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_said_twice_and_differently_sends_nothing() -> Result<()> {
    let file = format!(
        "{}{}",
        namespace("twice"),
        network("web", "10.0.0.0/24").replace("\"name\"", "\"namespace\":\"other\",\"name\"")
    );
    let ran = bbctl("apply -n twice -f -", &file).await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_get_prints_can_be_applied_again_and_changes_nothing() -> Result<()> {
    let file = format!(
        "{}{}{}",
        namespace("round"),
        network("web", "10.0.0.0/24"),
        instance("www", "web")
    );
    good("apply -n round -f -", &file).await?;
    let networks = api(&client().await?, "Network", "round");
    set_ready(&networks, "web", 1, json!({"status": "True"})).await?;
    let printed = good("get networks,instances -n round -o yaml", "")
        .await?
        .stdout;
    assert!(!printed.contains("managedFields"));
    let again = good("apply -n round -f -", &printed).await?;
    assert_eq!(
        again.stdout,
        "network/web unchanged\ninstance/www unchanged\n"
    );
    let object = networks.get("web").await?;
    assert_eq!(object.metadata.generation, Some(1));
    assert_eq!(object.data["status"]["conditions"][0]["status"], "True");
    let reprinted = good("get networks,instances -n round -o yaml", "")
        .await?
        .stdout;
    let steady = |text: &str| {
        text.lines()
            .filter(|l| !l.contains("resourceVersion"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(steady(&printed), steady(&reprinted));
    Ok(())
}

#[tokio::test]
async fn fields_of_someone_else_are_taken_over_only_on_demand() -> Result<()> {
    good("apply -f -", &namespace("owned")).await?;
    let instances = api(&client().await?, "Instance", "owned");
    let theirs: Value =
        serde_json::from_str(instance("www", "web").trim_end().trim_end_matches("---"))?;
    instances
        .patch(
            "www",
            &PatchParams::apply("someone"),
            &Patch::Apply(&theirs),
        )
        .await?;
    let mine = instance("www", "web").replace("debian-12\"", "debian-12\",\"cpu\":2");
    good("apply -n owned -f -", &mine).await?;
    let stopped = mine.replace("\"cpu\":2", "\"cpu\":4");
    instances
        .patch("www", &PatchParams::apply("someone").force(), &Patch::Apply(&json!({
            "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance", "metadata": {"name": "www"},
            "spec": {"image": "debian-12", "cpu": 3, "networks": [{"name": "a", "network": "web"}]}})))
        .await?;
    let ran = bbctl("apply -n owned -f -", &stopped).await?;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.stderr.contains("--force-conflicts"), "{ran:?}");
    let ran = good("apply -n owned -f - --force-conflicts", &stopped).await?;
    assert_eq!(ran.stdout, "instance/www configured\n");
    Ok(())
}

#[tokio::test]
async fn delete_waits_until_finalizers_have_done_their_work() -> Result<()> {
    let file = format!("{}{}", namespace("held"), instance("www", "web"));
    good("apply -n held -f -", &file).await?;
    let instances = api(&client().await?, "Instance", "held");
    let hold = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        let instances = instances.clone();
        async move {
            instances
                .patch("www", &PatchParams::default(), &Patch::Merge(&patch))
                .await
        }
    };
    hold(json!(["test/hold"])).await?;
    let ran = good("delete instance www -n held --yes", "").await?;
    assert_eq!(ran.stdout, "instance/www deleting\n");
    assert!(
        ran.stderr
            .contains("next: bbctl wait instance/www -n held --for=delete"),
        "{ran:?}"
    );
    let late = bbctl("wait instance/www -n held --for=delete --timeout=3s", "").await?;
    assert_eq!(late.code, Some(6));
    assert!(late.stderr.contains("test/hold"), "{late:?}");
    let mut child = begin(
        cluster().await?.kubeconfig(),
        "delete instance www -n held --yes --wait",
    )?;
    let mut stdout = BufReader::new(child.stdout.take().context("stdout is a pipe")?);
    let mut told = String::new();
    stdout.read_line(&mut told).await?;
    assert_eq!(told, "instance/www deleting\n");
    hold(Value::Null).await?;
    let ran = end(child, "").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    told.clear();
    stdout.read_line(&mut told).await?;
    assert_eq!(told, "instance/www deleted\n");
    good("wait instance/www -n held --for=delete", "").await?;
    assert_eq!(
        bbctl("delete instance www -n held --yes", "").await?.code,
        Some(3)
    );
    good("delete instance www -n held --yes --ignore-not-found", "").await?;
    Ok(())
}

#[tokio::test]
async fn without_a_terminal_delete_names_the_flags_and_deletes_nothing() -> Result<()> {
    let tenant = ours("Tenant", "grave", &json!({}));
    let volume = ours("Volume", "data", &json!({"size": "1Gi"}));
    let file = format!(
        "{}{tenant}{}{}{volume}",
        namespace("grave"),
        network("web", "10.0.0.0/24"),
        instance("www", "web")
    );
    good("apply -n grave -f -", &file).await?;
    let table = [
        ("delete instance www", "--yes", "its root disk is destroyed"),
        ("delete volume data", "--yes", "its data is destroyed"),
        (
            "delete network web --cascade",
            "--yes --confirm=network/web",
            "instances are in it: www",
        ),
        (
            "delete tenant grave --yes --cascade",
            "--confirm=tenant/grave",
            "in it are: 1 network, 1 volume, 1 instance",
        ),
        ("delete network/web instance/www", "--yes", ""),
        (
            "delete -f -",
            "--yes --confirm=tenant/grave --confirm=namespace/grave",
            "everything in the namespace goes with it",
        ),
    ];
    for (words, flags, meaning) in table {
        let ran = bbctl(&format!("{words} -n grave"), &file).await?;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{words}: {ran:?}"
        );
        assert!(
            ran.stderr.contains(&format!("confirm it with {flags}")),
            "{words}: {ran:?}"
        );
        assert!(ran.stderr.contains(meaning), "{words}: {ran:?}");
    }
    good(
        "get network/web instance/www volume/data tenant/grave -n grave",
        "",
    )
    .await?;
    let ran = good(
        "delete network web -n grave --confirm=network/web --yes --cascade",
        "",
    )
    .await?;
    assert_eq!(ran.stdout, "instance/www deleted\nnetwork/web deleted\n");
    let rest = good(
        "delete -f - -n grave --yes --confirm=namespace/grave,tenant/grave --ignore-not-found --wait",
        &file,
    )
    .await?;
    assert!(rest.stdout.contains("namespace/grave deleted"), "{rest:?}");
    Ok(())
}

#[tokio::test]
async fn what_others_depend_on_is_deleted_with_them_or_not_at_all() -> Result<()> {
    let with_disk = json!({"image": "debian-12", "networks": [{"name": "a", "network": "web"}],
        "volumes": [{"name": "d", "volume": "data"}]});
    let region = json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999"});
    let provider = json!({"region": "leaned-on", "vyos": {"endpoint": "https://192.0.2.1",
        "credentials": {"secret": "x"}, "tls": {"caSecret": "x"}, "routerId": "10.255.0.9"}});
    let file = [
        namespace("leaned-on"),
        ours("Tenant", "leaned-on", &json!({})),
        network("web", "10.0.0.0/24"),
        ours("Volume", "data", &json!({"size": "1Gi"})),
        ours("Instance", "www", &with_disk),
        ours("Region", "leaned-on", &region),
        ours("Provider", "leaned-on", &provider),
    ];
    good("apply -n leaned-on -f -", &file.concat()).await?;
    let flags = "-n leaned-on --yes --confirm=network/web,tenant/leaned-on,region/leaned-on,provider/leaned-on";
    let table = [
        (
            "delete network web",
            "instances are in it: www",
            "with --cascade",
        ),
        (
            "delete tenant leaned-on",
            "in it are: 1 network",
            "with --cascade",
        ),
        (
            "delete volume data",
            "instances have it: www",
            "bbctl volumes detach",
        ),
        (
            "delete volume data --cascade",
            "instances have it: www",
            "bbctl volumes detach",
        ),
        (
            "delete region leaned-on",
            "Providers are in it: leaned-on",
            "delete those first",
        ),
    ];
    for (words, message, hint) in table {
        for words in [
            format!("{words} {flags}"),
            format!("{words} {flags} --dry-run"),
        ] {
            let ran = bbctl(&words, "").await?;
            assert_eq!(
                (ran.code, ran.stdout.as_str()),
                (Some(1), ""),
                "{words}: {ran:?}"
            );
            assert!(
                ran.stderr.contains("nothing was deleted"),
                "{words}: {ran:?}"
            );
            assert!(ran.stderr.contains(message), "{words}: {ran:?}");
            assert!(ran.stderr.contains(hint), "{words}: {ran:?}");
        }
    }
    let ran = good(
        &format!("delete network web --cascade {flags} --dry-run=client"),
        "",
    )
    .await?;
    assert_eq!(ran.stdout.matches("(dry run)").count(), 2, "{ran:?}");
    let ran = good(&format!("delete network web --cascade {flags}"), "").await?;
    assert_eq!(ran.stdout, "instance/www deleted\nnetwork/web deleted\n");
    good(&format!("delete volume data {flags}"), "").await?;
    good(
        &format!("delete provider/leaned-on region/leaned-on {flags}"),
        "",
    )
    .await?;
    good(&format!("delete tenant leaned-on {flags}"), "").await?;
    Ok(())
}

/// Runs it on a terminal of its own, and types one line.
pub(crate) async fn typed(words: &str, line: &str) -> Result<Ran> {
    let program = paths::binary("bbctl")?;
    let child = Command::new("script")
        .args([
            "-qec",
            &format!("{} {words}", program.display()),
            "/dev/null",
        ])
        .env("KUBECONFIG", cluster().await?.kubeconfig())
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run script, of util-linux")?;
    end(child, &format!("{line}\n")).await
}

#[tokio::test]
async fn on_a_terminal_delete_asks_and_obeys_the_answer() -> Result<()> {
    let tenant = ours("Tenant", "asked", &json!({}));
    let volume = ours("Volume", "data", &json!({"size": "1Gi"}));
    let file = format!("{}{tenant}{volume}", namespace("asked"));
    good("apply -n asked -f -", &file).await?;
    for (words, line) in [
        ("delete volume data -n asked", "n"),
        ("delete volume data -n asked", ""),
        ("delete volume data -n asked", "maybe"),
        ("delete tenant asked --cascade", "y"),
        ("delete tenant asked --yes --cascade", "Asked"),
    ] {
        let ran = typed(words, line).await?;
        assert_eq!(ran.code, Some(1), "{words} {line}: {ran:?}");
        assert!(
            ran.stdout.contains("nothing was deleted"),
            "{words} {line}: {ran:?}"
        );
    }
    let ran = typed("delete volume data -n asked --no-input", "y").await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let ran = typed("delete volume data -n asked", "y").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("its data is destroyed"), "{ran:?}");
    assert!(ran.stdout.contains("Delete volume/data? [y/N]"), "{ran:?}");
    let ran = typed("delete tenant asked", "asked").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(bbctl("get tenant asked", "").await?.code, Some(3));
    Ok(())
}
