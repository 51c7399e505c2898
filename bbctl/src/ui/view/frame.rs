//! Turns the state into what is around every screen: header, the way here, log, notice, keys.

use ratatui::layout::Rect;

use crate::age;
use crate::style::Tone;

use super::super::keys::{Action, KEYS, On};
use super::super::list::By;
use super::super::model::{LOG_LINES, Logged, Model, Over};
use super::super::place::Place;
use super::super::prompt::{Prompt, What, completions as ways};
use super::super::sheet;
use super::super::store::Reach;
use super::super::text::{Text, fit_middle, width};
use super::super::theme::Part;
use super::canvas::Canvas;

/// Draws it and returns what is left in the middle.
pub(super) fn draw(model: &Model, canvas: &mut Canvas<'_>, area: Rect) -> Rect {
    let mut top = area.y;
    if model.show.header {
        header(model, canvas, Rect { height: 2, ..area });
        top += 2;
    }
    if model.show.crumbs {
        crumbs(
            model,
            canvas,
            Rect {
                y: top,
                height: 1,
                ..area
            },
        );
        top += 1;
    }
    let mut bottom = area.bottom() - 2;
    if model.show.log {
        bottom -= LOG_LINES + 1;
        log(
            model,
            canvas,
            Rect {
                y: bottom,
                height: LOG_LINES + 1,
                ..area
            },
        );
    }
    notice(
        model,
        canvas,
        Rect {
            y: area.bottom() - 2,
            height: 1,
            ..area
        },
    );
    footer(
        model,
        canvas,
        Rect {
            y: area.bottom() - 1,
            height: 1,
            ..area
        },
    );
    Rect {
        y: top,
        height: bottom.saturating_sub(top),
        ..area
    }
}

fn header(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.fill(area, Part::Bar);
    let state = match (&model.lost, model.reach()) {
        (Some(_), _) | (_, Reach::Lost(_)) => Text::of(Tone::Bad, "LOST "),
        (None, Reach::Loading | Reach::Off) => Text::of(Tone::Waiting, "reading "),
        (None, Reach::Denied(_)) => Text::of(Tone::Waiting, "denied "),
        (None, Reach::Live) => Text::of(Tone::Good, "live "),
    };
    let state = match model.readonly {
        true => Text(vec![]).and(Tone::Waiting, "[READ-ONLY] ").0,
        false => Vec::new(),
    }
    .into_iter()
    .chain(state.0);
    let taken = canvas.right(area, area.y, &Text(state.collect()), Part::Bar);
    let left = area.width.saturating_sub(taken + 1);
    let context = match model.at.context.as_str() {
        "" => "no context",
        context => context,
    };
    let title = Text::of(Tone::Head, " bitbuilder ")
        .and(Tone::Plain, context)
        .and(Tone::Faint, format!("  {}", model.at.server));
    canvas.text(area.x, area.y, left, &title, Part::Bar);
    let mark = |on: bool| if on { Tone::Head } else { Tone::Faint };
    let star = |on: bool| if on { "*" } else { "" };
    let all = model.namespace.is_none();
    let mut tenants = Text::of(mark(all), format!(" 0 all{}", star(all)));
    for (at, name) in model.favourites().iter().enumerate() {
        let own = model.namespace.as_deref() == Some(name);
        let words = format!("  {} {}{}", at + 1, fit_middle(name, 16), star(own));
        tenants = tenants.and(mark(own), words);
    }
    canvas.text(area.x, area.y + 1, area.width, &tenants, Part::Bar);
}

fn crumbs(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let beside = beside(model);
    let taken = canvas.right(area, area.y, &beside, Part::Body);
    let room = usize::from(area.width.saturating_sub(taken + 2));
    let mut titles: Vec<String> = model.stack.iter().map(Place::title).collect();
    // The last steps say where one is.
    while titles.len() > 1 && width(&titles.join(" > ")) + 3 > room {
        titles.remove(0);
        titles[0] = format!("… {}", titles[0].trim_start_matches("… "));
    }
    let last = titles.pop().unwrap_or_default();
    let mut way = Text::of(Tone::Faint, " ");
    for title in titles {
        way = way.and(Tone::Faint, format!("{title} > "));
    }
    let way = way.and(Tone::Head, last);
    canvas.text(
        area.x,
        area.y,
        area.width.saturating_sub(taken + 1),
        &way,
        Part::Body,
    );
}

