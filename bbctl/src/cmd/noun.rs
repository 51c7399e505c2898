//! Turns `bbctl NOUN VERB` into the verb for the kind that the noun means.
//!
//! What a verb does is said once, beside the verb of the same name that takes any kind.

use clap::Subcommand;

use super::{delete, describe, get};
use crate::kinds::Kind;

/// What can be done with objects of every kind.
#[derive(Debug, Subcommand)]
pub enum Common {
    /// List them
    List(ListArgs),
    /// Show some by name
    Get(NameArgs),
    /// Explain some by name
    Describe(NameArgs),
    /// Delete some, after asking
    Delete(DeleteArgs),
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

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub enum Tenants {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
}

/// What can be done with networks.
#[derive(Debug, Subcommand)]
pub enum Networks {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
}

/// What can be done with instances.
#[derive(Debug, Subcommand)]
pub enum Instances {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
}

/// What can be done with volumes.
#[derive(Debug, Subcommand)]
pub enum Volumes {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
}

/// What can be done with providers.
#[derive(Debug, Subcommand)]
pub enum Providers {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
}

/// What can be done with regions.
#[derive(Debug, Subcommand)]
pub enum Regions {
    /// As with every kind
    #[command(flatten)]
    Common(Common),
}

/// A verb for any kind, with the words that it takes.
#[derive(Debug)]
pub enum General {
    /// As `bbctl get`.
    Get(get::Args),
    /// As `bbctl describe`.
    Describe(describe::Args),
    /// As `bbctl delete`.
    Delete(delete::Args),
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
            }),
            Self::Get(args) => General::Get(get::Args {
                words: words(args.names),
                all_namespaces: false,
                selector: None,
            }),
            Self::Describe(args) => General::Describe(describe::Args {
                words: words(args.names),
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
