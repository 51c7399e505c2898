//! Turns recordings of a real router into a check that the stand-in answers the same.
//!
//! A recording is a list of calls with their answers and what they changed. Each is replayed
//! against a fresh stand-in that starts from the recording's configuration. Where no folder
//! of recordings is present, a line is printed and the test passes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

mod answer;
mod console;
mod recording;

use answer::{Answer, send};
use bb_lab_vyos::{Config, Running, VyosLab};
use console::Console;
use recording::{Flat, Recording, Step, flatten};
use std::collections::BTreeMap;

/// Recordings the stand-in does not reproduce, and why. The test turns red when one begins to
/// pass, too.
const NOT_YET: [(&str, &str); 1] = [(
    "023-strict-mode",
    "step 7: a bare `Set failed` after a refusal in strict mode, seen once and not explained",
)];

/// The kinds of recording of which at most [`MAY_FAIL`] may be in the list above.
const CLOSE: [&str; 6] = ["reads", "auth", "shape", "set-delete", "tenant", "partial"];
const MAY_FAIL: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stand_in_answers_as_the_recorded_router_did() {
    let folder = recording::folder();
    let recordings = match recording::read(&folder) {
        Ok(recordings) if !recordings.is_empty() => recordings,
        _ => {
            println!("no recordings in {}: nothing replayed", folder.display());
            return;
        }
    };
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let mut failed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut close = 0;
    for recording in &recordings {
        let differences = replay(&client, recording).await;
        if !differences.is_empty() {
            close += usize::from(CLOSE.contains(&recording.category.as_str()));
            failed.insert(&recording.name, differences);
        }
    }
    let mut wrong = Vec::new();
    for (name, differences) in &failed {
        if !NOT_YET.iter().any(|(known, _)| known == name) {
            wrong.push(format!(
                "{name} differs:\n    {}",
                differences.join("\n    ")
            ));
        }
    }
    for (name, why) in NOT_YET {
        if recordings.iter().any(|recording| recording.name == name) && !failed.contains_key(name) {
            wrong.push(format!(
                "{name} passes now, strike it from the list ({why})"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(close <= MAY_FAIL, "{close} close recordings fail");
    println!(
        "{} recordings replayed, {} differ as listed",
        recordings.len(),
        failed.len()
    );
}

/// Replays one recording; what differed, step by step.
async fn replay(client: &reqwest::Client, recording: &Recording) -> Vec<String> {
    let mut config = Config::new("replayed", "test-key");
    config.seed = recording.config_start.clone();
    config.plain = true;
    let lab = VyosLab::start(config).await.unwrap();
    let mut console = Console::default();
    let mut expected = flatten(&recording.config_start);
    let mut differences = Vec::new();
    for step in &recording.steps {
        for difference in replay_step(client, &lab, step, &mut console).await {
            differences.push(format!("step {} ({}): {difference}", step.step, step.name));
        }
        step.config_diff.apply(&mut expected);
        let shown = shown_config(client, &lab).await;
        if shown != expected {
            let text = difference(&expected, &shown);
            differences.push(format!(
                "step {} ({}): configuration {text}",
                step.step, step.name
            ));
            expected = shown;
        }
    }
    console.finish(&lab);
    lab.hold_background(false);
    lab.stop().await;
    differences
}

async fn replay_step(
    client: &reqwest::Client,
    lab: &Running,
    step: &Step,
    console: &mut Console,
) -> Vec<String> {
    match step.kind.as_str() {
        "http" => {
            // An https change stays under way until time passes in the recording.
            lab.hold_background(true);
            let (Some(request), Some(reply)) = (&step.request, &step.reply) else {
                return vec!["the recording has no request or no reply".to_owned()];
            };
            let got = send(client, lab, request).await;
            let wanted = Answer::recorded(reply, request);
            console.pass(lab, step.wall_s);
            compare(&wanted, &got)
        }
        "parallel" => {
            lab.hold_background(true);
            let mut differences = Vec::new();
            let mut clock = 0.0;
            for sent in &step.requests {
                console.pass(lab, sent.sent_at_s - clock);
                clock = sent.sent_at_s;
                let got = send(client, lab, &sent.request).await;
                let wanted = Answer::recorded(&sent.reply, &sent.request);
                for difference in compare(&wanted, &got) {
                    differences.push(format!("{}: {difference}", sent.label));
                }
            }
            console.pass(lab, step.wall_s - clock);
            lab.hold_background(false);
            assert!(lab.settled().await, "the router never came to rest");
            differences
        }
        "sleep" => {
            console.pass(lab, step.wall_s);
            lab.hold_background(false);
            assert!(lab.settled().await, "the router never came to rest");
            Vec::new()
        }
        "shell" => console.run(lab, step),
        other => vec![format!("a step of kind {other} is not known")],
    }
}

fn compare(wanted: &Answer, got: &Answer) -> Vec<String> {
    let mut differences = Vec::new();
    let mut check = |what: &str, wanted: &dyn std::fmt::Debug, got: &dyn std::fmt::Debug| {
        let (wanted, got) = (format!("{wanted:?}"), format!("{got:?}"));
        if wanted != got {
            differences.push(format!("{what}: recorded {wanted}, got {got}"));
        }
    };
    check("status", &wanted.status, &got.status);
    check("content type", &wanted.content_type, &got.content_type);
    check("headers", &wanted.headers, &got.headers);
    check("answer", &wanted.class, &got.class);
    differences
}

/// What the router shows, once it shows it: a half-made change may not be readable.
async fn shown_config(client: &reqwest::Client, lab: &Running) -> Flat {
    let request = recording::show_everything();
    for _ in 0..2 {
        let answer = send(client, lab, &request).await;
        if let Some(data) = answer.data {
            return flatten(&data);
        }
        lab.hold_background(false);
        assert!(lab.settled().await, "the router never came to rest");
    }
    Flat::new()
}

fn difference(expected: &Flat, shown: &Flat) -> String {
    let only = |a: &Flat, b: &Flat| -> Vec<String> {
        a.iter()
            .filter(|(path, value)| b.get(*path) != Some(*value))
            .map(|(path, value)| format!("{} = {value}", path.join(" ")))
            .collect()
    };
    format!(
        "lacks {:?}, has {:?} too many",
        only(expected, shown),
        only(shown, expected)
    )
}
