//! Shows when looks are due: soon after ends, not often, and never without bound.

use proptest::prelude::*;

use super::*;

fn sort(work: Work) -> Sort {
    let node = "pve1".to_owned();
    Sort { node, work }
}

fn template() -> Vmid {
    Vmid::try_from(9000).unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What looking at one wave of tasks came to.
#[derive(Debug)]
struct Wave {
    /// How many looks it took.
    looks: usize,
    /// How long the last end was not seen.
    late: Duration,
    /// When the last look was.
    end: Duration,
}

/// Tasks that begin at `now` and take as long as each of `takes` says, looked at until none is
/// left.
fn wave(pace: &mut Pace, work: Work, now: Duration, takes: &[Duration]) -> Wave {
    let mut running: Vec<(Waiting, Duration)> = takes
        .iter()
        .map(|takes| {
            let (sort, begun, seen) = (sort(work), now, now);
            (Waiting { sort, begun, seen }, now + *takes)
        })
        .collect();
    let mut wave = Wave {
        looks: 0,
        late: Duration::ZERO,
        end: now,
    };
    let mut last = None;
    while !running.is_empty() {
        let waiting: Vec<Waiting> = running.iter().map(|(task, _)| task.clone()).collect();
        let look = pace.next_look(&waiting, last).unwrap();
        last = Some(look);
        wave.looks += 1;
        let ended = running.iter().filter(|(_, end)| *end <= look);
        wave.late = ended
            .clone()
            .map(|(_, end)| look - *end)
            .max()
            .unwrap_or_default();
        let spans = ended.map(|(task, _)| {
            let span = Span {
                after: task.seen - task.begun,
                by: look - task.begun,
            };
            (task.sort.clone(), span)
        });
        pace.ended(spans);
        running.retain(|(_, end)| *end > look);
        for (task, _) in &mut running {
            task.seen = look;
        }
        wave.end = look;
    }
    wave
}

#[test]
fn ends_are_seen_soon_after_a_few_looks() {
    for (work, takes) in [
        (Work::Full(template()), ms(8020)),
        (Work::Full(template()), ms(1000)),
        (Work::Full(template()), ms(95_000)),
        (Work::Linked(template()), ms(320)),
        (Work::Resize, ms(1020)),
        (Work::Start, ms(3020)),
        (Work::Shutdown, ms(30_000)),
    ] {
        let (mut pace, mut now) = (Pace::default(), Duration::ZERO);
        let mut waves = Vec::new();
        for _ in 0..6 {
            let wave = wave(&mut pace, work, now, &[takes; 10]);
            now = wave.end;
            waves.push(wave);
        }
        let last = waves.last().unwrap();
        let soon = (takes / 20).max(GAP);
        assert!(last.late <= soon, "{work:?} of {takes:?}: {waves:?}");
        // What takes long is looked at now and then, lest it has failed.
        let most = 2 + usize::try_from(takes.as_secs() / CAP.as_secs()).unwrap();
        assert!(last.looks <= most, "{work:?} of {takes:?}: {waves:?}");
        let looks: usize = waves.iter().map(|wave| wave.looks).sum();
        assert!(looks <= 6 * most + 20, "{work:?} of {takes:?}: {waves:?}");
    }
}

#[test]
fn a_cluster_that_becomes_slower_or_quicker_is_followed() {
    let (mut pace, mut now) = (Pace::default(), Duration::ZERO);
    let work = Work::Full(template());
    for takes in [ms(4000), ms(12_000), ms(2000)] {
        let mut last = None;
        for _ in 0..16 {
            let seen = wave(&mut pace, work, now, &[takes; 10]);
            now = seen.end;
            last = Some(seen);
        }
        let last = last.unwrap();
        assert!(last.late <= (takes / 10).max(GAP), "{takes:?}: {last:?}");
    }
}

#[test]
fn ends_that_come_together_are_seen_in_one_look() {
    let mut pace = Pace::default();
    let span = |millis| Span {
        after: ms(millis - 50),
        by: ms(millis),
    };
    pace.ended([
        (sort(Work::Full(template())), span(8000)),
        (sort(Work::Start), span(3000)),
    ]);
    let task = |work, begun| Waiting {
        sort: sort(work),
        begun: ms(begun),
        seen: ms(begun),
    };
    let clones = [0, 30, 700].map(|begun| task(Work::Full(template()), begun));
    assert_eq!(pace.next_look(&clones, None), Some(ms(8700)));
    // The last waits for a tenth of its time at most, and another sort for less.
    let with = |work, begun| [clones.as_slice(), &[task(work, begun)]].concat();
    let due = |all: &[Waiting]| pace.next_look(all, None);
    assert_eq!(due(&with(Work::Full(template()), 1000)), Some(ms(8700)));
    assert_eq!(due(&with(Work::Start, 5200)), Some(ms(8700)));
    assert_eq!(due(&with(Work::Start, 6000)), Some(ms(8700)));
    assert_eq!(due(&with(Work::Start, 4900)), Some(ms(8030)));
    assert_eq!(due(&with(Work::Start, 4000)), Some(ms(7000)));
    assert_eq!(pace.next_look(&[], None), None);
}

proptest! {
    #[test]
    fn every_look_is_due_within_bounds(
        spans in proptest::collection::vec((0u64..100_000, 1u64..100_000), 0..20),
        tasks in proptest::collection::vec((0u64..10_000, 0u64..1_000_000), 1..20),
        last in 0u64..1_100_000,
    ) {
        let mut pace = Pace::default();
        for (after, more) in spans {
            let span = Span { after: ms(after), by: ms(after + more) };
            pace.ended([(sort(Work::Start), span)]);
        }
        let waiting: Vec<Waiting> = tasks
            .iter()
            .map(|(begun, running)| Waiting {
                sort: sort(Work::Start),
                begun: ms(*begun),
                seen: ms(begun + running),
            })
            .collect();
        let look = pace.next_look(&waiting, Some(ms(last))).unwrap();
        let first_seen = waiting.iter().map(|task| task.seen).min().unwrap();
        prop_assert!(look >= ms(last) + NEAR);
        prop_assert!(look <= (first_seen + CAP + Duration::from_secs(1)).max(ms(last) + GAP));
    }

    #[test]
    fn whatever_tasks_take_each_end_is_seen(
        takes in proptest::collection::vec(1u64..60_000, 1..12),
    ) {
        let takes: Vec<Duration> = takes.into_iter().map(ms).collect();
        let longest = *takes.iter().max().unwrap();
        let (mut pace, mut now) = (Pace::default(), Duration::ZERO);
        for _ in 0..3 {
            let seen = wave(&mut pace, Work::Build, now, &takes);
            prop_assert!(seen.end - now <= longest + longest / 8 + CAP);
            prop_assert!(seen.looks <= 40, "{:?}", seen);
            now = seen.end;
        }
    }

    #[test]
    fn guests_are_read_again_within_the_period_and_never_all_at_once(
        ids in proptest::collection::btree_set(100u32..100_000, 1..400),
        most in 20usize..60,
    ) {
        let every = Duration::from_secs(3600);
        let begin = Duration::from_secs(7);
        let mut read: BTreeMap<Vmid, Duration> =
            ids.iter().map(|id| (Vmid::try_from(*id).unwrap(), begin)).collect();
        let (mut now, mut left) = (begin, read.clone());
        // A little longer: more than `most` may be due at the very end.
        while now < begin + every + every / 10 {
            now += Duration::from_secs(60);
            let (due, more) = reread(&read, now, every, most);
            prop_assert!(due.len() <= most && (due.len() == most || !more));
            for vmid in due {
                prop_assert!(now - read[&vmid] >= every / 2);
                read.insert(vmid, now);
                left.remove(&vmid);
            }
        }
        prop_assert!(left.is_empty(), "never read: {:?}", left);
    }
}
