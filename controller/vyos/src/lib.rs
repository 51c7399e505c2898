//! Turns lists of commands into requests to a VyOS router, and its odd replies into classes.
//!
//! Input and output only: what to send is decided in `bb-core`, and carried out by [`Driver`] over
//! [`Router`]. Facts about the API are those
//! of VyOS 1.5 (builds of 2024-10 and later); docs/design/0006-vyos-client.md gives the reasons.

mod debt;
mod driver;
mod endpoint;
mod error;
mod op;
mod reply;
mod router;
mod text;
mod transport;

pub use bb_wire::{Observer, Rate, Request, Secret, Trust};
pub use debt::Ledger;
pub use driver::{Driver, Moment, Next, Pass};
pub use endpoint::{Counts, Done, Endpoint, Facts, Limits};
pub use error::{Retry, RouterError};
pub use op::{Op, Verb, cut};
pub use router::Router;
