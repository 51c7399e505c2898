//! Turns the name of a command into its help.

use crate::cli;
use crate::error::{Exit, Failure};
use crate::out::Out;
use crate::style::Colour;
use crate::usage;

const EXAMPLES: &str = "\
Examples:
  bbctl help
  bbctl help get";

/// What `bbctl help` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The command to explain [default: all of them in short]
    #[arg(value_name = "COMMAND")]
    pub words: Vec<String>,
}

/// Writes what `COMMAND --help` writes.
///
/// # Errors
/// When there is no such command, or stdout is closed.
pub fn run(args: &Args, out: &mut Out) -> Result<Exit, Failure> {
    let tree = cli::command(out.width(), None);
    let mut command = &tree;
    for word in &args.words {
        // What follows a verb without verbs of its own is not a command either.
        command = match command.find_subcommand(word) {
            Some(below) => below,
            None => {
                return Err(Failure::usage(format!(
                    "there is no command `{}`",
                    args.words.join(" ")
                ))
                .hint("see `bbctl help`"));
            }
        };
    }
    let argv = ["bbctl"]
        .into_iter()
        .chain(args.words.iter().map(String::as_str))
        .chain(["--help"]);
    let argv: Vec<_> = argv.map(Into::into).collect();
    let Err(shown) = cli::parse(&argv, out.width()) else {
        return Err(Failure::usage("this cannot be explained").hint("see `bbctl help`"));
    };
    if shown.kind() != clap::error::ErrorKind::DisplayHelp {
        return Err(usage::misuse(&argv, &shown));
    }
    let text = match out.colour() {
        Colour::On => shown.render().ansi().to_string(),
        Colour::Off => shown.render().to_string(),
    };
    out.raw(text.as_bytes())?;
    Ok(Exit::Ok)
}
