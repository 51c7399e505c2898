//! Turns secrets of providers into a file that says nothing without its key, and back.
//!
//! Each secret is sealed by itself with AES-256-GCM, bound to the provider and the entry that it is
//! for, so that none can be put in the place of another. The key comes from a passphrase
//! (PBKDF2-HMAC-SHA512) or is read from a key file.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bb_vyos::Secret;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::error::{Exit, Failure};

/// The file, in the user's folder.
pub const CREDENTIALS: &str = "credentials.toml";
/// Rounds of the derivation, as OWASP advises for PBKDF2-HMAC-SHA512.
const ROUNDS: u32 = 210_000;
/// A passphrase has at least so many characters: what it guards can be tried offline.
pub const SHORTEST: usize = 12;
/// What is sealed under no provider, to tell a wrong key at once.
const PROBE: &str = "bbctl";

/// What opens a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opener {
    /// Words that a person knows.
    Passphrase(Secret),
    /// 32 bytes in base64, the whole of a file.
    KeyFile(Secret),
}

impl Opener {
    const fn word(&self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
            Self::KeyFile(_) => "key-file",
        }
    }

    fn key(&self, salt: &[u8]) -> Result<[u8; 32], Failure> {
        let mut key = [0; 32];
        match self {
            Self::Passphrase(words) => {
                if words.reveal().chars().count() < SHORTEST {
                    return Err(Failure::usage(format!(
                        "the passphrase is shorter than {SHORTEST} characters"
                    )));
                }
                let rounds = NonZeroU32::new(ROUNDS).unwrap_or(NonZeroU32::MIN);
                let words = words.reveal().as_bytes();
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, rounds, salt, words, &mut key);
            }
            Self::KeyFile(text) => {
                let bytes = BASE64.decode(text.reveal().trim()).ok();
                let bytes = bytes
                    .filter(|bytes| bytes.len() == key.len())
                    .ok_or_else(|| {
                        Failure::usage("the key file does not hold 32 bytes in base64").hint(
                            "make one: `head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE`",
                        )
                    })?;
                key.copy_from_slice(&bytes);
            }
        }
        Ok(key)
    }
}

/// A file of sealed secrets.
pub struct Vault {
    document: DocumentMut,
}

fn broken(path: &Path, words: &str) -> Failure {
    Failure::new(Exit::Failure, format!("{}: {words}", path.display()))
        .hint("put back a copy of it, or move it away and add the providers again")
}

