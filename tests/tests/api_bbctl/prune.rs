//! apply --prune: what it deletes, and what it never does.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::around::{
    api, bbctl, bbctl_with, begin, client, cluster, end, good, instance, namespace, network, ours,
    set_ready,
};
use crate::examples::{kubectl, overlay};

const PART_OF: &str = "applyset.kubernetes.io/part-of";

fn volume(name: &str) -> String {
    ours("Volume", name, &json!({"size": "1Gi"}))
}

/// The names of the objects of a kind that are there.
async fn names(kind: &str, namespace: &str) -> Result<Vec<String>> {
    let list = api(&client().await?, kind, namespace)
        .list(&Default::default())
        .await?;
    Ok(list
        .items
        .into_iter()
        .filter_map(|o| o.metadata.name)
        .collect())
}

async fn record(namespace: &str, name: &str) -> Result<ConfigMap> {
    let api: Api<ConfigMap> = Api::namespaced(client().await?, namespace);
    Ok(api.get(name).await?)
}

/// The kinds that the record of a set names.
async fn kinds_of(namespace: &str, name: &str) -> Result<Vec<String>> {
    let notes = record(namespace, name).await?.metadata.annotations;
    let kinds = &notes.context("annotations")?["applyset.kubernetes.io/contains-group-kinds"];
    let kinds = kinds.split(',');
    Ok(kinds
        .map(|kind| kind.trim_end_matches(".bitbuilder.cloud").to_owned())
        .collect())
}

#[tokio::test]
async fn what_the_files_no_longer_have_is_deleted_and_nothing_else() -> Result<()> {
    let ns = namespace("pruned");
    good(
        "apply -n pruned -f -",
        &format!("{ns}{}", network("others", "10.9.0.0/24")),
    )
    .await?;
    // Another program's set has the same label with another value.
    let theirs = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
        "metadata": {"name": "theirs", "labels": {PART_OF: "applyset-x-v1"}},
        "spec": {"ipv4": {"prefix": "10.8.0.0/24"}}});
    api(&client().await?, "Network", "pruned")
        .create(&PostParams::default(), &serde_json::from_value(theirs)?)
        .await?;
    let kept = [ns, network("web", "10.0.0.0/24"), volume("data")].concat();
    let first = [
        kept.clone(),
        network("old", "10.1.0.0/24"),
        volume("spare"),
        instance("www", "old"),
    ];
    let words = "apply -n pruned -f - --set shop --prune";
    let ran = good(words, &first.concat()).await?;
    assert!(!ran.stdout.contains("deleted"), "{ran:?}");
    assert_eq!(
        kinds_of("pruned", "shop").await?,
        ["Instance", "Network", "Volume"]
    );
    let made = record("pruned", "shop").await?.metadata;
    let id = &made.labels.context("labels")?["applyset.kubernetes.io/id"];
    let instances = api(&client().await?, "Instance", "pruned");
    let labels = instances.get("www").await?.metadata.labels;
    assert_eq!(labels.context("labels")?.get(PART_OF), Some(id));

    // It wants to be confirmed before anything is written, and a dry run shows what would go.
    let other = kept.replace("1Gi", "2Gi");
    assert_ne!(other, kept);
    let ran = bbctl(words, &other).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert!(ran.stderr.contains("confirm it with --yes"), "{ran:?}");
    assert!(ran.stderr.contains("its data is destroyed"), "{ran:?}");
    for how in ["client", "server"] {
        let ran = good(&format!("{words} --dry-run={how}"), &kept).await?;
        let gone: Vec<&str> = ran
            .stdout
            .lines()
            .filter(|l| l.contains("deleted"))
            .collect();
        let order = ["instance/www", "volume/spare", "network/old"];
        assert_eq!(
            gone,
            order.map(|name| format!("{name} deleted (dry run)")),
            "{ran:?}"
        );
    }
    assert_eq!(names("Network", "pruned").await?.len(), 4);

    let ran = good(&format!("{words} --yes -o json"), &kept)
        .await?
        .json()?;
    let results = ran["results"].as_array().context("results")?;
    let gone: Vec<&Value> = results
        .iter()
        .filter(|r| r["result"] == "deleted")
        .map(|r| &r["name"])
        .collect();
    assert_eq!(gone, ["www", "spare", "old"]);
    assert_eq!(
        names("Network", "pruned").await?,
        ["others", "theirs", "web"]
    );
    assert_eq!(names("Volume", "pruned").await?, ["data"]);
    assert_eq!(kinds_of("pruned", "shop").await?, ["Network", "Volume"]);
    let again = good(words, &kept).await?;
    assert_eq!(again.stdout.matches("unchanged").count(), 3, "{again:?}");
    assert!(!again.stdout.contains("deleted"), "{again:?}");
    Ok(())
}

