//! wait, test-vyos, and bbctl among other programs: signals, pipes, servers that die, a whole life.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::{Cluster, Options, Part, chart, paths};
use bb_lab_vyos::VyosLab;
use bb_tests::site::client_of;
use bb_tests::{Site, SiteOptions};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::around::{
    BOUND, api, bbctl, begin, client, cluster, end, good, instance, namespace, ours, set_ready,
};

#[tokio::test]
async fn a_ready_of_an_earlier_change_is_not_waited_for_in_vain() -> Result<()> {
    let file = format!("{}{}", namespace("stale"), instance("www", "web"));
    good("apply -n stale -f -", &file).await?;
    let instances = api(&client().await?, "Instance", "stale");
    set_ready(&instances, "www", 1, json!({"status": "True"})).await?;
    good("wait instance/www -n stale --timeout=0", "").await?;
    good(
        "apply -n stale -f -",
        &file.replace("debian-12\"", "debian-12\",\"cpu\":2"),
    )
    .await?;
    let early = bbctl("wait instance/www -n stale --timeout=400ms", "").await?;
    assert_eq!(early.code, Some(6), "{early:?}");
    assert!(early.stderr.contains("generation 2, seen 1"), "{early:?}");
    let waits = begin(cluster().await?.kubeconfig(), "wait instance/www -n stale")?;
    set_ready(
        &instances,
        "www",
        2,
        json!({"status": "False", "reason": "Pending"}),
    )
    .await?;
    set_ready(&instances, "www", 2, json!({"status": "True"})).await?;
    let ran = end(waits, "").await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "instance/www ready\n"),
        "{ran:?}"
    );
    Ok(())
}

#[tokio::test]
async fn wait_tells_why_it_was_in_vain() -> Result<()> {
    let file = format!(
        "{}{}{}",
        namespace("vain"),
        instance("good", "web"),
        instance("bad", "web")
    );
    good("apply -n vain -f -", &file).await?;
    let instances = api(&client().await?, "Instance", "vain");
    set_ready(&instances, "good", 1, json!({"status": "True"})).await?;
    let bad =
        json!({"status": "False", "reason": "Exhausted", "message": "no address is left in web"});
    set_ready(&instances, "bad", 1, bad).await?;
    let ran = bbctl("wait instances --all -n vain --timeout=300ms", "").await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(6), "instance/good ready\n")
    );
    assert!(
        ran.stderr.contains("instance/bad is not ready after 0.3 s"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("Exhausted: no address is left in web"),
        "{ran:?}"
    );
    let falls = good("wait instance/bad -n vain --for=condition=Ready=False", "").await?;
    assert_eq!(falls.stdout, "instance/bad has Ready=False\n");
    let gone = bbctl("wait instance/none -n vain", "").await?;
    assert_eq!(gone.code, Some(3), "{gone:?}");
    Ok(())
}

