//! Turns a desired guest and the configuration it has into the keys to set and to delete.
//!
//! Only keys that an object decides are compared; everything else in a guest's configuration
//! (its firewall flag, its balloon, what people added) is left alone, also inside a value
//! that is rewritten. The cards, the access and the resolvers of a guest are wholly what the
//! object says: a second card that somebody added by hand goes.

use std::collections::{BTreeMap, BTreeSet};

use bb_crds::ids::Vmid;
use sha2::{Digest, Sha256};

use super::mark;
use super::model::{Attachment, DesiredGuest, DesiredNic, Kind, Power, Source};
use super::property::{Property, parse_size};
use crate::drift::is_secret;

mod cards;
mod disks;

pub use disks::{Attached, RootDisk, attached, has_cloud_init, root_disk};

/// The configuration of a guest as `GET .../pending` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GuestConfig {
    /// What is in force.
    pub current: BTreeMap<String, String>,
    /// What comes into force when the guest is restarted; `None` is taken away then.
    pub pending: BTreeMap<String, Option<String>>,
    /// The version of the configuration, to be sent with a write that builds on it.
    pub digest: Option<String>,
}

impl GuestConfig {
    /// The value that a key has, or will have once what is pending is in force.
    #[must_use]
    pub fn effective(&self, key: &str) -> Option<&str> {
        match self.pending.get(key) {
            Some(next) => next.as_deref(),
            None => self.current.get(key).map(String::as_str),
        }
    }

    /// The keys that have, or will have, a value.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let all: BTreeSet<&str> = self
            .current
            .keys()
            .chain(self.pending.keys())
            .map(String::as_str)
            .collect();
        all.into_iter().filter(|key| self.effective(key).is_some())
    }

    /// The addresses that its cards have or are given (`ipconfigN` of a machine, `netN` of a
    /// container), with and without what is pending.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<std::net::Ipv4Addr> {
        let pending = self
            .pending
            .iter()
            .filter_map(|(k, v)| Some((k, v.as_ref()?)));
        self.current
            .iter()
            .chain(pending)
            .filter(|(key, _)| key.starts_with("ipconfig") || key.starts_with("net"))
            .flat_map(|(_, value)| value.split(','))
            .filter_map(|part| part.strip_prefix("ip=")?.split('/').next()?.parse().ok())
            .collect()
    }

    /// The first line and the rest that people wrote.
    #[must_use]
    pub fn description(&self) -> &str {
        self.current.get("description").map_or("", String::as_str)
    }

    /// The long lock, such as `clone` or `backup`.
    #[must_use]
    pub fn lock(&self) -> Option<&str> {
        self.current
            .get("lock")
            .map(String::as_str)
            .filter(|lock| !lock.is_empty())
    }

    /// Whether Proxmox VE refuses to destroy it.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.effective("protection") == Some("1")
    }

    /// The keys of ours that wait for a restart.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        self.pending
            .iter()
            .filter(|(key, next)| self.current.get(*key) != next.as_ref())
            .map(|(key, _)| key.clone())
            .collect()
    }
}

/// The difference between a configuration and what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyDiff {
    /// Keys to set, with their values as Proxmox VE takes them before form encoding.
    pub set: BTreeMap<String, String>,
    /// Keys to take away.
    pub delete: BTreeSet<String>,
}

impl KeyDiff {
    /// Whether nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty()
    }
}

/// What a guest's disks are to be beside its own: each volume with the volume id it has.
pub type Disks = BTreeMap<String, (String, Attachment)>;

