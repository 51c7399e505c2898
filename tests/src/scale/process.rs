//! Turns the controller's binary into a child process whose memory and CPU time are read from
//! the kernel.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bb_lab_harness::{Cluster, Record, Roster, controller_from, lab, paths};

/// What it is called in the roster of the cluster's folder.
const NAME: &str = "bb-controller";
/// How long it may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(30);
/// The kernel counts CPU time in hundredths of a second on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// A controller in a process of its own.
#[derive(Debug)]
pub struct Process {
    roster: Arc<Roster>,
    record: Record,
    /// How long the log was before: processes of one name share it.
    log_began: usize,
}

/// Memory of a process in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// What is resident now.
    pub now: f64,
    /// The most since the start, or since [`Process::forget_peak`].
    pub peak: f64,
}

impl Process {
    /// Starts the binary that `BB_CONTROLLER` names, or that beside the running one, with the
    /// controller's own rights.
    ///
    /// # Errors
    /// When it is not built, or ends at once.
    pub async fn start(cluster: &Cluster, flags: &[&str]) -> Result<Self> {
        let kubeconfig = cluster.kubeconfig_for(lab::CONTROLLER_USER)?;
        Self::start_with(cluster, &kubeconfig, flags).await
    }

    /// As [`Process::start`], with another way to the API.
    ///
    /// # Errors
    /// When it is not built, or ends at once.
    pub async fn start_with(cluster: &Cluster, kubeconfig: &Path, flags: &[&str]) -> Result<Self> {
        let roster = cluster.roster();
        let log = cluster.dir().join("log").join(format!("{NAME}.log"));
        let log_began = std::fs::read(log).map_or(0, |text| text.len());
        let program = match std::env::var_os("BB_CONTROLLER") {
            Some(program) => program.into(),
            None => paths::binary(NAME)?,
        };
        let env = BTreeMap::new();
        let record = controller_from(&roster, NAME, &program, kubeconfig, flags, env).await?;
        Ok(Self {
            roster,
            record,
            log_began,
        })
    }

    /// Resident memory.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn memory(&self) -> Result<Memory> {
        memory(&self.read("status")?)
    }

    /// Has the kernel count the most from now on.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.record.pid);
        std::fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
    }

    /// The CPU time that it has used, in seconds, all threads, own and the kernel's.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu(&self) -> Result<f64> {
        cpu(&self.read("stat")?)
    }

    /// What it has logged since it was started.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        let path = &self.record.log;
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let own = text.get(self.log_began..).unwrap_or_default();
        Ok(String::from_utf8_lossy(own).into_owned())
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// When it outlives even SIGKILL.
    pub fn stop(self) -> Result<()> {
        self.roster.end(NAME, GRACE)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.record.pid);
        std::fs::read_to_string(&path).with_context(|| {
            let last = self.roster.tail(NAME);
            format!("cannot read {path}: the controller ended; {last}")
        })
    }
}

/// Reads `VmRSS` and `VmHWM` of a `/proc/PID/status`.
fn memory(status: &str) -> Result<Memory> {
    let mebibytes = |key: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("the kernel tells no {key}"))? / 1024.0)
    };
    Ok(Memory {
        now: mebibytes("VmRSS:")?,
        peak: mebibytes("VmHWM:")?,
    })
}

/// Reads user and system time of a `/proc/PID/stat`. The name before them may have blanks.
fn cpu(stat: &str) -> Result<f64> {
    let (_, fields) = stat.rsplit_once(')').context("the kernel tells no name")?;
    // Fields 14 and 15 of proc(5); the state, the first after the name, is field 3.
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok());
    let sum = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    Ok(sum.context("the kernel tells no CPU time")? / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_read_as_the_kernel_writes_them() {
        let status = "Name:\tbb (x)\nVmHWM:\t  204800 kB\nVmRSS:\t   51200 kB\n";
        let read = memory(status).unwrap();
        assert_eq!((read.now, read.peak), (50.0, 200.0));
        let stat = "42 (bb (x) y) S 1 42 42 0 -1 4194304 9 0 0 0 250 50 7 7 20 0 1 0 100";
        assert_eq!(cpu(stat).unwrap(), 3.0);
        assert!(cpu("42 (bb").is_err() && memory("").is_err());
    }
}
