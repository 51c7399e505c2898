//! Turns the tree of commands into pages of Markdown and into man pages.

use std::fmt::Write as _;

use clap_mangen::Man;

use crate::cli::{self, GROUPS};

/// How wide help is on a page.
const WIDTH: usize = 100;

/// A page: the name of its file, and what is in it.
pub type Page = (String, String);

/// The pages of Markdown: one of all commands, and one for each command below the root.
#[must_use]
pub fn markdown() -> Vec<Page> {
    let root = cli::command(WIDTH, None);
    let mut pages = vec![("README.md".to_owned(), index(&root))];
    for command in below(&root) {
        let mut page = String::new();
        section(command, "bbctl", 1, &mut page);
        page.push_str("Global options are on [the first page](README.md#global-options).\n");
        pages.push((format!("{}.md", command.get_name()), page));
    }
    pages
}

fn below(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
}

fn index(root: &clap::Command) -> String {
    let mut page = String::from(
        "# bbctl\n\nEvery command, as `bbctl help COMMAND` explains it. These pages are made from the \
         commands themselves:\n`bbctl man --markdown DIR`. How commands end is in \
         [0009](../design/0009-bbctl.md#exit-codes).\n",
    );
    for (heading, names) in GROUPS.iter().filter(|(_, names)| !names.is_empty()) {
        let _ = write!(page, "\n## {heading}\n\n| command | |\n|---|---|\n");
        for command in names.iter().filter_map(|name| root.find_subcommand(name)) {
            let _ = writeln!(
                page,
                "| [`{0}`]({0}.md) | {1} |",
                command.get_name(),
                about(command)
            );
        }
    }
    let globals = clap::Command::new("bbctl")
        .args(root.get_arguments().cloned())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .help_template("{options}")
        .term_width(WIDTH);
    let _ = write!(
        page,
        "\n## Global options\n\n```text\n{}\n```\n",
        text(globals)
    );
    page
}

fn about(command: &clap::Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    about.unwrap_or_default()
}

/// A command and all below it: what it is for, its usage and options, its examples.
fn section(command: &clap::Command, before: &str, level: usize, page: &mut String) {
    let path = format!("{before} {}", command.get_name());
    let _ = write!(
        page,
        "{} {path}\n\n{}.\n\n```text\n{}\n```\n\n",
        "#".repeat(level),
        about(command).trim_end_matches('.'),
        text(alone(command, &path))
    );
    for below in below(command) {
        section(below, &path, (level + 1).min(3), page);
    }
}

/// The command without what all commands take.
fn alone(command: &clap::Command, path: &str) -> clap::Command {
    let command = command.clone().bin_name(path).term_width(WIDTH);
    let options = command.get_arguments().any(|arg| !arg.is_positional());
    let arguments = command.get_positionals().next().is_some();
    let mut template = String::from("{usage-heading} {usage}");
    if command.get_subcommands().next().is_some() {
        template.push_str("\n\nCommands:\n{subcommands}");
    }
    if arguments {
        template.push_str("\n\nArguments:\n{positionals}");
    }
    if options {
        template.push_str("\n\nOptions:\n{options}");
    }
    template.push_str("{after-help}");
    command
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .help_template(template)
}

fn text(mut command: clap::Command) -> String {
    let text = command.render_help().to_string();
    let text = text.trim_end().trim_start_matches('\n');
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The man pages: one for the root and one for each command, by the usual names.
///
/// # Errors
/// None that a string could cause; those of the writer.
pub fn man() -> std::io::Result<Vec<Page>> {
    let mut root = cli::command(WIDTH, None).disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    man_of(&root, "bbctl", &mut pages)?;
    Ok(pages)
}

fn man_of(command: &clap::Command, name: &str, pages: &mut Vec<Page>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    // The template is for terminals; a man page has its own parts.
    let page = command.clone().display_name(name.to_owned());
    Man::new(page).title(name).render(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    pages.push((format!("{name}.1"), text));
    for below in below(command).filter(|below| below.get_name() != "help" || name == "bbctl") {
        man_of(below, &format!("{name}-{}", below.get_name()), pages)?;
    }
    Ok(())
}
