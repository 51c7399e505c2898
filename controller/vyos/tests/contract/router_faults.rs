//! Turns what goes wrong at a router, in the middle of bulk work, into the state without it, or into
//! words that say what a person must do.
//!
//! Each row has 20 objects on a router, asks for 20 others in place of half of them, and breaks
//! something on the way. Passes go on as the controller's do; what is checked at the end is the
//! router itself: every object as asked, saved, nothing of somebody else's touched, and never two
//! requests at once.

use std::time::Duration;

use bb_core::outcome::ClaimState;
use bb_core::vyos::{Desired, Lines, plan};
use bb_lab_kit::faults::{Action, Fault};
use bb_lab_vyos::{Edit, Outcome, Running};
use bb_vyos::{Limits, Next, Pass, Router, RouterError};

use crate::claims::{Bench, absent, desired, fabric, open, plain, stretched, with_dhcp};
use crate::faults::answers;
use crate::stand::{KEY, endpoint, lab, pruned};

/// Deadlines that a test can wait for.
fn limits() -> Limits {
    Limits {
        read: Duration::from_millis(1500),
        configure: Duration::from_secs(3),
        pause: Duration::from_millis(5),
        ..Limits::default()
    }
}

/// Longer than any deadline.
const LONG: u64 = 60_000;

/// A router in the middle of its work.
struct Stage {
    lab: Running,
    bench: Bench,
    want: Desired,
    foreign: serde_json::Value,
}

impl Stage {
    async fn new() -> Self {
        let lab = lab().await;
        let foreign = pruned(&lab.config());
        let mut bench = Bench::new(crate::stand::router(&lab));
        let old = fabric(2, 0..18, |n, t| match n % 3 {
            0 => plain(n, t),
            1 => stretched(n, t),
            _ => with_dhcp(n, t),
        });
        assert_eq!(open(&bench.settle(&desired(old.clone())).await), []);
        bench.router = Router::with_limits(endpoint(&lab), limits()).unwrap();
        let going = old.iter().enumerate().map(|(at, claim)| {
            if at >= 2 && at % 2 == 0 {
                absent(claim)
            } else {
                claim.clone()
            }
        });
        let new = fabric(3, 18..38, stretched).into_iter().skip(2);
        let want = desired(going.chain(new));
        Self {
            lab,
            bench,
            want,
            foreign,
        }
    }

    /// As many passes as a target gets before its pauses grow long, failed ones included. Gives
    /// the last that ended.
    async fn passes(&mut self, most: usize) -> Option<Result<Pass, RouterError>> {
        let mut last = None;
        for _ in 0..most {
            let want = self.want.clone();
            let pass = self.bench.pass(&want).await;
            let done = pass
                .as_ref()
                .is_ok_and(|pass| pass.ended.is_ok() && pass.next != Next::Now);
            last = Some(pass);
            if done {
                break;
            }
            // The time of the test's clock stands for the pause between passes.
            self.bench.now += Duration::from_secs(1);
        }
        last
    }

    /// What is said to people after some passes that do not end well.
    async fn words(&mut self, passes: usize) -> String {
        match self.passes(passes).await.unwrap() {
            Err(error) => error.to_string(),
            Ok(pass) => pass.outcome.trouble.unwrap_or_default(),
        }
    }

    /// Everything is as asked and saved, and it was never two at once.
    async fn converges(mut self) {
        let pass = self.passes(40).await.unwrap().unwrap();
        if pass.next != Next::Settled {
            // Somebody was refused on the way, and waits.
            self.bench.now += Duration::from_secs(200);
            let pass = self.passes(40).await.unwrap().unwrap();
            assert_eq!(pass.next, Next::Settled, "{:?}", open(&pass));
        }
        self.is_done();
    }

    fn is_done(&self) {
        let running = Lines::parse(&self.lab.config());
        let left = plan(&self.want, &running);
        assert_eq!(left.commands, [], "not as asked");
        assert_eq!(left.orphans.len(), 0, "{:?}", left.orphans);
        for line in Lines::parse(&self.foreign).iter() {
            assert!(running.contains(line), "{line:?} is gone");
        }
        assert_eq!(
            pruned(&self.lab.saved()),
            pruned(&self.lab.config()),
            "not saved"
        );
        assert_eq!(self.lab.counters.get("in_flight_max"), 1);
    }

