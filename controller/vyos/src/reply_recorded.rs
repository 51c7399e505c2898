//! Turns recorded answers of a running VyOS 1.5, where they are at hand, into classes to check.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Asked, Reply};
use crate::error::RouterError;
use crate::op::Op;
use crate::text::Mask;

/// `$BB_SHARED/vyos/transcripts`, else beside the repository.
fn recordings() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("BB_SHARED").map_or_else(beside, PathBuf::from);
    shared.join("vyos/transcripts")
}

/// The requests and replies of a recording, those sent side by side too.
fn exchanges(recording: &Value) -> Vec<(&Value, &Value)> {
    let steps = recording["steps"].as_array().into_iter().flatten();
    let all = steps.flat_map(|step| {
        let beside = step["requests"].as_array().into_iter().flatten();
        std::iter::once(step).chain(beside)
    });
    all.map(|one| (&one["request"], &one["reply"]))
        .filter(|(_, reply)| reply["status"].is_u64())
        .collect()
}

fn ops(request: &Value) -> Vec<Op> {
    let list = match &request["ops"] {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    list.into_iter()
        .filter_map(|mut op| {
            let value = op.get("value").and_then(Value::as_str).map(str::to_owned);
            op["path"].as_array_mut()?.extend(value.map(Value::from));
            serde_json::from_value(op).ok()
        })
        .collect()
}

/// What must hold of a refusal, whichever it is.
fn check(error: &RouterError, reply: &Reply) {
    let said = reply.body.as_str();
    match error {
        RouterError::Refused {
            nodes, said: words, ..
        } => {
            assert!(said.contains("Commit failed"), "{said}");
            assert!(!nodes.is_empty() && nodes.len() == words.len(), "{said}");
            for (node, words) in nodes.iter().zip(words) {
                assert!(!words.is_empty() && !words.contains("Traceback"), "{words}");
                assert!(
                    !words.contains("WARNING") && !words.contains('\n'),
                    "{words}"
                );
                assert!(
                    node.iter().all(|word| !word.contains(['[', ']', ' '])),
                    "{node:?}"
                );
            }
        }
        RouterError::Invalid { text, path } => {
            assert!(
                !said.contains("Commit failed") && !text.is_empty(),
                "{said}"
            );
            assert!(path.is_some() || !said.contains("path: ["), "{said}");
        }
        RouterError::Busy { .. } => {
            assert!(said.contains("locked due to another commit"), "{said}");
        }
        RouterError::Unauthorized => assert_eq!(reply.status, 401),
        RouterError::TooLarge { .. } => assert_eq!(reply.status, 413),
        RouterError::Unknown { .. } => assert!(said.contains("in the background"), "{said}"),
        // Requests that this client does not make.
        RouterError::Unexpected { text, .. } => {
            let odd = [
                "Malformed",
                "is not a valid operation",
                "Failed to parse JSON",
            ];
            let odd = odd.iter().any(|words| text.contains(words));
            assert!(
                odd || reply.status != 400 || said.contains("detail"),
                "{said}"
            );
        }
        other => panic!("{said}: {other:?}"),
    }
}

#[test]
fn recorded_answers_to_a_list_fall_into_their_classes() {
    let Ok(files) = std::fs::read_dir(recordings()) else {
        println!(
            "skipped: no recordings of a router at {}",
            recordings().display()
        );
        return;
    };
    let (mut done, mut refused) = (0, 0);
    let names = files.filter_map(|file| Some(file.ok()?.path()));
    for name in names.filter(|name| name.extension().is_some_and(|end| end == "json")) {
        let recording: Value = serde_json::from_slice(&std::fs::read(&name).unwrap()).unwrap();
        for (request, reply) in exchanges(&recording) {
            if request["endpoint"] != "/configure" || request["method"] != "POST" {
                continue;
            }
            let status = u16::try_from(reply["status"].as_u64().unwrap()).unwrap();
            let body = reply["body"].as_str().unwrap_or_default().to_owned();
            let reply = Reply {
                status,
                body,
                sent: 1,
            };
            let ops = ops(request);
            match reply.judge(Asked::Configure(&ops), &Mask::new(["test-key"])) {
                Ok(_) => {
                    assert_eq!(status, 200, "{}", reply.body);
                    done += 1;
                }
                Err(error) => {
                    check(&error, &reply);
                    assert!(
                        !format!("{error} {error:?}").contains("test-key"),
                        "{error:?}"
                    );
                    refused += 1;
                }
            }
        }
    }
    println!("recorded lists: {done} done, {refused} refused");
    assert!(done > 100 && refused > 60, "{done} {refused}");
}
