//! What people change behind our back: seen, told, and put right or left as the objects say.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_lab_vyos::{Edit, Outcome};
use bb_tests::site::condition;
use bb_tests::{Site, SiteOptions};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::json;

/// Longer than anything here takes on two busy cores.
const BOUND: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn what_people_change_is_told_and_put_right_or_left_as_the_policy_says() -> Result<()> {
    let metrics = free_address()?;
    let flags = ["--active-poll", "100", "--backoff", "200", "--poll", "1"];
    let flags = flags.into_iter().chain(["--metrics", metrics.as_str()]);
    let site = Site::start(SiteOptions {
        flags: flags.map(str::to_owned).collect(),
        ..SiteOptions::default()
    })
    .await?;
    site.apply_dir("examples/acme").await?;
    site.all_ready(Duration::from_secs(120)).await?;
    lines_of_a_router_are_put_right(&site).await?;
    a_guest_that_is_gone_is_made_anew(&site).await?;
    an_observed_guest_is_left_as_it_is(&site).await?;
    an_observed_network_is_left_as_it_is(&site).await?;
    // Last: for 20 s after a proof of its configuration a row may be older than that.
    a_guest_is_put_right_within_the_poll_interval(&site).await?;
    let text = read_metrics(&metrics).await?;
    for line in [
        "bitbuilder_drift_total{kind=\"Tenant\",provider=\"r1\"} 1",
        "bitbuilder_drift_total{kind=\"Network\",provider=\"r1\"} 1",
        "bitbuilder_drift_total{kind=\"Instance\",provider=\"c1\"} 2",
        "bitbuilder_drift_total{kind=\"Instance\",provider=\"c2\"} 2",
        "bitbuilder_orphans{provider=\"c1\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    site.stop().await
}

/// An address that nobody listens on just now.
fn free_address() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

async fn read_metrics(address: &str) -> Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// A line of ours gone and two added below our node, one of them with a password.
async fn lines_of_a_router_are_put_right(site: &Site) -> Result<()> {
    let before = site.routers["r1"].config();
    let bgp = "vrf name bb1000 protocols bgp";
    let done = site.routers["r1"].type_in(&[
        Edit::delete(&format!("{bgp} address-family l2vpn-evpn advertise")),
        Edit::set(&format!("{bgp} neighbor 192.0.2.7 remote-as 65007")),
        Edit::set(&format!("{bgp} neighbor 192.0.2.7 password hunter2")),
        Edit::set("system name-server 192.0.2.53"),
    ]);
    assert!(matches!(done, Outcome::Done(_)), "{done:?}");
    let object = says(site, "Tenant", "acme", "InSync", "True Corrected").await?;
    let drift = &object.data["status"]["drift"][0];
    let lines = drift["lines"].to_string();
    assert_eq!(drift["target"], "r1");
    assert!(drift["since"].is_string() && drift["corrected"].is_string());
    for line in [
        "- vrf name bb1000 protocols bgp neighbor 192.0.2.7 remote-as 65007",
        "- vrf name bb1000 protocols bgp neighbor 192.0.2.7 password ********",
        "+ vrf name bb1000 protocols bgp address-family l2vpn-evpn advertise",
    ] {
        assert!(lines.contains(line), "{line} is not in {lines}");
    }
    assert!(!object.data.to_string().contains("hunter2"));
    let mut expected = before;
    expected["system"]["name-server"] = json!("192.0.2.53");
    assert_eq!(
        site.routers["r1"].config(),
        expected,
        "not put right, or too much"
    );
    assert_eq!(told(site, "Tenant", "acme", "Drifted").await?, 1);
    Ok(())
}

/// What lists show brings the rest along: a list never shows a nameserver.
async fn a_guest_is_put_right_within_the_poll_interval(site: &Site) -> Result<()> {
    let vmid = vmid_of(site, "www-1").await?;
    let cluster = &site.clusters["c1"];
    cluster.with(|c| {
        let config = &mut c.guests.get_mut(&vmid).expect("it was made").config;
        config.insert("name".into(), "renamed".into());
        config.insert("nameserver".into(), "192.0.2.99".into());
    });
    let object = says(site, "Instance", "www-1", "InSync", "True Corrected").await?;
    let lines = object.data["status"]["drift"][0]["lines"].to_string();
    for line in [
        "- name: renamed",
        "+ name: www-1",
        "- nameserver: 192.0.2.99",
    ] {
        assert!(lines.contains(line), "{line} is not in {lines}");
    }
    assert!(condition(&object, "Ready").starts_with("True"));
    // Processors of a guest that was made with one.
    let vmid = vmid_of(site, "www-2").await?;
    site.clusters["c2"].with(|c| {
        let guest = c.guests.get_mut(&vmid).expect("it was made");
        guest.config.insert("cores".into(), "7".into());
    });
    let object = says(site, "Instance", "www-2", "InSync", "True Corrected").await?;
    let lines = object.data["status"]["drift"][0]["lines"].to_string();
    assert!(lines.contains("- cores: 7"), "{lines}");
    Ok(())
}

async fn a_guest_that_is_gone_is_made_anew(site: &Site) -> Result<()> {
    let vmid = vmid_of(site, "cache").await?;
    site.clusters["c2"].with(|c| c.destroy_by_hand(vmid));
    let object = says(site, "Instance", "cache", "InSync", "True Corrected").await?;
    let lines = &object.data["status"]["drift"][0]["lines"];
    assert_eq!(
        *lines,
        json!([format!("- no CT {vmid}"), format!("+ CT {vmid}")])
    );
    assert!(site.clusters["c2"].with(|c| c.guests.contains_key(&vmid)));
    assert_eq!(told(site, "Instance", "cache", "Drifted").await?, 1);
    assert_eq!(told(site, "Instance", "cache", "Corrected").await?, 1);
    Ok(())
}

async fn an_observed_guest_is_left_as_it_is(site: &Site) -> Result<()> {
    policy(site, "Instance", "pg", "Observe").await?;
    says(site, "Instance", "pg", "Programmed", "True").await?;
    let vmid = vmid_of(site, "pg").await?;
    site.clusters["c1"].with(|c| c.switch_off(vmid));
    let object = says(site, "Instance", "pg", "InSync", "False Drifted").await?;
    let drift = object.data["status"]["drift"][0].clone();
    assert_eq!(
        drift["lines"],
        json!(["- power: Stopped", "+ power: Running"])
    );
    assert!(condition(&object, "InSync").contains("left as it is"));
    assert!(condition(&object, "Programmed").starts_with("False Paused"));
    // Told once, and not again in every pass.
    quiet(site, "Instance", "pg").await?;
    assert!(!site.clusters["c1"].with(|c| c.guests[&vmid].is_running()));
    assert_eq!(told(site, "Instance", "pg", "Drifted").await?, 1);
    policy(site, "Instance", "pg", "Manage").await?;
    let object = says(site, "Instance", "pg", "InSync", "True Corrected").await?;
    assert_eq!(object.data["status"]["drift"][0]["since"], drift["since"]);
    assert!(site.clusters["c1"].with(|c| c.guests[&vmid].is_running()));
    Ok(())
}

async fn an_observed_network_is_left_as_it_is(site: &Site) -> Result<()> {
    policy(site, "Network", "db", "Observe").await?;
    says(site, "Network", "db", "Programmed", "True").await?;
    let object = site.ours("Network", Some("acme")).get("db").await?;
    let vlan = &object.data["status"]["vlans"][0];
    let word = |key: &str| vlan[key].to_string().trim_matches('"').to_owned();
    let vif = format!(
        "interfaces ethernet {} vif {}",
        word("interface"),
        word("vlan")
    );
    let mtu = [Edit::set(&format!("{vif} mtu 1400"))];
    assert_eq!(site.routers["r1"].type_in(&mtu), Outcome::Done(None));
    let object = says(site, "Network", "db", "InSync", "False Drifted").await?;
    let lines = &object.data["status"]["drift"][0]["lines"];
    assert_eq!(*lines, json!([format!("- {vif} mtu 1400")]));
    quiet(site, "Network", "db").await?;
    let left = site.routers["r1"].config();
    // What is observed is not taken off either.
    site.ours("Network", Some("acme")).get("db").await?;
    policy(site, "Network", "db", "Manage").await?;
    says(site, "Network", "db", "InSync", "True Corrected").await?;
    assert_ne!(site.routers["r1"].config(), left, "it was not put right");
    Ok(())
}

async fn policy(site: &Site, kind: &str, name: &str, policy: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"managementPolicy": policy}}));
    let api = site.ours(kind, Some("acme"));
    let object = api.patch(name, &PatchParams::default(), &patch).await?;
    // Until the controller has seen it, what people do would still be put right.
    let generation = object.metadata.generation;
    let until = Instant::now() + BOUND;
    loop {
        let object = api.get(name).await?;
        let seen = &object.data["status"]["conditions"][0]["observedGeneration"];
        if seen.as_i64() == generation {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{kind} {name} is not looked at");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a condition begins with these words.
async fn says(
    site: &Site,
    kind: &str,
    name: &str,
    type_: &str,
    words: &str,
) -> Result<DynamicObject> {
    let namespace = (kind != "Tenant").then_some("acme");
    let until = Instant::now() + BOUND;
    loop {
        let object = site.ours(kind, namespace).get(name).await?;
        let said = condition(&object, type_);
        if said.starts_with(words) {
            return Ok(object);
        }
        if Instant::now() > until {
            bail!(
                "{kind} {name}: {type_} says {said:?}: {:#}",
                object.data["status"]
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Several more passes over every target, and no write to an object.
async fn quiet(site: &Site, kind: &str, name: &str) -> Result<()> {
    let before = site.ours(kind, Some("acme")).get(name).await?;
    for router in site.routers.values() {
        router.counters.reset();
    }
    for cluster in site.clusters.values() {
        cluster.clear_journal();
    }
    let until = Instant::now() + BOUND;
    let looked = || {
        let routers = site
            .routers
            .values()
            .map(|r| r.counters.get("reads_show_config"));
        let clusters = site.clusters.values().map(|c| c.journal().len() as u64 / 2);
        routers.chain(clusters).min().unwrap_or(0)
    };
    while looked() < 4 {
        if Instant::now() > until {
            bail!("fewer than 4 passes");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = site.ours(kind, Some("acme")).get(name).await?;
    let version = |o: &DynamicObject| o.metadata.resource_version.clone();
    assert_eq!(version(&after), version(&before), "written without news");
    Ok(())
}

async fn vmid_of(site: &Site, name: &str) -> Result<u32> {
    let object = site.ours("Instance", Some("acme")).get(name).await?;
    let id = object.data["status"]["providerID"]
        .as_str()
        .context("it has an id")?;
    let (_, vmid) = id.rsplit_once('/').context("with a VMID")?;
    Ok(vmid.parse()?)
}

/// How often an event of a reason was published for an object.
async fn told(site: &Site, kind: &str, name: &str, reason: &str) -> Result<i32> {
    let until = Instant::now() + BOUND;
    let events: Api<Event> = Api::all(site.client.clone());
    loop {
        let all = events.list(&ListParams::default()).await?;
        let of = all.items.iter().filter(|event| {
            let about = event.regarding.as_ref();
            about
                .is_some_and(|r| r.kind.as_deref() == Some(kind) && r.name.as_deref() == Some(name))
                && event.reason.as_deref() == Some(reason)
        });
        let times: i32 = of
            .map(|event| event.series.as_ref().map_or(1, |series| series.count))
            .sum();
        // Events follow the status that they tell of.
        if times > 0 || Instant::now() > until {
            return Ok(times);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
