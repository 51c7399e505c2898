//! Turns what the dashboard asks for into requests, processes and files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::process;

use crate::cmd::edit;
use crate::error::Failure;
use crate::gravity::weigh as gravity;
use crate::lent::Lent;
use crate::pin::Pin;
use crate::related;
use crate::resource::{Known, Target};
use crate::session::{self, Session};

use super::event::{Command, Draft, Event, Place, Ran, Weighed};
use super::store::Id;
use super::terminal::Kept;

/// How long the server may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long a Ctrl-C takes from one process to the other at most.
const HEARD: Duration = Duration::from_millis(50);

/// What an errand brings back.
pub(super) type Errand = LocalBoxFuture<'static, Event>;

/// Which server a connection leads to.
pub(super) fn place(pin: &Pin, session: &Session) -> Result<Place, Failure> {
    let (current, contexts) = session::contexts(&pin.connection, &pin.env)?;
    let context = pin.connection.context.clone().or(current);
    Ok(Place {
        context: context.unwrap_or_default(),
        contexts,
        server: session.server().to_owned(),
        namespace: session.namespace().to_owned(),
    })
}

/// The public keys at home: the name of the file and what is in it.
pub(super) fn ssh_keys(env: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let Some(home) = env.get("HOME") else {
        return Vec::new();
    };
    // Who has none, or may not read them, types one.
    let Ok(files) = std::fs::read_dir(PathBuf::from(home).join(".ssh")) else {
        return Vec::new();
    };
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let public = paths.filter(|path| path.extension().is_some_and(|e| e == "pub"));
    let mut keys: Vec<(String, String)> = public
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            let key = std::fs::read_to_string(&path).ok()?.trim().to_owned();
            (!key.contains('\n')).then_some((format!("~/.ssh/{name}"), key))
        })
        .collect();
    keys.sort();
    keys
}

/// The signals upon which we leave.
pub(super) fn signals() -> std::io::Result<BoxStream<'static, ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut all = Vec::new();
        for kind in [SignalKind::terminate(), SignalKind::hangup()] {
            let heard = signal(kind)?;
            let heard = futures::stream::unfold(heard, |mut heard| async move {
                heard.recv().await.map(|()| ((), heard))
            });
            all.push(heard.boxed());
        }
        Ok(futures::stream::select_all(all).boxed())
    }
    #[cfg(not(unix))]
    Ok(futures::stream::pending().boxed())
}

/// Asks the server whether it is there.
pub(super) fn probe(session: &Session) -> Errand {
    let (client, server) = (session.client(), session.server().to_owned());
    Box::pin(async move {
        let answer = tokio::time::timeout(PATIENCE, client.apiserver_version()).await;
        Event::Server(match answer {
            // An answer of any kind is one.
            Ok(Ok(_) | Err(kube::Error::Api(_))) => Ok(()),
            Ok(Err(_)) => Err(format!("{server} cannot be reached")),
            Err(_) => Err(format!("{server} does not answer")),
        })
    })
}

/// Reads what was said of an object.
pub(super) fn listen(id: Id, uid: String, session: &Session) -> Errand {
    let session = session.clone();
    Box::pin(async move {
        let namespace = Some(&*id.key.namespace).filter(|n| !n.is_empty());
        let said = related::events_of(&uid, namespace, &session).await;
        Event::Heard(id, said.map_err(|failure| failure.message))
    })
}

/// Finds out what deletions mean, as `bbctl delete` does.
pub(super) fn weigh(ids: Vec<Id>, session: &Session) -> Errand {
    let session = session.clone();
    Box::pin(async move { Event::Weighed(weighed(ids, &session).await.map_err(|f| f.message)) })
}

async fn weighed(ids: Vec<Id>, session: &Session) -> Result<Vec<Weighed>, Failure> {
    let target = |id: &Id| Target {
        resource: id.kind.resource(),
        namespace: id.kind.namespaced.then(|| id.key.namespace.to_string()),
        name: id.key.name.to_string(),
        kind: Some(Known(id.kind)),
    };
    let targets: Vec<Target> = ids.iter().map(target).collect();
    let mut all = Vec::new();
    for (id, target) in ids.into_iter().zip(&targets) {
        let doing = format!("look at {}", target.label());
        let api = target.api(session);
        if let Some(object) = session.ask(&doing, api.get_opt(&target.name)).await? {
            let consequence = gravity(target, &object, &targets, session).await?;
            let uid = object.metadata.uid.unwrap_or_default();
            all.push(Weighed {
                id,
                uid,
                consequence,
            });
        }
    }
    Ok(all)
}

