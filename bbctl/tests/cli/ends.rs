//! How bbctl ends when something is not as it should be: exit codes, streams, time.

use std::io::Read as _;
use std::net::TcpListener;
use std::time::Instant;

use crate::support::{Around, bbctl};
use bbctl::error::Exit;
use serde_json::Value;

/// A kubeconfig for a server, in a folder of its own.
fn kubeconfig(server: &str) -> (tempfile::TempDir, Around) {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let path = dir.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
         clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\n\
         contexts: [{{name: a, context: {{cluster: c, user: u, namespace: acme}}}}]\n"
    );
    std::fs::write(&path, text).expect("the folder is ours");
    let around = Around::default().env("KUBECONFIG", &path.to_string_lossy());
    (dir, around)
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

/// A server that takes connections and never answers.
fn mute() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 1024]);
            open.push(stream);
        }
    });
    format!("http://{address}")
}

const ASKING: [&str; 8] = [
    "get instances",
    "get instance www-1",
    "describe instance www-1",
    "status",
    "wait instance/www-1",
    "delete instance www-1",
    "test-vyos r1",
    "apply -f -",
];

const NETWORK: &str = "apiVersion: bitbuilder.cloud/v1alpha1\nkind: Network\n\
    metadata: {name: web}\nspec: {ipv4: {prefix: 10.0.0.0/24}}\n";

#[tokio::test]
async fn without_a_kubeconfig_every_command_says_where_to_put_one() {
    for words in ASKING {
        let ran = bbctl(
            words,
            Around {
                stdin: NETWORK.to_owned(),
                ..Around::default()
            },
        )
        .await;
        assert_eq!(ran.exit, Exit::Failure, "{words}");
        assert!(
            ran.stderr.contains("there is no kubeconfig"),
            "{words}: {}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("hint: name one with --kubeconfig"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn a_context_that_is_not_there_is_named_with_those_that_are() {
    let (_dir, around) = kubeconfig("http://127.0.0.1:1");
    let ran = bbctl("get instances --context=b", around).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.stderr.contains("no context `b`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--context: a"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_read_is_named() {
    let ran = bbctl(
        "get instances --kubeconfig=/nowhere/config",
        Around::default(),
    )
    .await;
    assert_eq!(ran.exit, Exit::Failure);
    assert!(ran.stderr.contains("/nowhere/config"), "{}", ran.stderr);
}

#[tokio::test]
async fn of_several_kubeconfigs_those_that_are_missing_are_passed_over() {
    let (dir, _) = kubeconfig(&nowhere());
    let list = format!("/nowhere/config:{}", dir.path().join("config").display());
    let ran = bbctl("get instances", Around::default().env("KUBECONFIG", &list)).await;
    assert!(
        ran.stderr.contains("cannot reach http://127.0.0.1:"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_by_every_command() {
    let server = nowhere();
    for words in ASKING {
        let (_dir, around) = kubeconfig(&server);
        let ran = bbctl(
            words,
            Around {
                stdin: NETWORK.to_owned(),
                ..around
            },
        )
        .await;
        assert_eq!(ran.exit, Exit::Failure, "{words}: {}", ran.stderr);
        assert!(ran.stderr.contains(&server), "{words}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{words}: {}", ran.stdout);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let server = mute();
    for words in ASKING {
        let (_dir, around) = kubeconfig(&server);
        let began = Instant::now();
        let words = format!("{words} --timeout=300ms");
        let ran = bbctl(
            &words,
            Around {
                stdin: NETWORK.to_owned(),
                ..around
            },
        )
        .await;
        assert_eq!(ran.exit, Exit::TimedOut, "{words}: {}", ran.stderr);
        assert!(began.elapsed().as_secs() < 5, "{words}");
        if !words.starts_with("wait") {
            assert!(ran.stderr.contains(&server), "{words}: {}", ran.stderr);
        }
    }
}

#[tokio::test]
async fn version_and_completion_work_without_a_server() {
    let (_dir, around) = kubeconfig(&nowhere());
    let ran = bbctl("version -o json", around).await;
    assert_eq!(ran.exit, Exit::Ok);
    let facts: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(facts["client"], env!("CARGO_PKG_VERSION"));
    assert!(facts.get("server").is_none());
}

#[tokio::test]
async fn errors_are_json_lines_where_json_is_asked_for() {
    let (_dir, around) = kubeconfig(&nowhere());
    let table = [
        ("get instances -o json", "Failure", 1),
        ("get instnaces --json", "Usage", 2),
        ("frobnicate -ojson", "Usage", 2),
        ("get instances --nonsense -o json", "Usage", 2),
        ("delete instances -o json", "Usage", 2),
    ];
    for (words, code, exit) in table {
        let ran = bbctl(words, around.clone()).await;
        assert_eq!(ran.exit.code(), exit, "{words}");
        assert!(ran.stdout.is_empty(), "{words}");
        let line: Value = serde_json::from_str(ran.stderr.trim()).unwrap();
        assert_eq!(line["level"], "error", "{words}");
        assert_eq!(line["code"], code, "{words}");
        assert_eq!(line["exit"], exit, "{words}");
        assert!(
            line["message"].is_string() && line["hint"].is_string(),
            "{words}: {line}"
        );
    }
}

#[tokio::test]
async fn an_error_of_the_server_carries_the_id_of_the_request() {
    let (_dir, around) = kubeconfig(&nowhere());
    let ran = bbctl("get instances -o json", around).await;
    let line: Value = serde_json::from_str(ran.stderr.trim()).unwrap();
    assert_eq!(line["requestId"].as_str().map(str::len), Some(36), "{line}");
}

#[tokio::test]
async fn a_reader_that_went_away_ends_it_without_a_word() {
    for words in [
        "",
        "--help",
        "help get",
        "completion zsh",
        "version --client",
    ] {
        let around = Around {
            stdout_is_closed: true,
            ..Around::default()
        };
        let ran = bbctl(words, around).await;
        assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""), "{words}");
    }
}

#[tokio::test]
async fn nothing_waits_for_an_answer_that_cannot_come() {
    let (_dir, around) = kubeconfig(&nowhere());
    for (words, _) in ASKING.iter().map(|words| (*words, ())) {
        let began = Instant::now();
        bbctl(&format!("{words} --no-input"), around.clone()).await;
        assert!(began.elapsed().as_secs() < 5, "{words}");
    }
}

#[test]
fn the_program_ends_with_the_number_that_the_library_says() {
    let run = |words: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_bbctl"))
            .args(words)
            .env_clear()
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    };
    assert_eq!(run(&["version", "--client"]).status.code(), Some(0));
    assert_eq!(run(&["frobnicate"]).status.code(), Some(2));
    let failed = run(&["get", "instances"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stdout.is_empty());
}
