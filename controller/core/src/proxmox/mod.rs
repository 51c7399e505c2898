//! Turns what should be on a Proxmox VE cluster and what is there into the smallest set of changes.
//!
//! [`model`] says what should be and what a pass reports, [`mark`] whose a guest is, [`keys`]
//! how a guest is written down in Proxmox VE's words, [`observed`] what was read, [`plan`]
//! what to do next. Nothing here talks to a cluster or looks at a clock.

pub mod keys;
pub mod mark;
pub mod model;
pub mod observed;
pub mod pace;
pub mod plan;
pub(crate) mod property;
