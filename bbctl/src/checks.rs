//! Turns a router's answers into a list of checks, each with a remedy where it fails.

use std::collections::BTreeMap;
use std::time::Duration;

use bb_core::vyos::Lines;
use bb_core::vyos::plan::missing_underlay;
use bb_vyos::{Endpoint, Limits, Router, RouterError};
use serde::Serialize;

/// Whether a check passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Not as it should be.
    Fail,
    /// Not looked at, as an earlier check failed.
    Skip,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    #[serde(skip)]
    pub name: &'static str,
    /// How it was.
    pub status: Verdict,
    /// What was seen.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The checks in the order in which each builds on the one before.
pub const NAMES: [&str; 6] = ["reach", "tls", "key", "version", "underlay", "router-id"];

/// A router to look at, and what it is to be to us.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Where it is and how to speak to it.
    pub endpoint: Endpoint,
    /// The AS number of its Region, where one is known.
    pub asn: Option<i64>,
    /// The loopback address that its Provider says it has, where there is one.
    pub router_id: Option<String>,
    /// How long an answer may take.
    pub patience: Duration,
}

/// Looks at a router; nothing is changed on it.
pub async fn examine(subject: &Subject) -> Vec<Check> {
    let mut checks = Checks::default();
    checks.look(subject).await;
    NAMES
        .iter()
        .map(|name| match checks.0.remove(name) {
            Some(check) => check,
            None => Check {
                name,
                status: Verdict::Skip,
                detail: "not looked at".to_owned(),
                remedy: None,
            },
        })
        .collect()
}

