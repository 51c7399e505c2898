//! Turns a terminal, watches and a clock into events, and effects into what they ask for.
//!
//! It decides nothing: what happens goes to `update`, what is seen comes from `view`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use ratatui::crossterm::event::{self as term, EventStream, KeyEventKind};
use tokio::time::{Instant, MissedTickBehavior};

use crate::cli::Globals;
use crate::error::{Exit, Failure};
use crate::out::Out;
use crate::pin::Pin;
use crate::session::Session;

use super::event::{Effect, Event};
use super::files::{self, Flags};
use super::model::Model;
use super::pace::Pace;
use super::terminal::Screen;
use super::update::update;
use super::view::view;
use super::watches::Watches;
use super::world::{self, Errand};

/// How many events are taken before the screen is looked at again.
const AT_ONCE: usize = 2000;
/// How often the server is asked whether it is there.
const PROBE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  bbctl ui
  bbctl ui --readonly
  bbctl ui -n acme --theme light

Press ? for the keys. Settings, keys and skins of your own: see docs/ui.md.";

/// What `bbctl ui` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Change nothing: every key that would is dead
    #[arg(long)]
    pub readonly: bool,
    /// Which colours: dark, light, mono or a skin of your own [default: the setting, else dark]
    #[arg(long, value_name = "NAME")]
    pub theme: Option<String>,
    /// The file of keys and words [default: ui.toml in your folder of settings]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

/// Runs the dashboard until it is left.
///
/// # Errors
/// When there is no terminal, no usable kubeconfig, or the settings are wrong.
pub async fn run(args: &Args, globals: &Globals, out: &mut Out) -> Result<Exit, Failure> {
    if !out.is_terminal() {
        let failure = Failure::usage("`bbctl ui` needs a terminal");
        return Err(failure.hint("for a pipe, see `bbctl status` and `bbctl get`"));
    }
    let flags = Flags {
        theme: args.theme.clone(),
        own: args.settings.clone(),
        readonly: args.readonly,
        globals: globals.clone(),
    };
    let (settings, theme) = files::load(&flags, out.env())?;
    let mut pin = Pin::new(&globals.connection(), out.env())?;
    let session = Session::open(&pin.connection, &pin.env).await?;
    let at = world::place(&pin, &session)?;
    let mut model = Model::new(settings, theme, Timestamp::now());
    model.readonly_flag = args.readonly;
    model.ssh_keys = world::ssh_keys(out.env());
    if globals.namespace.is_some() {
        model.look_at(session.namespace());
    }
    update(&mut model, Event::Connected(at.clone()));
    pin.connection.context = Some(at.context).filter(|context| !context.is_empty());
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failure, format!("cannot use the terminal: {error}"))
    };
    let shell = Shell {
        screen: Screen::open().map_err(failed)?,
        env: out.env().clone(),
        flags,
        errands: FuturesUnordered::new(),
        commands: FuturesUnordered::new(),
        watches: Watches::default(),
        pin,
        session,
        model,
    };
    shell.run().await.map_err(failed)
}

struct Shell {
    screen: Screen,
    env: BTreeMap<String, String>,
    flags: Flags,
    errands: FuturesUnordered<Errand>,
    /// They go on when another server is looked at.
    commands: FuturesUnordered<Errand>,
    watches: Watches,
    /// Where we look and all that is run looks, whatever settings say meanwhile.
    pin: Pin,
    session: Session,
    model: Model,
}

impl Shell {
    async fn run(mut self) -> std::io::Result<Exit> {
        let mut keys = Some(EventStream::new());
        let mut signals = world::signals()?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut probe = tokio::time::interval(PROBE);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let size = self.screen.terminal.size()?;
        update(&mut self.model, Event::Size(size.width, size.height));
        self.draw()?;
        let begun = Instant::now();
        let mut pace = Pace::drawn(begun.elapsed());
        loop {
            self.watches.follow(&self.model.wanted(), &self.session);
            let next = pace.next(self.model.settings.refresh);
            let due = begun + next.unwrap_or_default();
            let stream = keys
                .as_mut()
                .expect("the stream is only away during a visit");
            let event = tokio::select! {
                biased;
                key = stream.next() => match key {
                    Some(key) => { pace.hurry(); translate(key?) }
                    // The terminal is gone.
                    None => return Ok(Exit::Ok),
                },
                _ = signals.next() => return Ok(Exit::Terminated),
                () = tokio::time::sleep_until(due), if next.is_some() => {
                    self.draw()?;
                    pace = Pace::drawn(begun.elapsed());
                    continue;
                }
                Some(event) = self.errands.next(), if !self.errands.is_empty() => { pace.hurry(); Some(event) }
                Some(event) = self.commands.next(), if !self.commands.is_empty() => { pace.hurry(); Some(event) }
                news = self.watches.next() => news,
                _ = tick.tick() => Some(Event::Tick(Timestamp::now())),
                _ = probe.tick() => { self.errands.push(world::probe(&self.session)); None }
            };
            let Some(event) = event else { continue };
            #[cfg(debug_assertions)]
            panic_if_asked(&event, &self.env);
            pace.changed();
            let mut effects = update(&mut self.model, event);
            // What else waits is taken before the screen is drawn: a burst costs one drawing.
            for _ in 0..AT_ONCE {
                let Some(news) = self.watches.ready() else {
                    break;
                };
                effects.extend(update(&mut self.model, news));
            }
            for effect in effects {
                match effect {
                    Effect::Quit => return Ok(Exit::Ok),
                    Effect::Visit(command) => {
                        // Whoever has the terminal reads the keys.
                        drop(keys.take());
                        self.screen.lend();
                        let ran = world::visit(&command, &self.pin, &self.namespace()).await;
                        self.take_back()?;
                        keys = Some(EventStream::new());
                        update(&mut self.model, Event::Ran(ran));
                        pace.hurry();
                    }
                    Effect::Draft(draft) => {
                        drop(keys.take());
                        self.screen.lend();
                        let left = world::draft(&draft, &self.env).await;
                        self.take_back()?;
                        keys = Some(EventStream::new());
                        for effect in update(&mut self.model, Event::Drafted(draft, left)) {
                            self.carry_out(effect)?;
                        }
                        pace.hurry();
                    }
                    Effect::Connect(context) => {
                        self.connect(context).await;
                        pace.hurry();
                    }
                    other => self.carry_out(other)?,
                }
            }
        }
    }

