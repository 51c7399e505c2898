//! Nouns and their verbs: what each writes, and what it says of it.

use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::around::{
    Ran, api, bbctl, bbctl_with, begin, client, cluster, end, good, instance, namespace, network,
    ours, set_ready,
};

#[tokio::test]
async fn each_noun_does_what_the_general_verb_does() -> Result<()> {
    let file = format!("{}{}", namespace("noun"), network("web", "10.0.0.0/24"));
    good("apply -n noun -f -", &file).await?;
    for (noun, general) in [
        ("networks list -o name", "get networks -o name"),
        ("network ls-is-no-verb", ""),
        ("networks get web -o yaml", "get network web -o yaml"),
        ("bbnet describe web -o json", "describe network/web -o json"),
        ("volumes list -o json", "get volumes -o json"),
    ] {
        let one = bbctl(&format!("{noun} -n noun"), "").await?;
        if general.is_empty() {
            assert_eq!(one.code, Some(2), "{noun}: {one:?}");
            continue;
        }
        let other = bbctl(&format!("{general} -n noun"), "").await?;
        assert_eq!((one.code, one.stdout), (other.code, other.stdout), "{noun}");
    }
    let ran = bbctl("networks wait web -n noun --timeout=0", "").await?;
    assert_eq!(ran.code, Some(6), "{ran:?}");
    let ran = good("networks delete web -n noun --yes", "").await?;
    assert_eq!(ran.stdout, "network/web deleted\n");
    Ok(())
}

#[tokio::test]
async fn create_makes_what_flags_say_and_nothing_twice() -> Result<()> {
    good("apply -f -", &namespace("made")).await?;
    let ran = good("networks create web --prefix 10.0.0.0/24 -n made", "").await?;
    assert_eq!(ran.stdout, "network/web created\n");
    assert!(
        ran.stderr.contains("next: bbctl wait network/web -n made"),
        "{ran:?}"
    );
    let again = bbctl("networks create web --prefix 10.9.0.0/24 -n made", "").await?;
    assert_eq!(
        (again.code, again.stdout.as_str()),
        (Some(5), ""),
        "{again:?}"
    );
    assert!(again.stderr.contains("is there already"), "{again:?}");
    good("volumes create data --size 1Gi --retain -n made", "").await?;
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHQ1vHgnYm3XnMwXlMe9vT1j1m9v0lq2y3e4r5t6u7i8 a\n";
    let words = "instances create pg --image debian-12 --network web=10.0.0.9 --volume data \
                 --memory 4Gi --cpu 2 --ssh-key - --protect -n made -o json";
    let made = good(words, key).await?.json()?;
    assert_eq!(
        made["spec"]["networks"],
        json!([{"name": "web", "network": "web", "address": "10.0.0.9"}])
    );
    assert_eq!(
        made["spec"]["volumes"],
        json!([{"name": "data", "volume": "data"}])
    );
    assert_eq!(made["spec"]["sshKeys"], json!([key.trim()]));
    assert_eq!(
        (&made["spec"]["cpu"], &made["spec"]["power"]),
        (&json!(2), &json!("Running"))
    );
    let wrong = bbctl("networks create bits --prefix 10.0.0.1/24 -n made", "").await?;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("host bits"), "{wrong:?}");
    // What create made, apply goes on with: nobody else owns it.
    let zones = ours(
        "Network",
        "web",
        &json!({"ipv4": {"prefix": "10.0.0.0/24"}, "zones": ["a"]}),
    );
    let ran = good("apply -n made -f -", &zones).await?;
    assert_eq!(ran.stdout, "network/web configured\n");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_of_create_needs_no_server_or_stores_nothing() -> Result<()> {
    let words = "networks create web --prefix 10.0.0.0/24 --dry-run=client -o yaml";
    let nowhere = std::path::Path::new("/nowhere/config");
    let ran = end(begin(nowhere, words)?, "").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let printed: Value = serde_saphyr::from_str(&ran.stdout)?;
    assert_eq!(
        printed,
        json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
            "metadata": {"name": "web"}, "spec": {"ipv4": {"prefix": "10.0.0.0/24"}}})
    );
    good("apply -f -", &namespace("drily")).await?;
    let words = "networks create web --prefix 10.0.0.0/24 -n drily --dry-run=server";
    let ran = good(words, "").await?;
    assert_eq!(ran.stdout, "network/web created (dry run)\n");
    assert_eq!(bbctl("networks get web -n drily", "").await?.code, Some(3));
    let ran = good("apply -n drily -f -", &printed_file(&printed)).await?;
    assert_eq!(ran.stdout, "network/web created\n");
    Ok(())
}

