//! Turns the settings in force into rows of a screen, and what is chosen there into the command
//! that keeps it.

use crate::out::Format;
use crate::start::config;
use crate::start::settings::Setting;
use crate::style::Tone;
use clap::ValueEnum as _;

use super::event::{Command, Effect, Why};
use super::keys::Action;
use super::model::{Model, Over};
use super::place::Place;
use super::prompt::Prompt;
use super::settings::{self, Readonly};
use super::theme::Theme;

/// The keys that matter there, in the footer.
pub const KEYS: &str = " left/right: choose  enter: keep or type  esc: back  ?: help";
/// The settings that matter there, first.
const FIRST: [&str; 5] = ["theme", "refresh", "readonly", "favourites", "context"];

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it is, and where that comes from.
    pub setting: Setting,
    /// Whether that counts before the user's file.
    pub is_first: bool,
}

/// The settings on the screen.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// Which row has the cursor.
    pub at: usize,
    /// What was chosen for that row and is not kept yet.
    pub chosen: Option<String>,
    /// How the screen would look with it.
    pub seen: Option<Theme>,
}

/// A row of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Under which heading it stands.
    pub group: &'static str,
    /// What it is called.
    pub name: String,
    /// What it is; empty: none.
    pub value: String,
    /// Where that comes from.
    pub source: String,
    /// What it is about.
    pub about: String,
    /// How it is changed.
    pub change: Change,
}

/// How a setting is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is one of these.
    Choose(Vec<String>),
    /// It is typed.
    Type,
    /// Not here, and what to do instead.
    Not(String),
}

/// The rows, settings first.
#[must_use]
pub fn rows(model: &Model) -> Vec<Row> {
    let mut rows: Vec<Row> = model.told.iter().map(|told| setting(told, model)).collect();
    let place = |row: &Row| FIRST.iter().position(|name| *name == row.name);
    rows.sort_by_key(|row| place(row).unwrap_or(FIRST.len()));
    let own = &model.settings.own;
    let mut add = |group: &'static str, entries: Vec<(String, String)>, none: &str| {
        let (entries, source) = match entries.is_empty() {
            true => (vec![("none".to_owned(), none.to_owned())], "default"),
            false => (entries, own.file.as_str()),
        };
        rows.extend(entries.into_iter().map(|(name, value)| Row {
            group,
            name,
            value,
            source: source.to_owned(),
            about: String::new(),
            change: Change::Not(match own.file.as_str() {
                "" => "there is no folder of settings: set HOME".to_owned(),
                file => format!("written in {file}, which is read at the start"),
            }),
        }));
    };
    let moved = own.keys.moved();
    let moved = moved.map(|(binding, keys)| (binding.word.to_owned(), keys.join(" ")));
    add("Other keys", moved.collect(), "keys are as in ?");
    let aliases = own.aliases.iter();
    let aliases = aliases.map(|(word, line)| (format!(":{word}"), format!(":{line}")));
    add("Aliases", aliases.collect(), "");
    let hotkeys = own.hotkeys.iter();
    let hotkeys = hotkeys.map(|hotkey| (hotkey.key.name(), format!(":{}", hotkey.line)));
    add("Hotkeys", hotkeys.collect(), "");
    let plugins = own.plugins.iter();
    let plugins = plugins.map(|p| (p.name.clone(), format!("{}: {}", p.key.name(), p.line())));
    add("Plugins", plugins.collect(), "");
    rows
}

fn setting(told: &Told, model: &Model) -> Row {
    let Setting {
        setting: name,
        value,
        source,
    } = told.setting.clone();
    let change = match name {
        _ if told.is_first => Change::Not(format!("{source} says so, and counts before your file")),
        "folder" => Change::Not("BBCTL_HOME names another one".to_owned()),
        name if !config::is_settable(name) => {
            Change::Not("written in bitbuilder.toml of the working folder".to_owned())
        }
        name => match choices(name, &value, model) {
            Some(choices) => Change::Choose(choices),
            None => Change::Type,
        },
    };
    let more = match name {
        "theme" if model.settings.colourless => "; NO_COLOR or --no-color leaves none",
        "context" => "; `:ctx NAME` looks there now",
        "kubeconfig" | "namespace" => "; it counts from the next start on",
        "readonly" if model.readonly => "; until the end it stays so",
        _ => "",
    };
    Row {
        group: "Settings",
        name: name.to_owned(),
        about: format!("{}{more}", config::about(name)),
        value,
        source,
        change,
    }
}

/// What a setting can be, where that is a list.
fn choices(name: &str, value: &str, model: &Model) -> Option<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut choices: Vec<String> = match name {
        "theme" => model.settings.themes(),
        "refresh" => words(&["100ms", "250ms", "500ms", "1s", "2s", "5s"]),
        "readonly" => {
            let context = Some(model.at.context.clone()).filter(|context| !context.is_empty());
            let truths = ["false", "true"].map(str::to_owned);
            truths.into_iter().chain(context).collect()
        }
        "context" => model.at.contexts.clone(),
        "output" => {
            let names = Format::value_variants().iter();
            let names = names.filter_map(clap::ValueEnum::to_possible_value);
            names.map(|name| name.get_name().to_owned()).collect()
        }
        _ => return None,
    };
    if !value.is_empty() && !choices.iter().any(|choice| choice == value) {
        choices.push(value.to_owned());
    }
    Some(choices)
}

