//! Turns the address of a server into a proxy before it that tests give orders to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bb_lab_kit::ready::Ready;
use bb_lab_kit::{Stop, tls};
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;

use crate::call::{Call, Calls};
use crate::gate::{Gate, When};
use crate::rule::{Action, Fits, GateEnd, Rule, Rules};
use crate::serve::{Front, serve};
use crate::stream::{Order, Running};

/// How often a state that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Whose certificate the upstream may show.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Anyone's: it listens on this machine.
    Anyone,
    /// That of this authority, PEM.
    Ca(&'a str),
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    name: String,
    address: SocketAddr,
    identity: tls::Identity,
    calls: Calls,
    rules: Rules,
    running: Running,
    stop: Stop,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

impl Proxy {
    /// Starts a proxy on a free port of this machine, with a certificate of its own, before
    /// `upstream`: `https://127.0.0.1:40123`, say.
    ///
    /// # Errors
    /// When no port or certificate can be had, or the authority is not PEM.
    pub async fn start(name: &str, upstream: &str, trust: Trust<'_>) -> Result<Self> {
        let identity = tls::identity(&[name])?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("cannot get a port")?;
        let address = listener.local_addr().context("a listener has no address")?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none());
        let client = match trust {
            Trust::Anyone => client.tls_danger_accept_invalid_certs(true),
            Trust::Ca(pem) => {
                let ca = reqwest::Certificate::from_pem(pem.as_bytes())
                    .context("the authority is not PEM")?;
                client.tls_certs_only([ca])
            }
        };
        let proxy = Self {
            name: name.to_owned(),
            address,
            calls: Calls::new(),
            rules: Rules::default(),
            running: Running::default(),
            stop: Stop::new(),
            identity,
        };
        let front = Front {
            client: client.build().context("cannot make an HTTP client")?,
            upstream: upstream.trim_end_matches('/').to_owned(),
            calls: proxy.calls.clone(),
            rules: proxy.rules.clone(),
            running: proxy.running.clone(),
        };
        let tls = tls::server_config(&proxy.identity)?;
        tokio::spawn(serve(listener, tls, Arc::new(front), proxy.stop.clone()));
        Ok(proxy)
    }

    /// Starts a proxy before a stand-in.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub async fn before(stand_in: &Ready) -> Result<Self> {
        Self::start(&stand_in.name, &stand_in.api, Trust::Ca(&stand_in.ca_pem)).await
    }

    /// The stand-in as it is reached through this proxy: what Providers are made from.
    #[must_use]
    pub fn ready(&self, stand_in: &Ready) -> Ready {
        Ready {
            api: self.url(),
            ca_pem: self.ca_pem().to_owned(),
            sha256: self.identity.sha256.clone(),
            ..stand_in.clone()
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, as `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.identity.cert_pem
    }

    /// Every call since the start or the last [`Proxy::forget`], in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.all()
    }

    /// Whether something holds for every such call; without copying any.
    #[must_use]
    pub fn all(&self, holds: impl FnMut(&Call) -> bool) -> bool {
        self.calls.hold(holds)
    }

    /// The time since the proxy's start, as calls carry it.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.calls.now()
    }

    /// Forgets the calls that have ended, and the greatest number at once. Numbers go on.
    pub fn forget(&self) {
        self.calls.forget();
    }

    /// The greatest number of calls that were under way at once, running watches included.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.calls.most()
    }

    /// Adds a rule behind those that are there, and gives its number.
    pub fn rule(&self, rule: Rule) -> u64 {
        self.rules.add(rule)
    }

    /// Removes one rule.
    pub fn remove(&self, rule: u64) {
        self.rules.remove(rule);
    }

    /// Removes every rule, gates included. What is held or silent stays so.
    pub fn clear(&self) {
        self.rules.clear();
    }

    /// Holds the next call that fits, after letting `skip` of them pass.
    #[must_use]
    pub fn gate(&self, fits: Fits, skip: u64, when: When) -> Gate {
        let (told, held) = unbounded_channel();
        let action = Action::Gate(GateEnd { when, told });
        let id = self.rule(Rule::new(fits, action).skip(skip).times(1));
        let rules = self.rules.clone();
        Gate { rules, id, held }
    }

    /// Nothing passes any more: new calls get no answer, running ones go silent. Ended by
    /// [`Proxy::clear`] for new calls; what went silent stays so until its caller gives up.
    pub fn black_hole(&self) {
        self.rule(Rule::new(Fits::any(), Action::BlackHole));
        self.running.order(&Fits::any(), &Order::Silence);
    }

    /// Silences running answers, watches most of all: nothing more comes, nothing is closed.
    /// Gives their number.
    pub fn silence(&self, fits: &Fits) -> usize {
        self.running.order(fits, &Order::Silence)
    }

    /// Breaks off running answers, and gives their number.
    pub fn cut(&self, fits: &Fits) -> usize {
        self.running.order(fits, &Order::Cut)
    }

    /// Adds text to running answers, [`crate::watch_error`] say, and gives their number. Right
    /// for answers that stream: one that promised a length breaks.
    pub fn inject(&self, fits: &Fits, text: &str) -> usize {
        let text = bytes::Bytes::from(text.to_owned());
        self.running.order(fits, &Order::Add(text))
    }

    /// Waits until a call fits, among those that are in the journal already too, and gives it.
    ///
    /// # Errors
    /// When there is none within the bound.
    pub async fn seen(&self, fits: &Fits, bound: Duration) -> Result<Call> {
        let until = Instant::now() + bound;
        loop {
            let calls = self.calls();
            if let Some(call) = calls.into_iter().find(|call| fits.fits(&call.asked)) {
                return Ok(call);
            }
            if Instant::now() > until {
                bail!("{}: no call {fits:?} within {bound:?}", self.name);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
