//! Ids are taken once; what is being made is hidden until it is done.

use serde_json::json;

use super::{Desk, words};

const CLONE: &str = "POST /nodes/pve1/qemu/9000/clone";

#[test]
fn of_two_clones_to_one_id_the_second_fails_in_its_task() {
    let mut desk = Desk::new();
    let params = |name: &str| json!({ "newid": 5000, "pool": "bitbuilder", "name": name });
    let first = desk.by_token(CLONE, &params("a")).expect("the id is free");
    let second = desk
        .by_token(CLONE, &params("b"))
        .expect("the id is still free");
    assert_eq!(desk.finish(&first), "OK");
    assert_eq!(
        desk.finish(&second),
        "unable to create VM 5000: config file already exists"
    );
    assert_eq!(desk.cluster.guests[&5000].config["name"], "a");
}

#[test]
fn of_two_creates_of_one_id_the_second_is_refused_at_once() {
    let mut desk = Desk::new();
    let create = "POST /nodes/pve1/qemu";
    let params = json!({ "vmid": 5000 });
    desk.by_root(create, &params).expect("the id is free");
    // The first still works on it, so the second waits for its lock before it is told.
    let refusal = desk.by_root(create, &params).expect_err("the id is taken");
    assert_eq!(
        refusal.reason,
        "unable to create VM 5000 - VM 5000 already exists on node 'pve1'"
    );
}

#[test]
fn a_token_with_rights_by_pool_sees_a_clone_only_once_it_is_done() {
    let mut desk = Desk::new();
    let params = json!({ "newid": 5000, "pool": "bitbuilder", "full": 1, "description": "mark" });
    let upid = desk.by_token(CLONE, &params).expect("the clone is taken");
    desk.pass(1.0);
    let config = "GET /nodes/pve1/qemu/5000/config";
    assert_eq!(
        words(desk.by_token(config, &json!({}))),
        "403 Permission check failed (/vms/5000, VM.Audit)"
    );
    let seen = desk.by_root(config, &json!({})).expect("root sees it");
    assert_eq!(
        (&seen["lock"], &seen["description"]),
        (&json!("clone"), &json!("mark"))
    );
    assert_eq!(
        words(desk.by_token("GET /cluster/nextid", &json!({ "vmid": 5000 }))),
        "400 Parameter verification failed."
    );
    assert_eq!(desk.finish(&upid), "OK");
    let seen = desk
        .by_token(config, &json!({}))
        .expect("the pool has it now");
    assert!(seen.get("lock").is_none());
    assert_eq!(
        (&seen["description"], &seen["tags"]),
        (&json!("mark"), &json!("template"))
    );
}

#[test]
fn right_after_its_claim_a_clone_shows_nothing_of_what_it_will_be() {
    let mut desk = Desk::new();
    desk.by_token(
        CLONE,
        &json!({ "newid": 5000, "pool": "bitbuilder", "full": 1 }),
    )
    .expect("the clone is taken");
    desk.pass(0.05);
    let mut seen = desk
        .by_root("GET /nodes/pve1/qemu/5000/config", &json!({}))
        .expect("root sees it");
    seen.as_object_mut().expect("a config").remove("digest");
    assert_eq!(
        seen,
        json!({ "lock": "clone", "description": " qmclone temporary file" })
    );
}

#[test]
fn a_killed_clone_leaves_its_lock_its_id_and_a_volume_in_no_config() {
    let mut desk = Desk::new();
    let params = json!({ "newid": 5000, "pool": "bitbuilder", "full": 1 });
    let upid = desk.by_token(CLONE, &params).expect("the clone is taken");
    desk.pass(1.5);
    assert!(desk.cluster.kill_task(upid.as_str().expect("a UPID")));
    assert_eq!(desk.finish(&upid), "unexpected status");
    let guest = &desk.cluster.guests[&5000];
    assert_eq!(guest.lock(), Some("clone"));
    assert!(!guest.config.contains_key("scsi0"));
    let left = desk.cluster.volumes_on("ssd", "pve1");
    assert!(
        left.iter().any(|(id, _)| id == "ssd:vm-5000-disk-0"),
        "{left:?}"
    );
    assert_eq!(
        words(desk.by_token(CLONE, &params)),
        "500 unable to create VM 5000: config file already exists"
    );
    assert_eq!(
        words(desk.by_token("DELETE /nodes/pve1/qemu/5000", &json!({}))),
        "403 Permission check failed (/vms/5000, VM.Allocate)"
    );
    let root = desk.root.clone();
    let destroy = desk
        .call(&root, "DELETE /nodes/pve1/qemu/5000", &json!({}))
        .expect("a task");
    assert_eq!(desk.finish(&destroy), "VM is locked (clone)");
    desk.done(
        &root,
        "DELETE /nodes/pve1/qemu/5000",
        &json!({ "skiplock": 1 }),
    );
    let left = desk.cluster.volumes_on("ssd", "pve1");
    assert!(
        left.iter().any(|(id, _)| id == "ssd:vm-5000-disk-0"),
        "nobody frees it"
    );
}

