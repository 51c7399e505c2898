//! Turns files into objects on the server, field by field ours.

use std::time::Duration;

use super::prune::{Flags, Pruning};
use super::{delete, plan, wait};
use crate::change::Writing;
use crate::confirm::Word;
use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::kinds::Kind;
use crate::manifest::{Files, Manifest};
use crate::object::Object;
use crate::out::Out;
use crate::resource::{Resolver, Target};
use crate::results::Results;
use crate::send::{self, Manner, Sent, alters};
use crate::session::Session;
use crate::watch::{self, Wanted};

const EXAMPLES: &str = "\
Examples:
  bbctl apply -f examples/acme
  bbctl apply -f network.yaml -f instance.yaml --wait --timeout=10m
  bbctl apply -f network.yaml --dry-run=server
  bbctl apply -k overlays/prod --set prod --prune --dry-run=server
  bbctl apply -f examples/acme --set acme --prune --dry-run=server
  bbctl apply -f examples/acme --set acme --prune --yes --confirm=set/acme --wait
  bbctl apply -f examples/acme --plan 0c5ee3fd3c1b3e1a07d2f0c1c8a2b9e4
  bbctl get network web -o yaml | bbctl apply -f -

Of several objects, the server first tries those of our kinds that are there and get another spec:
one that it refuses ends it before anything is sent. New objects, other kinds and labels are judged
as they are sent, and so is everything where files define kinds.
Without -f: the `files` and the `set` that bitbuilder.toml of the working folder names.
Of a set are Instances, Volumes, Networks and Tenants; nothing else is ever pruned.";

/// What `bbctl apply` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What the files describe
    #[command(flatten)]
    pub files: Files,
    /// Wait until what was applied is ready
    #[arg(long)]
    pub wait: bool,
    /// Take over fields that someone else has set to another value
    #[arg(long)]
    pub force_conflicts: bool,
    /// What the files no longer have
    #[command(flatten)]
    pub pruning: Flags,
    /// Confirm what --prune deletes: tenant/NAME; set/NAME for most of a set, else objects/NUMBER
    #[arg(
        long,
        value_name = "KIND/NAME",
        value_delimiter = ',',
        requires = "prune"
    )]
    pub confirm: Vec<Word>,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
    /// Only if what `bbctl plan` showed under this hash is still what would happen
    #[arg(long, value_name = "HASH", conflicts_with = "dry_run")]
    pub plan: Option<String>,
}

impl Args {
    fn manner(&self) -> Manner {
        Manner {
            force: self.force_conflicts,
            dry_run: self.writing.dry_run,
            compares: false,
        }
    }
}

/// Applies everything in the order of the files, namespaces and definitions of kinds first.
///
/// # Errors
/// When the files cannot be read, or the server refuses a change that it judges beforehand; then
/// nothing is sent. What it refuses later is reported, the others are applied.
pub async fn run(
    args: &Args,
    asked: Option<&str>,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    if args.files.is_empty() {
        return Err(Failure::usage("say what to apply: -f FILE or -k DIR").hint(
            "as in `bbctl apply -f -`; without -f it takes a bitbuilder.toml in this folder, \
             which `bbctl init` makes",
        ));
    }
    let (manifests, pruning) = prepare(args, asked, timeout, session, out).await?;
    let dry_run = args.writing.dry_run;
    let mut results = Results::new(dry_run.is_some());
    let applied = all(
        args,
        &manifests,
        pruning.as_ref(),
        &mut results,
        session,
        out,
    )
    .await?;
    let leaving = match pruning {
        Some(pruning) => prune(args, pruning, &mut results, session, out).await,
        None => Vec::new(),
    };
    let exit = results.close(out)?;
    if dry_run.is_some() || (applied.is_empty() && leaving.is_empty()) {
        return Ok(exit);
    }
    if args.wait {
        let ready = until_ready(applied, timeout, session, out).await?;
        let gone = match leaving.is_empty() {
            true => Exit::Ok,
            false => delete::until_gone(leaving, timeout, session, out).await?,
        };
        return Ok(exit.and(ready).and(gone));
    }
    if !out.is_machine() && exit == Exit::Ok {
        let files = args.files.words();
        match files.iter().any(|file| file == "-f -") {
            true => out.next("status"),
            false => out.next(&format!("wait {}", files.join(" "))),
        }
    }
    Ok(exit)
}

