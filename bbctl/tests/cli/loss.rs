//! What is deleted, and what has to be said for it, by a server that keeps an account of it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bbctl::error::Exit;
use serde_json::{Value, json};

use crate::ends::kubeconfig;
use crate::support::{Around, Ran, bbctl};

const GROUP: &str = "/apis/bitbuilder.cloud/v1alpha1";

/// The objects of a server by path; nothing: it fails to read that one.
type Objects = BTreeMap<String, Option<Value>>;

/// A server of objects that takes deletions and does nothing about them.
struct Server {
    address: String,
    deleted: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn of(objects: Objects) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let deleted = Arc::new(Mutex::new(Vec::new()));
        let account = Arc::clone(&deleted);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                answer(stream, &objects, &account);
            }
        });
        Self { address, deleted }
    }

    /// Runs a command there, and tells what it deleted.
    async fn run(&self, words: &str, stdin: &str) -> (Ran, Vec<String>) {
        let (_dir, around) = kubeconfig(&self.address);
        let stdin = stdin.to_owned();
        let ran = bbctl(words, Around { stdin, ..around }).await;
        let mut deleted = self.deleted.lock().expect("no thread panics");
        (ran, std::mem::take(&mut *deleted))
    }
}

/// Takes one request and answers it; one that breaks off gets none.
fn answer(mut stream: TcpStream, objects: &Objects, deleted: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket can be shared"));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(read) if read > 0 && line.trim() != "" => head.push(line),
            Ok(read) if read > 0 => break,
            _ => return,
        }
    }
    let length = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(())?;
        value.trim().parse().ok()
    });
    let mut body = vec![0; length.unwrap_or_default()];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let mut words = head[0].split_whitespace();
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let (code, body) = said(method, path, objects, deleted);
    let body = body.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
}

fn said(method: &str, path: &str, objects: &Objects, deleted: &Mutex<Vec<String>>) -> (u16, Value) {
    let status = |code: u16, reason: &str| {
        let status = if code == 200 { "Success" } else { "Failure" };
        let body = json!({"apiVersion": "v1", "kind": "Status", "status": status, "code": code,
            "reason": reason, "message": reason});
        (code, body)
    };
    match (method, objects.get(path)) {
        ("GET", Some(Some(object))) => (200, object.clone()),
        ("GET", Some(None)) => status(500, "InternalError"),
        ("DELETE", Some(_)) => {
            let mut deleted = deleted.lock().expect("no thread panics");
            deleted.push(path.trim_start_matches(GROUP).to_owned());
            status(200, "")
        }
        // A list: those right below it, and those that cannot be read one by one.
        ("GET", None)
            if path
                .rsplit('/')
                .next()
                .is_some_and(|part| part.ends_with('s')) =>
        {
            let below = format!("{path}/");
            let items: Vec<Value> = objects
                .iter()
                .filter(|(at, _)| at.starts_with(&below))
                .map(|(at, object)| {
                    let name = at.trim_start_matches(&below);
                    object.clone().unwrap_or_else(|| instance("acme", name).1)
                })
                .collect();
            let list = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": "List",
                "metadata": {"resourceVersion": "1"}, "items": items});
            (200, list)
        }
        _ => status(404, "NotFound"),
    }
}

fn object(kind: &str, place: &str, name: &str, spec: &Value) -> (String, Value) {
    let plural = format!("{}s", kind.to_ascii_lowercase());
    let object = json!({"apiVersion": "bitbuilder.cloud/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": place, "uid": format!("{place}-{name}"),
            "resourceVersion": "1"}, "spec": spec});
    (
        format!("{GROUP}/namespaces/{place}/{plural}/{name}"),
        object,
    )
}

fn network(place: &str, name: &str) -> (String, Value) {
    let spec = json!({"ipv4": {"prefix": "10.0.0.0/24"}});
    object("Network", place, name, &spec)
}

fn instance(place: &str, name: &str) -> (String, Value) {
    let spec = json!({"image": "debian-12", "networks": [{"name": "a", "network": "web"}]});
    object("Instance", place, name, &spec)
}

fn all(objects: &[(String, Value)]) -> Objects {
    let each = objects.iter().cloned();
    each.map(|(path, object)| (path, Some(object))).collect()
}

/// Their manifests, as people write them.
fn files(objects: &[(String, Value)]) -> String {
    let each = objects.iter().map(|(_, object)| {
        let (kind, meta) = (&object["kind"], &object["metadata"]);
        let meta = json!({"name": meta["name"], "namespace": meta["namespace"]});
        let manifest = json!({"apiVersion": object["apiVersion"], "kind": kind,
            "metadata": meta, "spec": object["spec"]});
        format!("{manifest}\n---\n")
    });
    each.collect()
}

