//! Turns kinds and names into tables, documents or names of objects.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{get_watch, scope};
use crate::error::{Exit, Failure};
use crate::kinds::{Column, Kind};
use crate::object::{self, Object};
use crate::out::{Format, Out};
use crate::pages::Pages;
use crate::select::Selection;
use crate::session::{Scope, Session};
use crate::table::{ALWAYS, Cell, Layout, Table};

const EXAMPLES: &str = "\
Examples:
  bbctl get instances
  bbctl get instances,volumes -A -o wide
  bbctl get network/web -n acme -o yaml
  bbctl get all -n acme
  bbctl get instances --watch
  bbctl get plans";

/// What `bbctl get` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// KIND, KIND NAME..., KIND/NAME..., or `all`; kinds by plural, singular or short name
    #[arg(value_name = "KIND [NAME]")]
    pub words: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels, such as app=web
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Whether to go on
    #[command(flatten)]
    pub watching: Watching,
}

/// Whether to go on with what changes.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Watching {
    /// Go on with a line for each change, until Ctrl-C or for --timeout
    #[arg(short, long)]
    pub watch: bool,
    /// Only the changes, not what there is before
    #[arg(long)]
    pub watch_only: bool,
}

impl Watching {
    /// Whether it goes on at all.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.watch || self.watch_only
    }
}

/// Objects of one kind.
struct Group {
    kind: &'static Kind,
    objects: Vec<Object>,
}

/// Reads and shows. `limit` is how long the command line itself lets a watch go on.
///
/// # Errors
/// When nothing can be read at all; an object that is missing among others is reported, the
/// others are shown.
pub async fn run(
    args: &Args,
    limit: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let selection = Selection::parse(&args.words)?;
    if matches!(selection, Selection::Named(_)) {
        by_name_alone(args)?;
    }
    if args.watching.is_on() {
        return get_watch::run(&selection, args, limit, session, out).await;
    }
    if let Selection::All(kinds) = &selection
        && let [kind] = kinds.as_slice()
        && out.takes_parts()
    {
        return stream(kind, args, session, out).await;
    }
    let one = matches!(&selection, Selection::Named(names) if names.len() == 1);
    let (groups, exit) = match selection {
        Selection::All(kinds) => (list(&kinds, args, session, out).await?, Exit::Ok),
        Selection::Named(names) => named(&names, session, out).await,
    };
    let found: usize = groups.iter().map(|group| group.objects.len()).sum();
    if found == 0 && exit != Exit::Ok {
        return Ok(exit);
    }
    show(groups, one, args.all_namespaces, out)?;
    if found == 0 && !out.is_machine() {
        tell_none(args, session, out);
    }
    Ok(exit)
}

/// What else chooses objects, or places to look for them, does not go with names.
fn by_name_alone(args: &Args) -> Result<(), Failure> {
    if args.selector.is_some() {
        return Err(
            Failure::usage("--selector chooses objects, and so do names")
                .hint("give one of the two"),
        );
    }
    if args.all_namespaces {
        return Err(
            Failure::usage("a name is looked for in one namespace, not in all")
                .hint("give the namespace with -n"),
        );
    }
    Ok(())
}

fn tell_none(args: &Args, session: &Session, out: &mut Out) {
    let place = match args.all_namespaces {
        true => String::new(),
        false => format!(" in namespace {}", session.namespace()),
    };
    out.note(&format!("nothing found{place}"));
}

/// Shows the first lines of a table as soon as the server has them, and the rest when all of it is
/// there. Not page by page: who reads slowly would have the server wait for us in between.
async fn stream(
    kind: &'static Kind,
    args: &Args,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let scope = scope(args.all_namespaces, session);
    let mut pages = of(kind, &scope, args, session).soon();
    let look = Rows {
        wide: out.format() == Format::Wide,
        everywhere: args.all_namespaces,
        several: false,
    };
    let now = Timestamp::now();
    let mut layout = Layout::default();
    // A page may be empty though there are more: what was asked for by labels is on none of it.
    let first = loop {
        match pages.next().await? {
            Some(page) if page.is_empty() => {}
            Some(page) => break page,
            None => {
                tell_none(args, session, out);
                return Ok(Exit::Ok);
            }
        }
    };
    out.table_part(&table(kind, &first, &look, now), &mut layout)?;
    let rest = pages.all().await?;
    out.table_part(&table(kind, &rest, &look, now), &mut layout)?;
    Ok(Exit::Ok)
}

/// A list as it is shown: [`presentable`] leaves out who owns which field anyway.
fn of(kind: &Kind, scope: &Scope, args: &Args, session: &Session) -> Pages {
    Pages::new(session, kind, scope, args.selector.as_deref()).lean()
}

