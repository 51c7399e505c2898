//! Thousands of objects that change all the time: what is done for a frame is counted, not timed.

use bbctl::ui::event::Event;
use bbctl::ui::place::Place;
use bbctl::ui::store::News;
use bbctl::ui::view::view;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::kit::{Desk, instance, seen};

const OBJECTS: usize = 2000;

/// A dashboard that sees them.
fn many() -> Desk {
    let mut desk = Desk::new();
    desk.take(Event::News("instances", News::Begin));
    for at in 0..OBJECTS {
        change(&mut desk, at);
    }
    desk.take(Event::News("instances", News::Listed));
    desk
}

fn change(desk: &mut Desk, at: usize) {
    let object = instance(&format!("www-{at}"), "10.10.0.10");
    desk.take(Event::News("instances", seen(&object)));
}

/// Draws, and says how many rows were put into words, and how often they were made anew so far.
fn draw(desk: &mut Desk) -> (usize, u64) {
    desk.model.settle();
    let (columns, lines) = desk.model.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    let mut rows = 0;
    let model = &desk.model;
    terminal.draw(|frame| rows = view(model, frame)).unwrap();
    match model.place() {
        Place::List(list) => (rows, list.made),
        _ => panic!("a list is on the screen"),
    }
}

#[test]
fn a_frame_costs_the_rows_on_the_screen_and_not_all_there_are() {
    let mut desk = many();
    for size in [(60, 15), (160, 50)] {
        desk.size(size.0, size.1);
        let room = desk.model.rows();
        assert!(room < OBJECTS / 10);
        assert_eq!(draw(&mut desk).0, room);
        desk.press("end");
        assert_eq!(draw(&mut desk).0, room);
    }
}

#[test]
fn a_burst_of_changes_makes_the_rows_anew_once_and_no_change_never() {
    let mut desk = many();
    let (_, before) = draw(&mut desk);
    for at in 0..500 {
        change(&mut desk, at);
    }
    assert_eq!(draw(&mut desk).1, before + 1);
    // Time that passes, keys that move, and what is told of other kinds change no row.
    desk.later(5).press("down down pgdn");
    desk.take(Event::News("tenants", News::Listed));
    assert_eq!(draw(&mut desk).1, before + 1);
    desk.press("shift-s");
    assert_eq!(draw(&mut desk).1, before + 2);
}
