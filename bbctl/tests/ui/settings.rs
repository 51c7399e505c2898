//! The screen of the settings: what is in force and whence, what is looked at, and what is kept.

use std::path::Path;

use bbctl::start::settings::Setting;
use bbctl::ui::event::{Effect, Event};
use bbctl::ui::model::Over;
use bbctl::ui::own::{self, Own};
use bbctl::ui::place::Place;
use bbctl::ui::settings::{Readonly, Settings};
use bbctl::ui::sheet::{Told, rows};
use bbctl::ui::theme::{Skin, Theme};

use super::kit::Desk;

const FILE: &str = "/home/ada/.bbctl/settings.toml";

/// What `bbctl config explain` would say, with one setting changed.
pub(crate) fn explained(name: &'static str, value: &str, source: &str) -> Vec<Told> {
    let all = [
        ("namespace", "", "that of the context"),
        ("context", "", "the kubeconfig's current one"),
        ("kubeconfig", "/home/ada/lab.conf", "KUBECONFIG"),
        ("output", "json", "BBCTL_OUTPUT"),
        ("timeout", "", "default: 30s for an answer, 5m for a state"),
        ("files", "", "no bitbuilder.toml in this folder"),
        ("set", "", "no bitbuilder.toml in this folder"),
        ("theme", "dark", "default"),
        ("refresh", "250ms", "default"),
        ("readonly", "live", FILE),
        ("favourites", "", "default: the first nine tenants"),
        ("folder", "/home/ada/.bbctl", "default"),
    ];
    let one = |(setting, old, whence): (&'static str, &str, &str)| {
        let (value, source) = match setting == name {
            true => (value, source),
            false => (old, whence),
        };
        Told {
            is_first: source.starts_with("--") || source.starts_with("BBCTL_"),
            setting: Setting::new(setting, value, source),
        }
    };
    all.into_iter().map(one).collect()
}

/// Keys, words and commands of one's own.
pub(crate) fn own() -> Own {
    let text = "[aliases]\nvms = 'instances'\nweb = 'instances /www'\n[keys]\ntree = 'f9'\n\
        [hotkeys]\nf2 = 'vms /www'\nf3 = 'create volume'\n\
        [plugins.wipe]\nkey = 'f5'\non = ['instances', 'volumes']\ndangerous = true\n\
        does = 'wipe it'\nrun = ['wipe', '-n', '$NAMESPACE', '$NAME']\n\
        [plugins.top]\nkey = 'f6'\non = 'all'\nwait = true\nrun = ['top', '--context', '$CONTEXT']\n\
        [plugins.show]\nkey = 'f7'\non = 'all'\nconfirm = true\nrun = ['show', '$KIND', '$NAME']\n";
    own::parse(text, Path::new("/home/ada/.bbctl/ui.toml")).unwrap()
}

/// The screen of the settings, with keys and words of one's own.
pub(crate) fn told(desk: &mut Desk) {
    desk.model.settings.own = own();
    let dusk = Theme::of(Skin::Light).changed("dusk", &[]);
    desk.model.settings.skins = vec![
        ("dusk".to_owned(), Ok(dusk)),
        ("torn".to_owned(), Err("torn.toml:2: wrong".to_owned())),
    ];
    desk.press(": \"settings\" enter");
    assert_eq!(desk.effects.last(), Some(&Effect::Explain));
    desk.take(Event::Explained(Ok(explained("", "", ""))));
}

/// Goes to the row of a setting.
fn go(desk: &mut Desk, name: &str) {
    let rows = rows(&desk.model);
    let at = rows.iter().position(|row| row.name == name);
    desk.press("home").press(&"down ".repeat(at.unwrap()));
}

fn ran(desk: &Desk) -> Vec<String> {
    let lines = desk.effects.iter().filter_map(|effect| match effect {
        Effect::Run(command) => Some(command.line()),
        _ => None,
    });
    lines.collect()
}

