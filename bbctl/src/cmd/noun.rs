//! Turns `bbctl NOUN VERB` into the verb for the kind that the noun means.
//!
//! What a verb does is said once, beside the verb of the same name that takes any kind.

use clap::Subcommand;

use super::{
    delete, describe, draft, edit, get, instance, network, rebuild, remote, tenant, volume, wait,
};
use crate::change::Writing;
use crate::goal::Goal;
use crate::kinds::Kind;
use crate::manifest::Files;
use crate::start::provider;

const START: &str = "\
Examples:
  bbctl instances start www-1
  bbctl instances start www-1 www-2 --wait";

const STOP: &str = "\
Examples:
  bbctl instances stop www-1
  bbctl instances stop www-1 --wait --timeout=2m

A guest that does not shut down within 30 seconds is stopped.";

const RESTART: &str = "\
Examples:
  bbctl instances restart www-1
  bbctl instances restart www-1 --wait --timeout=10m

One that does not stop in time is told to go on, so that none is left down.";

/// What can be done with objects of every kind.
#[derive(Debug, Subcommand)]
pub enum Common {
    /// List them
    List(ListArgs),
    /// Show some by name
    Get(GetArgs),
    /// Explain some by name
    Describe(NameArgs),
    /// Change one in an editor
    Edit(EditArgs),
    /// Delete some, after asking
    Delete(DeleteArgs),
    /// Wait until some are ready, or gone
    Wait(WaitArgs),
}

/// What `list` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels, such as app=web
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Whether to go on
    #[command(flatten)]
    pub watching: get::Watching,
}

/// What `get` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct GetArgs {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Whether to go on
    #[command(flatten)]
    pub watching: get::Watching,
}

/// Objects by name.
#[derive(Clone, Debug, clap::Args)]
pub struct NameArgs {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// What `delete` takes.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// How to go about it
    #[command(flatten)]
    pub flags: delete::Flags,
}

/// What `edit` takes.
#[derive(Debug, clap::Args)]
pub struct EditArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// What `wait` takes.
#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// What to wait for: condition=TYPE, condition=TYPE=STATUS, or delete
    #[arg(long = "for", value_name = "GOAL", value_parser = Goal::parse)]
    #[arg(default_value = "condition=Ready")]
    pub goal: Goal,
}

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub enum Tenants {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
    /// Make a tenant
    Create(draft::Tenant),
    /// List who may work in a tenant
    Members(tenant::MembersArgs),
    /// Let people work in a tenant
    AddMember(tenant::AddArgs),
    /// Take people's rights in a tenant away
    RemoveMember(tenant::RemoveArgs),
    /// Work in a tenant's namespace from now on
    Use(tenant::UseArgs),
}

/// What can be done with networks.
#[derive(Debug, Subcommand)]
pub enum Networks {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
    /// Make a network
    Create(draft::Network),
    /// List who has which address
    Addresses(network::AddressesArgs),
}

/// What can be done with instances.
#[derive(Debug, Subcommand)]
pub enum Instances {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
    /// Make an instance
    Create(draft::Instance),
    /// Start instances
    #[command(after_help = START)]
    Start(instance::PowerArgs),
    /// Shut instances down
    #[command(after_help = STOP)]
    Stop(instance::PowerArgs),
    /// Shut instances down and start them again, also to put pending changes in force
    #[command(after_help = RESTART)]
    Restart(instance::PowerArgs),
    /// Give an instance more or fewer CPUs, memory, or a larger disk
    Resize(instance::ResizeArgs),
    /// Make an instance anew from an image; its volumes stay
    Rebuild(rebuild::Args),
    /// Log in to an instance
    Ssh(remote::SshArgs),
    /// Run a command on an instance, without a terminal
    Exec(remote::ExecArgs),
    /// Show where the console of an instance is
    Console(remote::ConsoleArgs),
}

/// What can be done with volumes.
#[derive(Debug, Subcommand)]
pub enum Volumes {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
    /// Make a volume
    Create(draft::Volume),
    /// Attach a volume to an instance
    Attach(volume::AttachArgs),
    /// Take a volume away from the instance that has it
    Detach(volume::DetachArgs),
    /// Make a volume larger
    Resize(volume::ResizeArgs),
}

/// What can be done with providers.
#[derive(Debug, Subcommand)]
pub enum Providers {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
    /// Keep a router's or cluster's credentials, and make its Provider and Secret
    Add(Box<provider::AddArgs>),
}

/// What can be done with regions.
#[derive(Debug, Subcommand)]
pub enum Regions {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
    /// Make a Region
    Create(draft::Region),
}

/// A verb for any kind, with the words that it takes.
#[derive(Debug)]
pub enum General {
    /// As `bbctl get`.
    Get(get::Args),
    /// As `bbctl describe`.
    Describe(describe::Args),
    /// As `bbctl edit`.
    Edit(edit::Args),
    /// As `bbctl delete`.
    Delete(delete::Args),
    /// As `bbctl wait`.
    Wait(wait::Args),
}

impl Common {
    /// The verb of the same name that takes any kind, told which one.
    #[must_use]
    pub fn general(self, kind: &Kind) -> General {
        let words = |names: Vec<String>| -> Vec<String> {
            let pairs = names.iter().map(|name| format!("{}/{name}", kind.singular));
            pairs.collect()
        };
        match self {
            Self::List(args) => General::Get(get::Args {
                words: vec![kind.plural.to_owned()],
                all_namespaces: args.all_namespaces,
                selector: args.selector,
                watching: args.watching,
            }),
            Self::Get(args) => General::Get(get::Args {
                words: words(args.names),
                all_namespaces: false,
                selector: None,
                watching: args.watching,
            }),
            Self::Describe(args) => General::Describe(describe::Args {
                words: words(args.names),
                all_namespaces: false,
            }),
            Self::Edit(args) => General::Edit(edit::Args {
                words: words(vec![args.name]),
                writing: args.writing,
            }),
            Self::Wait(args) => General::Wait(wait::Args {
                words: words(args.names),
                goal: args.goal,
                files: Files::default(),
                all: false,
                all_namespaces: false,
            }),
            Self::Delete(args) => General::Delete(delete::Args {
                words: words(args.names),
                flags: args.flags,
                ..delete::Args::default()
            }),
        }
    }
}
