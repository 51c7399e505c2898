//! Turns the state into what stands on the screen. Nothing here changes anything.

mod boxes;
mod canvas;
mod form;
mod frame;
mod list;
mod page;
mod pulses;
mod sheet;
mod tree;

use ratatui::Frame;
use ratatui::layout::Rect;

use crate::style::Tone;

use super::model::{Model, Over, SMALLEST};
use super::place::Place;
use super::text::Text;
use super::theme::Part;

use canvas::Canvas;

/// Draws the state, and says how many rows of a list were put into words for that.
pub fn view(model: &Model, frame: &mut Frame<'_>) -> usize {
    let area = frame.area();
    let mut canvas = Canvas::new(frame.buffer_mut(), model.look());
    canvas.fill(area, Part::Body);
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        small(&mut canvas, area);
        return 0;
    }
    let middle = frame::draw(model, &mut canvas, area);
    let mut rows = 0;
    match model.place() {
        Place::List(list) => rows = list::draw(model, list, &mut canvas, middle),
        Place::Tree(tree) => tree::draw(model, tree, &mut canvas, middle),
        Place::Page(page) => page::draw(model, page, &mut canvas, middle),
        Place::Pulses(pulses) => pulses::draw(model, pulses, &mut canvas, middle),
        Place::Settings(sheet) => sheet::draw(model, sheet, &mut canvas, middle),
    }
    match &model.over {
        Some(Over::Help(from)) => boxes::help(model, *from, &mut canvas, middle),
        Some(Over::Said(ran, from)) => boxes::said(ran, *from, &mut canvas, middle),
        Some(Over::Ask(ask)) => boxes::ask(ask, &mut canvas, middle),
        Some(Over::Form(form)) => form::draw(form, &mut canvas, middle),
        Some(Over::Plan(plan)) => boxes::plan(plan, &mut canvas, middle),
        Some(Over::Prompt(prompt)) => frame::completions(model, prompt, &mut canvas, area),
        None => {}
    }
    if let Some(at) = canvas.cursor() {
        frame.set_cursor_position(at);
    }
    rows
}

/// Says that there is no room.
fn small(canvas: &mut Canvas<'_>, area: Rect) {
    let (width, height) = SMALLEST;
    let words = format!(
        "too small: {}x{}, at least {width}x{height}; q leaves",
        area.width, area.height
    );
    for (at, line) in crate::table::wrap(&words, usize::from(area.width))
        .iter()
        .enumerate()
    {
        let Ok(at) = u16::try_from(at) else { return };
        if at < area.height {
            canvas.text(
                area.x,
                area.y + at,
                area.width,
                &Text::of(Tone::Waiting, line),
                Part::Body,
            );
        }
    }
}
