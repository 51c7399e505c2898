//! Turns a router or cluster and its credentials into a Provider, its Secret, and files of one's own.
//!
//! No secret is ever a flag's value: who lists processes would read it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bb_vyos::Secret;
use k8s_openapi::api::core::v1::Secret as Entries;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Map, Value, json};
use toml_edit::{DocumentMut, Item, Table};

use super::settings::{self, Reply, Setting};
use super::vault::{CREDENTIALS, Opener, Vault};
use super::{hidden, place};
use crate::change::{DryRun, FIELD_OWNER, Writing};
use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::out::Out;
use crate::send::{self, Manner};
use crate::session::Session;

/// The file of providers, in the user's folder.
pub const PROVIDERS: &str = "providers.toml";

const EXAMPLES: &str = "\
Examples:
  bbctl providers add r1 --vyos https://192.0.2.1 --key-file r1.key \\
    --sha256 AB:CD:EF --region home --router-id 10.255.0.1 --apply
  bbctl providers add c1 --proxmox https://192.0.2.11:8006 --token-file - \\
    --ca-file ca.pem --region home --vmids 100000-199999 --pool bitbuilder --dry-run

Credentials are kept sealed in ~/.bbctl; BBCTL_PASSPHRASE_FILE or BBCTL_KEY_FILE
name what opens them, else you are asked.";

/// What `bbctl providers add` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(override_usage = "bbctl providers add [OPTIONS] --region NAME --vyos|--proxmox URL NAME")]
#[command(group = clap::ArgGroup::new("form").required(true).args(["vyos", "proxmox"]))]
pub struct AddArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A VyOS router's API, https://HOST[:PORT]
    #[arg(long, value_name = "URL", requires = "router_id")]
    pub vyos: Option<String>,
    /// A node of a Proxmox VE cluster, https://HOST:8006; may be repeated
    #[arg(long, value_name = "URL", requires_all = ["vmids", "pool"])]
    pub proxmox: Vec<String>,
    /// The Region that it belongs to
    #[arg(long, value_name = "NAME")]
    pub region: String,
    /// The zone that it stands in
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub zone: String,
    /// A file with the router's API key, or `-` for standard input [default: ask]
    #[arg(long, value_name = "FILE", conflicts_with = "proxmox")]
    pub key_file: Option<PathBuf>,
    /// A file with a token, USER@REALM!NAME=SECRET, or `-` [default: ask]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vyos", "user"])]
    pub token_file: Option<PathBuf>,
    /// A user of the cluster, USER@REALM, in place of a token
    #[arg(long, value_name = "USER", conflicts_with = "vyos")]
    pub user: Option<String>,
    /// A file with that user's password, or `-` [default: ask]
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// A SHA-256 fingerprint of its certificate; may be repeated
    #[arg(long, value_name = "FINGERPRINT", required_unless_present = "ca_file")]
    pub sha256: Vec<String>,
    /// A file with the CA of its certificate
    #[arg(long, value_name = "FILE", conflicts_with = "sha256")]
    pub ca_file: Option<PathBuf>,
    /// The router's loopback address
    #[arg(long, value_name = "ADDRESS")]
    pub router_id: Option<String>,
    /// The cluster's VMIDs to give out
    #[arg(long, value_name = "FIRST-LAST")]
    pub vmids: Option<String>,
    /// The cluster's pool for guests
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
    /// The VMID that volumes are allocated under
    #[arg(long, value_name = "VMID")]
    pub holder: Option<u32>,
    /// A storage by the name that tenants use: CLASS=STORAGE; may be repeated
    #[arg(long = "storage", value_name = "CLASS=STORAGE")]
    pub storages: Vec<String>,
    /// An image by the name that tenants use: NAME=TEMPLATE; may be repeated
    #[arg(long = "image", value_name = "NAME=VMID")]
    pub images: Vec<String>,
    /// Make the Provider and its Secret in the cluster without asking
    #[arg(long, conflicts_with = "no_apply")]
    pub apply: bool,
    /// Only write the files
    #[arg(long)]
    pub no_apply: bool,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
    /// The namespace that the controller reads Secrets in
    #[arg(long, value_name = "NAME", default_value = "bitbuilder-system")]
    pub system: String,
}

