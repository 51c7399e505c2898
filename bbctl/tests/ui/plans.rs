//! What a change would send, before it is made: the command that asks, and the one that sends
//! exactly that.

use bbctl::ui::event::{Draft, Effect, Event, Why};
use bbctl::ui::model::Over;

use super::kit::Desk;

pub(crate) const TOLD: &str = "\
Plan for namespace acme: 1 to apply, 0 to delete

Router r1, read 2026-03-01T12:00:00Z:
  network/net-1
    set interfaces bridge br103 member interface eth2 vlan 103
    delete interfaces bridge br103 disable

Cluster c1, read 2026-03-01T12:00:00Z:
  no calls

Would be given (nothing is reserved):
  network/net-1: VNI 10003

Reach: no guest restarts; no guest stops; nothing is destroyed; tenants touched: 1
Hash: 0c5ee3fd3c1b3e1a
";

/// The plan of a new network is on the screen, and not answered yet.
pub(crate) fn asked(desk: &mut Desk) {
    desk.press("1 : \"create network\" enter ctrl-s")
        .ended(0, "would be created")
        .press("p");
}

fn asks(desk: &Desk) -> Vec<String> {
    let plans = desk.effects.iter().filter_map(|effect| match effect {
        Effect::Run(command) if command.why == Why::Plan => Some(command.line()),
        _ => None,
    });
    plans.collect()
}

