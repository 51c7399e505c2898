//! Turns what a cluster answered, or did not, into one of a few classes that decide what to do.
//!
//! Proxmox VE answers 500 for most failures and says which one in words; the words here are
//! those of 8.x and 9.x.

use std::collections::BTreeMap;

/// Why a call did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The endpoint, the trust or the credentials cannot be used as they are.
    #[error("{0}")]
    Setup(String),
    /// Nobody answered, or a node is down. A write was not carried out.
    #[error("cannot reach {endpoint}: {cause}")]
    Unreachable {
        /// Where the call went.
        endpoint: String,
        /// What happened.
        cause: String,
    },
    /// The certificate is not the one to trust. Nothing was sent.
    #[error("{endpoint} is not trusted: {why}")]
    Untrusted {
        /// Where the call went.
        endpoint: String,
        /// Which certificate was shown, and why it is not trusted.
        why: String,
    },
    /// The credentials are refused (401).
    #[error("the cluster refuses the credentials: {0}")]
    Unauthorized(String),
    /// The credentials are good and their rights do not suffice (403).
    #[error("no right to: {text}")]
    Forbidden {
        /// Where a right is missing, such as `/vms/100`; empty where the cluster does not say.
        path: String,
        /// The privilege, such as `VM.Clone`; alternatives are separated by `|`.
        privilege: String,
        /// The cluster's words.
        text: String,
    },
    /// A parameter is refused (400).
    #[error("{message}{}", listed(errors))]
    Parameter {
        /// The parameters and what is wrong with each.
        errors: BTreeMap<String, String>,
        /// The cluster's words for the whole.
        message: String,
    },
    /// Somebody else works on the guest or storage: later.
    #[error("{0}")]
    Locked(String),
    /// The cluster as a whole writes nothing: too few nodes, or no cluster file system.
    #[error("{0}")]
    NotReady(String),
    /// The guest is not on that node.
    #[error("{0}")]
    NotThere(String),
    /// What is to be made is there.
    #[error("{0}")]
    Exists(String),
    /// A write was sent, and nobody knows whether it took effect.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// What was decided about is no longer what was looked at. Nothing was sent, or nothing of
    /// it was carried out.
    #[error("{0}")]
    Moved(String),
    /// The cluster refuses in other words.
    #[error("{0}")]
    Refused(String),
    /// The answer makes no sense.
    #[error("the answer to {call} cannot be read: {why}")]
    Answer {
        /// The call.
        call: String,
        /// What is wrong.
        why: String,
    },
}

/// When a call that failed is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At once, after a look at what is.
    Now,
    /// After a while, and longer each time.
    Backoff,
    /// When somebody has changed something.
    OnChange,
}

impl ClusterError {
    /// When the call is worth another try.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::NotThere(_) | Self::Exists(_) | Self::Moved(_) => Retry::Now,
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Locked(_)
            | Self::NotReady(_)
            | Self::Unknown(_)
            | Self::Refused(_)
            | Self::Answer { .. } => Retry::Backoff,
            Self::Setup(_)
            | Self::Unauthorized(_)
            | Self::Forbidden { .. }
            | Self::Parameter { .. } => Retry::OnChange,
        }
    }

    /// What a person can do about it, where the cluster's own words do not say.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let fixed = match self {
            Self::Forbidden {
                path, privilege, ..
            } if path.starts_with("/vms/") => {
                return Some(format!(
                    "grant {privilege} to the user and to the token, on the pool of the Provider, \
                     or on {path} if that is a template or the holder"
                ));
            }
            Self::Forbidden {
                path, privilege, ..
            } if !path.is_empty() => {
                return Some(format!(
                    "grant {privilege} on {path} to the user and to the token"
                ));
            }
            Self::Locked(text) if text.contains("is locked (") => {
                "it goes on when that ends; if no task holds the lock, root takes it off with \
                 `qm unlock` or `pct unlock`"
            }
            Self::Locked(text) if text.contains("can't lock file") => {
                "it goes on when that file is let go; if no task runs on the guest, end the \
                 process on its node that hangs with it"
            }
            Self::Locked(_) => "it goes on when the node or storage is less busy",
            Self::NotReady(text) if text.contains("quorum") || text.contains("not ready") => {
                "it goes on when most nodes of the cluster are up"
            }
            Self::NotReady(_) => "start pve-cluster on that node (`systemctl start pve-cluster`)",
            Self::Unknown(_) => "see the log of that task on its node",
            Self::Refused(text) if words(text, &["No space left", "no space", "not enough"]) => {
                "make room on that storage"
            }
            Self::Refused(text) if text.contains("copy failed") => {
                "see the log of that task on its node; a full storage is the usual cause"
            }
            _ => return None,
        };
        Some(fixed.to_owned())
    }

    /// Whether the cluster refuses because the guest already is in the state that is asked for.
    pub(crate) fn is_moot(&self) -> bool {
        match self {
            Self::Refused(text) => is_moot(text),
            _ => false,
        }
    }
}

