//! Turns what files, environment and flags say into how the dashboard looks and behaves.

use std::time::Duration;

use crate::age::parse_duration;
use crate::nearest::nearest;

use super::own::Own;
use super::theme::{Skin, Theme};

/// A skin of the user's own: what it is called, and what it is or what is wrong with it.
pub type OwnSkin = (String, Result<Theme, String>);

/// How the dashboard looks and behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// There are no colours, since flag or environment ask for none.
    pub colourless: bool,
    /// The user's own skins, by name.
    pub skins: Vec<OwnSkin>,
    /// How often the screen is drawn at most because something changed on the server.
    pub refresh: Duration,
    /// In which contexts nothing may be changed.
    pub readonly: Readonly,
    /// The tenants behind the keys 1 to 9; empty: the first nine by name.
    pub favourites: Vec<String>,
    /// The user's own keys and words.
    pub own: Own,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            colourless: false,
            skins: Vec::new(),
            refresh: REFRESH,
            readonly: Readonly::Everywhere(false),
            favourites: Vec::new(),
            own: Own::default(),
        }
    }
}

/// The time between two drawings that nobody asked for, unless somebody says otherwise.
pub const REFRESH: Duration = Duration::from_millis(250);
/// The least time between two drawings that nobody asked for.
const LEAST: Duration = Duration::from_millis(50);

impl Settings {
    /// What all themes are called, those that are built in first.
    #[must_use]
    pub fn themes(&self) -> Vec<String> {
        let built_in = Skin::ALL.iter().map(|(name, _)| (*name).to_owned());
        let own = self.skins.iter().map(|(name, _)| name.clone());
        built_in.chain(own).collect()
    }

    /// The theme of a name, where there are colours.
    ///
    /// # Errors
    /// When there is none, its file has something wrong in it, or there are no colours; with a
    /// sentence.
    pub fn theme(&self, name: &str) -> Result<Theme, String> {
        match self.colourless {
            true => Err("NO_COLOR or --no-color is set: there are no colours".to_owned()),
            false => self.find(name),
        }
    }

    /// The theme of a name.
    ///
    /// # Errors
    /// When there is none, or its file has something wrong in it; with a sentence.
    pub fn find(&self, name: &str) -> Result<Theme, String> {
        if let Some((_, skin)) = Skin::ALL.iter().find(|(known, _)| *known == name) {
            return Ok(Theme::of(*skin));
        }
        if let Some((_, own)) = self.skins.iter().find(|(known, _)| known == name) {
            return own.clone();
        }
        let all = self.themes();
        Err(match nearest(name, all.iter().map(String::as_str)) {
            Some(near) => format!("there is no theme `{name}`; did you mean `{near}`?"),
            None => format!("there is no theme `{name}`: {}", all.join(", ")),
        })
    }
}

/// Where nothing may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readonly {
    /// In every context, or in none.
    Everywhere(bool),
    /// In these contexts.
    In(Vec<String>),
}

impl Readonly {
    /// Where nothing may be changed by this or by another.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Everywhere(true), _) | (_, Self::Everywhere(true)) => Self::Everywhere(true),
            (Self::Everywhere(false), other) => other.clone(),
            (one, Self::Everywhere(false)) => one.clone(),
            (Self::In(one), Self::In(other)) => {
                let more = other.iter().filter(|context| !one.contains(context));
                Self::In(one.iter().chain(more).cloned().collect())
            }
        }
    }

    /// Reads `true`, `false`, or contexts with commas or line breaks between them.
    ///
    /// # Errors
    /// When it says neither; with words that follow the value.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "true" => Ok(Self::Everywhere(true)),
            "false" => Ok(Self::Everywhere(false)),
            "yes" | "no" | "on" | "off" | "0" | "1" => {
                Err("write true, false, or names of contexts".to_owned())
            }
            text => Ok(Self::In(list(text))),
        }
    }

    /// Whether it is so in a context.
    #[must_use]
    pub fn holds(&self, context: &str) -> bool {
        match self {
            Self::Everywhere(all) => *all,
            Self::In(contexts) => contexts.iter().any(|c| c == context),
        }
    }
}

/// Reads how often the screen is drawn at most.
///
/// # Errors
/// When it is no duration or too short a one; with words that follow the value.
pub fn refresh(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    match time < LEAST {
        true => Err("at least 50ms".to_owned()),
        false => Ok(time),
    }
}

/// Reads words with commas or line breaks between them.
#[must_use]
pub fn list(text: &str) -> Vec<String> {
    let words = text.split([',', '\n']).map(str::trim);
    words.filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_theme_is_built_in_or_ones_own_and_never_where_there_are_no_colours() {
        let mut settings = Settings {
            skins: vec![
                (
                    "dusk".to_owned(),
                    Ok(Theme::of(Skin::Dark).changed("dusk", &[])),
                ),
                ("torn".to_owned(), Err("torn.toml:1: wrong".to_owned())),
            ],
            ..Settings::default()
        };
        assert_eq!(settings.theme("dusk").unwrap().name(), "dusk");
        assert_eq!(settings.theme("light").unwrap(), Theme::of(Skin::Light));
        assert_eq!(settings.theme("torn").unwrap_err(), "torn.toml:1: wrong");
        let why = settings.theme("dsuk").unwrap_err();
        assert!(why.contains("did you mean `dusk`?"), "{why}");
        let why = settings.theme("solarized").unwrap_err();
        assert!(why.contains("dark, light, mono, dusk, torn"), "{why}");
        settings.colourless = true;
        assert!(settings.theme("dusk").unwrap_err().contains("NO_COLOR"));
    }

    #[test]
    fn what_is_read_only_and_how_often_is_drawn() {
        let lab = Readonly::parse("lab, live").unwrap();
        assert!(lab.holds("live") && !lab.holds("other"));
        assert!(Readonly::parse("true").unwrap().holds("other"));
        assert!(!Readonly::parse("false").unwrap().holds("other"));
        assert!(Readonly::parse("1").unwrap_err().contains("true, false"));
        let of = |text: &str| Readonly::parse(text).unwrap();
        for (one, other, both) in [
            ("lab", "live,lab", "lab,live"),
            ("lab", "false", "lab"),
            ("false", "lab", "lab"),
            ("true", "lab", "true"),
            ("lab", "true", "true"),
            ("false", "false", "false"),
        ] {
            assert_eq!(of(one).and(&of(other)), of(both), "{one} and {other}");
        }
        assert_eq!(refresh("1s").unwrap(), Duration::from_secs(1));
        assert!(refresh("1ms").unwrap_err().contains("at least 50ms"));
        assert!(refresh("soon").is_err());
    }
}