/// Keeps a provider, and makes it in the cluster where that is confirmed.
///
/// # Errors
/// When something is missing, refused or cannot be written.
pub async fn add(args: &AddArgs, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    let ca = match &args.ca_file {
        None => None,
        Some(path) => Some(place::must_read(path)?),
    };
    let manifest = manifest(args)?;
    let to_cluster = to_cluster(args, out).await?;
    let session = match to_cluster {
        true => Some(Session::open(&globals.connection(), out.env()).await?),
        false => None,
    };
    let (target, object) = send::known(&manifest)?;
    if let Some(session) = &session {
        // A Provider that the server refuses leaves nothing behind here either.
        send::apply(&target, &object, "", Manner::default().tried(), session).await?;
    }
    if args.writing.dry_run.is_some() {
        let word = match args.no_apply {
            true => "would be kept (dry run)",
            false => "would be kept and applied (dry run)",
        };
        return tell(args, word, out);
    }
    let secrets = credentials(args, out).await?;
    keep(args, &secrets, out).await?;
    let Some(session) = session else {
        return tell(args, "kept", out);
    };
    secret(&args.name, &args.system, &entries(&secrets), &session).await?;
    if let Some(ca) = ca {
        let entries = BTreeMap::from([("ca.crt".to_owned(), ca)]);
        secret(
            &format!("{}-ca", args.name),
            &args.system,
            &entries,
            &session,
        )
        .await?;
    }
    send::apply(&target, &object, "", Manner::default(), &session).await?;
    tell(args, "kept and applied", out)?;
    out.next(&format!("wait provider/{}", args.name));
    Ok(Exit::Ok)
}

fn tell(args: &AddArgs, word: &str, out: &mut Out) -> Result<Exit, Failure> {
    let folder = place::folder(out.env())?;
    if out.is_machine() {
        out.document(&json!({"provider": args.name, "result": word, "folder": folder}))?;
    } else {
        out.line(&format!("provider/{} {word}", args.name))?;
    }
    Ok(Exit::Ok)
}

/// Whether it is made in the cluster as well: as flags say, else as a person does.
async fn to_cluster(args: &AddArgs, out: &mut Out) -> Result<bool, Failure> {
    if let Some(dry_run) = args.writing.dry_run {
        return Ok(dry_run == DryRun::Server && !args.no_apply);
    }
    if args.apply || args.no_apply || args.writing.yes {
        return Ok(!args.no_apply);
    }
    let form = if args.vyos.is_some() {
        "VyOS router"
    } else {
        "Proxmox VE cluster"
    };
    let settings = [
        Setting::new("provider", &args.name, form),
        Setting::new(
            "secret",
            &args.name,
            format!("in namespace {}", args.system),
        ),
    ];
    if !out.can_ask() {
        return Err(
            Failure::usage("nobody can be asked whether to make it in the cluster")
                .hint("say so with --apply, or only write the files with --no-apply"),
        );
    }
    loop {
        match settings::ask(&settings, "make it in the cluster", out).await? {
            Reply::Go => return Ok(true),
            Reply::Change { setting, .. } => {
                out.say(&format!("{setting} is changed by flags"));
            }
        }
    }
}

/// Asks for or reads what opens the router or cluster, by entry of the Secret.
async fn credentials(
    args: &AddArgs,
    out: &mut Out,
) -> Result<BTreeMap<&'static str, Secret>, Failure> {
    let (entry, what, file, flag) = match (&args.vyos, &args.user) {
        (Some(_), _) => ("key", "the API key", &args.key_file, "--key-file"),
        (None, Some(_)) => (
            "password",
            "the password",
            &args.password_file,
            "--password-file",
        ),
        (None, None) => ("token", "the token", &args.token_file, "--token-file"),
    };
    let secret = match file {
        Some(path) => hidden::read(path, what, out).await?,
        None => hidden::ask(what, flag, out).await?,
    };
    let mut all = BTreeMap::from([(entry, secret)]);
    if let Some(user) = &args.user {
        all.insert("username", Secret::new(user));
    }
    Ok(all)
}

fn entries(secrets: &BTreeMap<&'static str, Secret>) -> BTreeMap<String, String> {
    let pair =
        |(entry, secret): (&&str, &Secret)| ((*entry).to_owned(), secret.reveal().to_owned());
    secrets.iter().map(pair).collect()
}

