//! Turns requests for lists and watches into ten thousand instances, and into a hundred changes a
//! second while that is asked for.

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::world::instance;
use super::{Answer, CHANGES, OBJECTS};

/// A server that plays the API.
pub(crate) struct Server {
    /// Where it is.
    pub(crate) address: String,
    /// Whether anything changes.
    pub(crate) busy: Arc<AtomicBool>,
    /// How often a list of instances was begun.
    pub(crate) lists: Arc<AtomicU32>,
    /// How many changes were told.
    pub(crate) told: Arc<AtomicU32>,
}

/// What every connection shares.
#[derive(Clone)]
struct Shared {
    all: Arc<Vec<String>>,
    busy: Arc<AtomicBool>,
    lists: Arc<AtomicU32>,
    told: Arc<AtomicU32>,
}

impl Server {
    /// Starts it; it ends with the process.
    pub(crate) fn start() -> Answer<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let all = (0..OBJECTS).map(|at| instance(at, 0).to_string());
        let shared = Shared {
            all: Arc::new(all.collect()),
            busy: Arc::default(),
            lists: Arc::default(),
            told: Arc::default(),
        };
        let server = Self {
            address,
            busy: shared.busy.clone(),
            lists: shared.lists.clone(),
            told: shared.told.clone(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // A client that goes away ends its thread.
                std::thread::spawn(move || shared.answer(stream));
            }
        });
        Ok(server)
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(target) = request(&mut reader)? {
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let value = |name: &str| {
                let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
            };
            let instances = path.ends_with("/instances");
            if value("watch").is_some_and(|watch| watch == "true" || watch == "1") {
                return self.watch(&mut writer, instances);
            }
            let body = if path == "/version" {
                json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "",
                    "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "",
                    "platform": ""})
                .to_string()
            } else {
                let number = |name: &str| value(name).and_then(|value| value.parse().ok());
                let from: usize = number("continue").unwrap_or(0);
                if instances && from == 0 {
                    self.lists.fetch_add(1, Ordering::Relaxed);
                }
                let items: &[String] = if instances { &self.all } else { &[] };
                page(items, from, number("limit").unwrap_or(OBJECTS))
            };
            write!(
                writer,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?;
        }
        Ok(())
    }

    /// Tells of changes, a hundred a second while anything changes.
    fn watch(&self, writer: &mut TcpStream, instances: bool) -> std::io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
            transfer-encoding: chunked\r\n\r\n";
        writer.write_all(head.as_bytes())?;
        let rest = Duration::from_secs(1) / u32::try_from(CHANGES).unwrap_or(u32::MAX);
        let mut round = 0;
        let mut due = Instant::now();
        loop {
            due += rest;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if !(instances && self.busy.load(Ordering::Relaxed)) {
                continue;
            }
            round += 1;
            let object = instance(round * 37 % OBJECTS, round);
            let line = format!("{}\n", json!({"type": "MODIFIED", "object": object}));
            writer.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())?;
            self.told.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One page of a list.
fn page(items: &[String], from: usize, limit: usize) -> String {
    let end = (from + limit).min(items.len());
    let more = match end < items.len() {
        true => end.to_string(),
        false => String::new(),
    };
    format!(
        "{{\"apiVersion\":\"bitbuilder.cloud/v1alpha1\",\"kind\":\"List\",\
         \"metadata\":{{\"resourceVersion\":\"1000\",\"continue\":\"{more}\"}},\"items\":[{}]}}",
        items.get(from..end).unwrap_or_default().join(",")
    )
}

/// What is asked for next; nothing once the client is gone.
fn request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
    Ok(Some(target))
}
