//! Turns a Provider's name or a router's address into PASS and FAIL lines, each FAIL with a remedy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bb_vyos::{Endpoint, Secret, Trust};
use k8s_openapi::api::core::v1::Secret as Entries;
use kube::api::Api;
use serde_json::json;

use super::connect;
use crate::checks::{Check, Subject, Verdict, examine};
use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::object::{at, joined, text};
use crate::out::{Format, Out};
use crate::remote::{asked, router};
use crate::session::{PATIENCE, Session};
use crate::start;
use crate::style::Tone;

const EXAMPLES: &str = "\
Examples:
  bbctl test-vyos r1
  bbctl test-vyos --kept r1
  bbctl test-vyos --endpoint https://192.0.2.1 --key-file key --ca-file ca.crt
  bbctl test-vyos --endpoint https://192.0.2.1 --key-file - --sha256 AB:CD:EF
  bbctl test-vyos r1 --ssh --ssh-key ~/.ssh/id_ed25519
  bbctl test-vyos --ssh=192.0.2.1 --ssh-password-file - \\
    --ssh-host-key SHA256:Ab1+

SSH is not needed: it is a way in for people, and is tried when a flag --ssh... is given. Nothing
secret is sent to a host key that is neither in ~/.ssh/known_hosts nor named.";

/// What `bbctl test-vyos` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The Provider that stands for the router
    #[arg(value_name = "PROVIDER", conflicts_with_all = ["endpoint", "key_file"])]
    pub provider: Option<String>,
    /// A router that `providers add` kept here, with its key; no cluster is asked then
    #[arg(long, value_name = "NAME", conflicts_with_all = ["provider", "endpoint"])]
    pub kept: Option<String>,
    /// The router's address, https://HOST[:PORT]; no cluster is asked then
    #[arg(long, value_name = "URL", requires = "key_file")]
    pub endpoint: Option<String>,
    /// A file that holds the API key, or `-` for standard input
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub key_file: Option<PathBuf>,
    /// A file that holds the CA of the router's certificate
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "sha256",
        requires = "endpoint"
    )]
    pub ca_file: Option<PathBuf>,
    /// The SHA-256 fingerprint of the router's certificate
    #[arg(long, value_name = "FINGERPRINT", requires = "endpoint")]
    pub sha256: Option<String>,
    /// The namespace of the Provider's Secrets
    #[arg(long, value_name = "NAME", default_value = "bitbuilder-system")]
    pub secrets: String,
    /// Whether and how to log in by SSH
    #[command(flatten)]
    pub ssh: asked::SshArgs,
}

/// Looks at the router and tells what passes.
///
/// # Errors
/// When it cannot be told where the router is and how to speak to it. A check that fails is no
/// error: it is told, and the exit code is 1.
pub async fn run(args: &Args, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    let patience = globals
        .timeout
        .filter(|time| !time.is_zero())
        .unwrap_or(PATIENCE);
    let subject = match (&args.kept, &args.provider, &args.endpoint) {
        (Some(name), ..) => Some(by_kept(name, out).await?),
        (None, Some(name), _) => {
            Some(by_provider(name, &args.secrets, &connect(globals, out).await?).await?)
        }
        (None, None, Some(url)) => Some(by_flags(args, url, out).await?),
        (None, None, None) if args.ssh.names_host() => None,
        (None, None, None) => {
            return Err(Failure::usage(
                "say which router: a PROVIDER, --kept NAME, --endpoint URL, or --ssh=HOST",
            )
            .hint("as in `bbctl test-vyos r1`"));
        }
    };
    let url = subject.as_ref().map(|subject| subject.endpoint.url.clone());
    let login = args.ssh.subject(url.as_deref(), patience, out).await?;
    let name = match &subject {
        Some(subject) => subject.endpoint.name.clone(),
        None => login
            .as_ref()
            .map(|login| login.host.clone())
            .unwrap_or_default(),
    };
    let mut checks = match subject {
        Some(subject) => {
            examine(&Subject {
                patience,
                ..subject
            })
            .await
        }
        None => Vec::new(),
    };
    match &login {
        Some(login) => checks.extend(router::examine(login).await),
        None => checks.push(router::untried()),
    }
    tell(&name, &checks, out)?;
    match checks.iter().any(|check| check.status == Verdict::Fail) {
        false => Ok(Exit::Ok),
        true => Ok(Exit::Failure),
    }
}

/// A router of which nothing else is known.
fn alone(endpoint: Endpoint) -> Subject {
    Subject {
        endpoint,
        asn: None,
        router_id: None,
        patience: PATIENCE,
    }
}

async fn by_kept(name: &str, out: &mut Out) -> Result<Subject, Failure> {
    let (kept, mut secrets) = start::kept::open(name, "vyos", out).await?;
    let key = secrets.remove("key").ok_or_else(|| {
        Failure::new(Exit::Failure, format!("no key of {name} is kept"))
            .hint("add it again with `bbctl providers add`")
    })?;
    let trust = match &kept.ca_file {
        Some(path) => Trust::Ca(read(path.as_ref())?),
        None => Trust::Sha256(kept.sha256),
    };
    let endpoint = Endpoint {
        name: name.to_owned(),
        url: kept.endpoints.into_iter().next().unwrap_or_default(),
        key,
        trust,
    };
    Ok(alone(endpoint))
}

