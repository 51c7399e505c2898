//! Turns the state and what happens into the next state and what is asked of the world.

use crate::style::Tone;

use super::change;
use super::event::{Effect, Event, Ran, Why};
use super::go;
use super::keys::{Action, Binding, Key, On};
use super::list::List;
use super::model::{Model, Over};
use super::over;
use super::place::{Heard, Place};
use super::plan::{self, Ended};
use super::prompt::understand;
use super::sheet;
use super::store::{News, Reach};

/// How long what was said of an object is believed, in seconds.
const HEARD: i64 = 10;
/// The least time between two questions for that, in seconds.
const LEAST: i64 = 2;

/// Takes one event.
pub fn update(model: &mut Model, event: Event) -> Vec<Effect> {
    let mut effects = match event {
        Event::Key(key) => {
            // A key is about what is there, not about rows that were made before.
            model.settle();
            press(model, Key::of(key))
        }
        Event::Paste(text) => over::paste(model, &text),
        Event::Size(columns, lines) => {
            model.size = (columns, lines);
            Vec::new()
        }
        Event::Tick(now) => {
            model.now = now;
            model.forget_notice();
            let Model { history, store, .. } = model;
            history.note(store, now);
            Vec::new()
        }
        Event::News(plural, news) => {
            hear(model, plural, news);
            Vec::new()
        }
        Event::Server(Ok(())) => {
            if model.lost.take().is_some() {
                model.say(Tone::Good, "the server answers again");
            }
            Vec::new()
        }
        Event::Server(Err(why)) => {
            model.lost = Some(why);
            Vec::new()
        }
        Event::Heard(id, said) => {
            for place in &mut model.stack {
                if let Place::Page(page) = place
                    && page.id == id
                {
                    page.heard = match &said {
                        Ok(said) => Heard::Said(said.clone()),
                        Err(why) => Heard::Failed(why.clone()),
                    };
                }
            }
            Vec::new()
        }
        Event::Weighed(answer) => {
            change::weighed(model, answer);
            Vec::new()
        }
        Event::Ran(ran) => ran_out(model, ran),
        Event::Drafted(draft, left) => {
            plan::drafted(model, draft, left);
            plan::begin(model)
        }
        Event::Explained(told) => {
            sheet::explained(model, told);
            Vec::new()
        }
        Event::Connected(at) => {
            go::arrive(model, at);
            Vec::new()
        }
        Event::Unconnected(why) => {
            model.upon = None;
            model.say(Tone::Bad, why);
            Vec::new()
        }
    };
    effects.extend(listen(model));
    effects
}

/// What a watch tells: a kind that may not be listed everywhere is tried in one namespace.
fn hear(model: &mut Model, plural: &'static str, news: News) {
    let namespaced = model.store.shelf(plural).kind.namespaced;
    let refused = matches!(news, News::Denied(_));
    if refused && namespaced && !model.narrow.contains(plural) && !model.at.namespace.is_empty() {
        model.narrow.insert(plural);
        let own = model
            .namespace
            .clone()
            .unwrap_or_else(|| model.at.namespace.clone());
        model.namespace = Some(own.clone());
        for place in &mut model.stack {
            if let Place::List(list) = place
                && list.kind.plural == plural
            {
                list.query.namespace.get_or_insert_with(|| own.clone());
            }
        }
        model.store.take(plural, News::Off);
        return;
    }
    model.store.take(plural, news);
}

/// Asks for what was said of the object on the screen, when that is old or the object is new.
fn listen(model: &mut Model) -> Option<Effect> {
    let now = model.now.as_second();
    let store = &model.store;
    let Some(Place::Page(page)) = model.stack.last_mut() else {
        return None;
    };
    let entry = store.get(&page.id)?;
    let due = match &page.asked {
        None => true,
        Some((version, then)) => {
            let age = now - then;
            age >= HEARD || (age >= LEAST && version != entry.version())
        }
    };
    if !due {
        return None;
    }
    page.asked = Some((entry.version().to_owned(), now));
    let uid = entry.object.metadata.uid.clone().unwrap_or_default();
    Some(Effect::Listen(page.id.clone(), uid))
}

