//! Turns keys that change something into the commands of this program that do it.

use ratatui::crossterm::event::KeyCode;

use crate::kinds::Kind;
use crate::manifest;
use crate::out::render_yaml;
use crate::style::Tone;

use super::ask::Ask;
use super::event::{Command, Draft, Effect, Weighed, Why};
use super::form::{Form, Outcome};
use super::keys::{Action, Key};
use super::model::{Model, Over};
use super::place::Place;
use super::plan::{self, Plan};
use super::plugin::Plugin;
use super::prompt::CREATABLE;
use super::store::Id;

/// Runs commands, each with a line in the log.
fn run(model: &mut Model, commands: Vec<Command>) -> Vec<Effect> {
    let effect = |command: Command| {
        model.log(&command);
        match command.foreign {
            Some(_) => Effect::Visit(command),
            None => Effect::Run(command),
        }
    };
    commands.into_iter().map(effect).collect()
}

/// Gives the terminal to a command.
fn visit(model: &mut Model, command: Command) -> Vec<Effect> {
    model.log(&command);
    vec![Effect::Visit(command)]
}

/// Asks what deletions mean; the answer becomes a question.
pub(super) fn delete(model: &mut Model) -> Vec<Effect> {
    let chosen = model.place().chosen();
    model.say(Tone::Faint, "looking what goes with it …");
    vec![Effect::Weigh(chosen)]
}

/// Asks before a deletion.
pub(super) fn weighed(model: &mut Model, answer: Result<Vec<Weighed>, String>) {
    match answer {
        Ok(doomed) if !doomed.is_empty() => {
            // A question does not take the place of what is being typed.
            if model.over.is_none() && !model.readonly {
                model.notice = None;
                model.over = Some(Over::Ask(Box::new(Ask::delete(&doomed))));
            }
        }
        Ok(_) => model.say(Tone::Waiting, "it is gone already"),
        Err(why) => model.say(Tone::Bad, why),
    }
}

/// Takes a key for a question.
pub(super) fn answered(model: &mut Model, mut ask: Box<Ask>, key: Key) -> Vec<Effect> {
    let typed = !ask.names.is_empty();
    match key.code {
        KeyCode::Esc => {
            model.say(Tone::Plain, "cancelled: nothing was done");
            return Vec::new();
        }
        // Where a name is typed, a letter is one of the name.
        KeyCode::Char('p') if key.ctrl || !typed => {
            let ids: Vec<Id> = ask.about().cloned().collect();
            let one = ids
                .windows(2)
                .all(|two| two[0].key.namespace == two[1].key.namespace);
            if ask.yes != "Delete" {
                model.say(Tone::Waiting, "a plan is about what is changed or deleted");
            } else if let (true, Some(plan)) = (one, Plan::delete(&ids)) {
                return plan::open(model, plan, Some(Over::Ask(ask)));
            } else {
                model.say(Tone::Waiting, "a plan is about one namespace");
            }
        }
        KeyCode::Enter if typed => {
            let name = ask.line.text();
            if ask
                .names
                .first()
                .is_some_and(|wanted| *wanted == name.trim())
            {
                ask.names.remove(0);
                ask.line = super::line::Line::default();
                if ask.names.is_empty() {
                    return confirmed(model, &ask);
                }
            } else {
                model.say(Tone::Bad, format!("`{}` is not the name", name.trim()));
            }
        }
        KeyCode::Enter if ask.commands.is_empty() => return Vec::new(),
        KeyCode::Enter if ask.on_yes => return confirmed(model, &ask),
        KeyCode::Enter => {
            model.say(Tone::Plain, "cancelled: nothing was done");
            return Vec::new();
        }
        _ if typed => {
            ask.line.take(key);
        }
        KeyCode::Left | KeyCode::Right | KeyCode::Tab | KeyCode::BackTab
            if !ask.commands.is_empty() =>
        {
            ask.on_yes = !ask.on_yes;
        }
        _ => {}
    }
    model.over = Some(Over::Ask(ask));
    Vec::new()
}

fn confirmed(model: &mut Model, ask: &Ask) -> Vec<Effect> {
    // It may have become so since the question.
    if ask.changes && model.readonly {
        model.say(Tone::Waiting, "read-only: nothing was done");
        return Vec::new();
    }
    if let Some(why) = ask.outdated(&model.store) {
        model.say(Tone::Waiting, why);
        return Vec::new();
    }
    if let Place::List(list) = model.place_mut() {
        list.marks.clear();
    }
    run(model, ask.commands.clone())
}

/// Starts, stops or restarts instances; what takes them down asks first.
pub(super) fn power(model: &mut Model, action: Action) -> Vec<Effect> {
    let ids = model.place().chosen();
    let verb = match action {
        Action::Start => "start",
        Action::Stop => "stop",
        _ => "restart",
    };
    let commands: Vec<Command> = ids
        .iter()
        .map(|id| of_instance(verb, id, &["--yes"]))
        .collect();
    let ask = match action {
        Action::Start => {
            if let Place::List(list) = model.place_mut() {
                list.marks.clear();
            }
            return run(model, commands);
        }
        Action::Stop => Ask::verb("Stop", "the guest is shut down and stays so", ids, commands),
        _ => Ask::verb(
            "Restart",
            "the guest is shut down and started again",
            ids,
            commands,
        ),
    };
    model.over = Some(Over::Ask(Box::new(ask)));
    Vec::new()
}

