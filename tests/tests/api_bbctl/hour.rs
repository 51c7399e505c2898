//! Turns the session in docs/first-hour.md into commands that are run, and compares what they say.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use bb_lab_harness::paths;
use bb_tests::{Site, SiteOptions};
use tokio::process::Command;

use crate::around::BOUND;
use crate::guests::{self, Guests};

/// A command of the page, and the lines that it is to say in that order.
#[derive(Debug)]
struct Step {
    command: String,
    says: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (line, line.strip_prefix("$ ")) {
            ("```console", _) => inside = true,
            ("```", _) => inside = false,
            (_, Some(command)) if inside => steps.push(Step {
                command: command.to_owned(),
                says: Vec::new(),
            }),
            (line, None) if inside => {
                if let Some(step) = steps.last_mut() {
                    step.says.push(line.to_owned());
                }
            }
            _ => {}
        }
    }
    steps
}

/// Whether a line is as the page has it; `...` stands for anything.
fn fits(page: &str, line: &str) -> bool {
    let mut parts = page.split("...").map(str::trim);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.trim().strip_prefix(first) else {
        return false;
    };
    let mut last = first;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = part;
    }
    last.is_empty() || rest.is_empty() || page.trim_end().ends_with("...")
}

#[test]
fn lines_are_compared_with_room_for_what_differs() {
    for (page, line) in [
        ("a b", "a b"),
        ("a ... c", "a b b c"),
        ("a ...", "a b"),
        ("... b", "a b"),
        ("10.0....", "10.0.0.1"),
    ] {
        assert!(fits(page, line), "{page}: {line}");
    }
    for (page, line) in [
        ("a b", "a c"),
        ("a ... c", "a b"),
        ("a ... c", "a c d"),
        ("b", "a b"),
    ] {
        assert!(!fits(page, line), "{page}: {line}");
    }
}

async fn run(step: &Step, dir: &mut PathBuf, home: &Path, site: &Site) -> Result<()> {
    let mut words = step.command.split_whitespace();
    match words.next() {
        Some("cd") => {
            dir.push(words.next().context("cd says where to")?);
            return Ok(());
        }
        Some("bbctl") => {}
        other => bail!("the page runs {other:?}, which this test cannot"),
    }
    let child = Command::new(paths::binary("bbctl")?)
        .args(words)
        .current_dir(&*dir)
        .env_clear()
        .env("KUBECONFIG", site.cluster.kubeconfig())
        .env("HOME", home)
        .env("BBCTL_SSH_CONFIG", home.join("ssh_config"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(BOUND, child)
        .await
        .context("bbctl does not end")??;
    let text = [output.stdout, output.stderr].map(String::from_utf8);
    let [stdout, stderr] = text;
    let (stdout, stderr) = (stdout?, stderr?);
    ensure!(
        output.status.success(),
        "{}: {stdout}{stderr}",
        step.command
    );
    // Each stream keeps the page's order in itself.
    let mut streams = [stdout.lines(), stderr.lines()];
    for says in &step.says {
        let found = streams.iter_mut().any(|stream| {
            let mut ahead = stream.clone();
            let found = ahead.any(|line| fits(says, line));
            if found {
                *stream = ahead;
            }
            found
        });
        ensure!(
            found,
            "{}: the page says\n{says}\nand it says\n{stdout}{stderr}",
            step.command
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_hour_is_as_the_page_says() -> Result<()> {
    let mut options = SiteOptions::default();
    options.flags.push("--leader-elect".to_owned());
    let site = Site::start(options).await?;
    // The page begins where the controller has looked at every router and cluster.
    site.all_ready(BOUND).await?;
    let before = site.outside();
    let page = std::fs::read_to_string(paths::root().join("docs/first-hour.md"))?;
    let steps = steps(&page);
    ensure!(steps.len() >= 9, "{steps:?}");
    let home = tempfile::tempdir()?;
    let ssh = home.path().join(".ssh");
    std::fs::create_dir(&ssh)?;
    let key = ssh.join("id_ed25519");
    guests::key_pair(&key).await?;
    let mut dir = home.path().to_path_buf();
    let mut guests = Guests::default();
    for step in &steps {
        if step.command.contains(" instances ssh ") || step.command.contains(" instances exec ") {
            let name = step.command.split_whitespace().nth(3).context("a name")?;
            let address = guests.start(name, &site).await?;
            guests::lead(&home.path().join("ssh_config"), &key, address)?;
        }
        run(step, &mut dir, home.path(), &site).await?;
    }
    ensure!(guests.logins() >= 2, "nobody logged in");
    guests.stop().await;
    assert_eq!(site.outside(), before);
    site.stop().await
}