#[derive(Default)]
struct Checks(BTreeMap<&'static str, Check>);

impl Checks {
    fn pass(&mut self, name: &'static str, detail: impl Into<String>) {
        let check = Check {
            name,
            status: Verdict::Pass,
            detail: detail.into(),
            remedy: None,
        };
        self.0.insert(name, check);
    }

    fn fail(&mut self, name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) {
        let remedy = Some(remedy.into());
        let check = Check {
            name,
            status: Verdict::Fail,
            detail: detail.into(),
            remedy,
        };
        self.0.insert(name, check);
    }

    async fn look(&mut self, subject: &Subject) {
        let url = &subject.endpoint.url;
        let connect = subject.patience.min(Limits::default().connect);
        let limits = Limits {
            connect,
            read: subject.patience,
            ..Limits::default()
        };
        let router = match Router::with_limits(subject.endpoint.clone(), limits) {
            Ok(router) => router,
            Err(error) => {
                let remedy = "correct the address (https://HOST[:PORT]), the key, the CA or the \
                              fingerprint";
                return self.fail("reach", error.to_string(), remedy);
            }
        };
        if let Err(words) = reach(url, connect).await {
            let remedy = "check the address, the way there and its firewall; on the router, \
                          `show configuration commands | match 'service https'` shows where the \
                          API listens and who may ask";
            return self.fail("reach", format!("{url}: {words}"), remedy);
        }
        self.pass("reach", format!("{url} takes connections"));
        let facts = router.facts().await;
        let facts = match facts {
            Err(error) if self.refuses(url, &error) => return,
            facts => facts,
        };
        let config = match router.show_config().await {
            Ok(config) => config,
            Err(error) => {
                if !self.refuses(url, &error) {
                    self.fail("key", error.to_string(), API_OFF);
                }
                return;
            }
        };
        self.pass("tls", "the certificate is trusted");
        self.pass("key", "the API takes the key");
        match facts {
            Ok(facts) => self.version(&facts.version, &facts.hostname),
            Err(error) => self.fail("version", error.to_string(), "try again"),
        }
        self.underlay(&Lines::parse(&config), subject);
    }

    /// Takes down what a failed request says of certificate and key; false when it says neither.
    fn refuses(&mut self, url: &str, error: &RouterError) -> bool {
        match error {
            RouterError::Untrusted { seen, why, .. } => {
                let detail = format!("the certificate is not trusted: {why}");
                let remedy = format!(
                    "if `show pki certificate` on the router's console agrees that its SHA-256 is \
                     {seen}, accept it with --sha256 (spec.vyos.tls.sha256 of the Provider); \
                     else somebody is in between"
                );
                self.fail("tls", detail, remedy);
            }
            RouterError::Unreachable { text, .. } => {
                let detail = format!("{url} takes connections and then: {text}");
                self.fail(
                    "tls",
                    detail,
                    "check that TLS is what listens there: `service https`",
                );
            }
            RouterError::Unauthorized => {
                self.pass("tls", "the certificate is trusted");
                let remedy = "compare with `set service https api keys id NAME key KEY` on the \
                              router; the file's or Secret's entry holds the key and nothing more";
                self.fail("key", "the router refuses the API key", remedy);
            }
            RouterError::Unexpected { status, text } => {
                self.pass("tls", "the certificate is trusted");
                self.fail("key", format!("the API answers {status}: {text}"), API_OFF);
            }
            _ => return false,
        }
        true
    }

    fn version(&mut self, version: &str, hostname: &str) {
        let name = if hostname.is_empty() {
            "the router"
        } else {
            hostname
        };
        self.0.insert("version", fit("version", name, version));
    }

    fn underlay(&mut self, running: &Lines, subject: &Subject) {
        let leaf = ["protocols", "bgp", "system-as"].map(str::to_owned);
        let runs = running.value(&leaf).and_then(|asn| asn.parse().ok());
        // Without a Region, whatever AS it runs is right.
        let asn = subject.asn.or(runs).unwrap_or(65_000);
        match missing_underlay(running, asn) {
            None => self.pass(
                "underlay",
                format!("BGP in AS {asn} advertises VNIs by EVPN"),
            ),
            Some(words) => self.fail(
                "underlay",
                "networks cannot span this router and others",
                format!("{words}; then `commit` and `save`"),
            ),
        }
        let Some(id) = &subject.router_id else {
            return self.pass("router-id", "no Provider says which it should be");
        };
        let has = |line: &Vec<String>| match line.as_slice() {
            [.., node, value] if node == "address" => value.split('/').next() == Some(id.as_str()),
            _ => false,
        };
        match running.iter().any(has) {
            true => self.pass("router-id", format!("{id} is an address of the router")),
            false => self.fail(
                "router-id",
                format!("{id} is no address of the router"),
                format!(
                    "`set interfaces dummy dum0 address {id}/32`, or correct spec.vyos.routerId of \
                     the Provider"
                ),
            ),
        }
    }
}

const API_OFF: &str = "on the router: `set service https api rest` and `set service https api keys \
                       id NAME key KEY`, then `commit` and `save`";

/// Judges the version that a router says it runs.
pub(crate) fn fit(name: &'static str, router: &str, version: &str) -> Check {
    let (status, detail) = match Fit::of(version) {
        Fit::Good => (Verdict::Pass, format!("{router} runs VyOS {version}")),
        Fit::Unknown => (Verdict::Pass, format!("{router} does not say what it runs")),
        Fit::Old => (Verdict::Fail, format!("{router} runs VyOS {version}")),
    };
    let remedy = "VyOS 1.5 is needed: `add system image URL`, then reboot";
    Check {
        name,
        status,
        detail,
        remedy: (status == Verdict::Fail).then(|| remedy.to_owned()),
    }
}

/// Whether a version will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Good,
    Old,
    Unknown,
}

impl Fit {
    /// Judges `1.5-rolling-202410220007`, `1.5-stream-2025-Q2` or `2025.06.10-0020-rolling`.
    fn of(version: &str) -> Self {
        let mut numbers = version
            .trim_start_matches(|c: char| !c.is_ascii_digit())
            .split(|c: char| !c.is_ascii_digit())
            .map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(1)), Some(Ok(minor))) if minor < 5 => Self::Old,
            (Some(Ok(year)), Some(Ok(_))) if (2..2024).contains(&year) => Self::Old,
            (Some(Ok(_)), Some(Ok(_))) => Self::Good,
            _ => Self::Unknown,
        }
    }
}

