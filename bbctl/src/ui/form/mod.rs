//! Turns fields that a person fills in into a manifest, or into a command that changes a size.

mod asked;
mod manifest;

use ratatui::crossterm::event::KeyCode;

use crate::kinds::Kind;
use crate::object::{Object, text};
use crate::out::render_yaml;

use super::check;
use super::event::{Command, Ran, Why};
use super::keys::Key;
use super::line::Line;
use super::model::Model;
use super::offers::{Facts, Offer, offer};
use super::store::{Id, Key as Name, Store};

pub use asked::{Asked, FIELDS};
use asked::{may, must};

/// One field of a form.
#[derive(Clone, Debug)]
pub struct Field {
    /// What is asked for.
    pub asked: Asked,
    /// What was typed, or offered.
    pub line: Line,
    /// Where what stands in it is from.
    pub source: String,
    /// What else could stand in it.
    pub choices: Vec<String>,
    /// What is wrong with it.
    pub trouble: Option<String>,
    touched: bool,
}

/// What a form is for.
#[derive(Clone, Debug)]
enum What {
    Create,
    /// The sizes as they are.
    Resize(Id, Vec<(&'static str, String)>),
}

/// How far a form is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is filled in.
    Filling,
    /// What comes of it is shown.
    Shown {
        /// The first line that is shown.
        from: usize,
        /// What the server says of it; none: it has not answered.
        verdict: Option<Result<String, String>>,
    },
    /// It was sent.
    Sent,
}

/// A form.
#[derive(Clone, Debug)]
pub struct Form {
    /// What it is headed with.
    pub title: String,
    /// The kind.
    pub kind: &'static Kind,
    /// The fields.
    pub fields: Vec<Field>,
    /// Which has the cursor; behind the last: the button.
    pub at: usize,
    /// How far it is.
    pub stage: Stage,
    /// What is wrong with the whole.
    pub trouble: Option<String>,
    /// Whether leaving was asked for once and something would be lost.
    pub leaving: bool,
    what: What,
    facts: Facts,
    made_from: Option<(u64, Vec<String>)>,
}

/// What becomes of a form after a key.
pub(super) enum Outcome {
    /// It stays.
    Stay,
    /// It is closed.
    Leave,
    /// Commands are run.
    Run(Vec<Command>),
    /// What it would send is looked at first.
    Plan,
}

impl Form {
    /// A form for a new object.
    pub(super) fn create(kind: &'static Kind, model: &Model) -> Self {
        let fields = FIELDS
            .iter()
            .find(|(singular, _)| *singular == kind.singular);
        let fields = fields.map_or(&[][..], |(_, fields)| fields);
        let mut form = Self {
            title: format!("new {}", kind.singular),
            kind,
            fields: fields.iter().map(|asked| Field::empty(*asked)).collect(),
            at: 0,
            stage: Stage::Filling,
            trouble: None,
            leaving: false,
            what: What::Create,
            facts: Facts::of(model),
            made_from: None,
        };
        form.settle(&model.store);
        form
    }

