//! Turns what was read, and what was not, into one compressed archive with a list of its contents.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::Value;

use crate::error::Failure;
use crate::out::render_yaml;
use crate::redact::{self, Cuts};

/// What is in an archive, and what is not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Manifest {
    /// When it was made: RFC 3339, UTC.
    pub made: String,
    /// By which version.
    pub bbctl: String,
    /// The server that was asked.
    pub server: String,
    /// Files of the archive.
    pub taken: Vec<Taken>,
    /// What was asked for and not given.
    pub missing: Vec<Missing>,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// Its path.
    pub file: String,
    /// What it holds, in words.
    pub what: String,
    /// How many objects or lines.
    pub count: usize,
    /// What was cut out of it, and how often.
    pub cut: std::collections::BTreeMap<String, usize>,
}

/// Something that was asked for and not given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
    /// Whether it is a matter of rights.
    pub denied: bool,
}

/// An archive that is being put together.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// What is in it.
    pub manifest: Manifest,
    files: Vec<(String, Vec<u8>)>,
}

impl Bundle {
    /// Adds objects, with what is secret cut out of them.
    ///
    /// # Errors
    /// When they cannot be rendered.
    pub fn objects(&mut self, file: &str, what: &str, mut all: Vec<Value>) -> Result<(), Failure> {
        let mut cuts = Cuts::default();
        for object in &mut all {
            redact::object(object, &mut cuts);
        }
        let count = all.len();
        let mut text = String::new();
        for object in &all {
            text += "---\n";
            text += &render_yaml(object)?;
        }
        self.add(file, what, count, &text, cuts);
        Ok(())
    }

    /// Adds lines, with what has the form of a secret cut out of them.
    pub fn lines(&mut self, file: &str, what: &str, text: &str) {
        let mut cuts = Cuts::default();
        let left = redact::text(text, &mut cuts);
        let count = text.lines().count();
        self.add(file, what, count, &left, cuts);
    }

    fn add(&mut self, file: &str, what: &str, count: usize, text: &str, cuts: Cuts) {
        self.manifest.taken.push(Taken {
            file: file.to_owned(),
            what: what.to_owned(),
            count,
            cut: cuts.0,
        });
        self.files.push((file.to_owned(), text.as_bytes().to_vec()));
    }

    /// Takes note of what was not given.
    pub fn missing(&mut self, what: &str, failure: &Failure) {
        self.manifest.missing.push(Missing {
            what: what.to_owned(),
            why: failure.message.clone(),
            denied: failure.exit == crate::error::Exit::Denied,
        });
    }

    /// Writes the archive to a file that is not there yet and that only its owner can read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path, folder: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(path)?;
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        let manifest = ("MANIFEST.txt".to_owned(), self.manifest.text().into_bytes());
        for (name, bytes) in std::iter::once(&manifest).chain(&self.files) {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            archive.append_data(&mut header, format!("{folder}/{name}"), bytes.as_slice())?;
        }
        archive.into_inner()?.finish()?.flush()
    }
}

impl Manifest {
    /// The list as people read it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!(
                "Support bundle of BitBuilder Cloud, made {} by bbctl {}.",
                self.made, self.bbctl
            ),
            format!("Asked: {}", self.server),
            String::new(),
            "Taken:".to_owned(),
        ];
        for taken in &self.taken {
            lines.push(format!(
                "  {}: {} ({})",
                taken.file, taken.what, taken.count
            ));
            let cut = taken.cut.iter();
            lines.extend(cut.map(|(what, count)| format!("    cut: {what}, {count} times")));
        }
        lines.push(String::new());
        lines.push("Not taken:".to_owned());
        lines.push("  Secrets: they are never read.".to_owned());
        for missing in &self.missing {
            let why = if missing.denied {
                "not allowed"
            } else {
                "failed"
            };
            lines.push(format!("  {}: {why}: {}", missing.what, missing.why));
        }
        lines.push(String::new());
        lines.push(
            "Still in it: names of tenants, machines, members and nodes, addresses of".to_owned(),
        );
        lines.push(
            "networks, routers and clusters, public keys, and whatever a log says that has"
                .to_owned(),
        );
        lines.push("not the form of a secret. Look through it before you pass it on.".to_owned());
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;
    use crate::error::Exit;

    #[test]
    fn an_archive_holds_what_was_taken_and_says_what_was_cut_and_what_is_missing() {
        let mut bundle = Bundle::default();
        let object = json!({"kind": "Instance", "spec": {"userData": "x: hunter2"}});
        bundle
            .objects("objects/instances.yaml", "Instances", vec![object])
            .unwrap();
        bundle.lines("log.txt", "a log", "one\npassword=hunter2\n");
        bundle.missing(
            "providers",
            &Failure::new(Exit::Denied, "cannot list providers"),
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.tar.gz");
        bundle.write(&path, "b").unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        let again = bundle.write(&path, "b").unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);

        let file = std::fs::File::open(&path).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        let mut all = std::collections::BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert!(!text.contains("hunter2"), "{name}: {text}");
            all.insert(name, text);
        }
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["b/MANIFEST.txt", "b/log.txt", "b/objects/instances.yaml"]
        );
        let manifest = &all["b/MANIFEST.txt"];
        for line in [
            "objects/instances.yaml: Instances (1)",
            "cut: a field userData, 1 times",
            "log.txt: a log (2)",
            "cut: a value that is named so, 1 times",
            "providers: not allowed: cannot list providers",
            "Secrets: they are never read.",
        ] {
            assert!(manifest.contains(line), "{line} is not in {manifest}");
        }
    }
}
