//! Turns a change that is not made yet into the question what it would send, and the answer into
//! the command that sends exactly that.

use ratatui::crossterm::event::KeyCode;

use crate::style::Tone;
use crate::table::wrap;

use super::event::{Command, Draft, Effect, Ran, Why};
use super::keys::Key;
use super::model::{Model, Over};
use super::store::Id;
use super::text::Text;

/// How wide its box is at most.
pub const WIDE: u16 = 120;
/// The kinds that a plan is about.
const KINDS: [&str; 3] = ["Network", "Volume", "Instance"];

/// A change that is looked at before it is made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The object that is made, changed or deleted.
    pub id: Id,
    /// What asks.
    pub asks: Command,
    /// How far it is.
    pub stage: Stage,
    /// The first line that is shown.
    pub from: usize,
    /// What makes the change, without the hash; none: that is decided elsewhere.
    applies: Option<Command>,
    /// What is being sent.
    sent: Option<Command>,
    /// What the editor left, to go on from.
    draft: Option<Draft>,
    /// What is below it and comes back.
    below: Option<Box<Over>>,
}

/// How far a plan is.
#[derive(Clone, Debug)]
pub enum Stage {
    /// The controller is asked.
    Asking,
    /// It has answered, or refused to.
    Told(Ran),
    /// What it answered is being sent.
    Sent(Ran),
    /// It was not sent: the plan is old, or the server refused.
    Refused(Ran),
}

/// Whose a command was that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Somebody else's.
    Other,
    /// The plan's: it shows what was said.
    Told,
    /// The change is made.
    Made,
}

impl Plan {
    /// What applying a manifest would send.
    pub(super) fn apply(id: Id, manifest: &str) -> Self {
        let command = |verb: &str| Command {
            stdin: Some(manifest.to_owned()),
            ..Command::new([verb, "-f", "-"])
        };
        let mut plan = Self::asking(id, command("plan"));
        plan.applies = Some(command("apply"));
        plan
    }

    /// What applying an object that is there and was changed would send. As with `bbctl edit`, what
    /// somebody else has set is taken over where it was changed.
    pub(super) fn change(id: Id, manifest: &str) -> Self {
        let mut plan = Self::apply(id, manifest);
        for command in [Some(&mut plan.asks), plan.applies.as_mut()]
            .into_iter()
            .flatten()
        {
            command.args.push("--force-conflicts".to_owned());
        }
        plan
    }

    /// What the deletion of objects of one namespace would send.
    pub(super) fn delete(ids: &[Id]) -> Option<Self> {
        let first = ids.first()?;
        let mut args = vec!["plan".to_owned()];
        args.extend(ids.iter().map(|id| format!("--delete={}", id.label())));
        args.extend(first.place());
        Some(Self::asking(first.clone(), Command::new(args)))
    }

    fn asking(id: Id, mut asks: Command) -> Self {
        asks.why = Why::Plan;
        Self {
            id,
            asks,
            stage: Stage::Asking,
            from: 0,
            applies: None,
            sent: None,
            draft: None,
            below: None,
        }
    }

    /// The hash of the answer, where there is one that can be applied.
    fn hash(&self) -> Option<&str> {
        match &self.stage {
            Stage::Told(ran) if ran.code == 0 => ran
                .said
                .lines()
                .find_map(|line| line.strip_prefix("Hash: ")),
            _ => None,
        }
    }

    /// What sends exactly what was shown; none where that cannot be.
    #[must_use]
    pub fn send(&self) -> Option<Command> {
        let (mut command, hash) = (self.applies.clone()?, self.hash()?);
        command.args.push(format!("--plan={hash}"));
        Some(command)
    }

    /// Takes how a command has ended, if it is one of its own.
    pub(super) fn ended(&mut self, ran: &Ran) -> Ended {
        let next = match &self.stage {
            Stage::Asking if ran.command == self.asks => Stage::Told(ran.clone()),
            Stage::Sent(_) if self.sent.as_ref() == Some(&ran.command) => {
                if ran.code == 0 {
                    return Ended::Made;
                }
                Stage::Refused(ran.clone())
            }
            _ => return Ended::Other,
        };
        (self.stage, self.from) = (next, 0);
        Ended::Told
    }

    /// What the footer says.
    #[must_use]
    pub fn footer(&self) -> String {
        let mut words = match &self.stage {
            Stage::Asking => vec!["waiting for the controller"],
            Stage::Sent(_) => return " waiting for the server".to_owned(),
            Stage::Told(_) if self.send().is_some() => vec!["a: send exactly this", "p: again"],
            Stage::Told(_) | Stage::Refused(_) => vec!["p: again"],
        };
        if self.draft.is_some() {
            words.push("e: edit on");
        }
        words.extend(["up/down: scroll", "esc: back"]);
        format!(" {}", words.join("  "))
    }

