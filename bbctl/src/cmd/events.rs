//! Turns events of our objects into one list, the latest last.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde_json::json;

use super::scope;
use crate::age;
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::out::{Format, Out};
use crate::related::{Said, said};
use crate::select::Selection;
use crate::session::{Scope, Session, within};
use crate::style::Tone;
use crate::table::{ALWAYS, Cell, Table};

/// What `bbctl events` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bbctl events
  bbctl events instance/www-1
  bbctl events -A --warnings -o wide")]
pub struct Args {
    /// Only of these: KIND, KIND NAME..., KIND/NAME... [default: of all]
    #[arg(value_name = "KIND [NAME]")]
    pub words: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only those that warn
    #[arg(long)]
    pub warnings: bool,
}

/// Something that was said, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The kind, as manifests name it.
    pub kind: String,
    /// The object's namespace; empty for one of the whole cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What was said.
    #[serde(flatten)]
    pub said: Said,
}

/// Lists events.
///
/// # Errors
/// When they may not be read.
pub async fn run(args: &Args, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let selection = match args.words.is_empty() {
        true => None,
        false => Some(Selection::parse(&args.words)?),
    };
    let mut all = read(args, selection.as_ref(), session).await?;
    all.retain(|one| !args.warnings || one.said.type_ == "Warning");
    all.sort_by_key(|one| one.said.time);
    match out.format() {
        Format::Json | Format::Yaml => out.document(&json!({"events": all}))?,
        Format::Name => {
            for one in &all {
                out.line(&label(one))?;
            }
        }
        Format::Table | Format::Wide if all.is_empty() => out.note("no events of late"),
        Format::Table | Format::Wide => tell(&all, args.all_namespaces, out)?,
    }
    Ok(Exit::Ok)
}

/// Reads the events of our kinds. Those of objects without a namespace are kept in `default`.
async fn read(
    args: &Args,
    selection: Option<&Selection>,
    session: &Session,
) -> Result<Vec<Told>, Failure> {
    let mut places = vec![scope(args.all_namespaces, session)];
    let cluster = |kind: &Kind| !kind.namespaced;
    let elsewhere = match selection {
        None => false,
        Some(Selection::All(kinds)) => kinds.iter().any(|kind| cluster(kind)),
        Some(Selection::Named(names)) => names.iter().any(|(kind, _)| cluster(kind)),
    };
    let usual = Scope::Namespace("default".to_owned());
    if elsewhere && !args.all_namespaces && places[0] != usual {
        places.push(usual);
    }
    let mut all = Vec::new();
    for place in places {
        let namespace = match &place {
            Scope::Namespace(namespace) => Some(namespace.as_str()),
            Scope::Everywhere => None,
        };
        let api: Api<Event> = match namespace {
            Some(namespace) => Api::namespaced(session.client(), namespace),
            None => Api::all(session.client()),
        };
        let doing = format!("list events{}", within(namespace));
        let events = session
            .ask(&doing, api.list(&ListParams::default()))
            .await?;
        all.extend(events.items.into_iter().filter_map(told));
    }
    all.retain(|one| selection.is_none_or(|selection| is_in(one, selection)));
    Ok(all)
}

/// An event as something told of one of our objects; nothing where it is of another kind.
fn told(event: Event) -> Option<Told> {
    let of = &event.involved_object;
    let version = of.api_version.as_deref().unwrap_or_default();
    let kind = Kind::of_manifest(version, of.kind.as_deref().unwrap_or_default())?;
    Some(Told {
        kind: kind.kind.to_owned(),
        namespace: of.namespace.clone().unwrap_or_default(),
        name: of.name.clone().unwrap_or_default(),
        said: said(event),
    })
}

fn is_in(one: &Told, selection: &Selection) -> bool {
    match selection {
        Selection::All(kinds) => kinds.iter().any(|kind| kind.kind == one.kind),
        Selection::Named(names) => names
            .iter()
            .any(|(kind, name)| kind.kind == one.kind && *name == one.name),
    }
}

fn label(one: &Told) -> String {
    format!("{}/{}", one.kind.to_ascii_lowercase(), one.name)
}

fn tell(all: &[Told], everywhere: bool, out: &mut Out) -> Result<(), Failure> {
    let now = Timestamp::now();
    let place = everywhere.then_some(("namespace", 20));
    let heads = [("last", ALWAYS), ("reason", ALWAYS), ("object", ALWAYS)];
    let heads = place.into_iter().chain(heads).chain([("times", 10)]);
    let mut table = Table::new(heads);
    let mut messages = Vec::new();
    for one in all {
        let tone = match one.said.type_.as_str() {
            "Warning" => Tone::Bad,
            _ => Tone::Plain,
        };
        let last = one.said.time.map(|then| age::since(then, now));
        let mut row: Vec<Cell> = Vec::new();
        if everywhere {
            row.push(one.namespace.clone().into());
        }
        row.push(last.unwrap_or_default().into());
        row.push(Cell::new(one.said.reason.clone(), tone));
        row.push(label(one).into());
        row.push(one.said.count.to_string().into());
        table.push(row);
        messages.push(one.said.message.clone());
    }
    out.table_with_text("", &table, "message", &messages)
}
