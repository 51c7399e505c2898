//! Turns a namespace into that of a context in a kubeconfig, as `kubectl config set-context` does.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Exit, Failure};
use crate::out::render_yaml;
use crate::session::Connection;

/// A context and the file that says what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The name of the context.
    pub context: String,
}

/// The context that a connection would use.
///
/// # Errors
/// When there is no kubeconfig, or none that has the context.
pub fn context(connection: &Connection, env: &BTreeMap<String, String>) -> Result<Place, Failure> {
    let paths = paths(connection, env);
    let mut files = Vec::new();
    for path in &paths {
        if path.exists() {
            files.push((path.clone(), read(path)?));
        }
    }
    if files.is_empty() {
        return Err(Failure::new(Exit::Failure, "there is no kubeconfig")
            .hint("name one with --kubeconfig or KUBECONFIG, or put it at ~/.kube/config"));
    }
    let current = || {
        let mut all = files
            .iter()
            .filter_map(|(_, file)| file["current-context"].as_str());
        all.find(|name| !name.is_empty()).map(str::to_owned)
    };
    let context = connection.context.clone().or_else(current).ok_or_else(|| {
        Failure::usage("the kubeconfig names no current context").hint("choose one with --context")
    })?;
    let has = |file: &Value| entry(file, &context).is_some();
    match files.into_iter().find(|(_, file)| has(file)) {
        Some((path, _)) => Ok(Place { path, context }),
        None => Err(Failure::usage(format!(
            "the kubeconfig has no context `{context}`"
        ))),
    }
}

/// The names of all contexts; none where no file can be read.
#[must_use]
pub fn contexts(connection: &Connection, env: &BTreeMap<String, String>) -> Vec<String> {
    let mut names = Vec::new();
    for file in paths(connection, env)
        .iter()
        .filter_map(|path| read(path).ok())
    {
        let contexts = file["contexts"].as_array().into_iter().flatten();
        names.extend(contexts.filter_map(|c| Some(c["name"].as_str()?.to_owned())));
    }
    names
}

/// Sets the namespace of a context, and says which it was. In a dry run nothing is written.
///
/// The file is written whole beside the old one and then takes its place, under the same lock
/// file that kubectl uses; who reads it meets the old one or the new one.
///
/// # Errors
/// When the file cannot be read or written, or another program is writing it.
pub fn set_namespace(place: &Place, namespace: &str, dry: bool) -> Result<Option<String>, Failure> {
    let path =
        fs::canonicalize(&place.path).map_err(|error| failed("find", &place.path, &error))?;
    let _lock = if dry { None } else { Some(Lock::take(&path)?) };
    let mut file = read(&path)?;
    let entry = entry(&file, &place.context).ok_or_else(|| {
        Failure::new(
            Exit::Conflict,
            format!(
                "context {} went away from {}",
                place.context,
                path.display()
            ),
        )
    })?;
    let context = &mut file["contexts"][entry]["context"];
    let before = context["namespace"].as_str().map(str::to_owned);
    context["namespace"] = json!(namespace);
    if !dry && before.as_deref() != Some(namespace) {
        replace(&path, &render_yaml(&file)?)?;
    }
    Ok(before)
}

/// Where the context stands among the file's contexts.
fn entry(file: &Value, context: &str) -> Option<usize> {
    let contexts = file["contexts"].as_array()?;
    contexts
        .iter()
        .position(|entry| entry["name"].as_str() == Some(context))
}

fn paths(connection: &Connection, env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    if let Some(path) = &connection.kubeconfig {
        return vec![path.clone()];
    }
    let named = env.get("KUBECONFIG").map(|value| {
        std::env::split_paths(value)
            .filter(|path| !path.as_os_str().is_empty())
            .collect::<Vec<_>>()
    });
    match named {
        Some(paths) if !paths.is_empty() => paths,
        _ => {
            let home = env.get("HOME").or_else(|| env.get("USERPROFILE"));
            home.map(|home| Path::new(home).join(".kube").join("config"))
                .into_iter()
                .collect()
        }
    }
}

