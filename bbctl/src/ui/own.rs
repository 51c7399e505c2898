//! Turns a file of a user's own into keys and words of the dashboard, or into what is wrong with it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Failure;

use super::keys::Keymap;
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
}

/// What a file may have at its top.
const KNOWN: [&str; 2] = ["aliases", "keys"];

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
    Ok(Own {
        file: path.display().to_string(),
        aliases,
        keys,
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
