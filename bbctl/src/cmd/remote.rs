//! Turns `ssh`, `exec` and `console` into the way to an instance: a run of OpenSSH, or an address.

use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use serde_json::json;

use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::next::quoted;
use crate::object::{self, Object, list, text};
use crate::out::Out;
use crate::remote::guest::{self, Guest, Terminal, Way};
use crate::remote::place::parse as host_and_port;
use crate::session::Session;
use crate::start::place;

/// What `ssh` ends with when it failed itself.
const NO_WAY: i32 = 255;

/// How to get there.
#[derive(Clone, Debug, clap::Args)]
pub struct Road {
    /// Who logs in [default: the image's usual user; root in a container]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A file with the private key [default: as ssh chooses]
    #[arg(short = 'i', long, value_name = "FILE")]
    pub identity: Option<String>,
    /// Go through this machine, which is in a network of the tenant
    #[arg(long, value_name = "[USER@]HOST[:PORT]")]
    pub via: Option<String>,
    /// Where to connect to in place of the instance's address, such as the end of a tunnel
    #[arg(long, value_name = "HOST[:PORT]")]
    pub address: Option<String>,
    /// The file that ssh reads in place of ~/.ssh/config [env: BBCTL_SSH_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<String>,
    /// Show the command, and run nothing
    #[arg(long)]
    pub print: bool,
}

/// What `ssh` takes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl instances ssh www-1
  bbctl instances ssh www-1 --user admin --via me@jump.example
  bbctl instances ssh www-1 -- sudo journalctl -f
  bbctl instances ssh www-1 --print

It runs OpenSSH's ssh. The host key is remembered at the first login, for this very machine: one
with another key is refused, also where it has the same address.")]
pub struct SshArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How to get there
    #[command(flatten)]
    pub road: Road,
    /// What to run there; one word is a line for the shell
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<String>,
}

/// What `exec` takes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl instances exec www-1 -- uname -r
  bbctl instances exec www-1 -- 'df -h | sort'

It ends as the command does. 255 says that ssh itself failed.")]
pub struct ExecArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How to get there
    #[command(flatten)]
    pub road: Road,
    /// What to run there; one word is a line for the shell
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub command: Vec<String>,
}

/// What `console` takes.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl instances console www-1

The console is in the web interface of the cluster, which asks for a login of its own.")]
pub struct ConsoleArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// What is to be done on an instance.
struct Errand<'a> {
    name: &'a str,
    road: &'a Road,
    command: &'a [String],
    terminal: Terminal,
}

/// Logs in to an instance.
///
/// # Errors
/// When it cannot be tried; how the login itself ends is the exit code.
pub async fn ssh(args: &SshArgs, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let there = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let terminal = match there && !args.command.is_empty() {
        true => Terminal::With,
        false => Terminal::Usual,
    };
    let errand = Errand {
        name: &args.name,
        road: &args.road,
        command: &args.command,
        terminal,
    };
    go(&errand, session, out).await
}

/// Runs a command on an instance.
///
/// # Errors
/// As [`ssh`].
pub async fn exec(args: &ExecArgs, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let errand = Errand {
        name: &args.name,
        road: &args.road,
        command: &args.command,
        terminal: Terminal::Without,
    };
    go(&errand, session, out).await
}

async fn go(errand: &Errand<'_>, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let instance = session.get(Kind::called("Instance"), errand.name).await?;
    let guest = guest::guest(&instance)?;
    let folder = place::folder(out.env())?;
    let way = way(&instance, errand, &folder, out)?;
    let words = guest::words(&guest, &way);
    if errand.road.print {
        let whole: Vec<String> = ["ssh".to_owned()].into_iter().chain(words).collect();
        if out.is_machine() {
            out.document(&json!({"command": whole}))?;
        } else {
            out.line(&quoted(&whole))?;
        }
        return Ok(Exit::Ok);
    }
    for note in &guest.notes {
        out.warn(note);
    }
    // Whoever writes there keeps to a file of the owner alone.
    drop(place::hold(&folder)?);
    let status = run(&words).await?;
    Ok(ended(status, &guest, &way, out))
}

