//! Two kinds of lock: the `lock` in a config, and the file lock that is waited for.

use serde_json::{Value, json};

use super::{Desk, words};

const TIMEOUT: &str = "can't lock file '/var/lock/qemu-server/lock-5000.conf' - got timeout";

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.clone_to(5000);
    desk
}

/// Starts a full copy of 5000 that runs for a long time.
fn long_clone(desk: &mut Desk) -> Value {
    desk.cluster.world.copy_mib_per_s = 16;
    let params = json!({ "newid": 5001, "full": 1 });
    let upid = desk
        .by_root("POST /nodes/pve1/qemu/5000/clone", &params)
        .expect("a task");
    desk.pass(1.0);
    upid
}

#[test]
fn a_write_on_the_source_of_a_clone_waits_ten_seconds_and_fails() {
    let mut desk = desk();
    long_clone(&mut desk);
    for vmid in [5000, 5001] {
        let call = format!("PUT /nodes/pve1/qemu/{vmid}/config");
        let refusal = desk
            .by_root(&call, &json!({ "cores": 1 }))
            .expect_err("it is held");
        assert!(
            (refusal.patience - 10.0).abs() < f64::EPSILON,
            "whoever serves it waits"
        );
        assert!(
            refusal.reason.ends_with("got timeout"),
            "{}",
            refusal.reason
        );
    }
    let create = desk.by_root("POST /nodes/pve1/qemu", &json!({ "vmid": 5001 }));
    let refusal = create.expect_err("the id is held");
    assert!((refusal.patience - 5.0).abs() < f64::EPSILON);
    assert_eq!(
        refusal.reason,
        "unable to create VM 5001 - can't lock file '/var/lock/qemu-server/lock-5001.conf' - \
         got timeout"
    );
}

#[test]
fn tasks_on_the_source_of_a_clone_give_up_after_ten_seconds() {
    let mut desk = desk();
    long_clone(&mut desk);
    for call in [
        "POST /nodes/pve1/qemu/5000/status/start",
        "DELETE /nodes/pve1/qemu/5000",
    ] {
        let began = desk.cluster.now;
        let upid = desk.by_root(call, &json!({})).expect("a task");
        assert_eq!(desk.finish(&upid), TIMEOUT, "{call}");
        let waited = desk.cluster.now - began;
        assert!((10.0..10.5).contains(&waited), "{call} waited {waited} s");
    }
}

#[test]
fn clones_of_one_source_run_side_by_side() {
    let mut desk = desk();
    let first = long_clone(&mut desk);
    let params = json!({ "newid": 5002, "full": 1 });
    let second = desk
        .by_root("POST /nodes/pve1/qemu/5000/clone", &params)
        .expect("a task");
    desk.pass(1.0);
    assert!(
        desk.cluster.guests.contains_key(&5002),
        "the second has begun"
    );
    assert_eq!(desk.finish(&first), "OK");
    assert_eq!(desk.finish(&second), "OK");
}

#[test]
fn a_lock_in_the_config_stops_writes_but_not_the_stop_of_a_stopped_guest() {
    let mut desk = desk();
    let guest = desk.cluster.guests.get_mut(&5000).expect("the guest");
    guest.config.insert("lock".into(), "backup".into());
    assert_eq!(
        words(desk.by_token("PUT /nodes/pve1/qemu/5000/config", &json!({ "cores": 1 }))),
        "500 VM is locked (backup)"
    );
    for (call, exit) in [
        (
            "POST /nodes/pve1/qemu/5000/status/start",
            "VM is locked (backup)",
        ),
        ("POST /nodes/pve1/qemu/5000/status/stop", "OK"),
        ("DELETE /nodes/pve1/qemu/5000", "VM is locked (backup)"),
    ] {
        let upid = desk.by_token(call, &json!({})).expect("a task");
        assert_eq!(desk.finish(&upid), exit, "{call}");
    }
    let refusal = desk
        .by_token(
            "PUT /nodes/pve1/qemu/5000/config",
            &json!({ "delete": "lock", "skiplock": 1 }),
        )
        .expect_err("only root may");
    assert_eq!(refusal.errors["skiplock"], "Only root may use this option.");
    desk.by_root(
        "PUT /nodes/pve1/qemu/5000/config",
        &json!({ "delete": "lock", "skiplock": 1 }),
    )
    .expect("root may");
    assert_eq!(desk.cluster.guests[&5000].lock(), None);
}