    fn next_list(&self, action: Action) {
        self.lab.faults.add(Fault::new(action).path("/configure"));
    }
}

fn instead(status: u16, body: &str) -> Action {
    Action::StatusAfter {
        status,
        reason: None,
        body: body.to_owned(),
    }
}

fn status(status: u16, body: &str) -> Action {
    Action::Status {
        status,
        reason: None,
        body: body.to_owned(),
        headers: vec![],
    }
}

#[tokio::test]
async fn a_timeout_after_the_list_took_effect_is_looked_at() {
    let stage = Stage::new().await;
    stage.next_list(Action::Hang { ms: LONG });
    stage.converges().await;
}

#[tokio::test]
async fn a_timeout_before_the_list_took_effect_is_looked_at() {
    let stage = Stage::new().await;
    stage.next_list(Action::HangBefore { ms: LONG });
    stage.converges().await;
}

#[tokio::test]
async fn a_connection_that_is_cut_before_or_after_the_list_is_looked_at() {
    for action in [Action::CloseBefore, Action::CloseAfter] {
        let stage = Stage::new().await;
        stage.next_list(action);
        stage.converges().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_in_the_middle_is_not_taken_for_one() {
    for body in ["{\"success\": true, \"da", ""] {
        let stage = Stage::new().await;
        stage.next_list(instead(200, body));
        stage.converges().await;
    }
}

#[tokio::test]
async fn a_504_of_nginx_while_the_commit_goes_on_is_waited_out() {
    let mut stage = Stage::new().await;
    stage.lab.hold_commits(true);
    // The commit is under way, the answer does not come, every read is busy.
    let said = stage.words(3).await;
    assert!(said.contains("busy"), "{said}");
    assert!(stage.lab.is_committing());
    let sent = stage.bench.router.requests().configures;
    stage.words(2).await;
    assert_eq!(
        stage.bench.router.requests().configures,
        sent,
        "sent again while it commits"
    );
    stage.lab.hold_commits(false);
    assert!(stage.lab.settled().await);
    stage.converges().await;
    let stage = Stage::new().await;
    stage.next_list(instead(504, "<html><head><title>504</title></head></html>"));
    stage.converges().await;
}

#[tokio::test]
async fn an_api_that_dies_with_the_list_and_comes_back_gets_it_again() {
    for action in [status(502, ""), instead(502, ""), status(503, "")] {
        let stage = Stage::new().await;
        stage.next_list(action);
        stage.lab.faults.add(
            Fault::new(status(502, ""))
                .path("/retrieve")
                .times(3)
                .skip(1),
        );
        stage.converges().await;
    }
}

#[tokio::test]
async fn a_commit_that_is_partly_refused_loses_nothing_of_the_rest() {
    let mut stage = Stage::new().await;
    // A person has a VXLAN interface with the number of one that is asked for.
    let taken = [
        Edit::set("interfaces vxlan vxlan7 vni 20025"),
        Edit::set("interfaces vxlan vxlan7 source-address 10.255.0.1"),
    ];
    assert_eq!(stage.lab.type_in(&taken), Outcome::Done(None));
    let pass = stage.passes(40).await.unwrap().unwrap();
    let left = open(&pass);
    assert_eq!(left.len(), 1, "{left:?}");
    let ClaimState::Held { message, .. } = &left[0].1 else {
        panic!("{left:?}")
    };
    assert!(
        left[0].0 == "n0025" && message.contains("Region.spec.vnis"),
        "{left:?}"
    );
    let gone = [Edit::delete("interfaces vxlan vxlan7")];
    assert_eq!(stage.lab.type_in(&gone), Outcome::Done(None));
    stage.bench.now += Duration::from_secs(200);
    stage.converges().await;
}

#[tokio::test]
async fn a_held_commit_lock_is_waited_for_and_named_when_it_lasts() {
    let mut stage = Stage::new().await;
    stage.lab.hold_lock(true);
    let said = stage.words(3).await;
    assert!(
        said.contains("temporarily locked") && said.contains("end that session"),
        "{said}"
    );
    stage.lab.hold_lock(false);
    stage.converges().await;
}

#[tokio::test]
async fn uncommitted_changes_of_another_are_never_taken_for_what_runs() {
    let mut stage = Stage::new().await;
    let other = Router::with_limits(endpoint(&stage.lab), Limits::default()).unwrap();
    stage.lab.hold_commands(true);
    let typing = tokio::spawn(async move {
        let ops = [
            bb_vyos::Op::delete(["interfaces", "bridge", "br20001"]),
            bb_vyos::Op::set(["interfaces", "dummy", "dum9", "description", "theirs"]),
        ];
        other.configure(&ops).await
    });
    while !stage.lab.has_candidate() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let said = stage.words(2).await;
    assert!(said.contains("busy"), "{said}");
    stage.lab.hold_commands(false);
    let _ = typing.await.unwrap();
    // Two clients were here: ours never had two.
    stage.lab.counters.reset();
    stage.passes(40).await.unwrap().unwrap();
    let running = pruned(&stage.lab.config());
    assert_eq!(
        running["interfaces"]["dummy"]["dum9"]["description"],
        "theirs"
    );
    stage.converges().await;
}

#[tokio::test]
async fn an_api_that_hangs_is_named_with_the_way_to_restart_it() {
    let mut stage = Stage::new().await;
    stage
        .lab
        .faults
        .add(Fault::new(Action::HangBefore { ms: LONG }).times(0));
    let said = stage.words(3).await;
    assert!(
        said.contains("no answer") && said.contains("systemctl restart vyos-http-api"),
        "{said}"
    );
    assert_eq!(stage.lab.counters.get("in_flight_max"), 1);
    stage.lab.faults.clear();
    stage.converges().await;
}

#[tokio::test]
async fn a_list_that_is_lost_to_a_commit_in_the_background_is_sent_again() {
    let mut stage = Stage::new().await;
    stage.lab.hold_background(true);
    // Somebody gives the API another key: its commit runs in the background, and what comes
    // meanwhile is answered with the same words and lost.
    let http = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let data =
        r#"{"op":"set","path":["service","https","api","keys","id","more","key","another"]}"#;
    let form = [("data", data), ("key", KEY)];
    let url = format!("{}/configure", stage.lab.api);
    http.post(url).form(&form).send().await.unwrap();
    stage.passes(1).await;
    stage.lab.hold_background(false);
    assert!(stage.lab.settled().await);
    stage.lab.counters.reset();
    stage.converges().await;
    let stage = Stage::new().await;
    let text = r#"{"success": true, "data": "Requested HTTP API server configuration change; commit will be called in the background", "error": null}"#;
    stage.next_list(status(200, text));
    stage.converges().await;
}

#[tokio::test]
async fn a_full_disk_is_named_and_what_runs_is_saved_later() {
    let mut stage = Stage::new().await;
    let full = answers(
        500,
        "{\"success\": false, \"error\": \"No space left on device\"}",
    );
    stage.lab.faults.add(full.path("/config-file").times(0));
    let said = stage.words(4).await;
    assert!(
        said.contains("not saved") && said.contains("show system storage"),
        "{said}"
    );
    stage.lab.faults.clear();
    stage.converges().await;
}

#[tokio::test]
async fn a_reboot_to_what_was_saved_before_is_made_good() {
    let mut stage = Stage::new().await;
    stage
        .lab
        .faults
        .add(answers(500, "").path("/config-file").times(1));
    stage.passes(1).await;
    stage.lab.reboot();
    stage.converges().await;
}

#[tokio::test]
async fn a_key_that_is_refused_is_named_and_nothing_more_is_sent() {
    let mut stage = Stage::new().await;
    let no = "{\"success\": false, \"error\": \"Valid API key is required\", \"data\": null}";
    stage.lab.faults.add(answers(401, no).times(0));
    let sent = stage.bench.router.requests().configures;
    let said = stage.words(3).await;
    assert_eq!(said, RouterError::Unauthorized.to_string());
    assert_eq!(stage.bench.router.requests().configures, sent);
    stage.lab.faults.clear();
    stage.converges().await;
}

#[tokio::test]
async fn a_certificate_that_changed_is_shown_and_gets_nothing() {
    let mut stage = Stage::new().await;
    let mut wrong = endpoint(&stage.lab);
    wrong.trust = bb_vyos::Trust::Sha256(vec![vec!["AA"; 32].join(":")]);
    let right = stage.bench.router.clone();
    stage.bench.router = Router::with_limits(wrong, limits()).unwrap();
    let requests = stage.lab.counters.get("requests");
    let said = stage.words(2).await;
    assert!(said.contains(&stage.lab.sha256), "{said}");
    assert_eq!(stage.lab.counters.get("requests"), requests);
    stage.bench.router = right;
    stage.converges().await;
}

#[tokio::test]
async fn garbage_with_500_is_looked_at_and_sent_again() {
    for action in [
        status(500, "\u{0}\u{1}garbage"),
        instead(500, "garbage"),
        instead(418, "[]"),
    ] {
        let stage = Stage::new().await;
        stage.next_list(action);
        stage.converges().await;
    }
}

#[tokio::test]
async fn one_object_that_has_the_api_fail_again_and_again_is_found() {
    let mut stage = Stage::new().await;
    let poison = answers(
        500,
        "{\"success\": false, \"error\": \"An internal error occured.\"}",
    );
    stage
        .lab
        .faults
        .add(poison.path("/configure").body("20030").times(0));
    let pass = stage.passes(40).await.unwrap().unwrap();
    let owners: Vec<String> = open(&pass).into_iter().map(|(owner, _)| owner).collect();
    assert_eq!(owners, ["n0030"]);
    stage.lab.faults.clear();
    stage.bench.now += Duration::from_secs(200);
    stage.converges().await;
}

#[tokio::test]
async fn an_api_that_fails_whatever_it_is_sent_is_named_and_not_an_object() {
    let mut stage = Stage::new().await;
    let broken = answers(
        500,
        "{\"success\": false, \"error\": \"An internal error occured.\"}",
    );
    stage.lab.faults.add(broken.path("/configure").times(0));
    let said = stage.words(20).await;
    assert!(said.contains("journalctl -u vyos-http-api"), "{said}");
    stage.lab.faults.clear();
    stage.converges().await;
}

#[tokio::test]
async fn what_a_person_changes_between_our_look_and_our_commit_is_put_right() {
    let mut stage = Stage::new().await;
    stage.lab.hold_commands(true);
    let want = stage.want.clone();
    let typing = async {
        while !stage.lab.has_candidate() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let edits = [
            Edit::delete("interfaces bridge br20001 address 10.0.1.1/24"),
            Edit::delete("interfaces ethernet eth2 vif 103"),
            Edit::set("interfaces dummy dum8 description theirs"),
        ];
        let _ = stage.lab.type_in(&edits);
        stage.lab.hold_commands(false);
    };
    let (pass, ()) = tokio::join!(stage.bench.pass(&want), typing);
    let _ = pass.unwrap();
    stage.passes(40).await.unwrap().unwrap();
    let running = pruned(&stage.lab.config());
    assert_eq!(
        running["interfaces"]["dummy"]["dum8"]["description"],
        "theirs"
    );
    stage.converges().await;
}

#[tokio::test]
async fn slow_reads_and_reads_that_never_end_change_nothing() {
    let mut stage = Stage::new().await;
    for action in [
        Action::Hang { ms: LONG },
        Action::CloseAfter,
        Action::HangBefore { ms: LONG },
        Action::Delay { ms: 200 },
    ] {
        let fault = Fault::new(action).path("/retrieve");
        stage.lab.faults.add(fault);
    }
    let sent = stage.bench.router.requests().configures;
    let said = stage.words(3).await;
    assert!(said.contains("no answer to /retrieve"), "{said}");
    assert_eq!(stage.bench.router.requests().configures, sent);
    stage.converges().await;
}

#[tokio::test]
async fn a_read_of_less_than_everything_is_not_taken_for_an_empty_router() {
    let mut stage = Stage::new().await;
    let bodies = [
        r#"{"success": true, "data": {}, "error": null}"#,
        r#"{"success": true, "data": null, "error": null}"#,
        r#"{"success": true, "data": {"system": {"host-name": "r1"}}, "error": null}"#,
        r#"{"success": true, "data": "interfaces {", "error": null}"#,
    ];
    for body in bodies {
        stage.lab.faults.add(answers(200, body).path("/retrieve"));
        let want = stage.want.clone();
        let error = stage.bench.pass(&want).await.unwrap_err();
        assert!(matches!(error, RouterError::Unexpected { .. }), "{error}");
    }
    stage.converges().await;
}
