//! Turns what goes wrong at a router, or on the way, into the class the caller acts on.

use bb_lab_kit::faults::{Action, Fault};
use bb_vyos::{Endpoint, Limits, Op, Retry, Router, RouterError};

use crate::stand::{KEY, endpoint, lab, router, short};
use crate::tenant::{made, typed};

/// The next call is answered with this.
pub(crate) fn answers(status: u16, body: &str) -> Fault {
    let headers = vec![(
        "content-type".to_owned(),
        "text/html; charset=utf-8".to_owned(),
    )];
    Fault::new(Action::Status {
        status,
        reason: None,
        body: body.to_owned(),
        headers,
    })
}

fn hasty(endpoint: Endpoint) -> Router {
    Router::with_limits(endpoint, short()).unwrap()
}

#[tokio::test]
async fn a_refused_commit_names_its_node_and_keeps_the_rest() {
    let lab = lab().await;
    let router = router(&lab);
    let ops = typed(
        "set interfaces dummy dum7 address 192.0.2.7/32
        set interfaces vxlan vxlan200 vni 200
        set vrf name t-b description 'no table'",
    );
    let error = router.configure(&ops).await.unwrap_err();
    let RouterError::Refused { nodes, said, text } = &error else {
        panic!("{error:?}")
    };
    let named: Vec<String> = nodes.iter().map(|node| node.join(" ")).collect();
    assert_eq!(named, ["vrf", "interfaces vxlan vxlan200"]);
    assert_eq!(said[0], "VRF \"t-b\" table id is mandatory!");
    assert!(said[1].contains("source-address"), "{text}");
    assert!(error.may_have_changed());
    let shown = router.show_config().await.unwrap();
    assert_eq!(
        shown["interfaces"]["dummy"]["dum7"]["address"],
        "192.0.2.7/32"
    );
    assert!(shown["interfaces"].get("vxlan").is_none(), "{shown}");
}

