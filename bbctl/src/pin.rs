//! Turns where a run looks into flags and an environment with which every process that it starts
//! looks there too, whatever settings and kubeconfigs come meanwhile.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Exit, Failure};
use crate::session::{self, Connection};

/// The variable that says that a run looks where flags and environment say, and that no file of
/// settings decides on it: `kubeconfig`, or `pod` where the pod's account is meant.
const PLACE: &str = "BBCTL_PLACE";
const FILES: &str = "kubeconfig";
const POD: &str = "pod";

/// The settings that say where a run looks.
const WHERE: [&str; 3] = ["kubeconfig", "context", "namespace"];

/// Whether files of settings say nothing about a setting in this run.
pub(crate) fn is_fixed(setting: &str, env: &BTreeMap<String, String>) -> bool {
    env.get(PLACE).is_some_and(|place| !place.is_empty()) && WHERE.contains(&setting)
}

/// Whether the pod's account is meant, though there may be a kubeconfig.
pub(crate) fn is_pod(env: &BTreeMap<String, String>) -> bool {
    env.get(PLACE).is_some_and(|place| place == POD)
}

/// Where a run looks, as it was found when that began.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    /// What is meant, one file by its path; the context is named once one is known.
    pub(crate) connection: Connection,
    /// An environment in which no other files are meant.
    pub(crate) env: BTreeMap<String, String>,
    files: Vec<PathBuf>,
}

impl Pin {
    /// Finds out which files are meant now. They are meant from now on.
    ///
    /// # Errors
    /// When the working folder is not known, to which a path is relative.
    pub(crate) fn new(
        connection: &Connection,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(
                Exit::Failure,
                format!("cannot find the kubeconfig: {error}"),
            )
        };
        let files = session::files(connection, env);
        let files: std::io::Result<Vec<PathBuf>> = files.iter().map(std::path::absolute).collect();
        let mut pin = Self {
            connection: connection.clone(),
            env: env.clone(),
            files: files.map_err(|error| failed(&error))?,
        };
        match pin.files.as_slice() {
            [file] => pin.connection.kubeconfig = Some(file.clone()),
            [] => drop(pin.env.insert(PLACE.to_owned(), POD.to_owned())),
            some => {
                let list = std::env::join_paths(some).map_err(|error| failed(&error))?;
                let list = list.to_string_lossy().into_owned();
                pin.env.insert("KUBECONFIG".to_owned(), list);
            }
        }
        Ok(pin)
    }

    /// The variables of a process that looks there too; none: it must not have that one.
    pub(crate) fn variables(&self, namespace: &str) -> Vec<(&'static str, Option<OsString>)> {
        let place = if self.files.is_empty() { POD } else { FILES };
        let files = match self.files.as_slice() {
            [] => None,
            [file] => Some(file.clone().into_os_string()),
            _ => self.env.get("KUBECONFIG").map(OsString::from),
        };
        let filled = |text: &str| Some(OsString::from(text)).filter(|text| !text.is_empty());
        let context = self.connection.context.as_deref().unwrap_or_default();
        vec![
            (PLACE, filled(place)),
            ("KUBECONFIG", files),
            ("BBCTL_KUBECONFIG", None),
            ("BBCTL_CONTEXT", filled(context)),
            ("BBCTL_NAMESPACE", filled(namespace)),
        ]
    }

    /// The flags of a process of this program that looks there too.
    pub(crate) fn flags(&self) -> Vec<OsString> {
        let mut flags: Vec<OsString> = Vec::new();
        if let [file] = self.files.as_slice() {
            flags.extend(["--kubeconfig".into(), file.into()]);
        }
        if let Some(context) = &self.connection.context {
            flags.extend(["--context".into(), context.into()]);
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        all.iter().map(pair).collect()
    }

    #[test]
    fn what_is_meant_at_first_is_meant_for_all_that_is_started() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().display().to_string();
        let (one, two) = (format!("{home}/one"), format!("{home}/two"));
        for file in [&one, &two] {
            std::fs::write(file, "").unwrap();
        }
        let told = |connection: &Connection, vars: &[(&str, &str)]| {
            let pin = Pin::new(connection, &env(vars)).unwrap();
            let of = |name: &str| {
                let all = pin.variables("acme");
                let found = all.into_iter().find(|(known, _)| *known == name).unwrap();
                found.1.map(|value| value.into_string().unwrap())
            };
            (of(PLACE).unwrap(), of("KUBECONFIG"), pin.flags())
        };
        let none = Connection::default();
        let flag = |file: &str| -> Vec<OsString> { vec!["--kubeconfig".into(), file.into()] };
        // One file, whoever names it.
        let files = FILES.to_owned();
        let single = (files.clone(), Some(one.clone()), flag(&one));
        assert_eq!(told(&none, &[("KUBECONFIG", &one)]), single);
        let named = Connection {
            kubeconfig: Some(PathBuf::from(&one)),
            ..Connection::default()
        };
        assert_eq!(told(&named, &[("KUBECONFIG", &two)]), single);
        // Of a list, those that are there: another must not come in between.
        let list = format!("{home}/none:{one}:{two}");
        let several = (files.clone(), Some(format!("{one}:{two}")), Vec::new());
        assert_eq!(told(&none, &[("KUBECONFIG", &list)]), several);
        let list = format!("{home}/none:{one}");
        assert_eq!(told(&none, &[("KUBECONFIG", &list)]), single);
        // None: that of a pod, though a file should come.
        let pod = (POD.to_owned(), None, Vec::new());
        assert_eq!(told(&none, &[("HOME", &home)]), pod);
        let pin = Pin::new(&none, &env(&[("HOME", &home)])).unwrap();
        std::fs::create_dir(dir.path().join(".kube")).unwrap();
        let usual = format!("{home}/.kube/config");
        std::fs::write(&usual, "").unwrap();
        assert!(session::files(&pin.connection, &pin.env).is_empty());
        let at_home = (files, Some(usual.clone()), flag(&usual));
        assert_eq!(told(&none, &[("HOME", &home)]), at_home);
    }
}
