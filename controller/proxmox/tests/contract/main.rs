//! Drives stand-ins of a Proxmox VE cluster with the driver, and looks at what became of them.

mod fakepve;
mod faults;
mod life;
mod rights;
mod stage;