/// A process of this program that does what a command says, at the server that is looked at.
/// What settings and kubeconfigs say by now is nothing to it.
fn process(command: &Command, pin: &Pin, namespace: &str) -> std::io::Result<process::Command> {
    let mut process = match &command.foreign {
        Some(foreign) => process::Command::new(&foreign.program),
        None => {
            let mut process = process::Command::new(std::env::current_exe()?);
            process.args(pin.flags());
            process
        }
    };
    for (name, value) in pin.variables(namespace) {
        match value {
            Some(value) => process.env(name, value),
            None => process.env_remove(name),
        };
    }
    process.args(&command.args);
    Ok(process)
}

/// Runs a command and keeps what it writes.
pub(super) fn run(command: Command, pin: &Pin, namespace: &str) -> Errand {
    let process = process(&command, pin, namespace);
    Box::pin(async move {
        let ended = match process {
            Ok(process) => written(process, command.stdin.clone()).await,
            Err(error) => Err(error),
        };
        let (code, said) = ended.unwrap_or_else(|error| (-1, format!("error: {error}")));
        Event::Ran(Ran {
            command,
            code,
            said,
            at: Timestamp::now(),
        })
    })
}

async fn written(
    mut process: process::Command,
    stdin: Option<String>,
) -> std::io::Result<(i32, String)> {
    process.args(["--no-input", "--no-color"]);
    process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = process.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        let text = stdin.unwrap_or_default();
        // One that ends without reading says why by itself.
        let _ = pipe.write_all(text.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status.code().unwrap_or(-1), said))
}

/// Gives the terminal to the editor of the environment with an object in it. What it left is the
/// object as a manifest; none where nothing was changed. What cannot be read stays in its file.
pub(super) async fn draft(
    draft: &Draft,
    env: &BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    let editor = edit::named(env).unwrap_or_else(|| "vi".to_owned());
    let kept = Kept::ours();
    let left = edit::draft(&editor, &draft.id.label(), &draft.before, &draft.text).await;
    put_back(kept);
    left.map_err(|failure| match failure.hint {
        Some(hint) => format!("{}; {hint}", failure.message),
        None => failure.message,
    })
}

/// Makes the terminal what it was before it was lent.
fn put_back(kept: std::io::Result<Kept>) {
    if let Err(error) = kept.and_then(|kept| kept.put_back()) {
        let _ = writeln!(
            std::io::stderr(),
            "warning: the terminal may not be as before: {error}; `reset` mends it"
        );
    }
}

