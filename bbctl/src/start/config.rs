//! Turns flags, environment and files of settings into the settings in force, each with its source.
//!
//! A flag counts before the environment, that before the project's file, that before the user's,
//! and that before the system's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use toml_edit::{DocumentMut, Item, Value};

use super::place::{self, PROJECT};
use super::settings::{self, Setting};
use crate::age::parse_duration;
use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::nearest::nearest;
use crate::out::{Format, Out};
use crate::pin;
use crate::set::SetName;
use crate::ui::files::must_be_a_theme;
use crate::ui::settings::list;
use clap::ValueEnum as _;

/// The file of settings of a user, in their folder.
pub const USER: &str = "settings.toml";
/// The file of settings of the machine.
pub const SYSTEM: &str = "/etc/bitbuilder/settings.toml";

/// A setting that files may have.
#[derive(Clone, Copy, Debug)]
struct Known {
    name: &'static str,
    flag: &'static str,
    about: &'static str,
    /// Whether a folder may say it. One that was got from somebody else must not decide which
    /// cluster is spoken to.
    project: bool,
    /// Whether `bbctl config set` writes it.
    set: bool,
    /// What a file may have in its place.
    shape: Shape,
}

/// What a file may have in the place of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A text.
    Text,
    /// A text, or a list of texts.
    List,
    /// The same, or true or false.
    Truth,
}

const KNOWN: [Known; 11] = [
    Known {
        name: "namespace",
        flag: "--namespace",
        about: "the namespace to work in",
        project: true,
        set: true,
        shape: Shape::Text,
    },
    Known {
        name: "context",
        flag: "--context",
        about: "the context of the kubeconfig",
        project: false,
        set: true,
        shape: Shape::Text,
    },
    Known {
        name: "kubeconfig",
        flag: "--kubeconfig",
        about: "the kubeconfig",
        project: false,
        set: true,
        shape: Shape::Text,
    },
    Known {
        name: "output",
        flag: "--output",
        about: "how data is written: table, wide, json, yaml or name",
        project: false,
        set: true,
        shape: Shape::Text,
    },
    Known {
        name: "timeout",
        flag: "--timeout",
        about: "how long to wait",
        project: true,
        set: true,
        shape: Shape::Text,
    },
    Known {
        name: "files",
        flag: "",
        about: "what `bbctl apply` without -f applies",
        project: true,
        set: false,
        shape: Shape::List,
    },
    Known {
        name: "set",
        flag: "",
        about: "the set that those files make up, which `--prune` is about",
        project: true,
        set: false,
        shape: Shape::Text,
    },
    Known {
        name: "theme",
        flag: "--theme",
        about: "the colours of the dashboard: dark, light, mono or a skin of your own",
        project: false,
        set: true,
        shape: Shape::Text,
    },
    Known {
        name: "refresh",
        flag: "",
        about: "how often the dashboard draws at most what changed: 250ms",
        project: false,
        set: true,
        shape: Shape::Text,
    },
    Known {
        name: "readonly",
        flag: "--readonly",
        about: "where the dashboard changes nothing: true, false, or contexts",
        project: false,
        set: true,
        shape: Shape::Truth,
    },
    Known {
        name: "favourites",
        flag: "",
        about: "the namespaces behind the keys 1 to 9 of the dashboard",
        project: false,
        set: true,
        shape: Shape::List,
    },
];

const EXAMPLES: &str = "\
Examples:
  bbctl config explain
  bbctl config view
  bbctl config set namespace acme
  bbctl config set timeout 2m --project
  bbctl config set theme light
  bbctl config set readonly live";

/// What can be done with settings.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show each setting in force, and where it comes from
    #[command(after_help = EXAMPLES)]
    Explain,
    /// Show what the user's file of settings says
    #[command(after_help = EXAMPLES)]
    View,
    /// Write a setting into the user's file
    Set(SetArgs),
}

/// What `bbctl config set` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SetArgs {
    /// The setting: namespace, context, kubeconfig, output, timeout, theme, refresh, readonly or
    /// favourites
    #[arg(value_name = "SETTING")]
    pub setting: String,
    /// Its value, several with commas between them; empty takes it out
    #[arg(value_name = "VALUE")]
    pub value: String,
    /// Write into bitbuilder.toml of this folder instead
    #[arg(long)]
    pub project: bool,
}

