//! Turns a command of the user's own and the object under the cursor into a process to run.
//!
//! No shell reads it: each argument goes to the program as it is. What stands for something of the
//! object is an argument of its own, so that no name can become more than that.

use crate::error::Failure;
use crate::kinds::{KINDS, Kind, plurals};
use crate::nearest::nearest;

use super::event::{Command, Foreign};
use super::keys::Key;
use super::store::Id;
use super::toml::Field;

/// A command of the user's own.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// What it is called.
    pub name: String,
    /// Which key runs it.
    pub key: Key,
    /// On which kinds; none: on all, and where there is no object too if it needs none.
    pub kinds: Option<Vec<&'static Kind>>,
    /// What the help says of it.
    pub does: String,
    /// The program.
    pub program: String,
    /// What it is given.
    pub args: Vec<Word>,
    /// It changes something: it is dead in read-only mode and asks before it runs.
    pub dangerous: bool,
    /// It asks before it runs.
    pub confirm: bool,
    /// What it wrote stays until a line is entered.
    pub wait: bool,
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// As it stands.
    Text(String),
    /// Something of the object or of where it is.
    Of(What),
}

/// What an argument can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The object's name.
    Name,
    /// Its namespace.
    Namespace,
    /// Its kind, in plural.
    Kind,
    /// The context that is looked at.
    Context,
}

/// How they are written.
const STANDS: [(&str, What); 4] = [
    ("$NAME", What::Name),
    ("$NAMESPACE", What::Namespace),
    ("$KIND", What::Kind),
    ("$CONTEXT", What::Context),
];

/// What is said of a plugin.
const FIELDS: [&str; 7] = ["key", "on", "does", "run", "dangerous", "confirm", "wait"];

impl Plugin {
    /// Reads what a file says of one, and the field of its key.
    ///
    /// # Errors
    /// When something is missing, unknown or none of what it can be.
    pub(super) fn read<'a>(field: &Field<'a>) -> Result<(Self, Field<'a>), Failure> {
        let fields = field.table()?;
        let unknown = fields.iter().find(|f| !FIELDS.contains(&f.word.as_str()));
        if let Some(unknown) = unknown {
            return Err(unknown.unknown(&FIELDS));
        }
        let find = |word: &str| fields.iter().find(|field| field.word == word);
        let must = |word: &str, remedy: &str| {
            let missing = || field.wrong(&format!("has no `{word}`"), remedy);
            find(word).ok_or_else(missing)
        };
        let truth = |word: &str| find(word).map_or(Ok(false), Field::truth);
        let on = must(
            "on",
            "say on what it works: on = [\"instances\"], or on = \"all\"",
        )?;
        let run = must("run", "say what is run: run = [\"ping\", \"$NAME\"]")?;
        let key_field = must("key", "say which key runs it: key = \"f5\"")?;
        let (program, args) = command(run)?;
        let plugin = Self {
            name: field.word.clone(),
            key: key(key_field, key_field.text()?)?,
            kinds: kinds(on)?,
            does: match find("does") {
                Some(does) => does.text()?.to_owned(),
                None => format!("run {}", field.word),
            },
            program,
            args,
            dangerous: truth("dangerous")?,
            confirm: truth("confirm")?,
            wait: truth("wait")?,
        };
        Ok((plugin, key_field.clone()))
    }

    /// Whether it works on an object, or where there is none.
    #[must_use]
    pub fn fits(&self, id: Option<&Id>) -> bool {
        match (&self.kinds, id) {
            (None, Some(_)) => true,
            (None, None) => self.args.iter().all(|arg| match arg {
                Word::Text(_) | Word::Of(What::Context) => true,
                Word::Of(What::Name | What::Namespace | What::Kind) => false,
            }),
            (Some(kinds), Some(id)) => kinds.iter().any(|kind| kind.kind == id.kind.kind),
            (Some(_), None) => false,
        }
    }

    /// On what it works, in words.
    #[must_use]
    pub fn scope(&self) -> String {
        match &self.kinds {
            None => "all".to_owned(),
            Some(kinds) => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.plural).collect();
                names.join(", ")
            }
        }
    }

    /// What is run, as the file has it.
    #[must_use]
    pub fn line(&self) -> String {
        let args = self.args.iter().map(|word| match word {
            Word::Text(text) => text.as_str(),
            Word::Of(what) => written(*what),
        });
        let words: Vec<&str> = std::iter::once(self.program.as_str()).chain(args).collect();
        words.join(" ")
    }

    /// The command, for an object and a context.
    ///
    /// # Errors
    /// When something that it names is not there, or would be read as an option; with a sentence.
    pub fn command(&self, id: Option<&Id>, context: &str) -> Result<Command, String> {
        let word = |word: &Word| {
            let what = match word {
                Word::Text(text) => return Ok(text.clone()),
                Word::Of(what) => *what,
            };
            let of = |id: &Id| match what {
                What::Name => id.key.name.to_string(),
                What::Namespace => id.key.namespace.to_string(),
                _ => id.kind.plural.to_owned(),
            };
            let stands = match what {
                What::Context => context.to_owned(),
                _ => id.map(of).unwrap_or_default(),
            };
            let written = written(what);
            match stands.chars().next() {
                None => Err(format!("{written} stands for nothing here: it was not run")),
                Some('-') => Err(format!(
                    "{written} is `{stands}`, which a program takes for an option: it was not run"
                )),
                Some(_) => Ok(stands),
            }
        };
        let args: Result<Vec<String>, String> = self.args.iter().map(word).collect();
        let foreign = Foreign {
            program: self.program.clone(),
            wait: self.wait,
        };
        let args = args.map_err(|why| format!("{}: {why}", self.name))?;
        Ok(Command {
            foreign: Some(foreign),
            ..Command::new(args)
        })
    }
}

