//! How one begins: doctor, launch, and what they say where something is in the way.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bb_tests::{Site, SiteOptions};
use serde_json::{Value, json};

use crate::around::{Ran, bbctl, begin, cluster, end, namespace, ours};

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
        "bbctl instances ssh debian-12-2",
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

/// Runs bbctl with files of one's own in `home`, and a passphrase that a file of it holds.
pub(crate) async fn at_home(home: &std::path::Path, words: &str, stdin: &str) -> Result<Ran> {
    let kubeconfig = cluster().await?.kubeconfig();
    let mut child = tokio::process::Command::new(bb_lab_harness::paths::binary("bbctl")?);
    let child = child
        .args(words.split_whitespace())
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", home)
        .env("BBCTL_PASSPHRASE_FILE", home.join("words"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    end(child, stdin).await
}

pub(crate) fn private(path: &std::path::Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}

#[tokio::test]
async fn a_provider_is_added_with_its_secret_and_the_secret_shows_nowhere() -> Result<()> {
    let home = tempfile::tempdir()?;
    let home = home.path();
    private(&home.join("words"), "correct horse battery\n")?;
    private(&home.join("key"), "s3cret-of-added\n")?;
    let region = json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999"});
    let objects = format!(
        "{}{}",
        namespace("adding"),
        ours("Region", "adding", &region)
    );
    let applied = bbctl("apply -f -", &objects).await?;
    ensure!(applied.code == Some(0), "{applied:?}");
    let pin = "AB".repeat(32);
    let words = format!(
        "providers add added --vyos https://192.0.2.9 --region adding --system adding \
                         --router-id 10.255.9.9 --sha256 {pin}"
    );
    let key = home.join("key");
    // Nobody can be asked: a flag is named, and nothing is kept.
    let unasked = at_home(home, &format!("{words} --key-file {}", key.display()), "").await?;
    assert_eq!(unasked.code, Some(2), "{unasked:?}");
    assert!(unasked.stderr.contains("--apply") && !home.join(".bbctl").exists());
    // What the server refuses is not kept either.
    let wrong = format!(
        "{words} --zone NOT_A_ZONE --key-file {} --apply",
        key.display()
    );
    let refused = at_home(home, &wrong, "").await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(!home.join(".bbctl").exists());
    // A dry run lets the server judge, asks for no key and keeps nothing.
    let refused = at_home(home, &format!("{words} --zone NOT_A_ZONE --dry-run"), "").await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for how in ["client", "server"] {
        let ran = at_home(home, &format!("{words} --dry-run={how}"), "").await?;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("(dry run)"), "{ran:?}");
    }
    assert!(!home.join(".bbctl").exists());
    assert_eq!(bbctl("get provider added", "").await?.code, Some(3));
    let ran = at_home(
        home,
        &format!("{words} --key-file - --yes"),
        "s3cret-of-added\n",
    )
    .await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for name in ["credentials.toml", "providers.toml"] {
        let text = std::fs::read_to_string(home.join(".bbctl").join(name))?;
        assert!(text.contains("added") && !text.contains("s3cret"), "{text}");
    }
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        !said.contains("s3cret") && !said.contains("battery"),
        "{said}"
    );
    let provider = bbctl("get provider added -o json", "").await?.json()?;
    assert_eq!(
        provider["spec"]["vyos"]["credentials"]["secret"], "added",
        "{provider}"
    );
    let client = crate::around::client().await?;
    let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> =
        kube::Api::namespaced(client, "adding");
    let data = secrets.get("added").await?.data.unwrap_or_default();
    assert_eq!(data["key"].0, b"s3cret-of-added");
    // With another passphrase nothing is written, and a file that is open to others is refused.
    private(&home.join("words"), "another horse battery\n")?;
    let other = at_home(home, &format!("{words} --key-file - --no-apply"), "x\n").await?;
    assert_eq!(other.code, Some(4), "{other:?}");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let open = format!("{words} --key-file {} --no-apply", key.display());
    let open = at_home(home, &open, "").await?;
    assert!(open.stderr.contains("chmod 600"), "{open:?}");
    Ok(())
}

#[tokio::test]
async fn a_cluster_is_tested_from_here_and_each_failure_has_a_remedy() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let seed = bb_lab_proxmox::Seed::example();
    let token = seed.tokens.first().context("a token")?;
    let good = format!("{}!{}={}\n", token.user, token.tokenid, token.secret);
    let mut bare = seed.clone();
    bare.acl.clear();
    let start = |seed| {
        bb_lab_proxmox::ProxmoxLab::start(bb_lab_proxmox::Config {
            seed,
            ..bb_lab_proxmox::Config::default()
        })
    };
    let lab = start(seed.clone()).await?;
    let powerless = start(bare).await?;
    let test = async |lab: &bb_lab_proxmox::Running, pin: &str, token: &str| {
        let uses = "--pool bitbuilder --template 9000 --storage ssd --holder 900 --json";
        let words = format!(
            "test-proxmox {} --token-file - --sha256 {pin} {uses}",
            lab.api
        );
        at_home(dir.path(), &words, token).await
    };
    let ran = test(&lab, &lab.sha256, &good).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let wrong = good.replace(&token.secret, "00000000-0000-0000-0000-000000000000");
    let pin = "AA".repeat(32);
    for (lab, pin, token, check) in [
        (&lab, pin.as_str(), &good, "tls"),
        (&lab, lab.sha256.as_str(), &wrong, "credentials"),
        (&powerless, powerless.sha256.as_str(), &good, "rights"),
    ] {
        let ran = test(lab, pin, token).await?;
        assert_eq!(ran.code, Some(1), "{check}: {ran:?}");
        let found = ran.json()?;
        assert_eq!(status(&found, check), "fail", "{found}");
        assert!(found[check]["remedy"].is_string(), "{found}");
        assert!(!ran.stdout.contains(token.trim()), "{ran:?}");
    }
    let away = "test-proxmox 127.0.0.1:1 --token-file - --sha256 AA --json --timeout 2s";
    let ran = at_home(dir.path(), away, &good).await?;
    assert_eq!(status(&ran.json()?, "reach"), "fail", "{ran:?}");
    // With what `providers add` kept, nothing has to be typed again.
    private(&dir.path().join("words"), "correct horse battery\n")?;
    let add = format!(
        "providers add c1 --proxmox {} --token-file - --sha256 {} --region home \
         --vmids 100000-199999 --pool bitbuilder --no-apply",
        lab.api, lab.sha256
    );
    let ran = at_home(dir.path(), &add, &good).await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let words = "test-proxmox --kept c1 --template 9000 --storage ssd --holder 900 --json";
    let ran = at_home(dir.path(), words, "").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!format!("{ran:?}").contains(&token.secret), "{ran:?}");
    for (words, code) in [("test-proxmox --kept c2", 3), ("test-vyos --kept c1", 2)] {
        let ran = at_home(dir.path(), words, "").await?;
        assert_eq!(ran.code, Some(code), "{ran:?}");
    }
    private(&dir.path().join("words"), "another horse battery\n")?;
    let ran = at_home(dir.path(), words, "").await?;
    assert_eq!(ran.code, Some(4), "{ran:?}");
    lab.stop().await;
    powerless.stop().await;
    Ok(())
}
