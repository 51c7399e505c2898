//! Forms: what is offered and from where, what is wrong, and the manifest that comes of it.

use bbctl::ui::event::{Effect, Why};
use bbctl::ui::form::Form;
use bbctl::ui::model::Over;

use super::kit::Desk;

fn form(desk: &Desk) -> &Form {
    match &desk.model.over {
        Some(Over::Form(form)) => form,
        _ => panic!("no form is open"),
    }
}

fn trouble(desk: &mut Desk, title: &str) -> String {
    desk.model.settle();
    let field = form(desk)
        .fields
        .iter()
        .find(|field| field.asked.title == title)
        .unwrap();
    field.trouble.clone().unwrap_or_default()
}

#[test]
fn what_is_offered_says_where_it_is_from() {
    let mut desk = Desk::example();
    desk.model.ssh_keys = vec![(
        "~/.ssh/id.pub".to_owned(),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me".to_owned(),
    )];
    desk.press("1 n");
    let offered: Vec<(String, String)> = form(&desk)
        .fields
        .iter()
        .map(|field| {
            (
                format!("{}: {}", field.asked.title, field.line.text()),
                field.source.clone(),
            )
        })
        .collect();
    for (value, source) in [
        ("name: vm-1", "the first that is free"),
        ("namespace: acme", "the tenant that you look at"),
        ("image: debian-12", "the first that a provider offers"),
        ("cpu: 1", "the default"),
        ("memory: 1Gi", "the default"),
        ("disk: ", "the image's own size"),
        ("network: web", "the only one"),
        ("address: ", "the next free one"),
        ("ssh key: ~/.ssh/id.pub", "the first in ~/.ssh"),
    ] {
        let pair = (value.to_owned(), source.to_owned());
        assert!(
            offered.contains(&pair),
            "{value} ({source}) is not in {offered:?}"
        );
    }
}

#[test]
fn each_kind_has_a_form_whose_manifest_the_types_accept() {
    let mut desk = Desk::example();
    desk.press("1");
    for (kind, expected) in [
        ("instance", "image: debian-12"),
        ("network", "prefix: 10.0.0.0/24"),
        ("volume", "size: 10Gi"),
        ("tenant", "name: tenant-1"),
    ] {
        desk.press(&format!(": \"create {kind}\" enter"));
        desk.model.settle();
        assert_eq!(form(&desk).trouble, None, "{kind}");
        desk.press("ctrl-s");
        let shown = form(&desk).result();
        assert!(shown.contains(expected), "{shown}");
        match desk.effects.last() {
            Some(Effect::Run(command)) => {
                assert_eq!(command.line(), "bbctl apply -f - --dry-run=server");
                assert_eq!(
                    (command.why, command.stdin.as_ref()),
                    (Why::Check, Some(&shown))
                );
            }
            other => panic!("{other:?}"),
        }
        // Before the server has answered, enter does nothing.
        desk.press("enter");
        assert!(desk.commands().is_empty());
        desk.ended(0, "would be created").press("enter");
        assert_eq!(desk.commands(), ["bbctl apply -f -"]);
        desk.ended(0, &format!("{kind} created\n"));
        assert!(desk.model.over.is_none());
        assert_eq!(desk.model.place().object().unwrap().kind.singular, kind);
        desk.effects.clear();
    }
}

#[test]
fn what_is_wrong_is_said_while_one_types() {
    let mut desk = Desk::example();
    desk.press("1 n");
    for (keys, title, words) in [
        ("ctrl-u \"Www\"", "name", "small letters"),
        ("ctrl-u \"www-1\"", "name", "already"),
        ("ctrl-u", "name", "has to be said"),
        ("\"new\"", "name", ""),
        ("down down down down ctrl-u \"0\"", "cpu", "from 1 to 256"),
        ("ctrl-u \"x\"", "cpu", "no whole number"),
        (
            "ctrl-u \"2\" down ctrl-u \"big\"",
            "memory",
            "has not the form",
        ),
        (
            "ctrl-u \"2Gi\" down down down \"10.10.0\"",
            "address",
            "no IPv4 address",
        ),
    ] {
        desk.press(keys);
        let trouble = trouble(&mut desk, title);
        let right = if words.is_empty() {
            trouble.is_empty()
        } else {
            trouble.contains(words)
        };
        assert!(right, "{title} after {keys}: {trouble}");
    }
    // With anything wrong, nothing is sent, and the cursor goes where it is.
    desk.press("ctrl-s");
    assert!(desk.effects.is_empty() || !desk.effects.iter().any(|e| matches!(e, Effect::Run(_))));
    assert_eq!(form(&desk).fields[form(&desk).at].asked.title, "address");
}

#[test]
fn what_the_controller_would_refuse_is_said_before_it_is_sent() {
    let mut desk = Desk::example();
    // An address that is not in the network's prefix; an image that nobody offers.
    desk.press("1 n down down down ctrl-u \"plan9\"");
    desk.model.settle();
    let why = form(&desk).trouble.clone().unwrap_or_default();
    assert!(why.contains("plan9") && why.contains("debian-12"), "{why}");
    desk.press("esc esc : \"create network\" enter");
    desk.press("down down ctrl-u \"10.10.0.0/16\"");
    desk.model.settle();
    let why = form(&desk).trouble.clone().unwrap_or_default();
    assert!(why.contains("overlap"), "{why}");
    desk.press("ctrl-s");
    assert!(desk.commands().is_empty());
}

#[test]
fn what_was_typed_is_not_lost_by_one_key_or_by_a_refusal() {
    let mut desk = Desk::example();
    desk.press("1 n ctrl-u \"new\" esc");
    assert!(form(&desk).leaving);
    desk.press("down");
    assert_eq!(form(&desk).value("name"), "new");
    desk.press("ctrl-s")
        .ended(0, "fine")
        .press("enter")
        .ended(1, "error: no\n");
    assert_eq!(form(&desk).value("name"), "new");
    assert!(desk.screen().contains("error: no"), "{}", desk.screen());
    desk.press("esc esc esc");
    assert!(desk.model.over.is_none());
}

#[test]
fn a_size_is_changed_by_the_command_for_it() {
    let mut desk = Desk::example();
    desk.press("end z");
    desk.model.settle();
    assert_eq!(
        form(&desk).trouble.as_deref(),
        Some("nothing is changed yet")
    );
    desk.press("ctrl-u \"4\" ctrl-s")
        .ended(0, "fine")
        .press("enter");
    assert_eq!(
        desk.commands(),
        ["bbctl instances resize www-2 --cpu=4 -n acme"]
    );
}