/// The settings of one file.
#[derive(Clone, Debug, Default)]
struct Source {
    path: PathBuf,
    said: BTreeMap<String, String>,
}

/// Settings from files and environment, those that count first.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    env: BTreeMap<String, String>,
    files: Vec<Source>,
}

/// Reads all files that there are.
///
/// # Errors
/// When one cannot be read or understood.
pub fn layers(env: &BTreeMap<String, String>) -> Result<Layers, Failure> {
    let mut files = Vec::new();
    let project = project_file(env);
    let user = place::folder(env).ok().map(|folder| folder.join(USER));
    let system = PathBuf::from(SYSTEM);
    let all = [(Some(project), true), (user, false), (Some(system), false)];
    for (path, is_project) in all {
        let Some(path) = path else { continue };
        if let Some(text) = place::read(&path)? {
            let said = parse(&text, &path, is_project)?;
            files.push(Source { path, said });
        }
    }
    Ok(Layers {
        env: env.clone(),
        files,
    })
}

/// The project's file: the one that `BBCTL_PROJECT` names, or that of the working folder.
pub(crate) fn project_file(env: &BTreeMap<String, String>) -> PathBuf {
    let named = env.get("BBCTL_PROJECT").filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from(PROJECT), PathBuf::from)
}

fn parse(text: &str, path: &Path, project: bool) -> Result<BTreeMap<String, String>, Failure> {
    let wrong = |words: String| Failure::usage(format!("{}: {words}", path.display()));
    let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        wrong(error.message().to_owned()).hint("correct the file; it is TOML")
    })?;
    let mut said = BTreeMap::new();
    for (name, item) in document.iter() {
        let known = KNOWN
            .iter()
            .find(|known| known.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
                wrong(format!("there is no setting `{name}`"))
                    .hint(format!("the settings are {}", names.join(", ")))
            })?;
        if project && !known.project {
            return Err(wrong(format!("`{name}` cannot be said by a folder"))
                .hint("put it into your own settings with `bbctl config set`"));
        }
        let value = words(item, known.shape).ok_or_else(|| {
            let may = match known.shape {
                Shape::Text => "a text",
                Shape::List => "a text or a list of texts",
                Shape::Truth => "true, false, a text or a list of texts",
            };
            wrong(format!("`{name}` is {may}"))
        })?;
        check(name, &value).map_err(|failure| wrong(failure.message.clone()))?;
        said.insert(name.to_owned(), value);
    }
    Ok(said)
}

fn words(item: &Item, shape: Shape) -> Option<String> {
    match item.as_value()? {
        Value::String(text) => Some(text.value().clone()),
        Value::Array(list) if shape != Shape::Text => {
            let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            words.map(|words| words.join("\n"))
        }
        Value::Boolean(truth) if shape == Shape::Truth => Some(truth.value().to_string()),
        _ => None,
    }
}

/// What a setting is about, in a few words.
pub(crate) fn about(name: &str) -> &'static str {
    let known = KNOWN.iter().find(|known| known.name == name);
    known.map_or("", |known| known.about)
}

/// Whether `bbctl config set` writes a setting.
pub(crate) fn is_settable(name: &str) -> bool {
    KNOWN.iter().any(|known| known.set && known.name == name)
}

/// Makes sure that a setting can be what it is to be.
///
/// # Errors
/// When it cannot.
pub(crate) fn check(name: &str, value: &str) -> Result<(), Failure> {
    let good = match name {
        "timeout" => parse_duration(value).map(drop),
        "output" => Format::from_str(value, true).map(drop),
        "set" => value.parse::<SetName>().map(drop),
        "refresh" => crate::ui::settings::refresh(value).map(drop),
        "readonly" => crate::ui::settings::Readonly::parse(value).map(drop),
        _ => Ok(()),
    };
    good.map_err(|words| Failure::usage(format!("`{value}` cannot be {name}: {words}")))
}

impl Layers {
    /// What is said of a setting below its flag, and by whom.
    fn get(&self, known: &Known) -> Option<(String, String)> {
        let variable = format!("BBCTL_{}", known.name.to_ascii_uppercase());
        if let Some(value) = self.env.get(&variable).filter(|value| !value.is_empty()) {
            return Some((value.clone(), variable));
        }
        if pin::is_fixed(known.name, &self.env) {
            return None;
        }
        let file = self
            .files
            .iter()
            .find(|file| file.said.contains_key(known.name))?;
        Some((
            file.said[known.name].clone(),
            file.path.display().to_string(),
        ))
    }

