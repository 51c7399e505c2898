//! Guests that were there before us: previewed, taken over, let go of, and never taken from others.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_lab_harness::paths;
use bb_tests::site::condition;
use bb_tests::{Site, SiteOptions};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(60);
/// A virtual machine of somebody else, which runs, and a container.
const VM: u32 = 101;
const CT: u32 = 102;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_taken_over_only_as_its_owners_agree() -> Result<()> {
    let flags = ["--active-poll", "100", "--backoff", "200", "--poll", "1"];
    let site = Site::start(SiteOptions {
        flags: flags.map(str::to_owned).to_vec(),
        ..SiteOptions::default()
    })
    .await?;
    for file in ["00-tenant.yaml", "10-networks.yaml"] {
        let path = paths::root().join("examples/acme").join(file);
        site.apply(&std::fs::read_to_string(path)?).await?;
    }
    site.all_ready(BOUND).await?;
    let before = config(&site, VM);
    two_have_to_agree_to_it(&site).await?;
    assert_eq!(config(&site, VM), before, "something was changed");
    a_preview_shows_what_would_be_and_a_second_claim_is_refused(&site).await?;
    assert_eq!(config(&site, VM), before, "something was changed");
    the_mark_comes_first_and_then_the_rest(&site).await?;
    it_stays_when_its_object_goes_and_can_be_taken_over_anew(&site).await?;
    the_guest_of_another_installation_stays_as_it_is(&site).await?;
    a_delete_that_is_one_too_many_waits_to_be_confirmed(&site).await?;
    site.stop().await
}

async fn two_have_to_agree_to_it(site: &Site) -> Result<()> {
    let legacy = instance("legacy", &json!({"adopt": {"vmid": VM}, "cpu": 2}));
    site.apply_value(legacy).await?;
    let said = says(site, "legacy", "ResolvedRefs", "False NotAllowed").await?;
    assert!(condition(&said, "ResolvedRefs").contains("spec.proxmox.adoptable"));
    let grant = json!([{"tenant": "acme", "vmids": ["101-102"]}]);
    let patch = Patch::Merge(json!({"spec": {"proxmox": {"adoptable": grant}}}));
    let providers = site.ours("Provider", None);
    providers
        .patch("c1", &PatchParams::default(), &patch)
        .await?;
    let said = says(site, "legacy", "Programmed", "False NotFound").await?;
    assert!(condition(&said, "Programmed").contains("put it into pool bitbuilder"));
    Ok(())
}

async fn a_preview_shows_what_would_be_and_a_second_claim_is_refused(site: &Site) -> Result<()> {
    into_pool(site, VM)?;
    let said = says(site, "legacy", "Programmed", "False Preview").await?;
    let lines = said.data["status"]["preview"]["lines"].to_string();
    for line in [
        "- name: accounting",
        "+ name: legacy",
        "- cores: 4",
        "+ cores: 2",
        "+ description: bitbuilder ",
        "- net0: virtio=BC:24:11:01:01:01,bridge=vmbr0,tag=20",
    ] {
        assert!(lines.contains(line), "{line} is not in {lines}");
    }
    site.apply_value(instance("second", &json!({"adopt": {"vmid": VM}})))
        .await?;
    let said = says(site, "second", "Accepted", "False Conflict").await?;
    assert!(condition(&said, "Accepted").contains("`legacy`"));
    says(site, "legacy", "Programmed", "False Preview").await?;
    site.delete("Instance", Some("acme"), "second", BOUND)
        .await?;
    assert_eq!(writes(site), Vec::<String>::new());
    Ok(())
}

async fn the_mark_comes_first_and_then_the_rest(site: &Site) -> Result<()> {
    site.clusters["c1"].clear_journal();
    confirm(site, "legacy").await?;
    let said = says(site, "legacy", "Ready", "True").await?;
    assert_eq!(said.data["status"]["preview"], Value::Null);
    assert_eq!(
        said.data["status"]["providerID"],
        json!(format!("proxmox://c1/{VM}"))
    );
    let first = site.clusters["c1"].journal().into_iter();
    let mut sent = first.filter(|entry| entry.method != "GET");
    let mark = sent.next().context("something was sent")?;
    let sent_first = format!("{mark:?}");
    assert!(
        mark.path.ends_with(&format!("/qemu/{VM}/config")),
        "{sent_first}"
    );
    assert!(
        sent_first.contains("description") && !sent_first.contains("cores"),
        "{sent_first}"
    );
    let config = config(site, VM);
    let description = config["description"].as_str().context("a description")?;
    let (first, rest) = description.split_once('\n').context("two lines")?;
    assert!(
        first.starts_with("bitbuilder ") && first.ends_with("acme/legacy"),
        "{first}"
    );
    assert_eq!(rest, "somebody else's", "people's notes stay");
    assert_eq!(config["name"], "legacy");
    assert_eq!(config["scsi0"], "ssd:vm-101-disk-0,size=32G");
    let tags = config["tags"].as_str().unwrap_or_default();
    assert!(tags.contains("finance") && tags.contains("bb-"), "{tags}");
    Ok(())
}

