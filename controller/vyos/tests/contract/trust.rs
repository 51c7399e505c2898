//! Turns certificates and keys, right and wrong, into who is spoken to and who is not.

use bb_vyos::{Endpoint, Router, RouterError, Secret, Trust};

use crate::stand::{endpoint, lab, router};

async fn ask(endpoint: Endpoint) -> Result<serde_json::Value, RouterError> {
    Router::new(endpoint).unwrap().show_config().await
}

#[tokio::test]
async fn a_pinned_certificate_is_trusted_under_any_name_of_the_router() {
    let lab = lab().await;
    router(&lab).show_config().await.unwrap();
    let lower = lab.sha256.replace(':', "").to_lowercase();
    let trust = Trust::Sha256(vec!["00".repeat(32), lower]);
    ask(Endpoint {
        trust,
        ..endpoint(&lab)
    })
    .await
    .unwrap();
    let loopback = lab.api.replace("127.0.0.1", "127.0.0.2");
    // Nobody listens there: a pin must not turn another failure into a question of trust.
    let error = ask(Endpoint {
        url: loopback,
        ..endpoint(&lab)
    })
    .await
    .unwrap_err();
    assert!(matches!(error, RouterError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn another_certificate_is_refused_and_shown_before_anything_is_sent() {
    let lab = lab().await;
    let trust = Trust::Sha256(vec!["ab".repeat(32)]);
    let error = ask(Endpoint {
        trust,
        ..endpoint(&lab)
    })
    .await
    .unwrap_err();
    let RouterError::Untrusted { seen, url, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((seen, url), (&lab.sha256, &lab.api));
    assert!(error.to_string().contains(&lab.sha256), "{error}");
    assert_eq!(lab.counters.get("requests"), 0);
}

#[tokio::test]
async fn a_ca_is_trusted_for_the_names_in_the_certificate_only() {
    let lab = lab().await;
    let trust = Trust::Ca(lab.ca_pem.clone());
    ask(Endpoint {
        trust: trust.clone(),
        ..endpoint(&lab)
    })
    .await
    .unwrap();

    let other = crate::stand::lab().await;
    let error = ask(Endpoint {
        trust,
        ..endpoint(&other)
    })
    .await
    .unwrap_err();
    let RouterError::Untrusted { seen, why, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(seen, &other.sha256);
    assert!(!why.is_empty());
    assert_eq!(other.counters.get("requests"), 0);
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let lab = lab().await;
    let wrong = "wr0ng-k3y";
    let router = Router::new(Endpoint {
        key: Secret::new(wrong),
        ..endpoint(&lab)
    })
    .unwrap();
    let ops = crate::tenant::made();
    let errors = [
        router.show_config().await.unwrap_err(),
        router.configure(&ops).await.unwrap_err(),
        router.save().await.unwrap_err(),
        router.facts().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error, RouterError::Unauthorized);
        assert!(!format!("{error} {error:?}").contains(wrong));
    }
}

#[tokio::test]
async fn a_router_that_is_not_there_is_unreachable() {
    let lab = lab().await;
    let endpoint = endpoint(&lab);
    lab.stop().await;
    let router = Router::new(endpoint).unwrap();
    let read = router.show_config().await.unwrap_err();
    let commit = router.configure(&crate::tenant::made()).await.unwrap_err();
    for error in [read, commit] {
        assert!(matches!(error, RouterError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn a_port_without_tls_is_unreachable_and_not_spoken_to_in_the_clear() {
    let lab = crate::stand::lab_with(|config| config.plain = true).await;
    let secure = Endpoint {
        url: lab.api.replace("http:", "https:"),
        trust: Trust::Sha256(vec!["00".repeat(32)]),
        ..endpoint(&lab)
    };
    let error = ask(secure.clone()).await.unwrap_err();
    assert!(matches!(error, RouterError::Unreachable { .. }), "{error}");
    assert_eq!(lab.counters.get("requests"), 0);
    let error = Router::new(Endpoint {
        url: lab.api.clone(),
        ..secure
    })
    .unwrap_err();
    assert!(matches!(error, RouterError::Endpoint { .. }), "{error}");
}

#[tokio::test]
async fn an_endpoint_without_a_key_is_refused() {
    let lab = lab().await;
    let error = Router::new(Endpoint {
        key: Secret::new(" "),
        ..endpoint(&lab)
    })
    .unwrap_err();
    assert!(matches!(error, RouterError::Endpoint { .. }), "{error}");
}

#[tokio::test]
async fn an_endpoint_with_trust_that_cannot_be_used_is_refused() {
    let lab = lab().await;
    for (trust, said) in [
        (Trust::Ca(String::new()), "the CA holds no certificate"),
        (Trust::Sha256(vec![]), "no fingerprint is given"),
        (Trust::Sha256(vec!["12".to_owned()]), "`12`"),
    ] {
        let error = Router::new(Endpoint {
            trust,
            ..endpoint(&lab)
        })
        .unwrap_err();
        assert!(matches!(error, RouterError::Endpoint { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}
