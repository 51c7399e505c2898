//! Turns changes of ten thousand objects into what a frame costs: taken, rows made anew, drawn.

use std::collections::BTreeMap;
use std::time::Instant;

use bbctl::ui::event::Event;
use bbctl::ui::keys::Key;
use bbctl::ui::model::Model;
use bbctl::ui::place::Place;
use bbctl::ui::settings::Settings;
use bbctl::ui::store::News;
use bbctl::ui::theme::{Skin, Theme};
use bbctl::ui::update::update;
use bbctl::ui::view::view;
use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::world::instance;
use super::{Answer, CHANGES, Figure, OBJECTS, TERMINAL};

/// Drawings a second at the usual pace.
const DRAWINGS: usize = 4;
/// Frames of each way to look at the list.
const FRAMES: usize = 50;
/// Ways to look at the list, as keys: by name, filtered, by a column, by status, only the faults.
const WAYS: [&str; 5] = [
    "",
    "/ \"www-[1-5].*pve\" enter",
    "esc right right right shift-o",
    "shift-s",
    "ctrl-z",
];

/// The dashboard, and a screen to draw on.
struct Desk {
    model: Model,
    terminal: Terminal<TestBackend>,
}

pub(crate) fn measure() -> Answer<Vec<Figure>> {
    let mut desk = Desk::open()?;
    let rows = desk.model.rows();
    let (mut times, mut most, mut made) = (Vec::new(), 0, 0.0_f64);
    for (way, keys) in (0..).zip(WAYS) {
        desk.press(keys)?;
        desk.draw()?;
        let before = desk.made();
        for frame in 0..FRAMES {
            let round = 1 + way * FRAMES + frame;
            let changes = CHANGES / DRAWINGS;
            let events: Vec<Event> = (0..changes)
                .map(|n| seen((round * 131 + n * 37) % OBJECTS, round))
                .collect::<Answer<_>>()?;
            let begun = Instant::now();
            for event in events {
                update(&mut desk.model, event);
            }
            most = most.max(desk.draw()?);
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        made = made.max(f64::from(u32::try_from(desk.made() - before)?) / FRAMES as f64);
    }
    // A key finds the rows as they are, or makes them anew once.
    let mut keys = Vec::new();
    for round in 0..FRAMES {
        update(&mut desk.model, seen(round, 1000 + round)?);
        let begun = Instant::now();
        desk.press("down")?;
        desk.draw()?;
        keys.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    keys.sort_by(f64::total_cmp);
    let of = "25 changes taken, rows made anew, 160x50 drawn; the list by name, filtered, by a \
        column, by status, only faults; 50 each";
    Ok(vec![
        Figure::new(
            "rows_put_into_words_per_frame",
            most as f64,
            "rows",
            "of 10,000; the goal is what the screen has room for",
        )
        .at_most(rows as f64),
        Figure::new(
            "rows_made_anew_per_frame",
            made,
            "times",
            "filtered and sorted, with 25 changes since the frame before",
        )
        .at_most(1.0),
        Figure::new("frame_median", at(&times, 50), "ms", of),
        Figure::new("frame_p99", at(&times, 99), "ms", "the same, 99 of 100").at_most(33.0),
        Figure::new("frame_worst", at(&times, 100), "ms", "the same, all").at_most(33.0),
        Figure::new(
            "key_worst",
            at(&keys, 100),
            "ms",
            "from a key to its frame, with a change before each; 50 times",
        )
        .at_most(33.0),
    ])
}

/// What so many of a hundred stay below, of times in their order.
fn at(times: &[f64], percent: usize) -> f64 {
    let at = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(at).copied().unwrap_or_default()
}

fn seen(at: usize, round: usize) -> Answer<Event> {
    let object = serde_json::from_value(instance(at, round))?;
    Ok(Event::News("instances", News::Seen(Box::new(object))))
}

impl Desk {
    /// A dashboard that knows all of them.
    fn open() -> Answer<Self> {
        let theme = Theme::choose(Skin::Dark, false, &BTreeMap::new());
        let now: Timestamp = "2026-03-01T12:00:00Z".parse()?;
        let mut model = Model::new(Settings::default(), theme, now);
        update(&mut model, Event::Size(TERMINAL.0, TERMINAL.1));
        update(&mut model, Event::News("instances", News::Begin));
        for number in 0..OBJECTS {
            update(&mut model, seen(number, 0)?);
        }
        update(&mut model, Event::News("instances", News::Listed));
        let terminal = Terminal::new(TestBackend::new(TERMINAL.0, TERMINAL.1))?;
        Ok(Self { model, terminal })
    }

    /// Draws, and says how many rows were put into words.
    fn draw(&mut self) -> Answer<usize> {
        self.model.settle();
        let mut rows = 0;
        let model = &self.model;
        self.terminal.draw(|frame| rows = view(model, frame))?;
        Ok(rows)
    }

    /// How often the rows were made anew.
    fn made(&self) -> u64 {
        match self.model.place() {
            Place::List(list) => list.made,
            _ => 0,
        }
    }

    /// Presses keys by their names, or types what stands between quotes.
    fn press(&mut self, keys: &str) -> Answer<()> {
        for (number, part) in keys.split('"').enumerate() {
            if number % 2 == 1 {
                for c in part.chars() {
                    update(
                        &mut self.model,
                        Event::Key(KeyEvent::from(KeyCode::Char(c))),
                    );
                }
                continue;
            }
            for name in part.split_whitespace() {
                let key = Key::parse(name).ok_or_else(|| format!("{name} is no key"))?;
                let mut event = KeyEvent::from(key.code);
                if key.ctrl {
                    event.modifiers |= KeyModifiers::CONTROL;
                }
                update(&mut self.model, Event::Key(event));
            }
        }
        Ok(())
    }
}
