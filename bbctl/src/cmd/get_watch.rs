//! Turns what a server tells about the objects of a kind into lines, one for each change.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::Api;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use serde_json::json;

use super::get::{self, Args, Rows, full_name, headed, presentable, row};
use crate::error::{Exit, Failure};
use crate::kinds::Kind;
use crate::object::{self, Object};
use crate::out::{Format, Out};
use crate::resource::Target;
use crate::select::Selection;
use crate::session::{PATIENCE, Session, within};
use crate::style::{Colour, Tone};
use crate::table::{Cell, Layout, Table};
use crate::watch;

/// What became of an object.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is there, and was not.
    Added(Arc<Object>),
    /// It is another than it was.
    Modified {
        /// How it was.
        before: Arc<Object>,
        /// How it is.
        now: Arc<Object>,
    },
    /// It is gone, or has not the labels any more that were asked for; this is the last of it.
    Deleted(Arc<Object>),
}

impl Change {
    /// One word for it, as in the API.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Added(_) => "ADDED",
            Self::Modified { .. } => "MODIFIED",
            Self::Deleted(_) => "DELETED",
        }
    }

    /// The object as it was last seen.
    #[must_use]
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Added(object) | Self::Modified { now: object, .. } | Self::Deleted(object) => {
                object
            }
        }
    }
}

/// Namespace and name.
type Key = (String, String);

fn key(object: &Object) -> Key {
    let namespace = object::namespace(object).to_owned();
    (namespace, object::name(object).to_owned())
}

/// The objects that are known. Whatever comes is compared with them, so that a list which is read
/// again tells no more than what changed meanwhile.
#[derive(Debug, Default)]
pub struct Known {
    objects: BTreeMap<Key, Arc<Object>>,
    /// What came of a list that is not whole yet.
    listing: Vec<Object>,
}

impl Known {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// What an event of a watch changes.
    pub fn take(&mut self, event: Event<Object>) -> Vec<Change> {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => self.listing.push(object),
            Event::InitDone => return self.listed(),
            Event::Apply(object) => return self.apply(object),
            Event::Delete(object) => {
                let known = self.objects.remove(&key(&object));
                return known
                    .map(|_| Change::Deleted(lean(object)))
                    .into_iter()
                    .collect();
            }
        }
        Vec::new()
    }

    fn listed(&mut self) -> Vec<Change> {
        let listing = std::mem::take(&mut self.listing);
        let there: BTreeSet<Key> = listing.iter().map(key).collect();
        let gone = self.objects.extract_if(.., |key, _| !there.contains(key));
        let mut changes: Vec<Change> = gone.map(|(_, object)| Change::Deleted(object)).collect();
        changes.extend(listing.into_iter().flat_map(|object| self.apply(object)));
        changes
    }

    fn apply(&mut self, object: Object) -> Vec<Change> {
        let now = lean(object);
        let Some(before) = self.objects.insert(key(&now), now.clone()) else {
            return vec![Change::Added(now)];
        };
        if before.metadata.uid != now.metadata.uid {
            return vec![Change::Deleted(before), Change::Added(now)];
        }
        match before.metadata.resource_version == now.metadata.resource_version {
            true => Vec::new(),
            false => vec![Change::Modified { before, now }],
        }
    }
}

/// Who owns which field is never shown.
fn lean(mut object: Object) -> Arc<Object> {
    object.metadata.managed_fields = None;
    Arc::new(object)
}

/// A table that grows with each change.
#[derive(Clone, Debug)]
pub struct Sheet {
    kind: &'static Kind,
    look: Rows,
    /// How wide it may be; none: as wide as it gets.
    width: Option<usize>,
    layout: Layout,
}

impl Sheet {
    /// A table of which nothing was written yet.
    #[must_use]
    pub fn new(kind: &'static Kind, look: Rows, width: Option<usize>) -> Self {
        Self {
            kind,
            look,
            width,
            layout: Layout::default(),
        }
    }

    /// The lines for some changes, the heads first where none was written before. A change that
    /// shows in no column has none.
    pub fn lines(&mut self, changes: &[Change], now: Timestamp, colour: Colour) -> Vec<String> {
        let mut table = headed(self.kind, &self.look);
        for change in changes {
            let row = row(self.kind, change.object(), &self.look, now);
            match change {
                Change::Modified { before, .. } if self.is_same(before, &row, now) => {}
                Change::Deleted(_) => table.push(self.gone(row)),
                Change::Added(_) | Change::Modified { .. } => table.push(row),
            }
        }
        match table.is_empty() {
            true => Vec::new(),
            false => table.render_after(&mut self.layout, self.width, colour),
        }
    }

