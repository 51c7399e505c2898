//! Shows what is said of missing rights and wrong credentials.

use std::time::{Duration, Instant};

use bb_lab_proxmox::{Config, Seed};
use bb_proxmox::{Cluster, ClusterError, Credentials, Endpoint, Secret, Trust, Uses};
use bb_wire::Mandate;

use crate::stage::{HOLDER, Stage, TEMPLATE, endpoint, vm, vmid, volume};

fn uses() -> Uses {
    Uses {
        pool: "bitbuilder".into(),
        templates: [vmid(TEMPLATE)].into(),
        storages: ["ssd".to_owned()].into(),
        archives: ["local".to_owned()].into(),
        holder: Some(vmid(HOLDER)),
        bridges: ["localnetwork/vmbr0".to_owned()].into(),
    }
}

#[tokio::test]
async fn the_rights_of_the_example_suffice() {
    let stage = Stage::new().await;
    let missing = stage.driver.cluster().check_rights(&uses()).await.unwrap();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn missing_rights_are_named_with_their_path() {
    let mut seed = Seed::example();
    seed.acl
        .retain(|grant| grant.path != "/vms/900" && !grant.path.starts_with("/sdn"));
    if let Some(role) = seed.roles.get_mut("BitBuilderPool") {
        role.remove("VM.Config.Cloudinit");
    }
    let stage = Stage::with(Config {
        seed,
        ..Config::default()
    })
    .await;
    let missing = stage.driver.cluster().check_rights(&uses()).await.unwrap();
    let want = [
        "/pool/bitbuilder: VM.Config.Cloudinit",
        "/sdn/zones/localnetwork/vmbr0: SDN.Use",
        "/vms/900: VM.Audit",
        "/vms/900: VM.Config.Disk",
    ];
    assert_eq!(missing, want);
}

#[tokio::test]
async fn a_right_that_is_missing_in_the_middle_is_in_the_report() {
    let mut seed = Seed::example();
    seed.acl.retain(|grant| !grant.path.starts_with("/sdn"));
    let mut stage = Stage::with(Config {
        seed,
        ..Config::default()
    })
    .await;
    stage.desired.guests = vec![vm(5001, &[])];
    stage.pass().await;
    let said = format!("{:?}", stage.state("guest-5001"));
    assert!(
        said.contains("Unauthorized") && said.contains("SDN.Use"),
        "{said}"
    );
    assert!(stage.config(5001, "name").is_none());
}

#[tokio::test]
async fn a_user_with_a_password_drives_a_cluster_as_well() {
    let mut stage = Stage::new().await;
    let credentials = Credentials::Password {
        user: "op@pve".into(),
        password: Secret::new("op-of-the-lab"),
    };
    let endpoint = Endpoint {
        credentials,
        ..endpoint(&stage.lab)
    };
    stage.driver = bb_proxmox::Driver::new(Cluster::connect(endpoint).await.unwrap());
    stage.desired.guests = vec![vm(5001, &["v1"])];
    stage.desired.volumes = vec![volume("v1", Some("guest-5001"))];
    stage.settle().await;
    let logins = |stage: &Stage| stage.driver.cluster().counts()["POST /access/ticket"];
    assert_eq!(logins(&stage), 1);
    // Tickets live for two hours.
    stage.lab.with(|cluster| cluster.epoch += 3 * 3600);
    stage.clear().await;
    assert_eq!(logins(&stage), 2);
}

#[tokio::test]
async fn wrong_credentials_and_wrong_certificates_are_told_apart() {
    let stage = Stage::new().await;
    let good = endpoint(&stage.lab);
    let wrong = Credentials::Token(Secret::new("op@pve!bitbuilder=0000"));
    let refused = Cluster::connect(Endpoint {
        credentials: wrong,
        ..good.clone()
    })
    .await;
    assert!(matches!(refused.err(), Some(ClusterError::Unauthorized(_))));

    let pinned = Trust::Sha256(vec![stage.lab.sha256.clone()]);
    let pinned = Cluster::connect(Endpoint {
        trust: pinned,
        ..good.clone()
    })
    .await
    .unwrap();
    assert_eq!(pinned.version(), "9.1.7");

    let ca = bb_lab_kit::tls::identity(&["localhost"]).unwrap().cert_pem;
    for other in [Trust::Sha256(vec!["00".repeat(32)]), Trust::Ca(ca)] {
        let error = Cluster::connect(Endpoint {
            trust: other,
            ..good.clone()
        })
        .await
        .err()
        .unwrap();
        assert!(matches!(error, ClusterError::Untrusted { .. }), "{error}");
        let seen = format!("certificate {} is not trusted: ", stage.lab.sha256);
        assert!(
            error.to_string().contains(&seen),
            "the seen one is named: {error}"
        );
    }
}

#[tokio::test]
async fn the_next_endpoint_is_asked_when_one_is_dead() {
    let stage = Stage::new().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("https://{}", closed.local_addr().unwrap());
    drop(closed);
    let good = endpoint(&stage.lab);
    let urls = vec![dead, good.urls[0].clone()];
    let cluster = Cluster::connect(Endpoint { urls, ..good }).await.unwrap();
    assert_eq!(cluster.version(), "9.1.7");
}

#[tokio::test]
async fn who_does_not_lead_any_more_changes_nothing() {
    let mut stage = Stage::new().await;
    let mandate = Mandate::new("one");
    mandate.extend(Instant::now() + Duration::from_secs(60));
    let endpoint = Endpoint {
        mandate: mandate.clone(),
        ..endpoint(&stage.lab)
    };
    stage.driver = bb_proxmox::Driver::new(Cluster::connect(endpoint).await.unwrap());
    stage.desired.guests = vec![vm(5001, &[])];
    stage.settle().await;
    let writes = |stage: &Stage| {
        let entries = stage.lab.journal().into_iter();
        let writes = entries.filter(|e| e.method != "GET" && e.agent.ends_with("(one)"));
        writes.count()
    };
    let before = writes(&stage);
    assert!(before > 0);
    mandate.end();
    stage.desired.guests.clear();
    stage.desired.guests.push(vm(5002, &[]));
    // A pass that may not write either fails or says of the guest that it did not get on.
    let _ = stage.attempt().await;
    assert_eq!(writes(&stage), before);
    assert!(stage.config(5002, "name").is_none());
}
