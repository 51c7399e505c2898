//! Turns the life of a tenant, from the first command to the last, into what a client must do.

use bb_vyos::{Counts, Done, Op, RouterError, cut};
use serde_json::Value;

use crate::stand::{lab, pruned, router};
use crate::tenant::{made, typed, unmade};

/// Whether the tree has the line: a node, or a leaf with this value among others.
fn has(tree: &Value, line: &[String]) -> bool {
    let Some((word, rest)) = line.split_first() else {
        return true;
    };
    match tree {
        Value::Object(children) => children.get(word).is_some_and(|child| has(child, rest)),
        Value::Array(values) => rest.is_empty() && values.iter().any(|value| value == word),
        value => rest.is_empty() && value == word,
    }
}

#[tokio::test]
async fn a_tenant_comes_in_one_list_and_goes_in_one_list() {
    let lab = lab().await;
    let router = router(&lab);
    let before = pruned(&router.show_config().await.unwrap());
    assert_eq!(before, pruned(&lab.config()));
    assert_eq!(before["vrf"]["name"]["mgmt"]["table"], "100");

    let ops = made();
    assert_eq!(router.configure(&ops).await, Ok(Done::default()));
    let during = router.show_config().await.unwrap();
    for op in &ops {
        assert!(has(&during, &op.path), "`{op}` took no effect");
    }
    assert_eq!(lab.counters.get("commits"), 1);

    // The same list again changes nothing.
    router.configure(&ops).await.unwrap();
    assert_eq!(lab.counters.get("commits"), 1);
    router.save().await.unwrap();
    assert_eq!(lab.saved(), lab.config());

    router.configure(&unmade()).await.unwrap();
    assert_eq!(pruned(&router.show_config().await.unwrap()), before);
    // What is gone may be deleted again.
    router.configure(&unmade()).await.unwrap();
    let sent = Counts {
        reads: 3,
        configures: 4,
        saves: 1,
        others: 0,
    };
    assert_eq!(router.requests(), sent);
    assert_eq!(lab.counters.get("requests"), 8);
}

#[tokio::test]
async fn an_empty_configuration_is_none_and_an_empty_list_is_not_sent() {
    let lab = lab().await;
    let router = router(&lab);
    assert_eq!(router.configure(&[]).await, Ok(Done::default()));
    assert_eq!(lab.counters.get("requests"), 0);
    let empty = r#"{"success": false, "error": "Configuration under specified path is empty\n"}"#;
    lab.faults.add(crate::faults::answers(400, empty));
    let error = router.show_config().await.unwrap_err();
    assert!(matches!(error, RouterError::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn warnings_are_given_back() {
    let lab = lab().await;
    let ops = typed(
        "set nat source rule 100 outbound-interface name eth77
        set nat source rule 100 source address 10.10.0.0/24
        set nat source rule 100 translation address masquerade",
    );
    let done = router(&lab).configure(&ops).await.unwrap();
    let warnings = done.warnings.expect("the interface is not there");
    assert!(
        warnings.contains("\"eth77\"") && warnings.contains("does not exist!"),
        "{warnings}"
    );
    assert!(!warnings.contains('\n'));
}

#[tokio::test]
async fn a_router_says_what_it_is() {
    let lab = lab().await;
    let facts = router(&lab).facts().await.unwrap();
    assert!(facts.version.starts_with("1.5"), "{facts:?}");
    assert_eq!(facts.hostname, "edge-1");
}

#[tokio::test]
async fn a_newer_build_is_asked_by_info() {
    let lab = lab().await;
    let info = r#"{"success": true, "data": {"version": "1.5.1", "hostname": "edge-9"}}"#;
    lab.faults
        .add(crate::faults::answers(200, info).path("/info"));
    let router = router(&lab);
    let facts = router.facts().await.unwrap();
    assert_eq!(
        (facts.version.as_str(), facts.hostname.as_str()),
        ("1.5.1", "edge-9")
    );
    assert_eq!(
        router.requests(),
        Counts {
            others: 1,
            ..Counts::default()
        }
    );
}

#[tokio::test]
async fn a_list_that_is_too_long_is_refused_and_goes_in_pieces() {
    let lab = lab().await;
    let router = router(&lab);
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
    assert!(matches!(error, RouterError::TooLarge { .. }), "{error}");
    assert_eq!(lab.counters.get("requests"), 0);

    let pieces = cut(&ops, router.list_bytes());
    assert!(pieces.len() > 1, "{}", pieces.len());
    for piece in &pieces {
        router.configure(piece).await.unwrap();
    }
    let dummies = router.show_config().await.unwrap()["interfaces"]["dummy"].clone();
    assert_eq!(dummies.as_object().unwrap().len(), 5000);
    assert_eq!(router.requests().configures, pieces.len() as u64);
}

#[tokio::test]
async fn the_api_of_the_router_itself_is_left_alone() {
    let lab = lab().await;
    let router = router(&lab);
    let off = [
        typed("set service https port 8443"),
        typed("delete service https api rest"),
        typed("set vrf name t1 table 1001\ndelete service"),
    ];
    for ops in off {
        let error = router.configure(&ops).await.unwrap_err();
        assert!(matches!(error, RouterError::OffLimits { .. }), "{error}");
    }
    assert_eq!(lab.counters.get("requests"), 0);
}
