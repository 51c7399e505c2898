//! Turns `up`, `down` and `status` into a lab on this machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bb_lab_harness::lab::{self, Up, WithController};
use bb_lab_harness::{Life, Progress, forward, journal};
use clap::{Parser, Subcommand};

/// A management cluster, two routers, two hypervisor clusters and the controller, on one machine.
#[derive(Parser)]
#[command(name = "bb-lab", version)]
struct Cli {
    /// The folder that holds the lab.
    #[arg(long, global = true, default_value = ".lab")]
    dir: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Starts what is missing and returns when everything serves.
    Up {
        /// How long things take, as a share of what real routers and clusters take.
        #[arg(long, default_value_t = 0.1)]
        time_scale: f64,
        /// Leaves the controller to you: run bb-controller yourself.
        #[arg(long)]
        without_controller: bool,
        /// Adds a node that runs pods, and leaves installing the controller to helm. Needs root;
        /// where that is missing, the controller runs as a process all the same.
        #[arg(long)]
        node: bool,
    },
    /// Gives the lab's node the images in an archive.
    Import {
        /// The archive: an OCI image layout, or what docker saves.
        archive: PathBuf,
    },
    /// Carries connections into and out of the lab's node; the lab runs it.
    #[command(hide = true)]
    Forward {
        #[arg(long)]
        pid: i32,
        #[arg(long)]
        address: std::net::Ipv4Addr,
        #[arg(long)]
        into: PathBuf,
        #[arg(long)]
        out: Vec<u16>,
    },
    /// Ends every process of the lab and removes its folder.
    Down,
    /// Counts what was sent to routers and clusters, and shows what was to change something.
    Journal {
        /// How many of the last lines are shown of what was to change something.
        #[arg(long, default_value_t = 0)]
        last: usize,
        /// Only this router or cluster.
        #[arg(long)]
        target: Option<String>,
    },
    /// Lists the processes of the lab; fails unless all of them run.
    Status,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            // When even this cannot be written, the exit code still tells.
            let _ = writeln!(std::io::stderr().lock(), "bb-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let progress = Progress::spoken();
    match cli.verb {
        Verb::Up {
            time_scale,
            without_controller,
            node,
        } => {
            let controller = match (without_controller, node) {
                (true, _) => WithController::No,
                (false, true) => WithController::InPods,
                (false, false) => WithController::Yes,
            };
            lab::up(&Up {
                dir: cli.dir,
                time_scale,
                controller,
                life: Life::Detached,
                progress,
            })
            .await?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Import { archive } => {
            lab::import(&cli.dir, &archive)?;
            progress.say(&format!("the node has the images of {}", archive.display()));
            Ok(ExitCode::SUCCESS)
        }
        Verb::Forward {
            pid,
            address,
            into,
            out,
        } => {
            forward::serve(&forward::Ways {
                pid,
                address,
                out,
                into,
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Down => {
            lab::down(&cli.dir, progress)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Journal { last, target } => {
            show_journal(&cli.dir, last, target.as_deref())?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Status => status(&cli.dir),
    }
}

fn status(dir: &Path) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let mut code = ExitCode::SUCCESS;
    writeln!(out, "{:<24} {:<8} {:>8}  LOG", "NAME", "STATE", "PID").context("cannot write")?;
    for (name, record) in lab::status(dir)? {
        let state = if record.is_alive() {
            "running"
        } else {
            "ended"
        };
        if !record.is_alive() {
            code = ExitCode::FAILURE;
        }
        let log = record.log.display();
        writeln!(out, "{name:<24} {state:<8} {:>8}  {log}", record.pid).context("cannot write")?;
    }
    Ok(code)
}

fn show_journal(dir: &Path, last: usize, target: Option<&str>) -> Result<()> {
    let mut entries = journal::read(&dir.join("journal"))?;
    entries.retain(|entry| target.is_none_or(|target| entry.target == target));
    let mut out = std::io::stdout().lock();
    let head = ["TARGET", "READS", "WRITES", "COMMITS", "REFUSED"];
    let [target, reads, writes, commits, refused] = head;
    writeln!(
        out,
        "{target:<8} {reads:>8} {writes:>8} {commits:>8} {refused:>8}"
    )?;
    for (target, count) in journal::count(&entries) {
        let journal::Count {
            reads,
            writes,
            commits,
            refused,
        } = count;
        writeln!(
            out,
            "{target:<8} {reads:>8} {writes:>8} {commits:>8} {refused:>8}"
        )?;
    }
    let lines = journal::writes(&entries);
    for line in &lines[lines.len().saturating_sub(last)..] {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
