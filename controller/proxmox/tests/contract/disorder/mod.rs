//! Shows one fault of a cluster after the other in the midst of bulk work, and how each ends.
//!
//! Each either passes by itself, or a person is told what to do; then all is as it would have
//! been without it: nothing doubled, nothing lost, nothing left over, nothing of others touched.
//! `docs/guarantees.md` has them as a table.

use std::time::Duration;

use bb_lab_kit::faults::{Action, Fault};
use bb_lab_proxmox::Running;
use bb_lab_proxmox::model::OddEnd;
use bb_proxmox::{Credentials, Deadlines, Endpoint, Secret};

use crate::bulk::Bulk;
use crate::stage::endpoint;

mod answers;
mod credentials;
mod locks;
mod places;
mod tasks;

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