/// Opens a connection to the host and port of an address and closes it again.
pub(crate) async fn reach(url: &str, patience: Duration) -> Result<(), String> {
    let address = url.trim_start_matches("https://").trim_end_matches('/');
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']'))
    });
    let address = if has_port {
        address.to_owned()
    } else {
        format!("{address}:443")
    };
    match tokio::time::timeout(patience, tokio::net::TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s", patience.as_secs_f64())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_judged_in_every_form_that_vyos_has_had() {
        for good in [
            "1.5-rolling-202410220007",
            "1.5-stream-2025-Q2",
            "2025.06.10-0020-rolling",
        ] {
            assert_eq!(Fit::of(good), Fit::Good, "{good}");
        }
        for old in ["1.4.0", "VyOS 1.3.8"] {
            assert_eq!(Fit::of(old), Fit::Old, "{old}");
        }
        for unknown in ["", "rolling"] {
            assert_eq!(Fit::of(unknown), Fit::Unknown, "{unknown}");
        }
    }

    fn subject(asn: Option<i64>) -> Subject {
        Subject {
            endpoint: Endpoint {
                name: "r1".to_owned(),
                url: "https://127.0.0.1:1".to_owned(),
                key: "k".to_owned().into(),
                trust: bb_vyos::Trust::Sha256(vec!["00".repeat(32)]),
            },
            asn,
            router_id: Some("10.255.0.1".to_owned()),
            patience: Duration::from_secs(5),
        }
    }

    #[test]
    fn an_underlay_is_judged_with_a_remedy() {
        let bgp = |more: serde_json::Value| {
            json!({"protocols": {"bgp": more},
            "interfaces": {"dummy": {"dum0": {"address": ["10.255.0.1/32"]}}}})
        };
        let evpn = json!({"l2vpn-evpn": {"advertise-all-vni": {}}});
        let good = bgp(json!({"system-as": "65000", "address-family": evpn}));
        let bare = bgp(json!({"system-as": "65000"}));
        let judge = |config: &serde_json::Value, asn| {
            let mut checks = Checks::default();
            checks.underlay(&Lines::parse(config), &subject(asn));
            (checks.0["underlay"].clone(), checks.0["router-id"].clone())
        };
        let (underlay, id) = judge(&good, Some(65_000));
        assert_eq!((underlay.status, id.status), (Verdict::Pass, Verdict::Pass));
        assert_eq!(judge(&good, None).0.status, Verdict::Pass);
        let other = judge(&good, Some(65_001)).0;
        assert!(other.remedy.is_some_and(|remedy| remedy.contains("65001")));
        let without = judge(&bare, None).0;
        assert!(
            without
                .remedy
                .is_some_and(|remedy| remedy.contains("advertise-all-vni"))
        );
        let (underlay, id) = judge(&json!({}), None);
        assert_eq!((underlay.status, id.status), (Verdict::Fail, Verdict::Fail));
    }

    #[tokio::test]
    async fn a_router_that_is_not_there_fails_the_first_check_and_skips_the_rest() {
        // Nobody listens on a port that was just given back.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut away = subject(None);
        away.endpoint.url = format!("https://127.0.0.1:{port}");
        let checks = examine(&away).await;
        assert_eq!(checks.iter().map(|c| c.name).collect::<Vec<_>>(), NAMES);
        assert_eq!(checks[0].status, Verdict::Fail);
        assert!(checks[0].remedy.is_some());
        assert!(
            checks[1..]
                .iter()
                .all(|check| check.status == Verdict::Skip)
        );
    }
}
