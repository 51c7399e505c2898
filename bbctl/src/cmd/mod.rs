//! Turns a verb into what it does: one file per verb.

pub mod get;
pub mod help;
pub mod version;

use crate::cli::{Cli, Globals, Verb};
use crate::error::{Exit, Failure};
use crate::out::Out;
use crate::session::{Scope, Session};

/// Carries out what a command line says.
///
/// # Errors
/// What made it fail. A verb that works on many objects reports each failure itself and returns
/// how it ended.
pub async fn run(cli: Cli, out: &mut Out) -> Result<Exit, Failure> {
    let globals = cli.globals;
    match cli.verb {
        Verb::Get(args) => get::run(&args, &connect(&globals, out).await?, out).await,
        Verb::Version(args) => version::run(&args, &globals, out).await,
        Verb::Help(args) => help::run(&args, out),
    }
}

/// Opens the connection that the flags mean.
async fn connect(globals: &Globals, out: &mut Out) -> Result<Session, Failure> {
    let session = Session::open(&globals.connection(), out.env()).await?;
    out.set_request_id(session.request_id());
    Ok(session)
}

/// Where to look for objects: in the session's namespace, or everywhere.
fn scope(everywhere: bool, session: &Session) -> Scope {
    match everywhere {
        true => Scope::Everywhere,
        false => Scope::Namespace(session.namespace().to_owned()),
    }
}