/// What the screen shows of all there is, and in which order.
fn beside(model: &Model) -> Text {
    match model.place() {
        Place::List(list) => {
            let all = model.store.shelf(list.kind.plural).len();
            let shown = list.order.len();
            let mut words = Text::default();
            if let Some(namespace) = &list.query.namespace {
                words = words.and(Tone::Plain, format!("in {namespace}  "));
            }
            if !list.query.filter.is_empty() {
                words = words.and(Tone::Waiting, format!("/{}  ", list.query.filter));
            }
            if list.query.faults {
                words = words.and(Tone::Waiting, "faults only  ");
            }
            if !list.marks.is_empty() {
                words = words.and(Tone::Head, format!("{} marked  ", list.marks.len()));
            }
            if list.query.by == By::Age && !model.show.wide && list.order.is_empty() {
                return words;
            }
            let count = if shown == all {
                format!("{all} ")
            } else {
                format!("{shown} of {all} ")
            };
            words.and(Tone::Plain, count)
        }
        Place::Tree(tree) => Text::plain(format!("{} rows ", tree.rows.len())),
        Place::Page(page) => {
            let last = (page.scroll + model.rows()).min(page.lines.len());
            let first = (page.scroll + 1).min(last);
            Text::plain(format!("lines {first} to {last} of {} ", page.lines.len()))
        }
        Place::Pulses(_) | Place::Settings(_) => Text::default(),
    }
}

fn log(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    let rule = "─".repeat(usize::from(area.width.saturating_sub(12)));
    let rule = format!("── commands {rule}");
    canvas.text(
        area.x,
        area.y,
        area.width,
        &Text::of(Tone::Faint, rule),
        Part::Body,
    );
    if model.log.is_empty() {
        let none = Text::of(
            Tone::Faint,
            " none yet: what you do shows here as you would type it",
        );
        canvas.text(area.x, area.y + 1, area.width, &none, Part::Body);
    }
    let shown = model.log.iter().rev().take(usize::from(LOG_LINES)).rev();
    for (y, logged) in (area.y + 1..area.bottom()).zip(shown) {
        canvas.text(area.x, y, area.width, &entry(model, logged), Part::Body);
    }
}

fn entry(model: &Model, logged: &Logged) -> Text {
    let ago = age::since(logged.since, model.now);
    let (tone, word) = match &logged.ended {
        None => (Tone::Waiting, "runs".to_owned()),
        Some(ran) if ran.code == 0 => (Tone::Good, "done".to_owned()),
        Some(ran) => (Tone::Bad, format!("exit {}", ran.code)),
    };
    Text::of(Tone::Faint, format!(" {ago:>5} "))
        .and(tone, format!("{word:<7} "))
        .and(Tone::Plain, &logged.line)
}

fn notice(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    if let Some(Over::Prompt(prompt)) = &model.over {
        prompted(model, prompt, canvas, area);
        return;
    }
    let lost = match (&model.lost, model.reach()) {
        (Some(why), _) => Some(why.clone()),
        (None, Reach::Lost(why)) => Some(why.clone()),
        _ => None,
    };
    // What the server does is told until it is over, whatever else is to be said.
    if let Some(why) = lost {
        let words = format!(" server lost, shown is what was known; trying again: {why}");
        canvas.text(
            area.x,
            area.y,
            area.width,
            &Text::of(Tone::Bad, words),
            Part::Body,
        );
    } else if let Some(notice) = &model.notice {
        let words = Text::of(notice.tone, format!(" {}", notice.text));
        canvas.text(area.x, area.y, area.width, &words, Part::Body);
    } else if let Place::List(list) = model.place()
        && let Some(why) = &list.trouble
    {
        let words = Text::of(Tone::Waiting, format!(" {why}: all rows show"));
        canvas.text(area.x, area.y, area.width, &words, Part::Body);
    }
}

fn prompted(model: &Model, prompt: &Prompt, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.fill(area, Part::Field);
    let sign = match prompt.what {
        What::Palette => ":",
        What::Filter(_) => "/",
        What::Setting(_) => "=",
    };
    let text = prompt.line.text();
    let chosen = prompt
        .chosen
        .and_then(|at| ways(&text, model).get(at).cloned());
    let shown = chosen.unwrap_or(text);
    let letters: Vec<char> = shown.chars().collect();
    let before: String = letters.iter().take(prompt.line.at()).collect();
    let at = if prompt.chosen.is_some() {
        width(&shown)
    } else {
        width(&before)
    };
    // What is left of the cursor stays in sight.
    let room = usize::from(area.width.saturating_sub(3));
    let cut = at.saturating_sub(room);
    let seen: String = letters.iter().skip(cut).collect();
    let words = Text::of(Tone::Head, format!(" {sign}")).and(Tone::Plain, seen);
    canvas.text(area.x, area.y, area.width, &words, Part::Field);
    let x = u16::try_from(at - cut).unwrap_or_default() + area.x + 2;
    canvas.put_cursor(x.min(area.right() - 1), area.y);
    if let What::Filter(_) = prompt.what
        && let Place::List(list) = model.place()
        && let Some(why) = &list.trouble
    {
        canvas.right(
            area,
            area.y,
            &Text::of(Tone::Bad, format!("{why} ")),
            Part::Field,
        );
    }
}

