//! Shows what becomes of writes whose answer is lost, late or wrong, and of an API that is down.

use bb_lab_kit::faults::{Action, Fault};
use bb_lab_proxmox::Config;

use super::{all_used, each_write, impatient, status};
use crate::bulk::Bulk;

#[tokio::test]
async fn a_daemon_that_is_down_is_told_and_waited_for() {
    let mut bulk = Bulk::ready().await;
    bulk.stage.lab.with(|c| c.world.daemon_down = true);
    bulk.ask();
    bulk.until_told(&["Unreachable", "Connection refused"])
        .await;
    bulk.stage.lab.with(|c| c.world.daemon_down = false);
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_write_that_was_carried_out_and_answered_596_is_not_doubled() {
    let mut bulk = Bulk::ready().await;
    let lost = Action::StatusAfter {
        status: 596,
        reason: Some("Broken pipe".to_owned()),
        body: String::new(),
    };
    each_write(&bulk, &lost);
    bulk.ask();
    bulk.pass_while(|stage| !stage.lab.faults().waiting().is_empty())
        .await;
    all_used(&bulk);
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_write_that_was_not_carried_out_and_answered_595_is_sent_again() {
    let mut bulk = Bulk::ready().await;
    each_write(&bulk, &status(595, "No route to host"));
    bulk.ask();
    bulk.pass_while(|stage| !stage.lab.faults().waiting().is_empty())
        .await;
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_not_doubled() {
    let mut bulk = Bulk::ready().await;
    each_write(&bulk, &Action::CloseAfter);
    bulk.ask();
    bulk.pass_while(|stage| !stage.lab.faults().waiting().is_empty())
        .await;
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_write_that_takes_effect_after_we_gave_up_on_it_is_not_doubled() {
    let mut bulk = Bulk::with(Config::default(), impatient).await;
    each_write(&bulk, &Action::Hang { ms: 2500 });
    bulk.ask();
    bulk.pass_while(|stage| !stage.lab.faults().waiting().is_empty())
        .await;
    bulk.ends_well().await;
}

#[tokio::test]
async fn an_api_that_hangs_is_told_and_waited_for() {
    let mut bulk = Bulk::with(Config::default(), impatient).await;
    let hangs = Fault::new(Action::HangBefore { ms: 3000 }).times(0);
    bulk.stage.lab.faults().add(hangs);
    bulk.ask();
    bulk.until_told(&["cannot list what the cluster has", "cannot reach"])
        .await;
    bulk.stage.lab.faults().clear();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_dead_cluster_file_system_is_told_and_waited_for() {
    let mut bulk = Bulk::ready().await;
    bulk.stage.lab.with(|c| c.world.pmxcfs_dead = true);
    bulk.ask();
    bulk.until_told(&["cannot list", "Unable to load access control list"])
        .await;
    bulk.stage.lab.with(|c| c.world.pmxcfs_dead = false);
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_cluster_without_quorum_is_told_and_waited_for() {
    let mut bulk = Bulk::ready().await;
    bulk.stage.lab.with(|c| c.world.no_quorum = true);
    bulk.ask();
    bulk.until_told(&[
        "Unreachable",
        "no quorum",
        "when most nodes of the cluster are up",
    ])
    .await;
    bulk.stage.lab.with(|c| c.world.no_quorum = false);
    bulk.ends_well().await;
}