/// Lists kinds, all at once. Of several kinds, those that may not be read are left out with a
/// note; a tenant's member may not see Providers and still asks for `all`.
async fn list(
    kinds: &[&'static Kind],
    args: &Args,
    session: &Session,
    out: &mut Out,
) -> Result<Vec<Group>, Failure> {
    let scope = scope(args.all_namespaces, session);
    let lists = kinds
        .iter()
        .map(|kind| of(kind, &scope, args, session).all());
    let mut groups = Vec::new();
    let mut denied = Vec::new();
    for (kind, answer) in kinds.iter().zip(futures::future::join_all(lists).await) {
        match answer {
            Ok(objects) => groups.push(Group { kind, objects }),
            Err(failure) if failure.exit == Exit::Denied && kinds.len() > 1 => {
                denied.push((kind.plural, failure));
            }
            Err(failure) => return Err(failure),
        }
    }
    match denied.first() {
        Some((_, failure)) if groups.is_empty() => Err(failure.clone()),
        Some(_) => {
            let names: Vec<&str> = denied.iter().map(|(plural, _)| *plural).collect();
            out.warn(&format!("you may not list {}: not shown", names.join(", ")));
            Ok(groups)
        }
        None => Ok(groups),
    }
}

async fn named(
    names: &[(&'static Kind, String)],
    session: &Session,
    out: &mut Out,
) -> (Vec<Group>, Exit) {
    let reads = names.iter().map(|(kind, name)| session.get(kind, name));
    let answers = futures::future::join_all(reads).await;
    let mut groups: Vec<Group> = Vec::new();
    let mut exit = Exit::Ok;
    for ((kind, _), answer) in names.iter().zip(answers) {
        match answer {
            Ok(object) => match groups.iter_mut().find(|group| group.kind.kind == kind.kind) {
                Some(group) => group.objects.push(object),
                None => groups.push(Group {
                    kind,
                    objects: vec![object],
                }),
            },
            Err(failure) => {
                out.report(&failure);
                exit = exit.and(failure.exit);
            }
        }
    }
    (groups, exit)
}

fn show(groups: Vec<Group>, one: bool, everywhere: bool, out: &mut Out) -> Result<(), Failure> {
    match out.format() {
        Format::Json | Format::Yaml => {
            let objects = groups.into_iter().flat_map(|group| group.objects);
            let mut items: Vec<Value> = objects.map(presentable).collect::<Result<_, _>>()?;
            match items.pop() {
                Some(single) if one => out.document(&single),
                last => {
                    items.extend(last);
                    out.document(&json!({"apiVersion": "v1", "kind": "List", "items": items}))
                }
            }
        }
        Format::Name => {
            for group in &groups {
                for object in &group.objects {
                    out.line(&full_name(group.kind, object))?;
                }
            }
            Ok(())
        }
        Format::Table | Format::Wide => {
            let shown: Vec<&Group> = groups.iter().filter(|g| !g.objects.is_empty()).collect();
            let several = groups.len() > 1;
            for (at, group) in shown.iter().enumerate() {
                if at > 0 {
                    out.line("")?;
                }
                let wide = out.format() == Format::Wide;
                let look = Rows {
                    wide,
                    everywhere,
                    several,
                };
                out.table(&table(group.kind, &group.objects, &look, Timestamp::now()))?;
            }
            Ok(())
        }
    }
}

/// An object as it is shown to people and programs: without the bookkeeping of who owns which
/// field.
///
/// # Errors
/// When it cannot be rendered.
pub fn presentable(mut object: Object) -> Result<Value, Failure> {
    object.metadata.managed_fields = None;
    serde_json::to_value(&object)
        .map_err(|error| Failure::new(Exit::Failure, format!("cannot render an object: {error}")))
}

/// `KIND.GROUP/NAME`, which kubectl understands as well.
#[must_use]
pub fn full_name(kind: &Kind, object: &Object) -> String {
    format!(
        "{}.{}/{}",
        kind.singular,
        bb_crds::GROUP,
        object::name(object)
    )
}

/// What the rows of a table say besides the kind's own columns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rows {
    /// All columns.
    pub wide: bool,
    /// The namespace as well.
    pub everywhere: bool,
    /// The kind before the name, as there are several kinds.
    pub several: bool,
}

/// A table of objects of one kind, as of a moment.
#[must_use]
pub fn table(kind: &Kind, objects: &[Object], look: &Rows, now: Timestamp) -> Table {
    let mut table = headed(kind, look);
    for object in objects {
        table.push(row(kind, object, look, now));
    }
    table
}

/// The kind's own columns that are asked for.
pub(super) fn columns<'a>(kind: &'a Kind, look: &Rows) -> impl Iterator<Item = &'a Column> {
    let wide = look.wide;
    kind.columns.iter().filter(move |c| wide || !c.wide)
}

/// A table for objects of a kind, without any yet.
pub(super) fn headed(kind: &Kind, look: &Rows) -> Table {
    let before = (look.everywhere && kind.namespaced).then_some(("namespace", ALWAYS));
    let before = before.into_iter().chain([("name", ALWAYS)]);
    Table::new(before.chain(columns(kind, look).map(|column| (column.title, column.keep))))
}

/// The row of an object in such a table, as of a moment.
pub(super) fn row(kind: &Kind, object: &Object, look: &Rows, now: Timestamp) -> Vec<Cell> {
    let mut row: Vec<Cell> = Vec::new();
    if look.everywhere && kind.namespaced {
        row.push(object::namespace(object).into());
    }
    let name = object::name(object);
    row.push(match look.several {
        true => format!("{}/{name}", kind.singular).into(),
        false => name.into(),
    });
    row.extend(columns(kind, look).map(|column| (column.cell)(object, now)));
    row
}
