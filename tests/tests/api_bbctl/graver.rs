//! What is said before something is lost, what stays where a deletion is refused, and what is told
//! to be typed next.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use bb_lab_harness::paths;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::process::Command;

use crate::around::{
    api, bbctl, begin, client, cluster, end, good, instance, namespace, network, ours,
};
use crate::write::typed;

fn volumes(count: usize) -> String {
    let size = json!({"size": "1Gi"});
    (0..count)
        .map(|at| ours("Volume", &format!("v{at}"), &size))
        .collect()
}

#[tokio::test]
async fn many_are_deleted_only_where_their_number_is_said() -> Result<()> {
    let file = volumes(5);
    good("apply -f -", &namespace("many")).await?;
    good("apply -n many -f -", &file).await?;
    let named = "delete volume v0 v1 v2 v3 v4 -n many";
    let by_file = "delete -f - -n many";
    for words in [
        format!("{named} --yes"),
        format!("{named} --yes --confirm=objects/4"),
        format!("{by_file} --yes"),
        format!("{by_file} --confirm=volume/v0,volume/v1,volume/v2,volume/v3,volume/v4"),
    ] {
        let ran = bbctl(&words, &file).await?;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
        for part in [
            "delete these 5",
            "its data is destroyed",
            "confirm it with --confirm=objects/5",
        ] {
            assert!(ran.stderr.contains(part), "{words}: {ran:?}");
        }
    }
    let bare = bbctl("delete tenant many --confirm=many", "").await?;
    assert_eq!(bare.code, Some(2), "a name alone is no word: {bare:?}");
    assert!(bare.stderr.contains("tenant/acme"), "{bare:?}");
    // At the terminal a yes is no number.
    for answer in ["y", "4"] {
        let ran = typed(named, answer).await?;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(
            ran.stdout.contains("Type `5` to delete these 5:"),
            "{ran:?}"
        );
        assert!(ran.stdout.contains("nothing was deleted"), "{ran:?}");
    }
    let three = good("delete volume v0 v1 v2 -n many --yes", "").await?;
    assert_eq!(three.stdout.matches("deleted").count(), 3, "{three:?}");
    good("apply -n many -f -", &file).await?;
    let ran = typed(named, "5").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    good("apply -n many -f -", &file).await?;
    let ran = good(&format!("{by_file} --confirm=objects/5"), &file).await?;
    assert_eq!(ran.stdout.matches("deleted").count(), 5, "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn what_goes_along_counts_and_a_grave_one_is_named_as_well() -> Result<()> {
    let instances: String = (0..4)
        .map(|at| instance(&format!("www-{at}"), "web"))
        .collect();
    let file = format!("{}{instances}", network("web", "10.0.0.0/24"));
    good("apply -f -", &namespace("along")).await?;
    good("apply -n along -f -", &file).await?;
    let words = "delete network web -n along --cascade --yes --confirm=network/web";
    let ran = bbctl(words, "").await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert!(
        ran.stderr.contains("it with --confirm=objects/4"),
        "{ran:?}"
    );
    let ran = good(&format!("{words},objects/4"), "").await?;
    assert_eq!(ran.stdout.matches("deleted").count(), 5, "{ran:?}");
    Ok(())
}

/// Lets the tenant's member read all of ours in a namespace, and delete some kinds.
async fn may_delete(kinds: &[&str], namespace: &str) -> Result<()> {
    let group = "rbac.authorization.k8s.io";
    let role = json!({"apiVersion": format!("{group}/v1"), "kind": "Role",
    "metadata": {"name": "deleter", "namespace": namespace},
    "rules": [
        {"apiGroups": ["bitbuilder.cloud"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": ["bitbuilder.cloud"], "resources": kinds, "verbs": ["delete"]},
    ]});
    let binding = json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": {"name": "deleter", "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "deleter"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "tenant-member"}]});
    good("apply -f -", &format!("{role}\n---\n{binding}\n"))
        .await
        .map(drop)
}

#[tokio::test]
async fn what_an_object_that_stays_depends_on_stays_as_well() -> Result<()> {
    let file = format!(
        "{}{}{}{}",
        instance("www", "web"),
        network("web", "10.0.0.0/24"),
        network("spare", "10.1.0.0/24"),
        ours("Volume", "data", &json!({"size": "1Gi"})),
    );
    good("apply -f -", &namespace("stays")).await?;
    good("apply -n stays -f -", &file).await?;
    may_delete(&["networks", "volumes"], "stays").await?;
    let kubeconfig = cluster().await?.kubeconfig_for("tenant-member")?;
    let member = async |words: &str, stdin: &str| end(begin(&kubeconfig, words)?, stdin).await;
    // The instance may not be deleted, and so its network is not.
    let words = "delete network web -n stays --cascade --yes --confirm=network/web";
    let ran = member(words, "").await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    for part in [
        "cannot delete instance/www",
        "network/web was not deleted: instances are in it: www",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
    // What it does not depend on goes.
    let first = format!(
        "{}{}",
        network("web", "10.0.0.0/24"),
        instance("www", "web")
    );
    let rest = format!("{}{first}", network("spare", "10.1.0.0/24"));
    let ran = member("delete -f - -n stays --yes", &rest).await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(1), "network/spare deleted\n"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("network/web was not deleted"),
        "{ran:?}"
    );
    good("get network/web instance/www volume/data -n stays", "").await?;
    Ok(())
}

