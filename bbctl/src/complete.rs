//! Turns the words of a command line so far into what could stand where the last of them stands.
//!
//! What the tree of commands knows is said at once; names of objects are asked for, and left out
//! where the server does not tell them in a moment: nobody waits for a completion.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Command};

use crate::kinds::{self, Kind};
use crate::object::{self, Object};
use crate::select::Selection;
use crate::session::{Connection, Scope, Session};

/// How long the server has to name its objects.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// What could stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One of these words.
    Words(Vec<String>),
    /// The name of an object of the kind, as a word of this form: `{}` is the name.
    Names(&'static str, &'static str),
    /// A namespace: what is known of those are the tenants.
    Namespaces,
    /// The hash of a Plan that was kept.
    Hashes,
    /// A context of the kubeconfig.
    Contexts,
    /// Something that nobody but the user knows, or a file.
    Anything,
}

/// What words say, and what could stand where the last of them stands.
#[derive(Clone, Debug)]
pub struct Sense {
    /// What could stand there.
    pub wanted: Wanted,
    /// What the flags among the words say of the connection.
    pub connection: Connection,
}

/// Makes sense of the words after the program's name; the last one may be empty or half.
#[must_use]
pub fn sense(root: &Command, words: &[String]) -> Sense {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", words),
    };
    let mut reader = Reader {
        root,
        command: root,
        path: Vec::new(),
        places: Vec::new(),
        values: BTreeMap::new(),
        pending: None,
        open: true,
    };
    before.iter().for_each(|word| reader.take(word));
    Sense {
        wanted: reader.wanted(last),
        connection: reader.connection(),
    }
}