#[test]
fn a_shutdown_nobody_answers_holds_the_lock_until_it_is_overruled() {
    let mut desk = desk();
    desk.cluster.world.answers_shutdown = false;
    let token = desk.token.clone();
    desk.done(
        &token,
        "POST /nodes/pve1/qemu/5000/status/start",
        &json!({}),
    );
    let shutdown = desk
        .by_token(
            "POST /nodes/pve1/qemu/5000/status/shutdown",
            &json!({ "timeout": 60 }),
        )
        .expect("a task");
    desk.pass(1.0);
    let stop = "POST /nodes/pve1/qemu/5000/status/stop";
    let plain = desk.by_token(stop, &json!({})).expect("a task");
    assert_eq!(desk.finish(&plain), TIMEOUT);
    let overrule = desk
        .by_token(stop, &json!({ "overrule-shutdown": 1 }))
        .expect("a task");
    assert_eq!(desk.finish(&shutdown), "received interrupt");
    assert_eq!(desk.finish(&overrule), "OK");
    assert!(!desk.cluster.guests[&5000].is_running());
}

#[test]
fn a_forced_shutdown_ends_an_unwilling_guest() {
    let mut desk = desk();
    desk.cluster.world.answers_shutdown = false;
    let token = desk.token.clone();
    let shutdown = "POST /nodes/pve1/qemu/5000/status/shutdown";
    desk.done(
        &token,
        "POST /nodes/pve1/qemu/5000/status/start",
        &json!({}),
    );
    let upid = desk
        .by_token(shutdown, &json!({ "timeout": 2 }))
        .expect("a task");
    assert_eq!(desk.finish(&upid), "VM quit/powerdown failed - got timeout");
    desk.done(&token, shutdown, &json!({ "timeout": 2, "forceStop": 1 }));
    assert!(!desk.cluster.guests[&5000].is_running());
    desk.done(&token, shutdown, &json!({}));
}

#[test]
fn a_second_start_is_an_error_of_its_task() {
    let mut desk = desk();
    let start = "POST /nodes/pve1/qemu/5000/status/start";
    let first = desk.by_token(start, &json!({})).expect("a task");
    let second = desk.by_token(start, &json!({})).expect("a task");
    assert_eq!(desk.finish(&first), "OK");
    assert_eq!(desk.finish(&second), "VM 5000 already running");
}

#[test]
fn tasks_are_the_own_ones_and_running_ones_are_listed_apart() {
    let mut desk = desk();
    let upid = long_clone(&mut desk);
    let list = |desk: &mut Desk, source: &str| {
        let rows = desk.by_root("GET /nodes/pve1/tasks", &json!({ "source": source }));
        rows.expect("a list").as_array().expect("rows").clone()
    };
    let active = list(&mut desk, "active");
    assert_eq!((active.len(), &active[0]["status"]), (1, &json!("RUNNING")));
    assert!(list(&mut desk, "archive").iter().all(|r| r["upid"] != upid));
    let path = format!(
        "GET /nodes/pve1/tasks/{}/status",
        upid.as_str().expect("a UPID")
    );
    assert_eq!(
        words(desk.by_token(&path, &json!({}))),
        "403 Permission check failed (/nodes/pve1, Sys.Audit)"
    );
    assert_eq!(
        desk.by_token("GET /cluster/tasks", &json!({}))
            .expect("a list"),
        json!([])
    );
    let unknown =
        "GET /nodes/pve1/tasks/UPID:pve1:00000001:00000001:6B000000:qmstart:1:root@pam:/status";
    let refusal = desk
        .by_root(unknown, &json!({}))
        .expect_err("there is none");
    assert_eq!(refusal.errors["upid"], "no such task");
}