#[tokio::test]
async fn a_protected_instance_keeps_its_network_from_going_with_all_in_it() -> Result<()> {
    let spec = json!({"image": "debian-12", "networks": [{"name": "a", "network": "web"}],
        "deletionProtection": true});
    let file = format!(
        "{}{}{}",
        network("web", "10.0.0.0/24"),
        instance("free", "web"),
        ours("Instance", "kept", &spec),
    );
    good("apply -f -", &namespace("shielded")).await?;
    good("apply -n shielded -f -", &file).await?;
    let words = "delete network web -n shielded --cascade --yes --confirm=network/web";
    let ran = bbctl(words, "").await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(
        ran.stderr
            .contains("instance/kept in namespace shielded is protected")
    );
    assert!(ran.stderr.contains("nothing was deleted"), "{ran:?}");
    good(
        "get network/web instance/free instance/kept -n shielded",
        "",
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_change_that_is_refused_is_said_before_anything_is_sent() -> Result<()> {
    let volume = |size: &str| ours("Volume", "data", &json!({"size": size}));
    let file = format!("{}{}", volume("2Gi"), network("web", "10.0.0.0/24"));
    good("apply -f -", &namespace("beforehand")).await?;
    good("apply -n beforehand -f -", &file).await?;
    let smaller = format!(
        "{}{}{}",
        network("new", "10.2.0.0/24"),
        volume("1Gi"),
        network("web", "10.1.0.0/24")
    );
    let ran = bbctl("apply -n beforehand -f -", &smaller).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    for part in [
        "nothing was applied",
        "size can only grow",
        "prefix cannot change",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(
        bbctl("get network new -n beforehand", "").await?.code,
        Some(3)
    );
    // What is left out of a file and was in it before is a change as well.
    let with_disk = json!({"image": "debian-12", "disk": "8Gi",
        "networks": [{"name": "a", "network": "web"}]});
    let file = format!("{file}{}", ours("Instance", "www", &with_disk));
    good("apply -n beforehand -f -", &file).await?;
    let without = format!(
        "{}{}",
        network("new", "10.2.0.0/24"),
        instance("www", "web")
    );
    let ran = bbctl("apply -n beforehand -f -", &without).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("disk cannot be taken away"), "{ran:?}");
    let again = good("apply -n beforehand -f -", &file).await?;
    assert_eq!(again.stdout.matches("unchanged").count(), 3, "{again:?}");
    Ok(())
}

#[tokio::test]
async fn a_command_that_is_told_does_the_same_on_the_same_cluster() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("my files/deep");
    std::fs::create_dir_all(&files)?;
    let held = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
        "metadata": {"name": "web", "finalizers": ["test/hold"]},
        "spec": {"ipv4": {"prefix": "10.0.0.0/24"}}});
    std::fs::write(files.join("web.json"), held.to_string())?;
    std::fs::copy(cluster().await?.kubeconfig(), folder.path().join("kc"))?;
    good("apply -f -", &namespace("pasted")).await?;
    // In a shell that knows of no cluster, so that flags alone say which.
    let program = paths::binary("bbctl")?;
    let shell = async |line: &str| {
        let line = line.replacen("bbctl", &program.display().to_string(), 1);
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(folder.path());
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.output().await.context("sh")
    };
    let told = |stderr: &[u8]| {
        let said = String::from_utf8_lossy(stderr).into_owned();
        let line = said.lines().find_map(|line| line.strip_prefix("next: "));
        line.map(str::to_owned).context(said.clone())
    };
    let place = "-n pasted --kubeconfig ./kc";
    let ran = shell(&format!("bbctl apply -f 'my files' -R {place}")).await?;
    let next = told(&ran.stderr)?;
    let kubeconfig = folder.path().join("kc").display().to_string();
    assert_eq!(
        next,
        format!("bbctl wait -f 'my files' -R -n pasted --kubeconfig {kubeconfig}")
    );
    let ran = shell(&format!("{next} --for=condition=None --timeout=1s")).await?;
    assert_eq!(ran.status.code(), Some(6), "it waits for it: {ran:?}");
    let ran = shell(&format!("bbctl delete network web --yes {place}")).await?;
    let next = told(&ran.stderr)?;
    let ran = shell(&format!("{next} --timeout=1s")).await?;
    assert_eq!(ran.status.code(), Some(6), "it is held: {ran:?}");
    let gone = json!({"metadata": {"finalizers": null}});
    let networks = api(&client().await?, "Network", "pasted");
    networks
        .patch("web", &PatchParams::default(), &Patch::Merge(&gone))
        .await?;
    let ran = shell(&next).await?;
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let ran = shell(&format!("bbctl get instance gone {place}")).await?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let hint = said.split('`').nth(1).context(said.clone())?;
    let ran = shell(hint).await?;
    assert_eq!(ran.status.code(), Some(0), "{hint}: {ran:?}");
    Ok(())
}
