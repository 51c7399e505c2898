//! Replays recordings of a real Proxmox VE 9.1 against a fresh stand-in and judges each answer.
//!
//! The recordings are read from `$BB_SHARED/proxmox/transcripts` (default: `../shared` beside
//! the repository). Without them the test says so and passes. What does not match yet is
//! listed in `known.rs`; the list turns the test red when it is wrong in either direction.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it sees and ends by panicking"
)]

mod compare;
mod known;
mod player;
mod recording;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;

use player::Player;
use recording::Recording;

/// The recordings, by the number their file begins with.
const SCENARIOS: &[&str] = &[
    "001", "003", "004", "005", "006", "007", "009", "010", "011", "014", "016", "018", "021",
    "027", "027b", "028", "028b", "029",
];
/// Share of the driver's steps that have to match.
const WANTED: f64 = 0.80;

fn folder() -> Option<PathBuf> {
    let shared = std::env::var_os("BB_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = shared.join("proxmox/transcripts");
    folder.is_dir().then_some(folder)
}

#[tokio::test]
async fn recordings_of_the_real_one_replay_alike() {
    let Some(folder) = folder() else {
        println!("skipped: no recordings (BB_SHARED says where they are)");
        return;
    };
    let (mut judged, mut good) = (0_u32, 0_u32);
    let (mut all, mut all_good) = (0_u32, 0_u32);
    let mut failed = BTreeSet::new();
    for scenario in SCENARIOS {
        let recording = Recording::read(&folder, scenario);
        let mut player = Player::start(&recording).await;
        let verdicts = player.play(&recording).await;
        for step in &recording.steps {
            let verdict = &verdicts[&step.number];
            all += 1;
            all_good += u32::from(verdict.is_ok());
            let why = verdict.as_ref().err().cloned().unwrap_or_default();
            if !step.is_driver() {
                if let Err(why) = verdict {
                    println!(
                        "  (setup) {scenario}:{} {} {}: {why}",
                        step.number, step.method, step.path
                    );
                }
                continue;
            }
            judged += 1;
            if verdict.is_ok() {
                good += 1;
            } else {
                failed.insert(format!("{scenario}:{}", step.number));
                println!(
                    "{scenario}:{} {} {}: {why}",
                    step.number, step.method, step.path
                );
            }
        }
        player.stop().await;
    }
    let share = f64::from(good) / f64::from(judged);
    println!(
        "driver's steps alike: {good} of {judged} = {:.1} %",
        share * 100.0
    );
    println!(
        "all steps alike: {all_good} of {all} = {:.1} %",
        f64::from(all_good) / f64::from(all) * 100.0
    );
    let known: BTreeSet<String> = known::FAILING
        .iter()
        .map(|(step, _)| (*step).to_owned())
        .collect();
    let fresh: Vec<_> = failed.difference(&known).collect();
    let healed: Vec<_> = known.difference(&failed).collect();
    assert!(
        fresh.is_empty(),
        "steps fail that are not listed: {fresh:?}"
    );
    assert!(
        healed.is_empty(),
        "steps are listed as failing, but pass: {healed:?}"
    );
    assert!(
        share >= WANTED,
        "only {:.1} % of the driver's steps match",
        share * 100.0
    );
}