fn ran_out(model: &mut Model, ran: Ran) -> Vec<Effect> {
    let line = ran.command.line();
    let logged = model
        .log
        .iter_mut()
        .rev()
        .find(|l| l.ended.is_none() && l.line == line);
    if let Some(logged) = logged {
        logged.ended = Some(ran.clone());
    }
    if ran.command.why == Why::Setting && ran.code == 0 {
        return sheet::kept(model, &ran.command);
    }
    if ran.command.why == Why::Check {
        if let Some(Over::Form(form)) = &mut model.over {
            form.judged(&ran);
        }
        return Vec::new();
    }
    if let Some(Over::Plan(plan)) = &mut model.over {
        match plan.ended(&ran) {
            Ended::Made => {
                let id = plan.id.clone();
                model.over = None;
                go::show(model, id);
            }
            Ended::Told => return Vec::new(),
            Ended::Other => {}
        }
    }
    // Nobody looks at it any more.
    if ran.command.why == Why::Plan {
        return Vec::new();
    }
    if ran.code == 0 {
        let first = ran.said.lines().find(|line| !line.trim().is_empty());
        model.say(Tone::Good, first.unwrap_or("done").to_owned());
        if let Some(Over::Form(form)) = &model.over
            && form.is_sent()
        {
            let made = form.made();
            model.over = None;
            go::show(model, made);
        }
        return Vec::new();
    }
    match &mut model.over {
        // What was filled in is not lost.
        Some(Over::Form(form)) => form.refused(&ran),
        None => model.over = Some(Over::Said(ran, 0)),
        Some(_) => {
            let first = ran.said.lines().next().unwrap_or_default();
            model.say(Tone::Bad, format!("{line}: {first}"));
        }
    }
    Vec::new()
}

fn press(model: &mut Model, key: Key) -> Vec<Effect> {
    let binding = model.settings.own.keys.binding(key);
    if key == Key::QUIT {
        return vec![Effect::Quit];
    }
    if model.is_small() {
        // Nothing that cannot be seen is acted on.
        let leave = binding.is_some_and(|b| b.action == Action::Leave);
        return if leave {
            vec![Effect::Quit]
        } else {
            Vec::new()
        };
    }
    if model.over.is_some() {
        return over::press(model, key, binding);
    }
    match binding {
        Some(binding) => act(model, key, binding),
        None => own(model, key),
    }
}

/// Does what a key of the user's own is for.
fn own(model: &mut Model, key: Key) -> Vec<Effect> {
    let own = &model.settings.own;
    if let Some(hotkey) = own.hotkeys.iter().find(|hotkey| hotkey.key == key) {
        match understand(&hotkey.line, model) {
            Ok(meaning) => return go::follow(model, meaning),
            Err(why) => {
                let words = format!("{}: {why}", key.name());
                model.say(Tone::Bad, words);
            }
        }
        return Vec::new();
    }
    match own.plugins.iter().find(|plugin| plugin.key == key).cloned() {
        Some(plugin) => change::plugin(model, &plugin),
        None => Vec::new(),
    }
}

/// Whether a key does something where the reader is, and if not, why.
fn refused(model: &Model, binding: &Binding) -> Option<String> {
    if binding.changes && model.readonly {
        return Some(format!("read-only: `{}` is off", binding.word));
    }
    let place = model.place();
    let kind = place.object().map(|id| id.kind.kind);
    let fits = match binding.on {
        On::All => true,
        On::Lists => matches!(place, Place::List(_)),
        On::Objects => kind.is_some(),
        On::Instances => kind == Some("Instance"),
        On::Sized => matches!(kind, Some("Instance" | "Volume")),
        On::Planned => matches!(kind, Some("Instance" | "Volume" | "Network")),
    };
    let what = match binding.on {
        On::All => "",
        On::Lists => "lists",
        On::Objects => "an object",
        On::Instances => "an instance",
        On::Sized => "an instance or a volume",
        On::Planned => "a network, a volume or an instance",
    };
    (!fits).then(|| format!("`{}` works on {what}", binding.word))
}

