//! Turns the tree of commands into files: man pages, or pages of Markdown.

use std::path::PathBuf;

use crate::error::{Exit, Failure};
use crate::out::Out;
use crate::reference;

const EXAMPLES: &str = "\
Examples:
  bbctl man man/man1
  bbctl man --markdown docs/cli";

/// What `bbctl man` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The folder to write to; it is made where it is not there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Write Markdown in place of man pages
    #[arg(long)]
    pub markdown: bool,
}

/// Writes a file for each command; no server is asked.
///
/// # Errors
/// When a file cannot be written.
pub fn run(args: &Args, out: &mut Out) -> Result<Exit, Failure> {
    let failed = |error: &std::io::Error| {
        let place = args.dir.display();
        Failure::new(Exit::Failure, format!("cannot write to {place}: {error}"))
    };
    let pages = match args.markdown {
        true => reference::markdown(),
        false => reference::man().map_err(|error| failed(&error))?,
    };
    std::fs::create_dir_all(&args.dir).map_err(|error| failed(&error))?;
    for (name, text) in &pages {
        std::fs::write(args.dir.join(name), text).map_err(|error| failed(&error))?;
    }
    out.note(&format!("{} pages in {}", pages.len(), args.dir.display()));
    Ok(Exit::Ok)
}