/// "VM 300 already running", "CT 801 not running": there is nothing to do.
pub(crate) fn is_moot(text: &str) -> bool {
    let text = text.trim_end();
    text.ends_with("already running") || text.ends_with("not running")
}

fn listed(errors: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    for (name, text) in errors {
        out.push_str(&format!(" {name}: {}.", text.trim().trim_end_matches('.')));
    }
    out
}

/// Texts of a lock held by somebody, or of a node with too much to do.
const LOCKED: [&str; 5] = [
    "can't lock file",
    "got lock request timeout",
    "is locked (",
    "got timeout",
    "got no worker upid",
];

/// Texts of a cluster that writes nothing for anybody.
const NOT_READY: [&str; 3] = [
    "no quorum",
    "cluster not ready",
    "RPCEnvironment init request failed",
];

/// Texts of a digest that was judged and is another one.
const MOVED: [&str; 2] = ["checksum mismatch (file", "detected modified configuration"];

fn words(text: &str, any: &[&str]) -> bool {
    any.iter().any(|word| text.contains(word))
}

/// Whether a call changes something. The outcome of a write that is cut off is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Read,
    Write,
}

/// The class of an answer that is not 2xx. `text` is the reason phrase, or the body's
/// `message` where that says more.
pub(crate) fn classify(
    endpoint: &str,
    class: Class,
    status: u16,
    text: &str,
    errors: BTreeMap<String, String>,
) -> ClusterError {
    let text = text.trim().to_owned();
    let unreachable = |cause: String| ClusterError::Unreachable {
        endpoint: endpoint.to_owned(),
        cause,
    };
    match status {
        401 => ClusterError::Unauthorized(text),
        // Nothing was carried out; how long to wait is between the client and the cluster.
        429 => ClusterError::Locked(format!("the cluster has too much to do: {text}")),
        403 => forbidden(text),
        400 => ClusterError::Parameter {
            errors,
            message: text,
        },
        // The proxy could not get through to the node: nothing was carried out.
        595 => unreachable(text),
        // The proxy lost the node in the middle.
        596..=599 | 502..=504 if class == Class::Write => ClusterError::Unknown(text),
        596..=599 | 502..=504 => unreachable(text),
        _ if text.contains("hostname lookup") => unreachable(text),
        _ if words(&text, &NOT_READY) => ClusterError::NotReady(text),
        _ if words(&text, &MOVED) => ClusterError::Moved(text),
        _ if words(&text, &LOCKED) => ClusterError::Locked(text),
        _ if is_absence(&text) => ClusterError::NotThere(text),
        _ if text.contains("already exists") => ClusterError::Exists(text),
        _ if text.is_empty() => ClusterError::Refused(format!("status {status} without a word")),
        _ => ClusterError::Refused(text),
    }
}

/// The class of a task that failed: its words are those of a call that does.
pub(crate) fn of_task(words: String) -> ClusterError {
    if words.contains("Permission check failed") {
        return forbidden(words);
    }
    classify("", Class::Write, 500, &words, BTreeMap::new())
}

/// The two texts for a guest that is not there; storages and bridges have others.
fn is_absence(text: &str) -> bool {
    (text.starts_with("Configuration file") && text.contains("does not exist"))
        || text.contains("unable to find configuration file")
}

