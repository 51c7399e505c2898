//! Turns what a Provider says of a router into an endpoint, and what a router gives back into types.

use std::time::Duration;

use bb_wire::{Secret, Trust};
use reqwest::Url;
use serde::Serialize;

use crate::reply::NGINX_BODY_BYTES;

/// Where a router is and how to speak to it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// How people call it.
    pub name: String,
    /// `https://host[:port]`.
    pub url: String,
    /// The API key. VyOS 1.5: `service https api keys id ID key KEY`; every key may do all.
    pub key: Secret,
    /// How its certificate is checked.
    pub trust: Trust,
}

/// How long and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For TCP and TLS together.
    pub connect: Duration,
    /// For a read or a save. The read of a router with 100 networks takes 4 s.
    pub read: Duration,
    /// For a commit. One with 100 networks takes 214 s, and nginx waits 600 s: its answer is to
    /// come first.
    pub configure: Duration,
    /// How often a busy router is read before the caller hears of it.
    pub tries: u32,
    /// The pause before the second try; it doubles.
    pub pause: Duration,
    /// The largest request body. VyOS 1.5: `service https request-body-size-limit`, 1 MB.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(30),
            configure: Duration::from_secs(620),
            // 15 s in all; an API that restarts is back after 10.
            tries: 6,
            pause: Duration::from_millis(500),
            body_bytes: NGINX_BODY_BYTES,
        }
    }
}

/// What a commit that succeeded had to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Warnings, in one line. They repeat with every commit of the same part, whoever caused them.
    pub warnings: Option<String>,
}

/// What a router says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Such as `1.5-rolling-202410220007`; empty when it does not say.
    pub version: String,
    /// Its host name; empty when it does not say.
    pub hostname: String,
}

/// Requests sent since the client was made, repeated ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// `/retrieve`.
    pub reads: u64,
    /// `/configure`.
    pub configures: u64,
    /// `/config-file`.
    pub saves: u64,
    /// Everything else.
    pub others: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.reads + self.configures + self.saves + self.others
    }
}

/// The address in its one form, or what is wrong with it.
pub(crate) fn base_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("the address is none: {error}"))?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    if url.scheme() != "https" || url.host().is_none() || !bare {
        // Not repeated: a user and a password may stand in it.
        return Err("the address must be https://host[:port] and nothing more".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_and_a_host_and_nothing_more() {
        assert_eq!(
            base_url("https://r1.example:8443"),
            Ok("https://r1.example:8443".to_owned())
        );
        assert_eq!(
            base_url("https://[2001:db8::1]/"),
            Ok("https://[2001:db8::1]".to_owned())
        );
        for text in [
            "",
            "r1",
            "http://r1",
            "https://u:pass@r1",
            "https://r1/x",
            "https://r1?a=b",
        ] {
            let fault = base_url(text).unwrap_err();
            assert!(!fault.contains("pass"), "{fault}");
        }
    }
}
