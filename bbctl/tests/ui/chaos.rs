//! Any size, any keys, any news in any order: nothing panics, and the cursor is on an object that
//! is there.

use std::collections::BTreeSet;

use bbctl::kinds::KINDS;
use bbctl::ui::event::{Command, Effect, Event, Place as At, Ran, Weighed, Why};
use bbctl::ui::model::Over;
use bbctl::ui::own::Own;
use bbctl::ui::place::Place;
use bbctl::ui::settings::{Readonly, Settings};
use bbctl::ui::store::{Key, News};
use proptest::prelude::*;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::kit::{Desk, example, id, seen};

#[derive(Clone, Debug)]
enum Step {
    Key(KeyCode, bool),
    Type(String),
    Size(u16, u16),
    Seen(usize, u8),
    Gone(usize),
    Begin(usize),
    Listed(usize),
    Lost(usize),
    Denied(usize),
    Off(usize),
    Later(i64),
    Answer(i32),
    Weighed(usize, bool),
    Server(bool),
    Arrive(bool),
    Kept(&'static str),
}

fn keys() -> impl Strategy<Value = Step> {
    let codes = prop_oneof![
        proptest::char::range('!', '~').prop_map(KeyCode::Char),
        Just(KeyCode::Char(' ')),
        prop::sample::select(vec![
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::Left,
            KeyCode::Right,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::PageUp,
            KeyCode::PageDown,
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Backspace,
            KeyCode::Delete,
            KeyCode::F(2),
            KeyCode::F(3),
            KeyCode::F(5),
            KeyCode::F(7),
        ]),
    ];
    (codes, prop::bool::weighted(0.2)).prop_map(|(code, ctrl)| Step::Key(code, ctrl))
}

fn steps() -> impl Strategy<Value = Step> {
    let kind = 0..KINDS.len();
    let lines = [
        "networks",
        "tenant acme",
        "tree",
        "pulses",
        "create instance",
        "create network",
        "instances /www",
        "-f w",
        "!x",
        "(",
        "10.0.0.0/24",
        "網路",
        "theme mono",
        "settings",
        "settings",
        "ctx live",
    ];
    prop_oneof![
        8 => keys(),
        2 => prop::sample::select(lines.map(str::to_owned).to_vec()).prop_map(Step::Type),
        2 => (0..200u16, 0..60u16).prop_map(|(x, y)| Step::Size(x, y)),
        3 => (0..14usize, any::<u8>()).prop_map(|(at, n)| Step::Seen(at, n)),
        2 => (0..14usize).prop_map(Step::Gone),
        1 => kind.clone().prop_map(Step::Begin),
        1 => kind.clone().prop_map(Step::Listed),
        1 => kind.clone().prop_map(Step::Lost),
        1 => kind.clone().prop_map(Step::Denied),
        1 => kind.prop_map(Step::Off),
        1 => (0..20i64).prop_map(Step::Later),
        1 => (0..3i32).prop_map(Step::Answer),
        1 => (0..14usize, any::<bool>()).prop_map(|(at, grave)| Step::Weighed(at, grave)),
        1 => any::<bool>().prop_map(Step::Server),
        1 => any::<bool>().prop_map(Step::Arrive),
        1 => prop::sample::select(vec!["true", "false", "lab", "live", ""]).prop_map(Step::Kept),
    ]
}

fn take(desk: &mut Desk, step: Step) {
    let world = example();
    let plural = |at: usize| KINDS[at].plural;
    let place = |at: usize| {
        let object = &world[at % world.len()];
        let kind = KINDS
            .iter()
            .find(|kind| object["kind"] == kind.kind)
            .unwrap();
        let word = |name: &str| {
            object["metadata"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        (kind.plural, Key::new(&word("namespace"), &word("name")))
    };
    let event = match step {
        Step::Key(code, ctrl) => {
            let mut key = KeyEvent::from(code);
            if ctrl {
                key.modifiers |= KeyModifiers::CONTROL;
            }
            Event::Key(key)
        }
        Step::Type(text) => {
            desk.press(":");
            desk.take(Event::Paste(text));
            Event::Key(KeyEvent::from(KeyCode::Enter))
        }
        Step::Size(columns, lines) => Event::Size(columns, lines),
        Step::Seen(at, n) => {
            let mut object = world[at % world.len()].clone();
            object["metadata"]["name"] = serde_json::json!(format!("n-{}", n % 40));
            object["metadata"]["resourceVersion"] = serde_json::json!(n.to_string());
            Event::News(place(at).0, seen(&object))
        }
        Step::Gone(at) => Event::News(place(at).0, News::Gone(place(at).1)),
        Step::Begin(at) => Event::News(plural(at), News::Begin),
        Step::Listed(at) => Event::News(plural(at), News::Listed),
        Step::Lost(at) => Event::News(plural(at), News::Lost("lost".to_owned())),
        Step::Denied(at) => Event::News(plural(at), News::Denied("no".to_owned())),
        Step::Off(at) => Event::News(plural(at), News::Off),
        Step::Later(seconds) => {
            desk.later(seconds);
            return;
        }
        Step::Answer(code) => {
            let asked = desk
                .effects
                .iter()
                .any(|e| matches!(e, Effect::Run(_) | Effect::Visit(_)));
            if asked {
                desk.ended(code, "said\nmore\n");
            }
            return;
        }
        Step::Weighed(at, grave) => {
            let gravity = if grave {
                bbctl::gravity::Gravity::Severe
            } else {
                bbctl::gravity::Gravity::Moderate
            };
            let (plural, key) = place(at);
            Event::Weighed(Ok(vec![Weighed {
                id: id(plural, &key.namespace, &key.name),
                uid: format!("uid-of-{}", key.name),
                consequence: bbctl::gravity::Consequence {
                    gravity,
                    words: String::new(),
                    dependents: None,
                },
            }]))
        }
        Step::Arrive(live) => {
            let context = if live { "live" } else { "lab" };
            Event::Connected(At {
                context: context.to_owned(),
                contexts: vec!["lab".to_owned(), "live".to_owned()],
                server: format!("https://{context}.example"),
                namespace: "default".to_owned(),
            })
        }
        Step::Kept(value) => Event::Ran(Ran {
            command: Command {
                why: Why::Setting,
                ..Command::new(["config", "set", "readonly", value])
            },
            code: 0,
            said: String::new(),
            at: desk.model.now,
        }),
        Step::Server(there) => Event::Server(there.then_some(()).ok_or_else(|| "gone".to_owned())),
    };
    desk.take(event);
}

/// Keys of one's own, of which every command is dangerous.
fn dangers() -> Own {
    let mut own = super::settings::own();
    for plugin in &mut own.plugins {
        plugin.dangerous = true;
    }
    own
}

fn check(desk: &mut Desk) {
    desk.screen();
    assert!(!desk.model.stack.is_empty());
    let Place::List(list) = desk.model.place() else {
        return;
    };
    match &list.cursor {
        None => assert!(list.order.is_empty()),
        Some(cursor) => {
            assert_eq!(list.order.get(list.at()), Some(cursor));
            let shelf = desk.model.store.shelf(list.kind.plural);
            assert!(shelf.get(cursor).is_some());
        }
    }
}

/// What a dashboard had done, and where it must not do more.
struct Before {
    commands: usize,
    asks: bool,
    readonly: bool,
    context: String,
}

impl Before {
    fn of(desk: &Desk) -> Self {
        let over = desk.model.over.as_ref();
        Self {
            commands: desk.commands().len(),
            asks: over.is_some_and(|over| matches!(over, Over::Ask(_) | Over::Form(_))),
            readonly: desk.model.readonly,
            context: desk.model.at.context.clone(),
        }
    }

    /// In a context that is read-only or was so once, nothing is asked for: it does not end.
    fn check(&self, desk: &Desk, held: &mut BTreeSet<String>) {
        let now = Self::of(desk);
        if now.readonly {
            held.insert(now.context.clone());
        }
        assert_eq!(now.readonly, held.contains(&now.context), "{}", now.context);
        if self.readonly && self.context == now.context {
            assert_eq!(now.commands, self.commands);
            assert!(self.asks || !now.asks);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_the_cursor_is_on_an_object(
        readonly in prop::sample::select(vec!["true", "false", "lab", "live"]),
        flag in prop::bool::weighted(0.2),
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let mut desk = Desk::with(Settings {
            readonly: Readonly::parse(readonly).unwrap(),
            ..Settings::default()
        });
        desk.see(example());
        desk.model.readonly_flag = flag;
        desk.model.readonly |= flag;
        desk.model.settings.own = dangers();
        desk.model.told = super::settings::explained("", "", "");
        let mut held = match (readonly, flag) {
            ("true", _) | (_, true) => BTreeSet::from(["lab".to_owned(), "live".to_owned()]),
            ("false", _) => BTreeSet::new(),
            (context, _) => BTreeSet::from([context.to_owned()]),
        };
        for step in steps {
            let before = Before::of(&desk);
            take(&mut desk, step);
            check(&mut desk);
            before.check(&desk, &mut held);
        }
    }

    #[test]
    fn the_cursor_moves_only_by_keys_or_when_its_object_is_gone(
        down in 0..4usize,
        news in prop::collection::vec((0..14usize, any::<u8>(), any::<bool>()), 1..40),
    ) {
        let mut desk = Desk::example();
        for _ in 0..down {
            desk.press("down");
        }
        desk.model.settle();
        let mut before = desk.model.place().object();
        for (at, n, gone) in news {
            take(&mut desk, if gone { Step::Gone(at) } else { Step::Seen(at, n) });
            desk.model.settle();
            let after = desk.model.place().object();
            let there = before.as_ref().is_some_and(|id| desk.model.store.get(id).is_some());
            if there {
                prop_assert_eq!(&after, &before);
            }
            before = after;
        }
    }
}
