//! The ways to an instance: ssh, exec and console, and what they say where something is missing.

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use bb_tests::{Site, SiteOptions};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::around::{Ran, api, bbctl_with, client, good, instance, namespace, ours, set_ready};
use crate::guests::{Guests, bare, key_pair};

#[allow(
    clippy::too_many_lines,
    reason = "one instance goes through all that can be missing"
)]
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_reached_or_what_is_missing_is_said() -> Result<()> {
    let cluster = json!({"region": "far", "proxmox": {"endpoints": ["https://192.0.2.11:8006"],
        "credentials": {"secret": "c"}, "tls": {"caSecret": "ca"}, "vmids": "100000-199999",
        "pool": "p"}});
    let region = json!({"asn": 65000, "vnis": "10000-19999", "tables": "1000-1999"});
    let golden = instance("golden", "web").replace("debian-12", "golden");
    let objects = [
        ours("Region", "far", &region),
        ours("Provider", "far-c", &cluster),
        namespace("reached"),
        instance("www", "web"),
        golden,
    ];
    good("apply -n reached -f -", &objects.concat()).await?;
    let home = tempfile::tempdir()?;
    let home_text = home.path().display().to_string();
    let key = home.path().join("id");
    key_pair(&key).await?;
    let public = std::fs::read_to_string(key.with_extension("pub"))?;
    let env = [
        ("HOME", home_text.as_str()),
        ("BBCTL_SSH_CONFIG", "/dev/null"),
    ];
    let run = async |words: &str| -> Result<Ran> {
        bbctl_with(&format!("{words} -n reached"), &env).await
    };

    // Nobody has made it yet.
    let early = run("instances ssh www").await?;
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(early.stderr.contains("has no address yet"), "{early:?}");
    assert!(
        early.stderr.contains("bbctl wait instance/www -n reached"),
        "{early:?}"
    );
    let early = run("instances console www").await?;
    assert!(early.stderr.contains("is on no node yet"), "{early:?}");

    let instances = api(&client().await?, "Instance", "reached");
    for name in ["www", "golden"] {
        let status = json!({"status": {"node": "pve1", "cluster": "far-c",
            "providerID": "proxmox://far-c/100007", "addresses": [{"name": "a", "network": "web",
            "address": "10.10.0.9", "mac": "02:bb:00:00:00:01"}]}});
        let params = PatchParams::default();
        instances
            .patch_status(name, &params, &Patch::Merge(&status))
            .await?;
        set_ready(&instances, name, 1, json!({"status": "True"})).await?;
    }
    let printed = run("instances ssh www --print").await?;
    assert!(
        printed.stdout.ends_with("-l debian -- 10.10.0.9\n"),
        "{printed:?}"
    );
    let unknown = run("instances ssh golden --print").await?;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("--user"), "{unknown:?}");
    let console = run("instances console www").await?;
    assert_eq!(
        console.stdout,
        "https://192.0.2.11:8006/?console=kvm&novnc=1&vmid=100007&vmname=www&node=pve1\n"
    );

    let mut guests = Guests::default();
    let address = guests.begin("www", vec![bare(&public)]).await?;
    let road = format!("--address {address} -i {}", key.display());
    let there = async |words: &str, command: &str| -> Result<Ran> {
        bbctl_with(
            &format!("instances {words} -n reached {road} -- {command}"),
            &env,
        )
        .await
    };
    let said = there("ssh www", "hostname").await?;
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (Some(0), "www\n"),
        "{said:?}"
    );
    // It was given no key when it was made, which is told.
    assert!(said.stderr.contains("was given no SSH key"), "{said:?}");
    // Words arrive as they were given, and it ends as the command does.
    let said = there("exec www", "fails 7").await?;
    assert_eq!((said.code, said.stdout.as_str()), (Some(7), ""), "{said:?}");
    let said = there("exec www", "echo $HOME ;").await?;
    assert_eq!(said.stdout, "$HOME ;\n", "{said:?}");
    let folder = home.path().join(".bbctl");
    assert!(folder.join("known_hosts").is_file());

    // Another machine at the same place is not the one that was known.
    let other = guests.begin("another", vec![bare(&public)]).await?;
    let words = format!("instances exec www -n reached --address {other} -- hostname");
    let changed = bbctl_with(&words, &env).await?;
    assert_eq!(changed.code, Some(255), "{changed:?}");
    assert!(
        changed.stderr.contains("HOST IDENTIFICATION HAS CHANGED"),
        "{changed:?}"
    );
    let refused = there("exec www --user eve", "hostname").await?;
    assert_eq!(refused.code, Some(255), "{refused:?}");
    assert!(
        refused.stderr.contains("--user names another user"),
        "{refused:?}"
    );

    let nowhere = [env[0], env[1], ("PATH", "/nowhere")];
    let absent = bbctl_with("instances exec www -n reached -- hostname", &nowhere).await?;
    assert_eq!(absent.code, Some(1), "{absent:?}");
    assert!(absent.stderr.contains("install OpenSSH"), "{absent:?}");

    let stop = json!({"spec": {"power": "Stopped"}});
    let params = PatchParams::default();
    instances
        .patch("www", &params, &Patch::Merge(&stop))
        .await?;
    let stopped = run("instances ssh www").await?;
    assert!(
        stopped.stderr.contains("instances start www -n reached"),
        "{stopped:?}"
    );
    guests.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_rebuilt_with_its_volumes_or_left_as_it_is() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    let before = site.outside();
    let home = tempfile::tempdir()?;
    let home_text = home.path().display().to_string();
    let kubeconfig = site.cluster.kubeconfig().display().to_string();
    let env = [("KUBECONFIG", kubeconfig.as_str()), ("HOME", &home_text)];
    let run = async |words: &str| bbctl_with(words, &env).await;
    let folder = paths::root().join("examples/acme");
    let made = run(&format!("apply -f {} --wait", folder.display())).await?;
    ensure!(made.code == Some(0), "{made:?}");
    let uid = async |kind: &str, name: &str| -> Result<String> {
        let object = site.ours(kind, Some("acme")).get(name).await?;
        object.metadata.uid.context("it has a UID")
    };
    let (old, volume) = (uid("Instance", "pg").await?, uid("Volume", "pgdata").await?);

    let unconfirmed = run("instances rebuild pg -n acme --yes").await?;
    assert_eq!(
        unconfirmed.code,
        Some(2),
        "a yes is not enough: {unconfirmed:?}"
    );
    assert!(
        unconfirmed.stderr.contains("--confirm=instance/pg"),
        "{unconfirmed:?}"
    );
    let other = run("instances rebuild pg -n acme --confirm=instance/www-1").await?;
    assert_eq!(other.code, Some(2), "{other:?}");
    let wrong = run("instances rebuild pg -n acme --confirm=instance/pg --image beos-5").await?;
    let dry = run("instances rebuild pg -n acme --dry-run").await?;
    assert_eq!(dry.stdout, "instance/pg rebuilt (dry run)\n", "{dry:?}");
    assert_eq!(wrong.code, Some(3), "{wrong:?}");
    assert_eq!(uid("Instance", "pg").await?, old, "nothing was done so far");

    let done = run("instances rebuild pg -n acme --confirm=instance/pg --wait").await?;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.ends_with("instance/pg ready\n"), "{done:?}");
    assert_ne!(uid("Instance", "pg").await?, old);
    assert_eq!(uid("Volume", "pgdata").await?, volume);
    let left = std::fs::read_dir(home.path().join(".bbctl"))?;
    let left: Vec<_> = left
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    assert_eq!(left, [".lock"], "the manifest that was kept is gone");
    let again = run(&format!("apply -f {}", folder.display())).await?;
    assert!(again.stdout.contains("instance/pg unchanged"), "{again:?}");

    // A volume that waits to go would go with the old one, data and all.
    let (now, doomed) = (
        uid("Instance", "pg").await?,
        site.ours("Volume", Some("acme")),
    );
    doomed.delete("pgdata", &DeleteParams::default()).await?;
    let refused = run("instances rebuild pg -n acme --confirm=instance/pg").await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("volume/pgdata") && refused.stderr.contains("is being deleted"),
        "{refused:?}"
    );
    assert_eq!(uid("Instance", "pg").await?, now);
    assert_eq!(uid("Volume", "pgdata").await?, volume);

    let words = "delete tenant acme --confirm=tenant/acme --cascade --wait";
    let gone = run(words).await?;
    ensure!(gone.code == Some(0), "{gone:?}");
    assert_eq!(site.outside(), before);
    site.stop().await
}
