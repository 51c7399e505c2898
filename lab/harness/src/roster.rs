//! Turns a folder into the list of processes that belong to it: started, found again, ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::process::{self, Life, Spec};

const FILE: &str = "roster.json";
/// How long the kernel may take to end a process after SIGKILL.
const AFTER_KILL: Duration = Duration::from_secs(10);
/// How many looks in a row must find no process of a folder, and how far they are apart.
const QUIET_LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(15);

/// One process, as written to the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its process id.
    pub pid: i32,
    /// When it was started, in clock ticks since boot: tells it from a later one of that pid.
    pub started: u64,
    /// The executable.
    pub program: PathBuf,
    /// What the executable was when it started: its size and the time it was written.
    pub stamp: (u64, u64),
    /// Its arguments.
    pub args: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Record {
    /// Tells whether this very process runs.
    pub fn is_alive(&self) -> bool {
        process::started(self.pid) == Some(self.started)
    }
}

/// The processes that belong to one folder.
#[derive(Debug)]
pub struct Roster {
    dir: PathBuf,
    life: Life,
    records: Mutex<BTreeMap<String, Record>>,
}

impl Roster {
    /// Opens the roster of a folder, which is made where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made or its roster cannot be read.
    pub fn open(dir: &Path, life: Life) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot find {}", dir.display()))?;
        let file = dir.join(FILE);
        let records = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("cannot understand {}", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        Ok(Self {
            dir,
            life,
            records: Mutex::new(records),
        })
    }

    /// The folder, as an absolute path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything that was started and not ended, by name, whether it still runs or not.
    pub fn records(&self) -> BTreeMap<String, Record> {
        self.lock().clone()
    }

    /// Returns the process of that name if it runs.
    pub fn running(&self, name: &str) -> Option<Record> {
        self.lock()
            .get(name)
            .filter(|record| record.is_alive())
            .cloned()
    }

    /// Tells whether the process of that name runs, and from the program as it is now on disk.
    pub fn is_current(&self, name: &str, program: &Path) -> bool {
        self.running(name)
            .is_some_and(|record| record.program == program && record.stamp == stamp(program))
    }

    /// Starts a process and writes it down.
    ///
    /// # Errors
    /// When one of that name runs already, or the program cannot be started.
    pub fn start(&self, name: &str, spec: &Spec) -> Result<Record> {
        if let Some(record) = self.running(name) {
            bail!("{name} runs already, as process {}", record.pid);
        }
        let stamp = stamp(&spec.program);
        let pid = process::spawn(spec, self.life, &self.dir)?;
        let Some(started) = process::started(pid) else {
            bail!("{name} ended at once:\n{}", tail(&spec.log));
        };
        let record = Record {
            pid,
            started,
            program: spec.program.clone(),
            stamp,
            args: spec.args.clone(),
            log: spec.log.clone(),
        };
        self.change(|records| {
            records.insert(name.to_owned(), record.clone());
        })?;
        Ok(record)
    }

    /// Sends a signal to the process of that name.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let record = self
            .running(name)
            .with_context(|| format!("{name} does not run"))?;
        process::signal(record.pid, signal)
    }

    /// Ends the process of that name: asks, waits for `grace`, then kills. Returns when it has
    /// ended. One that does not run is no error.
    ///
    /// # Errors
    /// When the process outlives even SIGKILL.
    pub fn end(&self, name: &str, grace: Duration) -> Result<()> {
        if let Some(record) = self.running(name) {
            if !grace.is_zero() {
                process::signal(record.pid, Signal::SIGTERM)?;
                wait_for_end(&record, grace);
            }
            if record.is_alive() {
                process::signal(record.pid, Signal::SIGKILL)?;
                if !wait_for_end(&record, AFTER_KILL) {
                    bail!("{name} (process {}) does not end", record.pid);
                }
            }
        }
        self.change(|records| {
            records.remove(name);
        })
    }

    /// Kills every process that carries the folder's mark, written down or not, and returns how
    /// many there were.
    ///
    /// # Errors
    /// When one of them does not end.
    pub fn end_strays(&self) -> Result<usize> {
        let ended = end_marked(&self.dir)?;
        self.change(BTreeMap::clear)?;
        Ok(ended)
    }

    /// Returns the last lines of what a process printed, for an error message.
    pub fn tail(&self, name: &str) -> String {
        self.lock()
            .get(name)
            .map(|record| tail(&record.log))
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Record>)) -> Result<()> {
        let mut records = self.lock();
        change(&mut records);
        // A folder that was deleted by hand needs no list of what it no longer holds.
        if !self.dir.is_dir() {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&*records).context("cannot render the roster")?;
        write_whole(&self.dir.join(FILE), &text)
    }
}

