//! The tree of commands as a user meets it: help, examples, groups, typing mistakes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use crate::support::{Around, bbctl};
use bbctl::cli::{self, GROUPS, STARTER};
use bbctl::error::Exit;
use bbctl::reference;
use clap::error::ErrorKind;

/// Every command of the tree with its words, the root first.
fn tree() -> Vec<(String, clap::Command)> {
    fn walk(words: &str, command: &clap::Command, all: &mut Vec<(String, clap::Command)>) {
        all.push((words.to_owned(), command.clone()));
        for below in command
            .get_subcommands()
            .filter(|below| !below.is_hide_set())
        {
            let words = format!("{words} {}", below.get_name());
            walk(words.trim(), below, all);
        }
    }
    let mut all = Vec::new();
    walk("", &cli::command(80, None), &mut all);
    all
}

fn help(words: &str, width: usize) -> String {
    let argv = std::iter::once("bbctl")
        .chain(words.split_whitespace())
        .chain(["--help"]);
    let argv: Vec<OsString> = argv.map(Into::into).collect();
    cli::parse(&argv, width)
        .expect_err("help is no command")
        .render()
        .to_string()
}

/// The command lines of a text that begin with `bbctl`, redirections and pipes cut off.
fn examples(text: &str) -> Vec<Vec<OsString>> {
    let text = text.replace("\\\n    ", "");
    let lines = text
        .lines()
        .filter_map(|line| Some(line.get(line.find("bbctl ")?..)?.to_owned()));
    let mut all = Vec::new();
    for line in lines {
        for part in line
            .split('|')
            .map(str::trim)
            .filter(|part| part.starts_with("bbctl "))
        {
            let end = part.find(['>', ')']).unwrap_or(part.len());
            // Two spaces begin a remark.
            let command = part[..end].split("  ").next().unwrap_or_default();
            all.push(command.split_whitespace().map(Into::into).collect());
        }
    }
    all
}

#[test]
fn help_of_the_root_is_as_it_was_reviewed() {
    insta::assert_snapshot!("root", help("", 80));
}

/// Says what of a folder differs from pages, and writes them where `UPDATE` says so.
fn stale(dir: &Path, pages: &[(String, String)]) -> Vec<String> {
    if std::env::var_os("UPDATE").is_some() {
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir_all(dir).expect("docs can be written");
        for (name, text) in pages {
            std::fs::write(dir.join(name), text).expect("docs can be written");
        }
    }
    let names: BTreeSet<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    let there = std::fs::read_dir(dir).expect("docs/cli is there");
    let there = there.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut stale: Vec<String> = there.filter(|n| !names.contains(n.as_str())).collect();
    for (name, text) in pages {
        if std::fs::read_to_string(dir.join(name)).ok().as_ref() != Some(text) {
            stale.push(name.clone());
        }
    }
    stale
}

#[test]
fn the_pages_in_docs_are_those_that_the_commands_make() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli");
    let stale = stale(&dir, &reference::markdown());
    assert!(
        stale.is_empty(),
        "{stale:?}: write them anew with UPDATE=1 cargo test -p bbctl --test cli the_pages"
    );
}

#[test]
fn every_command_has_a_man_page() {
    let pages = reference::man().unwrap();
    let names: BTreeSet<String> = pages.iter().map(|(name, _)| name.clone()).collect();
    for (words, _) in tree() {
        let name = format!("bbctl {words}").trim().replace(' ', "-");
        assert!(names.contains(&format!("{name}.1")), "{name}");
    }
    for (name, text) in pages {
        for part in [".TH", ".SH NAME", ".SH SYNOPSIS"] {
            assert!(text.contains(part), "{name} lacks {part}");
        }
    }
}

#[test]
fn every_command_has_examples_and_all_of_them_are_understood() {
    for (words, _) in tree().into_iter().filter(|(words, _)| !words.is_empty()) {
        let text = help(&words, 80);
        let (_, below) = text
            .split_once("Examples:")
            .unwrap_or_else(|| panic!("{words}: none"));
        let all = examples(below);
        assert!(!all.is_empty(), "{words}");
        for argv in all {
            assert!(cli::parse(&argv, 80).is_ok(), "{words}: {argv:?}");
        }
    }
}

#[test]
fn help_fits_the_terminal_and_never_more_than_120() {
    for (width, limit) in [(80, 80), (200, 120)] {
        for (words, _) in tree() {
            for line in help(&words, width).lines() {
                assert!(line.chars().count() <= limit, "{words} at {width}: {line}");
            }
        }
    }
}

#[test]
fn every_command_is_in_one_group_of_the_help() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for name in GROUPS.iter().flat_map(|(_, names)| *names) {
        *seen.entry((*name).to_owned()).or_default() += 1;
    }
    let verbs = cli::command(80, None);
    let verbs: BTreeMap<String, usize> = verbs
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .map(|verb| (verb.get_name().to_owned(), 1))
        .collect();
    assert_eq!(seen, verbs);
}

#[tokio::test]
async fn bbctl_alone_says_how_to_start_in_25_lines() {
    let ran = bbctl("", Around::default()).await;
    assert_eq!(ran.exit, Exit::Ok);
    assert_eq!(ran.stdout, STARTER);
    assert!(STARTER.lines().count() <= 25);
    let starters = examples(STARTER.split("\n\n").nth(1).unwrap());
    assert!(starters.len() >= 5, "{starters:?}");
    for argv in starters {
        match cli::parse(&argv, 80) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{argv:?}"),
        }
    }
}

