//! Turns what a Provider trusts and keeps secret into the two things that every client needs of it.
//!
//! No socket and no runtime: `bb-vyos` and `bb-proxmox` bring those, and re-export [`Secret`] and
//! [`Trust`].

mod secret;
mod trust;
mod verifier;

pub use secret::Secret;
pub use trust::{Trust, TrustError};
pub use verifier::Distrusted;
