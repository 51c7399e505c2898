//! Shows one fault of a cluster after the other in the midst of bulk work, and how each ends.
//!
//! Each either passes by itself, or a person is told what to do; then all is as it would have
//! been without it: nothing doubled, nothing lost, nothing left over, nothing of others touched.
//! `docs/guarantees.md` has them as a table.

use std::time::Duration;

use bb_lab_kit::faults::{Action, Fault};
use bb_lab_proxmox::model::{Cluster, OddEnd};
use bb_lab_proxmox::{Config, Moment, Running};
use bb_proxmox::{Credentials, Deadlines, Endpoint, Secret};

use crate::bulk::{Bulk, images_of};
use crate::stage::endpoint;

/// Every kind of write that the work takes, by method and a part of the path.
const WRITES: [(&str, &str); 11] = [
    ("POST", "/clone"),
    ("POST", "/lxc"),
    ("POST", "/config"),
    ("PUT", "/lxc/5011/config"),
    ("PUT", "/resize"),
    ("POST", "/status/start"),
    ("POST", "/status/shutdown"),
    ("DELETE", "/qemu/"),
    ("DELETE", "/lxc/"),
    ("POST", "/content"),
    ("DELETE", "/content/"),
];

/// Kinds of tasks that the work takes.
const TASKS: [&str; 6] = [
    "qmclone",
    "vzcreate",
    "resize",
    "qmstart",
    "qmdestroy",
    "vzdestroy",
];

fn status(status: u16, reason: &str) -> Action {
    Action::Status {
        status,
        reason: Some(reason.to_owned()),
        body: String::new(),
        headers: Vec::new(),
    }
}

/// Has every kind of write go wrong once.
fn each_write(bulk: &Bulk, action: &Action) {
    for (method, path) in WRITES {
        let fault = Fault::new(action.clone()).method(method).path(path);
        bulk.stage.lab.faults().add(fault);
    }
}

/// Has the next task of every kind end with these words.
fn each_task(bulk: &Bulk, exit: &str, works: bool) {
    bulk.stage.lab.with(|cluster| {
        cluster.odd_ends.extend(TASKS.map(|kind| OddEnd {
            kind: kind.to_owned(),
            exit: exit.to_owned(),
            works,
        }));
    });
}

fn all_used(bulk: &Bulk) {
    let lab = &bulk.stage.lab;
    assert!(
        lab.faults().waiting().is_empty(),
        "{:?}",
        lab.faults().waiting()
    );
    let odd = lab.with(|cluster| cluster.odd_ends.clone());
    assert!(odd.is_empty(), "{odd:?}");
}

fn impatient(lab: &Running) -> Endpoint {
    let deadlines = Deadlines {
        read: Duration::from_secs(1),
        write: Duration::from_secs(1),
        ..Deadlines::default()
    };
    Endpoint {
        deadlines,
        ..endpoint(lab)
    }
}

fn by_password(lab: &Running) -> Endpoint {
    let credentials = Credentials::Password {
        user: "op@pve".to_owned(),
        password: Secret::new("op-of-the-lab"),
    };
    Endpoint {
        credentials,
        ..endpoint(lab)
    }
}

#[tokio::test]
async fn undisturbed_work_ends_well() {
    let mut bulk = Bulk::ready().await;
    bulk.ask();
    bulk.ends_well().await;
}

// Locks.

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

