//! Turns volume ids into storage, owner and name, the way each kind of storage names its volumes.

use serde::{Deserialize, Serialize};

use crate::refusal::{Answer, Refusal};

/// Kinds of storage that name volumes differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Files below a directory; also NFS and CIFS.
    Dir,
    Nfs,
    Cifs,
    CephFs,
    Rbd,
    LvmThin,
    Lvm,
    ZfsPool,
}

impl Kind {
    /// Whether volumes are files in a folder per guest, with a suffix.
    pub fn is_file_based(self) -> bool {
        matches!(self, Self::Dir | Self::Nfs | Self::Cifs | Self::CephFs)
    }

    /// Whether a linked clone keeps the name of its base in its volume id.
    fn names_base(self) -> bool {
        self.is_file_based() || matches!(self, Self::Rbd | Self::ZfsPool)
    }

    /// The word in `type=`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Nfs => "nfs",
            Self::Cifs => "cifs",
            Self::CephFs => "cephfs",
            Self::Rbd => "rbd",
            Self::LvmThin => "lvmthin",
            Self::Lvm => "lvm",
            Self::ZfsPool => "zfspool",
        }
    }

    /// Parses that word.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Dir,
            Self::Nfs,
            Self::Cifs,
            Self::CephFs,
            Self::Rbd,
            Self::LvmThin,
            Self::Lvm,
            Self::ZfsPool,
        ]
        .into_iter()
        .find(|k| k.word() == word)
    }
}

/// What a volume is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    Images,
    RootDir,
    VzTmpl,
    Iso,
    Import,
    Snippets,
    Backup,
}

impl Content {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::RootDir => "rootdir",
            Self::VzTmpl => "vztmpl",
            Self::Iso => "iso",
            Self::Import => "import",
            Self::Snippets => "snippets",
            Self::Backup => "backup",
        }
    }
}

/// A volume id taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VolId {
    pub storage: String,
    /// The volume's own name inside the storage, without that of a base.
    pub name: String,
    /// The name of the base of a linked clone.
    pub base: Option<String>,
    /// The guest the name speaks of.
    pub owner: Option<u32>,
    pub content: Content,
}

/// Splits `STORAGE:REST`.
pub(crate) fn split_volid(volid: &str) -> Option<(&str, &str)> {
    let (storage, rest) = volid.split_once(':')?;
    let good = storage.starts_with(|c: char| c.is_ascii_alphabetic())
        && storage
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    (good && !rest.is_empty()).then_some((storage, rest))
}

/// Takes a volume id apart under the rules of its storage's kind.
///
/// # Errors
/// The product's words for a name it cannot read.
pub(crate) fn parse_volid(kind: Kind, storage: &str, rest: &str) -> Answer<VolId> {
    let folder = rest.split_once('/').map(|(folder, _)| folder);
    let special = match folder {
        Some("vztmpl") => Some(Content::VzTmpl),
        Some("iso") => Some(Content::Iso),
        Some("import") => Some(Content::Import),
        Some("snippets") => Some(Content::Snippets),
        Some("backup") => Some(Content::Backup),
        _ => None,
    };
    let make = |name: &str, base: Option<String>, owner, content| VolId {
        storage: storage.to_owned(),
        name: name.to_owned(),
        base,
        owner,
        content,
    };
    if let Some(content) = special.filter(|_| kind.is_file_based()) {
        return Ok(make(rest, None, None, content));
    }
    let parts: Vec<&str> = rest.split('/').collect();
    if kind.is_file_based() {
        let folder_of = |text: &str| text.parse::<u32>().ok();
        return match parts.as_slice() {
            [folder, file] if folder_of(folder).is_some() => {
                file_suffix(file)?;
                Ok(make(rest, None, folder_of(folder), Content::Images))
            }
            [base_folder, base, folder, file] if folder_of(folder).is_some() => {
                let base = format!("{base_folder}/{base}");
                let name = format!("{folder}/{file}");
                Ok(make(&name, Some(base), folder_of(folder), Content::Images))
            }
            [folder, ..] if folder_of(folder).is_some() && parts.len() > 1 => {
                let tail = parts[1..].join("/");
                Err(Refusal::fail(format!(
                    "unable to parse volume filename '{tail}'"
                )))
            }
            _ => Err(Refusal::fail(format!(
                "unable to parse directory volume name '{rest}'"
            ))),
        };
    }
    let what = match kind {
        Kind::Rbd => "rbd",
        Kind::ZfsPool => "zfs",
        _ => "lvm",
    };
    let bad = || Refusal::fail(format!("unable to parse {what} volume name '{rest}'"));
    match parts.as_slice() {
        [name] => {
            let owner = owner_in_name(name).ok_or_else(bad)?;
            Ok(make(name, None, Some(owner), Content::Images))
        }
        [base, name] if kind.names_base() => {
            let owner = owner_in_name(name).ok_or_else(bad)?;
            Ok(make(
                name,
                Some((*base).to_owned()),
                Some(owner),
                Content::Images,
            ))
        }
        _ => Err(bad()),
    }
}

