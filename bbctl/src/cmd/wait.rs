//! Turns objects and a goal into the news that they have reached it, or a failure that says why not.

use std::time::Duration;

use serde_json::json;

use super::scope;
use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::manifest::Files;
use crate::object::{self, Object};
use crate::out::{Format, Out};
use crate::resource::{Resolver, Target};
use crate::select::Selection;
use crate::session::Session;
use crate::watch::{self, Wanted};

/// How long a state may take unless a flag says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(300);

const EXAMPLES: &str = "\
Examples:
  bbctl wait instance/www-1
  bbctl wait networks web db --for=condition=Programmed --timeout=2m
  bbctl wait -f examples/acme
  bbctl wait tenant acme --for=delete --timeout=10m";

/// What `bbctl wait` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// KIND NAME..., KIND/NAME..., or with --all KIND
    #[arg(value_name = "KIND NAME")]
    pub words: Vec<String>,
    /// What to wait for: condition=TYPE, condition=TYPE=STATUS, or delete
    #[arg(long = "for", value_name = "GOAL", value_parser = Goal::parse)]
    #[arg(default_value = "condition=Ready")]
    pub goal: Goal,
    /// What the files describe
    #[command(flatten)]
    pub files: Files,
    /// All objects of the kind that there are
    #[arg(long)]
    pub all: bool,
    /// In all namespaces
    #[arg(short = 'A', long, requires = "all")]
    pub all_namespaces: bool,
}

/// Waits until all of them have reached the goal.
///
/// # Errors
/// When nothing can be watched; each object that does not reach the goal is reported.
pub async fn run(
    args: &Args,
    asked: Option<&str>,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let targets = targets(args, asked, session, out).await?;
    let wanted = targets.into_iter().map(Wanted::any).collect();
    let timeout = timeout.unwrap_or(PATIENCE);
    let outcomes = watch::until(wanted, &args.goal, timeout, session, out).await?;
    report(outcomes, &args.goal, out)
}

async fn targets(
    args: &Args,
    asked: Option<&str>,
    session: &Session,
    out: &mut Out,
) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    if !args.files.is_empty() {
        let mut resolver = Resolver::default();
        for manifest in args.files.read(asked, out).await? {
            let target = resolver.target(&manifest, session).await?;
            // Of other kinds, nobody knows whether they ever say that they are ready.
            if target.kind.is_some() || args.goal == Goal::Deleted {
                targets.push(target);
            }
        }
        if args.words.is_empty() {
            return Ok(targets);
        }
    }
    match Selection::parse(&args.words)? {
        Selection::Named(names) => {
            targets.extend(
                names
                    .iter()
                    .map(|(kind, name)| Target::known(kind, name, session)),
            );
        }
        Selection::All(kinds) if args.all => {
            let scope = scope(args.all_namespaces, session);
            for kind in kinds {
                for object in session.list(kind, &scope, None).await? {
                    let mut target = Target::known(kind, object::name(&object), session);
                    target.namespace = object.metadata.namespace;
                    targets.push(target);
                }
            }
        }
        Selection::All(_) => {
            return Err(Failure::usage("say which: a NAME after the KIND, or --all"));
        }
    }
    Ok(targets)
}

/// Writes how each ended, and says how all did.
///
/// # Errors
/// When stdout is closed.
pub fn report(outcomes: Vec<watch::Outcome>, goal: &Goal, out: &mut Out) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    let mut results = Vec::new();
    for watch::Outcome {
        target,
        object,
        failure,
    } in outcomes
    {
        let word = match &failure {
            None => goal.reached(),
            Some(_) => "failed".to_owned(),
        };
        match (out.format(), &failure) {
            (Format::Json | Format::Yaml, _) => {
                results.push(result(&target, &word, object.as_ref()));
            }
            (Format::Name, None) => out.line(&target.full_name())?,
            (_, None) => out.line(&format!("{} {word}", target.label()))?,
            (_, Some(_)) => {}
        }
        if let Some(failure) = failure {
            out.report(&failure);
            exit = exit.and(failure.exit);
        }
    }
    if out.is_machine() {
        out.document(&json!({"results": results}))?;
    }
    Ok(exit)
}

/// As [`report`], for a verb that has already written its one document where one was asked for.
///
/// # Errors
/// When stdout is closed.
pub fn close(outcomes: Vec<watch::Outcome>, goal: &Goal, out: &mut Out) -> Result<Exit, Failure> {
    if !out.is_machine() {
        return report(outcomes, goal, out);
    }
    let mut exit = Exit::Ok;
    for failure in outcomes.into_iter().filter_map(|outcome| outcome.failure) {
        out.report(&failure);
        exit = exit.and(failure.exit);
    }
    Ok(exit)
}

/// What became of one object, for programs.
#[must_use]
pub fn result(target: &Target, word: &str, object: Option<&Object>) -> serde_json::Value {
    let mut result = json!({
        "kind": target.resource.kind,
        "name": target.name,
        "result": word,
    });
    if let Some(namespace) = &target.namespace {
        result["namespace"] = json!(namespace);
    }
    if let Some(object) = object.filter(|_| target.kind.is_some()) {
        let health = object::health(object);
        result["ready"] = json!(health.ready.word());
        result["reason"] = json!(health.reason);
        result["message"] = json!(health.message);
    }
    result
}
