//! Volumes under a holder: their name decides who they go with.

use serde_json::{Value, json};

use super::{Desk, words};

const CONTENT: &str = "POST /nodes/pve1/storage/ssd/content";
const CONFIG: &str = "PUT /nodes/pve1/qemu/5000/config";
const VOLID: &str = "ssd:vm-900-data";

fn alloc() -> Value {
    json!({ "vmid": 900, "filename": "vm-900-data", "size": "1G" })
}

/// A guest, and a volume of the holder.
fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.clone_to(5000);
    desk.by_token(CONTENT, &alloc()).expect("a volume");
    desk
}

fn is_there(desk: &Desk, volid: &str) -> bool {
    desk.cluster
        .volume("pve1", volid)
        .expect("a readable name")
        .is_some()
}

#[test]
fn a_name_is_given_once() {
    let mut desk = desk();
    assert_eq!(
        words(desk.by_token(CONTENT, &alloc())),
        "500 rbd create 'vm-900-data' error: rbd: create error: (17) File exists"
    );
    let wrong = json!({ "vmid": 900, "filename": "data", "size": "1G" });
    assert_eq!(
        words(desk.by_token(CONTENT, &wrong)),
        "500 illegal name 'data' - should be 'vm-900-*'"
    );
}

#[test]
fn attach_and_detach_may_be_repeated_and_leave_no_trace() {
    let mut desk = desk();
    let before = desk.cluster.guests[&5000].digest();
    let line = json!({ "scsi1": format!("{VOLID},serial=d") });
    desk.by_token(CONFIG, &line).expect("attached");
    let attached = desk.cluster.guests[&5000].digest();
    desk.by_token(CONFIG, &line).expect("attached again");
    assert_eq!(desk.cluster.guests[&5000].digest(), attached);
    assert_eq!(
        desk.cluster.guests[&5000].config["scsi1"],
        format!("{VOLID},serial=d,size=1G")
    );
    for _ in 0..2 {
        desk.by_token(CONFIG, &json!({ "delete": "scsi1" }))
            .expect("detached");
    }
    assert_eq!(
        desk.cluster.guests[&5000].digest(),
        before,
        "no unusedN of a foreign volume"
    );
    assert!(is_there(&desk, VOLID));
}

#[test]
fn an_own_volume_becomes_unused_and_deleting_that_destroys_it() {
    let mut desk = desk();
    desk.by_token(CONFIG, &json!({ "scsi1": "ssd:1" }))
        .expect("allocated");
    desk.by_token(CONFIG, &json!({ "scsi1": "ssd:1" }))
        .expect("allocated once more");
    let config = &desk.cluster.guests[&5000].config;
    assert_eq!(
        config["unused0"], "ssd:vm-5000-disk-1",
        "the write is not idempotent"
    );
    assert_eq!(config["scsi1"], "ssd:vm-5000-disk-2,size=1G");
    desk.by_token(CONFIG, &json!({ "delete": "unused0" }))
        .expect("destroyed");
    assert!(!is_there(&desk, "ssd:vm-5000-disk-1"));
}

#[test]
fn destroying_the_guest_never_reaches_a_volume_of_the_holder() {
    for extra in [
        json!({ "purge": 1 }),
        json!({ "purge": 1, "destroy-unreferenced-disks": 1 }),
    ] {
        let mut desk = desk();
        desk.by_token(CONFIG, &json!({ "scsi1": VOLID }))
            .expect("attached");
        let token = desk.token.clone();
        desk.done(&token, "DELETE /nodes/pve1/qemu/5000", &extra);
        assert!(is_there(&desk, VOLID), "{extra}");
        assert!(!is_there(&desk, "ssd:base-9000-disk-0/vm-5000-disk-0"));
    }
}

#[test]
fn destroying_the_holder_takes_what_its_config_names_and_with_the_flag_all() {
    for (extra, stays) in [
        (json!({}), true),
        (json!({ "destroy-unreferenced-disks": 1 }), false),
    ] {
        let mut desk = desk();
        let root = desk.root.clone();
        let holder = "DELETE /nodes/pve1/qemu/900";
        assert_eq!(
            words(desk.by_root(holder, &json!({}))),
            "500 can't remove VM 900 - protection mode enabled"
        );
        desk.by_root(
            "PUT /nodes/pve1/qemu/900/config",
            &json!({ "protection": 0 }),
        )
        .expect("root");
        desk.done(&root, holder, &extra);
        assert_eq!(is_there(&desk, VOLID), stays, "{extra}");
    }
}

