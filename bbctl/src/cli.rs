//! Turns a command line into a verb with its flags, or into help.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::age::parse_duration;
use crate::cmd;
use crate::cmd::images::Images;
use crate::cmd::noun::{Instances, Networks, Providers, Regions, Tenants, Volumes};
use crate::kinds::KINDS;
use crate::out::{Format, Look};
use crate::session::Connection;
use crate::start;
use crate::usage;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "bbctl",
    version,
    about = "Networks, machines and disks of bitbuilder.cloud, from a terminal",
    disable_help_subcommand = true,
    subcommand_required = true
)]
pub struct Cli {
    /// Flags of every verb.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// How to write data: table, wide, json, yaml or name
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    #[arg(hide_possible_values = true)]
    pub output: Option<Format>,
    /// The same as -o json
    #[arg(long, global = true)]
    pub json: bool,
    /// The namespace to work in [default: the context's]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Who says the namespace where no flag does
    #[arg(skip)]
    pub namespace_from: Option<String>,
    /// Settings that are not from flags
    #[arg(skip)]
    pub filled: Vec<&'static str>,
    /// The context of the kubeconfig to use [default: its current one]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig to use [default: $KUBECONFIG, ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// How long to wait for an answer (30s), or with `wait` and --wait for the state (5m)
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// No colours; NO_COLOR does the same
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Never ask; what would be asked has to be said by flags
    #[arg(long, global = true)]
    pub no_input: bool,
    /// No pager for long output; PAGER names another one
    #[arg(long, global = true)]
    pub no_pager: bool,
}

impl Globals {
    /// What the flags say about output.
    #[must_use]
    pub fn look(&self) -> Look {
        let format = match self.json {
            true => Format::Json,
            false => self.output.unwrap_or_default(),
        };
        Look {
            format,
            no_color: self.no_color,
            no_input: self.no_input,
            no_pager: self.no_pager,
        }
    }

    /// The namespace that the command line itself asks for; one from the environment or a file
    /// is no more than that of a context.
    #[must_use]
    pub fn asked(&self) -> Option<&str> {
        self.namespace
            .as_deref()
            .filter(|_| self.namespace_from.is_none())
    }

    /// The time that the command line itself gives; one from the environment or a file is for
    /// answers.
    #[must_use]
    pub fn limit(&self) -> Option<Duration> {
        self.timeout.filter(|_| !self.filled.contains(&"timeout"))
    }

    /// What the flags say about where to connect to.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            patience: self.timeout,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check what is between here and an instance that runs
    Doctor(start::doctor::Args),
    /// Make an instance of an image, with all that it takes
    Launch(start::launch::Args),
    /// Make a folder of manifests to begin with
    Init(start::init::Args),
    /// Show what there is, and why something is not ready
    Status(cmd::status::Args),
    /// Look at everything and change it, in a dashboard
    Ui(crate::ui::shell::Args),
    /// Show what a change would send to routers and clusters
    Plan(cmd::plan::Args),
    /// Create or change what files describe
    Apply(cmd::apply::Args),
    /// Wait until objects are ready, or gone
    Wait(cmd::wait::Args),

    /// Tenants: their namespaces, members and rights
    #[command(subcommand, visible_alias = "tenant", alias = "bbt")]
    Tenants(Tenants),
    /// Networks: prefixes, gateways, addresses
    #[command(subcommand, visible_alias = "network", alias = "bbnet")]
    Networks(Networks),
    /// Instances: virtual machines and containers
    #[command(subcommand, visible_alias = "instance", alias = "bbi")]
    Instances(Instances),
    /// Volumes: disks that outlive instances
    #[command(subcommand, visible_alias = "volume", alias = "bbvol")]
    Volumes(Volumes),
    /// Providers: routers and clusters
    #[command(subcommand, visible_alias = "provider", alias = "bbp")]
    Providers(Providers),
    /// Images: what clusters offer to make instances from
    #[command(subcommand, visible_alias = "image")]
    #[command(after_help = "Examples:\n  bbctl images list\n  bbctl images describe debian-12")]
    Images(Images),
    /// Regions: fabrics and their number ranges
    #[command(subcommand, visible_alias = "region", alias = "bbr")]
    Regions(Regions),

    /// Show objects in a table, or as they are
    Get(cmd::get::Args),
    /// Explain an object: why it is not ready, its parts, its events
    Describe(cmd::describe::Args),
    /// Change an object in an editor
    Edit(cmd::edit::Args),
    /// Delete objects, after asking
    Delete(cmd::delete::Args),
    /// Show what applying files would change
    Diff(cmd::diff::Args),
    /// Write manifests that make the same objects again
    Export(cmd::export::Args),

    /// Show what is in what: tenant, network, instance, volume
    Tree(cmd::tree::Args),
    /// Show what happened to objects of late
    Events(cmd::events::Args),
    /// Show how much is asked for and given out
    Top(cmd::top::Args),

