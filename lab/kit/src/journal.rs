//! Turns each call and each commit of a stand-in into one line of JSON, on disk and in memory.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// One call to a stand-in, or one commit inside it. Secrets are masked by whoever writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began: RFC 3339, UTC, milliseconds.
    pub time: String,
    /// The name of the stand-in.
    pub target: String,
    /// Who called: an address, a user, a token's name.
    pub caller: String,
    /// What the caller calls its program: the header `User-Agent`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent: String,
    /// The pass that the call is part of, where the caller says: the header `traceparent`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// The HTTP method, or `COMMIT` and the like for what is not a call.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// What was sent, masked.
    pub body: serde_json::Value,
    /// The HTTP status answered, 0 when nothing was answered.
    pub status: u16,
    /// From the first byte read to the answer, in milliseconds.
    pub duration_ms: u64,
    /// What else there is to know, in the stand-in's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<serde_json::Value>,
}

/// The time now as [`Entry::time`] writes it.
#[must_use]
pub fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Where entries go; clones write to the same place.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    file: Option<File>,
    entries: Vec<Entry>,
}

impl Journal {
    /// Opens a journal that appends to `path`, or one kept in memory only.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = path
            .map(|path| {
                File::options()
                    .create(true)
                    .append(true)
                    .open(path)
                    .with_context(|| format!("cannot open the journal {}", path.display()))
            })
            .transpose()?;
        Ok(Self(Arc::new(Mutex::new(Kept {
            file,
            entries: Vec::new(),
        }))))
    }

    /// Writes one entry as a line and flushes it, and keeps it in memory.
    pub fn record(&self, e: &Entry) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = kept.file.as_mut() {
            let line = serde_json::to_string(e).map(|text| text + "\n");
            let written = line
                .map_err(std::io::Error::other)
                .and_then(|line| file.write_all(line.as_bytes()).and_then(|()| file.flush()));
            if let Err(error) = written {
                tracing::warn!(%error, "a journal line was lost");
            }
        }
        kept.entries.push(e.clone());
    }

    /// Everything recorded since the start or the last [`Journal::clear_memory`].
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entries
            .clone()
    }

    /// Forgets the entries in memory; the file keeps them.
    pub fn clear_memory(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entries
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_on_disk_and_in_memory_as_soon_as_it_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.jsonl");
        let journal = Journal::open(Some(&path)).unwrap();
        let entry = Entry {
            time: now(),
            target: "r1".into(),
            caller: "127.0.0.1".into(),
            agent: "curl/8".into(),
            trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".into(),
            method: "POST".into(),
            path: "/configure".into(),
            body: serde_json::json!({"op": "set"}),
            status: 200,
            duration_ms: 3,
            note: None,
        };
        journal.record(&entry);
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Entry = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(read, entry);
        assert!(!text.contains("note"));
        assert_eq!(journal.entries(), vec![entry]);
        journal.clear_memory();
        assert!(journal.entries().is_empty());
    }

    #[test]
    fn the_time_has_milliseconds_and_is_in_utc() {
        let time = now();
        assert_eq!(time.len(), "2026-01-02T03:04:05.678Z".len(), "{time}");
        assert!(time.ends_with('Z'));
    }
}
