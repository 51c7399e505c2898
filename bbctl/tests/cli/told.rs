//! The commands that bbctl tells a person to type: each carries the flags on that say where.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bbctl::cli;

use crate::support::{Around, run};

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).expect("a folder of sources");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        match path.is_dir() {
            true => sources(&path, all),
            false => all.push(path),
        }
    }
}

/// What stands before each command of bbctl in a line of its sources.
fn before(line: &str, verbs: &[String]) -> Vec<String> {
    let at = line.match_indices("bbctl ");
    let told = at.filter(|(at, word)| {
        let rest = &line[at + word.len()..];
        let mut verb = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let verb = verb.next().unwrap_or_default();
        verbs.iter().any(|known| known == verb)
    });
    told.map(|(at, _)| line[..at].to_owned()).collect()
}

/// Whether what stands there makes it a command that carries flags on, or an example.
fn is_carried(before: &str) -> bool {
    let in_code = before.matches('`').count() % 2 == 1;
    // Examples of the help stand two spaces in, which no code does.
    let is_example = before.starts_with("  ") && !before.starts_with("   ");
    in_code || is_example || before.ends_with("\\n  ") || before.contains("override_usage")
}

#[test]
fn every_command_that_is_told_is_one_that_carries_flags_on() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    // The dashboard runs its commands itself, and shows them with all their flags.
    files.retain(|file| !file.starts_with(folder.join("ui")));
    // What these do is the same everywhere.
    let is_local = |verb: &str| ["help", "config", "init"].contains(&verb);
    let command = cli::command(80, None);
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let names =
        verbs.flat_map(|verb| std::iter::once(verb.get_name()).chain(verb.get_all_aliases()));
    let verbs: Vec<String> = names
        .filter(|verb| !is_local(verb))
        .map(str::to_owned)
        .collect();
    let (mut seen, mut bare) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim().starts_with("//")) {
            for before in before(line, &verbs) {
                seen += 1;
                if !is_carried(&before) {
                    bare.push(format!("{}: {}", file.display(), line.trim()));
                }
            }
            if line.contains("\"next: ") && !file.ends_with("src/next.rs") {
                bare.push(format!("{}: {}", file.display(), line.trim()));
            }
        }
    }
    assert!(seen > 100, "{seen} commands are in the sources");
    assert!(bare.is_empty(), "told without flags:\n{}", bare.join("\n"));
}

#[test]
fn a_bare_command_would_be_found() {
    let verbs = ["wait".to_owned()];
    let of = |line: &str| before(line, &verbs).iter().all(|before| is_carried(before));
    assert!(!of(r#"hint("bbctl wait x")"#) && !of(r#"note("next: bbctl wait x")"#));
    assert!(of(r#"hint("see `bbctl wait x`")"#) && of("  bbctl wait x"));
    assert!(before(r#""this bbctl waits""#, &verbs).is_empty());
}

/// A kubeconfig of a server that is not there.
fn nowhere(folder: &Path) -> String {
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
        clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n\
        contexts: [{name: a, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n";
    let path = folder.join("my config");
    std::fs::write(&path, text).expect("a file is written");
    path.display().to_string()
}

#[tokio::test]
async fn the_hint_of_a_failure_means_the_same_cluster_in_text_and_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let config = nowhere(folder.path());
    let flags = ["--kubeconfig", &config, "--context", "a", "-n", "b"];
    let want = format!("`bbctl apply -f FILE -n b --context a --kubeconfig '{config}'`");
    for more in [&[][..], &["--json"][..]] {
        let words = ["bbctl", "edit", "network", "x"];
        let words = words.iter().chain(&flags).chain(more).copied();
        let words: Vec<OsString> = words.map(Into::into).collect();
        let ran = run(&words, Around::default()).await;
        assert!(ran.stderr.contains(&want), "{}", ran.stderr);
    }
}