    /// A form for the size of an object.
    pub(super) fn resize(id: &Id, object: &Object) -> Self {
        let asked: &[Asked] = match id.kind.kind {
            "Volume" => &[must("size", "spec/size")],
            _ => &[
                must("cpu", "spec/cpu"),
                must("memory", "spec/memory"),
                may("disk", "spec/disk"),
            ],
        };
        let now: Vec<(&'static str, String)> = asked
            .iter()
            .map(|asked| (asked.title, text(object, &format!("/{}", asked.way))))
            .collect();
        let field = |(asked, (_, value)): (&Asked, &(&str, String))| Field {
            line: Line::new(value),
            source: match value.as_str() {
                "" => "the image's own size".to_owned(),
                _ => "as it is".to_owned(),
            },
            ..Field::empty(*asked)
        };
        Self {
            title: format!("size of {}", id.label()),
            kind: id.kind,
            fields: asked.iter().zip(&now).map(field).collect(),
            at: 0,
            stage: Stage::Filling,
            trouble: None,
            leaving: false,
            what: What::Resize(id.clone(), now),
            facts: Facts::default(),
            made_from: None,
        }
    }

    /// What stands in a field.
    #[must_use]
    pub fn value(&self, title: &str) -> String {
        let field = self.fields.iter().find(|field| field.asked.title == title);
        field
            .map(|field| field.line.text().trim().to_owned())
            .unwrap_or_default()
    }

    /// Brings what is offered and what is wrong up to date with what there is.
    pub(super) fn settle(&mut self, store: &Store) {
        let typed: Vec<String> = self.fields.iter().map(|field| field.line.text()).collect();
        let made_from = (store.version(), typed);
        if self.made_from.as_ref() == Some(&made_from) {
            return;
        }
        if let What::Create = self.what {
            for at in 0..self.fields.len() {
                let asked = self.fields[at].asked;
                let place = self.value("namespace");
                let Offer {
                    value,
                    source,
                    choices,
                } = offer(self.kind, &asked, &place, &self.facts, store);
                let field = &mut self.fields[at];
                if !field.touched {
                    (field.line, field.source) = (Line::new(&value), source);
                }
                field.choices = choices;
            }
        }
        let (kind, namespace) = (self.kind, self.value("namespace"));
        for field in &mut self.fields {
            let text = field.line.text().trim().to_owned();
            let creating = matches!(self.what, What::Create);
            let place = creating.then_some(namespace.as_str());
            field.trouble = check::field(kind, &field.asked, &text, place, store).err();
        }
        let fine = self.fields.iter().all(|field| field.trouble.is_none());
        self.trouble = match (&self.what, fine) {
            (What::Create, true) => check::whole(&self.manifest(), store).err(),
            (What::Resize(_, now), true) => {
                let same = now.iter().all(|(title, value)| self.value(title) == *value);
                same.then(|| "nothing is changed yet".to_owned())
            }
            (_, false) => None,
        };
        let typed = self.fields.iter().map(|field| field.line.text()).collect();
        self.made_from = Some((store.version(), typed));
    }

    /// What the footer says.
    #[must_use]
    pub fn footer(&self) -> &'static str {
        match (&self.stage, self.leaving) {
            (_, true) => " what you typed is lost: esc again to leave, any other key to stay",
            (Stage::Filling, _) => {
                " up/down: field  ctrl-n/ctrl-p: other values  enter: next  ctrl-s: review  esc"
            }
            (
                Stage::Shown {
                    verdict: Some(Ok(_)),
                    ..
                },
                _,
            ) => " enter: do it  p: plan  up/down: scroll  esc: back",
            (Stage::Shown { .. }, _) => " up/down: scroll  esc: back to the fields",
            (Stage::Sent, _) => " waiting for the server",
        }
    }

    /// Whether it was sent.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.stage == Stage::Sent
    }

    /// The object that it makes or changes.
    #[must_use]
    pub fn made(&self) -> Id {
        match &self.what {
            What::Resize(id, _) => id.clone(),
            What::Create => {
                let namespace = self.value("namespace");
                Id::new(self.kind, Name::new(&namespace, &self.value("name")))
            }
        }
    }

    /// What comes of the form, as it is shown before it is sent.
    #[must_use]
    pub fn result(&self) -> String {
        match &self.what {
            What::Create => match render_yaml(&self.manifest()) {
                Ok(text) => text,
                Err(failure) => failure.message,
            },
            What::Resize(..) => self.command().line(),
        }
    }

    /// The command that does it.
    #[must_use]
    pub fn command(&self) -> Command {
        match &self.what {
            What::Create => Command {
                stdin: Some(self.result()),
                ..Command::new(["apply", "-f", "-"])
            },
            What::Resize(id, now) => {
                let mut args = vec![
                    id.kind.plural.to_owned(),
                    "resize".to_owned(),
                    id.key.name.to_string(),
                ];
                // A volume has one size, and its verb takes it bare.
                if id.kind.kind == "Volume" {
                    args.push(self.value("size"));
                }
                for (title, before) in now {
                    let value = self.value(title);
                    if value != *before && id.kind.kind != "Volume" {
                        args.push(format!("--{title}={value}"));
                    }
                }
                args.extend(id.place());
                Command::new(args)
            }
        }
    }

    /// What the server says of it.
    pub(super) fn judged(&mut self, ran: &Ran) {
        // An answer about what was there before the last change is none.
        let stdin = ran.command.stdin.as_deref();
        let current = stdin.is_none_or(|stdin| stdin == self.result());
        if let Stage::Shown { verdict, .. } = &mut self.stage
            && current
        {
            *verdict = Some(match ran.code {
                0 => Ok("the server would take it".to_owned()),
                _ => Err(ran.said.trim().to_owned()),
            });
        }
    }

