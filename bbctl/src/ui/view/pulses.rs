//! Turns counts into all at a glance: a line for each kind, a line for each Provider.

use ratatui::layout::Rect;

use crate::kinds::KINDS;
use crate::style::Tone;

use super::super::model::Model;
use super::super::place::Pulses;
use super::super::pulse::{self, Count, ProviderPulse};
use super::super::store::Reach;
use super::super::text::{Text, fit_middle, pad};
use super::super::theme::Part;
use super::canvas::Canvas;

pub(super) fn draw(model: &Model, pulses: &Pulses, canvas: &mut Canvas<'_>, area: Rect) {
    let mut lines: Vec<(Option<usize>, Text)> = Vec::new();
    let bars = usize::from(area.width.saturating_sub(48)).min(60);
    let title = format!(
        "   {:<12}{:>6}{:>7}{:>9}{:>5}  {}",
        "KIND",
        "ALL",
        "READY",
        "WAITING",
        "BAD",
        if bars > 8 { "NOT READY OVER TIME" } else { "" }
    );
    lines.push((None, Text::of(Tone::Head, title)));
    for (at, kind) in KINDS.iter().rev().enumerate() {
        // Rows are numbered as the cursor has them: in the order of the table of kinds.
        let number = KINDS.len() - 1 - at;
        lines.push((Some(number), kind_line(model, kind.plural, bars)));
    }
    lines.sort_by_key(|(number, _)| number.map_or(0, |number| number + 1));
    lines.push((None, Text::default()));
    let providers = pulse::providers(&model.store);
    let widest = providers
        .iter()
        .map(|p| p.name.chars().count())
        .max()
        .unwrap_or_default();
    let name = widest.clamp(8, 20);
    let head = format!(
        "   {}  {:<8}{:<10}{:<14}{:>8}  {}",
        pad("PROVIDER", name),
        "TYPE",
        "ZONE",
        "REASON",
        "CARRIES",
        "WHY"
    );
    lines.push((None, Text::of(Tone::Head, head)));
    if providers.is_empty() {
        lines.push((None, Text::of(Tone::Faint, "   none that you may see")));
    }
    for (at, provider) in providers.iter().enumerate() {
        lines.push((Some(KINDS.len() + at), provider_line(provider, name)));
    }
    // The row with the cursor stays in sight.
    let height = usize::from(area.height);
    let on = lines
        .iter()
        .position(|(number, _)| *number == Some(pulses.at))
        .unwrap_or_default();
    let from = (on + 1).saturating_sub(height);
    for (y, (number, line)) in (area.y..area.bottom()).zip(lines.iter().skip(from)) {
        let here = *number == Some(pulses.at);
        let part = if here { Part::Cursor } else { Part::Body };
        canvas.fill(
            Rect {
                y,
                height: 1,
                ..area
            },
            part,
        );
        if number.is_some() {
            let sign = if here { ">  " } else { "   " };
            canvas.text(area.x, y, 3, &Text::of(Tone::Head, sign), part);
            canvas.text(area.x + 3, y, area.width.saturating_sub(3), line, part);
        } else {
            canvas.text(area.x, y, area.width, line, part);
        }
    }
}

fn provider_line(provider: &ProviderPulse, name: usize) -> Text {
    let bad = provider.carries.unready();
    let (carries, tone) = match bad {
        0 => (provider.carries.total().to_string(), Tone::Plain),
        bad => (
            format!("{bad}!/{}", provider.carries.total()),
            Tone::Waiting,
        ),
    };
    let why = match provider.tone {
        Tone::Good => "",
        _ => provider.message.as_str(),
    };
    Text::plain(format!(
        "{}  ",
        pad(&fit_middle(&provider.name, name), name)
    ))
    .and(
        Tone::Plain,
        format!("{:<8}{}", provider.type_, pad(&provider.zone, 10)),
    )
    .and(provider.tone, pad(&provider.reason, 14))
    .and(tone, format!("{carries:>8}"))
    .and(Tone::Faint, format!("  {why}"))
}

fn kind_line(model: &Model, plural: &str, bars: usize) -> Text {
    let shelf = model.store.shelf(plural);
    let line = Text::plain(format!("{plural:<12}"));
    match &shelf.reach {
        Reach::Denied(_) => return line.and(Tone::Faint, "   you may not see them"),
        Reach::Off | Reach::Loading => return line.and(Tone::Faint, "   reading …"),
        Reach::Live | Reach::Lost(_) => {}
    }
    let Count {
        ready,
        waiting,
        bad,
    } = pulse::count(shelf, None);
    let total = ready + waiting + bad;
    let tone = |count: usize, tone: Tone| if count == 0 { Tone::Faint } else { tone };
    let mut line = line
        .and(Tone::Plain, format!("{total:>6}"))
        .and(tone(ready, Tone::Good), format!("{ready:>7}"))
        .and(tone(waiting, Tone::Waiting), format!("{waiting:>9}"))
        .and(tone(bad, Tone::Bad), format!("{bad:>5}"));
    if bars > 8 {
        line = line.and(
            Tone::Plain,
            format!("  {}", model.history.bars(plural, bars)),
        );
    }
    line
}
