//! Turns the seed of a hypervisor cluster into one whose API tokens have a secret of our choice.
//!
//! A router takes its key as a flag. A cluster has users and tokens of its own, so the secret is
//! part of what it starts with.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::pki::write_private;

/// Writes to `to` the seed at `from`, or the program's own example, with `secret` in every token.
/// Returns what a client presents: the first token as `USER!NAME=SECRET`.
pub(crate) fn with_secret(
    program: &Path,
    from: Option<&Path>,
    secret: &str,
    to: &Path,
) -> Result<String> {
    let (text, source) = match from {
        Some(path) => {
            let text = fs::read(path);
            (
                text.with_context(|| format!("cannot read {}", path.display()))?,
                path,
            )
        }
        None => (example(program)?, program),
    };
    let mut seed: Value = serde_json::from_slice(&text)
        .with_context(|| format!("the seed of {} is not JSON", source.display()))?;
    let credential = set_secret(&mut seed, secret)
        .with_context(|| format!("the seed of {} has no API token", source.display()))?;
    write_private(to, &seed.to_string())?;
    Ok(credential)
}

fn example(program: &Path) -> Result<Vec<u8>> {
    let output = Command::new(program)
        .arg("--print-seed")
        .output()
        .with_context(|| format!("cannot run {} --print-seed", program.display()))?;
    if !output.status.success() {
        bail!("{} --print-seed failed", program.display());
    }
    Ok(output.stdout)
}

fn set_secret(seed: &mut Value, secret: &str) -> Option<String> {
    let tokens = seed.get_mut("tokens")?.as_array_mut()?;
    for token in tokens.iter_mut() {
        token["secret"] = json!(secret);
    }
    let first = tokens.first()?;
    let (user, name) = (
        first.get("user")?.as_str()?,
        first.get("tokenid")?.as_str()?,
    );
    Some(format!("{user}!{name}={secret}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_gets_the_secret_and_the_first_is_presented() {
        let mut seed = json!({"tokens": [
            {"user": "op@pve", "tokenid": "bitbuilder", "secret": "old"},
            {"user": "root@pam", "tokenid": "x", "secret": "old"},
        ]});
        let credential = set_secret(&mut seed, "new").unwrap();
        assert_eq!(credential, "op@pve!bitbuilder=new");
        assert_eq!(seed["tokens"][1]["secret"], "new");
    }

    #[test]
    fn a_seed_without_tokens_is_refused() {
        assert_eq!(set_secret(&mut json!({"tokens": []}), "new"), None);
        assert_eq!(set_secret(&mut json!({}), "new"), None);
    }
}