fn printed_file(object: &Value) -> String {
    format!("{object}\n")
}

#[tokio::test]
async fn power_and_size_go_through_the_spec() -> Result<()> {
    let file = format!("{}{}", namespace("power"), instance("www", "web"));
    good("apply -n power -f -", &file).await?;
    let instances = api(&client().await?, "Instance", "power");
    let spec = |field: &'static str| {
        let instances = instances.clone();
        async move { anyhow::Ok(instances.get("www").await?.data["spec"][field].clone()) }
    };
    let ran = good("instances stop www -n power --dry-run=client", "").await?;
    assert_eq!(ran.stdout, "instance/www stopping (dry run)\n");
    assert_eq!(spec("power").await?, "Running");
    let ran = good("instances stop www -n power", "").await?;
    assert_eq!(ran.stdout, "instance/www stopping\n");
    assert_eq!(spec("power").await?, "Stopped");
    let ran = good("instances stop www -n power -o json", "")
        .await?
        .json()?;
    assert_eq!(ran["results"][0]["result"], "unchanged");
    good("instance start www -n power", "").await?;
    assert_eq!(spec("power").await?, "Running");
    let ran = good("instances resize www --cpu 3 --memory 2Gi -n power", "").await?;
    assert_eq!(ran.stdout, "instance/www resized\n");
    assert!(
        ran.stderr.contains("bbctl instances restart www"),
        "{ran:?}"
    );
    assert_eq!(spec("cpu").await?, 3);
    let ran = bbctl("instances resize www -n power", "").await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let ran = bbctl("instances stop www gone -n power", "").await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(3), "instance/www stopping\n")
    );
    // The same file again means what it says, also after other verbs of ours.
    let file = instance("www", "web").replace("debian-12\"", "debian-12\",\"power\":\"Running\"");
    let ran = good("apply -n power -f -", &file).await?;
    assert_eq!(ran.stdout, "instance/www configured\n");
    assert_eq!(spec("power").await?, "Running");
    Ok(())
}

