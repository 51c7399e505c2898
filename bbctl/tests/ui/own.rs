//! Keys and commands of one's own: where they lead, what they run, and when they do not.

use bbctl::ui::event::{Effect, Event};
use bbctl::ui::model::Over;
use bbctl::ui::place::Place;
use bbctl::ui::store::{Key, News};

use super::kit::{Desk, example, seen};
use super::settings::own;

fn desk() -> Desk {
    let mut desk = Desk::example();
    desk.model.settings.own = own();
    desk
}

#[test]
fn a_hotkey_is_what_one_would_type_behind_the_colon() {
    let mut desk = desk();
    desk.press(": \"volumes\" enter f2");
    match desk.model.place() {
        Place::List(list) => {
            assert_eq!(
                (list.kind.plural, list.query.filter.as_str()),
                ("instances", "www")
            );
        }
        other => panic!("{}", other.title()),
    }
    // What is typed is typed: a key of one's own is none of a form.
    desk.press("f3");
    assert!(matches!(desk.model.over, Some(Over::Form(_))));
    desk.press("f2 f5");
    assert!(matches!(desk.model.over, Some(Over::Form(_))));
    // A line that means nothing here says so.
    let mut desk = self::desk();
    desk.model.settings.own.hotkeys[0].line = "networks@nowhere".to_owned();
    desk.press("f2");
    assert!(
        desk.screen().contains("no context `nowhere`"),
        "{}",
        desk.screen()
    );
}

#[test]
fn a_command_of_ones_own_has_the_terminal_and_is_logged() {
    let mut desk = desk();
    desk.press("f6");
    let Some(Effect::Visit(command)) = desk.effects.last() else {
        panic!("{:?}", desk.effects);
    };
    let foreign = command.foreign.clone().unwrap();
    assert_eq!((foreign.program.as_str(), foreign.wait), ("top", true));
    assert_eq!(command.args, ["--context", "lab"]);
    desk.press("@").ended(0, "");
    assert!(
        desk.screen().contains("done    top --context lab"),
        "{}",
        desk.screen()
    );
    // It needs no object; another one does.
    desk.press("shift-p f6");
    assert_eq!(desk.commands(), ["top --context lab", "top --context lab"]);
    desk.press("f7");
    assert!(
        desk.screen().contains("`show` works on an object"),
        "{}",
        desk.screen()
    );
    desk.press(": \"networks\" enter f5");
    assert!(
        desk.screen().contains("`wipe` works on instances, volumes"),
        "{}",
        desk.screen()
    );
    assert_eq!(desk.commands().len(), 2);
    desk.press("f6").ended(3, "");
    assert!(desk.screen().contains("ended with 3"), "{}", desk.screen());
}

#[test]
fn a_dangerous_command_asks_first_and_the_first_answer_is_no() {
    let mut desk = desk();
    desk.press("end f5");
    let screen = desk.screen();
    assert!(screen.contains("Run wipe on instance/www-2?"), "{screen}");
    assert!(
        screen.contains("wipe -n acme www-2") && screen.contains("> [Cancel]"),
        "{screen}"
    );
    desk.press("enter");
    assert!(desk.commands().is_empty() && desk.model.over.is_none());
    desk.press("f5 right enter");
    assert_eq!(desk.commands(), ["wipe -n acme www-2"]);
    assert!(matches!(desk.effects.last(), Some(Effect::Visit(_))));
    // One that only wants to be confirmed, on any kind.
    desk.press(": \"tenants\" enter f7");
    assert!(
        desk.screen().contains("show tenants acme"),
        "{}",
        desk.screen()
    );
    desk.press("right enter");
    assert_eq!(desk.commands()[1], "show tenants acme");
    // What it is about goes away meanwhile, or is another of that name.
    for other in [false, true] {
        let mut desk = self::desk();
        desk.press("end f5 right");
        let news = match other {
            true => {
                let mut another = super::kit::instance("www-2", "10.10.0.11");
                another["metadata"]["uid"] = serde_json::json!("another");
                seen(&another)
            }
            false => News::Gone(Key::new("acme", "www-2")),
        };
        desk.take(Event::News("instances", news));
        desk.press("enter");
        assert!(desk.commands().is_empty() && desk.model.over.is_none());
    }
}

#[test]
fn in_read_only_mode_a_dangerous_command_is_dead_and_others_are_not() {
    let mut desk = Desk::new();
    desk.model.settings.own = own();
    desk.model.readonly = true;
    desk.see(example());
    for place in ["end", "end d", ": \"volumes\" enter"] {
        desk.press(place).effects.clear();
        desk.press("f5");
        assert!(
            desk.effects.is_empty() && desk.model.over.is_none(),
            "{place}"
        );
        assert!(
            desk.screen().contains("read-only: `wipe` is off"),
            "{}",
            desk.screen()
        );
    }
    desk.press("f3");
    assert!(desk.model.over.is_none(), "a hotkey is no way round");
    desk.press("f6");
    assert_eq!(desk.commands(), ["top --context lab"]);
    // A question that was asked before does not outlive it either.
    let mut desk = self::desk();
    desk.press("end f5 right");
    desk.model.readonly = true;
    desk.press("enter");
    assert!(desk.commands().is_empty());
}

#[test]
fn a_context_that_a_program_would_take_for_an_option_is_not_handed_on() {
    let mut desk = desk();
    desk.model.at.context = "-oProxyCommand=evil".to_owned();
    desk.press("f6");
    assert!(desk.commands().is_empty());
    assert!(
        desk.screen().contains("takes for an option"),
        "{}",
        desk.screen()
    );
}
