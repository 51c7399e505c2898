//! Shows what a pass asks while tasks run.

use bb_core::proxmox::model::Source;
use bb_lab_proxmox::Config;
use bb_lab_proxmox::model::Takes;
use bb_proxmox::{Cluster, Driver};

use crate::stage::{Stage, TEMPLATE, endpoint, vm, vmid};

#[tokio::test]
async fn a_pass_asks_nothing_while_nothing_can_have_ended_and_slots_are_filled_at_once() {
    let mut stage = Stage::with(Config {
        time_scale: 1.0,
        ..Config::default()
    })
    .await;
    // The first look at a full clone is due after some seconds.
    stage.driver = Driver::new(Cluster::connect(endpoint(&stage.lab)).await.unwrap());
    stage.lab.with(|cluster| {
        cluster.world.takes = Takes {
            clone: Some(60.0),
            ..Takes::default()
        };
    });
    let full = |id| {
        let mut guest = vm(id, &[]);
        guest.source = Source::Template {
            vmid: vmid(TEMPLATE),
            full: true,
            storage: None,
        };
        guest
    };
    stage.desired.cluster.clones = 2;
    stage.desired.guests = vec![full(5001)];
    stage.pass().await;
    let due = stage.driver.due().unwrap();
    assert!(due.as_secs() >= 1, "{due:?}");

    let from = stage.lab.journal().len();
    for _ in 0..10 {
        stage.pass().await;
    }
    assert_eq!(stage.calls(from), Vec::<String>::new());
    // A slot is free, and a new guest needs no list: the cluster judges its claim.
    stage.desired.guests.extend([full(5002), full(5003)]);
    stage.pass().await;
    stage.pass().await;
    assert_eq!(stage.calls(from), ["POST /nodes/pve1/qemu/9000/clone"]);
}
