//! Turns binaries on this machine into a running management cluster with routers and hypervisors beside it.
//!
//! A [`Cluster`] is a real Kubernetes control plane in child processes; a [`StandIn`] is a router
//! or a hypervisor cluster; [`lab`] puts both together with the controller. Whatever is started
//! belongs to one folder: its [`Roster`] lists the processes, every one carries the folder's name
//! in its environment, and nothing is written outside of it.

mod cgroup;
pub mod chart;
mod client;
mod cluster;
mod comings;
mod controller;
mod copy;
mod external;
pub mod forward;
pub mod journal;
mod kubeconfig;
pub mod lab;
mod node;
mod node_files;
mod objects;
mod parts;
pub mod paths;
mod pki;
mod ports;
mod process;
mod progress;
mod roster;
mod seed;
mod shared;
mod standin;

pub use bb_lab_kit::ready::Ready;
pub use cluster::{Cluster, Options, Part, User};
pub use comings::Coming;
pub use controller::{controller, controller_from, controller_with};
pub use node::Node;
pub use objects::{Facts, NAMESPACE, lab_objects};
pub use process::{Life, Spec};
pub use progress::Progress;
pub use roster::{Record, Roster};
pub use shared::shared;
pub use standin::{Kind, StandIn, StandInOptions};
