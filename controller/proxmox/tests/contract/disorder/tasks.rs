//! Shows that how a task ends is not taken for what it did.

use bb_lab_proxmox::model::Cluster;
use bb_lab_proxmox::{Config, Moment};

use super::each_task;
use crate::bulk::Bulk;
use crate::stage::endpoint;

#[tokio::test]
async fn warnings_are_a_success() {
    let mut bulk = Bulk::ready().await;
    each_task(&bulk, "WARNINGS: 2", true);
    bulk.ask();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_task_that_is_ok_and_did_nothing_is_found_out() {
    let mut bulk = Bulk::ready().await;
    each_task(&bulk, "OK", false);
    bulk.ask();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_task_that_ends_unexpectedly_after_its_effect_is_not_repeated() {
    let mut bulk = Bulk::ready().await;
    each_task(&bulk, "unexpected status", true);
    bulk.ask();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_task_that_ends_unexpectedly_before_its_effect_is_repeated() {
    let mut bulk = Bulk::ready().await;
    each_task(&bulk, "unexpected status", false);
    bulk.ask();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_task_that_fails_is_told_in_its_words_and_repeated() {
    let mut bulk = Bulk::ready().await;
    each_task(&bulk, "the disk is on fire", false);
    bulk.ask();
    bulk.until_told(&["Refused", "the disk is on fire"]).await;
    bulk.ends_well().await;
}

#[tokio::test]
async fn tasks_that_no_list_shows_any_more_are_looked_after() {
    let mut bulk = Bulk::ready().await;
    bulk.stage
        .lab
        .before_calls(Some(|moment: &Moment, cluster: &mut Cluster| {
            if moment.path.ends_with("/tasks") {
                let now = cluster.now;
                cluster.tick(now);
                cluster.forget_tasks();
            }
        }));
    bulk.ask();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_daemon_that_restarts_ends_tasks_and_they_are_begun_again() {
    let config = Config {
        time_scale: 0.1,
        ..Config::default()
    };
    let mut bulk = Bulk::with(config, endpoint).await;
    let mut calls = 0;
    bulk.stage
        .lab
        .before_calls(Some(move |_: &Moment, cluster: &mut Cluster| {
            calls += 1;
            if [12, 24, 48].contains(&calls) {
                cluster.restart_daemon();
            }
        }));
    bulk.ask();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_disk_that_a_destroy_could_not_remove_is_named() {
    let mut bulk = Bulk::ready().await;
    let keeps =
        |keeps: bool| move |c: &mut Cluster| c.storages.get_mut("ssd").unwrap().keeps = keeps;
    bulk.stage.lab.with(keeps(true));
    bulk.ask();
    bulk.until_told(&[
        "disk image ssd:base-9000-disk-0/vm-5016-disk-0 on pve1",
        "`pvesm free ssd:base-9000-disk-0/vm-5016-disk-0`",
    ])
    .await;
    bulk.stage.lab.with(keeps(false));
    bulk.stage.lab.with(|cluster| {
        let places = cluster
            .storages
            .get_mut("ssd")
            .unwrap()
            .volumes
            .values_mut();
        places.for_each(|place| {
            place.retain(|name, _| !name.starts_with("vm-5016-") && !name.starts_with("vm-5017-"));
        });
    });
    bulk.ends_well().await;
}
