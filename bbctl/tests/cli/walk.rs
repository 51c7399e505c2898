//! What holds for every command of the tree: what reads, what writes, what never hangs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bbctl::cli;

use crate::support::{Around, bbctl};

/// Commands that change something: on the server, or the user's own files.
const WRITES: [&str; 5] = ["apply", "delete", "edit", "create", "use"];

/// Those of nouns alone.
const WRITES_OF_NOUNS: [&str; 12] = [
    "providers add",
    "instances start",
    "instances stop",
    "instances restart",
    "instances resize",
    "instances rebuild",
    "volumes attach",
    "volumes detach",
    "volumes resize",
    "tenants add-member",
    "tenants remove-member",
    "tenants use",
];

/// Commands that neither read nor write objects.
const LOCAL: [&str; 3] = ["completion", "help", "man"];

/// Commands that other tests walk through: they ask people, draw screens or have more to say.
const ELSEWHERE: [&str; 4] = ["config", "doctor", "init", "launch"];

/// Flags that sound like a secret and are none.
const NO_SECRET: [(&str, &str); 3] = [
    ("ssh-host-key", "the fingerprint of a public key"),
    ("ssh-key", "a file with a key"),
    ("secrets", "the namespace of Secrets"),
];

/// Commands without commands below, but for those that other tests walk through.
fn leaves() -> Vec<(String, clap::Command)> {
    let mut all = every();
    all.retain(|(words, _)| {
        let first = words.split(' ').next().unwrap_or_default();
        !LOCAL.contains(&first) && !ELSEWHERE.contains(&first)
    });
    all
}

/// All commands without commands below.
fn every() -> Vec<(String, clap::Command)> {
    fn walk(words: &str, command: &clap::Command, all: &mut Vec<(String, clap::Command)>) {
        let below: Vec<_> = command
            .get_subcommands()
            .filter(|c| !c.is_hide_set())
            .collect();
        if below.is_empty() {
            all.push((words.to_owned(), command.clone()));
        }
        for below in below {
            let words = format!("{words} {}", below.get_name());
            walk(words.trim(), below, all);
        }
    }
    let mut root = cli::command(80, None);
    root.build();
    let mut all = Vec::new();
    walk("", &root, &mut all);
    all
}

fn writes(words: &str) -> bool {
    let verb = words.split(' ').next_back().unwrap_or_default();
    WRITES.contains(&verb) || WRITES_OF_NOUNS.contains(&words)
}

fn flags(command: &clap::Command) -> BTreeSet<String> {
    let flags = command.get_arguments().filter_map(|arg| arg.get_long());
    flags.map(str::to_owned).collect()
}

#[test]
fn every_command_that_writes_can_be_tried_confirmed_and_run_without_a_person() {
    let mut seen = 0;
    for (words, command) in leaves().iter().filter(|(words, _)| writes(words)) {
        let flags = flags(command);
        for flag in ["yes", "dry-run", "no-input", "output", "json"] {
            assert!(flags.contains(flag), "{words} has no --{flag}");
        }
        seen += 1;
    }
    assert!(seen > 25, "only {seen} commands write");
}

#[test]
fn every_command_that_reads_takes_a_format_and_has_nothing_to_confirm() {
    let mut seen = 0;
    for (words, command) in leaves().iter().filter(|(words, _)| !writes(words)) {
        let flags = flags(command);
        for flag in ["output", "json", "timeout", "namespace", "context"] {
            assert!(flags.contains(flag), "{words} has no --{flag}");
        }
        assert!(
            !flags.contains("dry-run"),
            "{words} writes: name it in this test"
        );
        seen += 1;
    }
    assert!(seen > 25, "only {seen} commands read");
}

