//! Turns a new user with a kubeconfig into one whose instances run, and tells what is in the way.

pub mod auth;
pub mod choose;
pub mod config;
pub mod diagnose;
pub mod doctor;
pub mod findings;
pub mod hidden;
pub mod init;
pub mod kept;
pub mod keys;
pub mod launch;
pub mod place;
pub mod provider;
pub mod rights;
pub mod settings;
pub mod test_proxmox;
pub mod vault;
pub mod wishes;
