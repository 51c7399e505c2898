//! Turns the flags about SSH into a router to log in to. No secret is the value of a flag.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bb_vyos::Secret;
use russh::keys::{PrivateKey, decode_secret_key};

use super::known::{self, Expected};
use super::login::Means;
use super::place::parse as host_and_port;
use super::router::Subject;
use crate::error::{Exit, Failure};
use crate::out::Out;
use crate::start::{hidden, place};

const PORT: u16 = 22;

/// The flags.
#[derive(Debug, clap::Args)]
pub struct SshArgs {
    /// Log in by SSH as well [default host: that of the API; port: 22]
    #[arg(long, value_name = "HOST[:PORT]", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "")]
    pub ssh: Option<String>,
    /// Who logs in [default: vyos]
    #[arg(long, value_name = "NAME")]
    pub ssh_user: Option<String>,
    /// A file with the private key [default: the agent's keys, else a password]
    #[arg(long, value_name = "FILE", conflicts_with = "ssh_password_file")]
    pub ssh_key: Option<PathBuf>,
    /// A file with the password, or `-` for standard input [default: ask]
    #[arg(long, value_name = "FILE")]
    pub ssh_password_file: Option<PathBuf>,
    /// The fingerprint of its host key, SHA256:...; may be repeated
    #[arg(long, value_name = "FINGERPRINT")]
    pub ssh_host_key: Vec<String>,
    /// A file of host keys [default: ~/.ssh/known_hosts]
    #[arg(long, value_name = "FILE")]
    pub ssh_known_hosts: Option<PathBuf>,
}

/// Whether a path means standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The host of the address of an API.
fn host_of(url: &str) -> Result<String, Failure> {
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or_default();
    Ok(host_and_port(bare, "--endpoint")?.0)
}

impl SshArgs {
    /// Whether SSH is to be tried: any of the flags says so.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.ssh.is_some()
            || self.ssh_user.is_some()
            || self.ssh_key.is_some()
            || self.ssh_password_file.is_some()
            || !self.ssh_host_key.is_empty()
            || self.ssh_known_hosts.is_some()
    }

    /// Whether they say to which host.
    #[must_use]
    pub fn names_host(&self) -> bool {
        self.ssh.as_deref().is_some_and(|host| !host.is_empty())
    }

    /// Whether standard input holds the password.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.ssh_password_file.as_deref().is_some_and(is_stdin)
    }

    /// The router to log in to; none where SSH is not asked for. `url` is the address of its API.
    ///
    /// # Errors
    /// When a flag cannot be followed, or nobody can be asked for what is missing.
    pub async fn subject(
        &self,
        url: Option<&str>,
        patience: Duration,
        out: &mut Out,
    ) -> Result<Option<Subject>, Failure> {
        if !self.is_asked() {
            return Ok(None);
        }
        let (host, port) = match (self.ssh.as_deref(), url) {
            (Some(said), _) if !said.is_empty() => {
                let (host, port) = host_and_port(said, "--ssh")?;
                (host, port.unwrap_or(PORT))
            }
            (_, Some(url)) => (host_of(url)?, PORT),
            (_, None) => return Err(Failure::usage("say where: --ssh=HOST[:PORT]")),
        };
        let user = self.ssh_user.clone().unwrap_or_else(|| "vyos".to_owned());
        let expected = self.expected(&host, port, out)?;
        let means = self.means(&user, &host, out).await?;
        Ok(Some(Subject {
            host,
            port,
            user,
            means,
            expected,
            patience,
        }))
    }

    fn expected(&self, host: &str, port: u16, out: &Out) -> Result<Expected, Failure> {
        let mut pins = Vec::new();
        for said in &self.ssh_host_key {
            pins.push(known::pin(said).ok_or_else(|| {
                Failure::usage(format!("`{said}` is no fingerprint of a host key")).hint(
                    "it is SHA256: and 43 letters, as `ssh-keygen -lf /etc/ssh/\
                     ssh_host_ed25519_key.pub` shows on the router",
                )
            })?);
        }
        // One that was named has to be there; the usual one need not.
        let (file, text) = match &self.ssh_known_hosts {
            Some(file) => (Some(file.clone()), Some(place::must_read(file)?)),
            None => {
                let home = out.env().get("HOME").filter(|home| !home.is_empty());
                let file = home.map(|home| Path::new(home).join(".ssh/known_hosts"));
                let text = file.as_deref().map(place::read).transpose()?.flatten();
                (file, text)
            }
        };
        let lines = known::lines(&text.unwrap_or_default(), host, port);
        let file = file.map_or_else(
            || "~/.ssh/known_hosts".to_owned(),
            |file| file.display().to_string(),
        );
        Ok(Expected { pins, lines, file })
    }

    async fn means(&self, user: &str, host: &str, out: &mut Out) -> Result<Means, Failure> {
        if let Some(file) = &self.ssh_key {
            return Ok(Means::Key(Arc::new(key(file, out).await?)));
        }
        if let Some(file) = &self.ssh_password_file {
            return Ok(Means::Password(
                hidden::read(file, "the password", out).await?,
            ));
        }
        let socket = out
            .env()
            .get("SSH_AUTH_SOCK")
            .filter(|path| !path.is_empty());
        if let Some(socket) = socket {
            return Ok(Means::Agent(socket.clone()));
        }
        let question = format!("the password of {user} on {host}");
        let flag = "--ssh-password-file (or a key with --ssh-key)";
        Ok(Means::Password(hidden::ask(&question, flag, out).await?))
    }
}

/// Reads a private key, and asks for its passphrase where it has one.
async fn key(file: &Path, out: &mut Out) -> Result<PrivateKey, Failure> {
    place::private(file)?;
    let text = Secret::new(place::must_read(file)?);
    let read = |passphrase: Option<&str>| decode_secret_key(text.reveal(), passphrase);
    let decoded = match read(None) {
        Err(russh::keys::Error::KeyIsEncrypted) => {
            let question = format!("the passphrase of {}", file.display());
            let asked = hidden::ask(&question, "--ssh-key", out).await;
            let words = asked.map_err(|failure| {
                failure.hint("put the key into an agent (`ssh-add FILE`) and leave --ssh-key out")
            })?;
            read(Some(words.reveal()))
        }
        decoded => decoded,
    };
    decoded.map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot use the private key in {}: {error}", file.display()),
        )
        .hint(
            "it is a key of type ed25519 or ecdsa, with the right passphrase; one of type rsa is \
             used by way of an agent: `ssh-add FILE`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_api_is_in_its_address() {
        assert_eq!(host_of("https://192.0.2.1:8443/").unwrap(), "192.0.2.1");
        assert_eq!(host_of("https://[2001:db8::1]").unwrap(), "2001:db8::1");
    }
}
