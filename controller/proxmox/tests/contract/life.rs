//! Shows the whole life of guests and volumes, and what it costs.

use bb_core::proxmox::model::{Fate, GuestState, More, Power, VolumeState};

use crate::stage::{HOLDER, Stage, attachment, container, vm, volume};

#[tokio::test]
async fn a_virtual_machine_with_a_volume_lives_and_leaves_nothing() {
    let mut stage = Stage::new().await;
    let before = stage.lab.snapshot();
    stage.desired.guests = vec![vm(5001, &["v1"])];
    stage.desired.volumes = vec![volume("v1", Some("guest-5001"))];
    stage.settle().await;

    assert_eq!(stage.runs(5001), Some(true));
    let has = |key| stage.config(5001, key).unwrap();
    assert_eq!(has("description"), "bitbuilder c1/guest-5001 acme/web5001");
    assert_eq!((has("cores"), has("memory")), ("2".into(), "1024".into()));
    assert!(has("net0").contains("tag=100") && has("net0").contains("BC:24:11:00:13:89"));
    assert_eq!(has("ipconfig0"), "ip=10.0.0.9/24,gw=10.0.0.1");
    assert!(has("scsi0").contains("size=8G"), "{}", has("scsi0"));
    assert!(
        has("scsi1").contains("ssd:vm-900-pvc-v1,"),
        "{}",
        has("scsi1")
    );
    assert!(
        has("tags").contains("template") && has("tags").contains("bb-"),
        "{}",
        has("tags")
    );
    let seen = &stage.last.volumes["v1"];
    assert_eq!(seen.state, VolumeState::Settled { size_gib: 10 });

    stage.clear().await;
    let after = stage.lab.snapshot();
    for part in ["guests", "storages", "pools", "access"] {
        assert_eq!(after[part], before[part], "{part}");
    }
}

#[tokio::test]
async fn a_container_lives_and_leaves_nothing() {
    let mut stage = Stage::new().await;
    let before = stage.lab.snapshot();
    stage.desired.guests = vec![container(5002)];
    stage.settle().await;
    assert_eq!(stage.runs(5002), Some(true));
    let has = |key| stage.config(5002, key).unwrap();
    assert_eq!(has("hostname"), "web5002");
    assert!(has("net0").contains("tag=100") && has("net0").contains("ip=10.0.0.9/24"));
    assert!(has("rootfs").contains("size=4G"));

    stage.desired.guests[0].memory_mib = 2048;
    stage.desired.guests[0].disk_gib = Some(6);
    stage.settle().await;
    assert_eq!(stage.config(5002, "memory").unwrap(), "2048");
    assert!(stage.config(5002, "rootfs").unwrap().contains("size=6G"));

    stage.clear().await;
    assert_eq!(stage.lab.snapshot()["guests"], before["guests"]);
    assert_eq!(stage.lab.snapshot()["storages"], before["storages"]);
}

#[tokio::test]
async fn a_settled_cluster_costs_two_list_calls_and_no_write() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &["v1"]), container(5002)];
    stage.desired.volumes = vec![volume("v1", Some("guest-5001")), volume("v2", None)];
    stage.settle().await;
    // While the cluster's list lags behind what was just done, a node's own is asked as well.
    stage.lab.statd_round();
    let before = stage.lab.snapshot();
    for restart in [false, true] {
        if restart {
            stage.restart().await;
        }
        let from = stage.lab.journal().len();
        stage.settle().await;
        assert_eq!(stage.last.more, More::Idle);
        let want = [
            "GET /cluster/resources",
            "GET /nodes/pve1/storage/ssd/content",
        ];
        let calls: Vec<String> = stage
            .calls(from)
            .iter()
            .map(|call| call.replace("/api2/json", ""))
            .collect();
        assert_eq!(calls, want);
    }
    let after = stage.lab.snapshot();
    assert_eq!(after["guests"], before["guests"]);
}

#[tokio::test]
async fn a_virtual_machine_takes_five_requests_of_its_own() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &[])];
    let from = stage.lab.journal().len();
    stage.settle().await;
    let own: Vec<String> = stage
        .calls(from)
        .into_iter()
        .filter(|call| call.contains("5001") || call.contains("/clone"))
        .collect();
    assert_eq!(own.len(), 5, "{own:#?}");
    assert_eq!(
        own.iter().filter(|call| call.ends_with("/clone")).count(),
        1
    );
}

#[tokio::test]
async fn the_end_of_a_virtual_machine_takes_at_most_eight_requests_of_its_own() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &[])];
    stage.settle().await;
    stage.lab.statd_round();
    let from = stage.lab.journal().len();
    stage.clear().await;
    // To shut it down and to destroy it: a look, another right in front of the call, the call.
    // Then whether its number is free, and whether a disk stayed.
    let own: Vec<String> = stage
        .calls(from)
        .into_iter()
        .filter(|call| call.contains("5001") || call.ends_with("/cluster/nextid"))
        .collect();
    assert!(own.len() <= 8, "{own:#?}");
}

#[tokio::test]
async fn changes_reach_a_running_machine_and_what_needs_a_restart_is_named() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &[])];
    stage.settle().await;
    stage.desired.guests[0].memory_mib = 4096;
    stage.desired.guests[0].disk_gib = Some(20);
    stage.settle().await;
    assert!(stage.config(5001, "scsi0").unwrap().contains("size=20G"));
    assert_eq!(stage.last.guests["guest-5001"].pending, ["memory"]);
    stage.pass().await;
    assert_eq!(
        stage.last.guests["guest-5001"].pending,
        ["memory"],
        "it is not forgotten"
    );

    stage.desired.guests[0].power = Power::Stopped;
    stage.settle().await;
    assert_eq!(stage.runs(5001), Some(false));
    assert_eq!(stage.config(5001, "memory").unwrap(), "4096");
    assert!(stage.last.guests["guest-5001"].pending.is_empty());
    assert_eq!(stage.config(5001, "onboot").unwrap(), "0");
}