#[tokio::test]
async fn a_router_is_tested_by_provider_and_by_address() -> Result<()> {
    let seed = paths::root().join("examples/lab/r1.seed.json");
    let mut config = bb_lab_vyos::Config::new("r1", "the-key");
    config.seed = serde_json::from_slice(&std::fs::read(seed)?)?;
    let router = VyosLab::start(config).await?;
    let provider = |secret: &str, sha: &str| {
        ours(
            "Provider",
            &format!("router-{secret}"),
            &json!({"region": "tested", "vyos": {
            "endpoint": router.api, "credentials": {"secret": secret}, "tls": {"sha256": [sha]},
            "routerId": "10.255.0.1"}}),
        )
    };
    let secret = |name: &str, key: &str| {
        format!(
            "{}\n---\n",
            json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"key": key},
            "metadata": {"name": name, "namespace": "routers"}})
        )
    };
    let region = json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999"});
    let file = [
        namespace("routers"),
        ours("Region", "tested", &region),
        secret("right", "the-key"),
        secret("wrong", "another"),
        provider("right", &router.sha256),
        provider("wrong", &router.sha256),
    ];
    good("apply -f -", &file.concat()).await?;
    let ran = good("test-vyos router-right --secrets=routers", "").await?;
    assert_eq!(ran.stdout.matches("PASS").count(), 6, "{ran:?}");
    let ran = bbctl("test-vyos router-wrong --secrets=routers -o json", "").await?;
    assert_eq!(ran.code, Some(1));
    let checks = &ran.json()?["checks"];
    assert_eq!(checks["tls"]["status"], "pass", "{checks}");
    assert_eq!(checks["key"]["status"], "fail", "{checks}");
    assert!(checks["key"]["remedy"].is_string(), "{checks}");
    assert_eq!(checks["underlay"]["status"], "skip", "{checks}");
    // With the key that was kept where one works.
    let home = tempfile::tempdir()?;
    crate::start::private(&home.path().join("words"), "correct horse battery\n")?;
    let add = format!(
        "providers add kept --vyos {} --key-file - --sha256 {} --region tested \
         --router-id 10.255.0.1 --no-apply",
        router.api, router.sha256
    );
    let ran = crate::start::at_home(home.path(), &add, "the-key\n").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = crate::start::at_home(home.path(), "test-vyos --kept kept", "").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!format!("{ran:?}").contains("the-key"), "{ran:?}");
    let words = format!("test-vyos --endpoint {} --key-file - --sha256", router.api);
    let ran = good(&format!("{words} {}", router.sha256), "the-key\n").await?;
    assert!(ran.stdout.contains("PASS  underlay"), "{ran:?}");
    let ran = bbctl(&format!("{words} {}", "AA".repeat(32)), "the-key\n").await?;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("FAIL  tls"), "{ran:?}");
    // Broken over lines or not, the fingerprint that it shows stands in one piece.
    assert!(ran.stdout.contains(&router.sha256), "{ran:?}");
    assert!(!ran.stdout.contains("the-key") && !ran.stderr.contains("the-key"));
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_a_wait_at_once_and_a_closed_pipe_ends_it_quietly() -> Result<()> {
    let file = format!("{}{}", namespace("ended"), instance("www", "web"));
    good("apply -n ended -f -", &file).await?;
    let kubeconfig = cluster().await?.kubeconfig();
    let mut child = begin(kubeconfig, "wait instance/www -n ended")?;
    // It has told how the object stands: from here on it waits.
    let mut stderr = BufReader::new(child.stderr.take().context("stderr is a pipe")?);
    let mut line = String::new();
    stderr.read_line(&mut line).await?;
    assert!(line.starts_with("instance/www: "), "{line}");
    let pid = child.id().context("it runs")?.to_string();
    let began = Instant::now();
    ensure!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .await?
            .success()
    );
    let status = tokio::time::timeout(BOUND, child.wait()).await??;
    assert_eq!(status.code(), Some(130));
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );

    let mut child = begin(kubeconfig, "get instances -A")?;
    drop(child.stdout.take());
    let ran = end(child, "").await?;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    Ok(())
}

#[tokio::test]
async fn a_wait_outlives_an_api_server_that_is_killed_and_comes_back() -> Result<()> {
    let dir = tempfile::tempdir_in(paths::scratch()?)?;
    let mut options = Options::new(dir.path().join("k8s"));
    options.manifests = vec![chart::crds()];
    let own = Cluster::start(options).await?;
    let run = |words: &'static str, stdin: String| {
        let child = begin(own.kubeconfig(), words);
        async move { end(child?, &stdin).await }
    };
    let ran = run(
        "apply -f -",
        format!("{}{}", namespace("default"), instance("www", "web")),
    )
    .await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut child = begin(own.kubeconfig(), "wait instance/www")?;
    let mut stderr = BufReader::new(child.stderr.take().context("stderr is a pipe")?);
    let mut line = String::new();
    stderr.read_line(&mut line).await?;
    own.restart(Part::ApiServer).await?;
    let instances = api(&client_of(own.kubeconfig()).await?, "Instance", "default");
    set_ready(&instances, "www", 1, json!({"status": "True"})).await?;
    let ran = end(child, "").await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "instance/www ready\n"),
        "{ran:?}"
    );
    own.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lives_from_apply_to_delete_by_bbctl_alone() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let before = site.outside();
    let run = |words: String| {
        let child = begin(site.cluster.kubeconfig(), &words);
        async move {
            let ran = end(child?, "").await?;
            ensure!(ran.code == Some(0), "bbctl {words}: {ran:?}");
            Ok(ran)
        }
    };
    let folder = paths::root().join("examples/acme");
    let ran = run(format!("apply -f {} --wait", folder.display())).await?;
    assert!(ran.stdout.ends_with(" ready\n"), "{ran:?}");
    let ran = run("status".to_owned()).await?;
    assert!(ran.stdout.contains("everything is ready"), "{ran:?}");
    run("test-vyos r1".to_owned()).await?;
    let ran = run("describe instance pg -n acme".to_owned()).await?;
    assert!(
        ran.stdout.contains("pgdata") && ran.stdout.contains("Ready for"),
        "{ran:?}"
    );
    run("delete tenant acme --confirm=tenant/acme --cascade --wait".to_owned()).await?;
    assert_eq!(site.outside(), before);
    site.stop().await
}
