//! Turns files into what applying them would change, line by line.

use serde_json::json;
use similar::TextDiff;

use crate::error::{Exit, Failure};
use crate::manifest::{self, Files, Manifest};
use crate::object::{self, Object};
use crate::out::{Format, Out, render_yaml};
use crate::resource::{Resolver, Target};
use crate::send::{self, Change, Manner};
use crate::session::Session;
use crate::style::{Tone, tame};

/// What `bbctl diff` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl diff -f examples/acme
  bbctl diff -f network.yaml -o json
  bbctl diff -k overlays/prod

Ends with 0 where nothing would change, with 1 where something would, and with more where that
could not be found out.")]
pub struct Args {
    /// What the files describe
    #[command(flatten)]
    pub files: Files,
    /// Compare as `apply --force-conflicts` would write
    #[arg(long)]
    pub force_conflicts: bool,
}

/// What applying one manifest would do.
struct Difference {
    target: Target,
    change: &'static str,
    lines: String,
}

/// Shows what `apply` would change; the server judges, and stores nothing.
///
/// # Errors
/// When the files cannot be read. What the server refuses is reported, the rest is compared.
pub async fn run(
    args: &Args,
    asked: Option<&str>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    if args.files.is_empty() {
        return Err(Failure::usage("say what to compare: -f FILE or -k DIR"));
    }
    let manifests = args.files.read(asked, out).await.map_err(above_one)?;
    let mut resolver = Resolver::default();
    let mut exit = Exit::Ok;
    let mut differences = Vec::new();
    for one in &manifests {
        match compare(args, one, &manifests, &mut resolver, session).await {
            Ok(Some(difference)) => differences.push(difference),
            Ok(None) => {}
            Err(failure) => {
                let failure = above_one(failure);
                out.report(&failure);
                exit = match exit.and(failure.exit) {
                    Exit::Failure => Exit::Undecided,
                    exit => exit,
                };
            }
        }
    }
    let differs = !differences.is_empty();
    tell(&differences, out)?;
    Ok(match exit {
        Exit::Ok if differs => Exit::Failure,
        exit => exit,
    })
}

/// One means here that there is a difference, so what failed ends with more.
fn above_one(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Failure => Failure {
            exit: Exit::Undecided,
            ..failure
        },
        _ => failure,
    }
}

async fn compare(
    args: &Args,
    one: &Manifest,
    all: &[Manifest],
    resolver: &mut Resolver,
    session: &Session,
) -> Result<Option<Difference>, Failure> {
    let target = resolver.target(one, session).await?;
    let mut object = one.object.clone();
    object.metadata.namespace = target.namespace.clone();
    let manner = Manner {
        force: args.force_conflicts,
        compares: true,
        ..Manner::default()
    };
    let of = format!(" of {}", one.origin);
    let sent = send::apply(&target, &object, &of, manner.tried(), session).await;
    let (before, after) = match sent {
        Ok(sent) if sent.change == Change::Applied => {
            let words = format!("cannot compare {}{of}: you may not read it", target.label());
            return Err(Failure::new(Exit::Denied, words));
        }
        Ok(sent) => (sent.before, sent.object),
        // Its namespace is made by the same files: the server cannot judge it before that.
        Err(failure) if failure.exit == Exit::NotFound && makes_namespace(all, &target) => {
            (None, object)
        }
        Err(failure) => return Err(failure),
    };
    let old = before.as_ref().map(text).transpose()?.unwrap_or_default();
    let new = text(&after)?;
    if old == new {
        return Ok(None);
    }
    let change = if before.is_some() {
        "configured"
    } else {
        "created"
    };
    let (from, to) = match before {
        Some(_) => (
            format!("now/{}", target.label()),
            format!("then/{}", target.label()),
        ),
        None => ("/dev/null".to_owned(), format!("then/{}", target.label())),
    };
    let diff = TextDiff::from_lines(&old, &new);
    let lines = diff
        .unified_diff()
        .context_radius(3)
        .header(&from, &to)
        .to_string();
    Ok(Some(Difference {
        target,
        change,
        lines,
    }))
}

fn makes_namespace(all: &[Manifest], target: &Target) -> bool {
    all.iter().any(|one| {
        let types = one.object.types.as_ref();
        types.is_some_and(|types| types.kind == "Namespace")
            && target.namespace.as_deref() == Some(object::name(&one.object))
    })
}

fn text(object: &Object) -> Result<String, Failure> {
    render_yaml(&manifest::of(object)?)
}

fn tell(differences: &[Difference], out: &mut Out) -> Result<(), Failure> {
    match out.format() {
        Format::Json | Format::Yaml => {
            let changes: Vec<_> = differences
                .iter()
                .map(|one| {
                    json!({
                        "kind": one.target.resource.kind,
                        "namespace": one.target.namespace,
                        "name": one.target.name,
                        "change": one.change,
                        "diff": one.lines,
                    })
                })
                .collect();
            out.document(&json!({"changes": changes}))
        }
        Format::Name => differences
            .iter()
            .try_for_each(|one| out.line(&one.target.full_name())),
        Format::Table | Format::Wide => {
            for line in differences.iter().flat_map(|one| one.lines.lines()) {
                let tone = match line.as_bytes() {
                    [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => Tone::Head,
                    [b'@', ..] => Tone::Faint,
                    [b'+', ..] => Tone::Good,
                    [b'-', ..] => Tone::Bad,
                    _ => Tone::Plain,
                };
                let line = out.paint(tone, &tame(line));
                out.line(&line)?;
            }
            Ok(())
        }
    }
}