    /// What is said of a setting below its flag, and by whom.
    pub(crate) fn said(&self, name: &str) -> Option<(String, String)> {
        KNOWN
            .iter()
            .find(|known| known.name == name)
            .and_then(|known| self.get(known))
    }

    /// What `bbctl apply` without -f applies, relative to the project's file.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let base = project_file(&self.env);
        let base = base.parent().unwrap_or(Path::new("")).to_path_buf();
        let files = self
            .said("files")
            .map(|(files, _)| files)
            .unwrap_or_default();
        files.lines().map(|file| base.join(file)).collect()
    }

    /// The set that those files make up, if they do.
    ///
    /// # Errors
    /// When what is said cannot be the name of one.
    pub fn set(&self) -> Result<Option<SetName>, Failure> {
        let Some((name, source)) = self.said("set") else {
            return Ok(None);
        };
        let name = name.parse::<SetName>();
        name.map(Some)
            .map_err(|words| Failure::usage(format!("{source}: {words}")))
    }

    /// Fills in what no flag says.
    ///
    /// # Errors
    /// When the environment says what cannot be.
    pub fn fill(&self, globals: &mut Globals) -> Result<(), Failure> {
        for known in &KNOWN {
            if let Some((value, source)) = self.get(known) {
                check(known.name, &value)
                    .map_err(|failure| Failure::usage(format!("{source}: {}", failure.message)))?;
            }
        }
        let flags = globals.clone();
        let filled = KNOWN.iter().filter(|known| flag(known, &flags).is_none());
        globals.filled = filled.map(|known| known.name).collect();
        let value = |name: &str| self.said(name).map(|(value, _)| value);
        let own = |name: &str, said: &Option<String>| said.clone().or_else(|| value(name));
        if globals.namespace.is_none() {
            globals.namespace_from = self.said("namespace").map(|(_, source)| source);
        }
        globals.namespace = own("namespace", &globals.namespace);
        globals.context = own("context", &globals.context);
        let kubeconfig = globals.kubeconfig.take();
        globals.kubeconfig = kubeconfig.or_else(|| value("kubeconfig").map(PathBuf::from));
        if globals.timeout.is_none() {
            globals.timeout = value("timeout").and_then(|text| parse_duration(&text).ok());
        }
        if globals.output.is_none() {
            let format = value("output").and_then(|text| Format::from_str(&text, true).ok());
            globals.output = format;
        }
        Ok(())
    }

    /// Each setting in force, and where it comes from. `globals` are the flags, filled in or not.
    #[must_use]
    pub fn explain(&self, globals: &Globals) -> Vec<Setting> {
        let mut all: Vec<Setting> = KNOWN.iter().map(|known| self.one(known, globals)).collect();
        let folder = place::folder(&self.env);
        let folder = folder
            .map(|folder| folder.display().to_string())
            .unwrap_or_default();
        let source = match self.env.get("BBCTL_HOME").filter(|home| !home.is_empty()) {
            Some(_) => "BBCTL_HOME",
            None if self.env.contains_key("XDG_CONFIG_HOME") => {
                "~/.bbctl where it exists, else $XDG_CONFIG_HOME/bbctl"
            }
            None => "default",
        };
        all.push(Setting::new("folder", folder, source));
        all
    }

    fn one(&self, known: &Known, globals: &Globals) -> Setting {
        let flag = match globals.filled.contains(&known.name) {
            true => None,
            false => flag(known, globals),
        };
        if let Some(value) = flag {
            return Setting::new(known.name, value, known.flag);
        }
        if let Some((value, source)) = self.get(known) {
            return Setting::new(known.name, value.replace('\n', ", "), source);
        }
        let (value, source) = match known.name {
            "namespace" => (String::new(), "that of the context"),
            "context" => (String::new(), "the kubeconfig's current one"),
            "output" => ("table".to_owned(), "default"),
            "timeout" => (String::new(), "default: 30s for an answer, 5m for a state"),
            "theme" => ("dark".to_owned(), "default"),
            "refresh" => ("250ms".to_owned(), "default"),
            "readonly" => ("false".to_owned(), "default"),
            "favourites" => (String::new(), "default: the first nine tenants"),
            "kubeconfig" => match self.env.get("KUBECONFIG").filter(|value| !value.is_empty()) {
                Some(value) => (value.clone(), "KUBECONFIG"),
                None => ("~/.kube/config".to_owned(), "default"),
            },
            _ => (String::new(), "no bitbuilder.toml in this folder"),
        };
        Setting::new(known.name, value, source)
    }
}

