//! Turns keys that move into where the reader is next.

use ratatui::crossterm::event::KeyCode;

use crate::kinds::{KINDS, Kind};
use crate::object::text;
use crate::related::namespace_of;
use crate::style::Tone;

use super::belongs::below;
use super::event::{self, Effect};
use super::keys::{Action, Key};
use super::list::{By, List};
use super::model::Model;
use super::place::{Page, Place, Pulses, Tab};
use super::prompt::Meaning;
use super::sheet::Sheet;
use super::store::{Id, Key as Name};
use super::tree::Tree;

/// Moves the cursor, the window or the tab.
pub(super) fn step(model: &mut Model, action: Action) {
    let (rows, height) = (model.rows(), model.height());
    let pulses = KINDS.len() + model.store.shelf("providers").len();
    let moved = |at: usize, page: usize, most: usize| match action {
        Action::Down => (at + 1).min(most),
        Action::Up => at.saturating_sub(1),
        Action::PageDown => (at + page).min(most),
        Action::PageUp => at.saturating_sub(page),
        Action::Top => 0,
        Action::Bottom => most,
        _ => at,
    };
    let sideways = match action {
        Action::Left => Some(false),
        Action::Right => Some(true),
        _ => None,
    };
    match model.place_mut() {
        Place::List(list) => match sideways {
            None => {
                let most = list.order.len().saturating_sub(1);
                list.go(moved(list.at(), rows, most));
            }
            Some(right) => {
                let last = list.kind.columns.len() - 1;
                list.column = match (list.column, right) {
                    (None, true) => Some(0),
                    (Some(at), true) => Some((at + 1).min(last)),
                    (None | Some(0), false) => None,
                    (Some(at), false) => Some(at - 1),
                };
            }
        },
        Place::Tree(tree) => match sideways {
            None => {
                let most = tree.rows.len().saturating_sub(1);
                tree.go(moved(tree.at(), height, most));
            }
            Some(open) => tree.fold(open),
        },
        Place::Page(page) => match sideways {
            None => {
                let most = page.lines.len().saturating_sub(rows);
                page.scroll = moved(page.scroll, rows, most);
            }
            Some(right) => {
                let at = Tab::ALL.iter().position(|(tab, _)| *tab == page.tab);
                let at = at.unwrap_or_default();
                let count = Tab::ALL.len();
                let next = if right { at + 1 } else { at + count - 1 } % count;
                (page.tab, page.scroll) = (Tab::ALL[next].0, 0);
            }
        },
        Place::Pulses(seen) => seen.at = moved(seen.at, rows, pulses.saturating_sub(1)),
        // It takes its keys itself.
        Place::Settings(_) => {}
    }
}

/// Goes to what is below the cursor.
pub(super) fn enter(model: &mut Model) {
    let next = match model.place() {
        Place::List(list) => list.under_cursor().map(|id| match below(id.kind) {
            Some(kind) => Place::List(List::of(kind, id)),
            None => Place::Page(Page::new(id, Tab::Describe)),
        }),
        Place::Tree(tree) => tree
            .under_cursor()
            .map(|id| Place::Page(Page::new(id, Tab::Describe))),
        Place::Page(_) | Place::Settings(_) => None,
        Place::Pulses(Pulses { at }) => match KINDS.get(*at) {
            Some(kind) => Some(Place::List(List::new(kind, None))),
            None => {
                let providers = model.store.shelf("providers");
                let found = providers.iter().nth(*at - KINDS.len());
                let kind = providers.kind;
                found.map(|(key, _)| {
                    Place::Page(Page::new(Id::new(kind, key.clone()), Tab::Describe))
                })
            }
        },
    };
    if let Some(next) = next {
        model.open(next);
    }
}

