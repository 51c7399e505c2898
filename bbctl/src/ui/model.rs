//! Turns all that has happened into the state of the dashboard: what is known, and where the
//! reader is.
//!
//! No terminal, no client, no clock. Whoever has those tells of them by events.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::kinds::{KINDS, Kind};
use crate::related::namespace_of;
use crate::style::Tone;

use super::ask::Ask;
use super::event::{self, Command, Ran};
use super::form::Form;
use super::list::List;
use super::paper;
use super::place::{Place, Tab, needs};
use super::plan::Plan;
use super::prompt::Prompt;
use super::pulse::History;
use super::settings::{Readonly, Settings};
use super::sheet::Told;
use super::stands;
use super::store::{Reach, Store};
use super::theme::Theme;

/// The smallest screen that is drawn on: columns and lines.
pub const SMALLEST: (u16, u16) = (60, 15);
/// How long a notice stays, in seconds.
const NOTICE: i64 = 8;
/// How many screens of history are kept.
const HISTORY: usize = 50;
/// How many lines the log of commands takes where it shows.
pub const LOG_LINES: u16 = 5;

/// A sentence at the bottom of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it says.
    pub text: String,
    /// What it means.
    pub tone: Tone,
    until: i64,
}

/// A command that was run, and how it ended.
#[derive(Clone, Debug)]
pub struct Logged {
    /// What a person would have typed.
    pub line: String,
    /// How it ended; none while it runs.
    pub ended: Option<Ran>,
    /// When it began.
    pub since: Timestamp,
}

/// What lies over the screen and takes the keys first.
#[derive(Clone, Debug)]
pub enum Over {
    /// The keys, from a line on.
    Help(usize),
    /// A line that is typed.
    Prompt(Prompt),
    /// A question.
    Ask(Box<Ask>),
    /// A form.
    Form(Box<Form>),
    /// What a change would send.
    Plan(Box<Plan>),
    /// What a command wrote, from a line on.
    Said(Ran, usize),
}

/// Parts of the screen that can be hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Show {
    /// The header.
    pub header: bool,
    /// The way here.
    pub crumbs: bool,
    /// The commands that were run.
    pub log: bool,
    /// All columns.
    pub wide: bool,
}

/// The whole state.
#[derive(Debug)]
pub struct Model {
    /// The moment that ages are told for.
    pub now: Timestamp,
    /// Columns and lines of the terminal.
    pub size: (u16, u16),
    /// Which server is looked at.
    pub at: event::Place,
    /// What the server does, if it does not answer.
    pub lost: Option<String>,
    /// How the dashboard behaves.
    pub settings: Settings,
    /// How it looks.
    pub theme: Theme,
    /// Nothing may be changed.
    pub readonly: bool,
    /// Nothing may be changed, in whatever context.
    pub readonly_flag: bool,
    /// In which contexts nothing may be changed until the end: all that settings said since the
    /// start. No key takes from it.
    pub readonly_floor: Readonly,
    /// What there is.
    pub store: Store,
    /// The tenant's namespace that is looked at; none: all.
    pub namespace: Option<String>,
    /// Screens on top of each other: the way here. There is always one.
    pub stack: Vec<Place>,
    /// What lies over the screen.
    pub over: Option<Over>,
    /// What is said at the bottom.
    pub notice: Option<Notice>,
    /// The commands that were run, the latest last.
    pub log: Vec<Logged>,
    /// Which parts show.
    pub show: Show,
    /// Counts over time.
    pub history: History,
    /// The settings in force, once they were read.
    pub told: Vec<Told>,
    /// Which public keys there are at home: file and key.
    pub ssh_keys: Vec<(String, String)>,
    /// Ways that were left, and those that come after the present one.
    pub(super) before: Vec<Vec<Place>>,
    pub(super) after: Vec<Vec<Place>>,
    /// Where to go once another server is connected.
    pub(super) upon: Option<Place>,
    /// Whose list was refused everywhere and is tried in one namespace.
    pub(super) narrow: BTreeSet<&'static str>,
}

impl Model {
    /// The state before anything has happened.
    #[must_use]
    pub fn new(settings: Settings, theme: Theme, now: Timestamp) -> Self {
        let kind = Kind::named("instances").expect("instances are a kind of ours");
        Self {
            now,
            size: (80, 24),
            at: event::Place::default(),
            lost: None,
            readonly: false,
            readonly_flag: false,
            readonly_floor: settings.readonly.clone(),
            settings,
            theme,
            store: Store::default(),
            namespace: None,
            stack: vec![Place::List(List::new(kind, None))],
            over: None,
            notice: None,
            log: Vec::new(),
            show: Show {
                header: true,
                crumbs: true,
                log: false,
                wide: false,
            },
            history: History::default(),
            told: Vec::new(),
            ssh_keys: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            upon: None,
            narrow: BTreeSet::new(),
        }
    }

    /// Looks at one namespace from the start.
    pub fn look_at(&mut self, namespace: &str) {
        self.namespace = Some(namespace.to_owned());
        if let Some(Place::List(list)) = self.stack.last_mut() {
            list.query.namespace = Some(namespace.to_owned());
        }
    }

    /// The screen.
    #[must_use]
    pub fn place(&self) -> &Place {
        self.stack.last().expect("there is always a screen")
    }

    /// The screen, to be changed.
    pub fn place_mut(&mut self) -> &mut Place {
        self.stack.last_mut().expect("there is always a screen")
    }