#[test]
fn what_a_form_would_send_is_seen_and_exactly_that_is_sent() {
    let mut desk = Desk::example();
    asked(&mut desk);
    assert_eq!(asks(&desk), ["bbctl plan -f -"]);
    assert!(desk.screen().contains("nothing is sent"));
    // Before there is an answer, there is nothing to send.
    desk.press("a");
    assert!(desk.commands().is_empty());
    desk.ended(0, TOLD);
    let screen = desk.screen();
    for words in [
        "set interfaces bridge br103",
        "Reach: no guest",
        "--plan=0c5ee3fd3c1b3e1a",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    desk.press("a");
    assert_eq!(
        desk.commands(),
        ["bbctl apply -f - --plan=0c5ee3fd3c1b3e1a"]
    );
    let stdin = desk.effects.iter().filter_map(|effect| match effect {
        Effect::Run(command) => command.stdin.clone(),
        _ => None,
    });
    let stdin: Vec<String> = stdin.collect();
    assert!(stdin.iter().all(|text| *text == stdin[0]), "{stdin:?}");
    // Once is enough.
    desk.press("a a").ended(0, "network/net-1 created\n");
    assert_eq!(desk.commands().len(), 1);
    assert!(desk.model.over.is_none());
    assert_eq!(
        desk.model.place().object().unwrap().label(),
        "network/net-1"
    );
}

#[test]
fn an_old_plan_is_refused_and_said_so_and_the_form_is_still_there() {
    let mut desk = Desk::example();
    asked(&mut desk);
    desk.ended(0, TOLD).press("a").ended(
        5,
        "error: the plan 0c5ee3fd3c1b3e1a is old: something moved since\nhint: look at it again\n",
    );
    let screen = desk.screen();
    assert!(
        screen.contains("nothing was sent") && screen.contains("is old"),
        "{screen}"
    );
    // What was refused is not tried again as it is; another look is another plan.
    desk.press("a");
    assert_eq!(desk.commands().len(), 1);
    desk.press("p").ended(0, &TOLD.replace("0c5e", "1d6f"));
    desk.press("a");
    assert_eq!(
        desk.commands()[1],
        "bbctl apply -f - --plan=1d6fe3fd3c1b3e1a"
    );
    desk.ended(1, "error: no\n").press("esc");
    assert!(matches!(desk.model.over, Some(Over::Form(_))));
}

#[test]
fn a_refusal_to_plan_can_only_be_left() {
    let mut desk = Desk::example();
    asked(&mut desk);
    desk.ended(6, "error: no answer to the plan within 90 s\n")
        .press("a");
    assert!(desk.screen().contains("no answer to the plan"));
    assert!(desk.commands().is_empty());
    // An answer that comes after one has left is nobody's.
    desk.press("p esc esc esc").ended(0, TOLD);
    assert!(desk.model.over.is_none());
    // A tenant has none.
    desk.press(": \"create tenant\" enter ctrl-s")
        .ended(0, "fine")
        .press("p");
    assert!(desk.screen().contains("networks, volumes and instances"));
    assert!(matches!(desk.model.over, Some(Over::Form(_))));
}

#[test]
fn a_deletion_is_planned_and_decided_by_its_question() {
    let mut desk = Desk::example();
    super::changes::weigh(&mut desk, "www-1", false);
    desk.press("p").ended(0, TOLD).press("a");
    assert_eq!(asks(&desk), ["bbctl plan --delete=instance/www-1 -n acme"]);
    assert!(desk.commands().is_empty());
    desk.press("esc right enter");
    assert_eq!(
        desk.commands(),
        ["bbctl delete instance/www-1 -n acme --yes"]
    );
    // Where a name is typed, p is a letter of it.
    super::changes::weigh(&mut desk, "www-2", true);
    desk.press("p");
    assert_eq!(asks(&desk).len(), 1);
    desk.press("ctrl-p");
    assert_eq!(asks(&desk).len(), 2);
}

#[test]
fn a_size_is_planned_as_the_whole_object() {
    let mut desk = Desk::example();
    desk.press("end z ctrl-u \"4\" ctrl-s")
        .ended(0, "fine")
        .press("p");
    let Some(Effect::Run(command)) = desk.effects.last() else {
        panic!("{:?}", desk.effects.last());
    };
    let manifest = command.stdin.clone().unwrap();
    assert!(
        manifest.contains("cpu: 4") && manifest.contains("image: debian-12"),
        "{manifest}"
    );
    assert!(!manifest.contains("status"), "{manifest}");
}

#[test]
fn an_object_is_edited_and_what_that_would_send_comes_before_it_is_sent() {
    let mut desk = Desk::example();
    desk.press("end shift-e");
    let Some(Effect::Draft(draft)) = desk.effects.last().cloned() else {
        panic!("{:?}", desk.effects.last());
    };
    assert_eq!(draft.id.label(), "instance/www-2");
    let left = draft.text.replace("cpu: 2", "cpu: 3");
    desk.take(Event::Drafted(draft.clone(), Ok(Some(left.clone()))));
    assert_eq!(asks(&desk), ["bbctl plan -f - --force-conflicts"]);
    desk.ended(3, "error: it is not so\n").press("e");
    // What was typed is not lost by a refusal.
    let again = Draft {
        text: left.clone(),
        ..draft.clone()
    };
    assert_eq!(desk.effects.last(), Some(&Effect::Draft(again)));
    desk.take(Event::Drafted(draft.clone(), Ok(Some(left))));
    desk.ended(0, TOLD)
        .press("a")
        .ended(0, "instance/www-2 configured\n");
    assert_eq!(
        desk.commands(),
        ["bbctl apply -f - --force-conflicts --plan=0c5ee3fd3c1b3e1a"]
    );
    // Nothing changed, nothing asked.
    let before = asks(&desk).len();
    desk.take(Event::Drafted(draft.clone(), Ok(None)));
    assert!(desk.model.over.is_none() && asks(&desk).len() == before);
    desk.take(Event::Drafted(draft, Err("kept in /tmp/x".to_owned())));
    assert!(desk.screen().contains("kept in /tmp/x"));
}

#[test]
fn what_an_object_stands_for_is_what_the_controller_renders() {
    let mut desk = Desk::example();
    desk.size(160, 60);
    for (keys, words) in [
        (": \"networks\" enter p", "set interfaces"),
        (
            ": \"instances /www-1\" enter p",
            "POST /nodes/pve1/qemu/100000/config",
        ),
        (": \"instances /www-1\" enter p", "cores=2"),
        (
            ": \"volumes /pgdata\" enter p",
            "POST /nodes/<node>/storage/local-zfs/content",
        ),
    ] {
        desk.press(keys);
        let screen = desk.screen();
        assert!(screen.contains(words), "{words}: {screen}");
    }
    // It follows the object, and a region stands for nothing of its own.
    desk.press(": \"regions\" enter p");
    assert!(!desk.screen().contains("stands for"), "{}", desk.screen());
    // Who sees no providers is told so.
    let mut desk = Desk::new();
    let all = super::kit::example().into_iter();
    desk.see(all.filter(|object| object["kind"] != "Provider").collect());
    desk.press(": \"networks\" enter p");
    assert!(
        desk.screen().contains("which you may not see"),
        "{}",
        desk.screen()
    );
}