    /// The namespace that a command of one's own works in unless it says another: of what is under
    /// the cursor, else what is looked at, else the context's.
    fn namespace(&self) -> String {
        let object = self.model.place().object();
        let of_object = object.map(|id| id.key.namespace.to_string());
        of_object
            .filter(|namespace| !namespace.is_empty())
            .or_else(|| self.model.namespace.clone())
            .unwrap_or_else(|| self.session.namespace().to_owned())
    }

    /// Takes the terminal back from whoever had it; it may have another size by now.
    fn take_back(&mut self) -> std::io::Result<()> {
        self.screen.take_back()?;
        let size = self.screen.terminal.size()?;
        update(&mut self.model, Event::Size(size.width, size.height));
        Ok(())
    }

    fn draw(&mut self) -> std::io::Result<()> {
        self.model.settle();
        let model = &self.model;
        self.screen.terminal.draw(|frame| {
            view(model, frame);
        })?;
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> std::io::Result<()> {
        match effect {
            Effect::Quit | Effect::Visit(_) | Effect::Draft(_) | Effect::Connect(_) => {}
            Effect::Copy(text) => self.screen.copy(&text)?,
            Effect::Relist => self.watches.end(),
            Effect::Explain => {
                // It reads small files, so it is waited for.
                let told = files::explain(&self.flags, &self.env);
                let told = Event::Explained(told.map_err(|failure| failure.message));
                self.errands.push(Box::pin(std::future::ready(told)));
            }
            Effect::Listen(id, uid) => self.errands.push(world::listen(id, uid, &self.session)),
            Effect::Weigh(ids) => self.errands.push(world::weigh(ids, &self.session)),
            Effect::Run(command) => {
                let namespace = self.session.namespace();
                self.commands
                    .push(world::run(command, &self.pin, namespace));
            }
        }
        Ok(())
    }

    /// Looks at another server; the one before stays until that is known to be possible.
    async fn connect(&mut self, context: String) {
        let mut pin = self.pin.clone();
        (pin.connection.context, pin.connection.namespace) = (Some(context), None);
        // It reads files and nothing else, so it is waited for.
        let opened = Session::open(&pin.connection, &pin.env).await;
        let arrived = opened.and_then(|session| {
            let at = world::place(&pin, &session)?;
            Ok((session, at))
        });
        match arrived {
            Ok((session, at)) => {
                self.watches.end();
                (self.session, self.pin) = (session, pin);
                self.errands.clear();
                update(&mut self.model, Event::Connected(at));
            }
            Err(failure) => {
                update(&mut self.model, Event::Unconnected(failure.message));
            }
        }
    }
}

/// Panics upon F12 where `BBCTL_UI_PANIC` is set: a test sees what becomes of the terminal. It is
/// not in what is shipped.
#[cfg(debug_assertions)]
#[allow(clippy::panic, reason = "it is asked for")]
fn panic_if_asked(event: &Event, env: &BTreeMap<String, String>) {
    if let Event::Key(key) = event
        && key.code == term::KeyCode::F(12)
        && env.contains_key("BBCTL_UI_PANIC")
    {
        panic!("asked to panic");
    }
}

fn translate(event: term::Event) -> Option<Event> {
    match event {
        term::Event::Key(key) if key.kind != KeyEventKind::Release => Some(Event::Key(key)),
        term::Event::Paste(text) => Some(Event::Paste(text)),
        term::Event::Resize(columns, lines) => Some(Event::Size(columns, lines)),
        _ => None,
    }
}
