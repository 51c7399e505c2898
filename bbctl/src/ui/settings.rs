//! Turns a file of settings into settings, or into what is wrong with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Exit, Failure};

use super::keys::Keymap;
use super::theme::Skin;

/// How the dashboard looks and behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which colours.
    pub theme: Skin,
    /// How often the screen is drawn at most because something changed on the server.
    pub refresh: Duration,
    /// In which contexts nothing may be changed.
    pub readonly: Readonly,
    /// The tenants behind the keys 1 to 9; empty: the first nine by name.
    pub favourites: Vec<String>,
    /// Other words for the palette, and what they stand for.
    pub aliases: BTreeMap<String, String>,
    /// Which key does what.
    pub keys: Keymap,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: Skin::Dark,
            refresh: Duration::from_millis(250),
            readonly: Readonly::Everywhere(false),
            favourites: Vec::new(),
            aliases: BTreeMap::new(),
            keys: Keymap::default(),
        }
    }
}

/// Where nothing may be changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Readonly {
    /// In every context, or in none.
    Everywhere(bool),
    /// In these contexts.
    In(Vec<String>),
}

impl Readonly {
    /// Whether it is so in a context.
    #[must_use]
    pub fn holds(&self, context: &str) -> bool {
        match self {
            Self::Everywhere(all) => *all,
            Self::In(contexts) => contexts.iter().any(|c| c == context),
        }
    }
}

/// The file, word by word.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    theme: Option<Skin>,
    refresh: Option<String>,
    readonly: Option<Readonly>,
    favourites: Vec<String>,
    aliases: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
}

/// The least time between two drawings that nobody asked for.
const LEAST: Duration = Duration::from_millis(50);

impl Settings {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it is not YAML, or has a word that is none of ours; with a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Option<File> = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let file = file.unwrap_or_default();
        let mut settings = Self {
            favourites: file.favourites,
            aliases: file.aliases,
            keys: Keymap::with(&file.keys)?,
            ..Self::default()
        };
        if let Some(theme) = file.theme {
            settings.theme = theme;
        }
        if let Some(readonly) = file.readonly {
            settings.readonly = readonly;
        }
        if let Some(refresh) = file.refresh {
            settings.refresh =
                crate::age::parse_duration(&refresh).map_err(|why| format!("refresh: {why}"))?;
            if settings.refresh < LEAST {
                return Err("refresh: at least 50ms".to_owned());
            }
        }
        Ok(settings)
    }

    /// Reads the settings that are meant: those of a flag, or of the usual place if they are there.
    ///
    /// # Errors
    /// When the file that was named cannot be read, or one has something wrong in it.
    pub fn load(named: Option<PathBuf>, env: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let (path, must) = match named {
            Some(path) => (path, true),
            None => match usual(env) {
                Some(path) => (path, false),
                None => return Ok(Self::default()),
            },
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if !must && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                let text = format!("cannot read the settings {}: {error}", path.display());
                return Err(Failure::new(Exit::Failure, text));
            }
        };
        Self::parse(&text).map_err(|why| {
            Failure::usage(format!("the settings {} are wrong: {why}", path.display()))
                .hint("docs/ui.md has all of them; or name another file with --settings")
        })
    }
}

/// Where the settings are unless somebody says otherwise.
fn usual(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let base = match set("XDG_CONFIG_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(set("HOME")?).join(".config"),
    };
    Some(base.join("bbctl").join("ui.yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::keys::Action;

    #[test]
    fn every_setting_is_read() {
        let text = "theme: light\nrefresh: 1s\nreadonly: [live]\nfavourites: [acme]\n\
            aliases: {vms: instances}\nkeys: {delete: ctrl-x}\n";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.theme, Skin::Light);
        assert_eq!(settings.refresh, Duration::from_secs(1));
        assert!(settings.readonly.holds("live") && !settings.readonly.holds("lab"));
        assert_eq!(settings.keys.names(Action::Delete), ["ctrl-x"]);
        assert_eq!(Settings::parse("").unwrap().theme, Skin::Dark);
    }

    #[test]
    fn a_word_that_is_none_of_ours_is_an_error_when_it_is_read() {
        let table = [
            ("thme: dark", "thme"),
            ("theme: pink", "pink"),
            ("refresh: 1ms", "at least 50ms"),
            ("refresh: soon", "not a duration"),
            ("keys: {destroy: x}", "no action `destroy`"),
            ("keys: {delete: hyper-x}", "is no key"),
        ];
        for (text, words) in table {
            let why = Settings::parse(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }

    #[test]
    fn a_file_that_was_named_must_be_there_and_the_usual_one_need_not() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().display().to_string();
        let env = BTreeMap::from([("XDG_CONFIG_HOME".to_owned(), home)]);
        assert!(Settings::load(None, &env).is_ok());
        let missing = Settings::load(Some(dir.path().join("none.yaml")), &env);
        assert!(missing.unwrap_err().message.contains("none.yaml"));
        std::fs::create_dir(dir.path().join("bbctl")).unwrap();
        std::fs::write(dir.path().join("bbctl/ui.yaml"), "keys: {no: x}").unwrap();
        let failure = Settings::load(None, &env).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("ui.yaml") && failure.message.contains("`no`"));
    }
}
