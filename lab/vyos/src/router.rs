//! Turns commands into configuration as one router does: one session, one queue, one lock.

mod background;
mod gate;

use crate::commit::{self, Committed};
use crate::cost::{self, Scale};
use crate::edit::{Edit, Verb};
use crate::kernel::Kernel;
use crate::mask;
use crate::tree::Node;
use bb_lab_kit::Counters;
use bb_lab_kit::journal::{self, Entry, Journal};
use gate::Gate;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The file the router boots from and saves to unless told otherwise.
pub(crate) const BOOT_FILE: &str = "/config/config.boot";
/// What a commit answers while somebody else holds the commit lock.
pub(crate) const LOCKED: &str =
    "Configuration system temporarily locked due to another commit in progress\n";
/// What every change under `service https` answers.
pub(crate) const IN_BACKGROUND: &str =
    "Requested HTTP API server configuration change; commit will be called in the background";

/// What the API server read when it last started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ApiSettings {
    /// The name of each key.
    pub keys: BTreeMap<String, String>,
    /// Whether there is an API at all, and its REST part.
    pub api: bool,
    pub rest: bool,
    pub strict: bool,
    /// In bytes.
    pub body_limit: usize,
}

impl ApiSettings {
    fn of(config: &Node) -> Self {
        let api = ["service", "https", "api"];
        let megabytes = config
            .value(&["service", "https", "request-body-size-limit"])
            .and_then(|limit| limit.parse::<usize>().ok())
            .unwrap_or(1);
        Self {
            keys: config
                .below(&["service", "https", "api", "keys", "id"])
                .filter_map(|(name, id)| Some((id.value(&["key"])?.to_owned(), name.to_owned())))
                .collect(),
            api: config.get(&api).is_some(),
            rest: config.get(&["service", "https", "api", "rest"]).is_some(),
            strict: config
                .get(&["service", "https", "api", "rest", "strict"])
                .is_some(),
            body_limit: megabytes << 20,
        }
    }
}

/// Everything that changes.
#[derive(Debug)]
pub(crate) struct State {
    pub running: Node,
    /// The one candidate every request shares, while there is one.
    pub candidate: Option<Node>,
    /// The commands that made the candidate, to make it again when a person commits below it.
    edits: Vec<Edit>,
    pub saved: BTreeMap<String, Node>,
    pub kernel: Kernel,
    /// Whether somebody outside the API holds the commit lock.
    pub lock_held: bool,
    /// Whether a commit is under way.
    pub committing: bool,
    /// Whether an https change is on its way in the background.
    pub background: bool,
    /// Whether the API server is away.
    pub down: bool,
    pub api: ApiSettings,
}

/// How a request for a change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the warnings, if any.
    Done(Option<String>),
    Refused(String),
}

/// One router. Clones are the same router.
#[derive(Clone, Debug)]
pub(crate) struct Router(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub name: String,
    pub scale: Scale,
    pub counters: Counters,
    pub journal: Journal,
    /// While closed, changes stay between their last command and their commit.
    pub(crate) command_gate: Gate,
    /// While closed, commits stay under way.
    pub commit_gate: Gate,
    /// While closed, https changes stay in the background.
    pub background_gate: Gate,
    nics: BTreeSet<String>,
    state: Mutex<State>,
    /// Whose turn it is to change something: requests queue here in order.
    turn: tokio::sync::Mutex<()>,
    on_save: Option<std::path::PathBuf>,
}

impl std::ops::Deref for Router {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What a router starts from.
#[derive(Debug)]
pub(crate) struct Start {
    pub name: String,
    pub scale: Scale,
    pub journal: Journal,
    /// The saved files, [`BOOT_FILE`] among them.
    pub saved: BTreeMap<String, Node>,
    pub nics: BTreeSet<String>,
    /// Where saved files are kept over a restart.
    pub on_save: Option<std::path::PathBuf>,
}

impl Router {
    /// Boots a router.
    #[must_use]
    pub(crate) fn boot(start: Start) -> Self {
        let running = start.saved.get(BOOT_FILE).cloned().unwrap_or_default();
        let state = State {
            kernel: Kernel::boot(&running, &start.nics),
            api: ApiSettings::of(&running),
            running,
            candidate: None,
            edits: Vec::new(),
            saved: start.saved,
            lock_held: false,
            committing: false,
            background: false,
            down: false,
        };
        Self(Arc::new(Shared {
            name: start.name,
            scale: start.scale,
            counters: Counters::default(),
            journal: start.journal,
            command_gate: Gate::default(),
            commit_gate: Gate::default(),
            background_gate: Gate::default(),
            nics: start.nics,
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::new(()),
            on_save: start.on_save,
        }))
    }

