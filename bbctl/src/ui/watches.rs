//! Turns the kinds that a screen needs into watches, and what those tell into events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{AbortHandle, BoxStream, SelectAll, StreamExt, abortable};
use kube::runtime::watcher::{self, Event as Change};
use tokio::time::Instant;

use crate::kinds::Kind;
use crate::object::Object;
use crate::session::Session;
use crate::watch;

use super::event::Event;
use super::store::{Key, News};

/// After how long a watch that was lost is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a kind is still watched that left the screen: one often comes back.
const LINGER: Duration = Duration::from_secs(30);

/// The kinds that are watched, with the namespace of each; none: all.
pub(super) type Wanted = BTreeSet<(&'static str, Option<String>)>;

/// What a watch tells: of which kind, in which attempt; nothing: it has ended.
type Told = (&'static str, u64, Option<watcher::Result<Change<Object>>>);

/// A watch that runs.
struct Running {
    namespace: Option<String>,
    attempt: u64,
    end: AbortHandle,
    /// When it ends, if nobody wants it any more.
    until: Option<Instant>,
}

/// The watches that run.
#[derive(Default)]
pub(super) struct Watches {
    streams: SelectAll<BoxStream<'static, Told>>,
    running: BTreeMap<&'static str, Running>,
    lost: BTreeMap<&'static str, Instant>,
    /// What is to be told before the streams are asked.
    pending: VecDeque<Event>,
    attempts: u64,
}

impl Watches {
    /// Starts what is wanted and ends what is not.
    pub(super) fn follow(&mut self, wanted: &Wanted, session: &Session) {
        let now = Instant::now();
        let kinds: BTreeSet<&str> = wanted.iter().map(|(plural, _)| *plural).collect();
        let mut ended = Vec::new();
        for (plural, running) in &mut self.running {
            if kinds.contains(plural) {
                running.until = None;
            } else if *running.until.get_or_insert(now + LINGER) <= now {
                ended.push(*plural);
            }
        }
        for plural in ended {
            self.stop(plural);
        }
        for (plural, namespace) in wanted {
            match self.running.get(plural) {
                Some(running) if running.namespace == *namespace => continue,
                Some(_) => self.stop(plural),
                None => {}
            }
            if self.lost.get(plural).is_some_and(|again| *again > now) {
                continue;
            }
            self.lost.remove(plural);
            self.start(plural, namespace.clone(), session);
        }
    }

    fn start(&mut self, plural: &'static str, namespace: Option<String>, session: &Session) {
        let Some(kind) = Kind::named(plural) else {
            return;
        };
        self.attempts += 1;
        let attempt = self.attempts;
        let api = session.api(&kind.resource(), namespace.as_deref());
        let told = watch::changes(api, watcher::Config::default())
            .map(move |event| (plural, attempt, Some(event)))
            .chain(futures::stream::once(
                async move { (plural, attempt, None) },
            ));
        let (told, end) = abortable(told);
        self.streams.push(told.boxed());
        let running = Running {
            namespace,
            attempt,
            end,
            until: None,
        };
        self.running.insert(plural, running);
    }

    fn stop(&mut self, plural: &'static str) {
        if let Some(running) = self.running.remove(plural) {
            running.end.abort();
        }
        self.pending.push_back(Event::News(plural, News::Off));
    }

    /// Ends all of them; what is wanted starts anew, with a list.
    pub(super) fn end(&mut self) {
        self.running.clear();
        self.lost.clear();
        self.pending.clear();
        self.streams = SelectAll::new();
    }

    /// What is told next; nothing when it is time to start one anew.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            let again = self.lost.values().min().copied();
            let told = async {
                match self.streams.next().await {
                    Some(told) => told,
                    // There is none to listen to.
                    None => std::future::pending().await,
                }
            };
            let told = match again {
                None => told.await,
                Some(again) => match tokio::time::timeout_at(again, told).await {
                    Ok(told) => told,
                    Err(_) => return None,
                },
            };
            if let Some(event) = self.take(told) {
                return Some(event);
            }
        }
    }

    /// What was told already, if anything was.
    pub(super) fn ready(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            let told = self.streams.next().now_or_never()??;
            if let Some(event) = self.take(told) {
                return Some(event);
            }
        }
    }

    fn take(&mut self, (plural, attempt, told): Told) -> Option<Event> {
        let running = self.running.get(plural);
        if running.is_none_or(|running| running.attempt != attempt) {
            return None;
        }
        let news = match told {
            Some(Ok(Change::Init)) => News::Begin,
            Some(Ok(Change::InitApply(object) | Change::Apply(object))) => {
                News::Seen(Box::new(object))
            }
            Some(Ok(Change::Delete(object))) => News::Gone(Key::of(&object)),
            Some(Ok(Change::InitDone)) => News::Listed,
            Some(Err(error)) => match watch::cause(&error) {
                // What it knew is too old: it lists anew by itself.
                Some(kube::Error::Api(status)) if status.code == 410 => return None,
                // It goes on trying, ever more slowly: rights may be given.
                Some(kube::Error::Api(status)) if [401, 403, 404].contains(&status.code) => {
                    News::Denied(status.message.clone())
                }
                _ => self.give_up(plural, &error.to_string()),
            },
            None => self.give_up(plural, "the watch ended"),
        };
        Some(Event::News(plural, news))
    }

    /// Ends a watch that failed, to try it again later.
    fn give_up(&mut self, plural: &'static str, why: &str) -> News {
        if let Some(running) = self.running.remove(plural) {
            running.end.abort();
        }
        self.lost.insert(plural, Instant::now() + AGAIN);
        News::Lost(why.to_owned())
    }
}
