//! Turns a folder into a project: manifests of a tenant, a network and an instance, and the
//! settings that `bbctl apply` takes from there.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::choose::{self, Asked, Home, Plan, Stock};
use super::keys;
use super::place::{self, PROJECT};
use super::rights::{Action, may};
use super::settings::{self, Reply, Setting};
use super::wishes::Wishes;
use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::next::quoted;
use crate::object::{self, Object};
use crate::out::{Out, render_yaml};
use crate::session::{Scope, Session};

/// The folder of manifests in a project.
const MANIFESTS: &str = "manifests";
/// The image where nobody says what there is.
const IMAGE: &str = "debian-12";

const EXAMPLES: &str = "\
Examples:
  bbctl init
  bbctl init acme --image debian-12 --yes
  bbctl init --tenant acme --dry-run

Files that are there already are left as they are. In the folder, `apply` without -f
applies them.";

/// What `bbctl init` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The folder; made where there is none [default: the working folder]
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The image [default: the first that is offered, or debian-12]
    #[arg(long, value_name = "NAME")]
    pub image: Option<String>,
    /// What the instance is called [default: after the image]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The tenant [default: after the folder]
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// The Region of the network
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// What the network is called [default: net]
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// Its IPv4 prefix [default: 10.10.0.0/24]
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// What it is to be like
    #[command(flatten)]
    pub wishes: Wishes,
    /// Write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What the server says that matters to a project; it can be made without one.
#[derive(Default)]
struct Known {
    providers: Option<Vec<Object>>,
    /// Whether tenants may be made; none where nobody could be asked.
    may_make: Option<bool>,
}

/// Chooses, shows, asks and writes.
///
/// # Errors
/// When it cannot be, is not confirmed, or a file cannot be written.
pub async fn run(args: &Args, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    if dir.join(PROJECT).exists() {
        let said = format!(
            "{} is there already: nothing was changed",
            dir.join(PROJECT).display()
        );
        if out.is_machine() {
            out.document(&json!({"files": [], "settings": []}))?;
        }
        out.note(&said);
        return Ok(Exit::Ok);
    }
    let known = ask_server(globals, out).await;
    let mut asked = asked(args, globals, &dir, &known)?;
    loop {
        let plan = plan(&asked, &known, out)?;
        let files = files(&plan, known.may_make.unwrap_or(true))?;
        if args.dry_run {
            return tell(&plan.settings, &dir, &files, &[], out);
        }
        if !args.wishes.yes {
            match settings::ask(&plan.settings, "make the project", out).await? {
                Reply::Go => {}
                Reply::Change { setting, value } => {
                    asked.change(&setting, &value);
                    continue;
                }
            }
        } else if !out.is_machine() {
            for line in settings::lines(&plan.settings) {
                out.note(&line);
            }
        }
        let written = write(&dir, &files)?;
        tell(&plan.settings, &dir, &files, &written, out)?;
        let place = match &args.dir {
            Some(dir) => format!("cd {} && ", quoted(&[dir.display().to_string()])),
            None => String::new(),
        };
        let words = "apply --wait";
        out.next_line(&format!("{place}bbctl {words}"));
        return Ok(Exit::Ok);
    }
}

async fn ask_server(globals: &Globals, out: &mut Out) -> Known {
    let session = match Session::open(&globals.connection(), out.env()).await {
        Ok(session) => session,
        Err(failure) => {
            out.warn(&format!(
                "nothing was asked of a server: {}",
                failure.message
            ));
            return Known::default();
        }
    };
    let action = Action::ours("create", "tenants", None);
    let providers = session.list(Kind::called("Provider"), &Scope::Everywhere, None);
    let (providers, ruling) = futures::join!(providers, may(&action, &session));
    match ruling {
        Ok(ruling) => Known {
            providers: providers.ok(),
            may_make: Some(ruling.allowed),
        },
        Err(failure) => {
            out.warn(&format!(
                "what the server has is not known: {}",
                failure.message
            ));
            Known::default()
        }
    }
}

fn asked(args: &Args, globals: &Globals, dir: &Path, known: &Known) -> Result<Asked, Failure> {
    let flags = [
        ("image", &args.image),
        ("name", &args.name),
        ("tenant", &args.tenant),
        ("region", &args.region),
        ("network", &args.network),
        ("prefix", &args.prefix),
    ];
    let mut asked = args.wishes.asked(&flags, globals);
    let whole = std::path::absolute(dir).map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot find {}: {error}", dir.display()),
        )
    })?;
    let folder = whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let tenant = choose::new_tenant(&folder.unwrap_or_default(), None);
    asked.say("tenant", Some(&tenant), "after the folder");
    match image(known.providers.as_deref()) {
        Some(image) => asked.say("image", Some(&image), "the first that is offered"),
        None => asked.say("image", Some(IMAGE), "default, not checked"),
    }
    Ok(asked)
}

