//! Turns an object's identity into the mark that its guest or disk bears, and reads it back.

use std::collections::BTreeSet;
use std::fmt;

use bb_crds::ids::Vmid;
use sha2::{Digest, Sha256};

/// The word that begins a mark.
const WORD: &str = "bitbuilder";

/// Whose a guest is: the first line of its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The identity of the management cluster.
    pub installation: String,
    /// The UID of the Instance.
    pub uid: String,
    /// Where people find it: `NAMESPACE/NAME`. Not part of the identity.
    pub object: String,
}

/// What a description says about whose the guest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It bears exactly this mark.
    Ours,
    /// It bears another mark.
    Other(Mark),
    /// It bears none.
    Unmarked,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{WORD} {}/{} {}",
            self.installation, self.uid, self.object
        )
    }
}

impl Mark {
    /// Reads the mark in the first line of a description.
    #[must_use]
    pub fn parse(description: &str) -> Option<Self> {
        let mut words = description.lines().next()?.split_whitespace();
        if words.next()? != WORD {
            return None;
        }
        let (installation, uid) = words.next()?.split_once('/')?;
        if installation.is_empty() || uid.is_empty() {
            return None;
        }
        Some(Self {
            installation: installation.to_owned(),
            uid: uid.to_owned(),
            object: words.next().unwrap_or_default().to_owned(),
        })
    }

    /// Compares with what a description says. The object's name may differ: the UID decides.
    #[must_use]
    pub fn judge(&self, description: &str) -> Ownership {
        match Self::parse(description) {
            Some(m) if m.installation == self.installation && m.uid == self.uid => Ownership::Ours,
            Some(other) => Ownership::Other(other),
            None => Ownership::Unmarked,
        }
    }
}

fn digest(text: &str, length: usize) -> String {
    let hash = Sha256::digest(text.as_bytes());
    let mut hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(length);
    hex
}

/// The beginning of the tag on every guest of an installation: the lists show tags, and
/// descriptions never.
#[must_use]
pub fn installation_tag(installation: &str) -> String {
    format!("bb-{}-", digest(installation, 8))
}

/// The tag on the guest of one object.
#[must_use]
pub fn tag(installation: &str, uid: &str) -> String {
    format!("{}{}", installation_tag(installation), digest(uid, 12))
}

/// Whether a tag is that of a guest of any installation.
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit())
    };
    tag.strip_prefix("bb-")
        .and_then(|rest| rest.split_once('-'))
        .is_some_and(|(installation, uid)| hex(installation, 8) && hex(uid, 12))
}

/// Tags as Proxmox VE lists them: separated by semicolons, commas or blanks, in lower case.
#[must_use]
pub fn parse_tags(text: &str) -> BTreeSet<String> {
    text.split([';', ',', ' '])
        .filter(|tag| !tag.is_empty())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// The name of a volume's disk image: images bear no description, so the name is the mark.
///
/// It stays for life, since it is the holder's and not that of a guest which has it.
#[must_use]
pub fn volume_name(holder: Vmid, uid: &str) -> String {
    format!("vm-{holder}-pvc-{uid}")
}

/// The UID in the name of a disk image, when the name is one of ours under this holder.
///
/// Takes the whole volume id or any part of it that ends in the name.
#[must_use]
pub fn volume_uid(holder: Vmid, volid: &str) -> Option<String> {
    let file = volid.rsplit(['/', ':']).next()?;
    let stem = ["raw", "qcow2", "vmdk"]
        .iter()
        .find_map(|suffix| file.strip_suffix(suffix)?.strip_suffix('.'))
        .unwrap_or(file);
    let uid = stem.strip_prefix(&format!("vm-{holder}-pvc-"))?;
    (!uid.is_empty()).then(|| uid.to_owned())
}

/// The serial number under which a guest sees a volume: at most 20 characters, what QEMU's
/// SCSI disks show of it.
#[must_use]
pub fn serial(uid: &str) -> String {
    format!("bb{}", digest(uid, 18))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            installation: "c1".into(),
            uid: "u-1".into(),
            object: "acme/web".into(),
        }
    }

    #[test]
    fn a_mark_written_is_a_mark_read() {
        assert_eq!(mark().to_string(), "bitbuilder c1/u-1 acme/web");
        assert_eq!(Mark::parse(&mark().to_string()), Some(mark()));
        assert_eq!(
            Mark::parse(&format!("{}\nnotes of people", mark())),
            Some(mark())
        );
    }

    #[test]
    fn whose_a_guest_is_is_decided_by_installation_and_uid() {
        assert_eq!(
            mark().judge("bitbuilder c1/u-1 acme/renamed"),
            Ownership::Ours
        );
        for other in ["bitbuilder c2/u-1 acme/web", "bitbuilder c1/u-2 acme/web"] {
            assert!(
                matches!(mark().judge(other), Ownership::Other(_)),
                "{other}"
            );
        }
        for none in [
            "",
            "notes",
            "bitbuilder",
            "notes\nbitbuilder c1/u-1 acme/web",
            "bitbuilder c1",
        ] {
            assert_eq!(mark().judge(none), Ownership::Unmarked, "{none}");
        }
    }

    #[test]
    fn a_tag_is_one_that_proxmox_takes_as_it_is() {
        let tag = tag("c1", "u-1");
        assert!(
            tag.starts_with(&installation_tag("c1")) && tag.len() == 24,
            "{tag}"
        );
        assert!(is_tag(&tag) && is_tag(&super::tag("c2", "u-9")));
        assert!(!is_tag("bb-1") && !is_tag("bb-prod-web") && !is_tag("web"));
        assert!(
            tag.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        );
        assert_eq!(
            parse_tags("B;a, c"),
            ["a", "b", "c"].map(String::from).into()
        );
    }

    #[test]
    fn a_volume_is_known_by_its_name_on_every_kind_of_storage() {
        let holder = Vmid::try_from(9000).unwrap();
        let name = volume_name(holder, "6f-1");
        for volid in [
            format!("local:9000/{name}.qcow2"),
            format!("local:9000/{name}.raw"),
            format!("ceph:{name}"),
            name.clone(),
        ] {
            assert_eq!(
                volume_uid(holder, &volid).as_deref(),
                Some("6f-1"),
                "{volid}"
            );
        }
        for other in [
            "ceph:vm-9000-disk-0",
            "ceph:vm-9001-pvc-6f-1",
            "ceph:vm-9000-pvc-",
        ] {
            assert_eq!(volume_uid(holder, other), None, "{other}");
        }
    }

    #[test]
    fn a_serial_fits_what_a_guest_can_see_of_it() {
        let one = serial("0b8f9b8e-51f5-4d6a-9d63-1d2f8a0f3d11");
        assert_eq!(one.len(), 20);
        assert_ne!(one, serial("0b8f9b8e-51f5-4d6a-9d63-1d2f8a0f3d12"));
    }
}
