//! Turns the environment into the places where binaries, sources and caches are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// Returns the root of the source tree: `BB_ROOT`, else where this crate was built.
pub fn root() -> PathBuf {
    if let Some(root) = std::env::var_os("BB_ROOT") {
        return PathBuf::from(root);
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Returns the executable with the programs of a management cluster.
///
/// `BB_CLUSTER_BIN` names it; else `scripts/cluster.sh --path` says where the one made from
/// the sources at hand is kept.
///
/// # Errors
/// When it is not there, with the command that builds it.
pub fn cluster_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BB_CLUSTER_BIN") {
        return existing(
            PathBuf::from(path),
            "BB_CLUSTER_BIN names a file that is not there",
        );
    }
    existing(
        told_by("scripts/cluster.sh")?,
        "run scripts/cluster.sh first (5 to 9 minutes the first time)",
    )
}

/// Returns the executable that judges alerts as Prometheus does.
///
/// # Errors
/// When it is not there, with the command that builds it.
pub fn alerts_binary() -> Result<PathBuf> {
    let path = told_by("scripts/alerts.sh")?;
    existing(path, "run scripts/alerts.sh first (half a minute)")
}

/// Returns the folder with the programs of a node, as `scripts/node.sh` unpacks them.
///
/// # Errors
/// When it is not there, with the command that makes it.
pub fn node_programs() -> Result<PathBuf> {
    let programs = told_by("scripts/node.sh")?;
    existing(programs.join("done"), "run scripts/node.sh first")?;
    Ok(programs)
}

/// Returns the path that a script prints when it is asked where it keeps what it makes.
fn told_by(script: &str) -> Result<PathBuf> {
    let output = Command::new(root().join(script))
        .arg("--path")
        .output()
        .with_context(|| format!("cannot run {script} --path"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{script} --path failed: {}", words.trim());
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}

/// Returns an executable of this workspace: in `BB_BIN_DIR`, else beside the running one.
///
/// # Errors
/// When it is not there, with the command that builds it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("BB_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => own_folder()?,
    };
    existing(
        folder.join(name),
        "run cargo build --workspace --bins first",
    )
}

/// Returns the folder of the running executable; a test's is one below its programs'.
fn own_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell which executable runs")?;
    let folder = own
        .parent()
        .context("the running executable has no folder")?;
    match folder.file_name() {
        Some(name) if name == "deps" => Ok(folder
            .parent()
            .context("deps has no folder above it")?
            .to_path_buf()),
        _ => Ok(folder.to_path_buf()),
    }
}

/// Returns the folder in which tests keep what they need while they run.
///
/// # Errors
/// When the running executable has no folder.
pub fn scratch() -> Result<PathBuf> {
    Ok(own_folder()?.join("lab"))
}

/// Returns a file below `target/journal` for what a test sends to the stand-in of that name:
/// its own for each call, so that tests at the same time do not share one.
#[must_use]
pub fn test_journal(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::env::current_exe().ok();
    let own = own
        .as_deref()
        .and_then(Path::file_stem)
        .unwrap_or_default()
        .to_string_lossy();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let folder = root().join("target/journal");
    // Where it cannot be made, opening the file says so.
    let _ = std::fs::create_dir_all(&folder);
    folder.join(format!("{own}-{process}-{number}-{name}.jsonl"))
}

fn existing(path: PathBuf, remedy: &str) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path);
    }
    bail!("{} is not there: {remedy}", path.display())
}
