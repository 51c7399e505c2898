//! The dashboard without a terminal: what is seen after which events, and what is asked for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test cannot go on without ends it"
)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    clippy::type_complexity,
    reason = "tables of objects, and what makes them"
)]

mod changes;
mod chaos;
mod forms;
mod kit;
mod many;
mod moves;
mod own;
mod pictures;
mod plans;
mod screens;
mod settings;
