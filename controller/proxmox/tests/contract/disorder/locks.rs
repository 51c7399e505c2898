//! Shows that what somebody else holds is waited for, and what a dead worker held is told.

use std::cell::RefCell;

use bb_lab_proxmox::Config;
use bb_lab_proxmox::model::Cluster;

use super::{each_write, status};
use crate::bulk::{Bulk, images_of};
use crate::stage::endpoint;

#[tokio::test]
async fn a_file_lock_that_hangs_is_told_and_waited_for() {
    let mut bulk = Bulk::ready().await;
    let hold =
        |held: bool| move |c: &mut Cluster| [5010, 5016].map(|id| c.hold_file_lock(id, held));
    bulk.stage.lab.with(hold(true));
    bulk.ask();
    bulk.until_told(&[
        "Waiting",
        "5010",
        "can't lock file",
        "process on its node that hangs",
    ])
    .await;
    bulk.stage.lab.with(hold(false));
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_guest_that_is_locked_by_a_backup_is_waited_for() {
    let mut bulk = Bulk::ready().await;
    for id in [5010, 5016] {
        bulk.stage.edit(id, "lock", "backup");
    }
    bulk.ask();
    bulk.until_told(&[
        "Waiting",
        "VM 5010 is locked (backup)",
        "root must unlock 5010",
    ])
    .await;
    bulk.stage.lab.with(|cluster| {
        for id in [5010, 5016] {
            cluster.guests.get_mut(&id).unwrap().config.remove("lock");
        }
    });
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_storage_and_a_node_that_are_busy_are_tried_again() {
    let mut bulk = Bulk::ready().await;
    let busy = "cfs-lock 'storage-ssd' error: got lock request timeout";
    each_write(&bulk, &status(500, busy));
    each_write(
        &bulk,
        &status(500, "got no worker upid - start worker failed"),
    );
    bulk.ask();
    bulk.pass_while(|stage| !stage.lab.faults().waiting().is_empty())
        .await;
    bulk.ends_well().await;
}

#[tokio::test]
async fn three_busy_workers_hold_up_and_break_nothing() {
    let mut bulk = Bulk::ready().await;
    bulk.stage.lab.keep_busy("pve1", true);
    bulk.ask();
    for _ in 0..2 {
        let _ = bulk.stage.attempt().await;
    }
    bulk.stage.lab.keep_busy("pve1", false);
    bulk.ends_well().await;
}

/// Kills the worker that is copying the disk of VM 5022, and tells the images that are there then.
fn kill_the_copy(cluster: &mut Cluster) -> Option<Vec<String>> {
    let images = images_of(cluster, 5022);
    let locked = cluster.guests.get(&5022)?.lock() == Some("clone");
    if !locked || images.is_empty() {
        return None;
    }
    let target = |line: &String| line.ends_with("with ID 5022");
    let upid = cluster
        .tasks
        .all
        .values()
        .find(|task| task.is_running() && task.kind == "qmclone" && task.log.iter().any(target))?
        .upid
        .clone();
    cluster.kill_task(&upid).then_some(images)
}

#[tokio::test]
async fn a_clone_whose_worker_was_killed_is_left_to_root_with_its_disk() {
    let config = Config {
        time_scale: 0.3,
        ..Config::default()
    };
    let mut bulk = Bulk::with(config, endpoint).await;
    bulk.ask();
    let full = bulk.stage.desired.guests.iter_mut();
    for guest in full.filter(|guest| guest.vmid.get() == 5022) {
        if let bb_core::proxmox::model::Source::Template { full, .. } = &mut guest.source {
            *full = true;
        }
    }
    // In one go: a moment later the disk may be copied.
    let disk = RefCell::new(None);
    bulk.pass_while(|stage| {
        let killed = stage.lab.with(kill_the_copy);
        *disk.borrow_mut() = killed.clone();
        killed.is_none()
    })
    .await;
    let disk = disk.into_inner().unwrap();
    let named = bulk.stage.config(5022, "scsi0").unwrap_or_default();
    assert!(
        disk.iter().any(|image| !named.contains(image)),
        "{disk:?} {named}"
    );
    bulk.until_told(&[
        "Stuck",
        "VM 5022 is half made",
        "qm unlock 5022",
        "--destroy-unreferenced-disks 1",
    ])
    .await;
    let there = bulk.stage.lab.with(|cluster| images_of(cluster, 5022));
    assert_eq!(there, disk, "it is left as it is");
    bulk.stage.lab.with(|cluster| {
        cluster.destroy_by_hand(5022);
        let places = cluster
            .storages
            .get_mut("ssd")
            .unwrap()
            .volumes
            .values_mut();
        places.for_each(|place| place.retain(|name, _| !name.starts_with("vm-5022-")));
    });
    for guest in &mut bulk.stage.desired.guests {
        if guest.vmid.get() == 5022 {
            *guest = crate::stage::vm(5022, &[]);
        }
    }
    bulk.ends_well().await;
}
