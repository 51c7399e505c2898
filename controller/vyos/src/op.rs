//! Turns one line of configuration into one element of a `/configure` list, and long lists into
//! lists that fit a request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Leaves whose value is not shown. VyOS 1.5: WireGuard, BGP, users, PKI, IPsec, RADIUS.
const SECRET_LEAVES: [&str; 9] = [
    "encrypted-password",
    "key",
    "passphrase",
    "password",
    "plaintext-password",
    "pre-shared-secret",
    "preshared-key",
    "private-key",
    "secret",
];

/// Whether a command adds or removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Adds a line. Setting what is there already changes nothing.
    Set,
    /// Removes a node with everything below it. VyOS takes the delete of what is absent for done,
    /// unless `service https api rest strict` is set.
    Delete,
}

/// One command of a list. As JSON it is what the API takes: `{"op": "set", "path": [..]}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Op {
    /// Adds or removes.
    #[serde(rename = "op")]
    pub verb: Verb,
    /// The words after the verb, the value last.
    pub path: Vec<String>,
}

impl Op {
    /// A `set` of these words.
    #[must_use]
    pub fn set<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self {
            verb: Verb::Set,
            path: words.into_iter().map(Into::into).collect(),
        }
    }

    /// A `delete` of these words.
    #[must_use]
    pub fn delete<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Self {
        Self {
            verb: Verb::Delete,
            path: words.into_iter().map(Into::into).collect(),
        }
    }

    /// The value, when the command sets a leaf that is a secret.
    pub(crate) fn secret(&self) -> Option<&str> {
        let [.., leaf, value] = self.path.as_slice() else {
            return None;
        };
        SECRET_LEAVES
            .contains(&leaf.as_str())
            .then_some(value.as_str())
    }
}

impl fmt::Display for Op {
    /// Writes the command as it would be typed, with the values of secret leaves as `***`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verb {
            Verb::Set => "set",
            Verb::Delete => "delete",
        })?;
        let shown = self.path.len() - usize::from(self.secret().is_some());
        for word in &self.path[..shown] {
            if !word.is_empty() && word.chars().all(is_plain) {
                write!(f, " {word}")?;
            } else {
                write!(f, " '{word}'")?;
            }
        }
        if shown < self.path.len() {
            f.write_str(" ***")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Op {
    /// The same as `Display`: secrets stay out of logs that print with `{:?}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Op({self})")
    }
}

/// Whether a shell reads the character as itself.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:/@,+=%".contains(c)
}

/// Cuts a list into pieces whose `data` field is at most `max_bytes` long once encoded as a form.
///
/// Order is kept. A single command that is too long is a piece of its own, which
/// [`crate::Router::configure`] then refuses. Each piece is a commit, so a caller that must keep
/// commands together cuts between objects first and uses this for what is left.
#[must_use]
pub fn cut(ops: &[Op], max_bytes: usize) -> Vec<&[Op]> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, BRACKETS);
    for (at, op) in ops.iter().enumerate() {
        let more = encoded_len(op) + if at > start { COMMA } else { 0 };
        if at > start && bytes + more > max_bytes {
            pieces.push(&ops[start..at]);
            (start, bytes) = (at, BRACKETS + encoded_len(op));
        } else {
            bytes += more;
        }
    }
    if start < ops.len() {
        pieces.push(&ops[start..]);
    }
    pieces
}

/// `[` and `]`, percent-encoded.
const BRACKETS: usize = 6;
/// `,`, percent-encoded.
const COMMA: usize = 3;

fn encoded_len(op: &Op) -> usize {
    let json = serde_json::to_string(op).expect("texts always render as JSON");
    form_urlencoded::byte_serialize(json.as_bytes())
        .map(str::len)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_it_would_be_typed() {
        let op = Op::set(["vrf", "name", "t1", "description", "two words"]);
        assert_eq!(op.to_string(), "set vrf name t1 description 'two words'");
        let op = Op::set(["interfaces", "ethernet", "eth1", "description", ""]);
        assert_eq!(
            op.to_string(),
            "set interfaces ethernet eth1 description ''"
        );
        let op = Op::delete([
            "interfaces",
            "ethernet",
            "eth1",
            "address",
            "2001:db8::1/64",
        ]);
        assert_eq!(
            op.to_string(),
            "delete interfaces ethernet eth1 address 2001:db8::1/64"
        );
    }

    #[test]
    fn the_value_of_a_secret_leaf_is_not_shown() {
        let op = Op::set(["interfaces", "wireguard", "wg0", "private-key", "c2VjcmV0"]);
        let shown = "set interfaces wireguard wg0 private-key ***";
        assert_eq!(op.to_string(), shown);
        assert_eq!(format!("{op:?}"), format!("Op({shown})"));
        let vrf = Op::set(["vrf", "name", "password", "table", "1001"]);
        assert_eq!(vrf.to_string(), "set vrf name password table 1001");
    }

    #[test]
    fn a_command_is_the_json_that_the_api_takes() {
        let op = Op::delete(["vrf", "name", "t1"]);
        let json = r#"{"op":"delete","path":["vrf","name","t1"]}"#;
        assert_eq!(serde_json::to_string(&op).unwrap(), json);
        assert_eq!(serde_json::from_str::<Op>(json).unwrap(), op);
    }

    #[test]
    fn pieces_fit_and_are_the_list_again() {
        let ops: Vec<Op> = (0..40)
            .map(|n| Op::set(["a", "b c", &"x".repeat(n), "\u{e9}"]))
            .collect();
        let size = |piece: &[Op]| {
            let json = serde_json::to_string(piece).unwrap();
            form_urlencoded::byte_serialize(json.as_bytes())
                .map(str::len)
                .sum::<usize>()
        };
        for max in [0, 150, 333, 1000, 100_000] {
            let pieces = cut(&ops, max);
            assert_eq!(pieces.concat(), ops);
            for (n, piece) in pieces.iter().enumerate() {
                assert!(piece.len() == 1 || size(piece) <= max, "{max}");
                if let Some(next) = pieces.get(n + 1) {
                    let longer = [piece, &next[..1]].concat();
                    assert!(size(&longer) > max, "the cut at {max} came too early");
                }
            }
        }
        assert!(cut(&[], 10).is_empty());
    }
}
