//! Turns who may log in, and what a command says, into an SSH server.
//!
//! It runs one command a channel, without a terminal: no shell, no forwarding, no file transfer.
//! It runs no program of this machine either: what a command says is the stand-in's own words.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};

use crate::Stop;

/// What a command came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    /// 0 to 255, as a shell has it.
    pub code: u32,
}

impl Said {
    /// A command that succeeds and says this.
    #[must_use]
    pub fn well(stdout: impl Into<String>) -> Self {
        Self {
            stdout: stdout.into(),
            ..Self::default()
        }
    }

    /// A command that fails.
    #[must_use]
    pub fn failed(code: u32, stderr: impl Into<String>) -> Self {
        Self {
            stderr: stderr.into(),
            code,
            ..Self::default()
        }
    }
}

/// A machine that one can log in to.
pub trait Machine: Send + Sync + 'static {
    /// Whether it takes connections at all.
    fn listens(&self) -> bool {
        true
    }
    /// Whether this password lets the user in.
    fn takes_password(&self, user: &str, password: &str) -> bool;
    /// Whether the owner of this public key, as `ssh-ed25519 AAAA...`, is let in as the user.
    fn takes_key(&self, user: &str, key: &str) -> bool;
    /// What a command line says to the user.
    fn run(&self, user: &str, line: &str) -> Said;
}

/// The host key of a machine: the same for the same name, so that a restart keeps it.
#[derive(Clone)]
pub struct HostKey(PrivateKey);

impl HostKey {
    /// The key of the machine of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let seed: [u8; 32] = Sha256::digest(format!("host key of {name}")).into();
        Self(Ed25519Keypair::from_seed(&seed).into())
    }

    /// Its fingerprint, `SHA256:...`, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Type and key, as in a line of `known_hosts`.
    ///
    /// # Errors
    /// The key cannot be written down.
    pub fn public(&self) -> anyhow::Result<String> {
        Ok(words(self.0.public_key())?)
    }
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostKey({})", self.fingerprint())
    }
}

fn words(key: &PublicKey) -> Result<String, russh::keys::ssh_key::Error> {
    let line = key.to_openssh()?;
    let words: Vec<&str> = line.split_whitespace().take(2).collect();
    Ok(words.join(" "))
}

/// Lets users in to `machine` until `stop` is given.
pub async fn serve(listener: TcpListener, key: HostKey, machine: Arc<dyn Machine>, stop: Stop) {
    let config = Arc::new(Config {
        keys: vec![key.0],
        // As many as OpenSSH's server lets one try.
        max_auth_attempts: 6,
        auth_rejection_time: Duration::from_millis(20),
        auth_rejection_time_initial: Some(Duration::ZERO),
        inactivity_timeout: Some(Duration::from_secs(120)),
        ..Config::default()
    });
    loop {
        let accepted = tokio::select! {
            () = stop.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        if machine.listens() {
            let login = Login {
                machine: Arc::clone(&machine),
                user: String::new(),
            };
            tokio::spawn(answer(Arc::clone(&config), stream, login, stop.clone()));
        }
    }
}

async fn answer(config: Arc<Config>, stream: TcpStream, login: Login, stop: Stop) {
    let session = async {
        match russh::server::run_stream(config, stream, login).await {
            Ok(session) => session.await,
            Err(error) => Err(error),
        }
    };
    tokio::select! {
        () = stop.stopped() => {}
        ended = session => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an SSH session ended");
            }
        }
    }
}

/// One connection.
struct Login {
    machine: Arc<dyn Machine>,
    user: String,
}

impl Login {
    fn judge(&mut self, user: &str, welcome: bool) -> Auth {
        match welcome {
            true => {
                user.clone_into(&mut self.user);
                Auth::Accept
            }
            false => Auth::reject(),
        }
    }
}

impl Handler for Login {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let welcome = self.machine.takes_password(user, password);
        Ok(self.judge(user, welcome))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let key = words(key.public_key).unwrap_or_default();
        let welcome = self.machine.takes_key(user, &key);
        Ok(self.judge(user, welcome))
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let line = String::from_utf8_lossy(data);
        let said = self.machine.run(&self.user, &line);
        session.channel_success(channel)?;
        if !said.stdout.is_empty() {
            session.data(channel, said.stdout.into_bytes())?;
        }
        if !said.stderr.is_empty() {
            session.extended_data(channel, 1, said.stderr.into_bytes())?;
        }
        session.exit_status_request(channel, said.code)?;
        session.eof(channel)?;
        session.close(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_keeps_its_host_key_and_another_has_another() {
        let key = HostKey::of("r1");
        assert_eq!(key.fingerprint(), HostKey::of("r1").fingerprint());
        assert_ne!(key.fingerprint(), HostKey::of("r2").fingerprint());
        assert!(key.fingerprint().starts_with("SHA256:"));
        assert!(key.public().unwrap().starts_with("ssh-ed25519 AAAA"));
    }
}
