//! Where keys lead, and what stays where it is while the world changes.

use std::path::Path;

use bbctl::ui::event::{Effect, Event};
use bbctl::ui::model::{Model, Over};
use bbctl::ui::own;
use bbctl::ui::place::Place;
use bbctl::ui::settings::Settings;
use bbctl::ui::store::{Key, News};
use bbctl::ui::theme::{Skin, Theme};
use serde_json::json;

use super::kit::{Desk, instance, seen};

fn names(model: &mut Model) -> Vec<String> {
    model.settle();
    match model.place() {
        Place::List(list) => list.order.iter().map(|key| key.name.to_string()).collect(),
        other => panic!("{} is no list", other.title()),
    }
}

fn way(desk: &Desk) -> Vec<String> {
    desk.model.stack.iter().map(Place::title).collect()
}

fn cursor(desk: &mut Desk) -> String {
    desk.model.settle();
    desk.model
        .place()
        .object()
        .map(|id| id.key.name.to_string())
        .unwrap_or_default()
}

#[test]
fn the_cursor_stays_on_its_object_whatever_comes_and_goes() {
    let mut desk = Desk::example();
    desk.press("down down");
    assert_eq!(cursor(&mut desk), "www-1");
    desk.take(Event::News(
        "instances",
        seen(&instance("aaa", "10.10.0.20")),
    ));
    assert_eq!(cursor(&mut desk), "www-1");
    desk.take(Event::News("instances", News::Gone(Key::new("acme", "pg"))));
    assert_eq!(cursor(&mut desk), "www-1");
    // When its object goes, it is on the one that took the place.
    desk.take(Event::News(
        "instances",
        News::Gone(Key::new("acme", "www-1")),
    ));
    assert_eq!(cursor(&mut desk), "www-2");
    desk.press("shift-n");
    assert_eq!(cursor(&mut desk), "www-2");
}

#[test]
fn rows_are_filtered_sorted_and_only_the_faults() {
    let mut desk = Desk::example();
    desk.press("/ \"www\" enter");
    assert_eq!(names(&mut desk.model), ["www-1", "www-2"]);
    desk.press("esc / \"!www\" enter");
    assert_eq!(names(&mut desk.model).len(), 2);
    desk.press("esc / \"-l app=web\" enter");
    assert_eq!(names(&mut desk.model), ["www-1"]);
    desk.press("esc / \"-f w2\" enter");
    assert_eq!(names(&mut desk.model), ["www-2"]);
    desk.press("esc ctrl-z");
    assert_eq!(names(&mut desk.model).len(), 1);
    desk.press("esc shift-n");
    assert_eq!(names(&mut desk.model)[0], "www-2");
    assert!(desk.screen().contains("NAME↓"), "{}", desk.screen());
    desk.press("shift-a");
    assert!(names(&mut desk.model)[0].starts_with("build-runner"));
    desk.press("shift-s");
    assert!(names(&mut desk.model)[0].starts_with("build-runner"));
    assert!(desk.screen().contains("REASON↑"), "{}", desk.screen());
    // The column of the addresses, chosen by going right.
    desk.press("right right right shift-o");
    assert_eq!(
        names(&mut desk.model).last().map(String::as_str),
        Some("pg")
    );
    assert!(desk.screen().contains("[ADDRESS]↑"), "{}", desk.screen());
    // What was typed wrongly hides nothing.
    desk.press("/ \"(\"");
    assert_eq!(names(&mut desk.model).len(), 4);
    assert!(
        desk.screen().contains("no regular expression"),
        "{}",
        desk.screen()
    );
    // Esc brings back what was before.
    desk.press("esc / \"pg\" enter / \"x\" esc");
    assert_eq!(names(&mut desk.model), ["pg"]);
}

#[test]
fn one_goes_down_into_things_and_back_up() {
    let mut desk = Desk::example();
    desk.press(": \"tenants\" enter enter");
    assert_eq!(way(&desk), ["tenants", "instances of tenant/acme"]);
    assert_eq!(names(&mut desk.model).len(), 4);
    desk.press("end enter");
    assert_eq!(way(&desk)[2], "instance/www-2");
    desk.press("esc esc");
    assert_eq!(way(&desk), ["tenants"]);
    desk.press(": \"volumes\" enter down u");
    assert_eq!(names(&mut desk.model), ["pg"]);
    desk.press(": \"providers\" enter shift-j");
    assert_eq!(way(&desk), ["providers", "region/home"]);
    desk.press(": \"volumes\" enter end shift-j");
    assert_eq!(way(&desk), ["volumes", "instance/pg"]);
    desk.press("shift-j");
    assert_eq!(way(&desk)[2], "tenant/acme");
}

