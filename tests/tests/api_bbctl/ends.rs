//! Each exit code by the program itself, each as the table of docs/design/0009-bbctl.md has it;
//! who one is, what one may do, and which settings are in force.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use serde_json::json;

use crate::around::{
    api, bbctl, bbctl_with, begin, client, cluster, end, good, instance, namespace, network,
};

/// The exit codes that the table promises.
fn promised() -> Result<BTreeSet<i32>> {
    let page = std::fs::read_to_string(paths::root().join("docs/design/0009-bbctl.md"))?;
    let table = page.split("## Exit codes").nth(1).context("a table")?;
    let table = table.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let codes = rows.filter_map(|row| row.split(' ').next()?.parse().ok());
    Ok(codes.collect())
}

#[tokio::test]
async fn every_exit_code_of_the_table_is_met_and_no_other() -> Result<()> {
    let file = namespace("codes") + &network("web", "10.0.0.0/24") + &instance("www", "web");
    good("apply -n codes -f -", &file).await?;
    let mut met = BTreeSet::new();
    for (words, stdin, code) in [
        ("get networks -n codes", "", 0),
        ("diff -n codes -f -", file.as_str(), 0),
        // Checks of what is not there.
        (
            "test-vyos --endpoint https://127.0.0.1:1 --key-file - --sha256 AB --timeout 1s",
            "k",
            1,
        ),
        ("get frobs", "", 2),
        ("delete instance www -n codes", "", 2),
        ("get network none -n codes", "", 3),
        ("get networks -n codes --context none", "", 2),
        ("networks create web --prefix 10.0.0.0/24 -n codes", "", 5),
        ("wait instance/www -n codes --timeout=100ms", "", 6),
        ("diff -n codes -f /nowhere", "", 7),
    ] {
        let ran = bbctl(words, stdin).await?;
        assert_eq!(ran.code, Some(code), "{words}: {ran:?}");
        met.insert(code);
    }
    let member = cluster().await?.kubeconfig_for("tenant-member")?;
    let denied = end(begin(&member, "get networks -n codes")?, "").await?;
    assert_eq!(denied.code, Some(4), "{denied:?}");
    met.insert(4);
    let child = begin(cluster().await?.kubeconfig(), "wait instance/www -n codes")?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pid = child.id().context("it runs")?.to_string();
    let kill = tokio::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    ensure!(kill.await?.success());
    let ended = end(child, "").await?;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("goes on there"), "{ended:?}");
    met.insert(130);
    assert_eq!(met, promised()?);
    Ok(())
}

#[tokio::test]
async fn whoami_and_can_i_are_what_the_server_says() -> Result<()> {
    good("apply -f -", &namespace("asked-who")).await?;
    let member = cluster().await?.kubeconfig_for("tenant-member")?;
    let ask = |words: &'static str| {
        let child = begin(&member, words);
        async move { end(child?, "").await }
    };
    let who = ask("auth whoami -n asked-who -o json").await?.json()?;
    assert_eq!(
        (&who["user"], &who["namespace"]),
        (&json!("tenant-member"), &json!("asked-who"))
    );
    let groups = who["groups"].as_array().context("groups")?;
    assert!(groups.contains(&json!("system:authenticated")), "{who}");
    let told = ask("auth whoami -o name").await?;
    assert_eq!(
        (told.code, told.stdout.as_str()),
        (Some(0), "tenant-member\n")
    );
    for words in [
        "auth can-i create instances -n asked-who",
        "auth can-i list secrets -n asked-who",
    ] {
        let ran = ask(words).await?;
        assert_eq!(ran.code, Some(4), "{words}: {ran:?}");
        assert!(ran.stdout.starts_with("no: "), "{words}: {ran:?}");
    }
    crate::read::bind("bitbuilder-edit", "asked-who").await?;
    let yes = ask("auth can-i create instances -n asked-who --json").await?;
    assert_eq!(
        (yes.code, &yes.json()?["allowed"]),
        (Some(0), &json!(true)),
        "{yes:?}"
    );
    let no = ask("auth can-i create instances -n default -o name").await?;
    assert_eq!((no.code, no.stdout.as_str()), (Some(4), "no\n"), "{no:?}");
    Ok(())
}