/// A command line of the command with a word at every place that needs one.
fn line(words: &str, command: &clap::Command) -> String {
    let mut line = words.to_owned();
    for arg in command
        .get_positionals()
        .filter(|arg| arg.is_required_set())
    {
        line.push_str(match arg.get_id().as_str() {
            "size" => " 1Gi",
            "words" => " network/web",
            _ => " web",
        });
    }
    for arg in command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && arg.is_required_set())
    {
        line.push_str(&format!(" --{} 10", arg.get_long().unwrap_or_default()));
    }
    line
}

#[tokio::test]
async fn with_stdin_closed_no_command_waits_and_each_names_the_server_or_the_flag() {
    for (words, command) in leaves() {
        let line = line(&words, &command);
        let began = Instant::now();
        let ran = bbctl(&line, Around::default()).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{line}");
        let offline = words == "version" || ran.exit.code() == 2;
        assert!(
            offline || ran.stderr.contains("there is no kubeconfig"),
            "{line}: {ran:?}"
        );
        let ran = bbctl(&format!("{line} --json"), Around::default()).await;
        for error in ran.stderr.lines() {
            let error: serde_json::Value = serde_json::from_str(error).expect("a line of JSON");
            assert!(error["message"].is_string(), "{line}: {error}");
        }
    }
}

#[tokio::test]
async fn what_would_be_made_is_shown_without_a_server() {
    for (words, command) in leaves()
        .iter()
        .filter(|(words, _)| words.ends_with(" create"))
    {
        if words.starts_with("images") || words.starts_with("providers") {
            continue;
        }
        let network = if words.starts_with("instances") {
            " --network web"
        } else {
            ""
        };
        let line = format!("{}{network} --dry-run=client -o json", line(words, command));
        let ran = bbctl(&line, Around::default()).await;
        assert_eq!(ran.exit.code(), 0, "{line}: {ran:?}");
        let made: serde_json::Value = serde_json::from_str(&ran.stdout).expect("one document");
        assert_eq!(made["metadata"]["name"], "web", "{line}");
        assert!(made["spec"].is_object(), "{line}");
    }
}

fn parsed(line: &str) -> Result<cli::Cli, clap::Error> {
    let argv = std::iter::once("bbctl").chain(line.split_whitespace());
    cli::parse(&argv.map(Into::into).collect::<Vec<_>>(), 80)
}

#[test]
fn no_flag_takes_a_secret() {
    let mut harmless = BTreeSet::new();
    for (words, command) in every() {
        for flag in flags(&command) {
            let words_of_it: Vec<&str> = flag.split('-').collect();
            let sounds = [
                "key",
                "token",
                "password",
                "passphrase",
                "secret",
                "secrets",
            ];
            if !words_of_it.iter().any(|word| sounds.contains(word)) || flag.ends_with("-file") {
                continue;
            }
            let known = NO_SECRET.iter().find(|(name, _)| *name == flag);
            assert!(
                known.is_some(),
                "{words} --{flag} shows its value to whoever lists processes"
            );
            harmless.insert(flag);
        }
    }
    let named: BTreeSet<String> = NO_SECRET
        .iter()
        .map(|(flag, _)| (*flag).to_owned())
        .collect();
    assert_eq!(harmless, named, "what is excused is no flag any more");
}

#[test]
fn no_part_of_a_name_is_a_command() {
    fn walk(before: &str, command: &clap::Command, tried: &mut usize) {
        let below = || command.get_subcommands();
        let names: BTreeSet<&str> = below()
            .flat_map(|c| std::iter::once(c.get_name()).chain(c.get_all_aliases()))
            .collect();
        for name in &names {
            for (end, _) in name.char_indices().skip(1) {
                let part = &name[..end];
                // Where the part is a name of its own, that one is meant.
                if names.contains(part) {
                    continue;
                }
                let line = format!("{before} {part}");
                let error = parsed(&line).expect_err(&line);
                assert_eq!(error.exit_code(), 2, "{line}: {error}");
                *tried += 1;
            }
        }
        for command in below() {
            walk(&format!("{before} {}", command.get_name()), command, tried);
        }
    }
    let mut tried = 0;
    walk("", &cli::command(80, None), &mut tried);
    assert!(tried > 300, "only {tried} parts were tried");
}