#[test]
fn history_leads_back_and_forward_and_between_two_screens() {
    let mut desk = Desk::example();
    desk.press(": \"networks\" enter : \"volumes\" enter");
    desk.press("[");
    assert_eq!(way(&desk), ["networks"]);
    desk.press("[");
    assert_eq!(way(&desk), ["instances"]);
    desk.press("] ]");
    assert_eq!(way(&desk), ["volumes"]);
    desk.press("-");
    assert_eq!(way(&desk), ["networks"]);
    desk.press("-");
    assert_eq!(way(&desk), ["volumes"]);
}

#[test]
fn tenants_are_chosen_by_number_or_name() {
    let mut desk = Desk::example();
    desk.press(": \"networks\" enter 2");
    assert_eq!(names(&mut desk.model), ["lan"]);
    desk.press("0");
    assert_eq!(names(&mut desk.model), ["web", "lan"]);
    desk.press(": \"tenant acme\" enter");
    assert_eq!(names(&mut desk.model), ["web"]);
    desk.press(": \"volumes /arch\" enter");
    assert_eq!(names(&mut desk.model), ["archive"]);
}

#[test]
fn another_context_is_looked_at_and_nothing_of_the_old_one_stays() {
    let mut desk = Desk::example();
    desk.press(": \"networks@live /web\" enter");
    assert_eq!(
        desk.effects.last(),
        Some(&Effect::Connect("live".to_owned()))
    );
    desk.take(Event::Connected(bbctl::ui::event::Place {
        context: "live".to_owned(),
        contexts: vec!["lab".to_owned(), "live".to_owned()],
        server: "https://192.0.2.20:6443".to_owned(),
        namespace: "default".to_owned(),
    }));
    assert_eq!(way(&desk), ["networks"]);
    assert!(names(&mut desk.model).is_empty());
    assert!(desk.screen().contains("/web") && desk.screen().contains("live"));
    desk.press(": \"ctx nowhere\" enter");
    assert!(
        desk.screen().contains("has no context `nowhere`"),
        "{}",
        desk.screen()
    );
    desk.press(": \"netwroks\" enter");
    assert!(
        desk.screen().contains("did you mean `networks`?"),
        "{}",
        desk.screen()
    );
}

#[test]
fn parts_of_the_screen_hide_and_the_theme_changes() {
    let mut desk = Desk::example();
    assert!(desk.screen().contains("192.0.2.10"));
    desk.press("ctrl-e ctrl-g");
    let screen = desk.screen();
    assert!(
        !screen.contains("192.0.2.10") && screen.starts_with("   NAMESPACE"),
        "{screen}"
    );
    desk.press(": \"theme light\" enter");
    assert_eq!(desk.model.theme, Theme::of(Skin::Light));
    desk.press("q");
    assert_eq!(desk.effects.last(), Some(&Effect::Quit));
}

#[test]
fn a_skin_of_ones_own_is_a_theme_like_any_other() {
    use ratatui::buffer::Cell;
    use ratatui::style::Color;
    let skin = "base = 'light'\n[body]\nplain = '#010203'\n[bar]\nground = 'blue'\n";
    let theme = bbctl::ui::skin::parse("dusk", skin, Path::new("dusk.toml")).unwrap();
    let mut desk = Desk::with(Settings {
        skins: vec![
            ("dusk".to_owned(), Ok(theme)),
            ("torn".to_owned(), Err("torn.toml:2: `all.god`".to_owned())),
        ],
        ..Settings::default()
    });
    desk.see(super::kit::example());
    desk.press(": \"theme d\" tab tab");
    let screen = desk.screen();
    assert!(
        screen.contains("theme dark") && screen.contains("theme dusk"),
        "{screen}"
    );
    desk.press("enter");
    let buffer = desk.buffer();
    assert_eq!(buffer[(0, 0)].bg, Color::Blue);
    let named = |text: &str| {
        let cells: Vec<_> = buffer.content().iter().map(Cell::symbol).collect();
        let row = cells.chunks(80).position(|row| row.concat().contains(text));
        buffer[(11, u16::try_from(row.unwrap()).unwrap())].fg
    };
    assert_eq!(named("www-2"), Color::Rgb(1, 2, 3));
    // One that is broken is told of, and nothing changes.
    desk.press(": \"theme torn\" enter");
    assert!(desk.screen().contains("torn.toml:2"), "{}", desk.screen());
    assert_eq!(desk.model.theme.name(), "dusk");
    // Where there are no colours, there are none for the asking.
    desk.model.settings.colourless = true;
    desk.press(": \"theme dark\" enter");
    assert!(desk.screen().contains("NO_COLOR"), "{}", desk.screen());
    assert_eq!(desk.model.theme.name(), "dusk");
}

