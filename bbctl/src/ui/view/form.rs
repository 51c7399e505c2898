//! Turns a form into a box: fields with where their values are from, then what comes of them.

use ratatui::layout::Rect;

use crate::style::Tone;
use crate::table::wrap;

use super::super::form::{Field, Form, Stage};
use super::super::schema;
use super::super::text::{Text, fit, width};
use super::super::theme::Part;
use super::canvas::{Canvas, centred};

/// How wide the names of fields are.
const NAMES: u16 = 11;

pub(super) fn draw(form: &Form, canvas: &mut Canvas<'_>, area: Rect) {
    let outer = centred(area, 96, area.height);
    let inside = canvas.frame(outer, &form.title);
    match &form.stage {
        Stage::Filling => filling(form, canvas, inside),
        Stage::Shown { from, verdict } => {
            shown(form, *from, verdict.as_ref(), canvas, inside);
        }
        Stage::Sent => {
            shown(form, 0, None, canvas, inside);
        }
    }
}

fn filling(form: &Form, canvas: &mut Canvas<'_>, area: Rect) {
    // Two lines below the fields: what the field is for, and what is wrong.
    let height = usize::from(area.height.saturating_sub(3));
    let from = (form.at + 1).saturating_sub(height);
    let rows = (from..=form.fields.len()).take(height);
    let (mut y, value_at) = (area.y, area.x + 2 + NAMES);
    let room = area.width.saturating_sub(2 + NAMES);
    let columns = (room * 2 / 5).max(20).min(room);
    for at in rows {
        let on = at == form.at;
        let sign = if on { ">" } else { " " };
        match form.fields.get(at) {
            Some(field) => {
                let name =
                    Text::of(Tone::Head, format!("{sign} ")).and(Tone::Plain, field.asked.title);
                canvas.text(area.x, y, 2 + NAMES, &name, Part::Box);
                let line = Rect {
                    x: value_at,
                    y,
                    width: columns,
                    height: 1,
                };
                value(field, on, canvas, line);
                let beside = Rect {
                    x: value_at + columns + 1,
                    width: room.saturating_sub(columns + 1),
                    ..line
                };
                let note = match &field.trouble {
                    Some(why) => Text::of(Tone::Bad, format!("! {why}")),
                    None => Text::of(Tone::Faint, format!("({})", field.source)),
                };
                let note = if field.trouble.is_none() && field.source.is_empty() {
                    Text::default()
                } else {
                    note
                };
                canvas.text(beside.x, y, beside.width, &note, Part::Box);
            }
            None => {
                let part = if on { Part::Cursor } else { Part::Box };
                let word = Text::of(Tone::Head, format!("{sign} [Review]"));
                canvas.text(area.x, y, 12, &word, part);
            }
        }
        y += 1;
    }
    below(form, canvas, area);
}

fn value(field: &Field, on: bool, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.fill(area, Part::Field);
    let text = field.line.text();
    let letters: Vec<char> = text.chars().collect();
    let before: String = letters.iter().take(field.line.at()).collect();
    let room = usize::from(area.width.saturating_sub(1));
    let cut = if on {
        width(&before).saturating_sub(room)
    } else {
        0
    };
    let seen: String = letters.iter().skip(cut).collect();
    canvas.text(
        area.x,
        area.y,
        area.width,
        &Text::plain(fit(&seen, usize::from(area.width))),
        Part::Field,
    );
    if on {
        let at = u16::try_from(width(&before) - cut).unwrap_or_default();
        canvas.put_cursor((area.x + at).min(area.right().saturating_sub(1)), area.y);
    }
}

fn below(form: &Form, canvas: &mut Canvas<'_>, area: Rect) {
    let y = area.bottom().saturating_sub(2);
    if let Some(field) = form.fields.get(form.at) {
        let words = match field.asked.way {
            "metadata" if field.asked.title == "name" => {
                "What it is called; it cannot change later.".to_owned()
            }
            "metadata" => "The namespace of the tenant.".to_owned(),
            way => schema::says(form.kind, way),
        };
        let words = match field.choices.as_slice() {
            [] => words,
            choices => format!("{words} Known: {}.", choices.join(", ")),
        };
        let lines = wrap(&words, usize::from(area.width));
        let first = lines.first().cloned().unwrap_or_default();
        let more = if lines.len() > 1 { " …" } else { "" };
        let first = fit(&first, usize::from(area.width).saturating_sub(2));
        canvas.text(
            area.x,
            y,
            area.width,
            &Text::of(Tone::Faint, format!("{first}{more}")),
            Part::Box,
        );
    }
    if let Some(why) = &form.trouble {
        let words = Text::of(Tone::Bad, format!("! {why}"));
        canvas.text(area.x, y + 1, area.width, &words, Part::Box);
    }
}

fn shown(
    form: &Form,
    from: usize,
    verdict: Option<&Result<String, String>>,
    canvas: &mut Canvas<'_>,
    area: Rect,
) {
    let columns = usize::from(area.width);
    let verdict: Vec<Text> = match (&form.stage, verdict) {
        (Stage::Sent, _) => vec![Text::of(Tone::Waiting, "sent: waiting for the server …")],
        (_, None) => vec![Text::of(
            Tone::Waiting,
            "the server is asked what it thinks of it …",
        )],
        (_, Some(Ok(words))) => {
            vec![Text::of(
                Tone::Good,
                format!("{words}: enter to do it, esc to go back"),
            )]
        }
        (_, Some(Err(why))) => why
            .lines()
            .flat_map(|line| wrap(line, columns))
            .map(|line| Text::of(Tone::Bad, line))
            .collect(),
    };
    let lines = u16::try_from(verdict.len())
        .unwrap_or(u16::MAX)
        .min(area.height / 2);
    let command = Text::of(Tone::Faint, form.command().line());
    canvas.text(area.x, area.y, area.width, &command, Part::Box);
    let bottom = area.bottom().saturating_sub(lines + 1);
    let result = form.result();
    let text = result.lines().skip(from);
    for (y, line) in (area.y + 2..bottom).zip(text) {
        let line = match line.split_once(": ") {
            Some((key, value)) => Text::of(Tone::Head, format!("{key}: ")).and(Tone::Plain, value),
            None => Text::of(Tone::Head, line),
        };
        canvas.text(area.x, y, area.width, &line, Part::Box);
    }
    for (y, line) in (bottom + 1..area.bottom()).zip(&verdict) {
        canvas.text(area.x, y, area.width, line, Part::Box);
    }
}
