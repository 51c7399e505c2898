//! Turns this process's arguments, streams and signals into one run of the library.

use std::io::{self, BufReader, BufWriter, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bbctl::error::Exit;
use bbctl::out::Io;

/// How long after Ctrl-C the run may take to leave the terminal as it was. A second Ctrl-C ends
/// it at once.
const GRACE: Duration = Duration::from_millis(500);

fn main() {
    let argv: Vec<_> = std::env::args_os().collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let exit = match runtime {
        Ok(runtime) => runtime.block_on(until_interrupted(&argv)),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: cannot start: {error}");
            Exit::Failure
        }
    };
    // Not by returning: a thread may still wait for a line from the terminal.
    std::process::exit(exit.code());
}

async fn until_interrupted(argv: &[std::ffi::OsString]) -> Exit {
    std::thread::spawn(end_what_hangs);
    tokio::select! {
        biased;
        exit = bbctl::run(argv, streams()) => exit,
        () = interrupted() => {
            tell();
            Exit::Interrupted
        }
    }
}

/// Waits for a Ctrl-C that is ours.
async fn interrupted() {
    loop {
        // Without a way to hear of it, it ends the process as it always does.
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
        if !bbctl::lent::is_lent() {
            return;
        }
    }
}

/// Ends a run that Ctrl-C does not end, since it hangs in a write that nobody reads, say.
fn end_what_hangs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // Without one the run itself fails to start, and says so.
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        loop {
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            // There it stops a search, say.
            if !bbctl::pager::is_open() && !bbctl::lent::is_lent() {
                break;
            }
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = tokio::time::sleep(GRACE) => {
                // Stderr may hang as well.
                std::thread::spawn(tell);
                tokio::time::sleep(GRACE / 10).await;
            }
        }
        std::process::exit(Exit::Interrupted.code());
    });
}

/// Says once what an interrupted run leaves behind.
fn tell() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        let told = "interrupted: what the server was already asked for goes on there";
        let _ = writeln!(io::stderr(), "\n{told}");
    }
}

fn streams() -> Io {
    let stdout_is_terminal = io::stdout().is_terminal();
    let stderr_is_terminal = io::stderr().is_terminal();
    let env: std::collections::BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let said = env.get("COLUMNS").and_then(|columns| columns.parse().ok());
    let seen = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    Io {
        columns: if stdout_is_terminal {
            seen.or(said)
        } else {
            said
        },
        env,
        stdin: Box::new(BufReader::new(io::stdin())),
        stdout: Box::new(BufWriter::new(io::stdout())),
        stderr: Box::new(io::stderr()),
        interactive: io::stdin().is_terminal() && stderr_is_terminal,
        stdout_is_terminal,
        stderr_is_terminal,
    }
}
