//! Turns what a test leaves behind into files that are searched for secrets once all have run: what
//! was asked of the API, what controllers logged and were started with, what people can read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use bb_lab_harness::paths;
use kube::api::ListParams;
use serde_json::Value;

use crate::site::{KINDS, Site};

/// Where what tests leave behind is kept.
#[must_use]
pub fn folder() -> PathBuf {
    paths::root().join("target/trace")
}

/// Keeps what is left of a site that is about to end.
///
/// # Errors
/// When it cannot be read or written.
pub async fn keep(site: &Site) -> Result<()> {
    // The audit log has no bodies; requests that it names may hold what they should not.
    let Some(audit) = site.cluster.audit_log() else {
        return Ok(());
    };
    let own = own_folder()?;
    let copied = fs::copy(&audit, own.join("audit.jsonl"));
    copied.with_context(|| format!("cannot keep {}", audit.display()))?;
    let objects = shown(site).await?;
    write(&own, "objects.json", &serde_json::to_string(&objects)?)?;
    write(&own, "processes.txt", &processes(site))?;
    logs(&site.cluster.dir().join("log"), &own)
}

/// The command lines and environments of the controllers that run.
fn processes(site: &Site) -> String {
    let records = site.cluster.roster().records();
    let ours = records.values().filter(|record| {
        let program = record.program.file_name();
        record.is_alive() && program.is_some_and(|name| name == "bb-controller")
    });
    let of = |pid: i32, file: &str| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&text).replace('\0', "\n")
    };
    ours.map(|record| format!("{}{}", of(record.pid, "cmdline"), of(record.pid, "environ")))
        .collect()
}

fn own_folder() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::env::current_exe().context("a process has a program")?;
    let own = own.file_stem().unwrap_or_default().to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = folder().join(format!("{own}-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What a person can read: all objects of ours, and all events.
async fn shown(site: &Site) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for kind in KINDS.iter().chain(&["Region", "Provider"]) {
        let api = site.ours(kind, None);
        for object in api.list(&ListParams::default()).await? {
            all.push(serde_json::to_value(object)?);
        }
    }
    let events: kube::Api<k8s_openapi::api::events::v1::Event> =
        kube::Api::all(site.client.clone());
    for event in events.list(&ListParams::default()).await? {
        all.push(serde_json::to_value(event)?);
    }
    Ok(all)
}

/// Copies what controllers in processes of their own logged.
fn logs(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let of_others = ["kube-", "etcd", "containerd", "kubelet"];
        if !of_others.iter().any(|other| name.starts_with(other)) {
            let copied = fs::copy(&path, to.join(&name));
            copied.with_context(|| format!("cannot keep {}", path.display()))?;
        }
    }
    Ok(())
}
