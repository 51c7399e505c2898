//! Turns the flags that say what an instance is to be like into settings, with where each is from.

use std::path::PathBuf;

use super::choose::Asked;
use crate::cli::Globals;

/// What `init` and `launch` take alike.
#[derive(Debug, clap::Args)]
pub struct Wishes {
    /// The zone to run in
    #[arg(long, value_name = "NAME")]
    pub zone: Option<String>,
    /// Virtual CPUs [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub cpu: Option<String>,
    /// Memory [default: 1Gi]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Root disk [default: the image's]
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<String>,
    /// The public key that may log in [default: one of ~/.ssh]
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// Do not ask whether the settings are right
    #[arg(short, long)]
    pub yes: bool,
}

impl Wishes {
    /// These, the flags that a command has beside them, and the tenant that all commands may be told.
    #[must_use]
    pub fn asked(&self, beside: &[(&'static str, &Option<String>)], globals: &Globals) -> Asked {
        let mut asked = Asked::default();
        let key = self.ssh_key.as_ref().map(|path| path.display().to_string());
        let alike = [
            ("zone", &self.zone),
            ("cpu", &self.cpu),
            ("memory", &self.memory),
            ("disk", &self.disk),
            ("ssh-key", &key),
        ];
        for (setting, value) in beside.iter().copied().chain(alike) {
            asked.say(setting, value.as_deref(), &format!("--{setting}"));
        }
        let from = globals.namespace_from.as_deref().unwrap_or("--namespace");
        asked.say("tenant", globals.namespace.as_deref(), from);
        asked
    }
}
