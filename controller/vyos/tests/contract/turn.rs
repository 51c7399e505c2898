//! Turns many callers at once into one request at a time.

use std::time::{Duration, Instant};

use bb_vyos::{Op, Router};
use bb_wire::Mandate;

use crate::stand::{endpoint, lab_with, router, short};
use crate::tenant::made;

/// Waits until the condition holds, within a bound.
async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("it never came to be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_callers_are_never_at_the_router_together() {
    let lab = lab_with(|config| config.time_scale = 0.002).await;
    let router = router(&lab);
    let writers = (0..4).map(|n| {
        let router = router.clone();
        tokio::spawn(async move {
            let name = format!("dum{}", n + 10);
            let ops = [Op::set([
                "interfaces",
                "dummy",
                &name,
                "description",
                "one of many",
            ])];
            router.configure(&ops).await.unwrap();
            router.show_config().await.unwrap();
            router.save().await.unwrap();
            router.facts().await.unwrap();
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert!(lab.counters.get("requests") >= 16);
    assert_eq!(lab.counters.get("in_flight_max"), 1);
    assert_eq!(lab.counters.get("commits"), 4);
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_turn_to_its_request() {
    let lab = lab_with(|_| {}).await;
    let router = router(&lab);
    lab.hold_commits(true);
    let given_up = tokio::spawn({
        let router = router.clone();
        async move { router.configure(&made()).await }
    });
    until(|| lab.is_committing()).await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());

    let read = tokio::spawn({
        let router = router.clone();
        async move { router.show_config().await }
    });
    // The commit is still under way, so the read stays behind it, however often it is its turn
    // to run.
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(lab.is_committing());
    assert_eq!(router.requests().reads, 0);
    lab.hold_commits(false);
    let shown = read.await.unwrap().unwrap();
    assert_eq!(shown["vrf"]["name"]["t-acme"]["table"], "1001");
    assert_eq!(lab.counters.get("in_flight_max"), 1);
    assert_eq!(
        (router.requests().configures, router.requests().reads),
        (1, 1)
    );
}

#[tokio::test]
async fn a_caller_that_gives_up_before_its_turn_sends_nothing() {
    let lab = lab_with(|_| {}).await;
    let router = router(&lab);
    lab.hold_commits(true);
    let first = tokio::spawn({
        let router = router.clone();
        async move { router.configure(&made()).await }
    });
    until(|| lab.is_committing()).await;
    let ops = made();
    tokio::select! {
        biased;
        _ = router.configure(&ops) => panic!("the turn was taken"),
        () = tokio::task::yield_now() => {}
    }
    lab.hold_commits(false);
    first.await.unwrap().unwrap();
    router.show_config().await.unwrap();
    assert_eq!(router.requests().configures, 1);
}

#[tokio::test]
async fn a_read_during_somebody_elses_commit_waits_for_its_end() {
    let lab = lab_with(|_| {}).await;
    // Another client: another turn.
    let (ours, theirs) = (router(&lab), router(&lab));
    lab.hold_commits(true);
    let commit = tokio::spawn(async move { theirs.configure(&made()).await });
    until(|| lab.is_committing()).await;
    let read = tokio::spawn({
        let ours = ours.clone();
        async move { ours.show_config().await }
    });
    until(|| ours.requests().reads >= 2).await;
    lab.hold_commits(false);
    commit.await.unwrap().unwrap();
    let shown = read.await.unwrap().unwrap();
    assert_eq!(shown["vrf"]["name"]["t-acme"]["table"], "1001");

    // And not for ever.
    let hasty = Router::with_limits(
        endpoint(&lab),
        bb_vyos::Limits {
            tries: 3,
            ..short()
        },
    );
    let hasty = hasty.unwrap();
    lab.hold_commits(true);
    let theirs = router(&lab);
    let commit = tokio::spawn(async move { theirs.configure(&crate::tenant::unmade()).await });
    until(|| lab.is_committing()).await;
    let error = hasty.show_config().await.unwrap_err();
    assert!(
        matches!(error, bb_vyos::RouterError::Busy { .. }),
        "{error}"
    );
    assert_eq!(hasty.requests().reads, 3);
    lab.hold_commits(false);
    commit.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_does_not_lead_any_more_changes_nothing() {
    let lab = lab_with(|_| {}).await;
    let mandate = Mandate::new("one");
    mandate.extend(Instant::now() + Duration::from_secs(60));
    let router = Router::under(endpoint(&lab), mandate.clone()).unwrap();
    let ops = [Op::set(["interfaces", "dummy", "dum9", "description", "x"])];
    router.configure(&ops).await.unwrap();
    let before = lab.config();
    mandate.end();
    let ops = [Op::delete(["interfaces", "dummy", "dum9"])];
    for refused in [
        router.configure(&ops).await.err(),
        router.save().await.err(),
    ] {
        let refused = refused.unwrap();
        assert!(refused.to_string().contains("does not lead"), "{refused}");
        assert!(!refused.may_have_changed());
    }
    assert_eq!(lab.config(), before);
    let agents: Vec<String> = lab.journal.entries().into_iter().map(|e| e.agent).collect();
    assert!(
        agents.iter().any(|agent| agent.ends_with("(one)")),
        "{agents:?}"
    );
    assert_eq!(lab.counters.get("requests_configure"), 1);
}
