//! Turns the environment into the folder where bbctl keeps what is a user's own, and writes files
//! there so that two at once do not spoil them.
//!
//! The folder is one, never several laid over each other: `BBCTL_HOME` where that is set, else
//! `~/.bbctl` where it exists, else `$XDG_CONFIG_HOME/bbctl` where that is set, else `~/.bbctl`.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Exit, Failure};

/// The file of settings of a folder.
pub const PROJECT: &str = "bitbuilder.toml";

/// The folder, whether it is there or not.
///
/// # Errors
/// When the environment names no home.
pub fn folder(env: &BTreeMap<String, String>) -> Result<PathBuf, Failure> {
    let set = |name: &str| {
        env.get(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(own) = set("BBCTL_HOME") {
        return Ok(own);
    }
    let home = set("HOME").map(|home| home.join(".bbctl"));
    let xdg = set("XDG_CONFIG_HOME").map(|xdg| xdg.join("bbctl"));
    match (home, xdg) {
        (Some(home), _) if home.is_dir() => Ok(home),
        (_, Some(xdg)) => Ok(xdg),
        (Some(home), None) => Ok(home),
        (None, None) => Err(Failure::usage("nobody says where bbctl keeps its files")
            .hint("set HOME, XDG_CONFIG_HOME or BBCTL_HOME")),
    }
}

fn failed(doing: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("cannot {doing} {}: {error}", path.display()),
    )
}

/// Refuses a file or folder that others than its owner may use. It is not mended silently: who
/// could read it may have done so.
///
/// # Errors
/// When others may use it.
pub fn private(path: &Path) -> Result<(), Failure> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path, &error)),
    };
    let mode = meta.permissions().mode() & 0o777;
    let right = if meta.is_dir() { 0o700 } else { 0o600 };
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(Failure::new(
            Exit::Failure,
            format!(
                "{} is open to others: its mode is {mode:03o}",
                path.display()
            ),
        )
        .hint(format!(
            "run `chmod {right:o} {}`, and exchange what is in it if somebody else could read it",
            path.display()
        ))),
    }
}

/// Reads a file of the folder; none where there is none.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}

/// Reads a file that a person named.
///
/// # Errors
/// When it is not there or cannot be read.
pub fn must_read(path: &Path) -> Result<String, Failure> {
    read(path)?.ok_or_else(|| missing(path))
}

/// That a file that a person named is not there.
pub(crate) fn missing(path: &Path) -> Failure {
    let message = format!("there is no file {}", path.display());
    Failure::new(Exit::NotFound, message)
}

/// The right to write in the folder, which one process has at a time.
#[derive(Debug)]
pub struct Held {
    folder: PathBuf,
    _lock: File,
}

/// Makes the folder where there is none, and waits for the right to write in it.
///
/// # Errors
/// When the folder is open to others, or cannot be made.
pub fn hold(folder: &Path) -> Result<Held, Failure> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(folder)
        .map_err(|error| failed("make", folder, &error))?;
    private(folder)?;
    let path = folder.join(".lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let lock = options
        .open(&path)
        .map_err(|error| failed("open", &path, &error))?;
    // The kernel lets go of it when the process ends, however that ends.
    lock.lock().map_err(|error| failed("lock", &path, &error))?;
    Ok(Held {
        folder: folder.to_path_buf(),
        _lock: lock,
    })
}

impl Held {
    /// Where a file of the folder is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts a whole file in the place of the old one, readable by the owner alone.
    ///
    /// # Errors
    /// When the old one is open to others, or the new one cannot be written.
    pub fn write(&self, name: &str, text: &[u8]) -> Result<(), Failure> {
        let path = self.path(name);
        private(&path)?;
        replace(&path, text)
    }
}

/// Puts a whole file in the place of the old one: who reads it meets one or the other.
///
/// # Errors
/// When it cannot be written.
pub fn replace(path: &Path, text: &[u8]) -> Result<(), Failure> {
    persist(path, text, 0o600)
}

/// The same of a file that others may read.
///
/// # Errors
/// When it cannot be written.
pub fn share(path: &Path, text: &[u8]) -> Result<(), Failure> {
    persist(path, text, 0o644)
}

fn persist(path: &Path, text: &[u8], mode: u32) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        // Made with mode 0600, whatever it is to have in the end.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text)?;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| failed("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(all: &[(&str, &Path)]) -> BTreeMap<String, String> {
        let pair = |(name, path): &(&str, &Path)| ((*name).to_owned(), path.display().to_string());
        all.iter().map(pair).collect()
    }

    #[test]
    fn one_folder_wins() {
        let (home, xdg) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (home, xdg) = (home.path(), xdg.path());
        let both = env(&[("HOME", home), ("XDG_CONFIG_HOME", xdg)]);
        assert_eq!(folder(&both).unwrap(), xdg.join("bbctl"));
        assert_eq!(
            folder(&env(&[("HOME", home)])).unwrap(),
            home.join(".bbctl")
        );
        fs::create_dir(home.join(".bbctl")).unwrap();
        assert_eq!(folder(&both).unwrap(), home.join(".bbctl"));
        let own = env(&[("HOME", home), ("BBCTL_HOME", Path::new("/own"))]);
        assert_eq!(folder(&own).unwrap(), Path::new("/own"));
        assert!(folder(&BTreeMap::new()).is_err());
    }

    #[test]
    fn what_is_open_to_others_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let held = hold(&folder).unwrap();
        held.write("a", b"1").unwrap();
        assert_eq!((mode(&folder), mode(&held.path("a"))), (0o700, 0o600));
        fs::set_permissions(held.path("a"), fs::Permissions::from_mode(0o640)).unwrap();
        let failure = held.write("a", b"2").unwrap_err();
        assert!(failure.message.contains("640") && failure.hint.unwrap().contains("chmod 600"));
        assert_eq!(mode(&held.path("a")), 0o640);
        assert_eq!(fs::read(held.path("a")).unwrap(), b"1");
        drop(held);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(
            hold(&folder)
                .unwrap_err()
                .hint
                .unwrap()
                .contains("chmod 700")
        );
    }
}
