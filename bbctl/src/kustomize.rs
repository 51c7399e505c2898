//! Turns a folder with a kustomization into the text of the objects that it makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::error::{Exit, Failure};

/// How long it may take: a kustomization may name bases that are fetched.
const PATIENCE: Duration = Duration::from_secs(120);

/// The programs that can do it and what they are told before the folder, the first that is
/// installed being taken.
const PROGRAMS: [(&str, &str); 2] = [("kubectl", "kustomize"), ("kustomize", "build")];

/// Runs the program that is installed.
///
/// # Errors
/// When none is, it fails, or it does not end in time.
pub async fn build(folder: &Path, env: &BTreeMap<String, String>) -> Result<String, Failure> {
    let (program, verb) = program(env)?;
    let command = format!("{} {verb}", program.display());
    let cannot = |words: String| {
        let folder = folder.display();
        Failure::new(
            Exit::Failure,
            format!("cannot build {folder} with `{command}`: {words}"),
        )
    };
    let ran = Command::new(&program)
        .arg(verb)
        .arg("--")
        .arg(folder)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(PATIENCE, ran).await.map_err(|_| {
        cannot(format!("no end within {} s", PATIENCE.as_secs()))
            .hint("see whether a base that it fetches can be reached")
    })?;
    let ran = ran.map_err(|error| cannot(error.to_string()))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        return Err(cannot(said.trim().to_owned()));
    }
    String::from_utf8(ran.stdout).map_err(|_| cannot("what it wrote is not text".to_owned()))
}

fn program(env: &BTreeMap<String, String>) -> Result<(PathBuf, &'static str), Failure> {
    let path = env.get("PATH").map(String::as_str).unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(path).collect();
    let installed = PROGRAMS.iter().find_map(|(name, verb)| {
        let found = places.iter().map(|place| place.join(name));
        Some((found.into_iter().find(|file| file.is_file())?, *verb))
    });
    installed.ok_or_else(|| {
        Failure::new(
            Exit::Failure,
            "-k takes kubectl or kustomize, and neither is installed",
        )
        .hint("install one of them, https://kubectl.docs.kubernetes.io/installation/kustomize")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn install(folder: &Path, name: &str, script: &str) {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn the_program_that_is_installed_is_run_and_its_failure_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let env = BTreeMap::from([("PATH".to_owned(), path)]);
        let run = || build(Path::new("overlay"), &env);
        let none = run().await.unwrap_err();
        assert!(none.message.contains("neither is installed"), "{none}");
        assert!(none.hint.is_some_and(|hint| hint.contains("install")));
        install(dir.path(), "kustomize", "echo \"kustomize $*\"");
        assert_eq!(run().await.unwrap(), "kustomize build -- overlay\n");
        install(dir.path(), "kubectl", "echo \"kubectl $*\"");
        assert_eq!(run().await.unwrap(), "kubectl kustomize -- overlay\n");
        install(dir.path(), "kubectl", "echo no kustomization >&2; exit 1");
        let failed = run().await.unwrap_err();
        assert!(failed.message.contains("cannot build overlay"), "{failed}");
        assert!(failed.message.ends_with("no kustomization"), "{failed}");
    }
}
