//! Turns the address of a Proxmox VE cluster into PASS and FAIL lines, each FAIL with a remedy.
//! It takes no management cluster, and changes nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bb_crds::ids::Vmid;
use bb_proxmox::{Cluster, ClusterError, Credentials, Deadlines, Endpoint, Trust, Uses};

use super::findings::{self, Finding};
use super::{hidden, place};
use crate::checks::reach;
use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::out::Out;
use crate::session::PATIENCE;

/// The checks in the order in which each builds on the one before.
pub const NAMES: [&str; 5] = ["reach", "tls", "credentials", "version", "rights"];

/// The oldest release that is known to work.
const OLDEST: u32 = 8;

const EXAMPLES: &str = "\
Examples:
  bbctl test-proxmox 192.0.2.11 --token-file c1.token --sha256 AB:CD:EF
  bbctl test-proxmox pve1.example:8006 --token-file - --ca-file ca.pem \\
    --pool bitbuilder --template 9000 --storage ceph-ssd --holder 900
  bbctl test-proxmox --kept c1 --template 9000";

/// What `bbctl test-proxmox` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A node: HOST, HOST:PORT or https://HOST:PORT [default port: 8006]
    #[arg(value_name = "HOST", required_unless_present = "kept")]
    pub host: Option<String>,
    /// A cluster that `providers add` kept here, with its credentials, in place of all that
    #[arg(long, value_name = "NAME")]
    #[arg(conflicts_with_all = ["host", "token_file", "user", "sha256", "ca_file"])]
    pub kept: Option<String>,
    /// A file with a token, USER@REALM!NAME=SECRET, or `-` for standard input [default: ask]
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub token_file: Option<PathBuf>,
    /// A user, USER@REALM, in place of a token
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// A file with that user's password, or `-` [default: ask]
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// The SHA-256 fingerprint of its certificate
    #[arg(long, value_name = "FINGERPRINT", required_unless_present_any = ["ca_file", "kept"])]
    pub sha256: Vec<String>,
    /// A file with the CA of its certificate
    #[arg(long, value_name = "FILE", conflicts_with = "sha256")]
    pub ca_file: Option<PathBuf>,
    /// The pool for guests
    #[arg(long, value_name = "NAME", default_value = "bitbuilder")]
    pub pool: String,
    /// A template that is cloned; may be repeated
    #[arg(long = "template", value_name = "VMID")]
    pub templates: Vec<u32>,
    /// A storage for disks; may be repeated
    #[arg(long = "storage", value_name = "NAME")]
    pub storages: Vec<String>,
    /// The guest that volumes are allocated under
    #[arg(long, value_name = "VMID")]
    pub holder: Option<u32>,
}

/// Looks at the cluster and tells what passes.
///
/// # Errors
/// When it cannot be told how to speak to it. A check that fails is no error: it is told, and the
/// exit code is 1.
pub async fn run(args: &Args, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    let uses = uses(args)?;
    let (url, trust, credentials) = match (&args.kept, &args.host) {
        (Some(name), _) => kept(name, out).await?,
        (None, host) => {
            let trust = match &args.ca_file {
                None => Trust::Sha256(args.sha256.clone()),
                Some(path) => Trust::Ca(place::must_read(path)?),
            };
            let url = url(host.as_deref().unwrap_or_default());
            (url, trust, credentials(args, out).await?)
        }
    };
    let patience = globals
        .timeout
        .filter(|time| !time.is_zero())
        .unwrap_or(PATIENCE);
    let mut endpoint = Endpoint::new(vec![url.clone()], credentials, trust);
    endpoint.deadlines.connect = patience.min(Deadlines::default().connect);
    endpoint.deadlines.read = patience;
    let found = look(&url, endpoint, &uses, patience).await;
    findings::tell(&findings::complete(found, &NAMES), out)
}

/// The first node of a cluster that is kept here, and how to speak to it.
async fn kept(name: &str, out: &mut Out) -> Result<(String, Trust, Credentials), Failure> {
    let (kept, mut secrets) = super::kept::open(name, "proxmox", out).await?;
    let credentials = match (secrets.remove("token"), secrets.remove("password")) {
        (Some(token), _) => Credentials::Token(token),
        (None, Some(password)) => Credentials::Password {
            user: secrets
                .remove("username")
                .map(|user| user.reveal().to_owned())
                .unwrap_or_default(),
            password,
        },
        (None, None) => {
            let words = format!("neither token nor password of {name} is kept");
            return Err(
                Failure::new(Exit::Failure, words).hint("add it again with `bbctl providers add`")
            );
        }
    };
    let trust = match &kept.ca_file {
        Some(path) => Trust::Ca(place::must_read(path.as_ref())?),
        None => Trust::Sha256(kept.sha256),
    };
    let first = kept.endpoints.first().map(String::as_str);
    Ok((url(first.unwrap_or_default()), trust, credentials))
}

/// The address as the API has it.
fn url(host: &str) -> String {
    let bare = host.trim_start_matches("https://").trim_end_matches('/');
    let has_port = bare.rsplit_once(':').is_some_and(|(name, port)| {
        port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']'))
    });
    match has_port {
        true => format!("https://{bare}"),
        false => format!("https://{bare}:8006"),
    }
}

