//! Turns the chart into what a cluster needs before a controller works in it.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::{NAMESPACE, paths};

/// The name of the release that the lab renders: what the chart makes is called after it.
pub const RELEASE: &str = "bitbuilder";

/// Where the chart is.
#[must_use]
pub fn dir() -> PathBuf {
    paths::root().join("charts/bitbuilder")
}

/// Where the definitions of the custom resources are, as the crate `bb-crds` renders them.
#[must_use]
pub fn crds() -> PathBuf {
    dir().join("files/crds")
}

/// Runs helm, which keeps what it knows below the build folder and not in the home folder.
///
/// # Errors
/// When it cannot be run; how it ended is in the output.
pub fn helm(args: &[&str]) -> Result<Output> {
    let home = paths::scratch()?.join("helm");
    Command::new(paths::cluster_binary()?)
        .arg("helm")
        .args(args)
        .envs(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, &home)))
        .output()
        .context("cannot run helm")
}

/// Renders the chart as `helm install` would, as YAML. `args` are more flags of `helm template`.
///
/// # Errors
/// When helm refuses it, with its words.
pub fn render(args: &[&str]) -> Result<String> {
    let chart = dir().display().to_string();
    let mut all = vec!["template", RELEASE, &chart, "--namespace", NAMESPACE];
    all.extend(args);
    let output = helm(&all)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("helm template failed: {}", words.trim());
    }
    String::from_utf8(output.stdout).context("helm did not write text")
}

/// Returns what a cluster needs before a controller works in it, in the order to apply it: the
/// definitions, the namespace and the binding of the group `bitbuilder:controllers`, and the
/// roles, the chart's own.
///
/// # Errors
/// When the chart cannot be rendered.
pub fn manifests() -> Result<Vec<PathBuf>> {
    let mut all = vec![crds(), paths::root().join("lab/harness/rbac.yaml")];
    all.push(roles()?);
    Ok(all)
}

/// Renders the roles into a file below the build folder.
fn roles() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let text = render(&[
        "--show-only",
        "templates/controller-roles.yaml",
        "--show-only",
        "templates/tenant-roles.yaml",
    ])?;
    let folder = paths::scratch()?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Clones share a build folder, and tests write at the same time: each content has a file, which
    // is whole from the first moment.
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let file = folder.join(format!("roles-{:016x}.yaml", hasher.finish()));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let new = file.with_extension(format!("{}-{number}.new", std::process::id()));
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &file))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