/// Takes away what narrows the list, else goes back to the screen below.
pub(super) fn back(model: &mut Model) {
    if let Place::List(list) = model.place_mut() {
        if !list.marks.is_empty() {
            list.marks.clear();
            list.anchor = None;
            return;
        }
        if !list.query.filter.is_empty() {
            list.query.filter.clear();
            return;
        }
        if list.query.faults {
            list.query.faults = false;
            return;
        }
    }
    if model.stack.len() > 1 {
        pop(model);
    } else {
        model.say(Tone::Faint, "this is the first screen: q leaves");
    }
}

/// Goes back to the screen below.
pub(super) fn pop(model: &mut Model) {
    if model.stack.len() > 1 {
        model.remember();
        model.stack.pop();
    }
}

/// Goes back or forward among the ways that were gone.
pub(super) fn history(model: &mut Model, forward: bool) {
    let (from, to) = if forward {
        (&mut model.after, &mut model.before)
    } else {
        (&mut model.before, &mut model.after)
    };
    match from.pop() {
        Some(way) => to.push(std::mem::replace(&mut model.stack, way)),
        None => model.say(Tone::Faint, "there is nothing further that way"),
    }
}

/// Shows one side of the object.
pub(super) fn page(model: &mut Model, action: Action) {
    let tab = match action {
        Action::Yaml => Tab::Yaml,
        Action::Events => Tab::Events,
        Action::Calls => Tab::Targets,
        _ => Tab::Describe,
    };
    if let Place::Page(page) = model.place_mut() {
        (page.tab, page.scroll) = (tab, 0);
    } else if let Some(id) = model.place().object() {
        model.open(Place::Page(Page::new(id, tab)));
    }
}

/// Shows an object on a page of its own.
pub(super) fn show(model: &mut Model, id: Id) {
    model.open(Place::Page(Page::new(id, Tab::Describe)));
}

/// Goes to what the object belongs to.
pub(super) fn owner(model: &mut Model) {
    let Some(id) = model.place().object() else {
        return;
    };
    let of = |kind: &str, name: &str, namespace: &str| {
        let kind = Kind::named(kind)?;
        (!name.is_empty()).then(|| Id::new(kind, Name::new(namespace, name)))
    };
    let object = model.store.get(&id).map(|entry| &entry.object);
    let field = |pointer: &str| object.map(|o| text(o, pointer)).unwrap_or_default();
    let namespace = &*id.key.namespace;
    let attached = field("/status/attachedTo/instance");
    let found = match id.kind.kind {
        "Provider" => of("region", &field("/spec/region"), ""),
        "Volume" if !attached.is_empty() => of("instance", &attached, namespace),
        "Instance" | "Network" | "Volume" => {
            let tenants = model.store.shelf("tenants").iter();
            let mut tenants = tenants.filter(|(_, t)| namespace_of(&t.object) == namespace);
            tenants
                .next()
                .and_then(|(key, _)| of("tenant", &key.name, ""))
        }
        _ => None,
    };
    match found {
        Some(id) => show(model, id),
        None => model.say(
            Tone::Faint,
            format!("{} belongs to nothing you may see", id.label()),
        ),
    }
}

/// Goes to what uses the object.
pub(super) fn used_by(model: &mut Model) {
    let Some(id) = model.place().object() else {
        return;
    };
    match below(id.kind) {
        Some(kind) => model.open(Place::List(List::of(kind, id))),
        None => model.say(Tone::Faint, format!("nothing uses {}", id.label())),
    }
}

/// Looks at one tenant, by its namespace, or at all.
pub(super) fn tenant(model: &mut Model, namespace: Option<String>) {
    if namespace.is_none() && !model.narrow.is_empty() {
        model.say(Tone::Waiting, "you may not list in all namespaces");
        return;
    }
    model.namespace.clone_from(&namespace);
    model.say(
        Tone::Plain,
        match &namespace {
            Some(namespace) => format!("only what is in namespace {namespace}"),
            None => "all tenants".to_owned(),
        },
    );
    match model.place_mut() {
        Place::List(list) if list.kind.namespaced => {
            (list.query.namespace, list.query.of) = (namespace, None);
        }
        Place::Tree(tree) => tree.namespace = namespace,
        _ => {}
    }
}

