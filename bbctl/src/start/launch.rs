//! Turns the name of an image into an instance that runs, and tells what was chosen and why.

use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use serde_json::json;

use super::choose::{self, Around, Asked, Home, Plan, Stock};
use super::keys;
use super::settings::{self, Reply};
use super::wishes::Wishes;
use crate::change::DryRun;
use crate::cli::Globals;
use crate::cmd::wait;
use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::kinds::Kind;
use crate::object::{self, Object};
use crate::out::Out;
use crate::resource::Target;
use crate::send::{self, Manner};
use crate::session::{Scope, Session};
use crate::watch::{self, Wanted};

/// A tenant has its namespace in seconds, or something is wrong.
const NAMESPACE: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "\
Examples:
  bbctl launch debian-12
  bbctl launch debian-12 --name www-1 --network web --memory 2Gi --yes
  bbctl launch alpine-3.20 --tenant acme --dry-run

What no flag says is chosen, and shown with where it comes from before anything is made.";

/// What `bbctl launch` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The image; see `spec.proxmox.images` of Providers
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Its name [default: after the image]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Whose it is; made if there is none of that name [default: the context's]
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// The Region of a new network
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// The network it is in; made if there is none of that name
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// The IPv4 prefix of a new network
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// What it is to be like
    #[command(flatten)]
    pub wishes: Wishes,
    /// Make nothing: `client` only shows, `server` lets the server judge as well
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "server", hide_possible_values = true)]
    pub dry_run: Option<DryRun>,
    /// Do not wait until it is ready
    #[arg(long)]
    pub no_wait: bool,
}

impl Args {
    fn asked(&self, globals: &Globals) -> Asked {
        let flags = [
            ("name", &self.name),
            ("tenant", &self.tenant),
            ("region", &self.region),
            ("network", &self.network),
            ("prefix", &self.prefix),
        ];
        let mut asked = self.wishes.asked(&flags, globals);
        asked.say("image", Some(&self.image), "argument");
        asked
    }
}

/// Chooses, shows, asks, makes and waits.
///
/// # Errors
/// When it cannot be, is not confirmed, or the server refuses it.
pub async fn run(
    args: &Args,
    globals: &Globals,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    if let (Some(one), Some(other)) = (&args.tenant, &globals.namespace)
        && one != other
    {
        return Err(
            Failure::usage(format!("--tenant says {one} and --namespace says {other}"))
                .hint("leave one of the two out"),
        );
    }
    let mut asked = args.asked(globals);
    let around = around(session, out).await?;
    loop {
        let home = choose::home(&asked, &around)?;
        let plan = choose::choose(&asked, &home, &stock(&asked, &home, session, out).await?)?;
        if let Some(dry_run) = args.dry_run {
            return show(&plan, &home, dry_run, session, out).await;
        }
        if args.wishes.yes {
            for line in settings::lines(&plan.settings) {
                out.note(&line);
            }
            return make(&plan, &home, args, globals.timeout, session, out).await;
        }
        match settings::ask(&plan.settings, "launch", out).await? {
            Reply::Go => return make(&plan, &home, args, globals.timeout, session, out).await,
            Reply::Change { setting, value } => asked.change(&setting, &value),
        }
    }
}

/// Nothing where it may not be seen.
fn seen<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.exit == Exit::Denied => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn names(objects: &[Object]) -> std::collections::BTreeSet<String> {
    objects
        .iter()
        .map(|object| object::name(object).to_owned())
        .collect()
}

async fn around(session: &Session, out: &Out) -> Result<Around, Failure> {
    let tenants = session.list(Kind::parse("tenants")?, &Scope::Everywhere, None);
    let api: Api<Namespace> = Api::all(session.client());
    let params = ListParams::default();
    let namespaces = session.ask("list namespaces", api.list(&params));
    let (tenants, namespaces) = futures::join!(tenants, namespaces);
    let namespaces = seen(namespaces)?.map(|list| {
        let names = list.items.into_iter().filter_map(|one| one.metadata.name);
        names.collect()
    });
    Ok(Around {
        namespace: session.namespace().to_owned(),
        user: out.env().get("USER").cloned().unwrap_or_default(),
        tenants: seen(tenants)?.map(|tenants| names(&tenants)),
        namespaces,
    })
}

async fn stock(asked: &Asked, home: &Home, session: &Session, out: &Out) -> Result<Stock, Failure> {
    let key = match asked.get("ssh-key") {
        Some(path) => Some(keys::read(Path::new(path))?),
        None => keys::of_home(out.env()),
    };
    let providers = session.list(Kind::parse("providers")?, &Scope::Everywhere, None);
    let providers = seen(providers.await)?;
    let mut stock = Stock {
        providers,
        key,
        ..Stock::default()
    };
    if !home.is_new {
        let scope = Scope::Namespace(home.setting.value.clone());
        let networks = session.list(Kind::parse("networks")?, &scope, None);
        let instances = session.list(Kind::parse("instances")?, &scope, None);
        let (networks, instances) = futures::try_join!(networks, instances)?;
        stock.instances = names(&instances);
        stock.networks = networks;
    }
    Ok(stock)
}