#[test]
fn a_theme_is_looked_at_at_once_and_kept_by_the_command_that_does_it() {
    let mut desk = Desk::example();
    told(&mut desk);
    go(&mut desk, "theme");
    let dark = desk.model.look().clone();
    desk.press("right");
    assert_eq!(desk.model.look().name(), "light");
    // Looked at is not kept: nothing was run, and whoever goes away has what was before.
    assert!(ran(&desk).is_empty());
    desk.press("[");
    assert_eq!(desk.model.look(), &dark);
    desk.press("] right right");
    assert_eq!(desk.model.look().name(), "dusk");
    desk.press("esc");
    assert_eq!(desk.model.look(), &dark);
    assert!(matches!(desk.model.place(), Place::Settings(_)));
    // A skin that is broken says so, and is not kept.
    desk.press("left");
    assert!(desk.screen().contains("torn.toml:2"), "{}", desk.screen());
    desk.press("enter");
    assert!(ran(&desk).is_empty());
    desk.press("left");
    assert!(
        desk.screen().contains("enter: bbctl config set theme dusk"),
        "{}",
        desk.screen()
    );
    desk.press("enter");
    assert_eq!(ran(&desk), ["bbctl config set theme dusk"]);
    desk.press("@");
    assert!(
        desk.screen()
            .contains("runs    bbctl config set theme dusk")
    );
    desk.ended(0, "settings.toml says so now\n");
    assert_eq!(desk.effects.last(), Some(&Effect::Explain));
    assert_eq!(desk.model.theme.name(), "dusk");
    desk.take(Event::Explained(Ok(explained("theme", "dusk", FILE))));
    let screen = desk.screen();
    assert!(
        screen.contains("done    bbctl config set theme dusk"),
        "{screen}"
    );
    assert!(
        screen.contains("theme is dusk") && screen.contains("< dusk >"),
        "{screen}"
    );
}

#[test]
fn what_is_typed_is_judged_before_it_is_run_and_a_refusal_is_shown() {
    let mut desk = Desk::example();
    told(&mut desk);
    go(&mut desk, "timeout");
    desk.press("enter \"soon\" enter");
    assert!(
        desk.screen().contains("not a duration"),
        "{}",
        desk.screen()
    );
    desk.press("enter \"2m\" enter");
    assert_eq!(ran(&desk), ["bbctl config set timeout 2m"]);
    desk.ended(0, "");
    assert!(
        desk.screen()
            .contains("timeout is 2m from the next start on")
    );
    go(&mut desk, "favourites");
    desk.press("enter \"globex,acme\" enter").ended(0, "");
    assert_eq!(desk.model.favourites(), ["globex", "acme"]);
    go(&mut desk, "namespace");
    desk.press("enter \"-x\" enter");
    assert_eq!(
        ran(&desk).last().unwrap(),
        "bbctl config set namespace -- -x"
    );
    desk.ended(1, "error: the folder is open to others\n");
    assert!(matches!(desk.model.over, Some(Over::Said(..))));
    assert!(
        desk.screen().contains("open to others"),
        "{}",
        desk.screen()
    );
    // Nothing takes a setting out.
    desk.press("esc");
    go(&mut desk, "kubeconfig");
    desk.press("enter ctrl-u enter");
    assert_eq!(ran(&desk).last().unwrap(), "bbctl config set kubeconfig ''");
}

