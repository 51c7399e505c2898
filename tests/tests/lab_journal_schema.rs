//! Turns what was sent to stand-ins into a verdict of a real router's schema.
//!
//! The journals of the whole suite are checked once more at the end of `scripts/test.sh`; here it
//! is made sure that the check looks at anything and finds what it should.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use bb_lab_harness::paths;
use bb_lab_vyos::{Config, Running, VyosLab};
use serde_json::{Value, json};

/// A tenant with a network that spans sites and one that does not, and both taken away again.
const SETS: [&str; 33] = [
    "vrf name t-acme table 1001",
    "vrf name t-acme vni 50001",
    "vrf name t-acme description bitbuilder/tenant/acme",
    "vrf name t-acme protocols bgp system-as 65000",
    "vrf name t-acme protocols bgp parameters router-id 10.255.0.1",
    "vrf name t-acme protocols bgp address-family ipv4-unicast redistribute connected",
    "vrf name t-acme protocols bgp address-family l2vpn-evpn advertise ipv4 unicast",
    "vrf name t-acme protocols bgp address-family l2vpn-evpn rd 10.255.0.1:50001",
    "vrf name t-acme protocols bgp address-family l2vpn-evpn route-target import 65000:50001",
    "vrf name t-acme protocols bgp address-family l2vpn-evpn route-target export 65000:50001",
    "interfaces vxlan vxlan50001 vni 50001",
    "interfaces vxlan vxlan50001 source-address 10.255.0.1",
    "interfaces vxlan vxlan50001 parameters nolearning",
    "interfaces bridge br50001 member interface vxlan50001",
    "interfaces bridge br50001 vrf t-acme",
    "interfaces vxlan vxlan10010 vni 10010",
    "interfaces vxlan vxlan10010 source-address 10.255.0.1",
    "interfaces vxlan vxlan10010 mtu 1450",
    "interfaces vxlan vxlan10010 parameters nolearning",
    "interfaces vxlan vxlan10010 parameters neighbor-suppress",
    "interfaces ethernet eth2 vif 110 description web",
    "interfaces bridge br10010 member interface vxlan10010",
    "interfaces bridge br10010 member interface eth2.110",
    "interfaces bridge br10010 address 10.10.0.1/24",
    "interfaces bridge br10010 mac 02:00:5e:00:01:01",
    "interfaces bridge br10010 vrf t-acme",
    "interfaces ethernet eth2 vif 120 vrf t-acme",
    "interfaces ethernet eth2 vif 120 address 10.20.0.1/24",
    "service dhcp-server listen-interface br10010",
    "service dhcp-server shared-network-name web subnet 10.10.0.0/24 subnet-id 10010",
    "service dhcp-server shared-network-name web subnet 10.10.0.0/24 option default-router 10.10.0.1",
    "service dhcp-server shared-network-name web subnet 10.10.0.0/24 range pool start 10.10.0.100",
    "service dhcp-server shared-network-name web subnet 10.10.0.0/24 range pool stop 10.10.0.199",
];
const DELETES: [&str; 8] = [
    "vrf name t-acme",
    "interfaces vxlan vxlan50001",
    "interfaces bridge br50001",
    "interfaces vxlan vxlan10010",
    "interfaces bridge br10010",
    "interfaces ethernet eth2 vif 110",
    "interfaces ethernet eth2 vif 120",
    "service dhcp-server",
];

fn commands(op: &str, lines: &[&str]) -> Value {
    let command = |line: &&str| json!({"op": op, "path": line.split(' ').collect::<Vec<_>>()});
    lines.iter().map(command).collect()
}

async fn router(journal: &Path) -> Result<Running> {
    if let Some(folder) = journal.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut config = Config::new("schema", "a-key");
    config.plain = true;
    config.journal = Some(journal.to_owned());
    VyosLab::start(config).await
}

/// Sends a list and gives back the status.
async fn send(lab: &Running, list: &Value) -> Result<u16> {
    let form = [("data", list.to_string()), ("key", lab.key.clone())];
    let url = format!("{}/configure", lab.api);
    Ok(reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(url)
        .form(&form)
        .send()
        .await?
        .status()
        .as_u16())
}

fn check(journals: &Path) -> Result<(Output, String)> {
    let output = Command::new(paths::root().join("scripts/check-journal.sh"))
        .arg(journals)
        .output()
        .context("cannot run scripts/check-journal.sh")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output, said))
}

/// Says that nothing can be checked, in the words that the count of skipped tests looks for.
#[expect(
    clippy::print_stdout,
    reason = "the count of tests reads what a test says"
)]
fn nothing_to_check_with(said: &str) -> bool {
    let skipped = said.starts_with("skipped");
    if skipped {
        println!("{}", said.trim_end());
    }
    skipped
}

#[tokio::test]
async fn a_real_router_would_take_every_command_in_the_journals() -> Result<()> {
    let own = paths::test_journal("schema");
    let lab = router(&own).await?;
    ensure!(
        send(&lab, &commands("set", &SETS)).await? == 200,
        "{:?}",
        lab.journal.entries()
    );
    ensure!(send(&lab, &commands("delete", &DELETES)).await? == 200);
    lab.stop().await;

    let (output, said) = check(&own)?;
    if nothing_to_check_with(&said) {
        return Ok(());
    }
    let sent = SETS.len() + DELETES.len();
    let expected = format!("1 files, 2 lists, {sent} commands ({sent} different): {sent} accepted");
    ensure!(
        output.status.success() && said.contains(&expected),
        "{said}{output:?}"
    );

    // What other tests have sent by now.
    let (output, said) = check(own.parent().context("a journal is in a folder")?)?;
    println!("{}", said.trim_end());
    ensure!(output.status.success(), "{said}{output:?}");
    Ok(())
}

#[tokio::test]
async fn a_command_that_no_router_takes_is_found_and_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let lab = router(&folder.path().join("bad.jsonl")).await?;
    let bad = "interfaces dummy dum0 colour";
    let status = send(&lab, &commands("set", &["interfaces dummy dum1", bad])).await?;
    ensure!(status == 400, "the stand-in takes it: {status}");
    lab.stop().await;

    let (output, said) = check(folder.path())?;
    if nothing_to_check_with(&said) {
        return Ok(());
    }
    ensure!(output.status.code() == Some(1), "{said}{output:?}");
    ensure!(
        said.contains(&format!("set {bad}")) && said.contains("1 accepted"),
        "{said}"
    );
    ensure!(said.contains("1 rejected"), "{said}");
    Ok(())
}
