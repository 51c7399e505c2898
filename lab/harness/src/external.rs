//! Turns the kubeconfig of an existing cluster into one that acts there as another user.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cluster::User;
use crate::pki::write_private;

/// Returns the kubeconfig that `BB_KUBECONFIG` names, if it names one.
pub(crate) fn named() -> Option<PathBuf> {
    std::env::var_os("BB_KUBECONFIG")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// Writes a kubeconfig that impersonates `user`: an existing cluster has no token file of ours.
pub(crate) fn impersonate(kubectl: &Path, admin: &Path, user: &User, to: &Path) -> Result<()> {
    let output = Command::new(kubectl)
        .arg("kubectl")
        .arg("--kubeconfig")
        .arg(admin)
        .args([
            "config",
            "view",
            "--raw",
            "--minify",
            "--flatten",
            "-o",
            "json",
        ])
        .output()
        .context("cannot run kubectl")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("cannot read {}: {}", admin.display(), words.trim());
    }
    let mut config: Value =
        serde_json::from_slice(&output.stdout).context("cannot understand kubectl config view")?;
    let Some(acting) = config.pointer_mut("/users/0/user") else {
        bail!("{} has no user in its current context", admin.display());
    };
    acting["as"] = json!(user.name);
    if !user.groups.is_empty() {
        acting["as-groups"] = json!(user.groups);
    }
    write_private(to, &config.to_string())
}
