//! What goes wrong at a cluster ends in a condition that says what a person must do, and goes
//! away with it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_lab_kit::faults::{Action, Fault};
use bb_lab_proxmox::model::Cluster;
use bb_tests::{Site, SiteOptions};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(120);

/// Changes fields of an object of the tenant, as `kubectl patch` does.
async fn change(site: &Site, kind: &str, name: &str, spec: Value) -> Result<()> {
    let api = site.ours(kind, Some("acme"));
    let patch = Patch::Merge(json!({ "spec": spec }));
    api.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// The VMID that is recorded for an instance.
async fn vmid_of(site: &Site, name: &str) -> Result<u32> {
    let object = site.ours("Instance", Some("acme")).get(name).await?;
    let id = object.data["status"]["providerID"]
        .as_str()
        .context("it has a VMID")?
        .to_owned();
    let raw = id.rsplit('/').next().context("it ends in the VMID")?;
    Ok(raw.parse()?)
}

struct Trouble {
    what: &'static str,
    /// What happens at the cluster.
    begins: fn(&mut Cluster),
    /// Who says so, and in which words.
    who: (&'static str, &'static str),
    says: &'static [&'static str],
    /// What a person does.
    ends: fn(&mut Cluster),
}

fn right(cluster: &mut Cluster, name: &str, held: bool) {
    let rights = cluster.access.roles.entry("BitBuilderPool".to_owned());
    let rights = rights.or_default();
    if held {
        rights.insert(name.to_owned());
    } else {
        rights.remove(name);
    }
}

fn user(cluster: &mut Cluster, enable: bool) {
    if let Some(user) = cluster.access.users.get_mut("op@pve") {
        user.enable = enable;
    }
}

fn room(cluster: &mut Cluster, full: bool) {
    if let Some(ssd) = cluster.storages.get_mut("ssd") {
        (ssd.full, ssd.preallocate) = (full, full);
    }
}

const TROUBLES: [Trouble; 5] = [
    Trouble {
        what: "a privilege is revoked",
        begins: |c| right(c, "VM.Config.CPU", false),
        who: ("Instance", "www-1"),
        says: &[
            "Unauthorized",
            "grant VM.Config.CPU",
            "on the pool of the Provider",
        ],
        ends: |c| right(c, "VM.Config.CPU", true),
    },
    Trouble {
        what: "most nodes are down",
        begins: |c| c.world.no_quorum = true,
        who: ("Instance", "www-1"),
        says: &["Unreachable", "no quorum", "when most nodes"],
        ends: |c| c.world.no_quorum = false,
    },
    Trouble {
        what: "the cluster file system is dead",
        begins: |c| c.world.pmxcfs_dead = true,
        who: ("Provider", "c1"),
        says: &["Unreachable", "Unable to load access control list"],
        ends: |c| c.world.pmxcfs_dead = false,
    },
    Trouble {
        what: "the token is refused",
        begins: |c| user(c, false),
        who: ("Provider", "c1"),
        says: &["Unauthorized", "refuses the credentials"],
        ends: |c| user(c, true),
    },
    Trouble {
        what: "the storage is full",
        begins: |c| room(c, true),
        who: ("Volume", "late"),
        says: &["Refused", "No space left", "make room on that storage"],
        ends: |c| room(c, false),
    },
];

/// Each trouble in turn, with something to do meanwhile.
async fn troubles_come_and_go(site: &Site) -> Result<()> {
    let c1 = &site.clusters["c1"];
    for (nth, trouble) in TROUBLES.iter().enumerate() {
        c1.with(|cluster| (trouble.begins)(cluster));
        if trouble.who.0 == "Volume" {
            site.apply_value(json!({
                "apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Volume",
                "metadata": {"name": trouble.who.1, "namespace": "acme"},
                "spec": {"size": "1Gi", "zone": "north"},
            }))
            .await?;
        } else {
            change(site, "Instance", "www-1", json!({"cpu": 3 + nth})).await?;
        }
        let namespace = if trouble.who.0 == "Provider" {
            ""
        } else {
            "acme"
        };
        for words in trouble.says {
            site.ready_says(trouble.who.0, namespace, trouble.who.1, words)
                .await
                .with_context(|| trouble.what)?;
        }
        c1.with(|cluster| (trouble.ends)(cluster));
        site.all_ready(BOUND).await.with_context(|| trouble.what)?;
    }
    Ok(())
}

