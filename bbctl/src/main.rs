//! Turns this process's arguments, streams and signals into one run of the library.

use std::io::{self, BufReader, BufWriter, IsTerminal, Write};

use bbctl::error::Exit;
use bbctl::out::Io;

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
    tokio::select! {
        biased;
        exit = bbctl::run(argv, streams()) => exit,
        _ = tokio::signal::ctrl_c() => {
            let told = "interrupted: what the server was already asked for goes on there";
            let _ = writeln!(io::stderr(), "\n{told}");
            Exit::Interrupted
        }
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