/// Looks at the tenant with a number.
pub(super) fn favourite(model: &mut Model, key: Key) {
    let KeyCode::Char(digit) = key.code else {
        return;
    };
    let at = digit
        .to_digit(10)
        .and_then(|digit| usize::try_from(digit).ok());
    let at = at.and_then(|digit| digit.checked_sub(1));
    match at.and_then(|at| model.favourites().get(at).cloned()) {
        Some(namespace) => tenant(model, Some(namespace)),
        None => model.say(Tone::Faint, format!("there is no tenant {digit}")),
    }
}

/// Changes which rows show, their order, or their marks.
pub(super) fn look(list: &mut List, action: Action) {
    let by = match action {
        Action::SortName => By::Name,
        Action::SortAge => By::Age,
        Action::SortStatus => By::Status,
        Action::SortColumn => match list.column {
            Some(column) if list.kind.columns[column].title == "age" => By::Age,
            Some(column) => By::Column(column),
            None => By::Name,
        },
        Action::Faults => {
            list.query.faults = !list.query.faults;
            return;
        }
        Action::Mark => {
            list.mark();
            return;
        }
        _ => {
            list.mark_range();
            return;
        }
    };
    if list.query.by == by {
        list.query.reverse = !list.query.reverse;
    } else {
        (list.query.by, list.query.reverse) = (by, false);
    }
}

/// Goes where a line of the palette says.
pub(super) fn follow(model: &mut Model, meaning: Meaning) -> Vec<Effect> {
    match meaning {
        Meaning::Quit => return vec![Effect::Quit],
        Meaning::Pulses => model.jump(Place::Pulses(Pulses::default())),
        Meaning::Tree => {
            let tree = Tree::new(model.namespace.clone());
            model.jump(Place::Tree(tree));
        }
        Meaning::Help => model.over = Some(super::model::Over::Help(0)),
        Meaning::Log => model.show.log = true,
        Meaning::Settings => {
            model.jump(Place::Settings(Sheet::default()));
            return vec![Effect::Explain];
        }
        Meaning::All => tenant(model, None),
        Meaning::Theme(theme) => model.theme = *theme,
        Meaning::Tenant(name) => {
            let key = Name::new("", &name);
            let known = model.store.shelf("tenants").get(&key);
            let namespace = known.map_or(name, |entry| namespace_of(&entry.object));
            tenant(model, Some(namespace));
        }
        Meaning::Create(plural) => return super::change::form(model, plural),
        Meaning::Context(context) => {
            model.upon = None;
            model.say(Tone::Plain, format!("connecting to {context} …"));
            return vec![Effect::Connect(context)];
        }
        Meaning::Kind {
            plural,
            context,
            filter,
        } => {
            let Some(kind) = Kind::named(plural) else {
                return Vec::new();
            };
            let mut list = List::new(kind, model.namespace.clone());
            list.query.filter = filter;
            match context {
                Some(context) if context != model.at.context => {
                    list.query.namespace = None;
                    model.upon = Some(Place::List(list));
                    model.say(Tone::Plain, format!("connecting to {context} …"));
                    return vec![Effect::Connect(context)];
                }
                _ => model.jump(Place::List(list)),
            }
        }
    }
    Vec::new()
}

/// Looks at another server from now on.
pub(super) fn arrive(model: &mut Model, at: event::Place) {
    let first = model.at.server.is_empty();
    model.readonly = model.readonly_flag || model.readonly_floor.holds(&at.context);
    model.lost = None;
    if !first {
        model.store.forget();
        model.narrow.clear();
        model.namespace = None;
        model.history = super::pulse::History::default();
        (model.before, model.after, model.over) = (Vec::new(), Vec::new(), None);
        let place = model.upon.take().unwrap_or_else(|| match model.place() {
            Place::List(list) => Place::List(List::new(list.kind, None)),
            _ => Place::Pulses(Pulses::default()),
        });
        model.stack = vec![place];
        model.say(Tone::Good, format!("connected to {}", at.context));
    }
    model.at = at;
}
