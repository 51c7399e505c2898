//! Turns what all tests left behind into a verdict: which secrets were shown, and where.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bb_lab_harness::paths;
use bb_tests::trace::folder;

/// What tests set as keys, tokens and passwords, and nothing may show.
const SECRETS: [&str; 6] = [
    "key-of-r1",
    "key-of-r2",
    "another-key-of-this-router",
    "another-secret-of-this-token",
    "op-of-the-lab",
    "5f1dc0de-1ab0-4000-a000-0000b17b111d",
];

#[expect(clippy::print_stdout, reason = "the verdict is what it is for")]
fn main() -> Result<ExitCode> {
    let mut texts = vec![paths::root().join("target/test.log")];
    for folder in [paths::root().join("target/journal"), folder()] {
        if folder.is_dir() {
            texts.extend(files(&folder)?);
        }
    }
    let mut shown = 0;
    for text in &texts {
        for secret in said(text)? {
            println!("{} shows {secret}", text.display());
            shown += 1;
        }
    }
    println!(
        "secrets: {} files of logs, events, objects, journals and processes searched for {}: {shown} shown",
        texts.len(),
        SECRETS.len(),
    );
    Ok(ExitCode::from(u8::from(shown > 0)))
}

/// Every file below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// The secrets that a file shows.
fn said(file: &Path) -> Result<Vec<&'static str>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let shown = SECRETS.into_iter().filter(|secret| text.contains(secret));
    Ok(shown.collect())
}