/// A stable fingerprint of everything that is written to a guest.
#[must_use]
pub fn fingerprint(guest: &DesiredGuest) -> String {
    // Destructured whole: a field that is forgotten here would never be written again.
    let DesiredGuest {
        uid,
        namespace: _,
        name,
        vmid,
        source,
        cores,
        memory_mib,
        disk_gib,
        nics,
        dns_servers,
        dns_domain,
        ssh_keys,
        volumes,
        power,
        fate: _,
        settled: _,
        observe: _,
        adopt: _,
    } = guest;
    let root = match source {
        // What a guest was made from is not written to it again.
        Source::Template { .. } => 0,
        Source::Archive { disk_gib, .. } => *disk_gib,
    };
    let text = format!(
        "{uid:?} {name:?} {vmid} {:?} {cores} {memory_mib} {:?} {nics:?} {dns_servers:?} \
         {dns_domain:?} {ssh_keys:?} {volumes:?} {power:?}",
        source.kind(),
        disk_gib.unwrap_or(0).max(root),
    );
    let hash = Sha256::digest(text.as_bytes());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What has to be written so that a guest's configuration is as desired.
///
/// `disks` are the volumes that may be attached now; volumes of ours that the guest does not
/// want are detached in any case.
#[must_use]
pub fn diff(
    installation: &str,
    holder: Option<Vmid>,
    guest: &DesiredGuest,
    disks: &Disks,
    config: &GuestConfig,
) -> KeyDiff {
    let kind = guest.source.kind();
    let mut diff = KeyDiff::default();
    let name_key = match kind {
        Kind::Vm => "name",
        Kind::Container => "hostname",
    };
    plain(&mut diff, config, name_key, &guest.name);
    number(&mut diff, config, "cores", u64::from(guest.cores));
    if kind == Kind::Vm && numeric(config, "sockets").is_some_and(|sockets| sockets != 1) {
        diff.set.insert("sockets".to_owned(), "1".to_owned());
    }
    number(&mut diff, config, "memory", guest.memory_mib);
    let onboot = u64::from(guest.power == Power::Running);
    if numeric(config, "onboot").unwrap_or(0) != onboot {
        diff.set.insert("onboot".to_owned(), onboot.to_string());
    }
    tags(&mut diff, config, installation, &guest.uid);
    words(&mut diff, config, "nameserver", &guest.dns_servers);
    words(
        &mut diff,
        config,
        "searchdomain",
        guest.dns_domain.as_slice(),
    );
    if kind == Kind::Vm {
        ssh_keys(&mut diff, config, &guest.ssh_keys);
        disks::diff(&mut diff, holder, guest, disks, config);
    }
    cards::diff(&mut diff, guest, config);
    diff
}

/// A difference as lines for people: `- ` what a key has, `+ ` what it should have.
#[must_use]
pub fn lines(diff: &KeyDiff, config: &GuestConfig) -> Vec<String> {
    let all: BTreeSet<&String> = diff.set.keys().chain(&diff.delete).collect();
    let mut lines = Vec::new();
    for key in all {
        let has = config
            .effective(key)
            .map(str::trim)
            .filter(|v| !v.is_empty());
        if let Some(has) = has {
            lines.push(format!("- {key}: {}", presentable(key, has)));
        }
        if let Some(next) = diff.set.get(key) {
            lines.push(format!("+ {key}: {}", presentable(key, next)));
        }
    }
    lines
}

/// A value that may be shown: keys are public, and long.
fn presentable(key: &str, value: &str) -> String {
    if key == "sshkeys" {
        let text = decode_percent(value);
        let keys = text.lines().filter(|line| !line.trim().is_empty());
        let names = keys.map(|line| line.rsplit(' ').next().unwrap_or_default());
        return names.collect::<Vec<_>>().join(", ");
    }
    if is_secret(key) {
        return "********".to_owned();
    }
    value.to_owned()
}

/// The parameters that build a container, all in one call.
#[must_use]
pub fn container_parameters(
    installation: &str,
    pool: &str,
    guest: &DesiredGuest,
) -> BTreeMap<String, String> {
    let Source::Archive { volid, storage, .. } = &guest.source else {
        return BTreeMap::new();
    };
    let written = diff(
        installation,
        None,
        guest,
        &Disks::new(),
        &GuestConfig::default(),
    );
    let mut all = written.set;
    let mark = mark_of(installation, guest);
    for (key, value) in [
        ("vmid", guest.vmid.to_string()),
        ("ostemplate", volid.clone()),
        ("rootfs", format!("{storage}:{}", root_gib(guest))),
        ("pool", pool.to_owned()),
        ("description", mark.to_string()),
        ("unprivileged", "1".to_owned()),
        ("features", "nesting=1".to_owned()),
    ] {
        all.insert(key.to_owned(), value);
    }
    if !guest.ssh_keys.is_empty() {
        all.insert("ssh-public-keys".to_owned(), guest.ssh_keys.join("\n"));
    }
    all
}

/// The mark that a guest bears.
#[must_use]
pub fn mark_of(installation: &str, guest: &DesiredGuest) -> mark::Mark {
    mark::Mark {
        installation: installation.to_owned(),
        uid: guest.uid.clone(),
        object: format!("{}/{}", guest.namespace, guest.name),
    }
}

/// The root disk's size that is asked for, in GiB; 0 where the template's is good.
#[must_use]
pub fn root_gib(guest: &DesiredGuest) -> u64 {
    let own = guest.disk_gib.unwrap_or(0);
    match guest.source {
        Source::Template { .. } => own,
        Source::Archive { disk_gib, .. } => own.max(disk_gib),
    }
}

/// SSH keys as Proxmox VE takes them: percent-encoded once, all but RFC 3986's unreserved
/// characters (a `+` for a blank is refused), before the form is encoded.
#[must_use]
pub fn encode_ssh_keys(keys: &[String]) -> String {
    let mut out = String::new();
    for byte in keys.join("\n").bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn decode_percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match hex {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn plain(diff: &mut KeyDiff, config: &GuestConfig, key: &str, want: &str) {
    if config.effective(key) != Some(want) {
        diff.set.insert(key.to_owned(), want.to_owned());
    }
}

/// A number, which comes as number or text, and for `memory` may be `current=N`.
fn numeric(config: &GuestConfig, key: &str) -> Option<u64> {
    let text = config.effective(key)?.trim();
    text.strip_prefix("current=").unwrap_or(text).parse().ok()
}

fn number(diff: &mut KeyDiff, config: &GuestConfig, key: &str, want: u64) {
    if numeric(config, key) != Some(want) {
        diff.set.insert(key.to_owned(), want.to_string());
    }
}

/// Tags of people and of the template stay; ours is added where it is missing. That of another
/// object of ours goes: the guest was its before it was this one's.
fn tags(diff: &mut KeyDiff, config: &GuestConfig, installation: &str, uid: &str) {
    let ours = mark::tag(installation, uid);
    let all_ours = mark::installation_tag(installation);
    let before = mark::parse_tags(config.effective("tags").unwrap_or(""));
    let mut tags = before.clone();
    tags.retain(|tag| *tag == ours || !tag.starts_with(&all_ours));
    tags.insert(ours);
    if tags != before {
        let all: Vec<String> = tags.into_iter().collect();
        diff.set.insert("tags".to_owned(), all.join(";"));
    }
}

fn words(diff: &mut KeyDiff, config: &GuestConfig, key: &str, want: &[String]) {
    let have = config.effective(key).unwrap_or("");
    let have: Vec<&str> = have
        .split([' ', ',', ';'])
        .filter(|word| !word.is_empty())
        .collect();
    if have == want {
        return;
    }
    if want.is_empty() {
        diff.delete.insert(key.to_owned());
    } else {
        diff.set.insert(key.to_owned(), want.join(" "));
    }
}

fn ssh_keys(diff: &mut KeyDiff, config: &GuestConfig, want: &[String]) {
    let have = decode_percent(config.effective("sshkeys").unwrap_or(""));
    let have: Vec<&str> = have
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let wanted: Vec<&str> = want.iter().map(|key| key.trim()).collect();
    if have == wanted {
        return;
    }
    if wanted.is_empty() {
        diff.delete.insert("sshkeys".to_owned());
    } else {
        diff.set.insert("sshkeys".to_owned(), encode_ssh_keys(want));
    }
}

#[cfg(test)]
mod tests;
