//! Turns one object into all that is worth knowing of it, the reason it is not ready first.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{get, plan, scope};
use crate::error::{Exit, Failure};
use crate::out::{Format, Out};
use crate::portrait::Portrait;
use crate::related::{self, Related};
use crate::select::Selection;
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  bbctl describe instance www-1
  bbctl describe network/web -n acme
  bbctl describe tenant acme -o yaml
  bbctl describe plans";

/// What `bbctl describe` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// KIND NAME..., KIND/NAME..., or KIND for all of them
    #[arg(value_name = "KIND [NAME]")]
    pub words: Vec<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// Reads and tells.
///
/// # Errors
/// When nothing can be read; an object that is missing among others is reported.
pub async fn run(args: &Args, session: &Session, out: &mut Out) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    let mut portraits = Vec::new();
    let (objects, one) = match Selection::parse(&args.words)? {
        Selection::Named(names) => {
            let mut found = Vec::new();
            let one = names.len() == 1;
            for (kind, name) in names {
                match session.get(kind, &name).await {
                    Ok(object) => found.push((kind, object)),
                    Err(failure) => {
                        out.report(&failure);
                        exit = exit.and(failure.exit);
                    }
                }
            }
            (found, one)
        }
        Selection::All(kinds) => {
            let mut found = Vec::new();
            let scope = scope(args.all_namespaces, session);
            for kind in kinds {
                let objects = session.list(kind, &scope, None).await?;
                found.extend(objects.into_iter().map(|object| (kind, object)));
            }
            (found, false)
        }
    };
    for (kind, object) in objects {
        let (related, events) = futures::try_join!(
            Related::read(kind, &object, session),
            related::events(&object, session)
        )?;
        portraits.push(Portrait {
            kind,
            object,
            related,
            events,
        });
    }
    match out.format() {
        Format::Json | Format::Yaml if one => match portraits.pop() {
            Some(portrait) => out.document(&portrait.document()?)?,
            None => return Ok(exit),
        },
        Format::Json | Format::Yaml => {
            let items: Vec<Value> = portraits
                .into_iter()
                .map(Portrait::document)
                .collect::<Result<_, _>>()?;
            out.document(&json!({"items": items}))?;
        }
        Format::Name => {
            for portrait in &portraits {
                out.line(&get::full_name(portrait.kind, &portrait.object))?;
            }
        }
        Format::Table | Format::Wide => {
            for (at, portrait) in portraits.iter().enumerate() {
                if at > 0 {
                    out.line("")?;
                }
                match portrait.kind.kind {
                    "Plan" => plan::tell(&portrait.object, out)?,
                    _ => portrait.tell(Timestamp::now(), out)?,
                }
            }
        }
    }
    Ok(exit)
}
