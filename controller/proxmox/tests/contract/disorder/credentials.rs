//! Shows what becomes of work when tickets, tokens, privileges and certificates change.

use bb_lab_kit::faults::{Action, Fault};
use bb_lab_proxmox::model::Cluster;
use bb_lab_proxmox::{Config, Moment};

use super::by_password;
use crate::bulk::Bulk;

#[tokio::test]
async fn a_ticket_that_expires_is_got_anew() {
    let mut bulk = Bulk::with(Config::default(), by_password).await;
    let mut calls = 0;
    bulk.stage
        .lab
        .before_calls(Some(move |_: &Moment, cluster: &mut Cluster| {
            calls += 1;
            if calls % 20 == 0 {
                cluster.ticket_key += 1;
            }
        }));
    bulk.ask();
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_and_nothing_is_written() {
    let mut bulk = Bulk::ready().await;
    let enable =
        |on: bool| move |c: &mut Cluster| c.access.users.get_mut("op@pve").unwrap().enable = on;
    bulk.stage.lab.with(enable(false));
    bulk.ask();
    bulk.until_told(&["refuses the credentials", "Authentication failed"])
        .await;
    bulk.stage.lab.with(enable(true));
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_privilege_that_was_revoked_is_named() {
    let mut bulk = Bulk::ready().await;
    let (role, right) = ("BitBuilderPool", "VM.PowerMgmt");
    bulk.stage
        .lab
        .with(|c| c.access.roles.get_mut(role).unwrap().remove(right));
    bulk.ask();
    bulk.until_told(&[
        "Unauthorized",
        "grant VM.PowerMgmt to the user and to the token",
        "on the pool",
    ])
    .await;
    bulk.stage.lab.with(|c| {
        c.access
            .roles
            .get_mut(role)
            .unwrap()
            .insert(right.to_owned())
    });
    bulk.ends_well().await;
}

#[tokio::test]
async fn guests_that_we_may_no_longer_see_are_not_taken_for_gone() {
    let mut bulk = Bulk::ready().await;
    let (role, right) = ("BitBuilderPool", "VM.Audit");
    bulk.stage
        .lab
        .with(|c| c.access.roles.get_mut(role).unwrap().remove(right));
    bulk.ask();
    bulk.until_told(&["5016", "cannot be seen"]).await;
    bulk.until_told(&["5010", "cannot be seen"]).await;
    bulk.stage.lab.with(|c| {
        c.access
            .roles
            .get_mut(role)
            .unwrap()
            .insert(right.to_owned())
    });
    bulk.ends_well().await;
}

#[tokio::test]
async fn a_certificate_that_changed_is_shown_and_nothing_is_sent() {
    let mut bulk = Bulk::ready().await;
    let other = bulk.stage.lab.exchange_certificate().unwrap();
    // Connections from before go on; this one ends.
    bulk.stage
        .lab
        .faults()
        .add(Fault::new(Action::CloseBefore).times(8));
    bulk.ask();
    bulk.until_told(&["is not trusted"]).await;
    bulk.stage.lab.faults().clear();
    bulk.stage.lab.ca_pem = other.cert_pem;
    bulk.stage.restart().await;
    bulk.ends_well().await;
}
