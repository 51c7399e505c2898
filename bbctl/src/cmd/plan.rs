//! Turns files and names into the question what they would send, and the answer into text.
//!
//! The server judges each object first, with the rights of whoever asks; the controller answers.

use std::time::Duration;

use bb_crds::plan::{HeldBack, PlanTarget, TargetType};
use bb_crds::{ConditionType, GROUP, PlanStatus, VERSION};
use kube::api::{Api, ApiResource, DeleteParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::apply;
use super::prune::{self, Pruning};
use crate::error::{Exit, Failure};
use crate::kinds;
use crate::manifest::{Files, Manifest};
use crate::object::{self, Object};
use crate::out::{Format, Out};
use crate::resource::{Resolver, Target};
use crate::select::Selection;
use crate::send::{Change, Manner, Sent};
use crate::session::Session;
use crate::style::Tone;

/// How long an answer may take unless a flag says otherwise: each target may have other work
/// before it is looked at.
const PATIENCE: Duration = Duration::from_secs(90);
/// The first pause before the answer is looked for again; it doubles.
const FIRST: Duration = Duration::from_millis(50);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(1);
/// The kinds that a plan is about.
const KINDS: [&str; 3] = ["Network", "Volume", "Instance"];

const EXAMPLES: &str = "\
Examples:
  bbctl plan -f examples/acme
  bbctl plan -f network.yaml --delete instance/www-1
  bbctl plan --delete network/web -o yaml
  bbctl plan -k overlays/prod
  bbctl plan -f examples/acme --set acme --prune
  bbctl plan -f examples/acme -o name";

/// What `bbctl plan` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What the files describe
    #[command(flatten)]
    pub files: Files,
    /// What would be deleted as well: KIND/NAME; may be repeated
    #[arg(long = "delete", value_name = "KIND/NAME")]
    pub deletes: Vec<String>,
    /// What the files no longer have
    #[command(flatten)]
    pub pruning: prune::Flags,
    /// Take over fields that someone else has set to another value
    #[arg(long)]
    pub force_conflicts: bool,
    /// Leave the Plan on the server, where it is kept for an hour
    #[arg(long)]
    pub keep: bool,
}

/// What is asked.
pub(super) struct Question {
    namespace: String,
    manifests: Vec<Value>,
    deletes: Vec<Value>,
}

/// Asks, waits and shows the answer. Nothing is changed anywhere.
///
/// # Errors
/// When the server refuses an object or the question, or no answer comes.
pub async fn run(
    args: &Args,
    asked: Option<&str>,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    if args.files.is_empty() && args.deletes.is_empty() {
        return Err(
            Failure::usage("say what to plan: -f FILE, -k DIR, or --delete KIND/NAME")
                .hint("as in `bbctl plan -f examples/acme`"),
        );
    }
    let mut manifests = match args.files.is_empty() {
        true => Vec::new(),
        false => args.files.read(asked, out).await?,
    };
    let mut deletes = targets(&args.deletes, session)?;
    if args.pruning.prune && manifests.is_empty() {
        return Err(Failure::usage(
            "say what the files are: -f FILE or -k DIR with --prune",
        ));
    }
    if let Some(set) = args.pruning.set(session)? {
        let prune = args.pruning.prune;
        let pruning = Pruning::find(set, &mut manifests, prune, session).await?;
        for target in pruning.targets() {
            planned_kind(&target.resource.kind)?;
            if !deletes.contains(&target) {
                deletes.push(target);
            }
        }
    }
    let force = args.force_conflicts;
    let question = question(&manifests, &deletes, force, session, out).await?;
    let Some(question) = question else {
        if out.is_machine() {
            out.document(&json!({"results": []}))?;
        } else {
            out.line("nothing would change: every object is as the files say")?;
        }
        return Ok(Exit::Ok);
    };
    let (plan, status) = answer(&question, timeout, args.keep, session).await?;
    match out.format() {
        Format::Json | Format::Yaml => out.document(&plan)?,
        Format::Name => out.line(status.hash.as_deref().unwrap_or_default())?,
        Format::Table | Format::Wide => {
            show(&question, &status, out)?;
            next(args, &status, out);
        }
    }
    Ok(Exit::Ok)
}