    /// The state, locked: hold it for no longer than a look or a change.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn spend(&self, seconds: f64) {
        let time = self.scale.seconds(seconds);
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }

    /// Spends the time a read takes.
    pub(crate) async fn spend_read(&self, whole: bool) {
        let seconds = cost::read(&self.state().running, whole);
        self.spend(seconds).await;
    }

    /// Carries out commands in order, then commits them.
    ///
    /// A command that fails ends it and nothing is kept. `edits` may hold the text of a
    /// refusal in place of a command: the API finds some only when their turn comes.
    pub(crate) async fn configure(
        &self,
        edits: Vec<Result<Edit, String>>,
        caller: &str,
    ) -> Outcome {
        let _turn = self.turn.lock().await;
        let (start, strict) = {
            let mut state = self.state();
            if state.candidate.is_none() {
                state.candidate = Some(state.running.clone());
                state.edits.clear();
            }
            (state.running.clone(), state.api.strict)
        };
        let mut done = Vec::new();
        let mut refused = None;
        for edit in edits {
            let result = edit.and_then(|edit| {
                if strict && edit.verb == Verb::Delete && !start.has(&edit.path) {
                    let path = edit.path.join(" ");
                    return Err(format!("Cannot delete [{path}]: path/value does not exist"));
                }
                let mut state = self.state();
                let State {
                    candidate,
                    running,
                    edits,
                    ..
                } = &mut *state;
                edit.apply(candidate.get_or_insert_with(|| running.clone()))?;
                edits.push(edit.clone());
                Ok(edit)
            });
            match result {
                Ok(edit) => done.push(edit),
                Err(text) => {
                    refused = Some(text);
                    break;
                }
            }
        }
        let count = |verb| done.iter().filter(|edit| edit.verb == verb).count() as u64;
        self.counters.add("ops_set", count(Verb::Set));
        self.counters.add("ops_delete", count(Verb::Delete));
        self.spend(cost::commands(&start, &done)).await;
        self.command_gate.passed().await;
        if let Some(text) = refused {
            self.discard();
            return Outcome::Refused(text);
        }
        self.finish(caller).await
    }

    /// Replaces the candidate by a whole configuration and commits it.
    pub(crate) async fn load(&self, config: Node, caller: &str) -> Outcome {
        let _turn = self.turn.lock().await;
        let cost = {
            let mut state = self.state();
            state.candidate = Some(config);
            state.edits.clear();
            cost::commands(&state.running, &[])
        };
        self.spend(cost).await;
        self.finish(caller).await
    }

    fn discard(&self) {
        let mut state = self.state();
        state.candidate = None;
        state.edits.clear();
    }

    /// Commits the candidate: now, or in the background when https is touched.
    async fn finish(&self, caller: &str) -> Outcome {
        let (same, https, size) = {
            let state = self.state();
            let candidate = state.candidate.as_ref().unwrap_or(&state.running);
            let https = ["service", "https"];
            (
                *candidate == state.running,
                candidate.get(&https) != state.running.get(&https),
                cost::nothing(&state.running),
            )
        };
        if same {
            self.discard();
            self.spend(size).await;
            return Outcome::Done(None);
        }
        if https {
            self.commit_in_background(caller);
            return Outcome::Done(Some(IN_BACKGROUND.to_owned()));
        }
        self.commit(caller).await
    }

    /// Commits the candidate and waits for it.
    async fn commit(&self, caller: &str) -> Outcome {
        let began = Instant::now();
        {
            let mut state = self.state();
            if state.lock_held || state.committing {
                state.candidate = None;
                state.edits.clear();
                return Outcome::Refused(LOCKED.to_owned());
            }
            state.committing = true;
        }
        self.commit_gate.passed().await;
        if self.scale.0 > 0.0 {
            let seconds = {
                // Which scripts run is known only by running them: on a copy, for the time it takes.
                let state = self.state();
                let candidate = state.candidate.as_ref().unwrap_or(&state.running);
                let tried = commit::commit(&state.running, candidate, &mut state.kernel.clone());
                cost::commit(&state.running, &tried.scripts)
            };
            self.spend(seconds).await;
        }
        let (committed, note) = {
            let mut state = self.state();
            let candidate = state
                .candidate
                .take()
                .unwrap_or_else(|| state.running.clone());
            state.edits.clear();
            state.committing = false;
            self.put(&mut state, &candidate)
        };
        self.record(&committed, note, caller, began);
        if committed.failed {
            Outcome::Refused(committed.said)
        } else {
            Outcome::Done((!committed.said.is_empty()).then_some(committed.said))
        }
    }

