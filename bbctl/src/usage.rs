//! Turns the tree of commands into what its help says of groups and kinds, and a command line
//! that it does not understand into what is wrong with it.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli;
use crate::error::Failure;
use crate::kinds::Kind;
use crate::nearest::nearest;

/// The commands with what they do, group by group.
#[must_use]
pub fn grouped(command: &clap::Command, groups: &[(&str, &[&str])]) -> String {
    let groups = groups.iter().filter(|(_, verbs)| !verbs.is_empty());
    let groups = groups.map(|(heading, verbs)| {
        let lines: Vec<String> = verbs
            .iter()
            .filter_map(|verb| command.find_subcommand(verb))
            .map(|verb| {
                let about = verb
                    .get_about()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                format!("  {:<14} {about}", verb.get_name())
            })
            .collect();
        format!("{heading}:\n{}", lines.join("\n"))
    });
    groups.collect::<Vec<_>>().join("\n\n")
}

/// The commands of a noun, with words and examples of its kind for the verbs that all have.
#[must_use]
pub fn of_noun(noun: clap::Command, kind: &Kind) -> clap::Command {
    let (plural, singular, name) = (kind.plural, kind.singular, kind.sample);
    let words = [
        ("list", format!("List {plural}"), list_examples(kind)),
        (
            "get",
            format!("Show {plural} by name"),
            vec![format!("get {name}"), format!("get {name} -o yaml")],
        ),
        (
            "describe",
            format!("Explain {plural}: why one is not ready, its parts, its events"),
            vec![format!("describe {name}")],
        ),
        (
            "edit",
            format!("Change a {singular} in an editor"),
            vec![
                format!("edit {name}"),
                format!("edit {name} --dry-run=server"),
            ],
        ),
        (
            "wait",
            format!("Wait until {plural} are ready, or gone"),
            vec![
                format!("wait {name}"),
                format!("wait {name} --for=delete --timeout=10m"),
            ],
        ),
        (
            "delete",
            format!("Delete {plural}, after asking"),
            delete_examples(kind),
        ),
    ];
    let mut noun = noun.after_help(format!(
        "Examples:\n  bbctl {plural} list\n  bbctl {plural} describe {name}\n\n\
         Also called {singular} and {}.",
        kind.short
    ));
    let verbs: Vec<String> = noun
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    for (at, verb) in verbs.iter().enumerate() {
        // Those that every kind has stand around those of the kind.
        let order = match verb.as_str() {
            "list" => 0,
            "get" => 1,
            "describe" => 2,
            "create" => 3,
            "edit" => 4,
            "delete" => 98,
            "wait" => 99,
            _ => 10 + at,
        };
        noun = noun.mut_subcommand(verb, |verb| verb.display_order(order));
    }
    for (verb, about, examples) in words {
        let lines: Vec<String> = examples
            .iter()
            .map(|words| format!("  bbctl {plural} {words}"))
            .collect();
        noun = noun.mut_subcommand(verb, |verb| {
            verb.about(about)
                .after_help(format!("Examples:\n{}", lines.join("\n")))
        });
    }
    noun
}

fn list_examples(kind: &Kind) -> Vec<String> {
    let mut examples = vec!["list".to_owned()];
    match kind.namespaced {
        true => examples.push("list -A -o wide".to_owned()),
        false => examples.push("list -o wide".to_owned()),
    }
    examples
}

fn delete_examples(kind: &Kind) -> Vec<String> {
    let (name, word) = (kind.sample, kind.singular);
    match kind.kind {
        "Instance" | "Volume" => vec![format!("delete {name}"), format!("delete {name} --yes")],
        _ => vec![
            format!("delete {name}"),
            match kind.kind {
                "Tenant" | "Network" => format!("delete {name} --confirm={word}/{name} --cascade"),
                _ => format!("delete {name} --confirm={word}/{name}"),
            },
        ],
    }
}

/// What is wrong with a command line, in our words.
#[must_use]
pub fn misuse(argv: &[OsString], error: &clap::Error) -> Failure {
    let invalid = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let (path, command) = reached(argv);
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(word) = invalid(ContextKind::InvalidSubcommand)
    {
        let failure = Failure::usage(format!("there is no command `{path} {word}`"));
        let below: Vec<String> = verbs(&command).collect();
        return match nearest(&word, below.iter().map(String::as_str)) {
            Some(near) => failure.hint(format!("did you mean `{path} {near}`?")),
            None => failure.hint(format!("see `{path} --help`")),
        };
    }
    let incomplete = [
        ErrorKind::MissingSubcommand,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    if incomplete.contains(&error.kind()) {
        let mut below: Vec<(usize, &str)> = command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(|verb| (verb.get_display_order(), verb.get_name()))
            .collect();
        below.sort_unstable();
        let below: Vec<&str> = below.into_iter().map(|(_, name)| name).collect();
        return Failure::usage(format!("`{path}` does not say what to do"))
            .hint(format!("it takes {}", below.join(", ")));
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let message = text.split("\n\n").next().unwrap_or(text);
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let near = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
        ContextKind::SuggestedSubcommand,
    ];
    match near.into_iter().find_map(invalid) {
        Some(near) => Failure::usage(message).hint(format!("did you mean `{near}`?")),
        None => Failure::usage(message).hint(format!("see `{path} --help`")),
    }
}

/// How far the words of a command line lead into the tree: what is typed to get there, and the
/// command.
fn reached(argv: &[OsString]) -> (String, clap::Command) {
    let called = argv.first().map(|name| name.to_string_lossy().into_owned());
    let mut command = cli::command(cli::WIDEST, called.as_deref());
    let mut path = command.get_bin_name().unwrap_or("bbctl").to_owned();
    for word in argv.iter().skip(1) {
        let word = word.to_string_lossy();
        if let Some(below) = command.find_subcommand(word.as_ref()) {
            path = format!("{path} {}", below.get_name());
            command = below.clone();
        }
    }
    (path, command)
}

/// The names of the commands below one.
fn verbs(command: &clap::Command) -> impl Iterator<Item = String> {
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .flat_map(|below| below.get_name_and_visible_aliases())
        .map(str::to_owned)
}
