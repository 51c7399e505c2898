//! Turns objects into objects that are gone, after whoever asks for it has confirmed it.

use std::time::Duration;

use kube::api::{DeleteParams, Preconditions};

use super::apply::DryRun;
use super::wait;
use crate::change::Writing;
use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::gravity::{Consequence, Gravity, weigh};
use crate::manifest::Files;
use crate::object::Object;
use crate::out::Out;
use crate::resource::{Resolver, Target};
use crate::results::Results;
use crate::select::Selection;
use crate::session::Session;
use crate::watch::{self, Wanted};

const EXAMPLES: &str = "\
Examples:
  bbctl delete instance www-1
  bbctl delete instance/www-1 volume/data --yes --wait
  bbctl delete tenant acme --confirm=acme --cascade
  bbctl delete -f examples/acme --yes --confirm=acme --dry-run
  bbctl delete -k overlays/prod --yes --confirm=web --dry-run";

/// What `bbctl delete` takes.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// KIND NAME..., or KIND/NAME...
    #[arg(value_name = "KIND NAME")]
    pub words: Vec<String>,
    /// What the files describe
    #[command(flatten)]
    pub files: Files,
    /// How to go about it
    #[command(flatten)]
    pub flags: Flags,
}

/// How a deletion is gone about.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Confirm what is grave by its name: a Tenant, Region, Provider, a Network in use
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub confirm: Vec<String>,
    /// Delete what depends on it as well: what is in a Tenant, the instances in a Network
    #[arg(long)]
    pub cascade: bool,
    /// Wait until it is gone
    #[arg(long)]
    pub wait: bool,
    /// What is not there is no failure
    #[arg(long)]
    pub ignore_not_found: bool,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// An object that is there and what its deletion means.
pub(super) struct Doomed {
    pub(super) target: Target,
    pub(super) object: Object,
    pub(super) consequence: Consequence,
}

/// Deletes, after it was confirmed. What was read before the question is what is deleted: another
/// object of the same name is not.
///
/// # Errors
/// When it is not confirmed; then nothing is deleted. An object that the server refuses to
/// delete is reported, the others are deleted.
pub async fn run(
    args: &Args,
    asked: Option<&str>,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let dry_run = args.flags.writing.dry_run;
    let targets = targets(args, asked, session, out).await?;
    let mut results = Results::new(dry_run.is_some());
    let doomed = gather(&args.flags, &targets, &mut results, session, out).await?;
    if doomed.is_empty() && !out.is_machine() {
        return Ok(results.exit());
    }
    if dry_run.is_none() {
        confirm(&args.flags, &doomed.iter().collect::<Vec<_>>(), out).await?;
    }
    let mut leaving = Vec::new();
    for Doomed { target, object, .. } in doomed {
        match delete(dry_run, &target, &object, session).await {
            Ok(word) => {
                results.add(&target, word, None, out)?;
                if word == DELETING {
                    leaving.push(Wanted::this(target, object.metadata.uid));
                }
            }
            Err(failure) => results.fail(&failure, out),
        }
    }
    let exit = results.close(out)?;
    if dry_run.is_some() || leaving.is_empty() {
        return Ok(exit);
    }
    if !args.flags.wait {
        if !out.is_machine() {
            let words = leaving.first().map(Wanted::words).unwrap_or_default();
            out.note(&format!("next: bbctl wait {words} --for=delete"));
        }
        return Ok(exit);
    }
    Ok(exit.and(until_gone(leaving, timeout, session, out).await?))
}

/// Reads what is to be deleted, and with --cascade what depends on it. Something that depends on
/// an object and is not deleted with it ends the command before anything was deleted.
async fn gather(
    flags: &Flags,
    targets: &[Target],
    results: &mut Results,
    session: &Session,
    out: &mut Out,
) -> Result<Vec<Doomed>, Failure> {
    let doomed = look(flags, targets, results, session, out).await?;
    let mut more: Vec<Target> = Vec::new();
    let mut held = Vec::new();
    for one in &doomed {
        let Some(dependents) = &one.consequence.dependents else {
            continue;
        };
        match &dependents.cascade {
            Some(with) if flags.cascade => {
                let new = with.iter().filter(|target| !targets.contains(target));
                more.extend(new.cloned());
            }
            _ => held.push(one),
        }
    }
    if !held.is_empty() {
        return Err(depended_on(&held, true));
    }
    more.sort_by(|one, other| one.name.cmp(&other.name));
    more.dedup();
    // Those that depend on something go before it.
    let mut all = look(flags, &more, results, session, out).await?;
    all.extend(doomed);
    Ok(all)
}

