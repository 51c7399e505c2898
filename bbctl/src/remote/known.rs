//! Turns a host key that was shown, and those that were to be expected, into a judgement.

use russh::keys::{HashAlg, PublicKey};

/// What a host key has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Fingerprints, `SHA256:...`, that a person named.
    pub pins: Vec<String>,
    /// Keys that a `known_hosts` file has for the host, with their line.
    pub lines: Vec<(usize, PublicKey)>,
    /// That file, for messages.
    pub file: String,
}

/// How a host key was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The one that was expected, and who expected it.
    Known(String),
    /// Not the one that was expected, and who expects which.
    Changed(String),
    /// Nobody expected one.
    Unknown,
}

/// The fingerprint of a key as `ssh-keygen -l` shows it.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// A fingerprint as a person named it, or none where it is no SHA-256.
#[must_use]
pub fn pin(said: &str) -> Option<String> {
    let hash = said.trim().strip_prefix("SHA256:")?.trim_end_matches('=');
    let fits = hash.len() == 43
        && hash
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    fits.then(|| format!("SHA256:{hash}"))
}

/// Judges a key. A fingerprint that was named goes before what a file has.
#[must_use]
pub fn judge(shown: &PublicKey, expected: &Expected) -> Judgement {
    let print = fingerprint(shown);
    if !expected.pins.is_empty() {
        return match expected.pins.contains(&print) {
            true => Judgement::Known("--ssh-host-key".to_owned()),
            false => Judgement::Changed(format!(
                "--ssh-host-key says {}",
                expected.pins.join(" or ")
            )),
        };
    }
    let place = |line: usize| format!("line {line} of {}", expected.file);
    if let Some((line, _)) = expected.lines.iter().find(|(_, key)| same(key, shown)) {
        return Judgement::Known(place(*line));
    }
    match expected.lines.first() {
        Some((line, key)) => {
            Judgement::Changed(format!("{} has {}", place(*line), fingerprint(key)))
        }
        None => Judgement::Unknown,
    }
}

/// Whether two keys are one, whatever is noted beside them.
fn same(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}

/// The line of a `known_hosts` file for a host.
#[must_use]
pub fn line(host: &str, port: u16, key: &PublicKey) -> String {
    let key = key.to_openssh().unwrap_or_default();
    let words: Vec<&str> = key.split_whitespace().take(2).collect();
    let host = match port {
        22 => host.to_owned(),
        port => format!("[{host}]:{port}"),
    };
    format!("{host} {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;

    fn key(seed: u8) -> PublicKey {
        let key: russh::keys::PrivateKey = Ed25519Keypair::from_seed(&[seed; 32]).into();
        key.public_key().clone()
    }

    fn expected(pins: &[u8], lines: &[u8]) -> Expected {
        Expected {
            pins: pins.iter().map(|seed| fingerprint(&key(*seed))).collect(),
            lines: lines.iter().map(|seed| (7, key(*seed))).collect(),
            file: "known_hosts".to_owned(),
        }
    }

    #[test]
    fn a_key_is_known_changed_or_unknown() {
        let table = [
            (expected(&[1], &[]), "known"),
            (expected(&[], &[1]), "known"),
            (expected(&[], &[2, 1]), "known"),
            (expected(&[1], &[2]), "known"),
            (expected(&[2], &[1]), "changed"),
            (expected(&[2, 3], &[]), "changed"),
            (expected(&[], &[2]), "changed"),
            (expected(&[], &[]), "unknown"),
        ];
        for (expected, want) in table {
            let word = match judge(&key(1), &expected) {
                Judgement::Known(_) => "known",
                Judgement::Changed(_) => "changed",
                Judgement::Unknown => "unknown",
            };
            assert_eq!(word, want, "{expected:?}");
        }
    }

    #[test]
    fn a_pin_is_a_whole_sha_256() {
        let print = fingerprint(&key(1));
        assert_eq!(pin(&print), Some(print.clone()));
        assert_eq!(pin(&format!(" {print}= ")), Some(print.clone()));
        for bad in [&print[7..], "SHA256:abc", "MD5:00:11", ""] {
            assert_eq!(pin(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_names_the_port_where_it_is_not_the_usual_one() {
        assert!(line("r1", 22, &key(1)).starts_with("r1 ssh-ed25519 AAAA"));
        assert!(line("r1", 2222, &key(1)).starts_with("[r1]:2222 ssh-ed25519 "));
    }
}
