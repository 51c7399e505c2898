//! What changes something: the very command, asked for once, after a yes, and never read-only.

use bbctl::gravity::{Consequence, Gravity};
use bbctl::ui::ask::Ask;
use bbctl::ui::event::{Command, Effect, Event, Weighed};
use bbctl::ui::keys::{Action, KEYS, Key};
use bbctl::ui::model::Over;
use bbctl::ui::settings::{Readonly, Settings};
use bbctl::ui::store::{Key as Name, News};
use serde_json::json;

use super::kit::{Desk, example, id, instance, seen};

/// The question before a deletion is on the screen.
pub(crate) fn weigh(desk: &mut Desk, name: &str, severe: bool) {
    desk.press(&format!("/ \"{name}\" enter ctrl-d"));
    let words = "its root disk is destroyed, attached Volumes stay";
    desk.take(Event::Weighed(Ok(vec![weighed(name, severe, words)])));
}

fn weighed(name: &str, severe: bool, words: &str) -> Weighed {
    let gravity = if severe {
        Gravity::Severe
    } else {
        Gravity::Moderate
    };
    Weighed {
        id: id("instance", "acme", name),
        uid: format!("uid-of-{name}"),
        consequence: Consequence {
            gravity,
            words: words.to_owned(),
            dependents: None,
        },
    }
}

#[test]
fn a_deletion_asks_first_and_the_first_answer_is_no() {
    let mut desk = Desk::example();
    weigh(&mut desk, "www-1", false);
    assert!(desk.screen().contains("> [Cancel]"), "{}", desk.screen());
    assert!(desk.screen().contains("root disk is destroyed"));
    desk.press("enter");
    assert!(desk.commands().is_empty() && desk.model.over.is_none());
    weigh(&mut desk, "www-1", false);
    desk.press("right enter");
    assert_eq!(
        desk.commands(),
        ["bbctl delete instance/www-1 -n acme --yes"]
    );
    weigh(&mut desk, "www-2", false);
    desk.press("right esc");
    assert_eq!(desk.commands().len(), 1);
}

#[test]
fn what_is_grave_wants_its_name_typed() {
    let mut desk = Desk::example();
    weigh(&mut desk, "www-1", true);
    desk.press("enter right enter \"www-2\" enter");
    assert!(desk.commands().is_empty(), "{:?}", desk.commands());
    desk.press("ctrl-u \"www-1\" enter");
    assert_eq!(
        desk.commands(),
        ["bbctl delete instance/www-1 -n acme --confirm=instance/www-1"]
    );
}

#[test]
fn several_marked_ones_are_one_question_and_one_command() {
    let mut desk = Desk::example();
    desk.press("end space up space ctrl-d");
    match desk.effects.last() {
        Some(Effect::Weigh(ids)) => assert_eq!(ids.len(), 2),
        other => panic!("{other:?}"),
    }
    let both = vec![
        weighed("www-1", false, ""),
        weighed("www-2", true, "it is grave"),
    ];
    desk.take(Event::Weighed(Ok(both)));
    desk.press("\"www-2\" enter");
    let line = "bbctl delete instance/www-1 instance/www-2 -n acme --yes --confirm=instance/www-2";
    assert_eq!(desk.commands(), [line]);
}

#[test]
fn many_want_their_number_typed_and_say_it_to_the_command() {
    let asked = |count: usize| {
        let names = (0..count).map(|at| format!("w{at}"));
        let ask = Ask::delete(
            &names
                .map(|name| weighed(&name, false, ""))
                .collect::<Vec<_>>(),
        );
        let lines: Vec<String> = ask.commands.iter().map(Command::line).collect();
        (ask.names, lines.join("\n"))
    };
    let few = "bbctl delete instance/w0 instance/w1 instance/w2 -n acme --yes";
    assert_eq!(asked(3), (Vec::new(), few.to_owned()));
    let many = "bbctl delete instance/w0 instance/w1 instance/w2 instance/w3 -n acme \
                --confirm=objects/4";
    assert_eq!(asked(4), (vec!["4".to_owned()], many.to_owned()));
}

#[test]
fn a_question_about_what_is_gone_or_another_closes_itself() {
    for other in [false, true] {
        let mut desk = Desk::example();
        weigh(&mut desk, "www-1", false);
        let news = if other {
            let mut another = instance("www-1", "10.10.0.10");
            another["metadata"]["uid"] = json!("another");
            seen(&another)
        } else {
            News::Gone(Name::new("acme", "www-1"))
        };
        desk.take(Event::News("instances", news));
        desk.press("right enter");
        assert!(desk.commands().is_empty() && desk.model.over.is_none());
    }
}

