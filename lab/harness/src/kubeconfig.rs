//! Turns a server, a CA and a token into a kubeconfig file, and one such file into another that goes a detour.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::pki::write_private;

/// Writes a kubeconfig with one cluster, one user and one context. JSON is YAML, and every
/// client reads it.
pub(crate) fn write(path: &Path, server: &str, ca: &Path, user: &str, token: &str) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "lab",
            "cluster": {"server": server, "certificate-authority": ca},
        }],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": user, "context": {"cluster": "lab", "user": user}}],
        "current-context": user,
    });
    let text = serde_json::to_string_pretty(&config).context("cannot render a kubeconfig")?;
    write_private(path, &text)
}

/// Writes a kubeconfig with the user of `from` and another way to the server. Users with a token
/// get there; one with a client certificate is known only where TLS ends.
pub(crate) fn detour(from: &Path, to: &Path, server: &str, ca: &Path) -> Result<()> {
    let text = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut config: Value = serde_json::from_slice(&text)
        .with_context(|| format!("{} was not written by us", from.display()))?;
    let way = config
        .pointer_mut("/clusters/0/cluster")
        .with_context(|| format!("{} names no cluster", from.display()))?;
    *way = json!({"server": server, "certificate-authority": ca});
    write_private(to, &config.to_string())
}