#[tokio::test]
async fn two_sets_do_not_prune_each_other_nor_take_from_each_other() -> Result<()> {
    good("apply -f -", &namespace("two-sets")).await?;
    let (a, b) = (network("a", "10.0.0.0/24"), network("b", "10.1.0.0/24"));
    good("apply -n two-sets -f - --set one --prune", &a).await?;
    good("apply -n two-sets -f - --set two --prune", &b).await?;
    let ran = bbctl(
        "apply -n two-sets -f - --set two --prune --yes",
        &format!("{a}{b}"),
    )
    .await?;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(
        ran.stderr.contains("network/a of standard input"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("it is in another set"), "{ran:?}");
    // Another set by the same name, whose record is elsewhere.
    good(
        "apply -n two-sets -f - --set default/one --prune --yes",
        &network("c", "10.3.0.0/24"),
    )
    .await?;
    assert_eq!(names("Network", "two-sets").await?, ["a", "b", "c"]);
    // Without a word of a set, it stays in the one it is in.
    good("apply -n two-sets -f -", &a).await?;
    let ran = good(
        "apply -n two-sets -f - --set one --prune --yes",
        &network("d", "10.4.0.0/24"),
    )
    .await?;
    assert!(ran.stdout.contains("network/a deleted"), "{ran:?}");
    let taken = "apply -n two-sets -f - --set one --prune --yes --force-conflicts";
    good(taken, &format!("{b}{}", network("d", "10.4.0.0/24"))).await?;
    let ran = good(
        "apply -n two-sets -f - --set two --prune --yes",
        &network("e", "10.5.0.0/24"),
    )
    .await?;
    assert!(!ran.stdout.contains("deleted"), "b was taken over: {ran:?}");
    assert_eq!(names("Network", "two-sets").await?, ["b", "c", "d", "e"]);

    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}});
    let maps: Api<ConfigMap> = Api::namespaced(client().await?, "two-sets");
    maps.create(&PostParams::default(), &serde_json::from_value(theirs)?)
        .await?;
    let ran = bbctl("apply -n two-sets -f - --set plain --prune", &a).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), ""), "{ran:?}");
    let ran = bbctl("apply -n two-sets -f - --prune", &a).await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--set NAME"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_protected_ends_a_prune_before_anything_is_written() -> Result<()> {
    let spec = json!({"image": "debian-12", "deletionProtection": true,
        "networks": [{"name": "lan", "network": "web"}]});
    let (web, data) = (network("web", "10.0.0.0/24"), volume("data"));
    good("apply -f -", &namespace("protected")).await?;
    let words = "apply -n protected -f - --set shop --prune --yes";
    let all = format!("{web}{data}{}", ours("Instance", "db", &spec));
    good(words, &all).await?;
    let ran = bbctl(words, &network("new", "10.1.0.0/24")).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("instance/db"), "{ran:?}");
    assert!(ran.stderr.contains("spec.deletionProtection"), "{ran:?}");
    assert_eq!(names("Network", "protected").await?, ["web"]);
    assert_eq!(names("Volume", "protected").await?, ["data"]);
    Ok(())
}

