//! Turns the definitions of the commit before and every manifest that we show into what this tree
//! still takes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use bb_lab_harness::{Cluster, Options, chart, paths};
use bb_tests::narrowed::findings;
use bb_tests::site::{client_of, documents};
use bb_tests::upgrade::told;
use serde_json::{Value, json};

/// What was narrowed with open eyes: lines of findings. What is there no more is ignored.
const MEANT: &str = include_str!("narrowed.txt");
/// Where manifests are, and pages with manifests in them.
const PLACES: [&str; 3] = ["examples", "tests/src/sweep", "docs"];
const DEFINITIONS: &str = "charts/bitbuilder/files/crds";

fn git(args: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(args)
        .current_dir(paths::root())
        .output()
        .context("cannot run git")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {args:?} failed: {words}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes the definitions of a commit into a folder, and gives them.
fn definitions_of(commit: &str, folder: &Path) -> Result<Vec<Value>> {
    std::fs::create_dir_all(folder)?;
    let tree = format!("{commit}:{DEFINITIONS}");
    let names = git(&["ls-tree", "--name-only", &tree])?;
    let mut all = Vec::new();
    for name in names.lines() {
        let text = git(&["show", &format!("{tree}/{name}")])?;
        all.extend(documents(&text)?);
        std::fs::write(folder.join(name), text)?;
    }
    Ok(all)
}

/// Every object of our kinds in manifests and pages below a folder, as it is in `default`.
fn manifests(folder: &Path, found: &mut Vec<Value>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            manifests(&path, found)?;
            continue;
        }
        let ending = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        let texts = match ending {
            "yaml" => vec![std::fs::read_to_string(&path)?],
            "md" => {
                let text = std::fs::read_to_string(&path)?;
                let blocks = text.split("```yaml\n").skip(1);
                let blocks = blocks.filter_map(|rest| rest.split("```").next());
                blocks.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        for text in texts
            .iter()
            .filter(|text| text.contains("bitbuilder.cloud/v1alpha1"))
        {
            for mut object in documents(text)? {
                if object["apiVersion"] != "bitbuilder.cloud/v1alpha1" {
                    continue;
                }
                if object["metadata"]["namespace"].is_string() {
                    object["metadata"]["namespace"] = json!("default");
                }
                found.push(object);
            }
        }
    }
    Ok(())
}

#[tokio::test]
#[allow(
    clippy::print_stdout,
    reason = "scripts/levels.py counts tests that had nothing to look at"
)]
async fn what_the_commit_before_took_is_still_taken_and_no_field_is_lost() -> Result<()> {
    let commit = match told("--commit")? {
        Ok(commit) => commit,
        Err(reason) => {
            println!("skipped: {reason}");
            return Ok(());
        }
    };
    let scratch = paths::scratch()?;
    std::fs::create_dir_all(&scratch)?;
    let dir = tempfile::tempdir_in(scratch)?;
    let folder = dir.path().join("crds");
    let old = definitions_of(&commit, &folder)?;
    let mut new = Vec::new();
    for entry in std::fs::read_dir(chart::crds())? {
        new.extend(documents(&std::fs::read_to_string(entry?.path())?)?);
    }
    let meant: BTreeSet<&str> = MEANT.lines().collect();
    let found = findings(&old, &new);
    for finding in found.iter().filter(|finding| !finding.certain) {
        println!("perhaps narrower: {}", finding.words);
    }
    let certain = found.iter().filter(|finding| finding.certain);
    let lost: Vec<&str> = certain
        .map(|finding| finding.words.as_str())
        .filter(|words| !meant.contains(words))
        .collect();
    ensure!(
        lost.is_empty(),
        "the definitions take or keep less than those of {commit}; where that is meant, put the \
         lines into tests/tests/api_crds/narrowed.txt: {lost:#?}"
    );

    let mut objects = Vec::new();
    for place in PLACES {
        manifests(&paths::root().join(place), &mut objects)?;
    }
    ensure!(objects.len() > 20, "only {} manifests", objects.len());
    let mut options = Options::new(dir.path().join("k8s"));
    options.existing = None;
    options.manifests = vec![folder];
    let before = Cluster::start(options).await?;
    let (then, now) = (
        client_of(before.kubeconfig()).await?,
        crate::client().await?,
    );
    let mut taken = 0;
    for object in &objects {
        if crate::create(&then, object, true).await.is_err() {
            continue;
        }
        taken += 1;
        if let Err(error) = crate::create(&now, object, true).await {
            bail!("what {commit} took is refused: {error}: {object}");
        }
    }
    before.stop()?;
    // Manifests of this tree that use what is new are refused there; most are not new.
    ensure!(
        taken * 2 > objects.len(),
        "only {taken} of {}",
        objects.len()
    );
    println!("{taken} of {} manifests were taken, and are", objects.len());
    Ok(())
}
