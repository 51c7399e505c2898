//! Turns the file of a skin into a theme, or into what is wrong with it.
//!
//! A skin begins with one that is built in and says what is different: colours of the ground and
//! of each meaning, for all of the screen or for one part of it.

use std::path::Path;

use ratatui::style::Color;

use crate::error::Failure;
use crate::nearest::nearest;
use crate::style::Tone;

use super::theme::{Change, Part, Skin, Theme};
use super::toml::{Field, Source};

/// What a skin calls the parts of the screen.
pub const PARTS: [(&str, Part); 5] = [
    ("body", Part::Body),
    ("cursor", Part::Cursor),
    ("bar", Part::Bar),
    ("box", Part::Box),
    ("field", Part::Field),
];

/// What a skin calls the meanings of text.
pub const MEANINGS: [(&str, Tone); 6] = [
    ("plain", Tone::Plain),
    ("good", Tone::Good),
    ("waiting", Tone::Waiting),
    ("bad", Tone::Bad),
    ("head", Tone::Head),
    ("faint", Tone::Faint),
];

/// The word for what lies behind text.
const GROUND: &str = "ground";
/// The word for all parts of the screen.
const ALL: &str = "all";

/// The colours with a name: those that a terminal has its own idea of.
pub const COLOURS: [(&str, Color); 17] = [
    ("default", Color::Reset),
    ("black", Color::Black),
    ("red", Color::Red),
    ("green", Color::Green),
    ("yellow", Color::Yellow),
    ("blue", Color::Blue),
    ("magenta", Color::Magenta),
    ("cyan", Color::Cyan),
    ("gray", Color::Gray),
    ("dark-gray", Color::DarkGray),
    ("light-red", Color::LightRed),
    ("light-green", Color::LightGreen),
    ("light-yellow", Color::LightYellow),
    ("light-blue", Color::LightBlue),
    ("light-magenta", Color::LightMagenta),
    ("light-cyan", Color::LightCyan),
    ("white", Color::White),
];

/// Reads the skin of a name from the text of its file.
///
/// # Errors
/// When it is not TOML, or says what we do not know; with file, line, field and remedy.
pub fn parse(name: &str, text: &str, path: &Path) -> Result<Theme, Failure> {
    let source = Source { path, text };
    let document = source.parse()?;
    let mut base = Skin::Dark;
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for field in source.fields(&document) {
        match field.word.as_str() {
            "base" => base = built_in(&field)?,
            ALL => {
                for (_, part) in PARTS {
                    first.extend(changes(&field, part)?);
                }
            }
            word => match PARTS.iter().find(|(name, _)| *name == word) {
                Some((_, part)) => then.extend(changes(&field, *part)?),
                None => {
                    let parts = PARTS.map(|(name, _)| name);
                    let known: Vec<&str> = ["base", ALL].into_iter().chain(parts).collect();
                    return Err(field.unknown(&known));
                }
            },
        }
    }
    // What is said of one part counts more than what is said of all, wherever it stands.
    first.extend(then);
    Ok(Theme::of(base).changed(name, &first))
}

fn built_in(field: &Field<'_>) -> Result<Skin, Failure> {
    let text = field.text()?;
    let found = Skin::ALL.iter().find(|(name, _)| *name == text);
    found.map(|(_, skin)| *skin).ok_or_else(|| {
        let words = format!("cannot be `{text}`");
        field.wrong(&words, "it is one that is built in: dark, light or mono")
    })
}

fn changes(field: &Field<'_>, part: Part) -> Result<Vec<Change>, Failure> {
    let one = |field: Field<'_>| {
        let of = match MEANINGS.iter().find(|(name, _)| *name == field.word) {
            Some((_, tone)) => Some(*tone),
            None if field.word == GROUND => None,
            None => {
                let meanings = MEANINGS.map(|(name, _)| name);
                let known: Vec<&str> = [GROUND].into_iter().chain(meanings).collect();
                return Err(field.unknown(&known));
            }
        };
        let colour = colour(&field)?;
        Ok(Change { part, of, colour })
    };
    field.table()?.into_iter().map(one).collect()
}

