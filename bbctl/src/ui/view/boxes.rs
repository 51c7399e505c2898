//! Turns help, questions and what a command wrote into boxes over the screen.

use ratatui::layout::Rect;

use crate::style::Tone;
use crate::table::wrap;

use super::super::ask::Ask;
use super::super::event::Ran;
use super::super::help;
use super::super::model::Model;
use super::super::plan::{Plan, WIDE as WIDE_PLAN};
use super::super::text::{Text, width};
use super::super::theme::Part;
use super::canvas::{Canvas, centred};

/// How wide a box with sentences is.
const WIDE: u16 = 76;

pub(super) fn help(model: &Model, from: usize, canvas: &mut Canvas<'_>, area: Rect) {
    let area = centred(area, 90, area.height);
    let inside = canvas.frame(area, "keys");
    let lines = help::lines(model);
    scrolled(&lines, from, canvas, inside);
}

pub(super) fn said(ran: &Ran, from: usize, canvas: &mut Canvas<'_>, area: Rect) {
    let mut lines = vec![Text::of(Tone::Head, ran.command.line()), Text::default()];
    let columns = usize::from(WIDE.min(area.width)).saturating_sub(4);
    for line in ran.said.lines() {
        let tone = if line.starts_with("error:") {
            Tone::Bad
        } else {
            Tone::Plain
        };
        lines.extend(
            wrap(line, columns)
                .into_iter()
                .map(|line| Text::of(tone, line)),
        );
    }
    if ran.said.is_empty() {
        lines.push(Text::of(
            Tone::Waiting,
            "it wrote to the terminal and ended with a failure",
        ));
    }
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).max(6);
    let area = centred(area, WIDE, height);
    let inside = canvas.frame(area, &format!("ended with {}", ran.code));
    scrolled(&lines, from, canvas, inside);
}

/// What a change would send, with the command that asked.
pub(super) fn plan(plan: &Plan, canvas: &mut Canvas<'_>, area: Rect) {
    let area = centred(area, WIDE_PLAN, area.height);
    let inside = canvas.frame(area, "what it would send");
    let mut lines = vec![Text::of(Tone::Faint, plan.asks.line())];
    if let Some(command) = plan.send() {
        lines.push(Text::of(Tone::Faint, format!("a: {}", command.line())));
    }
    lines.push(Text::default());
    lines.extend(plan.lines(usize::from(inside.width)));
    scrolled(&lines, plan.from, canvas, inside);
}

fn scrolled(lines: &[Text], from: usize, canvas: &mut Canvas<'_>, area: Rect) {
    for (y, line) in (area.y..area.bottom()).zip(lines.iter().skip(from)) {
        canvas.text(area.x, y, area.width, line, Part::Box);
    }
    let below = lines.len().saturating_sub(from + usize::from(area.height));
    if below > 0 && area.height > 0 {
        let more = Text::of(Tone::Faint, format!(" {below} more "));
        canvas.right(area, area.bottom(), &more, Part::Box);
    }
}

pub(super) fn ask(ask: &Ask, canvas: &mut Canvas<'_>, area: Rect) {
    let columns = usize::from(WIDE.min(area.width)).saturating_sub(4);
    let mut lines: Vec<Text> = Vec::new();
    for words in &ask.words {
        lines.extend(wrap(words, columns).into_iter().map(Text::plain));
    }
    // The buttons stay in sight, however many objects there are.
    let most = usize::from(area.height).saturating_sub(6 + ask.commands.len().min(2));
    let hidden = lines.len().saturating_sub(most);
    if hidden > 0 {
        lines.truncate(most.saturating_sub(1));
        lines.push(Text::of(
            Tone::Faint,
            format!("… and {} lines more", hidden + 1),
        ));
    }
    lines.push(Text::default());
    for command in ask.commands.iter().take(2) {
        lines.push(Text::of(Tone::Faint, command.line()));
    }
    lines.push(Text::default());
    let height = u16::try_from(lines.len() + 3).unwrap_or(u16::MAX);
    let inside = canvas.frame(centred(area, WIDE, height), &ask.title);
    for (y, line) in (inside.y..inside.bottom()).zip(&lines) {
        canvas.text(inside.x, y, inside.width, line, Part::Box);
    }
    answers(ask, canvas, inside);
}

/// The line to type a name into, or the buttons.
fn answers(ask: &Ask, canvas: &mut Canvas<'_>, inside: Rect) {
    let last = inside.bottom().saturating_sub(1);
    if let Some(name) = ask.names.first() {
        let question = format!("Type `{name}`: ");
        let taken = canvas.text(
            inside.x,
            last,
            inside.width,
            &Text::of(Tone::Head, question),
            Part::Box,
        );
        let field = Rect {
            x: inside.x + taken,
            y: last,
            width: inside.width.saturating_sub(taken),
            height: 1,
        };
        canvas.fill(field, Part::Field);
        let typed = ask.line.text();
        canvas.text(
            field.x,
            last,
            field.width,
            &Text::plain(&typed),
            Part::Field,
        );
        let at = u16::try_from(width(&typed)).unwrap_or(u16::MAX);
        canvas.put_cursor(
            field
                .x
                .saturating_add(at)
                .min(field.right().saturating_sub(1)),
            last,
        );
        return;
    }
    let button = |on: bool, word: &str| {
        if on {
            format!("> [{word}] ")
        } else {
            format!("   {word}  ")
        }
    };
    let part = |on: bool| if on { Part::Cursor } else { Part::Box };
    let cancel = Text::of(
        Tone::Head,
        button(
            !ask.on_yes,
            if ask.commands.is_empty() {
                "Close"
            } else {
                "Cancel"
            },
        ),
    );
    let taken = canvas.text(inside.x, last, inside.width, &cancel, part(!ask.on_yes));
    if ask.commands.is_empty() {
        return;
    }
    let tone = if ask.yes == "Delete" {
        Tone::Bad
    } else {
        Tone::Head
    };
    let yes = Text::of(tone, button(ask.on_yes, ask.yes));
    canvas.text(
        inside.x + taken + 2,
        last,
        inside.width.saturating_sub(taken + 2),
        &yes,
        part(ask.on_yes),
    );
}