async fn it_stays_when_its_object_goes_and_can_be_taken_over_anew(site: &Site) -> Result<()> {
    let before = config(site, VM);
    site.delete("Instance", Some("acme"), "legacy", BOUND)
        .await?;
    assert_eq!(config(site, VM), before);
    let until = Instant::now() + BOUND;
    loop {
        let provider = site.ours("Provider", None).get("c1").await?;
        let status = &provider.data["status"];
        if status["orphanCount"] == 1 {
            assert!(
                status["orphans"][0].to_string().contains("VM 101"),
                "{status}"
            );
            break;
        }
        if Instant::now() > until {
            bail!("the orphan is not reported: {status:#}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let again = json!({"adopt": {"vmid": VM, "mode": "Adopt"}, "cpu": 2});
    site.apply_value(instance("again", &again)).await?;
    says(site, "again", "Ready", "True").await?;
    let config = config(site, VM);
    let description = config["description"].as_str().context("a description")?;
    assert!(
        description
            .lines()
            .next()
            .is_some_and(|l| l.ends_with("acme/again"))
    );
    assert_eq!(description.lines().count(), 2, "{description}");
    let ours = config["tags"]
        .as_str()
        .unwrap_or_default()
        .matches("bb-")
        .count();
    assert_eq!(
        ours, 1,
        "the tag of the object before it is gone: {}",
        config["tags"]
    );
    Ok(())
}

async fn the_guest_of_another_installation_stays_as_it_is(site: &Site) -> Result<()> {
    into_pool(site, CT)?;
    site.clusters["c1"].with(|c| {
        let guest = c.guests.get_mut(&CT).expect("it is in the seed");
        let mark = "bitbuilder 11111111-2222/33333333-4444 other/dns";
        guest.config.insert("description".into(), mark.into());
    });
    let before = config(site, CT);
    let taken = json!({"type": "Container", "image": "alpine-3.20",
        "adopt": {"vmid": CT, "mode": "Adopt"}});
    site.apply_value(instance("dns", &taken)).await?;
    let said = says(site, "dns", "Programmed", "False Conflict").await?;
    assert!(condition(&said, "Programmed").contains("another installation"));
    site.delete("Instance", Some("acme"), "dns", BOUND).await?;
    assert_eq!(config(site, CT), before);
    Ok(())
}

/// The guard of the Provider, with bounds that one guest is above.
async fn a_delete_that_is_one_too_many_waits_to_be_confirmed(site: &Site) -> Result<()> {
    let providers = site.ours("Provider", None);
    let instances = site.ours("Instance", Some("acme"));
    let params = PatchParams::default();
    let guard = json!({"spec": {"deleteGuard": {"objects": 0, "percent": 0}}});
    providers.patch("c1", &params, &Patch::Merge(guard)).await?;
    let destroy = json!({"spec": {"deletionPolicy": "Delete"}});
    instances
        .patch("again", &params, &Patch::Merge(destroy))
        .await?;
    instances.delete("again", &DeleteParams::default()).await?;
    let said = says(site, "again", "Ready", "False Guarded").await?;
    assert!(condition(&said, "Ready").contains("allow-deletes"));
    let said = site.ready_says("Provider", "", "c1", "Guarded").await?;
    assert!(
        said.contains("1 of 1 objects") && said.contains("allow-deletes=1"),
        "{said}"
    );
    assert!(site.clusters["c1"].with(|c| c.guests.contains_key(&VM)));
    let allow = json!({"metadata": {"annotations": {"bitbuilder.cloud/allow-deletes": "1"}}});
    providers.patch("c1", &params, &Patch::Merge(allow)).await?;
    let until = Instant::now() + BOUND;
    while instances.get_opt("again").await?.is_some() {
        if Instant::now() > until {
            bail!("it is still held after it was confirmed");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!site.clusters["c1"].with(|c| c.guests.contains_key(&VM)));
    site.ready_says("Provider", "", "c1", "True Ready").await?;
    Ok(())
}

fn instance(name: &str, change: &Value) -> Value {
    let mut spec = json!({"image": "debian-12", "placement": {"zone": "north"},
        "networks": [{"name": "web", "network": "web"}]});
    for (key, value) in change.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Instance",
        "metadata": {"name": name, "namespace": "acme"}, "spec": spec})
}

async fn confirm(site: &Site, name: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"adopt": {"mode": "Adopt"}}}));
    let instances = site.ours("Instance", Some("acme"));
    instances
        .patch(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

fn into_pool(site: &Site, vmid: u32) -> Result<()> {
    site.clusters["c1"].with(|c| {
        let pool = c.pools.get_mut("bitbuilder").context("the pool")?;
        pool.guests.insert(vmid);
        Ok(())
    })
}

fn config(site: &Site, vmid: u32) -> Value {
    site.clusters["c1"].with(|c| json!(c.guests[&vmid].config))
}

/// Calls to the cluster that may change something.
fn writes(site: &Site) -> Vec<String> {
    let journal = site.clusters["c1"].journal().into_iter();
    let writes = journal.filter(|entry| entry.method != "GET");
    writes.map(|e| format!("{} {}", e.method, e.path)).collect()
}

/// Waits until a condition of an Instance begins with these words.
async fn says(site: &Site, name: &str, type_: &str, words: &str) -> Result<DynamicObject> {
    let until = Instant::now() + BOUND;
    loop {
        let object = site.ours("Instance", Some("acme")).get(name).await?;
        let said = condition(&object, type_);
        if said.starts_with(words) {
            return Ok(object);
        }
        if Instant::now() > until {
            bail!(
                "Instance {name}: {type_} says {said:?}: {:#}",
                object.data["status"]
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