fn act(model: &mut Model, key: Key, binding: &'static Binding) -> Vec<Effect> {
    if let Some(why) = refused(model, binding) {
        model.say(Tone::Waiting, why);
        return Vec::new();
    }
    if let Place::Settings(_) = model.place()
        && let Some(effects) = sheet::press(model, binding.action)
    {
        return effects;
    }
    match binding.action {
        Action::Quit => return vec![Effect::Quit],
        Action::Leave if model.stack.len() == 1 => return vec![Effect::Quit],
        Action::Leave => go::pop(model),
        Action::Down
        | Action::Up
        | Action::PageDown
        | Action::PageUp
        | Action::Top
        | Action::Bottom
        | Action::Left
        | Action::Right => go::step(model, binding.action),
        Action::Enter => go::enter(model),
        Action::Back => go::back(model),
        Action::HistoryBack => go::history(model, false),
        Action::HistoryForward => go::history(model, true),
        Action::Last => {
            let forward = !model.after.is_empty();
            go::history(model, forward);
        }
        Action::Palette => model.over = Some(Over::Prompt(super::prompt::Prompt::palette())),
        Action::Filter => {
            if let Place::List(list) = model.place() {
                let prompt = super::prompt::Prompt::filter(&list.query.filter);
                model.over = Some(Over::Prompt(prompt));
            }
        }
        Action::Help => model.over = Some(Over::Help(0)),
        Action::Pulses => model.jump(Place::Pulses(super::place::Pulses::default())),
        Action::Tree => {
            let tree = super::tree::Tree::new(model.namespace.clone());
            model.open(Place::Tree(tree));
        }
        Action::Describe | Action::Yaml | Action::Events | Action::Calls => {
            go::page(model, binding.action);
        }
        Action::Owner => go::owner(model),
        Action::UsedBy => go::used_by(model),
        Action::AllTenants => go::tenant(model, None),
        Action::Favourite => go::favourite(model, key),
        Action::Copy => return vec![copy(model)],
        Action::Refresh => {
            model.say(Tone::Plain, "listing everything anew");
            return vec![Effect::Relist];
        }
        Action::Wide | Action::Header | Action::Crumbs | Action::Log => {
            toggle(model, binding.action);
        }
        Action::Faults
        | Action::SortName
        | Action::SortAge
        | Action::SortStatus
        | Action::SortColumn
        | Action::Mark
        | Action::MarkRange => {
            if let Place::List(list) = model.place_mut() {
                go::look(list, binding.action);
            }
        }
        Action::Create => return change::create(model),
        Action::Edit => return change::edit(model),
        Action::Draft => return change::draft(model),
        Action::Resize => return change::resize(model),
        Action::Delete => return change::delete(model),
        Action::Start | Action::Stop | Action::Restart => {
            return change::power(model, binding.action);
        }
    }
    Vec::new()
}

/// Puts the names of what is chosen on the clipboard.
fn copy(model: &mut Model) -> Effect {
    let chosen = model.place().chosen();
    let names: Vec<&str> = chosen.iter().map(|id| &*id.key.name).collect();
    let names = names.join(" ");
    model.say(Tone::Plain, format!("copied {names}"));
    Effect::Copy(names)
}

/// Shows or hides a part of the screen.
fn toggle(model: &mut Model, action: Action) {
    let show = &mut model.show;
    let part = match action {
        Action::Wide => &mut show.wide,
        Action::Header => &mut show.header,
        Action::Crumbs => &mut show.crumbs,
        _ => &mut show.log,
    };
    *part = !*part;
}

/// Whether a list is empty since nobody has told of it yet.
#[must_use]
pub fn is_waiting(model: &Model, list: &List) -> bool {
    let reach = &model.store.shelf(list.kind.plural).reach;
    matches!(reach, Reach::Off | Reach::Loading)
}
