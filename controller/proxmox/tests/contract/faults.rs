//! Shows what becomes of guests when answers are lost, workers die and nodes go.

use std::time::{Duration, Instant};

use bb_core::proxmox::model::{Fate, GuestReport, GuestState, Source};
use bb_lab_kit::faults::{Action, Fault};
use bb_lab_proxmox::Config;

use crate::stage::{PAUSE, Stage, vm, volume};

fn clones(stage: &Stage) -> usize {
    stage
        .calls(0)
        .iter()
        .filter(|call| call.ends_with("/clone"))
        .count()
}

#[tokio::test]
async fn a_clone_whose_answer_was_lost_is_not_made_twice() {
    let mut stage = Stage::new().await;
    stage
        .lab
        .faults()
        .add(Fault::new(Action::CloseAfter).method("POST").path("/clone"));
    stage.desired.guests = vec![vm(5001, &[])];
    stage.settle().await;
    assert_eq!(clones(&stage), 1);
    let guests = stage.lab.with(|cluster| cluster.guests.len());
    assert_eq!(guests, 5);
}

#[tokio::test]
async fn a_clone_that_never_arrived_is_sent_again() {
    let mut stage = Stage::new().await;
    stage.lab.faults().add(
        Fault::new(Action::CloseBefore)
            .method("POST")
            .path("/clone"),
    );
    stage.desired.guests = vec![vm(5001, &[])];
    stage.settle().await;
    assert_eq!(clones(&stage), 2);
}

#[tokio::test]
async fn every_write_may_lose_its_answer_once() {
    let mut stage = Stage::new().await;
    for (method, path) in [
        ("POST", "/config"),
        ("PUT", "/resize"),
        ("POST", "/status/start"),
        ("POST", "/content"),
        ("POST", "/status/shutdown"),
        ("DELETE", "/qemu/"),
        ("DELETE", "/content/"),
    ] {
        stage
            .lab
            .faults()
            .add(Fault::new(Action::CloseAfter).method(method).path(path));
    }
    stage.desired.guests = vec![vm(5001, &["v1"])];
    stage.desired.volumes = vec![volume("v1", Some("guest-5001"))];
    stage.settle().await;
    stage.clear().await;
    assert!(
        stage.lab.faults().waiting().is_empty(),
        "{:?}",
        stage.lab.faults().waiting()
    );
    assert!(stage.config(5001, "name").is_none());
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_clone_is_survived() {
    let mut stage = Stage::with(Config {
        time_scale: 0.2,
        ..Config::default()
    })
    .await;
    stage.desired.guests = vec![vm(5001, &[])];
    stage.pass().await;
    stage.restart().await;
    stage.settle().await;
    assert_eq!(stage.runs(5001), Some(true));
}

#[tokio::test]
async fn a_clone_whose_worker_was_killed_ends_in_words_for_root() {
    let mut stage = Stage::with(Config {
        time_scale: 0.2,
        ..Config::default()
    })
    .await;
    stage.desired.guests = vec![vm(5001, &[])];
    if let Source::Template { full, .. } = &mut stage.desired.guests[0].source {
        *full = true;
    }
    stage
        .until_lab("half made", |stage| stage.config(5001, "lock").is_some())
        .await;
    let killed = stage.lab.with(|cluster| {
        let running = cluster.tasks.all.values().filter(|task| task.is_running());
        let upids: Vec<String> = running.map(|task| task.upid.clone()).collect();
        upids.iter().filter(|upid| cluster.kill_task(upid)).count()
    });
    assert_eq!(killed, 1);
    for restart in [false, true] {
        if restart {
            stage.restart().await;
        }
        stage
            .until("stuck", |report| {
                let state = format!("{:?}", report.guests["guest-5001"].state);
                state.contains("Stuck") && state.contains("qm unlock 5001")
            })
            .await;
    }
    stage.desired.guests[0].fate = Fate::Destroy;
    stage
        .until("stuck", |report| {
            format!("{:?}", report.guests["guest-5001"].state).contains("Stuck")
        })
        .await;
    stage.lab.with(|cluster| cluster.destroy_by_hand(5001));
    stage.clear().await;
}

#[tokio::test]
async fn a_refusal_is_told_in_the_clusters_words_and_tried_again() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &[])];
    stage.desired.guests[0].nics[0].bridge = "vmbr77".into();
    stage
        .until("refused", |report| {
            format!("{:?}", report.guests["guest-5001"].state).contains("vmbr77")
        })
        .await;
    stage.desired.guests[0].nics[0].bridge = "vmbr0".into();
    stage.settle().await;
}