#[test]
fn every_action_is_the_command_that_one_would_type_and_is_logged() {
    let mut desk = Desk::example();
    desk.press("end shift-r");
    desk.press("shift-x right enter ctrl-t right enter e");
    let lines = [
        "bbctl instances start www-2 -n acme --yes",
        "bbctl instances stop www-2 -n acme --yes",
        "bbctl instances restart www-2 -n acme --yes",
        "bbctl edit instance www-2 -n acme",
    ];
    assert_eq!(desk.commands(), lines);
    let logged: Vec<&str> = desk
        .model
        .log
        .iter()
        .map(|logged| logged.line.as_str())
        .collect();
    assert_eq!(logged, lines);
    desk.press("@");
    assert!(desk.screen().contains(lines[3]), "{}", desk.screen());
}

#[test]
fn what_a_failed_command_said_is_shown_until_it_was_read() {
    let mut desk = Desk::example();
    desk.press("end shift-r")
        .ended(4, "error: you may not\nhint: ask\n");
    assert!(
        desk.screen().contains("error: you may not"),
        "{}",
        desk.screen()
    );
    assert!(matches!(desk.model.over, Some(Over::Said(..))));
    desk.press("enter");
    assert!(desk.model.over.is_none());
    assert_eq!(
        desk.model.log[0].ended.as_ref().map(|ran| ran.code),
        Some(4)
    );
}

#[test]
fn in_read_only_mode_every_key_that_changes_something_is_dead() {
    let places = [
        "",
        "end d",
        "t down",
        ": \"volumes\" enter",
        ": \"networks\" enter",
        ": \"tenants\" enter",
    ];
    let changing: Vec<_> = KEYS.iter().filter(|binding| binding.changes).collect();
    let words: Vec<&str> = changing.iter().map(|binding| binding.word).collect();
    assert_eq!(
        words,
        [
            "create", "edit", "plan", "start", "stop", "restart", "resize", "delete"
        ]
    );
    for place in places {
        for binding in &changing {
            for key in binding.keys {
                let mut desk = Desk::new();
                desk.model.readonly = true;
                desk.see(example());
                desk.press(place).effects.clear();
                desk.press(key);
                assert!(desk.effects.is_empty(), "{place} {key}: {:?}", desk.effects);
                assert!(desk.model.over.is_none(), "{place} {key}");
                assert!(desk.screen().contains("read-only"), "{}", desk.screen());
            }
        }
    }
    let mut desk = Desk::example();
    desk.model.readonly = true;
    desk.press(": \"create instance\" enter");
    assert!(desk.model.over.is_none());
    assert!(desk.screen().contains("[READ-ONLY]"));
    // Without it, the same keys do something: the test could fail.
    let mut desk = Desk::example();
    for binding in &changing {
        desk.press("end");
        let before = desk.effects.len();
        desk.press(binding.keys[0]);
        let over = desk.model.over.take().is_some();
        assert!(over || desk.effects.len() > before, "{}", binding.word);
    }
}

#[test]
fn read_only_is_a_setting_by_context_too() {
    let mut desk = Desk::with(Settings {
        readonly: Readonly::parse("lab").unwrap(),
        ..Settings::default()
    });
    assert!(desk.model.readonly);
    desk.take(Event::Connected(bbctl::ui::event::Place {
        context: "live".to_owned(),
        server: "https://192.0.2.20".to_owned(),
        ..Default::default()
    }));
    assert!(!desk.model.readonly);
}

#[test]
fn a_key_that_fits_no_object_here_says_so() {
    let mut desk = Desk::example();
    desk.press(": \"networks\" enter shift-r");
    assert!(
        desk.screen().contains("works on an instance"),
        "{}",
        desk.screen()
    );
    assert!(KEYS.iter().any(|binding| binding.action == Action::Start));
    assert!(Key::parse("shift-r").is_some());
}

#[test]
fn what_depends_on_it_goes_along_or_is_in_the_way() {
    use bbctl::gravity::Dependents;
    let depended = |cascade| Weighed {
        id: id("network", "acme", "web"),
        uid: "uid-of-web".to_owned(),
        consequence: Consequence {
            gravity: Gravity::Severe,
            words: String::new(),
            dependents: Some(Dependents {
                words: "www-1 is in it".to_owned(),
                cascade,
                remedy: "delete those first",
            }),
        },
    };
    let mut desk = Desk::example();
    desk.take(Event::Weighed(Ok(vec![depended(Some(Vec::new()))])));
    assert!(
        desk.screen().contains("www-1 is in it"),
        "{}",
        desk.screen()
    );
    desk.press("\"web\" enter");
    let line = "bbctl delete network/web -n acme --cascade --confirm=network/web";
    assert_eq!(desk.commands(), [line]);
    // What cannot go along is told, and there is nothing to say yes to.
    let mut desk = Desk::example();
    desk.take(Event::Weighed(Ok(vec![depended(None)])));
    let screen = desk.screen();
    assert!(screen.contains("cannot be deleted") && screen.contains("delete those first"));
    desk.press("right enter");
    assert!(desk.commands().is_empty() && desk.model.over.is_none());
}