/// The suffix that tells a file's format.
pub(crate) fn file_suffix(file: &str) -> Answer<&str> {
    let bad = || Refusal::fail(format!("unable to parse volume filename '{file}'"));
    let (_, suffix) = file.rsplit_once('.').ok_or_else(bad)?;
    ["raw", "qcow2", "vmdk", "subvol"]
        .contains(&suffix)
        .then_some(suffix)
        .ok_or_else(bad)
}

/// The id in `vm-ID-...`, `base-ID-...` or `subvol-ID-...`.
pub(crate) fn owner_in_name(name: &str) -> Option<u32> {
    let mut parts = name.splitn(3, '-');
    let kind = parts.next()?;
    if !["vm", "base", "subvol", "basevol"].contains(&kind) {
        return None;
    }
    let owner = parts.next()?.parse().ok()?;
    parts.next().map(|_| owner)
}

/// The name of a guest's volume: `stem` is e.g. `vm-100-disk-0`.
pub(crate) fn own_name(kind: Kind, owner: u32, stem: &str, format: &str) -> String {
    if kind.is_file_based() {
        format!("{owner}/{stem}.{format}")
    } else {
        stem.to_owned()
    }
}

/// The part of a name that a number is chosen from: without folder and suffix.
pub(crate) fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    match file.rsplit_once('.') {
        Some((stem, "raw" | "qcow2" | "vmdk" | "subvol")) => stem,
        _ => file,
    }
}

/// The id of a volume as configs write it.
pub(crate) fn render_volid(kind: Kind, storage: &str, name: &str, base: Option<&str>) -> String {
    match base {
        Some(base) if kind.names_base() => format!("{storage}:{base}/{name}"),
        _ => format!("{storage}:{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_clone_on_files_carries_its_base() {
        let id = parse_volid(
            Kind::Dir,
            "local",
            "200/base-200-disk-0.qcow2/202/vm-202-disk-0.qcow2",
        )
        .expect("it is a volume name");
        assert_eq!(id.owner, Some(202));
        assert_eq!(id.base.as_deref(), Some("200/base-200-disk-0.qcow2"));
        assert_eq!(
            render_volid(Kind::Dir, "local", &id.name, id.base.as_deref()),
            "local:200/base-200-disk-0.qcow2/202/vm-202-disk-0.qcow2"
        );
    }

    #[test]
    fn a_chosen_name_without_a_suffix_is_refused_on_files() {
        let refusal = parse_volid(Kind::Dir, "local", "1G").expect_err("no folder");
        assert_eq!(refusal.reason, "unable to parse directory volume name '1G'");
    }

    #[test]
    fn block_storages_name_volumes_without_folders() {
        let id = parse_volid(Kind::Rbd, "ssd", "vm-900-pvc-1").expect("it is a volume name");
        assert_eq!((id.owner, id.name.as_str()), (Some(900), "vm-900-pvc-1"));
        assert_eq!(own_name(Kind::Rbd, 5, "vm-5-disk-0", "raw"), "vm-5-disk-0");
    }
}
