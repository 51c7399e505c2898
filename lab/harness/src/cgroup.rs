//! Turns a lab's folder into the control groups that its node works in, and those into nothing.
//!
//! They are the one thing of a node that no namespace holds: the kernel keeps an empty control
//! group until somebody removes it.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";
/// How long a group may stay busy after its last process was killed.
const BUSY: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The group of the node in `dir`, as the kubelet calls it. Below it is everything.
pub(crate) fn name(dir: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    format!("bb-lab-{:016x}", hasher.finish())
}

/// Makes the group in each hierarchy of this machine: the one of version 2, or all of version 1.
pub(crate) fn make(dir: &Path) -> Result<()> {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name(dir));
        fs::create_dir_all(&group).with_context(|| format!("cannot make {}", group.display()))?;
    }
    Ok(())
}

/// Removes the groups of `dir`, if there are any.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    let until = Instant::now() + BUSY;
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name(dir));
        while let Err(error) = remove_tree(&group) {
            if Instant::now() >= until {
                return Err(error).with_context(|| format!("cannot remove {}", group.display()));
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    let below = fs::read_dir(&root).into_iter().flatten().flatten();
    std::iter::once(root.clone())
        .chain(below.map(|entry| entry.path()))
        .filter(|folder| folder.join("cgroup.procs").is_file())
        // Below a hierarchy of version 2 are groups, which are nobody's hierarchy.
        .take(if root.join("cgroup.procs").is_file() {
            1
        } else {
            usize::MAX
        })
        .collect()
}

/// Removes a group with those below it. Its files are the kernel's and go by themselves.
fn remove_tree(group: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