/// What a flag says of a setting.
fn flag(known: &Known, globals: &Globals) -> Option<String> {
    let path = |path: &PathBuf| path.display().to_string();
    match known.name {
        "namespace" => globals.namespace.clone(),
        "context" => globals.context.clone(),
        "kubeconfig" => globals.kubeconfig.as_ref().map(path),
        "timeout" => globals
            .timeout
            .map(|time| format!("{}s", time.as_secs_f64())),
        "output" if globals.json => Some("json".to_owned()),
        "output" => globals
            .output
            .and_then(|format| Some(format.to_possible_value()?.get_name().to_owned())),
        _ => None,
    }
}

/// Carries out a verb. `globals` are the flags alone.
///
/// # Errors
/// When a file cannot be read or written, or a setting cannot be what it is to be.
pub fn run(verb: &Verb, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    match verb {
        Verb::Explain => {
            let all = layers(out.env())?.explain(globals);
            if out.is_machine() {
                out.document(&json!({"settings": all}))?;
                return Ok(Exit::Ok);
            }
            for line in settings::lines(&all) {
                out.line(&line)?;
            }
        }
        Verb::View => {
            let path = place::folder(out.env())?.join(USER);
            let text = place::read(&path)?;
            let said = match &text {
                Some(text) => parse(text, &path, false)?,
                None => BTreeMap::new(),
            };
            match (out.is_machine(), text) {
                (true, _) => out.document(&json!({"file": path, "settings": said}))?,
                (false, Some(text)) => out.raw(text.as_bytes())?,
                (false, None) => out.note(&format!("there is no {}", path.display())),
            }
        }
        Verb::Set(args) => set(args, out)?,
    }
    Ok(Exit::Ok)
}

fn set(args: &SetArgs, out: &mut Out) -> Result<(), Failure> {
    let settable = |known: &&Known| known.set && known.name == args.setting;
    let known = KNOWN.iter().find(settable).ok_or_else(|| {
        let known = KNOWN.iter().filter(|known| known.set);
        let failure = Failure::usage(format!("there is no setting `{}`", args.setting));
        match nearest(&args.setting, known.clone().map(|known| known.name)) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => {
                let lines: Vec<String> =
                    known.map(|k| format!("{} ({})", k.name, k.about)).collect();
                failure.hint(format!("the settings are {}", lines.join(", ")))
            }
        }
    })?;
    if !args.value.is_empty() {
        check(known.name, &args.value)?;
        if known.name == "theme" {
            must_be_a_theme(&args.value, &place::folder(out.env())?)?;
        }
    }
    if args.project {
        if !known.project {
            return Err(
                Failure::usage(format!("`{}` cannot be said by a folder", known.name))
                    .hint("leave --project out: it goes into your own settings"),
            );
        }
        let path = project_file(out.env());
        let text = place::read(&path)?.unwrap_or_default();
        place::share(&path, changed(&text, &path, known, &args.value)?.as_bytes())?;
        out.note(&format!("{} says so now", path.display()));
        return Ok(());
    }
    let held = place::hold(&place::folder(out.env())?)?;
    let path = held.path(USER);
    let text = place::read(&path)?.unwrap_or_default();
    held.write(USER, changed(&text, &path, known, &args.value)?.as_bytes())?;
    out.note(&format!("{} says so now", path.display()));
    Ok(())
}

/// The text of a file with one setting changed and all else, remarks as well, as it was.
fn changed(text: &str, path: &Path, known: &Known, value: &str) -> Result<String, Failure> {
    parse(text, path, known.project && path.ends_with(PROJECT))?;
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| Failure::usage(error.message().to_owned()))?;
    match value {
        "" => drop(document.remove(known.name)),
        value => document[known.name] = toml_edit::value(item(value, known.shape)),
    }
    Ok(document.to_string())
}

/// A setting as a file has it.
fn item(value: &str, shape: Shape) -> Value {
    match (shape, value) {
        (Shape::Truth, "true") => true.into(),
        (Shape::Truth, "false") => false.into(),
        (Shape::Text, value) => value.into(),
        (_, value) => Value::Array(list(value).into_iter().collect()),
    }
}

#[cfg(test)]
mod tests;
