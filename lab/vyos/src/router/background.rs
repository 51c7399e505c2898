//! Turns a change under `service https` into a commit nobody hears of, and a restart of the API.

use super::{ApiSettings, Router};
use crate::cost;
use std::time::Instant;

impl Router {
    /// Commits the candidate after the answer is out. A second change while the first is on
    /// its way loses both: its commit meets the lock and throws the shared candidate away.
    pub(super) fn commit_in_background(&self, caller: &str) {
        {
            let mut state = self.state();
            if state.background || state.lock_held || state.committing {
                state.candidate = None;
                state.edits.clear();
                tracing::info!(router = %self.name, "an https change was lost to the lock");
                return;
            }
            state.background = true;
            state.committing = true;
        }
        let (router, caller) = (self.clone(), caller.to_owned());
        tokio::spawn(async move { router.background(&caller).await });
    }

    async fn background(&self, caller: &str) {
        let began = Instant::now();
        self.background_gate.passed().await;
        self.spend(cost::BACKGROUND_COMMIT).await;
        let (outcome, refused) = {
            let mut state = self.state();
            let lost = state.candidate.is_none();
            let candidate = state
                .candidate
                .take()
                .unwrap_or_else(|| state.running.clone());
            state.edits.clear();
            let outcome = self.put(&mut state, &candidate);
            state.committing = false;
            let refused = outcome.0.failed && !lost;
            // The script that restarts the API ran even when the change itself was lost.
            state.down = !refused;
            (outcome, refused)
        };
        self.record(&outcome.0, outcome.1, caller, began);
        if !refused {
            self.spend(cost::RESTART).await;
        }
        let mut state = self.state();
        state.api = ApiSettings::of(&state.running);
        state.down = false;
        state.background = false;
    }

    /// The API server falls over: the candidate is lost, and it is away for a moment.
    pub(crate) fn crash(&self) {
        {
            let mut state = self.state();
            state.candidate = None;
            state.edits.clear();
            state.down = true;
        }
        let router = self.clone();
        tokio::spawn(async move {
            router.spend(cost::CRASH).await;
            router.state().down = false;
        });
    }
}
