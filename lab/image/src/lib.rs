//! Turns a program into a container image, and what it was built from into a bill of materials.

mod bill;
mod layout;

pub use bill::{Bill, Part};
pub use layout::{File, Image, Written};
