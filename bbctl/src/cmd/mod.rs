//! Turns a verb into what it does: one file per verb.

pub mod apply;
pub mod completion;
pub mod delete;
pub mod describe;
pub mod get;
pub mod help;
pub mod status;
pub mod test_vyos;
pub mod version;
pub mod wait;

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
    let (asked, timeout) = (globals.namespace.as_deref(), globals.timeout);
    match cli.verb {
        Verb::Apply(args) => {
            let waits = if args.wait {
                Timeout::State
            } else {
                Timeout::Answer
            };
            let session = connect_for(waits, &globals, out).await?;
            apply::run(&args, asked, timeout, &session, out).await
        }
        Verb::Delete(args) => {
            let waits = if args.wait {
                Timeout::State
            } else {
                Timeout::Answer
            };
            let session = connect_for(waits, &globals, out).await?;
            delete::run(&args, asked, timeout, &session, out).await
        }
        Verb::Wait(args) => {
            let session = connect_for(Timeout::State, &globals, out).await?;
            wait::run(&args, asked, timeout, &session, out).await
        }
        Verb::Get(args) => get::run(&args, &connect(&globals, out).await?, out).await,
        Verb::Describe(args) => describe::run(&args, &connect(&globals, out).await?, out).await,
        Verb::Status(args) => status::run(&args, asked, &connect(&globals, out).await?, out).await,
        Verb::TestVyos(args) => test_vyos::run(&args, &globals, out).await,
        Verb::Completion(args) => completion::run(&args, out),
        Verb::Version(args) => version::run(&args, &globals, out).await,
        Verb::Help(args) => help::run(&args, out),
    }
}

/// What the flag --timeout is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timeout {
    /// Each answer of the server.
    Answer,
    /// The state that is waited for; answers have their usual time.
    State,
}

/// Opens the connection that the flags mean.
async fn connect(globals: &Globals, out: &mut Out) -> Result<Session, Failure> {
    connect_for(Timeout::Answer, globals, out).await
}

async fn connect_for(
    timeout: Timeout,
    globals: &Globals,
    out: &mut Out,
) -> Result<Session, Failure> {
    let mut connection = globals.connection();
    if timeout == Timeout::State {
        connection.patience = None;
    }
    let session = Session::open(&connection, out.env()).await?;
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
