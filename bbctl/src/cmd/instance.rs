//! Turns `start`, `stop`, `restart` and `resize` into changes of an Instance's spec.

use std::time::Duration;

use serde_json::{Value, json};

use super::create::spec;
use super::wait;
use crate::change::{Changed, DryRun, Writing, change};
use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::kinds::Kind;
use crate::object::{self, Object, at, text};
use crate::out::Out;
use crate::resource::Target;
use crate::results::Results;
use crate::session::Session;
use crate::watch::{self, Wanted};

/// What `start`, `stop` and `restart` take.
#[derive(Debug, clap::Args)]
pub struct PowerArgs {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Wait until they are as asked
    #[arg(long)]
    pub wait: bool,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// What `resize` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl instances resize www-1 --cpu 4 --memory 8Gi
  bbctl instances resize www-1 --disk 40Gi --dry-run=server

CPUs and memory are in force after a restart; a disk grows at once and never shrinks.")]
pub struct ResizeArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Virtual CPUs
    #[arg(long, value_name = "NUMBER")]
    pub cpu: Option<u32>,
    /// Memory, such as 2Gi
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Root disk, such as 20Gi; it can only grow
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<String>,
    /// Wait until it is ready
    #[arg(long)]
    pub wait: bool,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// Whether an instance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It runs.
    Running,
    /// It is shut down.
    Stopped,
}

impl Power {
    const fn word(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Stopped => "Stopped",
        }
    }

    const fn coming(self) -> &'static str {
        match self {
            Self::Running => "starting",
            Self::Stopped => "stopping",
        }
    }

    /// What has to be written for it; nothing where it is asked for already.
    fn patch(self, instance: &Object) -> Option<Value> {
        let asked = text(instance, "/spec/power");
        (asked != self.word()).then(|| json!({"spec": {"power": self.word()}}))
    }
}

fn target(name: &str, session: &Session) -> Target {
    Target::known(Kind::called("Instance"), name, session)
}

/// Starts or stops instances.
///
/// # Errors
/// When stdout is closed or nothing can be watched; an instance that cannot be changed is
/// reported, the others are changed.
pub async fn switch(
    args: &PowerArgs,
    power: Power,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let dry_run = args.writing.dry_run;
    let decide = |instance: &Object| Ok(power.patch(instance));
    each(args, timeout, session, out, async |target, _| {
        let Changed { object, changed } = change(target, dry_run, session, decide).await?;
        let word = if changed { power.coming() } else { "unchanged" };
        Ok((word, object))
    })
    .await
}

