//! Turns "another program has the terminal" into what the handler of Ctrl-C can ask: it is a key of
//! that program then.

use std::sync::atomic::{AtomicBool, Ordering};

static LENT: AtomicBool = AtomicBool::new(false);

/// Whether another program has the terminal now.
#[must_use]
pub fn is_lent() -> bool {
    LENT.load(Ordering::Relaxed)
}

/// Another program has the terminal as long as this lives. There is one at a time.
#[derive(Debug)]
pub struct Lent(());

impl Lent {
    /// From now on.
    #[must_use]
    pub fn begin() -> Self {
        LENT.store(true, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        LENT.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terminal_is_lent_until_it_is_given_back() {
        assert!(!is_lent());
        let lent = Lent::begin();
        assert!(is_lent());
        drop(lent);
        assert!(!is_lent());
    }
}
