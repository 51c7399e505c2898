//! Turns a control plane that runs into one that crashed, hangs, starts anew or is restored.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::{Cluster, Part};
use crate::comings::Coming;
use crate::copy::copy_tree;

impl Cluster {
    /// Ends a part at once, as a crash would. What it kept on disk stays.
    ///
    /// # Errors
    /// When the cluster is not ours.
    pub fn kill(&self, part: Part) -> Result<()> {
        let own = self.own(part)?;
        if part == Part::ApiServer {
            own.comings.ended();
        }
        self.roster.end(part.program(), Duration::ZERO)
    }

    /// When an API server that [`Cluster::kill`] had ended was coming up.
    #[must_use]
    pub fn comings(&self) -> Vec<Coming> {
        self.own
            .as_ref()
            .map_or_else(Vec::new, |own| own.comings.all())
    }

    /// Stops a part's clock (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// When the cluster is not ours or the part does not run.
    pub fn pause(&self, part: Part) -> Result<()> {
        self.own(part)?;
        self.roster.signal(part.program(), Signal::SIGSTOP)
    }

    /// Lets a paused part go on (SIGCONT).
    ///
    /// # Errors
    /// When the cluster is not ours or the part does not run.
    pub fn resume(&self, part: Part) -> Result<()> {
        self.own(part)?;
        self.roster.signal(part.program(), Signal::SIGCONT)
    }

    /// Kills a part if it runs, starts it again on the same port with the same data and waits
    /// until it is ready.
    ///
    /// # Errors
    /// When the cluster is not ours, or the part does not become ready.
    pub async fn restart(&self, part: Part) -> Result<()> {
        self.kill(part)?;
        self.ensure(part).await
    }

    /// Copies what etcd keeps under a name, as a backup does, and lets etcd go on. The API
    /// server is left running, and without etcd for a moment.
    ///
    /// # Errors
    /// When the cluster is not ours, the files cannot be copied, or etcd does not come back.
    pub async fn snapshot(&self, name: &str) -> Result<()> {
        let own = self.own(Part::Etcd)?;
        let (data, copy) = (own.layout.etcd_data(), self.snapshot_dir(name));
        self.kill(Part::Etcd)?;
        copy_tree(&data, &copy)?;
        self.ensure(Part::Etcd).await?;
        self.ensure(Part::ApiServer).await
    }

    /// Puts back what etcd kept when [`Cluster::snapshot`] was called: the whole control plane
    /// is stopped, as every guide to restoring one says, and comes up with the old data.
    ///
    /// # Errors
    /// As [`Cluster::snapshot`], and when there is no such snapshot.
    pub async fn restore(&self, name: &str) -> Result<()> {
        let own = self.own(Part::Etcd)?;
        let (data, copy) = (own.layout.etcd_data(), self.snapshot_dir(name));
        if !copy.is_dir() {
            bail!("there is no snapshot {name}");
        }
        for part in Part::ALL.into_iter().rev() {
            self.kill(part)?;
        }
        fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
        copy_tree(&copy, &data)?;
        for part in Part::ALL {
            self.ensure(part).await?;
        }
        Ok(())
    }

    fn snapshot_dir(&self, name: &str) -> PathBuf {
        self.roster.dir().join("snapshots").join(name)
    }
}
