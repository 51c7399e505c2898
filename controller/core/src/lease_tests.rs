//! Who leads when, by example, and by a property over two candidates and a bad network.

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_secs(15);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn record(holder: &str, version: u64) -> Record {
    Record {
        holder: Some(holder.to_owned()).filter(|h| !h.is_empty()),
        duration: LEASE,
        version: version.to_string(),
    }
}

fn candidate() -> Candidate {
    Candidate::new("me".to_owned(), LEASE)
}

fn leader() -> Candidate {
    let mut leader = candidate();
    leader.wrote(secs(100), record("me", 1));
    leader
}

#[test]
fn what_is_free_is_taken_at_once() {
    let mut me = candidate();
    assert_eq!(me.step(secs(0)), Step::Read);
    me.read(secs(0), None);
    assert_eq!(me.step(secs(0)), Step::Take);
    me.read(secs(1), Some(record("", 7)));
    assert_eq!(me.step(secs(1)), Step::Take);
}

#[test]
fn what_is_held_is_looked_at_until_it_did_not_change_for_its_duration() {
    let mut me = candidate();
    me.read(secs(0), Some(record("other", 1)));
    assert_eq!(me.step(secs(0)), Step::Wait(secs(1)));
    assert_eq!(me.step(secs(1)), Step::Read);
    // Renewed after ten seconds: its time begins anew.
    me.read(secs(10), Some(record("other", 2)));
    me.read(secs(24), Some(record("other", 2)));
    assert_eq!(me.step(secs(24)), Step::Wait(secs(1)));
    me.read(secs(25), Some(record("other", 2)));
    assert_eq!(me.step(secs(25)), Step::Take);
}

#[test]
fn a_write_whose_answer_was_lost_is_found_and_repeated() {
    let mut me = candidate();
    me.read(secs(0), None);
    me.failed(secs(1));
    me.read(secs(2), Some(record("me", 1)));
    assert_eq!(me.step(secs(2)), Step::Take);
}

#[test]
fn an_old_reading_is_no_ground_to_take_it() {
    let mut me = candidate();
    me.read(secs(0), Some(record("other", 1)));
    me.failed(secs(14));
    // The API did not answer: perhaps it was renewed.
    assert_eq!(me.step(secs(20)), Step::Read);
}

#[test]
fn a_leader_renews_in_time_and_stops_before_it_can_be_anothers() {
    let mut me = leader();
    assert_eq!(me.until(), Some(secs(110)));
    assert_eq!(me.step(secs(104)), Step::Wait(secs(1)));
    assert_eq!(me.step(secs(105)), Step::Renew);
    me.failed(secs(106));
    // It may have been taken all the same: what it is now is read first.
    assert_eq!(me.step(secs(106)), Step::Wait(secs(1)));
    assert_eq!(me.step(secs(107)), Step::Read);
    assert_eq!(me.step(secs(110)), Step::Lost(Lost::Late));
    me.read(secs(107), Some(record("me", 2)));
    assert_eq!(me.step(secs(108)), Step::Renew);
    me.wrote(secs(108), record("me", 3));
    assert_eq!(me.until(), Some(secs(118)));
}

#[test]
fn a_leader_that_finds_another_name_stops() {
    let mut me = leader();
    me.refused();
    assert_eq!(me.step(secs(101)), Step::Read);
    me.read(secs(101), Some(record("other", 2)));
    assert_eq!(me.step(secs(101)), Step::Lost(Lost::Taken("other".into())));
    let mut me = leader();
    me.read(secs(101), None);
    assert_eq!(me.step(secs(101)), Step::Lost(Lost::Deleted));
}

#[test]
fn who_was_stopped_past_its_time_finds_that_it_is_over() {
    assert_eq!(leader().step(secs(5000)), Step::Lost(Lost::Late));
}

/// What happens to a candidate in a moment.
#[derive(Clone, Debug)]
enum Event {
    /// It does what its step says.
    Runs,
    /// It does, and its request is lost before it takes effect.
    LosesRequest,
    /// It does, and the answer is lost.
    LosesAnswer,
    /// It does nothing: stopped, or slow.
    Stalls,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Runs),
        1 => Just(Event::LosesRequest),
        1 => Just(Event::LosesAnswer),
        2 => Just(Event::Stalls),
    ]
}

/// The API's side: one Lease, writes by version.
#[derive(Default)]
struct Api {
    lease: Option<Record>,
    writes: u64,
}

impl Api {
    fn write(&mut self, by: &str, based_on: Option<&str>) -> Option<Record> {
        if self.lease.as_ref().map(|l| l.version.as_str()) != based_on {
            return None;
        }
        self.writes += 1;
        self.lease = Some(record(by, self.writes));
        self.lease.clone()
    }
}

fn act(me: &mut Candidate, api: &mut Api, now: Duration, event: &Event) {
    if matches!(event, Event::Stalls) {
        return;
    }
    let reached = !matches!(event, Event::LosesRequest);
    let answered = matches!(event, Event::Runs);
    match me.step(now) {
        Step::Read if answered => me.read(now, api.lease.clone()),
        Step::Read => me.failed(now),
        Step::Take | Step::Renew => {
            let seen = me.seen.as_ref().and_then(|(record, _)| record.clone());
            let version = seen.as_ref().map(|record| record.version.as_str());
            let name = me.me.clone();
            let written = reached.then(|| api.write(&name, version));
            match written {
                Some(Some(record)) if answered => me.wrote(now, record),
                Some(None) if answered => me.refused(),
                _ => me.failed(now),
            }
        }
        Step::Wait(_) | Step::Lost(_) => {}
    }
}

proptest! {
    #[test]
    fn two_may_never_write_at_once(events in prop::collection::vec((event(), event(), 100u64..3000), 1..200)) {
        let mut both = ["a", "b"].map(|name| Candidate::new(name.to_owned(), LEASE));
        let mut api = Api::default();
        let mut now = Duration::ZERO;
        for (first, second, pause) in events {
            now += Duration::from_millis(pause);
            for (candidate, event) in both.iter_mut().zip([first, second]) {
                act(candidate, &mut api, now, &event);
            }
            let may = |c: &Candidate| c.until().is_some_and(|until| now < until);
            prop_assert!(!(may(&both[0]) && may(&both[1])), "both may write at {now:?}");
        }
    }
}
