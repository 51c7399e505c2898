//! Turns a program and its arguments into a process that ends with us, or outlives us and is found again.
//!
//! Two safeguards against leftovers. A process with [`Life::Tied`] is started by `setpriv
//! --pdeathsig KILL`, so the kernel ends it when we die, whatever the reason. And every process
//! carries [`MARK`] in its environment, so that even one that was never written down is found.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// The environment variable with the folder that a process belongs to.
pub(crate) const MARK: &str = "BB_LAB_DIR";

/// Says what becomes of a process when the one that started it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is killed: right for tests.
    Tied,
    /// It goes on, in a session of its own: right for a demo.
    Detached,
}

/// A program to run, its arguments, and the file for what it prints.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments, without the program's name.
    pub args: Vec<String>,
    /// Variables added to our own environment.
    pub env: BTreeMap<String, String>,
    /// Takes standard output and error, appended.
    pub log: PathBuf,
}

/// Starts the program as a child that belongs to `dir` and returns its pid.
pub(crate) fn spawn(spec: &Spec, life: Life, dir: &Path) -> Result<i32> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&spec.log)
        .with_context(|| format!("cannot open the log {}", spec.log.display()))?;
    let again = log.try_clone().context("cannot share a log file")?;
    let mut command = wrapped(&spec.program, life);
    command
        .args(&spec.args)
        .envs(&spec.env)
        .env(MARK, dir)
        // An error's words are what a log is read for; a panic still shows where it was.
        .env("RUST_LIB_BACKTRACE", "0")
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(again);
    let pid = match life {
        Life::Tied => {
            // A Ctrl-C at the terminal is for us; the child ends by our hand or with us.
            command.process_group(0);
            spawn_from_lasting_thread(command)
        }
        Life::Detached => command.spawn().map(|child| child.id()),
    };
    let pid = pid.with_context(|| format!("cannot start {}", spec.program.display()))?;
    i32::try_from(pid).context("a pid is beyond what the kernel gives")
}

/// Puts before the program what ties it to us or frees it from the terminal; both replace
/// themselves by the program, so that the pid is the program's.
fn wrapped(program: &Path, life: Life) -> Command {
    let (wrapper, flags): (_, &[&str]) = match life {
        Life::Tied => ("setpriv", &["--pdeathsig", "KILL", "--"]),
        Life::Detached => ("setsid", &["--"]),
    };
    match on_path(wrapper) {
        Some(path) => {
            let mut command = Command::new(path);
            command.args(flags).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

type Job = (Command, Sender<std::io::Result<u32>>);

/// Spawns from one thread that lives as long as this process: the kernel takes the death of the
/// thread that spawned for the death of the parent, and a test's thread ends with its test.
fn spawn_from_lasting_thread(command: Command) -> std::io::Result<u32> {
    static JOBS: OnceLock<Sender<Job>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (sender, receiver) = channel::<Job>();
        std::thread::spawn(move || {
            while let Ok((mut command, answer)) = receiver.recv() {
                let _ = answer.send(command.spawn().map(|child| child.id()));
            }
        });
        sender
    });
    let (answer, outcome) = channel();
    let gone = || std::io::Error::other("the thread that starts processes has ended");
    jobs.send((command, answer)).map_err(|_| gone())?;
    outcome.recv().map_err(|_| gone())?
}

/// Returns the start time of a running process, in clock ticks since boot; none when it has
/// ended. A child of ours that has ended is reaped on the way.
pub(crate) fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name and may hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    if matches!(*fields.first()?, "Z" | "X") {
        // Fails where it is another's child, and that one reaps it.
        let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot send {signal} to process {pid}")),
    }
}

/// Finds every running process that carries the folder's mark, ourselves excepted.
pub(crate) fn marked(dir: &Path) -> Vec<i32> {
    let mut wanted = format!("{MARK}=").into_bytes();
    wanted.extend_from_slice(dir.as_os_str().as_bytes());
    let own = std::process::id().cast_signed();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            // Other people's processes cannot be read, and are not ours.
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|line| line == wanted))
        })
        .filter(|pid| started(*pid).is_some())
        .collect()
}