/// Tells whether a folder is one of ours, so that it may be removed.
pub(crate) fn is_ours(dir: &Path) -> bool {
    dir.join(FILE).is_file()
}

/// Kills every process that carries the mark of `dir` and returns how many there were.
pub(crate) fn end_marked(dir: &Path) -> Result<usize> {
    let mut ended = 0;
    let mut quiet = 0;
    for _ in 0..20 {
        let found = process::marked(dir);
        // Between fork and exec a process shows no mark yet: one look that finds nothing does
        // not prove that there is nothing.
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET_LOOKS {
            cgroup::remove(dir)?;
            return Ok(ended);
        }
        ended += found.len();
        kill_all(&found).with_context(|| format!("cannot end all of {}", dir.display()))?;
        if found.is_empty() {
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }
    bail!(
        "processes of {} keep coming back: is another lab starting there?",
        dir.display()
    )
}

fn kill_all(pids: &[i32]) -> Result<()> {
    let alive: Vec<(i32, u64)> = pids
        .iter()
        .filter_map(|pid| Some((*pid, process::started(*pid)?)))
        .collect();
    for (pid, _) in &alive {
        process::signal(*pid, Signal::SIGKILL)?;
    }
    for (pid, started) in alive {
        if !wait_until(|| process::started(pid) != Some(started), AFTER_KILL) {
            bail!("process {pid} does not end");
        }
    }
    Ok(())
}

/// Writes a file so that a reader sees the old or the new text, never a part.
pub(crate) fn write_whole(path: &Path, text: &[u8]) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    fs::write(&name, text)
        .and_then(|()| fs::rename(&name, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn wait_for_end(record: &Record, bound: Duration) -> bool {
    wait_until(|| !record.is_alive(), bound)
}

/// Looks until `reached` holds or the bound is over; blocks, since it also runs while dropping.
fn wait_until(reached: impl Fn() -> bool, bound: Duration) -> bool {
    let until = Instant::now() + bound;
    while !reached() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn stamp(program: &Path) -> (u64, u64) {
    let Ok(meta) = fs::metadata(program) else {
        return (0, 0);
    };
    let written = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanos = written.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0));
    (meta.len(), nanos)
}

/// Returns the last lines of a file.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(15);
    format!(
        "last lines of {}:\n{}",
        log.display(),
        lines[from..].join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(dir: &Path) -> Spec {
        Spec {
            program: PathBuf::from("/bin/sleep"),
            args: vec!["600".to_owned()],
            env: BTreeMap::new(),
            log: dir.join("sleep.log"),
        }
    }

    #[test]
    fn a_process_is_found_again_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        let roster = Roster::open(dir.path(), Life::Tied).unwrap();
        let record = roster.start("one", &sleeper(dir.path())).unwrap();
        let again = Roster::open(dir.path(), Life::Tied).unwrap();
        assert_eq!(again.running("one"), Some(record.clone()));
        again.end("one", Duration::ZERO).unwrap();
        assert!(!record.is_alive());
        assert_eq!(again.records(), BTreeMap::new());
    }

    #[test]
    fn a_process_that_was_never_written_down_is_ended_by_its_mark() {
        let dir = tempfile::tempdir().unwrap();
        let roster = Roster::open(dir.path(), Life::Detached).unwrap();
        let record = roster.start("one", &sleeper(dir.path())).unwrap();
        fs::remove_file(dir.path().join(FILE)).unwrap();
        let forgetful = Roster::open(dir.path(), Life::Detached).unwrap();
        assert_eq!(forgetful.end_strays().unwrap(), 1);
        assert!(!record.is_alive());
    }

    #[test]
    fn another_process_with_the_pid_of_a_record_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let roster = Roster::open(dir.path(), Life::Tied).unwrap();
        let record = roster.start("one", &sleeper(dir.path())).unwrap();
        roster
            .change(|records| {
                records
                    .entry("one".to_owned())
                    .and_modify(|record| record.started += 1);
            })
            .unwrap();
        roster.end("one", Duration::from_secs(1)).unwrap();
        assert!(record.is_alive());
        assert_eq!(roster.end_strays().unwrap(), 1);
    }

    #[test]
    fn a_second_process_of_the_same_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let roster = Roster::open(dir.path(), Life::Tied).unwrap();
        roster.start("one", &sleeper(dir.path())).unwrap();
        let error = roster.start("one", &sleeper(dir.path())).unwrap_err();
        assert!(error.to_string().contains("runs already"), "{error}");
        roster.end_strays().unwrap();
    }
}