    /// Check a VyOS router, and tell how to mend what fails
    TestVyos(cmd::test_vyos::Args),
    /// Check a Proxmox VE cluster, and tell how to mend what fails
    TestProxmox(start::test_proxmox::Args),
    /// Collect what is needed to help into one file, without secrets
    SupportBundle(cmd::support_bundle::Args),

    /// Who you are to the server, and what you may do
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  bbctl auth whoami\n  bbctl auth can-i create instances -n acme"
    )]
    Auth(start::auth::Verb),

    /// Settings: what is in force and whence, and the file of your own
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  bbctl config explain\n  bbctl config set namespace acme")]
    Config(start::config::Verb),

    /// Print a script that completes commands in a shell
    Completion(cmd::completion::Args),
    /// Say what could come next, for the scripts of `completion`
    #[command(name = "__complete", hide = true)]
    Complete(cmd::completion::Words),
    /// Write man pages, or the same in Markdown
    Man(cmd::man::Args),
    /// Print the versions of bbctl and of the server
    Version(cmd::version::Args),
    /// Explain a command
    Help(cmd::help::Args),
}

impl Verb {
    /// Whether files of settings and the environment fill in what no flag says. Not where a file
    /// that cannot be read must stop nobody, nor where flags are to be told from the rest.
    #[must_use]
    pub fn has_settings(&self) -> bool {
        !matches!(
            self,
            Self::Config(_) | Self::Completion(_) | Self::Man(_) | Self::Help(_)
        )
    }
}

/// The commands by what they are for, in the order of the help. A group without commands does
/// not show.
pub const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Getting started",
        &[
            "doctor", "launch", "init", "status", "ui", "plan", "apply", "wait",
        ],
    ),
    (
        "Resources",
        &[
            "tenants",
            "networks",
            "instances",
            "volumes",
            "images",
            "providers",
            "regions",
        ],
    ),
    (
        "Any kind",
        &["get", "describe", "edit", "delete", "diff", "export"],
    ),
    (
        "Day 2",
        &[
            "tree",
            "events",
            "top",
            "test-vyos",
            "test-proxmox",
            "support-bundle",
        ],
    ),
    ("Access", &["auth", "config"]),
    ("Help", &["completion", "man", "version", "help"]),
];

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::White.on_default().bold())
    .usage(AnsiColor::White.on_default().bold())
    .literal(AnsiColor::Cyan.on_default());

/// What `bbctl` says when it is given nothing to do.
pub const STARTER: &str = "\
bbctl works on the networks, machines and disks of bitbuilder.cloud.

Start with:
  bbctl status                      what there is, and what is not ready and why
  bbctl get instances               a table of one kind (or all)
  bbctl describe instance www-1     everything about one object
  bbctl apply -f examples/acme      create or change what the files say
  bbctl wait instance/www-1         wait until it is ready
  bbctl delete instance www-1       take it away again

All commands: bbctl help. One of them: bbctl help get.
";

/// Help is never wider than this, however wide the terminal is.
pub const WIDEST: usize = 120;

/// The name of the program where it was called by this path: as a plugin of kubectl, its own.
#[must_use]
pub fn called_as(called: Option<&str>) -> String {
    let stem = called.and_then(|path| Path::new(path).file_stem()?.to_str());
    // kubectl finds a plugin by its name, in which `_` stands for `-`.
    match stem.and_then(|stem| stem.strip_prefix("kubectl-")) {
        Some(plugin) => format!("kubectl {}", plugin.replace('_', "-")),
        None => "bbctl".to_owned(),
    }
}

/// The tree of commands, as wide as help may be, under the name it was called by.
#[must_use]
pub fn command(width: usize, called: Option<&str>) -> clap::Command {
    let mut command = Cli::command()
        .bin_name(called_as(called))
        .styles(STYLES)
        .term_width(width.min(WIDEST))
        .help_template(
            "{about}\n\n{usage-heading} {usage}{after-help}\n\nGlobal options:\n{options}",
        );
    for kind in &KINDS {
        command = command.mut_subcommand(kind.plural, |noun| usage::of_noun(noun, kind));
    }
    let groups = usage::grouped(&command, &GROUPS);
    command.after_help(groups)
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// Help and version as well as what cannot be understood, as clap has it.
pub fn parse(argv: &[OsString], width: usize) -> Result<Cli, clap::Error> {
    let called = argv.first().map(|name| name.to_string_lossy().into_owned());
    let matches = command(width, called.as_deref()).try_get_matches_from(argv)?;
    Cli::from_arg_matches(&matches)
}

/// Whether a command line that may not even be understood asks for JSON.
#[must_use]
pub fn wants_json(argv: &[OsString]) -> bool {
    let words: Vec<String> = argv
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .take_while(|w| w != "--")
        .collect();
    let alone = ["--json", "-ojson", "-o=json", "--output=json"];
    words.iter().any(|word| alone.contains(&word.as_str()))
        || words
            .windows(2)
            .any(|pair| ["-o", "--output"].contains(&pair[0].as_str()) && pair[1] == "json")
}