impl Vault {
    /// Reads a file; one that is not there is empty.
    ///
    /// # Errors
    /// When it is none that bbctl wrote.
    pub fn parse(text: Option<&str>, path: &Path) -> Result<Self, Failure> {
        let text =
            text.unwrap_or("# Written by bbctl. Nothing here is readable without its key.\n");
        let document: DocumentMut = text
            .parse()
            .map_err(|_| broken(path, "it is not what bbctl wrote"))?;
        let version = document.get("version").map(Item::as_integer);
        match version {
            None | Some(Some(1)) => Ok(Self { document }),
            Some(_) => Err(broken(path, "it was written by another release of bbctl")),
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// What opens it: `passphrase` or `key-file`; none where nothing is in it yet.
    #[must_use]
    pub fn lock(&self) -> Option<&str> {
        self.document.get("lock")?.get("kind")?.as_str()
    }

    /// The providers that it has secrets of.
    #[must_use]
    pub fn providers(&self) -> Vec<String> {
        let sealed = self.document.get("sealed").and_then(Item::as_table);
        let names = sealed.into_iter().flat_map(Table::iter);
        names.map(|(name, _)| name.to_owned()).collect()
    }

    /// Opens it, or locks one that is empty with this from now on.
    ///
    /// # Errors
    /// When this does not open it.
    pub fn open(&mut self, opener: &Opener, path: &Path) -> Result<Key, Failure> {
        let Some(kind) = self.lock().map(str::to_owned) else {
            return self.begin(opener);
        };
        if kind != opener.word() {
            return Err(
                Failure::usage(format!("{} is opened by a {kind}", path.display())).hint(
                    "give BBCTL_PASSPHRASE_FILE for a passphrase, BBCTL_KEY_FILE for a key file",
                ),
            );
        }
        let field = |name: &str| self.document["lock"].get(name)?.as_str().map(str::to_owned);
        let salt = field("salt").and_then(|salt| BASE64.decode(salt).ok());
        let (Some(salt), Some(probe)) = (salt, field("probe")) else {
            return Err(broken(path, "it does not say how it is locked"));
        };
        let key = Key(opener.key(&salt)?);
        match key.unseal(&probe, PROBE, PROBE) {
            Some(_) => Ok(key),
            None => Err(Failure::new(
                Exit::Denied,
                format!("this {kind} does not open {}", path.display()),
            )),
        }
    }

    fn begin(&mut self, opener: &Opener) -> Result<Key, Failure> {
        let mut salt = [0; 32];
        rand::fill(&mut salt).map_err(|_| no_chance())?;
        let key = Key(opener.key(&salt)?);
        let mut lock = Table::new();
        lock["kind"] = value(opener.word());
        lock["salt"] = value(BASE64.encode(salt));
        lock["probe"] = value(key.seal(PROBE, PROBE, PROBE)?);
        self.document["version"] = value(1);
        self.document["lock"] = Item::Table(lock);
        Ok(key)
    }

    /// Puts the secrets of a provider in, in place of those that it had.
    ///
    /// # Errors
    /// When they cannot be sealed.
    pub fn put(
        &mut self,
        key: &Key,
        provider: &str,
        secrets: &BTreeMap<&str, Secret>,
    ) -> Result<(), Failure> {
        let mut entries = Table::new();
        for (entry, secret) in secrets {
            entries[*entry] = value(key.seal(secret.reveal(), provider, entry)?);
        }
        let sealed = self.document.entry("sealed").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        sealed[provider] = Item::Table(entries);
        Ok(())
    }

    /// The secrets of a provider, by entry.
    ///
    /// # Errors
    /// When one was changed since it was sealed.
    pub fn get(
        &self,
        key: &Key,
        provider: &str,
        path: &Path,
    ) -> Result<BTreeMap<String, Secret>, Failure> {
        let sealed = self
            .document
            .get("sealed")
            .and_then(|sealed| sealed.get(provider));
        let entries = sealed
            .and_then(Item::as_table)
            .into_iter()
            .flat_map(Table::iter);
        let mut secrets = BTreeMap::new();
        for (entry, item) in entries {
            let text = item
                .as_str()
                .and_then(|text| key.unseal(text, provider, entry));
            let text = text.ok_or_else(|| {
                broken(
                    path,
                    &format!("{entry} of {provider} was changed since it was sealed"),
                )
            })?;
            secrets.insert(entry.to_owned(), Secret::new(text));
        }
        Ok(secrets)
    }
}

fn no_chance() -> Failure {
    Failure::new(Exit::Failure, "this machine gives no random numbers")
}

/// What seals and unseals.
pub struct Key([u8; 32]);

impl Key {
    fn cipher(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).ok()
    }

    /// The nonce and what was made of the text, in base64.
    fn seal(&self, text: &str, provider: &str, entry: &str) -> Result<String, Failure> {
        let mut bytes = text.as_bytes().to_vec();
        let bound = Aad::from(format!("{provider}/{entry}"));
        let cipher = self.cipher().ok_or_else(no_chance)?;
        let nonce = cipher
            .seal_in_place_append_tag(bound, &mut bytes)
            .map_err(|_| no_chance())?;
        let whole: Vec<u8> = nonce.as_ref().iter().copied().chain(bytes).collect();
        Ok(BASE64.encode(whole))
    }

    fn unseal(&self, sealed: &str, provider: &str, entry: &str) -> Option<String> {
        let mut bytes = BASE64.decode(sealed).ok()?;
        if bytes.len() < NONCE_LEN {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(&bytes[..NONCE_LEN]).ok()?;
        let bound = Aad::from(format!("{provider}/{entry}"));
        let open = self
            .cipher()?
            .open_in_place(nonce, bound, &mut bytes[NONCE_LEN..])
            .ok()?
            .to_vec();
        String::from_utf8(open).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Opener {
        Opener::Passphrase(Secret::new(text))
    }

    #[test]
    fn what_is_sealed_is_read_with_the_right_key_alone() {
        let path = Path::new("c");
        let mut vault = Vault::parse(None, path).unwrap();
        let key = vault.open(&words("correct horse battery"), path).unwrap();
        let secrets = BTreeMap::from([("key", Secret::new("s3cret-of-r1"))]);
        vault.put(&key, "r1", &secrets).unwrap();
        vault
            .put(&key, "r2", &BTreeMap::from([("key", Secret::new("other"))]))
            .unwrap();
        let text = vault.text();
        assert!(
            !text.contains("s3cret") && !text.contains("battery"),
            "{text}"
        );
        let mut again = Vault::parse(Some(&text), path).unwrap();
        assert_eq!(again.providers(), ["r1", "r2"]);
        let wrong = again
            .open(&words("wrong horse battery"), path)
            .err()
            .unwrap();
        assert_eq!(wrong.exit, Exit::Denied);
        let key = again.open(&words("correct horse battery"), path).unwrap();
        assert_eq!(
            again.get(&key, "r1", path).unwrap()["key"].reveal(),
            "s3cret-of-r1"
        );
        // What is of one provider does not open as that of another.
        let moved = text
            .replace("[sealed.r1]", "[sealed.x]")
            .replace("[sealed.r2]", "[sealed.r1]");
        let moved = Vault::parse(Some(&moved), path).unwrap();
        assert!(
            moved
                .get(&key, "r1", path)
                .unwrap_err()
                .message
                .contains("was changed")
        );
    }

    #[test]
    fn a_key_file_opens_what_it_locked_and_nothing_else_does() {
        let path = Path::new("c");
        let mut vault = Vault::parse(None, path).unwrap();
        let file = Opener::KeyFile(Secret::new(BASE64.encode([7; 32])));
        let key = vault.open(&file, path).unwrap();
        vault
            .put(&key, "r1", &BTreeMap::from([("key", Secret::new("s"))]))
            .unwrap();
        assert!(vault.open(&words("correct horse battery"), path).is_err());
        let other = Opener::KeyFile(Secret::new(BASE64.encode([8; 32])));
        assert_eq!(vault.open(&other, path).err().unwrap().exit, Exit::Denied);
        let short = Opener::KeyFile(Secret::new("c2hvcnQ="));
        assert_eq!(vault.open(&short, path).err().unwrap().exit, Exit::Usage);
    }

    #[test]
    fn a_short_passphrase_and_a_foreign_file_are_refused() {
        let path = Path::new("c");
        let mut vault = Vault::parse(None, path).unwrap();
        assert!(vault.open(&words("short"), path).is_err());
        assert!(Vault::parse(Some("version = 2"), path).is_err());
        assert!(Vault::parse(Some("not toml at all ["), path).is_err());
    }
}