fn colour(field: &Field<'_>) -> Result<Color, Failure> {
    let text = field.text()?;
    if let Some((_, colour)) = COLOURS.iter().find(|(name, _)| *name == text) {
        return Ok(*colour);
    }
    let wrong = |remedy: &str| field.wrong(&format!("cannot be `{text}`"), remedy);
    if let Some(digits) = text.strip_prefix('#') {
        let whole = digits.len() == 6 && digits.chars().all(|c| c.is_ascii_hexdigit());
        return match u32::from_str_radix(digits, 16) {
            Ok(number) if whole => Ok(Color::from_u32(number)),
            _ => Err(wrong("a colour by number is # and six digits: #1d1f21")),
        };
    }
    let names = COLOURS.map(|(name, _)| name);
    Err(wrong(&match nearest(text, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write #rrggbb, or one of {}", names.join(", ")),
    }))
}

#[cfg(test)]
mod tests {
    use ratatui::style::Modifier;

    use super::*;

    fn read(text: &str) -> Result<Theme, Failure> {
        parse("mine", text, Path::new("/skins/mine.toml"))
    }

    #[test]
    fn a_skin_says_what_is_different_from_one_that_is_built_in() {
        let theme = read(
            "base = 'light'\n[cursor]\ngood = '#010203'\n[all]\ngood = 'green'\nground = 'default'\n",
        )
        .unwrap();
        let light = Theme::of(Skin::Light);
        let body = theme.style(Part::Body, Tone::Good);
        assert_eq!((body.fg, body.bg), (Some(Color::Green), Some(Color::Reset)));
        let cursor = theme.style(Part::Cursor, Tone::Good);
        assert_eq!(cursor.fg, Some(Color::Rgb(1, 2, 3)));
        let faint = theme.style(Part::Bar, Tone::Faint);
        assert_eq!(faint.fg, light.style(Part::Bar, Tone::Faint).fg);
        assert_eq!(theme.name(), "mine");
        // Nothing said is the base itself, and without a base the dark one.
        let same = read("").unwrap();
        for (part, tone) in PARTS
            .iter()
            .flat_map(|(_, p)| MEANINGS.map(|(_, t)| (*p, t)))
        {
            assert_eq!(
                same.style(part, tone),
                Theme::of(Skin::Dark).style(part, tone)
            );
        }
        // A ground of its own takes the place of reversed text.
        let mono = read("base = 'mono'\n[cursor]\nground = 'blue'\n").unwrap();
        let style = mono.style(Part::Cursor, Tone::Plain);
        assert_eq!(style.bg, Some(Color::Blue));
        assert!(!style.add_modifier.contains(Modifier::REVERSED));
        let bar = mono.style(Part::Bar, Tone::Plain);
        assert!(bar.add_modifier.contains(Modifier::REVERSED));
    }

    #[test]
    fn what_a_skin_gets_wrong_is_told_with_file_line_field_and_remedy() {
        for (text, message, hint) in [
            (
                "[body]\n\ngod = 'red'",
                ":3: `body.god` is none of ours",
                "did you mean `good`?",
            ),
            ("[bdy]", ":1: `bdy` is none of ours", "did you mean `body`?"),
            (
                "bse = 'dark'",
                ":1: `bse` is none of ours",
                "did you mean `base`?",
            ),
            (
                "base = 'dusk'",
                ":1: `base` cannot be `dusk`",
                "dark, light or mono",
            ),
            (
                "[all]\ngood = 'gren'",
                ":2: `all.good` cannot be `gren`",
                "did you mean `green`?",
            ),
            (
                "[all]\ngood = '#12345'",
                ":2: `all.good` cannot be `#12345`",
                "six digits",
            ),
            (
                "[all]\ngood = '#+12345'",
                "cannot be `#+12345`",
                "six digits",
            ),
            ("[all]\ngood = 3", ":2: `all.good` is a text", "in quotes"),
            ("body = 'red'", ":1: `body` is a table", "[body]"),
            ("[body\n", "mine.toml:1: ", "it is TOML"),
        ] {
            let failure = read(text).unwrap_err();
            assert!(failure.message.contains(message), "{text}: {failure}");
            assert!(
                failure.message.starts_with("/skins/mine.toml:"),
                "{failure}"
            );
            let remedy = failure.hint.unwrap_or_default();
            assert!(remedy.contains(hint), "{text}: {remedy}");
        }
    }
}