/// `cascades` says whether there is a flag that takes along what depends on them.
pub(super) fn depended_on(held: &[&Doomed], cascades: bool) -> Failure {
    let mut sentences = Vec::new();
    let mut remedies = Vec::new();
    for one in held {
        let Some(dependents) = &one.consequence.dependents else {
            continue;
        };
        let place = crate::session::within(one.target.namespace.as_deref());
        sentences.push(format!(
            "{}{place}: {}",
            one.target.label(),
            dependents.words
        ));
        let remedy = match dependents.cascade {
            Some(_) if cascades => {
                format!("{}, or delete all of it with --cascade", dependents.remedy)
            }
            _ => dependents.remedy.to_owned(),
        };
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    Failure::new(
        Exit::Failure,
        format!("nothing was deleted: {}", sentences.join("; ")),
    )
    .hint(remedies.join("; "))
}

pub(super) const DELETED: &str = "deleted";
pub(super) const DELETING: &str = "deleting";

pub(super) async fn until_gone(
    leaving: Vec<Wanted>,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let timeout = timeout.unwrap_or(wait::PATIENCE);
    let outcomes = watch::until(leaving, &Goal::Deleted, timeout, session, out).await?;
    wait::close(outcomes, &Goal::Deleted, out)
}

async fn targets(
    args: &Args,
    asked: Option<&str>,
    session: &Session,
    out: &mut Out,
) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    let mut resolver = Resolver::default();
    if !args.files.is_empty() {
        for manifest in args.files.read(asked, out).await? {
            targets.push(resolver.target(&manifest, session).await?);
        }
        // What was made last goes first; namespaces and kinds, which take others along, go last.
        targets.reverse();
        targets.sort_by_key(|target| {
            ["Namespace", "CustomResourceDefinition"].contains(&target.resource.kind.as_str())
        });
    }
    if targets.is_empty() || !args.words.is_empty() {
        match Selection::parse(&args.words)? {
            Selection::Named(names) => {
                targets.extend(
                    names
                        .iter()
                        .map(|(kind, name)| Target::known(kind, name, session)),
                );
            }
            Selection::All(_) => {
                return Err(Failure::usage("say which: a NAME after the KIND")
                    .hint("to delete many, name them: KIND NAME NAME..., or -f FILE"));
            }
        }
    }
    Ok(targets)
}

/// Reads what is to be deleted, and what that means.
async fn look(
    flags: &Flags,
    targets: &[Target],
    results: &mut Results,
    session: &Session,
    out: &mut Out,
) -> Result<Vec<Doomed>, Failure> {
    let mut doomed = Vec::new();
    for target in targets {
        let doing = format!("look at {}", target.label());
        let api = target.api(session);
        let failure = match session.ask(&doing, api.get_opt(&target.name)).await {
            Ok(Some(object)) => {
                let consequence = weigh(target, &object, targets, session).await?;
                doomed.push(Doomed {
                    target: target.clone(),
                    object,
                    consequence,
                });
                continue;
            }
            Ok(None) if flags.ignore_not_found => continue,
            Ok(None) => watch::absent(target),
            Err(failure) => failure,
        };
        results.fail(&failure, out);
    }
    Ok(doomed)
}

