//! How one begins: doctor, launch, and what they say where something is in the way.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bb_tests::{Site, SiteOptions};
use serde_json::Value;

use crate::around::{Ran, bbctl, begin, cluster, end};

/// A public key in a file of its own.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHQ1vHgnYm3XnMwXlMe9vT1j1m9v0lq2 alice@home\n";

fn status<'a>(findings: &'a Value, check: &str) -> &'a str {
    findings[check]["status"].as_str().unwrap_or("absent")
}

#[tokio::test]
async fn doctor_names_what_is_missing_and_a_remedy_for_each() -> Result<()> {
    // A management cluster without a controller, and no key on this machine.
    let ran = bbctl("doctor --json --system nowhere", "").await?;
    let found = ran.json()?;
    for check in [
        "kubeconfig",
        "api",
        "version",
        "identity",
        "definitions",
        "rights",
    ] {
        assert_eq!(status(&found, check), "pass", "{check}: {found}");
    }
    assert_eq!(status(&found, "ssh-key"), "fail", "{found}");
    assert_eq!(found["ssh-key"]["optional"], true);
    for (check, finding) in found.as_object().context("a map")? {
        assert!(finding["detail"].is_string(), "{check}");
        let failed = finding["status"] == "fail";
        assert_eq!(failed, finding["remedy"].is_string(), "{check}: {finding}");
    }
    assert_ne!(status(&found, "controller"), "pass", "{found}");

    let kubeconfig = cluster().await?.kubeconfig_for("tenant-member")?;
    let ran = end(begin(&kubeconfig, "doctor -n elsewhere")?, "").await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout
            .contains("PASS  identity     you are tenant-member"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("FAIL  rights"), "{ran:?}");
    assert!(
        ran.stdout.contains("(spec.members of the Tenant"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("SKIP  providers"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn doctor_without_a_server_looks_at_what_it_can() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let none = dir.path().join("none");
    let ran = end(begin(&none, "doctor --json")?, "").await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let found = ran.json()?;
    assert_eq!(status(&found, "kubeconfig"), "fail", "{found}");
    assert_eq!(status(&found, "controller"), "skip", "{found}");
    let text = std::fs::read_to_string(cluster().await?.kubeconfig())?;
    let at = text
        .find("https://127.0.0.1:")
        .context("a server of this machine")?;
    let rest = &text[at + "https://127.0.0.1:".len()..];
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let away = dir.path().join("away");
    let nobody = text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:1");
    std::fs::write(&away, nobody)?;
    let ran = end(begin(&away, "doctor --json --timeout 5s")?, "").await?;
    let found = ran.json()?;
    assert_eq!(ran.code, Some(1));
    assert_eq!(status(&found, "api"), "fail", "{found}");
    assert_eq!(status(&found, "definitions"), "skip", "{found}");
    Ok(())
}

#[tokio::test]
async fn launch_asks_nobody_and_refuses_what_cannot_be() -> Result<()> {
    let ran = bbctl("launch beos-5 --tenant launched --yes", "").await?;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(
        ran.stderr.contains("no cluster offers image beos-5"),
        "{ran:?}"
    );
    let gone = bbctl("get tenant launched", "").await?;
    assert_eq!(gone.code, Some(3), "nothing was made: {gone:?}");
    let both = bbctl("launch debian-12 --tenant a -n b", "").await?;
    assert_eq!(both.code, Some(2), "{both:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_an_instance_by_launch_alone() -> Result<()> {
    let mut options = SiteOptions::default();
    options.flags.push("--leader-elect".to_owned());
    let mut site = Site::start(options).await?;
    let dir = tempfile::tempdir()?;
    let key = dir.path().join("id_ed25519.pub");
    std::fs::write(&key, KEY)?;
    let kubeconfig = site.cluster.kubeconfig().to_owned();
    let run = |words: String| {
        let child = begin(&kubeconfig, &words);
        async move { end(child?, "").await }
    };
    let good = |ran: Ran| {
        ensure!(ran.code == Some(0), "{ran:?}");
        Ok(ran)
    };
    // What is shown is what would be made, and nothing is.
    let key = key.display();
    let words = format!("launch debian-12 --tenant acme --ssh-key {key} --json");
    let dry = good(run(format!("{words} --dry-run")).await?)?.json()?;
    let kinds: Vec<&str> = dry["manifests"]
        .as_array()
        .context("manifests")?
        .iter()
        .filter_map(|manifest| manifest["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["Tenant", "Network", "Instance"]);
    assert_eq!(run("get tenant acme".to_owned()).await?.code, Some(3));
    // Nobody can be asked: the table is shown, the flag is named, nothing is made.
    let unasked = run(format!("launch debian-12 --tenant acme --ssh-key {key}")).await?;
    assert_eq!(unasked.code, Some(2), "{unasked:?}");
    assert!(unasked.stderr.contains("--yes") && unasked.stderr.contains("(--tenant; it is new)"));
    assert_eq!(run("get tenant acme".to_owned()).await?.code, Some(3));

    let ran = good(run(format!("{words} --yes --timeout 2m")).await?)?;
    let made = ran.json()?;
    println!(
        "launch: Ready after {:.1} s",
        made["seconds"].as_f64().context("seconds")?
    );
    assert_eq!(made["result"]["result"], "ready", "{made}");
    assert!(
        made["address"]
            .as_str()
            .is_some_and(|at| at.starts_with("10.10.0.")),
        "{made}"
    );
    // A second one finds tenant and network there, and takes the next name.
    let second = format!("launch debian-12 --ssh-key {key} --yes --timeout 2m");
    let second = good(run(second).await?)?;
    assert!(
        second
            .stdout
            .starts_with("instance/debian-12-2 ready after"),
        "{second:?}"
    );
    for words in [
        "(the only one there is)",
        "ssh USER@10.10.0.",
        "bbctl delete instance debian-12-2 -n acme",
    ] {
        assert!(second.stderr.contains(words), "{words}: {second:?}");
    }
    let unknown = run("launch debian-13 --yes".to_owned()).await?;
    assert_eq!(unknown.code, Some(3));
    assert!(
        unknown.stderr.contains("alpine-3.20, debian-12"),
        "{unknown:?}"
    );

    let found = good(run("doctor -n acme --json".to_owned()).await?)?.json()?;
    for (check, finding) in found.as_object().context("a map")? {
        let passed = finding["status"] == "pass";
        assert_eq!(passed, check != "ssh-key", "{check}: {finding}");
    }
    site.stop_controller().await?;
    let found = run("doctor --json".to_owned()).await?;
    assert_eq!(found.code, Some(1), "{found:?}");
    assert_eq!(status(&found.json()?, "controller"), "fail", "{found:?}");
    site.start_controller()?;
    site.delete("Tenant", None, "acme", Duration::from_secs(120))
        .await?;
    site.stop().await
}
