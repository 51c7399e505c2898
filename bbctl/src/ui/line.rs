//! Turns keys into a line of text with a cursor in it.

use ratatui::crossterm::event::KeyCode;

use super::keys::Key;

/// A line of text that is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    letters: Vec<char>,
    at: usize,
}

/// How long a line can get.
const LONGEST: usize = 4096;

impl Line {
    /// A line with the cursor at its end.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut line = Self::default();
        line.paste(text);
        line
    }

    /// What was typed.
    #[must_use]
    pub fn text(&self) -> String {
        self.letters.iter().collect()
    }

    /// Before which letter the cursor is.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Puts text where the cursor is, without what is no letter.
    pub fn paste(&mut self, text: &str) {
        for c in text.chars().filter(|c| !c.is_control()) {
            if self.letters.len() >= LONGEST {
                return;
            }
            self.letters.insert(self.at, c);
            self.at += 1;
        }
    }

    /// Takes a key and says whether it was one for a line.
    pub fn take(&mut self, key: Key) -> bool {
        match (key.code, key.ctrl) {
            (KeyCode::Char('u'), true) => {
                self.letters.drain(..self.at);
                self.at = 0;
            }
            (KeyCode::Char('w'), true) => {
                let before = &self.letters[..self.at];
                let end = before
                    .iter()
                    .rposition(|c| *c != ' ')
                    .map_or(0, |at| at + 1);
                let from = before[..end]
                    .iter()
                    .rposition(|c| *c == ' ')
                    .map_or(0, |at| at + 1);
                self.letters.drain(from..self.at);
                self.at = from;
            }
            (KeyCode::Char('a'), true) | (KeyCode::Home, _) => self.at = 0,
            (KeyCode::Char('e'), true) | (KeyCode::End, _) => self.at = self.letters.len(),
            (KeyCode::Char(c), false) => self.paste(&c.to_string()),
            (KeyCode::Left, _) => self.at = self.at.saturating_sub(1),
            (KeyCode::Right, _) => self.at = (self.at + 1).min(self.letters.len()),
            (KeyCode::Backspace, _) if self.at > 0 => {
                self.at -= 1;
                self.letters.remove(self.at);
            }
            (KeyCode::Delete, _) if self.at < self.letters.len() => {
                self.letters.remove(self.at);
            }
            (KeyCode::Backspace | KeyCode::Delete, _) => {}
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_typed_and_mended() {
        let mut line = Line::new("ac");
        line.take(Key::plain(KeyCode::Left));
        line.take(Key::plain(KeyCode::Char('b')));
        assert_eq!((line.text().as_str(), line.at()), ("abc", 2));
        line.take(Key::plain(KeyCode::End));
        line.paste(" two  ");
        line.take(Key {
            code: KeyCode::Char('w'),
            ctrl: true,
        });
        assert_eq!(line.text(), "abc ");
        line.take(Key {
            code: KeyCode::Char('u'),
            ctrl: true,
        });
        assert_eq!(line.text(), "");
        line.take(Key::plain(KeyCode::Backspace));
        assert!(!line.take(Key::plain(KeyCode::Enter)));
    }
}
