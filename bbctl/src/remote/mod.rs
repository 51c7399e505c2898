//! Turns addresses and keys into SSH sessions: to a router, to see whether one can log in there,
//! and to an instance.

pub mod asked;
pub mod guest;
pub mod known;
pub mod login;
pub mod place;
pub mod router;