/// Takes a key, if it is one for this screen.
pub(super) fn press(model: &mut Model, action: Action) -> Option<Vec<Effect>> {
    let rows = rows(model);
    let page = model.height().saturating_sub(4).max(1);
    let most = rows.len().saturating_sub(1);
    let Place::Settings(sheet) = model.place_mut() else {
        return None;
    };
    let at = sheet.at.min(most);
    let row = rows.get(at)?;
    let next = match action {
        Action::Down => (at + 1).min(most),
        Action::Up => at.saturating_sub(1),
        Action::PageDown => (at + page).min(most),
        Action::PageUp => at.saturating_sub(page),
        Action::Top => 0,
        Action::Bottom => most,
        Action::Left | Action::Right => {
            choose(model, row, action == Action::Right);
            return Some(Vec::new());
        }
        Action::Enter => return Some(enter(model, row)),
        // What was only looked at goes first.
        Action::Back if sheet.chosen.is_some() => at,
        _ => return None,
    };
    *sheet = Sheet {
        at: next,
        ..Sheet::default()
    };
    Some(Vec::new())
}

/// Goes to the next of what a setting can be, without keeping it.
fn choose(model: &mut Model, row: &Row, forward: bool) {
    let Change::Choose(choices) = &row.change else {
        let why = match &row.change {
            Change::Not(why) => why.clone(),
            _ => "enter: type it".to_owned(),
        };
        model.say(Tone::Waiting, format!("{}: {why}", row.name));
        return;
    };
    let Place::Settings(sheet) = model.place() else {
        return;
    };
    let now = sheet.chosen.as_ref().unwrap_or(&row.value);
    let at = choices.iter().position(|choice| choice == now);
    let count = choices.len();
    let next = match (at, forward) {
        (None, _) => 0,
        (Some(at), true) => (at + 1) % count,
        (Some(at), false) => (at + count - 1) % count,
    };
    let Some(next) = choices.get(next).cloned() else {
        return;
    };
    let seen = (row.name == "theme").then(|| model.settings.theme(&next));
    let seen = match seen {
        Some(Ok(theme)) => Some(theme),
        Some(Err(why)) => {
            model.say(Tone::Waiting, why);
            None
        }
        None => None,
    };
    if let Place::Settings(sheet) = model.place_mut() {
        sheet.chosen = Some(next).filter(|next| *next != row.value);
        sheet.seen = seen;
    }
}

/// Keeps what was chosen, or lets it be typed.
fn enter(model: &mut Model, row: &Row) -> Vec<Effect> {
    let Place::Settings(sheet) = model.place() else {
        return Vec::new();
    };
    match (&row.change, sheet.chosen.clone()) {
        (Change::Not(why), _) => model.say(Tone::Waiting, format!("{}: {why}", row.name)),
        (Change::Choose(_), Some(chosen)) => return keep(model, &row.name, &chosen),
        (Change::Choose(_), None) => model.say(Tone::Plain, "left or right: choose another"),
        (Change::Type, _) => {
            let prompt = Prompt::setting(&row.name, &row.value);
            model.over = Some(Over::Prompt(prompt));
        }
    }
    Vec::new()
}

/// Asks to keep a setting, if it can be that.
pub(super) fn keep(model: &mut Model, name: &str, value: &str) -> Vec<Effect> {
    let known = match (name, value) {
        (_, "") => Ok(()),
        ("theme", value) => model.settings.find(value).map(drop),
        (name, value) => config::check(name, value).map_err(|failure| failure.message),
    };
    if let Err(why) = known {
        model.say(Tone::Bad, why);
        return Vec::new();
    }
    let mut args = vec!["config", "set", name];
    // What begins like a flag is none.
    if value.starts_with('-') {
        args.push("--");
    }
    args.push(value);
    let command = Command {
        why: Why::Setting,
        ..Command::new(args)
    };
    model.log(&command);
    vec![Effect::Run(command)]
}

/// A setting was kept: it is in force from now on where that is possible.
pub(super) fn kept(model: &mut Model, command: &Command) -> Vec<Effect> {
    let (Some(name), Some(value)) = (command.args.get(2), command.args.last()) else {
        return Vec::new();
    };
    let now = obey(model, name, value);
    let value = match value.as_str() {
        "" => "as it is by default",
        value => value,
    };
    let more = if now { "" } else { " from the next start on" };
    model.say(Tone::Good, format!("{name} is {value}{more}"));
    for place in &mut model.stack {
        if let Place::Settings(sheet) = place {
            (sheet.chosen, sheet.seen) = (None, None);
        }
    }
    vec![Effect::Explain]
}

/// Takes a setting over, and says whether it could.
fn obey(model: &mut Model, name: &str, value: &str) -> bool {
    let Model {
        settings, theme, ..
    } = model;
    match name {
        "theme" if settings.colourless => return false,
        "theme" if value.is_empty() => *theme = Theme::default(),
        "theme" => match settings.theme(value) {
            Ok(chosen) => *theme = chosen,
            Err(_) => return false,
        },
        "refresh" if value.is_empty() => settings.refresh = settings::REFRESH,
        "refresh" => match settings::refresh(value) {
            Ok(refresh) => settings.refresh = refresh,
            Err(_) => return false,
        },
        "favourites" => settings.favourites = settings::list(value),
        "readonly" => {
            let readonly = match value {
                "" => Ok(Readonly::Everywhere(false)),
                value => Readonly::parse(value),
            };
            let Ok(readonly) = readonly else { return false };
            // Who looks and must not touch does not get out of that by a key, in no context.
            let floor = model.readonly_floor.and(&readonly);
            let is_all = readonly.and(&floor) == readonly;
            settings.readonly = readonly;
            model.readonly |= floor.holds(&model.at.context);
            model.readonly_floor = floor;
            return is_all;
        }
        _ => return false,
    }
    true
}

/// The settings were read.
pub(super) fn explained(model: &mut Model, told: Result<Vec<Told>, String>) {
    match told {
        Ok(told) => model.told = told,
        Err(why) => model.say(Tone::Bad, why),
    }
}