    /// How it looks now: as it is, or as it would with the theme that is looked at.
    #[must_use]
    pub fn look(&self) -> &Theme {
        match self.place() {
            Place::Settings(sheet) => sheet.seen.as_ref().unwrap_or(&self.theme),
            _ => &self.theme,
        }
    }

    /// Says whether the terminal is too small.
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.size.0 < SMALLEST.0 || self.size.1 < SMALLEST.1
    }

    /// How many lines the middle of the screen has.
    #[must_use]
    pub fn height(&self) -> usize {
        let around = u16::from(self.show.header) * 2
            + u16::from(self.show.crumbs)
            + u16::from(self.show.log) * (LOG_LINES + 1)
            + 2;
        usize::from(self.size.1.saturating_sub(around))
    }

    /// How many rows of a list the screen has: a line is its heading.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.height().saturating_sub(1).max(1)
    }

    /// Which kinds are to be watched, and in which namespace; none: in all.
    #[must_use]
    pub fn wanted(&self) -> BTreeSet<(&'static str, Option<String>)> {
        let mut plurals = needs(self.place());
        // The header numbers the tenants.
        plurals.insert("tenants");
        if let Some(Over::Form(_)) = self.over {
            plurals.extend(KINDS.iter().map(|kind| kind.plural));
        }
        let place = |plural: &str| {
            let narrow = self.narrow.contains(plural);
            narrow.then(|| {
                self.namespace
                    .clone()
                    .unwrap_or_else(|| self.at.namespace.clone())
            })
        };
        plurals
            .into_iter()
            .map(|plural| (plural, place(plural)))
            .collect()
    }

    /// The namespaces behind the keys 1 to 9.
    #[must_use]
    pub fn favourites(&self) -> Vec<String> {
        let mut all: Vec<String> = self.settings.favourites.clone();
        if all.is_empty() {
            let tenants = self.store.shelf("tenants").iter();
            all = tenants
                .map(|(_, entry)| namespace_of(&entry.object))
                .collect();
        }
        if all.is_empty() && !self.at.namespace.is_empty() {
            all.push(self.at.namespace.clone());
        }
        all.truncate(9);
        all
    }

    /// The names of all tenants, and the context's namespace where none may be seen.
    #[must_use]
    pub fn favourites_all(&self) -> Vec<String> {
        let tenants = self.store.shelf("tenants");
        match tenants.is_empty() {
            true => self.favourites(),
            false => tenants
                .iter()
                .map(|(key, _)| key.name.to_string())
                .collect(),
        }
    }

    /// Brings all that is made from the state up to date with it: rows, lines, cursors.
    pub fn settle(&mut self) {
        let (rows, height) = (self.rows(), self.height());
        let width = usize::from(self.size.0).saturating_sub(2);
        let (store, now) = (&self.store, self.now);
        match self.stack.last_mut() {
            Some(Place::List(list)) => list.settle(store, rows),
            Some(Place::Tree(tree)) => tree.settle(store, height),
            Some(Place::Page(page)) => {
                let version = store.version();
                if page.tab == Tab::Targets
                    && page.stands.as_ref().is_none_or(|(v, _)| *v != version)
                {
                    let lines = stands::lines(&page.id, store);
                    page.stands = Some((version, Arc::new(lines)));
                }
                page.lines = Arc::new(paper::lines(page, store, width, now));
                let most = page.lines.len().saturating_sub(rows);
                page.scroll = page.scroll.min(most);
            }
            Some(Place::Pulses(pulses)) => {
                let most = KINDS.len() + store.shelf("providers").len();
                pulses.at = pulses.at.min(most.saturating_sub(1));
            }
            Some(Place::Settings(_)) | None => {}
        }
        if let Some(Over::Form(form)) = &mut self.over {
            form.settle(store);
        }
        if let Some(Over::Ask(ask)) = &self.over
            && let Some(why) = ask.outdated(store)
        {
            self.over = None;
            self.say(Tone::Waiting, why);
        }
    }

    /// Says a sentence at the bottom for a while.
    pub fn say(&mut self, tone: Tone, text: impl Into<String>) {
        self.notice = Some(Notice {
            text: text.into(),
            tone,
            until: self.now.as_second() + NOTICE,
        });
    }

    /// Takes away what was said long enough.
    pub(super) fn forget_notice(&mut self) {
        let over = |notice: &Notice| notice.until <= self.now.as_second();
        if self.notice.as_ref().is_some_and(over) {
            self.notice = None;
        }
    }

    /// Goes on to a screen; the one before stays below it.
    pub(super) fn open(&mut self, place: Place) {
        self.remember();
        self.stack.push(place);
    }

    /// Goes to a screen from nowhere: nothing stays below it.
    pub(super) fn jump(&mut self, place: Place) {
        self.remember();
        self.stack = vec![place];
    }

    /// Keeps the present way for `[`.
    pub(super) fn remember(&mut self) {
        self.before.push(self.stack.clone());
        if self.before.len() > HISTORY {
            self.before.remove(0);
        }
        self.after.clear();
    }

    /// How much what is on the screen can be trusted.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        let plural = match self.place() {
            Place::List(list) => list.kind.plural,
            Place::Page(page) => page.id.kind.plural,
            Place::Tree(_) | Place::Settings(_) => "tenants",
            Place::Pulses(_) => "providers",
        };
        &self.store.shelf(plural).reach
    }

    /// Notes a command that begins.
    pub(super) fn log(&mut self, command: &Command) {
        const KEPT: usize = 200;
        self.log.push(Logged {
            line: command.line(),
            ended: None,
            since: self.now,
        });
        if self.log.len() > KEPT {
            self.log.remove(0);
        }
    }
}
