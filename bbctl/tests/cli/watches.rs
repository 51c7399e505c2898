//! What a watch writes, before a server that goes away, comes back and refuses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::ends::{interrupt, kubeconfig};

/// What the server has, and how it answers.
#[derive(Default)]
struct State {
    list: Vec<Value>,
    /// It hangs up on whoever asks.
    down: bool,
    /// It lets nobody watch.
    refuses: bool,
}

/// What a watch is sent next.
enum Next {
    Event(&'static str, Value),
    /// The connection is closed.
    End,
}

/// The program before that server.
struct Watched {
    _dir: tempfile::TempDir,
    /// Gone with the test.
    _alive: Sender<()>,
    child: Child,
    stdout: BufReader<ChildStdout>,
    state: Arc<Mutex<State>>,
    tell: Sender<Next>,
    /// The requests for watches, by their query.
    asked: Receiver<String>,
}

fn network(name: &str, version: u32, reason: &str) -> Value {
    json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "Network",
        "metadata": {"name": name, "namespace": "acme", "uid": name, "generation": 1,
            "resourceVersion": version.to_string(), "managedFields": []},
        "spec": {"ipv4": {"prefix": "10.0.0.0/24"}},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": reason,
            "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
}

fn send(stream: &mut TcpStream, status: &str, body: &Value) {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
}

fn answer(
    mut stream: TcpStream,
    state: &Mutex<State>,
    hears: &Mutex<Receiver<Next>>,
    asks: &Sender<String>,
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let mut line = first.clone();
    while line.trim() != "" {
        line.clear();
        if reader.read_line(&mut line).unwrap_or_default() == 0 {
            return;
        }
    }
    let watches = first.contains("watch=true");
    {
        let state = state.lock().expect("nobody panics with it");
        if state.down {
            return;
        }
        if !watches {
            let list = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "NetworkList",
                "metadata": {"resourceVersion": "10"}, "items": state.list});
            return send(&mut stream, "200 OK", &list);
        }
        if state.refuses {
            let no = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": "Forbidden", "code": 403, "message": "you may not watch"});
            return send(&mut stream, "403 Forbidden", &no);
        }
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let _ = stream.write_all(head.as_bytes());
    let _ = asks.send(first);
    let hears = hears.lock().expect("one watches at a time");
    while let Ok(Next::Event(what, object)) = hears.recv() {
        let event = json!({"type": what, "object": object});
        let _ = stream.write_all(format!("{event}\n").as_bytes());
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A watch ends when it is ended, and a test may have failed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watched {
    /// Runs `bbctl WORDS` before a server with networks.
    fn run(words: &str, list: Vec<Value>, refuses: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (tell, hears) = channel();
        let (asks, asked) = channel();
        let state = Arc::new(Mutex::new(State {
            list,
            down: false,
            refuses,
        }));
        let (of_server, hears) = (state.clone(), Arc::new(Mutex::new(hears)));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (state, hears, asks) = (of_server.clone(), hears.clone(), asks.clone());
                std::thread::spawn(move || answer(stream, &state, &hears, &asks));
            }
        });
        let (dir, _) = kubeconfig(&format!("http://{address}"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_bbctl"))
            .args(words.split_whitespace())
            .env_clear()
            .env("KUBECONFIG", dir.path().join("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bbctl runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let pid = child.id();
        let (alive, over) = channel::<()>();
        std::thread::spawn(move || {
            // Whatever does not come in a minute does not come: then all that reads ends, and fails.
            if over.recv_timeout(std::time::Duration::from_secs(60))
                == Err(RecvTimeoutError::Timeout)
            {
                let _ = Command::new("kill")
                    .args(["-KILL", &pid.to_string()])
                    .status();
            }
        });
        Self {
            _dir: dir,
            _alive: alive,
            child,
            stdout,
            state,
            tell,
            asked,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it writes text");
        line.trim_end().to_owned()
    }

    fn tell(&self, next: Next) {
        self.tell.send(next).expect("the server hears");
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("nobody panics with it"));
    }

    /// The rest of what it writes and its exit code.
    fn end(mut self) -> (String, String, Option<i32>) {
        let (mut rest, mut said) = (String::new(), String::new());
        self.stdout
            .read_to_string(&mut rest)
            .expect("it writes text");
        let mut stderr = self.child.stderr.take().expect("it is a pipe");
        stderr.read_to_string(&mut said).expect("it writes text");
        (rest, said, self.child.wait().expect("it ends").code())
    }
}

#[test]
fn a_server_that_comes_back_tells_what_changed_meanwhile_and_nothing_twice() {
    let list = vec![network("db", 1, "Pending"), network("web", 2, "Pending")];
    let mut watched = Watched::run("networks list -w", list, false);
    let mut stderr = BufReader::new(watched.child.stderr.take().expect("it is a pipe"));
    let mut said = move || {
        let mut line = String::new();
        stderr.read_line(&mut line).expect("it writes text");
        line
    };
    let first = [watched.line(), watched.line(), watched.line()];
    assert!(first[0].starts_with("NAME  READY  REASON "), "{first:?}");
    assert!(first[1].starts_with("db    False  Pending "), "{first:?}");
    assert!(first[2].starts_with("web   False  Pending "), "{first:?}");
    let other = network("web", 11, "Refused");
    watched.tell(Next::Event("MODIFIED", other.clone()));
    let line = watched.line();
    assert!(line.starts_with("web   False  Refused "), "{line}");
    // Only its version is another: the line would be the same.
    watched.tell(Next::Event("MODIFIED", network("db", 12, "Pending")));
    watched.change(|state| state.down = true);
    watched.tell(Next::End);
    let lost = said();
    assert!(lost.starts_with("lost http://127.0.0.1:"), "{lost}");
    assert!(lost.contains(", trying again: "), "{lost}");
    watched.change(|state| {
        state.list = vec![network("app", 13, "Pending"), other];
        state.down = false;
    });
    let back = said();
    assert!(back.trim_end().ends_with(" is back"), "{back}");
    let next = [watched.line(), watched.line()];
    assert!(next[0].starts_with("db    -      Deleted "), "{next:?}");
    assert!(next[1].starts_with("app   False  Pending "), "{next:?}");
    interrupt(&watched.child);
    let mut rest = String::new();
    watched.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert_eq!(watched.child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_watch_in_json_is_one_event_a_line_and_ends_with_its_time() {
    let list = vec![network("web", 1, "Pending")];
    let began = std::time::Instant::now();
    let mut watched = Watched::run("get network web -w --json --timeout 5s", list, false);
    let first: Value = serde_json::from_str(&watched.line()).unwrap();
    assert_eq!(first["type"], "ADDED");
    assert_eq!(first["object"]["metadata"]["name"], "web");
    assert_eq!(first["object"]["metadata"].get("managedFields"), None);
    let query = watched.asked.recv().unwrap();
    assert!(query.contains("metadata.name%3Dweb"), "{query}");
    watched.tell(Next::Event("DELETED", network("web", 11, "Pending")));
    let last: Value = serde_json::from_str(&watched.line()).unwrap();
    assert_eq!(last["type"], "DELETED");
    assert_eq!(last["object"]["metadata"]["resourceVersion"], "11");
    assert_eq!(watched.end(), (String::new(), String::new(), Some(0)));
    assert!(began.elapsed().as_secs() >= 5, "{:?}", began.elapsed());
}

#[test]
fn changes_alone_in_yaml_are_documents_and_a_reader_that_leaves_ends_it() {
    let list = vec![network("web", 1, "Pending")];
    let mut watched = Watched::run("get networks --watch-only -o yaml", list, false);
    watched.asked.recv().unwrap();
    watched.tell(Next::Event("MODIFIED", network("web", 11, "Refused")));
    watched.tell(Next::Event("ADDED", network("db", 12, "Pending")));
    let mut text = String::new();
    while !text.ends_with("type: ADDED\n") {
        text.push_str(&watched.line());
        text.push('\n');
        assert!(text.len() < 10_000, "{text}");
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let told = |document: &Value| {
        let name = &document["object"]["metadata"]["name"];
        format!("{} {}", document["type"], name)
    };
    let told: Vec<String> = documents.iter().map(told).collect();
    assert_eq!(told, ["\"MODIFIED\" \"web\"", "\"ADDED\" \"db\""]);
    drop(std::mem::replace(
        &mut watched.stdout,
        BufReader::new(closed()),
    ));
    watched.tell(Next::Event("DELETED", network("db", 13, "Pending")));
    let (_, said, code) = watched.end();
    assert_eq!((said.as_str(), code), ("", Some(0)));
}

/// The output of something that has ended.
fn closed() -> ChildStdout {
    let mut child = Command::new("true")
        .stdout(Stdio::piped())
        .spawn()
        .expect("true runs");
    let stdout = child.stdout.take().expect("it is a pipe");
    child.wait().expect("it ends");
    stdout
}

#[test]
fn a_refusal_ends_a_watch_and_so_does_a_name_that_nothing_has() {
    let list = vec![network("web", 1, "Pending")];
    let mut watched = Watched::run("get networks -w -o name", list, true);
    assert_eq!(watched.line(), "network.bitbuilder.cloud/web");
    let (rest, said, code) = watched.end();
    assert_eq!((rest.as_str(), code), ("", Some(4)), "{said}");
    assert!(
        said.contains("cannot watch networks in namespace acme: you may not watch"),
        "{said}"
    );
    let (rest, said, code) = Watched::run("get network web -w", Vec::new(), false).end();
    assert_eq!((rest.as_str(), code), ("", Some(3)), "{said}");
    assert!(
        said.contains("there is no network/web in namespace acme"),
        "{said}"
    );
    for words in [
        "get all -w",
        "get networks,volumes --watch-only",
        "networks get a b -w",
    ] {
        let (rest, said, code) = Watched::run(words, Vec::new(), false).end();
        assert_eq!((rest.as_str(), code), ("", Some(2)), "{words}: {said}");
        assert!(
            said.contains("--watch takes one kind or one object"),
            "{words}: {said}"
        );
    }
}