#[tokio::test]
async fn a_node_that_is_down_holds_its_guests_and_nothing_is_written() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &[])];
    stage.settle().await;
    stage.lab.with(|cluster| {
        cluster.nodes.get_mut("pve1").unwrap().online = false;
    });
    stage.desired.guests[0].cores = 4;
    let from = stage.lab.journal().len();
    stage.pass().await;
    let said = format!("{:?}", stage.state("guest-5001"));
    assert!(
        said.contains("Unreachable") && said.contains("pve1"),
        "{said}"
    );
    assert!(
        stage
            .calls(from)
            .iter()
            .all(|call| call.starts_with("GET "))
    );
}

#[tokio::test]
async fn a_list_that_goes_back_and_lags_changes_nothing() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &[])];
    stage.settle().await;
    stage.lab.with(|cluster| {
        cluster.world.lists_go_back = true;
        cluster.world.statd_stopped = true;
    });
    stage.restart().await;
    let from = stage.lab.journal().len();
    for _ in 0..6 {
        stage.pass().await;
        assert!(matches!(
            stage.state("guest-5001"),
            GuestState::Settled { .. }
        ));
    }
    assert!(
        stage
            .calls(from)
            .iter()
            .all(|call| call.starts_with("GET "))
    );
}

#[tokio::test]
async fn a_guest_that_fails_rests_longer_each_time_and_holds_up_nobody() {
    let mut stage = Stage::new().await;
    let refusal = Action::Status {
        status: 500,
        reason: Some("clone failed: the template is cursed".to_owned()),
        body: String::new(),
        headers: Vec::new(),
    };
    // One clone at a time: whoever fails must not keep it.
    stage.desired.cluster.clones = 1;
    stage.lab.faults().add(
        Fault::new(refusal)
            .method("POST")
            .path("/clone")
            .body("newid=5000")
            .times(0),
    );
    stage.desired.guests = (0..6).map(|nth| vm(5000 + nth, &[])).collect();
    for guest in stage.desired.guests.iter_mut().skip(3) {
        guest.namespace = "zeta".into();
    }
    let begun = Instant::now();
    let tried = |stage: &Stage| {
        let journal = stage.lab.journal();
        let clones = journal.iter().filter(|e| e.path.ends_with("/clone"));
        clones.filter(|e| e.status == 500).count()
    };
    while tried(&stage) < 5 {
        stage.pass().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Four pauses lie between five tries: 1, 2, 4 and 8 times the first.
    assert!(begun.elapsed() >= PAUSE * 15, "{:?}", begun.elapsed());
    let said = format!("{:?}", stage.state("guest-5000"));
    assert!(
        said.contains("Refused") && said.contains("cursed"),
        "{said}"
    );
    stage
        .until("settled but one", |report| {
            let settled = |guest: &GuestReport| matches!(guest.state, GuestState::Settled { .. });
            report
                .guests
                .values()
                .filter(|guest| settled(guest))
                .count()
                == 5
        })
        .await;
    // So many tries have one pause less between them, each twice the one before.
    let tries = i32::try_from(tried(&stage)).unwrap();
    let pauses = begun.elapsed().as_secs_f64() / PAUSE.as_secs_f64();
    assert!(2f64.powi(tries - 1) - 1.0 <= pauses, "{tries} tries");
    // Another wish ends the pause.
    stage.lab.faults().clear();
    stage.desired.guests[0].cores += 1;
    stage.settle().await;
}
