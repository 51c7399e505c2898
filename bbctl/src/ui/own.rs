//! Turns a file of a user's own into keys and words of the dashboard, or into what is wrong with it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Failure;

use super::keys::{ENDS, Key, Keymap};
use super::plugin::{self, Plugin};
use super::prompt;
use super::toml::{Field, Source};

/// What a user has made their own.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// The file that it is from.
    pub file: String,
    /// Other words for the palette, and the lines that they stand for.
    pub aliases: BTreeMap<String, String>,
    /// Which key does what.
    pub keys: Keymap,
    /// Keys that stand for a line of the palette.
    pub hotkeys: Vec<Hotkey>,
    /// Keys that run a command.
    pub plugins: Vec<Plugin>,
}

/// A key that stands for a line of the palette.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hotkey {
    /// The key.
    pub key: Key,
    /// The line, without `:`.
    pub line: String,
}

/// What a file may have at its top.
const KNOWN: [&str; 4] = ["aliases", "keys", "hotkeys", "plugins"];

/// Reads the text of a file.
///
/// # Errors
/// When it is not TOML, or says what we do not know, or one thing twice; with file, line, field and
/// remedy.
pub fn parse(text: &str, path: &Path) -> Result<Own, Failure> {
    let source = Source { path, text };
    let document = source.parse()?;
    let fields = source.fields(&document);
    if let Some(field) = fields.iter().find(|f| !KNOWN.contains(&f.word.as_str())) {
        return Err(field.unknown(&KNOWN));
    }
    // In an order of our own: a line may use an alias, and a key is taken once the table is made.
    let under = |word: &str| match fields.iter().find(|field| field.word == word) {
        Some(field) => field.table(),
        None => Ok(Vec::new()),
    };
    let aliases = aliases(under("aliases")?)?;
    let keys = keys(under("keys")?)?;
    let mut taken = Taken::new(&keys);
    let mut hotkeys = Vec::new();
    for field in under("hotkeys")? {
        let line = field.text()?;
        line_of(&field, line, &aliases)?;
        let key = plugin::key(&field, &field.word)?;
        taken.take(&field, key)?;
        let line = line.to_owned();
        hotkeys.push(Hotkey { key, line });
    }
    let mut plugins = Vec::new();
    for field in under("plugins")? {
        let (plugin, field) = Plugin::read(&field)?;
        taken.take(&field, plugin.key)?;
        plugins.push(plugin);
    }
    Ok(Own {
        file: path.display().to_string(),
        aliases,
        keys,
        hotkeys,
        plugins,
    })
}

fn aliases(fields: Vec<Field<'_>>) -> Result<BTreeMap<String, String>, Failure> {
    let mut aliases = BTreeMap::new();
    for field in fields {
        let line = field.text()?;
        if prompt::is_known(&field.word) {
            let remedy = "choose a word that `:` does not know yet";
            return Err(field.wrong("is a command already", remedy));
        }
        if field.word.contains([' ', '@', '/']) || field.word.is_empty() {
            return Err(field.wrong("is no word", "leave out spaces, @ and /"));
        }
        line_of(&field, line, &BTreeMap::new())?;
        aliases.insert(field.word.clone(), line.to_owned());
    }
    Ok(aliases)
}

/// Makes sure that a line begins as one of the palette does.
fn line_of(
    field: &Field<'_>,
    line: &str,
    aliases: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    if line.starts_with(':') {
        return Err(field.wrong("begins with `:`", "leave the `:` out"));
    }
    let line = prompt::expand(line, aliases);
    let word = prompt::first(&line);
    if prompt::is_known(word) {
        return Ok(());
    }
    let words = format!("cannot be `{line}`: there is no command `{word}`");
    Err(field.wrong(
        &words,
        &match crate::nearest::nearest(word, prompt::known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write what you would type behind `:`, such as `instances /web`".to_owned(),
        },
    ))
}

/// Which keys do something, and which field says so.
struct Taken<'a> {
    keys: &'a Keymap,
    own: Vec<(Key, String)>,
}

impl<'a> Taken<'a> {
    fn new(keys: &'a Keymap) -> Self {
        let own = Vec::new();
        Self { keys, own }
    }

    /// Takes a key for a field.
    fn take(&mut self, field: &Field<'_>, key: Key) -> Result<(), Failure> {
        let name = key.name();
        if key == Key::QUIT {
            return Err(field.wrong(&ENDS.replace("{}", &name), "choose another key"));
        }
        if let Some(binding) = self.keys.binding(key) {
            let words = format!(
                "cannot be `{name}`: `{name}` does `{}` already",
                binding.word
            );
            let remedy = format!(
                "choose another key, or give `{}` another under [keys]",
                binding.word
            );
            return Err(field.wrong(&words, &remedy));
        }
        if let Some((_, other)) = self.own.iter().find(|(taken, _)| *taken == key) {
            let words = format!("cannot be `{name}`: `{other}` has that key already");
            return Err(field.wrong(&words, "choose another key"));
        }
        self.own.push((key, field.name.clone()));
        Ok(())
    }
}