#[tokio::test]
async fn what_stays_and_depends_on_it_keeps_it_and_a_tenant_wants_its_name() -> Result<()> {
    let tenant = ours("Tenant", "pruned-tenant", &json!({}));
    let base = format!(
        "{}{}",
        namespace("pruned-tenant"),
        network("base", "10.5.0.0/24")
    );
    let words = "apply -n pruned-tenant -f - --set default/whole --prune";
    let all = format!("{base}{tenant}{}", network("web", "10.0.0.0/24"));
    good(words, &all).await?;
    // Somebody else's instance is in the network that goes.
    good("apply -n pruned-tenant -f -", &instance("guest", "web")).await?;
    let ran = bbctl(
        &format!("{words} --yes --confirm=tenant/pruned-tenant"),
        &base,
    )
    .await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("instances are in it: guest"), "{ran:?}");
    assert!(!ran.stderr.contains("--cascade"), "{ran:?}");
    good("delete instance guest -n pruned-tenant --yes", "").await?;
    // A Tenant takes along what is in its namespace, and the files still have something there.
    let ran = bbctl(
        &format!("{words} --yes --confirm=tenant/pruned-tenant"),
        &base,
    )
    .await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("in it are: 1 network"), "{ran:?}");
    assert_eq!(names("Network", "pruned-tenant").await?, ["base", "web"]);
    let rest = namespace("pruned-tenant");
    let ran = bbctl(&format!("{words} --yes"), &rest).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert!(
        ran.stderr.contains("--confirm=tenant/pruned-tenant"),
        "{ran:?}"
    );
    let ran = good(
        &format!("{words} --yes --confirm=tenant/pruned-tenant"),
        &rest,
    )
    .await?;
    let gone: Vec<&str> = ran.stdout.lines().filter(|l| l.contains("delet")).collect();
    assert_eq!(
        gone,
        [
            "network/base deleted",
            "network/web deleted",
            "tenant/pruned-tenant deleted"
        ]
    );
    Ok(())
}

#[tokio::test]
async fn an_instance_that_moves_out_lets_its_network_go_in_the_same_run() -> Result<()> {
    // A card cannot change its network: it goes, and another comes.
    let moved = instance("www", "new").replace("\"name\":\"a\"", "\"name\":\"b\"");
    let old = [
        namespace("moved-out"),
        network("old", "10.0.0.0/24"),
        instance("www", "old"),
    ];
    let words = "apply -n moved-out -f - --set shop --prune --yes";
    good(words, &old.concat()).await?;
    let new = [network("new", "10.1.0.0/24"), moved.clone()].concat();
    let ran = good(words, &new).await?;
    assert_eq!(
        ran.stdout,
        "network/new created\ninstance/www configured\nnetwork/old deleted\n"
    );
    // One that is not taken out stays in the way, and what was applied stays applied.
    let ran = good(words, &format!("{new}{}", network("more", "10.2.0.0/24"))).await?;
    assert!(ran.stdout.contains("network/more created"), "{ran:?}");
    let wrong = format!("{}{}", network("last", "10.3.0.0/24"), moved);
    let ran = bbctl(words, &wrong).await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("instances are in it: www"), "{ran:?}");
    assert_eq!(
        names("Network", "moved-out").await?,
        ["last", "more", "new"]
    );
    Ok(())
}