/// Gets a yes for what is moderate and the name for what is severe, from flags or from a person.
pub(super) async fn confirm(
    flags: &Flags,
    doomed: &[&Doomed],
    out: &mut Out,
) -> Result<(), Failure> {
    let (severe, moderate): (Vec<_>, Vec<_>) = doomed
        .iter()
        .copied()
        .partition(|d| d.consequence.gravity == Gravity::Severe);
    let severe: Vec<&Doomed> = severe
        .into_iter()
        .filter(|d| !flags.confirm.contains(&d.target.name))
        .collect();
    let moderate = if flags.writing.yes {
        Vec::new()
    } else {
        moderate
    };
    if severe.is_empty() && moderate.is_empty() {
        return Ok(());
    }
    if !out.can_ask() {
        return Err(unconfirmed(&moderate, &severe));
    }
    for one in &moderate {
        out.say(&sentence(one));
    }
    if let [first, rest @ ..] = moderate.as_slice() {
        let what = match rest.len() {
            0 => first.target.label(),
            _ => format!("these {}", moderate.len()),
        };
        let answer = out.ask(&format!("Delete {what}? [y/N]")).await?;
        if !["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
            return Err(Failure::new(
                Exit::Failure,
                "not confirmed: nothing was deleted",
            ));
        }
    }
    for one in severe {
        out.say(&sentence(one));
        let name = &one.target.name;
        let answer = out
            .ask(&format!("Type `{name}` to delete {}:", one.target.label()))
            .await?;
        if answer.trim() != name {
            return Err(Failure::new(
                Exit::Failure,
                "not confirmed: nothing was deleted",
            ));
        }
    }
    Ok(())
}

pub(super) fn sentence(doomed: &Doomed) -> String {
    let place = crate::session::within(doomed.target.namespace.as_deref());
    let dependents = doomed.consequence.dependents.as_ref();
    let words = [
        doomed.consequence.words.as_str(),
        dependents.map_or("", |dependents| dependents.words.as_str()),
    ];
    let words: Vec<&str> = words
        .into_iter()
        .filter(|words| !words.is_empty())
        .collect();
    match words.is_empty() {
        true => format!("{}{place}", doomed.target.label()),
        false => format!("{}{place}: {}", doomed.target.label(), words.join("; ")),
    }
}

fn unconfirmed(moderate: &[&Doomed], severe: &[&Doomed]) -> Failure {
    let mut flags = Vec::new();
    if !moderate.is_empty() {
        flags.push("--yes".to_owned());
    }
    flags.extend(
        severe
            .iter()
            .map(|d| format!("--confirm={}", d.target.name)),
    );
    let all = moderate.iter().chain(severe);
    let all: Vec<String> = all.map(|doomed| sentence(doomed)).collect();
    Failure::usage(format!(
        "nobody can be asked whether to delete {}",
        all.join("; ")
    ))
    .hint(format!("confirm it with {}", flags.join(" ")))
}

async fn delete(
    dry_run: Option<DryRun>,
    target: &Target,
    object: &Object,
    session: &Session,
) -> Result<&'static str, Failure> {
    let only = Preconditions {
        uid: object.metadata.uid.clone(),
        ..Preconditions::default()
    };
    delete_if(dry_run, target, only, session).await
}

/// Deletes an object if it is still as the preconditions say.
pub(super) async fn delete_if(
    dry_run: Option<DryRun>,
    target: &Target,
    only: Preconditions,
    session: &Session,
) -> Result<&'static str, Failure> {
    if dry_run == Some(DryRun::Client) {
        return Ok(DELETED);
    }
    let params = DeleteParams {
        dry_run: dry_run.is_some(),
        preconditions: Some(only),
        ..DeleteParams::default()
    };
    let doing = format!("delete {}", target.label());
    let api = target.api(session);
    match session.ask(&doing, api.delete(&target.name, &params)).await {
        Ok(left) if left.is_right() => Ok(DELETED),
        // Without a finalizer, the object that comes back is already gone.
        Ok(left) => Ok(
            match left.left().and_then(|object| object.metadata.finalizers) {
                Some(finalizers) if !finalizers.is_empty() => DELETING,
                _ if target.resource.kind == "Namespace" => DELETING,
                _ => DELETED,
            },
        ),
        // Gone since we looked: that is what was asked for.
        Err(failure) if failure.exit == Exit::NotFound => Ok(DELETED),
        Err(failure) => Err(failure),
    }
}
