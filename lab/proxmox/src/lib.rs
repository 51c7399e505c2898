//! Turns a seed into a running stand-in of a Proxmox VE 9.1 cluster, faults and all.
//!
//! It answers the REST API as the product was seen to: the same texts, the same split of work
//! into calls and tasks, the same order of refusals. It knows nothing of who talks to it.
//!
//! Every call goes through the same steps: credentials, path, rights, node, parameters, and
//! then one function that reads or changes [`model::Cluster`]. What takes time is a worker that
//! does one step after the other as [`model::Cluster::tick`] hands time in; nothing else reads
//! a clock, so a test can stand between any two steps.
//!
//! Not here: high availability, firewall, migration, backup, uploads, consoles, guest agents
//! that answer, cloud-init images, replication, quorum. Such calls answer 501.

pub mod access;
mod access_calls;
mod auth;
mod call;
pub mod clock;
mod clone;
mod control;
mod create;
mod destroy;
mod disk_calls;
mod drives;
mod engine;
mod format;
mod keys;
mod lab;
mod lxc;
pub mod model;
mod move_calls;
mod pool_calls;
mod power;
mod property;
pub mod refusal;
mod rights;
mod roles;
mod routes;
mod routes_access;
mod routes_cluster;
mod routes_lxc;
mod routes_qemu;
mod schema;
mod sdn;
mod sdn_calls;
pub mod seed;
mod serve;
mod settle;
mod size;
mod snapshot;
#[cfg(test)]
mod state_tests;
mod storage_calls;
mod store;
mod task;
mod task_calls;
mod update;
mod view;
pub mod volume;
mod wire;

pub use lab::{Config, Moment, ProxmoxLab, Running};
pub use seed::Seed;
