//! Shows what becomes of work while nodes, storages, images and templates are missing.

use bb_lab_proxmox::Moment;
use bb_lab_proxmox::model::Cluster;

use crate::bulk::Bulk;

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