/// What a dry run does: the settings and manifests, judged by the server where it can.
async fn show(
    plan: &Plan,
    home: &Home,
    dry_run: DryRun,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let judged = judge(plan, home, dry_run, session).await?;
    if out.is_machine() {
        out.document(
            &json!({"settings": plan.settings, "manifests": plan.manifests,
            "judged": judged}),
        )?;
        return Ok(Exit::Ok);
    }
    for line in settings::lines(&plan.settings) {
        out.line(&line)?;
    }
    for manifest in &plan.manifests {
        let (target, _) = send::known(manifest)?;
        out.line(&format!("{} created (dry run)", target.label()))?;
    }
    if dry_run == DryRun::Server && !judged {
        out.note("the server judged the tenant alone: the rest needs its namespace");
    }
    Ok(Exit::Ok)
}

/// Lets the server judge what it can, and says whether that was all.
async fn judge(
    plan: &Plan,
    home: &Home,
    dry_run: DryRun,
    session: &Session,
) -> Result<bool, Failure> {
    if dry_run == DryRun::Client {
        return Ok(false);
    }
    for manifest in &plan.manifests {
        let (target, object) = send::known(manifest)?;
        if !home.is_new || target.namespace.is_none() {
            send::apply(&target, &object, "", Manner::default().tried(), session).await?;
        }
    }
    Ok(!home.is_new)
}

async fn make(
    plan: &Plan,
    home: &Home,
    args: &Args,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    // Before anything is made, so that a mistake leaves nothing half-made.
    judge(plan, home, DryRun::Server, session).await?;
    let began = Instant::now();
    let mut last = None;
    for manifest in &plan.manifests {
        let (target, object) = send::known(manifest)?;
        let sent = send::apply(&target, &object, "", Manner::default(), session).await?;
        let made = sent.object;
        out.note(&format!("{} created", target.label()));
        let wanted = Wanted::this(target.clone(), made.metadata.uid.clone());
        if target.is("Tenant") {
            let goal = Goal::ready();
            let outcomes = watch::until(vec![wanted], &goal, NAMESPACE, session, out).await?;
            if let Some(failure) = outcomes.into_iter().find_map(|outcome| outcome.failure) {
                return Err(failure);
            }
            out.note(&format!("{} ready: its namespace is there", target.label()));
            continue;
        }
        last = Some((target, wanted, made));
    }
    let Some((target, wanted, made)) = last else {
        return Err(Failure::new(Exit::Failure, "there is nothing to make"));
    };
    if args.no_wait {
        tell(plan, &target, &made, None, out)?;
        out.next(&format!("wait {}", target.words()));
        return Ok(Exit::Ok);
    }
    let timeout = timeout.unwrap_or(wait::PATIENCE);
    let outcomes = watch::until(vec![wanted], &Goal::ready(), timeout, session, out).await?;
    let Some(outcome) = outcomes.into_iter().next() else {
        return Err(Failure::new(Exit::Failure, "nothing was waited for"));
    };
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    let object = match outcome.object {
        Some(object) => object,
        None => {
            session
                .ask("read it", target.api(session).get(&target.name))
                .await?
        }
    };
    tell(plan, &target, &object, Some(began.elapsed()), out)?;
    next(&target, &object, out);
    Ok(Exit::Ok)
}

fn tell(
    plan: &Plan,
    target: &Target,
    object: &Object,
    took: Option<Duration>,
    out: &mut Out,
) -> Result<(), Failure> {
    if out.is_machine() {
        let word = if took.is_some() { "ready" } else { "created" };
        return out.document(&json!({"settings": plan.settings,
            "result": wait::result(target, word, Some(object)),
            "address": object::text(object, "/status/addresses/0/address"),
            "seconds": took.map(|took| took.as_secs_f64())}));
    }
    match took {
        Some(took) => out.line(&format!(
            "{} ready after {:.1} s",
            target.label(),
            took.as_secs_f64()
        )),
        None => out.line(&format!("{} created", target.label())),
    }
}

/// What to do with an instance that runs.
fn next(target: &Target, object: &Object, out: &mut Out) {
    let address = object::text(object, "/status/addresses/0/address");
    let namespace = target.namespace.as_deref().unwrap_or_default();
    let name = &target.name;
    let carried = out.carried().clone();
    let line = |words: &str| carried.command(&format!("bbctl {words}"));
    out.note(&format!("address: {address}"));
    out.note(&format!(
        "log in:  {}",
        line(&format!("instances ssh {name} -n {namespace}"))
    ));
    out.note(&format!(
        "look:    {}",
        line(&format!("describe instance {name} -n {namespace}"))
    ));
    out.note(&format!(
        "delete:  {}",
        line(&format!("delete instance {name} -n {namespace}"))
    ));
}