/// Gives the terminal to a command until it ends. When it fails, what it wrote stays until a line
/// is entered.
pub(super) async fn visit(command: &Command, pin: &Pin, namespace: &str) -> Ran {
    let kept = Kept::ours();
    let lent = command.foreign.as_ref().map(|_| Lent::begin());
    let ended = async { process(command, pin, namespace)?.status().await }.await;
    let (code, said) = match (ended, &command.foreign) {
        (Ok(status), _) => (status.code().unwrap_or(-1), String::new()),
        (Err(error), Some(foreign)) => {
            let words = format!("error: cannot run {}: {error}", foreign.program);
            (
                -1,
                format!("{words}\nhint: it is the first word of `run` in ui.toml"),
            )
        }
        (Err(error), None) => (-1, format!("error: {error}")),
    };
    if lent.is_some() {
        // A Ctrl-C that ended it was heard here too, at about the same time.
        tokio::time::sleep(HEARD).await;
    }
    drop(lent);
    put_back(kept);
    if code != 0 || command.foreign.as_ref().is_some_and(|foreign| foreign.wait) {
        let _ = writeln!(std::io::stderr(), "\nenter: back to the dashboard");
        let read = || std::io::stdin().read_line(&mut String::new());
        // Without a terminal there is nobody to wait for.
        let _ = tokio::task::spawn_blocking(read).await;
    }
    Ran {
        command: command.clone(),
        code,
        said,
        at: Timestamp::now(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;
    use crate::session::Connection;
    use crate::start::config;

    /// A kubeconfig whose context `lab` leads to a server.
    fn kubeconfig(port: u16) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\n\
             contexts: [{{name: lab, context: {{cluster: c, user: u, namespace: shown}}}}]\n\
             users: [{{name: u, user: {{}}}}]\n"
        )
    }

    /// To which server and namespace a process of this program speaks.
    async fn speaks_to(
        process: &process::Command,
        env: &BTreeMap<String, String>,
    ) -> (String, String) {
        let process = process.as_std();
        let mut env = env.clone();
        for (name, value) in process.get_envs() {
            let name = name.to_str().unwrap().to_owned();
            match value {
                Some(value) => env.insert(name, value.to_str().unwrap().to_owned()),
                None => env.remove(&name),
            };
        }
        let words = std::iter::once("bbctl".into()).chain(process.get_args().map(Into::into));
        let cli = Cli::try_parse_from(words.collect::<Vec<std::ffi::OsString>>()).unwrap();
        let mut globals = cli.globals;
        config::layers(&env).unwrap().fill(&mut globals).unwrap();
        let session = Session::open(&globals.connection(), &env).await.unwrap();
        (session.server().to_owned(), session.namespace().to_owned())
    }

    #[tokio::test]
    async fn no_setting_and_no_file_leads_a_command_to_a_server_that_is_not_shown() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("shown", &kubeconfig(1));
        write("users", "apiVersion: v1\nkind: Config\n");
        write("other", &kubeconfig(2));
        for (list, at_home) in [
            (path("shown"), false),
            (format!("{}:{}", path("shown"), path("users")), false),
            (format!("{}:{}", path("first"), path("shown")), false),
            (String::new(), true),
        ] {
            let _ = std::fs::remove_dir_all(dir.path().join(".kube"));
            let _ = std::fs::remove_dir_all(dir.path().join(".bbctl"));
            let _ = std::fs::remove_file(dir.path().join("first"));
            let mut env = BTreeMap::from([
                ("HOME".to_owned(), dir.path().display().to_string()),
                ("BBCTL_PROJECT".to_owned(), path("none.toml")),
            ]);
            if at_home {
                write(".kube/config", &kubeconfig(1));
            } else {
                env.insert("KUBECONFIG".to_owned(), list.clone());
            }
            let mut pin = Pin::new(&Connection::default(), &env).unwrap();
            let session = Session::open(&pin.connection, &pin.env).await.unwrap();
            let at = place(&pin, &session).unwrap();
            pin.connection.context = Some(at.context);
            // Meanwhile somebody says otherwise, in each way that there is.
            let other = path("other");
            write(
                ".bbctl/settings.toml",
                &format!("kubeconfig = '{other}'\ncontext = 'live'\nnamespace = 'other'\n"),
            );
            write("first", &kubeconfig(2));
            let shown = ("http://127.0.0.1:1".to_owned(), "shown".to_owned());
            let own = Command::new(["delete", "instance", "www-1", "--yes"]);
            let process = process(&own, &pin, session.namespace()).unwrap();
            assert_eq!(speaks_to(&process, &env).await, shown, "{list}");
            // And bbctl in a command of one's own.
            let foreign = Command {
                foreign: Some(super::super::event::Foreign {
                    program: "bbctl".to_owned(),
                    wait: false,
                }),
                ..Command::new(["get", "instances"])
            };
            let process = super::process(&foreign, &pin, session.namespace()).unwrap();
            assert_eq!(speaks_to(&process, &env).await, shown, "{list}");
            // Whoever begins anew goes by what is said now.
            let mut anew = process::Command::new("bbctl");
            anew.args(["get", "instances", "--context", "lab"]);
            let now = ("http://127.0.0.1:2".to_owned(), "other".to_owned());
            assert_eq!(speaks_to(&anew, &env).await, now, "{list}");
        }
    }
}
