//! Turns a meaning into a colour, where colours are wanted.
//!
//! A colour never says anything that the word under it does not.

use std::collections::BTreeMap;

/// What a piece of text means to the one who reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// It will be as it should, or nobody knows yet.
    Waiting,
    /// A person should look at it.
    Bad,
    /// A heading.
    Head,
    /// Of little weight.
    Faint,
}

impl Tone {
    /// The tone that a code of a colour stands for.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        let all = [
            Self::Good,
            Self::Waiting,
            Self::Bad,
            Self::Head,
            Self::Faint,
        ];
        let found = all.into_iter().find(|tone| tone.code() == code);
        found.unwrap_or_default()
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Waiting => "33",
            Self::Bad => "31",
            Self::Head => "1",
            Self::Faint => "2",
        }
    }
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// With ANSI colours.
    On,
    /// As it is.
    Off,
}

impl Colour {
    /// Decides by the flag `--no-color`, the environment and whether a terminal reads it.
    #[must_use]
    pub fn choose(off: bool, env: &BTreeMap<String, String>, terminal: bool) -> Self {
        let set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
        let dumb = env.get("TERM").is_some_and(|term| term == "dumb");
        match () {
            () if off || set("NO_COLOR") => Self::Off,
            () if set("FORCE_COLOR") => Self::On,
            () if terminal && !dumb => Self::On,
            () => Self::Off,
        }
    }

    /// The text in the colour of its meaning.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match (self, tone.code()) {
            (Self::Off, _) | (_, "") => text.to_owned(),
            (Self::On, code) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

/// The text without characters that would move the cursor or change the terminal: what routers
/// and clusters say ends up in messages.
#[must_use]
pub fn tame(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' | '\r' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn colour_obeys_flag_environment_and_terminal_in_that_order() {
        let choose = Colour::choose;
        assert_eq!(choose(false, &env(&[]), true), Colour::On);
        assert_eq!(choose(false, &env(&[]), false), Colour::Off);
        assert_eq!(
            choose(true, &env(&[("FORCE_COLOR", "1")]), true),
            Colour::Off
        );
        assert_eq!(choose(false, &env(&[("NO_COLOR", "1")]), true), Colour::Off);
        assert_eq!(choose(false, &env(&[("NO_COLOR", "")]), true), Colour::On);
        assert_eq!(choose(false, &env(&[("TERM", "dumb")]), true), Colour::Off);
        assert_eq!(
            choose(false, &env(&[("FORCE_COLOR", "1")]), false),
            Colour::On
        );
    }

    #[test]
    fn text_from_a_router_cannot_touch_the_terminal() {
        assert_eq!(tame("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb c");
    }
}
