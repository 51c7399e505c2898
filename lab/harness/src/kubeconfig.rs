//! Turns a server, a CA and a token into a kubeconfig file.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

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
