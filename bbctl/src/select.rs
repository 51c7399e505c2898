//! Turns the words after a verb into the kinds and names that they mean.

use crate::error::Failure;
use crate::kinds::{KINDS, Kind};

/// What a command is about.
#[derive(Debug)]
pub enum Selection {
    /// Every object of some kinds.
    All(Vec<&'static Kind>),
    /// Objects by name.
    Named(Vec<(&'static Kind, String)>),
}

/// Words that mean every kind.
const EVERY: [&str; 2] = ["all", "bitbuilder"];

impl Selection {
    /// Reads `KIND[,KIND]`, `KIND NAME...`, `KIND/NAME...`, `all` or `bitbuilder`.
    ///
    /// # Errors
    /// When a kind is unknown, a name is empty, or the forms are mixed.
    pub fn parse(words: &[String]) -> Result<Self, Failure> {
        let Some((first, rest)) = words.split_first() else {
            return Err(
                Failure::usage("say what: a KIND, a KIND and a NAME, or KIND/NAME")
                    .hint("as in `instances`, `instance www-1` or `instance/www-1`"),
            );
        };
        if words.iter().any(|word| word.contains('/')) {
            return words
                .iter()
                .map(|word| pair(word))
                .collect::<Result<_, _>>()
                .map(Self::Named);
        }
        let kinds = kinds(first)?;
        if rest.is_empty() {
            return Ok(Self::All(kinds));
        }
        if EVERY.contains(&first.as_str()) {
            return Err(Failure::usage(format!("`{first}` takes no names"))
                .hint("name the kind, as in `instance www-1`"));
        }
        let mut named = Vec::new();
        for kind in kinds {
            named.extend(rest.iter().map(|name| (kind, name.clone())));
        }
        Ok(Self::Named(named))
    }
}

fn kinds(words: &str) -> Result<Vec<&'static Kind>, Failure> {
    if EVERY.contains(&words.to_ascii_lowercase().as_str()) {
        return Ok(KINDS.iter().collect());
    }
    words
        .split(',')
        .map(|word| Kind::parse(word.trim()))
        .collect()
}

fn pair(word: &str) -> Result<(&'static Kind, String), Failure> {
    match word.split_once('/') {
        Some((kind, name)) if !name.is_empty() && !name.contains('/') => {
            Ok((Kind::parse(kind)?, name.to_owned()))
        }
        _ => Err(Failure::usage(format!("`{word}` is not KIND/NAME"))
            .hint("where one argument is KIND/NAME, all of them are")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Selection, Failure> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        Selection::parse(&words)
    }

    fn named(words: &str) -> Vec<String> {
        match parse(words).unwrap() {
            Selection::Named(list) => list
                .iter()
                .map(|(kind, name)| format!("{}/{name}", kind.singular))
                .collect(),
            Selection::All(_) => panic!("{words} names nothing"),
        }
    }

    #[test]
    fn names_come_after_a_kind_or_with_it() {
        assert_eq!(named("instance a b"), ["instance/a", "instance/b"]);
        assert_eq!(named("bbi/a networks/b"), ["instance/a", "network/b"]);
        assert_eq!(named("instance.bitbuilder.cloud/a"), ["instance/a"]);
        assert_eq!(named("network,volume x"), ["network/x", "volume/x"]);
    }

    #[test]
    fn all_and_bitbuilder_mean_every_kind() {
        for words in ["all", "bitbuilder"] {
            let Selection::All(kinds) = parse(words).unwrap() else {
                panic!("{words}")
            };
            assert_eq!(kinds.len(), KINDS.len());
        }
        let Selection::All(kinds) = parse("networks,bbi").unwrap() else {
            panic!()
        };
        assert_eq!(
            kinds.iter().map(|k| k.kind).collect::<Vec<_>>(),
            ["Network", "Instance"]
        );
    }

    #[test]
    fn mixed_or_empty_words_are_refused() {
        for words in [
            "",
            "instance/",
            "/x",
            "instance a/b",
            "instance/a b",
            "a/b/c",
            "all x",
            "po",
        ] {
            assert_eq!(parse(words).unwrap_err().exit.code(), 2, "{words}");
        }
    }
}
