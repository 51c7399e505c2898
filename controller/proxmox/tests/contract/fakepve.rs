//! Tries the client on fakepve, a stand-in by other people that judges calls by the product's schema.
//!
//! It runs as a process of its own. It keeps no state for attached disks, growth and
//! `/cluster/tasks`, so machines here ask for none; see docs/design/0007-proxmox-driver.md.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bb_core::proxmox::model::{Desired, GuestState, More, Source};
use bb_lab_kit::tls::identity;
use bb_proxmox::{Cluster, Credentials, Driver, Endpoint, Secret, Trust, Uses};

use crate::stage::{container, settings, vm, vmid};

/// The password of root@pam there.
const PASSWORD: &str = "of-the-fake";

struct FakePve {
    process: Child,
    url: String,
    ca: String,
    _folder: tempfile::TempDir,
}

impl Drop for FakePve {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binary() -> PathBuf {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    let usual = home.join(".cache/bitbuilder/venv");
    let venv = std::env::var_os("BB_VENV").map_or(usual, PathBuf::from);
    let binary = venv.join("bin/fakepve");
    assert!(
        binary.exists(),
        "{} is missing: run scripts/venv.sh, or set BB_VENV to where it made the environment",
        binary.display()
    );
    binary
}

fn start() -> FakePve {
    let folder = tempfile::tempdir().unwrap();
    let own = identity(&["pve1"]).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let guests = serde_json::json!({"guests": [
        {"vmid": 9000, "name": "debian-12", "node": "pve1", "template": true, "config": {
            "memory": "2048", "cores": 2, "boot": "order=scsi0",
            "scsi0": "local-lvm:base-9000-disk-0,size=2G",
            "ide2": "local-lvm:vm-9000-cloudinit,media=cdrom",
            "net0": "virtio=BC:24:11:90:00:00,bridge=vmbr0"}},
        {"vmid": 101, "name": "accounting", "node": "pve1", "status": "running",
         "config": {"memory": "512"}},
    ]});
    let mut process = Command::new(binary())
        .arg(file("guests.json", &guests.to_string()))
        .args(["--host", "127.0.0.1", "--port", "0", "--user", "root@pam"])
        .args(["--password", PASSWORD, "--time-scale", "0.01"])
        .arg("--cert")
        .arg(file("cert.pem", &own.cert_pem))
        .arg("--key")
        .arg(file("key.pem", &own.key_pem))
        .stdout(Stdio::piped())
        .spawn()
        .expect("fakepve starts");
    let mut line = String::new();
    let mut out = BufReader::new(process.stdout.take().expect("it is piped"));
    out.read_line(&mut line).unwrap();
    let url = line
        .split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned();
    assert!(url.starts_with("https://"), "fakepve said `{line}`");
    FakePve {
        process,
        url,
        ca: own.cert_pem,
        _folder: folder,
    }
}

async fn connect(fake: &FakePve) -> Cluster {
    let credentials = Credentials::Password {
        user: "root@pam".into(),
        password: Secret::new(PASSWORD),
    };
    let endpoint = Endpoint::new(
        vec![fake.url.clone()],
        credentials,
        Trust::Ca(fake.ca.clone()),
    );
    Cluster::connect(endpoint).await.unwrap()
}

/// A pool can only be made over its API.
async fn make_pool(fake: &FakePve) {
    let roots = reqwest::Certificate::from_pem(fake.ca.as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([roots])
        .no_proxy()
        .build()
        .unwrap();
    let api = format!("{}/api2/json", fake.url);
    let login = [("username", "root@pam"), ("password", PASSWORD)];
    let answer: serde_json::Value = client
        .post(format!("{api}/access/ticket"))
        .form(&login)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let text = |key: &str| answer["data"][key].as_str().unwrap().to_owned();
    let made = client
        .post(format!("{api}/pools"))
        .header("Cookie", format!("PVEAuthCookie={}", text("ticket")))
        .header("CSRFPreventionToken", text("CSRFPreventionToken"))
        .form(&[("poolid", "bitbuilder")])
        .send()
        .await
        .unwrap();
    assert!(made.status().is_success(), "{made:?}");
}

async fn pass_until(driver: &mut Driver, desired: &mut Desired, gone: bool) {
    let begun = std::time::Instant::now();
    loop {
        let report = driver.pass(desired).await.unwrap();
        for guest in &mut desired.guests {
            if let GuestState::Settled { fingerprint } = &report.guests[&guest.uid].state {
                guest.settled = Some(fingerprint.clone());
            }
        }
        let done = report.guests.values().all(|guest| match guest.state {
            GuestState::Gone => gone,
            GuestState::Settled { .. } => !gone,
            _ => false,
        });
        if done && report.more == More::Idle {
            return;
        }
        assert!(begun.elapsed().as_secs() < 60, "{report:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn fakepve_accepts_the_life_of_machines_and_containers() {
    let fake = start();
    make_pool(&fake).await;
    let cluster = connect(&fake).await;
    let uses = Uses {
        pool: "bitbuilder".into(),
        templates: [vmid(9000)].into(),
        storages: ["local-lvm".to_owned()].into(),
        ..Uses::default()
    };
    assert_eq!(
        cluster.check_rights(&uses).await.unwrap(),
        Vec::<String>::new()
    );
    let mut driver = Driver::new(cluster.clone());
    let mut machine = vm(5001, &[]);
    // Growth is answered there and forgotten.
    machine.disk_gib = None;
    let mut built = container(5002);
    built.source = Source::Archive {
        volid: "local:vztmpl/alpine.tar.zst".into(),
        storage: "local-lvm".into(),
        disk_gib: 4,
    };
    let mut full = vm(5003, &[]);
    full.disk_gib = None;
    full.source = Source::Template {
        vmid: vmid(9000),
        full: true,
        storage: Some("local-lvm".into()),
    };
    let cluster_settings = bb_core::proxmox::model::ClusterSettings {
        holder: None,
        ..settings()
    };
    let mut desired = Desired {
        cluster: cluster_settings,
        guests: vec![machine, built, full],
        volumes: Vec::new(),
    };
    pass_until(&mut driver, &mut desired, false).await;
    for guest in &mut desired.guests {
        guest.power = bb_core::proxmox::model::Power::Stopped;
        guest.cores = 1;
    }
    pass_until(&mut driver, &mut desired, false).await;
    for guest in &mut desired.guests {
        guest.fate = bb_core::proxmox::model::Fate::Destroy;
    }
    pass_until(&mut driver, &mut desired, true).await;
    let counts = cluster.counts();
    for call in [
        "POST /access/ticket",
        "GET /cluster/resources",
        "POST /nodes/N/qemu/ID/clone",
        "POST /nodes/N/qemu/ID/config",
        "POST /nodes/N/lxc",
        "PUT /nodes/N/lxc/ID/config",
        "POST /nodes/N/qemu/ID/status/start",
        "POST /nodes/N/lxc/ID/status/start",
        "POST /nodes/N/qemu/ID/status/shutdown",
        "DELETE /nodes/N/qemu/ID",
        "DELETE /nodes/N/lxc/ID",
    ] {
        assert!(
            counts.get(call).is_some_and(|count| *count > 0),
            "{call}: {counts:?}"
        );
    }
}
