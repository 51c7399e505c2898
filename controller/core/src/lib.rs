//! Turns objects and what was observed into plans and conditions.
//!
//! Everything here is a function from data to data: no clock, no input or output, no
//! randomness, so that a decision can be tested by a table and printed before it is acted on.

pub mod allocate;
#[cfg(test)]
mod allocate_tests;
pub mod breaker;
pub mod bucket;
pub mod drift;
pub mod guard;
pub mod lease;
pub mod leave;
pub mod objects;
pub mod outcome;
pub mod outside;
pub mod proxmox;
pub mod rehearse;
pub mod render;
pub mod resolve;
pub mod share;
pub mod status;
pub mod tally;
#[cfg(test)]
mod testkit;
pub mod unread;
#[cfg(test)]
mod unread_tests;
pub mod vyos;
pub mod world;
pub mod writes;
