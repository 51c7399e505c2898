//! Turns saved configurations into one file, and back after a restart.

use crate::tree::Node;
use anyhow::Context as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes every saved configuration, in one step.
///
/// # Errors
/// The file cannot be written or put in place.
pub(crate) fn write(path: &Path, saved: &BTreeMap<String, Node>) -> anyhow::Result<()> {
    let all: Value = saved
        .iter()
        .map(|(file, node)| (file.clone(), node.to_json()))
        .collect();
    let draft = path.with_extension("tmp");
    std::fs::write(&draft, format!("{all:#}\n"))
        .with_context(|| format!("cannot write {}", draft.display()))?;
    std::fs::rename(&draft, path).with_context(|| format!("cannot put {} in place", path.display()))
}

/// Reads what [`write`] wrote; nothing when there is no such file yet.
///
/// # Errors
/// The file is there and is not one of ours.
pub(crate) fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Node>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
    };
    let all: BTreeMap<String, Value> = serde_json::from_str(&text)
        .with_context(|| format!("{} holds no saved configurations", path.display()))?;
    Ok(all
        .into_iter()
        .map(|(file, json)| (file, Node::from_json(&json)))
        .collect())
}
