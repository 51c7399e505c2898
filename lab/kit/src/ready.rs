//! Turns "the stand-in listens now" into a file that tells a waiting parent where and with whose key.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Where a stand-in listens and how to trust it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub name: String,
    /// The base address of the product's API, such as `https://127.0.0.1:40123`.
    pub api: String,
    /// The base address of the control port.
    pub control: String,
    /// The certificate to trust, empty without TLS.
    pub ca_pem: String,
    /// Its SHA-256 as `AA:BB:..`, empty without TLS.
    pub sha256: String,
    pub pid: u32,
}

impl Ready {
    /// Writes the file in one step, so a reader sees all of it or nothing.
    ///
    /// # Errors
    /// The file cannot be written or put in place.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let draft = path.with_extension(format!("{}.tmp", self.pid));
        let text = serde_json::to_string_pretty(self).context("cannot render the ready file")?;
        std::fs::write(&draft, text + "\n")
            .with_context(|| format!("cannot write {}", draft.display()))?;
        std::fs::rename(&draft, path)
            .with_context(|| format!("cannot put {} in place", path.display()))
    }

    /// Reads what [`Ready::write`] wrote.
    ///
    /// # Errors
    /// The file is absent or is not a ready file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not one", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_file_reads_back_and_leaves_no_draft() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r1.json");
        let ready = Ready {
            name: "r1".into(),
            api: "https://127.0.0.1:1".into(),
            control: "http://127.0.0.1:2".into(),
            ca_pem: String::new(),
            sha256: String::new(),
            pid: 7,
        };
        ready.write(&path).unwrap();
        assert_eq!(Ready::read(&path).unwrap(), ready);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