    /// Whether an object had that line before. Both are taken as of the same moment, or every age
    /// would be another.
    fn is_same(&self, before: &Object, after: &[Cell], now: Timestamp) -> bool {
        let line = |row: Vec<Cell>| {
            let mut table: Table = headed(self.kind, &self.look);
            table.push(row);
            table.render_after(&mut self.layout.clone(), self.width, Colour::Off)
        };
        line(row(self.kind, before, &self.look, now)) == line(after.to_vec())
    }

    /// The row of what is gone: its readiness says nothing any more, and the reason is that.
    fn gone(&self, mut row: Vec<Cell>) -> Vec<Cell> {
        let own = get::columns(self.kind, &self.look).count();
        let before = row.len() - own;
        for (cell, column) in row
            .iter_mut()
            .skip(before)
            .zip(get::columns(self.kind, &self.look))
        {
            match column.title {
                "ready" => *cell = Cell::default(),
                "reason" => *cell = Cell::new("Deleted", Tone::Bad),
                _ => {}
            }
        }
        row
    }
}

/// Shows what there is, then each change as it comes. It ends by a failure, a reader that went
/// away, or when `limit` is over.
///
/// # Errors
/// When more than one kind or object is meant, the server refuses, or it cannot be reached in the
/// first place. One that goes away later is waited for.
pub async fn run(
    selection: &Selection,
    args: &Args,
    limit: Option<Duration>,
    session: &Session,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let (kind, name) = single(selection)?;
    let mut vigil = Vigil::new(kind, name, args, session, out);
    let Some(limit) = limit.filter(|limit| !limit.is_zero()) else {
        let never = vigil.follow(session.patience(), out).await?;
        match never {}
    };
    let follows = vigil.follow(limit.min(PATIENCE), out);
    match tokio::time::timeout(limit, follows).await {
        Ok(ended) => match ended? {},
        Err(_) if vigil.listed => Ok(Exit::Ok),
        Err(_) => Err(vigil.no_answer(limit)),
    }
}

fn single(selection: &Selection) -> Result<(&'static Kind, Option<&str>), Failure> {
    match selection {
        Selection::All(kinds) => match kinds.as_slice() {
            [kind] => Ok((*kind, None)),
            _ => Err("several kinds"),
        },
        Selection::Named(names) => match names.as_slice() {
            [(kind, name)] => Ok((*kind, Some(name.as_str()))),
            _ => Err("several objects"),
        },
    }
    .map_err(|what| {
        Failure::usage(format!("--watch takes one kind or one object, not {what}"))
            .hint("watch one kind, as in `bbctl get instances --watch`, or see all in `bbctl ui`")
    })
}

/// A watch, and what is known and was written.
struct Vigil<'a> {
    session: &'a Session,
    api: Api<Object>,
    config: watcher::Config,
    /// What it does, as it follows "cannot".
    doing: String,
    /// The one object that is meant, if it is one.
    target: Option<Target>,
    /// Whether what is there at first is not shown.
    only: bool,
    known: Known,
    kind: &'static Kind,
    sheet: Sheet,
    everywhere: bool,
    /// Whether all that was there at first is known.
    listed: bool,
    lost: bool,
}

impl<'a> Vigil<'a> {
    fn new(
        kind: &'static Kind,
        name: Option<&str>,
        args: &Args,
        session: &'a Session,
        out: &Out,
    ) -> Self {
        let everywhere = args.all_namespaces;
        let namespace = (kind.namespaced && !everywhere).then(|| session.namespace());
        let mut config = watcher::Config::default();
        if let Some(labels) = &args.selector {
            config = config.labels(labels);
        }
        if let Some(name) = name {
            config = config.fields(&format!("metadata.name={name}"));
        }
        let look = Rows {
            wide: out.format() == Format::Wide,
            everywhere,
            several: false,
        };
        Self {
            session,
            api: session.api(&kind.resource(), namespace),
            config,
            doing: format!("watch {}{}", kind.plural, within(namespace)),
            target: name.map(|name| Target::known(kind, name, session)),
            only: args.watching.watch_only,
            known: Known::default(),
            kind,
            sheet: Sheet::new(kind, look, out.room()),
            everywhere,
            listed: false,
            lost: false,
        }
    }

