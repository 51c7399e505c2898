//! Turns what every stand-in needs (TLS, HTTP, SSH, faults, journal, control port) into one small crate.

pub mod control;
pub mod counters;
pub mod faults;
pub mod http;
pub mod journal;
pub mod ready;
pub mod ssh;
pub mod stop;
pub mod tls;

pub use counters::Counters;
pub use stop::Stop;