/// Follows words through the tree.
struct Reader<'a> {
    root: &'a Command,
    command: &'a Command,
    /// The commands that were named.
    path: Vec<&'a str>,
    /// The words that are no flags.
    places: Vec<String>,
    values: BTreeMap<String, String>,
    /// The flag whose value comes next.
    pending: Option<&'a Arg>,
    /// Whether flags are still flags: `--` ends them.
    open: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, word: &str) {
        if let Some(arg) = self.pending.take() {
            self.values
                .insert(arg.get_id().to_string(), word.to_owned());
            return;
        }
        if self.open && word == "--" {
            self.open = false;
            return;
        }
        if self.open && word.starts_with('-') && word.len() > 1 {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (word, None),
            };
            match (self.flag(flag), value) {
                (Some(arg), Some(value)) => {
                    self.values
                        .insert(arg.get_id().to_string(), value.to_owned());
                }
                (Some(arg), None) if takes_value(arg) => self.pending = Some(arg),
                _ => {}
            }
            return;
        }
        match self.command.find_subcommand(word) {
            Some(below) if self.places.is_empty() => {
                self.path.push(below.get_name());
                self.command = below;
            }
            _ => self.places.push(word.to_owned()),
        }
    }

    /// The flag of that name, of the command or of all.
    fn flag(&self, name: &str) -> Option<&'a Arg> {
        let all = self
            .command
            .get_arguments()
            .chain(self.root.get_arguments());
        let mut all = all.filter(|arg| !arg.is_positional());
        match (name.strip_prefix("--"), name.strip_prefix('-')) {
            (Some(long), _) => all.find(|arg| arg.get_long() == Some(long)),
            (None, Some(short)) => {
                let short = short.chars().next();
                all.find(|arg| arg.get_short() == short)
            }
            (None, None) => None,
        }
    }

    fn connection(&self) -> Connection {
        let of = |id: &str| self.values.get(id).cloned();
        Connection {
            kubeconfig: of("kubeconfig").map(PathBuf::from),
            context: of("context"),
            namespace: of("namespace"),
            patience: Some(PATIENCE),
        }
    }

    fn wanted(&self, last: &str) -> Wanted {
        if let Some(arg) = self.pending {
            return value_of(arg);
        }
        if self.open && last.starts_with('-') {
            if let Some((flag, _)) = last.split_once('=') {
                return match self.flag(flag).map(value_of) {
                    Some(Wanted::Words(words)) => {
                        let whole = words.iter().map(|word| format!("{flag}={word}"));
                        Wanted::Words(whole.collect())
                    }
                    _ => Wanted::Anything,
                };
            }
            let all = self
                .command
                .get_arguments()
                .chain(self.root.get_arguments());
            let mut flags: Vec<String> = all
                .filter(|arg| !arg.is_hide_set())
                .filter_map(|arg| Some(format!("--{}", arg.get_long()?)))
                .collect();
            flags.extend(["--help".to_owned()]);
            flags.sort();
            flags.dedup();
            return Wanted::Words(flags);
        }
        if self.places.is_empty() && self.command.has_subcommands() {
            return Wanted::Words(commands(self.command));
        }
        self.place(last)
    }

    /// What could stand at the next place of a command.
    fn place(&self, last: &str) -> Wanted {
        let at = self.places.len();
        match (self.path.as_slice(), at) {
            ([noun, "create"], _) if Kind::named(noun).is_some() => Wanted::Anything,
            (["volumes", "attach"], 1) => Wanted::Names("Instance", "{}"),
            (["volumes", "resize"] | ["tenants", "add-member" | "remove-member"], 1..) => {
                Wanted::Anything
            }
            (["images", ..], _) => Wanted::Anything,
            ([noun, _], _) => match Kind::named(noun) {
                Some(kind) => Wanted::Names(kind.kind, "{}"),
                None => Wanted::Anything,
            },
            (["status" | "tree"], _) => Wanted::Names("Tenant", "{}"),
            (["test-vyos"], 0) => Wanted::Names("Provider", "{}"),
            (["help"], _) => {
                let named = self
                    .places
                    .iter()
                    .try_fold(self.root, |command, word| command.find_subcommand(word));
                named.map_or(Wanted::Anything, |command| Wanted::Words(commands(command)))
            }
            (["get" | "describe" | "edit" | "delete" | "wait" | "events" | "export"], _) => {
                self.object(last)
            }
            _ => match self.command.get_positionals().nth(at) {
                Some(arg) => value_of(arg),
                None => Wanted::Anything,
            },
        }
    }

    /// `KIND`, `KIND NAME` or `KIND/NAME`.
    fn object(&self, last: &str) -> Wanted {
        if let Some((kind, _)) = last.split_once('/') {
            return match Kind::parse(kind) {
                Ok(kind) => Wanted::Names(kind.kind, kind.pair),
                Err(_) => Wanted::Anything,
            };
        }
        match self.places.first() {
            None => Wanted::Words(kinds::plurals().into_iter().map(str::to_owned).collect()),
            Some(first) => match Selection::parse(std::slice::from_ref(first)) {
                Ok(Selection::All(kinds)) => match kinds.as_slice() {
                    [kind] => Wanted::Names(kind.kind, "{}"),
                    _ => Wanted::Anything,
                },
                _ => Wanted::Anything,
            },
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

fn value_of(arg: &Arg) -> Wanted {
    match arg.get_id().as_str() {
        "namespace" => return Wanted::Namespaces,
        "context" => return Wanted::Contexts,
        "plan" => return Wanted::Hashes,
        _ => {}
    }
    let known: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    match known.is_empty() {
        true => Wanted::Anything,
        false => Wanted::Words(known),
    }
}

fn commands(command: &Command) -> Vec<String> {
    let shown = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    shown.map(|below| below.get_name().to_owned()).collect()
}

/// The words that could stand there and begin as the last one does.
pub async fn candidates(
    root: &Command,
    words: &[String],
    env: &BTreeMap<String, String>,
) -> Vec<String> {
    let Sense { wanted, connection } = sense(root, words);
    let mut found = match wanted {
        Wanted::Words(words) => words,
        Wanted::Anything => Vec::new(),
        Wanted::Contexts => crate::kubeconfig::contexts(&connection, env),
        Wanted::Namespaces => names("Tenant", "{}", connection, env.clone()).await,
        Wanted::Names(kind, form) => names(kind, form, connection, env.clone()).await,
        Wanted::Hashes => {
            let hash = |plan: &Object| object::text(plan, "/status/hash");
            let mut hashes = read("Plan", hash, connection, env.clone()).await;
            hashes.retain(|hash| !hash.is_empty());
            hashes
        }
    };
    let last = words.last().map(String::as_str).unwrap_or_default();
    found.retain(|word| word.starts_with(last));
    found
}

async fn names(
    kind: &'static str,
    form: &'static str,
    connection: Connection,
    env: BTreeMap<String, String>,
) -> Vec<String> {
    let name = move |of: &Object| form.replace("{}", object::name(of));
    read(kind, name, connection, env).await
}

/// A word of each object of a kind; none where they do not come in time. On a thread of its own,
/// since a program that gives credentials may keep its caller waiting.
async fn read(
    kind: &'static str,
    word: impl Fn(&Object) -> String + Send + 'static,
    connection: Connection,
    env: BTreeMap<String, String>,
) -> Vec<String> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let found = runtime.ok().and_then(|runtime| {
            runtime.block_on(async {
                let session = Session::open(&connection, &env).await.ok()?;
                let scope = Scope::Namespace(session.namespace().to_owned());
                let objects = session.list(Kind::called(kind), &scope, None).await.ok()?;
                Some(objects.iter().map(word).collect::<Vec<_>>())
            })
        });
        // Nobody listens any more where the time was up.
        let _ = tell.send(found.unwrap_or_default());
    });
    match tokio::time::timeout(PATIENCE, told).await {
        Ok(Ok(names)) => names,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> Wanted {
        let root = crate::cli::command(80, None);
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        sense(&root, &words).wanted
    }

    fn words(line: &str) -> Vec<String> {
        match wanted(line) {
            Wanted::Words(words) => words,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn commands_flags_and_values_are_known_without_a_server() {
        assert!(words("").contains(&"networks".to_owned()));
        assert!(!words("").contains(&"__complete".to_owned()));
        assert!(words("network ").contains(&"addresses".to_owned()));
        assert!(words("get networks --a").contains(&"--all-namespaces".to_owned()));
        assert!(words("networks list --").contains(&"--namespace".to_owned()));
        assert_eq!(words("get networks -o ").len(), 5);
        assert!(words("status --output=").contains(&"--output=json".to_owned()));
        assert!(words("get ").contains(&"instances".to_owned()));
        assert!(words("help networks ").contains(&"create".to_owned()));
        assert!(words("completion ").contains(&"zsh".to_owned()));
    }

    #[test]
    fn names_are_those_of_the_kind_that_the_place_is_for() {
        let table = [
            ("networks get ", Wanted::Names("Network", "{}")),
            ("instance stop www-1 ", Wanted::Names("Instance", "{}")),
            ("get network ", Wanted::Names("Network", "{}")),
            ("describe -n acme bbi ", Wanted::Names("Instance", "{}")),
            ("delete volume/", Wanted::Names("Volume", "volume/{}")),
            ("volumes attach data ", Wanted::Names("Instance", "{}")),
            ("volumes attach ", Wanted::Names("Volume", "{}")),
            ("tree ", Wanted::Names("Tenant", "{}")),
            ("networks list -n ", Wanted::Namespaces),
            ("status --context ", Wanted::Contexts),
            ("describe plan ", Wanted::Names("Plan", "{}")),
            ("delete plan/", Wanted::Names("Plan", "plan/{}")),
            ("apply -f x --plan ", Wanted::Hashes),
            ("networks create ", Wanted::Anything),
            ("apply -f ", Wanted::Anything),
        ];
        for (line, expected) in table {
            assert_eq!(wanted(line), expected, "{line}");
        }
    }

    #[test]
    fn the_connection_is_the_one_that_the_words_say() {
        let root = crate::cli::command(80, None);
        let line = "-n acme get --context=lab network --kubeconfig /x ";
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let connection = sense(&root, &words).connection;
        assert_eq!(connection.namespace.as_deref(), Some("acme"));
        assert_eq!(connection.context.as_deref(), Some("lab"));
        assert_eq!(connection.kubeconfig, Some(PathBuf::from("/x")));
    }
}