fn failed(doing: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Exit::Failure,
        format!("cannot {doing} kubeconfig {}: {error}", path.display()),
    )
}

fn read(path: &Path) -> Result<Value, Failure> {
    let text = fs::read_to_string(path).map_err(|error| failed("read", path, &error))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    serde_saphyr::from_str_with_options(&text, options)
        .map_err(|_| failed("read", path, &"it is not YAML"))
}

fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.as_file()
            .set_permissions(fs::metadata(path)?.permissions())?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| failed("write", path, &error))
}

/// The lock that kubectl takes as well: a file beside the kubeconfig, there while it is written.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self, Failure> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let made: std::io::Result<File> =
            OpenOptions::new().write(true).create_new(true).open(&lock);
        match made {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::new(
                Exit::Conflict,
                format!("another program is writing {}", path.display()),
            )
            .hint(format!(
                "try again, or remove {} if none runs",
                lock.display()
            ))),
            Err(error) => Err(failed("lock", path, &error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What cannot be removed is named to whoever comes next.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
        contexts:\n- {name: a, context: {cluster: c, user: u}}\n\
        - {name: b, context: {cluster: c, user: u, namespace: old}}\n\
        users:\n- {name: u, user: {token: \"0123\"}}\n";

    fn file() -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, FILE).unwrap();
        let connection = Connection {
            kubeconfig: Some(path),
            ..Connection::default()
        };
        (dir, connection)
    }

    #[test]
    fn the_namespace_of_the_context_is_set_and_all_else_stays() {
        let (_dir, mut connection) = file();
        let place = context(&connection, &BTreeMap::new()).unwrap();
        assert_eq!(place.context, "a");
        assert_eq!(set_namespace(&place, "acme", false).unwrap(), None);
        connection.context = Some("b".to_owned());
        let other = context(&connection, &BTreeMap::new()).unwrap();
        let before = set_namespace(&other, "acme", false).unwrap();
        assert_eq!(before.as_deref(), Some("old"));
        let mut expected: Value = serde_saphyr::from_str(FILE).unwrap();
        for at in 0..2 {
            expected["contexts"][at]["context"]["namespace"] = json!("acme");
        }
        assert_eq!(read(&place.path).unwrap(), expected);
    }

    #[test]
    fn a_dry_run_writes_nothing() {
        let (_dir, connection) = file();
        let place = context(&connection, &BTreeMap::new()).unwrap();
        set_namespace(&place, "acme", true).unwrap();
        assert_eq!(fs::read_to_string(&place.path).unwrap(), FILE);
    }

    #[test]
    fn while_another_writes_it_nothing_is_written_and_the_lock_stays() {
        let (dir, connection) = file();
        let place = context(&connection, &BTreeMap::new()).unwrap();
        let lock = dir.path().join("config.lock");
        fs::write(&lock, "").unwrap();
        let failure = set_namespace(&place, "acme", false).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(lock.exists());
        fs::remove_file(&lock).unwrap();
        set_namespace(&place, "acme", false).unwrap();
        assert!(!lock.exists());
    }

    #[cfg(unix)]
    #[test]
    fn who_may_read_the_file_stays_the_same() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, connection) = file();
        let place = context(&connection, &BTreeMap::new()).unwrap();
        fs::set_permissions(&place.path, fs::Permissions::from_mode(0o640)).unwrap();
        set_namespace(&place, "acme", false).unwrap();
        let mode = fs::metadata(&place.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn of_several_files_the_one_with_the_context_is_meant() {
        let (dir, _) = file();
        let first = dir.path().join("first");
        fs::write(&first, "current-context: b\n").unwrap();
        let list = format!(
            "{}:{}",
            first.display(),
            dir.path().join("config").display()
        );
        let env = BTreeMap::from([("KUBECONFIG".to_owned(), list)]);
        let place = context(&Connection::default(), &env).unwrap();
        assert_eq!(
            (place.context.as_str(), place.path),
            ("b", dir.path().join("config"))
        );
    }
}