#[tokio::test]
async fn restart_waits_for_the_stop_and_leaves_none_down() -> Result<()> {
    let file = format!("{}{}", namespace("again"), instance("www", "web"));
    good("apply -n again -f -", &file).await?;
    let instances = api(&client().await?, "Instance", "again");
    let running = begin(
        cluster().await?.kubeconfig(),
        "instances restart www -n again",
    )?;
    let until = tokio::time::Instant::now() + crate::around::BOUND;
    loop {
        let object = instances.get("www").await?;
        if object.data["spec"]["power"] == "Stopped" {
            let generation = object.metadata.generation.context("a generation")?;
            set_ready(&instances, "www", generation, json!({"status": "True"})).await?;
            break;
        }
        ensure!(
            tokio::time::Instant::now() < until,
            "it is not stopped: {object:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let ran = end(running, "").await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "instance/www restarting\n"),
        "{ran:?}"
    );
    assert_eq!(instances.get("www").await?.data["spec"]["power"], "Running");
    let ran = bbctl("instances restart www -n again --timeout=300ms", "").await?;
    assert_eq!(ran.code, Some(6), "{ran:?}");
    assert!(ran.stderr.contains("did not stop and goes on"), "{ran:?}");
    assert_eq!(instances.get("www").await?.data["spec"]["power"], "Running");
    Ok(())
}

#[tokio::test]
async fn volumes_are_attached_detached_and_grown() -> Result<()> {
    let file = [
        namespace("disks"),
        ours("Volume", "data", &json!({"size": "1Gi"})),
        instance("a", "web"),
        instance("b", "web"),
    ];
    good("apply -n disks -f -", &file.concat()).await?;
    let ran = good("volumes attach data a -n disks", "").await?;
    assert_eq!(ran.stdout, "instance/a attaching\n");
    let a = good("instances get a -n disks -o json", "").await?.json()?;
    assert_eq!(
        a["spec"]["volumes"],
        json!([{"name": "data", "volume": "data"}])
    );
    let ran = good("volumes attach data a -n disks", "").await?;
    assert_eq!(ran.stdout, "instance/a unchanged\n");
    let ran = bbctl("volumes attach data b -n disks", "").await?;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.stderr.contains("is attached to instance/a"), "{ran:?}");
    assert_eq!(
        bbctl("volumes attach gone a -n disks", "").await?.code,
        Some(3)
    );
    let ran = good("volumes detach data -n disks", "").await?;
    assert_eq!(ran.stdout, "instance/a detaching\n");
    let ran = good("volumes detach data -n disks", "").await?;
    assert_eq!(ran.stdout, "volume/data unchanged\n");
    let ran = good("volumes resize data 2Gi -n disks", "").await?;
    assert_eq!(ran.stdout, "volume/data resized\n");
    let ran = bbctl("volumes resize data 1Gi -n disks", "").await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("can only grow"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn members_come_and_go_and_a_tenant_becomes_the_usual_one() -> Result<()> {
    good("tenants create crowd --member alice=Admin --group devs", "").await?;
    good("apply -f -", &namespace("crowd")).await?;
    good("tenants add-member crowd bob=View alice=Edit", "").await?;
    let told = good("tenants members crowd -o json", "").await?.json()?;
    let roles: Vec<String> = told["members"]
        .as_array()
        .context("members")?
        .iter()
        .map(|m| format!("{} {} {}", m["kind"], m["name"], m["role"]).replace('"', ""))
        .collect();
    assert_eq!(
        roles,
        ["User alice Edit", "Group devs Edit", "User bob View"]
    );
    good("tenants remove-member crowd bob", "").await?;
    assert_eq!(
        bbctl("tenants remove-member crowd bob", "").await?.code,
        Some(3)
    );
    assert_eq!(
        bbctl("tenants add-member crowd eve=Root", "").await?.code,
        Some(2)
    );
    let table = good("tenants members crowd", "").await?.stdout;
    assert_eq!(table.lines().count(), 3, "{table}");

    let dir = tempfile::tempdir()?;
    let own = dir.path().join("config");
    std::fs::copy(cluster().await?.kubeconfig(), &own)?;
    let run = |words: &'static str| {
        let child = begin(&own, words);
        async move { end(child?, "").await }
    };
    let ran: Ran = run("tenants use crowd").await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = run("networks create web --prefix 10.0.0.0/24 -o json").await?;
    assert_eq!(ran.json()?["metadata"]["namespace"], "crowd");
    Ok(())
}

#[tokio::test]
async fn addresses_say_who_has_them() -> Result<()> {
    let dhcp = json!({"ipv4": {"prefix": "10.0.0.0/24", "dhcp": {"from": "10.0.0.100", "to": "10.0.0.109"}}});
    let file = [
        namespace("held-by"),
        ours("Network", "web", &dhcp),
        instance("www", "web"),
    ];
    good("apply -n held-by -f -", &file.concat()).await?;
    let instances = api(&client().await?, "Instance", "held-by");
    let status = json!({"status": {"addresses": [{"name": "a", "network": "web",
        "address": "10.0.0.2", "mac": "02:00:00:00:00:01"}], "conditions": []}});
    instances
        .patch_status("www", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    let told = good("networks addresses web -n held-by", "").await?.stdout;
    let rows: Vec<Vec<&str>> = told
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[1],
        ["10.0.0.2", "Instance", "www", "a", "02:00:00:00:00:01"]
    );
    assert_eq!(rows[2], ["10.0.0.100-10.0.0.109", "Pool", "-", "-", "-"]);
    Ok(())
}

#[tokio::test]
async fn images_are_what_clusters_offer() -> Result<()> {
    let proxmox = json!({"region": "pictures", "zone": "z", "proxmox": {
        "endpoints": ["https://192.0.2.11:8006"], "credentials": {"secret": "c"},
        "tls": {"caSecret": "c"}, "vmids": "100000-199999", "pool": "p",
        "images": [{"name": "picture-1", "template": 9000}]}});
    good("apply -f -", &ours("Provider", "pictures", &proxmox)).await?;
    let words = "images create picture-2 --provider pictures --archive local:vztmpl/a.tar.zst";
    let ran = good(words, "").await?;
    assert_eq!(ran.stdout, "provider/pictures configured\n");
    assert_eq!(bbctl(words, "").await?.code, Some(5));
    let all = good("images list -o json", "").await?.json()?;
    let names: Vec<&str> = all["images"]
        .as_array()
        .context("images")?
        .iter()
        .filter_map(|image| image["name"].as_str())
        .filter(|name| name.starts_with("picture-"))
        .collect();
    assert_eq!(names, ["picture-1", "picture-2"]);
    let one = good("images get picture-1 -o yaml", "").await?.stdout;
    assert!(one.contains("template: 9000"), "{one}");
    let ran = bbctl("images get picture-3", "").await?;
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("did you mean `picture-"), "{ran:?}");
    let ran = bbctl("images delete picture-2", "").await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    good("images delete picture-2 --yes", "").await?;
    assert_eq!(bbctl("images describe picture-2", "").await?.code, Some(3));
    good("images describe picture-1", "").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_exported_is_applied_without_a_change() -> Result<()> {
    let file = [
        namespace("moved"),
        ours("Tenant", "moved", &json!({"members": [{"name": "alice"}]})),
        network("web", "10.0.0.0/24"),
        ours("Volume", "data", &json!({"size": "1Gi"})),
        instance("www", "web"),
    ];
    good("apply -n moved -f -", &file.concat()).await?;
    let networks = api(&client().await?, "Network", "moved");
    set_ready(&networks, "web", 1, json!({"status": "True"})).await?;
    for words in [
        "export -n moved",
        "export -n moved -o json",
        "export tenant/moved",
    ] {
        let exported = good(words, "").await?.stdout;
        for word in [
            "status",
            "uid",
            "resourceVersion",
            "managedFields",
            "generation",
        ] {
            assert!(
                !exported.contains(&format!("{word}:")),
                "{words}: {exported}"
            );
            assert!(
                !exported.contains(&format!("\"{word}\"")),
                "{words}: {exported}"
            );
        }
        let same = good("diff -f -", &exported).await?;
        assert_eq!(same.stdout, "", "{words}");
        let applied = good("apply -f -", &exported).await?.stdout;
        assert!(!applied.is_empty(), "{words}");
        let unchanged = applied.lines().all(|line| line.ends_with(" unchanged"));
        assert!(unchanged, "{words}: {applied}");
    }
    Ok(())
}

#[tokio::test]
async fn diff_shows_lines_ends_with_one_and_writes_nothing() -> Result<()> {
    let file = format!("{}{}", namespace("lines"), instance("www", "web"));
    let fresh = bbctl("diff -n lines -f -", &file).await?;
    assert_eq!(fresh.code, Some(1), "{fresh:?}");
    assert!(fresh.stdout.contains("+++ then/instance/www"), "{fresh:?}");
    good("apply -n lines -f -", &file).await?;
    let same = good("diff -n lines -f -", &file).await?;
    assert_eq!(same.stdout, "");
    let larger = file.replace("debian-12\"", "debian-12\",\"cpu\":4");
    let ran = bbctl("diff -n lines -f -", &larger).await?;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("-  cpu: 1\n+  cpu: 4\n"), "{ran:?}");
    let ran = bbctl("diff -n lines -f - -o json", &larger).await?;
    assert_eq!(ran.json()?["changes"][0]["change"], "configured");
    let wrong = file.replace("debian-12\"", "debian-12\",\"cpus\":4");
    let ran = bbctl("diff -n lines -f -", &wrong).await?;
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert_eq!(bbctl("diff", "").await?.code, Some(2));
    let one = good("instances get www -n lines -o json", "")
        .await?
        .json()?;
    assert_eq!(one["spec"]["cpu"], 1);
    Ok(())
}

