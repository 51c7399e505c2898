//! Turns what objects ask of a router into the smallest list of commands.

pub mod arrivals;
pub mod batch;
pub mod blame;
pub mod cost;
pub mod fields;
pub mod found;
pub mod lines;
pub mod plan;
pub mod refusals;

pub use lines::{Lines, Path};
pub use plan::{Claim, Command, Desired, Held, Plan, Root, Verb, Want, plan};