/// Reads `Permission check failed (/vms/100, VM.Clone)`.
fn forbidden(text: String) -> ClusterError {
    let inside = text
        .split_once('(')
        .and_then(|(_, rest)| rest.rsplit_once(')'))
        .map(|(i, _)| i);
    let (path, privilege) = inside
        .and_then(|inside| inside.split_once(", "))
        .filter(|(path, _)| path.starts_with('/'))
        .map(|(path, privilege)| (path.to_owned(), privilege.to_owned()))
        .unwrap_or_default();
    ClusterError::Forbidden {
        path,
        privilege,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, text: &str) -> ClusterError {
        classify(
            "https://n:8006",
            Class::Write,
            status,
            text,
            BTreeMap::new(),
        )
    }

    #[test]
    fn a_missing_right_is_named() {
        let error = class(403, "Permission check failed (/vms/2700, VM.Clone)\n");
        let ClusterError::Forbidden {
            path, privilege, ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(
            (path.as_str(), privilege.as_str()),
            ("/vms/2700", "VM.Clone")
        );
        let bare = class(403, "Permission check failed (pool 'x' does not exist)");
        assert!(matches!(bare, ClusterError::Forbidden { path, .. } if path.is_empty()));
    }

    #[test]
    fn the_words_of_a_500_decide() {
        for (text, want) in [
            (
                "can't lock file '/var/lock/qemu-server/lock-5.conf' - got timeout",
                "Locked",
            ),
            ("VM is locked (backup)", "Locked"),
            ("CT is locked (disk)", "Locked"),
            (
                "Configuration file 'nodes/a/qemu-server/5.conf' does not exist",
                "NotThere",
            ),
            (
                "unable to find configuration file for VM 5 on node 'a'",
                "NotThere",
            ),
            (
                "unable to create VM 202: config file already exists",
                "Exists",
            ),
            ("CT 801 already exists on node 'pve1'", "Exists"),
            ("disk image '/x/vm-1-pvc-2.qcow2' already exists", "Exists"),
            ("cluster not ready - no quorum?", "NotReady"),
            (
                "RPCEnvironment init request failed: Unable to load access control list: \
                 Connection refused",
                "NotReady",
            ),
            ("got no worker upid - start worker failed", "Locked"),
            (
                "cfs-lock 'storage-ceph' error: got lock request timeout",
                "Locked",
            ),
            (
                "VM 5: checksum mismatch (file change by other user?)",
                "Moved",
            ),
            (
                "detected modified configuration - file changed by other user? Try again.",
                "Moved",
            ),
            ("storage 'gone' does not exist", "Refused"),
            ("VM 5 is running - destroy failed", "Refused"),
        ] {
            let got = format!("{:?}", class(500, text));
            assert!(got.starts_with(want), "{text}: {got}");
        }
        assert!(class(500, "CT 801 not running\n").is_moot());
    }

    #[test]
    fn what_the_words_leave_open_comes_with_a_remedy() {
        for (status, text, want) in [
            (
                403,
                "Permission check failed (/vms/2700, VM.Clone)",
                "or on /vms/2700 if that is a template",
            ),
            (500, "CT is locked (disk)", "pct unlock"),
            (
                500,
                "can't lock file '/x/lock-5.conf' - got timeout",
                "hangs",
            ),
            (500, "cluster not ready - no quorum?", "most nodes"),
            (
                500,
                "unable to create image: No space left on device",
                "make room",
            ),
            (
                500,
                "clone failed: copy failed: command 'x' failed: exit code 1",
                "full storage",
            ),
        ] {
            let remedy = class(status, text).remedy().unwrap_or_default();
            assert!(remedy.contains(want), "{text}: {remedy}");
        }
        assert_eq!(
            class(500, "VM 5 is running - destroy failed").remedy(),
            None
        );
    }

    #[test]
    fn a_write_that_was_cut_off_is_unknown_and_a_read_is_not() {
        assert!(matches!(
            class(596, "Broken pipe"),
            ClusterError::Unknown(_)
        ));
        let read = classify("e", Class::Read, 596, "Broken pipe", BTreeMap::new());
        assert!(matches!(read, ClusterError::Unreachable { .. }));
        assert!(matches!(
            class(595, "Connection refused"),
            ClusterError::Unreachable { .. }
        ));
    }

    #[test]
    fn a_refused_parameter_is_named_in_the_text() {
        let errors = [("cores".to_owned(), "not an integer\n".to_owned())].into();
        let error = classify(
            "e",
            Class::Write,
            400,
            "Parameter verification failed.\n",
            errors,
        );
        assert_eq!(
            error.to_string(),
            "Parameter verification failed. cores: not an integer."
        );
        assert_eq!(error.retry(), Retry::OnChange);
    }
}
