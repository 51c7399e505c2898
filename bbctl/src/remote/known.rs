//! Turns a host key that was shown, and those that were to be expected, into a judgement.

use aws_lc_rs::hmac;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{HashAlg, PublicKey};

/// What a host key has to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Fingerprints, `SHA256:...`, that a person named.
    pub pins: Vec<String>,
    /// What a `known_hosts` file says of the host.
    pub lines: Vec<Line>,
    /// That file, for messages.
    pub file: String,
}

/// What one line of a `known_hosts` file says of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which line of the file it is, 1 for the first.
    pub number: usize,
    /// The key in it.
    pub key: PublicKey,
    /// What the key is.
    pub role: Role,
}

/// What a key in a `known_hosts` file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The host's own.
    Host,
    /// That of an authority, which signs certificates of hosts. None of those is asked for here.
    Authority,
    /// One that is in wrong hands.
    Revoked,
}

/// How a host key was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The one that was expected, and who expected it.
    Known(String),
    /// Not the one that was expected, and who expects which.
    Changed(String),
    /// One that nobody may be believed with, and who says so.
    Revoked(String),
    /// Nobody expected one; what a file says of the host all the same, or nothing.
    Unknown(String),
}

/// The lines of a `known_hosts` file that are about a host. Lines that cannot be understood are
/// passed over, as OpenSSH does.
#[must_use]
pub fn lines(text: &str, host: &str, port: u16) -> Vec<Line> {
    let host = host.to_ascii_lowercase();
    let host = match port {
        22 => host,
        port => format!("[{host}]:{port}"),
    };
    let about = |(at, line): (usize, &str)| {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        // Words may be apart by more than one space, or by tabs. A remark comes last.
        let words: Vec<&str> = line.split_whitespace().take(4).collect();
        let entry: Entry = words.join(" ").parse().ok()?;
        is_about(entry.host_patterns(), &host).then(|| Line {
            number: at + 1,
            key: entry.public_key().clone(),
            role: match entry.marker() {
                None => Role::Host,
                Some(Marker::CertAuthority) => Role::Authority,
                Some(Marker::Revoked) => Role::Revoked,
            },
        })
    };
    text.lines().enumerate().filter_map(about).collect()
}

/// Whether a line with these patterns is about the host.
fn is_about(patterns: &HostPatterns, host: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, host.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(all) => {
            let fits = |pattern: &str| {
                let pattern = pattern.to_ascii_lowercase();
                is_like(pattern.as_bytes(), host.as_bytes())
            };
            let (not, yes): (Vec<&String>, Vec<&String>) =
                all.iter().partition(|pattern| pattern.starts_with('!'));
            !not.iter().any(|pattern| fits(&pattern[1..])) && yes.iter().any(|p| fits(p))
        }
    }
}

/// Whether a text fits a pattern, in which `*` is any text and `?` any character.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            is_like(rest, text) || (!text.is_empty() && is_like(pattern, &text[1..]))
        }
        ([b'?', rest @ ..], [_, after @ ..]) => is_like(rest, after),
        ([one, rest @ ..], [other, after @ ..]) => one == other && is_like(rest, after),
        _ => false,
    }
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