    /// The server has not taken it.
    pub(super) fn refused(&mut self, ran: &Ran) {
        self.stage = Stage::Shown {
            from: 0,
            verdict: Some(Err(ran.said.trim().to_owned())),
        };
    }

    /// Puts text into the field under the cursor.
    pub(super) fn paste(&mut self, text: &str) {
        if self.stage == Stage::Filling
            && let Some(field) = self.fields.get_mut(self.at)
        {
            field.line.paste(text);
            field.touch();
        }
    }

    pub(super) fn press(&mut self, key: Key) -> Outcome {
        if std::mem::take(&mut self.leaving) {
            return if key.code == KeyCode::Esc {
                Outcome::Leave
            } else {
                Outcome::Stay
            };
        }
        match &mut self.stage {
            Stage::Filling => self.fill(key),
            Stage::Shown { from, verdict } => {
                match key.code {
                    KeyCode::Esc => self.stage = Stage::Filling,
                    KeyCode::Char('p') => return Outcome::Plan,
                    KeyCode::Down => *from = (*from + 1).min(200),
                    KeyCode::Up => *from = from.saturating_sub(1),
                    KeyCode::Enter if matches!(verdict, Some(Ok(_))) => {
                        self.stage = Stage::Sent;
                        return Outcome::Run(vec![self.command()]);
                    }
                    _ => {}
                }
                Outcome::Stay
            }
            Stage::Sent => Outcome::Stay,
        }
    }

    fn fill(&mut self, key: Key) -> Outcome {
        let button = self.fields.len();
        match (key.code, key.ctrl) {
            (KeyCode::Esc, _) => {
                if !self.fields.iter().any(|field| field.touched) {
                    return Outcome::Leave;
                }
                self.leaving = true;
            }
            (KeyCode::Char('s'), true) => return self.review(),
            (KeyCode::Enter, _) if self.at >= button => return self.review(),
            (KeyCode::Down | KeyCode::Tab | KeyCode::Enter, _) => {
                self.at = if self.at >= button { 0 } else { self.at + 1 };
            }
            (KeyCode::Up | KeyCode::BackTab, _) => {
                self.at = self.at.checked_sub(1).unwrap_or(button);
            }
            (KeyCode::Char('n'), true) => self.cycle(true),
            (KeyCode::Char('p'), true) => self.cycle(false),
            _ => {
                if let Some(field) = self.fields.get_mut(self.at) {
                    let before = field.line.text();
                    field.line.take(key);
                    if field.line.text() != before {
                        field.touch();
                    }
                }
            }
        }
        Outcome::Stay
    }

    fn cycle(&mut self, forward: bool) {
        let Some(field) = self.fields.get_mut(self.at) else {
            return;
        };
        let count = field.choices.len();
        if count == 0 {
            return;
        }
        let at = field
            .choices
            .iter()
            .position(|choice| *choice == field.line.text());
        let next = match (at, forward) {
            (None, true) => 0,
            (None, false) => count - 1,
            (Some(at), true) => (at + 1) % count,
            (Some(at), false) => (at + count - 1) % count,
        };
        field.line = Line::new(&field.choices[next]);
        field.touch();
    }

    /// Shows what comes of it, if nothing is wrong, and lets the server judge it.
    fn review(&mut self) -> Outcome {
        if let Some(at) = self.fields.iter().position(|field| field.trouble.is_some()) {
            self.at = at;
            return Outcome::Stay;
        }
        if self.trouble.is_some() {
            return Outcome::Stay;
        }
        self.stage = Stage::Shown {
            from: 0,
            verdict: None,
        };
        let mut command = self.command();
        command.args.push("--dry-run=server".to_owned());
        command.why = Why::Check;
        Outcome::Run(vec![command])
    }
}

impl Field {
    fn empty(asked: Asked) -> Self {
        Self {
            asked,
            line: Line::default(),
            source: String::new(),
            choices: Vec::new(),
            trouble: None,
            touched: false,
        }
    }

    fn touch(&mut self) {
        self.touched = true;
        "you".clone_into(&mut self.source);
    }
}
