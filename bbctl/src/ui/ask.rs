//! Turns an action that cannot be taken back into a question, and its answer into commands.

use std::collections::{BTreeMap, BTreeSet};

use crate::confirm::{Word, is_many};
use crate::gravity::Gravity;
use crate::resource::Target;

use super::event::{Command, Weighed};
use super::line::Line;
use super::plugin::Plugin;
use super::store::{Id, Store};

/// A question before an action.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What the box is headed with.
    pub title: String,
    /// What is said before the question, a line each.
    pub words: Vec<String>,
    /// What the button beside Cancel says.
    pub yes: &'static str,
    /// Whether the cursor is on that button; at first it is on Cancel.
    pub on_yes: bool,
    /// Names that have to be typed one after the other, the next first.
    pub names: Vec<String>,
    /// What was typed.
    pub line: Line,
    /// What is run upon a yes; nothing: it is no question, only told.
    pub commands: Vec<Command>,
    /// Whether a yes changes something: in read-only mode there is none.
    pub changes: bool,
    /// Which objects it is about: that very one, where its uid is known.
    about: Vec<(Id, Option<String>)>,
}

impl Ask {
    /// The question whether to delete.
    #[must_use]
    pub fn delete(doomed: &[Weighed]) -> Self {
        let severe = doomed
            .iter()
            .filter(|one| one.consequence.gravity == Gravity::Severe);
        let many = Some(yeses(doomed)).filter(|count| is_many(*count));
        let mut names: Vec<String> = many.iter().map(ToString::to_string).collect();
        names.extend(severe.map(|one| one.id.key.name.to_string()));
        let held = doomed.iter().any(is_held);
        if held {
            names.clear();
        }
        let words = doomed.iter().map(|one| {
            let place = match &*one.id.key.namespace {
                "" => String::new(),
                namespace => format!(" in namespace {namespace}"),
            };
            let depends = one.consequence.dependents.as_ref();
            let depends = depends.map(|dependents| match &dependents.cascade {
                Some(_) => format!("{} (deleted as well)", dependents.words),
                None => format!("{}: {}", dependents.words, dependents.remedy),
            });
            let own = Some(one.consequence.words.clone()).filter(|words| !words.is_empty());
            let all: Vec<String> = own.into_iter().chain(depends).collect();
            match all.join("; ").as_str() {
                "" => format!("{}{place}", one.id.label()),
                words => format!("{}{place}: {words}", one.id.label()),
            }
        });
        Self {
            title: match doomed {
                [one] if held => format!("{} cannot be deleted", one.id.label()),
                _ if held => "these cannot be deleted".to_owned(),
                [one] => format!("Delete {}?", one.id.label()),
                many => format!("Delete these {}?", many.len()),
            },
            words: words.collect(),
            yes: "Delete",
            changes: true,
            on_yes: false,
            commands: if held { Vec::new() } else { deletions(doomed) },
            names,
            line: Line::default(),
            about: doomed
                .iter()
                .map(|one| (one.id.clone(), Some(one.uid.clone())))
                .collect(),
        }
    }

    /// The question whether to do something to instances.
    #[must_use]
    pub fn verb(yes: &'static str, words: &str, ids: Vec<Id>, commands: Vec<Command>) -> Self {
        let names: Vec<String> = ids.iter().map(Id::label).collect();
        Self {
            title: match names.as_slice() {
                [one] => format!("{yes} {one}?"),
                many => format!("{yes} these {}?", many.len()),
            },
            words: vec![format!("{}: {words}", names.join(", "))],
            yes,
            changes: true,
            on_yes: false,
            names: Vec::new(),
            line: Line::default(),
            commands,
            about: ids.into_iter().map(|id| (id, None)).collect(),
        }
    }

    /// The question whether to run a command of the user's own.
    #[must_use]
    pub fn plugin(plugin: &Plugin, about: Option<(Id, Option<String>)>, command: Command) -> Self {
        Self {
            title: match &about {
                Some((id, _)) => format!("Run {} on {}?", plugin.name, id.label()),
                None => format!("Run {}?", plugin.name),
            },
            words: vec![plugin.does.clone()],
            yes: "Run",
            changes: plugin.dangerous,
            on_yes: false,
            names: Vec::new(),
            line: Line::default(),
            commands: vec![command],
            about: about.into_iter().collect(),
        }
    }

    /// The objects that it is about.
    pub(super) fn about(&self) -> impl Iterator<Item = &Id> {
        self.about.iter().map(|(id, _)| id)
    }

    /// Why the question makes no sense any more: what it is about is gone or is another now.
    #[must_use]
    pub fn outdated(&self, store: &Store) -> Option<String> {
        self.about.iter().find_map(|(id, uid)| {
            let Some(entry) = store.get(id) else {
                return Some(format!(
                    "{} is gone meanwhile: nothing was done",
                    id.label()
                ));
            };
            let other = uid.is_some() && *uid != entry.object.metadata.uid;
            other.then(|| format!("{} is another now: nothing was done", id.label()))
        })
    }
}

/// Whether what depends on an object has to be taken away first.
fn is_held(one: &Weighed) -> bool {
    let depends = one.consequence.dependents.as_ref();
    depends.is_some_and(|dependents| dependents.cascade.is_none())
}

/// How many objects a yes would take: those that are not grave, and what goes with others.
fn yeses(doomed: &[Weighed]) -> usize {
    let is_chosen = |target: &Target| {
        doomed.iter().any(|one| {
            let namespace = target.namespace.as_deref().unwrap_or_default();
            one.id.label() == target.label() && &*one.id.key.namespace == namespace
        })
    };
    let depends = doomed
        .iter()
        .filter_map(|one| one.consequence.dependents.as_ref());
    let along = depends.flat_map(|dependents| dependents.cascade.iter().flatten());
    let along: BTreeSet<String> = along
        .filter(|target| !is_chosen(target))
        .map(Target::words)
        .collect();
    let moderate = |one: &&Weighed| one.consequence.gravity == Gravity::Moderate;
    doomed.iter().filter(moderate).count() + along.len()
}

/// The commands that delete, one for each namespace.
fn deletions(doomed: &[Weighed]) -> Vec<Command> {
    let mut by_place: BTreeMap<&str, Vec<Weighed>> = BTreeMap::new();
    for one in doomed {
        let place = by_place.entry(&one.id.key.namespace).or_default();
        place.push(one.clone());
    }
    let command = |all: &Vec<Weighed>| {
        let mut args = vec!["delete".to_owned()];
        args.extend(all.iter().map(|one| one.id.label()));
        args.extend(all.first().map(|one| one.id.place()).unwrap_or_default());
        let depends = all
            .iter()
            .filter_map(|one| one.consequence.dependents.as_ref());
        let along: Vec<_> = depends.filter_map(|d| d.cascade.as_ref()).collect();
        if !along.is_empty() {
            args.push("--cascade".to_owned());
        }
        match yeses(all) {
            0 => {}
            count if is_many(count) => args.push(format!("--confirm={}", Word::count(count))),
            _ => args.push("--yes".to_owned()),
        }
        let severe = all
            .iter()
            .filter(|one| one.consequence.gravity == Gravity::Severe);
        args.extend(severe.map(|one| format!("--confirm={}", one.id.label())));
        Command::new(args)
    };
    by_place.values().map(command).collect()
}
