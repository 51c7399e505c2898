//! Turns a router's process into one that is killed and comes back where it was.

use std::sync::Arc;

use anyhow::Result;
use bb_lab_harness::{Kind, Life, Ready, Roster, StandIn, StandInOptions};

/// Asks a router for its configuration and returns the status of the answer.
async fn ask(ready: &Ready, key: &str) -> Result<u16> {
    let ca = reqwest::Certificate::from_pem(ready.ca_pem.as_bytes())?;
    let http = reqwest::Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .build()?;
    let form = [
        ("key", key),
        ("data", r#"{"op": "showConfig", "path": []}"#),
    ];
    Ok(http
        .post(format!("{}/retrieve", ready.api))
        .form(&form)
        .send()
        .await?
        .status()
        .as_u16())
}

#[tokio::test]
async fn a_killed_router_comes_back_at_its_address_with_its_certificate() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let roster = Arc::new(Roster::open(dir.path(), Life::Tied)?);
    let router = StandIn::start(
        Arc::clone(&roster),
        StandInOptions::new(Kind::Vyos, "r1", "k3y"),
    );
    let router = router.await?;
    let before = router.ready().clone();
    assert_eq!(ask(&before, router.credential()).await?, 200);

    router.kill()?;
    assert!(roster.running("r1").is_none());
    ask(&before, "k3y").await.unwrap_err();

    let router = router.restart().await?;
    assert_eq!(router.ready().api, before.api);
    assert_eq!(ask(router.ready(), "k3y").await?, 200);
    let journal = std::fs::read_to_string(router.journal())?;
    assert_eq!(
        journal.lines().count(),
        2,
        "the journal of before goes on:\n{journal}"
    );
    assert!(
        !journal.contains("k3y"),
        "the key stays out of it:\n{journal}"
    );
    roster.end_strays()?;
    Ok(())
}

#[tokio::test]
async fn a_second_start_finds_the_router_that_runs() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let roster = Arc::new(Roster::open(dir.path(), Life::Tied)?);
    let options = StandInOptions::new(Kind::Vyos, "r1", "k3y");
    let first = StandIn::start(Arc::clone(&roster), options.clone()).await?;
    let again = Arc::new(Roster::open(dir.path(), Life::Tied)?);
    let second = StandIn::start(again, options).await?;
    assert_eq!(first.ready(), second.ready());
    roster.end_strays()?;
    Ok(())
}

#[tokio::test]
async fn a_stand_in_that_cannot_start_says_why() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let roster = Arc::new(Roster::open(dir.path(), Life::Tied)?);
    let mut options = StandInOptions::new(Kind::Vyos, "r1", "k3y");
    options.seed = Some(dir.path().join("absent.json"));
    let error = StandIn::start(roster, options)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("absent.json") && error.contains("ended before"),
        "{error}"
    );
    Ok(())
}
