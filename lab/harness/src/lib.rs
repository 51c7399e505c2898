//! Turns binaries on this machine into a running management cluster with routers and hypervisors beside it.
//!
//! A [`Cluster`] is a real Kubernetes control plane in child processes; a [`StandIn`] is a router
//! or a hypervisor cluster; [`lab`] puts both together with the controller. Whatever is started
//! belongs to one folder: its [`Roster`] lists the processes, every one carries the folder's name
//! in its environment, and nothing is written outside of it.

mod client;
mod cluster;
mod external;
mod kubeconfig;
pub mod lab;
mod objects;
mod parts;
pub mod paths;
mod pki;
mod ports;
mod process;
mod progress;
mod roster;
mod standin;

pub use cluster::{Cluster, Options, Part, User};
pub use objects::{Facts, lab_objects};
pub use process::{Life, Spec};
pub use progress::Progress;
pub use roster::{Record, Roster};
pub use standin::{Kind, Ready, StandIn, StandInOptions};
