//! Turns a management cluster, routers and hypervisor clusters into one place to test in.

pub mod figures;
pub mod machines;
pub mod narrowed;
pub mod planned;
pub mod rights;
pub mod scale;
pub mod site;
pub mod sweep;
pub mod trace;
pub mod upgrade;

pub use site::{Site, SiteOptions, documents};
