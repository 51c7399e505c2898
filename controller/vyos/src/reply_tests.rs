//! Turns minimal samples of what VyOS 1.5 answers into the classes they must become.

use serde_json::json;

use super::*;

const KEY: &str = "k3y-0f-test";

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status,
        body: body.to_owned(),
        sent: 2_000_000,
    }
}

fn failed(status: u16, error: &str) -> Reply {
    reply(
        status,
        &json!({"success": false, "error": error, "data": null}).to_string(),
    )
}

fn judge(reply: &Reply, asked: Asked<'_>) -> Result<Value, RouterError> {
    reply.judge(asked, &Mask::new([KEY]))
}

fn configure(error: &str, ops: &[Op]) -> RouterError {
    judge(&failed(400, error), Asked::Configure(ops)).unwrap_err()
}

fn path(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_success_gives_its_data() {
    let body = r#"{"success": true, "data": {"vrf": {}}, "error": null}"#;
    assert_eq!(
        judge(&reply(200, body), Asked::Read),
        Ok(json!({"vrf": {}}))
    );
    let body = r#"{"success": true, "data": "[ nat ]\n\nWARNING: no eth77\n", "error": null}"#;
    let data = judge(&reply(200, body), Asked::Configure(&[])).unwrap();
    assert!(data.as_str().unwrap().contains("no eth77"));
}

#[test]
fn a_commit_sent_to_the_background_has_an_unknown_outcome() {
    let text =
        "Requested HTTP API server configuration change; commit will be called in the background";
    let body = json!({"success": true, "data": text, "error": null}).to_string();
    let error = judge(&reply(200, &body), Asked::Configure(&[])).unwrap_err();
    assert!(matches!(error, RouterError::Unknown { .. }), "{error}");
}

#[test]
fn an_empty_node_is_null_and_an_invalid_one_is_not() {
    let empty = failed(400, "Configuration under specified path is empty\n");
    assert_eq!(judge(&empty, Asked::Read), Ok(Value::Null));
    let invalid = failed(400, "Specified configuration path is not valid\n");
    let error = judge(&invalid, Asked::Read).unwrap_err();
    assert!(
        matches!(error, RouterError::Unexpected { status: 400, .. }),
        "{error}"
    );
}

#[test]
fn each_status_has_its_class() {
    let page = |title: &str| format!("<html>\r\n<head><title>{title}</title></head></html>");
    let internal = json!({"success": false, "error": "An internal error occured."}).to_string();
    let locked = json!({"success": false, "data": null, "error":
        "Configuration system temporarily locked due to another commit in progress\n"});
    let ops = [Op::set(["vrf", "name", "t1"])];
    let cases: [(u16, String, [&str; 3]); 9] = [
        (400, locked.to_string(), ["busy", "busy", "busy"]),
        (
            401,
            r#"{"error": "Valid API key is required"}"#.into(),
            ["key", "key", "key"],
        ),
        (
            403,
            page("403 Forbidden"),
            ["unexpected", "unexpected", "unexpected"],
        ),
        (
            404,
            page("404 Not Found"),
            ["unexpected", "unexpected", "unexpected"],
        ),
        (413, page("413 Too Large"), ["large", "large", "large"]),
        (500, internal, ["busy", "unexpected", "unexpected"]),
        (502, page("502 Bad Gateway"), ["busy", "unknown", "busy"]),
        (503, page("503 Unavailable"), ["busy", "busy", "busy"]),
        (
            504,
            page("504 Gateway Time-out"),
            ["busy", "unknown", "unknown"],
        ),
    ];
    for (status, body, classes) in cases {
        for (asked, class) in [Asked::Read, Asked::Configure(&ops), Asked::Save]
            .iter()
            .zip(classes)
        {
            let error = judge(&reply(status, &body), *asked).unwrap_err();
            let found = match &error {
                RouterError::Busy { .. } => "busy",
                RouterError::Unauthorized => "key",
                RouterError::TooLarge { .. } => "large",
                RouterError::Unknown { .. } => "unknown",
                RouterError::Unexpected { .. } => "unexpected",
                _ => "other",
            };
            assert_eq!(found, class, "{status}: {error:?}");
            assert!(!error.to_string().contains(['<', '\n', '\r']), "{error}");
        }
    }
}

#[test]
fn a_refused_command_names_its_path() {
    let ops = [
        Op::set(["vrf", "name", "t1", "description", "a b"]),
        Op::set(["vrf", "name", "t1", "colour", "a b"]),
        Op::set(["interfaces", "dummy", "", "address", "192.0.2.1/32"]),
    ];
    let cases = [
        (
            "Configuration path: [vrf name t1 colour a b] is not valid\n\nSet failed\n",
            Some(1),
        ),
        (
            "Configuration path: [interfaces dummy  address 192.0.2.1/32] is not valid\n\nSet failed\n",
            Some(2),
        ),
        (
            "Configuration path: [vrf name t1 colour] requires a value\nSet failed\n",
            None,
        ),
        (
            "Configuration path: [x &lt;b&gt; y] is not valid\n\nDelete failed\n",
            None,
        ),
        ("Cannot delete [x y]: path/value does not exist", None),
    ];
    let others = [path("vrf name t1 colour"), path("x <b> y"), path("x y")];
    let mut others = others.into_iter();
    for (text, op) in cases {
        let expected = op.map_or_else(|| others.next().unwrap(), |n: usize| ops[n].path.clone());
        let error = configure(text, &ops);
        let RouterError::Invalid { path, text } = error else {
            panic!("{error:?}")
        };
        assert_eq!(path, Some(expected), "{text}");
        assert!(!text.contains("failed"), "{text}");
    }
}

#[test]
fn a_refused_value_names_the_command_only_when_one_has_it() {
    let text = "Error: 10.0.0.0/24 is not a valid IP host\n\n\n\nInvalid value\nValue validation failed\nSet failed\n";
    let one = Op::set(["interfaces", "dummy", "dum0", "address", "10.0.0.0/24"]);
    let other = Op::set(["interfaces", "dummy", "dum1", "address", "10.0.0.0/24"]);
    let valid = Op::set(["interfaces", "dummy", "dum1", "address", "10.0.0.1/24"]);
    let invalid = |path| RouterError::Invalid {
        text: "Error: 10.0.0.0/24 is not a valid IP host".to_owned(),
        path,
    };
    let expected = invalid(Some(one.path.clone()));
    assert_eq!(configure(text, &[valid.clone(), one.clone()]), expected);
    assert_eq!(configure(text, &[one, other, valid]), invalid(None));
    let text = "\n\nDummy interface must be named dumN\nValue validation failed\nSet failed\n";
    let text = configure(text, &[]).to_string();
    assert!(
        text.ends_with("a command: Dummy interface must be named dumN"),
        "{text}"
    );
    assert_eq!(
        configure("Set failed\n", &[]).retry(),
        crate::Retry::OnChange
    );
    assert!(
        configure("Set failed\n", &[])
            .to_string()
            .contains("Set failed")
    );
}

#[test]
fn a_value_that_reads_like_a_verdict_is_not_one() {
    let text =
        "Configuration path: [vrf name t1 colour Commit failed] is not valid\n\nSet failed\n";
    let error = configure(
        text,
        &[Op::set(["vrf", "name", "t1", "colour", "Commit failed"])],
    );
    assert!(matches!(error, RouterError::Invalid { .. }), "{error:?}");
}

#[test]
fn a_refused_commit_names_every_node_with_its_own_words() {
    let text = "[ vrf ]\nVRF \"b\" table id is mandatory!\n[[vrf]] failed\n\
        [ interfaces vxlan vxlan200 ]\nGroup, remote, source-address or source-\ninterface must be configured\n\
        [[interfaces vxlan vxlan200]] failed\n\
        [ protocols bgp ]\nCannot delete default BGP instance\ndelete [ protocols bgp ] failed\nCommit failed\n";
    let error = configure(text, &[]);
    let RouterError::Refused { text, nodes, said } = error else {
        panic!("{error:?}")
    };
    let expected = ["vrf", "interfaces vxlan vxlan200", "protocols bgp"];
    assert_eq!(nodes, expected.map(path));
    assert_eq!(said[0], "VRF \"b\" table id is mandatory!");
    assert_eq!(
        said[1],
        "Group, remote, source-address or source- interface must be configured"
    );
    assert!(
        text.starts_with("vrf: VRF \"b\" table id is mandatory!; interfaces vxlan"),
        "{text}"
    );
}

#[test]
fn warnings_and_parts_that_passed_are_no_part_of_a_refusal() {
    let text = "[ interfaces vxlan vxlan1 ]\n\nWARNING: small MTU\n\n\n\
        [ nat ]\n\nWARNING: Interface \"eth77\" for source NAT rule\n\"1\" does not exist!\n\n\
        Source NAT configuration error in rule 2: translation requires\naddress and/or port\n\
        [[nat]] failed\nCommit failed\n";
    let RouterError::Refused { nodes, said, .. } = configure(text, &[]) else {
        panic!()
    };
    assert_eq!(nodes, [path("nat")]);
    let words =
        "Source NAT configuration error in rule 2: translation requires address and/or port";
    assert_eq!(said, [words]);
}

#[test]
fn of_a_python_stack_only_the_exception_is_told() {
    let text = "[ interfaces ethernet eth9 ]\nTraceback (most recent call last):\n  File \"/x/y.py\", line 1, in run\n    \
        call()\nOSError: [Errno 2] failed to run: ip link\nreturned:\nexit code: 2\n\n\
        [[interfaces ethernet eth9]] failed\nCommit failed\n\n";
    let RouterError::Refused { said, nodes, .. } = configure(text, &[]) else {
        panic!()
    };
    assert_eq!(
        said,
        ["OSError: [Errno 2] failed to run: ip link returned: exit code: 2"]
    );
    assert_eq!(nodes, [path("interfaces ethernet eth9")]);
}

#[test]
fn a_failed_commit_without_a_node_keeps_its_words() {
    let RouterError::Refused { text, nodes, .. } = configure("oh\nno\nCommit failed\n", &[]) else {
        panic!()
    };
    assert_eq!((text.as_str(), nodes.len()), ("oh no Commit failed", 0));
}

#[test]
fn a_reply_that_echoes_the_request_does_not_show_it() {
    let secret = "c2VjcmV0LWtleQ==";
    let ops = [Op::set([
        "interfaces",
        "wireguard",
        "wg0",
        "private-key",
        secret,
    ])];
    let mask = Mask::new(ops.iter().filter_map(Op::secret).chain([KEY]));
    let dump = format!(
        "{{'type': 'missing', 'loc': ('body', 'op'), 'msg': 'Field required', 'input': {{'key': '{KEY}'}}}}"
    );
    let command = format!("Malformed command '{{'path': ['{secret}']}}': missing 'op' field");
    let invalid = format!(
        "Configuration path: [wireguard private-key {secret}] is not valid\n\nSet failed\n"
    );
    let own = format!(
        "Configuration path: [interfaces wireguard wg0 private-key {secret}] is not valid\n\nSet failed\n"
    );
    let texts = [
        (dump, "Malformed request: Field required"),
        (command, "Malformed command: missing 'op' field"),
        (invalid, "[wireguard private-key ***] is not valid"),
        (own, "wg0 private-key ***] is not valid"),
        (format!("no idea what {KEY} is"), "no idea what *** is"),
    ];
    for (text, shown) in texts {
        let error = failed(400, &text)
            .judge(Asked::Configure(&ops), &mask)
            .unwrap_err();
        let all = format!("{error} {error:?}");
        assert!(all.contains(shown), "{all}");
        assert!(!all.contains(KEY) && !all.contains(secret), "{all}");
    }
}

#[test]
fn a_body_that_is_not_json_is_bounded() {
    let error = judge(&reply(200, &"x ".repeat(100_000)), Asked::Read).unwrap_err();
    assert!(error.to_string().len() < 1000);
    assert!(matches!(error, RouterError::Unexpected { status: 200, .. }));
}
