//! What a config write does at once, later, or not at all.

use serde_json::{Value, json};

use super::{Desk, words};

const CONFIG: &str = "PUT /nodes/pve1/qemu/5000/config";

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.clone_to(5000);
    desk
}

fn read(desk: &mut Desk) -> Value {
    desk.by_token("GET /nodes/pve1/qemu/5000/config", &json!({}))
        .expect("the config")
}

fn start(desk: &mut Desk) {
    let who = desk.token.clone();
    desk.done(&who, "POST /nodes/pve1/qemu/5000/status/start", &json!({}));
}

#[test]
fn a_digest_of_another_state_is_refused_and_nothing_changes() {
    let mut desk = desk();
    let digest = read(&mut desk)["digest"].clone();
    desk.by_token(CONFIG, &json!({ "cores": 3 }))
        .expect("a change");
    assert_ne!(read(&mut desk)["digest"], digest);
    let params = json!({ "cores": 4, "digest": digest });
    let text = "500 checksum mismatch (file change by other user?)";
    assert_eq!(words(desk.by_token(CONFIG, &params)), text);
    assert_eq!(
        words(desk.by_token("POST /nodes/pve1/qemu/5000/config", &params)),
        text
    );
    // A resize judges it in the task.
    let params = json!({ "disk": "scsi0", "size": "3G", "digest": digest });
    let upid = desk
        .by_token("PUT /nodes/pve1/qemu/5000/resize", &params)
        .expect("a task");
    assert_eq!(
        desk.finish(&upid),
        "checksum mismatch (file change by other user?)"
    );
    assert_eq!(read(&mut desk)["cores"], 3);
}

#[test]
fn an_undone_change_gives_the_old_digest_back() {
    let mut desk = desk();
    let digest = read(&mut desk)["digest"].clone();
    desk.by_token(CONFIG, &json!({ "description": "other" }))
        .expect("a change");
    desk.by_token(CONFIG, &json!({ "description": "mark" }))
        .expect("and back");
    assert_eq!(read(&mut desk)["digest"], digest);
}

#[test]
fn memory_of_a_running_guest_waits_for_its_stop() {
    let mut desk = desk();
    start(&mut desk);
    desk.by_token(CONFIG, &json!({ "memory": 4096, "name": "now" }))
        .expect("taken");
    assert_eq!(
        read(&mut desk)["memory"],
        "4096",
        "the config shows what will be"
    );
    let current = json!({ "current": 1 });
    let now = desk
        .by_token("GET /nodes/pve1/qemu/5000/config", &current)
        .expect("the config");
    assert_eq!(
        (&now["memory"], &now["name"]),
        (&json!("2048"), &json!("now"))
    );
    let rows = desk
        .by_token("GET /nodes/pve1/qemu/5000/pending", &json!({}))
        .expect("rows");
    let memory = rows
        .as_array()
        .expect("rows")
        .iter()
        .find(|r| r["key"] == "memory");
    assert_eq!(memory.expect("a row")["pending"], "4096");
    let who = desk.token.clone();
    desk.done(&who, "POST /nodes/pve1/qemu/5000/status/stop", &json!({}));
    let now = desk
        .by_token("GET /nodes/pve1/qemu/5000/config", &current)
        .expect("the config");
    assert_eq!(now["memory"], "4096");
}

#[test]
fn a_refused_unplug_of_the_boot_disk_stays_pending() {
    let mut desk = desk();
    start(&mut desk);
    let refusal = desk
        .by_token(CONFIG, &json!({ "delete": "scsi0" }))
        .expect_err("it boots from it");
    assert_eq!(
        refusal.errors["scsi0"],
        "hotplug problem - can't unplug bootdisk 'scsi0'\n"
    );
    let pending = &desk.cluster.guests[&5000].pending;
    assert!(pending.contains_key("scsi0") && pending.contains_key("boot"));
    desk.by_token(CONFIG, &json!({ "revert": "scsi0" }))
        .expect("the way back");
    let pending = &desk.cluster.guests[&5000].pending;
    assert!(
        !pending.contains_key("scsi0") && pending.contains_key("boot"),
        "boot stays"
    );
}