fn way(
    instance: &Object,
    errand: &Errand<'_>,
    folder: &std::path::Path,
    out: &mut Out,
) -> Result<Way, Failure> {
    let road = errand.road;
    let user = match (&road.user, guest::user(instance)) {
        (Some(user), _) => user.clone(),
        (None, Some(user)) => user.to_owned(),
        (None, None) => {
            let image = text(instance, "/spec/image");
            return Err(Failure::usage(format!(
                "the name of image {image} does not tell which user it lets in"
            ))
            .hint("name one with --user"));
        }
    };
    let address = road
        .address
        .as_deref()
        .map(|said| host_and_port(said, "--address"));
    let address = address.transpose()?;
    let (address, port) = match address {
        Some((host, port)) => (Some(host), port),
        None => (None, None),
    };
    let config = out.env().get("BBCTL_SSH_CONFIG");
    let config = config.filter(|file| !file.is_empty()).cloned();
    Ok(Way {
        user,
        address,
        port,
        via: road.via.clone(),
        identity: road.identity.clone(),
        config: road.ssh_config.clone().or(config),
        known_hosts: folder.join("known_hosts").display().to_string(),
        command: errand.command.to_vec(),
        terminal: errand.terminal,
    })
}

async fn run(words: &[String]) -> Result<ExitStatus, Failure> {
    let mut command = tokio::process::Command::new("ssh");
    // It hears of Ctrl-C by itself, and gives the terminal back: it is not killed for it.
    command.args(words).stdin(Stdio::inherit());
    command.status().await.map_err(|error| {
        let failure = Failure::new(Exit::Failure, format!("cannot run ssh: {error}"));
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.hint(
                "install OpenSSH's client (package openssh-client, openssh-clients or openssh), \
                 or see with --print what would be run",
            ),
            _ => failure,
        }
    })
}

fn ended(status: ExitStatus, guest: &Guest, way: &Way, out: &mut Out) -> Exit {
    match (status.code(), status.signal()) {
        (Some(0), _) => Exit::Ok,
        (Some(code), _) => {
            if code == NO_WAY {
                out.note(&guest::no_way(guest, way));
            }
            Exit::Command(u8::try_from(code).unwrap_or(1))
        }
        // As a shell tells of a program that a signal ended.
        (None, signal) => {
            let code = signal.map_or(1, |signal| signal.saturating_add(128));
            Exit::Command(u8::try_from(code).unwrap_or(1))
        }
    }
}

/// Shows where the console of an instance is.
///
/// # Errors
/// When it has no guest yet.
pub async fn console(
    args: &ConsoleArgs,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let name = &args.name;
    let instance = session.get(Kind::called("Instance"), name).await?;
    let (node, cluster) = (
        text(&instance, "/status/node"),
        text(&instance, "/status/cluster"),
    );
    let (Some(vmid), false) = (guest::vmid(&instance), node.is_empty()) else {
        let words = format!("instance/{name} is on no node yet, and has no console");
        let place = guest::place(&instance);
        return Err(
            Failure::new(Exit::Failure, words).hint(format!("`bbctl wait instance/{name}{place}`"))
        );
    };
    let provider = session.get(Kind::called("Provider"), &cluster).await;
    let endpoint = match provider {
        Ok(provider) => list(&provider, "/spec/proxmox/endpoints")
            .first()
            .map(object::word),
        Err(failure) if matches!(failure.exit, Exit::Denied | Exit::NotFound) => None,
        Err(failure) => return Err(failure),
    };
    let url = endpoint.and_then(|endpoint| guest::console(&instance, &endpoint));
    if out.is_machine() {
        out.document(&json!({"url": url, "cluster": cluster, "node": node, "vmid": vmid}))?;
        return Ok(Exit::Ok);
    }
    match url {
        Some(url) => {
            out.line(&url)?;
            out.note("open it in a browser; the web interface asks for a login of its own");
        }
        None => {
            out.line(&format!("guest {vmid} on node {node} of cluster {cluster}"))?;
            out.note(&format!(
                "you may not read Provider {cluster}: ask an operator for the address of its web \
                 interface, and for a user there with VM.Console on /vms/{vmid}"
            ));
        }
    }
    Ok(Exit::Ok)
}