    /// What is shown, line by line, in so many columns. What is longer goes on in the next line.
    #[must_use]
    pub fn lines(&self, columns: usize) -> Vec<Text> {
        let ran = match &self.stage {
            Stage::Asking => {
                let words = "the controller looks at routers and clusters; nothing is sent …";
                let lines = wrap(words, columns).into_iter();
                return lines.map(|line| Text::of(Tone::Waiting, line)).collect();
            }
            Stage::Told(ran) | Stage::Sent(ran) | Stage::Refused(ran) => ran,
        };
        let mut lines = Vec::new();
        if matches!(self.stage, Stage::Sent(_)) {
            lines.push(Text::of(Tone::Waiting, "sent: waiting for the server …"));
        }
        if matches!(self.stage, Stage::Refused(_)) {
            lines.push(Text::of(Tone::Bad, "nothing was sent:"));
        }
        for line in ran.said.lines() {
            let (tone, line) = (tone(line), crate::style::tame(line));
            let words = line.trim_start();
            let indent = line.len() - words.len();
            let parts = wrap(words, columns.saturating_sub(indent + 2));
            if parts.is_empty() {
                lines.push(Text::default());
            }
            for (at, part) in parts.into_iter().enumerate() {
                let indent = indent + if at == 0 { 0 } else { 2 };
                lines.push(Text::of(tone, format!("{}{part}", " ".repeat(indent))));
            }
        }
        lines
    }
}

/// What a line of `bbctl plan` means.
fn tone(line: &str) -> Tone {
    let word = line.trim_start().split(' ').next().unwrap_or_default();
    if line.starts_with("    ") {
        return match word {
            "delete" | "DELETE" => Tone::Bad,
            _ => Tone::Good,
        };
    }
    match word {
        "error:" | "unknown:" => Tone::Bad,
        "hint:" => Tone::Waiting,
        "Plan" | "Reach:" | "Hash:" => Tone::Head,
        _ if !line.starts_with(' ') && line.ends_with(':') => Tone::Head,
        _ => Tone::Plain,
    }
}

/// Shows what a change would send; what is over the screen now comes back after it.
pub(super) fn open(model: &mut Model, mut plan: Plan, below: Option<Over>) -> Vec<Effect> {
    if !KINDS.contains(&plan.id.kind.kind) {
        let words = "a plan is about networks, volumes and instances";
        model.say(Tone::Waiting, words);
        model.over = below;
        return Vec::new();
    }
    plan.below = below.map(Box::new);
    let effect = ask(model, &mut plan);
    model.over = Some(Over::Plan(Box::new(plan)));
    vec![effect]
}

/// Shows what an object would send as the editor left it.
pub(super) fn drafted(model: &mut Model, draft: Draft, left: Result<Option<String>, String>) {
    match left {
        Ok(None) => model.say(Tone::Plain, "nothing was changed, and nothing written"),
        Err(why) => model.say(Tone::Bad, why),
        Ok(Some(manifest)) => {
            let mut plan = Plan::change(draft.id.clone(), &manifest);
            plan.draft = Some(Draft {
                text: manifest,
                ..draft
            });
            model.over = Some(Over::Plan(Box::new(plan)));
        }
    }
}

fn ask(model: &mut Model, plan: &mut Plan) -> Effect {
    (plan.stage, plan.from) = (Stage::Asking, 0);
    model.log(&plan.asks);
    Effect::Run(plan.asks.clone())
}

/// The question of a plan that has just been put on the screen.
pub(super) fn begin(model: &mut Model) -> Vec<Effect> {
    let Some(Over::Plan(mut plan)) = model.over.take() else {
        return Vec::new();
    };
    let effect = ask(model, &mut plan);
    model.over = Some(Over::Plan(plan));
    vec![effect]
}

/// Takes a key for a plan.
pub(super) fn press(model: &mut Model, mut plan: Box<Plan>, key: Key) -> Vec<Effect> {
    let columns = usize::from(model.size.0.min(WIDE)).saturating_sub(4);
    let most = plan.lines(columns).len().saturating_sub(1);
    let sent = matches!(plan.stage, Stage::Sent(_));
    let page = model.rows();
    let mut effects = Vec::new();
    match key.code {
        KeyCode::Esc if !sent => {
            model.over = plan.below.map(|below| *below);
            if model.over.is_none() {
                model.say(Tone::Plain, "nothing was sent");
            }
            return effects;
        }
        KeyCode::Down | KeyCode::Char('j') => plan.from = (plan.from + 1).min(most),
        KeyCode::Up | KeyCode::Char('k') => plan.from = plan.from.saturating_sub(1),
        KeyCode::PageDown => plan.from = (plan.from + page).min(most),
        KeyCode::PageUp => plan.from = plan.from.saturating_sub(page),
        KeyCode::Char('p') if !sent && !matches!(plan.stage, Stage::Asking) => {
            effects.push(ask(model, &mut plan));
        }
        KeyCode::Char('e') if !sent => {
            if let Some(draft) = plan.draft.take() {
                return vec![Effect::Draft(draft)];
            }
        }
        KeyCode::Char('a') => match (plan.send(), plan.stage.clone()) {
            (Some(command), Stage::Told(ran)) if !model.readonly => {
                plan.stage = Stage::Sent(ran);
                plan.sent = Some(command.clone());
                model.log(&command);
                effects.push(Effect::Run(command));
            }
            _ if plan.applies.is_none() && !sent => {
                model.say(Tone::Waiting, "esc: back to the question, which decides");
            }
            _ => {}
        },
        _ => {}
    }
    model.over = Some(Over::Plan(plan));
    effects
}
