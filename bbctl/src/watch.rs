//! Turns what a server tells about objects as they change into when they have reached a goal.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{SelectAll, StreamExt};
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::Instant;

use crate::error::{Exit, Failure};
use crate::goal::Goal;
use crate::object::{self, Object};
use crate::out::Out;
use crate::resource::Target;
use crate::session::{Session, within};

/// An object that is waited for.
#[derive(Clone, Debug)]
pub struct Wanted {
    target: Target,
    /// Which object of that name; none: any.
    uid: Option<String>,
    last: Option<Object>,
    told: String,
    outcome: Option<Option<Failure>>,
}

impl Wanted {
    /// Whatever object has the name.
    #[must_use]
    pub fn any(target: Target) -> Self {
        Self {
            target,
            uid: None,
            last: None,
            told: String::new(),
            outcome: None,
        }
    }

    /// That very object: another of the same name does not count as it.
    #[must_use]
    pub fn this(target: Target, uid: Option<String>) -> Self {
        Self {
            uid,
            ..Self::any(target)
        }
    }

    /// What is typed to mean it.
    #[must_use]
    pub fn words(&self) -> String {
        self.target.words()
    }
}

/// How the wait for an object ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The object.
    pub target: Target,
    /// How it was last seen.
    pub object: Option<Object>,
    /// Why it did not reach the goal; none when it did.
    pub failure: Option<Failure>,
}

/// What the server tells of objects as they change, the present ones first. After an error it goes
/// on, ever more slowly.
pub fn changes(
    api: Api<Object>,
    config: watcher::Config,
) -> impl futures::Stream<Item = watcher::Result<Event<Object>>> + Send {
    watcher(api, config).default_backoff()
}

/// What the server said, or what came in between, where a watch failed.
#[must_use]
pub fn cause(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => Some(cause),
        _ => None,
    }
}

/// Whether the server refuses, which no patience changes.
#[must_use]
pub fn is_refusal(cause: &kube::Error) -> bool {
    match cause {
        kube::Error::Api(status) => [401, 403, 404].contains(&status.code),
        _ => false,
    }
}

type Stream = futures::stream::BoxStream<'static, (usize, watcher::Result<Event<Object>>)>;

/// Watches objects until each has reached the goal, cannot reach it any more, or the time is up.
/// A timeout of zero looks once.
///
/// # Errors
/// When the server refuses to let us watch, or cannot be reached in the first place. One that
/// goes away later is waited for.
pub async fn until(
    wanted: Vec<Wanted>,
    goal: &Goal,
    timeout: Duration,
    session: &Session,
    out: &mut Out,
) -> Result<Vec<Outcome>, Failure> {
    let once = timeout.is_zero();
    let mut vigil = Vigil {
        goal,
        wanted,
        groups: Vec::new(),
        once,
        lost: false,
    };
    let mut streams = vigil.open(session);
    let patience = if once {
        crate::session::PATIENCE
    } else {
        timeout
    };
    let deadline = Instant::now() + patience;
    while !vigil.is_over() {
        match tokio::time::timeout_at(deadline, streams.next()).await {
            Ok(Some((group, event))) => vigil.take(group, event, session, out)?,
            Ok(None) => break,
            Err(_) if once => {
                let doing = "look at the objects";
                let seconds = patience.as_secs_f64();
                return Err(Failure::no_answer(doing, session.server(), seconds));
            }
            Err(_) => break,
        }
    }
    Ok(vigil.close(timeout))
}

/// Objects of one kind in one namespace: they share a watch.
struct Group {
    target: Target,
    names: BTreeSet<String>,
    seen: BTreeSet<String>,
    listed: bool,
}

/// All that is known while waiting.
struct Vigil<'a> {
    goal: &'a Goal,
    wanted: Vec<Wanted>,
    groups: Vec<Group>,
    once: bool,
    lost: bool,
}

