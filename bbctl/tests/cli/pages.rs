//! What of a long list is shown, and when.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};

use crate::ends::kubeconfig;

/// What the server answers when it is asked for the second page.
enum Second {
    Page,
    Refusal,
}

/// A list in two pages, the second of which the server keeps until it is told.
struct Long {
    _dir: tempfile::TempDir,
    child: Child,
    told: Sender<Second>,
    /// The requests for pages, by their query.
    asked: Receiver<String>,
}

fn page(names: &[&str], more: &str) -> String {
    let item = |name: &&str| {
        json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
            "metadata": {"name": name, "namespace": "acme"},
            "spec": {"ipv4": {"prefix": "10.0.0.0/24"}}})
    };
    let items: Vec<Value> = names.iter().map(item).collect();
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "NetworkList",
        "metadata": {"continue": more, "resourceVersion": "1"}, "items": items})
    .to_string()
}

fn answer(stream: &mut TcpStream, told: &Receiver<Second>, asked: &Sender<String>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or_default() == 0 {
        return;
    }
    let query = line
        .split_whitespace()
        .nth(1)
        .and_then(|path| path.split_once('?'));
    let query = query.map(|(_, query)| query.to_owned()).unwrap_or_default();
    while line.trim() != "" {
        line.clear();
        if reader.read_line(&mut line).unwrap_or_default() == 0 {
            return;
        }
    }
    let _ = asked.send(query.clone());
    let (status, body) = if query.contains("continue=next") {
        match told.recv() {
            Ok(Second::Page) => (
                "200 OK",
                page(&["a-name-much-longer-than-those-before"], ""),
            ),
            Ok(Second::Refusal) => (
                "410 Gone",
                json!({"kind": "Status", "apiVersion": "v1",
                "status": "Failure", "reason": "Expired", "code": 410,
                "message": "the provided continue parameter is too old"})
                .to_string(),
            ),
            Err(_) => return,
        }
    } else {
        ("200 OK", page(&["web", "db"], "next"))
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
}

impl Long {
    /// Runs `bbctl WORDS` before that server.
    fn run(words: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (told, hears) = channel();
        let (asks, asked) = channel();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                answer(&mut stream, &hears, &asks);
            }
        });
        let (dir, _) = kubeconfig(&format!("http://{address}"));
        // Whatever is wrong with it ends, and fails.
        let child = Command::new("timeout")
            .args(["60", env!("CARGO_BIN_EXE_bbctl")])
            .args(words.split_whitespace())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("KUBECONFIG", dir.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bbctl runs");
        Self {
            _dir: dir,
            child,
            told,
            asked,
        }
    }

    /// What it asked for, the first so many.
    fn queries(&self, count: usize) -> Vec<String> {
        let bound = std::time::Duration::from_secs(60);
        let next = |_| self.asked.recv_timeout(bound).expect("it asks");
        (0..count).map(next).collect()
    }

    /// The rest of what it writes and its exit code, once the server was told.
    fn end(mut self, second: Second, stdout: &mut impl std::io::Read) -> (String, String, i32) {
        self.told.send(second).expect("the server waits");
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("it writes text");
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("it is a pipe");
        stderr.read_to_string(&mut said).expect("it writes text");
        let code = self.child.wait().expect("it ends").code();
        (rest, said, code.expect("nobody killed it"))
    }
}

/// The first lines that come.
fn lines(stdout: &mut impl std::io::BufRead, count: usize) -> Vec<String> {
    let line = |_| {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it writes text");
        line.trim_end().to_owned()
    };
    (0..count).map(line).collect()
}

#[test]
fn a_pipe_has_the_first_lines_before_the_server_has_the_last() {
    let mut long = Long::run("get networks");
    let mut stdout = BufReader::new(long.child.stdout.take().unwrap());
    let first = lines(&mut stdout, 3);
    assert!(first[0].starts_with("NAME  READY"), "{first:?}");
    assert!(first[1].starts_with("web   Unknown"), "{first:?}");
    assert!(first[2].starts_with("db    Unknown"), "{first:?}");
    let queries = long.queries(2);
    assert!(queries[0].contains("limit=50"), "{queries:?}");
    assert!(queries[1].contains("limit=500"), "{queries:?}");
    let (rest, said, code) = long.end(Second::Page, &mut stdout);
    assert_eq!(rest.lines().count(), 1, "{rest}");
    assert!(
        rest.starts_with("a-name-much-longer-than-those-before  Unknown"),
        "{rest}"
    );
    assert_eq!((said.as_str(), code), ("", 0));
}

#[test]
fn a_table_that_breaks_off_says_so_and_fails() {
    let mut long = Long::run("get networks");
    let mut stdout = BufReader::new(long.child.stdout.take().unwrap());
    let first = lines(&mut stdout, 3);
    assert!(first[2].starts_with("db    Unknown"), "{first:?}");
    let (rest, said, code) = long.end(Second::Refusal, &mut stdout);
    assert_eq!((rest.as_str(), code), ("", 1));
    assert!(
        said.contains("cannot list networks in namespace acme"),
        "{said}"
    );
    assert!(said.contains("too old"), "{said}");
}

#[test]
fn what_programs_read_is_whole_or_not_there() {
    for format in ["json", "yaml", "name"] {
        let mut long = Long::run(&format!("get networks -o {format}"));
        let mut stdout = long.child.stdout.take().unwrap();
        let queries = long.queries(2);
        assert!(
            queries.iter().all(|query| query.contains("limit=500")),
            "{queries:?}"
        );
        let (rest, _, code) = long.end(Second::Refusal, &mut stdout);
        assert_eq!((rest.as_str(), code), ("", 1), "{format}");
    }
    let mut long = Long::run("get networks -o json");
    let mut stdout = long.child.stdout.take().unwrap();
    let (rest, _, code) = long.end(Second::Page, &mut stdout);
    let document: Value = serde_json::from_str(&rest).unwrap();
    assert_eq!(document["items"].as_array().unwrap().len(), 3);
    assert_eq!(code, 0);
}