/// What the line of the palette could become, above it.
pub(super) fn completions(model: &Model, prompt: &Prompt, canvas: &mut Canvas<'_>, area: Rect) {
    const MOST: usize = 8;
    if prompt.what != What::Palette {
        return;
    }
    let all = ways(&prompt.line.text(), model);
    let chosen = prompt.chosen.unwrap_or_default();
    let from = (chosen + 1).saturating_sub(MOST);
    let shown = all.len().min(MOST);
    let widest = all.iter().map(|word| width(word)).max().unwrap_or_default();
    let Ok(columns) = u16::try_from(widest + 4) else {
        return;
    };
    let Ok(lines) = u16::try_from(shown) else {
        return;
    };
    let top = (area.bottom() - 2).saturating_sub(lines);
    for (y, (at, word)) in (top..).zip(all.iter().enumerate().skip(from).take(shown)) {
        let on = prompt.chosen == Some(at);
        let part = if on { Part::Cursor } else { Part::Box };
        let line = Rect {
            x: area.x,
            y,
            width: columns.min(area.width),
            height: 1,
        };
        canvas.fill(line, part);
        let sign = if on { "> " } else { "  " };
        canvas.text(
            line.x,
            y,
            line.width,
            &Text::plain(format!("{sign}{word}")),
            part,
        );
    }
}

/// The keys that matter here.
fn footer(model: &Model, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.fill(area, Part::Bar);
    let words = match &model.over {
        Some(Over::Prompt(prompt)) if prompt.what == What::Palette => {
            " tab: complete  enter: go  esc: cancel"
        }
        Some(Over::Prompt(prompt)) if matches!(prompt.what, What::Setting(_)) => {
            " enter: keep it; nothing: as it is by default  esc: cancel"
        }
        Some(Over::Prompt(_)) => {
            " REGEX  !REGEX inverse  -l app=web labels  -f letters fuzzy  enter  esc"
        }
        Some(Over::Ask(ask)) if !ask.names.is_empty() => {
            " type the name, enter  ctrl-p: plan  esc: cancel"
        }
        Some(Over::Ask(ask)) if ask.yes == "Delete" => {
            " left/right: choose  enter  p: plan  esc: cancel"
        }
        Some(Over::Ask(_)) => " left/right: choose  enter  esc: cancel",
        Some(Over::Help(_) | Over::Said(..)) => " up/down: scroll  esc: close",
        Some(Over::Form(form)) => form.footer(),
        Some(Over::Plan(plan)) => &plan.footer(),
        None => match model.place() {
            Place::Settings(_) => sheet::KEYS,
            _ => "",
        },
    };
    if !words.is_empty() {
        canvas.text(
            area.x,
            area.y,
            area.width,
            &Text::of(Tone::Plain, words),
            Part::Bar,
        );
        return;
    }
    // Those two stay, whatever else finds no room.
    let last = [Action::Help, Action::Leave];
    let fixed = last
        .iter()
        .fold(Text::default(), |line, action| hint(model, line, *action));
    let taken = canvas.right(area, area.y, &fixed, Part::Bar);
    let room = usize::from(area.width.saturating_sub(taken));
    let place = model.place();
    let object = place.object().is_some();
    let mut line = Text::default();
    for binding in &KEYS {
        let here = match binding.on {
            On::Lists => matches!(place, Place::List(_)),
            On::Objects => object,
            _ => true,
        };
        let off = binding.changes && model.readonly;
        if binding.hint.is_empty() || !here || off || last.contains(&binding.action) {
            continue;
        }
        let longer = hint(model, line.clone(), binding.action);
        if width(&longer.words()) <= room {
            line = longer;
        }
    }
    canvas.text(
        area.x,
        area.y,
        area.width.saturating_sub(taken),
        &line,
        Part::Bar,
    );
}

/// The line with the first key of an action and what it does.
fn hint(model: &Model, line: Text, action: Action) -> Text {
    let binding = KEYS.iter().find(|binding| binding.action == action);
    let key = model.settings.own.keys.names(action).into_iter().next();
    match (binding, key) {
        (Some(binding), Some(key)) => line
            .and(Tone::Head, format!(" {key} "))
            .and(Tone::Plain, format!("{} ", binding.hint)),
        _ => line,
    }
}
