//! Turns meanings into colours and weights of a terminal, the same way on every screen.
//!
//! Colours are those of the 256 whose values every terminal agrees on, background included, so
//! that what is legible here is legible there. No meaning has a colour alone: each has a word or a
//! sign beside it.

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};

use crate::style::Tone;

/// Colours that are built in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skin {
    /// Light on dark.
    #[default]
    Dark,
    /// Dark on light.
    Light,
    /// No colours: bold, underlined and reversed text.
    Mono,
}

impl Skin {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 3] = [
        ("dark", Self::Dark),
        ("light", Self::Light),
        ("mono", Self::Mono),
    ];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::Mono => "mono",
        }
    }
}

/// What a place on the screen is, beside what its text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where text stands.
    Body,
    /// The row under the cursor.
    Cursor,
    /// The line at the top.
    Bar,
    /// A box over the screen.
    Box,
    /// What is typed or chosen in a box.
    Field,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Body, Self::Cursor, Self::Bar, Self::Box, Self::Field];
}

/// What meanings there are.
pub const TONES: [Tone; 6] = [
    Tone::Plain,
    Tone::Good,
    Tone::Waiting,
    Tone::Bad,
    Tone::Head,
    Tone::Faint,
];

/// How text of every meaning looks on every part of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theme {
    name: String,
    styles: [[Style; TONES.len()]; Part::ALL.len()],
}

impl Default for Theme {
    fn default() -> Self {
        Self::of(Skin::Dark)
    }
}

/// What a skin of one's own has otherwise than the one it begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub part: Part,
    /// Of text of which meaning; none: of the ground.
    pub of: Option<Tone>,
    /// The colour.
    pub colour: Color,
}

impl Theme {
    /// The theme of a skin; without colours where the environment asks for none.
    #[must_use]
    pub fn choose(skin: Skin, no_color: bool, env: &BTreeMap<String, String>) -> Self {
        match is_colourless(no_color, env) {
            true => Self::of(Skin::Mono),
            false => Self::of(skin),
        }
    }

    /// The theme of a skin.
    #[must_use]
    pub fn of(skin: Skin) -> Self {
        let style = |part: Part, tone: Tone| built_in(skin, part, tone);
        Self {
            name: skin.name().to_owned(),
            styles: Part::ALL.map(|part| TONES.map(|tone| style(part, tone))),
        }
    }

    /// The theme of another name in which some colours are others.
    #[must_use]
    pub fn changed(mut self, name: &str, changes: &[Change]) -> Self {
        name.clone_into(&mut self.name);
        for change in changes {
            let styles = &mut self.styles[change.part as usize];
            match change.of {
                Some(tone) => {
                    let style = &mut styles[tone as usize];
                    *style = style.fg(change.colour);
                }
                None => {
                    for style in styles {
                        // A ground tells the part by itself.
                        let mut own = style.bg(change.colour);
                        own.add_modifier
                            .remove(Modifier::REVERSED | Modifier::UNDERLINED);
                        *style = own;
                    }
                }
            }
        }
        self
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How text of a meaning looks on a part of the screen.
    #[must_use]
    pub fn style(&self, part: Part, tone: Tone) -> Style {
        self.styles[part as usize][tone as usize]
    }
}

/// Whether flag or environment ask for no colours.
#[must_use]
pub fn is_colourless(no_color: bool, env: &BTreeMap<String, String>) -> bool {
    no_color || env.get("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// How text looks in a skin that is built in.
fn built_in(skin: Skin, part: Part, tone: Tone) -> Style {
    let weight = match tone {
        Tone::Head | Tone::Bad => Modifier::BOLD,
        _ => Modifier::empty(),
    };
    if skin == Skin::Mono {
        let style = Style::reset().add_modifier(weight);
        return match part {
            Part::Cursor | Part::Bar => style.add_modifier(Modifier::REVERSED),
            Part::Field => style.add_modifier(Modifier::UNDERLINED),
            Part::Body | Part::Box => style,
        };
    }
    let (text, ground) = colours(skin, part, tone);
    Style::reset()
        .fg(Color::Indexed(text))
        .bg(Color::Indexed(ground))
        .add_modifier(weight)
}

/// The numbers of the colours of text and ground.
fn colours(skin: Skin, part: Part, tone: Tone) -> (u8, u8) {
    let dark = skin == Skin::Dark;
    let ground = match (part, dark) {
        (Part::Body, true) => 234,
        (Part::Cursor, true) => 24,
        (Part::Bar, true) => 236,
        (Part::Box, true) => 235,
        (Part::Field, true) => 237,
        (Part::Body, false) => 231,
        (Part::Cursor, false) => 189,
        (Part::Bar, false) => 254,
        (Part::Box, false) => 255,
        (Part::Field, false) => 253,
    };
    let cursor = part == Part::Cursor;
    let text = match (tone, dark) {
        (Tone::Plain, true) => 253,
        (Tone::Head, true) => 231,
        (Tone::Good, true) if cursor => 157,
        (Tone::Good, true) => 114,
        (Tone::Waiting, true) if cursor => 229,
        (Tone::Waiting, true) => 221,
        (Tone::Bad, true) if cursor => 224,
        (Tone::Bad, true) => 217,
        (Tone::Faint, true) if cursor => 252,
        (Tone::Faint, true) => 249,
        (Tone::Plain, false) => 235,
        (Tone::Head, false) => 16,
        (Tone::Good, false) => 22,
        (Tone::Waiting, false) => 58,
        (Tone::Bad, false) => 88,
        (Tone::Faint, false) => 239,
    };
    (text, ground)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The brightness of one of the 256 colours, from 0 to 1, as WCAG has it.
    fn luminance(colour: u8) -> f64 {
        let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
        let [red, green, blue] = match colour {
            232..=255 => [8 + 10 * (colour - 232); 3],
            16..=231 => {
                let at = colour - 16;
                [level(at / 36), level(at / 6 % 6), level(at % 6)]
            }
            _ => panic!("colour {colour} is another on each terminal"),
        };
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.03928 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)
    }

    #[test]
    fn every_text_is_legible_on_every_ground() {
        for skin in [Skin::Dark, Skin::Light] {
            for part in Part::ALL {
                for tone in TONES {
                    let (text, ground) = colours(skin, part, tone);
                    let (a, b) = (luminance(text), luminance(ground));
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(contrast >= 4.5, "{skin:?} {part:?} {tone:?}: {contrast:.1}");
                }
            }
        }
    }

    #[test]
    fn without_colours_nothing_has_one() {
        let env = BTreeMap::from([("NO_COLOR".to_owned(), "1".to_owned())]);
        for theme in [
            Theme::choose(Skin::Dark, false, &env),
            Theme::choose(Skin::Light, true, &BTreeMap::new()),
        ] {
            assert_eq!(theme.name(), "mono");
            for (part, tone) in Part::ALL.into_iter().flat_map(|p| TONES.map(|t| (p, t))) {
                let style = theme.style(part, tone);
                assert_eq!(
                    (style.fg, style.bg),
                    (Some(Color::Reset), Some(Color::Reset))
                );
            }
        }
        let kept = Theme::choose(Skin::Light, false, &BTreeMap::new());
        assert_eq!(kept.name(), "light");
    }
}