#[tokio::test]
async fn a_clone_whose_worker_was_killed_is_left_to_root_with_its_disk() {
    let config = Config {
        time_scale: 0.1,
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
    let copying = |c: &mut Cluster| {
        c.guests
            .get(&5022)
            .is_some_and(|g| g.lock() == Some("clone"))
            && !images_of(c, 5022).is_empty()
    };
    bulk.pass_while(|stage| !stage.lab.with(copying)).await;
    let disk = bulk.stage.lab.with(|cluster| {
        let tasks = cluster.tasks.all.values();
        let clones = tasks.filter(|t| t.is_running() && t.kind == "qmclone");
        let target = |log: &Vec<String>| log.iter().any(|line| line.ends_with("with ID 5022"));
        let upids: Vec<String> = clones
            .filter(|t| target(&t.log))
            .map(|t| t.upid.clone())
            .collect();
        assert!(upids.iter().all(|upid| cluster.kill_task(upid)) && upids.len() == 1);
        images_of(cluster, 5022)
    });
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

// Answers.

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

// Tasks.

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

// Nodes and storages.

#[tokio::test]
async fn a_node_that_is_down_is_named_and_waited_for() {
    let mut bulk = Bulk::ready().await;
    let online =
        |online: bool| move |c: &mut Cluster| c.nodes.get_mut("pve1").unwrap().online = online;
    bulk.stage.lab.with(online(false));
    bulk.ask();
    bulk.until_told(&["Unreachable", "node pve1 is offline"])
        .await;
    bulk.stage.lab.with(online(true));
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_guest_that_moved_to_another_node_is_followed() {
    let mut bulk = Bulk::ready().await;
    let mut moved = false;
    bulk.stage
        .lab
        .before_calls(Some(move |moment: &Moment, cluster: &mut Cluster| {
            // Right before it is written to; back when that was refused.
            let write = moment.method == "POST" && moment.path.contains("/5010/");
            let node = if write && !moved { "pve2" } else { "pve1" };
            moved |= write;
            cluster.guests.get_mut(&5010).unwrap().node = node.to_owned();
        }));
    bulk.ask();
    bulk.pass_while(|stage| {
        !stage
            .config(5010, "scsi0")
            .is_some_and(|disk| disk.contains("size=20G"))
    })
    .await;
    bulk.stage
        .lab
        .before_calls(None::<fn(&Moment, &mut Cluster)>);
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_full_storage_is_told_and_waited_for() {
    let mut bulk = Bulk::ready().await;
    let full = |full: bool| {
        move |c: &mut Cluster| {
            let ssd = c.storages.get_mut("ssd").unwrap();
            (ssd.full, ssd.preallocate) = (full, full);
        }
    };
    bulk.stage.lab.with(full(true));
    bulk.ask();
    bulk.until_told(&[
        "Refused",
        "No space left on device",
        "make room on that storage",
    ])
    .await;
    bulk.stage.lab.with(full(false));
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_storage_that_is_disabled_is_named_and_waited_for() {
    let mut bulk = Bulk::ready().await;
    let enabled = |on: bool| move |c: &mut Cluster| c.storages.get_mut("ssd").unwrap().enabled = on;
    bulk.stage.lab.with(enabled(false));
    bulk.ask();
    bulk.until_told(&["ssd", "storage"]).await;
    bulk.stage.lab.with(enabled(true));
    bulk.ends_well().await;
}

#[tokio::test]
async fn an_image_that_vanished_is_told_and_not_made_anew() {
    let mut bulk = Bulk::ready().await;
    let name = "vm-900-pvc-b";
    let image = bulk.stage.lab.with(|cluster| {
        let ssd = cluster.storages.get_mut("ssd").unwrap();
        ssd.volumes
            .values_mut()
            .find_map(|place| place.remove(name))
            .unwrap()
    });
    bulk.ask();
    bulk.until_told(&["Stuck", name, "restore the image, or delete the Volume"])
        .await;
    bulk.stage.lab.with(|cluster| {
        let ssd = cluster.storages.get_mut("ssd").unwrap();
        ssd.volumes
            .values_mut()
            .next()
            .unwrap()
            .insert(name.to_owned(), image);
    });
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_template_that_is_gone_is_named_and_waited_for() {
    let mut bulk = Bulk::ready().await;
    let template = bulk
        .stage
        .lab
        .with(|cluster| cluster.guests.remove(&9000).unwrap());
    bulk.ask();
    bulk.until_told(&["NotFound", "template 9000 cannot be seen", "VM.Clone"])
        .await;
    bulk.stage
        .lab
        .with(|cluster| cluster.guests.insert(9000, template));
    bulk.ends_well().await;
}

#[tokio::test]
async fn lists_that_are_stale_and_go_back_mislead_nobody() {
    let mut bulk = Bulk::ready().await;
    bulk.stage.lab.with(|cluster| {
        cluster.world.lists_go_back = true;
        cluster.world.statd_stopped = true;
    });
    bulk.ask();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_configuration_that_others_write_to_is_read_again() {
    let mut bulk = Bulk::ready().await;
    let mut times = 0;
    bulk.stage
        .lab
        .before_calls(Some(move |moment: &Moment, cluster: &mut Cluster| {
            if moment.method == "POST" && moment.path.ends_with("/5010/config") && times < 5 {
                times += 1;
                let guest = cluster.guests.get_mut(&5010).unwrap();
                guest
                    .config
                    .insert("onboot".to_owned(), (times % 2).to_string());
            }
        }));
    bulk.ask();
    bulk.ends_well().await;
}

// Credentials.

#[tokio::test]
async fn a_ticket_that_expires_is_got_anew() {
    let mut bulk = Bulk::with(Config::default(), by_password).await;
    let mut calls = 0;
    bulk.stage
        .lab
        .before_calls(Some(move |_: &Moment, cluster: &mut Cluster| {
            calls += 1;
            if calls % 20 == 0 {
                cluster.ticket_key += 1;
            }
        }));
    bulk.ask();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_and_nothing_is_written() {
    let mut bulk = Bulk::ready().await;
    let enable =
        |on: bool| move |c: &mut Cluster| c.access.users.get_mut("op@pve").unwrap().enable = on;
    bulk.stage.lab.with(enable(false));
    bulk.ask();
    bulk.until_told(&["refuses the credentials", "Authentication failed"])
        .await;
    bulk.stage.lab.with(enable(true));
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_privilege_that_was_revoked_is_named() {
    let mut bulk = Bulk::ready().await;
    let (role, right) = ("BitBuilderPool", "VM.PowerMgmt");
    bulk.stage
        .lab
        .with(|c| c.access.roles.get_mut(role).unwrap().remove(right));
    bulk.ask();
    bulk.until_told(&[
        "Unauthorized",
        "grant VM.PowerMgmt on /vms/",
        "to the token",
    ])
    .await;
    bulk.stage.lab.with(|c| {
        c.access
            .roles
            .get_mut(role)
            .unwrap()
            .insert(right.to_owned())
    });
    bulk.ends_well().await;
}

#[tokio::test]
async fn guests_that_we_may_no_longer_see_are_not_taken_for_gone() {
    let mut bulk = Bulk::ready().await;
    let (role, right) = ("BitBuilderPool", "VM.Audit");
    bulk.stage
        .lab
        .with(|c| c.access.roles.get_mut(role).unwrap().remove(right));
    bulk.ask();
    bulk.until_told(&["5016", "cannot be seen"]).await;
    bulk.until_told(&["5010", "cannot be seen"]).await;
    bulk.stage.lab.with(|c| {
        c.access
            .roles
            .get_mut(role)
            .unwrap()
            .insert(right.to_owned())
    });
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_certificate_that_changed_is_shown_and_nothing_is_sent() {
    let mut bulk = Bulk::ready().await;
    let other = bulk.stage.lab.exchange_certificate().unwrap();
    // Connections from before go on; this one ends.
    bulk.stage
        .lab
        .faults()
        .add(Fault::new(Action::CloseBefore).times(8));
    bulk.ask();
    bulk.until_told(&["is not trusted"]).await;
    bulk.stage.lab.faults().clear();
    bulk.stage.lab.ca_pem = other.cert_pem;
    bulk.stage.restart().await;
    bulk.ends_well().await;
}