    /// Watches on and on; `patience` is how long a list may be silent.
    async fn follow(&mut self, patience: Duration, out: &mut Out) -> Result<Infallible, Failure> {
        let mut pauses = DefaultBackoff::default();
        loop {
            self.watch(patience, out).await?;
            // A list is read again after that: what was missed is known from it, and that the
            // server is back.
            tokio::time::sleep(pauses.next().unwrap_or(patience)).await;
        }
    }

    /// Watches until something comes in between that may pass.
    async fn watch(&mut self, patience: Duration, out: &mut Out) -> Result<(), Failure> {
        let mut events = pin!(watch::changes(self.api.clone(), self.config.clone()));
        let mut lists = true;
        loop {
            let event = match lists {
                true => tokio::time::timeout(patience, events.next()).await,
                false => Ok(events.next().await),
            };
            match event {
                Ok(Some(Ok(event))) => {
                    let whole = matches!(event, Event::InitDone);
                    let changes = self.known.take(event);
                    if whole {
                        lists = false;
                        self.whole(&changes, out)?;
                    } else {
                        self.write(&changes, out)?;
                    }
                }
                Ok(Some(Err(error))) => return self.trouble(&error, out),
                Ok(None) => return Ok(()),
                Err(_) if !self.listed => return Err(self.no_answer(patience)),
                Err(_) => {
                    self.lose("no answer", out);
                    return Ok(());
                }
            }
        }
    }

    /// A list is whole: the first, or one after something came in between.
    fn whole(&mut self, changes: &[Change], out: &mut Out) -> Result<(), Failure> {
        // Nobody is waited for from here on.
        out.sign().clear();
        let first = !std::mem::replace(&mut self.listed, true);
        if std::mem::take(&mut self.lost) {
            out.note(&format!("{} is back", self.session.server()));
        }
        if first && self.only {
            return Ok(());
        }
        if first && self.known.is_empty() {
            if let Some(target) = &self.target {
                return Err(watch::absent(target));
            }
            if !out.is_machine() {
                let namespace = (!self.everywhere).then(|| self.session.namespace());
                out.note(&format!("nothing found{} yet", within(namespace)));
            }
        }
        self.write(changes, out)
    }

    fn write(&mut self, changes: &[Change], out: &mut Out) -> Result<(), Failure> {
        match out.format() {
            Format::Table | Format::Wide => {
                for line in self.sheet.lines(changes, Timestamp::now(), out.colour()) {
                    out.line(&line)?;
                }
            }
            Format::Name => {
                for change in changes {
                    out.line(&full_name(self.kind, change.object()))?;
                }
            }
            Format::Json | Format::Yaml => {
                for change in changes {
                    let object = presentable(change.object().as_ref().clone())?;
                    out.record(&json!({"type": change.word(), "object": object}))?;
                }
            }
        }
        out.flush()
    }

    /// A refusal ends the watch, and so does anything before the first list is there.
    fn trouble(&mut self, error: &watcher::Error, out: &mut Out) -> Result<(), Failure> {
        match watch::cause(error) {
            Some(cause) if watch::is_refusal(cause) || !self.listed => {
                return Err(Failure::api(&self.doing, self.session.server(), cause));
            }
            None if !self.listed => {
                let doing = &self.doing;
                return Err(Failure::new(
                    Exit::Failure,
                    format!("cannot {doing}: {error}"),
                ));
            }
            _ if is_expired(error) => {}
            _ => self.lose(&error.to_string(), out),
        }
        Ok(())
    }

    fn lose(&mut self, why: &str, out: &mut Out) {
        if !std::mem::replace(&mut self.lost, true) {
            let server = self.session.server();
            out.note(&format!("lost {server}, trying again: {why}"));
        }
    }

    fn no_answer(&self, patience: Duration) -> Failure {
        Failure::no_answer(&self.doing, self.session.server(), patience.as_secs_f64())
    }
}

/// Whether the server has forgotten what we last saw, as it does with what is old: nothing is
/// lost by reading the list again.
fn is_expired(error: &watcher::Error) -> bool {
    let code = match (error, watch::cause(error)) {
        (watcher::Error::WatchError(status), _) => Some(status.code),
        (_, Some(kube::Error::Api(status))) => Some(status.code),
        _ => None,
    };
    code == Some(410)
}

#[cfg(test)]
mod tests;
