//! Turns what a Provider trusts and keeps secret into the two things that every client needs of it.
//!
//! And how fast it may be asked. No socket: `bb-vyos` and `bb-proxmox` bring those.

mod gate;
mod mandate;
mod request;
mod secret;
pub mod trace;
mod trust;
mod verifier;

pub use bb_core::bucket::Rate;
pub use gate::Gate;
pub use mandate::{Connector, Ended, Mandate};
pub use request::{Observer, Request};
pub use secret::Secret;
pub use trust::{Trust, TrustError};
pub use verifier::Distrusted;