#[tokio::test]
async fn what_cannot_be_read_counts_as_staying() {
    let both = [network("acme", "web"), instance("acme", "www")];
    let mut objects = all(&both);
    objects.insert(both[1].0.clone(), None);
    let server = Server::of(objects);
    let stays = "network/web was not deleted: instances are in it: www";
    for (words, says) in [
        ("-f -", "instances are in it: www"),
        ("-f - --cascade", stays),
        ("network web --cascade", stays),
    ] {
        let words = format!("delete {words} --yes --confirm=network/web");
        let (ran, deleted) = server.run(&words, &files(&both)).await;
        assert_eq!(ran.exit, Exit::Failure, "{words}: {ran:?}");
        assert!(ran.stderr.contains("look at instance/www"), "{ran:?}");
        assert!(ran.stderr.contains(says), "{words}: {ran:?}");
        assert!(deleted.is_empty(), "{words}: {deleted:?}");
    }
    // One that can be read goes, and its network with it.
    let server = Server::of(all(&both));
    let words = "delete network web --cascade --yes --confirm=network/web";
    let (ran, deleted) = server.run(words, "").await;
    assert_eq!((ran.exit, deleted.len()), (Exit::Ok, 2), "{ran:?}");
}

#[tokio::test]
async fn what_is_named_twice_is_deleted_and_counted_once() {
    let both = [network("acme", "a"), network("acme", "b")];
    let server = Server::of(all(&both));
    // Twice two are not more than three.
    let (ran, deleted) = server.run("delete network a b a b --yes", "").await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    let place = "/namespaces/acme/networks";
    assert_eq!(deleted, [format!("{place}/a"), format!("{place}/b")]);
}

#[tokio::test]
async fn a_word_confirms_one_object_and_not_one_of_its_name_elsewhere() {
    let networks = [network("acme", "web"), network("other", "web")];
    let users = [instance("acme", "www"), instance("other", "www")];
    let server = Server::of(all(&[networks.clone(), users].concat()));
    let (a, b) = ("--confirm=acme/network/web", "--confirm=other/network/web");
    let words = "delete -f - --cascade --yes";
    for (said, missing) in [
        ("--confirm=network/web", &[a, b][..]),
        (a, &[b]),
        ("--confirm=acme/network/web,network/web", &[b]),
    ] {
        let (ran, deleted) = server
            .run(&format!("{words} {said}"), &files(&networks))
            .await;
        assert_eq!((ran.exit, deleted.len()), (Exit::Usage, 0), "{ran:?}");
        for flag in [a, b] {
            let is_named = ran.stderr.contains(flag);
            assert_eq!(is_named, missing.contains(&flag), "{said}: {ran:?}");
        }
    }
    let (ran, deleted) = server
        .run(&format!("{words} {a} {b}"), &files(&networks))
        .await;
    assert_eq!((ran.exit, deleted.len()), (Exit::Ok, 4), "{ran:?}");
}

#[tokio::test]
async fn a_few_of_a_set_want_their_number_where_they_are_more_than_three() {
    let networks: Vec<_> = (0..8)
        .map(|at| network("acme", &format!("n{at}")))
        .collect();
    let server = Server::of(all(&networks));
    let words = "apply -f - --set site --prune --yes";
    for (kept, said, missing) in [
        (4, "", "--confirm=objects/4"),
        (4, "--confirm=set/site", "--confirm=objects/4"),
        (4, "--confirm=objects/8", "--confirm=objects/4"),
        // Of most of it the name stands for the number.
        (3, "--confirm=objects/5", "--confirm=set/site"),
    ] {
        let files = files(&networks[8 - kept..]);
        let (ran, deleted) = server.run(&format!("{words} {said}"), &files).await;
        assert_eq!((ran.exit, deleted.len()), (Exit::Usage, 0), "{ran:?}");
        let wants = format!("confirm it with {missing}\n");
        assert!(ran.stderr.contains(&wants), "{said}: {ran:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_compared_is_said_so() {
    let (path, web) = network("acme", "web");
    let manifest = files(&[(path.clone(), web)]);
    let server = Server::of(Objects::from([(path, None)]));
    let (ran, _) = server.run("diff -f -", &manifest).await;
    assert_eq!(ran.exit, Exit::Undecided, "{ran:?}");
    assert!(ran.stderr.contains("compare network/web of"), "{ran:?}");
    assert!(!ran.stderr.contains("apply network/web"), "{ran:?}");
}