/// The first image for virtual machines that is offered, by name; else the first.
fn image(providers: Option<&[Object]>) -> Option<String> {
    let entries = providers?
        .iter()
        .flat_map(|p| object::list(p, "/spec/proxmox/images"));
    let mut all: Vec<(bool, String)> = entries
        .map(|entry| (!entry["archive"].is_null(), object::word(&entry["name"])))
        .collect();
    all.sort();
    all.into_iter().next().map(|(_, name)| name)
}

fn plan(asked: &Asked, known: &Known, out: &Out) -> Result<Plan, Failure> {
    let key = match asked.get("ssh-key") {
        Some(path) => Some(keys::read(Path::new(path))?),
        None => keys::of_home(out.env()),
    };
    let tenant = asked.get("tenant").unwrap_or_default();
    let home = Home {
        setting: asked
            .setting("tenant")
            .unwrap_or_else(|| Setting::new("tenant", tenant, "")),
        is_new: true,
    };
    let stock = Stock {
        providers: known.providers.clone(),
        key,
        ..Stock::default()
    };
    choose::choose(asked, &home, &stock)
}

/// The files of a project, those that others build on first, the project's own last.
fn files(plan: &Plan, tenant: bool) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut files = Vec::new();
    let mut namespace = String::new();
    for manifest in &plan.manifests {
        let kind = object::word(&manifest["kind"]);
        let name = object::word(&manifest["metadata"]["name"]);
        let (file, remark) = match kind.as_str() {
            "Tenant" => (
                "00-tenant.yaml",
                "A tenant, and the namespace that becomes its own.",
            ),
            "Network" => (
                "10-network.yaml",
                "A network; instances in it get their addresses here.",
            ),
            _ => (
                "20-instance.yaml",
                "An instance. `bbctl images list` shows what there is.",
            ),
        };
        let mut text = format!("# {remark}\n");
        if kind == "Tenant" {
            namespace.clone_from(&name);
            if !tenant {
                continue;
            }
            let offered: Value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata":
                {"name": name, "labels": {bb_crds::TENANT_LABEL: name}}});
            text.push_str(&format!("{}\n---\n", render_yaml(&offered)?.trim_end()));
        }
        text.push_str(&format!("{}\n", render_yaml(manifest)?.trim_end()));
        files.push((PathBuf::from(MANIFESTS).join(file), text));
    }
    let project = format!(
        "# What bbctl takes from this folder; see `bbctl config explain`.\n\
         namespace = \"{namespace}\"\nset = \"{namespace}\"\nfiles = [\"{MANIFESTS}\"]\n"
    );
    files.push((PathBuf::from(PROJECT), project));
    Ok(files)
}

/// Writes the files that are not there, the project's own last: where it is, all are.
fn write(dir: &Path, files: &[(PathBuf, String)]) -> Result<Vec<PathBuf>, Failure> {
    let folder = dir.join(MANIFESTS);
    std::fs::create_dir_all(&folder).map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot make {}: {error}", folder.display()),
        )
    })?;
    let mut written = Vec::new();
    for (path, text) in files {
        let whole = dir.join(path);
        if !whole.exists() {
            place::share(&whole, text.as_bytes())?;
            written.push(path.clone());
        }
    }
    Ok(written)
}

fn tell(
    settings: &[Setting],
    dir: &Path,
    files: &[(PathBuf, String)],
    written: &[PathBuf],
    out: &mut Out,
) -> Result<Exit, Failure> {
    let word = |path: &PathBuf| match (written.contains(path), dir.join(path).exists()) {
        (true, _) => "written",
        (false, true) => "kept",
        (false, false) => "written (dry run)",
    };
    if out.is_machine() {
        let files: Vec<Value> = files
            .iter()
            .map(|(path, _)| json!({"file": dir.join(path), "result": word(path)}))
            .collect();
        out.document(&json!({"settings": settings, "files": files}))?;
        return Ok(Exit::Ok);
    }
    if written.is_empty() {
        settings::lines(settings)
            .iter()
            .try_for_each(|line| out.line(line))?;
    }
    for (path, _) in files {
        out.line(&format!("{} {}", dir.join(path).display(), word(path)))?;
    }
    Ok(Exit::Ok)
}