/// How something that is replaced is written.
fn written(what: What) -> &'static str {
    let found = STANDS.iter().find(|(_, known)| *known == what);
    found.map(|(name, _)| *name).unwrap_or_default()
}

/// Reads the name of a key.
pub(super) fn key(field: &Field<'_>, text: &str) -> Result<Key, Failure> {
    Key::parse(text).ok_or_else(|| {
        let words = match field.word == text {
            true => "is no key".to_owned(),
            false => format!("cannot be `{text}`: that is no key"),
        };
        field.wrong(&words, super::keys::NAMES)
    })
}

fn kinds(field: &Field<'_>) -> Result<Option<Vec<&'static Kind>>, Failure> {
    if field.text().is_ok_and(|text| text == "all") {
        return Ok(None);
    }
    let kind = |word: &str| {
        let found = KINDS.iter().find(|kind| kind.plural == word);
        found.ok_or_else(|| {
            let remedy = match nearest(word, plurals()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the kinds are {}", plurals().join(", ")),
            };
            field.wrong(&format!("cannot be `{word}`"), &remedy)
        })
    };
    let words = field.texts().map_err(|_| {
        field.wrong(
            "is \"all\" or a list of kinds",
            "write on = [\"instances\", \"volumes\"]",
        )
    })?;
    if words.is_empty() {
        return Err(field.wrong("names no kind", "write on = \"all\", or the kinds"));
    }
    words
        .into_iter()
        .map(kind)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Reads a program and what it is given.
fn command(field: &Field<'_>) -> Result<(String, Vec<Word>), Failure> {
    let words = field.texts()?;
    let Some((program, rest)) = words.split_first() else {
        return Err(field.wrong("is empty", "write [\"program\", \"argument\"]"));
    };
    if program.is_empty() || program.starts_with(['$', '~']) {
        let remedy =
            "the first word is the program itself, as it is in PATH or with its whole path";
        return Err(field.wrong(&format!("cannot begin with `{program}`"), remedy));
    }
    let args = rest.iter().enumerate();
    let args = args.map(|(at, text)| argument(field, text, is_script(&words[..=at])));
    let args: Result<Vec<Word>, Failure> = args.collect();
    Ok(((*program).to_owned(), args?))
}

/// Whether what follows some words is a script for a shell, which has variables of its own.
fn is_script(before: &[&str]) -> bool {
    const SHELLS: [&str; 6] = ["sh", "bash", "dash", "fish", "ksh", "zsh"];
    let Some((last, others)) = before.split_last() else {
        return false;
    };
    let is_shell = |word: &&str| SHELLS.contains(&word.rsplit('/').next().unwrap_or_default());
    let is_flag = last.starts_with('-') && !last.starts_with("--") && last.ends_with('c');
    is_flag && others.iter().any(is_shell)
}

fn argument(field: &Field<'_>, text: &str, script: bool) -> Result<Word, Failure> {
    if let Some((_, what)) = STANDS.iter().find(|(name, _)| *name == text) {
        return Ok(Word::Of(*what));
    }
    let all = STANDS.map(|(name, _)| name);
    for (part, name) in variables(text) {
        let known = all.contains(&name.as_str());
        if script && !known {
            continue;
        }
        let whole = part.len() == text.len();
        let remedy = match (known, near(&name)) {
            (true, _) if whole => format!("write `{name}` without braces"),
            // Within more text it would be up to the program what a name can do: to a shell, all.
            (true, _) => format!(
                "write `{name}` as an argument of its own; a script gets it as \
                 [\"sh\", \"-c\", 'echo \"$1\"', \"sh\", \"{name}\"]"
            ),
            (false, Some(near)) => format!("did you mean `{near}`?"),
            (false, None) => format!(
                "no shell reads it: write out what it stands for, or a script as \
                 [\"sh\", \"-c\", '...']; what is replaced is {}",
                all.join(", ")
            ),
        };
        let words = match whole {
            true => format!("cannot have `{part}`"),
            false => format!("has `{part}` within `{text}`"),
        };
        return Err(field.wrong(&words, &remedy));
    }
    Ok(Word::Text(text.to_owned()))
}

/// What in a text looks like something that is replaced, as it stands there and without braces.
fn variables(text: &str) -> impl Iterator<Item = (&str, String)> {
    text.match_indices('$').filter_map(move |(at, _)| {
        let rest = text.get(at..)?;
        if let Some(braced) = rest.strip_prefix("${") {
            let (inside, part) = match braced.find('}') {
                Some(end) => (braced.get(..end)?, rest.get(..end + 3)?),
                None => (braced, rest),
            };
            return Some((part, format!("${inside}")));
        }
        let name = rest.get(1..)?;
        let end = name.find(|c: char| !c.is_ascii_uppercase() && c != '_');
        let part = rest.get(..=end.unwrap_or(name.len()))?;
        (part.len() > 1).then(|| (part, part.to_owned()))
    })
}

/// What was probably meant.
fn near(part: &str) -> Option<&'static str> {
    let lower = STANDS.map(|(name, _)| name.to_ascii_lowercase());
    let found = nearest(part, lower.iter().map(String::as_str))?;
    let mut names = STANDS.iter().map(|(name, _)| *name);
    names.find(|name| name.eq_ignore_ascii_case(found))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::ui::own;
    use crate::ui::store::Key as Name;

    fn plugin(run: &str) -> Plugin {
        let text = format!("[plugins.x]\nkey = 'f5'\non = 'all'\nrun = {run}\n");
        let mut own = own::parse(&text, Path::new("ui.toml")).unwrap();
        own.plugins.remove(0)
    }

    fn id(kind: &str, namespace: &str, name: &str) -> Id {
        Id::new(Kind::named(kind).unwrap(), Name::new(namespace, name))
    }

    #[test]
    fn what_stands_for_something_is_replaced_as_a_whole_argument() {
        let all =
            plugin("['show', '$KIND', '-n', '$NAMESPACE', '$NAME', '--context', '$CONTEXT', '$5']");
        let www = id("instance", "acme", "www-1");
        let command = all.command(Some(&www), "lab").unwrap();
        assert_eq!(
            command.line(),
            "show instances -n acme www-1 --context lab '$5'"
        );
        assert_eq!(
            all.line(),
            "show $KIND -n $NAMESPACE $NAME --context $CONTEXT $5"
        );
        // A shell has variables of its own, in a script.
        let script = plugin("['env', '/bin/sh', '-ec', 'cd $HOME && x ${1} $PWD', 'sh', '$NAME']");
        let command = script.command(Some(&www), "lab").unwrap();
        assert_eq!(command.args[2], "cd $HOME && x ${1} $PWD");
        // What has no namespace, no context, or no object at all.
        let tenant = id("tenant", "", "acme");
        let why = all.command(Some(&tenant), "lab").unwrap_err();
        assert!(why.contains("$NAMESPACE stands for nothing"), "{why}");
        let why = all.command(Some(&www), "").unwrap_err();
        assert!(why.contains("$CONTEXT stands for nothing"), "{why}");
        assert!(!all.fits(None) && all.fits(Some(&www)));
        let bare = plugin("['top', '--context', '$CONTEXT']");
        assert!(bare.fits(None) && bare.command(None, "lab").is_ok());
        // A kubeconfig is perhaps from somebody else.
        let why = bare.command(None, "-oProxyCommand=x").unwrap_err();
        assert!(why.contains("takes for an option"), "{why}");
    }

    proptest! {
        #[test]
        fn no_name_becomes_more_than_one_argument(name in "[^-\\x00].{0,40}", context in "[^-].{0,20}") {
            let all = plugin("['sh', '-c', 'echo \"$1\"', 'sh', '$NAME', '$CONTEXT']");
            let command = all.command(Some(&id("instance", "acme", &name)), &context).unwrap();
            let words: Vec<&str> = command.args.iter().map(String::as_str).collect();
            prop_assert_eq!(words, ["-c", "echo \"$1\"", "sh", &name, &context]);
        }

        #[test]
        fn any_text_is_read_or_told_with_its_file(text in "(\\[(plugins\\.[a-z]|hotkeys|aliases|keys)\\]\n|[a-z]{1,4} = ('[$a-zA-Z0-9 -]{0,9}'|true|\\['[$A-Z]{0,6}'\\])\n|.{0,9}\n){0,8}") {
            if let Err(failure) = own::parse(&text, Path::new("/x/ui.toml")) {
                prop_assert!(failure.message.starts_with("/x/ui.toml"), "{}", failure);
                prop_assert!(failure.hint.is_some_and(|hint| !hint.is_empty()));
            }
        }
    }
}
