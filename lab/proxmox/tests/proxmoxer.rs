//! Turns an independent client of the Proxmox API into a witness that the stand-in speaks it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

use std::path::{Path, PathBuf};

use bb_lab_proxmox::{Config, ProxmoxLab};

/// The environment that `scripts/venv.sh` makes.
fn python() -> PathBuf {
    let venv = std::env::var_os("BB_VENV").map_or_else(
        || {
            let home = std::env::var_os("HOME").expect("there is a home directory");
            Path::new(&home).join(".cache/bitbuilder/venv")
        },
        PathBuf::from,
    );
    let python = venv.join("bin/python3");
    assert!(
        python.exists(),
        "there is no Python environment at {}: run scripts/venv.sh, or say where it is in BB_VENV",
        venv.display()
    );
    python
}

#[tokio::test]
async fn proxmoxer_leads_a_guest_through_its_life_unchanged() {
    let python = python();
    let lab = ProxmoxLab::start(Config {
        time_scale: 0.02,
        ..Config::default()
    })
    .await
    .unwrap();
    let before = lab.snapshot();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &lab.ca_pem).unwrap();
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/proxmoxer_client.py");
    let port = lab.api.rsplit(':').next().unwrap();
    let secret = lab.tokens["op@pve!bitbuilder"].rsplit('=').next().unwrap();
    let output = tokio::process::Command::new(python)
        .arg(script)
        .args(["127.0.0.1", port])
        .env("BB_TOKEN", secret)
        .env("BB_PASSWORD", "root-of-the-lab")
        .env("BB_CA", &ca)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "proxmoxer stopped:\n{said}{complained}"
    );
    assert_eq!(lab.snapshot(), before, "something is left behind");
    for entry in lab.journal() {
        let line = serde_json::to_string(&entry).unwrap();
        assert!(!line.contains(secret), "a secret is in the journal: {line}");
        assert!(
            !line.contains("root-of-the-lab"),
            "a password is in the journal: {line}"
        );
    }
    lab.stop().await;
}