#[test]
fn what_counts_before_the_file_or_is_in_another_says_so() {
    let mut desk = Desk::example();
    told(&mut desk);
    for (name, words) in [
        (
            "output",
            "BBCTL_OUTPUT says so, and counts before your file",
        ),
        ("files", "written in bitbuilder.toml"),
        ("folder", "BBCTL_HOME"),
    ] {
        go(&mut desk, name);
        assert!(desk.screen().contains(words), "{}", desk.screen());
        desk.press("right enter");
    }
    desk.press("end enter right");
    assert!(
        desk.screen()
            .contains("written in /home/ada/.bbctl/ui.toml")
    );
    assert!(ran(&desk).is_empty() && desk.model.over.is_none());
    let flagged = explained("readonly", "true", "--readonly");
    desk.take(Event::Explained(Ok(flagged)));
    go(&mut desk, "readonly");
    desk.press("left enter");
    assert!(ran(&desk).is_empty(), "{}", desk.screen());
    desk.take(Event::Explained(Err(
        "settings.toml: no setting `x`".to_owned()
    )));
    let screen = desk.screen();
    assert!(
        screen.contains("no setting `x`") && screen.contains("--readonly"),
        "{screen}"
    );
}

#[test]
fn read_only_begins_at_once_and_does_not_end_by_a_key() {
    let mut desk = Desk::example();
    told(&mut desk);
    go(&mut desk, "readonly");
    // live, false, true
    desk.press("right right enter").ended(0, "");
    assert_eq!(ran(&desk), ["bbctl config set readonly true"]);
    assert!(desk.model.readonly);
    desk.take(Event::Explained(Ok(explained("readonly", "true", FILE))));
    desk.press("left enter").ended(0, "");
    assert_eq!(ran(&desk)[1], "bbctl config set readonly false");
    assert!(desk.model.readonly);
    assert_eq!(desk.model.settings.readonly, Readonly::Everywhere(false));
    assert!(
        desk.screen()
            .contains("readonly is false from the next start on")
    );
    // Another context is no way out either.
    desk.take(arrived("live"));
    assert!(desk.model.readonly);
}

/// Another server is looked at.
fn arrived(context: &str) -> Event {
    Event::Connected(bbctl::ui::event::Place {
        context: context.to_owned(),
        contexts: vec!["lab".to_owned(), "live".to_owned()],
        server: format!("https://{context}.example"),
        ..Default::default()
    })
}

#[test]
fn a_context_that_was_read_only_at_the_start_stays_so_whatever_is_set_elsewhere() {
    let mut desk = Desk::with(Settings {
        readonly: Readonly::parse("live").unwrap(),
        ..Settings::default()
    });
    told(&mut desk);
    assert!(!desk.model.readonly);
    go(&mut desk, "readonly");
    // live, then false; or nothing at all, which is false as well.
    desk.press("right enter").ended(0, "");
    assert_eq!(ran(&desk), ["bbctl config set readonly false"]);
    let screen = desk.screen();
    assert!(screen.contains("from the next start on"), "{screen}");
    desk.take(arrived("live"));
    assert!(desk.model.readonly);
    desk.press("n");
    assert!(desk.model.over.is_none() && desk.commands().is_empty());
    // What was never so is not.
    desk.take(arrived("lab"));
    assert!(!desk.model.readonly);
    // More is taken at once, and stays.
    told(&mut desk);
    desk.take(Event::Explained(Ok(explained("readonly", "false", FILE))));
    go(&mut desk, "readonly");
    desk.press("left enter").ended(0, "");
    assert_eq!(ran(&desk).last().unwrap(), "bbctl config set readonly lab");
    assert!(desk.model.readonly);
    for context in ["live", "lab"] {
        desk.take(arrived(context));
        assert!(desk.model.readonly, "{context}");
    }
}

#[test]
fn without_colours_a_theme_can_be_kept_and_is_not_seen() {
    let mut desk = Desk::example();
    told(&mut desk);
    desk.model.settings.colourless = true;
    desk.model.theme = Theme::of(Skin::Mono);
    go(&mut desk, "theme");
    desk.press("right");
    assert_eq!(desk.model.look().name(), "mono");
    assert!(desk.screen().contains("NO_COLOR"), "{}", desk.screen());
    desk.press("enter").ended(0, "");
    assert_eq!(ran(&desk), ["bbctl config set theme light"]);
    assert_eq!(desk.model.look().name(), "mono");
}
