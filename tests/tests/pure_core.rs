//! What decides stays apart from what acts: the core has no clock, no client and no chance in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Crates that talk, wait or throw dice.
const FORBIDDEN: [&str; 12] = [
    "tokio",
    "async-std",
    "smol",
    "futures-util",
    "kube-client",
    "kube-runtime",
    "reqwest",
    "hyper",
    "ureq",
    "rand",
    "fastrand",
    "getrandom",
];

fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this crate is in a workspace")
}

/// The names of the crates that end up in a crate of the workspace, tests and builds apart.
fn crates_in(package: &str) -> Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--package", package])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo tree: {said}");
    let tree = String::from_utf8(output.stdout).context("cargo tree prints text")?;
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

#[test]
fn nothing_that_talks_waits_or_throws_dice_is_in_the_core() -> Result<()> {
    for package in ["bb-core", "bb-crds"] {
        let crates = crates_in(package)?;
        ensure!(
            crates.contains("serde"),
            "{package} is read wrongly: {crates:?}"
        );
        let found: Vec<&str> = FORBIDDEN
            .into_iter()
            .filter(|name| crates.contains(*name))
            .collect();
        ensure!(found.is_empty(), "{package} has {found:?} in it");
    }
    // The shell has them: the search would see one.
    let shell = crates_in("bb-controller")?;
    ensure!(
        shell.contains("tokio") && shell.contains("kube-client"),
        "{shell:?}"
    );
    Ok(())
}

#[test]
fn the_cores_lints_add_to_those_of_the_workspace() -> Result<()> {
    let read = |path: &str| {
        let path = root().join(path);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let core = read("controller/core/clippy.toml")?;
    let lines: BTreeSet<&str> = core.lines().map(str::trim).collect();
    let shared = read("clippy.toml")?;
    // A crate's own file replaces the workspace's.
    for entry in shared.lines().filter(|l| l.contains('=')) {
        ensure!(
            lines.contains(entry.trim()),
            "controller/core/clippy.toml lacks `{entry}`"
        );
    }
    for method in [
        "std::time::SystemTime::now",
        "std::env::var",
        "std::fs::read",
    ] {
        ensure!(
            core.contains(&format!("\"{method}\"")),
            "{method} is not refused"
        );
    }
    Ok(())
}