async fn by_flags(args: &Args, url: &str, out: &mut Out) -> Result<Subject, Failure> {
    if args.key_file.as_deref().is_some_and(asked::is_stdin) && args.ssh.reads_stdin() {
        return Err(
            Failure::usage("the API key and the password cannot both be standard input")
                .hint("put one of them into a file"),
        );
    }
    let key = match args.key_file.as_deref() {
        Some(path) if path.as_os_str() == "-" => out.read_stdin().await?,
        Some(path) => read(path)?,
        None => return Err(Failure::usage("--endpoint takes --key-file FILE as well")),
    };
    let trust = match (&args.ca_file, &args.sha256) {
        (Some(path), _) => Trust::Ca(read(path)?),
        (None, Some(pin)) => Trust::Sha256(vec![pin.clone()]),
        (None, None) => {
            return Err(Failure::usage("say how the certificate is judged")
                .hint("give --ca-file FILE or --sha256 FINGERPRINT"));
        }
    };
    let endpoint = Endpoint {
        name: url.to_owned(),
        url: url.to_owned(),
        key: Secret::new(key.trim()),
        trust,
    };
    Ok(alone(endpoint))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot read {}: {error}", path.display()),
        )
    })
}

async fn by_provider(name: &str, secrets: &str, session: &Session) -> Result<Subject, Failure> {
    let provider = session.get(Kind::parse("provider")?, name).await?;
    if at(&provider, "/spec/vyos").is_none() {
        return Err(Failure::usage(format!("provider {name} is no VyOS router"))
            .hint("see `bbctl get providers` for those that are"));
    }
    let secret = text(&provider, "/spec/vyos/credentials/secret");
    let key = entry(session, secrets, &secret, "key").await?;
    let trust = match text(&provider, "/spec/vyos/tls/caSecret") {
        none if none.is_empty() => {
            let pins = joined(&provider, "/spec/vyos/tls/sha256", "");
            Trust::Sha256(pins.split(',').map(str::to_owned).collect())
        }
        secret => Trust::Ca(entry(session, secrets, &secret, "ca.crt").await?),
    };
    // Who may not read the Region learns all the rest.
    let region = session
        .get(Kind::parse("region")?, &text(&provider, "/spec/region"))
        .await;
    let asn = region
        .ok()
        .and_then(|region| at(&region, "/spec/asn")?.as_i64());
    let url = text(&provider, "/spec/vyos/endpoint");
    let endpoint = Endpoint {
        name: name.to_owned(),
        url,
        key: Secret::new(key.trim()),
        trust,
    };
    let router_id = Some(text(&provider, "/spec/vyos/routerId"));
    Ok(Subject {
        asn,
        router_id,
        ..alone(endpoint)
    })
}

/// One entry of a Secret.
async fn entry(
    session: &Session,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<String, Failure> {
    let api: Api<Entries> = Api::namespaced(session.client(), namespace);
    let doing = format!("read the Secret {name} in namespace {namespace}");
    let secret = session
        .ask(&doing, api.get(name))
        .await
        .map_err(|failure| {
            let failure = Failure {
                hint: None,
                ..failure
            };
            failure.hint(
                "the Provider's Secrets are in the controller's namespace: name it with --secrets; \
             without the right to read them, use --endpoint and --key-file",
            )
        })?;
    let bytes = secret
        .data
        .unwrap_or_default()
        .remove(key)
        .map(|bytes| bytes.0);
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| {
        Failure::new(
            Exit::Failure,
            format!("the Secret {name} has no text under `{key}`"),
        )
        .hint(format!(
            "put it there: `kubectl create secret generic {name} -n {namespace} --from-file={key}`"
        ))
    })
}

fn tell(router: &str, checks: &[Check], out: &mut Out) -> Result<(), Failure> {
    match out.format() {
        Format::Json | Format::Yaml => {
            let map: BTreeMap<&str, &Check> =
                checks.iter().map(|check| (check.name, check)).collect();
            return out.document(&json!({"router": router, "checks": map}));
        }
        Format::Name => {
            let failed = checks.iter().filter(|check| check.status == Verdict::Fail);
            return failed
                .map(|check| check.name)
                .try_for_each(|name| out.line(name));
        }
        Format::Table | Format::Wide => {}
    }
    let names = checks.iter().map(|check| check.name.len());
    let widest = names.max().unwrap_or_default();
    let margin = " ".repeat(widest + 8);
    for check in checks {
        let (word, tone) = match check.status {
            Verdict::Pass => ("PASS", Tone::Good),
            Verdict::Fail => ("FAIL", Tone::Bad),
            Verdict::Skip => ("SKIP", Tone::Faint),
        };
        let word = out.paint(tone, word);
        let before = format!("{word}  {:<widest$}  ", check.name);
        out.text_behind(&before, margin.chars().count(), &check.detail)?;
        if let Some(remedy) = &check.remedy {
            out.text_under(&margin, &format!("remedy: {remedy}"))?;
        }
    }
    Ok(())
}
