//! Turns the first test's wish for a cluster into one that all tests of a binary use.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, Options};
use crate::paths;
use crate::roster::end_marked;

/// Returns the cluster that the tests of this binary share, started by the first that asks.
///
/// It ends with the process. Its folder lies beside the binaries, is emptied by the next run,
/// and is there to look at after a failure. Tests that break parts of it, or that need flags of
/// their own, start one of their own.
///
/// # Errors
/// As [`Cluster::start`].
pub async fn shared(manifests: Vec<PathBuf>) -> Result<&'static Cluster> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_try_init(|| start(manifests)).await
}

async fn start(manifests: Vec<PathBuf>) -> Result<Cluster> {
    let own = std::env::current_exe().context("cannot tell which executable runs")?;
    let name = own
        .file_name()
        .context("the running executable has no name")?;
    let dir = paths::scratch()?.join(name);
    if dir.is_dir() {
        end_marked(&dir)?;
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let mut options = Options::new(dir);
    options.manifests = manifests;
    Cluster::start(options).await
}
