//! Turns what verbs write for a terminal into lines whose parts know what they mean.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::style::{Tone, tame};

/// A part of a line with one meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it says.
    pub text: String,
    /// What it means.
    pub tone: Tone,
}

/// A line of text, part by part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub Vec<Piece>);

impl Text {
    /// A line of one meaning.
    pub fn of(tone: Tone, text: impl AsRef<str>) -> Self {
        Self(vec![Piece {
            text: tame(text.as_ref()),
            tone,
        }])
    }

    /// A line without a meaning of its own.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::of(Tone::Plain, text)
    }

    /// The line with one more part at its end.
    #[must_use]
    pub fn and(mut self, tone: Tone, text: impl AsRef<str>) -> Self {
        self.0.push(Piece {
            text: tame(text.as_ref()),
            tone,
        });
        self
    }

    /// The words alone.
    #[must_use]
    pub fn words(&self) -> String {
        self.0.iter().map(|piece| piece.text.as_str()).collect()
    }

    /// Reads a line as [`crate::style::Colour::paint`] colours it.
    #[must_use]
    pub fn painted(line: &str) -> Self {
        let mut pieces = Vec::new();
        let mut tone = Tone::Plain;
        for (at, part) in line.split('\u{1b}').enumerate() {
            let text = match (at, part.strip_prefix('[').and_then(|p| p.split_once('m'))) {
                (0, _) | (_, None) => part,
                (_, Some((code, text))) => {
                    tone = Tone::of_code(code);
                    text
                }
            };
            if !text.is_empty() {
                pieces.push(Piece {
                    text: tame(text),
                    tone,
                });
            }
        }
        Self(pieces)
    }
}

/// How many columns of a terminal a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most so many columns; what is missing shows as `…`.
#[must_use]
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let more = c.width().unwrap_or_default();
        if taken + more + 1 > columns {
            break;
        }
        short.push(c);
        taken += more;
    }
    if columns > 0 {
        short.push('…');
    }
    short
}

/// The text in exactly so many columns.
#[must_use]
pub fn pad(text: &str, columns: usize) -> String {
    let mut text = fit(text, columns);
    let missing = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// The text with what does not fit cut out of its middle: both ends of a name tell.
#[must_use]
pub fn fit_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns || columns < 5 {
        return fit(text, columns);
    }
    let all: Vec<char> = text.chars().collect();
    let tail = (columns - 1) / 2;
    let head = columns - 1 - tail;
    let mut short: String = all.iter().take(head).collect();
    short.push('…');
    short.extend(all.iter().skip(all.len() - tail));
    fit(&short, columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Colour;

    #[test]
    fn what_was_coloured_is_read_back_with_its_meaning() {
        let line = format!("a {} b", Colour::On.paint(Tone::Bad, "False"));
        let text = Text::painted(&line);
        assert_eq!(text.words(), "a False b");
        assert_eq!(text.0[1].tone, Tone::Bad);
        assert_eq!(text.0[2].tone, Tone::Plain);
    }

    #[test]
    fn other_escapes_lose_their_power() {
        assert!(
            !Text::painted("a\u{1b}]52;x\u{7}b")
                .words()
                .contains(['\u{1b}', '\u{7}'])
        );
    }

    #[test]
    fn a_text_is_cut_by_columns_and_not_by_letters() {
        assert_eq!(fit("網路網路", 5), "網路…");
        assert_eq!(pad("ab", 4), "ab  ");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(fit_middle("a-very-long-name-1", 9), "a-ve…me-1");
    }
}
