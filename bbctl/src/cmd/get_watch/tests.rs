//! What an event changes, and which lines come of it.

use serde_json::Value;

use super::*;

fn object(name: &str, uid: &str, version: &str, reason: &str) -> Object {
    let value = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
        "metadata": {"name": name, "namespace": "acme", "uid": uid, "generation": 1,
            "resourceVersion": version, "managedFields": [{"manager": "m"}],
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"ipv4": {"prefix": "10.0.0.0/24"}},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": reason,
            "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    serde_json::from_value::<Object>(value).unwrap()
}

fn listed(known: &mut Known, objects: &[Object]) -> Vec<Change> {
    let begin = known.take(Event::Init);
    let each = objects.iter().cloned().map(Event::InitApply);
    let told: Vec<Change> = each.flat_map(|event| known.take(event)).collect();
    assert!(
        begin.is_empty() && told.is_empty(),
        "a list is told when it is whole"
    );
    known.take(Event::InitDone)
}

fn words(changes: &[Change]) -> Vec<String> {
    let word = |change: &Change| {
        assert_eq!(change.object().metadata.managed_fields, None);
        let version = change.object().metadata.resource_version.as_deref();
        let name = object::name(change.object());
        format!("{} {name} {}", change.word(), version.unwrap())
    };
    changes.iter().map(word).collect()
}

#[test]
fn an_event_is_what_it_changes() {
    let mut known = Known::default();
    let changes = listed(
        &mut known,
        &[object("a", "1", "1", "x"), object("b", "2", "2", "x")],
    );
    assert_eq!(words(&changes), ["ADDED a 1", "ADDED b 2"]);
    let changes = known.take(Event::Apply(object("c", "3", "3", "x")));
    assert_eq!(words(&changes), ["ADDED c 3"]);
    let changes = known.take(Event::Apply(object("a", "1", "4", "x")));
    assert_eq!(words(&changes), ["MODIFIED a 4"]);
    let changes = known.take(Event::Apply(object("a", "1", "4", "x")));
    assert!(changes.is_empty(), "told twice: {changes:?}");
    let changes = known.take(Event::Delete(object("a", "1", "5", "x")));
    assert_eq!(words(&changes), ["DELETED a 5"]);
    let changes = known.take(Event::Delete(object("a", "1", "5", "x")));
    assert!(changes.is_empty(), "deleted twice: {changes:?}");
}

#[test]
fn a_list_read_again_tells_what_changed_meanwhile() {
    let mut known = Known::default();
    let old = [
        object("gone", "1", "1", "x"),
        object("same", "2", "2", "x"),
        object("other", "3", "3", "x"),
        object("anew", "4", "4", "x"),
    ];
    listed(&mut known, &old);
    // One that broke off counts for nothing.
    known.take(Event::Init);
    known.take(Event::InitApply(object("same", "2", "2", "x")));
    let new = [
        object("anew", "5", "7", "x"),
        object("more", "6", "8", "x"),
        object("other", "3", "6", "x"),
        object("same", "2", "2", "x"),
    ];
    assert_eq!(
        words(&listed(&mut known, &new)),
        [
            "DELETED gone 1",
            "DELETED anew 4",
            "ADDED anew 7",
            "ADDED more 8",
            "MODIFIED other 6"
        ]
    );
    assert!(listed(&mut known, &new).is_empty());
}

fn sheet(width: usize) -> Sheet {
    let look = Rows {
        everywhere: true,
        ..Rows::default()
    };
    Sheet::new(Kind::called("Network"), look, Some(width))
}

fn lines(sheet: &mut Sheet, changes: &[Change]) -> Vec<String> {
    sheet.lines(
        changes,
        "2026-01-01T01:00:00Z".parse().unwrap(),
        Colour::Off,
    )
}

#[test]
fn a_line_comes_for_what_shows_and_heads_come_once() {
    let mut known = Known::default();
    let mut sheet = sheet(120);
    assert!(lines(&mut sheet, &[]).is_empty(), "heads without a row");
    let changes = listed(&mut known, &[object("web", "1", "1", "Pending")]);
    let first = lines(&mut sheet, &changes);
    assert!(
        first[0].starts_with("NAMESPACE  NAME  READY  REASON "),
        "{first:?}"
    );
    assert!(
        first[1].starts_with("acme       web   False  Pending "),
        "{first:?}"
    );
    assert_eq!(first.len(), 2);
    let changes = known.take(Event::Apply(object("web", "1", "2", "Pending")));
    assert_eq!(changes.len(), 1);
    assert!(
        lines(&mut sheet, &changes).is_empty(),
        "nothing of it shows"
    );
    let changes = known.take(Event::Apply(object("web", "1", "3", "Exhausted")));
    let next = lines(&mut sheet, &changes);
    assert!(
        next[0].starts_with("acme       web   False  Exhausted "),
        "{next:?}"
    );
    assert_eq!(next.len(), 1);
    let changes = known.take(Event::Delete(object("web", "1", "4", "Exhausted")));
    let last = lines(&mut sheet, &changes);
    assert!(
        last[0].starts_with("acme       web   -      Deleted "),
        "{last:?}"
    );
    assert_eq!(last.len(), 1);
}

#[test]
fn what_is_in_a_column_that_is_left_out_does_not_show() {
    let changed = |width: usize| {
        let mut known = Known::default();
        let mut sheet = sheet(width);
        let changes = listed(&mut known, &[object("web", "1", "1", "Pending")]);
        let heads = lines(&mut sheet, &changes).remove(0);
        let mut other = object("web", "1", "2", "Pending");
        other.data["spec"]["ipv4"]["prefix"] = Value::from("10.9.0.0/24");
        let changes = known.take(Event::Apply(other));
        (heads.contains("PREFIX"), lines(&mut sheet, &changes).len())
    };
    assert_eq!(changed(120), (true, 1));
    assert_eq!(changed(24), (false, 0));
}

#[test]
fn one_kind_or_one_object_is_watched() {
    let parse = |words: &str| {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        Selection::parse(&words).unwrap()
    };
    let meant = |words: &str| {
        let selection = parse(words);
        let meant = single(&selection);
        meant.map(|(kind, name)| (kind.kind, name.map(str::to_owned)))
    };
    assert_eq!(meant("instances").unwrap(), ("Instance", None));
    let one = ("Instance", Some("www".to_owned()));
    assert_eq!(meant("instance www").unwrap(), one);
    assert_eq!(meant("instance/www").unwrap(), one);
    for words in [
        "all",
        "instances,networks",
        "instance a b",
        "instance/a network/a",
    ] {
        assert_eq!(meant(words).unwrap_err().exit, Exit::Usage, "{words}");
    }
}
