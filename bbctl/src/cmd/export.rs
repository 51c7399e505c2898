//! Turns objects into manifests that make them again: what people decided, and nothing else.

use serde_json::{Value, json};

use super::{get, scope};
use crate::error::{Exit, Failure};
use crate::kinds::{KINDS, Kind};
use crate::manifest;
use crate::object::Object;
use crate::out::{Format, Out, render_yaml};
use crate::select::Selection;
use crate::session::Session;

/// What `bbctl export` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl export -n acme > acme.yaml
  bbctl export network web -n acme
  bbctl export all -A -o json
  bbctl export -n acme | bbctl diff -f -

Without words: all networks, volumes and instances of the namespace. Secrets are not exported.")]
pub struct Args {
    /// KIND, KIND NAME..., KIND/NAME... or `all` [default: all that a tenant writes]
    #[arg(value_name = "KIND [NAME]")]
    pub words: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels, such as app=web
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
}

/// Writes the manifests: YAML documents one after the other, or with -o json a List.
///
/// # Errors
/// When an object cannot be read; then nothing is written, since half of it would pass for all.
pub async fn run(args: &Args, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let selection = match args.words.is_empty() {
        true => Selection::All(KINDS.iter().filter(|kind| kind.namespaced).collect()),
        false => Selection::parse(&args.words)?,
    };
    let objects = read(selection, args, session).await?;
    if objects.is_empty() && !out.is_machine() {
        out.note("nothing found");
    }
    match out.format() {
        Format::Json => {
            let items: Vec<Value> = objects
                .iter()
                .map(|(_, object)| manifest::of(object))
                .collect::<Result<_, _>>()?;
            out.document(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
        }
        Format::Name => {
            for (kind, object) in &objects {
                out.line(&get::full_name(kind, object))?;
            }
        }
        Format::Table | Format::Wide | Format::Yaml => {
            for (at, (_, object)) in objects.iter().enumerate() {
                if at > 0 {
                    out.line("---")?;
                }
                out.line(render_yaml(&manifest::of(object)?)?.trim_end())?;
            }
        }
    }
    Ok(Exit::Ok)
}

async fn read(
    selection: Selection,
    args: &Args,
    session: &Session,
) -> Result<Vec<(&'static Kind, Object)>, Failure> {
    let mut objects = Vec::new();
    match selection {
        Selection::Named(names) => {
            for (kind, name) in names {
                objects.push((kind, session.get(kind, &name).await?));
            }
        }
        Selection::All(kinds) => {
            let scope = scope(args.all_namespaces, session);
            for kind in kinds {
                let found = session.list(kind, &scope, args.selector.as_deref()).await?;
                objects.extend(found.into_iter().map(|object| (kind, object)));
            }
        }
    }
    Ok(objects)
}
