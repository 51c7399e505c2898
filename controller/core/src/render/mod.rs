//! Turns what objects mean into what each target should have.

mod cluster;
mod router;
#[cfg(test)]
mod tests;

pub use cluster::cluster;
pub use router::router;