#[tokio::test]
async fn a_refused_delete_names_its_node() {
    let lab = lab().await;
    let router = router(&lab);
    router.configure(&made()).await.unwrap();
    let ops = typed("delete interfaces vxlan vxlan10010");
    let error = router.configure(&ops).await.unwrap_err();
    let RouterError::Refused { nodes, said, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(nodes, [ops[0].path.clone()]);
    assert!(said[0].contains("member of bridge \"br10010\""), "{said:?}");
}

#[tokio::test]
async fn a_refused_command_names_itself_and_nothing_is_applied() {
    let lab = lab().await;
    let router = router(&lab);
    let before = lab.config();
    let bad = [
        "set interfaces dummy dum8 colour red",
        "set interfaces dummy dum8 address 192.0.2.0/24",
        "set interfaces dummy dum8 colour 'two words'",
        "delete interfaces dummy dum0 colour",
    ];
    for bad in bad {
        let mut ops = made();
        ops.extend(typed(bad));
        let error = router.configure(&ops).await.unwrap_err();
        let RouterError::Invalid { path, .. } = &error else {
            panic!("{bad}: {error:?}")
        };
        assert_eq!(path.as_ref(), ops.last().map(|op| &op.path), "{error}");
        assert_eq!(
            (error.retry(), error.may_have_changed()),
            (Retry::OnChange, false)
        );
    }
    assert_eq!(lab.config(), before);
}

#[tokio::test]
async fn a_held_lock_is_busy_and_nothing_is_applied() {
    let lab = lab().await;
    let router = router(&lab);
    let before = lab.config();
    lab.hold_lock(true);
    let error = router.configure(&made()).await.unwrap_err();
    assert!(matches!(error, RouterError::Busy { .. }), "{error}");
    assert_eq!(
        (error.retry(), error.may_have_changed()),
        (Retry::Backoff, false)
    );
    assert_eq!(lab.config(), before);
    // Neither a read nor a save asks for the lock.
    router.show_config().await.unwrap();
    router.save().await.unwrap();
    lab.hold_lock(false);
    router.configure(&made()).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_does_not_come_leaves_the_outcome_unknown() {
    let lost = [
        Action::Hang { ms: 20_000 },
        Action::HangBefore { ms: 20_000 },
        Action::CloseBefore,
        Action::CloseAfter,
        Action::Status {
            status: 504,
            reason: None,
            body: String::new(),
            headers: vec![],
        },
    ];
    for action in lost {
        let lab = lab().await;
        let router = hasty(endpoint(&lab));
        let carried_out = matches!(action, Action::Hang { .. } | Action::CloseAfter);
        lab.faults
            .add(Fault::new(action.clone()).path("/configure"));
        let error = router.configure(&made()).await.unwrap_err();
        assert!(
            matches!(error, RouterError::Unknown { .. }),
            "{action:?}: {error:?}"
        );
        assert_eq!(
            (error.retry(), error.may_have_changed()),
            (Retry::Now, true)
        );
        let shown = router.show_config().await.unwrap();
        assert_eq!(
            shown["vrf"]["name"].get("t-acme").is_some(),
            carried_out,
            "{action:?}"
        );
        assert_eq!(router.requests().configures, 1, "{action:?} was sent again");
    }
}

#[tokio::test]
async fn a_read_that_is_not_answered_changed_nothing() {
    let lab = lab().await;
    let router = hasty(endpoint(&lab));
    for action in [Action::Hang { ms: 20_000 }, Action::CloseAfter] {
        lab.faults.add(Fault::new(action));
        let error = router.show_config().await.unwrap_err();
        assert!(
            matches!(error, RouterError::Unreachable { .. }),
            "{error:?}"
        );
        assert!(!error.may_have_changed());
    }
}

#[tokio::test]
async fn an_api_that_restarts_is_read_again() {
    let lab = lab().await;
    let router = hasty(endpoint(&lab));
    for status in [500, 502, 503, 504] {
        lab.faults
            .add(answers(status, "<html><head><title>no</title></head></html>").times(2));
        router.show_config().await.unwrap();
        assert!(lab.faults.waiting().is_empty());
    }
    lab.faults.add(answers(503, "").path("/configure"));
    let error = router.configure(&made()).await.unwrap_err();
    assert!(matches!(error, RouterError::Busy { .. }), "{error}");
    // nginx answers so when the API died with the request in its hands.
    lab.faults.add(answers(502, "").path("/configure"));
    let error = router.configure(&made()).await.unwrap_err();
    assert!(matches!(error, RouterError::Unknown { .. }), "{error}");
}

#[tokio::test]
async fn a_list_that_falls_into_an_api_restart_is_not_taken_for_done() {
    let lab = lab().await;
    let router = router(&lab);
    let text = r#"{"success": true, "data": "Requested HTTP API server configuration change; commit will be called in the background", "error": null}"#;
    lab.faults.add(answers(200, text).path("/configure"));
    let error = router.configure(&made()).await.unwrap_err();
    assert!(matches!(error, RouterError::Unknown { .. }), "{error}");
}

#[tokio::test]
async fn a_body_that_nginx_refuses_is_too_large() {
    let lab = lab().await;
    let wide = Limits {
        body_bytes: 64 << 20,
        ..Limits::default()
    };
    let router = Router::with_limits(endpoint(&lab), wide).unwrap();
    let long = "d".repeat(200);
    let ops: Vec<Op> = (0..5000)
        .map(|n| {
            Op::set([
                "interfaces",
                "dummy",
                &format!("dum{n}"),
                "description",
                &long,
            ])
        })
        .collect();
    let error = router.configure(&ops).await.unwrap_err();
    let RouterError::TooLarge { bytes, limit } = error else {
        panic!("{error:?}")
    };
    assert!(bytes > limit && limit == 1 << 20, "{bytes} {limit}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let lab = lab().await;
    let target = lab.api.clone() + "/retrieve";
    let headers = vec![("location".to_owned(), target)];
    let action = Action::Status {
        status: 307,
        reason: None,
        body: String::new(),
        headers,
    };
    lab.faults.add(Fault::new(action));
    let error = router(&lab).show_config().await.unwrap_err();
    assert!(
        matches!(error, RouterError::Unexpected { status: 307, .. }),
        "{error}"
    );
    assert_eq!(lab.counters.get("requests"), 1);
}

/// The key as a router, a log or a proxy may spell it, and a good part of it.
fn spellings() -> Vec<String> {
    let form = KEY
        .replace(' ', "+")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let html = KEY
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    vec![KEY.replace('\'', "\\'"), form, html, KEY[..8].to_owned()]
}

#[tokio::test]
async fn the_key_is_in_no_error_text() {
    let lab = lab().await;
    let router = hasty(endpoint(&lab));
    let python = KEY.replace('\'', "\\'");
    let html = KEY
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let echoes = [
        format!("{{'type': 'missing', 'msg': 'Field required', 'input': {{'key': '{python}'}}}}"),
        format!("Malformed command '{{'key': '{python}'}}': missing 'op' field"),
        format!("Configuration path: [a {KEY} b] is not valid\n\nSet failed\n"),
        format!("[ vrf ]\nno {html}\n[[vrf {KEY}]] failed\nCommit failed\n"),
        format!("something new about {html}"),
    ];
    let mut errors = Vec::new();
    for echo in &echoes {
        // Not every server in front of an API speaks JSON.
        lab.faults.add(answers(400, echo));
        errors.extend(router.configure(&made()).await.err());
        let body = serde_json::json!({"success": false, "error": echo}).to_string();
        for status in [400, 422, 500, 504, 599] {
            lab.faults.add(answers(status, &body));
            errors.extend(router.configure(&made()).await.err());
            lab.faults.add(answers(status, &body).times(99));
            errors.extend(router.show_config().await.err());
            errors.extend(router.save().await.err());
            lab.faults.clear();
        }
        lab.faults
            .add(answers(200, &format!("<html>{echo}</html>")));
        errors.extend(router.configure(&made()).await.err());
        lab.faults.add(answers(200, echo));
        errors.extend(router.show_config().await.err());
    }
    for action in [
        Action::Hang { ms: 20_000 },
        Action::CloseAfter,
        Action::CloseBefore,
    ] {
        lab.faults.add(Fault::new(action));
        errors.extend(router.configure(&made()).await.err());
    }
    assert!(errors.len() > 80, "{}", errors.len());
    let mut shown: Vec<String> = vec![format!("{router:?} {:?}", endpoint(&lab))];
    for error in &errors {
        let mut layer: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = layer {
            shown.push(format!("{error} {error:?}"));
            layer = error.source();
        }
    }
    for text in shown {
        for spelling in spellings() {
            assert!(!text.contains(&spelling), "{text}");
        }
    }
}