#[tokio::test]
async fn each_way_to_ask_for_help_gives_it_without_a_server() {
    for (words, _) in tree() {
        let long = bbctl(&format!("{words} --help"), Around::default()).await;
        let short = bbctl(&format!("{words} -h"), Around::default()).await;
        let verb = bbctl(&format!("help {words}"), Around::default()).await;
        assert_eq!(
            (long.exit, short.exit, verb.exit),
            (Exit::Ok, Exit::Ok, Exit::Ok),
            "{words}"
        );
        assert!(!short.stdout.is_empty());
        assert_eq!(long.stdout, verb.stdout, "{words}");
    }
    let ran = bbctl("help get instances", Around::default()).await;
    assert_eq!(ran.exit, Exit::Usage);
}

#[tokio::test]
async fn a_typing_mistake_suggests_and_does_nothing() {
    let table = [
        ("instnaces", "did you mean `bbctl instances`?"),
        ("networks lsit", "did you mean `bbctl networks list`?"),
        ("volume frobnicate", "see `bbctl volumes --help`"),
        ("instances", "it takes list, get, describe"),
        ("gte", "did you mean `bbctl get`?"),
        ("describ", "did you mean `bbctl describe`?"),
        ("netwroks", "did you mean `bbctl networks`?"),
        ("frobnicate", "see `bbctl --help`"),
        (
            "get instances --al-namespaces",
            "did you mean `--all-namespaces`?",
        ),
        ("get instances -o jsn", "did you mean `json`?"),
        ("completion", "see `bbctl completion --help`"),
    ];
    for (words, hint) in table {
        let ran = bbctl(words, Around::default()).await;
        assert_eq!(ran.exit, Exit::Usage, "{words}");
        assert!(ran.stdout.is_empty(), "{words}");
        assert!(ran.stderr.starts_with("error: "), "{words}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(&format!("hint: {hint}")),
            "{words}: {}",
            ran.stderr
        );
    }
}

#[tokio::test]
async fn a_part_of_a_command_is_not_the_command() {
    for words in ["ge instances", "desc x", "stat"] {
        assert_eq!(
            bbctl(words, Around::default()).await.exit,
            Exit::Usage,
            "{words}"
        );
    }
}

#[test]
fn called_as_a_plugin_of_kubectl_it_says_so() {
    for name in ["bb", "bitbuilder"] {
        let program = format!("/usr/local/bin/kubectl-{name}");
        let argv = [program.as_str(), "get", "--help"].map(Into::into);
        let text = cli::parse(&argv, 80).unwrap_err().render().to_string();
        assert!(
            text.contains(&format!("Usage: kubectl {name} get")),
            "{text}"
        );
    }
}

#[test]
fn the_plugin_is_offered_under_a_name_of_its_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.krew.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let plugin: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    // As the guide of krew has it: small letters, whole words, nothing that any cloud could claim.
    assert_eq!(plugin["metadata"]["name"], "bitbuilder");
    let short = plugin["spec"]["shortDescription"].as_str().unwrap();
    assert!(short.len() <= 50 && !short.contains("kubectl"), "{short}");
    for platform in plugin["spec"]["platforms"].as_array().unwrap() {
        assert_eq!(platform["bin"], "bbctl");
        let files: Vec<&str> = platform["files"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|file| file["from"].as_str())
            .collect();
        assert_eq!(files, ["bbctl", "LICENSE"]);
    }
}

#[tokio::test]
async fn completion_is_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let ran = bbctl(&format!("completion {shell}"), Around::default()).await;
        assert_eq!(ran.exit, Exit::Ok);
        assert!(ran.stdout.contains("bbctl __complete"), "{shell}");
    }
}

/// What bash would offer for a command line whose last word is being completed.
fn offered_by_bash(words: &str, kubeconfig: &Path) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_bbctl"));
    let folder = program.parent().expect("a program is in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let script = format!(
        "source <(bbctl completion bash) && complete -p bbctl >/dev/null\n\
         COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _bbctl\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let done = std::process::Command::new("bash")
        .args(["--norc", "-ec", &script])
        .env_clear()
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("KUBECONFIG", kubeconfig)
        .output()
        .expect("bash runs");
    assert!(
        done.status.success(),
        "{words}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let text = String::from_utf8_lossy(&done.stdout);
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let nowhere = Path::new("/nowhere/config");
    assert_eq!(offered_by_bash("bbctl netw", nowhere), ["networks"]);
    assert_eq!(
        offered_by_bash("bbctl instances rest", nowhere),
        ["restart"]
    );
    assert_eq!(
        offered_by_bash("bbctl get networks --all", nowhere),
        ["--all-namespaces"]
    );
    assert_eq!(
        offered_by_bash("bbctl get networks -o j", nowhere),
        ["json"]
    );
    assert!(offered_by_bash("bbctl networks get ''", nowhere).is_empty());
}

#[test]
fn a_server_that_does_not_answer_holds_up_no_completion() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
         clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
         contexts: [{{name: a, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    );
    std::fs::write(&file, text).unwrap();
    // The kernel takes the connection; nobody ever answers. The best of three: others use the
    // machine as well.
    let times = (0..3).map(|_| {
        let began = std::time::Instant::now();
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_bbctl"))
            .args(["__complete", "--", "networks", "get", ""])
            .env_clear()
            .env("KUBECONFIG", &file)
            .output()
            .unwrap();
        assert!(done.status.success() && done.stdout.is_empty(), "{done:?}");
        began.elapsed()
    });
    let best = times.min().unwrap();
    assert!(best < std::time::Duration::from_millis(300), "{best:?}");
}

#[tokio::test]
async fn kubectl_is_told_what_could_come_next_in_its_own_form() {
    let argv = ["kubectl_complete-bb", "netw"].map(Into::into);
    let ran = crate::support::run(&argv, Around::default()).await;
    assert_eq!(ran.stdout, "networks\n:0\n");
}
