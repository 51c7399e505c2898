//! What a tenant's member may do with the chart's edit role: all that is the tenant's, and no more.

use anyhow::Result;
use serde_json::{Value, json};

use crate::around::{begin, cluster, end, good, namespace, ours};
use crate::read::bind;

#[tokio::test]
async fn a_member_with_the_edit_role_does_all_that_is_the_tenants_and_is_refused_the_rest()
-> Result<()> {
    let file = format!(
        "{}{}",
        namespace("editor"),
        ours("Tenant", "editor", &json!({}))
    );
    good("apply -f -", &file).await?;
    bind("bitbuilder-edit", "editor").await?;
    let kubeconfig = cluster().await?.kubeconfig_for("tenant-member")?;
    let run = |words: &'static str| {
        let child = begin(&kubeconfig, words);
        async move { end(child?, "").await }
    };
    for words in [
        "networks create web --prefix 10.0.0.0/24 -n editor",
        "volumes create data --size 1Gi -n editor",
        "instances create www --image debian-12 --network web -n editor",
        "networks list -n editor",
        "networks addresses web -n editor",
        "instances describe www -n editor",
        "instances resize www --cpu 2 -n editor",
        "instances stop www -n editor",
        "instances start www -n editor",
        "volumes attach data www -n editor",
        "volumes detach data -n editor",
        "volumes resize data 2Gi -n editor",
        "events -n editor",
        "tree -n editor",
        "top instances -n editor",
        "top tenants -n editor",
        "export -n editor",
        "status -n editor",
        "tenants use editor --dry-run=client",
        "networks delete web -n editor --cascade --yes --confirm=network/web --wait",
        "volumes delete data -n editor --yes --wait",
    ] {
        let ran = run(words).await?;
        assert_eq!(ran.code, Some(0), "{words}: {ran:?}");
    }
    for words in [
        "tenants create other",
        "tenants members editor",
        "tenants add-member editor eve",
        "tenants delete editor --confirm=tenant/editor --cascade",
        "tenants use default",
        "networks create web --prefix 10.0.0.0/24 -n default",
        "networks list -A",
        "providers list",
        "regions get north",
        "images list",
        "top providers",
        "events -A",
    ] {
        let ran = run(words).await?;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(4), ""),
            "{words}: {ran:?}"
        );
        let clear = ran.stderr.contains("forbidden") && ran.stderr.contains("hint: ");
        assert!(clear, "{words}: {ran:?}");
    }
    let ran = run("providers list --json").await?;
    let error: Value = serde_json::from_str(ran.stderr.trim())?;
    assert_eq!(error["code"], "Denied");
    Ok(())
}