fn keys(fields: Vec<Field<'_>>) -> Result<Keymap, Failure> {
    let mut changes = BTreeMap::new();
    let mut moved = Vec::new();
    for field in fields {
        changes.insert(field.word.clone(), field.text()?.to_owned());
        moved.push(field);
    }
    Keymap::with(&changes).map_err(|wrong| {
        let field = moved.iter().find(|field| field.word == wrong.word);
        match field {
            Some(field) => field.wrong(&wrong.words, &wrong.remedy),
            None => Failure::usage(wrong.words).hint(wrong.remedy),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::keys::Action;

    fn read(text: &str) -> Result<Own, Failure> {
        parse(text, Path::new("/own/ui.toml"))
    }

    #[test]
    fn words_and_keys_are_read() {
        let own = read("[keys]\ndelete = 'ctrl-x'\n[aliases]\nvms = 'instances /web'\n").unwrap();
        assert_eq!(own.aliases["vms"], "instances /web");
        assert_eq!(own.keys.names(Action::Delete), ["ctrl-x"]);
        assert_eq!(read("").unwrap().keys.names(Action::Leave), ["q"]);
    }

    #[test]
    fn a_key_runs_a_line_or_a_command() {
        let text = "[plugins.shell]\nkey = 'f5'\non = ['instances']\ndoes = 'look around'\n\
            run = ['ssh', '-l', 'root', '$NAME']\ndangerous = true\n\
            [hotkeys]\nf2 = 'vms /web'\nd = 'pulses'\n[aliases]\nvms = 'instances'\n\
            [keys]\ndescribe = 'ctrl-x'\n";
        let own = read(text).unwrap();
        let lines: Vec<(String, &str)> = own
            .hotkeys
            .iter()
            .map(|hotkey| (hotkey.key.name(), hotkey.line.as_str()))
            .collect();
        assert_eq!(
            lines,
            [("f2".to_owned(), "vms /web"), ("d".to_owned(), "pulses")]
        );
        let shell = &own.plugins[0];
        assert_eq!(
            (shell.name.as_str(), shell.key.name().as_str()),
            ("shell", "f5")
        );
        assert_eq!(shell.line(), "ssh -l root $NAME");
        assert_eq!(
            (shell.scope().as_str(), shell.does.as_str()),
            ("instances", "look around")
        );
        assert!(shell.dangerous && !shell.confirm && !shell.wait);
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table is as long as it is")]
    fn what_a_key_or_a_command_of_ones_own_gets_wrong_is_told() {
        let plugin =
            |lines: &str| format!("[plugins.x]\nkey = 'f5'\non = 'all'\nrun = ['x']\n{lines}");
        let with = |was: &str, now: &str| plugin("").replace(was, now);
        for (text, message, hint) in [
            (
                "[hotkey]".to_owned(),
                ":1: `hotkey` is none of ours",
                "did you mean `hotkeys`?",
            ),
            (
                "[hotkeys]\nhyper-x = 'tree'".to_owned(),
                ":2: `hotkeys.hyper-x` is no key",
                "shift-d",
            ),
            (
                "[hotkeys]\nf2 = 'tre'".to_owned(),
                "no command `tre`",
                "did you mean `tree`?",
            ),
            (
                "[hotkeys]\nd = 'tree'".to_owned(),
                "`d` does `describe` already",
                "under [keys]",
            ),
            (
                "[hotkeys]\nctrl-c = 'tree'".to_owned(),
                "ends the dashboard",
                "another key",
            ),
            (
                "[keys]\nquit = 'f9'\n[hotkeys]\nctrl-c = 'tree'".to_owned(),
                "ends the dashboard",
                "another key",
            ),
            (
                "[keys]\nquit = 'f9'\ntree = 'ctrl-c'".to_owned(),
                ":3: `keys.tree` cannot be `ctrl-c`: that ends the dashboard",
                "another key",
            ),
            (
                "[keys]\ntree = 'f9'\n[hotkeys]\nf9 = 'tree'".to_owned(),
                ":4: `hotkeys.f9` cannot be `f9`: `f9` does `tree`",
                "under [keys]",
            ),
            (
                plugin("[hotkeys]\nf5 = 'tree'"),
                "`plugins.x.key` cannot be `f5`: `hotkeys.f5` has that key",
                "another key",
            ),
            (
                plugin("[plugins.y]\nkey = 'f5'\non = 'all'\nrun = ['y']"),
                ":6: `plugins.y.key` cannot be `f5`: `plugins.x.key`",
                "another key",
            ),
            (
                plugin("dangrous = true"),
                ":5: `plugins.x.dangrous` is none of ours",
                "did you mean `dangerous`?",
            ),
            (
                plugin("dangerous = 'yes'"),
                ":5: `plugins.x.dangerous` is true or false",
                "without quotes",
            ),
            (
                plugin("confirm = 1"),
                "`plugins.x.confirm` is true or false",
                "without quotes",
            ),
            (
                with("key = 'f5'\n", ""),
                ":1: `plugins.x` has no `key`",
                "say which key",
            ),
            (
                with("on = 'all'\n", ""),
                "`plugins.x` has no `on`",
                "on what it works",
            ),
            (
                with("run = ['x']\n", ""),
                "`plugins.x` has no `run`",
                "what is run",
            ),
            (
                with("f5", "f13"),
                ":2: `plugins.x.key` cannot be `f13`",
                "f5",
            ),
            (
                with("'all'", "['instnaces']"),
                ":3: `plugins.x.on` cannot be `instnaces`",
                "did you mean `instances`?",
            ),
            (
                with("'all'", "'some'"),
                "is \"all\" or a list of kinds",
                "write on",
            ),
            (with("'all'", "[]"), "names no kind", "on = \"all\""),
            (
                with("['x']", "'x'"),
                ":4: `plugins.x.run` is a list of texts",
                "write [",
            ),
            (with("['x']", "[]"), "`plugins.x.run` is empty", "write ["),
            (
                with("['x']", "['$NAME']"),
                "cannot begin with `$NAME`",
                "the program itself",
            ),
            (
                with("['x']", "['~/x']"),
                "cannot begin with `~/x`",
                "whole path",
            ),
            (
                with("['x']", "['x', '$NAM']"),
                "cannot have `$NAM`",
                "did you mean `$NAME`?",
            ),
            (
                with("['x']", "['x', '$HOME']"),
                "cannot have `$HOME`",
                "no shell reads it",
            ),
            (
                with("['x']", "['x', '${NAME}']"),
                "cannot have `${NAME}`",
                "`$NAME` without braces",
            ),
            (
                with("['x']", "['x', '${HOME}']"),
                "cannot have `${HOME}`",
                "no shell reads it",
            ),
            (
                with("['x']", "['x', '${NAM}']"),
                "cannot have `${NAM}`",
                "did you mean `$NAME`?",
            ),
            (
                with("['x']", "['x', '${NAME}-x']"),
                "has `${NAME}` within `${NAME}-x`",
                "`$NAME` as an argument of its own",
            ),
            (
                with("['x']", "['x', '$HOME/x']"),
                "has `$HOME` within `$HOME/x`",
                "write out what it stands for",
            ),
            (
                with("['x']", "['x', '--dir=${HOME}/x']"),
                "has `${HOME}` within `--dir=${HOME}/x`",
                "no shell reads it",
            ),
            (
                with("['x']", "['x', '${NAME']"),
                "cannot have `${NAME`",
                "without braces",
            ),
            (
                with("['x']", "['sh', '-c', 'echo ${NAME}']"),
                "has `${NAME}` within",
                "of its own",
            ),
            (
                with("['x']", "['tar', '-c', '$HOME/x']"),
                "has `$HOME` within",
                "no shell reads it",
            ),
            (
                with("['x']", "['sh', '-c', 'echo $NAME']"),
                "has `$NAME` within",
                "of its own",
            ),
            (
                with("['x']", "['ssh', 'root@$NAME']"),
                "has `$NAME` within `root@$NAME`",
                "of its own",
            ),
        ] {
            let failure = read(&text).unwrap_err();
            assert!(failure.message.contains(message), "{text}: {failure}");
            assert!(failure.message.starts_with("/own/ui.toml:"), "{failure}");
            let remedy = failure.hint.unwrap_or_default();
            assert!(remedy.contains(hint), "{text}: {remedy}");
        }
    }

    #[test]
    fn what_a_file_gets_wrong_is_told_with_file_line_field_and_remedy() {
        for (text, message, hint) in [
            (
                "[alias]",
                ":1: `alias` is none of ours",
                "did you mean `aliases`?",
            ),
            (
                "[aliases]\nx = 'instnaces'",
                ":2: `aliases.x` cannot be `instnaces`",
                "did you mean `instances`?",
            ),
            (
                "[aliases]\nnetworks = 'volumes'",
                "`aliases.networks` is a command already",
                "choose a word",
            ),
            (
                "[aliases]\n'a b' = 'volumes'",
                "is no word",
                "leave out spaces",
            ),
            (
                "[aliases]\nx = ':volumes'",
                "begins with `:`",
                "leave the `:` out",
            ),
            ("[aliases]\nx = 1", ":2: `aliases.x` is a text", "in quotes"),
            (
                "[keys]\n\ndelte = 'x'",
                ":3: `keys.delte` is no action",
                "did you mean `delete`?",
            ),
            (
                "[keys]\ndelete = 'hyper-x'",
                ":2: `keys.delete` cannot be `hyper-x`",
                "shift-d",
            ),
            (
                "[keys]\ndelete = 'q'",
                "`q` does `leave` already",
                "another key",
            ),
            ("[keys]\na = 'x'\na = 'y'", "ui.toml:3: ", "TOML"),
        ] {
            let failure = read(text).unwrap_err();
            assert!(failure.message.contains(message), "{text}: {failure}");
            assert!(failure.message.starts_with("/own/ui.toml:"), "{failure}");
            let remedy = failure.hint.unwrap_or_default();
            assert!(remedy.contains(hint), "{text}: {remedy}");
        }
    }
}
