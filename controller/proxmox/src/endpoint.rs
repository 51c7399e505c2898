//! Names how a cluster is reached and as whom.

use std::time::Duration;

use bb_wire::{Mandate, Secret, Trust};

use crate::error::ClusterError;

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://HOST:8006` of one node or more; any node answers for all.
    pub urls: Vec<String>,
    /// As whom.
    pub credentials: Credentials,
    /// How the nodes' certificates are judged.
    pub trust: Trust,
    /// How long to wait.
    pub deadlines: Deadlines,
    /// Until when anything may be changed.
    pub mandate: Mandate,
}

/// As whom a cluster is driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// `USER@REALM!NAME=SECRET`: needs no renewal.
    Token(Secret),
    /// A ticket is got with these and renewed in time.
    Password {
        /// `USER@REALM`.
        user: String,
        /// The password.
        password: Secret,
    },
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For a connection.
    pub connect: Duration,
    /// For an answer to a read. Refusals of credentials alone take 3 s.
    pub read: Duration,
    /// For an answer to a write: the cluster itself gives up after 30 s.
    pub write: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(15),
            write: Duration::from_secs(60),
        }
    }
}

impl Endpoint {
    /// The endpoint with the usual deadlines.
    #[must_use]
    pub fn new(urls: Vec<String>, credentials: Credentials, trust: Trust) -> Self {
        Self {
            urls,
            credentials,
            trust,
            deadlines: Deadlines::default(),
            mandate: Mandate::default(),
        }
    }

    /// The API's base of each node.
    pub(crate) fn bases(&self) -> Result<Vec<String>, ClusterError> {
        let base = |url: &String| {
            let host = url
                .strip_prefix("https://")
                .unwrap_or_default()
                .trim_end_matches('/');
            if host.is_empty() || host.contains('/') {
                return Err(ClusterError::Setup(format!(
                    "`{url}` is not https://HOST:PORT"
                )));
            }
            Ok(format!("https://{host}/api2/json"))
        };
        let bases: Vec<String> = self.urls.iter().map(base).collect::<Result<_, _>>()?;
        if bases.is_empty() {
            return Err(ClusterError::Setup("no endpoint is given".to_owned()));
        }
        Ok(bases)
    }
}

impl Credentials {
    /// `USER@REALM` or `USER@REALM!NAME`, as task lists show it.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Token(token) => token
                .reveal()
                .split('=')
                .next()
                .unwrap_or_default()
                .to_owned(),
            Self::Password { user, .. } => user.clone(),
        }
    }

    /// Checks the form, so that a mistake is named before the first call.
    pub(crate) fn check(&self) -> Result<(), ClusterError> {
        let good = match self {
            Self::Token(token) => token.reveal().split_once('=').is_some_and(|(id, secret)| {
                id.contains('@') && id.contains('!') && !secret.is_empty()
            }),
            Self::Password { user, .. } => user.contains('@'),
        };
        let form = match self {
            Self::Token(_) => "the token is not of the form USER@REALM!NAME=SECRET",
            Self::Password { .. } => "the user is not of the form USER@REALM",
        };
        good.then_some(())
            .ok_or_else(|| ClusterError::Setup(form.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(urls: &[&str]) -> Endpoint {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        let credentials = Credentials::Token(Secret::new("op@pve!k8s=1-2"));
        Endpoint::new(urls, credentials, Trust::Sha256(Vec::new()))
    }

    #[test]
    fn an_endpoint_is_https_and_a_host() {
        let bases = endpoint(&["https://n1:8006/", "https://192.0.2.1:8006"])
            .bases()
            .unwrap();
        assert_eq!(
            bases,
            [
                "https://n1:8006/api2/json",
                "https://192.0.2.1:8006/api2/json"
            ]
        );
        for wrong in [&["http://n1"][..], &["https://"], &["https://n1/x"], &[]] {
            assert!(endpoint(wrong).bases().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn credentials_of_the_wrong_form_are_named_without_showing_them() {
        let good = Credentials::Token(Secret::new("op@pve!k8s=1-2"));
        assert!(good.check().is_ok());
        assert_eq!(good.identity(), "op@pve!k8s");
        for wrong in ["op@pve=1", "s3cret", "op@pve!k8s=", "op!k=1"] {
            let error = Credentials::Token(Secret::new(wrong)).check().unwrap_err();
            assert!(!error.to_string().contains(wrong), "{error}");
        }
    }
}
