//! Turns a path of the Kubernetes API into the status and body that a server answers with.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Asks one API server as one user. Only for the few questions asked while it starts.
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

impl Client {
    pub(crate) fn new(server: &str, ca: &Path, token: &str) -> Result<Self> {
        let pem = fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
        let ca = reqwest::Certificate::from_pem(&pem).context("cannot understand the CA")?;
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self {
            http,
            server: server.to_owned(),
            token: token.to_owned(),
        })
    }

    /// Tells whether a GET of the path answers 200.
    pub(crate) async fn is_there(&self, path: &str) -> bool {
        let url = format!("{}{path}", self.server);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}
