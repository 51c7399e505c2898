//! Turns objects into objects that are gone, after whoever asks for it has confirmed it.

use std::time::Duration;

use kube::api::{DeleteParams, Preconditions};

use super::wait;
use crate::change::{DryRun, Writing};
use crate::confirm::{self, Asked, By, Said, Word, is_many};
use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::gravity::{Consequence, Dependents, Gravity, weigh};
use crate::manifest::Files;
use crate::object::{self, Object};
use crate::out::Out;
use crate::resource::{self, Resolver, Target};
use crate::results::Results;
use crate::select::Selection;
use crate::session::Session;
use crate::watch::{self, Wanted};

const EXAMPLES: &str = "\
Examples:
  bbctl delete instance www-1
  bbctl delete instance/www-1 volume/data --yes --wait
  bbctl delete tenant acme --confirm=tenant/acme --cascade
  bbctl delete -f examples/acme --confirm=namespace/acme,tenant/acme,objects/8 --dry-run
  bbctl delete -k overlays/prod --yes --confirm=network/web --dry-run

A yes is enough for up to three objects. More of them, and what is grave (a Tenant, a Region, a
Provider, a Network in use), are confirmed by a word: at the terminal it is asked for, else it is
--confirm=objects/NUMBER and --confirm=KIND/NAME; where two namespaces have one of that kind and
name, --confirm=NAMESPACE/KIND/NAME.";

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
    /// Confirm what is grave by kind and name, as in tenant/acme; more than three by objects/NUMBER
    #[arg(long, value_name = "KIND/NAME", value_delimiter = ',')]
    pub confirm: Vec<Word>,
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
/// delete is reported, the others are deleted, save those that it depends on.
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
        let asked = questions(&doomed.iter().collect::<Vec<_>>(), Many::ByNumber);
        let said = Said {
            yes: args.flags.writing.yes,
            words: &args.flags.confirm,
        };
        confirm::confirm(&asked, said, UNDONE, out).await?;
    }
    let leaving = all(&args.flags, &doomed, &mut results, session, out).await?;
    let exit = results.close(out)?;
    if dry_run.is_some() || leaving.is_empty() {
        return Ok(exit);
    }
    if !args.flags.wait {
        if !out.is_machine() {
            out.next(&format!(
                "wait {} --for=delete",
                waited(&args.files, &leaving)
            ));
        }
        return Ok(exit);
    }
    Ok(exit.and(until_gone(leaving, timeout, session, out).await?))
}

/// What `wait` is told to wait for all of them, or for the first where they are in many
/// namespaces.
fn waited(files: &Files, leaving: &[Wanted]) -> String {
    /// More than these are rather named by their files.
    const NAMED: usize = 5;
    let from = files.words();
    if leaving.len() > NAMED && !from.is_empty() && !from.contains(&"-f -".to_owned()) {
        return from.join(" ");
    }
    let words: Vec<String> = leaving.iter().map(Wanted::words).collect();
    let parts: Vec<(&str, &str)> = words
        .iter()
        .map(|one| one.split_once(' ').unwrap_or((one, "")))
        .collect();
    let place = parts.first().map(|(_, place)| *place).unwrap_or_default();
    let is_one = parts.iter().all(|(_, other)| *other == place);
    let named = parts.iter().map(|(label, _)| *label);
    let named: Vec<&str> = named.take(if is_one { parts.len() } else { 1 }).collect();
    format!("{} {place}", named.join(" ")).trim_end().to_owned()
}

/// Deletes one after the other; gives back those that are on their way. What an object that stays
/// depends on stays as well; one that could not be read before stays.
async fn all(
    flags: &Flags,
    doomed: &[Doomed],
    results: &mut Results,
    session: &Session,
    out: &mut Out,
) -> Result<Vec<Wanted>, Failure> {
    let dry_run = flags.writing.dry_run;
    let mut leaving = Vec::new();
    let mut going: Vec<Target> = doomed.iter().map(|one| one.target.clone()).collect();
    let mut all_go = results.exit() == Exit::Ok;
    for one in doomed {
        let target = &one.target;
        let done = match all_go {
            true => Ok(()),
            false => still_free(one, flags.cascade, &going, session).await,
        };
        let done = match done {
            Ok(()) => delete(dry_run, target, &one.object, session).await,
            Err(failure) => Err(failure),
        };
        match done {
            Ok(word) => {
                results.add(target, word, None, out)?;
                if word == DELETING {
                    let uid = one.object.metadata.uid.clone();
                    leaving.push(Wanted::this(target.clone(), uid));
                }
            }
            Err(failure) => {
                going.retain(|other| other != target);
                all_go = false;
                results.fail(&failure, out);
            }
        }
    }
    Ok(leaving)
}

