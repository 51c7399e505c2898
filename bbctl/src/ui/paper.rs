//! Turns what is known of an object into the lines of its page, by what the verbs write.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::difference;
use crate::error::Failure;
use crate::out::{Format, Io, Look, Out, render_yaml};
use crate::portrait::Portrait;
use crate::related::Related;
use crate::session::Scope;
use crate::style::Tone;

use super::place::{Heard, Page, Tab};
use super::store::{Entry, Store};
use super::targets;
use super::text::Text;

/// The lines of a page, for a width and a moment.
#[must_use]
pub fn lines(page: &Page, store: &Store, width: usize, now: Timestamp) -> Vec<Text> {
    let Some(entry) = store.get(&page.id) else {
        return missing(page, store);
    };
    let told = match page.tab {
        Tab::Describe => portrait(page, entry, store).map_or_else(Err, |portrait| {
            written(width, |out| portrait.tell(now, out))
        }),
        Tab::Yaml => yaml(entry),
        Tab::Events => events(page, entry, width, now),
        Tab::Targets => {
            written(width, |out| difference::tell(&entry.object, now, out)).map(|different| {
                let stands = page.stands.as_ref().map(|(_, lines)| lines.to_vec());
                let stands = stands.unwrap_or_default();
                targets::lines(page.id.kind, &entry.object, width, different, stands)
            })
        }
    };
    told.unwrap_or_else(|failure| vec![Text::of(Tone::Bad, failure.message)])
}

fn missing(page: &Page, store: &Store) -> Vec<Text> {
    use super::store::Reach;
    let words = match &store.shelf(page.id.kind.plural).reach {
        Reach::Off | Reach::Loading => return vec![Text::of(Tone::Faint, "reading …")],
        Reach::Denied(why) => format!("you may not see it: {why}"),
        Reach::Live | Reach::Lost(_) => format!("there is no {} any more", page.id.label()),
    };
    vec![Text::of(Tone::Waiting, words), Text::plain("esc: back")]
}

fn yaml(entry: &Entry) -> Result<Vec<Text>, Failure> {
    let text = render_yaml(&entry.object)?;
    let line = |line: &str| match line.split_once(':') {
        Some((key, value)) if !key.trim_start().starts_with(['"', '\'', '|']) => {
            Text::of(Tone::Head, format!("{key}:")).and(Tone::Plain, value)
        }
        _ => Text::plain(line),
    };
    Ok(text.lines().map(line).collect())
}

fn events(page: &Page, entry: &Entry, width: usize, now: Timestamp) -> Result<Vec<Text>, Failure> {
    match &page.heard {
        Heard::Asking => Ok(vec![Text::of(Tone::Faint, "reading …")]),
        Heard::Failed(why) => Ok(vec![Text::of(Tone::Bad, why)]),
        Heard::Said(said) => {
            let portrait = Portrait {
                kind: page.id.kind,
                object: entry.object.clone(),
                related: Related::default(),
                events: said.clone(),
            };
            let mut lines = written(width, |out| portrait.tell_events(now, out))?;
            // Its heading and the empty line before: the tab says it already.
            lines.drain(..2.min(lines.len()));
            Ok(lines)
        }
    }
}

fn portrait(page: &Page, entry: &Entry, store: &Store) -> Result<Portrait, Failure> {
    let kind = page.id.kind;
    let related = Related::among(kind, &entry.object, &mut |plural, scope, wanted| {
        let namespace = match scope {
            Scope::Namespace(namespace) if plural != "providers" => Some(namespace.as_str()),
            _ => None,
        };
        let all = store.shelf(plural).within(namespace);
        let all = all.map(|(_, entry)| &entry.object);
        all.filter(|object| wanted(object)).cloned().collect()
    });
    Ok(Portrait {
        kind,
        object: entry.object.clone(),
        related,
        events: match &page.heard {
            Heard::Said(said) => said.clone(),
            Heard::Asking => Some(Vec::new()),
            Heard::Failed(_) => None,
        },
    })
}

/// What a verb writes, line by line.
fn written(
    width: usize,
    tell: impl FnOnce(&mut Out) -> Result<(), Failure>,
) -> Result<Vec<Text>, Failure> {
    let paper = Paper::default();
    let io = Io {
        env: BTreeMap::from([("FORCE_COLOR".to_owned(), "1".to_owned())]),
        stdin: Box::new(io::empty()),
        stdout: Box::new(paper.clone()),
        stderr: Box::new(io::sink()),
        interactive: false,
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        columns: Some(width),
    };
    let look = Look {
        format: Format::Table,
        ..Look::default()
    };
    let mut out = Out::new(io, look);
    tell(&mut out)?;
    out.flush()?;
    Ok(paper.text().lines().map(Text::painted).collect())
}

/// A place to write to in memory.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("nobody panics while writing");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut paper = self.0.lock().expect("nobody panics while writing");
        paper.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
