//! Turns an address, an expected host key and a way to log in into what a machine says to commands.
//!
//! No secret leaves before the host key was found to be the expected one.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bb_vyos::Secret;
use russh::client::{AuthResult, Config, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect, Preferred};

use super::known::{Expected, Judgement, Role, judge};

/// More than any answer that is asked for here.
const LONGEST: usize = 1 << 20;

/// How to log in.
pub enum Means {
    /// With this key.
    Key(Arc<PrivateKey>),
    /// With this password.
    Password(Secret),
    /// With the keys of the agent that listens on this socket.
    Agent(String),
}

/// What was shown by a machine that could be spoken to.
pub struct Greeted {
    /// Its host key.
    pub key: PublicKey,
    /// How that was found to be.
    pub judgement: Judgement,
    session: Option<Handle<Client>>,
}

/// What a command said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Both streams, in the order in which they came.
    pub text: String,
    /// The exit code; none where the machine told none.
    pub code: Option<u32>,
}

struct Client {
    expected: Expected,
    shown: Arc<Mutex<Option<(PublicKey, Judgement)>>>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Ok(false);
        };
        let judgement = judge(key, &self.expected);
        let known = matches!(judgement, Judgement::Known(_));
        let mut place = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some((key.clone(), judgement));
        Ok(known)
    }
}

async fn in_time<T, E: std::fmt::Display>(
    patience: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(patience, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s", patience.as_secs_f64())),
    }
}

/// Speaks to a machine until it has shown its host key; goes on only with the expected one.
///
/// # Errors
/// When it does not speak SSH, or no way to speak that both know; in words.
pub async fn greet(
    host: &str,
    port: u16,
    expected: Expected,
    patience: Duration,
) -> Result<Greeted, String> {
    let mut preferred = Preferred::default();
    // A machine has several host keys. It is asked for one of a kind that is known.
    let known = |algorithm: &russh::keys::Algorithm| {
        let mut lines = expected.lines.iter();
        !lines.any(|line| line.role == Role::Host && line.key.algorithm() == *algorithm)
    };
    let mut algorithms = preferred.key.to_vec();
    algorithms.sort_by_key(known);
    preferred.key = Cow::Owned(algorithms);
    let config = Config {
        preferred,
        inactivity_timeout: Some(patience),
        ..Config::default()
    };
    let shown = Arc::new(Mutex::new(None));
    let client = Client {
        expected,
        shown: Arc::clone(&shown),
    };
    let session = in_time(
        patience,
        russh::client::connect(Arc::new(config), (host, port), client),
    )
    .await;
    let seen = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (seen, session) {
        (Some((key, judgement @ Judgement::Known(_))), Ok(session)) => Ok(Greeted {
            key,
            judgement,
            session: Some(session),
        }),
        (Some((_, Judgement::Known(_))), Err(words)) => Err(words),
        (Some((key, judgement)), _) => Ok(Greeted {
            key,
            judgement,
            session: None,
        }),
        (None, Err(words)) => Err(words),
        (None, Ok(_)) => Err("it showed no host key".to_owned()),
    }
}

/// How a login ended that was not refused for want of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// One is in, by this.
    In(String),
    /// One is not; what the machine would take instead.
    Refused(String),
}

impl Greeted {
    /// Logs in.
    ///
    /// # Errors
    /// When the machine or the agent does not answer; in words without secrets.
    pub async fn log_in(
        &mut self,
        user: &str,
        means: &Means,
        patience: Duration,
    ) -> Result<Entry, String> {
        let Some(session) = &mut self.session else {
            return Err("its host key is not the expected one".to_owned());
        };
        let (result, by) = match means {
            Means::Password(password) => {
                let asked = session.authenticate_password(user, password.reveal());
                (in_time(patience, asked).await?, "a password".to_owned())
            }
            Means::Key(key) => {
                let hash = in_time(patience, session.best_supported_rsa_hash()).await?;
                let with = PrivateKeyWithHashAlg::new(Arc::clone(key), hash.flatten());
                let by = super::known::fingerprint(key.public_key());
                let asked = session.authenticate_publickey(user, with);
                (in_time(patience, asked).await?, format!("key {by}"))
            }
            Means::Agent(socket) => return by_agent(session, user, socket, patience).await,
        };
        Ok(entry(&result, by))
    }

    /// Runs a command, without a terminal.
    ///
    /// # Errors
    /// When the machine does not run it to its end in time; in words.
    pub async fn run(&self, line: &str, patience: Duration) -> Result<Answer, String> {
        let Some(session) = &self.session else {
            return Err("nobody is logged in".to_owned());
        };
        let work = async {
            let mut channel = session.channel_open_session().await?;
            channel.exec(true, line).await?;
            let (mut bytes, mut code) = (Vec::new(), None);
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => {
                        let room = LONGEST.saturating_sub(bytes.len());
                        bytes.extend(data.iter().take(room));
                    }
                    ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
                    ChannelMsg::Failure => break,
                    _ => {}
                }
            }
            Ok::<_, russh::Error>(Answer {
                text: String::from_utf8_lossy(&bytes).into_owned(),
                code,
            })
        };
        in_time(patience, work).await
    }

    /// Says goodbye.
    pub async fn leave(self) {
        if let Some(session) = self.session {
            // Whoever has gone already needs no goodbye.
            let _ = session.disconnect(Disconnect::ByApplication, "", "").await;
        }
    }
}

fn entry(result: &AuthResult, by: String) -> Entry {
    match result {
        AuthResult::Success => Entry::In(by),
        AuthResult::Failure {
            partial_success: true,
            ..
        } => Entry::Refused("it wants a second proof besides".to_owned()),
        AuthResult::Failure {
            remaining_methods, ..
        } => {
            let methods: Vec<String> = remaining_methods.iter().map(String::from).collect();
            Entry::Refused(match methods.as_slice() {
                [] => format!("it refuses {by}"),
                methods => format!("it refuses {by}, and takes {}", methods.join(", ")),
            })
        }
    }
}

async fn by_agent(
    session: &mut Handle<Client>,
    user: &str,
    socket: &str,
    patience: Duration,
) -> Result<Entry, String> {
    let away = |words: String| format!("the agent at {socket}: {words}");
    let mut agent = in_time(patience, AgentClient::connect_uds(socket))
        .await
        .map_err(away)?;
    let held = in_time(patience, agent.request_identities())
        .await
        .map_err(away)?;
    let hash = in_time(patience, session.best_supported_rsa_hash()).await?;
    let mut last = Entry::Refused("the agent has no keys".to_owned());
    let count = held.len();
    for (tried, identity) in held.into_iter().enumerate() {
        let AgentIdentity::PublicKey { key, .. } = identity else {
            continue;
        };
        let by = format!("key {} of the agent", super::known::fingerprint(&key));
        let hash = match key.algorithm().is_rsa() {
            true => hash.flatten(),
            false => None,
        };
        let asked = session.authenticate_publickey_with(user, key, hash, &mut agent);
        let answer = in_time(patience, asked)
            .await
            .map_err(|words| match tried {
                0 => words,
                // A machine lets one try a few keys alone: OpenSSH's, six of them.
                _ => format!("it hung up while the {count} keys of the agent were tried: {words}"),
            })?;
        last = entry(&answer, by);
        if matches!(last, Entry::In(_)) {
            break;
        }
    }
    Ok(last)
}