/// Another certificate: nothing is sent until a person says that it is right.
async fn a_certificate_changes(site: &Site) -> Result<()> {
    let c1 = &site.clusters["c1"];
    let other = c1.exchange_certificate()?;
    // Connections from before end.
    c1.faults().add(Fault::new(Action::CloseBefore).times(16));
    change(site, "Instance", "www-1", json!({"cpu": 9})).await?;
    let said = site
        .ready_says("Provider", "", "c1", "is not trusted")
        .await?;
    if !said.contains("Unauthorized") {
        bail!("{said}");
    }
    c1.faults().clear();
    site.apply_value(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "c1-ca", "namespace": "bitbuilder-system"},
        "stringData": {"ca.crt": other.cert_pem},
    }))
    .await?;
    site.all_ready(BOUND).await
}

/// A VMID that somebody else took behind our back: left to them, and the object can go.
async fn a_stranger_takes_a_vmid(site: &Site) -> Result<()> {
    let c1 = &site.clusters["c1"];
    let vmid = vmid_of(site, "www-1").await?;
    let theirs = c1.with(|cluster| {
        cluster.destroy_by_hand(vmid);
        let mut guest = cluster.guests[&101].clone();
        guest.config.remove("scsi0");
        cluster.guests.insert(vmid, guest.clone());
        let pool = cluster.pools.get_mut("bitbuilder");
        pool.map(|pool| pool.guests.insert(vmid));
        guest.config
    });
    let api = site.ours("Instance", Some("acme"));
    api.delete("www-1", &kube::api::DeleteParams::default())
        .await?;
    let said = site
        .ready_says("Instance", "acme", "www-1", "Conflict")
        .await?;
    for word in [
        format!("VM {vmid} (").as_str(),
        "bears no mark of ours",
        "neither changed nor destroyed",
        "spec.deletionPolicy to Orphan",
    ] {
        if !said.contains(word) {
            bail!("{word}: {said}");
        }
    }
    change(
        site,
        "Instance",
        "www-1",
        json!({"deletionPolicy": "Orphan"}),
    )
    .await?;
    let until = Instant::now() + BOUND;
    while api.get_opt("www-1").await?.is_some() {
        if Instant::now() > until {
            bail!("www-1 is still there");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let found = c1.with(|cluster| cluster.guests.get(&vmid).map(|g| g.config.clone()));
    if found != Some(theirs) {
        bail!("the stranger's guest was touched: {found:?}");
    }
    Ok(())
}

/// A destroy that ended well and left a disk: the Provider names it.
async fn a_disk_stays(site: &Site) -> Result<()> {
    let c2 = &site.clusters["c2"];
    let vmid = vmid_of(site, "www-2").await?;
    c2.with(|c| c.storages.get_mut("ssd").map(|ssd| ssd.keeps = true));
    site.delete("Instance", Some("acme"), "www-2", BOUND)
        .await?;
    let until = Instant::now() + BOUND;
    loop {
        let provider = site.ours("Provider", None).get("c2").await?;
        let orphans = provider.data["status"]["orphans"].to_string();
        if orphans.contains(&format!("vm-{vmid}-disk-0")) && orphans.contains("pvesm free") {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("c2 names no disk: {orphans}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_at_a_cluster_says_what_a_person_must_do() -> Result<()> {
    let site = Site::start(SiteOptions::default()).await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(BOUND).await?;
    let foreign =
        site.clusters["c1"].with(|c| [101, 102, 9000].map(|id| c.guests[&id].config.clone()));
    troubles_come_and_go(&site).await?;
    a_certificate_changes(&site).await?;
    a_stranger_takes_a_vmid(&site).await?;
    a_disk_stays(&site).await?;
    let after =
        site.clusters["c1"].with(|c| [101, 102, 9000].map(|id| c.guests[&id].config.clone()));
    assert_eq!(after, foreign);
    site.stop().await
}
