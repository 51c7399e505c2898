//! Turns the name of a provider that bbctl keeps into where it is and what opens it.

use std::collections::BTreeMap;
use std::path::Path;

use bb_vyos::Secret;
use toml_edit::{DocumentMut, Item};

use super::place;
use super::provider::{PROVIDERS, opener};
use super::vault::{CREDENTIALS, Vault};
use crate::error::{Exit, Failure};
use crate::out::Out;

/// What is kept of a provider in the open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// `vyos` or `proxmox`.
    pub form: String,
    /// Where it is.
    pub endpoints: Vec<String>,
    /// The file with the CA of its certificate.
    pub ca_file: Option<String>,
    /// The fingerprints of its certificate.
    pub sha256: Vec<String>,
}

/// What is kept of a provider of a form, and its secrets by entry.
///
/// # Errors
/// When none of that name and form is kept, or its secrets cannot be opened.
pub async fn open(
    name: &str,
    form: &str,
    out: &mut Out,
) -> Result<(Kept, BTreeMap<String, Secret>), Failure> {
    let folder = place::folder(out.env())?;
    let path = folder.join(PROVIDERS);
    let kept = find(place::read(&path)?.as_deref(), name, &path)?;
    if kept.form != form {
        return Err(Failure::usage(format!(
            "{name} is kept as {}, not as {form}",
            kept.form
        )));
    }
    let path = folder.join(CREDENTIALS);
    place::private(&path)?;
    let mut vault = Vault::parse(place::read(&path)?.as_deref(), &path)?;
    if !vault.providers().iter().any(|provider| provider == name) {
        return Err(unknown(name, &path));
    }
    let key = vault.open(&opener(false, out).await?, &path)?;
    let secrets = vault.get(&key, name, &path)?;
    Ok((kept, secrets))
}

fn unknown(name: &str, path: &Path) -> Failure {
    let words = format!("{} has no provider {name}", path.display());
    Failure::new(Exit::NotFound, words).hint("`bbctl providers add` keeps one")
}

fn find(text: Option<&str>, name: &str, path: &Path) -> Result<Kept, Failure> {
    let text = text.ok_or_else(|| unknown(name, path))?;
    let document: DocumentMut = text.parse().map_err(|_| {
        let words = format!("{} is not what bbctl wrote", path.display());
        Failure::new(Exit::Failure, words)
            .hint("put back a copy of it, or move it away and add the providers again")
    })?;
    let table = document
        .get("provider")
        .and_then(|all| all.get(name))
        .and_then(Item::as_table)
        .ok_or_else(|| unknown(name, path))?;
    let word = |field: &str| table.get(field).and_then(Item::as_str).map(str::to_owned);
    let list = |field: &str| {
        let array = table.get(field).and_then(Item::as_array);
        let texts = array.into_iter().flatten().filter_map(|item| item.as_str());
        texts.map(str::to_owned).collect()
    };
    Ok(Kept {
        form: word("type").unwrap_or_default(),
        endpoints: list("endpoints"),
        ca_file: word("ca_file"),
        sha256: list("sha256"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_by_its_name() {
        let text = "[provider.r1]\ntype = \"vyos\"\nendpoints = [\"https://192.0.2.1\"]\n\
                    sha256 = [\"AB\"]\n[provider.c1]\ntype = \"proxmox\"\nca_file = \"ca.pem\"\n";
        let path = Path::new("providers.toml");
        let r1 = find(Some(text), "r1", path).unwrap();
        assert_eq!((r1.form.as_str(), r1.sha256.len()), ("vyos", 1));
        assert_eq!(r1.endpoints, ["https://192.0.2.1"]);
        let c1 = find(Some(text), "c1", path).unwrap();
        assert_eq!(c1.ca_file.as_deref(), Some("ca.pem"));
        for (text, name) in [(Some(text), "r2"), (None, "r1")] {
            let failure = find(text, name, path).unwrap_err();
            assert_eq!(failure.exit, Exit::NotFound);
        }
        assert!(find(Some("= broken"), "r1", path).is_err());
    }
}