/// Reads what is to be applied, finds what that leaves to delete, and gets both approved: nothing
/// was written when this fails.
async fn prepare(
    args: &Args,
    asked: Option<&str>,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<(Vec<Manifest>, Option<Pruning>), Failure> {
    let mut manifests = args.files.read(asked, out).await?;
    manifests.sort_by_key(rank);
    let is_pruned = args.pruning.prune;
    let pruning = match args.pruning.set(session)? {
        Some(set) => Some(Pruning::find(set, &mut manifests, is_pruned, session).await?),
        None => None,
    };
    if let Some(hash) = &args.plan {
        let doomed = pruning.as_ref().map(Pruning::targets).unwrap_or_default();
        let force = args.force_conflicts;
        let question = plan::question(&manifests, &doomed, force, session, out).await?;
        plan::unmoved(hash, question, timeout, session).await?;
    } else if args.writing.dry_run.is_none() {
        judge(&manifests, args.manner(), session).await?;
    }
    if let Some(pruning) = &pruning {
        pruning.confirm(&args.confirm, &args.writing, out).await?;
    }
    Ok((manifests, pruning))
}

/// Lets the server judge every change to the spec of an object of ours that is there, before any of
/// them is sent: a disk that would shrink, say, a prefix that would be another.
async fn judge(manifests: &[Manifest], manner: Manner, session: &Session) -> Result<(), Failure> {
    // Of one object alone nothing else is sent; with new definitions, old ones are no judges.
    if manifests.len() == 1 || manifests.iter().any(|one| rank(one) == Rank::Definition) {
        return Ok(());
    }
    let mut resolver = Resolver::default();
    let mut refused: Vec<Failure> = Vec::new();
    for manifest in manifests {
        let types = manifest.object.types.clone().unwrap_or_default();
        if Kind::of_manifest(&types.api_version, &types.kind).is_none() {
            continue;
        }
        let target = resolver.target(manifest, session).await?;
        let doing = format!("look at {}", target.label());
        let api = target.api(session);
        let before = match session.ask(&doing, api.get_opt(&target.name)).await {
            Ok(Some(before)) => before,
            Ok(None) => continue,
            // Who may write and not read can still apply; a kind that is not there is told then.
            Err(failure) if [Exit::Denied, Exit::NotFound].contains(&failure.exit) => continue,
            Err(failure) => return Err(failure),
        };
        if alters(&before, &manifest.object)
            && let Err(failure) = one(manner.tried(), manifest, &mut resolver, session).await
        {
            refused.push(failure);
        }
    }
    let Some(first) = refused.first() else {
        return Ok(());
    };
    let exit = refused
        .iter()
        .fold(Exit::Ok, |exit, one| exit.and(one.exit));
    let all: Vec<&str> = refused.iter().map(|one| one.message.as_str()).collect();
    let failure = Failure::new(exit, format!("nothing was applied: {}", all.join("; ")));
    Err(match first.hint.clone() {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// Applies one after the other; gives back those that can be waited for.
async fn all(
    args: &Args,
    manifests: &[Manifest],
    pruning: Option<&Pruning>,
    results: &mut Results,
    session: &Session,
    out: &mut Out,
) -> Result<Vec<Wanted>, Failure> {
    let manner = args.manner();
    let dry_run = manner.dry_run;
    let mut resolver = Resolver::default();
    let mut applied = Vec::new();
    let mut unrecorded = pruning;
    for manifest in manifests {
        if rank(manifest) == Rank::Other
            && let Some(pruning) = unrecorded.take()
        {
            pruning.begin(dry_run, session).await?;
        }
        let outcome = one(manner, manifest, &mut resolver, session).await;
        let (target, sent) = match outcome {
            Ok(done) => done,
            Err(failure) => {
                results.fail(&failure, out);
                continue;
            }
        };
        let Sent { object, change, .. } = sent;
        results.add(&target, change.word(), Some(&object), out)?;
        if rank(manifest) == Rank::Definition && dry_run.is_none() {
            established(&target, &object, session, out).await?;
        }
        if target.kind.is_some() {
            applied.push(Wanted::this(target, object.metadata.uid));
        }
    }
    Ok(applied)
}

/// Deletes what the files no longer have, once all of them are applied; gives back what is on its
/// way.
async fn prune(
    args: &Args,
    pruning: Pruning,
    results: &mut Results,
    session: &Session,
    out: &mut Out,
) -> Vec<Wanted> {
    if !args.pruning.prune {
        return Vec::new();
    }
    if results.exit() != Exit::Ok {
        out.note("nothing was deleted, since not all was applied");
        return Vec::new();
    }
    match pruning
        .finish(args.writing.dry_run, results, session, out)
        .await
    {
        Ok(leaving) => leaving,
        Err(failure) => {
            results.fail(&failure, out);
            Vec::new()
        }
    }
}

async fn until_ready(
    applied: Vec<Wanted>,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let goal = Goal::ready();
    let timeout = timeout.unwrap_or(wait::PATIENCE);
    let outcomes = watch::until(applied, &goal, timeout, session, out).await?;
    wait::close(outcomes, &goal, out)
}

/// What has to be there before other objects can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Namespace,
    Definition,
    Other,
}

fn rank(manifest: &Manifest) -> Rank {
    let types = manifest.object.types.as_ref();
    match types.map(|types| (types.api_version.as_str(), types.kind.as_str())) {
        Some(("v1", "Namespace")) => Rank::Namespace,
        Some(("apiextensions.k8s.io/v1", "CustomResourceDefinition")) => Rank::Definition,
        _ => Rank::Other,
    }
}

/// Applies one object, or asks the server what would come of it.
pub(super) async fn one(
    manner: Manner,
    manifest: &Manifest,
    resolver: &mut Resolver,
    session: &Session,
) -> Result<(Target, Sent), Failure> {
    let target = resolver.target(manifest, session).await?;
    let mut object = manifest.object.clone();
    object.metadata.namespace = target.namespace.clone();
    let of = format!(" of {}", manifest.origin);
    let sent = send::apply(&target, &object, &of, manner, session).await?;
    Ok((target, sent))
}

/// Waits until the server serves a kind that was just defined, as long as an answer may take.
async fn established(
    target: &Target,
    object: &Object,
    session: &Session,
    out: &mut Out,
) -> Result<(), Failure> {
    let goal = Goal::Condition {
        type_: "Established".to_owned(),
        status: "True".to_owned(),
    };
    let wanted = vec![Wanted::this(target.clone(), object.metadata.uid.clone())];
    let patience = crate::session::PATIENCE;
    let outcomes = watch::until(wanted, &goal, patience, session, out).await?;
    outcomes
        .into_iter()
        .find_map(|outcome| outcome.failure)
        .map_or(Ok(()), Err)
}
