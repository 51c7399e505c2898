//! Turns plans for a Proxmox VE cluster into calls to its REST API, and its answers into what was observed.
//!
//! Input and output only: what to do is decided in `bb_core::proxmox`. Facts about the API are
//! those of Proxmox VE 8 and 9; docs/design/0007-proxmox-driver.md gives the reasons.

mod calls;
mod cluster;
mod driver;
mod endpoint;
mod error;
mod json;
#[cfg(test)]
mod recordings;
mod rights;
mod tasks;
mod transport;

pub use bb_wire::{Observer, Rate, Request, Secret, Trust};
pub use cluster::Cluster;
pub use driver::{Driver, PassError, read, words};
pub use endpoint::{Credentials, Deadlines, Endpoint};
pub use error::{ClusterError, Retry};
pub use rights::Uses;