/// Judges a key. One that is revoked is never believed. A fingerprint that was named goes before
/// what a file has. A host that is known by keys of other types alone has not changed.
#[must_use]
pub fn judge(shown: &PublicKey, expected: &Expected) -> Judgement {
    let print = fingerprint(shown);
    let place = |line: &Line| format!("line {} of {}", line.number, expected.file);
    let of = |role: Role| expected.lines.iter().filter(move |line| line.role == role);
    if let Some(line) = of(Role::Revoked).find(|line| same(&line.key, shown)) {
        return Judgement::Revoked(format!("{} says that it is revoked", place(line)));
    }
    if !expected.pins.is_empty() {
        return match expected.pins.contains(&print) {
            true => Judgement::Known("--ssh-host-key".to_owned()),
            false => Judgement::Changed(format!(
                "--ssh-host-key says {}",
                expected.pins.join(" or ")
            )),
        };
    }
    if let Some(line) = of(Role::Host).find(|line| same(&line.key, shown)) {
        return Judgement::Known(place(line));
    }
    let kind = shown.algorithm();
    if let Some(line) = of(Role::Host).find(|line| line.key.algorithm() == kind) {
        return Judgement::Changed(format!("{} has {}", place(line), fingerprint(&line.key)));
    }
    let other = of(Role::Host).map(|line| {
        let (place, other) = (place(line), line.key.algorithm());
        format!("{place} has a key of type {other} for it, and none of type {kind}")
    });
    let authority = of(Role::Authority).map(|line| {
        let place = place(line);
        format!("{place} has an authority for it, whose certificates bbctl does not read")
    });
    Judgement::Unknown(other.chain(authority).next().unwrap_or_default())
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
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;

    fn key(seed: u8) -> PublicKey {
        let key: russh::keys::PrivateKey = Ed25519Keypair::from_seed(&[seed; 32]).into();
        key.public_key().clone()
    }

    fn expected(pins: &[u8], lines: &[u8]) -> Expected {
        Expected {
            pins: pins.iter().map(|seed| fingerprint(&key(*seed))).collect(),
            lines: lines
                .iter()
                .map(|seed| Line {
                    number: 7,
                    key: key(*seed),
                    role: Role::Host,
                })
                .collect(),
            file: "known_hosts".to_owned(),
        }
    }

    fn word(judgement: &Judgement) -> &'static str {
        match judgement {
            Judgement::Known(_) => "known",
            Judgement::Changed(_) => "changed",
            Judgement::Revoked(_) => "revoked",
            Judgement::Unknown(_) => "unknown",
        }
    }

    /// What a file makes of the first key, of a host at a port.
    fn judged(text: &str, host: &str, port: u16) -> Judgement {
        let lines = lines(text, host, port);
        let file = "F".to_owned();
        let pins = Vec::new();
        judge(&key(1), &Expected { pins, lines, file })
    }

    fn public(seed: u8) -> String {
        let text = key(seed).to_openssh().unwrap();
        text.split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    }

    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCpSUAlKO+GhB4hPWglK2L3IEYz9LbB51rvf2bn\
                       l5OmkSZLZ2Trd3yk9Lpr+q+qPwOOvRLQyJ2JPlhwXcAuCc5D1x6AZz1cDzDDbr5YWiA/GL3CXFnP\
                       DKOC9d2p0Mp3dbNl6GTQNq7PCoYOJ63oSRq0NZJLQI5cn6WRSzuVF0V0Xw==";

    #[test]
    fn a_line_is_about_whom_it_names() {
        let key = public(1);
        for (hosts, host, port, is) in [
            ("r1", "r1", 22, true),
            ("r1", "R1", 22, true),
            ("r2,r1,10.0.0.1", "10.0.0.1", 22, true),
            ("r1", "r1", 2222, false),
            ("[r1]:2222", "r1", 2222, true),
            ("[r1]:2222", "r1", 22, false),
            ("*.example.org", "r1.example.org", 22, true),
            ("*.example.org,!r1.*", "r1.example.org", 22, false),
            ("r?", "r1", 22, true),
            ("r?", "r10", 22, false),
            ("2001:db8::1", "2001:db8::1", 22, true),
        ] {
            let found = judged(&format!("{hosts} {key}\n"), host, port);
            assert_eq!(
                word(&found) == "known",
                is,
                "{hosts} {host} {port}: {found:?}"
            );
        }
    }

    #[test]
    fn a_hashed_host_is_known_again() {
        let salt = [7_u8; 20];
        let hashed = |name: &str| {
            let by = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
            let tag = hmac::sign(&by, name.as_bytes());
            let text = |bytes: &[u8]| STANDARD.encode(bytes);
            format!("|1|{}|{} {}\n", text(&salt), text(tag.as_ref()), public(1))
        };
        assert_eq!(word(&judged(&hashed("r1"), "r1", 22)), "known");
        assert_eq!(word(&judged(&hashed("[r1]:2222"), "r1", 2222)), "known");
        assert_eq!(word(&judged(&hashed("r2"), "r1", 22)), "unknown");
        // Such a line of OpenSSH's own.
        let made = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ";
        let known = judged(&format!("{made}{}", public(1)), "192.168.1.61", 22);
        assert_eq!(word(&known), "known");
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let (own, other) = (public(1), public(2));
        let text = format!("# mine\n\n  # more\nr2 {other}\nnonsense\nr1\t{own}  me@home # x\n");
        assert_eq!(
            judged(&text, "r1", 22),
            Judgement::Known("line 6 of F".to_owned())
        );
        let changed = judged(&text, "r2", 22);
        assert!(matches!(&changed, Judgement::Changed(who) if who.contains("line 4 of F has ")));
    }

    #[test]
    fn a_revoked_key_is_never_believed_and_an_authority_is_no_host() {
        let (own, other) = (public(1), public(2));
        let both = format!("r1 {own}\n@revoked * {own}\n");
        let revoked = judged(&both, "r1", 22);
        assert_eq!(
            revoked,
            Judgement::Revoked("line 2 of F says that it is revoked".to_owned())
        );
        let pinned = Expected {
            pins: vec![fingerprint(&key(1))],
            lines: lines(&both, "r1", 22),
            file: "F".to_owned(),
        };
        assert_eq!(word(&judge(&key(1), &pinned)), "revoked", "a pin or not");
        // Another's revoked key says nothing of this one.
        let text = format!("@revoked r1 {other}\n");
        assert_eq!(word(&judged(&text, "r1", 22)), "unknown");
        // Neither does the key of an authority, which is none of the host.
        for seed in [&own, &other] {
            let found = judged(&format!("@cert-authority r1 {seed}\n"), "r1", 22);
            assert!(
                matches!(&found, Judgement::Unknown(why) if why.contains("line 1 of F has an authority")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_host_known_by_another_type_of_key_has_not_changed() {
        let found = judged(&format!("r1 {RSA}\n"), "r1", 22);
        let why = "line 1 of F has a key of type ssh-rsa for it, and none of type ssh-ed25519";
        assert_eq!(found, Judgement::Unknown(why.to_owned()));
        let both = format!("r1 {RSA}\nr1 {}\n", public(2));
        assert_eq!(word(&judged(&both, "r1", 22)), "changed");
        let both = format!("r1 {RSA}\nr1 {}\n", public(1));
        assert_eq!(word(&judged(&both, "r1", 22)), "known");
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
            let word = word(&judge(&key(1), &expected));
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