    /// Makes `candidate` run as far as its scripts let it.
    fn put(&self, state: &mut State, candidate: &Node) -> (Committed, serde_json::Value) {
        let State {
            running, kernel, ..
        } = state;
        let mut committed = commit::commit(running, candidate, kernel);
        crate::passwords::hash(&mut committed.running);
        let (before, after) = (running.lines(), committed.running.lines());
        let lines = |lines: Vec<&Vec<String>>| -> Vec<String> {
            lines
                .into_iter()
                .map(|line| mask::path(line).join(" "))
                .collect()
        };
        let note = json!({
            "added": lines(after.difference(&before).collect()),
            "removed": lines(before.difference(&after).collect()),
            "refused": committed.failed,
        });
        if before != after {
            self.counters.add("commits", 1);
        }
        if committed.failed {
            self.counters.add("commits_refused", 1);
        }
        running.clone_from(&committed.running);
        (committed, note)
    }

    fn record(&self, committed: &Committed, note: serde_json::Value, caller: &str, began: Instant) {
        self.journal.record(&Entry {
            time: journal::now(),
            target: self.name.clone(),
            caller: caller.to_owned(),
            agent: String::new(),
            trace: String::new(),
            method: "COMMIT".to_owned(),
            path: "/configure".to_owned(),
            body: json!(committed.said),
            status: if committed.failed { 400 } else { 200 },
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            note: Some(note),
        });
    }

    /// Commits what a person types at the console: beside the API's session, under its lock.
    ///
    /// Paths the schema does not know are taken as they are, since a person's schema is wider.
    pub(crate) fn type_in(&self, edits: &[(Edit, Option<String>)]) -> Outcome {
        let began = Instant::now();
        let mut state = self.state();
        if state.lock_held || state.committing {
            return Outcome::Refused(LOCKED.to_owned());
        }
        let mut candidate = state.running.clone();
        for (edit, value) in edits {
            let mut whole = edit.clone();
            whole.path.extend(value.clone());
            if crate::schema::find(&whole.path).is_none() {
                edit.apply_unchecked(value.as_deref(), &mut candidate);
            } else if let Err(text) = whole.apply(&mut candidate) {
                return Outcome::Refused(text);
            }
        }
        let (committed, note) = self.put(&mut state, &candidate);
        if !state.background {
            state.api = ApiSettings::of(&state.running);
        }
        // The API's session shows through to what runs now, with its own commands on top.
        if state.candidate.is_some() {
            let mut candidate = state.running.clone();
            for edit in &state.edits {
                // What a command can no longer do it leaves undone, as a merge would.
                let _ = edit.apply(&mut candidate);
            }
            state.candidate = Some(candidate);
        }
        drop(state);
        self.record(&committed, note, "console", began);
        if committed.failed {
            Outcome::Refused(committed.said)
        } else {
            Outcome::Done((!committed.said.is_empty()).then_some(committed.said))
        }
    }

    /// Writes what runs to `file`. The lock does not stop it.
    ///
    /// # Errors
    /// The files kept over a restart cannot be written.
    pub(crate) async fn save(&self, file: &str) -> anyhow::Result<()> {
        self.spend(0.5).await;
        let saved = {
            let mut state = self.state();
            let running = state.running.clone();
            state.saved.insert(file.to_owned(), running);
            state.saved.clone()
        };
        self.counters.add("saves", 1);
        if let Some(path) = &self.on_save {
            crate::disk::write(path, &saved)?;
        }
        Ok(())
    }

    /// Restarts the machine: what was not saved is gone, and so is what the kernel held.
    pub(crate) fn reboot(&self) {
        let mut state = self.state();
        let running = state.saved.get(BOOT_FILE).cloned().unwrap_or_default();
        state.kernel = Kernel::boot(&running, &self.nics);
        state.api = ApiSettings::of(&running);
        state.running = running;
        state.candidate = None;
        state.edits.clear();
        state.lock_held = false;
    }
}
