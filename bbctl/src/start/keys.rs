//! Turns a file, or the folder ~/.ssh, into a public key that may log in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Exit, Failure};

/// A public key and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The whole line.
    pub line: String,
    /// The file, as a person would write it.
    pub file: String,
}

impl PublicKey {
    /// The kind of key and whose it says that it is.
    #[must_use]
    pub fn short(&self) -> String {
        let mut words = self.line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let body = words.next().unwrap_or_default();
        let whose = words.collect::<Vec<_>>().join(" ");
        let end: String = body
            .chars()
            .skip(body.chars().count().saturating_sub(8))
            .collect();
        match whose.as_str() {
            "" => format!("{kind} ...{end}"),
            whose => format!("{kind} ...{end} {whose}"),
        }
    }
}

/// The key in a file.
///
/// # Errors
/// When the file cannot be read, or has no public key.
pub fn read(path: &Path) -> Result<PublicKey, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot read {}: {error}", path.display()),
        )
    })?;
    let line = first(&text).ok_or_else(|| {
        let failure = Failure::usage(format!("{} is no public key", path.display()));
        match text.contains("PRIVATE KEY") {
            true => failure.hint("it is a private one: name the file beside it that ends in .pub"),
            false => failure.hint("name a file such as ~/.ssh/id_ed25519.pub"),
        }
    })?;
    Ok(PublicKey {
        line,
        file: path.display().to_string(),
    })
}

/// The first key of a text that the definition of Instances takes.
fn first(text: &str) -> Option<String> {
    let is_key = |line: &&str| {
        ["ssh-", "ecdsa-", "sk-"]
            .iter()
            .any(|start| line.starts_with(start))
            && line
                .split_whitespace()
                .nth(1)
                .is_some_and(|body| body.len() >= 16)
    };
    text.lines().map(str::trim).find(is_key).map(str::to_owned)
}

/// The key that ssh would try first, of those in `~/.ssh`.
#[must_use]
pub fn of_home(env: &BTreeMap<String, String>) -> Option<PublicKey> {
    let folder = Path::new(env.get("HOME")?).join(".ssh");
    let entries = std::fs::read_dir(&folder).ok()?.flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .collect();
    let rank = |path: &PathBuf| {
        let order = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let at = order
            .iter()
            .position(|known| name.as_deref() == Some(known));
        (at.unwrap_or(order.len()), name)
    };
    paths.sort_by_key(rank);
    let mut keys = paths.iter().filter_map(|path| read(path).ok());
    keys.next().map(|key| PublicKey {
        file: key
            .file
            .replacen(&folder.display().to_string(), "~/.ssh", 1),
        ..key
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHQ1vHgnYm3XnMwXlMe9vT1j alice@home";

    #[test]
    fn the_key_that_ssh_would_try_first_is_found() {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        std::fs::create_dir(&ssh).unwrap();
        let env = BTreeMap::from([("HOME".to_owned(), home.path().display().to_string())]);
        assert_eq!(of_home(&env), None);
        std::fs::write(ssh.join("a.pub"), "not a key\n").unwrap();
        assert_eq!(of_home(&env), None);
        std::fs::write(ssh.join("id_rsa.pub"), KEY.replace("ed25519", "rsa")).unwrap();
        std::fs::write(ssh.join("id_ed25519.pub"), format!("# mine\n{KEY}\n")).unwrap();
        let key = of_home(&env).unwrap();
        assert_eq!(
            (key.line.as_str(), key.file.as_str()),
            (KEY, "~/.ssh/id_ed25519.pub")
        );
        assert_eq!(key.short(), "ssh-ed25519 ...lMe9vT1j alice@home");
    }

    #[test]
    fn a_private_key_is_refused_and_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n";
        std::fs::write(file.path(), text).unwrap();
        let failure = read(file.path()).unwrap_err();
        assert!(failure.hint.as_deref().unwrap().contains(".pub"));
        assert!(!format!("{failure:?}").contains("c2VjcmV0"));
    }
}