#[tokio::test]
async fn nothing_is_pruned_where_not_all_was_applied_and_wait_waits_for_both() -> Result<()> {
    good("apply -f -", &namespace("halfway")).await?;
    let words = "apply -n halfway -f - --set shop --prune --yes";
    good(
        words,
        &format!(
            "{}{}",
            network("a", "10.0.0.0/24"),
            network("b", "10.1.0.0/24")
        ),
    )
    .await?;
    let bits = ours("Network", "c", &json!({"ipv4": {"prefix": "10.0.0.1/24"}}));
    let ran = bbctl(words, &format!("{}{bits}", network("a", "10.0.0.0/24"))).await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("nothing was deleted"), "{ran:?}");
    assert_eq!(names("Network", "halfway").await?, ["a", "b"]);

    let networks = api(&client().await?, "Network", "halfway");
    let hold = |finalizers: Value| {
        let (networks, patch) = (
            networks.clone(),
            json!({"metadata": {"finalizers": finalizers}}),
        );
        async move {
            let params = PatchParams::default();
            networks.patch("b", &params, &Patch::Merge(&patch)).await
        }
    };
    hold(json!(["test/hold"])).await?;
    set_ready(&networks, "a", 1, json!({"status": "True"})).await?;
    let file = network("a", "10.0.0.0/24");
    let ran = bbctl(&format!("{words} --wait --timeout=1s"), &file).await?;
    assert_eq!(ran.code, Some(6), "b does not go: {ran:?}");
    assert!(ran.stdout.contains("network/b deleting"), "{ran:?}");
    // It is on its way already: nobody has to confirm it a second time.
    let again = "apply -n halfway -f - --set shop --prune --wait";
    let waiting = begin(cluster().await?.kubeconfig(), again)?;
    let ended = tokio::spawn(async move { end(waiting, &file).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    hold(json!([])).await?;
    let ran = ended.await??;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(names("Network", "halfway").await?, ["a"]);
    Ok(())
}

#[tokio::test]
async fn most_of_a_set_goes_only_where_the_set_is_named() -> Result<()> {
    let files: Vec<String> = (0..6)
        .map(|at| network(&format!("n{at}"), &format!("10.0.{at}.0/24")))
        .collect();
    good("apply -f -", &namespace("most")).await?;
    let words = "apply -n most -f - --set site --prune --yes";
    good(words, &files.concat()).await?;
    let ran = bbctl(words, &files[0]).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert!(
        ran.stderr.contains("5 of the 6 objects of the set site"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("--confirm=set/site"), "{ran:?}");
    let three = good(words, &files[3..].concat()).await?;
    assert_eq!(three.stdout.matches("deleted").count(), 3, "{three:?}");
    good(words, &files.concat()).await?;
    let ran = good(&format!("{words} --confirm=set/site"), &files[0]).await?;
    assert_eq!(ran.stdout.matches("deleted").count(), 5, "{ran:?}");
    Ok(())
}

/// Killed at any moment, the next run ends where one that was never killed does.
#[tokio::test]
async fn a_run_that_was_killed_is_finished_by_the_next() -> Result<()> {
    let ns = namespace("killed");
    good(
        "apply -n killed -f -",
        &format!("{ns}{}", network("others", "10.9.0.0/24")),
    )
    .await?;
    let words = "apply -n killed -f - --set killed --prune --yes --confirm=set/killed";
    let mut cut = 0;
    for round in 0..12_u8 {
        // Each round has networks of its own, and none of the round before.
        let files: Vec<String> = (0..4)
            .map(|at| network(&format!("n{round}-{at}"), &format!("10.{round}.{at}.0/24")))
            .collect();
        let child = begin(cluster().await?.kubeconfig(), words)?;
        let pid = child.id().context("it runs")?;
        let text = files.concat();
        let ended = tokio::spawn(async move { end(child, &text).await });
        tokio::time::sleep(Duration::from_millis(20 + 25 * u64::from(round))).await;
        if !ended.is_finished() {
            let mut kill = tokio::process::Command::new("kill");
            // It may have ended in between.
            let _ = kill.args(["-9", &pid.to_string()]).status().await?;
        }
        cut += u8::from(ended.await??.code.is_none());
        ensure!(
            names("Network", "killed")
                .await?
                .contains(&"others".to_owned())
        );
    }
    ensure!(cut > 2, "only {cut} runs were cut short");
    good(words, &network("last", "10.99.0.0/24")).await?;
    assert_eq!(names("Network", "killed").await?, ["last", "others"]);
    Ok(())
}

#[tokio::test]
async fn a_kustomization_is_built_applied_compared_and_deleted() -> Result<()> {
    good("apply -f -", &namespace("acme")).await?;
    let dir = tempfile::tempdir()?;
    overlay(&dir.path().join("prod"))?;
    kubectl(dir.path())?;
    let list = "resources: [network.yaml]\nnamespace: acme\nnamePrefix: built-\n";
    std::fs::write(dir.path().join("prod/kustomization.yaml"), list)?;
    let prod = dir.path().join("prod").display().to_string();
    let path = dir.path().display().to_string();
    let env = [("PATH", path.as_str())];
    let ran = bbctl_with(
        &format!("apply -k {prod} --set default/built --prune"),
        &env,
    )
    .await?;
    assert_eq!(ran.stdout, "network/built-web created\n", "{ran:?}");
    let ran = bbctl_with(&format!("diff -k {prod}"), &env).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    let ran = bbctl_with(&format!("plan -k {prod}"), &env).await?;
    assert!(ran.stdout.contains("nothing would change"), "{ran:?}");
    let ran = bbctl_with(&format!("delete -k {prod} --yes"), &env).await?;
    assert_eq!(ran.stdout, "network/built-web deleted\n", "{ran:?}");
    std::fs::remove_file(dir.path().join("prod/network.yaml"))?;
    let ran = bbctl_with(&format!("apply -k {prod}"), &env).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("kubectl kustomize"), "{ran:?}");
    let ran = bbctl_with(&format!("apply -k {prod}"), &[("PATH", "/nowhere")]).await?;
    assert!(ran.stderr.contains("neither is installed"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_folder_says_its_set_and_kubectl_sees_who_keeps_it() -> Result<()> {
    good("apply -f -", &namespace("by-folder")).await?;
    let dir = tempfile::tempdir()?;
    let say = |text: &str| std::fs::write(dir.path().join("bitbuilder.toml"), text);
    say("namespace = \"by-folder\"\nset = \"site\"\nfiles = [\"m\"]\n")?;
    std::fs::create_dir(dir.path().join("m"))?;
    let file = |name: &str| dir.path().join("m").join(name);
    std::fs::write(file("a.yaml"), network("a", "10.0.0.0/24"))?;
    std::fs::write(file("b.yaml"), network("b", "10.1.0.0/24"))?;
    let run = |words: &'static str| {
        let mut command = std::process::Command::new(paths::binary("bbctl").unwrap());
        command
            .args(words.split(' '))
            .current_dir(dir.path())
            .env_clear()
            .env("KUBECONFIG", dir.path().join("kubeconfig"));
        command.output()
    };
    std::fs::copy(cluster().await?.kubeconfig(), dir.path().join("kubeconfig"))?;
    // It marks without --prune as well, or what is applied now would never be pruned.
    ensure!(run("apply")?.status.success());
    std::fs::remove_file(file("b.yaml"))?;
    // Other files than those of the folder are not its set.
    let ran = run("apply -f m/a.yaml --prune --yes")?;
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
    let ran = run("apply --prune --yes")?;
    ensure!(ran.status.success(), "{ran:?}");
    assert_eq!(names("Network", "by-folder").await?, ["a"]);

    let made = record("by-folder", "site").await?.metadata;
    let id = made.labels.context("labels")?["applyset.kubernetes.io/id"].clone();
    let label = format!("{PART_OF}={id}");
    let words = [
        "get",
        "networks.bitbuilder.cloud",
        "-n",
        "by-folder",
        "-l",
        &label,
        "-o",
        "name",
    ];
    let seen = cluster().await?.kubectl(&words)?;
    assert_eq!(seen.trim(), "network.bitbuilder.cloud/a");
    // kubectl has sets too, and leaves one that another program keeps alone.
    kubectl(dir.path())?;
    let mut theirs = std::process::Command::new(dir.path().join("kubectl"));
    theirs
        .args(["apply", "-n", "by-folder", "--applyset=configmaps/site"])
        .args(["--prune", "-f", "m/a.yaml"])
        .current_dir(dir.path())
        .env_clear()
        .env("KUBECTL_APPLYSET", "true")
        .env("KUBECACHEDIR", dir.path())
        .env("KUBECONFIG", dir.path().join("kubeconfig"));
    let refused = theirs.output()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("managed by tooling \"bbctl\""), "{said}");
    say("set = \"No Name\"\nfiles = [\"m\"]\n")?;
    assert_eq!(run("apply")?.status.code(), Some(2));
    Ok(())
}
