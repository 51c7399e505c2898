//! What is remembered of failures, tasks and ids, by example.

use bb_core::proxmox::plan::{Guest, Owner};

use bb_crds::condition::Reason;

use super::super::failures::LONGEST;
use super::*;

fn chain() -> (Chain, Op) {
    let vmid = Vmid::try_from(5001).unwrap();
    let op = Op::Start(Guest {
        kind: Kind::Vm,
        node: "pve1".into(),
        vmid,
    });
    let owner = Owner {
        namespace: "acme".into(),
        name: "web".into(),
        kind: "Instance",
        uid: "u-1".into(),
    };
    (
        Chain {
            owner,
            key: Key::Guest(vmid),
            ops: vec![op.clone()],
            makes: None,
        },
        op,
    )
}

fn upid() -> Upid {
    Upid::parse("UPID:pve1:00000277:000CEFFE:6B03EB34:qmstart:5001:op@pve!k8s:").unwrap()
}

#[test]
fn pauses_grow_with_failures_and_end_with_success() {
    let (mut memory, (chain, op)) = (Memory::new(Instant::now()), chain());
    let now = Instant::now();
    let error = ClusterError::Refused("bridge 'x' does not exist".into());
    memory.failed(&chain, &op, &error, now);
    let rest = memory.rest("u-1", now).unwrap();
    assert_eq!(rest.reason, Some(Reason::Refused));
    assert!(rest.message.contains("start VM 5001") && rest.message.contains("bridge 'x'"));
    assert!(memory.rest("u-1", now + Duration::from_secs(3)).is_none());
    let told: Vec<&str> = memory.refused_last().map(|(uid, _)| uid).collect();
    assert_eq!(
        told,
        ["u-1"],
        "it goes on saying so while it is tried again"
    );
    memory.failed(&chain, &op, &error, now);
    assert!(memory.rest("u-1", now + Duration::from_secs(3)).is_some());
    memory.done(&chain, &op, now);
    assert!(memory.rest("u-1", now).is_none());
    assert_eq!(memory.refused_last().count(), 0);
    assert!((0..40).all(|n| pause_of(FIRST, n, "u") <= LONGEST + LONGEST / 4));
}

#[test]
fn what_was_just_done_is_not_done_again_at_once() {
    let (mut memory, (chain, op)) = (Memory::new(Instant::now()), chain());
    let now = Instant::now();
    assert!(!memory.repeats("u-1", &op, now));
    memory.done(&chain, &op, now);
    assert!(memory.repeats("u-1", &op, now));
    assert!(!memory.repeats("u-1", &op, now + Duration::from_secs(3)));
}

#[test]
fn a_task_is_followed_to_its_end_and_missing_for_long_is_unknown() {
    let (mut memory, (chain, op)) = (Memory::new(Instant::now()), chain());
    let now = Instant::now();
    memory.begun(&chain, &op, upid(), now);
    assert!(!memory.tasks.is_empty());
    memory.listed("pve1", &TaskList::new(), now, now);
    memory.listed(
        "pve2",
        &TaskList::from([(upid().text, Some(Ended::Well))]),
        now,
        now,
    );
    assert!(!memory.tasks.is_empty());
    memory.listed("pve1", &TaskList::new(), now, now + MISSING);
    assert!(memory.tasks.is_empty());
    assert!(
        memory
            .rest("u-1", now + MISSING)
            .unwrap()
            .message
            .contains("unknown")
    );
}

#[test]
fn an_id_that_is_taken_is_remembered_and_a_moved_digest_is_no_failure() {
    let (mut memory, (chain, _)) = (Memory::new(Instant::now()), chain());
    let now = Instant::now();
    let vmid = Vmid::try_from(5001).unwrap();
    let guest = Guest {
        kind: Kind::Container,
        node: "pve1".into(),
        vmid,
    };
    let build = Op::Build {
        guest,
        parameters: BTreeMap::new(),
    };
    memory.failed(
        &chain,
        &build,
        &ClusterError::Exists("CT 5001 already exists".into()),
        now,
    );
    assert!(memory.in_flight(now).refused.contains(&vmid));
    let moved = ClusterError::Moved("checksum mismatch (file change by other user?)".into());
    memory.failed(&chain, &chain.ops[0], &moved, now);
    assert!(memory.in_flight(now).resting.is_empty());
    for _ in 0..LOOKS {
        memory.failed(&chain, &chain.ops[0], &moved, now);
    }
    assert!(memory.rest("u-1", now).is_some(), "it is not looked at hot");
}
