//! Turns the tree of commands into a script that completes them in a shell.

use clap_complete::Shell;

use crate::cli;
use crate::error::{Exit, Failure};
use crate::out::Out;

const EXAMPLES: &str = "\
Examples:
  source <(bbctl completion bash)
  bbctl completion zsh > ~/.zfunc/_bbctl
  bbctl completion fish > ~/.config/fish/completions/bbctl.fish";

/// What `bbctl completion` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// bash, zsh, fish or powershell
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub shell: Shell,
}

/// Writes the script; no server is asked.
///
/// # Errors
/// When stdout is closed.
pub fn run(args: &Args, out: &mut Out) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut cli::command(80, None),
        "bbctl",
        &mut script,
    );
    out.raw(&script)?;
    Ok(Exit::Ok)
}
