//! How bbctl ends when something is not as it should be: exit codes, streams, time.

use std::io::Read as _;
use std::net::TcpListener;
use std::time::Instant;

use crate::support::{Around, bbctl};
use bbctl::error::Exit;
use serde_json::Value;

/// A kubeconfig for a server, in a folder of its own.
pub(crate) fn kubeconfig(server: &str) -> (tempfile::TempDir, Around) {
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

const ASKING: [&str; 9] = [
    "get instances",
    "get instance www-1",
    "get instances --watch",
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

/// The program on a terminal of its own, with an environment of its own; `None` where there is no
/// `script`, of util-linux.
fn on_a_terminal(words: &str, env: &[(&str, &str)]) -> std::process::Command {
    let line = format!(
        "stty rows 20 cols 90; exec {} {words}",
        env!("CARGO_BIN_EXE_bbctl")
    );
    let mut command = std::process::Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(env.iter().copied())
        .stdin(std::process::Stdio::null());
    command
}

fn seen(words: &str, env: &[(&str, &str)]) -> String {
    let done = on_a_terminal(words, env).output().expect("script runs");
    String::from_utf8(done.stdout).expect("it is text")
}

fn piped(words: &str, env: &[(&str, &str)]) -> String {
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_bbctl"))
        .args(words.split_whitespace())
        .env_clear()
        .envs(env.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("bbctl runs");
    String::from_utf8([done.stdout, done.stderr].concat()).expect("it is text")
}

/// Begins all that a colour and a cursor are made of.
const ESCAPE: char = '\u{1b}';

#[test]
fn the_program_colours_what_a_terminal_shows_and_nothing_else() {
    let (dumb, xterm) = (("TERM", "dumb"), ("TERM", "xterm"));
    let (no, force, cat) = (("NO_COLOR", "1"), ("FORCE_COLOR", "1"), ("PAGER", "cat"));
    // What goes to stdout, and what goes to stderr.
    for words in ["get --help", "frobnicate"] {
        for (env, coloured) in [
            (vec![xterm, cat], true),
            (vec![dumb, cat], false),
            (vec![xterm, cat, no], false),
            (vec![dumb, cat, force], true),
            (vec![xterm, cat, force, no], false),
        ] {
            let text = seen(words, &env);
            assert_eq!(text.contains(ESCAPE), coloured, "{words} {env:?}: {text}");
        }
        let text = seen(&format!("{words} --no-color"), &[xterm, cat, force]);
        assert!(!text.contains(ESCAPE), "{words} --no-color: {text}");
        for (env, coloured) in [
            (vec![xterm], false),
            (vec![force], true),
            (vec![force, no], false),
        ] {
            let text = piped(words, &env);
            assert_eq!(text.contains(ESCAPE), coloured, "{words} | {env:?}: {text}");
        }
    }
}

#[test]
fn a_terminal_gets_a_pager_for_what_is_longer_and_a_pipe_never() {
    let pager = ("PAGER", "sed 's/^/| /'");
    assert!(seen("help get", &[pager]).contains("\n| "));
    for words in ["help get --no-pager", "version --client", "frobnicate"] {
        assert!(!seen(words, &[pager]).contains("| "), "{words}");
    }
    assert!(!piped("help get", &[pager]).contains("\n| "));
    // A pager that is not there hides nothing.
    assert!(seen("help get", &[("PAGER", "no-such-pager")]).contains("Usage:"));
}

#[test]
fn ctrl_c_in_a_pager_is_the_pagers() {
    let pager = ("PAGER", "kill -INT $PPID; sleep 1; sed 's/^/| /'");
    let shown = seen("help get", &[pager]);
    assert!(shown.contains("\n| "), "{shown}");
}

#[test]
fn something_is_printed_soon_where_a_server_takes_its_time() {
    let (dir, _) = kubeconfig(&mute());
    let path = dir.path().join("config").display().to_string();
    let env = [("KUBECONFIG", path.as_str()), ("TERM", "xterm")];
    // The best of five: others use the machine as well.
    let times = (0..5).map(|_| {
        let mut child = on_a_terminal("get instances --timeout 2s", &env)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("script runs");
        let mut stdout = child.stdout.take().expect("it is a pipe");
        let began = Instant::now();
        let mut first = [0; 256];
        let read = stdout.read(&mut first).expect("it can be read");
        let took = began.elapsed();
        let first = String::from_utf8_lossy(&first[..read]).into_owned();
        assert!(
            first.starts_with("waiting for http://127.0.0.1:"),
            "{first}"
        );
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("it can be read");
        child.wait().expect("it ends");
        // The line is gone before what is said next.
        assert!(rest.starts_with("\r\u{1b}[K"), "{rest:?}");
        assert!(
            rest.contains("no answer from http://127.0.0.1:"),
            "{rest:?}"
        );
        took
    });
    let best = times.min().expect("five were tried");
    assert!(best < std::time::Duration::from_millis(100), "{best:?}");
    // Where no terminal reads, there is the failure and nothing else.
    let text = piped("get instances --timeout 300ms", &env);
    assert!(text.starts_with("error: "), "{text}");
}

/// A server that answers each request with the same document.
fn answering(document: String) -> String {
    use std::io::Write as _;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let document = document.clone();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
                     content-length: {}\r\n\r\n",
                    document.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), document.as_bytes()].concat());
            });
        }
    });
    format!("http://{address}")
}

pub(crate) fn interrupt(child: &std::process::Child) {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(sent.expect("kill runs").success());
}

/// More text than a pipe holds, written by a program whose reader does not read.
fn stuck() -> (tempfile::TempDir, std::process::Child) {
    let item = |n: usize| {
        serde_json::json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
            "metadata": {"name": format!("net-{n}"), "namespace": "acme"},
            "spec": {"ipv4": {"prefix": "10.0.0.0/24"}}})
    };
    let items: Vec<Value> = (0..2000).map(item).collect();
    let list = serde_json::json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "NetworkList",
        "metadata": {}, "items": items});
    let (dir, _) = kubeconfig(&answering(list.to_string()));
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_bbctl"))
        .args(["get", "networks", "-o", "json"])
        .env_clear()
        .env("KUBECONFIG", dir.path().join("config"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("bbctl runs");
    // Nobody reads on: wait until the kernel says that it waits for a reader.
    let place = format!("/proc/{}/wchan", child.id());
    let until = Instant::now() + std::time::Duration::from_secs(30);
    while !std::fs::read_to_string(&place).is_ok_and(|at| at.contains("pipe_write")) {
        assert!(Instant::now() < until, "it never waited for a reader");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    (dir, child)
}

#[test]
fn ctrl_c_ends_what_hangs_in_a_write_and_a_second_one_at_once() {
    let (_dir, mut child) = stuck();
    assert!(child.try_wait().unwrap().is_none(), "it does not hang");
    let began = Instant::now();
    interrupt(&child);
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(130));
    assert!(began.elapsed().as_millis() < 1000, "{:?}", began.elapsed());
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("goes on there"), "{said}");

    let (_dir, mut child) = stuck();
    let began = Instant::now();
    interrupt(&child);
    std::thread::sleep(std::time::Duration::from_millis(50));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(began.elapsed().as_millis() < 400, "{:?}", began.elapsed());
}

#[test]
fn called_by_the_name_of_a_plugin_the_program_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("kubectl-bb");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bbctl"), &link).unwrap();
    let done = std::process::Command::new(&link)
        .args(["get", "--help"])
        .env_clear()
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(text.contains("Usage: kubectl bb get"), "{text}");
    let done = std::process::Command::new(&link)
        .args(["networks", "frobnicate"])
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(2), "{done:?}");
}
