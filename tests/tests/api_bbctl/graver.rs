//! What many deletions want said, and what stays where one of them is refused.

use anyhow::Result;
use serde_json::json;

use crate::around::{bbctl, begin, cluster, end, good, instance, namespace, network, ours};
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