/// Does something to each instance, tells what came of it, and waits where that was asked for.
async fn each(
    args: &PowerArgs,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
    mut act: impl AsyncFnMut(&Target, &mut Out) -> Result<(&'static str, Object), Failure>,
) -> Result<Exit, Failure> {
    let dry_run = args.writing.dry_run;
    let mut results = Results::new(dry_run.is_some());
    let mut wanted = Vec::new();
    for name in &args.names {
        let target = target(name, session);
        match act(&target, out).await {
            Ok((word, object)) => {
                results.add(&target, word, Some(&object), out)?;
                wanted.push(Wanted::this(target, object.metadata.uid));
            }
            Err(failure) => results.fail(&failure, out),
        }
    }
    let wait = args.wait && dry_run.is_none();
    finish(results, wanted, wait, timeout, session, out).await
}

/// Tells the results, and waits where that was asked for.
///
/// # Errors
/// When stdout is closed, or nothing can be watched.
pub async fn finish(
    results: Results,
    wanted: Vec<Wanted>,
    wait: bool,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let exit = results.exit();
    let words = wanted.first().map(Wanted::words);
    results.close(out)?;
    if wait && !wanted.is_empty() {
        let goal = Goal::ready();
        let timeout = timeout.unwrap_or(wait::PATIENCE);
        let outcomes = watch::until(wanted, &goal, timeout, session, out).await?;
        return Ok(exit.and(wait::close(outcomes, &goal, out)?));
    }
    match words {
        Some(words) if exit == Exit::Ok && !out.is_machine() => {
            out.next(&format!("wait {words}"));
        }
        _ => {}
    }
    Ok(exit)
}

/// Stops instances, waits until they are, and starts them again. One that does not stop in time
/// is asked to run all the same, so that none is left down.
///
/// # Errors
/// As [`switch`].
pub async fn restart(
    args: &PowerArgs,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let dry_run = args.writing.dry_run;
    each(args, timeout, session, out, async |target, out| {
        let object = cycle(target, dry_run, timeout, session, out).await?;
        Ok(("restarting", object))
    })
    .await
}

async fn cycle(
    target: &Target,
    dry_run: Option<DryRun>,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Object, Failure> {
    let stop = |instance: &Object| Ok(Power::Stopped.patch(instance));
    let start = |instance: &Object| Ok(Power::Running.patch(instance));
    let stopped = change(target, dry_run, session, stop).await?;
    if dry_run.is_some() {
        return Ok(stopped.object);
    }
    if !out.is_machine() {
        let words = target.words();
        out.note(&format!(
            "{} is stopping; should this be interrupted: `bbctl instances start {}`",
            target.label(),
            words.trim_start_matches("instance/")
        ));
    }
    let goal = Goal::ready();
    let wanted = vec![Wanted::this(target.clone(), stopped.object.metadata.uid)];
    let patience = timeout.unwrap_or(wait::PATIENCE);
    let waited = watch::until(wanted, &goal, patience, session, out).await;
    let started = change(target, None, session, start).await?;
    match waited?.into_iter().find_map(|outcome| outcome.failure) {
        Some(failure) => Err(Failure {
            message: format!(
                "{} did not stop and goes on: {}",
                target.label(),
                failure.message
            ),
            ..failure
        }),
        None => Ok(started.object),
    }
}

/// Changes the size of an instance.
///
/// # Errors
/// When nothing is asked for, or the server refuses.
pub async fn resize(
    args: &ResizeArgs,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let asked = spec([
        ("cpu", args.cpu.map(|cpu| json!(cpu))),
        ("memory", args.memory.as_ref().map(|size| json!(size))),
        ("disk", args.disk.as_ref().map(|size| json!(size))),
    ]);
    if asked == json!({}) {
        return Err(Failure::usage("say how large: --cpu, --memory or --disk"));
    }
    let target = target(&args.name, session);
    let dry_run = args.writing.dry_run;
    let decide = |instance: &Object| Ok(wish(&asked, instance));
    let Changed { object, changed } = change(&target, dry_run, session, decide).await?;
    let mut results = Results::new(dry_run.is_some());
    let word = if changed { "resized" } else { "unchanged" };
    results.add(&target, word, Some(&object), out)?;
    let later = args.cpu.is_some() || args.memory.is_some();
    let runs = text(&object, "/spec/power") != "Stopped";
    if changed && later && runs && dry_run.is_none() && !out.is_machine() {
        let words = target.words();
        let words = words.trim_start_matches("instance/");
        out.note(&format!(
            "CPUs and memory are in force after `bbctl instances restart {words}`"
        ));
    }
    let wanted = vec![Wanted::this(target, object.metadata.uid)];
    finish(
        results,
        wanted,
        args.wait && dry_run.is_none(),
        timeout,
        session,
        out,
    )
    .await
}

/// The part of a wish that the spec does not say yet.
fn wish(asked: &Value, instance: &Object) -> Option<Value> {
    let fields = asked.as_object()?.iter();
    let differs = |name: &str, value: &Value| {
        at(instance, &format!("/spec/{name}")).map(object::word) != Some(object::word(value))
    };
    let missing: serde_json::Map<_, _> = fields
        .filter(|(name, value)| differs(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    (!missing.is_empty()).then(|| json!({"spec": missing}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(spec: &Value) -> Object {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap()
    }

    #[test]
    fn power_that_is_asked_for_already_is_not_asked_for_again() {
        let runs = instance(&json!({"power": "Running"}));
        assert_eq!(Power::Running.patch(&runs), None);
        let stop = Power::Stopped.patch(&runs);
        assert_eq!(stop, Some(json!({"spec": {"power": "Stopped"}})));
    }

    #[test]
    fn only_what_differs_is_written() {
        let small = instance(&json!({"cpu": 2, "memory": "2Gi"}));
        let asked = json!({"cpu": 2, "memory": "4Gi", "disk": "20Gi"});
        let patch = wish(&asked, &small);
        assert_eq!(
            patch,
            Some(json!({"spec": {"memory": "4Gi", "disk": "20Gi"}}))
        );
        assert_eq!(wish(&json!({"cpu": 2}), &small), None);
    }
}
