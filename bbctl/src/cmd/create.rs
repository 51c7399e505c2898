//! Turns flags into the manifest of one object, and the manifest into an object on the server.

use std::time::Duration;

use kube::api::{Patch, PatchParams, ValidationDirective};
use serde_json::{Map, Value, json};

use super::wait;
use crate::change::{DryRun, FIELD_OWNER, Writing};
use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::kinds::Kind;
use crate::object::Object;
use crate::out::{Format, Out};
use crate::resource::Target;
use crate::session::Session;
use crate::watch::{self, Wanted};

/// Flags of every `create`.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Wait until it is ready
    #[arg(long)]
    pub wait: bool,
    /// How to write
    #[command(flatten)]
    pub writing: Writing,
}

/// What flags say of an object that is to be made.
pub trait Draft {
    /// Its kind, as manifests name it.
    const KIND: &'static str;

    /// Its name.
    fn name(&self) -> &str;

    /// How to go about it.
    fn flags(&self) -> &Flags;

    /// Its spec, fields that nothing is said of left out. `files` are the contents of the files
    /// that [`Draft::files`] names, in that order.
    ///
    /// # Errors
    /// When flags contradict each other or cannot be understood.
    fn spec(&self, files: &[String]) -> Result<Value, Failure>;

    /// Files that the spec is made from; `-` is standard input.
    fn files(&self) -> &[std::path::PathBuf] {
        &[]
    }
}

/// The manifest of a draft; without a namespace it says none.
///
/// # Errors
/// As [`Draft::spec`].
pub fn manifest<D: Draft>(
    draft: &D,
    namespace: Option<&str>,
    files: &[String],
) -> Result<Object, Failure> {
    let kind = Kind::called(D::KIND);
    let mut whole = json!({
        "apiVersion": kind.resource().api_version,
        "kind": kind.kind,
        "metadata": {"name": draft.name()},
        "spec": draft.spec(files)?,
    });
    if let (true, Some(namespace)) = (kind.namespaced, namespace) {
        whole["metadata"]["namespace"] = json!(namespace);
    }
    serde_json::from_value(whole).map_err(|error| {
        Failure::new(
            Exit::Failure,
            format!("the manifest cannot be made: {error}"),
        )
    })
}

/// Writes the manifest that flags say and nothing else: what `--dry-run=client` does.
///
/// # Errors
/// When flags cannot be understood, a file cannot be read or stdout is closed.
pub async fn show<D: Draft>(
    draft: &D,
    asked: Option<&str>,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let files = contents(draft.files(), out).await?;
    let object = manifest(draft, asked, &files)?;
    tell(D::KIND, draft.name(), &object, "created (dry run)", out)?;
    Ok(Exit::Ok)
}

/// Makes the object. One of that name that is there already is left as it is.
///
/// # Errors
/// When there is one already, or the server refuses.
pub async fn run<D: Draft>(
    draft: &D,
    timeout: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let target = Target::known(Kind::called(D::KIND), draft.name(), session);
    let files = contents(draft.files(), out).await?;
    let object = manifest(draft, target.namespace.as_deref(), &files)?;
    let flags = draft.flags();
    let api = target.api(session);
    let doing = format!("create {}", target.label());
    // Not by a POST: what is applied is owned as `apply` owns it, so a later apply of the same
    // manifest meets no conflict with ourselves.
    if session
        .ask(&doing, api.get_opt(draft.name()))
        .await?
        .is_some()
    {
        return Err(there_already(&target));
    }
    let dry_run = flags.writing.dry_run;
    let params = PatchParams {
        dry_run: dry_run == Some(DryRun::Server),
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_OWNER)
    };
    let patch = Patch::Apply(&object);
    let made = api.patch(draft.name(), &params, &patch);
    let made = session.ask(&doing, made).await?;
    let word = match dry_run {
        Some(_) => "created (dry run)",
        None => "created",
    };
    tell(D::KIND, draft.name(), &made, word, out)?;
    out.flush()?;
    if dry_run.is_some() {
        return Ok(Exit::Ok);
    }
    if !flags.wait {
        if !out.is_machine() {
            out.next(&format!("wait {}", target.words()));
        }
        return Ok(Exit::Ok);
    }
    let goal = Goal::ready();
    let wanted = vec![Wanted::this(target, made.metadata.uid)];
    let timeout = timeout.unwrap_or(wait::PATIENCE);
    let outcomes = watch::until(wanted, &goal, timeout, session, out).await?;
    wait::close(outcomes, &goal, out)
}

fn there_already(target: &Target) -> Failure {
    let place = crate::session::within(target.namespace.as_deref());
    let label = target.label();
    Failure::new(Exit::Conflict, format!("{label} is there already{place}")).hint(format!(
        "see `bbctl get {}`, or change it with `bbctl edit`",
        target.words()
    ))
}

fn tell(kind: &str, name: &str, object: &Object, word: &str, out: &mut Out) -> Result<(), Failure> {
    let kind = Kind::called(kind);
    match out.format() {
        Format::Json | Format::Yaml => out.document(&super::get::presentable(object.clone())?),
        Format::Name => out.line(&super::get::full_name(kind, object)),
        _ => out.line(&format!("{}/{name} {word}", kind.singular)),
    }
}

async fn contents(files: &[std::path::PathBuf], out: &mut Out) -> Result<Vec<String>, Failure> {
    let mut contents = Vec::new();
    for path in files {
        let text = match path.as_os_str() == "-" {
            true => out.read_stdin().await?,
            false => std::fs::read_to_string(path).map_err(|error| {
                Failure::new(
                    Exit::Failure,
                    format!("cannot read {}: {error}", path.display()),
                )
            })?,
        };
        contents.push(text);
    }
    Ok(contents)
}

/// A spec of the fields that something is said of.
#[must_use]
pub fn spec<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let said = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(said.collect::<Map<_, _>>())
}

/// A list, unless it is empty.
#[must_use]
pub fn some<T: serde::Serialize>(list: &[T]) -> Option<Value> {
    (!list.is_empty()).then(|| json!(list))
}