impl Vigil<'_> {
    fn open(&mut self, session: &Session) -> SelectAll<Stream> {
        for wanted in &self.wanted {
            let target = &wanted.target;
            let same = |g: &&mut Group| {
                g.target.resource == target.resource && g.target.namespace == target.namespace
            };
            if let Some(group) = self.groups.iter_mut().find(same) {
                group.names.insert(target.name.clone());
                continue;
            }
            self.groups.push(Group {
                target: target.clone(),
                names: BTreeSet::from([target.name.clone()]),
                seen: BTreeSet::new(),
                listed: false,
            });
        }
        let streams = self.groups.iter().enumerate().map(|(at, group)| {
            let config = match group.names.len() {
                1 => watcher::Config::default()
                    .fields(&format!("metadata.name={}", group.target.name)),
                _ => watcher::Config::default(),
            };
            let stream = changes(group.target.api(session), config);
            stream.map(move |event| (at, event)).boxed()
        });
        futures::stream::select_all(streams.collect::<Vec<_>>())
    }

    fn is_over(&self) -> bool {
        self.wanted.iter().all(|wanted| wanted.outcome.is_some())
            || (self.once && self.groups.iter().all(|group| group.listed))
    }

    fn take(
        &mut self,
        group: usize,
        event: watcher::Result<Event<Object>>,
        session: &Session,
        out: &mut Out,
    ) -> Result<(), Failure> {
        match event {
            Ok(Event::Init) => self.groups[group].seen.clear(),
            Ok(Event::InitApply(object)) => {
                self.groups[group]
                    .seen
                    .insert(object::name(&object).to_owned());
                self.see(group, &object, out);
            }
            Ok(Event::Apply(object)) => self.see(group, &object, out),
            Ok(Event::Delete(object)) => self.miss(group, object::name(&object)),
            Ok(Event::InitDone) => {
                self.groups[group].listed = true;
                self.lost = false;
                let missing = &self.groups[group].names - &self.groups[group].seen;
                for name in missing {
                    self.miss(group, &name);
                }
            }
            Err(error) => return self.trouble(group, &error, session, out),
        }
        Ok(())
    }

    /// The objects that are waited for in a group under a name.
    fn pending(&mut self, group: usize, name: &str) -> impl Iterator<Item = &mut Wanted> {
        let target = &self.groups[group].target;
        let (resource, namespace) = (target.resource.clone(), target.namespace.clone());
        let name = name.to_owned();
        self.wanted.iter_mut().filter(move |wanted| {
            wanted.outcome.is_none()
                && wanted.target.name == name
                && wanted.target.resource == resource
                && wanted.target.namespace == namespace
        })
    }

    fn see(&mut self, group: usize, object: &Object, out: &mut Out) {
        let goal = self.goal;
        for wanted in self.pending(group, object::name(object)) {
            let other = wanted.uid.is_some() && wanted.uid != object.metadata.uid;
            if other {
                // The one that was meant is gone; somebody made a new one.
                wanted.outcome = Some(match goal {
                    Goal::Deleted => None,
                    Goal::Condition { .. } => Some(gone(&wanted.target)),
                });
                continue;
            }
            if goal.is_met(object) {
                wanted.outcome = Some(None);
            } else {
                let standing = goal.standing(object);
                if standing != wanted.told && !out.is_machine() {
                    out.note(&format!("{}: {standing}", wanted.target.label()));
                }
                wanted.told = standing;
            }
            wanted.last = Some(object.clone());
        }
    }

    fn miss(&mut self, group: usize, name: &str) {
        let goal = self.goal;
        for wanted in self.pending(group, name) {
            wanted.outcome = Some(match (goal, &wanted.last) {
                (Goal::Deleted, _) => None,
                (Goal::Condition { .. }, Some(_)) => Some(gone(&wanted.target)),
                (Goal::Condition { .. }, None) => Some(absent(&wanted.target)),
            });
        }
    }

    /// A refusal ends the wait; a server that went away may come back.
    fn trouble(
        &mut self,
        group: usize,
        error: &watcher::Error,
        session: &Session,
        out: &mut Out,
    ) -> Result<(), Failure> {
        let cause = cause(error);
        let target = &self.groups[group].target;
        let place = within(target.namespace.as_deref());
        let doing = format!("watch {}{place}", target.resource.plural);
        match cause {
            Some(cause) if is_refusal(cause) || !self.groups[group].listed => {
                return Err(Failure::api(&doing, session.server(), cause));
            }
            _ if !self.lost => {
                self.lost = true;
                out.note(&format!("lost {}, trying again: {error}", session.server()));
            }
            _ => {}
        }
        Ok(())
    }

    fn close(self, timeout: Duration) -> Vec<Outcome> {
        let goal = self.goal;
        let late = |wanted: &Wanted| {
            let after = match timeout.as_secs_f64() {
                0.0 => String::new(),
                seconds => format!(" after {seconds} s"),
            };
            let what = match goal {
                Goal::Deleted => "not gone",
                goal if *goal == Goal::ready() => "not ready",
                Goal::Condition { .. } => "not as it should be",
            };
            let standing = match wanted.told.as_str() {
                "" => "nothing was heard of it".to_owned(),
                told => told.to_owned(),
            };
            Failure::new(
                Exit::TimedOut,
                format!("{} is {what}{after}: {standing}", wanted.target.label()),
            )
            .hint(match wanted.target.kind {
                Some(_) => format!("see `bbctl describe {}`", wanted.target.words()),
                None => format!("see `kubectl describe {}`", wanted.target.words()),
            })
        };
        let outcomes = self.wanted.into_iter().map(|wanted| {
            let failure = wanted
                .outcome
                .clone()
                .unwrap_or_else(|| Some(late(&wanted)));
            Outcome {
                failure,
                object: wanted.last,
                target: wanted.target,
            }
        });
        outcomes.collect()
    }
}

/// The failure that an object is not there.
pub(crate) fn absent(target: &Target) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!(
            "there is no {}{}",
            target.label(),
            within(target.namespace.as_deref())
        ),
    )
}

fn gone(target: &Target) -> Failure {
    Failure::new(
        Exit::NotFound,
        format!("{} was deleted meanwhile", target.label()),
    )
}