#[test]
fn a_hung_qemu_leaves_an_attach_pending_and_revert_undoes_it() {
    let mut desk = desk();
    start(&mut desk);
    let alloc = json!({ "vmid": 900, "filename": "vm-900-a", "size": "1G" });
    desk.by_token("POST /nodes/pve1/storage/ssd/content", &alloc)
        .expect("a volume");
    desk.cluster.world.hung.insert(5000);
    let refusal = desk
        .by_token(CONFIG, &json!({ "scsi1": "ssd:vm-900-a" }))
        .expect_err("QEMU is silent");
    assert_eq!(refusal.status, 400);
    assert!(desk.cluster.guests[&5000].pending.contains_key("scsi1"));
    desk.by_token(CONFIG, &json!({ "revert": "scsi1" }))
        .expect("the way back");
    assert!(desk.cluster.guests[&5000].pending.is_empty());
    assert!(
        desk.cluster
            .volume("pve1", "ssd:vm-900-a")
            .expect("readable")
            .is_some()
    );
}

#[test]
fn tags_are_sorted_by_an_update_but_not_by_a_create() {
    let mut desk = desk();
    desk.by_token(CONFIG, &json!({ "tags": "b;a;B" }))
        .expect("tags");
    assert_eq!(read(&mut desk)["tags"], "a;b");
    let root = desk.root.clone();
    desk.done(
        &root,
        "POST /nodes/pve1/qemu",
        &json!({ "vmid": 5001, "tags": "Zeta;alpha" }),
    );
    assert_eq!(desk.cluster.guests[&5001].config["tags"], "Zeta;alpha");
}

#[test]
fn a_size_in_a_disk_line_does_not_grow_the_disk() {
    let mut desk = desk();
    let line = read(&mut desk)["scsi0"]
        .as_str()
        .expect("a disk")
        .replace("size=2G", "size=9G");
    desk.by_token(CONFIG, &json!({ "scsi0": format!("{line},serial=r") }))
        .expect("taken");
    assert_eq!(
        read(&mut desk)["scsi0"],
        "ssd:base-9000-disk-0/vm-5000-disk-0,serial=r,size=2G"
    );
}

#[test]
fn a_shrink_is_an_error_of_the_task_and_the_same_size_is_fine() {
    let mut desk = desk();
    let resize = "PUT /nodes/pve1/qemu/5000/resize";
    for (size, exit) in [
        ("4G", "OK"),
        ("4G", "OK"),
        ("1G", "shrinking disks is not supported"),
    ] {
        let upid = desk.by_token(resize, &json!({ "disk": "scsi0", "size": size }));
        assert_eq!(desk.finish(&upid.expect("a task")), exit, "{size}");
    }
}

#[test]
fn lists_know_a_fresh_guest_only_after_a_round_of_the_status_daemon() {
    let mut desk = desk();
    desk.cluster.guests.get_mut(&5000).expect("the guest").seen = None;
    let row = |desk: &mut Desk| {
        let rows = desk.by_token("GET /cluster/resources", &json!({ "type": "vm" }));
        let rows = rows.expect("a list");
        rows.as_array()
            .expect("rows")
            .iter()
            .find(|r| r["vmid"] == 5000)
            .cloned()
            .expect("a row")
    };
    let fresh = row(&mut desk);
    assert_eq!(
        (&fresh["status"], &fresh["tags"]),
        (&json!("unknown"), &json!("template"))
    );
    assert!(fresh.get("name").is_none() && fresh.get("maxmem").is_none());
    desk.pass(10.0);
    let known = row(&mut desk);
    assert_eq!(
        (&known["status"], &known["name"]),
        (&json!("stopped"), &json!("g5000"))
    );
    start(&mut desk);
    assert_eq!(row(&mut desk)["status"], "stopped", "late by up to a round");
    desk.pass(10.0);
    assert_eq!(row(&mut desk)["status"], "running");
}

#[test]
fn lists_may_go_back_and_may_stand_still_without_a_word() {
    let mut desk = desk();
    let status = |desk: &mut Desk| {
        let rows = desk.by_token("GET /cluster/resources", &json!({ "type": "vm" }));
        let rows = rows.expect("a list");
        let row = rows
            .as_array()
            .expect("rows")
            .iter()
            .find(|r| r["vmid"] == 5000);
        row.expect("a row")["status"].clone()
    };
    desk.pass(10.0);
    start(&mut desk);
    desk.pass(10.0);
    desk.cluster.world.lists_go_back = true;
    let seen = [status(&mut desk), status(&mut desk), status(&mut desk)];
    assert!(
        seen.contains(&json!("stopped")) && seen.contains(&json!("running")),
        "{seen:?}"
    );
    desk.cluster.world.lists_go_back = false;
    desk.cluster.world.statd_stopped = true;
    let token = desk.token.clone();
    desk.done(&token, "POST /nodes/pve1/qemu/5000/status/stop", &json!({}));
    desk.pass(100.0);
    assert_eq!(
        status(&mut desk),
        "running",
        "the last value stays for ever"
    );
}
