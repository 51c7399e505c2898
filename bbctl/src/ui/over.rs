//! Turns keys into what becomes of what lies over the screen: help, a line, a question, a form.

use ratatui::crossterm::event::KeyCode;

use crate::style::Tone;

use super::change;
use super::event::Effect;
use super::go;
use super::help;
use super::keys::{Action, Binding, Key};
use super::line::Line;
use super::model::{Model, Over};
use super::place::Place;
use super::plan;
use super::prompt::{Prompt, What, completions, understand};
use super::sheet;

/// Takes a key for what lies over the screen.
pub(super) fn press(model: &mut Model, key: Key, binding: Option<&'static Binding>) -> Vec<Effect> {
    match model.over.take() {
        Some(Over::Help(from)) => {
            let most = help::lines(model).len().saturating_sub(help::height(model));
            model.over = scrolled(from, most, model.rows(), key, binding).map(Over::Help);
        }
        Some(Over::Said(ran, from)) => {
            let most = ran.said.lines().count().saturating_sub(1);
            let next = scrolled(from, most, model.rows(), key, binding);
            model.over = next.map(|from| Over::Said(ran, from));
        }
        Some(Over::Prompt(prompt)) => return prompted(model, prompt, key),
        Some(Over::Ask(ask)) => return change::answered(model, ask, key),
        Some(Over::Form(form)) => return change::filled(model, form, key),
        Some(Over::Plan(plan)) => return plan::press(model, plan, key),
        None => {}
    }
    Vec::new()
}

/// Takes pasted text.
pub(super) fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    match &mut model.over {
        Some(Over::Prompt(prompt)) => {
            prompt.line.paste(text);
            let (prompt, line) = (prompt.clone(), prompt.line.text());
            if let What::Filter(_) = prompt.what {
                set_filter(model, &line);
            }
        }
        Some(Over::Ask(ask)) if !ask.names.is_empty() => ask.line.paste(text),
        Some(Over::Form(form)) => form.paste(text),
        _ => {}
    }
    Vec::new()
}

/// Where a text goes on after a key; nowhere: it is closed.
fn scrolled(
    from: usize,
    most: usize,
    page: usize,
    key: Key,
    binding: Option<&'static Binding>,
) -> Option<usize> {
    match binding.map(|b| b.action) {
        Some(Action::Down) => Some((from + 1).min(most)),
        Some(Action::Up) => Some(from.saturating_sub(1)),
        Some(Action::PageDown) => Some((from + page).min(most)),
        Some(Action::PageUp) => Some(from.saturating_sub(page)),
        Some(Action::Top) => Some(0),
        Some(Action::Bottom) => Some(most),
        Some(Action::Back | Action::Leave | Action::Help | Action::Enter) => None,
        _ if key.code == KeyCode::Esc => None,
        _ => Some(from),
    }
}

fn set_filter(model: &mut Model, text: &str) {
    if let Place::List(list) = model.place_mut() {
        text.clone_into(&mut list.query.filter);
    }
}

fn prompted(model: &mut Model, mut prompt: Prompt, key: Key) -> Vec<Effect> {
    let text = prompt.line.text();
    let palette = prompt.what == What::Palette;
    match key.code {
        KeyCode::Esc => {
            if let What::Filter(before) = &prompt.what {
                set_filter(model, before);
            }
            return Vec::new();
        }
        KeyCode::Enter => {
            if let What::Setting(name) = &prompt.what {
                return sheet::keep(model, name, text.trim());
            }
            let What::Palette = prompt.what else {
                set_filter(model, &text);
                return Vec::new();
            };
            let all = completions(&text, model);
            let chosen = prompt.chosen.and_then(|at| all.get(at).cloned());
            let line = chosen.unwrap_or(text);
            if line.ends_with(' ') {
                prompt.line = Line::new(&line);
                prompt.chosen = None;
                model.over = Some(Over::Prompt(prompt));
                return Vec::new();
            }
            if line.trim().is_empty() {
                return Vec::new();
            }
            match understand(&line, model) {
                Ok(meaning) => return go::follow(model, meaning),
                Err(why) => model.say(Tone::Bad, why),
            }
            return Vec::new();
        }
        KeyCode::Tab | KeyCode::Down | KeyCode::Up | KeyCode::BackTab if palette => {
            let all = completions(&text, model);
            let count = all.len();
            let forward = matches!(key.code, KeyCode::Tab | KeyCode::Down);
            match all.as_slice() {
                [] => {}
                // One way to go on: it is taken.
                [only] if key.code == KeyCode::Tab => {
                    prompt.line = Line::new(only);
                    prompt.chosen = None;
                }
                _ => {
                    prompt.chosen = Some(match (prompt.chosen, forward) {
                        (None, true) => 0,
                        (None, false) => count - 1,
                        (Some(at), true) => (at + 1) % count,
                        (Some(at), false) => (at + count - 1) % count,
                    });
                }
            }
        }
        KeyCode::Backspace if text.is_empty() => return Vec::new(),
        _ => {
            if let Some(chosen) = prompt.chosen
                && let Some(word) = completions(&text, model).get(chosen)
            {
                prompt.line = Line::new(word);
            }
            prompt.chosen = None;
            prompt.line.take(key);
            if let What::Filter(_) = prompt.what {
                set_filter(model, &prompt.line.text());
            }
        }
    }
    model.over = Some(Over::Prompt(prompt));
    Vec::new()
}