#[tokio::test]
async fn edit_writes_what_changed_and_keeps_what_cannot_be_written() -> Result<()> {
    let file = format!("{}{}", namespace("edited"), instance("www", "web"));
    good("apply -n edited -f -", &file).await?;
    let edit = |editor: &'static str, flags: &'static str| async move {
        let words = format!("instances edit www -n edited {flags}");
        bbctl_with(&words, &[("EDITOR", editor)]).await
    };
    let ran = edit("true", "").await?;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "instance/www unchanged\n"),
        "{ran:?}"
    );
    let ran = edit("sed -i s/cpu:.*/cpu:\\ 2/", "--dry-run=server").await?;
    assert_eq!(ran.stdout, "instance/www configured (dry run)\n", "{ran:?}");
    let ran = edit("sed -i s/cpu:.*/cpu:\\ 2/", "").await?;
    assert_eq!(ran.stdout, "instance/www configured\n", "{ran:?}");
    let one = good("instances get www -n edited -o json", "")
        .await?
        .json()?;
    assert_eq!(one["spec"]["cpu"], 2);
    for (editor, code, message) in [
        (
            "sed -i s/image:.*/image:\\ other/",
            1,
            "image cannot change",
        ),
        (
            "sed -i s/name:\\ www/name:\\ other/",
            1,
            "metadata.name cannot be changed",
        ),
        ("sed -i 1i[", 1, "is not YAML"),
        ("false", 1, "ended with"),
    ] {
        let ran = edit(editor, "").await?;
        assert_eq!(ran.code, Some(code), "{editor}: {ran:?}");
        assert!(ran.stderr.contains(message), "{editor}: {ran:?}");
        let place = ran
            .stderr
            .split("kept in ")
            .nth(1)
            .context("a file is named")?;
        let place = place.split(": ").next().context("a file is named")?;
        std::fs::remove_file(place).with_context(|| format!("{editor}: {place}"))?;
    }
    // Somebody else changes it while the editor is open.
    let script = format!(
        "KUBECONFIG={} {} instances resize www --cpu 5 -n edited >/dev/null 2>&1; sed -i s/memory:.*/memory:\\ 2Gi/",
        cluster().await?.kubeconfig().display(),
        bb_lab_harness::paths::binary("bbctl")?.display()
    );
    let ran = bbctl_with("edit instance www -n edited", &[("EDITOR", &script)]).await?;
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.stderr.contains("kept in "), "{ran:?}");
    assert_eq!(
        bbctl("edit instance www -n edited", "").await?.code,
        Some(2)
    );
    let ran = edit("true", "--no-input").await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn events_tree_and_top_tell_of_a_namespace() -> Result<()> {
    let pg = json!({"image": "debian-12", "memory": "4Gi", "cpu": 2,
        "networks": [{"name": "a", "network": "web"}], "volumes": [{"name": "d", "volume": "data"}]});
    let file = [
        namespace("told-of"),
        network("web", "10.0.0.0/24"),
        ours("Volume", "data", &json!({"size": "1Gi"})),
        ours("Instance", "pg", &pg),
    ];
    good("apply -n told-of -f -", &file.concat()).await?;
    let tree = good("tree -n told-of", "").await?.stdout;
    let shape: Vec<&str> = tree
        .lines()
        .map(|l| l.split("  not").next().unwrap_or(l))
        .collect();
    let heads: Vec<String> = shape
        .iter()
        .map(|l| l.split("  Unseen").next().unwrap_or(l).to_owned())
        .collect();
    assert!(heads[0].starts_with("namespace told-of"), "{tree}");
    assert!(heads[1].starts_with("└─ network web"), "{tree}");
    assert!(heads[2].starts_with("   └─ instance pg"), "{tree}");
    assert!(heads[3].starts_with("      └─ volume data"), "{tree}");
    let top = good("top instances -n told-of -o json", "").await?.json()?;
    assert_eq!(top["loads"][0]["memoryBytes"], json!(4_u64 << 30));
    let top = good("top tenants -n told-of", "").await?.stdout;
    assert!(
        top.contains("told-of") && top.contains("4Gi") && top.contains("1Gi"),
        "{top}"
    );
    let uid = good("instances get pg -n told-of -o json", "")
        .await?
        .json()?["metadata"]["uid"]
        .clone();
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "told-of"},
        "involvedObject": {"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance", "name": "pg",
            "namespace": "told-of", "uid": uid},
        "type": "Warning", "reason": "Refused", "message": "no room", "count": 3,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z"});
    good("apply -f -", &event.to_string()).await?;
    for words in ["events", "events instance/pg", "events --warnings"] {
        let told = good(&format!("{words} -n told-of"), "").await?.stdout;
        assert!(
            told.contains("instance/pg") && told.contains("no room"),
            "{words}: {told}"
        );
    }
    let none = good("events network/web -n told-of", "").await?;
    assert_eq!(
        (none.stdout.as_str(), none.stderr.as_str()),
        ("", "no events of late\n")
    );
    Ok(())
}
