//! Turns a connection between two parts into one that a test can count, hold, slow down and break.
//!
//! [`Proxy`] speaks HTTP on both sides: it knows every call, keeps a journal of them, and does to
//! a call what the first [`Rule`] that fits it says. [`Tcp`] knows bytes only, and its way is
//! switched while it runs. Neither is part of any product: both ends trust what a test gives them.

mod call;
mod gate;
mod proxy;
mod rule;
mod serve;
mod stream;
mod tcp;

pub use call::{Asked, Call, End};
pub use gate::{Gate, Held, When};
pub use proxy::{Proxy, Trust};
pub use rule::{Action, Fits, Rule};
pub use stream::watch_error;
pub use tcp::{Tcp, Way};