#[test]
fn the_token_cannot_harm_the_holder() {
    let mut desk = desk();
    for (call, params, right) in [
        ("DELETE /nodes/pve1/qemu/900", json!({}), "VM.Allocate"),
        (
            "PUT /nodes/pve1/qemu/900/config",
            json!({ "protection": 0 }),
            "VM.Config.Options",
        ),
        (
            "POST /nodes/pve1/qemu/900/status/start",
            json!({}),
            "VM.PowerMgmt",
        ),
    ] {
        assert_eq!(
            words(desk.by_token(call, &params)),
            format!("403 Permission check failed (/vms/900, {right})")
        );
    }
    desk.by_token(
        "PUT /nodes/pve1/qemu/900/config",
        &json!({ "unused0": VOLID }),
    )
    .expect("parked");
    assert_eq!(
        words(desk.by_token(
            "PUT /nodes/pve1/qemu/900/config",
            &json!({ "delete": "unused0" })
        )),
        format!("500 can't remove unused disk '{VOLID}' - protection mode enabled")
    );
}

#[test]
fn without_rights_on_the_owner_a_volume_cannot_be_attached_nor_seen() {
    let mut desk = desk();
    desk.cluster.access.acl.retain(|g| g.path != "/vms/900");
    // Datastore.Allocate is right to everything on a storage; the narrow role is not.
    let store = desk
        .cluster
        .access
        .roles
        .get_mut("BitBuilderStore")
        .expect("the role");
    store.remove("Datastore.Allocate");
    assert_eq!(
        words(desk.by_token(CONFIG, &json!({ "scsi1": VOLID }))),
        "403 Permission check failed (/vms/900, VM.Config.Disk)"
    );
    let list = "GET /nodes/pve1/storage/ssd/content";
    let seen = desk.by_token(list, &json!({})).expect("a list");
    let seen: Vec<_> = seen
        .as_array()
        .expect("rows")
        .iter()
        .map(|r| r["vmid"].clone())
        .collect();
    assert!(
        !seen.contains(&json!(900)),
        "an empty list is no proof: {seen:?}"
    );
    let delete = format!("DELETE /nodes/pve1/storage/ssd/content/{VOLID}");
    assert_eq!(
        words(desk.by_token(&delete, &json!({}))),
        "403 Permission check failed (/storage/ssd, Datastore.Allocate)"
    );
}

#[test]
fn nothing_stops_two_guests_from_attaching_one_volume() {
    let mut desk = desk();
    desk.clone_to(5001);
    for vmid in [5000, 5001] {
        let call = format!("PUT /nodes/pve1/qemu/{vmid}/config");
        desk.by_token(&call, &json!({ "scsi1": VOLID }))
            .expect("no check is made");
    }
}

#[test]
fn a_volume_that_is_gone_keeps_its_guest_from_starting() {
    let mut desk = desk();
    desk.by_token(CONFIG, &json!({ "scsi1": VOLID }))
        .expect("attached");
    let token = desk.token.clone();
    let delete = format!("DELETE /nodes/pve1/storage/ssd/content/{VOLID}");
    desk.done(&token, &delete, &json!({}));
    desk.done(&token, &delete, &json!({}));
    let start = desk.by_token("POST /nodes/pve1/qemu/5000/status/start", &json!({}));
    let exit = desk.finish(&start.expect("a task"));
    assert_eq!(exit, format!("volume '{VOLID}' does not exist"));
    desk.by_token(CONFIG, &json!({ "delete": "scsi1" }))
        .expect("detached all the same");
    assert_eq!(
        words(desk.by_token(CONFIG, &json!({ "scsi1": VOLID }))),
        format!("500 volume '{VOLID}' does not exist")
    );
}

#[test]
fn a_move_to_another_guest_renames_the_volume() {
    let mut desk = desk();
    desk.by_root(CONFIG, &json!({ "scsi1": VOLID }))
        .expect("attached");
    desk.clone_to(5001);
    let root = desk.root.clone();
    let params = json!({ "disk": "scsi1", "target-vmid": 5001 });
    desk.done(&root, "POST /nodes/pve1/qemu/5000/move_disk", &params);
    assert!(!is_there(&desk, VOLID), "the chosen name is lost");
    assert_eq!(
        desk.cluster.guests[&5001].config["scsi1"],
        "ssd:vm-5001-disk-1,size=1G"
    );
    assert!(!desk.cluster.guests[&5000].config.contains_key("scsi1"));
}

#[test]
fn a_rollback_sets_a_volume_back_whoever_has_it() {
    let mut desk = desk();
    desk.by_root(CONFIG, &json!({ "scsi1": VOLID }))
        .expect("attached");
    let root = desk.root.clone();
    let snapshot = "POST /nodes/pve1/qemu/5000/snapshot";
    desk.done(&root, snapshot, &json!({ "snapname": "s1" }));
    desk.by_root(CONFIG, &json!({ "delete": "scsi1" }))
        .expect("detached");
    let before = desk
        .cluster
        .volume("pve1", VOLID)
        .expect("readable")
        .expect("there")
        .data;
    desk.cluster.volume_mut("pve1", VOLID).expect("there").data = before + 1;
    desk.done(&root, &format!("{snapshot}/s1/rollback"), &json!({}));
    let after = desk
        .cluster
        .volume("pve1", VOLID)
        .expect("readable")
        .expect("there")
        .data;
    assert_eq!(after, before, "what was written since is lost");
    assert!(
        desk.cluster.guests[&5000].config.contains_key("scsi1"),
        "and it is back"
    );
}