/// What the files and names ask, once the server has judged each of them; none where nothing
/// would change.
pub(super) async fn question(
    manifests: &[Manifest],
    deletes: &[Target],
    force: bool,
    session: &Session,
    out: &mut Out,
) -> Result<Option<Question>, Failure> {
    let mut resolver = Resolver::default();
    let mut asked = Vec::new();
    let mut namespaces: Vec<String> = Vec::new();
    for manifest in manifests {
        let manner = Manner {
            force,
            ..Manner::default()
        };
        let judged = apply::one(manner.tried(), manifest, &mut resolver, session).await;
        let is_ours = is_planned(manifest);
        let (target, Sent { object, change, .. }) = match judged {
            Ok(judged) => judged,
            // What is another's to apply is no part of this plan.
            Err(failure) if !is_ours && failure.exit == Exit::Denied => {
                out.note(&format!("left out: {}", failure.message));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if change == Change::Unchanged {
            continue;
        }
        if !is_ours {
            return Err(Failure::usage(format!(
                "{} of {} would be {}, and a plan is about networks, volumes and instances",
                target.label(),
                manifest.origin,
                change.word()
            ))
            .hint("apply that first, with `bbctl apply -f`"));
        }
        namespaces.extend(target.namespace.clone());
        asked.push(planned(&target, &object));
    }
    let mut gone = Vec::new();
    for target in deletes {
        let doing = format!("delete {}", target.label());
        let params = DeleteParams::default().dry_run();
        let api = target.api(session);
        session
            .ask(&doing, api.delete(&target.name, &params))
            .await?;
        namespaces.extend(target.namespace.clone());
        gone.push(json!({"kind": target.resource.kind, "name": target.name}));
    }
    namespaces.sort();
    namespaces.dedup();
    match namespaces.as_slice() {
        [] => Ok(None),
        [namespace] => Ok(Some(Question {
            namespace: namespace.clone(),
            manifests: asked,
            deletes: gone,
        })),
        several => Err(Failure::usage(format!(
            "a plan is about one namespace, and this is about {}",
            several.join(", ")
        ))
        .hint("plan one after the other")),
    }
}

fn is_planned(manifest: &Manifest) -> bool {
    let types = manifest.object.types.as_ref();
    types.is_some_and(|types| {
        types.api_version == format!("{GROUP}/{VERSION}") && KINDS.contains(&types.kind.as_str())
    })
}

/// The objects that would be deleted.
fn targets(words: &[String], session: &Session) -> Result<Vec<Target>, Failure> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let Selection::Named(names) = Selection::parse(words)? else {
        return Err(Failure::usage("--delete takes KIND/NAME").hint("as in --delete network/web"));
    };
    let mut targets = Vec::new();
    for (kind, name) in &names {
        planned_kind(kind.kind)?;
        targets.push(Target::known(kind, name, session));
    }
    Ok(targets)
}

fn planned_kind(kind: &str) -> Result<(), Failure> {
    match KINDS.contains(&kind) {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "a plan is about networks, volumes and instances, not about a {}",
            kind.to_ascii_lowercase()
        ))),
    }
}

/// An object as the server would have it, without what is the server's own.
fn planned(target: &Target, object: &Object) -> Value {
    let mut metadata = json!({"name": target.name, "namespace": target.namespace});
    let annotations = object.metadata.annotations.iter().flatten();
    let ours = annotations.filter(|(key, _)| {
        key.split('/')
            .next()
            .is_some_and(|prefix| prefix.ends_with(GROUP))
    });
    let ours: serde_json::Map<String, Value> = ours
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    if !ours.is_empty() {
        metadata["annotations"] = Value::Object(ours);
    }
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": target.resource.kind,
        "metadata": metadata,
        "spec": object.data["spec"],
    })
}

/// Makes a Plan, waits for its answer, and takes it away again.
pub(super) async fn answer(
    question: &Question,
    timeout: Option<Duration>,
    keep: bool,
    session: &Session,
) -> Result<(Object, PlanStatus), Failure> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, "Plan"));
    let api = session.api(&resource, Some(&question.namespace));
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Plan",
        "metadata": {"generateName": "bbctl-", "namespace": question.namespace},
        "spec": {"manifests": question.manifests, "deletes": question.deletes},
    });
    let object: Object = serde_json::from_value(object).map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("cannot make a plan of this: {error}"),
        )
    })?;
    let doing = format!("create a plan in namespace {}", question.namespace);
    let made = session
        .ask(&doing, api.create(&PostParams::default(), &object))
        .await?;
    let name = made.metadata.name.clone().unwrap_or_default();
    let answered = wait(&api, &name, timeout.unwrap_or(PATIENCE), session).await;
    if !keep {
        // It goes by itself within the hour; to say so for a failure would hide the answer.
        let params = DeleteParams::default();
        let _ = session
            .ask("delete the plan", api.delete(&name, &params))
            .await;
    }
    answered
}