#[tokio::test]
async fn a_volume_moves_grows_and_is_kept() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &["v1"]), vm(5002, &[])];
    stage.desired.volumes = vec![volume("v1", Some("guest-5001"))];
    stage.settle().await;
    stage.desired.guests[0].volumes.clear();
    stage.desired.guests[1].volumes = vec![attachment("v1")];
    stage.desired.volumes[0].attached_to = Some("guest-5002".into());
    stage.settle().await;
    assert_eq!(stage.config(5001, "scsi1"), None);
    assert!(
        stage
            .config(5002, "scsi1")
            .unwrap()
            .contains("vm-900-pvc-v1")
    );

    stage.desired.volumes[0].size_gib = 15;
    stage.desired.volumes[0].settled = false;
    stage.settle().await;
    assert!(stage.config(5002, "scsi1").unwrap().contains("size=15G"));

    stage
        .desired
        .guests
        .iter_mut()
        .for_each(|guest| guest.fate = Fate::Destroy);
    stage.desired.volumes[0].fate = Fate::Release;
    stage
        .until("gone", |r| {
            r.guests
                .values()
                .all(|guest| guest.state == GuestState::Gone)
        })
        .await;
    let kept = stage.lab.with(|cluster| {
        cluster.storages["ssd"]
            .volumes
            .values()
            .any(|all| all.contains_key("vm-900-pvc-v1"))
    });
    assert!(kept);
}

#[tokio::test]
async fn guests_of_others_stay_as_they_are_to_the_byte() {
    let mut stage = Stage::new().await;
    let foreign = |stage: &Stage| {
        stage.lab.with(|cluster| {
            [101, 102, HOLDER, 9000].map(|id| format!("{:?}", cluster.guests[&id].config))
        })
    };
    let before = foreign(&stage);
    stage.desired.guests = vec![vm(5001, &["v1"]), container(5002)];
    stage.desired.volumes = vec![volume("v1", Some("guest-5001"))];
    stage.settle().await;
    stage.clear().await;
    assert_eq!(foreign(&stage), before);
}

#[tokio::test]
async fn a_guest_without_our_mark_is_neither_changed_nor_destroyed() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &[])];
    stage.settle().await;
    stage.edit(5001, "description", "bitbuilder c2/guest-5001 else/web");
    let before = stage.lab.snapshot()["guests"].clone();

    stage.desired.guests[0].cores = 8;
    stage.pass().await;
    let GuestState::Held { message, .. } = stage.state("guest-5001") else {
        panic!("{:?}", stage.last);
    };
    assert!(message.contains("bitbuilder c2/guest-5001"), "{message}");

    stage.desired.guests[0].fate = Fate::Destroy;
    stage.pass().await;
    assert!(matches!(stage.state("guest-5001"), GuestState::Held { .. }));
    assert_eq!(stage.lab.snapshot()["guests"], before);
}

#[tokio::test]
async fn a_vmid_that_a_stranger_has_is_given_back() {
    let mut stage = Stage::new().await;
    // 101 is out of our sight: neither its pool nor its path is ours.
    stage.desired.guests = vec![vm(101, &[])];
    stage
        .until("taken", |report| {
            matches!(
                report.guests["guest-101"].state,
                GuestState::VmidTaken { .. }
            )
        })
        .await;
    stage.desired.guests[0].fate = Fate::Destroy;
    stage.clear().await;
    assert_eq!(stage.runs(101), Some(true));
}

#[tokio::test]
async fn drift_that_the_lists_do_not_show_is_found_by_a_recheck() {
    let mut stage = Stage::new().await;
    stage.desired.guests = vec![vm(5001, &[])];
    stage.settle().await;
    stage.edit(5001, "nameserver", "192.0.2.1");
    stage.settle().await;
    assert_eq!(stage.config(5001, "nameserver").unwrap(), "192.0.2.1");
    stage.driver.recheck();
    stage.settle().await;
    assert_eq!(stage.config(5001, "nameserver").unwrap(), "10.0.0.1");
}

#[tokio::test]
async fn many_machines_share_the_lists_and_keep_within_the_limits() {
    let mut stage = Stage::new().await;
    stage.desired.cluster.clones = 8;
    stage.desired.guests = (0..40).map(|nth| vm(5000 + nth, &[])).collect();
    for (nth, guest) in stage.desired.guests.iter_mut().enumerate() {
        guest.namespace = format!("tenant-{}", nth % 5);
    }
    stage.settle().await;
    let requests = stage.lab.journal().len();
    assert!(requests <= 40 * 7, "{requests} requests for 40 machines");
    for (call, most) in [
        ("/clone", 40),
        ("/config", 40),
        ("/resize", 40),
        ("/status/start", 40),
    ] {
        let made = stage
            .calls(0)
            .iter()
            .filter(|made| made.ends_with(call))
            .count();
        assert_eq!(made, most, "{call}");
    }
    stage.clear().await;
    assert_eq!(stage.lab.with(|cluster| cluster.guests.len()), 4);
    let counters = stage.lab.counters();
    let writes: Vec<_> = counters
        .iter()
        .filter(|(name, _)| name.starts_with("in flight ") && name.contains("50"))
        .collect();
    assert!(
        writes.len() >= 40 && writes.iter().all(|(_, most)| **most == 1),
        "{writes:?}"
    );
}
