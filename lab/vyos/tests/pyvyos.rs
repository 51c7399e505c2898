//! Turns an independent client of the VyOS API into a witness that the stand-in speaks it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

use bb_lab_vyos::{Config, VyosLab};
use std::path::{Path, PathBuf};

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
async fn pyvyos_configures_reads_saves_shows_and_generates_unchanged() {
    let python = python();
    let lab = VyosLab::start(Config::new("r1", "key-for-pyvyos"))
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &lab.ca_pem).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/pyvyos_client.py");
    let port = lab.api.rsplit(':').next().unwrap();
    let output = tokio::process::Command::new(python)
        .arg(script)
        .args(["127.0.0.1", port])
        .env("BB_KEY", &lab.key)
        .env("REQUESTS_CA_BUNDLE", &ca)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "pyvyos stopped:\n{said}{complained}"
    );
    assert_eq!(lab.counters.get("requests"), 15, "{said}");
    assert_eq!(
        lab.config()["interfaces"]["dummy"]["dum1"]["description"],
        "by pyvyos"
    );
}
