//! Turns what a cluster was told of a guest into an SSH server that stands for the guest's own.
//!
//! The clusters of the lab run no machines. This lets in the keys that the guest's cloud-init
//! would have read there, as the user of its image, and knows the commands of the page.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use bb_lab_kit::Stop;
use bb_lab_kit::ssh::{HostKey, Machine, Said, serve};
use bb_tests::Site;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

/// A guest's sshd.
struct Guest {
    name: String,
    keys: Vec<String>,
    logins: Arc<AtomicU32>,
}

impl Machine for Guest {
    fn takes_password(&self, _: &str, _: &str) -> bool {
        false
    }

    fn takes_key(&self, user: &str, key: &str) -> bool {
        let welcome = user == "debian" && self.keys.iter().any(|held| held == key);
        self.logins.fetch_add(u32::from(welcome), Ordering::Relaxed);
        welcome
    }

    fn run(&self, _: &str, line: &str) -> Said {
        match line {
            "hostname" => Said::well(format!("{}\n", self.name)),
            "whoami" => Said::well("debian\n"),
            "fails 7" => Said::failed(7, "seven\n"),
            "echo '$HOME' ';'" => Said::well("$HOME ;\n"),
            other => Said::failed(127, format!("bash: line 1: {other}: command not found\n")),
        }
    }
}

/// The guests that run so far.
#[derive(Default)]
pub(crate) struct Guests {
    running: BTreeMap<String, SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    stop: Stop,
    logins: Arc<AtomicU32>,
}

impl Guests {
    /// Where the guest of this name listens; it begins to, where it does not yet.
    pub(crate) async fn start(&mut self, name: &str, site: &Site) -> Result<SocketAddr> {
        if let Some(address) = self.running.get(name) {
            return Ok(*address);
        }
        let keys = keys(name, site)?;
        ensure!(!keys.is_empty(), "guest {name} was told no key");
        self.begin(name, keys).await
    }

    /// A guest that lets these keys in. Its name decides its host key.
    pub(crate) async fn begin(&mut self, name: &str, keys: Vec<String>) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let guest = Guest {
            name: name.to_owned(),
            keys,
            logins: Arc::clone(&self.logins),
        };
        let served = serve(
            listener,
            HostKey::of(name),
            Arc::new(guest),
            self.stop.clone(),
        );
        self.tasks.push(tokio::spawn(served));
        self.running.insert(name.to_owned(), address);
        Ok(address)
    }

    /// How many have been let in.
    pub(crate) fn logins(&self) -> u32 {
        self.logins.load(Ordering::Relaxed)
    }

    pub(crate) async fn stop(self) {
        self.stop.stop();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// The keys that a guest's cluster would have its cloud-init write down, without their comments.
fn keys(name: &str, site: &Site) -> Result<Vec<String>> {
    let mut configs = site.clusters.values().filter_map(|cluster| {
        cluster.with(|cluster| {
            let mut guests = cluster.guests.values();
            let named = guests.find(|guest| guest.config.get("name").is_some_and(|n| n == name));
            named.map(|guest| guest.config.clone())
        })
    });
    let config = configs.next().with_context(|| format!("no guest {name}"))?;
    let text = config.get("sshkeys").context("it was given keys")?;
    let text = percent_encoding::percent_decode_str(text).decode_utf8()?;
    Ok(text.lines().map(bare).collect())
}

/// A public key without its comment.
pub(crate) fn bare(line: &str) -> String {
    line.split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Makes a key pair with OpenSSH.
pub(crate) async fn key_pair(file: &Path) -> Result<()> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "alice@home", "-f"])
        .arg(file)
        .status()
        .await
        .context("this test takes OpenSSH's ssh-keygen")?;
    ensure!(made.success(), "ssh-keygen: {made}");
    Ok(())
}

/// Writes the configuration of ssh that leads from a tenant's addresses to the stand-in.
pub(crate) fn lead(config: &Path, key: &Path, to: SocketAddr) -> Result<()> {
    let text = format!(
        "Host 10.*\n  HostName {}\n  Port {}\n  IdentityFile {}\n  IdentitiesOnly yes\n",
        to.ip(),
        to.port(),
        key.display()
    );
    std::fs::write(config, text).context("cannot write a configuration of ssh")
}
