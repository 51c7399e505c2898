//! Turns the end of a release, before helm takes the definitions away, into what becomes of objects.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::{Record, chart, controller_with, lab, paths};
use bb_tests::scale::settled::{reset, writes};
use bb_tests::{Site, SiteOptions};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(90);

/// Starts a controller in a process of its own: like the chart's, it leads or waits.
async fn controller(site: &Site, name: &str) -> Result<Record> {
    let kubeconfig = site.cluster.kubeconfig_for(lab::CONTROLLER_USER)?;
    let flags = [
        "--leader-elect",
        "--lease-duration=10",
        "--active-poll=100",
        "--backoff=200",
        "--poll=2",
    ];
    let roster = site.cluster.roster();
    controller_with(&roster, name, &kubeconfig, &flags, Default::default()).await
}

/// What the chart's Job runs before the release goes.
fn leave(site: &Site, objects: &str) -> Result<Output> {
    Command::new(paths::binary("bb-controller")?)
        .arg("--kubeconfig")
        .arg(site.cluster.kubeconfig_for(lab::CONTROLLER_USER)?)
        .args(["leave", "--revision=7", "--objects", objects])
        .output()
        .context("cannot run bb-controller leave")
}

fn words(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(&[&out[..], err].concat()).into_owned()
}

/// No definition waits for an object, and no object for a controller.
fn definitions_go(site: &Site) -> Result<()> {
    let definitions = site.cluster.kubectl(&["get", "crds", "-o", "name"])?;
    let mut delete = vec!["delete", "--timeout=60s"];
    delete.extend(
        definitions
            .lines()
            .filter(|name| name.ends_with(".bitbuilder.cloud")),
    );
    site.cluster.kubectl(&delete)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_keep_a_release_or_are_let_go_of_and_targets_stay_as_they_are() -> Result<()> {
    let options = SiteOptions {
        controller: false,
        ..SiteOptions::default()
    };
    let site = Site::start(options).await?;
    let first = controller(&site, "first").await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    // A delete that waits: it must not be carried out, nor wait for ever.
    let paused = json!({"metadata": {"annotations": {"bitbuilder.cloud/paused": "true"}}});
    let instances = site.ours("Instance", Some("acme"));
    let params = PatchParams::default();
    instances
        .patch("www-2", &params, &Patch::Merge(paused))
        .await?;
    instances.delete("www-2", &Default::default()).await?;
    site.ready_says("Instance", "acme", "www-2", "aused")
        .await?;
    reset(&site);
    let (versions, outside) = (site.versions().await?, site.outside());

    let refused = leave(&site, "refuse")?;
    ensure!(refused.status.code() == Some(3), "{}", words(&refused));
    for part in [
        "1 Tenant, 2 Networks, 4 Instances, 2 Volumes",
        "rollback bitbuilder 7",
    ] {
        ensure!(words(&refused).contains(part), "{}", words(&refused));
    }
    ensure!(
        site.versions().await? == versions,
        "objects were written to"
    );

    let let_go = leave(&site, "orphan")?;
    ensure!(let_go.status.success(), "{}", words(&let_go));
    ensure!(
        words(&let_go).contains("Instance acme/www-1: proxmox://"),
        "{}",
        words(&let_go)
    );
    // Who had led has ended; who comes in its place waits, as a container that is restarted does.
    ensure!(!first.is_alive(), "the one that led goes on");
    controller(&site, "second").await?;
    ensure!(
        instances.get_opt("www-2").await?.is_none(),
        "its delete still waits"
    );
    for kind in [
        "Tenant", "Network", "Instance", "Volume", "Provider", "Region",
    ] {
        for object in site.ours(kind, None).list(&ListParams::default()).await? {
            let held = object.metadata.finalizers.unwrap_or_default();
            ensure!(
                held.is_empty(),
                "{kind} {:?}: {held:?}",
                object.metadata.name
            );
        }
    }
    definitions_go(&site)?;
    let namespace = ["get", "namespace", "acme", "-o", "jsonpath={.status.phase}"];
    ensure!(
        site.cluster.kubectl(&namespace)? == "Active",
        "the namespace goes"
    );
    ensure!(
        writes(&site) == 0,
        "something was sent to routers or clusters"
    );
    ensure!(site.outside() == outside, "routers or clusters changed");
    // With no object left it may go at once.
    let nothing = leave(&site, "refuse")?;
    ensure!(nothing.status.success(), "{}", words(&nothing));
    // What is looked at once more when the site ends is there to be looked at. It is served a
    // moment after it was taken.
    site.cluster.apply(&[chart::crds()])?;
    let served = async {
        while site.versions().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(BOUND, served)
        .await
        .context("the definitions are not served again")?;
    site.stop().await
}
