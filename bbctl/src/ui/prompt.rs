//! Turns what is typed on the line at the bottom into a filter, or into where to go, with
//! completions on the way.

use std::collections::BTreeMap;

use crate::kinds::{KINDS, Kind};

use super::line::Line;
use super::model::Model;
use super::theme::Theme;

/// A line that is typed.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What for.
    pub what: What,
    /// What was typed.
    pub line: Line,
    /// Which completion is chosen.
    pub chosen: Option<usize>,
}

/// What a line is typed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// To go somewhere.
    Palette,
    /// To choose rows; the filter that was there before.
    Filter(String),
    /// To say what a setting is to be, by its name.
    Setting(String),
}

/// What a line of the palette means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The objects of a kind, perhaps of another context, perhaps filtered.
    Kind {
        /// The kind, by its plural.
        plural: &'static str,
        /// The context.
        context: Option<String>,
        /// What follows `/`.
        filter: String,
    },
    /// One tenant.
    Tenant(String),
    /// All tenants.
    All,
    /// Another context.
    Context(String),
    /// All at a glance.
    Pulses,
    /// The tree.
    Tree,
    /// The keys.
    Help,
    /// The commands that were run.
    Log,
    /// The settings.
    Settings,
    /// Other colours.
    Theme(Box<Theme>),
    /// A form for a new object of a kind, by its plural.
    Create(&'static str),
    /// The end.
    Quit,
}

/// Words that stand alone, and what they mean.
const ALONE: [(&str, Meaning); 10] = [
    ("pulses", Meaning::Pulses),
    ("tree", Meaning::Tree),
    ("help", Meaning::Help),
    ("log", Meaning::Log),
    ("settings", Meaning::Settings),
    ("all", Meaning::All),
    ("q", Meaning::Quit),
    ("q!", Meaning::Quit),
    ("quit", Meaning::Quit),
    ("exit", Meaning::Quit),
];

/// Words that another follows.
const LEADING: [&str; 6] = ["tenant", "ns", "ctx", "context", "theme", "create"];

/// The kinds that there is a form for.
pub const CREATABLE: [&str; 4] = ["tenant", "network", "instance", "volume"];

/// All words that a line of the palette may begin with, but for the user's own.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    let alone = ALONE.iter().map(|(word, _)| *word);
    crate::kinds::names().chain(alone).chain(LEADING)
}

/// Whether a line of the palette may begin with a word.
pub(super) fn is_known(word: &str) -> bool {
    Kind::named(word).is_some() || known().any(|known| known == word)
}

/// The word that a line of the palette begins with.
pub(super) fn first(line: &str) -> &str {
    line.split([' ', '@']).next().unwrap_or_default()
}

/// A line with what its first word stands for in the place of that word.
pub(super) fn expand(line: &str, aliases: &BTreeMap<String, String>) -> String {
    let line = line.trim();
    let word = first(line);
    match aliases.get(word) {
        Some(stands) => format!("{stands}{}", &line[word.len()..]),
        None => line.to_owned(),
    }
}

/// Understands a line of the palette.
///
/// # Errors
/// When it means nothing, with a sentence.
pub fn understand(text: &str, model: &Model) -> Result<Meaning, String> {
    let text = expand(text, &model.settings.own.aliases);
    let text = text.as_str();
    let (words, filter) = match text.split_once(" /") {
        Some((words, filter)) => (words.trim(), filter.trim().to_owned()),
        None => (text, String::new()),
    };
    if let Some((_, meaning)) = ALONE.iter().find(|(word, _)| *word == words) {
        return Ok(meaning.clone());
    }
    if let Some((word, rest)) = words.split_once(' ') {
        let rest = rest.trim();
        match word {
            "tenant" | "ns" => return Ok(Meaning::Tenant(rest.to_owned())),
            "ctx" | "context" => {
                let known = model.at.contexts.iter().any(|context| context == rest);
                return match known {
                    true => Ok(Meaning::Context(rest.to_owned())),
                    false => Err(format!("the kubeconfig has no context `{rest}`")),
                };
            }
            "theme" => {
                let theme = model.settings.theme(rest)?;
                return Ok(Meaning::Theme(Box::new(theme)));
            }
            "create" => {
                let kind = Kind::named(rest).filter(|k| CREATABLE.contains(&k.singular));
                return kind
                    .map(|kind| Meaning::Create(kind.plural))
                    .ok_or_else(|| {
                        format!("there is no form for `{rest}`: {}", CREATABLE.join(", "))
                    });
            }
            _ => {}
        }
    }
    let (name, context) = match words.split_once('@') {
        Some((name, context)) => (name, Some(context.to_owned())),
        None => (words, None),
    };
    if let Some(context) = &context
        && !model.at.contexts.contains(context)
    {
        return Err(format!("the kubeconfig has no context `{context}`"));
    }
    match Kind::named(name) {
        Some(kind) => Ok(Meaning::Kind {
            plural: kind.plural,
            context,
            filter,
        }),
        None if LEADING.contains(&name) => Err(format!("say which: {name} NAME")),
        None => Err(match crate::nearest::nearest(name, known()) {
            Some(near) => format!("there is no `{name}`; did you mean `{near}`?"),
            None => {
                format!("there is no `{name}`: a kind, pulses, tree, tenant NAME, ctx NAME")
            }
        }),
    }
}

/// What a line of the palette could become.
#[must_use]
pub fn completions(text: &str, model: &Model) -> Vec<String> {
    let text = text.trim_start();
    let all: Vec<String> = if text.contains(" /") {
        Vec::new()
    } else if let Some((word, _)) = text.split_once(' ') {
        let second: Vec<String> = match word {
            "tenant" | "ns" => model.favourites_all(),
            "ctx" | "context" => model.at.contexts.clone(),
            "theme" => model.settings.themes(),
            "create" => CREATABLE.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        };
        second
            .into_iter()
            .map(|name| format!("{word} {name}"))
            .collect()
    } else if let Some((kind, _)) = text.split_once('@') {
        model
            .at
            .contexts
            .iter()
            .map(|context| format!("{kind}@{context}"))
            .collect()
    } else {
        let kinds = KINDS.iter().map(|kind| kind.plural.to_owned());
        let words = [
            "pulses", "tree", "tenant ", "ctx ", "create ", "theme ", "settings", "all", "log",
            "help", "quit",
        ];
        let aliases = model.settings.own.aliases.keys().cloned();
        kinds
            .chain(words.map(str::to_owned))
            .chain(aliases)
            .collect()
    };
    all.into_iter()
        .filter(|word| word.starts_with(text) && word != text)
        .collect()
}

impl Prompt {
    /// An empty line of the palette.
    #[must_use]
    pub fn palette() -> Self {
        Self {
            what: What::Palette,
            line: Line::default(),
            chosen: None,
        }
    }

    /// A line with a setting in force.
    #[must_use]
    pub fn setting(name: &str, present: &str) -> Self {
        Self {
            what: What::Setting(name.to_owned()),
            line: Line::new(present),
            chosen: None,
        }
    }

    /// A line with the filter in force.
    #[must_use]
    pub fn filter(present: &str) -> Self {
        Self {
            what: What::Filter(present.to_owned()),
            line: Line::new(present),
            chosen: None,
        }
    }
}