/// Sees that nothing depends on an object that was to go before it and stayed.
async fn still_free(
    one: &Doomed,
    cascade: bool,
    going: &[Target],
    session: &Session,
) -> Result<(), Failure> {
    let now = weigh(&one.target, &one.object, going, session).await?;
    match now.dependents {
        // The server takes all of it along, as it was asked to.
        Some(Dependents {
            cascade: Some(with),
            ..
        }) if cascade && with.is_empty() => Ok(()),
        Some(dependents) => {
            let label = one.target.label();
            let words = format!("{label} was not deleted: {}", dependents.words);
            Err(Failure::new(Exit::Failure, words).hint("see to those first, and repeat"))
        }
        None => Ok(()),
    }
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
    resource::once(&mut more);
    // Those that depend on something go before it.
    let mut all = look(flags, &more, results, session, out).await?;
    if let Some(one) = all.iter().find(|one| is_protected(&one.object)) {
        let words = format!(
            "nothing was deleted: {}{} is protected from deletion, and would stay",
            one.target.label(),
            crate::session::within(one.target.namespace.as_deref())
        );
        return Err(Failure::new(Exit::Failure, words)
            .hint("set its spec.deletionProtection to false first"));
    }
    all.extend(doomed);
    Ok(all)
}

/// Whether its deletion does not go on before its protection is taken off.
pub(super) fn is_protected(object: &Object) -> bool {
    object::text(object, "/spec/deletionProtection") == "true"
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

pub(super) const UNDONE: &str = "nothing was deleted";
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
    resource::once(&mut targets);
    Ok(targets)
}

/// Reads what is to be deleted, and what that means. What could not be read is not deleted, and so
/// is not taken for leaving.
async fn look(
    flags: &Flags,
    targets: &[Target],
    results: &mut Results,
    session: &Session,
    out: &mut Out,
) -> Result<Vec<Doomed>, Failure> {
    let mut there = Vec::new();
    for target in targets {
        let doing = format!("look at {}", target.label());
        let api = target.api(session);
        let failure = match session.ask(&doing, api.get_opt(&target.name)).await {
            Ok(Some(object)) => {
                there.push((target.clone(), object));
                continue;
            }
            Ok(None) if flags.ignore_not_found => continue,
            Ok(None) => watch::absent(target),
            Err(failure) => failure,
        };
        results.fail(&failure, out);
    }
    let leaving: Vec<Target> = there.iter().map(|(target, _)| target.clone()).collect();
    let mut doomed = Vec::new();
    for (target, object) in there {
        let consequence = weigh(&target, &object, &leaving, session).await?;
        doomed.push(Doomed {
            target,
            object,
            consequence,
        });
    }
    Ok(doomed)
}

/// How many of moderate gravity are confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Many {
    /// More than a few, by their number.
    ByNumber,
    /// By a yes, however many: the name of their set is asked for as well.
    ByYes,
}

/// What has to be confirmed before they are deleted.
pub(super) fn questions(doomed: &[&Doomed], many: Many) -> Vec<Asked> {
    let (severe, moderate): (Vec<&Doomed>, Vec<&Doomed>) = doomed
        .iter()
        .copied()
        .partition(|one| one.consequence.gravity == Gravity::Severe);
    let count = moderate.len();
    let all = match moderate.as_slice() {
        [] => None,
        [one] => Some((one.target.label(), By::Yes)),
        _ if many == Many::ByNumber && is_many(count) => {
            Some((format!("these {count}"), By::Word(Word::count(count))))
        }
        _ => Some((format!("these {count}"), By::Yes)),
    };
    let all = all.map(|(what, by)| Asked {
        verb: "delete",
        what,
        means: moderate.iter().map(|one| sentence(one)).collect(),
        by,
    });
    let named = |one: &Doomed| Word::new(&one.target.resource.kind, &one.target.name);
    let each = severe.iter().map(|one| {
        let word = named(one);
        // One word confirms one object.
        let is_shared = severe.iter().filter(|other| named(other) == word).count() > 1;
        let word = match &one.target.namespace {
            Some(namespace) if is_shared => word.within(namespace),
            _ => word,
        };
        Asked {
            verb: "delete",
            what: one.target.label(),
            means: vec![sentence(one)],
            by: By::Word(word),
        }
    });
    all.into_iter().chain(each).collect()
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
