//! Turns one bad object among many into few commits more, and its own words for it alone.

use std::time::Duration;

use bb_core::outcome::ClaimState;
use bb_core::vyos::{Claim, Desired};
use bb_lab_vyos::Running;
use bb_vyos::Next;

use crate::claims::{Bench, SOURCE, desired, fabric, open, plain, stretched_with, tenant, uid};
use crate::stand::{lab, router};

/// Twice the number of halvings of 500, and two.
const EXTRA: u64 = 19;

fn sent(lab: &Running) -> u64 {
    lab.counters.get("requests_configure")
}

/// Ten tenants with 490 networks, one of which asks for something else.
fn five_hundred(bad: Claim) -> (Desired, Desired) {
    let good = fabric(10, 0..490, plain);
    let mut claims = good.clone();
    let at = claims.iter().position(|c| c.owner == bad.owner).unwrap();
    claims[at] = bad;
    (desired(claims), desired(good))
}

fn words_of(states: &[(String, ClaimState)]) -> (&str, &str) {
    let [(owner, ClaimState::Held { message, .. })] = states else {
        panic!("{states:?}")
    };
    (owner, message)
}

/// One refused object among 500: the others are in, it alone is not, and it is tried again by
/// itself, ever more rarely, until it is asked otherwise.
async fn alone_is_refused(bad: Claim, words: &[&str]) {
    let lab = lab().await;
    let mut bench = Bench::new(router(&lab));
    let (mixed, good) = five_hundred(bad);
    // What it costs without the bad one.
    let floor = {
        let lab = crate::stand::lab().await;
        let mut bench = Bench::new(router(&lab));
        assert_eq!(open(&bench.settle(&good).await), []);
        sent(&lab)
    };
    let pass = bench.settle(&mixed).await;
    let left = open(&pass);
    let (owner, message) = words_of(&left);
    assert_eq!(owner, uid(123));
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    let extra = sent(&lab) - floor;
    assert!(extra <= EXTRA, "{extra} commits more");
    assert_eq!(lab.counters.get("in_flight_max"), 1);
    println!("one refused among 500: {extra} commits more than {floor}");

    // A retry costs one commit, and each waits twice as long as the one before.
    let mut wait = Duration::from_secs(10);
    for _ in 0..6 {
        let before = sent(&lab);
        let pass = bench.settle(&mixed).await;
        assert_eq!(sent(&lab), before, "it is not tried before its time");
        let Next::In(next) = pass.next else {
            panic!("{:?}", pass.next)
        };
        assert_eq!(next, wait);
        bench.now += wait;
        bench.settle(&mixed).await;
        assert_eq!(sent(&lab), before + 1);
        wait = (wait * 2).min(Duration::from_secs(160));
    }
    // What is asked otherwise is tried at once.
    let before = sent(&lab);
    let pass = bench.settle(&good).await;
    assert_eq!((open(&pass), pass.next), (vec![], Next::Settled));
    assert_eq!(sent(&lab), before + 1);
}

#[tokio::test]
async fn one_refused_among_500_that_the_router_names_costs_few_commits() {
    // A commit that fails names its node.
    let bad = stretched_with(123, 3, &["parameters neighbor-suppress"]);
    let words = [
        "interfaces vxlan vxlan20123",
        "must be configured",
        "from Region.spec.vnis",
    ];
    alone_is_refused(bad, &words).await;
}

#[tokio::test]
async fn one_refused_among_500_that_the_router_does_not_name_costs_few_commits() {
    // A value that the validator refuses is named by nobody, and nothing of the list is in.
    let bad = stretched_with(123, 3, &[SOURCE, "mtu 99999"]);
    alone_is_refused(bad, &["Region.spec.mtu"]).await;
}

#[tokio::test]
async fn networks_of_a_tenant_that_is_refused_wait_and_are_not_sent() {
    let lab = lab().await;
    let mut bench = Bench::new(router(&lab));
    // Somebody else has the table that the tenant is to have.
    let taken = bb_lab_vyos::Edit::set("vrf name theirs table 1001");
    assert_eq!(
        lab.type_in(std::slice::from_ref(&taken)),
        bb_lab_vyos::Outcome::Done(None)
    );
    let want = desired(fabric(2, 0..20, plain));
    let pass = bench.settle(&want).await;
    let left = open(&pass);
    assert_eq!(left.len(), 11, "{left:#?}");
    for (owner, state) in &left {
        let ClaimState::Held { message, .. } = state else {
            panic!("{owner}: {state:?}")
        };
        let wanted = if owner == "t0001" {
            "from Region.spec.tables"
        } else {
            "the VRF bb1001 of t0001 is not there: the router refuses it"
        };
        assert!(message.contains(wanted), "{owner}: {message}");
    }
    assert!(sent(&lab) <= 5, "{}", sent(&lab));
    // Nothing of it stays: a VRF without its table would have every other VRF refused.
    assert!(!lab.config().to_string().contains("bb1001"));
    // The table is free again: at the next retry all are in, the tenant first.
    let gone = bb_lab_vyos::Edit::delete("vrf name theirs");
    assert_eq!(lab.type_in(&[gone]), bb_lab_vyos::Outcome::Done(None));
    let before = sent(&lab);
    bench.now += Duration::from_secs(10);
    assert_eq!(open(&bench.settle(&want).await), []);
    assert_eq!(sent(&lab), before + 2);
}

#[tokio::test]
async fn several_refused_at_once_are_each_found_and_told_of_themselves() {
    let lab = lab().await;
    let mut bench = Bench::new(router(&lab));
    let mut claims = fabric(4, 0..60, plain);
    for (n, line) in [(7, "mtu 99999"), (8, "mtu 5"), (40, "vni 99999999999")] {
        claims[4 + n] = stretched_with(n, n % 4, &[SOURCE, line]);
    }
    let pass = bench.settle(&desired(claims)).await;
    let owners: Vec<String> = open(&pass).into_iter().map(|(owner, _)| owner).collect();
    assert_eq!(owners, [uid(7), uid(8), uid(40)]);
    // Three searches of six halvings each, and what goes between them.
    assert!(sent(&lab) <= 3 * 10, "{}", sent(&lab));
    assert_eq!(tenant(0).owner, "t0000");
}
