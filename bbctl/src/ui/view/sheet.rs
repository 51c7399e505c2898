//! Turns the settings into "setting, value, source", with what can be done about the one under the
//! cursor below.

use ratatui::layout::Rect;

use crate::style::Tone;

use super::super::model::Model;
use super::super::sheet::{Change, Row, Sheet, rows};
use super::super::text::{Text, fit, fit_middle, pad, width};
use super::super::theme::Part;
use super::canvas::Canvas;

pub(super) fn draw(model: &Model, sheet: &Sheet, canvas: &mut Canvas<'_>, area: Rect) {
    let rows = rows(model);
    let columns = Columns::of(&rows, usize::from(area.width));
    let head = columns.line("   ", "SETTING", "VALUE", "SOURCE");
    canvas.text(
        area.x,
        area.y,
        area.width,
        &Text::of(Tone::Head, head),
        Part::Body,
    );
    let mut lines: Vec<(Option<usize>, Text)> = Vec::new();
    if model.told.is_empty() {
        lines.push((None, Text::of(Tone::Faint, "   reading …")));
    }
    let mut group = "Settings";
    for (at, row) in rows.iter().enumerate() {
        if row.group != group {
            group = row.group;
            lines.push((None, Text::default()));
            lines.push((None, Text::of(Tone::Head, format!(" {group}"))));
        }
        lines.push((Some(at), columns.row(row, sheet, at == sheet.at)));
    }
    // Two lines below, and an empty one, are about the row with the cursor.
    let height = usize::from(area.height).saturating_sub(4);
    let cursor = lines.iter().position(|(at, _)| *at == Some(sheet.at));
    let from = (cursor.unwrap_or_default() + 1).saturating_sub(height);
    let shown = lines.iter().skip(from).take(height);
    for (y, (at, line)) in (area.y + 1..area.bottom()).zip(shown) {
        let part = match *at == Some(sheet.at) {
            true => Part::Cursor,
            false => Part::Body,
        };
        let own = Rect {
            y,
            height: 1,
            ..area
        };
        canvas.fill(own, part);
        canvas.text(area.x, y, area.width, line, part);
    }
    if let Some(row) = rows.get(sheet.at) {
        let room = usize::from(area.width).saturating_sub(2);
        let (about, how) = below(row, sheet, room);
        let last = area.bottom().saturating_sub(2);
        canvas.text(area.x, last, area.width, &about, Part::Body);
        canvas.text(area.x, last + 1, area.width, &how, Part::Body);
    }
}

/// What the row with the cursor is about, and how it is changed.
fn below(row: &Row, sheet: &Sheet, room: usize) -> (Text, Text) {
    let source = fit_middle(&row.source, room.saturating_sub(6));
    let about = match row.about.as_str() {
        "" => format!(" from {source}"),
        about => format!(" {}", fit(about, room)),
    };
    let how = match (&row.change, &sheet.chosen) {
        (Change::Not(why), _) => Text::of(Tone::Waiting, format!(" {}", fit_middle(why, room))),
        (Change::Choose(_), Some(chosen)) => {
            let words = format!(" enter: bbctl config set {} {chosen}", row.name);
            Text::of(Tone::Head, words)
        }
        (Change::Choose(choices), None) => {
            Text::of(Tone::Faint, format!(" one of {}", choices.join(", ")))
        }
        (Change::Type, _) => Text::of(Tone::Faint, " enter: type it"),
    };
    (Text::of(Tone::Plain, about), how)
}

/// How wide name and value are; the source has what is left.
struct Columns {
    name: usize,
    value: usize,
    source: usize,
}

impl Columns {
    fn of(rows: &[Row], room: usize) -> Self {
        let widest = |of: &dyn Fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or_default();
        let name = widest(&|row| width(&row.name)).clamp(10, 18);
        // What is chosen has a sign on both sides.
        let value = widest(&|row| width(&row.value) + 4).clamp(12, (room / 3).max(12));
        Self {
            name,
            value,
            source: room.saturating_sub(name + value + 8),
        }
    }

    fn line(&self, before: &str, name: &str, value: &str, source: &str) -> String {
        let name = pad(&fit_middle(name, self.name), self.name);
        let value = pad(&fit_middle(value, self.value), self.value);
        let source = fit_middle(source, self.source);
        format!("{before}{name}  {value}  {source}")
    }

    fn row(&self, row: &Row, sheet: &Sheet, on: bool) -> Text {
        let chosen = sheet.chosen.as_ref().filter(|_| on);
        let value = match (row.value.as_str(), chosen, &row.change) {
            (_, Some(chosen), _) => format!("< {chosen} >"),
            ("", None, _) if row.name == "none" => String::new(),
            ("", None, _) => "none".to_owned(),
            (value, None, Change::Choose(_)) if on => format!("< {value} >"),
            (value, None, _) => value.to_owned(),
        };
        let tone = match (chosen, &row.change) {
            (Some(_), _) => Tone::Waiting,
            (None, Change::Not(_)) => Tone::Faint,
            (None, _) => Tone::Plain,
        };
        let sign = if on { " > " } else { "   " };
        Text::of(tone, self.line(sign, &row.name, &value, &row.source))
    }
}