/// What opens the vault: a file that the environment names, else what a person types.
///
/// # Errors
/// When there is neither.
pub async fn opener(is_new: bool, out: &mut Out) -> Result<Opener, Failure> {
    let named = |name: &str| {
        let value = out.env().get(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let (key, words) = (named("BBCTL_KEY_FILE"), named("BBCTL_PASSPHRASE_FILE"));
    if let Some(path) = key {
        return Ok(Opener::KeyFile(
            hidden::read(&path, "the key file", out).await?,
        ));
    }
    if let Some(path) = words {
        return Ok(Opener::Passphrase(
            hidden::read(&path, "the passphrase", out).await?,
        ));
    }
    let flag = "BBCTL_PASSPHRASE_FILE or BBCTL_KEY_FILE";
    let words = hidden::ask("passphrase of your credentials", flag, out).await?;
    if is_new && hidden::ask("the same again", flag, out).await? != words {
        return Err(Failure::usage(
            "the two are not the same: nothing was written",
        ));
    }
    Ok(Opener::Passphrase(words))
}

/// Writes the provider and its sealed secrets into the user's folder.
async fn keep(
    args: &AddArgs,
    secrets: &BTreeMap<&'static str, Secret>,
    out: &mut Out,
) -> Result<(), Failure> {
    let folder = place::folder(out.env())?;
    let path = folder.join(CREDENTIALS);
    let is_new = Vault::parse(place::read(&path)?.as_deref(), &path)?
        .lock()
        .is_none();
    let opener = opener(is_new, out).await?;
    // Read anew under the lock: another may have written while a person typed.
    let held = place::hold(&folder)?;
    place::private(&path)?;
    let mut vault = Vault::parse(place::read(&path)?.as_deref(), &path)?;
    let key = vault.open(&opener, &path)?;
    vault.put(&key, &args.name, secrets)?;
    let known = held.path(PROVIDERS);
    let text = with(place::read(&known)?.as_deref(), args, &known)?;
    // The secrets first: a provider that is listed has them.
    held.write(CREDENTIALS, vault.text().as_bytes())?;
    held.write(PROVIDERS, text.as_bytes())
}

/// The file of providers with one more, or with that one anew.
fn with(text: Option<&str>, args: &AddArgs, path: &Path) -> Result<String, Failure> {
    let text = text.unwrap_or("# Written by bbctl. There are no secrets in here.\n");
    let mut document: DocumentMut = text.parse().map_err(|_| {
        Failure::new(
            Exit::Failure,
            format!("{} is not what bbctl wrote", path.display()),
        )
        .hint("put back a copy of it, or move it away and add the providers again")
    })?;
    let mut table = Table::new();
    let urls: Vec<&String> = args.vyos.iter().chain(&args.proxmox).collect();
    let list = |texts: &[&String]| -> Item {
        let array: toml_edit::Array = texts.iter().map(|text| text.as_str()).collect();
        toml_edit::value(array)
    };
    let form = if args.vyos.is_some() {
        "vyos"
    } else {
        "proxmox"
    };
    table["type"] = toml_edit::value(form);
    table["endpoints"] = list(&urls);
    table["region"] = toml_edit::value(args.region.as_str());
    table["zone"] = toml_edit::value(args.zone.as_str());
    match &args.ca_file {
        Some(file) => table["ca_file"] = toml_edit::value(file.display().to_string()),
        None => table["sha256"] = list(&args.sha256.iter().collect::<Vec<_>>()),
    }
    let all = document.entry("provider").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    all[args.name.as_str()] = Item::Table(table);
    Ok(document.to_string())
}

async fn secret(
    name: &str,
    namespace: &str,
    entries: &BTreeMap<String, String>,
    session: &Session,
) -> Result<(), Failure> {
    let api: Api<Entries> = Api::namespaced(session.client(), namespace);
    let object = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace}, "stringData": entries});
    let params = PatchParams::apply(FIELD_OWNER);
    let patch = Patch::Apply(&object);
    let doing = format!("write the Secret {name} in namespace {namespace}");
    session
        .ask(&doing, api.patch(name, &params, &patch))
        .await
        .map(drop)
}

/// The Provider.
fn manifest(args: &AddArgs) -> Result<Value, Failure> {
    let tls = match &args.ca_file {
        Some(_) => json!({"caSecret": format!("{}-ca", args.name)}),
        None => json!({"sha256": args.sha256}),
    };
    let credentials = json!({"secret": args.name});
    let (form, spec) = match &args.vyos {
        Some(url) => (
            "vyos",
            json!({"endpoint": url, "credentials": credentials, "tls": tls,
                "routerId": args.router_id}),
        ),
        None => {
            let mut spec = json!({"endpoints": args.proxmox, "credentials": credentials,
                "tls": tls, "vmids": args.vmids, "pool": args.pool});
            if let Some(holder) = args.holder {
                spec["holder"] = json!(holder);
            }
            spec["storage"] = pairs(&args.storages, "--storage", |class, storage| {
                Some(json!({"name": class, "storage": storage}))
            })?;
            spec["images"] = pairs(&args.images, "--image", |name, template| {
                Some(json!({"name": name, "template": template.parse::<u32>().ok()?}))
            })?;
            ("proxmox", spec)
        }
    };
    let mut whole = Map::new();
    whole.insert("region".to_owned(), json!(args.region));
    whole.insert("zone".to_owned(), json!(args.zone));
    whole.insert(form.to_owned(), spec);
    Ok(
        json!({"apiVersion": format!("{}/{}", bb_crds::GROUP, bb_crds::VERSION),
        "kind": "Provider", "metadata": {"name": args.name}, "spec": whole}),
    )
}

fn pairs(
    said: &[String],
    flag: &str,
    make: impl Fn(&str, &str) -> Option<Value>,
) -> Result<Value, Failure> {
    let each = said.iter().map(|text| {
        let made = text
            .split_once('=')
            .and_then(|(name, value)| make(name, value));
        made.ok_or_else(|| {
            Failure::usage(format!("`{text}` is not what {flag} takes"))
                .hint("as in `--storage ssd=ceph-ssd`, `--image debian-12=9000`")
        })
    });
    each.collect::<Result<Vec<_>, _>>().map(Value::Array)
}
