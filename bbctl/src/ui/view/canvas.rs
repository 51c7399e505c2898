//! Turns lines of text with meanings into cells with colours.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::style::Tone;

use super::super::text::{Text, fit, width};
use super::super::theme::{Part, Theme};

/// Where the screens draw.
pub(super) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    theme: &'a Theme,
    cursor: Option<Position>,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, theme: &'a Theme) -> Self {
        Self {
            buffer,
            theme,
            cursor: None,
        }
    }

    /// Where the terminal's cursor shows, if somewhere.
    pub(super) fn cursor(&self) -> Option<Position> {
        self.cursor
    }

    /// Puts the terminal's cursor somewhere.
    pub(super) fn put_cursor(&mut self, x: u16, y: u16) {
        self.cursor = Some(Position { x, y });
    }

    /// Empties a part of the screen.
    pub(super) fn fill(&mut self, area: Rect, part: Part) {
        let style = self.theme.style(part, Tone::Plain);
        let area = area.intersection(*self.buffer.area());
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                    cell.set_style(style);
                }
            }
        }
    }

    /// Writes a line into so many columns. Returns how many it took.
    pub(super) fn text(&mut self, x: u16, y: u16, columns: u16, text: &Text, part: Part) -> u16 {
        let area = *self.buffer.area();
        if y >= area.bottom() || x >= area.right() {
            return 0;
        }
        let columns = usize::from(columns.min(area.right() - x));
        let mut taken = 0;
        for piece in &text.0 {
            let room = columns - taken;
            if room == 0 {
                break;
            }
            let words = fit(&piece.text, room);
            let style = self.theme.style(part, piece.tone);
            let at = x + u16::try_from(taken).unwrap_or(u16::MAX);
            self.buffer.set_stringn(at, y, &words, room, style);
            taken += width(&words);
        }
        u16::try_from(taken.min(columns)).unwrap_or(u16::MAX)
    }

    /// Writes a line at the right end of so many columns.
    pub(super) fn right(&mut self, area: Rect, y: u16, text: &Text, part: Part) -> u16 {
        let wide = u16::try_from(width(&text.words()))
            .unwrap_or(u16::MAX)
            .min(area.width);
        self.text(area.right() - wide, y, wide, text, part);
        wide
    }

    /// Draws a frame with a title, and empties what is in it. Returns the inside.
    pub(super) fn frame(&mut self, area: Rect, title: &str) -> Rect {
        self.fill(area, Part::Box);
        if area.width < 4 || area.height < 3 {
            return Rect::new(area.x, area.y, 0, 0);
        }
        let bar = "─".repeat(usize::from(area.width - 2));
        let title = fit(&format!(" {title} "), usize::from(area.width - 4));
        let rest = usize::from(area.width - 3).saturating_sub(width(&title));
        let top = Text::of(Tone::Faint, "┌─")
            .and(Tone::Head, &title)
            .and(Tone::Faint, format!("{}┐", "─".repeat(rest)));
        self.text(area.x, area.y, area.width, &top, Part::Box);
        for y in area.y + 1..area.bottom() - 1 {
            self.text(area.x, y, 1, &Text::of(Tone::Faint, "│"), Part::Box);
            self.text(
                area.right() - 1,
                y,
                1,
                &Text::of(Tone::Faint, "│"),
                Part::Box,
            );
        }
        let bottom = Text::of(Tone::Faint, format!("└{bar}┘"));
        self.text(area.x, area.bottom() - 1, area.width, &bottom, Part::Box);
        Rect::new(area.x + 2, area.y + 1, area.width - 4, area.height - 2)
    }
}

/// A box of a size in the middle of an area, as large as fits.
pub(super) fn centred(area: Rect, columns: u16, lines: u16) -> Rect {
    let (columns, lines) = (columns.min(area.width), lines.min(area.height));
    Rect::new(
        area.x + (area.width - columns) / 2,
        area.y + (area.height - lines) / 2,
        columns,
        lines,
    )
}