#[test]
fn who_may_not_list_everywhere_sees_the_namespace_of_the_context() {
    let mut desk = Desk::new();
    let refused = || News::Denied("instances is forbidden at the cluster scope".to_owned());
    desk.take(Event::News("instances", refused()));
    let wanted = desk.model.wanted();
    assert!(
        wanted.contains(&("instances", Some("default".to_owned()))),
        "{wanted:?}"
    );
    desk.take(Event::News("instances", refused()));
    assert!(
        desk.screen().contains("you may not list instances"),
        "{}",
        desk.screen()
    );
}

#[test]
fn a_lost_server_is_told_of_until_it_is_back_and_rows_stay() {
    let mut desk = Desk::example();
    desk.take(Event::Server(Err("no answer".to_owned())));
    desk.take(Event::News(
        "instances",
        News::Lost("connection refused".to_owned()),
    ));
    desk.later(600);
    let screen = desk.screen();
    assert!(screen.contains("server lost") && screen.contains("LOST") && screen.contains("www-1"));
    desk.take(Event::News("instances", News::Begin));
    desk.take(Event::News(
        "instances",
        seen(&instance("www-1", "10.10.0.10")),
    ));
    desk.take(Event::News("instances", News::Listed));
    desk.take(Event::Server(Ok(())));
    let screen = desk.screen();
    assert!(
        screen.contains("answers again") && screen.contains("live"),
        "{screen}"
    );
    assert_eq!(names(&mut desk.model), ["www-1"]);
}

#[test]
fn only_what_a_screen_shows_is_watched() {
    let mut desk = Desk::example();
    let kinds = |desk: &Desk| -> Vec<&str> {
        desk.model
            .wanted()
            .into_iter()
            .map(|(plural, _)| plural)
            .collect()
    };
    assert_eq!(kinds(&desk), ["instances", "tenants"]);
    desk.press(": \"volumes\" enter");
    assert_eq!(kinds(&desk), ["tenants", "volumes"]);
    desk.press("shift-p");
    assert_eq!(kinds(&desk).len(), 6);
}

#[test]
fn settings_give_words_to_the_palette_and_other_keys() {
    let text = "[aliases]\nvms = 'instances'\n[keys]\ntree = 'f5'\n";
    let mut desk = Desk::with(Settings {
        favourites: vec!["globex".to_owned()],
        own: own::parse(text, Path::new("ui.toml")).unwrap(),
        ..Settings::default()
    });
    desk.see(super::kit::example());
    desk.press(": \"vms /pg\" enter");
    assert_eq!(way(&desk), ["instances"]);
    desk.press(": \"networks\" enter 1");
    assert_eq!(names(&mut desk.model), ["lan"]);
    desk.press("f5");
    assert_eq!(way(&desk), ["networks", "tree"]);
}

#[test]
fn names_go_to_the_clipboard() {
    let mut desk = Desk::example();
    desk.press("end space up space c");
    assert_eq!(
        desk.effects.last(),
        Some(&Effect::Copy("www-1 www-2".to_owned()))
    );
    desk.press("esc home end space home ctrl-space");
    match desk.model.place() {
        Place::List(list) => assert_eq!(list.marks.len(), 4),
        _ => panic!("a list shows"),
    }
}

#[test]
fn a_page_listens_again_when_its_object_changes_and_not_more_often_than_it_may() {
    let mut desk = Desk::example();
    desk.press("end d");
    let asked = |desk: &Desk| {
        desk.effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Listen(..)))
            .count()
    };
    assert_eq!(asked(&desk), 1);
    let mut changed = instance("www-2", "10.10.0.11");
    changed["metadata"]["resourceVersion"] = json!("8");
    desk.take(Event::News("instances", seen(&changed)));
    desk.later(1);
    assert_eq!(asked(&desk), 1);
    desk.later(1);
    assert_eq!(asked(&desk), 2);
    desk.later(1);
    assert_eq!(asked(&desk), 2);
    desk.press("?");
    assert!(matches!(desk.model.over, Some(Over::Help(0))));
}