#[test]
fn flags_stand_where_one_likes_and_two_dashes_end_them() {
    let mut tried = 0;
    for (words, command) in every() {
        // What it runs elsewhere stands behind the dashes, flags and all.
        if words == "instances exec" {
            continue;
        }
        let line = whole(&words, &command);
        let Ok(last) = parsed(&format!("{line} -n acme --no-color --timeout 7s")) else {
            panic!("{line} is not understood");
        };
        for other in [
            format!("-n acme {line} --timeout 7s --no-color"),
            format!("--timeout=7s --no-color {line} --namespace=acme"),
            format!("--no-color --timeout=7s -nacme {line}"),
        ] {
            let cli = parsed(&other).unwrap_or_else(|error| panic!("{other}: {error}"));
            assert_eq!(format!("{cli:?}"), format!("{last:?}"), "{other}");
        }
        // Behind the dashes everything is a word, if the command takes words at all.
        if let Ok(cli) = parsed(&format!("{line} -- --json")) {
            assert!(!cli.globals.json, "{line}");
            assert!(format!("{:?}", cli.verb).contains("--json"), "{line}");
        }
        assert!(!cli::wants_json(
            &["bbctl", "get", "--", "--json"].map(Into::into)
        ));
        tried += 1;
    }
    assert!(tried > 60, "only {tried} commands were tried");
}

/// As `line`, with what `required` says of groups of flags.
fn whole(words: &str, command: &clap::Command) -> String {
    let line = line(words, command);
    match words {
        "providers add" => format!("{line} --vyos https://r1 --router-id 10.0.0.1 --sha256 AB"),
        "test-proxmox" => format!("{line} web --sha256 AB"),
        "images create" => format!("{line} --template 9000"),
        "completion" => "completion bash".to_owned(),
        "test-vyos" => "test-vyos r1".to_owned(),
        "delete" | "describe" | "get" | "edit" | "wait" => format!("{words} network/web"),
        _ => line,
    }
}

/// All sources of the program, by path below `src`, without their tests.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &std::path::Path, all: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).expect("a folder of sources") {
            let path = entry.expect("an entry of it").path();
            if path.is_dir() {
                walk(&path, all);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a file of sources");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            all.push((path.display().to_string(), text.to_owned()));
        }
    }
    let mut all = Vec::new();
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    walk(&src, &mut all);
    all
}

/// Nothing is told to anybody but the API server, router or cluster that flags and files name:
/// the few places that open connections get their address from there.
#[test]
fn connections_are_opened_in_few_places_and_no_address_is_built_in() {
    let opens = [
        "TcpStream",
        "UdpSocket",
        "UnixStream",
        "lookup_host",
        "reqwest",
        "hyper",
        "Client::try_from",
        "Endpoint::new",
        "::connect(",
    ];
    let mut places = BTreeSet::new();
    for (path, text) in sources() {
        if opens.iter().any(|word| text.contains(word)) {
            let (_, below) = path.split_once("/src/").unwrap();
            places.insert(below.to_owned());
        }
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for (at, _) in line.match_indices("://") {
                let host = &line[at + 3..];
                // For documentation, made from what is said, or where a hint sends people.
                let known = [
                    "192.0.2.",
                    "pve1.example",
                    "HOST",
                    "{",
                    "\"",
                    "[^",
                    "kubectl.docs.",
                ];
                assert!(
                    known.iter().any(|word| host.starts_with(word)),
                    "{path}: {line}"
                );
            }
        }
    }
    let known = [
        "checks.rs",
        "connect.rs",
        "remote/login.rs",
        "start/test_proxmox.rs",
    ]
    .map(str::to_owned);
    assert_eq!(places, BTreeSet::from(known));
}