/// `instances VERB NAME -n NAMESPACE FLAGS`.
fn of_instance(verb: &str, id: &Id, flags: &[&str]) -> Command {
    let mut args = vec![
        id.kind.plural.to_owned(),
        verb.to_owned(),
        id.key.name.to_string(),
    ];
    args.extend(id.place());
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    Command::new(args)
}

/// Runs a command of the user's own about the object, after asking where that is wanted.
pub(super) fn plugin(model: &mut Model, plugin: &Plugin) -> Vec<Effect> {
    if plugin.dangerous && model.readonly {
        model.say(
            Tone::Waiting,
            format!("read-only: `{}` is off", plugin.name),
        );
        return Vec::new();
    }
    let id = model.place().object();
    if !plugin.fits(id.as_ref()) {
        let on = match plugin.scope().as_str() {
            "all" => "an object".to_owned(),
            kinds => kinds.to_owned(),
        };
        model.say(Tone::Waiting, format!("`{}` works on {on}", plugin.name));
        return Vec::new();
    }
    let command = match plugin.command(id.as_ref(), &model.at.context) {
        Ok(command) => command,
        Err(why) => {
            model.say(Tone::Bad, why);
            return Vec::new();
        }
    };
    if plugin.dangerous || plugin.confirm {
        let entry = id.as_ref().and_then(|id| model.store.get(id));
        let uid = entry.and_then(|entry| entry.object.metadata.uid.clone());
        let about = id.map(|id| (id, uid));
        model.over = Some(Over::Ask(Box::new(Ask::plugin(plugin, about, command))));
        return Vec::new();
    }
    visit(model, command)
}

/// Opens the object in the editor.
pub(super) fn edit(model: &mut Model) -> Vec<Effect> {
    let Some(id) = model.place().object() else {
        return Vec::new();
    };
    let mut args = vec!["edit".to_owned()];
    args.extend(id.words());
    visit(model, Command::new(args))
}

/// Opens the object in the editor, to see what a change would send.
pub(super) fn draft(model: &mut Model) -> Vec<Effect> {
    let Some(id) = model.place().object() else {
        return Vec::new();
    };
    let Some(entry) = model.store.get(&id) else {
        return Vec::new();
    };
    match manifest::of(&entry.object).and_then(|object| render_yaml(&object)) {
        Ok(text) => vec![Effect::Draft(Draft {
            id,
            before: text.clone(),
            text,
        })],
        Err(failure) => {
            model.say(Tone::Bad, failure.message);
            Vec::new()
        }
    }
}

/// Opens the form for a new object of the kind on the screen.
pub(super) fn create(model: &mut Model) -> Vec<Effect> {
    let kind = match model.place() {
        Place::List(list) => list.kind,
        Place::Page(page) => page.id.kind,
        _ => match model.place().object() {
            Some(id) => id.kind,
            None => {
                model.say(Tone::Waiting, "say what: `:create instance`");
                return Vec::new();
            }
        },
    };
    form(model, kind.plural)
}

/// Opens the form for a new object of a kind.
pub(super) fn form(model: &mut Model, plural: &str) -> Vec<Effect> {
    let Some(kind) = Kind::named(plural).filter(|k| CREATABLE.contains(&k.singular)) else {
        let words = format!("there is no form for {plural}: apply a file, see docs/spec");
        model.say(Tone::Waiting, words);
        return Vec::new();
    };
    if model.readonly {
        model.say(Tone::Waiting, "read-only: `create` is off");
        return Vec::new();
    }
    model.over = Some(Over::Form(Box::new(Form::create(kind, model))));
    Vec::new()
}

/// Opens the form for the size of the object.
pub(super) fn resize(model: &mut Model) -> Vec<Effect> {
    let Some(id) = model.place().object() else {
        return Vec::new();
    };
    let Some(entry) = model.store.get(&id) else {
        return Vec::new();
    };
    let form = Form::resize(&id, &entry.object);
    model.over = Some(Over::Form(Box::new(form)));
    Vec::new()
}

/// Takes a key for a form.
pub(super) fn filled(model: &mut Model, mut form: Box<Form>, key: Key) -> Vec<Effect> {
    match form.press(key) {
        Outcome::Plan => {
            let (id, manifest) = (form.made(), form.whole(&model.store));
            match manifest {
                Ok(manifest) => {
                    let plan = match model.store.get(&id) {
                        Some(_) => Plan::change(id, &manifest),
                        None => Plan::apply(id, &manifest),
                    };
                    return plan::open(model, plan, Some(Over::Form(form)));
                }
                Err(why) => {
                    model.say(Tone::Bad, why);
                    model.over = Some(Over::Form(form));
                }
            }
        }
        Outcome::Stay => model.over = Some(Over::Form(form)),
        Outcome::Leave => model.say(Tone::Plain, "cancelled: nothing was done"),
        Outcome::Run(commands) => {
            model.over = Some(Over::Form(form));
            // To be judged changes nothing and is not told of.
            if commands.iter().all(|command| command.why == Why::Check) {
                return commands.into_iter().map(Effect::Run).collect();
            }
            return run(model, commands);
        }
    }
    Vec::new()
}
