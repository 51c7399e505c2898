//! Turns a verb into what it does: one file per verb.

pub mod apply;
pub mod completion;
pub mod create;
pub mod delete;
pub mod describe;
pub mod diff;
pub mod draft;
pub mod edit;
pub mod events;
pub mod export;
pub mod get;
pub mod get_watch;
pub mod help;
pub mod images;
pub mod instance;
pub mod man;
pub mod network;
pub mod noun;
mod on;
pub mod plan;
pub mod prune;
pub mod rebuild;
pub mod remote;
pub mod status;
pub mod support_bundle;
pub mod tenant;
pub mod test_vyos;
pub mod top;
pub mod tree;
pub mod version;
pub mod volume;
pub mod wait;

use self::noun::{Common, General, Providers};
use crate::cli::{Cli, Globals, Verb};
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::out::Out;
use crate::session::{Scope, Session};
use crate::start;

/// Carries out what a command line says.
///
/// # Errors
/// What made it fail. A verb that works on many objects reports each failure itself and returns
/// how it ended.
pub async fn run(cli: Cli, out: &mut Out) -> Result<Exit, Failure> {
    let globals = cli.globals;
    let (asked, timeout) = (globals.asked(), globals.timeout);
    if is_long(&cli.verb) {
        out.page();
    }
    match cli.verb {
        Verb::Apply(mut args) => {
            if args.files.is_empty() {
                let folder = start::config::layers(out.env())?;
                args.files.files = folder.files();
                if args.pruning.set.is_none() {
                    args.pruning.set = folder.set()?;
                }
            }
            let session = connect_for(Timeout::of(args.wait), &globals, out).await?;
            apply::run(&args, asked, timeout, &session, out).await
        }
        Verb::Plan(args) => {
            let session = connect_for(Timeout::State, &globals, out).await?;
            plan::run(&args, asked, timeout, &session, out).await
        }
        Verb::Get(args) => general(General::Get(args), &globals, out).await,
        Verb::Describe(args) => general(General::Describe(args), &globals, out).await,
        Verb::Edit(args) => general(General::Edit(args), &globals, out).await,
        Verb::Delete(args) => general(General::Delete(args), &globals, out).await,
        Verb::Wait(args) => general(General::Wait(args), &globals, out).await,
        Verb::Tenants(verb) => on::tenants(verb, &globals, out).await,
        Verb::Networks(verb) => on::networks(verb, &globals, out).await,
        Verb::Instances(verb) => on::instances(verb, &globals, out).await,
        Verb::Volumes(verb) => on::volumes(verb, &globals, out).await,
        Verb::Images(verb) => images::run(&verb, &connect(&globals, out).await?, out).await,
        Verb::Providers(Providers::Common(verb)) => of_kind(verb, "Provider", &globals, out).await,
        Verb::Providers(Providers::Add(args)) => start::provider::add(&args, &globals, out).await,
        Verb::Regions(verb) => on::regions(verb, &globals, out).await,
        Verb::Diff(args) => diff::run(&args, asked, &connect(&globals, out).await?, out).await,
        Verb::Export(args) => export::run(&args, &connect(&globals, out).await?, out).await,
        Verb::Tree(args) => tree::run(&args, asked, &connect(&globals, out).await?, out).await,
        Verb::Events(args) => events::run(&args, &connect(&globals, out).await?, out).await,
        Verb::Top(args) => top::run(&args, asked, &connect(&globals, out).await?, out).await,
        Verb::Status(args) => status::run(&args, asked, &connect(&globals, out).await?, out).await,
        Verb::SupportBundle(args) => {
            support_bundle::run(&args, &connect(&globals, out).await?, out).await
        }
        Verb::Doctor(args) => start::doctor::run(&args, &globals, out).await,
        Verb::Launch(args) => {
            let session = connect_for(Timeout::of(!args.no_wait), &globals, out).await?;
            start::launch::run(&args, &globals, &session, out).await
        }
        Verb::Init(args) => start::init::run(&args, &globals, out).await,
        Verb::Auth(verb) => start::auth::run(&verb, &connect(&globals, out).await?, out).await,
        Verb::Config(verb) => start::config::run(&verb, &globals, out),
        Verb::TestProxmox(args) => start::test_proxmox::run(&args, &globals, out).await,
        Verb::Ui(args) => {
            // The screen is the dashboard's.
            out.sign().clear();
            crate::ui::shell::run(&args, &globals, out).await
        }
        Verb::TestVyos(args) => test_vyos::run(&args, &globals, out).await,
        Verb::Completion(args) => completion::run(&args, out),
        Verb::Complete(words) => completion::complete(&words, out).await,
        Verb::Man(args) => man::run(&args, out),
        Verb::Version(args) => version::run(&args, &globals, out).await,
        Verb::Help(args) => help::run(&args, out),
    }
}

/// Whether a verb may write more than a screen, all at once.
fn is_long(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::Diff(_)
            | Verb::Export(_)
            | Verb::Tree(_)
            | Verb::Events(_)
            | Verb::Top(_)
            | Verb::Status(_)
            | Verb::Help(_)
    )
}

/// Carries out a verb that every kind has, for one kind.
async fn of_kind(
    verb: Common,
    kind: &str,
    globals: &Globals,
    out: &mut Out,
) -> Result<Exit, Failure> {
    general(verb.general(Kind::called(kind)), globals, out).await
}

/// Carries out a verb that takes any kind.
async fn general(verb: General, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    let (asked, timeout) = (globals.asked(), globals.timeout);
    match verb {
        General::Get(args) => {
            // A pager would hold back what comes until all of it is there.
            if !args.watching.is_on() {
                out.page();
            }
            get::run(&args, globals.limit(), &connect(globals, out).await?, out).await
        }
        General::Describe(args) => {
            out.page();
            describe::run(&args, &connect(globals, out).await?, out).await
        }
        General::Edit(args) => edit::run(&args, &connect(globals, out).await?, out).await,
        General::Wait(args) => {
            let session = connect_for(Timeout::State, globals, out).await?;
            wait::run(&args, asked, timeout, &session, out).await
        }
        General::Delete(args) => {
            let session = connect_for(Timeout::of(args.flags.wait), globals, out).await?;
            delete::run(&args, asked, timeout, &session, out).await
        }
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

impl Timeout {
    /// What it is about where a flag says whether a state is waited for.
    fn of(waits: bool) -> Self {
        match waits {
            true => Self::State,
            false => Self::Answer,
        }
    }
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
    out.sign().about(session.server());
    Ok(session)
}

/// Where to look for objects: in the session's namespace, or everywhere.
fn scope(everywhere: bool, session: &Session) -> Scope {
    match everywhere {
        true => Scope::Everywhere,
        false => Scope::Namespace(session.namespace().to_owned()),
    }
}
