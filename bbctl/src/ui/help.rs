//! Turns the table of keys into the page that explains them.

use crate::style::Tone;

use super::keys::{KEYS, Keymap, On};
use super::model::Model;
use super::text::Text;

/// How many lines of the help fit the screen.
#[must_use]
pub fn height(model: &Model) -> usize {
    model.height().saturating_sub(2)
}

/// The page, line by line, with the keys in force.
#[must_use]
pub fn lines(model: &Model) -> Vec<Text> {
    let mut lines = Vec::new();
    let mut group = "";
    for binding in &KEYS {
        if binding.group != group {
            if !group.is_empty() {
                lines.push(Text::default());
            }
            group = binding.group;
            lines.push(Text::of(Tone::Head, group));
        }
        let keys = keys(&model.settings.own.keys, binding.action);
        let dead = binding.changes && model.readonly;
        let tone = if dead { Tone::Faint } else { Tone::Plain };
        let more = match (dead, binding.on) {
            (true, _) => " (off: read-only)",
            (_, On::Instances) => " (instances)",
            (_, On::Sized) => " (instances, volumes)",
            (_, On::Planned) => " (networks, volumes, instances)",
            _ => "",
        };
        lines.push(
            Text::of(Tone::Head, format!("  {keys:<16}"))
                .and(tone, format!("{}{more}", binding.does)),
        );
    }
    lines.extend(own(model));
    lines
}

/// What the user has made their own.
fn own(model: &Model) -> Vec<Text> {
    let own = &model.settings.own;
    let mut lines = Vec::new();
    let mut add = |key: &str, tone: Tone, does: String| {
        lines.push(Text::of(Tone::Head, format!("  {key:<16}")).and(tone, does));
    };
    for hotkey in &own.hotkeys {
        add(&hotkey.key.name(), Tone::Plain, format!(":{}", hotkey.line));
    }
    for plugin in &own.plugins {
        let (tone, more) = match (plugin.dangerous, plugin.confirm) {
            (true, _) if model.readonly => (Tone::Faint, "off: read-only".to_owned()),
            (true, _) | (_, true) => (Tone::Plain, format!("{}; asks first", plugin.scope())),
            (false, false) => (Tone::Plain, plugin.scope()),
        };
        let does = format!("{} ({more})", plugin.does);
        add(&plugin.key.name(), tone, does);
    }
    for (word, line) in &own.aliases {
        add(&format!(":{word}"), Tone::Plain, format!(":{line}"));
    }
    if !lines.is_empty() {
        lines.splice(0..0, [Text::default(), Text::of(Tone::Head, "Your own")]);
    }
    lines
}

/// The keys of an action as the help has them: nine digits are a range.
fn keys(map: &Keymap, action: super::keys::Action) -> String {
    let names = map.names(action);
    match names.as_slice() {
        [first, .., last] if names.len() > 4 => format!("{first} to {last}"),
        names => names.join(" "),
    }
}

/// The page of the documentation: a table for each group.
#[must_use]
pub fn markdown() -> String {
    let map = Keymap::default();
    let mut text = String::new();
    let mut group = "";
    for binding in &KEYS {
        if binding.group != group {
            group = binding.group;
            text.push_str(&format!(
                "\n### {group}\n\n| key | does | word in settings |\n|---|---|---|\n"
            ));
        }
        let keys = keys(&map, binding.action).replace('|', "\\|");
        let mark = if binding.changes {
            "; dead in read-only mode"
        } else {
            ""
        };
        text.push_str(&format!(
            "| `{keys}` | {}{mark} | `{}` |\n",
            binding.does, binding.word
        ));
    }
    text
}