#[test]
fn a_clone_stopped_by_its_owner_leaves_nothing() {
    let mut desk = Desk::new();
    let before = desk.cluster.snapshot();
    let params = json!({ "newid": 5000, "pool": "bitbuilder", "full": 1 });
    let upid = desk.by_token(CLONE, &params).expect("the clone is taken");
    desk.pass(1.0);
    let path = format!(
        "DELETE /nodes/pve1/tasks/{}",
        upid.as_str().expect("a UPID")
    );
    desk.by_token(&path, &json!({}))
        .expect("the task is the token's own");
    let exit = desk.finish(&upid);
    assert!(
        exit.starts_with("clone failed: copy failed: command '"),
        "{exit}"
    );
    assert!(exit.ends_with("failed: interrupted by signal"), "{exit}");
    assert_eq!(desk.cluster.snapshot(), before);
}

#[test]
fn a_clone_that_finds_no_room_leaves_nothing() {
    let mut desk = Desk::new();
    desk.cluster
        .storages
        .get_mut("ssd")
        .expect("a storage")
        .full = true;
    let before = desk.cluster.snapshot();
    let params = json!({ "newid": 5000, "pool": "bitbuilder", "full": 1 });
    let upid = desk.by_token(CLONE, &params).expect("the clone is taken");
    let exit = desk.finish(&upid);
    assert!(
        exit.starts_with("clone failed: copy failed: command '"),
        "{exit}"
    );
    assert_eq!(desk.cluster.snapshot(), before);
}

#[test]
fn a_template_with_linked_clones_stays_whole() {
    let mut desk = Desk::new();
    desk.clone_to(5000);
    let before = desk.cluster.snapshot();
    let upid = desk
        .by_root("DELETE /nodes/pve1/qemu/9000", &json!({}))
        .expect("a task");
    assert_eq!(
        desk.finish(&upid),
        "base volume 'ssd:base-9000-disk-0' is still in use by linked cloned"
    );
    assert_eq!(desk.cluster.snapshot(), before);
}

#[test]
fn a_guest_cannot_be_cloned_to_a_node_that_lacks_its_disk() {
    let mut desk = Desk::new();
    desk.clone_to(5000);
    desk.by_root(
        "PUT /nodes/pve1/qemu/5000/config",
        &json!({ "scsi1": "local:1" }),
    )
    .expect("a local disk");
    let params = json!({ "newid": 5001, "full": 1, "target": "pve2" });
    assert_eq!(
        words(desk.by_root("POST /nodes/pve1/qemu/5000/clone", &params)),
        "500 can't clone VM to node 'pve2' (VM uses local storage)"
    );
}

#[test]
fn a_container_is_made_from_an_archive_and_only_once() {
    let mut desk = Desk::new();
    let params = json!({
        "vmid": 5000, "ostemplate": "local:vztmpl/alpine-3.20.tar.zst", "pool": "bitbuilder",
        "rootfs": "ssd:2", "hostname": "c", "net0": "name=eth0,bridge=vmbr0,ip=dhcp",
        "unprivileged": 1, "ssh-public-keys": "ssh-ed25519 AAAA",
    });
    let who = desk.token.clone();
    desk.done(&who, "POST /nodes/pve1/lxc", &params);
    assert_eq!(
        words(desk.by_token("POST /nodes/pve1/lxc", &params)),
        "500 CT 5000 already exists on node 'pve1'"
    );
    let config = desk
        .by_token("GET /nodes/pve1/lxc/5000/config", &json!({}))
        .expect("the pool has it");
    assert_eq!(config["rootfs"], "ssd:vm-5000-disk-0,size=2G");
    assert_eq!(config["ostype"], "alpine");
    assert_eq!(
        words(desk.by_token("POST /nodes/pve1/lxc/5000/status/stop", &json!({}))),
        "500 CT 5000 not running"
    );
}
