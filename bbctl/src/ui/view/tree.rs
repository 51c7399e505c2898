//! Turns the tree into rows with branches.

use ratatui::layout::Rect;

use crate::style::Tone;

use super::super::model::Model;
use super::super::store::Reach;
use super::super::text::{Text, fit_middle};
use super::super::theme::Part;
use super::super::tree::Tree;
use super::canvas::Canvas;

pub(super) fn draw(model: &Model, tree: &Tree, canvas: &mut Canvas<'_>, area: Rect) {
    if tree.rows.is_empty() {
        let waits = ["tenants", "networks", "instances", "volumes"]
            .iter()
            .any(|plural| matches!(model.store.shelf(plural).reach, Reach::Off | Reach::Loading));
        let words = if waits {
            "reading …"
        } else {
            "there are no tenants yet: `:create tenant`"
        };
        canvas.text(
            area.x + 3,
            area.y + 1,
            area.width.saturating_sub(4),
            &Text::of(Tone::Faint, words),
            Part::Body,
        );
        return;
    }
    let rows = tree.rows.iter().enumerate().skip(tree.top);
    for (y, (at, row)) in (area.y..area.bottom()).zip(rows) {
        let on = at == tree.at();
        let part = if on { Part::Cursor } else { Part::Body };
        canvas.fill(
            Rect {
                y,
                height: 1,
                ..area
            },
            part,
        );
        let sign = match (row.branches, row.open) {
            (false, _) => "  ",
            (true, true) => "- ",
            (true, false) => "+ ",
        };
        // The state stays in sight beside a long name.
        let label = usize::from(area.width)
            .saturating_sub(24 + 2 * row.depth)
            .max(16);
        let cursor = if on { ">" } else { " " };
        let line = Text::of(Tone::Head, cursor)
            .and(Tone::Faint, format!("{}{sign}", "  ".repeat(row.depth)))
            .and(Tone::Plain, fit_middle(&row.label, label))
            .and(row.tone, format!("  {}", row.state))
            .and(Tone::Faint, format!("  {}", row.beside));
        canvas.text(area.x, y, area.width, &line, part);
    }
}
