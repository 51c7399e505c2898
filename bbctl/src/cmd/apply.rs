//! Turns files into objects on the server, field by field ours.

use std::time::Duration;

use clap::ValueEnum;
use kube::api::{Patch, PatchParams, ValidationDirective};
use serde_json::{Value, json};

use super::prune::{Flags, Pruning};
use super::{delete, plan, wait};
use crate::change::Writing;
use crate::confirm::Word;
use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::manifest::{Files, Manifest};
use crate::object::Object;
use crate::out::Out;
use crate::resource::{Resolver, Target};
use crate::results::Results;
use crate::session::Session;
use crate::set;
use crate::watch::{self, Wanted};

/// Under which name the server keeps which fields are ours.
pub const FIELD_OWNER: &str = "bbctl";

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
    /// Confirm what --prune deletes and is grave: tenant/NAME, or set/NAME for most of the set
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

/// How far a dry run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Nothing is written, and the server judges nothing
    Client,
    /// The server judges and stores nothing
    Server,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new.
    Created,
    /// It is another than before.
    Configured,
    /// It is as before.
    Unchanged,
    /// It could not be read before, so nobody knows.
    Applied,
}

impl Change {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Applied => "applied",
        }
    }
}

/// Applies everything in the order of the files, namespaces and definitions of kinds first.
///
/// # Errors
/// When the files cannot be read; then nothing is sent. An object that the server refuses is
/// reported, the others are applied.
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
            true => out.note("next: bbctl status"),
            false => out.note(&format!("next: bbctl wait {}", files.join(" "))),
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
    }
    if let Some(pruning) = &pruning {
        pruning.confirm(&args.confirm, &args.writing, out).await?;
    }
    Ok((manifests, pruning))
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
    let (force, dry_run) = (args.force_conflicts, args.writing.dry_run);
    let mut resolver = Resolver::default();
    let mut applied = Vec::new();
    let mut unrecorded = pruning;
    for manifest in manifests {
        if rank(manifest) == Rank::Other
            && let Some(pruning) = unrecorded.take()
        {
            pruning.begin(dry_run, session).await?;
        }
        let outcome = one(force, dry_run, manifest, &mut resolver, session).await;
        let (target, object, change) = match outcome {
            Ok(done) => done,
            Err(failure) => {
                results.fail(&failure, out);
                continue;
            }
        };
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
    force: bool,
    dry_run: Option<DryRun>,
    manifest: &Manifest,
    resolver: &mut Resolver,
    session: &Session,
) -> Result<(Target, Object, Change), Failure> {
    let target = resolver.target(manifest, session).await?;
    let mut object = manifest.object.clone();
    object.metadata.namespace = target.namespace.clone();
    let api = target.api(session);
    let doing = format!("apply {} of {}", target.label(), manifest.origin);
    let before = session.ask(&doing, api.get_opt(&target.name)).await;
    let before = match before {
        Ok(before) => Some(before),
        // Who may write and not read can still apply.
        Err(failure) if failure.exit == Exit::Denied => None,
        Err(failure) => return Err(failure),
    };
    if let Some(Some(before)) = &before
        && let Some(other) = set::stay(&mut object, before)
        && !force
    {
        let words = format!("cannot {doing}: it is in another set, {other}");
        return Err(Failure::new(Exit::Conflict, words)
            .hint("take it over with --force-conflicts, or leave it to that set"));
    }
    if dry_run == Some(DryRun::Client) {
        let change = match &before {
            Some(None) => Change::Created,
            _ => Change::Applied,
        };
        return Ok((target, object, change));
    }
    let params = PatchParams {
        force,
        dry_run: dry_run.is_some(),
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_OWNER)
    };
    let patch = Patch::Apply(&object);
    let answer = api.patch(&target.name, &params, &patch);
    let after = match session.ask(&doing, answer).await {
        // What `bbctl` itself set by another verb, such as `instances stop`, is no other's.
        Err(failure) if failure.exit == Exit::Conflict && is_our_own(&failure.message) => {
            let forced = params.clone().force();
            let answer = api.patch(&target.name, &forced, &patch);
            session.ask(&doing, answer).await?
        }
        answer => answer?,
    };
    let change = match &before {
        None => Change::Applied,
        Some(None) => Change::Created,
        Some(Some(before)) if said(before)? == said(&after)? => Change::Unchanged,
        Some(Some(_)) => Change::Configured,
    };
    Ok((target, after, change))
}

/// Whether all that an apply is in conflict with was set by bbctl.
fn is_our_own(message: &str) -> bool {
    let mut owners = message.split("conflict").skip(2).filter_map(|part| {
        let (before, rest) = part.split_once('"')?;
        ["s with ", " with "].contains(&before).then_some(())?;
        rest.split('"').next()
    });
    let first = owners.next();
    first == Some(FIELD_OWNER) && owners.all(|owner| owner == FIELD_OWNER)
}

/// What of an object people decide: all but status and the server's bookkeeping.
fn said(object: &Object) -> Result<Value, Failure> {
    let mut data = object.data.clone();
    if let Some(map) = data.as_object_mut() {
        map.remove("status");
    }
    let meta = &object.metadata;
    Ok(json!({
        "data": data,
        "labels": meta.labels,
        "annotations": meta.annotations,
        "finalizers": meta.finalizers,
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_with_ourselves_is_told_from_one_with_others() {
        let one = "cannot apply x: Apply failed with 1 conflict: conflict with \"bbctl\" using \
                   bitbuilder.cloud/v1alpha1: .spec.power";
        assert!(is_our_own(one));
        let other = one.replace("\"bbctl\"", "\"argocd\"");
        assert!(!is_our_own(&other));
        let two = "cannot apply x: Apply failed with 2 conflicts: conflicts with \"argocd\": - .a \
                   conflicts with \"bbctl\" using v1: - .spec.power";
        assert!(!is_our_own(two));
        let both = two.replace("argocd", "bbctl");
        assert!(is_our_own(&both));
        assert!(!is_our_own("cannot apply x: the object has been modified"));
    }
}
