//! What is drift, how long it is told of, and in which words.

use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::vyos::lines::words;

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn difference(lines: &[&str]) -> Difference {
    Difference::of(lines.iter().map(|line| (*line).to_owned())).unwrap()
}

fn found(second: i64, open: bool, lines: &[&str]) -> Found {
    Found {
        at: at(second),
        difference: difference(lines),
        open,
    }
}

#[test]
fn a_difference_is_bounded_in_lines_and_in_each_line() {
    assert_eq!(Difference::of([]), None);
    let long = "x".repeat(500);
    let all = Difference::of((0..50).map(|n| format!("- {n} {long}"))).unwrap();
    assert_eq!((all.lines.len(), all.more), (LINES, 30));
    assert!(all.lines.iter().all(|line| line.chars().count() == LINE));
    let mut twice = all.clone();
    twice.add(&all);
    assert_eq!(twice, all);
}

#[test]
fn what_a_router_has_too_much_and_too_little_is_shown_line_by_line() {
    let mut running = Lines::default();
    running.set(&["vrf", "name", "bb1", "table", "1"]);
    running.set(&[
        "vrf",
        "name",
        "bb1",
        "protocols",
        "bgp",
        "neighbor",
        "n",
        "password",
        "hunter2",
    ]);
    let command = |verb, path: &str| Command {
        owner: "a".to_owned(),
        verb,
        path: words(path),
    };
    let commands = [
        command(Verb::Delete, "vrf name bb1 protocols"),
        command(Verb::Set, "vrf name bb1 vni 7"),
    ];
    let lines = on_router(&commands, &running).remove("a").unwrap().lines;
    assert_eq!(
        lines,
        [
            "- vrf name bb1 protocols bgp neighbor n password ********",
            "+ vrf name bb1 vni 7"
        ]
    );
}

#[test]
fn what_was_found_once_is_news_once_until_it_was_put_right() {
    let one = |lines: &[&str]| BTreeMap::from([("a".to_owned(), difference(lines))]);
    let none = BTreeSet::new();
    let (known, news) = follow(&BTreeMap::new(), one(&["- x"]), &none, &at(1));
    assert_eq!(news, ["a".to_owned()].into());
    // Still so, and more of it.
    let (known, news) = follow(&known, one(&["- x", "- y"]), &none, &at(2));
    assert!(news.is_empty());
    assert_eq!(known["a"], found(1, true, &["- x", "- y"]));
    // Nobody knows in between: the target is at work on it.
    let (known, _) = follow(&known, BTreeMap::new(), &none, &at(3));
    assert!(known["a"].open);
    let (known, _) = follow(&known, BTreeMap::new(), &["a"].into(), &at(4));
    assert!(!known["a"].open);
    // Found and put right in one pass, and that is news again.
    let (known, news) = follow(&known, one(&["- z"]), &["a"].into(), &at(5));
    assert_eq!(news, ["a".to_owned()].into());
    assert_eq!(known["a"], found(5, false, &["- z"]));
}

#[test]
fn a_record_is_written_when_drift_begins_and_when_it_ends_and_goes_after_a_day() {
    let mut drift = Vec::new();
    let open = found(10, true, &["- x"]);
    record(&mut drift, "r1", Some(&open), false, &at(11));
    assert_eq!(
        (drift[0].since.clone(), drift[0].corrected.clone()),
        (at(10), None)
    );
    let begun = drift.clone();
    for second in 12..20 {
        record(&mut drift, "r1", Some(&open), false, &at(second));
        assert_eq!(drift, begun, "written again");
    }
    let closed = found(10, false, &["- x"]);
    record(&mut drift, "r1", Some(&closed), true, &at(20));
    assert_eq!(drift[0].corrected, Some(at(20)));
    let ended = drift.clone();
    record(&mut drift, "r1", Some(&closed), true, &at(21));
    assert_eq!(drift, ended, "written again");
    record(
        &mut drift,
        "r2",
        Some(&found(30, true, &["- y"])),
        false,
        &at(30),
    );
    assert_eq!(drift.len(), 2, "each target has its own");
    record(
        &mut drift,
        "r1",
        Some(&found(40, true, &["- z"])),
        false,
        &at(40),
    );
    assert_eq!(
        (drift[0].since.clone(), drift[0].corrected.clone()),
        (at(40), None)
    );
    record(
        &mut drift,
        "r1",
        Some(&found(40, false, &["- z"])),
        true,
        &at(41),
    );
    let day = 24 * 3600;
    record(
        &mut drift,
        "r1",
        Some(&found(40, false, &["- z"])),
        true,
        &at(41 + day),
    );
    assert_eq!(drift.len(), 1);
    record(
        &mut drift,
        "r1",
        Some(&found(40, false, &["- z"])),
        true,
        &at(42 + day),
    );
    assert_eq!(drift.len(), 1, "what was found a day ago is not told anew");
}

#[test]
fn after_a_restart_open_drift_stays_open_until_the_target_is_as_asked() {
    let mut drift = Vec::new();
    record(
        &mut drift,
        "c1",
        Some(&found(1, true, &["- x"])),
        false,
        &at(1),
    );
    record(&mut drift, "c1", None, false, &at(2));
    assert_eq!(drift[0].corrected, None);
    record(&mut drift, "c1", None, true, &at(3));
    assert_eq!(drift[0].corrected, Some(at(3)));
}

#[test]
fn the_condition_and_the_event_say_what_it_was_and_what_becomes_of_it() {
    let yes = Verdict::yes(Reason::Programmed, "");
    let no = Verdict::no(Reason::Pending, "");
    assert_eq!(in_sync(&[], &no, |_| false, &[]).holds, None);
    assert_eq!(in_sync(&[], &yes, |_| false, &[]).reason, Reason::InSync);
    let mut drift = Vec::new();
    record(
        &mut drift,
        "r1",
        Some(&found(1, true, &["- a", "+ b", "- c"])),
        false,
        &at(1),
    );
    let open = in_sync(&drift, &yes, |_| false, &[]);
    assert_eq!((open.holds, open.reason), (Some(false), Reason::Drifted));
    assert_eq!(
        open.message,
        "somebody else changed it on r1: `- a`, `+ b` and 1 more, see status.drift; it is being put right"
    );
    assert!(
        in_sync(&drift, &yes, |_| true, &[])
            .message
            .ends_with("left as it is")
    );
    assert_eq!(news(&[], &drift, |_| false).unwrap().0, Reason::Drifted);
    assert_eq!(news(&drift, &drift, |_| false), None);
    let before = drift.clone();
    record(&mut drift, "r1", None, true, &at(9));
    let closed = in_sync(&drift, &yes, |_| false, &[]);
    assert_eq!(
        (closed.holds, closed.reason),
        (Some(true), Reason::Corrected)
    );
    assert_eq!(
        news(&before, &drift, |_| false).unwrap().0,
        Reason::Corrected
    );
    let at_once = news(&[], &drift, |_| false).unwrap();
    assert!(at_once.0 == Reason::Drifted && at_once.1.ends_with("put right"));
}
