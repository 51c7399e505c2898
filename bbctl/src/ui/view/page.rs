//! Turns one object into its page: the tabs, and the lines of the one that is open.

use ratatui::layout::Rect;

use crate::style::Tone;

use super::super::model::Model;
use super::super::place::{Page, Tab};
use super::super::text::Text;
use super::super::theme::Part;
use super::canvas::Canvas;

pub(super) fn draw(_model: &Model, page: &Page, canvas: &mut Canvas<'_>, area: Rect) {
    let tabs = Tab::ALL.iter().fold(Text::plain(" "), |line, (tab, name)| {
        if *tab == page.tab {
            line.and(Tone::Head, format!("[{name}] "))
        } else {
            line.and(Tone::Faint, format!(" {name}  "))
        }
    });
    canvas.text(area.x, area.y, area.width, &tabs, Part::Body);
    let lines = page.lines.iter().skip(page.scroll);
    for (y, line) in (area.y + 1..area.bottom()).zip(lines) {
        canvas.text(
            area.x + 1,
            y,
            area.width.saturating_sub(2),
            line,
            Part::Body,
        );
    }
}
