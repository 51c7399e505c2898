//! Who may do what, and the words and the order of refusals.

use serde_json::json;

use super::{Desk, words};
use crate::access::{Grant, Subject};

#[test]
fn a_clone_is_refused_in_the_order_of_source_room_and_bridge() {
    let mut desk = Desk::new();
    let clone = "POST /nodes/pve1/qemu/9000/clone";
    let params = json!({ "newid": 5000, "pool": "bitbuilder" });
    let all: Vec<Grant> = desk.cluster.access.acl.iter().cloned().collect();
    let keep = |desk: &mut Desk, gone: &[&str]| {
        let left = all
            .iter()
            .filter(|g| !gone.contains(&g.path.as_str()))
            .cloned();
        desk.cluster.access.acl = left.collect();
    };
    let steps: [(&[&str], &str); 3] = [
        (
            &["/vms/9000", "/storage/ssd", "/sdn/zones/localnetwork"],
            "403 Permission check failed (/vms/9000, VM.Clone)",
        ),
        (
            &["/storage/ssd", "/sdn/zones/localnetwork"],
            "403 Permission check failed (/storage/ssd, Datastore.AllocateSpace)",
        ),
        (
            &["/sdn/zones/localnetwork"],
            "403 Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)",
        ),
    ];
    for (gone, wanted) in steps {
        keep(&mut desk, gone);
        assert_eq!(words(desk.by_token(clone, &params)), wanted);
    }
    keep(&mut desk, &[]);
    desk.by_token(clone, &params).expect("nothing is missing");
}

#[test]
fn the_user_alone_or_the_token_alone_is_not_enough() {
    for subject in [Subject::User, Subject::Token] {
        let mut desk = Desk::new();
        desk.cluster
            .access
            .acl
            .retain(|g| g.path != "/vms/9000" || g.subject == subject);
        let params = json!({ "newid": 5000, "pool": "bitbuilder" });
        assert_eq!(
            words(desk.by_token("POST /nodes/pve1/qemu/9000/clone", &params)),
            "403 Permission check failed (/vms/9000, VM.Clone)"
        );
    }
}

#[test]
fn a_foreign_guest_is_invisible_and_untouchable() {
    let mut desk = Desk::new();
    let list = desk
        .by_token("GET /cluster/resources", &json!({ "type": "vm" }))
        .expect("a list");
    let seen: Vec<_> = list
        .as_array()
        .expect("rows")
        .iter()
        .map(|r| r["vmid"].clone())
        .collect();
    assert_eq!(seen, [json!(900), json!(9000)]);
    for (call, right) in [
        ("GET /nodes/pve1/qemu/101/config", "VM.Audit"),
        ("POST /nodes/pve1/qemu/101/status/stop", "VM.PowerMgmt"),
        ("DELETE /nodes/pve1/qemu/101", "VM.Allocate"),
    ] {
        assert_eq!(
            words(desk.by_token(call, &json!({}))),
            format!("403 Permission check failed (/vms/101, {right})")
        );
    }
    assert_eq!(
        words(desk.by_token(
            "POST /nodes/pve1/qemu/9000/clone",
            &json!({ "newid": 101, "pool": "bitbuilder" })
        )),
        "500 unable to create VM 101: config file already exists"
    );
}

#[test]
fn without_a_pool_a_clone_is_refused_without_a_word_why() {
    let mut desk = Desk::new();
    assert_eq!(
        words(desk.by_token(
            "POST /nodes/pve1/qemu/9000/clone",
            &json!({ "newid": 5000 })
        )),
        "403 Permission check failed"
    );
    assert_eq!(
        words(desk.by_root(
            "POST /nodes/pve1/qemu/9000/clone",
            &json!({ "newid": 5000, "pool": "nosuch" })
        )),
        "403 Permission check failed (pool 'nosuch' does not exist)"
    );
}

#[test]
fn a_guest_that_left_the_pool_is_refused_like_one_that_never_was() {
    let mut desk = Desk::new();
    desk.clone_to(5000);
    let token = desk.token.clone();
    desk.done(
        &token,
        "DELETE /nodes/pve1/qemu/5000",
        &json!({ "purge": 1 }),
    );
    let gone = words(desk.by_token("GET /nodes/pve1/qemu/5000/config", &json!({})));
    assert_eq!(gone, "403 Permission check failed (/vms/5000, VM.Audit)");
    assert_eq!(
        words(desk.by_root("GET /nodes/pve1/qemu/5000/config", &json!({}))),
        "500 Configuration file 'nodes/pve1/qemu-server/5000.conf' does not exist"
    );
    assert_eq!(
        desk.by_token("GET /cluster/nextid", &json!({ "vmid": 5000 }))
            .expect("it is free"),
        "5000"
    );
}

#[test]
fn a_resize_without_room_is_refused_in_the_task() {
    let mut desk = Desk::new();
    desk.clone_to(5000);
    desk.cluster.access.acl.retain(|g| g.path != "/storage/ssd");
    let params = json!({ "disk": "scsi0", "size": "9G" });
    let upid = desk
        .by_token("PUT /nodes/pve1/qemu/5000/resize", &params)
        .expect("a task");
    assert_eq!(
        desk.finish(&upid),
        "403 Permission check failed (/storage/ssd, Datastore.AllocateSpace)"
    );
}

#[test]
fn permissions_list_what_a_probe_needs_to_know() {
    let mut desk = Desk::new();
    let held = desk
        .by_token("GET /access/permissions", &json!({}))
        .expect("a map");
    assert_eq!(
        held["/vms/900"],
        json!({ "VM.Audit": 1, "VM.Config.Disk": 1 })
    );
    assert_eq!(held["/storage/ssd"]["Datastore.Allocate"], 1);
    assert!(held.get("/vms").is_none() && held.get("/").is_none());
    desk.clone_to(5000);
    let held = desk
        .by_token("GET /access/permissions", &json!({}))
        .expect("a map");
    assert_eq!(
        held["/vms/5000"]["VM.PowerMgmt"], 0,
        "by membership, so not for what is below"
    );
}

#[test]
fn an_unknown_node_and_an_unknown_key_are_named() {
    let mut desk = Desk::new();
    let text = words(desk.by_root("GET /nodes/nosuch/qemu", &json!({})));
    assert!(
        text.starts_with("500 hostname lookup 'nosuch' failed"),
        "{text}"
    );
    let refusal = desk
        .by_root("GET /nodes/pve1/qemu/9000/config", &json!({ "foo": 1 }))
        .expect_err("no such parameter");
    assert_eq!(refusal.errors["foo"], crate::refusal::NOT_IN_SCHEMA);
    desk.cluster.nodes.get_mut("pve2").expect("a node").online = false;
    assert_eq!(
        words(desk.by_root("GET /nodes/pve2/qemu", &json!({}))),
        "595 No route to host"
    );
}
