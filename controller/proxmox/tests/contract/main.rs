//! Drives stand-ins of a Proxmox VE cluster with the driver, and looks at what became of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

mod bulk;
mod disorder;
mod fakepve;
mod faults;
mod life;
mod pace;
mod rights;
mod stage;
mod strangers;
