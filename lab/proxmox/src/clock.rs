//! Turns real or injected time into the one time the stand-in knows, in seconds since it started.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The only source of time. Everything that lasts asks it; nothing else reads a clock.
#[derive(Debug)]
pub enum Clock {
    /// The machine's monotonic time.
    Real(Instant),
    /// Time that stands still until somebody moves it; waiting moves it, too.
    Manual(Mutex<f64>),
}

impl Clock {
    /// A clock that runs.
    pub fn real() -> Self {
        Self::Real(Instant::now())
    }

    /// A clock that stands at 0.
    pub fn manual() -> Self {
        Self::Manual(Mutex::new(0.0))
    }

    /// Seconds since start.
    pub fn now(&self) -> f64 {
        match self {
            Self::Real(start) => start.elapsed().as_secs_f64(),
            Self::Manual(now) => *lock(now),
        }
    }

    /// Moves a manual clock; a real one cannot be moved.
    pub fn advance(&self, seconds: f64) {
        if let Self::Manual(now) = self {
            *lock(now) += seconds.max(0.0);
        }
    }

    /// Waits. A manual clock jumps instead, so that a caller who waits sees time pass.
    pub async fn wait(&self, seconds: f64) {
        match self {
            Self::Real(_) => tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await,
            Self::Manual(_) => {
                self.advance(seconds);
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether time stands still on its own.
    pub fn is_manual(&self) -> bool {
        matches!(self, Self::Manual(_))
    }
}

fn lock(now: &Mutex<f64>) -> std::sync::MutexGuard<'_, f64> {
    now.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