fn uses(args: &Args) -> Result<Uses, Failure> {
    let vmid = |raw: u32| {
        Vmid::try_from(raw).map_err(|error| Failure::usage(format!("{raw} is no VMID: {error}")))
    };
    Ok(Uses {
        pool: args.pool.clone(),
        templates: args
            .templates
            .iter()
            .map(|raw| vmid(*raw))
            .collect::<Result<_, _>>()?,
        storages: args.storages.iter().cloned().collect(),
        archives: BTreeSet::new(),
        holder: args.holder.map(vmid).transpose()?,
        bridges: BTreeSet::new(),
    })
}

async fn credentials(args: &Args, out: &mut Out) -> Result<Credentials, Failure> {
    let Some(user) = &args.user else {
        let token = match &args.token_file {
            Some(path) => hidden::read(path, "the token", out).await?,
            None => hidden::ask("the token", "--token-file", out).await?,
        };
        return Ok(Credentials::Token(token));
    };
    let password = match &args.password_file {
        Some(path) => hidden::read(path, "the password", out).await?,
        None => hidden::ask("the password", "--password-file", out).await?,
    };
    Ok(Credentials::Password {
        user: user.clone(),
        password,
    })
}

async fn look(url: &str, endpoint: Endpoint, uses: &Uses, patience: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(words) = reach(url, patience).await {
        let remedy = "check the address, the way there and its firewall; `ss -ltn` on the node shows \
                      whether pveproxy listens on 8006";
        found.push(Finding::fail("reach", format!("{url}: {words}"), remedy));
        return found;
    }
    found.push(Finding::pass("reach", format!("{url} takes connections")));
    let cluster = match Cluster::connect(endpoint).await {
        Ok(cluster) => cluster,
        Err(error) => {
            found.extend(refused(&error));
            return found;
        }
    };
    found.push(Finding::pass("tls", "the certificate is trusted"));
    found.push(Finding::pass("credentials", "the cluster takes them"));
    found.push(version(cluster.version()));
    found.push(match cluster.check_rights(uses).await {
        Ok(missing) => rights(&missing),
        Err(error) => Finding::fail("rights", error.to_string(), remedy(&error)),
    });
    found
}

fn remedy(error: &ClusterError) -> String {
    error.remedy().unwrap_or_else(|| "try again".to_owned())
}

/// What a failed login says of certificate and credentials.
fn refused(error: &ClusterError) -> Vec<Finding> {
    let trusted = || Finding::pass("tls", "the certificate is trusted");
    match error {
        ClusterError::Untrusted { why, .. } => vec![Finding::fail(
            "tls",
            why.clone(),
            "if `pvenode cert info` on the node shows the same SHA-256, accept it with --sha256 \
             (spec.proxmox.tls.sha256 of the Provider); else somebody is in between",
        )],
        ClusterError::Unreachable { cause, .. } => vec![Finding::fail(
            "tls",
            format!("it takes connections and then: {cause}"),
            "check that it is the API that listens there: port 8006, pveproxy",
        )],
        ClusterError::Unauthorized(words) => vec![
            trusted(),
            Finding::fail(
                "credentials",
                format!("the cluster refuses them: {words}"),
                "compare with `pveum user token list USER@REALM`; a token is USER@REALM!NAME=SECRET, \
                 whole, and its secret is shown only when it is made",
            ),
        ],
        ClusterError::Setup(words) => vec![Finding::fail(
            "credentials",
            words.clone(),
            "correct the address, the token or the fingerprint",
        )],
        other => vec![
            trusted(),
            Finding::fail("credentials", other.to_string(), remedy(other)),
        ],
    }
}

fn version(said: &str) -> Finding {
    let major = said
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST => {
            Finding::pass("version", format!("it runs Proxmox VE {said}"))
        }
        Some(_) => Finding::fail(
            "version",
            format!("it runs Proxmox VE {said}; {OLDEST} is the oldest that is known to work"),
            "upgrade it, one major release at a time (`pve7to8`, `pve8to9`)",
        ),
        None => Finding::fail(
            "version",
            "it does not say which version it runs",
            "see `pveversion` on the node",
        ),
    }
}

fn rights(missing: &[String]) -> Finding {
    match missing {
        [] => Finding::pass("rights", "all that was asked about is there"),
        missing => Finding::fail(
            "rights",
            format!("these are missing: {}", missing.join(", ")),
            "grant each to the user, and to the token if it has rights of its own: `pveum acl modify \
             PATH --roles ROLE --users USER --tokens TOKEN`; docs/spec/provider.md has the roles",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Verdict;

    #[test]
    fn a_host_is_the_usual_port_over_tls() {
        for (host, want) in [
            ("pve1", "https://pve1:8006"),
            ("https://pve1:443/", "https://pve1:443"),
            ("192.0.2.1:8006", "https://192.0.2.1:8006"),
            ("[2001:db8::1]", "https://[2001:db8::1]:8006"),
        ] {
            assert_eq!(url(host), want);
        }
    }

    #[test]
    fn versions_below_the_oldest_fail() {
        assert_eq!(version("9.1.7").check.status, Verdict::Pass);
        assert_eq!(version("8.0.0").check.status, Verdict::Pass);
        assert!(version("7.4-3").is_fatal() && version("").is_fatal());
    }
}