async fn wait(
    api: &Api<Object>,
    name: &str,
    timeout: Duration,
    session: &Session,
) -> Result<(Object, PlanStatus), Failure> {
    let until = Instant::now() + timeout;
    let mut pause = FIRST;
    loop {
        let plan = session.ask("read the plan", api.get(name)).await?;
        let status = status_of(&plan)?;
        let mut ready = status.conditions.iter();
        match ready.find(|c| c.is(ConditionType::Ready)) {
            Some(ready) if ready.holds() => return Ok((plan, status)),
            Some(ready) if ready.status == *"False" => {
                let (reason, message) = (&*ready.reason, &*ready.message);
                let words = format!("cannot plan: {reason}: {message}");
                return Err(Failure::new(Exit::Failure, words));
            }
            _ => {}
        }
        if Instant::now() >= until {
            let words = format!("no answer to the plan within {} s", timeout.as_secs());
            return Err(Failure::new(Exit::TimedOut, words)
                .hint("see that the controller runs, or give it longer with --timeout"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

fn status_of(plan: &Object) -> Result<PlanStatus, Failure> {
    let Some(status) = plan.data.get("status") else {
        return Ok(PlanStatus::default());
    };
    serde_json::from_value(status.clone()).map_err(|error| {
        let words = format!("cannot read the plan: the controller is of another version: {error}");
        Failure::new(Exit::Failure, words)
    })
}

/// Tells what a Plan that was kept asks and what the answer is, or why there is none.
pub(super) fn tell(plan: &Object, out: &mut Out) -> Result<(), Failure> {
    let status = status_of(plan)?;
    let health = object::health(plan);
    out.text_toned("", Tone::Head, &format!("plan {}", object::name(plan)))?;
    if !health.is_ready() {
        let text = format!("Not answered: {}: {}", health.reason, health.message);
        return out.text_toned("", kinds::tone(&health), text.trim_end_matches(": "));
    }
    let question = Question {
        namespace: object::namespace(plan).to_owned(),
        manifests: object::list(plan, "/spec/manifests").to_vec(),
        deletes: object::list(plan, "/spec/deletes").to_vec(),
    };
    show(&question, &status, out)
}

fn show(question: &Question, status: &PlanStatus, out: &mut Out) -> Result<(), Failure> {
    let asked = question.manifests.len();
    let gone = question.deletes.len();
    let title = format!(
        "Plan for namespace {}: {asked} to apply, {gone} to delete",
        question.namespace
    );
    out.text_toned("", Tone::Head, &title)?;
    for target in &status.targets {
        on_target(target, out)?;
    }
    if !status.gives.is_empty() {
        out.line("")?;
        out.text_toned("", Tone::Head, "Would be given (nothing is reserved):")?;
        for given in &status.gives {
            out.line(&format!("  {}: {}", given.object, given.values.join(", ")))?;
        }
    }
    if !status.held.is_empty() {
        out.line("")?;
        out.text_toned("", Tone::Head, "Held back:")?;
        for HeldBack {
            object,
            reason,
            message,
        } in &status.held
        {
            let text = format!("{object}: {reason}: {message}");
            out.text_toned("  ", Tone::Bad, text.trim_end_matches(": "))?;
        }
    }
    out.line("")?;
    reach(status, out)?;
    out.line(&format!(
        "Hash: {}",
        status.hash.as_deref().unwrap_or_default()
    ))
}

fn on_target(target: &PlanTarget, out: &mut Out) -> Result<(), Failure> {
    let (name, word) = match target.type_ {
        TargetType::Router => ("Router", "commands"),
        TargetType::Cluster => ("Cluster", "calls"),
    };
    let read = target.read.as_ref();
    let read = read
        .map(|at| format!(", read {:.0}", at.0))
        .unwrap_or_default();
    out.line("")?;
    out.text_toned("", Tone::Head, &format!("{name} {}{read}:", target.name))?;
    if let Some(why) = &target.unknown {
        out.text_toned("  ", Tone::Bad, &format!("unknown: {why}"))?;
    } else if target.steps.is_empty() {
        out.line(&format!("  no {word}"))?;
    }
    for step in &target.steps {
        out.line(&format!("  {}", step.object))?;
        for text in &step.sends {
            let tone = match text.split(' ').next() {
                Some("delete" | "DELETE") => Tone::Bad,
                _ => Tone::Good,
            };
            out.text_toned("    ", tone, text)?;
        }
    }
    if target.due > 0 {
        let (is, objects) = match target.due {
            1 => ("is", "object"),
            _ => ("are", "objects"),
        };
        out.line(&format!("  {} {objects} {is} due there anyway", target.due))?;
    }
    Ok(())
}

fn reach(status: &PlanStatus, out: &mut Out) -> Result<(), Failure> {
    let reach = status.reach.clone().unwrap_or_default();
    let named = |word: &str, list: &[String]| match list {
        [] => format!("no guest {word}"),
        some => format!("{word}: {}", some.join(", ")),
    };
    let parts = [
        named("restarts", &reach.restarts),
        named("stops", &reach.stops),
        match reach.destroys.as_slice() {
            [] => "nothing is destroyed".to_owned(),
            some => format!("destroyed: {}", some.join(", ")),
        },
        format!("tenants touched: {}", reach.tenants),
    ];
    out.line(&format!("Reach: {}", parts.join("; ")))?;
    for text in &reach.interrupts {
        out.text_toned("  ", Tone::Waiting, text)?;
    }
    Ok(())
}

/// Says how to go on.
fn next(args: &Args, status: &PlanStatus, out: &mut Out) {
    if let Some(words) = status.hash.as_deref().and_then(|hash| sends(args, hash)) {
        out.next(&words);
    }
}

/// The command that does what was shown; none where there is none that does.
fn sends(args: &Args, hash: &str) -> Option<String> {
    let mut words = args.files.words();
    if !args.deletes.is_empty() || words.iter().any(|word| word == "-f -") {
        return None;
    }
    if let Some(set) = &args.pruning.set {
        words.push(format!("--set {set}"));
    }
    if args.pruning.prune {
        words.push("--prune".to_owned());
    }
    if args.force_conflicts {
        words.push("--force-conflicts".to_owned());
    }
    Some(format!("apply {} --plan {hash}", words.join(" ")))
}

/// Refuses where the answer is no longer the one of that hash.
pub(super) async fn unmoved(
    hash: &str,
    question: Option<Question>,
    timeout: Option<Duration>,
    session: &Session,
) -> Result<(), Failure> {
    let moved = |words: String| {
        Failure::new(Exit::Conflict, words).hint("look at it again with `bbctl plan`")
    };
    let Some(question) = question else {
        return Err(moved(format!(
            "the plan {hash} is old: every object is as the files say by now"
        )));
    };
    let (_, status) = answer(&question, timeout, false, session).await?;
    let now = status.hash.unwrap_or_default();
    if now == hash {
        return Ok(());
    }
    let summary = status.summary.unwrap_or_default();
    Err(moved(format!(
        "the plan {hash} is old: something moved since, now it is {now} ({summary})"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_sends_it_has_all_that_was_said() {
        let files = Files {
            files: vec!["my files".into()],
            kustomize: Vec::new(),
            recursive: true,
        };
        let mut args = Args {
            files,
            deletes: Vec::new(),
            pruning: prune::Flags {
                set: "infra/shop".parse().ok(),
                prune: true,
            },
            force_conflicts: true,
            keep: false,
        };
        assert_eq!(
            sends(&args, "0c5e").as_deref(),
            Some("apply -f 'my files' -R --set infra/shop --prune --force-conflicts --plan 0c5e")
        );
        args.files.files = vec!["-".into()];
        assert_eq!(sends(&args, "0c5e"), None, "what was piped is gone");
        args.files.files = vec!["a".into()];
        args.deletes = vec!["network/web".to_owned()];
        assert_eq!(sends(&args, "0c5e"), None, "no apply deletes that");
    }
}