#[tokio::test]
async fn settings_in_force_are_those_that_the_next_command_obeys() -> Result<()> {
    good(
        "apply -n in-force -f -",
        &(namespace("in-force") + &network("web", "10.0.0.0/24")),
    )
    .await?;
    let home = tempfile::tempdir()?;
    let folder = tempfile::tempdir()?;
    let project = folder.path().join("bitbuilder.toml");
    let (home, project) = (
        home.path().display().to_string(),
        project.display().to_string(),
    );
    let own = [("HOME", home.as_str()), ("BBCTL_PROJECT", project.as_str())];
    let run =
        async |words: &str, more: &[(&str, &str)]| bbctl_with(words, &[&own, more].concat()).await;
    let explained = async |words: &str, more: &[(&str, &str)]| -> Result<(String, String)> {
        let ran = run(&format!("config explain --json {words}"), more)
            .await?
            .json()?;
        let all = ran["settings"].as_array().context("settings")?;
        let one = all.iter().find(|one| one["setting"] == "namespace");
        let one = one.context("the namespace")?;
        let word = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
        Ok((word("value"), word("source")))
    };
    let obeyed = async |words: &str, more: &[(&str, &str)]| -> Result<String> {
        Ok(run(&format!("auth whoami --json {words}"), more)
            .await?
            .json()?["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    // Each in turn counts before those that were set until then.
    assert_eq!(obeyed("", &[]).await?, "default");
    let set = run("config set namespace in-force", &[]).await?;
    assert_eq!(set.code, Some(0), "{set:?}");
    let user = format!("{home}/.bbctl/settings.toml");
    assert_eq!(explained("", &[]).await?, ("in-force".to_owned(), user));
    assert_eq!(obeyed("", &[]).await?, "in-force");
    assert_eq!(
        run("get networks -o name", &[]).await?.stdout,
        "network.bitbuilder.cloud/web\n"
    );
    let set = run("config set namespace of-folder --project", &[]).await?;
    assert_eq!(set.code, Some(0), "{set:?}");
    assert_eq!(
        explained("", &[]).await?,
        ("of-folder".to_owned(), project.clone())
    );
    assert_eq!(obeyed("", &[]).await?, "of-folder");
    let env = [("BBCTL_NAMESPACE", "of-env")];
    assert_eq!(explained("", &env).await?.1, "BBCTL_NAMESPACE");
    assert_eq!(obeyed("", &env).await?, "of-env");
    assert_eq!(explained("-n of-flag", &env).await?.1, "--namespace");
    assert_eq!(obeyed("-n of-flag", &env).await?, "of-flag");
    // A folder decides on no cluster.
    let refused = run("config set context other --project", &[]).await?;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn errors_of_the_server_have_code_message_hint_and_id() -> Result<()> {
    let file = namespace("wrong") + &network("web", "10.0.0.0/24");
    good("apply -n wrong -f -", &file).await?;
    let taken = api(&client().await?, "Network", "wrong");
    ensure!(taken.get_opt("web").await?.is_some());
    for (words, code) in [
        ("get network none -n wrong", "NotFound"),
        ("describe network none -n wrong", "NotFound"),
        ("delete network none -n wrong --yes", "NotFound"),
        (
            "networks create web --prefix 10.0.0.0/24 -n wrong",
            "Conflict",
        ),
        ("networks addresses none -n wrong", "NotFound"),
        ("instances start none -n wrong", "NotFound"),
        ("tenants members none", "NotFound"),
        ("images describe none", "NotFound"),
        ("status none", "NotFound"),
        ("test-vyos none", "NotFound"),
    ] {
        let ran = bbctl(&format!("{words} --json"), "").await?;
        let line = ran.stderr.lines().find(|line| line.contains("\"error\""));
        let line: serde_json::Value = serde_json::from_str(line.context(words)?)?;
        assert_eq!(line["code"], code, "{words}: {line}");
        for field in ["message", "hint"] {
            assert!(
                line[field].as_str().is_some_and(|s| !s.is_empty()),
                "{words}: {line}"
            );
        }
        assert_eq!(
            line["requestId"].as_str().map(str::len),
            Some(36),
            "{words}: {line}"
        );
        assert_eq!(
            line["exit"].as_i64(),
            ran.code.map(i64::from),
            "{words}: {line}"
        );
    }
    Ok(())
}
