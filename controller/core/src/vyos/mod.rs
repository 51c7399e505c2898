//! Turns what objects ask of a router into the smallest list of commands.

pub mod lines;
pub mod plan;

pub use lines::{Lines, Path};
pub use plan::{Claim, Command, Desired, Held, Plan, Root, Verb, Want, plan};
